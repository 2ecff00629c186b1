"""The thread that reads the signals, for :mod:`gdexp.descent.signals`."""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import TypeAlias

AGAIN = 1.0  # seconds after which the exception is raised again, in case it was swallowed
STOP = b"\0"  # no signal has this number

Handler: TypeAlias = Callable[[int, FrameType | None], None]


def watch(signals: int, handler: Handler) -> None:
    """Read the numbers of the signals that arrive, until STOP; a thread's target.

    A second signal ends the process, but a second SIGHUP does not: when a terminal is closed, the
    kernel and the shell may both send one.
    """
    first = repeated = 0
    poll = select.poll()
    poll.register(signals, select.POLLIN)
    while True:
        if not poll.poll(AGAIN * 1000 if first else None):
            repeated += 1  # it arrives here, too
            # Not SIGTERM: Ray, while it ends, has its own handler for that.
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            continue
        number = os.read(signals, 1)[0]
        if number == STOP[0]:
            return
        if signal.getsignal(number) is not handler:  # a library's own, as of MLflow's server
            continue
        if number == signal.SIGINT and repeated:
            repeated -= 1
        elif first and number != signal.SIGHUP:
            os._exit(128 + number)
        first = first or number
