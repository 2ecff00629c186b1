"""What the settings of torch's own classes mean: types and ranges, without importing torch.

Torch declares floats where it means counts and leaves many ranges unchecked. A scheduler compares
epochs with ``milestones=[1.5]`` and never drops; another divides by ``step_size=0``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, Predicate


def strictly_increasing(values: Sequence[float]) -> bool:
    """Whether each value is larger than the one before; error messages use this name."""
    return all(a < b for a, b in itertools.pairwise(values))


def increasing(values: Sequence[float]) -> bool:
    """Whether no value is smaller than the one before; error messages use this name."""
    return all(a <= b for a, b in itertools.pairwise(values))


Count = Annotated[int, Ge(1)]
OptionalCount = Annotated[int | None, Ge(1)]
Natural = Annotated[int, Ge(0)]
Positive = Annotated[float, Gt(0)]
NonNegative = Annotated[float, Ge(0)]
Share = Annotated[float, Ge(0), Le(1)]
Part = Annotated[float, Gt(0), Le(1)]
Decay = Annotated[float, Ge(0), Lt(1)]
Inside = Annotated[float, Gt(0), Lt(1)]

COMMON: dict[str, Any] = {
    "lr": Positive,
    "momentum": NonNegative,
    "betas": tuple[Decay, Decay],
    "eps": NonNegative,
    "weight_decay": NonNegative,
    **dict.fromkeys(("foreach", "fused"), bool | None),
    **dict.fromkeys(("capturable", "differentiable", "maximize", "amsgrad"), bool),
    **dict.fromkeys(("decoupled_weight_decay", "nesterov", "centered"), bool),
    **dict.fromkeys(("cycle_momentum", "three_phase"), bool),
    **dict.fromkeys(("base_momentum", "max_momentum"), Decay),
    "eta_min": NonNegative,
    "gamma": NonNegative,
    "last_epoch": Annotated[int, Literal[-1]],
}
"""The settings that mean the same in every optimizer and scheduler of :mod:`torch.optim`."""

OWN: dict[str, dict[str, Any]] = {
    "torch.optim.ASGD": {"lambd": NonNegative, "alpha": NonNegative, "t0": NonNegative},
    "torch.optim.Adadelta": {"rho": Share},
    "torch.optim.Adafactor": {
        "beta2_decay": Annotated[float, Le(0)],
        "eps": tuple[Annotated[float | None, Ge(0)], NonNegative],
        "d": Annotated[float, Ge(1)],
    },
    "torch.optim.Adagrad": {"lr_decay": NonNegative, "initial_accumulator_value": NonNegative},
    "torch.optim.LBFGS": {
        "max_iter": Count,
        "max_eval": OptionalCount,
        "tolerance_grad": NonNegative,
        "tolerance_change": NonNegative,
        "history_size": Count,
        "line_search_fn": Annotated[str | None, Literal["strong_wolfe"]],
    },
    "torch.optim.Muon": {
        "ns_coefficients": tuple[float, float, float],
        "ns_steps": Annotated[int, Ge(1), Lt(100)],
        "adjust_lr_fn": Annotated[str | None, Literal["original", "match_rms_adamw"]],
    },
    "torch.optim.NAdam": {"momentum_decay": NonNegative},
    "torch.optim.RMSprop": {"alpha": Share},
    "torch.optim.Rprop": {
        "etas": tuple[Inside, Annotated[float, Gt(1)]],
        "step_sizes": Annotated[tuple[Positive, Positive], Predicate(increasing)],
    },
    "torch.optim.SGD": {"dampening": Share},
    "torch.optim.SparseAdam": {"eps": Positive},
    "torch.optim.lr_scheduler.ConstantLR": {"factor": Part, "total_iters": Count},
    "torch.optim.lr_scheduler.CosineAnnealingLR": {"T_max": Count},
    "torch.optim.lr_scheduler.CosineAnnealingWarmRestarts": {"T_0": Count, "T_mult": Count},
    "torch.optim.lr_scheduler.CyclicLR": {
        "base_lr": NonNegative,
        "max_lr": Positive,
        "step_size_up": Count,
        "step_size_down": OptionalCount,
        "mode": Annotated[str, Literal["triangular", "triangular2", "exp_range"]],
        "scale_mode": Annotated[str, Literal["cycle", "iterations"]],
    },
    "torch.optim.lr_scheduler.LinearLR": {
        "start_factor": Part,
        "end_factor": Share,
        "total_iters": Count,
    },
    "torch.optim.lr_scheduler.MultiStepLR": {
        "milestones": Annotated[list[Natural], Predicate(strictly_increasing)]
    },
    "torch.optim.lr_scheduler.OneCycleLR": {
        "max_lr": Positive,
        "total_steps": OptionalCount,
        "epochs": OptionalCount,
        "steps_per_epoch": OptionalCount,
        "pct_start": Decay,
        "anneal_strategy": Annotated[str, Literal["cos", "linear"]],
        "div_factor": Positive,
        "final_div_factor": Positive,
    },
    "torch.optim.lr_scheduler.PolynomialLR": {"total_iters": Count, "power": NonNegative},
    "torch.optim.lr_scheduler.ReduceLROnPlateau": {
        "mode": Annotated[str, Literal["min", "max"]],
        "factor": Inside,
        "patience": Natural,
        "threshold": NonNegative,
        "threshold_mode": Annotated[str, Literal["rel", "abs"]],
        "cooldown": Natural,
        "min_lr": NonNegative,
    },
    "torch.optim.lr_scheduler.StepLR": {"step_size": Count},
    "torch.nn.CrossEntropyLoss": {"ignore_index": int, "label_smoothing": Share},
    "torch.nn.HuberLoss": {"delta": Positive},
    "torch.nn.SmoothL1Loss": {"beta": NonNegative},
}
"""The settings that a class has for itself, by its path."""

DEFAULTS: dict[str, dict[str, Any]] = {
    "SGD": {"momentum": 0, "dampening": 0, "nesterov": False},
    "CyclicLR": {"cycle_momentum": True, "base_momentum": 0.8, "max_momentum": 0.9},
    "OneCycleLR": {
        **dict.fromkeys(("total_steps", "epochs", "steps_per_epoch")),
        **{"cycle_momentum": True, "base_momentum": 0.85, "max_momentum": 0.95},
        **{"three_phase": False, "pct_start": 0.3},
    },
}
"""Torch's defaults of the settings that :func:`contradiction` compares."""


def annotation(target: str, name: str) -> Any:
    """The annotation of a setting of one of torch's classes, or None."""
    common = COMMON if target.startswith("torch.optim.") else {}
    return OWN.get(target, {}).get(name) or common.get(name)


def with_floats(target: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with whole numbers as floats where a class of torch needs floats.

    >>> with_floats("torch.optim.Adam", {"betas": [0, 0.999], "amsgrad": True})
    {'betas': [0.0, 0.999], 'amsgrad': True}
    """
    return {name: _as_float(annotation(target, name), value) for name, value in settings.items()}


def _as_float(hint: Any, value: Any) -> Any:
    while get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    if get_origin(hint) is tuple and isinstance(value, list):
        return [_as_float(part, v) for part, v in zip(get_args(hint), value, strict=True)]
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    return float(value) if is_whole and float in (hint, *get_args(hint)) else value


def contradiction(target: str, node: Mapping[str, Any], iters: int) -> tuple[str, str] | None:
    """What is wrong with the settings of a class together: (setting, sentences), or None.

    Args:
        target: the path of the class.
        node: its settings.
        iters: the epochs of the run.
    """
    name = target.removeprefix("torch.optim.").removeprefix("lr_scheduler.")
    of = {**DEFAULTS.get(name, {}), **node}  # a user's own option need not list them all
    match name:
        case "SGD" if of["nesterov"] and not (of["momentum"] and of["dampening"] == 0):
            needs = "true needs momentum > 0 and dampening = 0"
            return "nesterov", f"{needs}. Type for example updater.momentum=0.9."
        case "CyclicLR" if of.get("base_lr", 0) > of.get("max_lr", math.inf):
            return "base_lr", _above(of, "base_lr", "max_lr")
        case "CyclicLR" | "OneCycleLR" if of["cycle_momentum"] and (
            of["base_momentum"] > of["max_momentum"]
        ):
            return "base_momentum", _above(of, "base_momentum", "max_momentum")
        case "OneCycleLR":
            return _cycle(of, iters)
    return None


def _above(of: Mapping[str, Any], low: str, high: str) -> str:
    above = f"the lower bound {of[low]:g} is above scheduler.{high}={of[high]:g}"
    return f"{above}. Type for example scheduler.{low}={of[high] / 10:g}."


def _cycle(of: Mapping[str, Any], iters: int) -> tuple[str, str] | None:
    total = of["total_steps"] or (of["epochs"] or 0) * (of["steps_per_epoch"] or 0)
    typed = f"Type for example scheduler.total_steps={iters}."
    if not total:
        return "total_steps", f"null needs scheduler.epochs and scheduler.steps_per_epoch. {typed}"
    if total < iters:
        return "total_steps", f"a cycle of {total} epochs is shorter than iters={iters}. {typed}"
    if of["pct_start"] * total == 1:
        short = f"lr cannot rise in {of['pct_start']:g} of {total} epochs, a single one"
        return "pct_start", f"{short}. Type for example scheduler.pct_start=0 or a larger one."
    if of["three_phase"] and of["pct_start"] > 0.5:
        longest = "with three_phase=true lr falls as long as it rises, so at most 0.5"
        return "pct_start", f"{longest}, not {of['pct_start']:g}. Type scheduler.pct_start=0.3."
    return None
