"""The published numbers, character for character."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from helpers import CLI, process

from gdexp import run
from gdexp.descent.transcript import Transcript

GOLDEN = Path(__file__).parent / "golden"
COLUMNS = re.compile(r"epoch (\d+): w = (\S+), loss = (\S+), gradient = (\S+)")


def golden(name: str) -> str:
    return (GOLDEN / f"{name}.txt").read_text()


def columns(text: str) -> list[tuple[str, ...]]:
    return COLUMNS.findall(text)


@pytest.mark.parametrize(("iters", "every"), [(20, 2), pytest.param(10, 1, marks=pytest.mark.slow)])
def test_step_1_prints_what_the_tutorial_printed(iters: int, every: int, workdir: Path) -> None:
    ended = process(
        "step=manual", f"iters={iters}", f"print_every={every}", "tracking=off", cwd=workdir
    )
    before = " Prediction before training: f(5) = 0.000\n"
    assert ended.out == before + golden(f"step1_numpy_{iters}_iters")
    assert ended.code == 0


@pytest.mark.parametrize(("iters", "every"), [(20, 2), (1000, 20)])
def test_step_2_has_the_tutorials_w_and_loss_and_the_true_gradient(iters: int, every: int) -> None:
    text = run("step=autograd", f"iters={iters}", f"print_every={every}", "tracking=off").transcript
    published = columns(golden(f"step2_autograd_{iters}_iters"))
    mine = columns(text)
    assert len(published) >= 10
    assert [row[:3] for row in mine[: len(published)]] == [row[:3] for row in published]
    assert mine[0][3] == "-30.000"


def test_step_2_ends_with_the_tutorials_prediction() -> None:
    text = run("step=autograd", "iters=20", "tracking=off").transcript
    assert text.splitlines()[-1] == golden("step2_autograd_20_iters").splitlines()[-1]


@pytest.mark.parametrize("iters", [1, 7, 21, 12345])
def test_a_run_prints_about_twenty_lines_and_the_last_by_default(iters: int) -> None:
    text = run(f"iters={iters}", "tracking=off", "lr=0.001").transcript
    epochs = [int(epoch) for epoch, *_ in columns(text)]
    every = epochs[1] - epochs[0] if iters > 1 else 1
    regular = list(range(1, iters + 1, every))
    assert epochs == regular + [iters] * (regular[-1] != iters)
    assert min(iters, 10) <= len(regular) <= 20


@pytest.mark.parametrize(("step", "iters"), [("manual", 100), ("manual", 20), ("model", 20)])
def test_by_default_a_step_prints_the_tutorials_lines_and_the_last(step: str, iters: int) -> None:
    common = (f"step={step}", f"iters={iters}", "tracking=off")
    printed = run(*common).transcript.splitlines()
    typed = run(*common, f"print_every={iters // 20}").transcript.splitlines()
    assert len(typed) == 22
    if iters == 20:
        assert printed == typed
        return
    assert printed[:-2] + printed[-1:] == typed
    assert printed[-2] == run(*common, "print_every=1").transcript.splitlines()[-2]
    assert printed[-2].startswith("epoch 100: ")


@pytest.mark.parametrize("typed", ["stop.tolerance=0.5", "stop.divergence=2 lr=1"])
def test_the_last_line_is_of_the_epoch_that_stopped_the_run(typed: str) -> None:
    result = run("iters=1000", "tracking=off", *typed.split())
    epochs = [int(epoch) for epoch, *_ in columns(result.transcript)]
    assert epochs[-1] == result.trajectory.length < 1000


def test_large_numbers_are_short_unless_print_every_is_typed() -> None:
    common = ("step=manual", "lr=0.1", "iters=30", "tracking=off")
    result = run(*common)
    trajectory = result.trajectory
    w, loss, slope = trajectory.parameters["w"], trajectory.loss, trajectory.gradients["w"]
    assert abs(w[-1]) > 1e10
    lines = result.transcript.splitlines()
    assert lines[1] == "epoch 1: w = 12.000, loss = 30.00000000, gradient = -120.000"
    last = (f"{v[-1]:.6g}".replace("e+", "e") for v in (w, loss, slope))
    assert columns(lines[-2]) == [(str(trajectory.length), *last)]
    assert lines[-1] == f" Prediction after training: f(5) = {result.prediction:.6g}".replace(
        "e+", "e"
    )
    typed = run(*common, "print_every=1").transcript.splitlines()
    assert f": w = {w[-1]:.3f}, loss = {loss[-1]:.8f}, gradient = {slope[-1]:.3f}" in typed[-2]
    assert typed[-1] == f" Prediction after training: f(5) = {result.prediction:.3f}"


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ("", "completed: 20 epochs; final loss 0\n"),
        ("iters=1", "completed: 1 epoch; final loss 30\n"),
        ("lr=0.1 iters=20 print_every=40", "diverged: the loss grew from 30 to 1.09139e28\n"),
        ("lr=10 iters=500", "; final loss 6.40093e34\n"),
    ],
)
def test_the_final_loss_is_on_the_terminal(typed: str, line: str, workdir: Path, cli: CLI) -> None:
    ended = cli("step=manual", "tracking=off", *typed.split())
    assert line in ended.err
    assert "e+" not in ended.err


def test_the_x_of_the_prediction_is_a_setting() -> None:
    text = run("predict_at=2.5", "iters=1", "tracking=off").transcript
    assert text.splitlines()[-1] == " Prediction after training: f(2.5) = 3.000"


def test_a_bias_is_printed_beside_w() -> None:
    text = run("step=model", "predictor.bias=true", "iters=1", "tracking=off").transcript
    line = "epoch 1: w = 0.300, b = 0.100, loss = 30.00000000, gradient = (-30.000, -10.000)"
    assert text.splitlines()[1] == line


def test_a_reader_that_stops_reading_does_not_stop_the_run() -> None:
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    transcript = Transcript(5, 1, None, Closed())
    transcript.prediction("before", 0)
    transcript.prediction("after", 1)
    assert len(transcript.text.splitlines()) == 2
