"""Sweeps of too many runs: refused with their number, before a list of them is made."""

from __future__ import annotations

import tracemalloc
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from helpers import CLI
from sweep_helpers import sweep_of

from gdexp.config.keywords import overrides
from gdexp.errors import ConfigError
from gdexp.sweep import grids

LIMIT = 5_000  # runs; a list of their overrides takes half a megabyte
TWICE = "seed=0,1"
ENDS: dict[str, Any] = {"key": "lr", "low": 0.001, "high": 0.1, "num": LIMIT}
WHOLE = ENDS | {"key": "iters", "low": 1, "high": LIMIT}

MANY: dict[str, tuple[Mapping[str, Any], list[str]]] = {
    "range": (sweep_of("grid"), [f"iters=range(0,{LIMIT})"]),
    "sorted range": (sweep_of("grid"), [f"iters=sort(range(0,{LIMIT}),reverse=true)"]),
    "shuffled range": (sweep_of("grid"), [f"iters=shuffle(range(0,{LIMIT}))"]),
    "range of decimals": (sweep_of("grid"), [f"lr=range(0.1,{LIMIT + 0.1})"]),
    "linear": (sweep_of("linear", **ENDS), []),
    "log": (sweep_of("log", **ENDS), []),
    "whole linear": (sweep_of("linear", **WHOLE), []),
    "random": (sweep_of("random", num=LIMIT), ["lr=interval(1,2)"]),
    "sobol": (sweep_of("sobol", num=LIMIT), ["lr=interval(1,2)", "iters=interval(1,9)"]),
    "whole sobol": (sweep_of("sobol", num=10**9), [f"iters=interval(1,{LIMIT})"]),
    "csv": (sweep_of("csv", path="jobs.csv"), []),
}


@pytest.mark.parametrize(("sweep", "words"), MANY.values(), ids=list(MANY))
def test_nothing_is_listed_before_the_runs_are_counted(
    sweep: dict[str, Any], words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("jobs.csv").write_text("lr\n" + "0.1\n" * LIMIT)
    kind, limited = str(sweep["_kind_"]), sweep | {"max_runs": LIMIT}
    sentence = f"the sweep has {2 * LIMIT} runs, and sweep.max_runs={LIMIT}. "
    tracemalloc.start()
    try:
        with pytest.raises(ConfigError) as refused:
            grids.jobs([*words, TWICE], limited, kind, 0)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert str(refused.value) == f"{sentence}Type sweep.max_runs={2 * LIMIT} to run them all."
    assert peak < 250_000  # bytes
    assert len(grids.jobs([*words, "seed=0"], limited, kind, 0)) <= LIMIT


VAST = {
    "iters=range(1,1000001) seed=range(0,1000000)": 10**12,
    f"seed=range(0,{10**30})": 10**30,
    "sweep=random sweep.num=2000000 lr=interval(0.1,1)": 2 * 10**6,
    "sweep=sobol sweep.num=1000000 lr=interval(0.1,1) sweep.repeat=1000000": 10**12,
    "sweep=log sweep.key=lr sweep.low=1 sweep.high=2 sweep.num=1000000 sweep.repeat=2": 2 * 10**6,
    "hydra/sweeper=basic lr=range(0.1,1000000000) iters=1,2": 2 * 10**9,
}


@pytest.mark.parametrize(("typed", "count"), VAST.items(), ids=list(VAST))
def test_the_command_line_refuses_a_vast_sweep(
    typed: str, count: int, workdir: Path, cli: CLI
) -> None:
    ended = cli("-m", *typed.split())
    assert (ended.code, ended.out, ended.err) == (
        2,
        "",
        f"gdexp: the sweep has {count} runs, and sweep.max_runs=1000000. "
        f"Type sweep.max_runs={count} to run them all.\n",
    )
    assert not (workdir / "outputs").exists()


def test_a_number_that_would_fill_the_screen_is_rounded() -> None:
    words = [f"k{i}=range(0,1e308,1e-300)" for i in range(8)]
    with pytest.raises(ConfigError) as refused:
        grids.jobs(words, sweep_of("grid"), "grid", 0)
    assert str(refused.value) == (
        "the sweep has more than 10^4864 runs, and sweep.max_runs=1000000. Type fewer values."
    )


PYTHONS: dict[str, tuple[list[str], dict[str, Any], int, int]] = {
    "range": ([], {"lr": range(1, 10**12)}, 10**12 - 1, 10**6),
    "longer range": ([], {"lr": range(0, 2 * 10**30, 2)}, 10**30, 10**6),
    "lists": ([], {"lr": [0.1] * 2000, "iters": range(1, 1001)}, 2 * 10**6, 10**6),
    "limit": ([], {"lr": [0.1, 0.2], "sweep": {"max_runs": 1}}, 2, 1),
    "limit typed": (["sweep.max_runs=3"], {"lr": [0.1, 0.2], "seed": (0, 1)}, 4, 3),
}


@pytest.mark.parametrize("case", PYTHONS.values(), ids=list(PYTHONS))
def test_python_refuses_a_vast_sweep(
    case: tuple[list[str], dict[str, Any], int, int],
) -> None:
    words, settings, count, limit = case
    with pytest.raises(ConfigError) as refused:
        overrides(words, settings, axes=True)
    assert str(refused.value) == (
        f"the sweep has {count} runs, and sweep.max_runs={limit}. "
        f"Type sweep.max_runs={count} to run them all."
    )
