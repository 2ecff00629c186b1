"""What a row of the benchmark is made of: two sides timed side by side, and a target."""

from __future__ import annotations

import functools
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NOT_INHERITED = ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "PYTHONPATH")


@dataclass(frozen=True)
class Target:
    """A bound on the ratio ours / theirs of two times.

    >>> Target(at_most=1.05).shown(0.87), Target(times_faster=50).shown(1 / 63)
    ('0.87x', '63x faster')
    """

    at_most: float = 0
    times_faster: float = 0

    def __str__(self) -> str:
        return f">= {self.times_faster:g}x faster" if self.times_faster else f"<= {self.at_most:g}x"

    def met(self, ratio: float) -> bool:
        """Whether a ratio is within the bound, unrounded."""
        return ratio <= (1 / self.times_faster if self.times_faster else self.at_most)

    def shown(self, ratio: float) -> str:
        """A ratio in the words of the target."""
        return f"{1 / ratio:.3g}x faster" if self.times_faster else f"{ratio:.2f}x"


@dataclass(frozen=True)
class Measured:
    """What a row found: the ratio ours / theirs, how it was found, and what else is wrong."""

    ratio: float
    how: str
    wrong: str = ""


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        what: our side.
        against: their side.
        target: what the ratio should be.
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
    """Where a row may write, and how much time it may take."""

    folder: Path
    quick: bool

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


def side_by_side(
    ours: Callable[[], float], theirs: Callable[[], float], rounds: int, warm: bool = True
) -> float:
    """The median ratio of two times, each pair taken back to back in alternating order.

    Args:
        ours: runs our side and returns its time.
        theirs: runs their side and returns its time.
        rounds: the number of pairs.
        warm: whether to run both once before, uncounted.
    """
    if warm:
        ours(), theirs()
    ratios = []
    for turn in range(rounds):
        if turn % 2:
            mine, other = ours(), theirs()
        else:
            other, mine = theirs(), ours()
        ratios.append(mine / other)
    return statistics.median(ratios)
