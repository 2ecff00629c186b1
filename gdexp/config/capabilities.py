"""Capabilities: what a class can do, as it declares in class attributes.

A subclass inherits a declaration unless it overrides ``__call__`` (a module's ``forward``), which
may change the formula. ``vectorized`` is never inherited, because the vectorized form would ignore
the changes of a subclass. :mod:`gdexp.pytorch.capabilities` declares for torch's classes.
"""

from __future__ import annotations

import inspect
import pkgutil
import sys
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal, TypeAlias

from gdexp.config import schema
from gdexp.config.job import Job
from gdexp.manual import Logistic, Loss
from gdexp.pytorch.capabilities import TORCH
from gdexp.types import Task

Reduction: TypeAlias = Literal["mean", "sum"]

CAPABILITIES: dict[str, dict[str, Any]] = {
    "data": {"inline": bool},
    "predictor": {"linear": bool, "vectorized": Literal["linear"]},
    "gradient": {
        "derived_for": str,
        "reduction": Reduction,
        "tracked": bool,
        "vectorized": Literal["mean", "sum", "logistic", "autograd"],
    },
    "loss": {
        "task": Task,
        "measures": str,
        "reduction": Reduction,
        "vectorized": Literal["squares", "logistic"],
    },
    "updater": {
        "proportional": bool,
        "dynamics": Literal["descent", "heavy_ball", "nesterov"],
        "adaptive": Literal["adam"],
        "vectorized": Literal[
            *("plain", "heavy_ball", "nesterov", "adam"),
            *("SGD", "Adam", "AdamW", "Adagrad", "RMSprop"),
        ],
    },
}
"""What the classes of each group may declare.

- ``inline``: the configuration itself holds the rows.
- ``linear``: ``f(x) = x @ w``, or ``x @ w + b``, with parameters ``w`` and ``b``.
- ``derived_for``: the quantity whose derivative the formula is, for a linear predictor.
- ``measures``: the quantity that a loss measures, by name.
- ``reduction``: whether it is a mean over the rows or a sum.
- ``tracked``: it needs tensors whose operations autograd tracks.
- ``task``: the kind of targets.
- ``proportional``: a step is proportional to lr times the gradient.
- ``dynamics``: the equation of motion of an updater that is also proportional, which determines
  the largest lr that works on a quadratic; the last two have a setting ``momentum``.
- ``adaptive``: the rule of an updater whose steps are not proportional to the gradient.
- ``vectorized``: the form in which runs that differ only in numbers are computed together.
"""

BY_HAND = {
    (Loss.measures, "mean"): "manual",
    (Loss.measures, "sum"): "manual_sum",
    (Logistic.measures, "mean"): "manual_logistic",
}
"""The gradient option derived by hand for each quantity and reduction."""


def declared(target: Any, capability: str, default: Any = None) -> Any:
    """What a class declares for a capability.

    Args:
        target: the class, or a function that builds one; or its path, as in ``_target_``.
        capability: one of :data:`CAPABILITIES`.
        default: returned if the class declares nothing or cannot be imported.

    >>> declared(Logistic, "task")
    'binary'
    >>> declared(Loss, "task", "regression")
    'regression'
    """
    if isinstance(target, str):
        if target.startswith("torch."):
            return TORCH.get(target, {}).get(capability, default)
        if target.startswith("gdexp."):
            value = _ours(target, capability)
            return default if value is None else value
        target = resolve(target)
    return _declared(target, capability, default)


@cache  # for sweeps; a user's own class may be defined anew
def _ours(target: str, capability: str) -> Any:
    return _declared(resolve(target), capability, None)


def _declared(target: Any, capability: str, default: Any) -> Any:
    if not inspect.isclass(target):
        return getattr(target, capability, default)
    for kind in target.__mro__[: 1 if capability == "vectorized" else None]:
        value = vars(kind).get(capability)
        if value is not None and not hasattr(value, "__get__"):  # methods are no declaration
            return value
        is_rewritten = "__call__" in vars(kind) or "forward" in vars(kind)
        if is_rewritten and capability != "tracked":  # it may call its parent, on tensors
            return default
    return default


def of(settings: Mapping[str, Any], family: str, capability: str, default: Any = None) -> Any:
    """What the class chosen for a family declares."""
    return declared(settings[family]["_target_"], capability, default)


def reduction(settings: Mapping[str, Any], family: str) -> Reduction | None:
    """Whether a gradient or a loss is a mean over the rows or a sum; None if unknown.

    The setting ``reduction`` beats the class's declaration; a loss is a mean by default.
    """
    default = "mean" if family == "loss" else None
    typed: Reduction | None = settings[family].get("reduction")
    return typed or of(settings, family, "reduction", default)


def task_of(settings: Mapping[str, Any]) -> Task:
    """The kind of targets, as the loss declares it; regression by default."""
    task: Task = of(settings, "loss", "task", "regression")
    return task


def is_linear(settings: Mapping[str, Any]) -> bool:
    """Whether the predictor is ``x @ w``, or ``x @ w + b``."""
    return bool(of(settings, "predictor", "linear"))


def derivative(settings: Mapping[str, Any]) -> str:
    """The option of ``gradient`` that computes the derivative of the chosen loss."""
    if not is_linear(settings):
        return "autograd"
    quantity = str(of(settings, "loss", "measures"))
    return BY_HAND.get((quantity, str(reduction(settings, "loss"))), "autograd")


def check_declared(job: Job) -> None:
    """Check the declarations of the chosen classes.

    Raises:
        ConfigError: "mine.Loss.task: 'two' is not one of regression, binary, classes."
    """
    for family, capabilities in CAPABILITIES.items():
        target = str(job.settings[family]["_target_"])
        if not target.startswith(("torch.", "gdexp.")):
            for name, hint in capabilities.items():
                if (value := declared(target, name)) is not None:
                    schema.check(f"{target}.{name}", value, hint, is_typed=False)


def is_derived_from_torch(target: str) -> bool:
    """Whether a user's own class is derived from a class of torch."""
    if target.startswith(("gdexp.", "torch.")):
        return False
    bases = getattr(resolve(target), "__mro__", ())
    return any(kind.__module__.partition(".")[0] == "torch" for kind in bases)


def resolve(target: str) -> Any:
    """The class at a path; None if it cannot be imported, which building it reports."""
    module, _, name = target.rpartition(".")
    if kind := getattr(sys.modules.get(module), name, None):  # much faster, for sweeps
        return kind
    try:
        return pkgutil.resolve_name(target)
    except (Exception, SystemExit):
        return None
