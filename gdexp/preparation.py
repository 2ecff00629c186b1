"""From a data source to the rows that are fitted: split, standardized, compressed as asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gdexp.data import Dataset
from gdexp.data.compress import compress
from gdexp.data.prepare import Scaling, check_batch_size, split
from gdexp.errors import ConfigError
from gdexp.job import Job

LINEAR = ("gdexp.manual.Predictor", "gdexp.pytorch.Linear")
SQUARED = ("gdexp.manual.Loss", "torch.nn.MSELoss")


@dataclass(frozen=True)
class Prepared:
    """The data of a run.

    Attributes:
        fitted: the rows that are fitted: standardized, or compressed to fewer.
        kept: the rows kept out of the fit, standardized like it; None where there are none.
        scaling: what standardizing did; None where nothing was done.
        rows: how many rows the table has.
        digest: of the whole table, 8 hexadecimal digits.
        compressed: whether fewer rows stand for the table's.
    """

    fitted: Dataset
    kept: Dataset | None
    scaling: Scaling | None
    rows: int
    digest: str
    compressed: bool = False

    def at(self, x: float) -> NDArray[np.float64]:
        """Where f is shown: at x, or at the features' means where there are several.

        Returns:
            One row of inputs as the fit has them, shape (1,) or (1, d).
        """
        if self.fitted.width > 1:
            return np.asarray(self.fitted.x.mean(axis=0)[None], float)
        point = np.array([x], float)
        return point if self.scaling is None else (point - self.scaling.mean) / self.scaling.scale


def prepare(job: Job, source: Any) -> Prepared:
    """The data of a job, prepared as its settings ask for.

    Args:
        job: the job.
        source: a data set, or what loads one and yields it in chunks.

    Raises:
        ConfigError: the settings leave nothing, do not fit the data, or exclude each other.
    """
    settings = job.settings["data"]
    if settings.get("compress"):
        check_compressible(job)
        return _compressed(job, source)
    dataset: Dataset = source.load()
    fitted, kept = split(dataset, settings.get("validation", 0), job.settings["seed"])
    scaling = None
    if settings.get("standardize"):
        scaling = Scaling.of(fitted)
        fitted, kept = scaling.apply(fitted), kept and scaling.apply(kept)
    if settings.get("batch_size"):
        check_batch_size(settings["batch_size"], len(fitted.y))
    return Prepared(fitted, kept, scaling, len(dataset.y), dataset.digest)


def _compressed(job: Job, source: Any) -> Prepared:
    settings = job.settings
    bias, standardize = settings["predictor"]["bias"], settings["data"].get("standardize", False)
    found = compress(source.chunks(), bias=bias, standardize=standardize)
    x = found.x if len(source.features) > 1 else found.x[:, 0]
    fitted = Dataset(x, found.y, source.name, tuple(source.features), source.target)
    return Prepared(fitted, None, found.scaling, found.rows, found.digest, compressed=True)


def check_compressible(job: Job) -> None:
    """Refuse to compress where fewer rows would not have the same loss and gradient.

    Raises:
        ConfigError: which choice stands against it.
    """
    settings, data = job.settings, job.settings["data"]
    reasons = {
        f"predictor={job.choices['predictor']} is not linear": (
            settings["predictor"]["_target_"] not in LINEAR
        ),
        f"loss={job.choices['loss']} is not the mean of squared errors": (
            settings["loss"]["_target_"] not in SQUARED
            or settings["loss"].get("reduction", "mean") != "mean"
        ),
        "gradient=manual_sum is a sum over all rows": (
            settings["gradient"]["_target_"] == "gdexp.manual.GradientSum"
        ),
        "data.batch_size takes single rows": data.get("batch_size") is not None,
        "data.validation keeps single rows": bool(data.get("validation")),
    }
    for reason, holds in reasons.items():
        if holds:
            raise ConfigError(
                f"data.compress: {reason}, so that fewer rows cannot stand for all. "
                "Type data.compress=false."
            )
