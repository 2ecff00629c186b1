"""Sweeps whose jobs another sweeper chooses, as Optuna's does: their summary run, their generations.

Such a sweeper asks for some runs at a time, and no code of ours is called after the last. So the
summary is opened before the sweeper starts, and closed when the block around it ends.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge
from omegaconf import DictConfig, read_write

from gdexp.config import schema
from gdexp.config.overrides import typed
from gdexp.console import say
from gdexp.descent.signals import exposed, shielded
from gdexp.errors import ConfigError
from gdexp.sweep import best
from gdexp.sweep.ending import ending
from gdexp.sweep.workers.launched import ended

if TYPE_CHECKING:
    from gdexp.sweep.open_summary import OpenSummary

PLUGINS_DEFAULT = 2  # n_jobs of hydra-optuna-sweeper

_opened: OpenSummary | None = None
_stack = ExitStack()  # what to leave at the end of the block


def check_generations(config: DictConfig) -> None:
    """Check how many runs Optuna's sweeper asks for, in all and at once.

    Args:
        config: the configuration of a sweep, including Hydra's node.

    Raises:
        ConfigError: one of the two is out of range, or there are more runs than sweep.max_runs.
    """
    sweeper, limit = config.hydra.sweeper, config.sweep.max_runs
    if "n_trials" not in sweeper:
        return
    for name in ("n_trials", "n_jobs"):
        key = f"hydra.sweeper.{name}"
        schema.check(key, sweeper[name], Annotated[int, Ge(1)], f"{key}=20")
    if (trials := sweeper.n_trials) > limit:
        raise ConfigError(
            f"hydra.sweeper.n_trials: the sweep has {trials} runs, and sweep.max_runs={limit}. "
            f"Type sweep.max_runs={trials} to run them all."
        )


def size_generations(config: DictConfig) -> None:
    """Let Optuna ask for about the square root of all runs at once, if nobody says how many.

    Our launcher computes such a generation as one program, in hardly more time than a single run;
    but what Optuna learns from it comes only after it. Thus there are as many generations as runs
    in each. The plugin's own default is 2.

    Args:
        config: the sweep's configuration, including Hydra's node.
    """
    sweeper, key = config.hydra.sweeper, "n_jobs"
    is_ours = str(config.hydra.launcher._target_).endswith(".VectorizedLauncher")
    words = [text.lstrip("+") for text in typed(config, "hydra")]
    is_typed = any(text.startswith(f"hydra.sweeper.{key}=") for text in words)
    if is_ours and "n_trials" in sweeper and sweeper.get(key) == PLUGINS_DEFAULT and not is_typed:
        with read_write(config):
            sweeper[key] = math.ceil(math.sqrt(sweeper.n_trials))


def open_summary(config: DictConfig) -> None:
    """Open the summary of a sweep, if another sweeper chooses its jobs and they are recorded.

    Args:
        config: the sweep's configuration, including Hydra's node.

    Raises:
        ConfigError: a sweep of this name is recorded already.
        StoreError: the store cannot be used.
    """
    global _opened
    if str(config.hydra.sweeper._target_).endswith(".GridSweeper"):
        return  # it opens its own
    _stack.enter_context(ended())
    if config.tracking.enabled:
        from gdexp.sweep.open_summary import OpenSummary

        with shielded():
            _opened = OpenSummary.of(config)
    say(f"runs in {config.hydra.sweep.dir}")


@contextmanager
def summarised() -> Iterator[None]:
    """Close the summary that was opened within this block, however the block ends."""
    global _stack
    with ending(_close), ExitStack() as _stack, exposed():
        yield


def _close(status: str) -> None:
    global _opened
    summary, _opened = _opened, None
    if summary is not None:
        summary.jobs = best.taken()
        say(f"sweep {summary.sweep_id}: {summary.close({}, status)}")
