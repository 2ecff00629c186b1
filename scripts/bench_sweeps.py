"""Rows: sweeps, whole processes, each on a fresh copy of the same SQLite store.

Other ways to sweep take minutes, so they are measured on fewer runs. Their time is scaled by what a
run more costs them: ``one + (few - one) / (n - 1) * (N - 1)``, where ``few`` are the seconds of n
runs and ``one`` those of a single run, start included.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from operator import truediv
from pathlib import Path
from statistics import median

import numpy as np
from bench_measure import Bench, Measured, Row, Target, UnavailableError, clocked, side_by_side

ROUNDS = 3
APP = Path(__file__).with_name("bench_sweep_app.py")
SHARES = Path(__file__).with_name("bench_shares.py")
BASIC = ("hydra/launcher=basic", "hydra/sweeper=basic")
WITH_PEAK = """
import atexit, resource
from gdexp.commands import main
atexit.register(lambda: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))
main()
"""


def grid(runs: int) -> tuple[str, str]:
    """So many runs, the learning rates times 10, 20, ..., 100 iterations; none diverges."""
    lrs = [f"{0.01 * (i + 1) * 10 / runs:.6g}" for i in range(runs // 10)] or ["0.01"]
    iters = [str(10 * (i + 1)) for i in range(min(runs, 10))]
    return f"lr={','.join(lrs)}", f"iters={','.join(iters)}"


def line(runs: int, iters: int, *more: str) -> tuple[str, ...]:
    """So many learning rates from 0.0001 to 0.01."""
    ends = ("sweep.low=0.0001", "sweep.high=0.01", f"sweep.num={runs}")
    return "sweep=linear", "sweep.key=lr", *ends, f"iters={iters}", *more


def sweep(bench: Bench, *words: str) -> float:
    """How long a sweep of gdexp takes."""
    return bench.seconds(bench.with_store("sweep"), "-m", "gdexp", "-m", *words)


def app(bench: Bench, *words: str) -> float:
    """How long a sweep of the program without gdexp takes."""
    folder = bench.with_store("sweep")
    return bench.seconds(
        folder, str(APP), "-m", f"uri=sqlite:///{folder}/outputs/mlflow.db", *words
    )


@dataclass(frozen=True)
class Theirs:
    """Another way to sweep.

    Args:
        name: what it is.
        sweep: runs it and returns its seconds.
        words: what it is given besides the grid.
        sample: how many of its runs are measured.
    """

    name: str
    sweep: Callable[..., float]
    words: tuple[str, ...]
    sample: int

    def seconds(self, bench: Bench, step: str, runs: int) -> tuple[float, int]:
        """How long that many runs would take, and how many of them have been measured."""
        sample = 10 if bench.quick else self.sample
        one, few = (
            self.sweep(bench, *self.words, f"step={step}", *grid(n)) for n in (1, min(sample, runs))
        )
        return one + (few - one) / (sample - 1) * (runs - 1), sample


OTHERS = {
    "basic": Theirs("hydra/launcher=basic, log_batch in each run", sweep, BASIC, 100),
    "app": Theirs("Hydra app + 3 mlflow.log_metric each", app, (), 20),
}


def against(other: str, step: str, runs: int, bench: Bench) -> Measured:
    """A sweep against another way to have the same runs, each in turn."""
    runs = 10 if bench.quick else runs
    ours, theirs = [], []
    for _ in range(bench.rounds(ROUNDS)):
        ours.append(sweep(bench, f"step={step}", *grid(runs)))
        seconds, sample = OTHERS[other].seconds(bench, step, runs)
        theirs.append(seconds)
    took = f"{median(ours):.1f} s and {median(theirs):.0f} s"
    how = f"{len(ours)} rounds of processes in turn, {took}"
    if sample < runs:
        how += f"; theirs: {sample} runs, scaled to {runs}"
    return Measured(median(map(truediv, ours, theirs)), how)


def stages(bench: Bench, runs: int) -> tuple[dict[str, float], dict[str, float], float]:
    """A sweep of 10 iterations.

    Returns:
        The seconds of each stage on the wall, then of CPU, and those of start, imports and end.
    """
    folder, words = bench.with_store("sweep"), (str(SHARES), "-m", *line(runs, 10))
    started = time.perf_counter()
    wall, cpu = json.loads(bench.process(folder, *words).stdout)
    whole = time.perf_counter() - started
    wall.pop("starting"), cpu.pop("starting")
    return wall, cpu, whole - sum(wall.values())


def shares(bench: Bench) -> Measured:
    """Where the seconds of a sweep go."""
    wall, _, starting = stages(bench, 20 if bench.quick else 1000)
    parts = {"starting": starting} | wall
    whole = sum(parts.values())
    words = (f"{stage} {seconds / whole:.1%}" for stage, seconds in parts.items())
    return Measured(whole, f"one process, 10 iterations: {', '.join(words)}")


def growth(bench: Bench) -> Measured:
    """What a run costs in a large sweep, against one in a small sweep; start left out."""
    sizes = (20, 40) if bench.quick else (1000, 10_000)
    costs = []  # of each round and size: ms of a run on the wall, and of CPU
    for _ in range(bench.rounds(ROUNDS)):
        found = [(runs, *stages(bench, runs)[:2]) for runs in sizes]
        costs.append([[1e3 * sum(s.values()) / runs for s in both] for runs, *both in found])
    (small, small_cpu), (large, large_cpu) = np.median(costs, axis=0)
    ratio = median(many[0] / few[0] for few, many in costs)
    how = f"{len(costs)} rounds of processes in turn, 10 iterations, without start and imports"
    spent = f"{small:.2f} and {large:.2f} ms a run, CPU {small_cpu:.2f} and {large_cpu:.2f} ms"
    return Measured(ratio, f"{how}; {spent}")


def computing(bench: Bench) -> Measured:
    """Nanoseconds of an iteration of a run, computed alone in this process."""
    from gdexp.sweep.vectorized.loop import run_program
    from gdexp.sweep.vectorized.program import Program

    runs, iters = (100, 10) if bench.quick else (10_000, 1000)
    program = Program(
        x=np.array([1, 2, 3, 4], np.float32),
        y=np.array([2, 4, 6, 8], np.float32),
        gradient="sum",
        reduction="mean",
        torch=False,
        start={"w": np.zeros(runs)},
        lr=np.linspace(0.0001, 0.01, runs),
        iters=np.full(runs, iters),
        predict_at=np.full(runs, 5.0),
    )
    walls, cpus = [], []
    for _ in range(bench.rounds(5)):
        before = time.process_time()
        walls.append(clocked(lambda: run_program(program)))
        cpus.append(time.process_time() - before)
    wall, cpu = (1e9 * median(times) / (runs * iters) for times in (walls, cpus))
    return Measured(wall, f"median of {len(walls)}, one process; CPU {cpu:.1f} ns")


def memory(bench: Bench) -> Measured:
    """The peak memory of a large sweep, all of it recorded."""
    if not (bench.long or bench.quick):
        raise UnavailableError("takes minutes: add --long")
    runs, iters = (20, 10) if bench.quick else (10_000, 1000)
    words = line(runs, iters, "tracking.max_points=100")
    folder, started = bench.with_store("sweep"), time.perf_counter()
    kib = int(bench.process(folder, "-c", WITH_PEAK, "-m", *words).stdout)
    minutes = (time.perf_counter() - started) / 60
    return Measured(kib / 2**20, f"one process, ru_maxrss; it took {minutes:.1f} minutes")


def engine(bench: Bench) -> Measured:
    """Two worker processes against one, where computing is most of the work."""
    runs, iters = (20, 10) if bench.quick else (4000, 2000)
    words = ("step=autograd", *line(runs, iters, "tracking=off", "hydra.launcher.engine=joblib"))
    rounds = bench.rounds(ROUNDS)
    two, one = (
        partial(sweep, bench, *words, f"hydra.launcher.workers={workers}") for workers in (2, 1)
    )
    ratio = side_by_side(two, one, rounds, warm=False)
    what = f"{runs} lr, {iters} iterations, tracking=off"
    return Measured(ratio, f"{rounds} interleaved pairs of processes; {what}; {1 / ratio:.2f}x")


ROWS = [
    *(
        Row(
            f"sweep, step={step}, {runs} runs",
            OTHERS[other].name,
            Target(times_faster=times),
            partial(against, other, step, runs),
        )
        for step in ("manual", "autograd")
        for other, runs, times in (("basic", 100, 5), ("app", 100, 8), ("basic", 1000, 15))
    ),
    Row("sweep, a run of 10,000", "a run of 1,000", Target(at_most=1.3), growth),
    Row("sweep, engine=joblib, workers=2", "workers=1", Target(), engine),
    Row("sweep, an iteration of 10,000 runs", "-", Target(at_most=60, unit=" ns"), computing),
    Row("sweep, memory, 10,000 runs of 1,000", "-", Target(at_most=2, unit=" GiB"), memory),
    Row("sweep, time of 1,000 runs", "-", Target(unit=" s"), shares),
]
