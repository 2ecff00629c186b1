"""How many runs Optuna's sweeper asks for at once: a generation, computed as one program."""

from __future__ import annotations

import math
from typing import Annotated

from annotated_types import Ge
from omegaconf import DictConfig, read_write

from gdexp.config import schema
from gdexp.config.overrides import typed
from gdexp.errors import ConfigError

ALL, AT_ONCE = "n_trials", "n_jobs"  # the sweeper's settings
PLUGINS_DEFAULT = 2  # of n_jobs


def check(config: DictConfig) -> None:
    """Check how many runs Optuna's sweeper asks for, in all and at once.

    Args:
        config: the configuration of a sweep by any sweeper, including Hydra's node.

    Raises:
        ConfigError: one of the two is out of range, or there are more runs than sweep.max_runs.
    """
    sweeper, limit = config.hydra.sweeper, config.sweep.max_runs
    if ALL not in sweeper:
        return
    for name in (ALL, AT_ONCE):
        key = f"hydra.sweeper.{name}"
        schema.check(key, sweeper[name], Annotated[int, Ge(1)], f"{key}=20")
    if (trials := sweeper[ALL]) > limit:
        raise ConfigError(
            f"hydra.sweeper.{ALL}: the sweep has {trials} runs, and sweep.max_runs={limit}. "
            f"Type sweep.max_runs={trials} to run them all."
        )


def resize(config: DictConfig) -> None:
    """Let Optuna ask for about the square root of all runs at once, unless n_jobs is set.

    Our launcher computes a generation in hardly more time than a single run, but Optuna learns
    nothing from it before its end. Thus there are as many generations as runs in each. The plugin's
    own default is 2.

    Args:
        config: as for :func:`check`; its number of runs at once is set.
    """
    sweeper = config.hydra.sweeper
    is_ours = str(config.hydra.launcher._target_).endswith(".VectorizedLauncher")
    words = [text.lstrip("+") for text in typed(config, "hydra")]
    is_typed = any(text.startswith(f"hydra.sweeper.{AT_ONCE}=") for text in words)
    if is_ours and ALL in sweeper and sweeper[AT_ONCE] == PLUGINS_DEFAULT and not is_typed:
        with read_write(config):
            sweeper[AT_ONCE] = math.ceil(math.sqrt(sweeper[ALL]))
