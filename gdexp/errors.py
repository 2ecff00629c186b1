"""Everything gdexp raises on purpose.

::

    Exception
    ├── GdexpError             a plain sentence; the command line prints it, exit code 2
    │   ├── ConfigError        a setting is unknown, of the wrong type or out of range
    │   │   └── UntrustedError a record names code that is not trusted; it was not imported
    │   └── StoreError         the tracking store cannot be used
    │       └── WriteError     the open store cannot be written, exit code 1
    │           └── RefusedError   it answers, and refuses the run itself: trying again is no use
    └── RunFailedError         a run failed and has been reported, exit code 1
    KeyboardInterrupt
    └── Interrupted            Ctrl-C, SIGTERM or SIGHUP, exit code 128 + the signal's number

The messages are complete sentences: which setting, the value given, what is expected and what to
type instead. A notebook shows them without a traceback.
"""

from __future__ import annotations

import difflib
import signal
from collections.abc import Iterable

from gdexp.credentials import scrubbed


def _message_only(error: Exception) -> list[str]:
    """What IPython prints instead of a traceback: lines."""
    return f"{type(error).__name__}: {error}".splitlines()


class GdexpError(Exception):
    """A sentence for the user, without passwords; no traceback is needed to understand it."""

    def __init__(self, sentence: object) -> None:
        super().__init__(scrubbed(str(sentence)))

    _render_traceback_ = _message_only  # IPython's hook


class ConfigError(GdexpError, ValueError):
    """A setting is unknown, of the wrong type or out of its range."""


class UntrustedError(ConfigError):
    """A record names code that the user has not trusted; nothing was imported."""


class StoreError(GdexpError, OSError):
    """The tracking store, or the folder it lives in, cannot be used."""


class WriteError(StoreError):
    """The open store cannot be written, so runs that were computed are not recorded."""


class RefusedError(WriteError):
    """The store answers and refuses what is written, so that trying again is no use."""


class RunFailedError(Exception):
    """A run failed and has been reported; only the exit code is left to set."""

    def __init__(self, reason: str) -> None:
        super().__init__(scrubbed(reason))

    _render_traceback_ = _message_only


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, SIGTERM or SIGHUP reached the process.

    A KeyboardInterrupt, so that no ``except Exception`` on the way swallows it.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum

    @property
    def message(self) -> str:
        """What interrupted; and why the end could not be recorded, if that is the cause."""
        name = signal.Signals(self.signum).name
        lines = [f"interrupted by {'Ctrl-C' if name == 'SIGINT' else name}"]
        if isinstance(self.__cause__, WriteError):
            lines.append(f"gdexp: {self.__cause__}")
        return "\n".join(lines)

    @property
    def exit_code(self) -> int:
        """The shell's convention for a process ended by a signal: 130, 143 or 129."""
        return 128 + self.signum


def first_line(error: BaseException) -> str:
    """The first line of an exception's message, or its repr if the message is empty.

    >>> first_line(ValueError())
    'ValueError()'
    """
    return scrubbed((str(error).strip() or repr(error)).splitlines()[0])


def full_traceback(error: BaseException) -> str:
    """The traceback of an exception, as Python prints it, without passwords."""
    import traceback

    return scrubbed("".join(traceback.format_exception(error)))


def brief(error: BaseException) -> str:
    """The first line for use inside a sentence: at most 300 characters and no full stop."""
    return first_line(error)[:300].rstrip(".")


def cause(error: BaseException) -> str:
    """What an exception goes back to, as a part of a sentence: "Connection refused".

    >>> try:
    ...     try:
    ...         raise ConnectionRefusedError(111, "Connection refused")
    ...     except OSError as inner:
    ...         raise ValueError("API request to http://me:secret@host failed") from inner
    ... except ValueError as outer:
    ...     cause(outer)
    'Connection refused'
    """
    chain = [error]
    while inner := chain[-1].__cause__ or chain[-1].__context__:
        chain.append(inner)
    words = [e.strerror for e in chain if isinstance(e, OSError) and e.strerror]
    explicit = next(e for e in chain if e.__cause__ is None)
    return (words[-1] if words else brief(explicit)).rstrip(".")


def excerpt(value: object) -> str:
    """A value from a file for use inside a sentence: its repr on one line, at most 80 characters.

    >>> excerpt("a" * 200) == repr("a" * 200)[:79] + "…"
    True
    """
    return cut(" ".join(repr(value).split()), 80)


def cut(text: str, longest: int) -> str:
    """The text, truncated with an ellipsis to at most that many characters.

    >>> cut("gradient", 8), cut("gradient", 5)
    ('gradient', 'grad…')
    """
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


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
