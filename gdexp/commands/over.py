"""What ``compare --over`` shows: a row for each group of runs that differ only in some settings."""

from __future__ import annotations

from collections.abc import Sequence

from gdexp.commands.compare import RESULTS, check_key, in_order
from gdexp.commands.formats import Row, Spread, Value
from gdexp.insight.repetitions import COUNTS, check_over, distinguishing, sentence, summarise

MEAN, DEVIATION, MISSING = ".mean", ".std", ".missing"


def groups(
    rows: Sequence[Row], over: Sequence[str], key: str | None, *, descending: bool, is_flat: bool
) -> tuple[list[Row], str]:
    """The rows of groups in order, and the sentence on the best.

    Args:
        rows: the runs, as :func:`gdexp.commands.compare.row` makes them.
        over: the settings to average over.
        key: the column, param or metric to sort by; a metric is sorted by its mean.
        descending: whether the largest comes first.
        is_flat: whether mean and deviation are numbers in columns of their own.

    Raises:
        ConfigError: no run has such a setting, or none of them differs among the runs.
        GdexpError: no group has the key to sort by.
    """
    check_over(rows, over, where="--over")
    merged: list[Row] = summarise(rows, over)
    names = dict.fromkeys(name for group in merged for name in group)
    metrics = [n.removesuffix(MEAN) for n in names if "/" in n and n.endswith(MEAN)]
    sorted_by = "" if key is None else _metric(key, metrics)
    if key is not None:
        settings = [name for name in names if "/" not in name]
        check_key(sorted_by or key, [*settings, *metrics], of="group")
        key = f"{key}{MEAN}" if key == sorted_by else key
    shown = dict.fromkeys(name for name in (*RESULTS, sorted_by) if name in metrics)
    columns = [*distinguishing(merged), *COUNTS]
    if not is_flat and not any(group["unfinished"] for group in merged):
        columns.remove("unfinished")
    if key is not None and not sorted_by and key not in columns:
        columns.insert(0, key)
    best = sentence(merged, over) or f"No two runs that ended differ only in {' and '.join(over)}"
    show = _flat if is_flat else _spread
    return [
        {name: group.get(name) for name in columns} | show(group, [*shown])
        for group in in_order(merged, key, descending=descending)
    ], best[0].lower() + best[1:]


def _metric(key: str, metrics: Sequence[str]) -> str:
    """The metric that a key such as ``final/loss.std`` is of; "" if it is of none."""
    name = key.removesuffix(MEAN).removesuffix(DEVIATION).removesuffix(MISSING)
    return next((metric for metric in metrics if metric in (key, name)), "")


def _flat(group: Row, metrics: Sequence[str]) -> Row:
    return {name + part: group.get(name + part) for name in metrics for part in (MEAN, DEVIATION)}


def _spread(group: Row, metrics: Sequence[str]) -> Row:
    return {name: _cell(group.get(name + MEAN), group.get(name + DEVIATION)) for name in metrics}


def _cell(mean: Value, deviation: Value) -> Value:
    if not isinstance(mean, float):
        return None
    return Spread(mean, deviation if isinstance(deviation, float) else None)
