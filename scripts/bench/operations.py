"""How many operations a training step is made of, counted without a device.

At batch 64 a GPU's step takes as long as the launches of its kernels, so their number is what there is to save. The
step runs on the CPU with torch's own kernels, written as for a CUDA graph; every call that computes is one operation.
Views and allocations launch nothing. By cuDNN's way a convolution with a bias is two (it adds the bias by itself) and
its backward pass one for each gradient. A call for a list of tensors is one.
"""
from __future__ import annotations

from collections import Counter

from torch.utils._python_dispatch import TorchDispatchMode

IDLE = {"aten::detach", "aten::_unsafe_view", "aten::lift_fresh", "aten::alias", "aten::_reshape_alias",
        "aten::scalar_tensor"}


class OperationCount(TorchDispatchMode):
    """Context that counts the operations in it by name, in ``calls``."""

    def __init__(self):
        super().__init__()
        self.calls: Counter[str] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name, schema = func._schema.name, func._schema
        writes = any(a.alias_info is not None and a.alias_info.is_write for a in schema.arguments)
        view = not writes and any(r.alias_info is not None for r in schema.returns)
        if not (view or name in IDLE or name.startswith(("profiler::", "aten::empty", "aten::new_empty"))):
            self.calls[name] += self._launches(name, args)
        return func(*args, **(kwargs or {}))

    @staticmethod
    def _launches(name: str, args: tuple) -> int:
        if name == "aten::convolution":
            return 1 if args[2] is None else 2
        if name == "aten::convolution_backward":
            return sum(args[-1])
        return 1

    @property
    def total(self) -> int:
        return sum(self.calls.values())
