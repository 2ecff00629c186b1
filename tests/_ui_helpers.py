"""A recorded sweep, shared by the tests that read it back, and commands to read it with."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

import pytest

SWEEP = ("-m", "step=manual,autograd", "lr=0.01,0.05", "iters=10")
NAMES = [f"step={step} lr={lr} iters=10" for step in ("manual", "autograd") for lr in (0.01, 0.05)]


def environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}


def gdexp(module: str, *args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", module, *args]
    return subprocess.run(
        command, cwd=cwd, env=environment(), capture_output=True, text=True, timeout=120
    )


@functools.cache
def recorded_sweep() -> Path:
    """The folder in which four real runs were started, once for all tests."""
    folder = Path(tempfile.mkdtemp(prefix="gdexp-sweep-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    done = gdexp("gdexp", *SWEEP, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


def missing(what: str) -> NoReturn:
    """Skip, or fail where everything is said to be there."""
    if os.environ.get("GDEXP_REQUIRE_ALL") == "1":
        pytest.fail(f"{what} is missing, and GDEXP_REQUIRE_ALL=1 says that it must not be")
    pytest.skip(f"needs {what}")
