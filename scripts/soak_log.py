"""What the soak knows by itself: the commands it started and the runs they acknowledged.

Every line is synced to a file outside the store before the next step, so that it survives whatever
happens to the system under test.
"""

from __future__ import annotations

import json
import os
import re
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ALONE = re.compile(r"(?:recorded as|returned) run ([0-9a-f]{32})")
MEMBER = re.compile(r"^#(\d+) .*: (?:completed|converged|diverged)", re.MULTILINE)
EPOCH = re.compile(r"^epoch (\d+)", re.MULTILINE)


@dataclass
class Case:
    """A run or a sweep, and what has been acknowledged of it.

    Attributes:
        kind: its kind, in words.
        seed: the setting ``seed`` of its runs, which identifies them in the store.
        words: its command line.
        jobs: how many runs it has.
        sweep_id: the id of the sweep; "" for a single run.
        ids: ids of runs that were reported as recorded.
        members: numbers of jobs that were reported as ended.
        epochs: the last epoch that a run printed before it ended as interrupted; 0: none.
        is_done: whether the command has ended with exit code 0.
        problems: what was wrong with its processes: the column, and a sentence.
    """

    kind: str
    seed: int
    words: tuple[str, ...]
    jobs: int
    sweep_id: str = ""
    ids: set[str] = field(default_factory=set)
    members: set[int] = field(default_factory=set)
    epochs: int = 0
    is_done: bool = False
    problems: list[tuple[str, str]] = field(default_factory=list)

    @property
    def acknowledged(self) -> int:
        """The number of runs that must be in the store."""
        return max(len(self.ids), len(self.members), int(self.epochs > 0))


class Log:
    """The file, and what it says, by seed."""

    def __init__(self, path: Path) -> None:
        self.cases: dict[int, Case] = {}
        self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._lock = threading.Lock()

    def started(self, case: Case) -> None:
        """A command is about to be started for the first time."""
        with self._lock:
            self.cases[case.seed] = case
            self._line(event="started", seed=case.seed, words=case.words)

    def ended(self, case: Case, code: int, out: str, err: str) -> None:
        """A command has ended; what it printed acknowledges runs."""
        ids = set(ALONE.findall(out + err))
        members = {int(number) for number in MEMBER.findall(err)} if case.sweep_id else set()
        printed = [int(number) for number in EPOCH.findall(out)]
        with self._lock:
            case.ids |= ids
            case.members |= members
            if code > 128 and not case.sweep_id and printed:
                case.epochs = printed[-1]
            case.is_done = case.is_done or code == 0
            seen = {"ids": sorted(ids), "members": sorted(members), "epochs": case.epochs}
            self._line(event="ended", seed=case.seed, code=code, **seen)

    def _line(self, **values: Any) -> None:
        os.write(self._handle, json.dumps(values).encode() + b"\n")
        os.fsync(self._handle)
