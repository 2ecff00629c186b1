"""What a chosen class can do, as it declares itself in class attributes.

A subclass inherits a declaration unless it overrides ``__call__`` (a module's ``forward``), because
nothing is known of a changed formula. ``vectorized`` is never inherited: the vectorized form would
not see what a subclass changes. What torch's classes can do stands in
:mod:`gdexp.pytorch.capabilities`.
"""

from __future__ import annotations

import inspect
import pkgutil
import sys
from collections.abc import Mapping
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
        "vectorized": Literal["mean", "sum", "autograd"],
    },
    "loss": {
        "task": Task,
        "measures": str,
        "reduction": Reduction,
        "vectorized": Literal["squares"],
    },
    "updater": {"proportional": bool, "vectorized": Literal["plain", "SGD"]},
}
"""What a class of each group may declare.

- ``inline``: the rows stand in the configuration itself.
- ``linear``: ``f(x) = x @ w``, or ``x @ w + b``, of parameters ``w`` and ``b``.
- ``derived_for``: the formula is the derivative of this quantity, for a linear predictor.
- ``measures``: the quantity that a loss is, by name.
- ``reduction``: whether that is a mean over the rows or a sum.
- ``task``: what the targets are.
- ``proportional``: a step is proportional to lr times the gradient.
- ``vectorized``: the form in which runs that differ in numbers alone are computed together.
"""

BY_HAND = {
    (Loss.measures, "mean"): "manual",
    (Loss.measures, "sum"): "manual_sum",
    (Logistic.measures, "mean"): "manual_logistic",
}
"""By the quantity and its reduction, the option of a gradient derived by hand for it."""


def declared(target: Any, capability: str, default: Any = None) -> Any:
    """What a class declares of itself.

    Args:
        target: the class, or a function that builds one; or its path, as in ``_target_``.
        capability: one of :data:`CAPABILITIES`.
        default: what holds for a class that declares nothing, or cannot be imported.

    >>> declared(Logistic, "task")
    'binary'
    >>> declared(Loss, "task", "regression")
    'regression'
    """
    if isinstance(target, str):
        if target.startswith("torch."):
            return TORCH.get(target, {}).get(capability, default)
        target = _resolve(target)
    if not inspect.isclass(target):
        return getattr(target, capability, default)
    for kind in target.__mro__[: 1 if capability == "vectorized" else None]:
        value = vars(kind).get(capability)
        if value is not None and not hasattr(value, "__get__"):  # methods declare nothing
            return value
        if "__call__" in vars(kind) or "forward" in vars(kind):
            return default
    return default


def of(settings: Mapping[str, Any], family: str, capability: str, default: Any = None) -> Any:
    """What the class that a run's settings choose for a family declares."""
    return declared(settings[family]["_target_"], capability, default)


def reduction(settings: Mapping[str, Any], family: str) -> Reduction | None:
    """Whether a gradient or a loss is a mean over the rows or a sum; None if it does not say.

    A setting of that name decides, then what the class declares; a loss is a mean by default.
    """
    default = "mean" if family == "loss" else None
    held: Reduction | None = settings[family].get("reduction")
    return held or of(settings, family, "reduction", default)


def task_of(settings: Mapping[str, Any]) -> Task:
    """What is predicted: the loss declares it; one that declares nothing is for a regression."""
    task: Task = of(settings, "loss", "task", "regression")
    return task


def is_linear(settings: Mapping[str, Any]) -> bool:
    """Whether the predictor is ``x @ w``, or ``x @ w + b``."""
    return bool(of(settings, "predictor", "linear"))


def derivative(settings: Mapping[str, Any]) -> str:
    """The option of ``gradient`` that gives the derivative of the chosen loss."""
    if not is_linear(settings):
        return "autograd"
    quantity = str(of(settings, "loss", "measures"))
    return BY_HAND.get((quantity, str(reduction(settings, "loss"))), "autograd")


def check_declared(job: Job) -> None:
    """Hold what the chosen classes declare against what can be declared.

    Raises:
        ConfigError: "mine.Loss.task: 'two' is not one of regression, binary, classes."
    """
    for family, capabilities in CAPABILITIES.items():
        target = str(job.settings[family]["_target_"])
        if not target.startswith(("torch.", "gdexp.")):
            for name, hint in capabilities.items():
                if (value := declared(target, name)) is not None:
                    schema.check(f"{target}.{name}", value, hint)


def _resolve(target: str) -> Any:
    """The class of a path; None where there is none, which building it says in a sentence."""
    module, _, name = target.rpartition(".")
    kind = getattr(sys.modules.get(module), name, None)  # quicker by far, for sweeps
    if kind is None:
        try:
            kind = pkgutil.resolve_name(target)
        except Exception:
            return None
    return kind
