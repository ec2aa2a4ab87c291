"""SIGTERM, SIGHUP (a closed terminal) and Ctrl-C: finish the step, save, leave. A second Ctrl-C leaves at once."""
from __future__ import annotations

import contextlib
import os
import signal

NOTICE = b"\nstopping after this step; Ctrl-C again leaves without saving\n"


class Interrupts:
    """Context in which the signals only set ``signum``; the training loop looks at it after every step.

    A SIGHUP that nohup ignores stays ignored. Data workers are forked inside this context and a terminal's Ctrl-C
    reaches them too: there it does nothing, because the main process still needs their batches.
    """

    def __init__(self):
        self.signum = 0
        self.pid = os.getpid()

    def __enter__(self) -> Interrupts:
        signals = [signal.SIGTERM, signal.SIGINT]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            signals.append(signal.SIGHUP)
        self.old = {s: signal.signal(s, self._note) for s in signals}
        return self

    def __exit__(self, *exc) -> None:
        for signum, handler in self.old.items():
            signal.signal(signum, handler)

    def _note(self, signum: int, frame) -> None:
        if os.getpid() != self.pid:
            if signum == signal.SIGTERM:
                os._exit(128 + signum)  # how a loader ends its workers
            return
        if self.signum and signum == signal.SIGINT:
            os._exit(128 + signum)  # no clean-up: files in place are whole, the system drops the lock
        self.signum = signum
        with contextlib.suppress(OSError):  # the terminal may be closed
            os.write(2, NOTICE)
