"""How a sweep ends, whatever ends it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gdexp.descent.signals import shielded
from gdexp.errors import RunFailedError


@contextmanager
def ending(close: Callable[[str], None]) -> Iterator[None]:
    """Shield the block of a sweep from signals, and close its summary at the end.

    Args:
        close: called with the summary's status in MLflow: FINISHED, though runs may have failed;
            KILLED if the sweep was interrupted; else FAILED.
    """
    status = "FAILED"
    with shielded():
        try:
            yield
            status = "FINISHED"
        except RunFailedError:
            status = "FINISHED"
            raise
        except KeyboardInterrupt:
            status = "KILLED"
            raise
        finally:
            close(status)
