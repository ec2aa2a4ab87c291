"""C++ beside the Python, compiled on first use and kept in the user's cache."""
from __future__ import annotations

import ctypes
import hashlib
import os
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

import torch  # noqa: F401  brings its OpenMP, which a library loaded later shares: two would fight for the cores

FLAGS = ("-std=c++17", "-O3", "-march=native", "-fopenmp", "-shared", "-fPIC")


class Unavailable(Exception):
    """No compiled library here; the message is one line that says why."""


def load(source: Path, functions: dict[str, list]) -> ctypes.CDLL:
    """The library compiled from ``source`` for this very machine, by ``$CXX`` or the first of c++, g++, clang++.

    functions: the types of each function's arguments; none returns anything. The library is kept in
    ``$XDG_CACHE_HOME/mixkd`` (``~/.cache/mixkd``) under a name that holds its source, the headers beside it, compiler
    and processor, so a home shared by several machines serves each its own. Raises :class:`Unavailable`.
    """
    library = _load(source)
    try:
        for name, arguments in functions.items():
            getattr(library, name).argtypes = arguments
            getattr(library, name).restype = None
    except AttributeError as error:
        raise Unavailable(f"the library of {source.name} lacks a function: {error}") from None
    return library


def _load(source: Path) -> ctypes.CDLL:
    try:
        compiler = _compiler()
        name = f"{source.stem}-{_digest(source, compiler)}.so"
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise Unavailable(f"the C++ compiler{_named()} can't be run: {error}") from None
    try:
        cached = _cache() / name
        if not cached.exists():
            cached.parent.mkdir(parents=True, exist_ok=True)
            _compile(compiler, source, cached)
        return ctypes.CDLL(str(cached))
    except (OSError, RuntimeError):  # no home, none that can be written to, or a damaged library: for this process only
        with tempfile.TemporaryDirectory() as folder:
            library = Path(folder, name)
            try:
                _compile(compiler, source, library)
                return ctypes.CDLL(str(library))
            except OSError as error:
                raise Unavailable(f"what {compiler[0]} made can't be loaded: {error}") from None


def _named() -> str:
    return " that CXX names" if os.environ.get("CXX") else ""


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "mixkd")


def _compiler() -> list[str]:
    named = shlex.split(os.environ.get("CXX", ""))
    for words in [named] if named else [["c++"], ["g++"], ["clang++"]]:
        if shutil.which(words[0]):
            return words
    why = f" {named[0]}, as CXX names it" if named else " (c++, g++, clang++)"
    raise Unavailable(f"no C++ compiler{why}")


def _digest(source: Path, compiler: list[str]) -> str:
    """Of all that the library depends on; ``-march=native`` makes the processor part of it."""
    version = subprocess.run([*compiler, "--version"], capture_output=True, check=False, timeout=60).stdout
    info = Path("/proc/cpuinfo")
    lines = info.read_text(errors="replace").splitlines() if info.exists() else []
    processor = sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))})
    headers = [path.read_bytes() for path in sorted(source.parent.glob("*.h"))]
    parts = [source.read_bytes(), *headers, repr([compiler, FLAGS, processor]).encode(), version]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def _compile(compiler: list[str], source: Path, library: Path) -> None:
    """Written beside and renamed, so that a process that looks on never sees half of it."""
    handle, beside = tempfile.mkstemp(".so", dir=library.parent)
    os.close(handle)
    try:
        done = subprocess.run([*compiler, *FLAGS, str(source), "-o", beside], capture_output=True, text=True,
                              errors="replace", check=False, timeout=300)
        if done.returncode:
            why = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[0]
            raise Unavailable(f"{shlex.join(compiler)} can't compile {source.name}: {why}")
        ctypes.CDLL(beside)  # what can't be loaded is not kept
        with open(beside, "rb") as file:
            os.fsync(file.fileno())
        os.replace(beside, library)
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{compiler[0]} took longer than 300 s") from None
    finally:
        Path(beside).unlink(missing_ok=True)
