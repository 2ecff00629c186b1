"""Where things are written: everything under ``outputs/`` of the folder one starts in."""

from __future__ import annotations

import os
from pathlib import Path

from gdexp.errors import StoreError

OUTPUTS = "outputs"


def absolute(path: str | Path) -> Path:
    """The path as it is seen from the folder one starts in, whatever happens to it later."""
    return Path(os.path.abspath(path))


def check_writable(folder: Path, setting: str) -> None:
    """Make sure that a folder can be written, or created, without creating it.

    Raises:
        StoreError: something else is in its place, or it is not writable.
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
