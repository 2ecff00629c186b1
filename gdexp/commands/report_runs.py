"""What a report on a sweep, or on several runs side by side, says: read from their records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from gdexp.commands import compare
from gdexp.commands import report_parts as parts
from gdexp.commands import report_tables as tables
from gdexp.commands.report_tables import Row
from gdexp.config.differing import differing
from gdexp.descent.numbers import short
from gdexp.errors import GdexpError, counted
from gdexp.insight.pictures.picture import Picture
from gdexp.insight.report.view import Block, Section, View
from gdexp.sweep import best
from gdexp.tracking.run_record import RecordedRun
from gdexp.tracking.selection import Selection
from gdexp.tracking.store import Store
from gdexp.tracking.tags import BEHAVIOUR, BEST_RUN

LIMIT, LIMIT_OF_RUN = 500_000, 500  # bytes of the page
DRAWN = 20  # curves of runs that are named one by one


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
        Section(
            "runs", "Runs", [tables.runs_table(rows, winners, is_sweep=chosen.sweep_id is not None)]
        ),
        Section("forecast", "Forecast and fact", list(tables.forecast(rows))),
        Section("repetitions", "Repetitions", list(tables.repetitions(rows))),
        Section("configuration", "Configuration", tables.shared_settings(chosen.runs)),
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
    known = {"behaviour": run.tags[BEHAVIOUR]} if BEHAVIOUR in run.tags else {}
    return {"job": run.number or 0, **compare.row(run), **known}


def _winners(chosen: Selection, rows: Sequence[Row]) -> list[Any]:
    """The best run, with those that tie; none where their losses measure different things."""
    winners = best.best_of(rows)
    summary = chosen.summary
    is_judged = summary is None or summary.status == "RUNNING" or BEST_RUN in summary.tags
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
    from gdexp.sweep.pictures import pictures_of

    if chosen.sweep_id is None:
        return parts.pictures(_curves(store, chosen.runs))
    return parts.pictures(pictures_of(store, chosen.runs))


def _curves(store: Store, runs: Sequence[RecordedRun]) -> Iterator[Picture]:
    """The losses of single runs in one picture, labelled by what differs."""
    from gdexp.insight.pictures.of_runs import of_runs
    from gdexp.tracking.restore import result_of

    keys = differing([run.params for run in runs])
    results = {}
    for run in runs[:DRAWN]:
        words = [f"{key}={run.params[key]}" for key in keys if key in run.params]
        with suppress(GdexpError):  # without a trajectory, it has no curve
            results[" ".join([run.run_id[:8], *words])] = result_of(store, run)
    if (picture := of_runs(results)) is not None:
        yield picture
