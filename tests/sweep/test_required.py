"""sweep.vectorize and sweep.memory: what cannot be computed as they ask is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers import client
from sweep_helpers import gd, members

TABLE = "data=diabetes", "data.standardize=true"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("check.gradient=every",), "check.gradient=every cannot be vectorized"),
        (("hydra.job.chdir=true",), "hydra.job.chdir=true"),
        (("hydra/launcher=basic",), "hydra/launcher=basic runs each by itself"),
    ],
)
def test_a_sweep_that_must_be_vectorized_and_cannot_be_is_refused(
    workdir: Path, words: tuple[str, ...], reason: str
) -> None:
    ended = gd("-m", "lr=0.01,0.02", "sweep.vectorize=required", *words)
    assert ended.code == 2
    assert ended.err == (
        "gdexp: sweep.vectorize=required: 2 of 2 runs would be computed one after another: "
        f"{reason}. Type sweep.vectorize=auto.\n"
    )
    assert [*workdir.iterdir()] == []


def test_runs_that_have_nothing_in_common_cannot_be_required_to_be_vectorized(
    workdir: Path,
) -> None:
    ended = gd("-m", *TABLE, "predictor.bias=true,false", "sweep.vectorize=required")
    assert ended.code == 2
    assert "one after another: no other run has the same components, with the" in ended.err
    assert [*workdir.iterdir()] == []


def test_a_run_that_does_not_fit_into_the_memory_is_refused(workdir: Path) -> None:
    ended = gd("-m", *TABLE, "lr=0.01,0.02", "iters=100", "sweep.memory=1e-6")
    assert ended.code == 2
    assert ended.err == (
        "gdexp: sweep.memory=1e-06: the curves of one run of 100 epochs take 1.56e-05 GiB. "
        "Type sweep.memory=0.01 or more, or fewer iters.\n"
    )
    assert [*workdir.iterdir()] == []


def test_runs_of_a_sweep_that_turns_vectorizing_off_are_computed_one_by_one(store: Path) -> None:
    ended = gd("-m", "lr=0.01,0.02", "iters=5", "sweep.vectorize=off")
    assert ended.code == 0, ended.err
    assert "one after another" not in ended.err
    assert [run.data.tags.get("gdexp.together") for run in members(client(store))] == [None] * 2
