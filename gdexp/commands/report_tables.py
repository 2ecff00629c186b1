"""The tables of a report on several runs: the runs, forecast and fact, repetitions, settings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from gdexp.commands import compare
from gdexp.commands import report_parts as parts
from gdexp.config.differing import MAIN, differing, is_told_by_step
from gdexp.config.settings import FAMILIES
from gdexp.descent.numbers import short
from gdexp.insight.repetitions import (
    COUNTS,
    LOSS,
    NOT_PARAMS,
    distinguishing,
    label,
    over_seeds,
)
from gdexp.insight.report.view import Block, Sentence, Table, Value
from gdexp.tracking.run_record import RecordedRun

RESULTS = (
    *("outcome", "behaviour", "final/loss", "final/prediction"),
    *("forecast/largest_lr", "forecast/contraction", "check/contraction"),
)
BOUND = "forecast/largest_lr"
MOST = 2000  # rows of the table
UNKNOWN = "no bound is known"

Row = dict[str, Any]


def runs_table(rows: Sequence[Row], winners: Sequence[Row], *, is_sweep: bool) -> Table:
    """All runs, with what differs and the results; the word best marks the best."""
    keys = differing([{k: v for k, v in row.items() if "/" not in k} for row in rows])
    keys = [key for key in keys if key not in NOT_PARAMS]
    keys = [key for key in keys if not _is_choice_of_step(key, rows)] or list(MAIN)
    known = {key for row in rows for key, value in row.items() if value is not None}
    results = [name for name in RESULTS if name in known and not _is_said(name, rows)]
    listed = sorted(rows, key=_loss)[:MOST] if len(rows) > MOST else rows
    ids = {row["run_id"] for row in winners}
    table: list[list[Value]] = [
        [
            f"#{row['job']}" if is_sweep else str(row["run_id"])[:8],
            *(parts.setting(row.get(key)) for key in keys),
            *(_result(row, name, row["run_id"] in ids) for name in results),
            *([str(row["run_id"])[:8]] if is_sweep else []),
        ]
        for row in listed
    ]
    columns = ["job" if is_sweep else "run", *keys, *results, *(["run"] if is_sweep else [])]
    caption = "The runs, with what differs and the results"
    if len(listed) < len(rows):
        caption += f": the {MOST} of {len(rows)} with the smallest final loss"
    return Table(caption, columns, table, is_sortable=True)


def _is_said(name: str, rows: Sequence[Row]) -> bool:
    """Whether a forecast is the same for all runs, which a sentence says."""
    return name == BOUND and len({row.get(name) for row in rows}) == 1


def _is_choice_of_step(key: str, rows: Sequence[Row]) -> bool:
    """Whether this is the choice of a family, and each step has one."""
    return key in FAMILIES and all("step" in row for row in rows) and is_told_by_step(key, rows)


def _loss(row: Row) -> tuple[bool, float]:
    """A sort key: by final loss, those without one last."""
    loss = row.get(LOSS)
    return loss is None, loss or 0.0


def _result(row: Row, name: str, is_best: bool) -> Value:
    value: Value = row.get(name)
    return f"{value}, best" if name == "outcome" and is_best else value


def forecast(rows: Sequence[Row]) -> Iterator[Block]:
    """How many runs are on which side of their bound, by outcome."""
    outcomes = list(dict.fromkeys(str(row["outcome"]) for row in rows))
    counts: dict[str, Counter[str]] = {}
    for row in rows:
        counts.setdefault(_side(row), Counter())[str(row["outcome"])] += 1
    if set(counts) == {UNKNOWN}:
        return
    table: list[list[Value]] = [
        [side, *(counter[name] for name in outcomes)] for side, counter in counts.items()
    ]
    yield Table("Runs by forecast and outcome", ["lr", *outcomes], table)
    bounds = {short(row[BOUND]) for row in rows if row.get(BOUND) is not None}
    if len(bounds) == 1:
        yield Sentence(f"The largest lr that converges is {bounds.pop()} for all of them.")


def _side(row: Row) -> str:
    lr, bound = row.get("lr"), row.get(BOUND)
    if bound is None or not isinstance(lr, int | float):
        return UNKNOWN
    return "below the largest that converges" if lr < bound else "above the largest that converges"


def repetitions(rows: Sequence[Row]) -> Iterator[Block]:
    """Mean and standard deviation of runs that differ only in their seed."""
    groups = over_seeds(rows, metrics=[LOSS])
    if all(sum(group[name] for name in COUNTS) < 2 for group in groups):
        return
    keys = distinguishing(groups)
    table: list[list[Value]] = [
        [
            label(group, keys),
            *(group[name] for name in COUNTS),
            group[f"{LOSS}.mean"],
            group[f"{LOSS}.std"],
        ]
        for group in groups
    ]
    columns = ["runs that differ only in seed", *COUNTS, "mean of final/loss", "± sd"]
    yield Table("Mean and standard deviation over seeds", columns, table, is_sortable=True)


def shared_settings(runs: Sequence[RecordedRun]) -> list[Block]:
    """The settings that all runs share."""
    params = [run.params for run in runs]
    shared = [
        (key, parts.setting(compare.parsed(value)))
        for key, value in params[0].items()
        if all(other.get(key) == value for other in params)
    ]
    return [parts.facts("The options and settings that all runs share", shared)] if shared else []
