"""Turn Ctrl-C, SIGTERM and SIGHUP into one exception, raised only where it does no harm.

Within :func:`handled`, the first signal raises :class:`gdexp.errors.Interrupted`: at once, or at
the end of a block that is :func:`shielded`. What follows can be relied on:

- *Nothing is broken.* A shielded block is completed, and shields are put up and taken down.
- *Nothing is lost.* Libraries and destructors may swallow the exception, so it is raised again
  every second; and however :func:`handled` ends after a signal, it ends with the exception.
- *Nobody has to wait.* A second signal ends the process at once, even while the main thread waits
  in C code, where Python runs no signal handlers: another thread reads the signals.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from types import FrameType

from gdexp.descent.signal_watch import STOP, watch
from gdexp.errors import Interrupted

LAST = 30.0  # seconds for the other workers: joblib kills them as soon as one is gone
MACHINERY = (__file__, contextlib.__file__)  # never interrupted: it enters and leaves blocks

_is_handling = False
_shielded = False
_received: int | None = None  # the first signal
_pass_on: Callable[[], None] | None = None


def _on_signal(signum: int, frame: FrameType | None) -> None:
    global _received, _shielded
    if _received is None:
        _received = signum
        if _pass_on is not None:
            former, _shielded = _shielded, True  # the exception, raised again, would break it off
            try:
                _pass_on()
            finally:
                _shielded = former
    if frame is None or frame.f_code.co_filename not in MACHINERY:
        _raise_if_received()


def _raise_if_received() -> None:
    if _received is not None and not _shielded:
        raise Interrupted(_received)


def _ignore_lost(unraisable: sys.UnraisableHookArgs) -> None:
    """Say nothing of an Interrupted that was raised in a destructor: it is raised again."""
    if not isinstance(unraisable.exc_value, Interrupted):
        sys.__unraisablehook__(unraisable)


def _ignore_ended(failure: threading.ExceptHookArgs) -> None:
    """Say nothing of a library's thread that fails because a signal has ended its workers."""
    if _received is None:
        threading.__excepthook__(failure)


@contextmanager
def _watched() -> Iterator[None]:
    """Have a thread read the signals that arrive within this block."""
    signals, arrivals = os.pipe()
    os.set_blocking(arrivals, False)
    former = signal.set_wakeup_fd(arrivals, warn_on_full_buffer=False)
    thread = threading.Thread(target=watch, args=(signals, _on_signal), daemon=True)
    thread.start()
    try:
        yield
    finally:
        os.write(arrivals, STOP)
        thread.join()
        signal.set_wakeup_fd(former)
        os.close(signals)
        os.close(arrivals)


def signalled() -> bool:
    """Whether a signal has arrived, so that nothing should be waited for any longer."""
    return _received is not None


def is_of_signal(error: BaseException) -> bool:
    """Whether a signal may have raised an exception, rather than the code that it came from."""
    if not isinstance(error, KeyboardInterrupt):
        return False
    return not _is_handling or (_received is not None and not _shielded)


def ending() -> None:
    """End the process at the first signal, with the signal's exit code.

    For the time before and after :func:`handled`, in which a command imports or exits and there is
    nothing to save.
    """
    for signum in _signums():
        signal.signal(signum, _end_at_once)


def _end_at_once(signum: int, frame: FrameType | None) -> None:
    with suppress(Exception):
        sys.stdout.flush()
    os._exit(128 + signum)


def _signums() -> list[signal.Signals]:
    """The signals to handle; one that is ignored stays so: SIGHUP under nohup, SIGINT after &."""
    known = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    return [signum for signum in known if signal.getsignal(signum) is not signal.SIG_IGN]


@contextmanager
def handled(*, watched: bool = True, also: Sequence[int] = ()) -> Iterator[None]:
    """Raise Interrupted when a signal arrives; a second signal ends the process at once.

    If a signal has arrived, the block ends with Interrupted, whatever else it raises; that is then
    the cause. Restores the former handlers at the end. Does nothing within another such block, or
    outside the main thread, which alone may set signal handlers.

    Args:
        watched: False: nothing but the first signal matters.
        also: further signals to handle.

    Raises:
        Interrupted: a signal arrived.
    """
    global _is_handling, _shielded, _received
    if _is_handling or not _is_main_thread():
        yield
        return
    _is_handling, _shielded, _received = True, True, None
    error: BaseException | None = None
    hook, sys.unraisablehook = sys.unraisablehook, _ignore_lost
    thread_hook, threading.excepthook = threading.excepthook, _ignore_ended
    former = {signum: signal.signal(signum, _on_signal) for signum in (*_signums(), *also)}
    try:
        with _watched() if watched else nullcontext(), exposed():
            yield
    except BaseException as raised:
        error = raised
    for signum, handler in former.items():
        signal.signal(signum, handler)
    sys.unraisablehook, threading.excepthook = hook, thread_hook
    _is_handling = _shielded = False
    received, _received = _received, None  # what comes later, as in a notebook, was not signalled
    if received is not None:
        cause = error.__cause__ if isinstance(error, Interrupted) else error
        raise Interrupted(received) from cause
    if error is not None:
        raise error


@contextmanager
def in_worker() -> Iterator[None]:
    """In a process of another launcher: end the process when a signal has ended this block.

    The signal may come from the terminal and from the main process. From the end of the block on,
    signals are ignored: a main process that passed one on sees that, and ends this process.
    """
    if _is_handling or not _is_main_thread():
        yield
        return
    try:
        with handled(watched=False):
            yield
    except Interrupted as stop:
        for signum in _signums():
            signal.signal(signum, signal.SIG_IGN)
        time.sleep(LAST)
        os._exit(stop.exit_code)


@contextmanager
def passing_on(interrupt: Callable[[], None]) -> Iterator[None]:
    """Call a function at the first signal, before Interrupted is raised, within this block."""
    global _pass_on
    former, _pass_on = _pass_on, interrupt
    try:
        yield
    finally:
        _pass_on = former


def _in_fork() -> None:
    """A forked process has no thread that watches, and ends at the first signal."""
    global _is_handling
    if _is_handling:
        _is_handling = False
        signal.set_wakeup_fd(-1)
        ending()


os.register_at_fork(after_in_child=_in_fork)


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
    _raise_if_received()


@contextmanager
def exposed() -> Iterator[None]:
    """Within a shielded block, allow signals again; a delayed one is raised here.

    The code around this block, still shielded, is sure to run.

    Raises:
        Interrupted: a signal arrived, whatever else the block raises.
    """
    global _shielded
    if not _is_main_thread():
        yield
        return
    former, _shielded = _shielded, False
    try:
        _raise_if_received()
        yield
        _raise_if_received()  # it may have arrived while this block was left
    except Exception as error:
        if _received is None:
            raise
        raise Interrupted(_received) from error  # what it interrupted may fail in any way
    finally:
        _shielded = former
