"""The oldest MLflow that pyproject.toml allows, beside the installed one: the same rows."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from helpers import CHECKOUT, PATIENCE, clean_environment
from tracking_helpers import odd_runs, tables_at

from gdexp.tracking.connect import connect
from gdexp.tracking.sql_store import SqlStore

BY_CLIENT = """
import shutil, sys
import mlflow
assert mlflow.__version__.startswith(sys.argv[2] + "."), mlflow.__version__
from gdexp.tracking import empty_store
empty_store._main("empty.db")
shutil.copy("empty.db", "slow.db")
from gdexp.tracking.client_store import ClientStore
from gdexp.tracking.connect import client_of
from gdexp.tracking.location import resolve
from tracking_helpers import odd_runs
client = client_of(resolve("sqlite:///slow.db"))
experiment = client.create_experiment("a b", sys.argv[1])
runs = [run for run in odd_runs() if run.name != "same point"]
ClientStore(client, "sqlite:///slow.db", "a b", experiment).write(runs)
"""


def oldest() -> str:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    (wanted,) = (one for one in project["dependencies"] if one.startswith("mlflow>="))
    version = re.match(r"mlflow>=([\d.]+)", wanted)
    assert version is not None
    return version[1]


@pytest.mark.slow
def test_the_oldest_mlflow_writes_and_reads_the_same_rows(workdir: Path) -> None:
    older = workdir / "older"  # only MLflow: the rest is that of this environment
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(older)]
    subprocess.run([*pip, f"mlflow-skinny~={oldest()}.0"], check=True, timeout=PATIENCE)
    place = (workdir / "outputs" / "artifacts").as_uri()
    path = os.pathsep.join([str(older), str(CHECKOUT), str(CHECKOUT / "tests")])
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", BY_CLIENT, place, oldest()],
        env=clean_environment() | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    shutil.copy("empty.db", "fast.db")
    fast = connect({"uri": "sqlite:///fast.db", "experiment": "a b"})
    assert isinstance(fast, SqlStore)
    # One point twice is an error to the client of that time.
    fast.write([run for run in odd_runs() if run.name != "same point"])
    fast_rows, slow_rows = tables_at("sqlite:///fast.db"), tables_at("sqlite:///slow.db")
    del fast_rows["experiments"], slow_rows["experiments"]  # MLflow's own has another place
    for table, rows in slow_rows.items():
        assert fast_rows[table] == rows, table
