"""Damaged and hostile files: a sentence, and nothing runs, is imported or written meanwhile."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
import torch
from hostile_helpers import composed, fitted_of, outcome
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from gdexp import run
from gdexp.config.job import Job
from gdexp.descent.archive import pack, unpack
from gdexp.descent.fitted import Fitted
from gdexp.descent.fitted_files import read_config, read_fitted, read_last_epoch
from gdexp.experiment import prepare
from gdexp.experiment import run as computed
from gdexp.tracking.curves import parquet, read_parquet

Explore: TypeAlias = Callable[[st.SearchStrategy[Any], Callable[[Any], None]], None]

PREDICTORS = {
    "manual": fitted_of("step=manual", "predictor.bias=true").packed(),
    "mlp": fitted_of("step=model", "predictor=mlp", "predictor.sizes=[3]").packed(),
}
EVIL = [
    {"_target_": target, "_args_": ["touch ran"]}
    for target in ("os.system", "stranger.Net", "pandas.read_pickle", "gdexp.manual.np.load")
]
values = st.one_of(
    st.sampled_from([None, True, 0, -1, 10**400, 2**31, 1e308, float("nan"), float("-inf")]),
    st.sampled_from(["", "x", "${oc.env:HOME}", "???", "torch", "\x1b[31m\n", "a" * 5000]),
    st.sampled_from([[], {}, (), [[]], {"_target_": 3}, {"": ""}, {"_target_": "torch.nn.ReLU"}]),
    st.sampled_from(EVIL),
    st.sampled_from(
        [np.zeros(0), np.ones((2, 2), np.float32), np.array("x"), np.array(1j), np.bool_(True)]
    ),
    st.sampled_from([torch.ones(3), torch.zeros(2, 2, dtype=torch.int64), torch.ones(())]),
    st.integers(),
    st.floats(),
    st.text(max_size=9),
)


def places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every node."""
    yield path
    if isinstance(node, dict | list | tuple):
        for key, inner in node.items() if isinstance(node, dict) else enumerate(node):
            yield from places(inner, (*path, key))


def replaced(node: Any, path: tuple[Any, ...], change: Callable[[Any], Any]) -> Any:
    """The tree with one node changed; ... removes it."""
    if not path:
        return change(node)
    inner = replaced(node[path[0]], path[1:], change)
    if isinstance(node, dict):
        rest = {key: value for key, value in node.items() if key != path[0]}
        return rest if inner is ... else rest | {path[0]: inner}
    items = [inner if i == path[0] else item for i, item in enumerate(node)]
    return type(node)(item for item in items if item is not ...)


@st.composite
def changes(draw: st.DrawFn) -> Callable[[Any], Any]:
    """Replace, remove or wrap one or two nodes of a tree."""
    steps = draw(
        st.lists(
            st.tuples(st.floats(0, 1, exclude_max=True), st.sampled_from("rrrdwk"), values),
            min_size=1,
            max_size=2,
        )
    )

    def change(tree: Any) -> Any:
        tree = copy.deepcopy(tree)
        for where, kind, value in steps:
            paths = list(places(tree))
            path = paths[int(where * len(paths))]
            effects: dict[str, Callable[[Any], Any]] = {
                "r": lambda old, new=value: new,
                "d": lambda old: ...,
                "w": lambda old: [old],
                "k": lambda old, new=value: (
                    {**old, "_target_": new} if isinstance(old, dict) else new
                ),
            }
            tree = replaced(tree, path, effects[kind]) if path or kind != "d" else {}
        return tree

    return change


@st.composite
def mutations(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """Cut, flip, replace, insert or repeat bytes; where is a share of the length."""
    kind = draw(st.sampled_from(["cut", "flip", "replace", "insert", "repeat"]))
    where, other = draw(st.floats(0, 1, exclude_max=True)), draw(st.binary(min_size=1, max_size=9))

    def mutate(content: bytes) -> bytes:
        i = int(where * len(content))
        before, after = content[:i], content[i:]
        return {
            "cut": before,
            "flip": before + bytes([after[0] ^ other[0]]) + after[1:],
            "replace": before + other + after[len(other) :],
            "insert": before + other + after,
            "repeat": before + after + after,
        }[kind]

    return mutate


@pytest.fixture(params=[8, pytest.param(80, marks=pytest.mark.slow)])
def explore(request: pytest.FixtureRequest) -> Explore:
    """Try a function on a few drawn values; the slow tests try many."""
    many = settings(
        max_examples=request.param,
        phases=(Phase.explicit, Phase.generate),  # to shrink a case takes minutes
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )

    def tried(values: st.SearchStrategy[Any], attempt: Callable[[Any], None]) -> None:
        many(given(values)(attempt))()

    return tried


X = np.array([[1.0, -2.0]])


@pytest.fixture(autouse=True)
def stranger(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that may not be imported."""
    Path("stranger.py").write_text("class Net:\n    def __init__(self, *args): ...\n")
    monkeypatch.syspath_prepend(str(workdir))


@pytest.mark.parametrize("kind", PREDICTORS)
def test_a_predictor_of_other_parts(kind: str, explore: Explore) -> None:
    whole = unpack(PREDICTORS[kind])

    def attempt(change: Callable[[Any], Any]) -> None:
        content = pack(change(whole))
        result = outcome(lambda: read_fitted(content)(X))
        assert isinstance(result, str) or result.shape[0] == 1

    explore(changes(), attempt)


@pytest.mark.parametrize("kind", PREDICTORS)
def test_a_predictor_of_other_bytes(kind: str, explore: Explore) -> None:
    def attempt(mutate: Callable[[bytes], bytes]) -> None:
        outcome(lambda: read_fitted(mutate(PREDICTORS[kind]))(X))

    explore(mutations(), attempt)


CHECKPOINTS = {
    "manual": ("step=manual", "gradient=manual", "updater=manual_adam", "predictor.bias=true"),
    "adam": ("step=model", "updater=Adam", "data.y=[0,1,0,1]", "scheduler=StepLR"),
    "best": ("step=model", "predictor=mlp", "predictor.sizes=[2]", "data.validation=0.25"),
}


def checkpoint(*typed: str) -> bytes:
    run(*typed, "tracking=off", "iters=3", "checkpoint.every=3")
    (path,) = Path("outputs/checkpoints").glob("*/*.npz")
    return path.read_bytes()


def go_on(job: Job, content: bytes) -> None:
    """Continue a checkpoint; if it is not refused, the run comes to an end."""
    Path("odd.npz").write_bytes(content)
    ready = outcome(lambda: prepare(job))
    if not isinstance(ready, str):
        assert computed(ready).trajectory.length > 0


@pytest.mark.parametrize("kind", CHECKPOINTS)
def test_a_checkpoint_of_other_parts(kind: str, explore: Explore) -> None:
    extra = ("stop.patience=9",) if kind == "best" else ()
    whole = unpack(checkpoint(*CHECKPOINTS[kind], *extra))
    job = composed("tracking=off", "iters=5", "continue_from=odd.npz")
    explore(changes(), lambda change: go_on(job, pack(change(whole))))


def test_a_checkpoint_of_other_bytes(explore: Explore) -> None:
    whole = checkpoint(*CHECKPOINTS["adam"])
    job = composed("tracking=off", "iters=5", "continue_from=odd.npz")
    explore(mutations(), lambda mutate: go_on(job, mutate(whole)))


def test_a_trajectory_of_other_bytes(explore: Explore) -> None:
    whole = parquet(run("iters=20", "tracking=off").trajectory)

    def attempt(mutate: Callable[[bytes], bytes]) -> None:
        outcome(lambda: read_parquet(mutate(whole), 20))
        outcome(lambda: read_last_epoch(mutate(whole), 20))

    explore(mutations(), attempt)


def test_a_configuration_of_other_parts(explore: Explore) -> None:
    import yaml

    whole = composed("step=manual").settings

    def attempt(change: Callable[[Any], Any]) -> None:
        try:
            content = yaml.safe_dump(change(whole)).encode()
        except yaml.YAMLError:
            return  # arrays
        result = outcome(lambda: Fitted.rebuilt(read_config(content), {"w": 1.0}))
        assert isinstance(result, str | Fitted)

    explore(changes(), attempt)
