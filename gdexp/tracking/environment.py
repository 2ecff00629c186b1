"""The user, the git commit and the identity of this process."""

from __future__ import annotations

import functools
import getpass
import hashlib
import json
import os
import socket
import subprocess
import time
from pathlib import Path

from gdexp.config.paths import absolute

COMMIT, DIRTY, DIFF = "mlflow.source.git.commit", "gdexp.git_dirty", "gdexp.git_diff"


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
    name = os.environ.get("MLFLOW_RUN_NAME")
    return name if not name or number is None else f"{name} #{number}"


def process() -> str:
    """A JSON object that identifies this process across hosts and reboots."""
    return json.dumps(
        {
            "host": socket.gethostname(),
            "boot_id": _text("/proc/sys/kernel/random/boot_id"),
            "pid": os.getpid(),
            "started": _started(),
        }
    )


def _started() -> str:
    """When this process started, in clock ticks since boot (Linux), else in seconds since 1970."""
    fields = _text("/proc/self/stat").rpartition(")")[2].split()
    return fields[19] if len(fields) > 19 else f"{time.time() - time.process_time():.0f}"


def _text(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
