"""What plot and report are asked for: some runs, or a sweep with its summary run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gdexp.errors import GdexpError, did_you_mean
from gdexp.tracking.query import IS_RUN, KIND, SWEEP, by_id, select
from gdexp.tracking.run_record import RecordedRun
from gdexp.tracking.store import Store


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
        words: ids of runs or their first characters; or one sweep: its id, its folder, the id of
            its summary run, or ``last``. Without words, the sweep of the newest run, else that run.

    Raises:
        GdexpError: there is no such run or sweep; the nearest is named.
    """
    if not words:
        (newest,) = select(store, last=1)
        return _sweep(store, newest.tags[SWEEP]) if SWEEP in newest.tags else Selection([newest])
    if len(words) == 1:
        if words[0] == "last":
            return _sweep(store, select(store, sweep="last")[0].tags[SWEEP])
        name = Path(words[0]).name
        if store.runs({SWEEP: name}, limit=1):
            return _sweep(store, name)
    runs = [_run(store, word) for word in dict.fromkeys(words)]
    summaries = [run for run in runs if run.tags.get(KIND) == "sweep"]
    if summaries and len(runs) > 1:
        raise GdexpError(f"{words}: name one sweep, or runs.")
    return _sweep(store, summaries[0].tags[SWEEP]) if summaries else Selection(runs)


def _sweep(store: Store, sweep_id: str) -> Selection:
    summaries = store.runs({KIND: "sweep", SWEEP: sweep_id}, limit=1)
    return Selection(select(store, sweep=sweep_id), sweep_id, summaries[0] if summaries else None)


def _run(store: Store, word: str) -> RecordedRun:
    if word.isalnum() and store.runs(id_prefix=word, limit=1, everywhere=True):
        return by_id(store, word, kinds=("run", "sweep"))
    runs = store.runs(IS_RUN)
    known = list(dict.fromkeys([*(run.tags[SWEEP] for run in runs if SWEEP in run.tags)]))
    nearest = did_you_mean(word, known) or did_you_mean(word, [run.run_id for run in runs])
    raise GdexpError(
        f"there is no run and no sweep {word!r} in experiment {store.experiment}.{nearest} "
        "python -m gdexp compare --all lists the runs."
    )
