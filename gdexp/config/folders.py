"""The folders of options: gdexp's own, and the one that the user names with --config-dir."""

from __future__ import annotations

import os
from pathlib import Path

from gdexp.errors import ConfigError, brief

ROOT = "config"


def conf_dir() -> str:
    """The folder of the YAML files: in the package (a wheel), else in the checkout."""
    package = Path(__file__).resolve().parents[1]
    packed = package / "conf"
    return str(packed if packed.is_dir() else package.parent / "conf")


def checked_dir(config_dir: str | os.PathLike[str]) -> str:
    """The absolute path of a --config-dir.

    Raises:
        ConfigError: the folder does not exist, or has a file that Hydra would not read.
    """
    path = os.path.abspath(config_dir)
    if not os.path.isdir(path):
        raise ConfigError(
            f"--config-dir: there is no folder {path}. Name a folder with your options in it, "
            "as in loss/mine.yaml."
        )
    for option in Path(path).glob("*/*.yaml"):
        try:
            option.read_text(encoding="utf-8")
        except (UnicodeDecodeError, OSError) as error:
            raise ConfigError(f"--config-dir: {option} cannot be read: {brief(error)}.") from error
    for ours in Path(conf_dir()).rglob("*.yaml"):
        name = ours.relative_to(conf_dir())
        theirs = Path(path, name)
        if theirs.is_file() and theirs.read_bytes() != ours.read_bytes():
            advice = (
                "Put your defaults into a preset of your own, as in step/mine.yaml."
                if str(name) == f"{ROOT}.yaml"
                else "Give your option another name."
            )
            raise ConfigError(
                f"--config-dir: {theirs} would not be read, since gdexp has its own {name}. "
                f"{advice}"
            )
    return path
