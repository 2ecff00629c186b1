"""Runs computed together are recorded as they would be alone, and Hydra sees what it expects."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import client
from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, JobStatus
from hydra.test_utils.launcher_common_tests import IntegrationTestSuite, LauncherTestSuite
from record_helpers import assert_alike, recorded
from sweep_helpers import gd, members

from gdexp import run
from gdexp.config import compose

SWEEPS = {
    "steps, diverging ones too, iters as prefixes": (
        *("step=manual,autograd,optimizer,model", "lr=0.01,0.05,10", "iters=3,7,300"),
    ),
    "print_every and predict_at": (
        *("step=manual,model", "print_every=1,7,null", "predict_at=-1,5,2.5", "iters=21"),
    ),
    "torch's own start": (
        *("step=manual,autograd,model", "predictor.init=torch", "predictor.bias=true"),
        *("seed=0,1,7", "iters=5", "lr=0.01"),
    ),
    "groups that cross": (
        *("updater=manual,SGD", "gradient=manual,autograd", "loss=manual,MSELoss", "lr=1e-2,1e-3"),
    ),
    "numbers of SGD": (
        *("step=model", "updater.momentum=0,0.9", "updater.weight_decay=0,0.1", "lr=0.01"),
        *("updater.lr=0.02,0.03", "updater.maximize=true,false"),
    ),
    "thinned curves in double precision": (
        *("dtype=float64", "tracking.max_points=10", "iters=50,51", "step=manual,autograd"),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("few", [2])
@pytest.mark.parametrize("typed", SWEEPS.values(), ids=SWEEPS)
def test_a_member_is_recorded_as_it_would_be_alone(
    store: Path, typed: tuple[str, ...], few: int
) -> None:
    ended = gd("-m", *typed)
    assert (ended.code, ended.out) == (0, ""), ended.err
    assert "one after another" not in ended.err
    opened = client(store)
    found = members(opened)
    assert len(found) == math.prod(word.count(",") + 1 for word in typed)
    for member in found[-1 :: -max(1, len(found) // few)]:
        alone = opened.get_run(str(run(*member.data.tags["gdexp.overrides"].split()).run_id))
        by_hand = {member.data.params[key] for key in ("gradient", "loss", "updater")}
        exactly = by_hand <= {"manual", "manual_sum"}
        assert_alike(recorded(opened, member), recorded(opened, alone), exactly=exactly)


def test_a_run_that_grows_beyond_a_float_is_recorded_alike(store: Path) -> None:
    assert gd("-m", "lr=0.02,10,1e30", "step=manual,model", "iters=60").code == 0
    opened = client(store)
    outcomes = [r.data.tags["gdexp.outcome"] for r in members(opened)]
    assert outcomes == ["completed"] * 2 + ["diverged"] * 4
    for member in members(opened)[3:5]:
        alone = opened.get_run(str(run(*member.data.tags["gdexp.overrides"].split()).run_id))
        exactly = member.data.params["step"] == "manual"
        assert_alike(recorded(opened, member), recorded(opened, alone), exactly=exactly)


@pytest.mark.slow
def test_the_basic_launcher_records_the_same(store: Path) -> None:
    typed = ("step=manual,model", "lr=0.05", "iters=5,9")
    opened = client(store)
    assert gd("-m", *typed, "hydra.sweep.dir=outputs/a").code == 0
    assert gd("-m", *typed, "hydra.sweep.dir=outputs/b", "hydra/launcher=basic").code == 0
    ours, theirs = members(opened, "a"), members(opened, "b")
    assert len(ours) == len(theirs) == 4
    for one, other in zip(ours, theirs, strict=True):
        assert one.data.tags["gdexp.job"] == other.data.tags["gdexp.job"]
        exactly = one.data.params["step"] == "manual"
        assert_alike(recorded(opened, one), recorded(opened, other), exactly=exactly)


def test_an_optimizer_that_is_not_elementwise_runs_one_by_one_and_stderr_says_why(
    store: Path,
) -> None:
    ended = gd("-m", "step=optimizer", "updater=SGD,Rprop", "lr=0.01,0.02", "iters=5")
    assert ended.code == 0, ended.err
    assert "2 of 4 runs one after another: updater=Rprop cannot be vectorized\n" in ended.err
    together = [r.data.tags.get("gdexp.together") for r in members(client(store))]
    assert together == ["2", "2", None, None]


def test_a_loss_of_ones_own_is_computed_together(
    store: Path, mine: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "my_loss", raising=False)  # of another test
    text = (store / "my_loss.py").read_text()
    (store / "my_loss.py").write_text(text.replace("self.calls += 1", "pass"))  # keeps nothing
    ended = gd("-m", *mine[:-1], "loss=mine,manual", "lr=0.01,0.02", "iters=5")
    assert ended.code == 0, ended.err
    assert "one after another" not in ended.err
    found = members(client(store))
    assert [r.data.tags.get("gdexp.together") for r in found] == ["2"] * 4
    assert [r.data.params["loss"] for r in found] == ["mine", "mine", "manual", "manual"]
    for one, other in zip(found[:2], found[2:], strict=True):
        measured = [  # what does not depend on what the loss declares that it measures
            {k: v for k, v in run.data.metrics.items() if not k.startswith(("check/", "forecast/"))}
            for run in (one, other)
        ]
        assert measured[0] == pytest.approx(measured[1], rel=1e-6)


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs that become invalid after the check, as if a file or a class changed meanwhile."""
    monkeypatch.setattr("gdexp.preflight.jobs.check_run", lambda job: None)


def test_what_torch_refuses_fails_in_a_sweep_too(store: Path, unchecked: None) -> None:
    typed = ["step=model", "updater.nesterov=true,false", "updater.dampening=0,0.5"]
    ended = gd("-m", *typed, "updater.momentum=0.9", "iters=5")
    assert ended.code == 1
    assert "1 of 4 runs one after another: updater.nesterov=true needs momentum > 0" in ended.err
    assert "updater.nesterov: true needs momentum > 0 and dampening = 0" in ended.err
    assert [int(r.data.tags["gdexp.job"]) for r in members(client(store))] == [0, 2, 3]


def test_data_that_are_refused_fail_their_own_runs_alone(store: Path, unchecked: None) -> None:
    ended = gd("-m", "data.y=[2,4,6,8],[2,4,nan,8]", "lr=0.01,0.02", "iters=3")
    assert ended.code == 1
    assert ended.err.count("data.y=[2,4,nan,8] lr=0.02 iters=3: failed, data.y: nan is not a") == 1
    assert "2 of 4 runs failed:\n" in ended.err
    assert ": 2 of 4 runs recorded: 2 completed. Best: " in ended.err


@pytest.fixture
def returned(monkeypatch: pytest.MonkeyPatch) -> list[JobReturn]:
    """What our launcher returns to the sweeper."""
    from hydra_plugins.gdexp_sweeps import VectorizedLauncher

    kept: list[JobReturn] = []
    launch_jobs = VectorizedLauncher.launch_jobs

    def spy(self: Any, jobs: Any, tally: Any) -> Any:
        kept.extend(launch_jobs(self, jobs, tally))
        return kept

    monkeypatch.setattr(VectorizedLauncher, "launch_jobs", spy)
    return kept


@pytest.mark.slow
@pytest.mark.parametrize("sweeper", ["basic", "grid"])
def test_hydra_gets_the_return_of_every_job(
    store: Path, returned: list[JobReturn], sweeper: str
) -> None:
    words = f"hydra/sweeper={sweeper}", "hydra.sweep.dir=outputs/here"
    assert gd("-m", *words, "step=manual,model", "lr=0.01,0.02", "iters=4").code == 0
    assert [r.overrides for r in returned] == [
        [f"step={step}", f"lr={lr}", "iters=4"]
        for step in ("manual", "model")
        for lr in (0.01, 0.02)
    ]
    found = members(client(store), "here")
    for number, (one, member) in enumerate(zip(returned, found, strict=True)):
        assert one.status is JobStatus.COMPLETED
        assert one.cfg is not None
        assert one.hydra_cfg is not None
        assert "hydra" not in one.cfg
        assert (one.cfg.iters, f"{one.cfg.lr}") == (4, member.data.params["lr"])
        assert one.hydra_cfg.hydra.runtime.choices.step == member.data.params["step"]
        assert list(one.hydra_cfg.hydra.overrides.task) == one.overrides
        assert one.hydra_cfg.hydra.sweep.dir == "outputs/here"
        assert one.return_value == member.data.metrics["final/loss"]
        assert one.hydra_cfg.hydra.job.num == int(member.data.tags["gdexp.job"]) == number
    assert (store / "outputs" / "here" / "multirun.yaml").exists()
    assert not (store / "outputs" / "sweeps").exists()


def test_a_callback_of_ones_own_sees_every_job(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (store / "my_watch.py").write_text(
        "from hydra.experimental.callback import Callback\n"
        "SEEN = []\n"
        "class Watch(Callback):\n"
        "    def on_job_end(self, config, job_return, **kwargs):\n"
        "        SEEN.append((config.lr, job_return.status.name))\n"
    )
    monkeypatch.syspath_prepend(store)
    ended = gd("-m", "+hydra.callbacks.mine._target_=my_watch.Watch", "lr=0.01,0.02,0.03")
    assert ended.code == 0, ended.err
    assert "3 of 3 runs one after another: the callback mine is called for each job" in ended.err
    import my_watch  # type: ignore[import-not-found]

    seen: list[tuple[float, str]] = my_watch.SEEN
    assert seen == [(lr, "COMPLETED") for lr in (0.01, 0.02, 0.03)]


TARGET = "hydra_plugins.gdexp_sweeps.VectorizedLauncher"


@pytest.fixture
def registered(hydra_restore_singletons: None) -> Iterator[None]:
    """Our launcher, known to an application that is not ours."""
    node, store = {"_target_": TARGET}, ConfigStore.instance()
    store.store("vectorized", node, group="hydra/launcher", provider="gdexp")
    yield
    del store.repo["hydra"]["launcher"]["vectorized.yaml"]  # the store itself is never copied


@pytest.mark.slow
@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize(("launcher_name", "overrides"), [("vectorized", ["hydra.job.chdir=true"])])
class TestHydrasOwn(LauncherTestSuite):
    """Hydra's tests of a launcher: a function that is not ours runs the basic way."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task_launcher_cfg", "extra_flags"),
    [({}, ["-m", f"hydra.launcher._target_={TARGET}"])],
)
class TestHydrasIntegration(IntegrationTestSuite):
    """The same in processes of their own."""

    @pytest.fixture(autouse=True)
    def _find_our_plugins(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PYTHONPATH", compose.PLUGINS)
