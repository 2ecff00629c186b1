"""Selecting recorded runs: those of a sweep, the newest, or by their ids."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gdexp.errors import GdexpError, did_you_mean
from gdexp.tracking.run_record import RecordedRun
from gdexp.tracking.store import Store
from gdexp.tracking.tags import JOB, KIND, SWEEP

NEWEST = 20  # runs selected if the newest run belongs to no sweep
FEWEST, MANY = 4, 1000  # characters of an id, and runs, among which the nearest is suggested
IS_RUN = {KIND: "run"}  # other kinds summarise runs


def select(
    store: Store,
    ids: Sequence[str] = (),
    *,
    sweep: str | None = None,
    last: int | None = None,
    everything: bool = False,
) -> list[RecordedRun]:
    """Select runs; by default, the last sweep if the newest run belongs to one, else the newest.

    Args:
        store: the store.
        ids: ids of runs, or prefixes of ids; they are returned in this order.
        sweep: the id of a sweep, its folder, or ``last``.
        last: the number of newest runs.
        everything: all runs of the experiment.

    Returns:
        The runs in the order in which they started, unless they are selected by id.

    Raises:
        GdexpError: there is no such run or sweep, or no run at all.
    """
    if ids:
        return [by_id(store, prefix) for prefix in dict.fromkeys(ids)]
    if everything:
        return in_order(_not_empty(store, store.runs(IS_RUN)))
    if last is not None:
        return in_order(_not_empty(store, _newest(store, last)))
    if sweep in (None, "last"):
        newest = store.runs(IS_RUN | ({SWEEP: None} if sweep else {}), limit=1)
        if sweep and not newest:
            raise GdexpError(f"--sweep: experiment {store.experiment} has no sweep yet.")
        sweep = _not_empty(store, newest)[0].tags.get(SWEEP)
        if sweep is None:
            return in_order(store.runs(IS_RUN, limit=NEWEST))
    return in_order(_of_sweep(store, Path(sweep).name))


def summaries_of(store: Store, sweep_id: str | None) -> list[RecordedRun]:
    """The newest summary run of this sweep, or of any sweep if None; empty if there is none."""
    return store.runs({KIND: "sweep", SWEEP: sweep_id}, limit=1)


def runs_of(store: Store, sweep_id: str, *, everywhere: bool = False) -> list[RecordedRun]:
    """The runs of a sweep, without its summary."""
    return store.runs(IS_RUN | {SWEEP: sweep_id}, everywhere=everywhere)


def without_repeated(runs: Sequence[RecordedRun]) -> list[RecordedRun]:
    """Runs without those that a resumed sweep has run again: of a job's runs, the finished one."""
    kept: dict[tuple[str, ...], RecordedRun] = {}
    for run in runs:
        is_member = SWEEP in run.tags and JOB in run.tags
        key = (run.tags[SWEEP], run.tags[JOB]) if is_member else (run.run_id,)
        if key not in kept or kept[key].status != "FINISHED":
            kept[key] = run
    return [*kept.values()]


def _newest(store: Store, count: int) -> list[RecordedRun]:
    """The newest runs; of runs that started in the same millisecond, the later jobs.

    The store orders those arbitrarily, so the limit is doubled until they are all included.
    """
    limit = count
    while True:
        limit *= 2
        runs = store.runs(IS_RUN, limit=limit)
        if len(runs) < limit or runs[-1].start_ms < runs[count - 1].start_ms:
            return sorted(runs, key=lambda run: (run.start_ms, _number(run)))[-count:]


def _number(run: RecordedRun) -> int:
    return run.number or 0


def _not_empty(store: Store, runs: list[RecordedRun]) -> list[RecordedRun]:
    if not runs:
        raise GdexpError(
            f"experiment {store.experiment} has no runs yet; run python -m gdexp first."
        )
    return runs


def _of_sweep(store: Store, sweep: str) -> list[RecordedRun]:
    runs = runs_of(store, sweep)
    if not runs:
        known = list(dict.fromkeys(run.tags[SWEEP] for run in store.runs(IS_RUN | {SWEEP: None})))
        last = f" The last one is {known[0]}." if known else " It has no sweep yet."
        raise GdexpError(
            f"--sweep: experiment {store.experiment} has no sweep {sweep!r}."
            f"{did_you_mean(sweep, known) or last}"
        )
    return runs


def by_id(store: Store, prefix: str, kinds: Sequence[str] = ("run",)) -> RecordedRun:
    """The run whose id has this prefix, in any experiment.

    Args:
        store: the store.
        prefix: its id, or the first characters of it.
        kinds: the kinds of which it may be: run, sweep.

    Raises:
        GdexpError: there is no such run, or there are several, or it is of another kind.
    """
    runs = store.runs(limit=2, id_prefix=prefix, everywhere=True)
    if not runs:
        raise GdexpError(
            f"there is no run {prefix!r} in this store.{_nearest(store, prefix)} "
            "python -m gdexp compare --all lists the runs."
        )
    if len(runs) > 1:
        raise GdexpError(f"the ids of several runs start with {prefix!r}. Type more characters.")
    kind = runs[0].tags.get(KIND)
    if kind == "sweep" and kind not in kinds:
        sweep = runs[0].tags.get(SWEEP, "last")
        raise GdexpError(
            f"{prefix!r} is the summary of a sweep, not a run. python -m gdexp compare --sweep "
            f"{sweep} lists its runs."
        )
    if kind not in kinds:
        raise GdexpError(f"{prefix!r} is not a gdexp run (its tag gdexp.kind is {kind!r}).")
    return runs[0]


def _nearest(store: Store, prefix: str) -> str:
    """The end of a sentence: the most similar id among the newest runs, as long as what was typed.

    Fewer than four characters are similar to too many.
    """
    if len(prefix) < FEWEST:
        return ""
    return did_you_mean(prefix, [r.run_id[: len(prefix)] for r in store.runs(IS_RUN, limit=MANY)])


def in_order(runs: list[RecordedRun]) -> list[RecordedRun]:
    """Sort runs by start time, keeping the jobs of a sweep together, by number."""
    began: dict[str, int] = {}
    for run in runs:
        key = run.tags.get(SWEEP, run.run_id)
        began[key] = min(run.start_ms, began.get(key, run.start_ms))

    def place(run: RecordedRun) -> tuple[int, str, int, int]:
        key = run.tags.get(SWEEP, run.run_id)
        return began[key], key, _number(run), run.start_ms

    return sorted(runs, key=place)
