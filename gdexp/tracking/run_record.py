"""A run that is over, as plain values: what there is to write before any store is involved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput

STATUSES = ("FINISHED", "FAILED", "KILLED")


@dataclass(frozen=True)
class Curve:
    """The values of one metric.

    Attributes:
        name: the metric's name.
        values: one float64 a point; infinities and NaN are allowed.
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


def new_run_id() -> str:
    """32 hexadecimal digits of chance, as MLflow makes them: the first few tell runs apart."""
    return uuid4().hex


@dataclass(frozen=True)
class FinishedRun:
    """Everything there is to know of a run that is over.

    Attributes:
        name: the run's name.
        params: what was chosen.
        tags: what is known of the run besides; ``mlflow.user`` becomes its user.
        curves: its metrics, those of a single value included.
        dataset: the data it was computed on.
        status: FINISHED, FAILED or KILLED.
        start_ms: when it started, in ms since 1970.
        end_ms: when it ended.
        artifacts: its files, by their path below the run's artifact folder.
        run_id: its id in a database; a tracking server chooses one itself.

    Raises:
        ValueError: there is no name, or the status is none of the three.
    """

    name: str
    params: Mapping[str, str]
    tags: Mapping[str, str]
    curves: Sequence[Curve]
    dataset: DatasetInput | None
    status: str
    start_ms: int
    end_ms: int
    artifacts: Mapping[str, bytes] = field(default_factory=dict)
    run_id: str = field(default_factory=new_run_id)

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("A run needs a name: MLflow would invent one.")
        if self.status not in STATUSES:
            raise ValueError(
                f"{self.status!r} is not how a run ends. Type one of {', '.join(STATUSES)}."
            )

    @property
    def size(self) -> int:
        """About how many rows it takes in a database."""
        points = sum(len(curve.values) + 1 for curve in self.curves)
        return points + len(self.params) + len(self.tags) + 4
