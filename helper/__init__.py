"""Runs: from a command line to a trained and recorded network."""
import contextlib
import os
from pathlib import Path

# torch makes this folder when parts of it are imported, by default among the temporary files, where it would stay.
# Here it is beside the compiled kernels; without a home that can be written to, torch's default holds.
with contextlib.suppress(OSError, RuntimeError):
    _folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "mixkd", "torchinductor")
    _folder.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(_folder))
