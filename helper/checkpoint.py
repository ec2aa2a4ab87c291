"""Checkpoints: written atomically, checked when read, and loaded without running code.

Files keep the originals' names and keys, so that ``torch.load(path)["model"]`` works anywhere; here they add ``arch``,
``num_classes``, ``dataset`` and ``sha256``, the digest of everything else in the file.
"""
from __future__ import annotations

import argparse
import hashlib
import importlib
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .errors import UserError, in_short
from .files import save_bytes

# Where files keep their weights, unless these are bare.
PLACES = ("model", "state_dict", "model_state_dict", "model_state", "net", "network", "weights", "student", "model_ema",
          "state_dict_ema", "ema")
WRAPPERS = re.compile(r"((?:module|_orig_mod)\.)+")  # of DataParallel and torch.compile, before a weight's name
COUNT = "num_batches_tracked"  # of a batch norm, since torch 0.4.1
FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
LIBRARY = "safetensors.torch"


# numpy's values, as RepDistiller's files hold them from the first drop of the learning rate on, are read by these in
# the place of numpy's own functions, which would accept any state from a file.

class _DType:
    """numpy.dtype of numbers, truth values and strings."""

    def __init__(self, code: str, *_: Any):
        if not re.fullmatch(r"[biufcSU][1-9]\d{0,3}", code):
            raise ValueError(f"an array of type {code}")
        self.type = np.dtype(code)

    def __setstate__(self, state: tuple) -> None:
        self.type = self.type.newbyteorder(state[1])


class _Array(list):
    """numpy.ndarray, as nested lists."""

    def __setstate__(self, state: tuple) -> None:
        _, shape, dtype, fortran, content = state
        values = np.ndarray(shape, dtype.type, content, order="F" if fortran else "C")
        self[:] = np.atleast_1d(values).tolist() if values.size else []


def _scalar(dtype: _DType, content: bytes) -> np.generic:
    return np.ndarray((), dtype.type, content)[()]


def _reconstruct(*_: Any) -> _Array:
    return _Array()


def _no_bytes() -> bytes:
    """bytes(), of an empty array; with an argument it would fill the memory."""
    return b""


# numpy renamed the module that its values name.
SAFE_TYPES = [argparse.Namespace, (_DType, "numpy.dtype"), (_Array, "numpy.ndarray"),
              (_scalar, "numpy.core.multiarray.scalar"), (_scalar, "numpy._core.multiarray.scalar"),
              (_no_bytes, "builtins.bytes"), (_reconstruct, "numpy.core.multiarray._reconstruct"),
              (_reconstruct, "numpy._core.multiarray._reconstruct")]


def save(state: dict[str, Any], path: Path) -> None:
    """Write ``state`` with its digest and read it back before it takes the place of ``path``."""
    buffer = io.BytesIO()
    torch.save({**state, "sha256": digest(state)}, buffer)
    save_bytes(buffer.getbuffer(), path, check=load)


def load(path: Path, digest_needed: bool = False) -> Any:
    """Read a checkpoint onto the CPU, without running anything in it: torch's, or .safetensors by its own package.

    digest_needed: refuse a file without the digest that :func:`save` adds. Raises UserError, one line with the file's
    name, if it is missing, truncated, altered, or contains more than tensors and plain values.
    """
    if path.is_dir():
        raise UserError(f"{path}: a folder; name the checkpoint in it, as NAME_last.pth")
    if not path.is_file():
        raise UserError(f"{path}: no such checkpoint")
    mend = "" if digest_needed else "; take another copy"  # a run's own state has no other copy
    try:
        state = _safetensors(path) if path.suffix == ".safetensors" else _pickled(path)
        expected = state.pop("sha256", None) if isinstance(state, dict) else None
        found = digest(state) if expected is not None else None
    except (MemoryError, UserError):
        raise
    except Exception as error:  # torch raises whatever its parsers meet in a damaged or hostile file
        why = in_short(error)
        if "Weights only load failed" in str(error):
            why = "it holds more than tensors and plain values, so it is refused and nothing in it was run"
        raise UserError(f"{path}: not a readable checkpoint ({why}){mend}") from None
    if found != expected:
        raise UserError(f"{path}: altered since it was written (sha256 {found[:12]}..., written as "
                        f"{str(expected)[:12]}...){mend}")
    if digest_needed and expected is None:
        raise UserError(f"{path}: has no sha256 of its contents, so no run of this project wrote it")
    return state


def _pickled(path: Path) -> Any:
    with torch.serialization.safe_globals(SAFE_TYPES):
        return torch.load(path, map_location="cpu", weights_only=True)


def _safetensors(path: Path) -> dict[str, Tensor]:
    try:
        library = importlib.import_module(LIBRARY)
    except ImportError:
        raise UserError(f"{path}: is read by the package safetensors, which is not installed; pip install safetensors, "
                        "or give the weights as a .pth") from None
    return library.load_file(path)


def optimizer_state(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Its state_dict with learning rates as plain numbers."""
    state = optimizer.state_dict()
    groups = [{**group, "lr": float(group["lr"])} for group in state["param_groups"]]
    return {**state, "param_groups": groups}


def cpu_state_dict(module: torch.nn.Module) -> dict[str, Tensor]:
    """A state_dict on the CPU in the default memory format, as any loader expects it.

    From another device all numbers of a type leave in one copy: one wait for the device in place of one per tensor.
    """
    state = {name: value.detach() for name, value in module.state_dict().items()}
    if all(value.device.type == "cpu" for value in state.values()):
        return {name: value.contiguous() for name, value in state.items()}
    return copied_together(state)


def copied_together(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of ``state`` on the CPU, in memory of their own; those of one type travel as one flat copy."""
    copies = dict.fromkeys(state)  # keeps the order
    for dtype in {value.dtype for value in state.values()}:
        names = [name for name, value in state.items() if value.dtype == dtype]
        flat = torch.cat([state[name].reshape(-1) for name in names]).cpu()
        for name, part in zip(names, flat.split([state[name].numel() for name in names]), strict=True):
            copies[name] = part.view(state[name].shape).clone()  # a view would be saved with all the others' memory
    return copies


def digest(value: Any) -> str:
    """sha256 over names, types, shapes and bytes of everything in a nested state; equal states, equal digests."""
    sha = hashlib.sha256()
    for piece in _pieces(value):
        sha.update(piece)
    return sha.hexdigest()


def _pieces(value: Any) -> Iterator[bytes]:
    if isinstance(value, Tensor):
        value = value.detach().cpu().contiguous()
        yield f"T{value.dtype}{tuple(value.shape)}".encode()
        yield value.reshape(-1).view(torch.uint8).numpy().tobytes() if value.numel() else b""
    elif isinstance(value, dict):
        yield f"D{len(value)}".encode()
        for key, item in value.items():
            yield f"{type(key).__name__}:{key}".encode(errors="backslashreplace")
            yield from _pieces(item)
    elif isinstance(value, (list, tuple)):
        yield f"L{len(value)}".encode()
        for item in value:
            yield from _pieces(item)
    else:
        yield f"{type(value).__name__}:{value!r}".encode(errors="backslashreplace")


def weights_of(state: Any, path: Path) -> tuple[dict[str, Tensor], str]:
    """The weights in a checkpoint, by the networks' own names, and what was done to them, in words ('' if nothing).

    They are found under one of PLACES or bare. Wrappers' prefixes and whatever is no tensor are taken off, counts that
    torch before 0.4.1 did not store are added as 0. Types stay, so that the digest is that of the file's weights.
    Raises UserError: no weights, two places that differ, weights that are no dense floating-point tensors.
    """
    places = [p for p in PLACES if isinstance(state, dict) and _has_tensors(state.get(p))]
    found = [_cleaned(state[p], path) for p in places] or ([_cleaned(state, path)] if _has_tensors(state) else [])
    if not found:
        raise UserError(f"{path}: holds no weights bare or under {', '.join(PLACES)}")
    if len({digest(dict(sorted(weights.items()))) for weights, _ in found}) > 1:
        raise UserError(f"{path}: holds weights under {' and '.join(map(repr, places))} that differ; save one of them "
                        f"alone: state = torch.load(FILE); torch.save(state[{places[0]!r}], NEW_FILE)")
    return found[0]


def _has_tensors(value: Any) -> bool:
    return isinstance(value, dict) and any(isinstance(item, Tensor) for item in value.values())


def _cleaned(state: dict, path: Path) -> tuple[dict[str, Tensor], str]:
    """See :func:`weights_of`."""
    weights: dict[str, Tensor] = {}
    off, types = set(), set()
    for key, value in state.items():
        wrapper = WRAPPERS.match(str(key))
        name = str(key)[wrapper.end() if wrapper else 0:].replace("._orig_mod.", ".")
        if name != str(key):
            off.add(wrapper[0] if wrapper else "_orig_mod.")
        if not isinstance(value, Tensor) or name == "n_averaged":  # torch's AveragedModel counts with it
            off.add(name)
            continue
        if name in weights:
            raise UserError(f"{path}: holds {name} twice, with and without {', '.join(sorted(off))}; keep one of them")
        _check_type(name, value, path)
        if value.is_floating_point() and value.dtype != torch.float32:
            types.add(str(value.dtype).removeprefix("torch."))
        weights[name] = value
    norms = [name.removesuffix("running_mean") for name in weights if name.endswith("running_mean")]
    if lacking := [norm + COUNT for norm in norms if norm + COUNT not in weights]:
        weights |= {name: torch.tensor(0) for name in lacking}
    changes = [f"{', '.join(sorted(off))} taken off"] * bool(off)
    changes += [f"{', '.join(sorted(types))} converted to float32"] * bool(types)
    changes += [f"{COUNT} added to {len(lacking)} norms"] * bool(lacking)
    return weights, "; ".join(changes)


def _check_type(name: str, weight: Tensor, path: Path) -> None:
    """Raises UserError for anything but a dense tensor of real numbers, or of whole ones for a count."""
    whole = not (weight.is_floating_point() or weight.is_complex() or weight.is_quantized)
    dense = weight.layout == torch.strided and weight.device.type == "cpu" and not weight.is_quantized
    if not dense or not (weight.dtype in FLOATS or whole and name.endswith(COUNT)):
        dtype = str(weight.dtype if weight.layout == torch.strided else weight.layout).removeprefix("torch.")
        raise UserError(f"{path}: {name} is {dtype} on the device {weight.device}; save the weights as dense float32 "
                        "tensors on the CPU")


def load_weights(model: torch.nn.Module, weights: dict[str, Tensor], path: Path, name: str) -> None:
    """Strictly; a mismatch is one line that names the first keys that differ."""
    expected = model.state_dict()
    differ = [f"{k} missing" for k in expected if k not in weights]
    differ += [f"{k} unexpected" for k in weights if k not in expected]
    differ += [f"{k} is {tuple(w.shape)}, not {tuple(expected[k].shape)}" for k, w in weights.items()
               if k in expected and w.shape != expected[k].shape]
    differ = differ or [f"{k} holds numbers that are not finite in float32" for k, w in weights.items()
                        if not w.float().isfinite().all()]
    if differ:
        more = f" and {len(differ) - 3} more" if len(differ) > 3 else ""
        raise UserError(f"{path}: not the weights of {name}: {', '.join(differ[:3])}{more}; "
                        "give its architecture, or another checkpoint")
    model.load_state_dict(weights)
