"""Start a script of the project as a process, on this machine or as a task of Ray. It imports little, because every
task of Ray imports it."""
from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)  # looked up here: between fork and exec little is allowed


def launch(argv: list[str], log: Path, environment: dict[str, str], signum: int,
           cwd: Path | None = None) -> subprocess.Popen:
    """Start a script of the project, or a module given by its path, in a session of its own, so that Ctrl-C reaches
    only the caller, who stops it.

    Its output is appended to ``log``. On Linux it gets ``signum`` when the caller dies, even by SIGKILL.
    """
    def die_with_parent() -> None:
        LIBC.prctl(PR_SET_PDEATHSIG, signum)

    script = Path(argv[0])
    module = not script.is_absolute() and len(script.parts) > 1
    program = ["-m", ".".join(script.with_suffix("").parts)] if module else [str(ROOT / script)]
    places = os.pathsep.join(filter(None, [str(ROOT), environment.get("PYTHONPATH")]))
    with log.open("a") as output:
        return subprocess.Popen(
            [sys.executable, *program, *argv[1:]], stdout=output, stderr=output, stdin=subprocess.DEVNULL, cwd=cwd,
            env={**environment, "PYTHONPATH": places, "PYTHONUNBUFFERED": "1"}, start_new_session=True,
            preexec_fn=die_with_parent if sys.platform == "linux" else None)


def work(argv: list[str], log: str, cwd: str, shared: list[str]) -> tuple[int, str]:
    """Ray's task: the exit status of the process, and why it was not started. Cancelling the task stops the process,
    which saves first. The process dies with the task's worker, so that it doesn't run beside a second attempt."""
    # Ray cancels by SIGINT, which is ignored in all that a shell script has started in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)
    host = socket.gethostname()
    for place in (str(ROOT / argv[0]), cwd, log, *shared):
        if not Path(place).exists():
            return 2, (f"{host} does not see {place}; code, --save_dir, --data_dir and --out must be on a file system "
                       "that all machines share")
    with open(log, "a") as file:
        print(f"==> on {host}", file=file)
    process = launch(argv, Path(log), dict(os.environ), signal.SIGKILL, Path(cwd))
    while True:
        try:
            return process.wait(0.5), ""  # without a time-out no KeyboardInterrupt would be seen
        except subprocess.TimeoutExpired:
            continue
        except KeyboardInterrupt:
            process.send_signal(signal.SIGTERM)
