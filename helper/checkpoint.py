"""Checkpoints: written whole or not at all, checked when read, and unable to run code.

Files keep the originals' names and keys, so that ``torch.load(path)["model"]`` works anywhere; here they add ``arch``,
``num_classes``, ``dataset`` and ``sha256``, the digest of everything else in the file.
"""
from __future__ import annotations

import argparse
import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .errors import UserError, in_short
from .files import save_bytes

# RepDistiller's own files: an argparse.Namespace under opt in *_last.pth, and a numpy.float64 as the optimiser's lr
# in every file saved after the first learning-rate drop. numpy renamed the module that such a scalar names.
_scalar = np.float64(0).__reduce__()[0]
SAFE_TYPES = [argparse.Namespace, np.dtype, type(np.dtype(np.float64)),
              (_scalar, "numpy.core.multiarray.scalar"), (_scalar, "numpy._core.multiarray.scalar")]


def save(state: dict[str, Any], path: Path) -> None:
    """Write ``state`` with its digest and read it back before it takes the place of ``path``."""
    buffer = io.BytesIO()
    torch.save({**state, "sha256": digest(state)}, buffer)
    save_bytes(buffer.getbuffer(), path, check=load)


def load(path: Path, digest_needed: bool = False) -> Any:
    """Read a checkpoint of this project or of RepDistiller's onto the CPU, without running anything in it.

    digest_needed: refuse a file without the digest that :func:`save` adds. Raises UserError, one line with the file's
    name, if it is missing, truncated, altered, or holds more than tensors and plain values.
    """
    if path.is_dir():
        raise UserError(f"{path}: a folder; name the checkpoint in it, as NAME_last.pth")
    if not path.is_file():
        raise UserError(f"{path}: no such checkpoint")
    try:
        with torch.serialization.safe_globals(SAFE_TYPES):
            state = torch.load(path, map_location="cpu", weights_only=True)
        expected = state.pop("sha256", None) if isinstance(state, dict) else None
        found = digest(state) if expected is not None else None
    except MemoryError:
        raise
    except Exception as error:  # torch raises whatever its parsers meet in a damaged or hostile file
        why = in_short(error)
        if "Weights only load failed" in str(error):
            why = "it holds more than tensors and plain values, so it is refused and nothing in it was run"
        raise UserError(f"{path}: not a readable checkpoint ({why}); take another copy") from None
    if found != expected:
        raise UserError(f"{path}: altered since it was written (sha256 {found[:12]}..., written as "
                        f"{str(expected)[:12]}...); take another copy")
    if digest_needed and expected is None:
        raise UserError(f"{path}: has no sha256 of its contents, so no run of this project wrote it")
    return state


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


def weights_of(state: Any, path: Path) -> dict[str, Tensor]:
    """The weights in a checkpoint: under ``model``, ``state_dict`` or bare, with or without ``module.``."""
    weights = state
    for key in ("model", "state_dict"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            weights = state[key]
            break
    if not isinstance(weights, dict) or not weights or not all(map(_is_plain, weights.values())):
        raise UserError(f"{path}: holds no weights under 'model', under 'state_dict' or bare")
    return {str(name).removeprefix("module."): w for name, w in weights.items()}


def _is_plain(weight: Any) -> bool:
    """A dense tensor of real numbers, in memory."""
    return (isinstance(weight, Tensor) and weight.layout == torch.strided and weight.device.type == "cpu"
            and not weight.is_quantized and not weight.is_complex())


def load_weights(model: torch.nn.Module, weights: dict[str, Tensor], path: Path, name: str) -> None:
    """Strictly; a mismatch is one line that names the first keys that differ."""
    expected = model.state_dict()
    differ = [f"{k} missing" for k in expected if k not in weights]
    differ += [f"{k} unexpected" for k in weights if k not in expected]
    differ += [f"{k} is {tuple(w.shape)}, not {tuple(expected[k].shape)}" for k, w in weights.items()
               if k in expected and w.shape != expected[k].shape]
    differ = differ or [f"{k} holds numbers that are not finite" for k, w in weights.items() if not w.isfinite().all()]
    if differ:
        more = f" and {len(differ) - 3} more" if len(differ) > 3 else ""
        raise UserError(f"{path}: not the weights of {name}: {', '.join(differ[:3])}{more}; "
                        "name another architecture or take another checkpoint")
    model.load_state_dict(weights)
