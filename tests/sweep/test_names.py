"""The runs of a sweep are named by what differs, if what they share is long."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from helpers import CLI, client
from sweep_helpers import members

from gdexp.sweep.jobs import LONG, unnamed

OWN = ("gradient=manual", "data.x=[1,2,3,4,5,6]", "data.y=[2,4,6,8,10,12]", "predictor.bias=true")


def test_what_all_runs_share_is_left_out_of_their_lines(workdir: Path, cli: CLI) -> None:
    ended = cli("-m", "tracking=off", *OWN, "lr=0.001,0.002", "iters=3")
    assert re.findall("#[01] .*?: ", ended.err) == ["#0 lr=0.001: ", "#1 lr=0.002: "]
    assert ended.err.splitlines()[-1].startswith("Best: #1 lr=0.002, loss ")


@pytest.mark.parametrize(
    ("words", "left_out"),
    [
        (["a=" + "x" * (LONG - 2)], False),
        (["a=" + "x" * (LONG - 1)], True),
        (["step=" + "x" * LONG], False),
        (["tracking.uri=sqlite:///" + "x" * LONG], False),
        ([], False),
    ],
)
def test_only_if_it_is_long(words: list[str], left_out: bool) -> None:
    assert unnamed(words) == (frozenset(words) if left_out else frozenset())


def test_a_sweep_of_one_run_is_named_by_all_of_it(workdir: Path, cli: CLI) -> None:
    ended = cli("-m", "tracking=off", *OWN, "iters=3")
    assert f"#0 tracking=off {' '.join(OWN)} iters=3: " in ended.err.replace("=True", "=true")


@pytest.mark.slow
@pytest.mark.parametrize("sweeper", ["grid", "basic"])
def test_names_in_the_record_and_in_the_summary(store: Path, cli: CLI, sweeper: str) -> None:
    ended = cli("-m", f"hydra/sweeper={sweeper}", *OWN, "lr=0.001,0.002", "iters=3")
    assert ended.code == 0, ended.err
    (name,) = {run.info.run_name for run in members(client(store))} - {"step=manual lr=0.001"}
    assert name == "step=manual lr=0.002"
    assert "Best: step=manual lr=0.002, loss " in ended.err
