"""The jobs of a sweep: the axes typed × the points or the grid of the group ``sweep`` × the seeds.

Overrides are kept as text, as typed on the command line. An axis is a list of alternatives, an
alternative a tuple of overrides, and a job takes one alternative of each axis. A user's option that
includes one of ours (``defaults: [log]``) inherits its ``_kind_``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.config_loader import ConfigLoader

from gdexp.config import schema
from gdexp.config.keywords import check_count
from gdexp.errors import ConfigError
from gdexp.sweep.grids.axis import Axis, Overrides, axis_of, check_axis, run_overrides
from gdexp.sweep.grids.ranges import checked
from gdexp.sweep.grids.sampling import drawn_axes, interval
from gdexp.sweep.grids.values import grid_axes


def axes(sweep: Mapping[str, Any], option: str) -> list[list[Overrides]]:
    """The axes of the group ``sweep`` itself: one for each option that takes no axes typed.

    Raises:
        ConfigError: a setting is invalid, or there are more alternatives than sweep.max_runs.

    >>> axes({"key": "lr", "low": 0.001, "high": 0.1, "num": 3}, "log")
    [[('lr=0.001',), ('lr=0.01',), ('lr=0.1',)]]
    >>> axes({"lists": {"lr": [0.1, 0.01], "step": ["model", "manual"]}}, "zip")
    [[('lr=0.1', 'step=model'), ('lr=0.01', 'step=manual')]]
    """
    settings = checked(sweep, option)
    own_axes = grid_axes(settings, option)
    check_count(math.prod(axis.size for axis in own_axes), settings["max_runs"])
    return [list(axis.alternatives) for axis in own_axes]


def jobs(
    typed: Sequence[str],
    sweep: Mapping[str, Any],
    option: str,
    seed: int | None,
    *,
    loader: ConfigLoader | None = None,
) -> list[Overrides]:
    """All jobs in order: the first override typed varies slowest, the seeds of repeat fastest.

    Overrides of the group ``sweep`` itself are left out: they do not describe a run.

    Args:
        typed: the overrides of the command line.
        sweep: the settings of the group ``sweep``.
        option: the chosen option.
        seed: the first seed of sweep.repeat; None if it is no number before the jobs are numbered.
        loader: Hydra's, which expands globs such as ``step=glob(*)``.

    Raises:
        ConfigError: an override or setting is invalid, or there are more jobs than sweep.max_runs.

    >>> jobs(["lr=0.1,0.2", "iters=5"], {"repeat": 2}, "grid", 0)[:2]
    [('lr=0.1', 'iters=5', 'seed=0'), ('lr=0.1', 'iters=5', 'seed=1')]
    """
    settings = checked(sweep, option)
    limit, repeat = settings["max_runs"], settings["repeat"]
    overrides = run_overrides(typed, loader)
    all_axes = [axis_of(o, text) for o, text in overrides if not o.is_interval_sweep()]
    intervals = [interval(o, text) for o, text in overrides if o.is_interval_sweep()]
    all_axes += drawn_axes(intervals, settings, option) + grid_axes(settings, option)
    if repeat > 1:
        if seed is None:
            raise ConfigError(
                f"sweep.repeat={repeat}: it counts from the seed, so seed must be a number, as in "
                "seed=0."
            )
        schema.check("seed", seed + repeat - 1, schema.HINTS["seed"])
        seeds = ((f"seed={seed + i}",) for i in range(repeat))
        all_axes = [axis for axis in all_axes if axis.is_sweep or axis.keys != ("seed",)]
        all_axes.append(Axis(("seed",), repeat, seeds, f"sweep.repeat={repeat}"))
    _check_keys(all_axes)
    check_count(math.prod(axis.size for axis in all_axes), limit)
    products = itertools.product(*(axis.alternatives for axis in all_axes))
    return [tuple(itertools.chain.from_iterable(alternatives)) for alternatives in products]


def _check_keys(axes: Sequence[Axis]) -> None:
    """Refuse a setting that is varied twice, or cannot be varied."""
    origins: dict[str, str] = {}
    for axis in axes:
        for key in axis.keys:
            if axis.is_sweep:
                check_axis(key, axis.origin)
            if key in origins:
                raise ConfigError(
                    f"{key} is given twice, by {origins[key]} and by {axis.origin}. "
                    "Leave one of them out."
                )
        origins |= dict.fromkeys(axis.keys, axis.origin)
