"""Lines on stderr name the runs of a sweep by what differs, if what they share is long."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from helpers import CLI, client
from sweep_helpers import members

from gdexp.sweep.jobs import LONG, unshown

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
    assert unshown(words) == (frozenset(words) if left_out else frozenset())


def test_a_sweep_of_one_run_shows_all_of_it(workdir: Path, cli: CLI) -> None:
    ended = cli("-m", "tracking=off", *OWN, "iters=3")
    assert f"#0 tracking=off {' '.join(OWN)} iters=3: " in ended.err.replace("=True", "=true")


@pytest.mark.slow
@pytest.mark.parametrize("sweeper", ["grid", "basic"])
def test_the_record_and_the_summary_have_whole_names(store: Path, cli: CLI, sweeper: str) -> None:
    ended = cli("-m", f"hydra/sweeper={sweeper}", *OWN, "lr=0.001,0.002", "iters=3")
    assert ended.code == 0, ended.err
    assert "#1 lr=0.002: " in ended.err
    names = {run.info.run_name for run in members(client(store))}
    assert len(names) == 2
    assert all(set(OWN[:3]) < set(name.split()) for name in names)
    (best,) = (name for name in names if "lr=0.002" in name)
    assert f"Best: {best}, loss " in ended.err
