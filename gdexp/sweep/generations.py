"""How many runs Optuna's sweeper asks for at once: a generation, computed as one program."""

from __future__ import annotations

import math
from tempfile import TemporaryDirectory
from typing import Annotated

from annotated_types import Ge, Le
from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.types import HydraContext
from omegaconf import DictConfig, read_write

from gdexp.config import schema
from gdexp.config.overrides import typed
from gdexp.errors import ConfigError, brief, cause

ALL, AT_ONCE = "n_trials", "n_jobs"  # the sweeper's settings
PLUGINS_DEFAULT = 2  # of n_jobs
SHARE = Annotated[float, Ge(0), Le(1)]


def check(config: DictConfig) -> None:
    """Check the settings of Optuna's sweeper, which checks them only after its start, or never.

    Args:
        config: the configuration of a sweep by any sweeper, including Hydra's node.

    Raises:
        ConfigError: a setting is out of range, there are more runs than sweep.max_runs, or Optuna
            cannot use its storage.
    """
    sweeper, limit = config.hydra.sweeper, config.sweep.max_runs
    if ALL not in sweeper:
        return
    for name in (ALL, AT_ONCE):
        key = f"hydra.sweeper.{name}"
        schema.check(key, sweeper[name], Annotated[int, Ge(1)], f"{key}=20")
    direction = getattr(sweeper.direction, "name", sweeper.direction)
    if direction != "minimize":
        raise ConfigError(
            f"hydra.sweeper.direction: {direction!r} cannot be, since what is compared is the "
            "final loss. Type hydra.sweeper.direction=minimize."
        )
    schema.check(
        key := "hydra.sweeper.max_failure_rate", sweeper.max_failure_rate, SHARE, f"{key}=0.5"
    )
    if (trials := sweeper[ALL]) > limit:
        raise ConfigError(
            f"hydra.sweeper.{ALL}: the sweep has {trials} runs, and sweep.max_runs={limit}. "
            f"Type sweep.max_runs={trials} to run them all."
        )
    if sweeper.storage is not None:
        _check_storage()
    _check_built(config)


def _check_storage() -> None:
    """Refuse databases if this Optuna cannot use any, as old ones with a new SQLAlchemy."""
    import optuna

    try:
        with TemporaryDirectory() as folder:
            optuna.storages.get_storage(f"sqlite:///{folder}/study.db")
    except Exception as error:
        raise ConfigError(
            f"hydra.sweeper.storage: Optuna {optuna.__version__} cannot use a database: "
            f"{brief(error)}. Leave it out: the runs are recorded anyway."
        ) from error


def _check_built(config: DictConfig) -> None:
    """Refuse what the constructors of the sweeper and its sampler refuse."""
    from hydra.core.plugins import Plugins

    try:
        Plugins.instance().instantiate_sweeper(
            hydra_context=HydraContext(GlobalHydra.instance().config_loader(), Callbacks()),
            task_function=lambda _: None,
            config=config,
        )
    except Exception as error:
        name = config.hydra.runtime.choices["hydra/sweeper"]
        raise ConfigError(f"hydra/sweeper={name}: {cause(error)}.") from error


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
