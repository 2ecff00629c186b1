"""The user, the git commit, what determines a result, and the identity of this process."""

from __future__ import annotations

import functools
import getpass
import hashlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gdexp.config.job import Job
from gdexp.config.paths import absolute
from gdexp.config.validation import is_torch_based

if TYPE_CHECKING:
    from gdexp.data.preparation import Prepared

ENVIRONMENT = "gdexp.environment"
COMMIT, DIRTY, DIFF = "mlflow.source.git.commit", "gdexp.git_dirty", "gdexp.git_diff"
VARIABLES = (  # settings of libraries that may change the last digits of a result
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENBLAS_CORETYPE"),
    *("MKL_CBWR", "NPY_DISABLE_CPU_FEATURES", "ATEN_CPU_CAPABILITY"),
    *("CUBLAS_WORKSPACE_CONFIG", "NVIDIA_TF32_OVERRIDE"),
)


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


def tag(job: Job, data: Prepared, computed_on: Mapping[str, Any] | None = None) -> dict[str, str]:
    """The tag with what determines a result besides the settings, in JSON.

    Args:
        job: the run.
        data: the data it is fitted to.
        computed_on: the facts of the process that computes it; None: this one.
    """
    here = computed_on or facts(torch=is_torch_based(job), device=job.settings["device"])
    return {ENVIRONMENT: json.dumps({**here, "data": data.digest, "folder": str(absolute("."))})}


def facts(*, torch: bool, device: str = "cpu") -> dict[str, Any]:
    """What may change the last digits of a result that this process computes, by name.

    Args:
        torch: whether torch computes it; it is then imported already.
        device: the setting ``device``.
    """
    known = {**_machine(), "variables": {k: os.environ[k] for k in VARIABLES if k in os.environ}}
    return known | _of_torch(device) if torch else known


@functools.cache
def _machine() -> dict[str, Any]:
    blas: Any = getattr(np.__config__, "CONFIG", {}).get("Build Dependencies", {}).get("blas", {})
    return {
        "python": sys.version.partition(" ")[0],
        "numpy": np.__version__,
        "blas": f"{blas.get('name')} {blas.get('version')}",
        "libc": _libc(),
        "processor": _processor(),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
    }


def _libc() -> str:
    """The C library, whose functions such as exp compute some losses."""
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or sys.platform
    except (AttributeError, OSError, ValueError):
        return sys.platform


def _processor() -> str:
    """The name of the processor (Linux), else its architecture."""
    try:
        with open("/proc/cpuinfo") as file:  # each line is computed as it is read
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return os.uname().machine


def _of_torch(device: str) -> dict[str, Any]:
    import torch

    from gdexp.pytorch import device_of

    kind = device_of(device)
    return {
        "torch": torch.__version__,
        "simd": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if kind == "cuda" else kind,
    }


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
