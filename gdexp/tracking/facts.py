"""What may change the last digits of a result besides its settings: versions, machine, threads."""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from gdexp.config.job import Job
from gdexp.config.paths import absolute
from gdexp.config.validation import is_torch_based
from gdexp.tracking.tags import ENVIRONMENT

if TYPE_CHECKING:
    from gdexp.data.preparation import Prepared

VARIABLES = (  # the libraries' own settings
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENBLAS_CORETYPE"),
    *("MKL_CBWR", "NPY_DISABLE_CPU_FEATURES", "ATEN_CPU_CAPABILITY"),
    *("CUBLAS_WORKSPACE_CONFIG", "NVIDIA_TF32_OVERRIDE"),
)


def environment_tag(
    job: Job, data: Prepared, computed_on: Mapping[str, Any] | None = None
) -> dict[str, str]:
    """The tag with what determines a result besides the settings, in JSON.

    Args:
        job: the run.
        data: the data it is fitted to.
        computed_on: the facts of the process that computes it; None: this one.
    """
    here = computed_on or facts(torch=is_torch_based(job), device=job.settings["device"])
    return {ENVIRONMENT: json.dumps({**here, "data": data.digest, "folder": str(absolute("."))})}


def facts(*, torch: bool, device: str = "cpu") -> dict[str, Any]:
    """What matters for a result that this process computes, by name.

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
