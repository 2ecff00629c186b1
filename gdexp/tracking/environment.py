"""The user, the git commit and the identity of this process."""

from __future__ import annotations

import functools
import getpass
import json
import os
import socket
import subprocess
import time
from pathlib import Path

from gdexp.config.paths import absolute
from gdexp.credentials import without_password


@functools.cache
def user() -> str:
    """The name of the user, or "unknown"."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


@functools.cache
def git() -> dict[str, str]:
    """Tags with the commit of the folder of the start and whether it is dirty; none outside git."""
    command = ["git", "status", "--porcelain=v2", "--branch"]
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, timeout=5, cwd=absolute(".")
        )
    except (OSError, subprocess.TimeoutExpired):
        return {}
    lines = answer.stdout.splitlines()
    commits = [line.removeprefix("# branch.oid ") for line in lines if "# branch.oid" in line]
    if answer.returncode or not commits or commits[0] == "(initial)":
        return {}
    dirty = any(not line.startswith("#") for line in lines)
    return {"mlflow.source.git.commit": commits[0], "gdexp.git_dirty": str(dirty).lower()}


def run_name(number: int | None) -> str | None:
    """The name that MLFLOW_RUN_NAME gives to a run, in a sweep with the run's number; or None."""
    name = without_password(os.environ.get("MLFLOW_RUN_NAME", ""))
    return (name if number is None else f"{name} #{number}") if name else None


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
