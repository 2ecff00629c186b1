"""What tests of sweeps import by name: sweeps run in this process, and their records read back."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers import CONF, Ended, artifact, clean_environment, client, runs
from mlflow import MlflowClient
from mlflow.entities import Run

# What the sweep `recorded_sweep` ran
TYPED = ("-m", "step=manual,autograd", "lr=0.01,0.05", "iters=10")
NAMES = [f"step={step} lr={lr} iters=10" for step in ("manual", "autograd") for lr in (0.01, 0.05)]


def sweep_of(option: str, **changed: Any) -> dict[str, Any]:
    """The settings of an option's YAML file, with some of them changed."""
    node: dict[str, Any] = yaml.safe_load((CONF / "sweep" / f"{option}.yaml").read_text())
    included = [sweep_of(name) for name in node.pop("defaults", [])]
    return {key: value for part in [*included, node, changed] for key, value in part.items()}


def gd(*args: str) -> Ended:
    """The command line, in this process and folder."""
    from gdexp.commands import main
    from gdexp.config import compose

    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["gdexp", *args])
        patch.setenv("HYDRA_FULL_ERROR", "1")
        compose.stamp.cache_clear()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):  # noqa: SIM117
            with pytest.raises(SystemExit) as ended:
                main()
    return Ended(int(ended.value.code or 0), out.getvalue(), err.getvalue())


@contextlib.contextmanager
def working_in(folder: Path, migrated: Path) -> Iterator[Path]:
    """An empty store in a folder to work in, for as long as it takes to fill it."""
    (folder / "outputs").mkdir()
    shutil.copy(migrated, folder / "outputs" / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in os.environ.keys() - clean_environment().keys():
            patch.delenv(name)
        yield folder


def start(folder: Path, *args: str) -> subprocess.Popen[str]:
    """A sweep as a process of its own, in a terminal session of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "gdexp", "-m", *args],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=clean_environment(),
        start_new_session=True,
    )


def members(opened: MlflowClient, sweep_id: str = "") -> list[Run]:
    """The runs of the only sweep, or of this one, by number."""
    found = [r for r in runs(opened) if r.data.tags["gdexp.kind"] == "run"]
    found = [r for r in found if r.data.tags.get("gdexp.sweep_id", "").endswith(sweep_id)]
    found = [r for r in found if "gdexp.sweep_id" in r.data.tags]
    return sorted(found, key=lambda r: int(r.data.tags["gdexp.job"]))


def sweeps(folder: Path) -> list[Run]:
    """The summaries of all sweeps."""
    return [r for r in runs(client(folder)) if r.data.tags["gdexp.kind"] == "sweep"]


def summary(opened: MlflowClient) -> Run:
    """The summary of the only sweep."""
    (found,) = [r for r in runs(opened) if r.data.tags["gdexp.kind"] == "sweep"]
    return found


def table(opened: MlflowClient, name: str = "runs.csv") -> list[dict[str, str]]:
    """The rows of a table of the only sweep's summary."""
    text = artifact(opened, summary(opened).info.run_id, name).read_text()
    return list(csv.DictReader(io.StringIO(text)))


def essence(found: list[Run]) -> list[tuple[Any, ...]]:
    """What must not depend on how often a sweep was stopped, nor on where it was resumed."""
    kept = [
        (
            r.info.run_name,
            r.data.params,
            r.data.metrics,
            r.info.status,
            r.data.tags["gdexp.outcome"],
        )
        for r in found
    ]
    return sorted(kept, key=lambda one: str(one[0]))
