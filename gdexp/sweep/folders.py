"""Folders of runs and sweeps: each belongs to one, so that nothing of a former one is overwritten.

A run's folder is taken by creating Hydra's subfolder ``.hydra`` in it, a sweep's by creating
``multirun.yaml``. Both succeed for one process only.
"""

from __future__ import annotations

import os
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from gdexp.config.paths import absolute
from gdexp.errors import ConfigError

OF_A_SWEEP = ("multirun.yaml", "optimization_results.yaml")
DISTINCT = ("job.num", "job.id", "override_dirname")  # references that differ from job to job


def check_unused(files: Path, setting: str) -> None:
    """Refuse the folder of another run.

    Args:
        files: where Hydra would write the files of a run.
        setting: the setting that names its folder.

    Raises:
        ConfigError: the folder has files of a run already.
    """
    if os.path.lexists(files):
        raise ConfigError(
            f"{setting}: {files.parent} has the files of a run already, in {files.name}. Name "
            "another folder."
        )


def claim(files: Path, setting: str) -> None:
    """Take a folder for a run; see :func:`check_unused`."""
    files.parent.mkdir(parents=True, exist_ok=True)
    try:
        files.mkdir()
    except FileExistsError:  # another process was quicker
        check_unused(files, setting)


def check_sweep(config: DictConfig) -> None:
    """Refuse the folder of another sweep, and one folder for all jobs of a sweep.

    Args:
        config: the sweep's configuration, including Hydra's node.

    Raises:
        ConfigError: the folder has the files of another sweep, or the jobs would share one.
    """
    raw = OmegaConf.to_container(config.hydra, resolve=False)
    assert isinstance(raw, dict)
    subdir = str(raw["sweep"]["subdir"])
    if raw["output_subdir"] is not None and not any(name in subdir for name in DISTINCT):
        raise ConfigError(
            f"hydra.sweep.subdir={subdir}: all jobs would write to one folder. Type for example "
            "'hydra.sweep.subdir=job-${hydra.job.num}'."
        )
    if config.sweep.resume or config.sweep.dry_run:
        return
    folder = absolute(config.hydra.sweep.dir)
    if any(os.path.lexists(folder / name) for name in OF_A_SWEEP):
        raise _used(config)


def claim_sweep(config: DictConfig) -> None:
    """Take a folder for a sweep by writing Hydra's multirun.yaml; a resumed one keeps its first.

    Raises:
        ConfigError: the folder has the files of another sweep.
    """
    folder = absolute(config.hydra.sweep.dir)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with (folder / "multirun.yaml").open("x", encoding="utf-8") as file:
            OmegaConf.save(config, file)
    except FileExistsError:
        if not config.sweep.resume:
            raise _used(config) from None


def _used(config: DictConfig) -> ConfigError:
    folder = absolute(config.hydra.sweep.dir)
    is_resumable = str(config.hydra.sweeper._target_).endswith(".GridSweeper")
    or_resume = f", or type sweep.resume={folder.name} to run its missing jobs"
    return ConfigError(
        f"hydra.sweep.dir: {folder} has the files of a sweep already. Name another folder"
        f"{or_resume if is_resumable and config.tracking.enabled else ''}."
    )
