"""Where the time of a sweep goes: ``python bench_shares.py -m lr=0.01,0.02`` is that sweep.

The functions below are wrapped, and the sweep runs in this process. It prints the seconds of each
stage as JSON, on the wall and of CPU; what a function spends in another stage's functions is
theirs.
"""

from __future__ import annotations

import functools
import importlib
import json
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

FIRST = "composing"  # until the launcher takes over, and after it
STAGES = {
    "gdexp.tracking.store.connect": "opening the store",
    "gdexp.sweep.sweeper._launch": "launching",
    "gdexp.sweep.workers.engines.run_program": "computing",
    "gdexp.sweep.vectorized.compute._result": "wording",
    "gdexp.sweep.recording._finished": "wording",
    "gdexp.tracking.client_store._write_chunk": "writing",
    "gdexp.tracking.sql_store.analyze": "writing",
    "gdexp.sweep.resume.begin": "writing",
    "gdexp.sweep.summary.table_of": "writing",
    "gdexp.sweep.summary.close": "writing",
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
        """Count the time since the last call for the stage that is going on."""
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
    cli = importlib.import_module("gdexp.commands.run")
    places = [path.rpartition(".") for path in STAGES]
    modules = [importlib.import_module(module) for module, _, _ in places]
    wall, cpu = clocks = Clock(time.perf_counter), Clock(time.process_time)
    for module, (_, _, name), stage in zip(modules, places, STAGES.values(), strict=True):
        setattr(module, name, wall.timed(stage, cpu.timed(stage, getattr(module, name))))
    try:
        cli.main()
    finally:
        for clock in clocks:
            clock.file()
        print(json.dumps([clock.seconds for clock in clocks]))


if __name__ == "__main__":
    main()
