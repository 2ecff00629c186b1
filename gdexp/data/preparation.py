"""From a data source to the rows that are fitted: split, standardized, compressed as asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gdexp.config import capabilities
from gdexp.config.job import Job
from gdexp.data.compress import Digest, compress, digest
from gdexp.data.dataset import Chunk, Dataset
from gdexp.data.transforms import Scaling, check_batch_size, split
from gdexp.errors import ConfigError
from gdexp.manual import Loss


@dataclass(frozen=True)
class Prepared:
    """The data of a run.

    Attributes:
        fitted: the rows that are fitted: standardized, or compressed to fewer.
        kept: the rows kept out of the fit, standardized like them; None where there are none.
        scaling: what standardizing did; None where nothing was done.
        means: of the features over the fitted rows, in the data's own units, shape (d,).
        rows: how many rows the table has.
        table: the whole table in its own units; None where it was never in memory.
        compressed: whether fewer rows stand for the table's.
    """

    fitted: Dataset
    kept: Dataset | None
    scaling: Scaling | None
    means: NDArray[np.float64]
    rows: int
    table: Dataset | None
    compressed: bool = False
    read_digest: str = ""

    @cached_property
    def digest(self) -> str:
        """Of the whole table, 8 hexadecimal digits."""
        return self.read_digest if self.table is None else digest(self.table)

    def at(self, x: float) -> NDArray[np.float64]:
        """Where f is shown: at x, or at the features' means where there are several.

        Returns:
            One row of inputs as the fit has them, shape (1,) or (1, d).
        """
        point = np.array([x]) if self.fitted.width == 1 else self.means
        if self.scaling is not None:
            point = (point - self.scaling.mean) / self.scaling.scale
        return point if self.fitted.width == 1 else point[None]


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
    table: Dataset = source.load()
    fitted, kept = split(table, settings.get("validation", 0), job.settings["seed"])
    means = np.atleast_1d(fitted.x.mean(axis=0, dtype=np.float64))
    scaling = None
    if settings.get("standardize"):
        scaling = Scaling.of(fitted)
        fitted, kept = scaling.apply(fitted), kept and scaling.apply(kept)
    if settings.get("batch_size"):
        check_batch_size(settings["batch_size"], len(fitted.y))
    return Prepared(fitted, kept, scaling, means, len(table.y), table)


def _compressed(job: Job, source: Any) -> Prepared:
    settings, features = job.settings, tuple(source.features)
    standardize = settings["data"]["standardize"]
    bias = settings["predictor"].get("bias", True)  # rows for one serve predictors without, too
    table = source if isinstance(source, Dataset) else None  # a file is read once, digest included
    seen, total = Digest(len(features)), np.zeros(len(features))

    def summed(chunks: Iterable[Chunk]) -> Iterator[Chunk]:
        for x, y in chunks:
            total[:] += x.reshape(len(y), -1).sum(axis=0, dtype=np.float64)
            yield x, y

    chunks = summed(source.chunks())
    if table is None:
        chunks = seen.reading(chunks)
    found = compress(chunks, features, bias=bias, standardize=standardize)
    fitted = Dataset(found.x, found.y, source.name, features, source.target)
    means = total / found.rows
    return Prepared(fitted, None, found.scaling, means, found.rows, table, True, str(seen))


def check_compressible(job: Job) -> None:
    """Refuse to compress where fewer rows would not have the same loss and gradient.

    Raises:
        ConfigError: which choice stands against it.
    """
    settings, data = job.settings, job.settings["data"]
    squares = capabilities.of(settings, "loss", "measures") == Loss.measures
    reasons = {
        f"predictor={job.choices['predictor']} is not linear": (
            not capabilities.is_linear(settings)
        ),
        f"loss={job.choices['loss']} is not the mean of squared errors": (
            not squares or capabilities.reduction(settings, "loss") != "mean"
        ),
        f"gradient={job.choices['gradient']} is a sum over all rows": (
            capabilities.reduction(settings, "gradient") == "sum"
        ),
        "data.batch_size takes single rows": data.get("batch_size") is not None,
        "data.validation keeps single rows": bool(data.get("validation")),
    }
    for reason, holds in reasons.items():
        if holds:
            way_out = "gradient=manual" if "a sum" in reason else "data.compress=false"
            raise ConfigError(
                f"data.compress: {reason}, so that fewer rows cannot stand for all. Type {way_out}."
            )
