"""Rows: what it costs that a run is checked, forecast, drawn and reported.

The check and the forecast come before the first epoch, so they are counted in epochs: the time of a
run of one epoch with them, less that of one without, over the time of an epoch. The data are new to
each of these runs, since runs that share data share much of the work.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from bench_fits import WIDE, building, descending
from bench_measure import (
    Bench,
    Measured,
    Medians,
    Row,
    Target,
    UnavailableError,
    clocked,
    interleaved,
    side_by_side,
)

UNCHECKED, UNFORECAST = "check.gradient=off", "check.forecast=false"
BOTH_OFF = (UNCHECKED, UNFORECAST)
NETWORK = (
    *("step=model", "predictor=mlp", "predictor.sizes=[64,64]", "lr=0.01", "data=synthetic"),
    *("data.rows=10000", "data.features=20", "data.metrics=false"),
)
TABLES = {
    "step=manual, 10⁵ × 100": ("step=manual", "gradient=manual", "lr=0.001", *WIDE),
    "step=model, 10⁵ × 100": ("step=model", "lr=0.001", *WIDE),
    "a network, 10⁴ rows": NETWORK,
}
UNWANTED = ("scipy", "matplotlib")  # in a run


def job_of(*words: str) -> Any:
    """The job of these settings."""
    from gdexp.config.compose import Composer, session
    from gdexp.config.job import Job

    with session():
        return Job.of(Composer().compose(["tracking=off", *words]), ())


def fresh(*words: str) -> Callable[[], float]:
    """The seconds of a run of one epoch, on data that no earlier run has seen."""
    from gdexp.data import preparation
    from gdexp.experiment import assemble
    from gdexp.sweep.again import compute_again

    job = job_of(*words, "iters=1")

    def run() -> float:
        preparation._whole.cache_clear()
        built = assemble(job)
        once = partial(compute_again, job, None, together=False, assembled=lambda _: built)
        return clocked(once)

    return run


def in_epochs(words: tuple[str, ...], off: str, bench: Bench) -> Measured:
    """What is switched off by a setting, in epochs; in this process, on one thread."""
    import torch

    torch.set_num_threads(1)
    rounds = bench.rounds(7)
    other = next(setting for setting in BOTH_OFF if setting != off)
    pair = interleaved(fresh(*words, other), fresh(*words, *BOTH_OFF), rounds)
    iters = 2 if bench.quick else 20
    fit = building(*words)()
    epoch = clocked(descending(fit, iters)) / iters
    spent = pair.ours - pair.theirs
    how = f"{1e3 * spent:.1f} ms; an epoch takes {1e3 * epoch:.2f} ms; {rounds} interleaved pairs"
    return Measured(spent / epoch, how)


def run_alone(step: str, bench: Bench) -> Measured:
    """A run without check and forecast, against its loop, which records each epoch."""
    from gdexp.experiment import prepare, run

    if step != "manual":
        import torch

        torch.set_num_threads(1)
    iters, rounds = bench.size(20_000), bench.rounds(11)
    words = (f"step={step}", f"iters={iters}", *BOTH_OFF)
    job, loop = job_of(*words), building(*words)
    ratio = side_by_side(
        lambda: _clocked(partial(prepare, job), run),
        lambda: _clocked(lambda: descending(loop(), iters), lambda train: train()),
        rounds,
    )
    return Measured(ratio, f"{rounds} interleaved pairs of {iters} epochs, one process")


def _clocked(make: Callable[[], Any], work: Callable[[Any], object]) -> float:
    """The seconds of the work on something, without those of making it."""
    made = make()
    return clocked(lambda: work(made))


def whole(words: tuple[str, ...], bench: Bench) -> Measured:
    """A recorded run with check and forecast against one without; also what it imports."""
    folder = bench.with_store("insight")
    command = ("-m", "gdexp", *words)
    medians = interleaved(
        partial(bench.seconds, folder, *command),
        partial(bench.seconds, folder, *command, *BOTH_OFF),
        bench.rounds(9),
    )
    imported = bench.imported(folder, UNWANTED, *command)
    return Measured(
        medians.ratio, str(medians), f"imports {' and '.join(imported)}" * bool(imported)
    )


def sweep(bench: Bench) -> Measured:
    """Vectorized runs with check and forecast against runs without, not recorded."""
    runs = 100 if bench.quick else 10_000
    ends = ("sweep.low=0.0001", "sweep.high=0.01", f"sweep.num={runs}", "iters=100")
    words = ("-m", "gdexp", "-m", "sweep=linear", "sweep.key=lr", *ends, "tracking=off")
    folder = bench.empty("sweep")
    medians: Medians = interleaved(
        partial(bench.seconds, folder, *words),
        partial(bench.seconds, folder, *words, *BOTH_OFF),
        bench.rounds(3),
        warm=False,
    )
    return Measured(medians.ratio, str(medians))


def pictures_of_run(bench: Bench) -> Measured:
    """All pictures of a run with ten features, as SVG, in a process that has drawn before."""
    import gdexp
    from gdexp.insight.pictures.of_run import of_run

    words = ("data=diabetes", "data.standardize=true", "predictor.bias=true", "lr=0.1")
    result = gdexp.run("step=model", *words, "tracking=off", "iters=1000", "data.validation=0.2")
    return _drawn(partial(of_run, result), bench)


def pictures_of_sweep(bench: Bench) -> Measured:
    """All pictures of a sweep of 1,000 runs, as SVG, in a process that has drawn before."""
    from gdexp.insight.pictures.of_sweep import of_sweep

    epochs = np.arange(1, 101, dtype=float)
    rates = {f"{i:032x}": 0.9 + 0.0002 * i for i in range(1000)}
    rows = [
        {
            **{"run_id": run_id, "job": i, "outcome": "completed", "step": "manual"},
            **{"lr": f"{0.001 * (i // 40 + 1):g}", "iters": str(10 * (i % 40 + 1))},
            **{"seed": "0", "final/loss": 30 * math.exp(-i / 50), "final/prediction": 10.0},
        }
        for i, run_id in enumerate(rates)
    ]

    def losses(run_ids: Any) -> dict[str, Any]:
        return {run_id: (epochs, 30 * rates[run_id] ** epochs) for run_id in run_ids}

    return _drawn(partial(of_sweep, rows, losses), bench)


def _drawn(draw: Callable[[], Any], bench: Bench) -> Measured:
    def svg() -> None:
        sizes.append([len(picture.svg()) for picture in draw()])

    sizes: list[list[int]] = []
    times = [clocked(svg) for _ in range(1 + bench.rounds(5))][1:]
    kb = ", ".join(f"{size / 1e3:.0f}" for size in sizes[-1])
    return Measured(float(np.median(times)), f"median of {len(times)}; {kb} kB of SVG")


def report(bench: Bench) -> Measured:
    """The page of a recorded sweep of 1,000 runs, by a whole process."""
    if importlib.util.find_spec("gdexp.commands.report") is None:
        raise UnavailableError("python -m gdexp report does not exist")
    folder, runs = bench.with_store("report"), 20 if bench.quick else 1000
    lrs = ",".join(f"{0.0001 * (i + 1):g}" for i in range(runs // 10))
    iters = ",".join(str(10 * (i + 1)) for i in range(10))
    bench.process(folder, "-m", "gdexp", "-m", f"lr={lrs}", f"iters={iters}")
    command = ("-m", "gdexp", "report", "--out", "page.html")
    times = [bench.seconds(folder, *command) for _ in range(bench.rounds(3))]
    kb = (folder / "page.html").stat().st_size / 1e3
    return Measured(float(np.median(times)), f"median of {len(times)} processes; {kb:.0f} kB")


ROWS = [
    *(
        Row(f"check, {name}", "an epoch", Target(at_most=2), partial(in_epochs, words, UNCHECKED))
        for name, words in TABLES.items()
    ),
    *(
        Row(
            f"forecast, {name}",
            "an epoch",
            Target(at_most=60) if words is NETWORK else Target(),
            partial(in_epochs, words, UNFORECAST),
        )
        for name, words in TABLES.items()
    ),
    *(
        Row(
            f"run, step={step}, check and forecast off",
            "its loop",
            Target(at_most=1.1),
            partial(run_alone, step),
        )
        for step in ("manual", "model")
    ),
    *(
        Row(
            f"record, {name}, with check and forecast",
            "without",
            target,
            partial(whole, words),
        )
        for name, words, target in (
            ("step=manual", ("step=manual",), Target(at_most=1.1)),
            ("a network", NETWORK, Target()),  # of 20 epochs; its forecast takes as many
        )
    ),
    Row("sweep, 10,000 runs, with check and forecast", "without", Target(at_most=1.1), sweep),
    Row("pictures of a run", "-", Target(at_most=1, unit=" s"), pictures_of_run),
    Row("pictures of 1,000 runs", "-", Target(at_most=2, unit=" s"), pictures_of_sweep),
    Row("report on 1,000 runs", "-", Target(at_most=10, unit=" s"), report),
]
