"""Schedules of the learning rate, on torch's optimizers and on updaters by hand, against torch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import CONF
from omegaconf import OmegaConf
from torch_helpers import BY_HAND, CHANGES, SCHEDULERS, one, option, torchs

from gdexp import manual, pytorch, run
from gdexp.errors import ConfigError
from gdexp.types import Parameters

LOSSES = [1.0, 0.5, *[0.5] * 18]  # it rests, so that the plateau is seen


def torchs_lrs(name: str, optimizer: torch.optim.Optimizer) -> list[tuple[Any, ...]]:
    """The learning rate and the momentum of each epoch, by torch alone."""
    scheduler = option("scheduler", name, **CHANGES.get(name, {}))(optimizer)
    rows = []
    for loss in LOSSES:
        rows.append(numbers(optimizer.param_groups[0]))
        optimizer.step()
        scheduler.step(*[loss] if name == "ReduceLROnPlateau" else [])
    return rows


def numbers(group: dict[str, Any]) -> tuple[Any, ...]:
    betas = group.get("betas", [None])
    return group["lr"], group.get("momentum"), betas[0]


def test_there_is_an_option_for_every_scheduler_with_plain_settings() -> None:
    members = vars(torch.optim.lr_scheduler)
    found = {
        name
        for name in torch.optim.lr_scheduler.__all__
        if isinstance(members[name], type)
        and issubclass(members[name], torch.optim.lr_scheduler.LRScheduler)
    }
    made_of_functions_or_schedulers = {
        "LRScheduler", "LambdaLR", "MultiplicativeLR", "ChainedScheduler", "SequentialLR"
    }  # fmt: skip
    assert set(SCHEDULERS) == found - made_of_functions_or_schedulers
    node = OmegaConf.load(CONF / "scheduler" / "none.yaml")
    assert node == {"_target_": None}


@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_schedule_on_an_optimizer_is_torchs(name: str, optimizer: str) -> None:
    changes = {"momentum": 0.9} if optimizer == "SGD" else {}
    expected = torchs_lrs(name, option("updater", optimizer, **changes)(one()))
    updater = pytorch.Optimizer(option("updater", optimizer, **changes)(one()))
    scheduled = pytorch.schedule(option("scheduler", name, **CHANGES.get(name, {})), updater)
    for loss, row in zip(LOSSES, expected, strict=True):
        assert scheduled.lr == row[0]
        assert numbers(updater.optimizer.param_groups[0]) == row
        updater({"w": torch.zeros(1)}, {"w": torch.zeros(1)})
        scheduled.step(loss)
    assert len({row[0] for row in expected}) > 1


@pytest.mark.parametrize("updater_name", ["manual", *BY_HAND])
@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_schedule_on_an_updater_by_hand_is_torchs(name: str, updater_name: str) -> None:
    cycles = name in ("OneCycleLR", "CyclicLR") and updater_name == "manual"
    changes = CHANGES.get(name, {}) | ({"cycle_momentum": False} if cycles else {})
    updater = option("updater", updater_name)
    partial = option("scheduler", name, **changes)
    (parameter,) = one()
    optimizer = torchs(updater, parameter)
    if cycles:
        optimizer.param_groups[0].pop("momentum")
    reference = partial(optimizer)
    inner = pytorch.Untracked(updater, {}) if updater_name == "manual_adam" else updater
    scheduled = pytorch.schedule(partial, inner)
    for loss in LOSSES:
        row = numbers(optimizer.param_groups[0])
        assert scheduled.lr == updater.lr == row[0]
        if updater_name == "manual_adam":
            assert updater.betas[0] == row[2]
        elif updater_name != "manual":
            assert updater.momentum == row[1]
        if cycles:
            optimizer.param_groups[0]["momentum"] = 0
        optimizer.step()
        reference.step(*[loss] if name == "ReduceLROnPlateau" else [])
        scheduled.step(loss)


@pytest.mark.parametrize("by_hand", [True, False])
@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_schedule_goes_on_from_its_state(name: str, by_hand: bool) -> None:
    partial = option("scheduler", name, **CHANGES.get(name, {}))

    def fresh() -> tuple[Any, pytorch.Scheduled]:
        updater = (
            option("updater", "manual_momentum")
            if by_hand
            else pytorch.Optimizer(option("updater", "SGD", momentum=0.9)(one()))
        )
        return updater, pytorch.schedule(partial, updater)

    def lrs(updater: Any, scheduled: pytorch.Scheduled, losses: list[float]) -> list[float]:
        found = []
        for loss in losses:
            updater({"w": torch.zeros(1)}, {"w": torch.zeros(1)})
            scheduled.step(loss)
            found.append(updater.lr if by_hand else scheduled.lr)
        return found

    whole = lrs(*fresh(), LOSSES)
    updater, scheduled = fresh()
    lrs(updater, scheduled, LOSSES[:8])
    states = updater.state(), scheduled.state()
    lrs(updater, scheduled, LOSSES[8:12])
    for order in (0, 1):  # whichever is loaded first
        updater, scheduled = fresh()
        for part, state in list(zip((updater, scheduled), states, strict=True))[:: 1 - 2 * order]:
            part.load(state)
        assert lrs(updater, scheduled, LOSSES[8:]) == whole[8:]


def test_a_schedule_of_an_updater_without_a_learning_rate_is_refused() -> None:
    class Fixed:
        def __call__(self, parameters: Parameters, gradients: Parameters) -> None: ...

    sentence = r"scheduler: Fixed has no lr that a schedule could change\. Type scheduler=none\."
    with pytest.raises(ConfigError, match=sentence):
        pytorch.schedule(option("scheduler", "StepLR"), Fixed())


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("StepLR", {"step_size": 0}, "modulo"),
        (
            "OneCycleLR",
            {"total_steps": None, "cycle_momentum": False},
            "You must define either total_steps OR",
        ),
        ("ReduceLROnPlateau", {"factor": 2.0}, "Factor should be < 1.0"),
        ("OneCycleLR", {}, r"scheduler\.cycle_momentum: the updater has no momentum to cycle\."),
        ("CyclicLR", {}, r"Type scheduler\.cycle_momentum=false\."),
    ],
)
def test_settings_that_torch_refuses_are_refused_before_the_first_epoch(
    name: str, changes: dict[str, Any], words: str
) -> None:
    updater = manual.Updater(0.25)
    with pytest.raises((ValueError, ZeroDivisionError), match=words):
        pytorch.schedule(option("scheduler", name, **changes), updater)
    assert updater.lr == 0.25


@pytest.mark.parametrize("updater", ["SGD", "Adam"])
def test_a_learning_rate_too_large_for_float32_is_a_divergence(updater: str) -> None:
    words = ("step=model", "scheduler=ExponentialLR", "scheduler.gamma=1e308", "tracking=off")
    result = run(*words, f"updater={updater}", iters=9)
    assert (result.outcome, result.reason) == ("diverged", "a value was not finite in epoch 2")
    assert result.trajectory.length == 1
