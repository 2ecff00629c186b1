"""Run records on disk, for as long as their store cannot be written: ``outputs/spool``.

A file holds the records of one write. It is written whole (temporary name, fsync, rename), its name
sorts by time, and it names its store without a password.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from gdexp.config.paths import OUTPUTS, absolute, relative
from gdexp.credentials import without_password
from gdexp.descent import archive
from gdexp.errors import brief
from gdexp.tracking.artifacts import sync
from gdexp.tracking.location import kind_of, sqlite_path, sqlite_uri
from gdexp.tracking.run_record import Curve, DatasetRecord, RunRecord

NAME = "spool"
VERSION = 1
ABANDONED = 3600.0  # seconds after which a partial file belongs to no living process
_RUN_ID = re.compile(r"[0-9A-Za-z_-]{1,64}")
_COLUMNS = (("values", np.float64), ("steps", np.int64), ("timestamps", np.int64))
_last = 0


@dataclass(frozen=True)
class Spooled:
    """The content of a spool file.

    Attributes:
        address: the store, see :func:`address_of`.
        experiment: the name of the experiment.
        records: what was to be written.
    """

    address: str
    experiment: str
    records: Sequence[RunRecord]


def folder() -> Path:
    """Where records are spooled."""
    return absolute(OUTPUTS) / NAME


def address_of(uri: str) -> str:
    """A store's URI without any credentials; a SQLite file below the working folder is relative.

    >>> address_of("postgresql+psycopg://me:secret@host/runs?sslpassword=other&connect_timeout=3")
    'postgresql://me@host/runs?connect_timeout=3'
    >>> address_of("https://me:secret@host:5000/")
    'https://host:5000'
    """
    kind = kind_of(uri)
    if kind == "sqlite":
        return sqlite_uri(relative(absolute(sqlite_path(uri))))
    return f"{kind}://{without_password(uri).partition('://')[2].rstrip('/')}"


def save(place: Path, uri: str, experiment: str, records: Sequence[RunRecord]) -> Path:
    """Write records to a new file of the spool, synced to disk.

    Args:
        place: the folder, created if need be.
        uri: the store that the records are for.
        experiment: its experiment.
        records: what is to be delivered.

    Raises:
        OSError: the file cannot be written.
    """
    address = address_of(uri)
    content = archive.pack(_packed(address, experiment, records))
    place.mkdir(parents=True, exist_ok=True)
    path = place / f"{_stamp():020d}-{uuid4().hex[:8]}-{_digest(address, experiment)}.npz"
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_bytes(content)
        sync(partial)
        partial.replace(path)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise
    sync(place)
    return path


def _stamp() -> int:
    """The time in ns since 1970; it only grows in this process, whatever the clock does."""
    global _last
    _last = max(_last + 1, time.time_ns())
    return _last


def _digest(address: str, experiment: str) -> str:
    return hashlib.sha256(f"{address}\n{experiment}".encode()).hexdigest()[:12]


def files(place: Path) -> list[Path]:
    """All files of the spool, in the order in which they were written."""
    return sorted(place.glob("[!.]*"))


def files_for(place: Path, uri: str, experiment: str) -> list[Path]:
    """The files for one experiment of a store, in the order in which they were written."""
    return sorted(place.glob(f"[!.]*-{_digest(address_of(uri), experiment)}.npz"))


@contextmanager
def exclusive(place: Path, seconds: float = 0.0) -> Iterator[bool]:
    """Lock the spool for delivering it; yields False if another process has it for so long."""
    from filelock import FileLock, Timeout

    lock = FileLock(place / ".lock", timeout=seconds)
    try:
        lock.acquire()
    except (Timeout, OSError):
        yield False
        return
    try:
        _remove_abandoned(place)
        yield True
    finally:
        lock.release()


def _remove_abandoned(place: Path) -> None:
    """Remove what processes were writing when they were killed."""
    for path in place.glob(".*.partial"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > ABANDONED:
                path.unlink()


def _packed(address: str, experiment: str, records: Sequence[RunRecord]) -> dict[str, Any]:
    """One array for all points of a kind, and one for the bytes of all artifacts."""
    head = {
        "version": VERSION,
        "address": address,
        "experiment": experiment,
        "records": [_head(record) for record in records],
    }
    curves = [curve for record in records for curve in record.curves]
    contents = [content for record in records for content in record.artifacts.values()]
    packed = {"gdexp_spool": _array(json.dumps(head).encode()), "bytes": _array(b"".join(contents))}
    for name, kind in _COLUMNS:
        columns = [np.asarray(getattr(curve, name), kind) for curve in curves]
        packed[name] = np.concatenate(columns) if columns else np.empty(0, kind)
    return packed


def _array(content: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(content, np.uint8)


def _head(record: RunRecord) -> dict[str, Any]:
    return {
        "name": record.name,
        "status": record.status,
        "start_ms": record.start_ms,
        "end_ms": record.end_ms,
        "params": dict(record.params),
        "tags": dict(record.tags),
        "curves": [[curve.name, len(curve.values)] for curve in record.curves],
        "dataset": asdict(record.dataset) if record.dataset is not None else None,
        "artifacts": [[name, len(content)] for name, content in record.artifacts.items()],
        "run_id": record.run_id,
        "is_open": record.is_open,
    }


def read(path: Path) -> Spooled:
    """Read a file of the spool.

    Raises:
        ValueError: it is damaged, cut off, or not a file of the spool.
    """
    try:
        content = path.read_bytes()
        head, raw, *columns = archive.unpack_parts(
            content, ["gdexp_spool", "bytes", *(name for name, _ in _COLUMNS)]
        )
        described = archive.check_mapping(json.loads(head.tobytes()), "its description")
        version, *parts = archive.take(described, ["version", "address", "experiment", "records"])
        if version != VERSION:
            raise ValueError(f"it has the format {version}, and this gdexp reads {VERSION}")
        address, experiment, heads = parts
        if not (isinstance(address, str) and isinstance(experiment, str)):
            raise ValueError("it does not name its store")
        points, rest = _Slices(columns), _Slices([raw])
        records = [_record(head, points, rest) for head in heads]
        points.check_end()
        rest.check_end()
        return Spooled(address, experiment, records)
    except ValueError:
        raise
    except OSError as error:
        raise ValueError(error.strerror or brief(error)) from error
    except Exception as error:  # a damaged or foreign file may raise anything
        raise ValueError(f"it is not a spool file of gdexp ({brief(error)})") from error


class _Slices:
    """Consecutive slices of arrays of equal length."""

    def __init__(self, arrays: Sequence[NDArray[Any]]) -> None:
        self._arrays, self._start = arrays, 0

    def take(self, length: int) -> list[NDArray[Any]]:
        """The next slice of each array."""
        stop = self._start + length
        if length < 0 or any(stop > len(array) for array in self._arrays):
            raise ValueError("it lacks some of its points or files")
        slices = [array[self._start : stop] for array in self._arrays]
        self._start = stop
        return slices

    def check_end(self) -> None:
        """Raise ValueError if something is left."""
        if any(self._start != len(array) for array in self._arrays):
            raise ValueError("it has more points or files than it describes")


def _record(head: Any, points: _Slices, rest: _Slices) -> RunRecord:
    fields = dict(archive.check_mapping(head, "one of its records"))
    if not _RUN_ID.fullmatch(fields["run_id"]):
        raise ValueError(f"{fields['run_id']!r} is not a run's id")
    fields["curves"] = [Curve(name, *points.take(length)) for name, length in fields["curves"]]
    files = {name: rest.take(length)[0].tobytes() for name, length in fields["artifacts"]}
    dataset = fields["dataset"] and DatasetRecord(**fields["dataset"])
    return RunRecord(**fields | {"artifacts": files, "dataset": dataset})
