"""How many operations a training step is made of, counted without a device.

At batch 64 a GPU's step takes as long as the launches of its kernels, so their number is what there is to save. The
step runs on the CPU with torch's own kernels, written as for a CUDA graph; every call that computes is one operation.
Views and allocations launch nothing. By cuDNN's way a convolution with a bias is two (it adds the bias by itself) and
its backward pass one for each gradient. A call for a list of tensors is one.

A card adds launches that no call of torch shows. ``hidden`` counts them by a rule that gives the 62 memsets, 38
conversions and 11 initialisations a step of result/speed/h200-profile.txt (resnet56 > resnet20, batch 64, TF32): a
memset before each batch norm, forward and backward, and before each gradient of an input; two conversions around the
gradient of a weight larger than 1x1, and an initialisation too if it reads 32 channels or more. cuDNN chooses otherwise
for other shapes, precisions and cards, so it is an estimate there.

``path`` is the longest chain of operations of which each reads what the one before it wrote: what is left where
everything else runs beside it. It is counted in operations, without the hidden launches.
"""
from __future__ import annotations

from collections import Counter

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

IDLE = {"aten::detach", "aten::_unsafe_view", "aten::lift_fresh", "aten::alias", "aten::_reshape_alias",
        "aten::as_strided_", "aten::scalar_tensor"}
NORMS = {"aten::native_batch_norm", "aten::native_batch_norm_backward", "aten::cudnn_batch_norm"}


class OperationCount(TorchDispatchMode):
    """Context that counts the operations in it by name, in ``calls``, and the launches that they hide, in
    ``hidden``."""

    def __init__(self):
        super().__init__()
        self.calls: Counter[str] = Counter()
        self.hidden: Counter[str] = Counter()
        self.depth: dict[int, int] = {}  # by storage: operations on the longest chain that ends in its last write
        # Kept, or an address would be used again; not the tensors: autograd copies a gradient that is held elsewhere.
        self.kept: list[torch.UntypedStorage] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name, schema = func._schema.name, func._schema
        out = func(*args, **(kwargs or {}))
        writes = any(a.alias_info is not None and a.alias_info.is_write for a in schema.arguments)
        view = not writes and any(r.alias_info is not None for r in schema.returns)
        if not (view or name in IDLE or name.startswith(("profiler::", "aten::empty", "aten::new_empty"))):
            self.calls[name] += self._launches(name, args)
            self._hide(name, args)
            written = [given for given, a in zip(args, schema.arguments, strict=False)
                       if a.alias_info is not None and a.alias_info.is_write]
            self._chain((args, kwargs), (out, written))
        return out

    @staticmethod
    def _launches(name: str, args: tuple) -> int:
        if name == "aten::convolution":
            return 1 if args[2] is None else 2
        if name == "aten::convolution_backward":
            return sum(args[-1])
        return 1

    def _hide(self, name: str, args: tuple) -> None:
        self.hidden["memsets"] += name in NORMS
        if name == "aten::convolution_backward":
            weight, (of_input, of_weight, _) = args[2], args[-1]
            self.hidden["memsets"] += of_input
            if of_weight and weight[0, 0].numel() > 1:
                self.hidden["conversions"] += 2
                self.hidden["initialisations"] += weight.shape[1] >= 32

    def _chain(self, reads, writes) -> None:
        read, written = ([x for x in tree_leaves(v) if isinstance(x, Tensor)] for v in (reads, writes))
        depth = 1 + max((self.depth.get(x.untyped_storage().data_ptr(), 0) for x in read), default=0)
        for storage in (x.untyped_storage() for x in written):
            self.depth[storage.data_ptr()] = depth
            self.kept.append(storage)

    @property
    def total(self) -> int:
        return sum(self.calls.values())

    @property
    def nodes(self) -> int:
        return self.total + sum(self.hidden.values())

    @property
    def path(self) -> int:
        return max(self.depth.values(), default=0)
