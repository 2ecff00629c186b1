"""What the record of a run still has: to be drawn, or compared with another."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from gdexp.commands.conditions import CALLED, TAGS, Conditions
from gdexp.errors import GdexpError, brief
from gdexp.tracking.dataset_record import shape_of
from gdexp.tracking.run_record import RecordedRun
from gdexp.tracking.tags import COMMIT, DIFF, DIRTY, VERSION

if TYPE_CHECKING:
    from gdexp.config.job import Job
    from gdexp.config.trust import Trust
    from gdexp.descent.result import Result
    from gdexp.descent.trajectory import Trajectory
    from gdexp.tracking.run_record import DatasetRecord
    from gdexp.tracking.store import Store

CODE = (TAGS[VERSION], TAGS[COMMIT], "uncommitted changes", TAGS[DIFF])


def add_job(store: Store, run: RecordedRun, result: Result, trust: Trust) -> None:
    """Give a recorded result its settings, to draw the surface of its loss; else say why not."""
    from gdexp.tracking.restore import job_of

    try:
        result.job = job_of(store, run, trust)
    except GdexpError as error:
        print(f"gdexp: the surface of the loss is not drawn: {brief(error)}.", file=sys.stderr)


@dataclass(frozen=True)
class Side:
    """One of the two runs, with what its record still has.

    Attributes:
        run: the run.
        job: its settings; None if they are missing or damaged.
        trajectory: its epochs; None if they are.
        dataset: its data set; None if it is not recorded.
        problems: what is missing, in sentences.
    """

    run: RecordedRun
    job: Job | None
    trajectory: Trajectory | None
    dataset: DatasetRecord | None
    problems: tuple[str, ...]

    @classmethod
    def of(cls, store: Store, run: RecordedRun) -> Side:
        """Read a run."""
        from gdexp.tracking.reading import files_of
        from gdexp.tracking.restore import TRAJECTORY, job_of, trajectory_of

        problems, job, trajectory = [], None, None
        try:
            job = job_of(store, run, trust=None)
        except GdexpError as error:
            problems.append(f"{error} Its params are compared instead.")
        if run.status == "RUNNING":
            problems.append(f"run {run.run_id} has not ended, so its curves are not compared.")
        else:
            try:
                if TRAJECTORY in files_of(store, run):
                    trajectory = trajectory_of(store, run)
                else:
                    problems.append(
                        f"run {run.run_id} ({run.outcome}) has no {TRAJECTORY} among its "
                        "artifacts, so the curves are not compared."
                    )
            except GdexpError as error:
                problems.append(f"{error} The curves are not compared.")
        return cls(run, job, trajectory, store.dataset(run), tuple(problems))

    @cached_property
    def conditions(self) -> Conditions:
        """What surrounded it."""
        return Conditions.recorded(self.run)

    @property
    def digest(self) -> str | None:
        """The digest of its table; None if it is not recorded."""
        known = self.conditions.facts.get(CALLED["data"])
        return known or (self.dataset.digest if self.dataset else None)

    def of_dataset(self) -> dict[str, Any]:
        """What is recorded of its data set: digest, name, context, rows and columns."""
        known: dict[str, Any] = {"digest": self.digest}
        if self.dataset is not None:
            known |= {"name": self.dataset.name, "context": self.dataset.context}
            known |= dict(zip(("rows", "columns"), shape_of(self.dataset) or (), strict=False))
        return known

    def of_code(self) -> dict[str, Any]:
        """What is recorded of the code: the version, the commit, and what was not committed."""
        facts = self.conditions.facts
        dirty = {"true": "yes", "false": "no"}.get(self.run.tags.get(DIRTY, ""))
        return dict(zip(CODE, [*map(facts.get, CODE[:2]), dirty, facts[CODE[3]]], strict=True))
