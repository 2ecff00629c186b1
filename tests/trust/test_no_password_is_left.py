"""Whatever a command writes is searched for the password that it was given."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote, unquote

import psycopg
import pytest
from helpers import Ended, process
from psycopg import sql
from sweep_helpers import gd
from ui_helpers import free_port, started

from gdexp import credentials, run, sweep
from gdexp.errors import RunFailedError

PASSWORD = "Zq8xW3vT@:/?#%&=+, '\"[x]$"  # nothing else contains its first letters
TYPED = quote(PASSWORD, safe="")
MINE = """
class Loss:
    def __init__(self, url="", breaks=False):
        self.url, self.breaks, self.calls = url, breaks, 0
        assert url == "" or "Zq8xW3vT" in url
    def __call__(self, y_pred, y):
        self.calls += 1
        if self.breaks and self.calls > 3:
            raise RuntimeError(f"{self.url} does not answer")
        return ((y_pred - y) ** 2).mean()
"""
URL = f"https://me:{TYPED}@example.org/loss"


@pytest.fixture(autouse=True)
def _no_passwords_yet(environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(credentials.VARIABLE, "{}")


@pytest.fixture
def reporting(store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a loss that is given a URL, and a preset that holds the URL itself."""
    (store / "mine" / "loss").mkdir(parents=True)
    (store / "mine" / "loss" / "mine.yaml").write_text(
        "_target_: my_url.Loss\nurl: ''\nbreaks: false\n"
    )
    yaml = f"_target_: my_url.Loss\nurl: {URL}\nbreaks: false\n"
    (store / "mine" / "loss" / "theirs.yaml").write_text(yaml)
    (store / "my_url.py").write_text(MINE)
    monkeypatch.syspath_prepend(store)
    return store


def check_silent(*ended: Ended, folder: Path) -> None:
    """The password's first letters are in no output and no file, whatever its form."""
    mark = PASSWORD[:8]
    assert all(mark not in each.out and mark not in each.err for each in ended)
    files = [path for path in (folder / "outputs").rglob("*") if path.is_file()]
    assert files
    assert [path for path in files if mark.encode() in path.read_bytes()] == []


@pytest.mark.slow
def test_a_url_of_ones_own_component_is_given_to_it_and_recorded_without_password(
    reporting: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("URL_OF_LOSS", URL)
    own = ("--config-dir", "mine", "step=autograd", "iters=5")
    ended = [
        gd(*own, "loss=mine", f"loss.url={URL}", "checkpoint.every=2"),
        gd(*own, "loss=mine", "loss.url=${oc.env:URL_OF_LOSS}", "hydra.verbose=true"),
        gd(*own, "loss=theirs"),
        gd("-m", *own, "loss=theirs", "lr=0.01,0.02", "hydra/launcher=basic"),
        gd("-m", *own, "loss=mine", f"loss.url={URL},{URL}2"),
        gd("-m", *own, "loss=mine", f"loss.url={URL},{URL}2", "sweep.resume=last"),
        gd("compare"),
    ]
    assert [each.err for each in ended if each.code] == []
    broken = [gd(*own, "loss=mine", f"loss.url={URL}", "loss.breaks=true")]
    broken += [gd("-m", *own, "loss=theirs", "lr=0.1,0.2", "loss.breaks=true")]
    assert [each.code for each in broken] == [1, 1]
    assert "RuntimeError: https://example.org/loss does not answer" in broken[0].err
    assert "2 finished, 0 to run" in ended[5].err
    check_silent(*ended, *broken, folder=reporting)
    with sqlite3.connect(reporting / "outputs" / "mlflow.db") as opened:
        urls = opened.execute("SELECT DISTINCT value FROM params WHERE key = 'loss.url'").fetchall()
    assert sorted(urls) == [("https://example.org/loss",), ("https://example.org/loss2",)]


def test_what_python_is_given_is_recorded_without_password(
    reporting: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    url = {"loss": {"url": URL}, "iters": 5}
    result = run("step=autograd", "loss=mine", config_dir="mine", **url)
    table = sweep("step=autograd", "loss=mine", config_dir="mine", lr=[0.01, 0.02], **url)
    with pytest.raises(RunFailedError, match=r": https://example.org/loss does not answer$"):
        sweep("step=autograd", "loss=theirs", "loss.breaks=true", config_dir="mine", lr=[0.1])
    assert result.outcome == "completed"
    assert list(table.outcome) == ["completed"] * 2
    captured = capfd.readouterr()
    check_silent(Ended(0, captured.out, captured.err), folder=reporting)


def test_the_hash_of_a_configuration_does_not_depend_on_the_password() -> None:
    from gdexp.config.compose import Composer, session
    from gdexp.config.job import Job

    with session():
        jobs = [
            Job.of(Composer().compose(words := [f"tracking.uri=postgresql://me{p}@h/runs"]), words)
            for p in ("", ":a", ":b")
        ]
    assert len({job.config_hash for job in jobs}) == 1
    assert {str(job.settings["tracking"]["uri"]) for job in jobs} == {"postgresql://me@h/runs"}
    assert {job.typed for job in jobs} == {("tracking.uri=postgresql://me@h/runs",)}


@pytest.mark.slow
def test_workers_that_joblib_keeps_are_told_new_passwords() -> None:
    from joblib import Parallel, delayed

    from gdexp.commands.api import _renew_workers

    asked = Parallel(n_jobs=2)
    assert asked([delayed(credentials.with_password)("http://host")] * 2) == ["http://host"] * 2
    credentials.kept("http://me:pw@host")
    _renew_workers()
    assert (
        asked([delayed(credentials.with_password)("http://host")] * 2) == ["http://me:pw@host"] * 2
    )


@pytest.fixture
def guarded(postgres: Callable[[], str]) -> str:
    """The URI of a database that asks for the password."""
    uri = postgres()
    with psycopg.connect(uri, autocommit=True) as admin:
        words = sql.SQL("CREATE ROLE guarded LOGIN PASSWORD {}").format(sql.Literal(PASSWORD))
        admin.execute(words)
        admin.execute("GRANT ALL ON SCHEMA public TO guarded")
    return uri.replace("gdexp@", f"guarded:{TYPED}@")


@pytest.mark.slow
def test_nothing_that_is_recorded_in_postgresql_has_its_password(
    reporting: Path, guarded: str
) -> None:
    uri, own = f"tracking.uri={guarded}", ("--config-dir", "mine", "step=autograd", "loss=mine")
    table = reporting / "t.csv"
    table.write_text("x\n1\n")
    ended = [
        gd(
            uri, "step=model", "tracking.log_model=true", "checkpoint.every=2", "hydra.verbose=true"
        ),
        gd("-m", uri, "lr=0.01,0.02"),
        gd("-m", uri, "lr=0.01,0.02", "sweep.resume=last"),
        gd("-m", uri, "lr=0.01,0.02", "hydra/launcher=basic"),
        process("-m", uri, "lr=0.01,0.02", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"),
        process("iters=3", MLFLOW_TRACKING_URI=guarded),
        process("iters=3", "tracking.uri=${oc.env:STORE}", STORE=guarded),
        gd("compare", "--uri", guarded, "--all"),
    ]
    assert [each.err for each in ended if each.code] == []
    run_id = ended[0].err.partition("recorded as run ")[2].split()[0]
    ended += [gd("predict", run_id, "t.csv", "--uri", guarded)]
    ended += [process(*own, uri, f"loss.url={URL}", "loss.breaks=true")]
    ended += [gd("iters=3", f"tracking.uri={guarded.replace(TYPED, TYPED[:-3])}")]
    assert [each.code for each in ended[8:]] == [0, 1, 2]
    assert "password authentication failed" in ended[-1].err
    assert "2 finished, 0 to run" in ended[2].err
    check_silent(*ended, folder=reporting)
    with started(reporting, "--uri", guarded, "--port", str(free_port())) as server:
        assert PASSWORD[:8] not in unquote("".join(server.addresses.values()))
        assert PASSWORD[:8] not in server.stop(2)[1]
    assert PASSWORD[:8] not in dump(guarded)


def dump(uri: str) -> str:
    """Every row of a database."""
    program = shutil.which("pg_dump")
    assert program
    done = subprocess.run([program, uri], capture_output=True, text=True, check=True)
    assert "gdexp.overrides" in done.stdout
    return done.stdout
