"""python -m gdexp ui: the real server, its addresses, and its end."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sqlite3
import threading
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote
from urllib.request import urlopen

import pytest
from helpers import process
from mlflow import MlflowClient
from ui_helpers import STARTING, WORKFLOW, free_port, group_members, is_free, started

from gdexp.commands import ui
from gdexp.errors import GdexpError
from gdexp.tracking import query
from gdexp.tracking.connect import open_existing
from gdexp.tracking.run_record import RecordedRun
from gdexp.tracking.store import Store


@pytest.fixture
def store(sweep: Path) -> Store:
    return open_existing(None, None)


@pytest.mark.slow
def test_serves_until_ctrl_c(sweep: Path) -> None:
    before = {path.name for path in sweep.rglob("*")}
    port = free_port()
    with started(sweep, "--port", str(port)) as server:
        assert server.port == port
        with urlopen(f"http://127.0.0.1:{port}/health") as answer:
            assert answer.read() == b"OK"
        with urlopen(f"http://127.0.0.1:{port}/") as answer:
            assert b"<title>MLflow</title>" in answer.read()
        group = server.process.pid
        began = time.monotonic()
        assert server.stop(signal.SIGINT) == (0, STARTING)
        assert time.monotonic() - began < 2 * server.seconds
        assert group_members(group) == []
        assert is_free(port)
    pictures = {"plots", "map.svg", "curves.svg", "pictures.json"}
    assert {path.name for path in sweep.rglob("*")} - before <= pictures


@pytest.mark.slow
def test_sigterm_ends_it_and_a_taken_default_port_is_passed_over(sweep: Path) -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind((ui.HOST, ui.PORT))
            taken.listen()
        except OSError:
            pass  # somebody else has it, which will do
        with started(sweep) as server:
            assert server.port > ui.PORT
            code, err = server.stop(signal.SIGTERM)
            assert code == 143
            assert err == f"port 5000 is taken, using {server.port} instead\n{STARTING}"
            assert group_members(server.process.pid) == []
            assert is_free(server.port)


@pytest.mark.slow
def test_a_server_is_pointed_to_not_started(sweep: Path) -> None:
    with started(sweep, "--port", str(free_port())) as server:
        base = f"http://127.0.0.1:{server.port}"
        done = process("ui", "--uri", base, cwd=sweep)
        assert (done.code, done.err) == (0, "")
        lines = dict(line.split(maxsplit=1) for line in done.out.splitlines())
        assert {key.rstrip(":"): value for key, value in lines.items()} == server.addresses
        assert [*server.addresses] == ["runs", "curves", "pictures", "comparison"]
        run_id = server.addresses["pictures"].partition("/runs/")[2].partition("/")[0]
        artifact = f"{base}/get-artifact?path=plots/map.svg&run_uuid={run_id}"
        with urlopen(artifact) as answer:
            assert b"<svg" in answer.read()
        done = process("compare", "--uri", base, "--csv", cwd=sweep)
        assert done.out == process("compare", "--csv", cwd=sweep).out
        done = process("ui", "--port", str(server.port), cwd=sweep)
        assert (done.code, done.out) == (2, "")
        assert done.err == (
            f"gdexp: --port: port {server.port} is taken. Name another, or leave --port out.\n"
        )


def test_pictures_that_are_still_drawn_at_the_end_are_left_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn, codes = threading.Event(), list[int]()

    def show(args: object) -> int:
        threading.Thread(target=drawn.wait, name=ui.DRAWING, daemon=True).start()
        return 128 + signal.SIGINT

    monkeypatch.setattr(ui, "_show", show)
    monkeypatch.setattr(os, "_exit", codes.append)
    try:
        ui.main([])
    finally:
        drawn.set()
    assert codes == [0]


def test_a_server_that_cannot_start_says_why(
    sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "uvicorn.py").write_text("raise ImportError('uvicorn is broken here')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    done = process("ui")
    assert (done.code, done.out) == (1, "")
    assert "gdexp: MLflow's server cannot be started: " in done.err
    assert "uvicorn is broken here" in done.err
    assert "Traceback" not in done.err


def test_looking_creates_nothing(tmp_path: Path) -> None:
    done = process("ui", cwd=tmp_path)
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        "gdexp: nothing recorded yet: outputs/mlflow.db does not exist; "
        "run python -m gdexp first.\n"
    )
    assert not list(tmp_path.iterdir())


def test_an_unknown_run_is_a_sentence(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ui.main(["zzz"]) == 2
    assert capsys.readouterr().err.startswith("gdexp: there is no run 'zzz' in this store.")


@pytest.mark.parametrize("port", ["0", "65536", "http"])
def test_a_port_is_a_number(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        ui.main(["--port", port])
    assert ended.value.code == 2
    assert f"{port!r} is not a whole number from 1 to 65535" in capsys.readouterr().err


def test_ports_that_are_all_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server((ui.HOST, 0)) as taken:
        monkeypatch.setattr(ui, "PORT", taken.getsockname()[1])
        monkeypatch.setattr(ui, "TRIED", 1)
        with pytest.raises(GdexpError, match=r"are all taken\. Type --port N\."):
            ui.listen(None)


def test_addresses_open_views_that_the_store_has(store: Store) -> None:
    chosen = query.select(store)
    pages = ui.pages(store, chosen)
    number, tags = store.experiment_id, experiment_tags(store)
    assert list(pages) == ["runs", "curves", "comparison"]
    for name, page in pages.items():
        path, _, options = page.partition("?")
        assert path == f"experiments/{number}/runs"
        key, *rest = options.split("&")
        chart = [] if name == "runs" else ["compareRunsMode=CHART"]
        assert rest == [WORKFLOW, *chart]
        name, _, value = key.partition("=")
        assert name == "viewStateShareKey"
        assert chosen[0].tags["gdexp.sweep_id"] in tags[f"mlflow.sharedViewState.{value}"]


def test_a_single_run_has_its_own_page(store: Store) -> None:
    chosen = query.select(store)[:1]
    pages = ui.pages(store, chosen, named=True)
    assert list(pages) == ["runs", "curves", "run"]
    run_id, number = chosen[0].run_id, store.experiment_id
    assert pages["run"] == f"experiments/{number}/runs/{run_id}?{WORKFLOW}"


def test_a_large_sweep_has_short_addresses(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    pages = ui.pages(store, query.select(store) * 250)
    assert list(pages) == ["runs", "curves", "comparison"]
    assert max(map(len, pages.values())) < 150
    assert capsys.readouterr().err == (
        "curves and comparison first draw a sample of 100 of the 1000 runs; "
        '"Load more" at the end of their list adds others\n'
    )


def test_too_many_runs_to_name(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = query.select(store) * 26
    ui.pages(store, chosen, named=True)
    said = "104 runs are too many for one address: the pages show all runs of their {}\n"
    assert capsys.readouterr().err.startswith(said.format("sweep"))
    alone = [replace(run, tags={"gdexp.kind": "run"}) for run in chosen]
    ui.pages(store, alone)
    assert capsys.readouterr().err.startswith(said.format("experiment"))


def test_a_store_that_cannot_be_written_has_mlflows_own_pages(
    sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(sweep / "outputs" / "mlflow.db", tmp_path / "kept.db")
    with closing(sqlite3.connect(tmp_path / "kept.db")) as database:
        database.execute(
            "CREATE TRIGGER kept BEFORE INSERT ON experiment_tags BEGIN "
            "SELECT RAISE(ABORT, 'attempt to write a readonly database'); END"
        )
    store = open_existing(f"sqlite:///{tmp_path}/kept.db", None)
    chosen = query.select(store)
    pages = {what: unquote(page) for what, page in ui.pages(store, chosen).items()}
    assert capsys.readouterr().err == (
        f"sqlite:///{tmp_path}/kept.db cannot be written: attempt to write a readonly database. "
        "So the pages open as MLflow arranges them.\n"
    )
    check_plain(pages, chosen)


def test_runs_of_two_experiments_have_mlflows_own_pages(store: Store) -> None:
    first, *rest = query.select(store)
    chosen = [replace(first, experiment_id="0"), *rest]
    pages = {what: unquote(page) for what, page in ui.pages(store, chosen).items()}
    assert '&experiments=["0", "1"]&' in pages["comparison"]


def check_plain(pages: dict[str, str], chosen: list[RecordedRun]) -> None:
    number, sweep_id = chosen[0].experiment_id, chosen[0].tags["gdexp.sweep_id"]
    table = f"experiments/{number}/runs?{WORKFLOW}"
    ids = ", ".join(f'"{run.run_id}"' for run in chosen)
    assert pages == {
        "runs": table,
        "curves": f"{table}&searchFilter=tags.`gdexp.sweep_id` = '{sweep_id}'"
        " AND tags.`gdexp.kind` = 'run'&compareRunsMode=CHART",
        "comparison": f'compare-runs?runs=[{ids}]&experiments=["{number}"]&{WORKFLOW}',
    }


def experiment_tags(store: Store) -> dict[str, str]:
    opened = MlflowClient(tracking_uri=store.uri)
    return dict(opened.get_experiment(store.experiment_id).tags)
