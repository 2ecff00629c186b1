"""Everything gdexp raises on purpose.

::

    Exception
    ├── GdexpError             a plain sentence; the command line prints it, exit code 2
    │   ├── ConfigError        a setting is unknown, of the wrong type or out of range
    │   └── StoreError         the tracking store cannot be used
    │       └── WriteError     … any more: a run that was under way is not recorded, exit code 1
    └── RunFailedError         a run failed and has been reported, exit code 1
    KeyboardInterrupt
    └── Interrupted            Ctrl-C, SIGTERM or SIGHUP, exit code 128 + the signal's number

The messages are complete sentences: which setting, the value given, what is expected and what to
type instead.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class GdexpError(Exception):
    """A sentence for the user; no traceback is needed to understand it."""


class ConfigError(GdexpError, ValueError):
    """A setting is unknown, of the wrong type or out of its range."""


class StoreError(GdexpError, OSError):
    """The tracking store, or the folder it lives in, cannot be used."""


class WriteError(StoreError):
    """A store that could be opened cannot be written: runs that were computed are not recorded."""


class RunFailedError(Exception):
    """A run failed and has been reported; what is left is the exit code."""


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
    """What an exception says, in one line; its kind where it says nothing.

    >>> first_line(ValueError())
    'ValueError()'
    """
    return (str(error).strip() or repr(error)).splitlines()[0]


def did_you_mean(given: str, known: Iterable[str], *, prefix: str = "") -> str:
    """The end of an error sentence that names the nearest valid name, or nothing.

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
    """The known name most like the given one, whatever their case; None if none is alike.

    >>> nearest("Lrr", ["lr", "iters"])
    'lr'
    """
    lowered = {name.lower(): name for name in known}
    alike = difflib.get_close_matches(given.lower(), lowered, n=1, cutoff=0.6)
    if not alike:  # `loss=mse` means MSELoss, which is too long for the ratio above
        alike = [name for name in lowered if name.startswith(given.lower()) and given][:1]
    return lowered[alike[0]] if alike else None
