"""The published numbers, character for character."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from helpers import process

from gdexp import run
from gdexp.descent.transcript import Transcript

GOLDEN = Path(__file__).parent / "golden"
COLUMNS = re.compile(r"epoch (\d+): w = (\S+), loss = (\S+), gradient = (\S+)")


def golden(name: str) -> str:
    return (GOLDEN / f"{name}.txt").read_text()


def columns(text: str) -> list[tuple[str, ...]]:
    return COLUMNS.findall(text)


@pytest.mark.parametrize(("iters", "every"), [(10, 1), (20, 2)])
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


@pytest.mark.parametrize("iters", [1, 7, 20, 21, 1000, 12345])
def test_a_run_prints_about_twenty_lines_by_default(iters: int) -> None:
    text = run(f"iters={iters}", "tracking=off", "lr=0.001").transcript
    assert min(iters, 10) <= len(columns(text)) <= 20


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
