"""The pictures of a recorded sweep, also as artifacts of its summary run: ``plots/map.svg``, …."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from gdexp.config import __version__
from gdexp.insight.pictures.of_sweep import of_sweep
from gdexp.insight.pictures.picture import Picture
from gdexp.sweep.summary import row_of
from gdexp.tracking import environment
from gdexp.tracking.query import summaries_of
from gdexp.tracking.run_record import RecordedRun
from gdexp.tracking.selection import Selection
from gdexp.tracking.store import Store
from gdexp.tracking.tags import BEHAVIOUR, USER
from gdexp.tracking.views import sweep_of

FOLDER = "plots"
LOSS = "train/loss"
INDEX = f"{FOLDER}/pictures.json"  # titles and descriptions, and which state of the sweep is drawn


def pictures_of(
    store: Store, runs: Sequence[RecordedRun], axes: Sequence[str] = ()
) -> Iterator[Picture]:
    """Draw the runs of a sweep; see :func:`gdexp.insight.pictures.of_sweep.of_sweep`.

    Args:
        store: the store that has them.
        runs: the runs.
        axes: the settings of the map's axes.
    """
    return of_sweep(rows_of(runs), lambda run_ids: store.curves(run_ids, LOSS), axes)


def rows_of(runs: Sequence[RecordedRun]) -> list[dict[str, Any]]:
    """The rows of recorded runs, with their behaviour; those without a number are numbered."""
    return [_row(run, number) for number, run in enumerate(runs)]


def _row(run: RecordedRun, number: int) -> dict[str, Any]:
    row = row_of(run)
    if run.number is None:
        row["job"] = number
    if BEHAVIOUR in run.tags:
        row["behaviour"] = run.tags[BEHAVIOUR]
    return row


def own_sweep(store: Store, runs: Sequence[RecordedRun]) -> Selection | None:
    """The sweep that all runs belong to, if its summary run may get pictures.

    None unless the sweep has ended and is this user's own: looking at the sweep of somebody else
    adds nothing to it.
    """
    sweep_id = sweep_of(runs)
    summaries = summaries_of(store, sweep_id) if sweep_id else []
    for summary in summaries:
        if summary.status != "RUNNING" and summary.tags.get(USER) == environment.user():
            return Selection([*runs], sweep_id, summary)
    return None


def log_pictures(store: Store, chosen: Selection) -> bool:
    """Draw a sweep and add the pictures to its summary run, unless they are there already.

    They are drawn anew after the sweep has been resumed, and by another version of gdexp. The run's
    status, end and tags stay as they are.

    Args:
        store: the store.
        chosen: a sweep with a summary run.

    Returns:
        Whether they were drawn.

    Raises:
        StoreError: the store cannot be read or written.
    """
    summary = chosen.summary
    assert summary is not None
    state = {"version": __version__, "drawn_for": summary.heard_ms}
    if _index(store, summary).items() >= state.items():
        return False
    files, words = {}, []
    for picture in pictures_of(store, chosen.runs):
        files[f"{FOLDER}/{picture.name}.svg"] = picture.svg()
        about = {"title": picture.title, "description": picture.description}
        words.append({"name": picture.name, **about})
    files[INDEX] = json.dumps({**state, "pictures": words}, indent=1).encode()
    store.add_files(summary, files)
    return True


def _index(store: Store, summary: RecordedRun) -> dict[str, Any]:
    """What is drawn already; empty if nothing is, or it cannot be read."""
    if INDEX not in store.files(summary, FOLDER):
        return {}
    try:
        index = json.loads(store.read(summary, INDEX))
    except ValueError:
        return {}
    return index if isinstance(index, dict) else {}
