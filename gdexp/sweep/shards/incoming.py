"""What tasks bring back: their records are written to the store, and their runs are reported."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from gdexp.config.job import Job
from gdexp.console import report_kept
from gdexp.errors import brief
from gdexp.sweep.shards import exchange
from gdexp.sweep.shards.exchange import Ended, Exchange

if TYPE_CHECKING:
    from gdexp.tracking.store import Store

BUSY = 10.0  # seconds to wait for another process that is delivering
RETRY = 5.0  # seconds before the next attempt at a store that cannot be written


class Incoming:
    """Collects what tasks bring back.

    Args:
        files: the folder in which they tell of their runs.
        store: where the runs are recorded; None if they are not.
    """

    def __init__(self, files: Exchange, store: Store | None) -> None:
        self._files, self._store = files, store
        self._seen: set[Path] = set()
        self._retry = 0.0  # when the store may be tried again
        self._is_told = False

    def collect(self) -> list[Ended]:
        """Write to the store what has arrived since; the runs with their ids in the store."""
        paths = [path for path in self._files.files() if path not in self._seen]
        runs = [run for path in paths for run in exchange.read(path)]
        self._seen.update(paths)
        if not runs or self._store is None:
            return runs
        ids, is_kept = self._deliver(self._store)
        for run in runs:
            if run.result is not None and (key := run.result.run_id) is not None:
                run.result.run_id = ids.get(key, key)
                run.result.is_spooled = is_kept
        return runs

    def _deliver(self, store: Store) -> tuple[dict[str, str], bool]:
        """The store's id of each run that was delivered, by its key; and whether some are left."""
        from gdexp.tracking import spool
        from gdexp.tracking.delivery import deliver
        from gdexp.tracking.patience import patiently

        if time.monotonic() < self._retry:
            return {}, True
        try:
            done = patiently(partial(deliver, store, spool.folder(), BUSY), store.uri)
            store.analyze_after(len(done.ids))
            ids, reason = done.ids, next(iter(done.left.values()), "")
        except Exception as error:
            ids, reason = {}, brief(error)
        if reason:
            self._retry = time.monotonic() + RETRY
            if not self._is_told:
                self._is_told = True
                report_kept(spool.folder(), reason)
        return ids, bool(reason)

    def finish(self) -> None:
        """Deliver once more: a network file system may have hidden a file until now."""
        if self._store is not None:
            self._deliver(self._store)

    def close_open_runs(self, job: Job) -> None:
        """Record the end of the runs that tasks have opened and, being killed, not closed.

        Args:
            job: one of the sweep's.
        """
        if self._store is None or job.settings["checkpoint"]["every"] is None:
            return  # a run without checkpoints is written when it has ended
        from gdexp.tracking.liveness import close
        from gdexp.tracking.query import runs_of

        for run in runs_of(self._store, str(job.sweep_id)):
            if run.status == "RUNNING":
                close(self._store, run)
