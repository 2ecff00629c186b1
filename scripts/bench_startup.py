"""Rows: the start-up time of commands, in whole processes."""

from __future__ import annotations

from functools import partial

from bench_measure import Bench, Measured, Row, Target, interleaved

ROUNDS = 15
COMMANDS = ("--help", "--cfg job", "step=manual tracking=off")
HEAVY = ("torch", "mlflow", "pandas")


def measure(command: str, bench: Bench) -> Measured:
    """Alternate whole processes in an empty folder; also checks what the command imports."""
    folder = bench.empty("startup")
    words = ("-m", "gdexp", *command.split())
    medians = interleaved(
        lambda: bench.seconds(folder, *words),
        lambda: bench.seconds(folder, "-c", "import hydra"),
        bench.rounds(ROUNDS),
    )
    heavy = bench.imported(folder, HEAVY, *words)
    wrong = f"imports {' and '.join(heavy)}" if heavy else ""
    return Measured(medians.ratio, str(medians), wrong)


ROWS = [
    Row(
        f"start, python -m gdexp {command}",
        "python -c 'import hydra'",
        Target(at_most=3),
        partial(measure, command),
    )
    for command in COMMANDS
]
