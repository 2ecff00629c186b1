"""Progress bars on stderr, shown on a terminal and by the main thread only."""

from __future__ import annotations

import sys
import threading
import time
from typing import Any

PATIENCE = 1.0  # seconds before a bar is worth showing


class Progress:
    """The bar of one run: it appears after a second and leaves no trace.

    Args:
        total: the number of iterations.
        wanted: False to never show it.
    """

    def __init__(self, total: int, *, wanted: bool = True) -> None:
        self._total = total
        self._started = time.perf_counter()
        self._bar: Any = None
        is_main = threading.current_thread() is threading.main_thread()  # bars overwrite each other
        self._wanted = wanted and is_main and sys.stderr.isatty()

    def update(self, done: int) -> None:
        """Move the bar to this many iterations."""
        if not self._wanted:
            return
        if self._bar is None and time.perf_counter() - self._started > PATIENCE:
            self._bar = new_bar()
            self._task = self._bar.add_task("descending", total=self._total)
            self._bar.start()
        if self._bar is not None:
            self._bar.update(self._task, completed=done)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.stop()


def new_bar(*fields: str) -> Any:
    """A bar of :mod:`rich`: description, bar, n of m, these fields of the task, time remaining."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    return RichProgress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        *(TextColumn(f"{{task.fields[{name}]}}") for name in fields),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
