"""Options are what Hydra makes of their settings; what it would not make is refused."""

from __future__ import annotations

import copy
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from helpers import CHECKOUT
from hydra.utils import instantiate

from gdexp import manual
from gdexp.config.compose import Composer, session
from gdexp.config.job import Job
from gdexp.descent import instantiation
from gdexp.descent.build import build
from gdexp.errors import ConfigError

PLAIN = (int, float, str, list, dict, type(None))
FILES = [
    path
    for family in ("gradient", "loss", "updater", "scheduler")
    for path in sorted((CHECKOUT / "conf" / family).glob("*.yaml"))
    if path.stem != "none"
]


def made(node: dict[str, Any], **sizes: int) -> Any:
    return instantiation.option(Job({"updater": node, "seed": 0}, {}), "updater", **sizes)


def told(option: Any) -> dict[str, Any]:
    """What an option was told, as far as it is plain."""
    settings = option.keywords if isinstance(option, partial) else vars(option)
    return {key: value for key, value in settings.items() if isinstance(value, PLAIN)}


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_an_option_is_what_hydra_makes_of_it(path: Path) -> None:
    node = yaml.safe_load(path.read_text().replace("${lr}", "0.1").replace("${iters}", "9"))
    expected, option = instantiate(node, _convert_="all"), made(node)
    if node.get("_partial_"):
        assert type(option) is partial
        assert (option.func, option.args) == (expected.func, ())
    else:
        assert type(option) is type(expected)
    assert told(option) == told(expected)
    assert option is not made(node)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The nodes that Hydra has been given."""
    seen: list[dict[str, Any]] = []

    def counted(node: dict[str, Any], **settings: Any) -> Any:
        seen.append(copy.deepcopy(node))
        return instantiate(node, **settings)

    monkeypatch.setattr(instantiation, "instantiate", counted)
    instantiation._is_plain.cache_clear()
    return seen


def test_hydra_goes_through_a_node_once_for_all_its_numbers(calls: list[dict[str, Any]]) -> None:
    node = {"_target_": "gdexp.manual.Momentum", "lr": 0.1, "momentum": 0.5}
    assert [made(node | {"lr": lr}).lr for lr in (0.1, 0.2, 0.3)] == [0.1, 0.2, 0.3]
    assert calls == [{"_target_": "gdexp.manual.Momentum", "_partial_": True}]


@pytest.mark.parametrize("name", ["_target_whitelist_", "_execution_whitelist_"])
def test_hydra_is_given_the_targets_that_it_may_call(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[dict[str, Any]] = []

    def recorded(node: dict[str, Any], **settings: Any) -> Any:
        given.append(settings)
        return instantiate(node, _convert_=settings.pop("_convert_"))

    monkeypatch.setattr(instantiation, "instantiate", recorded)
    monkeypatch.setattr(instantiation, "_WHITELISTS", {name})
    made({"_target_": HOLDER, "held": [{"_target_": "gdexp.manual.Loss"}]})
    assert given == [{name: [HOLDER, "gdexp.manual.Loss"]}]


class Holder:
    """Keeps what it is given."""

    def __init__(self, held: Any = None, features: int = 0) -> None:
        self.held, self.features = held, features


def holder(**settings: Any) -> Holder:
    """A function that makes one."""
    return Holder(**settings)


HOLDER = f"{__name__}.Holder"


@pytest.mark.parametrize(
    "node",
    [
        {"_target_": HOLDER, "held": {"_target_": HOLDER, "held": [1, 2]}},
        {"_target_": HOLDER, "held": [{"_target_": HOLDER, "held": 1}]},
        {"_target_": HOLDER, "_args_": [3]},
        {"_target_": f"{__name__}.holder", "held": 3},
    ],
)
def test_what_is_more_than_a_class_and_its_keys_is_made_by_hydra(
    node: dict[str, Any], calls: list[dict[str, Any]]
) -> None:
    first, second = made(node), made(node)
    assert calls == [node, node]
    assert isinstance(first, Holder)
    if isinstance(first.held, Holder):
        assert first.held.held == [1, 2]
        assert first.held is not second.held


def test_a_node_that_is_not_recursive_holds_settings(calls: list[dict[str, Any]]) -> None:
    inner = {"_target_": HOLDER}
    assert made({"_target_": HOLDER, "held": inner, "_recursive_": False}).held == inner
    assert len(calls) == 1


def test_a_size_is_passed_where_it_is_taken_and_not_typed() -> None:
    assert made({"_target_": HOLDER}, features=3, outputs=2).features == 3
    assert made({"_target_": HOLDER, "features": 5}, features=3).features == 5


def test_a_list_is_the_objects_own() -> None:
    node = {"_target_": HOLDER, "held": [1, {"a": [2]}]}
    first = made(node)
    first.held[1]["a"].append(3)
    assert made(node).held == node["held"] == [1, {"a": [2]}]


def test_a_class_of_a_module_that_was_reloaded_is_the_new_one(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(workdir))
    for version in (1, 22):
        Path("reloaded_options.py").write_text(f"class Mine:\n    version = {version}\n")
        monkeypatch.delitem(sys.modules, "reloaded_options", raising=False)
        assert made({"_target_": "reloaded_options.Mine"}).version == version


@pytest.mark.parametrize("target", ["subprocess.Popen", "os.system", "builtins.eval"])
def test_what_hydra_would_not_make_is_refused(target: str) -> None:
    for _ in range(2):
        with pytest.raises(ConfigError, match=rf"^updater: .*{target.split('.')[1]}"):
            made({"_target_": target, "args": "true"})


class Chained:
    """Fails with an error that has a cause."""

    def __init__(self, lr: float) -> None:
        raise ValueError(f"{lr} is too much") from KeyError("the cause")


def test_the_sentence_is_the_constructors_own() -> None:
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"^updater: 0\.5 is too much$"):
            made({"_target_": f"{__name__}.Chained", "lr": 0.5})
    with pytest.raises(ConfigError, match=r"^updater: .*unexpected keyword argument 'rate'$"):
        made({"_target_": "gdexp.manual.Updater", "rate": 1})


def job(*typed: str) -> Job:
    with session():
        return Job.of(Composer(None).compose(list(typed)), typed)


@pytest.mark.parametrize("step", ["manual", "optimizer", "model"])
def test_jobs_share_their_data_and_nothing_that_holds_a_state(step: str) -> None:
    one = job(f"step={step}", "data=diabetes", "data.standardize=true", "lr=0.01")
    first, second = build(one), build(one)
    assert (first.x is second.x, first.y is second.y) == (True, True)
    assert first.data is second.data
    for family in ("predictor", "updater"):
        assert getattr(first, family) is not getattr(second, family)
    x = first.x[:3]
    start = first.predict(x).copy()
    for _ in first.iterations(5):
        pass
    assert np.array_equal(second.predict(x), start)
    assert not np.array_equal(first.predict(x), start)


def test_tensors_are_made_once_for_each_precision_and_arrays_are_read_only() -> None:
    by_hand = build(job("step=manual", "data=diabetes", "dtype=float32"))
    assert isinstance(by_hand.predictor, manual.Predictor)
    with pytest.raises(ValueError, match="read-only"):
        by_hand.x += 1
    assert by_hand.data.fitted.x.flags.writeable  # theirs is a view
    tensors = {
        name: build(job("step=autograd", "data=diabetes", f"dtype={name}")).x
        for name in ("float32", "float64")
    }
    assert {name: x.dtype for name, x in tensors.items()} == {
        "float32": torch.float32,
        "float64": torch.float64,
    }
