"""What Ray runs on the machine that it chose for a run. It imports little, as every run starts with it."""
from __future__ import annotations

import os
import signal
import socket
import subprocess
from pathlib import Path

from .launch import ROOT, launch


class Worker:
    """Lives on the machine that Ray chose and starts there what :class:`Pool` would start here.

    The training process dies with it at once, so that it can't go on beside the run that takes its place.
    """

    def __init__(self):
        self.process: subprocess.Popen | None = None
        self.stopped = 0

    def place(self) -> str:
        return socket.gethostname()

    def run(self, argv: list[str], log: str, cwd: str, marks: list[str],
            environment: dict[str, str]) -> tuple[int, str]:
        """The status of the command, and why it was not even started."""
        unseen = [mark for mark in (*marks, str(ROOT / argv[0]), cwd) if not Path(mark).exists()]
        if unseen:
            folder = Path(unseen[0]).parent if unseen[0] in marks else unseen[0]
            return 2, (f"{socket.gethostname()} does not see {folder}; code, --save_dir, --data_dir and --out must be "
                       "on a file system that all machines share")
        self.process = launch(argv, Path(log), {**os.environ, **environment}, signal.SIGKILL, Path(cwd))
        if self.stopped:
            self.process.send_signal(self.stopped)
        return self.process.wait(), ""

    def signal(self, signum: int) -> None:
        self.stopped = signum
        if self.process is not None:
            self.process.send_signal(signum)
