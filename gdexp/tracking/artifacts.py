"""The files of runs in a folder of this machine: written whole and synced, read, listed."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

FEW = 30  # files that are synced one by one; of more, the whole file system is


def local_path(uri: str) -> Path | None:
    """The folder that a URI or a path names; None if it is not on this machine.

    MLflow takes a %20 for a space in a path, too.

    >>> local_path("file:///tmp/a%20b"), local_path("/tmp/a%20b"), local_path("s3://bucket/a")
    (PosixPath('/tmp/a b'), PosixPath('/tmp/a b'), None)
    """
    if "://" not in uri and not uri.startswith("file:"):
        is_path = ":" not in uri.partition("/")[0]  # mlflow-artifacts:/1 is not
        return Path(os.path.abspath(unquote(uri))) if is_path else None
    parts = urlsplit(uri)
    return Path(unquote(parts.path)) if parts.scheme == "file" else None


def write_files(folders: Mapping[Path, Mapping[str, bytes]]) -> None:
    """Write files and have the disk confirm them.

    Args:
        folders: the content of each file, by its name below a folder.

    Raises:
        OSError: a file cannot be written.
        ValueError: a name leads out of its folder.
    """
    paths = [
        _write(folder, name, content)
        for folder, files in folders.items()
        for name, content in files.items()
    ]
    if len(paths) > FEW:
        os.sync()
        return
    folders_above = (folder for path in paths for folder in (path.parent, path.parents[1]))
    for path in {*paths, *folders_above}:
        sync(path)


def sync(path: Path) -> None:
    """Have the disk confirm a file, or the names in a folder."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _write(folder: Path, name: str, content: bytes) -> Path:
    pure = PurePosixPath(name)
    if not name or pure.is_absolute() or ".." in pure.parts:
        raise ValueError(f"{name!r} is not the name of a file below a run's folder")
    path = folder / pure
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(content)
    partial.replace(path)  # whole or not there
    return path


def remove(folders: Sequence[Path]) -> None:
    """Free the disk space of runs that have not been recorded."""
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def listed(folder: Path, below: str = "") -> list[str]:
    """What is in a folder, each by its path below the root; nothing if it does not exist."""
    place = folder / below
    if not place.is_dir():
        return []
    return sorted(str(PurePosixPath(below, entry.name)) for entry in place.iterdir())


@contextmanager
def temporary_folder(files: Mapping[str, bytes]) -> Iterator[str]:
    """A folder with these files, for what only uploads folders."""
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            _write(Path(folder), name, content)
        yield folder
