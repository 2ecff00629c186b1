"""Waiting for a store that may never answer: for as long as it answers others, and not longer."""

from __future__ import annotations

import importlib.util
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar, cast

from gdexp.descent.signals import signalled
from gdexp.errors import cause
from gdexp.tracking.database import Postgres
from gdexp.tracking.location import check_reachable, kind_of

SILENCE = 2.0  # seconds after which a store is asked whether it is there
ANSWER = 2.0  # seconds it may take to say so
LONGEST = 60.0  # seconds to wait for a store that is there, but busy
HURRY = 1.0  # seconds to wait after a signal
SLICE = 0.05  # seconds between two looks

T = TypeVar("T")


class Attempt(threading.Thread, Generic[T]):
    """A call in a thread of its own, so that it can be given up: it may hang for ever.

    Args:
        action: what to call.
        uri: the store that it waits for.
    """

    def __init__(self, action: Callable[[], T], uri: str) -> None:
        super().__init__(daemon=True)
        self.is_abandoned = False
        self._action, self._uri = action, uri
        self._result: T | None = None
        self._error: BaseException | None = None
        self._done = threading.Event()
        self.start()

    def run(self) -> None:
        """Call the action."""
        try:
            self._result = self._action()
        except BaseException as error:  # raised in the thread that waits
            self._error = error
        self._done.set()

    def wait(self, longest: float = LONGEST) -> T:
        """The result of the action; what it raises is raised here.

        Raises:
            TimeoutError: the store does not answer, or the action takes too long.
        """
        start, reason = time.monotonic(), ""
        if not (self._is_done(SILENCE) or signalled()):
            while time.monotonic() < start + longest and not self._done.is_set():
                probe = Attempt(lambda: _ask(self._uri), self._uri)
                self._is_done(ANSWER, probe)
                reason = cause(probe._error) if probe._error is not None else ""
                if reason or not (probe._done.is_set() or self._done.is_set()) or signalled():
                    break
                self._is_done(SILENCE)
        if signalled():
            self._done.wait(HURRY)
        if not self._done.is_set():
            self.is_abandoned = True
            seconds = time.monotonic() - start
            raise TimeoutError(reason or f"no answer within {seconds:.0f} seconds")
        if self._error is not None:
            raise self._error
        return cast(T, self._result)

    def _is_done(self, seconds: float, probe: Attempt[None] | None = None) -> bool:
        """Whether the action is done before these seconds, a signal or the end of the probe."""
        deadline = time.monotonic() + seconds
        while not self._done.wait(SLICE) and time.monotonic() < deadline:
            if signalled() or (probe is not None and probe._done.is_set()):
                break
        return self._done.is_set()


def patiently(action: Callable[[], T], uri: str, longest: float = LONGEST) -> T:
    """Call an action that waits for a store, but not for longer than the store answers others.

    Raises:
        TimeoutError: the store does not answer.
    """
    if kind_of(uri) == "sqlite":  # SQLite itself limits how long it waits
        return action()
    return Attempt(action, uri).wait(longest)


def is_abandoned() -> bool:
    """Whether nobody waits any more for what this thread does."""
    return bool(getattr(threading.current_thread(), "is_abandoned", False))


def _ask(uri: str) -> None:
    """Raise an exception if the store does not answer, or refuses the user."""
    kind = kind_of(uri)
    if kind == "postgresql" and importlib.util.find_spec("psycopg"):
        with Postgres(uri).reading() as connection:
            connection.query("SELECT 1")
    elif kind != "sqlite":
        check_reachable(uri)
