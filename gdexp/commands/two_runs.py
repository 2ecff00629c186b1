"""Two recorded runs side by side: what differs in settings, data, code, environment and results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

from gdexp.commands.conditions import CALLED, TAGS
from gdexp.commands.recorded import CODE, Side
from gdexp.config.settings import LATER
from gdexp.insight.comparison.candidates import (
    DIGEST,
    LENGTH,
    PREPARING,
    candidates,
    flat,
    is_on_curves,
    stage_of,
)
from gdexp.insight.comparison.difference import Difference, difference, is_rounding
from gdexp.tracking.tags import CONFIG_HASH, REASON

if TYPE_CHECKING:
    from gdexp.descent.trajectory import Trajectory

Values: TypeAlias = tuple[Any, Any]  # of the two runs
Section: TypeAlias = dict[str, Values]

MISSING = None
UNTOLD = (CALLED["data"], TAGS[CONFIG_HASH])  # elsewhere, by what they are made of
OUTCOME = ("outcome", "reason")
CURVES = ("train/", "param/", "grad/")


class TwoRuns:
    """Everything that tells two runs apart; see the properties."""

    def __init__(self, a: Side, b: Side) -> None:
        self.a, self.b = a, b

    @cached_property
    def settings(self) -> Section:
        """The settings that differ, each with both values; None if an option has no such setting.

        Left out are an updater's lr that is the run's own, and what is 0, false or null in an
        option and missing in the other.
        """
        return _without_copies(self._settings)

    @cached_property
    def _settings(self) -> Section:
        if self.a.job is None or self.b.job is None:
            return _differing(dict(self.a.run.params), dict(self.b.run.params))
        one, other = (flat(job.settings, job.choices) for job in (self.a.job, self.b.job))
        known = _differing(one, other)
        return {k: v for k, v in known.items() if not ((k in one) ^ (k in other) and not any(v))}

    @cached_property
    def data(self) -> Section:
        """What differs between the data sets: name, digest, rows and columns, context."""
        return _differing(self.a.of_dataset(), self.b.of_dataset())

    @cached_property
    def code(self) -> Section:
        """What differs between the versions of the code, as far as both are known."""
        return _differing(self.a.of_code(), self.b.of_code())

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
            known["reason"] = side.run.tags.get(REASON)
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
        section: Section = {}
        if self.a.job is not None and self.b.job is not None:
            digests = self.a.digest, self.b.digest
            is_same = digests[0] is not None and digests[0] == digests[1]
            changes = {} if is_same or None in digests else {DIGEST: digests}
            changes |= self._settings
            jobs = self.a.job.settings, self.b.job.settings
            keys = candidates(changes, jobs, self.trajectories, self.curves, same_data=is_same)
            section = _without_copies({key: changes[key] for key in keys})
            if "data" in section:  # another source, which has other settings
                own = [k for k in section if k.startswith("data.") and k not in PREPARING]
                section = {key: values for key, values in section.items() if key not in own}
        if stage_of(self.curves) == LENGTH:
            results = {key: self.results[key] for key in OUTCOME if key in self.results}
            if "failed" in (self.a.run.outcome, self.b.run.outcome):  # perhaps by another setting
                results |= {k: v for k, v in self.settings.items() if is_on_curves(k)}
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


def facts(two: TwoRuns) -> Iterator[tuple[str, Section]]:
    """The sections of what differs, by title."""
    yield "settings", two.settings
    yield "data", two.data
    yield "code", two.code
    yield "environment", two.environment
    yield "results", two.results
