"""What the row of a run says: its loss, how the loss behaved, and what was forecast."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from gdexp.descent.numbers import short
from gdexp.errors import counted
from gdexp.insight.pictures.axes import Axis, Row, swept
from gdexp.insight.pictures.style import evenly

LOSS, BOUND, SHARE = "final/loss", "forecast/largest_lr", "forecast/lr_over_largest"
ENDED = ("completed", "converged")
MONOTONE, OSCILLATING, GROWING = "monotone", "oscillating", "diverging"
DIVERGED, UNFINISHED, PLAIN = "diverged", "unfinished", "completed"
TABLE = 50  # rows of the table of a picture
NEAR = 1e-6  # relative distance from the bound below which rounding decides


def loss_of(row: Row) -> float:
    """The final loss; NaN if there is none, or it is not finite."""
    value = row.get(LOSS)
    return float(value) if value is not None and math.isfinite(value) else math.nan


def state_of(row: Row) -> str:
    """How a run went: one of the words above.

    Completed runs are told apart by ``behaviour``, if the row has it.
    """
    if row["outcome"] == "diverged":
        return DIVERGED
    if row["outcome"] not in ENDED or math.isnan(loss_of(row)):
        return UNFINISHED
    behaviour = str(row.get("behaviour", PLAIN))
    if behaviour.startswith("diverg"):
        return GROWING
    return behaviour if behaviour in (MONOTONE, OSCILLATING) else PLAIN


def is_drawn(row: Row) -> bool:
    """Whether the final loss of a run is drawn: it completed or converged."""
    return state_of(row) not in (DIVERGED, UNFINISHED)


def bound_of(row: Row) -> float:
    """The largest learning rate that was forecast to converge; NaN if none was."""
    value = row.get(BOUND)
    return float(value) if value is not None and math.isfinite(value) and value > 0 else math.nan


def lr_of(row: Row) -> float:
    """The learning rate of the updater; NaN if it has none."""
    try:
        return float(row.get("updater.lr", row.get("lr", math.nan)))
    except ValueError:
        return math.nan


def is_lr(key: str, rows: Sequence[Row]) -> bool:
    """Whether a param is the learning rate that the bound limits."""
    if key not in ("lr", "updater.lr"):
        return False
    return all(str(row.get(key)) == str(row.get("updater.lr", row.get("lr"))) for row in rows)


def share_of(row: Row) -> float:
    """The learning rate over the bound, as the record says or as they are; NaN if unknown."""
    share = row.get(SHARE)
    return float(share) if share is not None else lr_of(row) / bound_of(row)


def is_above(row: Row) -> bool:
    """Whether the learning rate is above the bound; False if either is unknown."""
    return share_of(row) > 1 + NEAR


def contradicts(row: Row) -> bool:
    """Whether a run diverged below the bound, or converged above it.

    Above it, a run that was stopped before its loss could grow contradicts nothing: the forecast
    says in which epoch the loss exceeds 10 times its start.
    """
    state = state_of(row)
    if state == DIVERGED:
        return share_of(row) < 1 - NEAR
    if not is_above(row) or state in (UNFINISHED, GROWING):
        return False
    if row["outcome"] == "converged":
        return True
    exceeds = row.get("forecast/exceeds_epoch")
    try:
        return exceeds is not None and float(row.get("iters", 0)) > 2 * float(exceeds)
    except ValueError:
        return False


def rank(row: Row) -> float:
    """A sort key: runs with small losses first, those that diverged or did not finish last."""
    return loss_of(row) if is_drawn(row) else math.inf


def scaled(rows: Iterable[Row]) -> list[float]:
    """The losses that make the scale of the colours: of runs that grew only if there are no others.

    A loss that has grown by decades would leave no colours for the others.
    """
    drawn = [row for row in rows if is_drawn(row)]
    fallen = [loss_of(row) for row in drawn if state_of(row) != GROWING and not is_above(row)]
    return fallen or [loss_of(row) for row in drawn]


def best_of(rows: Sequence[Row]) -> Row | None:
    """The run with the smallest final loss; None if none completed."""
    return min(filter(is_drawn, rows), key=rank, default=None)


def sampled(rows: Sequence[Row], axes: Sequence[Axis]) -> tuple[list[Row], dict[str, list[Any]]]:
    """The runs of a picture's table, evenly sampled if they are many, and their settings."""
    shown = [rows[i] for i in evenly(len(rows), TABLE)]
    return shown, {axis.key: [axis.of(row) for row in shown] for axis in axes}


def table_of(rows: Sequence[Row], axes: Sequence[Axis]) -> dict[str, list[Any]]:
    """The settings, losses and forecasts of these runs, by column."""
    shown, columns = sampled(rows, axes)
    columns[LOSS] = [row.get(LOSS) for row in shown]
    columns["behaviour"] = [state_of(row) for row in shown]
    if any(BOUND in row for row in rows):
        columns["largest lr"] = [row.get(BOUND) for row in shown]
        columns["contradicts the forecast"] = ["yes" if contradicts(row) else "" for row in shown]
    return columns


def summary(rows: Sequence[Row]) -> str:
    """What there is to see: the best run, how many diverged, and what contradicts the forecast."""
    parts = []
    if best := best_of(rows):
        where = ", ".join(f"{axis.key}={axis.label(axis.of(best))}" for axis in swept(rows)[:4])
        parts.append(f"The smallest is {short(loss_of(best))}{f', with {where}' if where else ''}.")
    states = Counter(state_of(row) for row in rows)
    if states[DIVERGED] == len(rows):
        parts.append("Every run diverged." if len(rows) > 1 else "The run diverged.")
    elif states[DIVERGED]:
        parts.append(f"{states[DIVERGED]} of {counted(len(rows), 'run')} diverged.")
    if states[UNFINISHED]:
        parts.append(f"{counted(states[UNFINISHED], 'run')} did not finish.")
    parts.append(_forecast(rows))
    return " ".join(filter(None, parts))


def _forecast(rows: Sequence[Row]) -> str:
    """How many runs contradict the forecast, of those that have one."""
    known = [row for row in rows if not math.isnan(share_of(row))]
    if not known:
        return ""
    odd = sum(map(contradicts, known))
    if not odd:
        return "No run contradicts the forecast."
    which = "1 run contradicts" if odd == 1 else f"{odd} runs contradict"
    return f"{which} the forecast."
