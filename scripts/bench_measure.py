"""What a row of the benchmark is made of: two sides timed side by side, and a target."""

from __future__ import annotations

import functools
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NOT_INHERITED = (
    *("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_RUN_NAME", "PYTHONPATH"),
    "PYTHONDONTWRITEBYTECODE",  # with it, every process would compile gdexp anew
)


@dataclass(frozen=True)
class Target:
    """A bound on the ratio ours / theirs of two times, or on an amount of some unit.

    >>> Target(at_most=1.05).shown(0.87), Target(times_faster=50).shown(1 / 63)
    ('0.87x', '63x faster')
    >>> str(Target(at_most=60, unit=" ns")), Target(unit=" s").shown(5.25), str(Target(unit=" s"))
    ('<= 60 ns', '5.25 s', 'none')
    """

    at_most: float = 0
    times_faster: float = 0
    unit: str = "x"

    def __str__(self) -> str:
        if self.times_faster:
            return f">= {self.times_faster:g}x faster"
        return f"<= {self.at_most:g}{self.unit}" if self.at_most else "none"

    def verdict(self, value: float, wrong: str) -> str:
        """Whether the value is within the bound, unrounded, and nothing else is wrong."""
        bound = 1 / self.times_faster if self.times_faster else self.at_most
        if wrong or not bound:
            return "miss" if wrong else ""
        return "ok" if value <= bound else "miss"

    def shown(self, value: float) -> str:
        """A ratio or an amount in the words of the target."""
        return f"{1 / value:.3g}x faster" if self.times_faster else f"{value:.2f}{self.unit}"


@dataclass(frozen=True)
class Measured:
    """A ratio ours / theirs or an amount, how it was measured, and what else is wrong."""

    value: float
    how: str
    wrong: str = ""


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        what: our side.
        against: their side; "-" where an amount is measured.
        target: the bound to keep.
        measure: times both sides; raises UnavailableError where it cannot.
    """

    what: str
    against: str
    target: Target
    measure: Callable[[Bench], Measured]


class UnavailableError(Exception):
    """A row cannot be measured here; the message says what to do about it."""


@dataclass(frozen=True)
class Bench:
    """Where a row may write, and how much time it may take: a glance, minutes or many of them."""

    folder: Path
    quick: bool
    long: bool

    def rounds(self, full: int) -> int:
        """How often to time both sides."""
        return 1 if self.quick else full

    def process(self, cwd: Path, *words: str) -> subprocess.CompletedProcess[str]:
        """``python *words`` in a folder, in a process of its own.

        Raises:
            RuntimeError: it failed.
        """
        command = [sys.executable, *words]
        done = subprocess.run(command, cwd=cwd, env=_environment(), capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{' '.join(words)} failed:\n{done.stderr}")
        return done

    def seconds(self, cwd: Path, *words: str) -> float:
        """How long ``python *words`` takes, from start to end of its process."""
        return clocked(lambda: self.process(cwd, *words))

    def imported(self, cwd: Path, names: Sequence[str], *words: str) -> list[str]:
        """Which of these packages ``python *words`` imports."""
        told = self.process(cwd, "-X", "importtime", *words).stderr
        return [name for name in names if re.search(rf"\| +{name}$", told, re.MULTILINE)]

    def empty(self, name: str) -> Path:
        """A new, empty folder."""
        path = self.folder / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
        return path

    def with_store(self, name: str) -> Path:
        """A new folder with a migrated SQLite store in it: outputs/mlflow.db."""
        path = self.empty(name)
        shutil.copytree(_template(self), path, dirs_exist_ok=True)
        return path


@functools.cache
def _template(bench: Bench) -> Path:
    path = bench.empty("template")
    bench.process(path, "-m", "gdexp", "iters=1")
    return path


def _environment() -> dict[str, str]:
    """The same surroundings for every process: this checkout, no telemetry, no store by chance."""
    kept = {key: value for key, value in os.environ.items() if key not in NOT_INHERITED}
    return kept | {"PYTHONPATH": str(ROOT), "MLFLOW_DISABLE_TELEMETRY": "true"}


def clocked(work: Callable[[], object]) -> float:
    """How many seconds something takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


@dataclass(frozen=True)
class Medians:
    """The median seconds of both sides of a row.

    Attributes:
        ours: of our side.
        theirs: of the other.
        rounds: how often each was measured.
    """

    ours: float
    theirs: float
    rounds: int

    @property
    def ratio(self) -> float:
        """Ours / theirs."""
        return self.ours / self.theirs

    def __str__(self) -> str:
        times = f"{self.ours:.2f} s and {self.theirs:.2f} s"
        return f"{times}, medians of {self.rounds} interleaved pairs of processes"


def interleaved(
    ours: Callable[[], float], theirs: Callable[[], float], rounds: int, warm: bool = True
) -> Medians:
    """Measure both sides in pairs, back to back, in alternating order.

    Args:
        ours: runs our side and returns its time.
        theirs: runs their side and returns its time.
        rounds: the number of pairs.
        warm: whether to run both once before, uncounted.
    """
    if warm:
        ours(), theirs()
    times: tuple[list[float], list[float]] = [], []
    for turn in range(rounds):
        for side in ((1, 0), (0, 1))[turn % 2]:
            times[side].append((ours, theirs)[side]())
    return Medians(*map(statistics.median, times), rounds)


def side_by_side(
    ours: Callable[[], float], theirs: Callable[[], float], rounds: int, warm: bool = True
) -> float:
    """The ratio of the medians of :func:`interleaved`."""
    return interleaved(ours, theirs, rounds, warm).ratio
