"""Rows: a tracked run of 10,000 iterations, against other ways to log its curves to MLflow.

Each side is a whole process on a copy of the same SQLite store. A program that calls MLflow in
every iteration would take minutes, so it runs fewer iterations and the time of its loop is scaled;
its start-up and shutdown are not. There are two ratios:

- each iteration: ours is a second ``gdexp.run`` in a process, all of it; theirs the loop alone;
- whole process: imports, start and end included on both sides.
"""

from __future__ import annotations

import functools
import importlib.util
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

from bench_measure import (
    Bench,
    Measured,
    Row,
    Target,
    UnavailableError,
    clocked,
    side_by_side,
)

ITERS = 10_000
SAMPLE = 500  # iterations of baselines that would take minutes
BASELINES = Path(__file__).with_name("bench_baselines.py")
SECOND_RUN = f"""
import time, gdexp
gdexp.run("step=autograd", "iters=1")
started = time.perf_counter()
gdexp.run("step=autograd", "iters={ITERS}")
print(time.perf_counter() - started)
"""
INSTALL = "not installed: pip install -c scripts/constraints.txt '.[bench]'"


def gdexp(bench: Bench, folder: Path) -> float:
    """The seconds of a tracked run in its own process."""
    return bench.seconds(folder, "-m", "gdexp", "step=autograd", f"iters={ITERS}")


def warm_gdexp(bench: Bench, folder: Path) -> float:
    """The seconds of a second tracked run in a process: no imports, the store is open."""
    return float(bench.process(folder, "-c", SECOND_RUN).stdout)


def baseline(bench: Bench, folder: Path, name: str, iters: int) -> tuple[float, float]:
    """The seconds of a baseline's process, and of one iteration of its loop."""
    pace: list[float] = []
    words = (str(BASELINES), name, f"sqlite:///{folder}/outputs/mlflow.db", str(iters))
    took = clocked(lambda: pace.append(float(bench.process(folder, *words).stdout)))
    return took, pace[0]


@dataclass(frozen=True)
class Round:
    """The seconds of both sides, measured back to back."""

    ours: float
    ours_warm: float
    theirs: float
    theirs_each: float


@functools.cache
def _rounds(bench: Bench, name: str, iters: int) -> list[Round]:
    """Measure once for the rows that share a baseline."""
    ours, theirs = bench.with_store("ours"), bench.with_store("theirs")
    return [
        Round(gdexp(bench, ours), warm_gdexp(bench, ours), *baseline(bench, theirs, name, iters))
        for _ in range(bench.rounds(3))
    ]


def against(name: str, whole: bool, bench: Bench) -> Measured:
    """Against a program that calls MLflow in every iteration."""
    if name == "lightning" and importlib.util.find_spec(name) is None:
        raise UnavailableError(INSTALL)
    iters = 60 if bench.quick else SAMPLE
    rounds = _rounds(bench, name, iters)
    if whole:
        more = ITERS - iters
        ratio = median(r.ours / (r.theirs + r.theirs_each * more) for r in rounds)
        how = f"theirs: {iters} iterations, the loop's time scaled to {ITERS}"
    else:
        ratio = median(r.ours_warm / ITERS / r.theirs_each for r in rounds)
        how = f"ours: a second gdexp.run, all of it; theirs: the loop, {iters} iterations"
    return Measured(ratio, f"{len(rounds)} interleaved pairs of processes; {how}")


def batched(bench: Bench) -> Measured:
    """Against a program that sends the same rows in batches."""
    ours, theirs = bench.with_store("ours"), bench.with_store("theirs")
    rounds = bench.rounds(9)
    ratio = side_by_side(
        lambda: gdexp(bench, ours),
        lambda: baseline(bench, theirs, "log_batch", ITERS)[0],
        rounds,
        warm=False,
    )
    return Measured(ratio, f"{rounds} interleaved pairs of processes; same rows sent")


PEERS = {
    "log_metric": "torch loop + 3 mlflow.log_metric each",
    "lightning": "Lightning + MLFlowLogger, every step",
}
ROWS = [
    *(
        Row(
            f"tracked, step=autograd, {'whole process' if whole else 'each iteration'}",
            PEERS[name],
            Target(times_faster=50),
            partial(against, name, whole),
        )
        for name in PEERS
        for whole in (False, True)
    ),
    Row(
        "tracked, step=autograd, whole process",
        "torch loop + MlflowClient.log_batch",
        Target(at_most=1.2),
        batched,
    ),
]
