"""CUDA graphs without CUDA: a capture records every tensor operation, a replay repeats them on the same memory.

It shows errors of captures: a number fixed at the time of capture, a side effect of the capture, a buffer other than
the one that the next batch is copied to, a read by the host. For errors of streams see RaceChecker.
"""
import contextlib
import itertools
from weakref import WeakKeyDictionary

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves

FORBIDDEN = {f"aten::{name}" for name in (  # they wait for the device, or return shapes that depend on values
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
    """Replaces torch.cuda.CUDAGraph."""

    calls, checker, pool = (), None, None

    @torch.no_grad()
    def replay(self):
        if self.checker:
            stream = self.checker.current
            stream.time += 1
            self.checker.use(self.pool, stream, True, "a replay in its pool")
        for func, args, kwargs, out in self.calls:
            schema = func._schema
            writes = any(a.alias_info is not None and a.alias_info.is_write for a in schema.arguments)
            view = not writes and any(r.alias_info is not None for r in schema.returns)
            if view or "empty" in schema.name:
                continue
            again = func(*args, **kwargs)
            for old, new in zip(tree_leaves(out), tree_leaves(again), strict=True):
                if isinstance(old, torch.Tensor) and old.data_ptr() != new.data_ptr():  # not what it wrote in place
                    old.detach().copy_(new)


class Stream:
    """Replaces torch.cuda.Stream. time: operations so far; seen: per other stream, how many of its operations come
    before the next one here."""

    host = WeakKeyDictionary()  # per stream the operations that the host has waited for

    def __init__(self, device=None, priority=0):
        self.device, self.time, self.seen = device, 0, {}

    def wait_stream(self, other):
        self.wait_event(other.record_event())

    def record_event(self):
        return {**self.seen, self: self.time}

    def wait_event(self, event):
        self.seen |= {stream: max(time, self.seen.get(stream, 0)) for stream, time in event.items()}

    def synchronize(self):
        """The host waits, so everything called later comes after."""
        self.host.update(self.record_event())

    def follows(self, stream, time):
        return stream is self or max(self.seen.get(stream, 0), self.host.get(stream, 0)) >= time


class Memory:
    """Uses of a storage: by which stream it was allocated, last written, and read since then."""

    def __init__(self, owner, storage=None):
        self.owner, self.alive = owner, storage and StorageWeakRef(storage)
        self.written, self.read, self.recorded = None, {}, set()

    def uses(self):
        return {**({self.written[0]: self.written[1]} if self.written else {}), **self.read}


class RaceChecker(TorchDispatchMode):
    """Records in ``races`` every operation on memory that another stream wrote (for a write: or read) without a wait in
    between; and every allocation for which the allocator could return freed memory that another stream may still use.
    A graph's pool counts as one piece of memory that each replay writes."""

    def __init__(self):
        super().__init__()
        self.current, self.streams, self.memory, self.races = Stream(), [], {}, set()
        self.pools = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        schema, given = func._schema, {**dict(enumerate(args)), **(kwargs or {})}
        targets = [given.get(place, given.get(a.name)) for place, a in enumerate(schema.arguments)
                   if a.alias_info is not None and a.alias_info.is_write]
        if not targets and any(r.alias_info is not None for r in schema.returns):
            return out  # a view
        stream = self.current
        stream.time += 1
        storages = [{x.untyped_storage()._cdata: x.untyped_storage() for x in tree_leaves(part)
                     if isinstance(x, torch.Tensor)} for part in (targets, out, (args, kwargs))]
        written, made, read = storages
        if made.keys() - written.keys() - read.keys():
            self.reuse(stream, func)
        for key, storage in {**read, **written, **made}.items():
            if key not in self.memory:
                self.memory[key] = Memory(stream if key in made else None, storage)
            if "empty" not in schema.name:
                self.use(self.memory[key], stream, key in written or key in made, func)
        return out

    def use(self, memory, stream, writes, what):
        before = [memory.written] if memory.written else []
        before += memory.read.items() if writes else []
        for other, time in before:
            if not stream.follows(other, time):
                self.races.add(f"{what}: {'writes' if writes else 'reads'} without a wait")
        if writes:
            memory.written, memory.read = (stream, stream.time), {}
        else:
            memory.read[stream] = stream.time

    def reuse(self, stream, what):
        """An allocation on a stream reuses freed memory that was allocated there."""
        for key, memory in list(self.memory.items()):
            if memory.alive and memory.alive.expired():
                if memory.owner is stream:
                    waited = {stream, *memory.recorded}  # record_stream: the allocator waits for these as well
                    if not all(any(w.follows(s, time) for w in waited) for s, time in memory.uses().items()):
                        self.races.add(f"{what}: allocates what was freed before the join")
                if memory.owner in (stream, None):
                    del self.memory[key]

    def synchronize(self):
        """The host waits for all streams."""
        streams = {s for memory in self.memory.values() for s in memory.uses()} | {self.current, *self.streams}
        event = {stream: stream.time for stream in streams}
        for stream in streams:
            stream.wait_event(event)


class Emulated:
    """Replaces torch.cuda's graphs and streams, see :meth:`patch`. state(): the tensors that a step may change, which a
    real capture does not change. captures: their number; forbidden: forbidden operations in them; checker: a
    :class:`RaceChecker`, active where it is entered."""

    def __init__(self, state=lambda: ()):
        self.state, self.captures, self.forbidden, self.checker = state, 0, set(), RaceChecker()

    @property
    def races(self):
        return self.checker.races

    @contextlib.contextmanager
    def stream(self, stream):
        checker, before = self.checker, self.checker.current
        if stream is None:
            yield
            return
        checker.current = stream
        checker.streams.append(before)
        try:
            yield
        finally:
            checker.current = checker.streams.pop()

    @contextlib.contextmanager
    def capture(self, graph, pool=None, stream=None, capture_error_mode="global"):
        """A capture executes nothing on a device, so the checker tracks it apart, beginning synchronised."""
        checker = self.checker
        checker.synchronize()
        outside = checker.memory
        checker.memory = {}
        before = [(tensor, tensor.detach().clone()) for tensor in self.state()]
        with Recorder() as recorder, self.stream(stream):
            stream.wait_stream(checker.streams[-1])
            yield
            forked = {s for memory in checker.memory.values() for s in memory.uses()}
            if not all(stream.follows(s, s.time) for s in forked):
                checker.races.add("a capture ends with a stream that was not joined")
        graph.calls, graph.checker = recorder.calls, checker
        graph.pool = checker.pools.setdefault(pool, Memory(None)) if pool else Memory(None)
        self.captures += 1
        self.forbidden |= recorder.forbidden
        checker.synchronize()
        checker.memory = outside
        with torch.no_grad(), _disable_current_modes():
            for tensor, value in before:
                tensor.copy_(value)

    def patch(self, monkeypatch):
        handles = itertools.count(1)
        fakes = {"CUDAGraph": Graph, "graph": self.capture, "graph_pool_handle": lambda: (0, next(handles)),
                 "Stream": Stream, "current_stream": lambda device=None: self.checker.current, "stream": self.stream}
        for name, fake in fakes.items():
            monkeypatch.setattr(torch.cuda, name, fake)

        def record_stream(tensor, stream):
            storage = tensor.untyped_storage()
            self.checker.memory.setdefault(storage._cdata, Memory(None, storage)).recorded.add(stream)
        monkeypatch.setattr(torch.Tensor, "record_stream", record_stream)
        return self
