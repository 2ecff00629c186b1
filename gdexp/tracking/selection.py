"""What plot and report are asked for: some runs, or a sweep with its summary run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gdexp.errors import GdexpError, did_you_mean
from gdexp.tracking.query import IS_RUN, by_id, in_order, runs_of, select, summaries_of
from gdexp.tracking.run_record import RecordedRun
from gdexp.tracking.store import Store
from gdexp.tracking.tags import KIND, SWEEP

LAST = "last"
LISTED = 3  # sweeps that a sentence names
ENOUGH = 4  # characters of a run's id, from which a similar one is suggested


@dataclass(frozen=True)
class Selection:
    """Runs that are shown together.

    Attributes:
        runs: the runs, in the order in which they were named or, of a sweep, of its jobs.
        sweep_id: the id of the sweep whose runs they all are; None if single runs were named.
        summary: the summary run of that sweep; None if it has none.
    """

    runs: list[RecordedRun]
    sweep_id: str | None = None
    summary: RecordedRun | None = None


def selection(store: Store, words: Sequence[str]) -> Selection:
    """The runs, or the sweep, that the words name.

    Args:
        store: the store.
        words: ids of runs, in any experiment, or their first characters; or one sweep: its id or
            the first characters, its folder, the id of its summary run, or ``last``. An id of a
            sweep comes before ids of runs. Without words, the sweep of the newest run, else that
            run.

    Raises:
        GdexpError: there is no such run or sweep, and the nearest is named; there are several; or a
            sweep is named beside something else.
    """
    if not words:
        (newest,) = select(store, last=1)
        return _sweep(store, newest.tags[SWEEP]) if SWEEP in newest.tags else Selection([newest])
    named = {word: _named(store, word) for word in words}
    sweeps = [word for word, each in named.items() if each.sweep_id is not None]
    if sweeps and len(named) > 1:
        raise GdexpError(
            f"{sweeps[0]!r} is a sweep, which is shown alone. Name only this sweep, or only runs."
        )
    if sweeps:
        return named[sweeps[0]]
    runs = {run.run_id: run for each in named.values() for run in each.runs}
    return Selection([*runs.values()])


def _named(store: Store, word: str) -> Selection:
    """The run, or the sweep, that one word names."""
    if word == LAST:
        newest = store.runs(IS_RUN | {SWEEP: None}, limit=1)
        if not newest:
            raise GdexpError(f"experiment {store.experiment} has no sweep yet.")
        return _sweep(store, newest[0].tags[SWEEP])
    name = _name(word)
    if name and store.runs({SWEEP: name}, limit=1):
        return _sweep(store, name)
    if word.isalnum() and store.runs(id_prefix=word, limit=1, everywhere=True):
        run = by_id(store, word, kinds=("run", "sweep"))
        if run.tags[KIND] == "run":
            return Selection([run])
        return _sweep(store, run.tags[SWEEP], run)
    return _sweep(store, _only_sweep(store, word, name))


def _name(word: str) -> str:
    """The sweep's id that a word gives: itself, or the last part of a folder."""
    return Path(os.path.abspath(word)).name if word and not word.isalnum() else word


def _sweep(store: Store, sweep_id: str, summary: RecordedRun | None = None) -> Selection:
    """A sweep, in the experiment of its summary if that is given."""
    elsewhere = summary is not None
    if summary is None:
        summary = next(iter(summaries_of(store, sweep_id)), None)
    runs = runs_of(store, sweep_id, everywhere=elsewhere)
    if summary is not None:
        runs = [run for run in runs if run.experiment_id == summary.experiment_id]
    if not runs:
        raise GdexpError(
            f"the sweep {sweep_id} has no runs yet. python -m gdexp compare --all lists the runs."
        )
    return Selection(in_order(runs), sweep_id, summary)


def _only_sweep(store: Store, word: str, name: str) -> str:
    """The only sweep whose id starts with this name.

    Raises:
        GdexpError: there is none, or there are several.
    """
    runs = store.runs(IS_RUN)
    sweeps = list(dict.fromkeys(run.tags[SWEEP] for run in runs if SWEEP in run.tags))
    matches = [sweep for sweep in sweeps if name and sweep.startswith(name)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        more = ", …" if len(matches) > LISTED else ""
        raise GdexpError(
            f"the ids of {len(matches)} sweeps start with {name!r}: "
            f"{', '.join(matches[:LISTED])}{more}. Type more characters."
        )
    if not runs:
        raise GdexpError(
            f"experiment {store.experiment} has no runs yet; run python -m gdexp first."
        )
    starts = [run.run_id[: len(word)] for run in runs] if len(word) >= ENOUGH else []
    similar = did_you_mean(name, sweeps) or did_you_mean(word, starts)
    raise GdexpError(
        f"{word!r} is neither a run nor a sweep of experiment {store.experiment}.{similar} "
        "python -m gdexp compare --all lists the runs."
    )
