"""A run as plain values: everything MLflow shall hold of it, before any store is involved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

STATUSES = ("RUNNING", "FINISHED", "FAILED", "KILLED")
PROCESS = "gdexp.process"  # tag of a run that is under way: the process that owns it


@dataclass(frozen=True)
class Curve:
    """The values of one metric.

    Attributes:
        name: the metric's name.
        values: one float64 for each point; infinities and NaN are allowed.
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
                f"{len(self.timestamps)} timestamps. Give as many of each."
            )

    @classmethod
    def point(cls, name: str, value: float, step: int, timestamp: int) -> Curve:
        """A metric of a single value."""
        return cls(name, np.array([value], float), np.array([step]), np.array([timestamp]))


@dataclass(frozen=True)
class DatasetRecord:
    """A data set as MLflow lists it under a run.

    Attributes:
        name: what it is called.
        digest: tells it from other data of that name.
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


def new_run_id() -> str:
    """32 random hexadecimal digits, as MLflow makes them."""
    return uuid4().hex


@dataclass(frozen=True)
class RunRecord:
    """A run, or what is new of a run that is in the store already.

    Attributes:
        name: the run's name.
        params: what was chosen.
        tags: what else is known of the run; ``mlflow.user`` becomes its user.
        curves: its metrics, those with a single value included.
        dataset: the data it was computed on.
        status: RUNNING, FINISHED, FAILED or KILLED.
        start_ms: when it started, in ms since 1970.
        end_ms: when it ended; None while it is RUNNING.
        artifacts: its files, by their path below the run's artifact folder.
        run_id: its id in a database; a tracking server chooses one itself.
        is_open: whether the run is in the store already, RUNNING, and this adds to it.

    Raises:
        ValueError: there is no name, or the status is unknown.
    """

    name: str
    params: Mapping[str, str]
    tags: Mapping[str, str]
    curves: Sequence[Curve]
    dataset: DatasetRecord | None
    status: str
    start_ms: int
    end_ms: int | None
    artifacts: Mapping[str, bytes] = field(default_factory=dict)
    run_id: str = field(default_factory=new_run_id)
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
        """About how many rows it takes in a database."""
        points = sum(len(curve.values) + 1 for curve in self.curves)
        return points + len(self.params) + len(self.tags) + 4


@dataclass(frozen=True)
class RecordedRun:
    """A run as it was read back from a store.

    Attributes:
        run_id: its id.
        experiment_id: of the experiment it belongs to.
        name: its name.
        status: RUNNING, FINISHED, FAILED or KILLED.
        start_ms: when it started, in ms since 1970.
        artifact_uri: where its files are.
        params: by key.
        tags: by key.
        metrics: the latest value of each, by key.
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

    @property
    def outcome(self) -> str:
        """How it ended: its tag, or its status where it has none."""
        return self.tags.get("gdexp.outcome", self.status.lower())
