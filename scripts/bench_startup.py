"""Rows: what the command line costs before and besides the work, in whole processes."""

from __future__ import annotations

import re
from functools import partial

from bench_measure import Bench, Measured, Row, Target, side_by_side

ROUNDS = 15
COMMANDS = ("--help", "--cfg job", "step=manual tracking=off")
HEAVY = ("torch", "mlflow")


def measure(command: str, bench: Bench) -> Measured:
    """Whole processes in turn, in an empty folder; and what the command imports."""
    folder = bench.empty("startup")
    words = ("-m", "gdexp", *command.split())
    rounds = bench.rounds(ROUNDS)
    ratio = side_by_side(
        lambda: bench.seconds(folder, *words),
        lambda: bench.seconds(folder, "-c", "import hydra"),
        rounds,
    )
    told = bench.process(folder, "-X", "importtime", *words).stderr
    heavy = [name for name in HEAVY if re.search(rf"\| +{name}$", told, re.MULTILINE)]
    wrong = f"imports {' and '.join(heavy)}" if heavy else ""
    return Measured(ratio, f"{rounds} interleaved pairs of processes, empty folder", wrong)


ROWS = [
    Row(
        f"start, python -m gdexp {command}",
        "python -c 'import hydra'",
        Target(at_most=3),
        partial(measure, command),
    )
    for command in COMMANDS
]
