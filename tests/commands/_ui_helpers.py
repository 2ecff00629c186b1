"""A recorded sweep, shared by the tests that read it back, and commands to read it with."""

from __future__ import annotations

import atexit
import functools
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from conftest import clean_environment

SWEEP = ("-m", "step=manual,autograd", "lr=0.01,0.05", "iters=10")
NAMES = [f"step={step} lr={lr} iters=10" for step in ("manual", "autograd") for lr in (0.01, 0.05)]


def gdexp(module: str, *args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", module, *args]
    return subprocess.run(
        command, cwd=cwd, env=clean_environment(), capture_output=True, text=True, timeout=120
    )


@functools.cache
def recorded_sweep() -> Path:
    """The folder in which four real runs were started, once for all tests."""
    folder = Path(tempfile.mkdtemp(prefix="gdexp-sweep-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    done = gdexp("gdexp", *SWEEP, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder
