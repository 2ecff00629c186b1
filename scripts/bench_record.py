"""Rows: the cost of recording a run, and of torch's model over autograd, in whole processes."""

from __future__ import annotations

from functools import partial

from bench_measure import Bench, Measured, Row, Target, interleaved

ROUNDS = 9
HEAVY = {"manual": ("torch", "mlflow", "pandas", "sqlalchemy")}
OTHERS = ("mlflow", "pandas", "sqlalchemy")


def recorded(step: str, bench: Bench) -> Measured:
    """A recorded run against the same run with tracking=off; also checks the imports."""
    folder, words = bench.with_store("recorded"), ("-m", "gdexp", f"step={step}")
    medians = interleaved(
        partial(bench.seconds, folder, *words),
        partial(bench.seconds, folder, *words, "tracking=off"),
        bench.rounds(ROUNDS),
    )
    heavy = bench.imported(folder, HEAVY.get(step, OTHERS), *words)
    wrong = f"imports {' and '.join(heavy)}" if heavy else ""
    return Measured(medians.ratio, str(medians), wrong)


def new_store(bench: Bench) -> Measured:
    """The additional seconds of a recorded run if the store does not exist yet."""
    folder, words = bench.with_store("recorded"), ("-m", "gdexp", "step=manual")
    medians = interleaved(
        lambda: bench.seconds(bench.empty("new"), *words),
        partial(bench.seconds, folder, *words),
        bench.rounds(ROUNDS),
    )
    return Measured(medians.ours - medians.theirs, str(medians))


def model(bench: Bench) -> Measured:
    """Step 4 against step 2, unrecorded: the cost of loading torch's optimizer and model."""
    folder, words = bench.empty("unrecorded"), ("-m", "gdexp", "tracking=off")
    medians = interleaved(
        partial(bench.seconds, folder, *words, "step=model"),
        partial(bench.seconds, folder, *words, "step=autograd"),
        bench.rounds(ROUNDS),
    )
    return Measured(medians.ratio, str(medians))


ROWS = [
    *(
        Row(
            f"record, step={step}",
            "tracking=off",
            Target(at_most=1.15 if step == "manual" else 1.05),
            partial(recorded, step),
        )
        for step in ("manual", "autograd", "optimizer", "model")
    ),
    Row("record, into a new store", "an existing one", Target(at_most=0.05, unit=" s"), new_store),
    Row("start, step=model", "step=autograd", Target(at_most=1.25), model),
]
