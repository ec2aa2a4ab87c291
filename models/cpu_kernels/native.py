"""The C++ sources of this folder, compiled on first use by torch.utils.cpp_extension and cached per user."""
from __future__ import annotations

import contextlib
import ctypes
import hashlib
import logging
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn

HERE = Path(__file__).parent
FLAGS = ["-std=c++17", "-O3", "-march=native", "-fopenmp"]
NUMBERS = {torch.float32: "float32", torch.bfloat16: "bfloat16"}  # that images may hold, as the functions' names end


class Unavailable(Exception):
    """No compiled library here; the message is one line with the reason."""


@cache
def library() -> ctypes.CDLL:
    """The functions of all ``*.cpp`` of this folder, compiled for this very machine by ``$CXX``, or by c++.

    Kept in ``$XDG_CACHE_HOME/mixkd`` (``~/.cache/mixkd``) under a name that identifies sources, compiler, torch and
    processor apart, so several machines can share a home. Raises :class:`Unavailable`.
    """
    return load(HERE)


def declare(functions: dict[str, list]) -> dict[tuple[str, torch.dtype], Callable[..., None]]:
    """The functions of these names, by name and the type of the images' numbers, with their argument types."""
    found = {(name, dtype): getattr(library(), f"{name}_{ending}")
             for name in functions for dtype, ending in NUMBERS.items()}
    for (name, _), function in found.items():
        function.argtypes, function.restype = functions[name], None
    return found


def plain(x: Tensor) -> bool:
    """Whether the kernels can read it: float32 or bfloat16 in the CPU's memory, no subclass of Tensor, which may have
    no memory, and no view that torch negates only when it is read."""
    return (type(x) in (Tensor, nn.Parameter) and x.device.type == "cpu" and x.dtype in NUMBERS
            and x.layout == torch.strided and not x.is_neg())


def load(folder: Path) -> ctypes.CDLL:
    """The library of the sources in ``folder``, from the cache, or compiled. Raises :class:`Unavailable`."""
    with contextlib.suppress(OSError, RuntimeError):  # no home, none that can be written to, or no library after all
        kept = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "mixkd")
        kept.mkdir(parents=True, exist_ok=True)
        name = digest(folder)
        return ctypes.CDLL(str(_find(kept, name) or _keep(folder, kept, name)))
    with tempfile.TemporaryDirectory() as place:
        return ctypes.CDLL(build(folder, place))


def _find(kept: Path, name: str) -> Path | None:
    """The whole library among those kept under this name. Half a file, as a power cut leaves it, would end the process
    with a bus error as it is loaded, so the name ends in a digest of what is in the file."""
    return next((path for path in kept.glob(f"{name}-*.so") if path.stem.endswith(_contents(path))), None)


def _keep(folder: Path, kept: Path, name: str) -> Path:
    with tempfile.TemporaryDirectory(dir=kept) as place:  # other processes find the whole file or none
        made = Path(build(folder, place))
        return made.replace(kept / f"{name}-{_contents(made)}.so")


def _contents(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def build(folder: Path, place: str) -> str:
    """Compile the sources of ``folder`` in the folder ``place``; returns the library's path there."""
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # without CUDA it warns of that
    from torch.utils import cpp_extension  # slow to import, and needed once a machine

    compiler = os.environ.get("CXX") or "c++"
    if not shutil.which(compiler):
        source = ", as CXX names it (a program, without arguments)" if "CXX" in os.environ else ""
        raise Unavailable(f"no C++ compiler {compiler}{source}")
    sources = [str(path) for path in sorted(folder.glob("*.cpp"))]
    try:
        with _ninja_found():
            return cpp_extension.load("mixkd", sources, extra_cflags=FLAGS, extra_ldflags=["-fopenmp"],
                                      build_directory=place, is_python_module=False)
    except (OSError, RuntimeError, ValueError, subprocess.SubprocessError) as error:
        lines = str(error).splitlines()
        why = next((line for line in lines if "error:" in line), lines[0] if lines else type(error).__name__)
        raise Unavailable(f"{compiler} can't compile {folder.name}: {why.strip()}") from None


@contextlib.contextmanager
def _ninja_found() -> Iterator[None]:
    """Put ninja in PATH, where cpp_extension searches; an interpreter called by its path has its own elsewhere."""
    try:
        import ninja  # here: training on CUDA compiles nothing
    except ImportError:
        raise Unavailable("ninja is not installed: pip install ninja") from None
    before = os.environ.get("PATH", "")
    os.environ["PATH"] = os.pathsep.join((ninja.BIN_DIR, before))
    try:
        yield
    finally:
        os.environ["PATH"] = before


def digest(folder: Path) -> str:
    """Of all that the library depends on; ``-march=native`` makes the processor part of it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(errors="replace").splitlines() if info.exists() else []
    processor = sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))})
    compiler = os.environ.get("CXX") or "c++"
    program = shutil.which(compiler) or compiler
    built = os.stat(program).st_mtime_ns if os.path.exists(program) else 0  # another compiler under the same name
    sources = [path.read_bytes() for path in sorted((*folder.glob("*.cpp"), *folder.glob("*.h")))]
    parts = [*sources, repr([compiler, program, built, FLAGS, processor, torch.__version__]).encode()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]
