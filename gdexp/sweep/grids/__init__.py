"""The jobs of a sweep: what is typed, times a grid of the group ``sweep``, times the seeds.

Everything is text, as one would type it: an axis is a list of alternatives, an alternative a tuple
of overrides that belong together, and a job one alternative of each axis. An option of the user's
own that includes one of ours (``defaults: [log]``) is a grid of the same kind: ``_kind_`` says so.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from hydra.core.config_loader import ConfigLoader

from gdexp.config import schema
from gdexp.errors import ConfigError
from gdexp.sweep.grids.axis import Axis, Overrides, check_key, typed_axes
from gdexp.sweep.grids.ranges import check_sweep, max_runs, plain
from gdexp.sweep.grids.repetitions import summarise
from gdexp.sweep.grids.values import grid_axes

__all__ = ["axes", "check_sweep", "count", "jobs", "summarise"]


def axes(
    sweep: Mapping[str, Any], option: str, *, known: Collection[str] | None = None
) -> list[list[Overrides]]:
    """The grid's own axes: none for ``sweep=grid``, one for every other option.

    Args:
        sweep: the settings of the group ``sweep``.
        option: the chosen option.
        known: the settings and groups that a job may name; None: whatever it names.

    Raises:
        ConfigError: a setting is refused, or there are more alternatives than sweep.max_runs.

    >>> axes({"key": "lr", "low": 0.001, "high": 0.1, "num": 3}, "log")
    [[('lr=0.001',), ('lr=0.01',), ('lr=0.1',)]]
    >>> axes({"lists": {"lr": [0.1, 0.01], "step": ["model", "manual"]}}, "zip")
    [[('lr=0.1', 'step=model'), ('lr=0.01', 'step=manual')]]
    """
    check_sweep(sweep, option, known=known)
    settings = plain(sweep)
    found = grid_axes(settings, option, known)
    _check_size(found, max_runs(settings))
    return [list(axis.alternatives) for axis in found]


def jobs(
    typed: Sequence[str],
    sweep: Mapping[str, Any],
    option: str,
    seed: int,
    *,
    known: Collection[str] | None = None,
    loader: ConfigLoader | None = None,
) -> list[Overrides]:
    """All jobs in order: the first override typed varies slowest, the seeds of repeat fastest.

    Overrides of the group ``sweep`` itself are left out: they say nothing about a single run.

    Args:
        typed: the overrides of the command line.
        sweep: the settings of the group ``sweep``.
        option: the chosen option.
        seed: the first of the seeds that sweep.repeat counts up from.
        known: the settings and groups that a grid may name; None: whatever it names.
        loader: Hydra's, to expand the likes of ``step=glob(*)``.

    Raises:
        ConfigError: something is refused, or there are more jobs than sweep.max_runs.

    >>> jobs(["lr=0.1,0.2", "iters=5"], {"repeat": 2}, "grid", 0)[:2]
    [('lr=0.1', 'iters=5', 'seed=0'), ('lr=0.1', 'iters=5', 'seed=1')]
    """
    found = _axes(typed, sweep, option, seed, known, loader)
    _check_size(found, max_runs(plain(sweep)))
    products = itertools.product(*(axis.alternatives for axis in found))
    return [tuple(itertools.chain.from_iterable(alternatives)) for alternatives in products]


def count(
    typed: Sequence[str],
    sweep: Mapping[str, Any],
    option: str,
    seed: int = 0,
    *,
    known: Collection[str] | None = None,
    loader: ConfigLoader | None = None,
) -> int:
    """How many jobs there are, without listing them; the arguments are those of :func:`jobs`.

    Beyond sweep.max_runs, a grid over whole numbers is counted with its duplicates.

    Raises:
        ConfigError: something is refused, but not for the number of jobs.

    >>> count(["iters=range(1,1000001)", "lr=0.1,0.2"], {"repeat": 1000}, "grid")
    2000000000
    """
    return math.prod(axis.size for axis in _axes(typed, sweep, option, seed, known, loader))


def _axes(
    typed: Sequence[str],
    sweep: Mapping[str, Any],
    option: str,
    seed: int,
    known: Collection[str] | None,
    loader: ConfigLoader | None,
) -> list[Axis]:
    """All axes, in the order of the jobs."""
    check_sweep(sweep, option, known=known)
    settings = plain(sweep)
    limit, repeat = max_runs(settings), settings.get("repeat", 1)
    found = typed_axes(typed, loader, limit) + grid_axes(settings, option, known)
    if repeat > 1:
        schema.check("seed", seed + repeat - 1, schema.HINTS["seed"])
        seeds = ((f"seed={seed + i}",) for i in range(repeat))
        found = [axis for axis in found if axis.is_sweep or axis.keys != ("seed",)]
        found.append(Axis(("seed",), repeat, seeds, f"sweep.repeat={repeat}"))
    _check_keys(found)
    return found


def _check_keys(found: Sequence[Axis]) -> None:
    """Refuse a setting that is varied twice, or cannot be varied."""
    origins: dict[str, str] = {}
    for axis in found:
        for key in axis.keys:
            if axis.is_sweep:
                check_key(key, axis.origin)
            if key in origins:
                raise ConfigError(
                    f"{key} is given twice, by {origins[key]} and by {axis.origin}. "
                    "Leave one of them out."
                )
        origins |= dict.fromkeys(axis.keys, axis.origin)


def _check_size(found: Sequence[Axis], limit: int) -> None:
    size = math.prod(axis.size for axis in found)
    if size > limit:
        raise ConfigError(
            f"the sweep has {size} runs, and sweep.max_runs={limit}. "
            f"Type sweep.max_runs={size} to run them all."
        )
