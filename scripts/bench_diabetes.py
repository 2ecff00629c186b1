"""Rows: sweeps of a table with ten features, against plain loops.

Whole processes are compared by their CPU time, each on a fresh copy of the same SQLite store;
computing alone, from jobs to all curves, in one process and on one thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from bench_measure import Bench, Measured, Row, Target, cpu_clocked, interleaved, side_by_side
from bench_sweeps import peak, sweep

ROUNDS = 2
SAMPLE = 30  # runs of the plain torch loop
PLAIN = Path(__file__).with_name("bench_plain_diabetes.py")
DIABETES = ("data=diabetes", "data.standardize=true")
ADAM = ("step=model", "updater=Adam")
MODELS = {
    "hand": ("step=manual", "gradient=manual", "predictor.bias=true"),
    "adam": ADAM,
    "mlp": (*ADAM, "predictor=mlp"),
}
SHOWN = {"hand": "by hand", "adam": "Adam", "mlp": "Adam, MLP of 16"}


def rates(runs: int, iters: int) -> tuple[str, ...]:
    """A sweep over learning rates from 0.001 to 0.1."""
    ends = ("sweep.low=0.001", "sweep.high=0.1", f"sweep.num={runs}")
    return "sweep=linear", "sweep.key=lr", *ends, f"iters={iters}"


def cost(bench: Bench, *words: str) -> float:
    """The CPU seconds of a recorded sweep."""
    folder = bench.with_store("sweep")
    return bench.cpu_seconds(folder, "-m", "gdexp", "-m", *DIABETES, *words)


def plain(bench: Bench, *words: str) -> float:
    """The CPU seconds of the plain script."""
    folder = bench.with_store("sweep")
    return bench.cpu_seconds(folder, str(PLAIN), f"sqlite:///{folder}/outputs/mlflow.db", *words)


def against_plain(model: str, bench: Bench) -> Measured:
    """100 learning rates, 200 epochs, all curves of each, against a plain loop."""
    runs, iters = (2, 10) if bench.quick else (100, 200)
    medians = interleaved(
        partial(cost, bench, *MODELS[model], *rates(runs, iters)),
        partial(plain, bench, str(runs), str(iters), model),
        bench.rounds(ROUNDS),
        warm=False,
    )
    return Measured(medians.ratio, f"CPU {medians}")


def growth(bench: Bench) -> Measured:
    """The CPU time of a run, start-up included, in a sweep ten times as large."""
    small, iters = (2, 10) if bench.quick else (100, 200)
    medians = interleaved(
        partial(cost, bench, *ADAM, *rates(10 * small, iters)),
        partial(cost, bench, *ADAM, *rates(small, iters)),
        bench.rounds(ROUNDS),
        warm=False,
    )
    return Measured(medians.ratio / 10, f"CPU {medians}")


def computing(model: str, runs: Sequence[str]) -> Callable[[], None]:
    """Computes runs together, from jobs to all curves.

    Args:
        model: a key of MODELS.
        runs: the words of each run, separated by blanks.
    """
    from gdexp.config.compose import Composer, session
    from gdexp.sweep.jobs import Plan
    from gdexp.sweep.vectorized.stacks.runs import Origin, Stacked, key_of

    with session():
        composer = Composer()
        plan = Plan(composer.compose, composer.groups())
        words = [*DIABETES, *MODELS[model]]
        jobs = [plan.job([*words, *own.split()], None, i) for i, own in enumerate(runs)]

    def train() -> None:
        origins = {key: Origin.of(job) for key, job in {key_of(job): job for job in jobs}.items()}
        Stacked.of(jobs, [origins[key_of(job)] for job in jobs]).stack.run()

    return train


def against_loop(
    model: str, bench: Bench, seeds: int = 1, batch_size: int | None = None
) -> Measured:
    """Learning rates and seeds, against a loop of plain torch that keeps the same curves."""
    import torch
    from bench_plain_diabetes import MODELS as LOOPS
    from bench_plain_diabetes import table

    torch.set_num_threads(1)
    count, iters = (30, 20) if batch_size else (100, 200)
    if bench.quick:
        count, seeds, iters = 4, min(seeds, 2), 5
    runs = [(lr, seed) for seed in range(seeds) for lr in np.linspace(0.001, 0.1, count).tolist()]
    words = f"iters={iters} data.batch_size={batch_size or 'null'}"
    ours = computing(model, [f"lr={lr} seed={seed} {words}" for lr, seed in runs])
    some, rows = runs[:: len(runs) // min(len(runs), SAMPLE)], table()

    def theirs() -> None:
        for lr, seed in some:
            own = (batch_size, seed) if batch_size else ()
            list(LOOPS[model](*rows, lr, iters, *own))

    rounds = bench.rounds(3)
    ratio = side_by_side(
        lambda: cpu_clocked(ours), lambda: cpu_clocked(theirs) * len(runs) / len(some), rounds
    )
    how = f"{rounds} rounds, CPU time of one thread; {len(runs)} runs of {iters} epochs"
    return Measured(ratio, f"{how}; theirs: {len(some)}, scaled")


def workers(bench: Bench) -> Measured:
    """Two worker processes against one, in a sweep dominated by computing."""
    size = rates(4, 10) if bench.quick else rates(200, 4000)
    words = (*DIABETES, *MODELS["mlp"], *size, "tracking=off", "hydra.launcher.engine=joblib")
    two, one = (
        partial(sweep, bench, *words, f"hydra.launcher.workers={count}") for count in (2, 1)
    )
    medians = interleaved(two, one, bench.rounds(ROUNDS), warm=False)
    return Measured(medians.ratio, str(medians))


def memory(words: Sequence[str], bench: Bench) -> Measured:
    """The peak memory of 10,000 runs of 1,000 epochs."""
    size = rates(4, 10) if bench.quick else rates(10_000, 1000)
    return peak(bench, *DIABETES, *ADAM, *size, *words)


ROWS = [
    *(
        Row(
            f"sweep, diabetes, {SHOWN[model]}, 100 lr × 200 epochs",
            "a plain loop + log_batch",
            Target(times_faster=times),
            partial(against_plain, model),
        )
        for model, times in (("hand", 10), ("adam", 7), ("mlp", 5))
    ),
    *(
        Row(
            f"sweep, computing, {SHOWN[model]}, 100 lr × 200 epochs",
            "a plain torch loop",
            Target(times_faster=times),
            partial(against_loop, model),
        )
        for model, times in (("adam", 12), ("mlp", 4))
    ),
    Row(
        f"sweep, computing, {SHOWN['mlp']}, 30 seeds × 30 lr, minibatches of 64",
        "a plain torch loop",
        Target(times_faster=4),
        partial(against_loop, "mlp", seeds=30, batch_size=64),
    ),
    Row("sweep, a run of 1,000, diabetes, Adam", "a run of 100", Target(at_most=0.6), growth),
    Row("sweep, engine=joblib, workers=2", "workers=1", Target(times_faster=1.6), workers),
    *(
        Row(
            f"sweep, memory, diabetes, 10,000 runs of 1,000{how}",
            "-",
            Target(at_most=2, unit=" GiB"),
            partial(memory, words),
        )
        for how, words in (("", ()), (", tracking=off", ("tracking=off",)))
    ),
]
