"""The settings of torch's classes: all are declared, and torch accepts what gdexp accepts."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import yaml
from helpers import CONF
from hydra.utils import get_object

from gdexp import run
from gdexp.config import schema
from gdexp.errors import ConfigError
from gdexp.pytorch.settings import OWN, annotation, contradiction, with_floats

OPTIONS = sorted(
    (group, path.stem)
    for group in ("updater", "scheduler", "loss")
    for path in (CONF / group).glob("[A-Z]*.yaml")
)
NUMBERS = [-1, -0.5, 0, 0.3, 0.5, 1, 1.5, 2, 3, 100]
ITERS = 20


def node_of(group: str, name: str) -> tuple[str, dict[str, Any]]:
    """The class of an option and its settings, with lr = 0.01 and iters = 20."""
    text = (CONF / group / f"{name}.yaml").read_text()
    node = yaml.safe_load(text.replace("${lr}", "0.01").replace("${iters}", str(ITERS)))
    node = {
        k: float(v) if str(v)[:1].isdigit() and isinstance(v, str) else v for k, v in node.items()
    }
    if name == "Rprop":
        node["step_sizes"] = [1e-6, 50]
    return node.pop("_target_"), {k: v for k, v in node.items() if k != "_partial_"}


def accepts(target: str, name: str, value: Any) -> bool:
    try:
        schema.check(name, value, annotation(target, name))
    except ConfigError:
        return False
    return True


def works(group: str, target: str, settings: dict[str, Any]) -> bool:
    """Whether torch accepts the settings in the constructor and in all of a run's steps."""
    made = get_object(target)
    parameter = torch.zeros(1, 1, requires_grad=True)
    parameter.grad = torch.ones(1, 1)
    try:
        if group == "loss":
            made(**settings)
        elif group == "scheduler":
            optimizer = torch.optim.SGD([parameter], lr=0.01, momentum=0.5)
            schedule = made(optimizer, **settings)
            for _ in range(ITERS):
                optimizer.step()
                schedule.step(*[1.0] if "Plateau" in target else [])
            return -1e-15 < optimizer.param_groups[0]["lr"] < math.inf
        else:
            optimizer = made([parameter], **settings)
            if "Sparse" in target:
                parameter.grad = parameter.grad.to_sparse()
            optimizer.step(*[lambda: torch.ones(())] if "LBFGS" in target else [])
    except (ArithmeticError, IndexError, RuntimeError, TypeError, ValueError):
        return False
    return bool(torch.isfinite(parameter).all())


def probes(value: Any) -> Iterator[Any]:
    """Other values of a setting: numbers for a number, one by one in a list."""
    if isinstance(value, list):
        for place in range(len(value)):
            yield from ([*value[:place], v, *value[place + 1 :]] for v in NUMBERS)
    elif not isinstance(value, bool | str):
        yield from NUMBERS


@pytest.mark.parametrize(("group", "name"), OPTIONS, ids=[name for _, name in OPTIONS])
def test_torch_accepts_what_gdexp_accepts(group: str, name: str) -> None:
    target, node = node_of(group, name)
    node.pop("scale_fn", None)  # a function, from Python only
    assert works(group, target, node) or name == "OneCycleLR"
    tried = 0
    for key, default in node.items():
        if key == "reduction":
            continue
        assert annotation(target, key) is not None, key
        assert accepts(target, key, default), key
        if annotation(target, key) == bool | None or key == "ns_coefficients":
            continue
        for value in probes(default):
            settings = {**node, key: value}
            if not accepts(target, key, value) or contradiction(target, settings, ITERS):
                continue
            tried += 1
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                assert works(group, target, with_floats(target, settings)), (key, value)
    assert tried or name in ("L1Loss", "MSELoss", "BCEWithLogitsLoss")


def test_every_declared_setting_is_one_of_its_class() -> None:
    nodes = dict(node_of(*option) for option in OPTIONS)
    for target, settings in OWN.items():
        assert settings.keys() <= nodes[target].keys(), target


@pytest.mark.parametrize(
    ("typed", "sentence"),
    {
        "scheduler=MultiStepLR scheduler.milestones=[1.5,3]": "scheduler.milestones: [1.5,3] is "
        "not a list of whole numbers >= 0, strictly increasing. "
        "Type for example scheduler.milestones=[10,15].",
        "scheduler=MultiStepLR scheduler.milestones=[3,3]": "scheduler.milestones: [3,3] is not",
        "scheduler=MultiStepLR scheduler.milestones=[5,2]": "scheduler.milestones: [5,2] is not",
        "scheduler=MultiStepLR scheduler.milestones=[-1]": "scheduler.milestones: [-1] is not",
        "scheduler=MultiStepLR scheduler.milestones=3": "scheduler.milestones: 3 is not a list",
        "scheduler=StepLR scheduler.step_size=0": "scheduler.step_size: 0 is not a whole number "
        ">= 1. Type for example scheduler.step_size=10.",
        "scheduler=StepLR scheduler.step_size=1.5": "scheduler.step_size: 1.5 is not a whole",
        "scheduler=StepLR scheduler.step_size=2.0": "scheduler.step_size: 2.0 is not a whole "
        "number >= 1. Did you mean scheduler.step_size=2?",
        "scheduler=StepLR scheduler.last_epoch=3": "scheduler.last_epoch: 3 is not -1. "
        "Type for example scheduler.last_epoch=-1.",
        "scheduler=ConstantLR scheduler.total_iters=0": "scheduler.total_iters: 0 is not a whole",
        "scheduler=LinearLR scheduler.start_factor=0": "scheduler.start_factor: 0 is not a finite "
        "number above 0 and up to 1.",
        "scheduler=ExponentialLR scheduler.gamma=-0.5": "scheduler.gamma: -0.5 is not a finite "
        "number >= 0.",
        "scheduler=ReduceLROnPlateau scheduler.mode=least": "scheduler.mode: 'least' is not one "
        "of min, max. Type for example scheduler.mode=min.",
        "scheduler=OneCycleLR": "scheduler.cycle_momentum: the updater has no momentum to cycle. "
        "Type scheduler.cycle_momentum=false.",
        "scheduler=OneCycleLR scheduler.total_steps=3 iters=5": "scheduler.total_steps: a cycle of "
        "3 epochs is shorter than iters=5. Type for example scheduler.total_steps=5.",
        "scheduler=OneCycleLR scheduler.total_steps=null": "scheduler.total_steps: null needs "
        "scheduler.epochs and scheduler.steps_per_epoch. Type for example scheduler.total_steps=20",
        "scheduler=OneCycleLR scheduler.pct_start=0.05": "scheduler.pct_start: lr cannot rise in "
        "0.05 of 20 epochs, a single one. Type for example scheduler.pct_start=0 or a larger one.",
        "scheduler=OneCycleLR scheduler.pct_start=0.6 scheduler.three_phase=true": "scheduler."
        "pct_start: with three_phase=true lr falls as long as it rises, so at most 0.5, not 0.6.",
        "scheduler=CyclicLR lr=0.0005": "scheduler.base_lr: the lower bound 0.001 is above "
        "scheduler.max_lr=0.0005. Type for example scheduler.base_lr=5e-05.",
        "scheduler=CyclicLR scheduler.base_momentum=0.95": "scheduler.base_momentum: the lower "
        "bound 0.95 is above scheduler.max_momentum=0.9.",
        "updater=Adam updater.betas=[0.9]": "updater.betas: [0.9] is not a list of 2 finite "
        "numbers from 0 to below 1. Type for example updater.betas=[0.9,0.999].",
        "updater=Adam updater.betas=[0.9,1]": "updater.betas: [0.9,1] is not a list of 2",
        "updater=Rprop updater.etas=[1.2,0.5]": "updater.etas: [1.2,0.5] is not [a finite number "
        "above 0 and below 1, a finite number > 1]. Type for example updater.etas=[0.5,1.2].",
        "updater=Rprop updater.step_sizes=[2,1]": "updater.step_sizes: [2,1] is not a list of 2 "
        "finite numbers > 0, increasing.",
        "updater=LBFGS updater.max_iter=0": "updater.max_iter: 0 is not a whole number >= 1.",
        "updater=LBFGS updater.history_size=2.5": "updater.history_size: 2.5 is not a whole",
        "updater=LBFGS updater.line_search_fn=armijo": "updater.line_search_fn: 'armijo' is not "
        "null or strong_wolfe.",
        "updater=Adafactor updater.eps=[null,-1]": "updater.eps: [null,-1] is not [null or a "
        "finite number >= 0, a finite number >= 0]. Type for example updater.eps=[null,0.001].",
        "updater=Adafactor updater.beta2_decay=1": "updater.beta2_decay: 1 is not a finite number "
        "<= 0. Type for example updater.beta2_decay=-0.8.",
        "updater=SGD updater.nesterov=true": "updater.nesterov: true needs momentum > 0 and "
        "dampening = 0. Type for example updater.momentum=0.9.",
        "updater=SGD updater.foreach=maybe": "updater.foreach: 'maybe' is not null or true or",
        "loss=CrossEntropyLoss loss.label_smoothing=1.5": "loss.label_smoothing: 1.5 is not a "
        "finite number from 0 to 1.",
        "loss=HuberLoss loss.delta=0": "loss.delta: 0 is not a finite number > 0.",
    }.items(),
)
def test_a_setting_without_a_meaning_is_refused(typed: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as refused:
        run("step=autograd", "tracking=off", *typed.split())
    assert str(refused.value).startswith(sentence)


def test_whole_numbers_are_taken_where_torch_insists_on_floats() -> None:
    adam = run("step=optimizer", "updater=Adam", "updater.betas=[0,0.5]", "tracking=off")
    same = run("step=optimizer", "updater=Adam", "updater.betas=[0.0,0.5]", "tracking=off")
    assert adam.parameters == same.parameters
    cycle = ("step=optimizer", "scheduler=OneCycleLR", "tracking=off")
    assert run(*cycle, "scheduler.pct_start=0").outcome == "completed"


def test_a_users_own_option_of_a_torch_class_need_not_list_its_settings() -> None:
    node = {"lr": 0.1, "nesterov": True, "momentum": 0.9}
    assert contradiction("torch.optim.SGD", node, 5) is None
    node = {"max_lr": 0.1}
    schedulers = "torch.optim.lr_scheduler."
    assert contradiction(f"{schedulers}CyclicLR", node | {"base_lr": 0.01}, 5) is None
    wrong = contradiction(f"{schedulers}OneCycleLR", node, 5)
    assert wrong is not None
    assert wrong[0] == "total_steps"
    assert contradiction(f"{schedulers}OneCycleLR", node | {"total_steps": 5}, 5) is None
