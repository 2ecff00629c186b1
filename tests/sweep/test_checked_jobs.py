"""A sweep is checked job by job: what each job is, not what its values would be alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from helpers import CLI

from gdexp import preflight
from gdexp.config.compose import Composer, session
from gdexp.config.job import Job
from gdexp.errors import ConfigError
from gdexp.preflight import jobs

Check = Callable[..., Job]

SGD = "step=optimizer"
PAIRS = "{updater.momentum:[0.9,0],updater.nesterov:[true,false]}"
NESTEROV = "updater.nesterov: true needs momentum > 0 and dampening = 0."

VALID = [
    ["data.x=[1,2],[2,3]", "data.y=[1,2]"],
    ["data.x=[1],[2]", "data.y=[3]", "step=manual,model"],
    [SGD, "sweep=zip", f"sweep.lists={PAIRS}"],
    [SGD, "sweep=csv", "sweep.path=pairs.csv"],
    ["sweep=zip", "sweep.lists={step:[manual,optimizer],loss:[manual,L1Loss]}"],
    ["sweep=zip", "sweep.lists={data.x:[[1,2],[1,2,3]],data.y:[[2,4],[2,4,6]]}"],
    ["sweep=zip", "sweep.lists={stop.patience:[null,5],data.validation:[0,0.5]}"],
    ["data=csv", "data.path=t.csv", "data.target=a,b", "step=model"],
    ["data=csv", "data.path=t.csv,u.csv", "data.target=b"],
    ["data=synthetic", "data.batch_size=10,20", "data.rows=20", "step=model"],
    ["lr=range(0.1,0.4,0.1)", "updater.lr=${lr}"],
    [SGD, "lr=0.1,0.2", "updater.momentum=${..lr}", "data.name=${hydra.job.name}"],
]

INVALID = {
    ("data.x=[1,2],[2,3,4]", "data.y=[1,2]"): (
        "data.x has 3 numbers and data.y has 2: give each input one target."
    ),
    ("data.y=[2,4,6,8],[2,4,nan,8]", "lr=0.01,0.02"): "data.y: nan is not a finite number.",
    ("data.y=[2,4,6,8],[1,2]",): (
        "data.x has 4 numbers and data.y has 2: give each input one target."
    ),
    (SGD, "updater.momentum=0.9,0", "updater.nesterov=true"): (
        f"run #1 (updater.momentum=0): {NESTEROV}"
    ),
    (SGD, "sweep=zip", "sweep.lists={updater.momentum:[0.9,0],updater.nesterov:[true,true]}"): (
        f"run #1 (updater.momentum=0): {NESTEROV}"
    ),
    ("step=manual,optimizer", "loss=manual", "device=cuda"): (
        "device=cuda: all four choices are by hand, in NumPy, which computes on the CPU. "
        "Type for example step=autograd."
    ),
    ("data=csv", "data.path=t.csv,missing.csv", "data.target=b"): "missing.csv.",
    ("data=csv", "data.path=t.csv", "data.target=b,zz"): (
        "data.target: the file has no column 'zz'. It has: a, b."
    ),
    ("stop.patience=null,5",): "stop.patience: it watches the validation loss, and no rows are "
    "held out for it. Type for example data.validation=0.2.",
    ("step=manual,model", "gradient=manual", "loss=manual,L1Loss"): (
        "gradient=manual: the formula is derived for the mean squared error of a linear "
        "predictor, not for loss=L1Loss. Type gradient=autograd."
    ),
    ("data=synthetic", "data.rows=20", "data.batch_size=10,21", "step=model"): "data.batch_size",
    (SGD, "updater.lr=0.1,-1"): "updater.lr: -1 is not a finite number > 0.",
    ("sweep=csv", "sweep.path=lrs.csv"): "lr: 'x' is not a finite number > 0.",
    ("sweep=zip", "sweep.lists={step:[manual,optimzer]}"): "step=optimzer: there is no such option",
    ("continue_from=null,abc", "tracking=off"): "continue_from: there is no file",
    ("lr=0.1,0.2", "updater.lr=${lrr}"): "updater.lr: ${lrr} refers to no setting of this run.",
    ("iters=5,0",): "iters: 0 is not a whole number from 1 to 100000000.",
}


@pytest.fixture
def check(workdir: Path) -> Iterator[Check]:
    """Check the jobs of a sweep; returns the first."""
    Path("t.csv").write_text("a,b\n1,2\n2,4\n")
    Path("u.csv").write_text("c,b\n1,2\n2,4\n")
    Path("pairs.csv").write_text("updater.momentum,updater.nesterov\n0.9,true\n0,false\n")
    Path("lrs.csv").write_text("lr\n0.1\nx\n")
    with session():
        yield lambda *typed: preflight.check(typed, Composer(), multirun=True)


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """The jobs that the check builds."""
    seen: list[Job] = []
    monkeypatch.setattr(jobs, "check_run", seen.append)
    return seen


@pytest.mark.parametrize("typed", VALID, ids=" ".join)
def test_a_sweep_whose_jobs_are_all_valid_is_accepted(check: Check, typed: list[str]) -> None:
    assert check(*typed).settings["iters"] == 20


@pytest.mark.parametrize("typed", INVALID, ids=" ".join)
def test_a_sweep_with_one_invalid_job_is_refused(check: Check, typed: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError) as refused:
        check(*typed)
    assert INVALID[typed] in str(refused.value)


def test_nothing_is_created_for_a_sweep_that_is_refused(workdir: Path, cli: CLI) -> None:
    ended = cli("-m", "iters=1", "data.y=[2,4,6,8],[1]")
    assert (ended.code, ended.out) == (2, "")
    assert "data.y has 1" in ended.err
    assert not any(workdir.iterdir())


COUNTS = {
    ("sweep=linear", "sweep.key=lr", "sweep.low=0.001", "sweep.high=1", "sweep.num=500"): 1,
    ("iters=range(1,500)", "seed=range(3)", "predict_at=1,2"): 1,
    ("step=manual,autograd,optimizer,model", "lr=0.1,0.2,0.3"): 4,
    (SGD, "updater.momentum=range(0,0.9,0.1)", "lr=0.1,0.2"): 9,
    (SGD, "updater.momentum=0,0.1,0.2", "data.x=[1,2,3,4],[2,3,4,5],[3,4,5,6],[4,5,6,7]"): 6,
    (SGD, "scheduler=OneCycleLR", "scheduler.cycle_momentum=false", "iters=10,20", "lr=1,2"): 2,
    ("data=diabetes", "data.validation=0.2", "seed=1,2,3"): 3,
    ("data=diabetes", "seed=1,2,3"): 1,
}


@pytest.mark.parametrize("typed", COUNTS, ids=" ".join)
def test_what_jobs_have_in_common_is_built_once(
    check: Check, built: list[Job], typed: tuple[str, ...]
) -> None:
    check(*typed)
    assert len(built) == COUNTS[typed]
