"""Compares a store with the soak's own log: what is lost, double, phantom, incomplete or stuck."""

from __future__ import annotations

import csv
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from soak_log import Case
from soak_store import Query, Row

COLUMNS = {
    "lost": "runs that were acknowledged and are not in the store",
    "double": "runs, points or data sets that are in the store twice",
    "phantom": "runs in the store that nobody started",
    "incomplete": "ended runs without outcome, time, points, trajectory or data set; sweeps too",
    "stuck": "runs still RUNNING after the next command",
    "traceback": "commands with a traceback or warning on stderr",
    "exit code": "commands with an exit code that is neither the signal's nor 0",
    "left over": "processes, journals, partial files, spooled records; a damaged database",
}
ENDED = ("completed", "converged", "diverged")


class Problem(NamedTuple):
    """One thing that is wrong.

    Attributes:
        column: its column in the table.
        seed: the seed of the case; 0 if it belongs to none.
        text: a sentence.
    """

    column: str
    seed: int
    text: str


def problems(
    cases: dict[int, Case], rows: Sequence[Row], *, points: int = 1000, atomic: bool = True
) -> list[Problem]:
    """What is wrong with the rows of a store in which all commands have ended.

    Args:
        cases: what was started, by seed.
        rows: all runs of the store.
        points: the setting ``tracking.max_points`` of the runs.
        atomic: whether the end of a run is one transaction; on a server, it may lack the last
            request, after which it has no owner any more.
    """
    if not atomic:
        rows = [row if row.status == "RUNNING" else _unowned(row) for row in rows]
    runs: dict[int, list[Row]] = defaultdict(list)
    summaries: dict[str, list[Row]] = defaultdict(list)
    found: list[Problem] = []
    for row in rows:
        if row.tags.get("gdexp.kind") == "sweep":
            summaries[row.tags.get("gdexp.sweep_id", "")].append(row)
        else:
            runs[_seed(row)].append(row)
    for seed in runs.keys() - cases.keys():
        found += [Problem("phantom", seed, f"run {row.run_id}") for row in runs[seed]]
    for sweep_id in summaries.keys() - {case.sweep_id for case in cases.values()}:
        found += [Problem("phantom", 0, f"sweep {r.run_id}") for r in summaries[sweep_id]]
    keys = Counter(row.tags["gdexp.run_key"] for row in rows if "gdexp.run_key" in row.tags)
    for key, count in keys.items():
        found += [Problem("double", 0, f"{count} runs of gdexp.run_key {key}")] * (count > 1)
    for seed, case in cases.items():
        told = [*_of_case(case, runs[seed], points)]
        if case.sweep_id:
            told += _of_summary(case, summaries[case.sweep_id])
        found += [Problem(column, seed, text) for column, text in [*case.problems, *told]]
    return found


def _unowned(row: Row) -> Row:
    return replace(row, tags={key: v for key, v in row.tags.items() if key != "gdexp.process"})


def _seed(row: Row) -> int:
    """The setting ``seed`` of a run, as it was typed: a server gets the params after the tags."""
    typed = re.search(r"\bseed=(\d+)", row.tags.get("gdexp.overrides", ""))
    return int(typed[1]) if typed else 0


def _of_case(case: Case, rows: Sequence[Row], points: int) -> Iterator[tuple[str, str]]:
    active = [row for row in rows if not row.is_deleted]
    ids = {name for row in active for name in (row.run_id, row.tags.get("gdexp.run_key"))}
    yield from (("lost", f"run {run_id}") for run_id in case.ids - ids)
    jobs = Counter(int(row.tags.get("gdexp.job", 0)) for row in active)
    finished = {int(r.tags.get("gdexp.job", 0)) for r in active if r.status == "FINISHED"}
    yield from (("lost", f"job {job}") for job in case.members - finished)
    if case.epochs and not active:
        yield "lost", f"an interrupted run that printed epoch {case.epochs}"
    yield from (("double", f"job {job}: {count} runs") for job, count in jobs.items() if count > 1)
    yield from (("phantom", f"job {job}") for job in jobs if job >= case.jobs)
    for row in rows:
        if row.doubles:
            yield "double", f"{row.doubles} points of run {row.run_id}"
        if row.links > 1:
            yield "double", f"{row.links} data sets of run {row.run_id}"
        if row.status == "RUNNING":
            yield "stuck", f"run {row.run_id}"
        elif what := _missing(row, points):
            yield "incomplete", f"{row.status} run {row.run_id}: {what}"
    if case.epochs:
        for row in active:
            if row.status in ("KILLED", "FINISHED") and (row.epochs or 0) < case.epochs:
                yield "incomplete", f"run {row.run_id}: {row.epochs} of {case.epochs} epochs"


def _missing(row: Row, points: int) -> str:
    """What an ended run lacks, or ""."""
    outcome, steps = row.tags.get("gdexp.outcome"), row.steps
    if row.end_ms is None:
        return "no end time"
    if "gdexp.process" in row.tags:
        return "it still has an owner"
    iters = int(row.params.get("iters", 0))
    widest = 1 if iters <= points else 2 * iters // points
    if any(not 0 < after - before <= widest for before, after in pairwise([0, *steps])):
        return f"its points have gaps: {steps[:5]} to {steps[-5:]}"
    if row.status != "FINISHED":
        expected = {"KILLED": "interrupted", "FAILED": "failed"}[row.status]
        return "" if outcome == expected else f"outcome {outcome}"
    if outcome not in ENDED:
        return f"outcome {outcome}"
    if outcome == "completed" and (row.epochs != iters or steps[-1:] != [iters]):
        return f"{row.epochs} epochs and points to {steps[-1:]} of {iters}"
    if row.epochs is None or not (row.folder / "config.yaml").exists():
        return "no trajectory or configuration"
    return "" if row.links else "no data set"


def _of_summary(case: Case, rows: Sequence[Row]) -> Iterator[tuple[str, str]]:
    active = [row for row in rows if not row.is_deleted]
    if len(active) > 1:
        yield "double", f"{len(active)} summaries of {case.sweep_id}"
    if case.is_done and not active:
        yield "lost", f"the summary of {case.sweep_id}"
    for row in active:
        if row.status == "RUNNING":
            yield "stuck", f"sweep {case.sweep_id}"
        elif row.end_ms is None or "gdexp.process" in row.tags:
            yield "incomplete", f"sweep {case.sweep_id}: no end, or still an owner"
        elif case.is_done and (row.status != "FINISHED" or _table(row) != [*range(case.jobs)]):
            yield "incomplete", f"sweep {case.sweep_id}: {row.status}, jobs {_table(row)}"


def _table(row: Row) -> list[int] | None:
    try:
        with (row.folder / "runs.csv").open() as lines:
            return [int(line["job"]) for line in csv.DictReader(lines)]
    except (OSError, ValueError, KeyError):
        return None


def left_over(folder: Path, rows: Sequence[Row]) -> list[Problem]:
    """Files that no command should leave behind after the next one.

    The folder of a run that was killed before it was recorded is not counted: nothing shows it. Nor
    is a journal that starts with a zero: SQLite does not read it, and the next writer removes it.
    """
    outputs = folder / "outputs"
    files = {path for path in outputs.glob("*.db-*") if path.read_bytes()[:1] not in (b"", b"\0")}
    files |= {path for row in rows for path in row.folder.rglob("*.partial")}
    files |= {path for path in (outputs / "spool").rglob("*") if path.suffix not in (".lock", "")}
    return [Problem("left over", 0, str(path)) for path in sorted(files)]


def damage(query: Query) -> list[Problem]:
    """What SQLite itself finds wrong with its file."""
    told = [str(row) for row in query("PRAGMA integrity_check") if row[0] != "ok"]
    told += [str(row) for row in query("PRAGMA foreign_key_check")]
    return [Problem("left over", 0, f"damaged database: {text}") for text in told]
