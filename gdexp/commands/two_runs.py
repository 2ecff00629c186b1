"""Two recorded runs side by side: what differs in settings, data, code, environment and results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

from gdexp.commands.conditions import CALLED, HASH, TAGS, VERSION, Conditions
from gdexp.config.settings import LATER
from gdexp.errors import GdexpError
from gdexp.insight.candidates import LENGTH, candidates, flat, stage_of
from gdexp.insight.difference import Difference, difference, is_rounding
from gdexp.tracking.environment import COMMIT, DIFF, DIRTY
from gdexp.tracking.run_record import RecordedRun

if TYPE_CHECKING:
    from gdexp.config.job import Job
    from gdexp.descent.trajectory import Trajectory
    from gdexp.tracking.run_record import DatasetRecord
    from gdexp.tracking.store import Store

Values: TypeAlias = tuple[Any, Any]  # of the two runs
Section: TypeAlias = dict[str, Values]

MISSING = None
CODE = (TAGS[VERSION], TAGS[COMMIT], "uncommitted changes", TAGS[DIFF])
UNTOLD = (CALLED["data"], TAGS[HASH])  # elsewhere, by what they are made of
OUTCOME = ("outcome", "reason")
CURVES = ("train/", "param/", "grad/")


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
                if TRAJECTORY in store.files(run):
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


class TwoRuns:
    """Everything that tells two runs apart; see the properties."""

    def __init__(self, a: Side, b: Side) -> None:
        self.a, self.b = a, b

    @cached_property
    def settings(self) -> Section:
        """The settings that differ, each with both values; an option's own are missing in others.

        An updater's lr is left out where it is the run's own.
        """
        return _without_copies(self._settings)

    @cached_property
    def _settings(self) -> Section:
        if self.a.job is None or self.b.job is None:
            return _differing(dict(self.a.run.params), dict(self.b.run.params))
        one, other = (flat(job.settings, job.choices) for job in (self.a.job, self.b.job))
        return _differing(one, other)

    @cached_property
    def data(self) -> Section:
        """What differs between the data sets: name, digest, rows and columns, context."""
        one, other = (_of_dataset(side) for side in (self.a, self.b))
        return _differing(one, other)

    @cached_property
    def code(self) -> Section:
        """What differs between the versions of the code, as far as both are known."""
        return _differing(*(_of_code(side) for side in (self.a, self.b)))

    @cached_property
    def environment(self) -> Section:
        """What differs in libraries, machine and threads, as far as both are known."""
        pairs = self.a.conditions.differences(self.b.conditions)
        section: Section = {
            name: (value, now) for name, value, now in pairs if name not in (*CODE, *UNTOLD)
        }
        together = self.a.conditions.together, self.b.conditions.together
        if together[0] != together[1]:
            section["runs computed as one program"] = (together[0] or 1, together[1] or 1)
        return section

    @cached_property
    def results(self) -> Section:
        """The outcome and the final numbers that differ; curves are told by :attr:`curves`."""
        sides = []
        for side in (self.a, self.b):
            known: dict[str, Any] = {"outcome": side.run.outcome}
            known["reason"] = side.run.tags.get("gdexp.reason")
            metrics = side.run.metrics.items()
            known |= {key: value for key, value in metrics if not key.startswith(CURVES)}
            sides.append(known)
        return _differing(*sides)

    @property
    def dtype(self) -> str:
        """The precision of the runs: single, if one of them is."""
        jobs = [side.job for side in (self.a, self.b)]
        known = {job.settings["dtype"] if job else "float64" for job in jobs}
        return "float32" if "float32" in known else "float64"

    @property
    def trajectories(self) -> tuple[Trajectory, Trajectory] | None:
        """Every epoch of both; None if one of them has none."""
        a, b = self.a.trajectory, self.b.trajectory
        return None if a is None or b is None else (a, b)

    @cached_property
    def curves(self) -> Difference | None:
        """The first difference of the curves; None if there is none, or no curves."""
        pair = self.trajectories
        return None if pair is None else difference(*pair, self.dtype)

    @property
    def is_identical(self) -> bool:
        """Whether every epoch is; without curves, whether nothing differs but the surroundings."""
        if self.trajectories is None:
            return not (self.settings or self.results or self.data)
        return self.curves is None

    @cached_property
    def is_rounding(self) -> bool:
        """Whether the curves part by no more than rounding can do."""
        if self.curves is None or self.trajectories is None:
            return False
        return is_rounding(*self.trajectories, self.curves.first, self.dtype)

    @cached_property
    def candidates(self) -> Section:
        """The differences that can explain where the curves part, the likely ones first."""
        if self.curves is None or self.trajectories is None:
            return {}
        same_data = None
        if self.a.digest and self.b.digest:
            same_data = self.a.digest == self.b.digest
        section: Section = {}
        if same_data is False and stage_of(self.curves) != LENGTH:
            section["digest of the data"] = (self.a.digest, self.b.digest)
        if self.a.job is not None and self.b.job is not None:
            jobs = self.a.job.settings, self.b.job.settings
            keys = candidates(
                self._settings, jobs, self.trajectories, self.curves, same_data=same_data
            )
            section |= _without_copies({key: self._settings[key] for key in keys})
        if stage_of(self.curves) == LENGTH:
            results = {key: self.results[key] for key in OUTCOME if key in self.results}
            return section or results or self.code | self.environment
        if self.is_rounding:
            return section | self.code | self.environment
        return section or self.code | self.environment


def _differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> Section:
    """The keys whose values differ; a key that came later has its default where it is missing."""
    keys = [*one, *(key for key in other if key not in one)]
    pairs = {key: (_value(one, key), _value(other, key)) for key in keys}
    return {key: (a, b) for key, (a, b) in pairs.items() if a != b and not _is_nan(a, b)}


def _without_copies(section: Section) -> Section:
    """The differences without those that repeat another: updater.lr, or the class of an option."""

    def repeats(key: str, values: Values) -> bool:
        group, _, name = key.rpartition(".")
        return group in section if name == "_target_" else section.get(name) == values

    return {k: v for k, v in section.items() if "." not in k or not repeats(k, v)}


def _value(known: Mapping[str, Any], key: str) -> Any:
    return known.get(key, LATER.get(key, MISSING))


def _is_nan(a: Any, b: Any) -> bool:
    return all(isinstance(v, float) and v != v for v in (a, b))


def _of_dataset(side: Side) -> dict[str, Any]:
    import json

    known: dict[str, Any] = {"digest": side.digest}
    if side.dataset is not None:
        known |= {"name": side.dataset.name, "context": side.dataset.context}
        try:
            shape = json.loads(side.dataset.profile or "{}").get("features_shape", [])
            known |= dict(zip(("rows", "columns"), [*shape, 1], strict=False))
        except (ValueError, AttributeError, TypeError):  # edited by hand
            pass
    return known


def _of_code(side: Side) -> dict[str, Any]:
    facts = side.conditions.facts
    dirty = {"true": "yes", "false": "no"}.get(side.run.tags.get(DIRTY, ""))
    known = {TAGS[VERSION]: facts[TAGS[VERSION]], TAGS[COMMIT]: facts[TAGS[COMMIT]]}
    return known | {"uncommitted changes": dirty, TAGS[DIFF]: facts[TAGS[DIFF]]}


def facts(two: TwoRuns) -> Iterator[tuple[str, Section]]:
    """The sections of what differs, by title."""
    yield "settings", two.settings
    yield "data", two.data
    yield "code", two.code
    yield "environment", two.environment
    yield "results", two.results
