"""Rows: sweeps, whole processes, each on a fresh copy of the same SQLite store."""

from __future__ import annotations

import json
import time
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
from bench_measure import Bench, Measured, Row, Target, UnavailableError, clocked, interleaved

ROUNDS = 2
SCRIPTS = Path(__file__).parent
SHARES = SCRIPTS / "bench_shares.py"
WITH_PEAK = """
import atexit, resource
from gdexp.commands import main
atexit.register(lambda: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))
main()
"""


def grid(runs: int) -> tuple[str, str]:
    """A grid of this many runs: learning rates × 10, 20, ..., 100 iterations; none diverges."""
    lrs = [f"{0.01 * (i + 1) * 10 / runs:.6g}" for i in range(runs // 10)]
    return f"lr={','.join(lrs)}", f"iters={','.join(str(10 * (i + 1)) for i in range(10))}"


def line(runs: int, iters: int, *more: str) -> tuple[str, ...]:
    """A sweep over learning rates from 0.0001 to 0.01."""
    ends = ("sweep.low=0.0001", "sweep.high=0.01", f"sweep.num={runs}")
    return "sweep=linear", "sweep.key=lr", *ends, f"iters={iters}", *more


def sweep(bench: Bench, *words: str) -> float:
    """The seconds of a gdexp sweep."""
    return bench.seconds(bench.with_store("sweep"), "-m", "gdexp", "-m", *words)


def script(bench: Bench, name: str, *words: str) -> float:
    """The seconds of a baseline program; URI in its words is replaced by the store."""
    folder = bench.with_store("sweep")
    uri = f"sqlite:///{folder}/outputs/mlflow.db"
    return bench.seconds(folder, str(SCRIPTS / name), *(w.replace("URI", uri) for w in words))


def against_app(step: str, bench: Bench) -> Measured:
    """100 runs of the tutorial, against a Hydra application."""
    words = (f"step={step}", *grid(10 if bench.quick else 100))
    medians = interleaved(
        partial(sweep, bench, *words),
        partial(script, bench, "bench_sweep_app.py", "-m", "uri=URI", *words),
        bench.rounds(ROUNDS),
        warm=False,
    )
    return Measured(medians.ratio, str(medians))


def against_loop(bench: Bench) -> Measured:
    """100 runs of the tutorial, against a plain loop."""
    words = grid(10 if bench.quick else 100)
    lists = (word.partition("=")[2] for word in words)
    medians = interleaved(
        partial(sweep, bench, "step=manual", *words),
        partial(script, bench, "bench_plain_tutorial.py", "URI", *lists),
        bench.rounds(ROUNDS),
        warm=False,
    )
    return Measured(medians.ratio, str(medians))


def stages(bench: Bench, runs: int) -> tuple[dict[str, float], dict[str, float], float]:
    """A sweep of 10 iterations.

    Returns:
        Wall-clock seconds of each stage, CPU seconds of each stage, and seconds of start-up,
        imports and shutdown.
    """
    folder, words = bench.with_store("sweep"), (str(SHARES), "-m", *line(runs, 10))
    started = time.perf_counter()
    wall, cpu = json.loads(bench.process(folder, *words).stdout)
    whole = time.perf_counter() - started
    wall.pop("starting"), cpu.pop("starting")
    return wall, cpu, whole - sum(wall.values())


def shares(bench: Bench) -> Measured:
    """The share of each stage in the time of a sweep."""
    wall, _, starting = stages(bench, 20 if bench.quick else 1000)
    parts = {"starting": starting} | wall
    whole = sum(parts.values())
    words = (f"{stage} {seconds / whole:.1%}" for stage, seconds in parts.items())
    return Measured(whole, f"one process, 10 iterations: {', '.join(words)}")


def growth(bench: Bench) -> Measured:
    """The time per run in a large sweep, against a small sweep, without start-up."""
    sizes = (20, 40) if bench.quick else (1000, 10_000)
    costs = []  # per round and size: wall-clock and CPU ms per run
    for _ in range(bench.rounds(ROUNDS)):
        stages_of = [(runs, *stages(bench, runs)[:2]) for runs in sizes]
        costs.append([[1e3 * sum(s.values()) / runs for s in both] for runs, *both in stages_of])
    (small, small_cpu), (large, large_cpu) = np.median(costs, axis=0)
    ratio = median(many[0] / few[0] for few, many in costs)
    how = f"{len(costs)} rounds of processes in turn, 10 iterations, without start and imports"
    spent = f"{small:.2f} and {large:.2f} ms a run, CPU {small_cpu:.2f} and {large_cpu:.2f} ms"
    return Measured(ratio, f"{how}; {spent}")


def computing(bench: Bench) -> Measured:
    """Nanoseconds per iteration and run of the vectorized program, in this process."""
    from gdexp.sweep.vectorized.points.loop import run_program
    from gdexp.sweep.vectorized.points.program import Program

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


def peak(bench: Bench, *words: str) -> Measured:
    """The peak memory of a large sweep."""
    if not (bench.long or bench.quick):
        raise UnavailableError("takes minutes: add --long")
    folder, started = bench.with_store("sweep"), time.perf_counter()
    kib = int(bench.process(folder, "-c", WITH_PEAK, "-m", *words).stdout)
    minutes = (time.perf_counter() - started) / 60
    return Measured(kib / 2**20, f"one process, ru_maxrss; it took {minutes:.1f} minutes")


def memory(bench: Bench) -> Measured:
    """The peak memory of a large recorded sweep."""
    runs, iters = (20, 10) if bench.quick else (10_000, 1000)
    return peak(bench, *line(runs, iters, "tracking.max_points=100"))


ROWS = [
    *(
        Row(
            f"sweep, step={step}, 100 runs",
            "a Hydra app + log_batch",
            Target(times_faster=times),
            partial(against_app, step),
        )
        for step, times in (("manual", 12), ("autograd", 8))
    ),
    Row(
        "sweep, step=manual, 100 runs",
        "a plain loop + log_batch",
        Target(times_faster=1),
        against_loop,
    ),
    Row("sweep, a run of 10,000", "a run of 1,000", Target(at_most=1.3), growth),
    Row("sweep, an epoch of 10,000 runs", "-", Target(at_most=12, unit=" ns"), computing),
    Row("sweep, memory, 10,000 runs of 1,000", "-", Target(at_most=1, unit=" GiB"), memory),
    Row("sweep, time of 1,000 runs", "-", Target(unit=" s"), shares),
]
