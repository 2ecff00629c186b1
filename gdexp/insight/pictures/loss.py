"""The loss by epoch: training, validation and forecast on the same axes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gdexp.config import capabilities
from gdexp.descent.build import Components
from gdexp.descent.result import Result
from gdexp.descent.stopping import VALIDATION
from gdexp.errors import counted
from gdexp.insight.dynamics.curvature import Floats, curvature
from gdexp.insight.dynamics.forecast import forecast
from gdexp.insight.pictures.lines import draw_lines, legend
from gdexp.insight.pictures.picture import Picture
from gdexp.insight.pictures.scales import epoch_axis
from gdexp.insight.pictures.style import INK, ORANGE, canvas, label, look, number, rows, style
from gdexp.manual import Loss

TRAINING, HELD_OUT, FORECAST = "training", "validation", "forecast"
CUT = ("diverged", "interrupted", "failed")


def picture(result: Result, built: Components | None) -> Picture:
    """Draw the loss of a run of one epoch or more."""
    trajectory = result.trajectory
    lines = {TRAINING: trajectory.loss}
    if VALIDATION in trajectory.measures:
        lines[HELD_OUT] = trajectory.measured[VALIDATION]
    if (expected := _forecast(result, built)) is not None:
        lines[FORECAST] = expected
    with style():
        figure, axes = canvas()
        handles = draw_lines(axes, lines)
        if HELD_OUT in lines:
            handles[HELD_OUT].set(**look(2))
        if FORECAST in lines:  # on top: it is hidden where a run goes as forecast
            handles[FORECAST].set(color=ORANGE, linestyle="--", linewidth=1.2, zorder=3.5)
        is_log = axes.get_yscale() == "log"
        if result.outcome in CUT:
            mark = "x" if result.outcome == "diverged" else "s"
            at = trajectory.length, trajectory.loss[-1]
            (handles[f"{result.outcome} after epoch {at[0]}"],) = axes.plot(
                *at, mark, color=INK, markersize=7, zorder=4
            )
        if result.restored is not None and result.restored < trajectory.length:
            handles[f"epoch {result.restored}, restored"] = axes.axvline(
                result.restored, color=INK, linewidth=1, linestyle=":"
            )
        legend(axes, handles)
        epoch_axis(axes, trajectory.length)
        axes.set_ylabel(label(unit(result, built), 60))
    words = " ".join(_sentences(result, lines, is_log))
    important = [int(np.nanargmin(v)) + 1 for v in lines.values() if np.isfinite(v).any()]
    epochs = rows(trajectory.length, *important, result.restored or 1)
    table = {"epoch": epochs} | {f"{n} loss": values[epochs - 1] for n, values in lines.items()}
    return Picture("loss", "Loss", words, table, figure)


def unit(result: Result, built: Components | None) -> str:
    """What the loss is, and in which units: ``loss: mean squared error (price²)``.

    The units are those of the target where it has a name of its own.
    """
    if result.job is None:
        return "loss"
    settings = result.job.settings
    quantity = str(capabilities.of(settings, "loss", "measures", "")).removeprefix("the ")
    name = f"loss: {quantity}" if quantity else "loss"
    if capabilities.reduction(settings, "loss") == "sum":
        name += ", summed over the rows"
    data = result.data or (built and built.data)
    if not data or quantity != Loss.measures.removeprefix("the "):
        return name
    has_units = not settings["data"].get("standardize_target")
    has_name = not capabilities.of(settings, "data", "inline")
    return f"{name} ({data.fitted.target}²)" if has_units and has_name else name


def _forecast(result: Result, built: Components | None) -> Floats | None:
    """The loss of each epoch as it was forecast, if that was asked for and can be told."""
    if built is None or result.job is None or not result.job.settings["check"]["forecast"]:
        return None
    if curvature(result.job, built) is None:  # of networks there is none, and it takes long
        return None
    with np.errstate(all="ignore"):
        known = forecast(result.job, built)
        return None if known is None else known.losses(result.trajectory.length)


def _sentences(result: Result, lines: dict[str, Floats], is_log: bool) -> Iterator[str]:
    epochs, where = result.trajectory.length, "logarithmic axis" if is_log else "linear axis"
    yield f"{_story('loss', lines[TRAINING])} ({where})."
    if HELD_OUT in lines:
        yield f"{_story('validation loss', lines[HELD_OUT])}."
    if FORECAST in lines and np.isfinite(last := lines[FORECAST][-1]):
        yield f"The forecast, dashed, ends at {number(last, 4)}."
    zeros = int((lines[TRAINING] == 0).sum())
    if 0 < zeros < epochs:
        first = int(np.flatnonzero(lines[TRAINING] == 0)[0]) + 1
        yield f"It is exactly 0 in {counted(zeros, 'epoch')}, first in epoch {first}."
    if result.restored is not None and result.restored < epochs:
        yield f"The parameters of epoch {result.restored} are the final ones."
    if result.outcome in CUT:
        yield f"Drawn up to epoch {epochs}, the last recorded: {result.reason.rstrip('.')}."
    elif result.outcome == "converged":
        yield f"The run stopped there: {result.reason.rstrip('.')}."


def _story(name: str, values: Floats) -> str:
    """How a curve goes, in a sentence: its first, its smallest and its last value."""
    finite = np.flatnonzero(np.isfinite(values))
    if not len(finite):
        return f"The {name} is not finite in any epoch"
    first, last = int(finite[0]), int(finite[-1])
    if first == last:
        return f"The {name} is {number(values[first], 4)} in epoch {first + 1}"
    start, end = number(values[first], 4), number(values[last], 4)
    text = f"The {name} goes from {start} in epoch {first + 1} to {end} in epoch {last + 1}"
    low = int(finite[values[finite].argmin()])
    if values[low] == values[first] == values[last] == values[finite].max():
        text = f"The {name} is {start} in every epoch"
    elif number(values[low], 4) != end and values[low] < values[last]:
        text += f"; the smallest, {number(values[low], 4)}, is that of epoch {low + 1}"
    if missing := len(values) - len(finite):
        text += f"; it is not finite in {counted(missing, 'epoch')}"
    return text
