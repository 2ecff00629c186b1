"""python -m gdexp compare on a sweep that was really run."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import Ended, clean_environment, process
from sweep_helpers import NAMES

from gdexp.commands import compare
from gdexp.errors import GdexpError
from gdexp.tracking import client_store, query
from gdexp.tracking.connect import client_of, open_existing
from gdexp.tracking.run_record import RecordedRun
from gdexp.tracking.store import Store

COLUMNS = ["run_id", "step", "lr", "gradient", "final/loss", "final/prediction", "outcome", "name"]


Compare = Callable[..., Ended]


@pytest.fixture
def run(environment: None, capsys: pytest.CaptureFixture[str]) -> Compare:
    def main(*args: str) -> Ended:
        code = compare.main(args)
        return Ended(code, *capsys.readouterr())

    return main


@pytest.fixture
def store(sweep: Path) -> Store:
    return open_existing(None, None)


@pytest.fixture
def others(store: Store) -> Iterator[Callable[..., str]]:
    """Makes further runs, which are deleted at the end."""
    made = []

    def create(
        kind: str = "run",
        experiment: str | None = None,
        start_time: int | None = None,
        **tags: str,
    ) -> str:
        found = client_of(store.uri).create_run(
            experiment or store.experiment_id,
            start_time,
            run_name="other",
            tags={"gdexp.kind": kind} | {f"gdexp.{k}": v for k, v in tags.items()},
        )
        made.append(found.info.run_id)
        return made[-1]

    yield create
    for run_id in made:
        client_of(store.uri).delete_run(run_id)


def objects(ended: Ended) -> list[dict[str, Any]]:
    assert ended.code == 0, ended.err
    found: list[dict[str, Any]] = json.loads(ended.out)
    return found


def test_table_of_the_last_sweep(sweep: Path, run: Compare) -> None:
    code, out, err = run()
    assert code == 0
    assert re.fullmatch(r"smallest final/loss: [0-9.e-]+, run: [0-9a-f]{8}\n", err)
    header, _, *lines = out.splitlines()
    assert header.split() == COLUMNS
    assert [line.split(maxsplit=7)[-1] for line in lines] == NAMES
    assert lines[1].split()[1:7] == [
        "manual",
        "0.05",
        "manual_sum",
        "7.86432e6",
        "-10230",
        "diverged",
    ]
    assert lines[2].split()[1:7] == [
        "autograd",
        "0.01",
        "autograd",
        "1.60939",
        "8.03126",
        "completed",
    ]


def test_json_has_numbers_and_full_ids(sweep: Path, run: Compare) -> None:
    found = objects(run("--json"))
    assert [list(entry) for entry in found] == [COLUMNS] * 4
    assert [entry["lr"] for entry in found] == [0.01, 0.05, 0.01, 0.05]
    assert found[1]["final/prediction"] == -10230.0
    assert {len(entry["run_id"]) for entry in found} == {32}


def test_csv_says_the_same_as_json(sweep: Path, run: Compare) -> None:
    out = run("--csv").out
    rows = list(csv.DictReader(io.StringIO(out)))
    assert rows == [
        {key: str(value) for key, value in entry.items()} for entry in objects(run("--json"))
    ]


@pytest.mark.parametrize("flags", [[], ["--desc"]])
@pytest.mark.parametrize("key", ["final/loss", "lr", "name", "best/epoch", "run_id"])
def test_sort(sweep: Path, run: Compare, key: str, flags: list[str]) -> None:
    values = [entry[key] for entry in objects(run("--json", "--sort", key, *flags))]
    assert values == sorted(values, reverse=bool(flags))


def test_sort_shows_its_key(sweep: Path, run: Compare) -> None:
    assert list(objects(run("--json", "--sort", "best/epoch"))[0]) == [
        *COLUMNS[:-1],
        "best/epoch",
        "name",
    ]


def test_desc_alone_turns_the_order_round(sweep: Path, run: Compare) -> None:
    assert [entry["name"] for entry in objects(run("--json", "--desc"))] == NAMES[::-1]


@pytest.mark.parametrize("descending", [False, True])
def test_missing_values_sort_last(descending: bool) -> None:
    rows: list[compare.Row] = [{"k": None}, {"k": 10}, {}, {"k": 9.5}, {"k": "auto"}]
    found = [row.get("k") for row in compare.ordered(rows, "k", descending=descending)]
    assert found == [*(["auto", 10, 9.5] if descending else [9.5, 10, "auto"]), None, None]


def test_runs_by_the_beginning_of_their_ids(sweep: Path, run: Compare) -> None:
    ids = [entry["run_id"] for entry in objects(run("--json"))]
    found = objects(run("--json", ids[2], ids[0][:10]))
    assert [entry["run_id"] for entry in found] == [ids[2], ids[0]]
    assert "lr" not in found[0]  # the same in both


def test_one_run_shows_step_lr_and_iters(sweep: Path, run: Compare) -> None:
    [found] = objects(run("--json", "--last", "1"))
    assert list(found)[:4] == ["run_id", "step", "lr", "iters"]
    assert found["name"] == NAMES[-1]


def test_every_way_to_name_the_sweep(sweep: Path, run: Compare) -> None:
    [folder] = (sweep / "outputs" / "sweeps").iterdir()
    for args in (
        ["--sweep", "last"],
        ["--sweep", folder.name],
        ["--sweep", str(folder)],
        ["--all"],
        ["--last", "4"],
        ["--uri", "sqlite:///outputs/mlflow.db"],
    ):
        assert [entry["name"] for entry in objects(run("--json", *args))] == NAMES


def test_a_newer_single_run_ends_the_sweep(
    sweep: Path, run: Compare, others: Callable[..., str]
) -> None:
    others()
    found = objects(run("--json"))
    assert [entry["name"] for entry in found] == [*NAMES, "other"]
    assert found[-1]["outcome"] == "not heard from"  # neither an end nor an owner
    assert found[-1]["final/loss"] is None
    assert [entry["name"] for entry in objects(run("--json", "--sweep", "last"))] == NAMES


def test_summaries_of_sweeps_are_no_runs(
    sweep: Path, run: Compare, others: Callable[..., str]
) -> None:
    summary = others(kind="sweep")
    assert len(objects(run("--json", "--all"))) == 4
    code, out, err = run(summary)
    assert (code, out) == (2, "")
    assert err == (
        f"gdexp: {summary!r} is the summary of a sweep, not a run. python -m gdexp compare --sweep "
        "last lists its runs.\n"
    )


def test_jobs_stand_in_their_order_though_started_in_another(
    sweep: Path, run: Compare, others: Callable[..., str]
) -> None:
    ids = [others(sweep_id="it's", job=str(job)) for job in (10, 9)]
    assert [entry["run_id"] for entry in objects(run("--json"))] == ids[::-1]
    assert [entry["name"] for entry in objects(run("--json", "--all"))] == [
        *NAMES,
        "other",
        "other",
    ]


@pytest.mark.parametrize("order", [(9, 10, 2), (10, 9, 2), (2, 9, 10)])
def test_the_last_of_runs_that_started_at_once(
    run: Compare, others: Callable[..., str], order: tuple[int, ...]
) -> None:
    now = int(time.time() * 1000) + 1000
    ids = {job: others(start_time=now, sweep_id="s", job=str(job)) for job in order}
    for count in (1, 2, 3):
        found = [entry["run_id"] for entry in objects(run("--json", "--last", str(count)))]
        assert found == [ids[job] for job in (2, 9, 10)[-count:]]


def test_pages_are_put_together(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_store, "PAGE", 3)
    # The members of a sweep start at once; the newest sweep comes first.
    by_client = client_store.ClientStore(
        client_of(store.uri), store.uri, store.experiment, store.experiment_id
    )
    runs = [run.name for run in by_client.runs(query.IS_RUN)]
    assert runs == [run.name for run in store.runs(query.IS_RUN)]
    assert len(runs) > 3
    assert [run.name for run in by_client.runs(query.IS_RUN, limit=2)] == runs[:2]


def test_settings_that_only_some_runs_have() -> None:
    """SGD's momentum is no column as long as all SGD runs have the same."""

    def recorded(run_id: str, **params: str) -> RecordedRun:
        named = {key.replace("__", "."): value for key, value in params.items()}
        return RecordedRun(run_id, "1", "", "FINISHED", 0, "", named, {}, {})

    plain = recorded("a", updater="manual", lr="1", updater__lr="1")
    sgd = recorded("b", updater="SGD", lr="2", updater__lr="2", updater__momentum="0.0")
    heavy = recorded("c", updater="SGD", lr="2", updater__lr="3", updater__momentum="0.9")
    assert compare.shown_columns([plain, sgd])[1:3] == ["lr", "updater"]
    assert compare.shown_columns([plain, sgd, heavy])[1:5] == [
        "lr",
        "updater",
        "updater.lr",
        "updater.momentum",
    ]


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["zzz"], "there is no run 'zzz' in this store. python -m gdexp compare --all lists the "
                  "runs."),
        (["it's"], "there is no run \"it's\" in this store."),
        (["--sort", "final/los"], "--sort: no run has 'final/los'. Sort by one of: run_id, step,"),
        (["--sort", "final/los"], "Did you mean final/loss?"),
        (["--sort", "lrr"], "Did you mean lr?"),
        (["--sweep", "nope"], "--sweep: experiment gdexp has no sweep 'nope'. The last one is 20"),
        (["--sweep", "it's"], "--sweep: experiment gdexp has no sweep \"it's\"."),
        (["--experiment", "gdex"], "--experiment: there is no experiment 'gdex' in this store. It "
                                   "has: Default, gdexp. Did you mean gdexp?"),
        (["--experiment", "Default"], "experiment Default has no runs yet; run python -m gdexp "
                                      "first."),
        (["--experiment", "Default", "--all"], "experiment Default has no runs yet;"),
        (["--experiment", "Default", "--sweep", "last"], "--sweep: experiment Default has no sweep "
                                                         "yet."),
        (["--uri", "runs.db"], "'runs.db' is not a store URI. Type sqlite:///runs.db"),
        (["--uri", "sqlite:///elsewhere.db"], "nothing recorded yet: elsewhere.db does not exist; "
                                              "run python -m gdexp first."),
        (["--uri", "http://127.0.0.1:9"], "http://127.0.0.1:9 does not answer"),
    ],
)  # fmt: skip
def test_bad_input_is_a_sentence(sweep: Path, run: Compare, args: list[str], sentence: str) -> None:
    code, out, err = run(*args)
    assert (code, out) == (2, "")
    assert sentence in err
    assert err.startswith("gdexp: ")
    assert err.count("\n") == 1


def test_an_ambiguous_beginning(sweep: Path, run: Compare, others: Callable[..., str]) -> None:
    ids = [others() for _ in range(17)]  # two of them begin with the same of 16 digits
    first = next(i[0] for i in ids if sum(j[0] == i[0] for j in ids) > 1)
    code, _, err = run(first)
    assert code == 2
    assert err == f"gdexp: the ids of several runs start with {first!r}. Type more characters.\n"


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["--last", "0"], "argument --last: '0' is not a whole number >= 1"),
        (["--last", "3", "--all"], "select runs by only one of RUN_ID, --sweep, --last and --all"),
        (["--csv", "--json"], "argument --json: not allowed with argument --csv"),
        (["--bogus"], "unrecognized argument --bogus"),
        (["--swep", "x"], "unrecognized argument --swep. Did you mean --sweep?"),
        (["--sort"], "argument --sort: expected one argument"),
    ],
)
def test_usage(capsys: pytest.CaptureFixture[str], args: list[str], sentence: str) -> None:
    with pytest.raises(SystemExit) as ended:
        compare.main(args)
    assert ended.value.code == 2
    stop = "" if sentence.endswith("?") else "."
    assert capsys.readouterr() == (
        "",
        f"gdexp: compare: {sentence}{stop} python -m gdexp compare --help lists its options.\n",
    )


def test_the_environment_names_store_and_experiment(
    sweep: Path, run: Compare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{sweep}/outputs/mlflow.db")
    assert len(objects(run("--json"))) == 4
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    assert "there is no experiment 'mine'" in run().err
    assert not list(tmp_path.iterdir())


def test_looking_creates_nothing(
    run: Compare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run() == (
        2,
        "",
        "gdexp: nothing recorded yet: outputs/mlflow.db does not exist; "
        "run python -m gdexp first.\n",
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "nothing recorded yet: the store is an empty database; run python -m gdexp first."),
        (b"text" * 1000, "cannot be read as an MLflow store: file is not a database"),
    ],
)
def test_a_file_that_is_no_store(
    environment: None, tmp_path: Path, content: bytes, sentence: str
) -> None:
    file = tmp_path / "some #1?.db"
    file.write_bytes(content)
    with pytest.raises(GdexpError, match=sentence):
        open_existing(f"sqlite:///{file}", None)
    assert file.read_bytes() == content


def test_an_empty_database_stays_empty(environment: None, postgres: Callable[[], str]) -> None:
    import sqlalchemy

    uri = postgres()
    with pytest.raises(GdexpError, match="nothing recorded yet: the store is an empty database"):
        open_existing(uri, None)
    engine = sqlalchemy.create_engine(uri)
    assert sqlalchemy.inspect(engine).get_table_names() == []
    engine.dispose()


def test_a_reader_that_has_seen_enough(sweep: Path) -> None:
    command = [sys.executable, "-m", "gdexp", "compare", "--json"]
    with subprocess.Popen(
        command, env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 0


def test_as_a_command(sweep: Path) -> None:
    done = process("compare", "--sort", "final/loss", cwd=sweep)
    assert done.code == 0
    assert done.err.startswith("smallest final/loss: ")
    assert done.out.splitlines()[2].endswith("step=autograd lr=0.05 iters=10")
