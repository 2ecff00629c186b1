"""Ctrl-C and SIGTERM, turned into one exception that arrives where it does no harm."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from gdexp.errors import Interrupted

_shields = 0
_pending: int | None = None


def _on_signal(signum: int, frame: FrameType | None) -> None:
    global _pending
    if _shields:
        _pending = signum
    else:
        raise Interrupted(signum)


@contextmanager
def handled() -> Iterator[None]:
    """Raise Interrupted when SIGINT or SIGTERM arrives; the former handlers return at the end.

    Only the main thread may set signal handlers; in any other this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = {s: signal.signal(s, _on_signal) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for signum, handler in former.items():
            signal.signal(signum, handler)


@contextmanager
def shielded() -> Iterator[None]:
    """Let a signal wait until this block is done: what it writes is written whole."""
    global _shields, _pending
    _shields += 1
    try:
        yield
    finally:
        _shields -= 1
        if not _shields and _pending is not None:
            signum, _pending = _pending, None
            raise Interrupted(signum)
