"""python -m gdexp report: what the page says is what the store has."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from helpers import CLI, client, last, refused, runs
from report_helpers import Page
from store_helpers import artifact, newest, rows, set_tag
from sweep_helpers import NAMES, TYPED, gd

from gdexp.descent.numbers import short
from gdexp.tracking.connect import open_existing
from gdexp.tracking.environment import process


def report(cli: CLI, *words: str) -> Page:
    """The page that the command writes."""
    ended = cli("report", *words)
    assert ended.code == 0, ended.err
    return Page(Path(ended.out.splitlines()[-1]).read_text())


def of_gd(*words: str) -> Page:
    ended = gd("report", *words)
    assert ended.code == 0, ended.err
    return Page(Path(ended.out.splitlines()[-1]).read_text())


def test_of_a_run(store: Path, cli: CLI) -> None:
    cli("step=manual", "gradient=manual", "lr=0.05", "iters=30")
    run = last(client(store))
    page = report(cli, run.info.run_id[:6])
    metrics = run.data.metrics
    assert page.texts["title"] == page.texts["h1"] == [f"Run {run.info.run_id[:8]}"]
    assert page.texts["code"][0] == "python -m gdexp step=manual gradient=manual lr=0.05 iters=30"
    trajectory = open_existing(None, None).runs(limit=1)[0]
    assert page.answer.startswith(
        f"Completed: 30 epochs, loss 30 → {short(metrics['final/loss'])}, "
        f"f(5) = {short(metrics['final/prediction'])}"
    )
    values = page.facts("The final values")
    assert values["final/loss"] == short(metrics["final/loss"])
    assert values["param/w"] == short(trajectory.metrics["param/w"])
    settings = page.facts("The options and settings")
    assert {name: settings[name] for name in ("step", "lr", "iters", "gradient")} == {
        **{"step": "manual", "lr": "0.05"},
        **{"iters": "30", "gradient": "manual"},
    }
    data = run.inputs.dataset_inputs[0].dataset
    assert page.facts("The data set") == {
        **{"name": "tutorial", "digest": data.digest},
        **{"rows": "4", "columns": "1"},
    }
    assert page.facts("Versions and machine")["gdexp"] == run.data.tags["gdexp.version"]
    folder = json.loads(run.data.tags["gdexp.environment"])["folder"]
    steps = page.texts["code"][-1].splitlines()
    assert (steps[0], steps[-2:]) == (
        f"cd {folder}",
        [page.texts["code"][0], f"python -m gdexp replay {run.info.run_id}"],
    )
    assert any("_target_: " in text for text in page.texts["code"])
    assert len(page.html.encode()) <= 150_000


def test_of_a_sweep(sweep: Path, cli: CLI, tmp_path: Path) -> None:
    page = report(cli, "--out", str(tmp_path / "r.html"))
    members = sorted(
        (run for run in runs(client(sweep)) if "gdexp.job" in run.data.tags),
        key=lambda run: int(run.data.tags["gdexp.job"]),
    )
    table = "The runs, with what differs and the results"
    assert page.column(table, "job") == ["#0", "#1", "#2", "#3"]
    assert page.column(table, "run") == [run.info.run_id[:8] for run in members]
    for key in ("step", "lr"):
        assert page.column(table, key) == [run.data.params[key] for run in members]
    for key in ("final/loss", "final/prediction"):
        assert page.column(table, key) == [short(run.data.metrics[key]) for run in members]
    assert page.tables[table][0][:3] == ["job", "step", "lr"]  # the step tells the gradient
    assert page.column(table, "outcome") == [
        *("completed", "diverged"),
        *("completed", "completed, best"),
    ]
    best = members[3]
    assert page.answer.startswith(
        f"4 runs: 3 completed, 1 diverged. Best: {NAMES[3]}, "
        f"loss {short(best.data.metrics['final/loss'])}. The sweep took "
    )
    assert page.texts["code"][0] == f"python -m gdexp {' '.join(TYPED)}"
    assert page.texts["code"][-1].endswith(f"python -m gdexp replay {best.info.run_id}")
    assert page.facts("The options and settings that all runs share")["iters"] == "10"
    assert len(page.attributes["svg"]) >= 1


def test_a_sweep_by_any_of_its_names(sweep: Path, cli: CLI, tmp_path: Path) -> None:
    run = runs(client(sweep))[-1]
    out = ("--out", str(tmp_path / "r.html"))
    sweep_id = run.data.tags["gdexp.sweep_id"]
    pages = [
        report(cli, name, *out).texts["h1"]
        for name in ("last", sweep_id, f"outputs/sweeps/{sweep_id}")
    ]
    assert pages == [[f"Sweep {sweep_id}"]] * 3


def test_runs_side_by_side(sweep: Path, cli: CLI, tmp_path: Path) -> None:
    ids = [run.info.run_id for run in runs(client(sweep)) if "gdexp.job" in run.data.tags][:2]
    page = report(cli, *ids, "--out", str(tmp_path / "r.html"))
    table = "The runs, with what differs and the results"
    assert page.texts["h1"] == ["2 runs"]
    assert page.column(table, "run") == [run_id[:8] for run_id in ids]
    (numbers,) = (rows for key, rows in page.tables.items() if key.startswith("The numbers of"))
    assert [name[:8] for name in numbers[0]] == ["epoch", *(run_id[:8] for run_id in ids)]
    assert len(numbers) == 1 + 10


@pytest.fixture
def repeated(store: Path) -> Path:
    """A sweep over seeds, and one of which every run diverges."""
    few = ("data=synthetic", "data.rows=20", "iters=5", "step=manual", "gradient=manual")
    assert gd("-m", *few, "seed=0,1,2", "data.batch_size=5", "lr=0.1,0.2").code == 0
    return store


def test_repetitions_and_divergence(repeated: Path) -> None:
    page = of_gd("last")
    members = [run for run in runs(client(repeated)) if "gdexp.job" in run.data.tags]
    caption = "Mean and standard deviation over seeds"
    assert page.column(caption, "n") == ["3", "3"]
    losses = [r.data.metrics["final/loss"] for r in members if r.data.params["lr"] == "0.1"]
    mean = math.fsum(losses) / 3
    deviation = math.sqrt(math.fsum((loss - mean) ** 2 for loss in losses) / 2)
    assert float(page.column(caption, "mean of final/loss")[0]) == pytest.approx(mean, rel=1e-5)
    assert float(page.column(caption, "± sd")[0]) == pytest.approx(deviation, rel=1e-5)

    (summary,) = (r for r in runs(client(repeated)) if r.data.tags["gdexp.kind"] == "sweep")
    query = "UPDATE runs SET status = 'RUNNING', end_time = NULL WHERE run_uuid = ?"
    rows(repeated, query, summary.info.run_id)
    tag = "INSERT INTO tags (key, value, run_uuid) VALUES ('gdexp.process', ?, ?)"
    rows(repeated, tag, process(), summary.info.run_id)
    deleted = "UPDATE runs SET lifecycle_stage = 'deleted' WHERE run_uuid = ?"
    rows(repeated, deleted, members[0].info.run_id)
    page = of_gd("last")
    assert "The sweep is still running: 5 of 6 runs are recorded." in page.html
    assert page.answer.startswith("5 runs: 5 completed. Best: ")

    assert gd("-m", "step=manual", "lr=1,2").code == 0
    page = of_gd("last")
    assert page.answer.startswith(
        "2 runs: 2 diverged. None of them completed or converged, so none is the best."
    )
    assert len(page.attributes["svg"]) >= 1


def test_the_forecast_beside_the_fact(store: Path, cli: CLI) -> None:
    point = "INSERT INTO latest_metrics VALUES (?, ?, 0, 0, 0, ?)"
    columns = [row[1] for row in rows(store, "PRAGMA table_info(latest_metrics)")]
    assert columns[:2] == ["key", "value"]
    given = dict.fromkeys(columns, "0") | {"run_uuid": newest(store)}
    for key, value in {"forecast/largest_lr": "0.005", "check/gradient_ratio": "4"}.items():
        names = ", ".join(columns)
        marks = ", ".join("?" * len(columns))
        point = f"INSERT OR REPLACE INTO latest_metrics ({names}) VALUES ({marks})"
        rows(store, point, *(given | {"key": key, "value": value}).values())
    page = report(cli, newest(store))
    assert (
        "lr=0.01 is above 0.005, the largest that converges, as forecast. Outcome: completed"
        in page.html
    )
    table = page.tables["The forecast, and what the run did"]
    assert ["largest lr that converges", "0.005"] in [row[:2] for row in table]
    checks = page.facts("Checks of the gradient and of the fit")
    assert checks["gradient as a multiple of the derivative"] == "4"


def test_names_of_others_are_shown_as_they_are(store: Path, cli: CLI) -> None:
    hostile = "`python -m gdexp lr=1` <script>alert(1)</script>&\"'"
    set_tag(store, "mlflow.note.content", hostile)
    set_tag(store, "gdexp.reason", hostile)
    page = report(cli, newest(store))
    assert "<script>alert" not in page.html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&amp;&#34;&#39;" in page.answer


def test_a_run_under_way(store: Path, cli: CLI) -> None:
    assert cli("step=manual", "iters=1").code == 0
    run_id = newest(store)
    rows(store, "UPDATE runs SET status = 'RUNNING', end_time = NULL")
    rows(store, "INSERT INTO tags (key, value, run_uuid) VALUES (?, ?, ?)",
         "gdexp.process", process(), run_id)  # fmt: skip
    artifact(store, "trajectory.parquet").unlink()
    page = report(cli, run_id)
    assert re.fullmatch(r"Still running: epoch 1 of 1, loss \S+\.", page.answer)
    assert "has no trajectory.parquet among its artifacts, so nothing can be drawn." in page.html
    assert "svg" not in page.attributes


def test_a_damaged_record(store: Path, cli: CLI) -> None:
    assert cli("step=manual", "iters=1").code == 0
    artifact(store, "trajectory.parquet").write_bytes(b"PAR1")
    artifact(store, "config.yaml").unlink()
    page = report(cli, newest(store))
    assert "is damaged" in page.html
    assert "so nothing can be drawn." in page.html


def test_own_code_is_not_imported_without_trust(mine: tuple[str, ...], cli: CLI) -> None:
    assert cli(*mine, "iters=3").code == 0
    ended = cli("report", newest(Path()))
    assert ended.code == 0
    assert "my_loss.Loss" in ended.err
    assert ended.err.startswith("gdexp: the surface of the loss is not drawn: config.yaml of run ")
    assert ended.err.endswith("If it is code of your own, type --trust 'my_loss.*'.\n")
    assert cli("report", newest(Path()), "--trust", "my_loss.*").err == ""


# Where it goes


def test_only_reports_are_overwritten(store: Path, cli: CLI) -> None:
    name = f"report-{newest(store)[:8]}.html"
    for _ in range(2):
        assert cli("report", newest(store)).out == f"{store / name}\n"
    Path("mine.html").write_text("<!DOCTYPE html><title>mine</title>")
    why = "already exists, and is not a report of gdexp's"
    here = "Name a new file in a folder that exists."
    assert refused(cli, "report", "--out", "mine.html") == f"--out: mine.html {why}. {here}"
    assert refused(cli, "report", "--out", "outputs") == f"--out: outputs is a folder. {here}"
    assert "does not exist" in refused(cli, "report", "--out", "no/r.html")
    assert "name too long" in refused(cli, "report", "--out", "a" * 300)
    assert not [path for path in Path().iterdir() if path.name.startswith(".report")]


@pytest.mark.parametrize("is_there", [True, False])
def test_it_is_opened(
    is_there: bool, store: Path, cli: CLI, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append(address) or is_there)
    ended = cli("report", "--out", "r.html", "--open")
    assert opened == [f"file://{store}/r.html"]
    assert ended.err == (
        "" if is_there else f"no browser can be opened here: open {store}/r.html\n"
    )


def test_it_is_logged_to_the_run_which_stays_as_it_was(store: Path, cli: CLI) -> None:
    select = "SELECT status, end_time, start_time FROM runs"
    before = rows(store, select), rows(store, "SELECT * FROM tags ORDER BY key")
    ended = cli("report", newest(store), "--log")
    place = artifact(store, "report.html")
    assert (ended.code, ended.out) == (0, f"{place}\n")
    assert Page(place.read_text()).texts["h1"] == [f"Run {newest(store)[:8]}"]
    assert (rows(store, select), rows(store, "SELECT * FROM tags ORDER BY key")) == before
    assert [path.name for path in store.iterdir()] == ["outputs"]
    both = cli("report", newest(store), "--log", "--out", "r.html")
    assert both.out == f"{place}\n{store / 'r.html'}\n"


def test_of_a_sweep_it_is_logged_to_the_summary(repeated: Path) -> None:
    ended = gd("report", "last", "--log")
    summary = next(r for r in runs(client(repeated)) if r.data.tags["gdexp.kind"] == "sweep")
    assert ended.out == f"{summary.info.artifact_uri.removeprefix('file://')}/report.html\n"
    store = open_existing(None, None)
    (run,) = store.runs({"gdexp.kind": "sweep"})
    assert "report.html" in store.files(run)
    members = [r.info.run_id for r in runs(client(repeated)) if "gdexp.job" in r.data.tags]
    assert refused(gd, "report", *members[:2], "--log") == (
        "--log: name one run or one sweep, to which the report belongs."
    )
    rows(repeated, "UPDATE runs SET lifecycle_stage = 'deleted' WHERE run_uuid = ?", run.run_id)
    assert "has no summary run to log the report to." in refused(gd, "report", "last", "--log")


def test_what_does_not_exist(store: Path, cli: CLI) -> None:
    assert "zebra" in refused(cli, "report", "zebra")
    assert "is a setting, not a run's id" in cli("report", "lr=0.1").err


def test_the_store_of_others_knows_its_data_sets(store: Path, monkeypatch: Any) -> None:
    """By SQL and by MLflow's client alike."""
    from gdexp.tracking.client_store import ClientStore
    from gdexp.tracking.connect import client_of

    opened = open_existing(None, None)
    (run,) = opened.runs()
    other = ClientStore(client_of(opened.uri), opened.uri, "gdexp", opened.experiment_id)
    assert opened.dataset(run) == other.dataset(run)
    assert opened.dataset(run) is not None
    other.add_files(run, {"report.html": b"page"})
    assert opened.read(run, "report.html") == b"page"
    assert other.runs()[0].status == "FINISHED"
    rows(store, "DELETE FROM inputs")
    assert opened.dataset(run) is None
    assert other.dataset(run) is None
