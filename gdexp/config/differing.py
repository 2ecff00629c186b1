"""Which params differ among runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

MAIN = ("step", "lr", "iters")  # the params that are shown first, and in any case


def differing(params: Sequence[Mapping[str, Any]]) -> list[str]:
    """The params that differ among the params of runs: step, lr and iters first.

    A param that some runs lack (only SGD has updater.momentum) counts only if it differs among the
    runs that have it; the option that it belongs to differs anyway. A component's setting that
    equals the run's own (updater.lr and lr) is left out.
    """
    values: dict[str, dict[int, Any]] = {}
    for number, run in enumerate(params):
        for key, value in run.items():
            values.setdefault(key, {})[number] = value

    def repeats(key: str) -> bool:
        whole = values.get(key.rpartition(".")[2], {}) if "." in key else {}
        return values[key].items() <= whole.items()

    def differs(key: str) -> bool:
        return len(set(map(str, values[key].values()))) > 1

    keys = [key for key in values if differs(key) and not repeats(key)]
    return sorted(keys, key=lambda key: key not in MAIN)


def is_told_by_step(key: str, params: Sequence[Mapping[str, Any]]) -> bool:
    """Whether all runs of the same step have the same value of a param."""
    pairs = {(run.get("step"), run.get(key)) for run in params}
    return len(pairs) == len({step for step, _ in pairs})
