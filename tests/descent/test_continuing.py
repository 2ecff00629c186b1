"""``continue_from`` and ``iters`` are enough: the rest of the settings are the run's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import CLI, newest_checkpoints

from gdexp import run
from gdexp.config.compose import Composer, session
from gdexp.config.job import Job
from gdexp.descent.archive import pack, unpack
from gdexp.descent.result import Result
from gdexp.experiment import continued, prepare

OFF = "tracking=off"
ADAM = (
    *("step=model", "updater=Adam", "updater.betas=[0.8,0.99]", "lr=0.05", "predictor.bias=true"),
    *("data=synthetic", "data.rows=30", "data.features=2", "data.batch_size=7", "seed=3"),
)
CYCLE = ("step=optimizer", "scheduler=OneCycleLR", "scheduler.cycle_momentum=false", "lr=0.02")


def begin(*typed: str, iters: int = 4) -> str:
    """Run to epoch ``iters``; the override that continues from there."""
    run(*typed, OFF, f"iters={iters}", f"checkpoint.every={iters}")
    return f"continue_from={newest_checkpoints()}"


def job_of(*typed: str) -> Job:
    with session():
        return Job.of(Composer().compose(typed), typed)


def rates(result: Result) -> list[float]:
    return list(result.trajectory.measured["train/lr"])


def test_the_settings_are_those_of_the_run(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = run(*ADAM, OFF, "iters=9")
    place = begin(*ADAM)
    on = run(OFF, "iters=9", place)
    np.testing.assert_array_equal(on.trajectory.table, whole.trajectory.table, strict=True)
    path = workdir / newest_checkpoints().parent
    assert f"continues {path}" in (err := capsys.readouterr().err)
    assert err.endswith("/00000004.npz at epoch 5\n")
    asked = job_of(OFF, "iters=9", place)
    job = prepare(asked).job
    assert job == continued(asked) == continued(job)
    expected = job_of(*ADAM, OFF, "iters=9", place, "checkpoint.every=4")
    assert job.flat() == expected.flat()
    assert job.config_hash == expected.config_hash


def test_typed_settings_that_are_the_runs_own_are_accepted(workdir: Path) -> None:
    place = begin(*ADAM)
    for typed in (
        ["lr=0.05"],
        ["step=model", "seed=3"],
        ["updater=Adam"],
        [*ADAM, "dtype=float32"],
    ):
        assert prepare(job_of(OFF, "iters=9", place, *typed)).saved is not None


DIFFERENT = {
    "lr=0.1": "lr is 0.05 in the checkpoint and 0.1 here.",
    "updater=SGD": "updater is Adam in the checkpoint and SGD here.",
    "step=optimizer": "step is model in the checkpoint and optimizer here.",
    "data=diabetes": "data is synthetic in the checkpoint and diabetes here.",
    "seed=4 data.batch_size=8": "seed is 3 in the checkpoint and 4 here; "
    "data.batch_size is 7 in the checkpoint and 8 here.",
}


def test_typed_settings_that_differ_are_named(workdir: Path, cli: CLI) -> None:
    place = begin(*ADAM)
    for flag, typed in [("", typed) for typed in DIFFERENT] + [("-m", "lr=0.1")]:
        ended = cli(*flag.split(), OFF, "iters=9", place, *typed.split())
        assert (ended.code, ended.out) == (2, "")
        assert ended.err.startswith("gdexp: continue_from: ")
        assert ended.err.endswith(
            f"/00000004.npz has other settings: {DIFFERENT[typed]} "
            "Leave them out: they are taken from the run.\n"
        )


def test_a_finished_run_must_go_further(workdir: Path, cli: CLI) -> None:
    assert cli(OFF, begin(*ADAM)).err == (
        "gdexp: iters: the checkpoint is already at epoch 4, so iters must be more than that, "
        "not 4. Type for example iters=8.\n"
    )


@pytest.mark.parametrize("typed", [(), CYCLE], ids=["alone", "typed again"])
def test_a_schedule_follows_iters(workdir: Path, typed: tuple[str, ...]) -> None:
    on = run(*typed, OFF, "iters=20", begin(*CYCLE, iters=10))
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.02)
    cycle = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 0.02, total_steps=20, cycle_momentum=False
    )
    expected = []
    for _ in range(20):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        cycle.step()
    assert rates(on)[10:] == expected[10:]


def test_a_schedule_whose_length_was_typed_keeps_it(workdir: Path) -> None:
    typed = ("step=optimizer", "scheduler=CosineAnnealingLR", "scheduler.T_max=4")
    whole = run(*typed, OFF, "iters=9")
    assert rates(run(OFF, "iters=9", begin(*typed))) == rates(whole)


def test_a_checkpoint_of_an_older_version_is_continued_alone(workdir: Path) -> None:
    place = begin(*CYCLE, iters=10)
    path = newest_checkpoints() / "00000010.npz"
    content = unpack(path.read_bytes())
    path.write_bytes(pack({k: v for k, v in content.items() if k not in ("choices", "following")}))
    job = continued(job_of(OFF, "iters=20", place, *CYCLE))
    assert job.settings["scheduler"]["total_steps"] == 20
    job = continued(job_of(OFF, "iters=20", place))
    assert (job.choices["updater"], job.choices["scheduler"]) == ("SGD", "OneCycleLR")
    assert job.settings["updater"]["_target_"] == "torch.optim.SGD"


def test_a_stop_rule_goes_on_unless_it_ended_the_run(workdir: Path) -> None:
    typed = ("step=autograd", "lr=0.01")
    losses = run(*typed, OFF, "iters=30").trajectory.loss
    stop = f"stop.tolerance={losses[19]}"
    on = run(OFF, "iters=30", begin(*typed, stop, iters=8))
    assert (on.outcome, on.trajectory.length) == ("converged", 20)
    on = run(OFF, "iters=30", begin(*typed, stop, iters=25))
    assert (on.outcome, on.trajectory.length) == ("completed", 30)


def test_the_runs_of_a_sweep_say_where_they_go_on(workdir: Path, cli: CLI) -> None:
    place = begin(*CYCLE, iters=10)
    ended = cli("-m", OFF, "iters=12,20", place)
    assert ended.code == 0, ended.err
    for total in (12, 20):
        assert (
            f"/00000010.npz at epoch 11, with scheduler.total_steps={total}, which follows iters\n"
        ) in ended.err
