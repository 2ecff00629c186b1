"""From a data source to the rows that are fitted: split, standardized, compressed as asked for."""

from __future__ import annotations

import json
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gdexp.config import capabilities
from gdexp.config.job import Job
from gdexp.config.paths import absolute
from gdexp.config.settings import Preparation
from gdexp.data.compress import Digest, compress, digest
from gdexp.data.dataset import Chunk, Dataset
from gdexp.data.transforms import Scaling, check_batch_size, split
from gdexp.errors import ConfigError
from gdexp.manual import Loss

# Two, because runs may alternate between two tables, or between two ways to prepare one; with
# more, tables of gigabytes would stay in memory long after the last run that needs them.
KEPT = 2

File: TypeAlias = tuple[str, int, int, int]
MakeSource: TypeAlias = Callable[[dict[str, Any]], Any]
"""From the settings of a data option to a Dataset, or a Source that reads one."""


class Origin(NamedTuple):
    """What a table is read from: equal origins give the same table.

    Attributes:
        make: instantiates the settings.
        loader: what the settings' target is now; another one after its module is reloaded.
        settings: of the data option, in JSON.
        files: every file that a setting names: path, mtime in ns, size and inode.
    """

    make: MakeSource
    loader: Any
    settings: str
    files: tuple[File, ...]

    @classmethod
    def of(cls, settings: Mapping[str, Any], make: MakeSource) -> Origin:
        """The origin that these settings of the group data name, at this moment."""
        own = {key: value for key, value in settings.items() if key not in vars(Preparation())}
        texts = [value for value in own.values() if value and isinstance(value, str)]
        files = tuple(file for file in map(_file, texts) if file is not None)
        return cls(make, pkgutil.resolve_name(own["_target_"]), json.dumps(own), files)

    def source(self) -> Any:
        """The data set, or what loads one."""
        return self.make(json.loads(self.settings))


def _file(text: str) -> File | None:
    """The file of this path and what changes when it is written; None if there is none."""
    with suppress(OSError, ValueError, RuntimeError):  # too long, a null character, no such user
        path = absolute(Path(text).expanduser())
        state = path.stat()
        return str(path), state.st_mtime_ns, state.st_size, state.st_ino
    return None


@dataclass(frozen=True, eq=False)
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


def prepare(job: Job, make: MakeSource) -> Prepared:
    """The data of a job, prepared as its settings ask for.

    The table and what was made of it are kept for the next jobs: a file is read once as long as
    neither the settings nor the file change.

    Args:
        job: the job.
        make: from the data option's settings to a Dataset, or a Source that reads one.

    Raises:
        ConfigError: the settings leave nothing, do not fit the data, or exclude each other.
    """
    settings = job.settings["data"]
    origin, standardize = Origin.of(settings, make), bool(settings.get("standardize"))
    if settings.get("compress"):
        check_compressible(job)
        bias = job.settings["predictor"].get("bias", True)  # its rows serve predictors without, too
        return _compressed(origin, bias, standardize)
    fraction = settings.get("validation", 0)
    prepared = _whole(origin, standardize, fraction, job.settings["seed"] if fraction else 0)
    if settings.get("batch_size"):
        check_batch_size(settings["batch_size"], len(prepared.fitted.y))
    return prepared


@lru_cache(maxsize=KEPT)
def _table(origin: Origin) -> Dataset:
    table: Dataset = origin.source().load()
    return table


@lru_cache(maxsize=KEPT)
def _whole(origin: Origin, standardize: bool, fraction: float, seed: int) -> Prepared:
    table = _table(origin)
    fitted, kept = split(table, fraction, seed)
    means = np.atleast_1d(fitted.x.mean(axis=0, dtype=np.float64))
    scaling = None
    if standardize:
        scaling = Scaling.of(fitted)
        fitted, kept = scaling.apply(fitted), kept and scaling.apply(kept)
    return Prepared(fitted, kept, scaling, means, len(table.y), table)


@lru_cache(maxsize=KEPT)
def _compressed(origin: Origin, bias: bool, standardize: bool) -> Prepared:
    source = origin.source()
    table = source if isinstance(source, Dataset) else None  # a file is read once, digest included
    with source.open() as rows:
        features = tuple(rows.features)
        seen, total = Digest(len(features)), np.zeros(len(features))

        def summed(chunks: Iterable[Chunk]) -> Iterator[Chunk]:
            for x, y in chunks:
                total[:] += x.reshape(len(y), -1).sum(axis=0, dtype=np.float64)
                yield x, y

        chunks = summed(rows.chunks())
        if table is None:
            chunks = seen.reading(chunks)
        found = compress(chunks, features, bias=bias, standardize=standardize)
    fitted = Dataset(found.x, found.y, rows.name, features, rows.target)
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
