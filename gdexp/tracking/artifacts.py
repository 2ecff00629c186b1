"""The artifacts of runs: on the local disk, written atomically and synced, or in remote storage."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from gdexp.config.paths import write_whole

FEW = 30  # files to sync one by one; for more, one sync of the whole file system is faster


def local_path(uri: str) -> Path | None:
    """The local folder that a URI or a path names; None for any other scheme, or for no URI.

    MLflow takes a %20 for a space in a path, too.

    >>> local_path("file:///tmp/a%20b"), local_path("/tmp/a%20b"), local_path("s3://bucket/a")
    (PosixPath('/tmp/a b'), PosixPath('/tmp/a b'), None)
    """
    if not uri:
        return None
    if "://" not in uri and not uri.startswith("file:"):
        is_path = ":" not in uri.partition("/")[0]  # mlflow-artifacts:/1 is not
        return Path(os.path.abspath(unquote(uri))) if is_path else None
    parts = urlsplit(uri)
    return Path(unquote(parts.path)) if parts.scheme == "file" else None


def write_files(folders: Mapping[Path, Mapping[str, bytes]]) -> None:
    """Write files and sync them to disk.

    Args:
        folders: for each folder, the content of each file by its path below the folder.

    Raises:
        OSError: a file cannot be written.
        ValueError: a path leads out of its folder.
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
    """Sync a file, or the entries of a folder, to disk."""
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
    try:
        write_whole(path, content)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)
    return path


def remove_partial(uri: str) -> None:
    """Remove what a process was writing to a run's folder when it died."""
    folder = local_path(uri)
    for path in folder.rglob(".*.partial") if folder is not None else ():
        with suppress(OSError):
            path.unlink()


def add(uri: str, files: Mapping[str, bytes]) -> None:
    """Write files below a URI, and sync them if it names a local folder."""
    if (folder := local_path(uri)) is not None:
        write_files({folder: files})
        return
    from gdexp.tracking import mlflow_files

    mlflow_files.upload(uri, files)


def listed(uri: str, below: str = "") -> list[str]:
    """The entries of a folder below a URI, as paths below that URI; none if it does not exist."""
    if (folder := local_path(uri)) is None:
        from gdexp.tracking import mlflow_files

        return mlflow_files.listed(uri, below)
    place = folder / below
    if not place.is_dir():
        return []
    return sorted(str(PurePosixPath(below, entry.name)) for entry in place.iterdir())


def read(uri: str, name: str) -> bytes:
    """The content of one file below a URI."""
    if (folder := local_path(uri)) is not None:
        return (folder / name).read_bytes()
    from gdexp.tracking import mlflow_files

    return mlflow_files.download(uri, name)


@contextmanager
def temporary_folder(files: Mapping[str, bytes]) -> Iterator[str]:
    """A temporary folder with these files, for MLflow calls that upload whole folders."""
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            _write(Path(folder), name, content)
        yield folder
