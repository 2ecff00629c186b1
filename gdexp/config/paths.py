"""Output paths: everything is written to ``outputs/`` in the working folder."""

from __future__ import annotations

import os
from pathlib import Path

from gdexp.errors import StoreError

OUTPUTS = "outputs"


def absolute(path: str | Path) -> Path:
    """The absolute path, resolved against the current working folder."""
    return Path(os.path.abspath(path))


def check_writable(folder: Path, setting: str) -> None:
    """Check that a folder can be written or created, without creating it.

    Raises:
        StoreError: a file is in its place, or it is not writable.
    """
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
