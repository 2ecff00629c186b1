"""python -m gdexp compare --over, on a sweep of two steps and two learning rates."""

from __future__ import annotations

import csv
import io
import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import Ended

from gdexp.commands import compare
from gdexp.tracking.query import without_repeated
from gdexp.tracking.run_record import RecordedRun

Compare = Callable[..., Ended]


@pytest.fixture
def run(sweep: Path, capsys: pytest.CaptureFixture[str]) -> Compare:
    def main(*args: str) -> Ended:
        code = compare.main(args)
        return Ended(code, *capsys.readouterr())

    return main


@pytest.fixture
def losses(run: Compare) -> list[float]:
    return [entry["final/loss"] for entry in objects(run("--json"))]


def objects(ended: Ended) -> list[dict[str, Any]]:
    assert (ended.code, ended.err) == (0, "")
    read: list[dict[str, Any]] = json.loads(ended.out)
    return read


def test_a_setting_may_be_named_twice(run: Compare) -> None:
    assert run("--over", "lr, lr,") == run("--over", "lr")
    assert run("--over", ",").err.startswith("gdexp: --over: name a setting, such as seed.")


def test_a_row_for_each_group(run: Compare, losses: list[float]) -> None:
    code, out, err = run("--over", "lr")
    assert code == 0
    header, _, manual, autograd = out.splitlines()
    assert header.split() == [
        *("step", "gradient", "n", "diverged", "final/loss", "final/prediction"),
    ]
    assert manual.split()[:4] == ["manual", "manual_sum", "1", "1"]
    assert "±" not in manual  # one run has no deviation
    assert autograd.split()[:4] == ["autograd", "autograd", "2", "0"]
    mean, deviation = statistics.mean(losses[2:]), statistics.stdev(losses[2:])
    assert autograd.split()[4:7] == [f"{mean:.6g}", "±", f"{deviation:.3g}"]
    assert err == (
        f"smallest mean loss over lr: {mean:.6g} ± {deviation:.3g} (n = 2) "
        "with step=autograd gradient=autograd\n"
    )


def test_every_digit_for_programs(run: Compare, losses: list[float]) -> None:
    manual, autograd = objects(run("--over", "lr", "--json"))
    assert manual["final/loss.mean"] == losses[0]
    assert manual["final/loss.std"] is None
    assert (manual["n"], manual["diverged"], manual["unfinished"]) == (1, 1, 0)
    assert autograd["final/loss.mean"] == pytest.approx(statistics.mean(losses[2:]), rel=1e-15)
    assert autograd["final/loss.std"] == pytest.approx(statistics.stdev(losses[2:]), rel=1e-14)
    code, out, err = run("--over", "lr", "--csv")
    assert (code, err) == (0, "")
    assert list(csv.DictReader(io.StringIO(out))) == [
        {key: "" if value is None else str(value) for key, value in row.items()}
        for row in (manual, autograd)
    ]


def test_over_several_settings(run: Compare, losses: list[float]) -> None:
    (everything,) = objects(run("--over", "lr, step", "--json"))  # and the step's gradient
    kept = [losses[0], *losses[2:]]
    assert everything["final/loss.mean"] == pytest.approx(statistics.mean(kept), rel=1e-14)
    assert (everything["n"], everything["diverged"]) == (3, 1)
    assert run("--over", "lr,step").err.startswith("mean loss over lr and step: ")


@pytest.mark.parametrize(
    ("key", "first"),
    [
        ("n", "manual"),
        ("-n", "autograd"),
        ("diverged", "autograd"),
        ("final/loss", "manual"),
        ("-final/loss", "autograd"),
        ("final/loss.mean", "manual"),
        ("-best/loss", "autograd"),
        ("step", "autograd"),
    ],
)
def test_sorted_groups(run: Compare, key: str, first: str) -> None:
    rows = objects(run("--over", "lr", "--json", "--sort", key))
    assert rows[0]["step"] == first
    metric = key.lstrip("-").removesuffix(".mean")
    assert (f"{metric}.mean" if "/" in key else metric) in rows[0]


def test_markdown_is_all_of_stdout(run: Compare) -> None:
    code, out, err = run("--over", "lr", "--markdown")
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == (
        "| step | gradient | n | diverged | final/loss | final/prediction |"
    )
    runs = run("--markdown", "--sort", "-lr").out.splitlines()
    assert [line.split(" | ")[2] for line in runs[2:]] == ["0.05", "0.05", "0.01", "0.01"]


def test_a_job_that_was_run_again_counts_once() -> None:
    def recorded(run_id: str, status: str, **tags: str) -> RecordedRun:
        named = {f"gdexp.{key}": value for key, value in tags.items()}
        return RecordedRun(run_id, "1", "", status, 0, "", {}, named, {})

    killed = recorded("a", "KILLED", sweep_id="s", job="0")
    done = recorded("b", "FINISHED", sweep_id="s", job="0")
    other = recorded("c", "FINISHED", sweep_id="t", job="0")
    alone = [recorded(run_id, "FAILED") for run_id in "de"]
    assert without_repeated([killed, done, other, *alone]) == [done, other, *alone]
    assert without_repeated([done, killed]) == [done]
    assert without_repeated([killed]) == [killed]


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["--over", "stp"], "--over: no run has a setting 'stp'. Did you mean step?"),
        (["--over", "seed"], "--over: nothing to average, as all 4 runs have seed=0. The runs "
                             "differ in: step, lr, gradient. To repeat every run with 3 seeds, add "
                             "sweep.repeat=3."),
        (["--over", "outcome"], "--over: 'outcome' is a result, not a setting. The runs differ "
                                "in: step, lr, gradient."),
        (["--over", ""], "--over: name a setting, such as seed. The runs differ in: step,"),
        (["--over", "lr", "--sort", "final/los"], "Did you mean final/loss?"),
        (["--over", "lr", "--sort", "lr"], "--sort: no group has 'lr'. Sort by one of: step,"),
        (["--sort", "-lrr"], "--sort: no run has 'lrr'."),
        (["--sort", "-"], "--sort: no run has ''."),
    ],
)  # fmt: skip
def test_bad_input_is_a_sentence(run: Compare, args: list[str], sentence: str) -> None:
    code, out, err = run(*args)
    assert (code, out) == (2, "")
    assert sentence in err
    assert err.startswith("gdexp: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["--csv", "--markdown"], "argument --markdown: not allowed with argument --csv."),
        (["--sort", "--csv"], "argument --sort: expected one argument."),
        (["--over"], "argument --over: expected one argument."),
        (["--ovr", "seed"], "unrecognized argument --ovr. Did you mean --over?"),
    ],
)
def test_usage(capsys: pytest.CaptureFixture[str], args: list[str], sentence: str) -> None:
    with pytest.raises(SystemExit) as ended:
        compare.main(args)
    assert ended.value.code == 2
    assert f"gdexp: compare: {sentence} " in capsys.readouterr().err
