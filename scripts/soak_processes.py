"""The processes of the soak: how they are started, struck and waited for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import soak_victim
from soak_victim import Plan

PATIENCE = 900.0  # seconds after which a command counts as hung
GRACE = 120.0  # seconds in which processes that lost their parent must end


class Program:
    """A command as a program of its own, in a session of its own."""

    def __init__(self, plan: Plan) -> None:
        plain = not (plan.write or plan.brisk or plan.api or plan.count)
        script = str(Path(soak_victim.__file__))
        words = ["-m", "gdexp", *plan.words] if plain else [script, plan.text()]
        with open(plan.out, "ab") as out, open(plan.err, "ab") as err:
            self._popen = subprocess.Popen(
                [sys.executable, *words],
                cwd=plan.folder,
                env={**_clean_environment(), **plan.env},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        self.pid = self._popen.pid

    def strike(self, signum: int) -> None:
        """Send a signal, unless the process has ended."""
        self._popen.send_signal(signum)

    def wait(self) -> int:
        """Its exit code, negative for a signal; below -99 if it was hung."""
        try:
            return self._popen.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            return self._popen.wait() - 1000


class Forked:
    """A command forked from a process that has imported gdexp."""

    def __init__(self, context: Any, plan: Plan) -> None:
        self._process = context.Process(target=soak_victim.forked, args=(plan,))
        self._process.start()
        self.pid: int = self._process.pid

    def strike(self, signum: int) -> None:
        """Send a signal, unless the process has ended."""
        if self._process.is_alive():
            os.kill(self.pid, signum)

    def wait(self) -> int:
        """Its exit code, negative for a signal; below -99 if it was hung."""
        self._process.join(PATIENCE)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
            return -1000
        return int(self._process.exitcode)


def _clean_environment() -> dict[str, str]:
    others = ("MLFLOW_", "HYDRA_", "OMP_")
    return {key: value for key, value in os.environ.items() if not key.startswith(others)}


def listens(pid: int) -> bool:
    """Wait until a process handles SIGTERM, as gdexp does from its first line on.

    Returns:
        False if it has ended before.
    """
    while True:
        try:
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        except OSError:
            return False
        fields = dict(line.split(":", 1) for line in lines if ":" in line)
        if "Z" in fields["State"].split()[0]:
            return False
        if int(fields["SigCgt"], 16) >> (signal.SIGTERM - 1) & 1:
            return True
        time.sleep(0.002)


def orphans(leader: int) -> list[int]:
    """Processes of a session that has lost its leader, if they do not end within a while."""
    deadline = time.monotonic() + GRACE
    while left := _of_session(leader):
        if time.monotonic() > deadline:
            return left
        time.sleep(0.05)
    return []


def _of_session(leader: int) -> list[int]:
    left = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        if fields[0] != "Z" and int(fields[3]) == leader:
            left.append(int(entry.parent.name))
    return left
