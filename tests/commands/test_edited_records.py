"""Commands on a record that somebody has edited: a sentence that names the run, exit code 2."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import CLI, Ended, first_quick

from gdexp import run

READERS = ("explain", "replay", "plot")
Edit = Callable[["Record"], None]


class Record:
    """A recorded run of step=manual, to be edited."""

    def __init__(self) -> None:
        self.run_id = str(run("step=manual", "iters=3").run_id)
        self.database = sqlite3.connect("outputs/mlflow.db", isolation_level=None)
        select = "SELECT artifact_uri FROM runs WHERE run_uuid = {run}"
        self.folder = Path(self.sql(select)[0][0].removeprefix("file://"))

    def sql(self, statement: str) -> list[tuple[str, ...]]:
        """Execute a statement; {run} is the run's id."""
        return self.database.execute(statement.format(run=f"'{self.run_id}'")).fetchall()


@pytest.fixture
def record(store: Path) -> Iterator[Record]:
    record = Record()
    yield record
    record.database.close()


def sql(statement: str) -> Edit:
    def edit(record: Record) -> None:
        record.sql(statement)

    return edit


def without(name: str) -> Edit:
    return lambda record: (record.folder / name).unlink()


def with_bytes(name: str) -> Edit:
    return lambda record: _write(record.folder / name, bytes(range(7, 256)))


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def configured(old: str, new: str) -> Edit:
    """Replace a part of config.yaml."""

    def edit(record: Record) -> None:
        path = record.folder / "config.yaml"
        text = path.read_text()
        assert text.count(old) == 1
        path.write_text(text.replace(old, new))

    return edit


def epochs(*numbers: int) -> Edit:
    """Give the trajectory other epochs; none: without rows."""

    def edit(record: Record) -> None:
        path = record.folder / "trajectory.parquet"
        table = pq.read_table(path)[: len(numbers)]
        pq.write_table(table.set_column(0, "epoch", pa.array([*numbers], pa.int64())), path)

    return edit


def read(cli: CLI, command: str, record: Record) -> Ended:
    """Run a command on the record, with what it needs besides the run."""
    more = {
        "predict": ["x.csv"],
        "plot": ["--out", "p.svg", "--only", "loss"],
        "report": ["--out", "r.html"],
    }
    Path("x.csv").write_text("x\n5\n")
    return cli(command, record.run_id, *more.get(command, []))


GONE = "run {run} (completed) has no {name} among its artifacts"
EDITED = "so its record has been changed and cannot be read. Run it again."
CASES: list[tuple[str, tuple[str, ...], Edit, str]] = [
    (
        "no config",
        ("explain", "replay"),
        without("config.yaml"),
        GONE.replace("{name}", "config.yaml") + ". Run it again.",
    ),
    (
        "no config to rebuild from",
        ("predict",),
        without("config.yaml"),
        GONE.replace("{name}", "predictor.npz")
        + ", nor config.yaml, so its predictor is lost. Run it again, to its end.",
    ),
    (
        "no trajectory to rebuild from",
        ("predict",),
        without("trajectory.parquet"),
        GONE.replace("{name}", "predictor.npz")
        + ", nor trajectory.parquet, so its predictor is lost. Run it again, to its end.",
    ),
    (
        "nothing to draw",
        ("plot",),
        without("trajectory.parquet"),
        "run {run} has no trajectory.parquet among its artifacts, so there is nothing to draw: it "
        "ended as completed. Run it again.",
    ),
    (
        "no transcript",
        ("plot",),
        without("transcript.txt"),
        GONE.replace("{name}", "transcript.txt") + ". Run it again.",
    ),
    (
        "not text",
        ("plot",),
        with_bytes("transcript.txt"),
        "transcript.txt of run {run} is damaged: it is not UTF-8 text. Run it again.",
    ),
    (
        "no params",
        READERS,
        sql("DELETE FROM params WHERE run_uuid = {run}"),
        f"run {{run}} has no param iters, {EDITED}",
    ),
    *(
        (
            f"iters={value}",
            READERS,
            sql(f"UPDATE params SET value = '{value}' WHERE run_uuid = {{run}} AND key = 'iters'"),
            f"run {{run}} has the param iters={value}, {EDITED}",
        )
        for value in ("abc", "2.5", "²", "9" * 12)
    ),
    *(
        (
            f"epochs {numbers}",
            READERS,
            epochs(*numbers),
            "trajectory.parquet of run {run} is damaged: its column epoch does not count from 1 to "
            "3. Run it again.",
        )
        for numbers in ((3, 2, 1), (1, 1, 1), (0, 1, 2))
    ),
    (
        "no epoch",
        READERS,
        epochs(),
        "trajectory.parquet of run {run} is damaged: it has no epoch. Run it again.",
    ),
    (
        "a section that is a list",
        ("explain", "replay", "predict"),
        lambda record: _write(
            record.folder / "config.yaml",
            (record.folder / "config.yaml").read_bytes().replace(b"\nstop:\n", b"\nstop: []\nx:\n"),
        ),
        "config.yaml of run {run} is damaged: stop is not a mapping. Run it again.",
    ),
    (
        "a start that is a word",
        ("predict",),
        configured("init: 0.0", "init: foo"),
        "config.yaml of run {run} cannot be rebuilt: predictor: could not convert string to float: "
        "'foo'. Run it again.",
    ),
    (
        "no place",
        (*READERS, "predict"),
        sql("UPDATE runs SET artifact_uri = NULL WHERE run_uuid = {run}"),
        "the list of artifacts of run {run} cannot be read: the record does not say where the "
        "artifacts are. Run it again.",
    ),
    (
        "a place that MLflow does not know",
        (*READERS, "predict"),
        sql("UPDATE runs SET artifact_uri = 'weird:x' WHERE run_uuid = {run}"),
        "the list of artifacts of run {run} cannot be read: weird:x cannot be read: Could not find "
        "a registered artifact repository for: weird:x.",
    ),
    (
        "a deleted experiment",
        (*READERS, "predict", "report", "compare"),
        sql("UPDATE experiments SET lifecycle_stage = 'deleted' WHERE name = 'gdexp'"),
        "tracking.experiment: 'gdexp' has been deleted in this store. Restore it with "
        "`mlflow experiments restore -x 1`, or type another name.",
    ),
]


ALIKE = ("iters=2.5", "iters=²", "epochs (1, 1, 1)", "epochs (0, 1, 2)", "no place", "not text")


@pytest.mark.parametrize(
    ("commands", "edit", "sentence"),
    [
        pytest.param(*case, id=name, marks=[pytest.mark.slow] if name in ALIKE else [])
        for name, *case in CASES
    ],
)
def test_an_edited_record_is_told_in_a_sentence(
    commands: tuple[str, ...], edit: Edit, sentence: str, record: Record, cli: CLI
) -> None:
    edit(record)
    for command in commands:
        ended = read(cli, command, record)
        assert (ended.code, ended.out) == (2, "")
        assert ended.err == f"gdexp: {sentence.format(run=record.run_id)}\n"


@pytest.mark.slow
@pytest.mark.parametrize("value", ["abc", "null", "-1"])
def test_settings_that_no_run_can_have(value: str, record: Record, cli: CLI) -> None:
    configured("  lr: 0.01\n", f"  lr: {value}\n")(record)
    for command in ("explain", "replay"):
        ended = read(cli, command, record)
        assert ended.code == 2
        assert f"run {record.run_id} cannot be {command.rstrip('in')}" in ended.err[:60]
        assert "is not a finite number > 0." in ended.err
    assert read(cli, "plot", record).code == 0  # without the surface of the loss


def test_a_checkpoint_that_is_a_number(record: Record, cli: CLI) -> None:
    configured("continue_from: null", "continue_from: 3")(record)
    ended = read(cli, "explain", record)
    assert ended.code == 2
    assert "cannot be explained: continue_from: 3 is not null or a string." in ended.err


@pytest.mark.parametrize(
    "edit",
    first_quick(
        [
            sql("INSERT INTO tags (key, value, run_uuid) VALUES ('gdexp.job', 'abc', {run})"),
            sql(
                """UPDATE tags SET value = '{{"variables": {{}}, "data": [1], "folder": 3}}' """
                "WHERE run_uuid = {run} AND key = 'gdexp.environment'"
            ),
            sql("UPDATE runs SET name = NULL, start_time = NULL WHERE run_uuid = {run}"),
        ],
        quick=1,
    ),
    ids=["job", "environment", "name"],
)
def test_edited_tags_do_no_harm(edit: Edit, record: Record, cli: CLI) -> None:
    other = str(run("step=manual", "iters=2").run_id)
    edit(record)
    shutil.rmtree(record.folder)  # then nothing is drawn, which would take longest
    for words in ([record.run_id], [record.run_id, other]):
        assert cli("report", *words, "--out", "r.html").code == 0
        assert cli("compare", *words).code == 0
    assert cli("diff", record.run_id, other).code == 1
