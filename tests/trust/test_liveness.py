"""The owner of a run is alive, dead or unknown; the runs of the dead are closed, once."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers import CLI, clean_environment, eventually
from tracking_helpers import TAGS, curve, finished

from gdexp.tracking import environment, liveness
from gdexp.tracking.client_store import ClientStore
from gdexp.tracking.connect import client_of, connect, open_existing
from gdexp.tracking.database import Sqlite
from gdexp.tracking.liveness import INITIAL, close, close_dead, state, under_way
from gdexp.tracking.run_record import RecordedRun, RunRecord
from gdexp.tracking.store import Store
from gdexp.tracking.tags import PROCESS

OURS = environment.identity()
ELSEWHERE = {"host": "node7", "boot_id": "another", "machine": "another"}
SAY_WHO = "from gdexp.tracking.environment import process; print(process(), flush=True); input()"


@contextmanager
def another() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process, and what it says of itself in the tag."""
    child = subprocess.Popen(
        [sys.executable, "-c", SAY_WHO],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=clean_environment(),
    )
    try:
        assert child.stdout is not None
        yield child, child.stdout.readline()
    finally:
        child.kill()
        child.communicate()


@pytest.fixture(scope="module")
def dead() -> str:
    """The tag of a process that has died."""
    with another() as (_, owner):
        pass
    return owner


def changed(owner: str, **changes: Any) -> str:
    kept = {k: v for k, v in (json.loads(owner) | changes).items() if v is not None}
    return json.dumps(kept)


def test_a_process_from_its_life_to_its_burial() -> None:
    with another() as (child, owner):
        assert state(owner) == "alive"
        assert state(changed(owner, started="1")) == "dead"  # its number is used again
        assert state(changed(owner, host="renamed")) == "alive"  # the boot and the namespace count
        old = changed(owner, namespaces=None, machine=None)  # as 0.2.0 wrote it
        assert state(old) == "alive"
        assert state(changed(old, host="node7")) == "unknown"
        child.send_signal(signal.SIGSTOP)
        eventually(lambda: environment.process_stat(child.pid).state == "T")  # type: ignore[union-attr]
        assert state(owner) == "alive"
        child.kill()
        eventually(lambda: environment.process_stat(child.pid).state == "Z")  # type: ignore[union-attr]
        assert state(owner) == "dead"
    assert state(owner) == state(old) == "dead"


def test_a_clock_that_jumps_does_not_matter(monkeypatch: pytest.MonkeyPatch, dead: str) -> None:
    for jump in (-1e9, 1e9):
        monkeypatch.setattr(time, "time", lambda jump=jump: time.time_ns() / 1e9 + jump)
        assert (state(environment.process()), state(dead)) == ("alive", "dead")


@pytest.mark.parametrize(
    ("changes", "known"),
    [
        ({}, "dead"),  # after a reboot
        ({"host": "node7"}, "unknown"),  # a clone of this machine
        ({"machine": "other"}, "unknown"),
        ({"machine": ""}, "unknown"),
        ({"namespaces": "pid:[4026532001] time:[4026531834]"}, "unknown"),  # it was in a container
        ({"namespaces": None, "machine": None}, "unknown"),  # of gdexp 0.2.0
        ({"boot_id": ""}, "unknown"),
        ({"boot_id": None}, "unknown"),
    ],
)
def test_a_process_of_another_boot(
    changes: dict[str, Any], known: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = OURS | {"namespaces": INITIAL, "machine": "this"}
    monkeypatch.setattr(environment, "identity", lambda: ours)
    owner = json.dumps(ours | {"boot_id": "before"})
    assert state(changed(owner, **changes)) == known
    ours["machine"] = ""
    assert state(changed(owner, **changes)) == "unknown"
    ours |= {"machine": "this", "namespaces": "pid:[4026532002] time:[4026531834]"}
    assert state(changed(owner, **changes)) == "unknown"


def test_a_process_in_a_container_is_visible_from_outside_only(
    monkeypatch: pytest.MonkeyPatch, dead: str
) -> None:
    inside = "pid:[4026532001] time:[4026531834]"
    ours = OURS | {"namespaces": INITIAL}
    monkeypatch.setattr(environment, "identity", lambda: ours)
    owner = changed(environment.process(), namespaces=inside, pid=7)
    assert state(owner) == "dead"
    monkeypatch.setattr(environment, "innermost_pid", lambda entry: 7)
    assert state(owner) == "alive"
    assert state(changed(owner, namespaces="pid:[4026532001] time:[4026532002]")) == "unknown"
    ours["namespaces"] = "pid:[4026532003] time:[4026531834]"  # a sibling, or inside of it
    assert state(owner) == "unknown"
    ours["namespaces"] = ""  # /proc is not ours
    assert state(owner) == "unknown"


def test_processes_that_are_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    owner = environment.process()
    monkeypatch.setattr(environment, "process_stat", lambda pid: None)
    assert state(changed(owner, started=OURS["started"])) == "unknown"
    monkeypatch.setattr(environment, "identity", lambda: OURS | {"namespaces": INITIAL})
    assert state(changed(owner, namespaces="pid:[1] time:[4026531834]")) == "unknown"


@pytest.mark.parametrize(
    "owner",
    [
        *(None, "", "me", "[]", "null", "{}", "[" * 100_000),
        *(changed(json.dumps(OURS), pid=pid) for pid in (0, -1, "1", 1.0, True, 2**70, [])),
        changed(json.dumps(OURS), started=5),
        changed(json.dumps(OURS), namespaces=5),
    ],
)
def test_an_owner_that_says_nothing(owner: str | None) -> None:
    assert state(owner) == "unknown"


# Closing


def opened(owner: str | None, name: str = "lr=0.1", **changes: Any) -> RunRecord:
    tags = TAGS | {"gdexp.overrides": name} | ({PROCESS: owner} if owner else {})
    news: dict[str, Any] = {"status": "RUNNING", "end_ms": None, "artifacts": {}}
    return finished(name=name, **(news | {"tags": tags} | changes))


def by_client(store: Store) -> Store:
    return ClientStore(client_of(store.uri), store.uri, store.experiment, store.experiment_id)


def ends(store: Store) -> dict[str, tuple[str, str, int | None]]:
    """Status, outcome and end of each run, by its name."""
    client = client_of(store.uri)
    found = client.search_runs([store.experiment_id])
    return {
        r.info.run_name: (r.info.status, r.data.tags.get("gdexp.outcome", ""), r.info.end_time)
        for r in found
    }


@pytest.mark.parametrize("way", [lambda store: store, by_client], ids=["database", "client"])
def test_the_runs_of_the_dead_are_closed_once(
    way: Callable[[Store], Store], store: Path, dead: str, capsys: pytest.CaptureFixture[str]
) -> None:
    sql = connect({"experiment": "mine"})
    points = [curve("train/loss", [3.0, 2.0, 1.0], start=5000), curve("param/w", [1.0, 2.0])]
    sweep = {"gdexp.kind": "sweep", "gdexp.sweep_id": "s", "gdexp.overrides": "lr=1,2"}
    summary = TAGS | sweep | {PROCESS: dead}
    sql.write(
        [
            opened(dead, "with points", curves=points),
            opened(dead, "without", curves=[], start_ms=4000),
            opened(environment.process(), "alive"),
            opened(changed(dead, **ELSEWHERE), "elsewhere"),
            opened(None, "unowned"),
            finished(name="ended"),
            finished(name="member", tags=TAGS | {"gdexp.sweep_id": "s"}, curves=points),
            opened(dead, "sweep", tags=summary, curves=[], params={}),
        ]
    )
    before = ends(sql)
    close_dead(way(sql))
    assert capsys.readouterr().err == "closed 3 runs whose process had died: KILLED, interrupted\n"
    killed = {
        "with points": ("KILLED", "interrupted", 5003),
        "without": ("KILLED", "interrupted", 4000),
        "sweep": ("KILLED", "interrupted", 5003),
    }
    assert ends(sql) == before | killed
    tags = {run.name: run.tags for run in sql.runs()}
    assert tags["with points"]["gdexp.reason"] == "its process died after epoch 3"
    assert tags["without"]["gdexp.reason"] == "its process died before its first recorded epoch"
    notes = {name: tags[name].get("mlflow.note.content") for name in ("without", "sweep")}
    assert notes == {
        "without": "`python -m gdexp without` interrupted: its process died before its first "
        "recorded epoch.",
        "sweep": "`python -m gdexp -m lr=1,2` interrupted: its process died.",
    }
    assert {name for name in tags if PROCESS in tags[name]} == {"alive", "elsewhere"}
    close_dead(way(sql))
    assert capsys.readouterr().err == ""
    assert ends(sql) == before | killed


@pytest.mark.parametrize("way", [lambda store: store, by_client], ids=["database", "client"])
def test_a_run_that_ends_or_is_resumed_meanwhile_is_left_alone(
    way: Callable[[Store], Store], store: Path, dead: str
) -> None:
    sql = connect({"experiment": "mine"})
    closing = way(sql)
    ended, resumed = opened(dead, "ended"), opened(dead, "resumed")
    sql.write([ended, resumed])
    stale = {run.name: run for run in under_way(closing)}
    sql.write([replace(ended, status="FINISHED", end_ms=9, is_open=True, params={}, dataset=None)])
    owner = {PROCESS: environment.process()}
    sql.write([replace(resumed, tags=owner, is_open=True, params={}, dataset=None)])
    assert not any(close(closing, run) for run in stale.values())
    assert ends(sql) == {"ended": ("FINISHED", "", 9), "resumed": ("RUNNING", "", None)}


def test_dead_runs_of_all_experiments_are_closed_when_a_store_is_opened(
    store: Path, dead: str
) -> None:
    ids = [connect({"experiment": name}).write([opened(dead)])[0] for name in ("one", "two")]
    found = open_existing(None, "one").runs(everywhere=True)
    assert {run.run_id: run.status for run in found if run.run_id in ids} == dict.fromkeys(
        ids, "KILLED"
    )


def test_nothing_to_close_costs_one_query(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gdexp.tracking.database import _SqliteConnection

    sql, asked = connect({}), list[str]()
    query = _SqliteConnection.query
    monkeypatch.setattr(
        _SqliteConnection,
        "query",
        lambda self, text, values=(): asked.append(text) or query(self, text, values),
    )
    close_dead(sql)
    assert len(asked) == 1
    with Sqlite(store / "outputs" / "mlflow.db").reading() as connection:
        plan = query(connection, f"EXPLAIN QUERY PLAN {asked[0]}", [PROCESS])
    assert "(key=?)" in plan[0][3]
    assert "SCAN" not in str(plan)


def test_nothing_to_close_costs_one_search_on_a_server(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closing = by_client(connect({}))
    assert isinstance(closing, ClientStore)
    asked = list[str]()

    class Counting:
        def __getattr__(self, name: str) -> Any:
            asked.append(name)
            return getattr(client, name)

    client = closing.client
    closing.client = Counting()  # type: ignore[assignment]
    close_dead(closing)
    assert asked == ["search_runs"]


def test_a_store_that_cannot_be_written_is_read_as_it_is(
    store: Path, dead: str, cli: CLI, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run_id,) = connect({}).write([opened(dead)])

    @contextmanager
    def refused(self: Sqlite) -> Iterator[None]:
        raise OSError("attempt to write a readonly database")
        yield

    monkeypatch.setattr(Sqlite, "transaction", refused)
    ended = cli("compare", run_id)
    assert ended.code == 0
    assert "  not heard from  " in ended.out
    ended = cli("repair", run_id, "--yes")
    assert ended.code == 2
    assert ended.err.endswith("cannot be written: attempt to write a readonly database.\n")


# What is shown, and repair


@pytest.fixture
def silent(store: Path, dead: str) -> RecordedRun:
    """A run whose process is on another machine."""
    elsewhere = opened(
        changed(dead, **ELSEWHERE), "far", start_ms=10**9, curves=[curve("train/loss", [1.0])]
    )
    connect({}).write([elsewhere])
    (run,) = under_way(connect({}))
    return run


SINCE = "not heard from since 1970-01-12 13:46:40 UTC, on node7"


def test_compare_and_ui_tell_what_is_not_heard_from(
    silent: RecordedRun, cli: CLI, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = (
        f"run {silent.run_id[:8]}: {SINCE}\nif their processes are gone: python -m gdexp repair\n"
    )
    ended = cli("compare", silent.run_id[:12])
    assert ended.code == 0
    assert "  not heard from  " in ended.out
    assert ended.err == told
    assert json.loads(cli("compare", "--json", silent.run_id).out)[0]["outcome"] == "not heard from"
    monkeypatch.setattr("gdexp.commands.ui.serve", lambda *_: 0)
    assert told in cli("ui", silent.run_id).err


def test_a_run_under_way_is_running_whatever_it_was(store: Path, cli: CLI) -> None:
    tags = TAGS | {PROCESS: environment.process(), "gdexp.outcome": "interrupted"}
    (run_id,) = connect({}).write([opened(None, tags=tags)])
    ended = cli("compare", run_id)
    assert ended.err == ""
    assert "  running  " in ended.out
    ended = cli("repair", run_id)
    assert (ended.code, ended.err) == (
        2,
        f"gdexp: run {run_id!r} is under way: its process is alive. Stop it first.\n",
    )


def test_repair_asks_and_closes_nothing_unasked(
    silent: RecordedRun, cli: CLI, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = f"{silent.run_id}  {SINCE}  far\n"
    monkeypatch.setattr(sys, "stdin", None)
    ended = cli("repair")
    assert ended.code == 0
    assert ended.out == line
    assert ended.err == "if their processes are gone, add --yes: they become KILLED\n"

    class Typed:
        answers = iter(["n\n", "", "y\n"])

        def isatty(self) -> bool:
            return True

        def readline(self) -> str:
            return next(self.answers)

    monkeypatch.setattr(sys, "stdin", Typed())
    question = "is its process gone? record it as KILLED? [y/N] "
    for closed in ("0 runs", "0 runs", "1 run"):
        ended = cli("repair")
        assert (ended.code, ended.out) == (0, line)
        assert ended.err == f"{question}{closed} recorded as KILLED\n"
    (run,) = [run for run in connect({}).runs() if run.run_id == silent.run_id]
    assert (run.status, run.outcome, PROCESS in run.tags) == ("KILLED", "interrupted", False)
    assert run.tags["gdexp.reason"] == (
        f"its process died after epoch 1 ({SINCE}; recorded by python -m gdexp repair)"
    )
    ended = cli("repair", "--yes")
    assert ended.err == "nothing to repair: every run has an end, or its process is alive\n"
    for heard in (-(10**18), 10**18):  # times that no calendar has
        assert liveness.silence(replace(silent, heard_ms=heard)).endswith("UTC, on node7")
    ended = cli("repair", silent.run_id)
    assert ended.code == 2
    assert ended.err == f"gdexp: run {silent.run_id!r} has an end: it is KILLED. Name another.\n"


def test_repair_closes_what_is_named(silent: RecordedRun, cli: CLI) -> None:
    sweep = opened(changed(str(silent.tags[PROCESS])), "s", tags=TAGS | {"gdexp.kind": "sweep"})
    unowned = opened(None, "unowned")
    store = connect({})
    ids = store.write([sweep, unowned])
    ended = cli("repair", *ids, "--yes")
    assert (ended.code, ended.err) == (0, "2 runs recorded as KILLED\n")
    statuses = {run.run_id: run.status for run in store.runs(everywhere=True)}
    assert [statuses[run_id] for run_id in (*ids, silent.run_id)] == ["KILLED", "KILLED", "RUNNING"]
    ended = cli("repair", "nosuchrun")
    assert ended.code == 2
    assert ended.err.startswith("gdexp: there is no run 'nosuchrun' in this store.")
