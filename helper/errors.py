"""Errors that end a command (bad input, a signal, a full disk): one line on stderr and an exit status."""
from __future__ import annotations

import difflib
import os
import sys
import textwrap
from collections.abc import Callable, Iterable, Sequence

import torch

from dataset import DataError
from distiller_zoo import DistillError


class UserError(Exception):
    """An error that the user can correct; the message is one line that names the flag or file and the correction."""


class Interrupted(Exception):
    """A signal stopped the run; it has been saved. ``signum`` gives the exit status 128 + signum."""

    def __init__(self, signum: int, message: str):
        super().__init__(message)
        self.signum = signum


def guard(main: Callable[[Sequence[str] | None], None], argv: Sequence[str] | None = None) -> int:
    """Run a script's main; a user's error becomes one line on stderr and status 2, a stop by signal 128 + signal."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a path may hold bytes that are not text
    try:
        main(argv)
    except (UserError, DataError, DistillError, OSError, torch.cuda.OutOfMemoryError) as error:
        return _complain(line_of(error), 2)
    except Interrupted as stop:
        return _complain(str(stop), 128 + stop.signum)
    except KeyboardInterrupt:
        return _complain("interrupted outside training; no step was lost", 130)
    return 0


def line_of(error: Exception) -> str:
    """One line for an error that ends a run or a command."""
    text = str(error)
    if isinstance(error, OSError):
        text = f"{error.strerror or error}" + (f": {error.filename}" if error.filename else "")
    return " ".join(text.split())


def _complain(message: str, status: int) -> int:
    print(f"{program()}: error: {' '.join(message.split())}", file=sys.stderr, flush=True)
    return status


def program() -> str:
    """What the user started: train_teacher.py, or python -m scripts.run_table."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return f"python -m {spec.name.removesuffix('.__main__')}" if spec else os.path.basename(sys.argv[0])


def in_short(error: Exception, width: int = 160) -> str:
    """An exception's message in one line, cut between two words where it is long; its type where it has none."""
    return textwrap.shorten(str(error) or type(error).__name__, width, placeholder=" ...")


def near(name: str, known: Iterable[str]) -> str:
    """'; did you mean A or B?' for the known names most like ``name``, or ''."""
    known = list(known)
    by_lower = {k.lower(): k for k in known}
    begun = [k for k in by_lower if len(name) > 3 and k.startswith(name.lower())]
    close = begun[:3] or difflib.get_close_matches(name.lower(), by_lower, n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(by_lower[c] for c in close)}?" if close else ""
