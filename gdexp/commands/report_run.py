"""What a report on one run says, read from its record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from gdexp.commands import report_parts as parts
from gdexp.commands.compare import parsed
from gdexp.commands.conditions import Conditions
from gdexp.commands.recorded import add_job
from gdexp.commands.rerun import where_it_started
from gdexp.config.trust import Trust
from gdexp.descent.numbers import exact, short
from gdexp.descent.result import GREW, Result
from gdexp.errors import GdexpError, brief
from gdexp.insight.report.view import Block, Code, Section, Sentence, Table, View
from gdexp.tracking.reading import files_of
from gdexp.tracking.restore import CHECK, COEF, CONFIG, FORECAST, TRAJECTORY, result_of
from gdexp.tracking.run_record import RecordedRun
from gdexp.tracking.store import Store
from gdexp.tracking.tags import BEHAVIOUR, DECADES, REASON

LONGEST_CONFIG = 20_000  # characters; inline data may have many more
CURVES = ("train/", "grad/", "param/")
MEANINGS = {
    "largest_lr": "largest lr that converges",
    "curvature": "largest curvature of the loss",
    "smallest_curvature": "smallest curvature of the loss",
    "lr_over_largest": "lr as a share of the largest that converges",
    "contraction": "factor per epoch by which the distance from the optimum changes",
    "epochs": "epochs to the tolerance",
    "exceeds_epoch": "epoch in which the loss exceeds 10 times its start",
    "gradient_error": "relative error of the gradient",
    "gradient_ratio": "gradient as a multiple of the derivative",
    "condition": "condition number",
    "digits": "right digits of the least accurate coefficient",
}


def view(store: Store, run: RecordedRun, trust: Trust, *, uri: str | None = None) -> View:
    """Gather what a report on a run says.

    Args:
        store: the store that has it.
        run: the run.
        trust: the code that its record may name; without it, no picture shows the loss's surface.
        uri: the store that was named on the command line.
    """
    command, said = parts.asked_and_noted(run)
    result, why = _result(store, run, trust)
    sections = [
        Section("pictures", "Pictures", _pictures(run, result, why)),
        Section("results", "Results", _results(run)),
        Section("forecast", "Forecast and fact", list(forecast_blocks(run, result))),
        Section("configuration", "Configuration", _configuration(store, run)),
        parts.data_section(store, [run]),
        parts.environment_section([run]),
        parts.reproduce_section(command, run, uri),
    ]
    answer, notes = _answer(run, result, said)
    return View(f"Run {run.run_id[:8]}", command, answer, notes, sections, parts.source(store))


def _result(store: Store, run: RecordedRun, trust: Trust) -> tuple[Result | None, str]:
    """The result with its job, as far as they can be read, and why not."""
    if TRAJECTORY not in files_of(store, run):
        return None, f"The run has no {TRAJECTORY} among its artifacts"
    try:
        result = result_of(store, run)
    except GdexpError as error:
        return None, brief(error)
    add_job(store, run, result, trust)
    return result, ""


def _answer(run: RecordedRun, result: Result | None, said: str) -> tuple[str, list[str]]:
    """The result in a sentence, and what the run was told."""
    if run.status == "RUNNING":
        loss = run.metrics.get("train/loss")
        reached = f"epoch {run.epoch} of {run.params.get('iters', '?')}"
        return f"Still running: {reached}" + ("." if loss is None else f", loss {short(loss)}."), []
    reason = run.tags.get(REASON, "")
    told = said.removeprefix(f"{run.outcome}: {reason}").partition(". ")[2]  # after the numbers
    answer = run.outcome.capitalize() + (f": {reason.rstrip('.')}" if reason else "")
    first = result.trajectory.loss[:1].tolist() if result is not None else []
    if (final := run.metrics.get("final/loss")) is not None:
        answer += ", loss " + "".join(f"{short(loss)} → " for loss in first) + short(final)
    if (prediction := run.metrics.get("final/prediction")) is not None:
        at = result.at if result is not None and result.at else "predict_at"
        answer += f", f({at}) = {short(prediction)}"
    coefficients = _with(run.metrics, COEF)
    if 0 < len(coefficients) <= 3:
        answer += "; coefficient of " + ", ".join(
            f"{name}: {short(value)}" for name, value in coefficients.items()
        )
    return f"{answer}.", [told] if told else []


def _pictures(run: RecordedRun, result: Result | None, why: str) -> list[Block]:
    from gdexp.insight.pictures.of_run import of_run

    if result is None:
        return [Sentence(f"{why}, so nothing can be drawn.")]
    if not result.trajectory.length:
        return [Sentence("The run ended before its first epoch did, so nothing can be drawn.")]
    with where_it_started(Conditions.recorded(run)):
        return parts.pictures(of_run(result))


def _results(run: RecordedRun) -> list[Block]:
    hidden = (*CURVES, CHECK, FORECAST)
    last = [(k, v) for k, v in run.metrics.items() if k.startswith("param/")]
    rest = [
        (k, v)
        for k, v in sorted(run.metrics.items())
        if not k.startswith(hidden) and k != "final/log10_loss"
    ]
    forecast = _with(run.metrics, FORECAST)  # its facts stand beside it
    checks = [(_meaning(k), v) for k, v in _with(run.metrics, CHECK).items() if k not in forecast]
    tables = [
        parts.facts("The final values", [*rest, *sorted(last)]),
        parts.facts("Checks of the gradient and of the fit", checks),
    ]
    return [table for table in tables if table.rows]


def forecast_blocks(run: RecordedRun, result: Result | None = None) -> Iterator[Block]:
    """The forecast beside what happened, as far as both are recorded."""
    forecast = _with(run.metrics, FORECAST)
    if not forecast:
        yield Sentence("The record has no forecast.")
        return
    bound, lr = forecast.get("largest_lr"), parsed(run.params.get("lr", "null"))
    if bound is not None and isinstance(lr, int | float):
        side = "below" if lr < bound else "above"
        behaviour = run.tags.get(BEHAVIOUR, "")
        yield Sentence(
            f"lr={exact(lr)} is {side} {short(bound)}, the largest that converges, as forecast. "
            f"Outcome: {run.outcome}{f', {behaviour}' if behaviour else ''}."
        )
    facts = _with(run.metrics, CHECK) | _exceeded(result)
    rows = [(_meaning(name), value, facts.get(name)) for name, value in forecast.items()]
    yield Table("The forecast, and what the run did", ("quantity", "forecast", "in the run"), rows)
    if decades := run.tags.get(DECADES, "").split():
        caption = "The epochs in which the loss had fallen to a share of its start"
        shares = [(f"1e-{k}", epoch) for k, epoch in enumerate(decades, 1)]
        yield Table(caption, ("share", "epoch"), shares)


def _exceeded(result: Result | None) -> dict[str, float]:
    """The first epoch in which the loss exceeds 10 times its start, if there is one."""
    loss = np.array([]) if result is None else result.trajectory.loss
    above = np.flatnonzero(loss > GREW * loss[:1]) if len(loss) else loss
    return {"exceeds_epoch": float(above[0] + 1)} if len(above) else {}


def _meaning(name: str) -> str:
    return MEANINGS.get(name, name.replace("_", " "))


def _configuration(store: Store, run: RecordedRun) -> list[Block]:
    rows = [(key, parts.setting(parsed(value))) for key, value in run.params.items()]
    blocks: list[Block] = [parts.facts("The options and settings", rows)]
    try:
        text = store.read(run, CONFIG).decode(errors="replace")
    except (GdexpError, OSError):
        return blocks
    if len(text) > LONGEST_CONFIG:
        text = f"{text[:LONGEST_CONFIG]}\n… and {len(text) - LONGEST_CONFIG} characters more"
    return [*blocks, Code(f"The resolved configuration ({CONFIG})", text, is_folded=True)]


def _with(metrics: Mapping[str, float], prefix: str) -> dict[str, float]:
    """The metrics with this prefix, without it."""
    return {k.removeprefix(prefix): v for k, v in metrics.items() if k.startswith(prefix)}
