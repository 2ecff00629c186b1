"""Profiles the stages of a sweep: ``python bench_shares.py -m lr=0.01,0.02`` runs that sweep.

It wraps the functions below, runs the sweep in this process, and prints the wall-clock and CPU
seconds of each stage as JSON. Time spent in a nested stage counts for that stage only.
"""

from __future__ import annotations

import functools
import json
import pkgutil
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

FIRST = "composing"  # before and after launching
STAGES = {
    "gdexp.tracking.connect.connect": "opening the store",
    "gdexp.sweep.sweeper._launch": "launching",
    "gdexp.sweep.vectorized.points.loop.run_program": "computing",
    "gdexp.sweep.vectorized.stacks.loop.run_stack": "computing",
    "gdexp.sweep.vectorized.points.runs.result_of": "describing",
    "gdexp.sweep.vectorized.compute.result_of": "describing",
    "gdexp.tracking.describe.record": "describing",
    "gdexp.sweep.summary.table_row": "describing",
    "gdexp.tracking.sql_store.SqlStore.write": "writing",
    "gdexp.tracking.sql_store.SqlStore.analyze_after": "writing",
    "gdexp.sweep.summary._files": "writing",
    "builtins.__import__": "starting",
}


class Clock:
    """The seconds spent in each stage.

    Args:
        now: the time in seconds.

    Attributes:
        seconds: by stage.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self.seconds: dict[str, float] = defaultdict(float)
        self._stages = [FIRST]
        self._since = now()

    def file(self) -> None:
        """Add the time since the last call to the current stage."""
        now = self._now()
        self.seconds[self._stages[-1]] += now - self._since
        self._since = now

    def timed(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, as part of a stage."""

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            self.file()
            self._stages.append(stage)
            try:
                return function(*args, **kwargs)
            finally:
                self.file()
                self._stages.pop()

        return call


def main() -> None:
    """Run the command line with the stages timed."""
    places = [path.rpartition(".") for path in STAGES]
    owners = [pkgutil.resolve_name(owner) for owner, _, _ in places]
    wall, cpu = clocks = Clock(time.perf_counter), Clock(time.process_time)
    for owner, (_, _, name), stage in zip(owners, places, STAGES.values(), strict=True):
        setattr(owner, name, wall.timed(stage, cpu.timed(stage, getattr(owner, name))))
    try:
        pkgutil.resolve_name("gdexp.commands.main")()
    finally:
        for clock in clocks:
            clock.file()
        print(json.dumps([clock.seconds for clock in clocks]))


if __name__ == "__main__":
    main()
