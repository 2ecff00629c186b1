"""Everything gdexp raises on purpose.

::

    Exception
    ├── GdexpError             a plain sentence; the command line prints it, exit code 2
    │   ├── ConfigError        a setting is unknown, of the wrong type or out of range
    │   │   └── UntrustedError a record names code that is not trusted; it was not imported
    │   └── StoreError         the tracking store cannot be used
    │       └── WriteError     the open store cannot be written: runs are lost, exit code 1
    └── RunFailedError         a run failed and has been reported, exit code 1
    KeyboardInterrupt
    └── Interrupted            Ctrl-C, SIGTERM or SIGHUP, exit code 128 + the signal's number

The messages are complete sentences: which setting, the value given, what is expected and what to
type instead. A notebook shows them without a traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def _message_only(error: Exception) -> list[str]:
    """What IPython prints instead of a traceback: lines."""
    return f"{type(error).__name__}: {error}".splitlines()


class GdexpError(Exception):
    """A sentence for the user; no traceback is needed to understand it."""

    _render_traceback_ = _message_only  # IPython's hook


class ConfigError(GdexpError, ValueError):
    """A setting is unknown, of the wrong type or out of its range."""


class UntrustedError(ConfigError):
    """A record names code that the user has not trusted; nothing was imported."""


class StoreError(GdexpError, OSError):
    """The tracking store, or the folder it lives in, cannot be used."""


class WriteError(StoreError):
    """The open store cannot be written, so runs that were computed are not recorded."""


class RunFailedError(Exception):
    """A run failed and has been reported; only the exit code is left to set."""

    _render_traceback_ = _message_only


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, SIGTERM or SIGHUP reached the process.

    A KeyboardInterrupt, so that no ``except Exception`` on the way swallows it.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum

    @property
    def exit_code(self) -> int:
        """The shell's convention for a process ended by a signal: 130, 143 or 129."""
        return 128 + self.signum


def first_line(error: BaseException) -> str:
    """The first line of an exception's message, or its repr if the message is empty.

    >>> first_line(ValueError())
    'ValueError()'
    """
    return (str(error).strip() or repr(error)).splitlines()[0]


def brief(error: BaseException) -> str:
    """The first line for use inside a sentence: at most 300 characters and no full stop."""
    return first_line(error)[:300].rstrip(".")


def excerpt(value: object) -> str:
    """A value from a file for use inside a sentence: its repr on one line, at most 80 characters.

    >>> excerpt("a" * 200) == repr("a" * 200)[:79] + "…"
    True
    """
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else text[:79] + "…"


def did_you_mean(given: str, known: Iterable[str], *, prefix: str = "") -> str:
    """The end of an error sentence: the nearest valid name, or nothing if none is similar.

    >>> did_you_mean("lrr", ["lr", "iters"])
    ' Did you mean lr?'
    >>> did_you_mean("autogradd", ["manual", "autograd"], prefix="step=")
    ' Did you mean step=autograd?'
    >>> did_you_mean("zebra", ["lr"])
    ''
    """
    name = nearest(given, known)
    return "" if name is None else f" Did you mean {prefix}{name}?"


def nearest(given: str, known: Iterable[str]) -> str | None:
    """The known name most similar to the given one, ignoring case; None if none is similar.

    >>> nearest("Lrr", ["lr", "iters"])
    'lr'
    """
    lowered = {name.lower(): name for name in known}
    similar = difflib.get_close_matches(given.lower(), lowered, n=1, cutoff=0.6)
    if not similar:  # `loss=mse` means MSELoss, which is too long for the ratio above
        similar = [name for name in lowered if name.startswith(given.lower()) and given][:1]
    return lowered[similar[0]] if similar else None


def counted(number: int, noun: str) -> str:
    """A number and its noun, singular or plural.

    >>> counted(1, "run"), counted(0, "run"), counted(3, "right digit")
    ('1 run', '0 runs', '3 right digits')
    """
    return f"{number} {noun}{'' if number == 1 else 's'}"
