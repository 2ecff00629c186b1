"""What a task does: computes the runs of its shard that are missing, and brings their records back.

The records go to ``outputs/spool``, a file for each write, so the task does not use the store. A
run has the same key whenever it is computed: a task that is killed between two files and started
again repeats runs, but the store has each once.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast
from uuid import NAMESPACE_OID, uuid5

from omegaconf import DictConfig

from gdexp.config.job import Job
from gdexp.config.paths import started_in
from gdexp.data.preparation import Prepared
from gdexp.descent.signals import handled
from gdexp.errors import Interrupted, StoreError, cause
from gdexp.experiment import Ready, assembled
from gdexp.sweep.launcher import Launch
from gdexp.sweep.shards import exchange
from gdexp.sweep.shards.exchange import Exchange
from gdexp.sweep.workers.engines import Local
from gdexp.tracking.tags import JOB, PROCESS

if TYPE_CHECKING:
    from gdexp.tracking.recorder import Recorder
    from gdexp.tracking.run_record import RunRecord
    from gdexp.tracking.store import Store

LOOK = 0.5  # seconds between two looks whether the process that started the task is alive


@dataclass
class Outbox:
    """A store that can only be written: it spools every write for the store with this name.

    A run that was interrupted is not written: it is still to do. A run that is opened has no owner,
    since another process may complete it.

    Attributes:
        place: the folder of the spool.
        address: the URI of the store that the records are for, without a password.
        experiment: the name of its experiment.
        launch: the id of the launch.
    """

    place: Path
    address: str
    experiment: str
    launch: str
    uri: ClassVar[str] = "sqlite://"  # nothing has to be waited for
    atomic: ClassVar[bool] = True
    _keys: dict[str, str] = field(default_factory=dict)

    def write(self, records: Sequence[RunRecord], *, again: bool = False) -> list[str]:
        """Spool records; returns the keys of their runs.

        Raises:
            StoreError: the spool cannot be written.
        """
        from gdexp.tracking import spool

        keys = [self._key(record) for record in records]
        kept = [
            replace(record, run_id=key, tags={k: v for k, v in record.tags.items() if k != PROCESS})
            for record, key in zip(records, keys, strict=True)
            if record.status != "KILLED"
        ]
        try:
            if kept:
                spool.save(self.place, self.address, self.experiment, kept)
        except OSError as error:
            raise StoreError(f"{self.place} cannot be written: {cause(error)}.") from error
        return keys

    def _key(self, record: RunRecord) -> str:
        """The same key for a run whichever task computes it; an addition to a run has no number."""
        if (number := record.tags.get(JOB)) is not None:
            self._keys[record.run_id] = uuid5(NAMESPACE_OID, f"{self.launch} {number}").hex
        return self._keys[record.run_id]

    def give_up(self, records: Sequence[RunRecord]) -> None:
        """Nothing: a record that was not written does not exist."""

    def analyze_after(self, written: int) -> None:
        """Nothing: there are no statistics."""


@dataclass(frozen=True)
class Shard:
    """A task, as it is submitted.

    Attributes:
        number: its number in the launch.
        jobs: the runs.
        exchange: the folder in which it tells of them.
        outbox: where their records go; None: they are not recorded.
        start: the folder in which the sweep was started.
        path: where Python looks for modules.
        stop: whether the runs after one that fails are left out.
        leader: the process that waits for it, if it is to end with that process; or "".
    """

    number: int
    jobs: tuple[Job, ...]
    exchange: Exchange
    outbox: Outbox | None
    start: str
    path: tuple[str, ...]
    stop: bool
    leader: str

    def __call__(self) -> None:
        """Compute the runs that are missing; nothing if a later launch does so."""
        sys.path.extend(each for each in self.path if each not in sys.path)
        if not self.exchange.is_current():
            return
        with started_in(self.start), self.exchange.locked(self.number):
            done = {
                run.number
                for path in self.exchange.files(self.number)
                for run in exchange.read(path)
            }
            if jobs := [job for job in self.jobs if job.number not in done]:
                self._until_stopped(jobs)

    def checkpoint(self) -> Any:
        """Submitit's hook: what to submit when the task is preempted or runs out of time."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)

    def _until_stopped(self, jobs: Sequence[Job]) -> None:
        """Compute runs until a signal; then let submitit start the task again, or end it.

        Slurm sends SIGTERM before it preempts a task. A task that ended then would have ended for
        good, so it computes on, until it is killed and started again.
        """
        requeue = getattr(signal, f"SIG{os.environ.get('SUBMITIT_PREEMPT_SIGNAL', 'USR2')}")
        if self.leader:
            threading.Thread(target=_end_with, args=[self.leader], daemon=True).start()
        elif threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        report = exchange.Report(self.exchange, self.number)
        try:
            with handled(watched=False, also=[requeue]):
                try:
                    _Launch(self, report).run_here(jobs)
                finally:
                    report.flush()
        except Interrupted as stop:
            if stop.signum == requeue:
                signal.raise_signal(requeue)  # to submitit's own handler
            sys.exit(stop.exit_code)


def _end_with(leader: str) -> None:
    """Interrupt this process when another has died."""
    from gdexp.tracking.liveness import state

    while state(leader) != "dead":
        time.sleep(LOOK)
    os.kill(os.getpid(), signal.SIGTERM)


class _Launch(Launch):
    """Computes the jobs as a sweep in one process does, but without the store and Hydra."""

    def __init__(self, shard: Shard, report: exchange.Report) -> None:
        config = DictConfig({"sweep": {"on_error": "stop" if shard.stop else "continue"}})
        super().__init__(config, None, _never, Local(), report)
        self._outbox = shard.outbox

    def run_here(self, jobs: Sequence[Job]) -> None:
        """Compute the jobs, and pass their records to the outbox."""
        self._run_here(jobs)

    def _recorder(self, job: Job) -> Recorder | None:
        if self._outbox is None:
            return None
        return _quiet_recorder()(cast("Store", self._outbox), self._ended)

    def _prepared(self, job: Job) -> Ready:
        new, built, saved = assembled(job)
        return Ready(new, built, None, saved, job)


def _never(*_: Any) -> Any:
    raise AssertionError("a task does not run jobs by Hydra")


def _quiet_recorder() -> type[Recorder]:
    """A recorder that writes runs when they end, and not on the way."""
    from gdexp.tracking.recorder import Recorder, Recording

    class QuietRecording(Recording):
        def update(self, trajectory: Any) -> None:
            """Nothing: a file every few seconds, of every task, is too much."""

    class QuietRecorder(Recorder):
        def begin(self, job: Job, data: Prepared) -> Recording:
            return QuietRecording(self.store, job, data)

    return QuietRecorder
