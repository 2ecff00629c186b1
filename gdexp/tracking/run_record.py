"""A run as plain values: everything that MLflow stores of it, whichever store that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from gdexp.descent.numbers import whole
from gdexp.tracking.tags import JOB, OUTCOME

STATUSES = ("RUNNING", "FINISHED", "FAILED", "KILLED")
Points: TypeAlias = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Steps and values of a metric, as read back."""


@dataclass(frozen=True)
class Curve:
    """The values of one metric.

    Attributes:
        name: the metric's name.
        values: one float64 per point; infinities and NaN are allowed.
        steps: the epoch of each point.
        timestamps: when each point was reached, in ms since 1970.

    Raises:
        ValueError: the three arrays differ in length.
    """

    name: str
    values: NDArray[np.float64]
    steps: NDArray[np.int64]
    timestamps: NDArray[np.int64]

    def __post_init__(self) -> None:
        if not len(self.values) == len(self.steps) == len(self.timestamps):
            raise ValueError(
                f"{self.name} has {len(self.values)} values, {len(self.steps)} steps and "
                f"{len(self.timestamps)} timestamps. Give the same number of each."
            )

    @classmethod
    def point(cls, name: str, value: float, step: int, timestamp: int) -> Curve:
        """A metric of a single value."""
        return cls(name, np.array([value], float), np.array([step]), np.array([timestamp]))


@dataclass(frozen=True)
class DatasetRecord:
    """A data set as MLflow shows it with a run.

    Attributes:
        name: its name.
        digest: distinguishes it from other data of the same name.
        source_type: the kind of its source.
        source: where it comes from, as JSON.
        schema: its columns, as JSON.
        profile: its shape, as JSON.
        context: what the run used it for.
    """

    name: str
    digest: str
    source_type: str
    source: str
    schema: str | None = None
    profile: str | None = None
    context: str | None = "training"


@dataclass(frozen=True)
class RunRecord:
    """A run, or an addition to a run that is already in the store.

    Attributes:
        name: the run's name.
        status: RUNNING, FINISHED, FAILED or KILLED.
        start_ms: when it started, in ms since 1970.
        end_ms: when it ended; None while it is RUNNING.
        params: the chosen options and settings.
        tags: its tags; ``mlflow.user`` also becomes its user.
        curves: its metrics, including those with a single value.
        dataset: the data it was computed on.
        artifacts: its files, by their path below the run's artifact folder.
        run_id: its key, by default a new one; its id in a database. A tracking server gives ids of
            its own, and keeps the key as the tag ``gdexp.run_key``.
        is_open: whether the run is already in the store, as RUNNING, and this adds to it.

    Raises:
        ValueError: the name is empty, or the status is unknown.
    """

    name: str
    status: str
    start_ms: int
    end_ms: int | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    curves: Sequence[Curve] = ()
    dataset: DatasetRecord | None = None
    artifacts: Mapping[str, bytes] = field(default_factory=dict)
    run_id: str = field(default_factory=lambda: uuid4().hex)
    is_open: bool = False

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("A run needs a name: MLflow would invent one.")
        if self.status not in STATUSES:
            raise ValueError(
                f"{self.status!r} is not a run's status. Type one of {', '.join(STATUSES)}."
            )

    @property
    def size(self) -> int:
        """The approximate number of database rows it takes."""
        points = sum(len(curve.values) + 1 for curve in self.curves)
        return points + len(self.params) + len(self.tags) + 4


@dataclass(frozen=True)
class RecordedRun:
    """A run as read back from a store.

    Attributes:
        run_id: its id.
        experiment_id: the id of its experiment.
        name: its name.
        status: RUNNING, FINISHED, FAILED or KILLED.
        start_ms: when it started, in ms since 1970.
        artifact_uri: where its files are.
        params: its params, by key.
        tags: its tags, by key.
        metrics: the latest value of each metric, by key.
        heard_ms: when its last point was reached, in ms since 1970; without one, when it started.
        epoch: the epoch of its last point; 0 without one.
    """

    run_id: str
    experiment_id: str
    name: str
    status: str
    start_ms: int
    artifact_uri: str
    params: Mapping[str, str]
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    heard_ms: int = 0
    epoch: int = 0

    @property
    def number(self) -> int | None:
        """Its number in its sweep; None if it has none, or one that somebody has edited."""
        return whole(self.tags.get(JOB, ""))

    @property
    def outcome(self) -> str:
        """How it ended: the tag ``gdexp.outcome``, or the status if it has no such tag.

        A sweep that is resumed is running, though it has the outcome of its interruption.
        """
        if self.status == "RUNNING":
            return "running"
        return self.tags.get(OUTCOME, self.status.lower())
