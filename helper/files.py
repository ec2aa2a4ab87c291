"""Files that are written whole or not at all: text, bytes, JSON and CSV."""
from __future__ import annotations

import csv
import fcntl
import io
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

UMASK = os.umask(0)
os.umask(UMASK)


def save_text(text: str, path: Path) -> None:
    save_bytes(text.encode(), path)


def save_json(value: Any, path: Path) -> None:
    """Indented by two, with a newline at the end."""
    save_text(json.dumps(value, indent=2) + "\n", path)


def save_csv(rows: Iterable[Mapping[str, Any]], columns: Sequence[str], path: Path) -> None:
    """See :func:`csv_text`."""
    save_text(csv_text(rows, columns), path)


def csv_text(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """A header and a line per row. Columns that a row lacks are empty; what it has beyond them is left out."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def save_bytes(content: bytes | memoryview, path: Path, check: Callable[[Path], Any] | None = None) -> None:
    """Temporary file, fsync, ``check``, rename, fsync of the folder: ``path`` is the old file or the new, not half."""
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(prefix=".", suffix=".partial", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~UMASK)  # mkstemp's 0600 would hide results from the user's group
        if check:
            check(Path(temporary))
        os.replace(temporary, path)
        sync_folder(path.parent)
    except BaseException as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError):  # a full disk's error names no file
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise


def lock_folder(folder: Path) -> IO[str]:
    """Take the lock of ``folder``: the open file that has it. Closing it drops the lock, and so does the end of the
    process, so a crash leaves none. Raises BlockingIOError(pid, or '?') where another process has it."""
    file = folder / ".lock"
    handle = open(file, "a+")  # noqa: SIM115 - kept open for as long as the lock is needed
    try:
        # POSIX's, because data workers don't inherit it: it goes with this process, even if they outlive it
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not file.exists() or not os.path.samestat(file.stat(), os.fstat(handle.fileno())):
            raise BlockingIOError  # the process that had the lock has just removed it with the folder
    except (BlockingIOError, PermissionError):
        handle.seek(0)
        pid = handle.read(20).strip()
        handle.close()
        raise BlockingIOError(pid if pid.isdigit() else "?") from None
    handle.truncate(0)
    handle.write(str(os.getpid()))
    handle.flush()
    return handle


def sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def unwritable(folder: Path) -> str:
    """Why nothing can be written to ``folder``, which need not exist yet; '' where it can."""
    try:
        existing = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    except OSError as error:  # a name too long
        return str(error.strerror)
    if existing.is_dir() and os.access(existing, os.W_OK):
        return ""
    return f"{existing} is no folder that can be written to"
