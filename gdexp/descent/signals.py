"""Turn Ctrl-C, SIGTERM and SIGHUP into one exception, raised only where it does no harm."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from gdexp.errors import Interrupted

_shielded = False
_received: int | None = None  # the first signal; a second one ends the process
_raised = False
_resent = False  # whether the first signal is about to arrive again


def _on_signal(signum: int, frame: FrameType | None) -> None:
    global _received, _resent
    if _resent:
        _resent = False
    elif _received is not None:
        _end_at_once(signum)
    _received = signum
    if not _shielded:
        _raise()


def _raise() -> None:
    """Raise Interrupted, once."""
    global _raised
    if _received is not None and not _raised:
        _raised = True
        raise Interrupted(_received)


def _on_unraisable(unraisable: sys.UnraisableHookArgs) -> None:
    """An exception raised in a destructor is lost: send the signal again a moment later.

    On a busy machine that moment may be long, so the next shield looks for the signal as well.
    """
    global _raised, _resent
    if not isinstance(unraisable.exc_value, Interrupted):
        sys.__unraisablehook__(unraisable)
        return
    signum, _raised, _resent = unraisable.exc_value.signum, False, True
    again = threading.Timer(0.01, os.kill, (os.getpid(), signum))
    again.daemon = True
    again.start()


def _end_at_once(signum: int) -> None:
    with suppress(Exception):
        sys.stdout.flush()
    os._exit(128 + signum)


def signalled() -> bool:
    """Whether a signal has arrived, so that nothing should be waited for any longer."""
    return _received is not None


def ending() -> None:
    """End the process at the first signal, with the signal's exit code.

    For the time before and after :func:`handled`, in which a command imports or exits and there is
    nothing to save.
    """
    for signum in _signums():
        signal.signal(signum, lambda number, frame: _end_at_once(number))


def _signums() -> list[signal.Signals]:
    ignores_hangup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [signal.SIGINT, signal.SIGTERM] + [signal.SIGHUP] * (not ignores_hangup)


@contextmanager
def handled() -> Iterator[None]:
    """Raise Interrupted when a signal arrives; a second signal ends the process at once.

    Restores the former handlers at the end. SIGHUP stays ignored if it is, as under nohup. Does
    nothing outside the main thread, which alone may set signal handlers.
    """
    global _received, _raised, _resent
    if not _is_main_thread():
        yield
        return
    _received, _raised, _resent = None, False, False
    hook, sys.unraisablehook = sys.unraisablehook, _on_unraisable
    former = {signum: signal.signal(signum, _on_signal) for signum in _signums()}
    try:
        yield
        _raise()
    finally:
        for signum, handler in former.items():
            signal.signal(signum, handler)
        sys.unraisablehook = hook


def _is_main_thread() -> bool:
    """Whether this is the thread in which Python runs signal handlers."""
    return threading.current_thread() is threading.main_thread()


@contextmanager
def shielded() -> Iterator[None]:
    """Delay signals until the end of this block, so that it completes what it writes.

    Signals reach the main thread only, so in other threads this does nothing.
    """
    global _shielded
    if not _is_main_thread():
        yield
        return
    former, _shielded = _shielded, True
    try:
        yield
    finally:
        _shielded = former
        if not _shielded:
            _raise()


@contextmanager
def exposed() -> Iterator[None]:
    """Within a shielded block, allow signals again; a delayed one is raised here.

    The code around this block, still shielded, is sure to run.
    """
    global _shielded
    if not _is_main_thread():
        yield
        return
    former, _shielded = _shielded, False
    try:
        _raise()
        yield
    finally:
        _shielded = former
