"""Which settings can explain where the curves of two runs part, by when an epoch uses them.

In an epoch, the loss is computed from the data and the predictor, then the gradient from these and
the loss, then the parameters from the gradient and the updater. So the first quantity that differs
leaves out all settings that are used later; those used before would have shown in a quantity that
is equal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from gdexp.config.job import WITHOUT_EFFECT
from gdexp.config.settings import FAMILIES, Preparation
from gdexp.descent.trajectory import Trajectory
from gdexp.insight.comparison.difference import LOSS, Difference

Settings = Mapping[str, Any]
Values = tuple[Any, Any]  # of the two runs

GRADIENT, PARAMETER, REST, LENGTH = 1, 2, 3, 4  # stages after the loss, 0
USED = (  # at each stage
    ("data", "predictor", "loss", "seed"),
    ("gradient", "loss", "predictor", "data"),
    ("updater", "lr", "scheduler"),
    ("scheduler", "lr", "data", "loss", "predictor", "seed"),
)
ALWAYS = ("dtype", "device", "continue_from")
STOPPING = ("iters", "stop", "continue_from")
DIGEST = "digest of the data"  # told like a setting
NOT_ON_CURVES = (*WITHOUT_EFFECT, "predict_at", "data.metrics", "step", "experiment")
PREPARING = tuple(f"data.{each.name}" for each in fields(Preparation))
LINEAR = ("gdexp.manual.Predictor", "gdexp.pytorch.Linear")  # only init=torch is random


def stage_of(differs: Difference) -> int:
    """When in an epoch the first difference arises."""
    first = differs.first
    is_end = first.quantity == LOSS and (first.a is None or first.b is None)
    return LENGTH if is_end else first.stage


def is_on_curves(key: str) -> bool:
    """Whether a setting can change the loss, a gradient or a parameter of any epoch."""
    return key not in NOT_ON_CURVES and key.partition(".")[0] not in NOT_ON_CURVES


def flat(settings: Settings, choices: Mapping[str, str]) -> dict[str, Any]:
    """Settings by key, with the option of each group by its name, and by its class."""
    targets = {
        f"{group}._target_": node["_target_"].rpartition(".")[2]
        for group, node in settings.items()
        if isinstance(node, Mapping) and isinstance(node.get("_target_"), str)
    }
    return {**choices, **targets, **dict(_leaves("", settings))}


def _leaves(prefix: str, node: Settings) -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if isinstance(value, Mapping):
            yield from _leaves(f"{prefix}{key}.", value)
        elif not str(key).startswith("_"):
            yield f"{prefix}{key}", value


def candidates(
    changes: Mapping[str, Values],
    settings: tuple[Settings, Settings],
    trajectories: tuple[Trajectory, Trajectory],
    differs: Difference,
    *,
    same_data: bool,
) -> list[str]:
    """The settings among those that differ which can explain the first difference of the curves.

    Args:
        changes: the settings that differ, with both values; :data:`DIGEST` is one of the data.
        settings: the settings of both runs.
        trajectories: their trajectories.
        differs: the first difference of these.
        same_data: whether it is known that both read the same table.
    """
    stage = stage_of(differs)
    if stage != LENGTH and any(of["data"].get("batch_size") for of in settings):
        stages: tuple[int, ...] = tuple(range(len(USED)))  # an epoch has many updates
    elif stage == 0 and differs.first.epoch > 1 and _is_thinned(trajectories):
        stages = (0, GRADIENT, PARAMETER)  # the parameters before it may have differed
    else:
        stages = (stage,)
    other_arrays = len({_uses_tensors(of) for of in settings}) == 2

    def explains(key: str) -> bool:
        group = "data" if key == DIGEST else key.partition(".")[0]
        if not is_on_curves(key):
            return False
        if stage == LENGTH or group in ("iters", "stop"):
            return stage == LENGTH and group in STOPPING
        if group == "data" and same_data and key not in PREPARING:
            return False
        if group == "seed" and not any(map(uses_seed, settings)):
            return False
        if key == "lr" and not _is_used(changes):
            return False
        if group in ALWAYS or (other_arrays and key in FAMILIES):
            return True
        return any(group in USED[each] for each in stages)

    return [key for key in changes if explains(key)]


def uses_seed(settings: Settings) -> bool:
    """Whether the seed matters: random start values, a split of the rows, or minibatches."""
    predictor, data = settings["predictor"], settings["data"]
    is_random = predictor.get("init") == "torch" or predictor.get("_target_") not in LINEAR
    return bool(is_random or data.get("validation") or data.get("batch_size"))


def _is_used(changes: Mapping[str, Values]) -> bool:
    """Whether a component has the learning rates of the runs as its own."""
    own = [values for key, values in changes.items() if key.startswith(("updater.", "scheduler."))]
    return changes["lr"] in own


def _uses_tensors(settings: Settings) -> bool:
    """Whether one of the families is torch's, by its name alone: nothing is imported."""
    names = (str(settings[family].get("_target_")) for family in FAMILIES)
    return any(name.startswith(("torch.", "gdexp.pytorch.")) for name in names)


def _is_thinned(trajectories: tuple[Trajectory, Trajectory]) -> bool:
    """Whether parameters are recorded by their norms, or two predictors have different ones."""
    a, b = (set(trajectory.names) for trajectory in trajectories)
    return a != b or any(name.endswith(".norm") for name in a)
