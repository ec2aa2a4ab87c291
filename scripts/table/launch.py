"""One command as a process of its own. It imports little: every machine of a cluster starts with it."""
from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)  # looked up here: between fork and exec little is allowed


class Launched(subprocess.Popen):
    """A process and where it runs in words, '' for here."""

    place = ""


def launch(argv: list[str], log: Path, environment: dict[str, str], signum: int, cwd: Path | None = None) -> Launched:
    """Start a script of the project, or a module by its path, as a session of its own: Ctrl-C reaches the caller alone,
    who stops it in order.

    Its output goes to the end of ``log``. On Linux it gets ``signum`` when the caller dies, even by SIGKILL.
    """
    def die_with_parent() -> None:
        LIBC.prctl(PR_SET_PDEATHSIG, signum)

    script = Path(argv[0])
    module = not script.is_absolute() and len(script.parts) > 1
    program = ["-m", ".".join(script.with_suffix("").parts)] if module else [str(ROOT / script)]
    places = os.pathsep.join(filter(None, [str(ROOT), environment.get("PYTHONPATH")]))
    with log.open("a") as output:
        return Launched([sys.executable, *program, *argv[1:]], stdout=output, stderr=output, stdin=subprocess.DEVNULL,
                        env={**environment, "PYTHONPATH": places}, start_new_session=True, cwd=cwd,
                        preexec_fn=die_with_parent if sys.platform == "linux" else None)
