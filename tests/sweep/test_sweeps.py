"""Multiruns: visible together, whole, and checked before the first run starts."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from helpers import CLI, client, curve, process, runs
from mlflow import MlflowClient

from gdexp import run


def sweep_runs(opened: MlflowClient) -> list:
    """The members of all sweeps, without the sweeps' summaries."""
    members = [r for r in runs(opened) if "gdexp.sweep_id" in r.data.tags]
    return [r for r in members if r.data.tags["gdexp.kind"] == "run"]


@pytest.mark.slow
def test_a_sweep_over_steps_lr_and_iters_gives_every_run_once(store: Path) -> None:
    ended = process(
        "-m",
        "step=manual,autograd,optimizer,model",
        "lr=0.001,0.01,0.05",
        "iters=10,100",
        cwd=store,
    )
    assert (ended.code, ended.out) == (0, ""), ended.err
    opened = client(store)
    found = sweep_runs(opened)
    assert len(found) == 24
    assert len({r.data.tags["gdexp.sweep_id"] for r in found}) == 1
    assert {int(r.data.tags["gdexp.job"]) for r in found} == set(range(24))
    assert {r.info.status for r in found} == {"FINISHED"}
    assert "mlflow.parentRunId" not in found[0].data.tags  # the UI hides children
    diverged = {
        (r.data.params["step"], r.data.params["lr"], r.data.params["iters"])
        for r in found
        if r.data.tags["gdexp.outcome"] == "diverged"
    }
    assert diverged == {("manual", "0.05", "10"), ("manual", "0.05", "100")}
    for r in found:
        values = [v for name in r.data.metrics for v in curve(opened, r.info.run_id, name).values()]
        assert all(math.isfinite(v) and abs(v) < 1e300 for v in values)
    assert ended.err.count("note: gradient=manual_sum is 4.000 times the derivative") == 1
    assert ended.err.endswith("in the browser: python -m gdexp ui\n")
    folders = list((store / "outputs" / "sweeps").iterdir())
    assert [folder.name for folder in folders] == [found[0].data.tags["gdexp.sweep_id"]]


@pytest.mark.slow
def test_a_member_of_a_sweep_is_what_it_would_have_been_alone(store: Path, cli: CLI) -> None:
    assert cli("-m", "step=manual,autograd", "lr=0.02", "iters=30").code == 0
    opened = client(store)
    for member in sweep_runs(opened):
        words = member.data.tags["gdexp.overrides"].split()
        alone = opened.get_run(str(run(*words).run_id))
        assert member.data.params == alone.data.params
        assert member.data.metrics == alone.data.metrics
        assert member.info.run_name == alone.info.run_name
        only = {"gdexp.sweep_id", "gdexp.job", "gdexp.together"}
        assert {k: v for k, v in member.data.tags.items() if k not in only} == alone.data.tags
        for name in alone.data.metrics:
            assert curve(opened, member.info.run_id, name) == curve(opened, alone.info.run_id, name)


@pytest.mark.slow
def test_a_failing_member_is_reported_and_the_others_run(store: Path) -> None:
    (store / "mine" / "loss").mkdir(parents=True)
    (store / "mine" / "loss" / "odd.yaml").write_text("# breaks\n_target_: odd.Loss\nat: 0\n")
    (store / "odd.py").write_text(
        "class Loss:\n"
        "    def __init__(self, at: int) -> None:\n"
        "        self.at, self.calls = at, 0\n"
        "    def __call__(self, y_pred, y):\n"
        "        self.calls += 1\n"
        "        if self.calls == self.at:\n"
        "            raise RuntimeError('no more')\n"
        "        return ((y_pred - y) ** 2).mean()\n"
    )
    ended = process(
        *["-m", "--config-dir", "mine", "step=autograd", "loss=odd", "loss.at=0,5,99", "iters=10"],
        cwd=store,
    )
    assert ended.code == 1
    assert "RuntimeError: no more" in ended.err
    found = sweep_runs(client(store))
    statuses = {r.data.params["loss.at"]: r.info.status for r in found}
    assert statuses == {"0": "FINISHED", "5": "FAILED", "99": "FINISHED"}
    failed = next(r for r in found if r.info.status == "FAILED")
    assert failed.data.tags["gdexp.reason"] == "RuntimeError after epoch 4 of 10: no more"


def test_two_runs_in_one_second_have_folders_of_their_own(workdir: Path, cli: CLI) -> None:
    from gdexp.config.compose import stamp

    stamp.cache_clear()
    assert cli("tracking=off", "iters=1").code == 0
    stamp.cache_clear()
    assert cli("tracking=off", "iters=1").code == 0
    folders = list((workdir / "outputs" / "runs").iterdir())
    assert len(folders) == 2
    assert (folders[0] / ".hydra" / "overrides.yaml").read_text() == "- tracking=off\n- iters=1\n"
