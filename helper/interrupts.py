"""SIGTERM and Ctrl-C: finish the step, save, leave. A second Ctrl-C leaves at once."""
from __future__ import annotations

import os
import signal


class Interrupts:
    """Context in which the two signals only set ``signum``; the training loop looks at it after every step."""

    def __init__(self):
        self.signum = 0

    def __enter__(self) -> Interrupts:
        self.old = {s: signal.signal(s, self._note) for s in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *exc) -> None:
        for signum, handler in self.old.items():
            signal.signal(signum, handler)

    def _note(self, signum: int, frame) -> None:
        if self.signum and signum == signal.SIGINT:
            os._exit(128 + signum)  # no clean-up: files in place are whole, the system drops the lock
        self.signum = signum
        os.write(2, b"\nstopping after this step; Ctrl-C again leaves without saving\n")
