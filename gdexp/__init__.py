"""Gradient-descent experiments as combinations of YAML files, every run recorded in MLflow.

>>> from gdexp import run
>>> result = run("step=manual", "iters=10", "tracking=off")
>>> print(result.outcome, f"{result.trajectory.loss[0]:.1f}")
completed 30.0
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gdexp.config import __version__

if TYPE_CHECKING:
    from gdexp.descent.result import Result

__all__ = ["__version__", "run"]


def run(*overrides: str, config_dir: str | None = None) -> Result:
    """Run one experiment and return its outcome and its trajectory as arrays.

    The overrides are those of the command line: ``run("step=autograd", "lr=0.05")`` is
    ``python -m gdexp step=autograd lr=0.05`` without the printing. It has the same defaults, the
    same checks and the same record in MLflow (none with ``"tracking=off"``).

    Args:
        overrides: Hydra overrides, one string each.
        config_dir: a folder with your own options, as with ``--config-dir``.

    Raises:
        ConfigError: a setting is unknown, of the wrong type or out of range.
        StoreError: the tracking store cannot be used.
    """
    from gdexp.commands.api import run_overrides

    return run_overrides(overrides, config_dir)
