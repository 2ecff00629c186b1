"""Mean and standard deviation of runs that differ only in their seed, or in other settings.

The one computation of group statistics: ``compare --over``, the summary of a sweep, the report, the
bands of a picture and Python's ``table.gdexp.over`` all show its numbers. The standard deviation is
that of a sample (n - 1), so a single run has none. Runs that diverged or did not end are counted
and left out of both. Losses are averaged as they are, also where an axis is logarithmic.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeAlias

from gdexp.config.differing import differing
from gdexp.config.settings import FAMILIES
from gdexp.descent.numbers import plus_minus, short
from gdexp.errors import ConfigError, counted, did_you_mean

Row: TypeAlias = Mapping[str, Any]
"""Params and metrics of a run; the name of a metric contains a ``/``."""

SEED, LOSS = "seed", "final/loss"
ENDED = ("completed", "converged")
COUNTS = ("n", "diverged", "unfinished")
NOT_PARAMS = ("run_id", "job", "name", "outcome", "behaviour", "result")


def params_of(row: Row) -> dict[str, Any]:
    """The params of a run, without its names, outcome and metrics."""
    return {k: v for k, v in row.items() if "/" not in k and k not in NOT_PARAMS}


def check_over(rows: Sequence[Row], over: Sequence[str], *, where: str) -> None:
    """Check that runs can be averaged over these settings.

    Args:
        rows: the runs.
        over: the settings.
        where: what the error starts with, such as ``--over``.

    Raises:
        ConfigError: there are no runs, or no run has such a setting, or none of the settings
            differs among the runs.
    """
    params = [params_of(row) for row in rows]
    known = list(dict.fromkeys(key for each in params for key in each))
    others = [key for key in differing(params) if key not in over]
    listed = f" The runs differ in: {', '.join(others)}." if others else ""
    if not rows:
        raise ConfigError(f"{where}: there are no runs to average.")
    if not over:
        raise ConfigError(f"{where}: name a setting, such as seed.{listed}")
    for key in over:
        if key not in known:
            kind = "is a result" if any(key in row for row in rows) else ""
            what = f"{key!r} {kind}, not a setting." if kind else f"no run has a setting {key!r}."
            raise ConfigError(f"{where}: {what}{did_you_mean(key, known) or listed}")
    if all(len({_text(each, key) for each in params}) == 1 for key in over):
        same = " and ".join(f"{key}={_text(params[0], key)}" for key in over)
        which = f"all {len(rows)} runs have" if len(rows) > 1 else "the only run has"
        hint = " To repeat every run with 3 seeds, add sweep.repeat=3." if SEED in over else ""
        raise ConfigError(f"{where}: nothing to average, as {which} {same}.{listed}{hint}")


def summarise(
    rows: Sequence[Row], over: Collection[str], metrics: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """Merge the rows of runs that differ only in some settings, and in what follows from these.

    Args:
        rows: the runs, with their ``outcome``; runs without one count as completed.
        over: the settings in which merged runs may differ.
        metrics: those to average; None: all that a run has.

    Returns:
        A row per group, in order of first appearance: the params; ``n``, the number of runs that
        completed or converged; ``diverged``; ``unfinished``, the number of all others; and for each
        metric the ``.mean`` and ``.std`` of the finite values of those n (None if there are none,
        or for the deviation fewer than two), and as ``.missing`` how many of the n lack one.

    >>> runs = [{"lr": 0.1, "seed": seed, "final/loss": seed + 1.0} for seed in range(3)]
    >>> (row,) = summarise(runs, over=["seed"])
    >>> row["n"], row["final/loss.mean"], row["final/loss.std"]
    (3, 2.0, 1.0)
    """
    merged = {*over, *_following(rows, over)}
    groups: dict[frozenset[tuple[str, str]], list[Row]] = {}
    for row in rows:
        params = params_of(row)
        key = frozenset((k, _text(params, k)) for k in params if k not in merged)
        groups.setdefault(key, []).append(row)
    if metrics is None:
        metrics = list(dict.fromkeys(key for row in rows for key in row if "/" in key))
    return [_summary(group, metrics, merged) for group in groups.values()]


def over_seeds(rows: Sequence[Row], metrics: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """:func:`summarise` over the seeds; no row if all runs have the same seed."""
    if len({_text(row, SEED) for row in rows}) < 2:
        return []
    return summarise(rows, [SEED], metrics)


def moments(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Mean and standard deviation, ``sqrt(sum((v - mean)**2) / (n - 1))``, of finite values.

    No square overflows or is lost to underflow, and equal values deviate by exactly 0.

    Returns:
        None where there is none: no mean of no value, no deviation of fewer than two.
    """
    if not values:
        return None, None
    n = len(values)
    if min(values) == max(values):
        return values[0], 0.0 if n > 1 else None
    try:
        mean = math.fsum(values) / n
    except OverflowError:  # as of 1.7e308 twice
        mean = math.fsum(value / n for value in values)
    return mean, math.hypot(*(value - mean for value in values)) / math.sqrt(n - 1)


def distinguishing(groups: Sequence[Row]) -> list[str]:
    """The params that tell groups apart: those that differ, step, lr and iters first.

    A setting that some runs record and others do not, as it is unset, is included only if nothing
    else tells two groups apart.
    """
    params = [{k: v for k, v in params_of(g).items() if k not in COUNTS} for g in groups]
    keys = differing(params)
    if len({tuple(_text(each, key) for key in keys) for each in params}) < len(params):
        known = dict.fromkeys(key for each in params for key in each)
        unset = [k for k in known if len({_text(each, k) for each in params}) > 1]
        keys += [key for key in unset if key not in keys]
    return keys


def label(group: Row, keys: Sequence[str]) -> str:
    """The settings of a group in words; "all runs" without keys.

    >>> label({"lr": 10.0, "step": "manual"}, ["lr", "step"])
    'lr=10 step=manual'
    """
    return " ".join(f"{key}={_typed(group, key)}" for key in keys if key in group) or "all runs"


def best_groups(groups: Sequence[Row]) -> list[Row]:
    """The groups with the smallest mean of the final loss; several if their printed digits tie.

    Groups of at least two runs, and if possible those of which no run diverged: the mean of those
    that were lucky says little.
    """
    several = [g for g in groups if g["n"] > 1 and g.get(f"{LOSS}.mean") is not None]
    ranked = [g for g in several if not g["diverged"]] or several
    ranked.sort(key=lambda group: float(group[f"{LOSS}.mean"]))
    return [group for group in ranked if _mean(group) == _mean(ranked[0])]


def sentence(groups: Sequence[Row], over: Sequence[str]) -> str:
    """Name the group with the smallest mean loss; "" if no group has two runs that ended."""
    best = best_groups(groups)
    if not best:
        return ""
    spread = plus_minus(best[0][f"{LOSS}.mean"], best[0][f"{LOSS}.std"])
    lost = f", {best[0]['diverged']} diverged" if best[0]["diverged"] else ""
    loss = f"{spread} (n = {best[0]['n']}{lost})"
    if len(groups) == 1:
        return f"Mean loss over {' and '.join(over)}: {loss}"
    which = label(best[0], distinguishing(groups))
    more = f"; {counted(len(best) - 1, 'other setting')} tied with it" if best[1:] else ""
    return f"Smallest mean loss over {' and '.join(over)}: {loss} with {which}{more}"


def _typed(group: Row, key: str) -> str:
    """The value of a param as people type it: 10 for 10.0."""
    return re.sub(r"^(-?\d+)\.0$", r"\1", _text(group, key))


def _mean(group: Row) -> str:
    return short(float(group[f"{LOSS}.mean"]))


def _summary(
    group: Sequence[Row], metrics: Sequence[str], merged: Collection[str]
) -> dict[str, Any]:
    ended = [row for row in group if row.get("outcome", ENDED[0]) in ENDED]
    outcomes = Counter(str(row.get("outcome")) for row in group)
    counts = len(ended), outcomes["diverged"], len(group) - len(ended) - outcomes["diverged"]
    shared = {key: value for key, value in params_of(group[0]).items() if key not in merged}
    summary = shared | dict(zip(COUNTS, counts, strict=True))
    for metric in metrics:
        values = [row.get(metric) for row in ended]
        finite = [float(v) for v in values if v is not None and math.isfinite(v)]
        summary[f"{metric}.mean"], summary[f"{metric}.std"] = moments(finite)
        summary[f"{metric}.missing"] = len(values) - len(finite)
    return summary


def _following(rows: Sequence[Row], over: Collection[str]) -> set[str]:
    """The settings that differ because those averaged over do.

    Such are those that equal one of them in every run, as ``T_max: ${iters}`` does, and those that
    come with the choice of an option, as the families do with the step.
    """
    params = [params_of(row) for row in rows]
    keys = {key for each in params for key in each} - {*over}
    return {k for k in keys for o in over if _equals(k, o, params) or _comes_with(k, o, params)}


def _equals(key: str, other: str, params: Sequence[Row]) -> bool:
    """Whether a component's setting has the other's value, whatever that is, in all runs."""
    if "." not in key:
        return False
    pairs = {(_text(each, key), _text(each, other)) for each in params if key in each}
    return len(pairs) > 1 and all(a == b for a, b in pairs)


def _comes_with(key: str, choice: str, params: Sequence[Row]) -> bool:
    """Whether a key may belong to the choice of an option, and each option has one value of it."""
    group = key.partition(".")[0]
    presets = choice == "experiment" or (choice == "step" and group in FAMILIES)
    if not presets and group != choice:
        return False
    pairs = {(_text(each, choice), _text(each, key)) for each in params}
    return len(pairs) == len({option for option, _ in pairs})


def _text(params: Row, key: str) -> str:
    """The value of a param as it is typed; "unset" if the run does not record it."""
    value = params.get(key, "unset")
    return (
        "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    )
