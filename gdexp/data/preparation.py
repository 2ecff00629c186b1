"""Prepare the rows to fit from a data source: split, standardized or compressed."""

from __future__ import annotations

import json
import os
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gdexp.config.capabilities import resolve
from gdexp.config.job import Job
from gdexp.config.paths import absolute
from gdexp.config.settings import Preparation
from gdexp.data.checks import check_compressible, check_numeric_target
from gdexp.data.compress import Digest, compress, digest, names_of
from gdexp.data.dataset import Chunk, Dataset
from gdexp.data.moments import means_of
from gdexp.data.parquet_file import parts_of
from gdexp.data.task import without
from gdexp.data.transforms import Scaling, TargetScaling, check_batch_size, split

# Cached tables: two, because runs may alternate between two tables, or between two ways to prepare
# one. More would keep gigabytes in memory long after the last run that needs them.
KEPT = 2

File: TypeAlias = tuple[str, int, int, int]
MakeSource: TypeAlias = Callable[[dict[str, Any]], Any]
"""Makes a Dataset, or a Source that reads one, from the settings of a data option."""


class Origin(NamedTuple):
    """Where a table is read from: equal origins give the same table.

    Attributes:
        make: makes the data source from the settings.
        loader: the settings' target; it changes when its module is reloaded.
        settings: the settings of the data option, in JSON.
        files: each file that a setting names, and the parts of a folder: path, mtime in ns, size
            and inode.
    """

    make: MakeSource
    loader: Any
    settings: str
    files: tuple[File, ...]

    @classmethod
    def of(cls, settings: Mapping[str, Any], make: MakeSource) -> Origin:
        """The current origin of the table that these settings of the group data describe."""
        own = {key: value for key, value in settings.items() if key not in vars(Preparation())}
        strings = {key: value for key, value in own.items() if value and isinstance(value, str)}
        files = tuple(file for key in strings for file in _files(strings[key], key == "path"))
        kind = resolve(own["_target_"]) or pkgutil.resolve_name(own["_target_"])
        return cls(make, kind, json.dumps(own), files)

    def source(self) -> Any:
        """The Dataset, or the Source that reads it."""
        return self.make(json.loads(self.settings))


def _files(name: str, parts: bool) -> list[File]:
    """A file's path and what changes when it is written, or also those of a folder's parts."""
    with suppress(OSError, ValueError):  # too long, a null character
        path = absolute(os.path.expanduser(name))
        states = [(str(file), file.stat()) for file in (path, *(parts_of(path) if parts else ()))]
        return [(file, s.st_mtime_ns, s.st_size, s.st_ino) for file, s in states]
    return []


@dataclass(frozen=True, eq=False)
class Prepared:
    """The data of a run.

    Attributes:
        fitted: the rows to fit, standardized or compressed if the settings say so.
        kept: the validation rows, standardized in the same way; None if there are none.
        scaling: the standardization of the features; None if there was none.
        target_scaling: the standardization of the target; None if there was none.
        means: the features' means over the rows to fit, in the data's own units, shape (d,).
        rows: the number of rows of the whole table.
        table: the whole table in its own units; None if it was never in memory.
        compressed: whether ``fitted`` replaces the table by fewer rows.
        read_digest: the digest of a table that was never in memory.
    """

    fitted: Dataset
    kept: Dataset | None
    scaling: Scaling | None
    means: NDArray[np.float64]
    rows: int
    table: Dataset | None
    compressed: bool = False
    read_digest: str = ""
    target_scaling: TargetScaling | None = None

    @cached_property
    def digest(self) -> str:
        """The digest of the whole table, 8 hexadecimal digits."""
        return self.read_digest if self.table is None else digest(self.table)

    def at(self, x: float) -> NDArray[np.float64]:
        """The prepared input at which f is printed: x, or the means of several features.

        Returns:
            One row, shape (1,) or (1, d).
        """
        point = np.array([x]) if self.fitted.width == 1 else self.means
        if self.scaling is not None:
            with np.errstate(over="ignore"):  # refused by whoever asks, if it is infinite
                point = (point - self.scaling.mean) / self.scaling.scale
        return point if self.fitted.width == 1 else point[None]

    def in_units(self, y: Any) -> Any:
        """Targets or predictions for the prepared rows, in the data's own units."""
        return y if self.target_scaling is None else self.target_scaling.undo(y)


def prepare(job: Job, make: MakeSource, ignored: int | None = None) -> Prepared:
    """Prepare the data of a job as its settings say.

    Tables and prepared data are cached for the next jobs: a file is read once as long as neither
    the settings nor the file change.

    Args:
        job: the job.
        make: makes the data source from the settings of the data option.
        ignored: the class whose rows the loss ignores; they are neither fitted nor scored.

    Raises:
        ConfigError: if the settings leave no rows, do not fit the data, or exclude each other.
    """
    settings = job.settings["data"]
    origin, standardize = Origin.of(settings, make), bool(settings.get("standardize"))
    scale_target = bool(settings.get("standardize_target"))
    if scale_target:
        check_numeric_target(job)
    if settings.get("compress"):
        check_compressible(job)
        bias = job.settings["predictor"].get("bias", True)  # the rows also suit those without
        return _compressed(origin, bias, standardize, scale_target)
    fraction = settings.get("validation", 0)
    seed = job.settings["seed"] if fraction else 0
    prepared = _whole(origin, standardize, scale_target, fraction, seed, ignored)
    if settings.get("batch_size"):
        check_batch_size(settings["batch_size"], len(prepared.fitted.y))
    return prepared


@lru_cache(maxsize=KEPT)
def _table(origin: Origin) -> Dataset:
    table: Dataset = origin.source().load()
    return table


@lru_cache(maxsize=KEPT)
def _whole(
    origin: Origin,
    standardize: bool,
    scale_target: bool,
    fraction: float,
    seed: int,
    ignored: int | None,
) -> Prepared:
    table = _table(origin)
    fitted, kept = split(table if ignored is None else without(table, ignored), fraction, seed)
    means = means_of(fitted.x)
    scaling = Scaling.of(fitted) if standardize else None
    target_scaling = TargetScaling.of(fitted) if scale_target else None
    for transform in (scaling, target_scaling):
        if transform is not None:
            fitted, kept = transform.apply(fitted), kept and transform.apply(kept)
    rows = len(table.y)
    return Prepared(fitted, kept, scaling, means, rows, table, target_scaling=target_scaling)


@lru_cache(maxsize=KEPT)
def _compressed(origin: Origin, bias: bool, standardize: bool, scale_target: bool) -> Prepared:
    source = origin.source()
    table = source if isinstance(source, Dataset) else None
    with source.open() as rows:
        features = tuple(rows.features)
        sha, total = Digest(len(features), names_of(rows)), np.zeros(len(features))

        def summed(chunks: Iterable[Chunk]) -> Iterator[Chunk]:
            for x, y in chunks:
                with np.errstate(over="ignore", invalid="ignore"):
                    total[:] += x.reshape(len(y), -1).sum(axis=0, dtype=np.float64)
                yield x, y

        chunks = summed(rows.chunks())
        if table is None:
            chunks = sha.reading(chunks)  # in the same pass: a file is read once
        short = compress(
            chunks,
            features,
            bias=bias,
            standardize=standardize,
            scale_target=rows.target if scale_target else None,
            encoding=rows.encoding,
        )
    names = rows.name, features, rows.target, rows.encoding, rows.classes
    fitted, means = Dataset(short.x, short.y, *names), total / short.rows
    scalings = short.scaling, short.target_scaling
    return Prepared(
        fitted, None, scalings[0], means, short.rows, table, True, str(sha), scalings[1]
    )
