"""python -m gdexp ui: the real server, its addresses in a real browser, and its end."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote
from urllib.request import urlopen

import pytest
from helpers import PATIENCE, clean_environment, process, required
from sweep_helpers import NAMES

from gdexp.commands import ui
from gdexp.errors import GdexpError
from gdexp.tracking import query
from gdexp.tracking.connect import open_existing
from gdexp.tracking.store import Store

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
WELCOMED = "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1"  # or a panel covers the first page


class Server(NamedTuple):
    process: subprocess.Popen[str]
    addresses: dict[str, str]
    port: int
    seconds: float  # that it took to come up

    def stop(self, signum: int) -> tuple[int, str]:
        """Exit code and stderr of a server that was told to end."""
        self.process.send_signal(signum)
        _, err = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, err


@contextmanager
def started(folder: Path, *args: str, **env: str) -> Iterator[Server]:
    """The command, once it has printed its addresses."""
    command = [sys.executable, "-m", "gdexp", "ui", *args]
    server = subprocess.Popen(
        command,
        cwd=folder,
        env=clean_environment() | env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    began = time.monotonic()
    watchdog = threading.Timer(PATIENCE, server.kill)
    watchdog.start()
    try:
        assert server.stdout
        found = {}
        for line in server.stdout:
            what, _, address = line.partition(":")
            found[what] = address.strip()
            if what == "comparison":
                break
        watchdog.cancel()
        if "comparison" not in found:
            pytest.fail(f"no addresses: {server.communicate()[1]}")
        port = int(found["runs"].split(":")[2].split("/")[0])
        yield Server(server, found, port, time.monotonic() - began)
    finally:
        watchdog.cancel()
        if server.poll() is None:
            server.kill()
        server.communicate()


def group_members(group: int) -> list[int]:
    """The processes that a process and its children have started."""
    members = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            members.append(int(entry.parent.name))
    return members


def is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


@pytest.fixture
def store(sweep: Path) -> Store:
    return open_existing(None, None)


def test_serves_until_ctrl_c(sweep: Path) -> None:
    before = sorted(path.name for path in sweep.rglob("*"))
    port = free_port()
    with started(sweep, "--port", str(port)) as server:
        assert server.port == port
        with urlopen(f"http://127.0.0.1:{port}/health") as answer:
            assert answer.read() == b"OK"
        with urlopen(f"http://127.0.0.1:{port}/") as answer:
            assert b"<title>MLflow</title>" in answer.read()
        group = server.process.pid
        began = time.monotonic()
        assert server.stop(signal.SIGINT) == (0, "")
        assert time.monotonic() - began < 2 * server.seconds
        assert group_members(group) == []
        assert is_free(port)
    assert sorted(path.name for path in sweep.rglob("*")) == before


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
            assert err == f"port 5000 is taken, using {server.port} instead\n"
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
        done = process("compare", "--uri", base, "--csv", cwd=sweep)
        assert done.out == process("compare", "--csv", cwd=sweep).out
        done = process("ui", "--port", str(server.port), cwd=sweep)
        assert (done.code, done.out) == (2, "")
        assert done.err == (
            f"gdexp: --port: port {server.port} is taken. Name another, or leave --port out.\n"
        )


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


def test_addresses_name_every_run(store: Store) -> None:
    chosen = query.select(store)
    found = {what: unquote(where) for what, where in ui.addresses("B", store, chosen).items()}
    number, sweep_id = store.experiment_id, chosen[0].tags["gdexp.sweep_id"]
    table = f"B/#/experiments/{number}/runs?workflowType=machine_learning"
    ids = ", ".join(f'"{run.run_id}"' for run in chosen)
    assert found == {
        "runs": table,
        "curves": f"{table}&searchFilter=tags.`gdexp.sweep_id` = '{sweep_id}'"
        " AND tags.`gdexp.kind` = 'run'&compareRunsMode=CHART",
        "comparison": f'B/#/compare-runs?runs=[{ids}]&experiments=["{number}"]'
        "&workflowType=machine_learning",
    }


def test_too_many_runs_for_an_address(store: Store) -> None:
    chosen = query.select(store) * 26
    found = ui.addresses("B", store, chosen)
    assert list(found) == ["runs", "curves"]
    assert "sweep_id" in found["curves"]
    assert max(map(len, found.values())) < 500


@pytest.mark.slow
def test_the_pages_show_the_sweep(sweep: Path, tmp_path: Path) -> None:
    """In a real browser, every run with its params and metrics, by name."""
    chromium = shutil.which("chromium") or required("Chromium (apt-get install chromium)")
    sync_api = pytest.importorskip("playwright.sync_api")
    artifacts = Path(os.environ.get("GDEXP_TEST_ARTIFACTS") or tmp_path)
    artifacts.mkdir(parents=True, exist_ok=True)
    with (
        started(sweep, "--port", str(free_port())) as server,
        sync_api.sync_playwright() as playwright,
        playwright.chromium.launch_persistent_context(
            str(tmp_path / "profile"),
            executable_path=chromium,
            args=FLAGS,
            timeout=PATIENCE * 1000,
            viewport={"width": 1400, "height": 2000},
        ) as browser,
    ):
        browser.add_init_script(f"localStorage.setItem({WELCOMED!r}, 'true')")
        page = browser.new_page()
        page.set_default_timeout(PATIENCE * 1000)
        page.goto(server.addresses["comparison"])
        page.get_by_text("Comparing 4 Runs from 1 Experiment").wait_for()
        for expected in [*NAMES, "final/loss", "final/prediction", "1.609", "manual_sum"]:
            page.get_by_text(expected, exact="step" in expected).first.wait_for()
        page.screenshot(path=artifacts / "comparison.png")
        # The sweep's summary is a row among the runs, and no curve.
        for what, matching in (("runs", 5), ("curves", 4)):
            page.goto("about:blank")  # a new fragment alone would not load anew
            page.goto(server.addresses[what])
            for expected in [*NAMES, f"{matching} matching runs"]:
                page.get_by_text(expected).first.wait_for()
            if what == "curves":
                page.get_by_placeholder("Search metric charts").fill("train/loss")
                page.locator("svg .trace.scatter").nth(len(NAMES) - 1).wait_for(state="attached")
            page.screenshot(path=artifacts / f"{what}.png")
        browser.close()
        assert server.stop(signal.SIGINT) == (0, "")
        assert group_members(server.process.pid) == []
        assert is_free(server.port)
