"""Mean and standard deviation of runs that differ only in their seed."""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Mapping, Sequence
from typing import Any


def summarise(rows: Sequence[Mapping[str, Any]], ignore: Collection[str]) -> list[dict[str, Any]]:
    """Merge the rows of runs whose params are equal.

    Args:
        rows: params and final metrics of each run; the name of a metric contains a ``/``.
        ignore: params in which the merged runs may differ.

    Returns:
        A row per group, in order of first appearance: the params, ``count``, and for each metric
        the ``.mean`` and ``.std`` of its finite values (n - 1 in the denominator; None for a single
        value), and as ``.missing`` the number of values that are infinite, NaN or absent.

    >>> runs = [{"lr": 0.1, "seed": seed, "final/loss": seed + 1.0} for seed in range(3)]
    >>> (row,) = summarise(runs, ignore=["seed"])
    >>> row["final/loss.mean"], row["final/loss.std"]
    (2.0, 1.0)
    """
    groups: dict[frozenset[tuple[str, str]], list[Mapping[str, Any]]] = {}
    for row in rows:
        params = frozenset((key, repr(value)) for key, value in _params(row, ignore).items())
        groups.setdefault(params, []).append(row)
    metrics = list(dict.fromkeys(key for row in rows for key in row if "/" in key))
    return [_summary(group, metrics, ignore) for group in groups.values()]


def _params(row: Mapping[str, Any], ignore: Collection[str]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if "/" not in key and key not in ignore}


def _summary(
    group: Sequence[Mapping[str, Any]], metrics: Sequence[str], ignore: Collection[str]
) -> dict[str, Any]:
    row = _params(group[0], ignore) | {"count": len(group)}
    for metric in metrics:
        values = [member.get(metric) for member in group]
        finite = [float(v) for v in values if v is not None and math.isfinite(v)]
        row[f"{metric}.mean"] = statistics.mean(finite) if finite else None
        row[f"{metric}.std"] = _deviation(finite)
        row[f"{metric}.missing"] = len(values) - len(finite)
    return row


def _deviation(values: Sequence[float]) -> float | None:
    try:
        return statistics.stdev(values) if len(values) > 1 else None
    except OverflowError:  # as of 1.7e308 and -1.7e308
        return math.inf
