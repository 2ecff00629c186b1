"""What the pictures of recorded runs are drawn from: a row for each run, and a reader of curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gdexp.insight.pictures.curves import Losses
from gdexp.sweep.summary import row_of
from gdexp.tracking.run_record import RecordedRun
from gdexp.tracking.store import Store
from gdexp.tracking.tags import BEHAVIOUR

LOSS = "train/loss"


def rows_of(runs: Sequence[RecordedRun]) -> list[dict[str, Any]]:
    """The rows of recorded runs, with their behaviour; runs of no sweep are numbered in order."""
    return [_row(run, number) for number, run in enumerate(runs)]


def _row(run: RecordedRun, number: int) -> dict[str, Any]:
    row = row_of(run)
    if run.number is None:
        row["job"] = number
    if BEHAVIOUR in run.tags:
        row["behaviour"] = run.tags[BEHAVIOUR]
    return row


def losses_of(store: Store) -> Losses:
    """A reader of the loss curves of a store's runs."""
    return lambda run_ids: store.curves(run_ids, LOSS)
