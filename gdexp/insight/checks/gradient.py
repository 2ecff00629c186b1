"""Measure whether the gradient source gives the derivative of the loss, and name what is wrong.

The source is called twice, by a second set of components on at most a few thousand rows: at the
start, and at a point displaced in a random direction, where a source that does not zero its
gradients shows. There its gradient is held against the derivative of the loss in float64, by
central differences along one random direction and, with torch, by autograd. Number by number the
derivative is computed only where they disagree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from gdexp.config import capabilities
from gdexp.config.job import Job
from gdexp.config.schema import FAMILIES
from gdexp.descent.build import Components, build
from gdexp.descent.numbers import exact, short
from gdexp.descent.trial import undisturbed
from gdexp.insight.checks import loss as loss_check
from gdexp.insight.checks import updater as updater_check
from gdexp.insight.checks.probe import Probe
from gdexp.insight.checks.verdict import Verdict, judge

KEPT = 256  # checks held in memory
OURS = ("gdexp.manual.", "gdexp.pytorch.", "torch.")  # whose classes are as they declare


@dataclass(frozen=True)
class Checked:
    """What the check of a run says.

    Attributes:
        gradient: how the gradient compares with the derivative; None if that cannot be told.
        loss: what is wrong with the loss, or "".
        updater: what is wrong with the updater, or "".
    """

    gradient: Verdict | None = None
    loss: str = ""
    updater: str = ""


_checked: dict[Any, Checked] = {}


def check(job: Job, built: Components) -> Checked:
    """Check the gradient source, the loss and the updater of a run; they stay as they are.

    Runs that differ in nothing that matters to it share one check. What cannot be checked, such as
    a predictor that is random, is not blamed.
    """
    if job.settings["check"]["gradient"] == "off":
        return Checked()
    key = _key(job, built)
    if key not in _checked:
        if len(_checked) >= KEPT:
            _checked.clear()
        _checked[key] = _check(_at_zero(job), built)
    return _checked[key]


def notes(job: Job, built: Components) -> dict[str, str]:
    """What is wrong with the gradient source, the loss or the updater, by kind."""
    checked, choices = check(job, built), job.choices
    return {
        f"gradient={choices['gradient']}": _gradient_note(job, checked),
        f"loss={choices['loss']}": checked.loss and f"loss={choices['loss']} {checked.loss}",
        f"updater={choices['updater']}": checked.updater
        and f"updater={choices['updater']} {checked.updater}",
    }


def metrics(job: Job, built: Components) -> dict[str, float]:
    """``gradient_error`` and ``gradient_ratio``, if the gradient could be checked."""
    verdict = check(job, built).gradient
    if verdict is None:
        return {}
    return {"gradient_error": verdict.error, "gradient_ratio": verdict.ratio}


def undeclared_multiple(job: Job, built: Components) -> float | None:
    """By what the gradient source is multiplied that is not declared; 1 if nothing is wrong.

    None if it is not a positive multiple of the derivative, or the loss or the updater is wrong:
    then nothing else that is known of such a run holds.
    """
    targets = [str(job.settings[family]["_target_"]) for family in FAMILIES]
    if all(target.startswith(OURS) for target in targets):
        return 1.0
    checked = check(job, built)
    cause = checked.gradient.cause if checked.gradient is not None else None
    if checked.loss or checked.updater:
        return None
    if cause is None:
        return 1.0
    factor = (cause.multiple or 0.0) / declared_multiple(job, built)
    return factor if factor > 0 else None


def declared_multiple(job: Job, built: Components) -> float:
    """The gradient source as a multiple of the derivative of the loss, by what both declare.

    Returns:
        n or 1/n if one is a sum over the n rows of an update and the other a mean; else 1.
    """
    match tuple(capabilities.reduction(job.settings, f) for f in ("gradient", "loss")):
        case ("sum", "mean"):
            return float(built.batch_size or len(built.y))
        case ("mean", "sum"):
            return 1 / (built.batch_size or len(built.y))
    return 1.0


def _key(job: Job, built: Components) -> Any:
    """What a check depends on; the classes change if a module is reloaded."""
    settings = job.settings
    nodes = {name: settings[name] for name in (*FAMILIES, "dtype", "device")}
    nodes["updater"] = {k: v for k, v in nodes["updater"].items() if k != "lr"}
    if _starts_anywhere(job):
        nodes["predictor"] = {k: v for k, v in nodes["predictor"].items() if k != "init"}
        seed = None
    else:
        seed = settings["seed"]
    classes = tuple(capabilities.resolve(settings[family]["_target_"]) for family in FAMILIES)
    return repr(nodes), seed, built.data, built.batch_size, classes


def _starts_anywhere(job: Job) -> bool:
    """Whether the check holds for every start, so that runs from different ones share it."""
    return capabilities.is_linear(job.settings) and "init" in job.settings["predictor"]


def _at_zero(job: Job) -> Job:
    if not _starts_anywhere(job):
        return job
    predictor = {**job.settings["predictor"], "init": 0.0}
    return replace(job, settings={**job.settings, "predictor": predictor})


def _check(job: Job, built: Components) -> Checked:
    try:
        with undisturbed(job):
            second = build(job)
            probe = Probe(job, second)
            loss = loss_check.wrong(second)
            updater = updater_check.wrong(job, second)
            points = probe.points()
            verdict = judge(probe, points) if points else None
    except Exception:  # it is the run's own error, which the run shows
        return Checked()
    return Checked(verdict, loss, updater)


def _gradient_note(job: Job, checked: Checked) -> str:
    verdict, choice = checked.gradient, job.choices["gradient"]
    if verdict is None or verdict.cause is None or checked.loss:  # then the loss is what is wrong
        return ""
    text, why, multiple = verdict.cause
    if verdict.is_cut:
        where = " or ".join(f"{family}={job.choices[family]}" for family in ("loss", "predictor"))
        return (
            f"gradient={choice} {text}: autograd cannot follow a part of {where}. Compute with "
            "tensors, without item(), detach(), no_grad() or NumPy."
        )
    effect = _effect(job, multiple) if multiple is not None and multiple > 0 else ""
    derivative = capabilities.derivative(job.settings)
    if derivative == choice or capabilities.of(job.settings, "gradient", "tracked"):
        derivative = "autograd"
    remedy = f"; gradient={derivative} gives the derivative" if derivative != choice else ""
    return f"gradient={choice} {text}{why}{effect}{remedy}."


def _effect(job: Job, multiple: float) -> str:
    """What lr the multiple acts like, if the updater's step is proportional to the gradient.

    A weight decay is added to the gradient after the multiple, so relative to it it is smaller.
    """
    updater: Mapping[str, Any] = job.settings["updater"]
    is_proportional = any(
        capabilities.of(job.settings, "updater", name) for name in ("proportional", "dynamics")
    )
    if not is_proportional:
        return ""
    lr = updater.get("lr")
    if lr is None or job.settings["scheduler"]["_target_"] is not None:
        return f", so every lr acts like one {short(multiple)} times as large"
    typed, acts_like = f"lr={exact(lr)}", f"lr={short(lr * multiple)}"
    if decay := updater.get("weight_decay"):
        typed += f" updater.weight_decay={exact(decay)}"
        acts_like += f" updater.weight_decay={short(decay / multiple)}"
    return f", so {typed} acts like {acts_like}"
