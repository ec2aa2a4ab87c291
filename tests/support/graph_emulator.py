"""CUDA graphs without CUDA: a capture notes every tensor operation, a replay repeats them on the same memory.

What a capture can get wrong shows here too: a number that was baked in, an effect of the capture itself, a buffer that
is not the one the next batch is copied to, a read by the host.
"""
import contextlib

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

FORBIDDEN = {f"aten::{name}" for name in (  # they wait for the device, or give shapes that depend on numbers
    "_local_scalar_dense", "nonzero", "is_nonzero", "item", "equal", "masked_select", "_unique2", "allclose",
    "uniform_", "normal_", "randperm", "random_", "bernoulli_", "_linalg_eigh", "_linalg_svd", "_linalg_check_errors")}
INDEXING = {"aten::index", "aten::index_put", "aten::index_put_"}


class Recorder(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.calls, self.forbidden = [], set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out, name = func(*args, **(kwargs or {})), func._schema.name
        masks = [i for i in args[1] if i is not None and i.dtype == torch.bool] if name in INDEXING else []
        if name in FORBIDDEN or masks:
            self.forbidden.add(name)
        self.calls.append((func, args, kwargs or {}, out))
        return out


class Graph:
    """Stands for torch.cuda.CUDAGraph."""

    calls = ()

    @torch.no_grad()
    def replay(self):
        for func, args, kwargs, out in self.calls:
            schema = func._schema
            writes = any(a.alias_info is not None and a.alias_info.is_write for a in schema.arguments)
            view = not writes and any(r.alias_info is not None for r in schema.returns)
            if view or "empty" in schema.name:
                continue
            again = func(*args, **kwargs)
            if not writes:
                for old, new in zip(tree_leaves(out), tree_leaves(again), strict=True):
                    if isinstance(old, torch.Tensor):
                        old.detach().copy_(new)


class Stream:
    def __init__(self, device=None):
        pass

    def wait_stream(self, other):
        assert isinstance(other, Stream)


class Emulated:
    """Context in which torch.cuda's graphs and streams are these. state(): the tensors that a step may change, which a
    real capture leaves alone. captures, forbidden: what was seen."""

    def __init__(self, state):
        self.state, self.captures, self.forbidden = state, 0, set()

    @contextlib.contextmanager
    def capture(self, graph, pool=None, stream=None, capture_error_mode="global"):
        before = [(tensor, tensor.detach().clone()) for tensor in self.state()]
        with Recorder() as recorder:
            yield
        graph.calls = recorder.calls
        self.captures += 1
        self.forbidden |= recorder.forbidden
        with torch.no_grad():
            for tensor, value in before:
                tensor.copy_(value)

    def patch(self, monkeypatch):
        fakes = {"CUDAGraph": Graph, "graph": self.capture, "graph_pool_handle": lambda: (0, 1), "Stream": Stream,
                 "current_stream": lambda device=None: Stream(), "stream": lambda stream: contextlib.nullcontext()}
        for name, fake in fakes.items():
            monkeypatch.setattr(torch.cuda, name, fake)
        return self
