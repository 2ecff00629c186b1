"""Refuses a sweep that is not computed as ``sweep.vectorize`` or ``sweep.memory`` asks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from omegaconf import DictConfig

from gdexp.config.job import Job
from gdexp.sweep.jobs import planned
from gdexp.sweep.launcher import needs_hydra
from gdexp.sweep.shards import executor
from gdexp.sweep.sweeper import listed
from gdexp.sweep.vectorized.groups import check_vectorizable


def check_required(config: DictConfig, loader: Any, typed: Sequence[str], first: Job) -> None:
    """Refuse a sweep whose runs are not computed as ``sweep.vectorize`` or ``sweep.memory`` asks.

    Args:
        config: its configuration, including Hydra's node.
        loader: Hydra's configuration loader.
        typed: the overrides, including axes.
        first: its first run; another sweeper's runs are taken to be like it.

    Raises:
        ConfigError: names the runs and what prevents it.
    """
    is_ours = str(config.hydra.sweeper._target_).endswith(".GridSweeper")
    asked = config.sweep.get("vectorize") == "required" or config.sweep.get("memory") is not None
    if not asked or config.sweep.dry_run:
        return
    overrides: Sequence[Sequence[str]] = [first.typed] * 2
    if is_ours:
        params = config.hydra.sweeper.get("params") or {}
        words = [*(f"{key}={value}" for key, value in params.items()), *typed]
        overrides = listed(config, loader, words)
    check_vectorizable(planned(config, loader, overrides), _prevented(config))


def _prevented(config: DictConfig) -> str:
    """Why each job runs by itself, whatever it is; "" if it need not."""
    launcher = config.hydra.launcher
    if str(launcher._target_).endswith(".VectorizedLauncher") or executor.cluster(launcher):
        return needs_hydra(config)
    return f"hydra/launcher={config.hydra.runtime.choices['hydra/launcher']} runs each by itself"
