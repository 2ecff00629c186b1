"""What a report on a sweep, or on several runs side by side, says: read from their records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from gdexp.commands import compare
from gdexp.commands import report_parts as parts
from gdexp.config.settings import FAMILIES
from gdexp.descent.numbers import short
from gdexp.errors import GdexpError, counted
from gdexp.insight.pictures.picture import Picture
from gdexp.insight.report.view import Block, Section, Sentence, Table, Value, View
from gdexp.sweep import best
from gdexp.sweep.grids.repetitions import summarise
from gdexp.tracking.query import JOB, MAIN, differing
from gdexp.tracking.run_record import RecordedRun
from gdexp.tracking.selection import Selection
from gdexp.tracking.store import Store

RESULTS = ("outcome", "final/loss", "final/prediction", "best/epoch", "forecast/largest_lr")
LOSS, BOUND = "final/loss", "forecast/largest_lr"
APART = ("seed", "job", "run_id", "name", "outcome")  # do not tell repetitions apart
LIMIT, LIMIT_OF_RUN = 500_000, 500  # bytes of the page
MOST = 2000  # rows of the table
DRAWN = 20  # curves of runs that are named one by one

Row = dict[str, Any]


def view(store: Store, chosen: Selection, *, uri: str | None = None) -> View:
    """Gather what a report on these runs says.

    Args:
        store: the store that has them.
        chosen: the runs.
        uri: the store that was named on the command line.
    """
    rows = [_row(run) for run in chosen.runs]
    command = ""
    if chosen.sweep_id is not None:
        command, _ = parts.asked_and_noted(chosen.summary or chosen.runs[0], multirun=True)
    winners = _winners(chosen, rows)
    shown = {str(row["run_id"]): run for row, run in zip(rows, chosen.runs, strict=True)}
    example = shown[str(winners[0]["run_id"])] if winners else chosen.runs[0]
    sections = [
        Section("pictures", "Pictures", _pictures(store, chosen)),
        Section("runs", "Runs", [_runs_table(rows, winners)]),
        Section("forecast", "Forecast and fact", list(_forecast(rows))),
        Section("repetitions", "Repetitions", list(_repetitions(rows))),
        Section("configuration", "Configuration", _shared(chosen.runs)),
        parts.data_section(store, chosen.runs),
        parts.environment_section(chosen.runs),
        parts.reproduce_section(command or parts.asked_and_noted(example)[0], example, uri),
    ]
    name = chosen.sweep_id
    title = counted(len(rows), "run") if name is None else f"Sweep {name}"
    answer, notes = _answer(rows, winners), _notes(chosen, rows)
    if chosen.summary is not None and (took := chosen.summary.metrics.get("sweep/seconds")):
        answer += f" The sweep took {short(took, 3)} s."
    limit = max(LIMIT, LIMIT_OF_RUN * len(rows))
    return View(title, command, answer, notes, sections, parts.source(store), limit)


def _row(run: RecordedRun) -> Row:
    """A row of the table: numbers as numbers; job 0 comes first."""
    return {"job": int(run.tags.get(JOB, 0)), **compare.row(run)}


def _winners(chosen: Selection, rows: Sequence[Row]) -> list[Any]:
    """The best run, with those that tie; none where their losses measure different things."""
    winners = best.best_of(rows)
    summary = chosen.summary
    is_judged = summary is None or summary.status == "RUNNING" or "gdexp.best_run" in summary.tags
    return winners if is_judged else []


def _answer(rows: Sequence[Row], winners: Sequence[Row]) -> str:
    counts = Counter(str(row["outcome"]) for row in rows)
    by_outcome = ", ".join(f"{n} {outcome}" for outcome, n in counts.most_common())
    sentence = f"{counted(len(rows), 'run')}: {by_outcome}."
    if winners:
        return f"{sentence} {best.sentence(rows)}."
    if any(map(best.is_candidate, rows)):
        return f"{sentence} Their losses measure different things, so none is the best."
    return f"{sentence} None of them completed or converged, so none is the best."


def _notes(chosen: Selection, rows: Sequence[Row]) -> list[str]:
    summary = chosen.summary
    if summary is None:
        return []
    jobs = compare.parsed(summary.params.get("jobs", "null"))
    if isinstance(jobs, int) and len(rows) < jobs:
        state = "still running" if summary.status == "RUNNING" else summary.outcome
        return [f"The sweep is {state}: {len(rows)} of {jobs} runs are recorded."]
    return ["The sweep is still running."] if summary.status == "RUNNING" else []


def _pictures(store: Store, chosen: Selection) -> list[Block]:
    from gdexp.insight.pictures.of_sweep import of_sweep
    from gdexp.sweep.summary import row_of

    if chosen.sweep_id is None:
        return parts.pictures(_curves(store, chosen.runs))
    return parts.pictures(of_sweep([row_of(run) for run in chosen.runs]))


def _curves(store: Store, runs: Sequence[RecordedRun]) -> Iterator[Picture]:
    """The losses of single runs in one picture, labelled by what differs."""
    from matplotlib.figure import Figure

    from gdexp.tracking.restore import trajectory_of

    keys = differing([run.params for run in runs])
    figure = Figure(figsize=(6.4, 4))
    axes = figure.subplots()
    table: dict[str, Any] = {"epoch": []}
    for run in runs[:DRAWN]:
        try:
            trajectory = trajectory_of(store, run)
        except (GdexpError, KeyError, ValueError):
            continue
        label = " ".join(f"{key}={run.params[key]}" for key in keys if key in run.params)
        label = f"{run.run_id[:8]} {label}".strip()
        style = ("-", "--", ":", "-.")[len(table) % 4]
        axes.semilogy(trajectory.epochs, trajectory.loss, style, label=label.replace("$", r"\$"))
        table[label] = trajectory.loss
        if len(trajectory.epochs) > len(table["epoch"]):
            table["epoch"] = trajectory.epochs
    if len(table) == 1:
        return
    axes.set_xlabel("epoch")
    axes.set_ylabel("loss")
    axes.legend(fontsize="small")
    said = f"The loss of {counted(len(table) - 1, 'run')} by epoch, on a logarithmic axis."
    yield Picture("curves", "Loss", said, table, figure)


def _runs_table(rows: Sequence[Row], winners: Sequence[Row]) -> Table:
    """All runs, with what differs and the results; the word best marks the best."""
    keys = differing([{k: v for k, v in row.items() if "/" not in k} for row in rows])
    keys = [key for key in keys if key not in APART or key == "seed"]
    keys = [key for key in keys if not _is_told_by_step(key, rows)] or list(MAIN)
    known = {key for row in rows for key, value in row.items() if value is not None}
    results = [name for name in RESULTS if name in known]
    ids = {row["run_id"] for row in winners}
    is_sweep = len({row["job"] for row in rows}) == len(rows)
    table: list[list[Value]] = [
        [
            f"#{row['job']}" if is_sweep else str(row["run_id"])[:8],
            *(parts.shortened(row.get(key)) for key in keys),
            *(_result(row, name, row["run_id"] in ids) for name in results),
            *([str(row["run_id"])[:8]] if is_sweep else []),
        ]
        for row in (ranked := sorted(rows, key=_loss)[:MOST] if len(rows) > MOST else rows)
    ]
    columns = ["job" if is_sweep else "run", *keys, *results, *(["run"] if is_sweep else [])]
    caption = "The runs, with what differs and the results"
    if len(ranked) < len(rows):
        caption += f": the {MOST} of {len(rows)} with the smallest final loss"
    return Table(caption, columns, table, is_sortable=True)


def _is_told_by_step(key: str, rows: Sequence[Row]) -> bool:
    """Whether this is the choice of a family, and each step has one."""
    if key not in FAMILIES or any("step" not in row for row in rows):
        return False
    pairs = {(row["step"], row.get(key)) for row in rows}
    return len(pairs) == len({step for step, _ in pairs})


def _loss(row: Row) -> tuple[bool, float]:
    """A sort key: by final loss, those without one last."""
    loss = row.get(LOSS)
    return loss is None, loss or 0.0


def _result(row: Row, name: str, is_best: bool) -> Value:
    value: Value = row.get(name)
    return f"{value}, best" if name == "outcome" and is_best else value


def _forecast(rows: Sequence[Row]) -> Iterator[Block]:
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


UNKNOWN = "no bound is known"


def _side(row: Row) -> str:
    lr, bound = row.get("lr"), row.get(BOUND)
    if bound is None or not isinstance(lr, int | float):
        return UNKNOWN
    return "below the largest that converges" if lr < bound else "above the largest that converges"


def _repetitions(rows: Sequence[Row]) -> Iterator[Block]:
    """Mean and standard deviation of runs that differ only in their seed."""
    if len({row.get("seed") for row in rows}) < 2:
        return
    groups = summarise(rows, ignore=APART)
    if all(group["count"] < 2 for group in groups):
        return
    keys = differing(
        groups_params := [{k: v for k, v in g.items() if "/" not in k} for g in groups]
    )
    keys = [key for key in keys if key != "count"]
    table: list[list[Value]] = [
        [
            " ".join(f"{key}={compare.text(params.get(key))}" for key in keys) or "all runs",
            group["count"],
            group.get(f"{LOSS}.mean"),
            group.get(f"{LOSS}.std"),
            group.get(f"{LOSS}.missing", 0),
        ]
        for params, group in zip(groups_params, groups, strict=True)
    ]
    columns = ["runs that differ only in seed", "count", "mean of final/loss", "± sd", "not finite"]
    yield Table("Mean and standard deviation over seeds", columns, table, is_sortable=True)


def _shared(runs: Sequence[RecordedRun]) -> list[Block]:
    """The settings that all runs share."""
    params = [run.params for run in runs]
    shared = [
        (key, compare.parsed(value))
        for key, value in params[0].items()
        if all(other.get(key) == value for other in params)
    ]
    return [parts.facts("The options and settings that all runs share", shared)] if shared else []
