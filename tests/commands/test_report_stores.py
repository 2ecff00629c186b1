"""Reports on runs in PostgreSQL and on MLflow's server, logged to runs that have ended."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers import process
from mlflow import MlflowClient
from report_helpers import Page

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("kind", ["postgres", "server"])
def test_it_is_logged_and_the_run_stays_as_it_was(
    kind: str, workdir: Path, experiment: str, request: pytest.FixtureRequest
) -> None:
    if kind == "postgres":
        uri = request.getfixturevalue("postgres_store")()
    else:
        uri = request.getfixturevalue("served").uri
    here = {"cwd": workdir, "MLFLOW_TRACKING_URI": uri, "MLFLOW_EXPERIMENT_NAME": experiment}
    assert process("-m", "step=manual", "lr=0.01,0.05", "iters=5", **here).code == 0  # type: ignore[arg-type]
    client = MlflowClient(uri)
    place = client.get_experiment_by_name(experiment)
    assert place is not None

    def summary() -> object:
        kind_is_sweep = "tags.`gdexp.kind` = 'sweep'"
        (run,) = client.search_runs([place.experiment_id], kind_is_sweep)
        return run.info.run_id, run.info.status, run.info.end_time, run.data.tags

    before = summary()
    ended = process("report", "last", "--log", "--out", "r.html", **here)  # type: ignore[arg-type]
    assert (ended.code, ended.err) == (0, "")
    assert summary() == before
    assert isinstance(before, tuple)
    logged = Path(client.download_artifacts(before[0], "report.html"))
    assert logged.read_bytes() == (workdir / "r.html").read_bytes()
    page = Page(logged.read_text())
    assert page.answer.startswith("2 runs: 1 completed, 1 diverged.")
    assert page.facts("The data set")["rows"] == "4"
    assert ended.out.splitlines()[1] == str(workdir / "r.html")
