"""Gradient-descent experiments as combinations of YAML files, every run recorded in MLflow.

>>> from gdexp import run, sweep
>>> result = run("step=manual", iters=10, tracking="off")
>>> print(result.outcome, f"{result.trajectory.loss[0]:.1f}")
completed 30.0
>>> table = sweep("step=manual,autograd", lr=[0.01, 0.02], tracking="off")
>>> print(*table.outcome, table.result[3].trajectory.length)
completed completed completed completed 20
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from gdexp.config import __version__

if TYPE_CHECKING:
    from os import PathLike

    import pandas as pd

    from gdexp.descent.result import Result

__all__ = ["__version__", "run", "sweep"]


class _Package(ModuleType):
    """Keeps ``gdexp.sweep`` the function: importing the folder of that name would replace it."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name == "sweep" and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def run(
    *overrides: str | list[str],
    config_dir: str | PathLike[str] | None = None,
    **settings: Any,
) -> Result:
    """Run one experiment and return its outcome and its trajectory as arrays.

    ``run("step=autograd", lr=0.05)`` is ``python -m gdexp step=autograd lr=0.05`` without the
    printing. It has the same defaults, the same checks and the same record in MLflow (none with
    ``tracking="off"``).

    Args:
        overrides: Hydra overrides, one string each, as on the command line.
        config_dir: a folder with your own options, as with ``--config-dir``.
        settings: further overrides by key; those of a group in a dictionary, as in
            ``updater={"momentum": 0.9}``. Values are Python's: no quotes are needed.

    Raises:
        ConfigError: a setting is unknown, of the wrong type or out of range.
        StoreError: the tracking store cannot be used.
    """
    from gdexp.commands.api import run_overrides
    from gdexp.config.keywords import overrides as typed

    return run_overrides(typed(overrides, settings), config_dir)


def sweep(
    *overrides: str | list[str],
    config_dir: str | PathLike[str] | None = None,
    **settings: Any,
) -> pd.DataFrame:
    """Run every combination of the values given and return a table of the runs.

    ``sweep("step=manual,model", lr=[0.01, 0.1])`` is ``python -m gdexp -m step=manual,model
    lr=0.01,0.1`` without the printing: the runs are computed together where they differ only in
    numbers, and recorded in MLflow as one sweep.

    Args:
        overrides: Hydra overrides, one string each, as on the command line.
        config_dir: a folder with your own options, as with ``--config-dir``.
        settings: further overrides by key, as for :func:`run`. A list holds the values of an axis;
            a setting that is itself a list goes into another one, as in ``x=[[1, 2, 3]]``.

    Returns:
        A pandas data frame with a row for each run, by job number: the settings that differ, the
        outcome, the metrics with one value per run, ``run_id`` and, in the column ``result``, what
        :func:`run` returns. ``table.attrs["sweep_id"]`` is the id of the sweep;
        ``table.gdexp.over("seed")`` gives means and standard deviations over the seeds.

    Raises:
        ConfigError: a setting is unknown, of the wrong type or out of range.
        StoreError: the tracking store cannot be used.
        RunFailedError: some runs failed, after the others have been run and recorded.
    """
    from gdexp.commands.api import sweep_overrides
    from gdexp.config.keywords import overrides as typed

    return sweep_overrides(typed(overrides, settings, axes=True), config_dir)
