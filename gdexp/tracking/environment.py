"""The user, the git commit and the identity of this process."""

from __future__ import annotations

import functools
import getpass
import hashlib
import json
import os
import socket
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

from gdexp.config.paths import absolute
from gdexp.credentials import without_password
from gdexp.tracking.tags import COMMIT, DIFF, DIRTY


@functools.cache
def user() -> str:
    """The name of the user, or "unknown"."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def git() -> dict[str, str]:
    """Tags with the commit of the folder of the start and what it lacks; none outside git."""
    return _git(str(absolute(".")))


@functools.cache
def _git(folder: str) -> dict[str, str]:
    command = ["git", "status", "--porcelain=v2", "--branch"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=5, cwd=folder)
    except (OSError, subprocess.TimeoutExpired):
        return {}
    lines = answer.stdout.splitlines()
    commits = [line.removeprefix("# branch.oid ") for line in lines if "# branch.oid" in line]
    if answer.returncode or not commits or commits[0] == "(initial)":
        return {}
    dirty = any(not line.startswith("#") for line in lines)
    tags = {COMMIT: commits[0], DIRTY: str(dirty).lower()}
    if dirty and (diff := _uncommitted(folder)):  # outputs/ alone is none
        tags[DIFF] = hashlib.sha256(diff).hexdigest()[:16]
    return tags


def uncommitted() -> bytes | None:
    """The uncommitted changes in the folder of the start; None without any, and outside git."""
    return _uncommitted(str(absolute("."))) if DIFF in git() else None


def _uncommitted(folder: str) -> bytes | None:
    from gdexp.tracking.uncommitted import diff

    return diff(folder)


def run_name(number: int | None) -> str | None:
    """The name that MLFLOW_RUN_NAME gives to a run, in a sweep with the run's number; or None."""
    name = without_password(os.environ.get("MLFLOW_RUN_NAME", ""))
    return (name if number is None else f"{name} #{number}") if name else None


def process() -> str:
    """A JSON object that identifies this process across hosts, containers and reboots."""
    return json.dumps(identity())


def identity() -> dict[str, Any]:
    """What identifies this process; see :func:`gdexp.tracking.liveness.state`."""
    machine = _text("/etc/machine-id")
    stat = process_stat("self")
    return {
        "host": socket.gethostname(),
        # /etc/machine-id must not be published as it is: see man machine-id
        "machine": hashlib.sha256(f"gdexp {machine}".encode()).hexdigest()[:16] if machine else "",
        "boot_id": _text("/proc/sys/kernel/random/boot_id"),
        "namespaces": _namespaces(),
        "pid": os.getpid(),
        "started": stat.started if stat else "",
    }


GONE = ("Z", "X", "x")  # states of a process that has ended


class Stat(NamedTuple):
    """What Linux knows of a process.

    Attributes:
        state: a letter.
        parent: the number of its parent.
        started: when it started, in ticks since boot.
    """

    state: str
    parent: int
    started: str

    def is_alive(self, started: str) -> bool:
        """Whether this is the process that started then, and not another of the same number."""
        return self.started == started and self.state not in GONE


def process_stat(pid: int | str) -> Stat | None:
    """The state and start of a process; None if it cannot be read."""
    fields = _text(f"/proc/{pid}/stat").rpartition(")")[2].split()  # a name may contain spaces
    return Stat(fields[0], int(fields[1]), fields[19]) if len(fields) > 19 else None


def innermost_pid(entry: str) -> int | None:
    """The number of a process in the innermost of its containers; None if it cannot be read."""
    numbers = _status(entry, "NSpid").split()
    return int(numbers[-1]) if numbers else None


def ignores(pid: int, signum: int) -> bool:
    """Whether a process ignores a signal; False if this cannot be read."""
    return bool(int(_status(pid, "SigIgn") or "0", 16) >> (signum - 1) & 1)


def command_line(pid: int) -> str:
    """The words with which a process was started; empty if they cannot be read."""
    return _text(f"/proc/{pid}/cmdline").replace("\0", " ")


def _status(pid: int | str, key: str) -> str:
    """One line of what Linux tells of a process, or ""."""
    for line in _text(f"/proc/{pid}/status").splitlines():
        if line.startswith(f"{key}:"):
            return line.partition(":")[2].strip()
    return ""


def _namespaces() -> str:
    """The namespaces in which this process has its number and its start; "" if unknown."""
    try:
        if os.readlink("/proc/self") != str(os.getpid()):
            return ""  # /proc belongs to another container
        return " ".join(os.readlink(f"/proc/self/ns/{kind}") for kind in ("pid", "time"))
    except OSError:
        return ""


def _text(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace").strip()
    except OSError:
        return ""
