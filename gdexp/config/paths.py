"""Output paths: everything is written to ``outputs/`` in the working folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gdexp.errors import StoreError

OUTPUTS = "outputs"

_start: str | None = None  # the folder that relative paths start from; None: the working folder


@contextmanager
def started_in(folder: str) -> Iterator[None]:
    """Let relative paths start from this folder while the job is in another.

    With ``hydra.job.chdir=true``, Hydra makes a job's own folder the working folder.
    """
    global _start
    former, _start = _start, folder
    try:
        yield
    finally:
        _start = former


def absolute(path: str | Path) -> Path:
    """The absolute path; a relative one starts from the folder in which gdexp was started."""
    return Path(os.path.abspath(os.path.join(_start or os.getcwd(), path)))


def relative(path: Path) -> Path:
    """The path, relative to the folder in which gdexp was started if it is below that.

    >>> relative(absolute("outputs/spool"))
    PosixPath('outputs/spool')
    """
    start = absolute(".")
    return path.relative_to(start) if path.is_relative_to(start) else path


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole or, if that fails or is interrupted, not at all.

    Raises:
        OSError: it cannot be written.
    """
    folder, name = os.path.split(path)
    partial = os.path.join(folder, f".{name[:200]}.{os.getpid()}.partial")
    try:
        with open(partial, "wb") as file:
            file.write(content)
        os.replace(partial, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(partial)
        raise


def check_writable(folder: Path, setting: str) -> None:
    """Check that a folder can be written or created, without creating it.

    Raises:
        StoreError: a file is in its place, it is not writable, or its name cannot be used.
    """
    _check_name(folder, setting)
    nearest = folder
    while not os.path.lexists(nearest):
        nearest = nearest.parent
    if not nearest.is_dir():
        raise StoreError(f"{setting}: {nearest} is in the way: it is not a folder. Move it.")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise StoreError(
            f"{setting}: the folder {nearest} cannot be written. Change its permissions, or start "
            "from another folder."
        )


def _check_name(folder: Path, setting: str) -> None:
    """Refuse names that a database or Hydra's files cannot hold."""
    shown, why = os.fsencode(folder).decode(errors="backslashreplace"), ""
    if shown != str(folder):
        why = "is not UTF-8 text"
    elif "${" in shown:
        why = "contains ${, which Hydra would replace"
    if why:
        raise StoreError(
            f"{setting}: the name of the folder {shown} {why}. Rename it, or start from another "
            "folder."
        )
