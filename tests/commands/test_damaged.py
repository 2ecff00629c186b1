"""``predict`` on damaged artifacts of a real run: a sentence, exit code 2, nothing written."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import Ended
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlflow import MlflowClient

from gdexp import run

CLI = Callable[..., Ended]


def other_end(path: Path) -> None:
    """The trajectory with another last w: a whole file, and not what the store recorded."""
    table = pq.read_table(path)
    column = [*table["param/w"].to_pylist()[:-1], 7.0]
    place = table.column_names.index("param/w")
    pq.write_table(table.set_column(place, "param/w", pa.array(column)), path)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def random_bytes(path: Path) -> None:
    path.write_bytes(bytes(range(7, 256)) * 9)


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "inner").touch()


def swapped(path: Path) -> None:
    """Another artifact of the same run under this name."""
    path.write_bytes((path.parent / "transcript.txt").read_bytes())


def without_loss(path: Path) -> None:
    path.write_text(path.read_text().replace("loss:", "lost:"))


def only(*names: str) -> Callable[[Path], None]:
    def keep(path: Path) -> None:
        pq.write_table(pq.read_table(path).select(list(names)), path)

    return keep


CASES = [
    *(("predictor.npz", damage) for damage in (cut, empty, random_bytes, swapped)),
    *(("config.yaml", damage) for damage in (empty, random_bytes, swapped, without_loss)),
    *(("trajectory.parquet", damage) for damage in (cut, empty, random_bytes, swapped, other_end)),
    ("trajectory.parquet", only("epoch", "train/loss")),
    ("trajectory.parquet", only("param/w")),
]


@pytest.fixture
def recorded(store: Path) -> Callable[[str], tuple[str, Path]]:
    """Records a run that has this artifact; its id and the artifact's path."""

    def record(name: str) -> tuple[str, Path]:
        typed = ["step=model", "predictor=mlp"] if name == "predictor.npz" else ["step=manual"]
        run_id = str(run(*typed, "iters=3").run_id)
        Path("x.csv").write_text("x\n5\n")
        client = MlflowClient(f"sqlite:///{store}/outputs/mlflow.db")
        folder = client.get_run(run_id).info.artifact_uri.removeprefix("file://")
        return run_id, Path(folder, name)

    return record


def files(*folders: Path) -> dict[Path, bytes]:
    every = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return {path: path.read_bytes() for path in every}


@pytest.mark.parametrize(("name", "damage"), CASES, ids=[f"{n}-{d.__name__}" for n, d in CASES])
def test_a_damaged_artifact_is_named(
    name: str,
    damage: Callable[[Path], None],
    recorded: Callable[[str], tuple[str, Path]],
    cli: CLI,
) -> None:
    run_id, path = recorded(name)
    assert cli("predict", run_id, "x.csv").code == 0
    damage(path)
    before = files(Path(), path.parent)
    for more in ([], ["--out", "new.csv"]):
        ended = cli("predict", run_id, "x.csv", *more)
        assert (ended.code, ended.out) == (2, "")
        sentence = rf"gdexp: {name} of run {run_id} is damaged: .+[^.]\. Run it again\.\n"
        assert re.fullmatch(sentence, ended.err)
    assert files(Path(), path.parent) == before


@pytest.mark.parametrize("name", ["predictor.npz", "config.yaml"])
def test_an_artifact_that_cannot_be_read_is_named(
    name: str, recorded: Callable[[str], tuple[str, Path]], cli: CLI
) -> None:
    run_id, path = recorded(name)
    a_folder(path)
    ended = cli("predict", run_id, "x.csv")
    assert (ended.code, ended.out) == (2, "")
    assert re.fullmatch(rf"gdexp: {name} of run {run_id} cannot be read: .+\.\n", ended.err)


@pytest.mark.parametrize("name", ["predictor.npz", "config.yaml", "trajectory.parquet"])
def test_any_flipped_bit_is_refused_or_changes_nothing(
    name: str, recorded: Callable[[str], tuple[str, Path]], cli: CLI
) -> None:
    run_id, path = recorded(name)
    whole, right = path.read_bytes(), cli("predict", run_id, "x.csv")

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(where=st.integers(0, len(whole) - 1), bit=st.integers(0, 7))
    def flip(where: int, bit: int) -> None:
        path.write_bytes(whole[:where] + bytes([whole[where] ^ 1 << bit]) + whole[where + 1 :])
        ended = cli("predict", run_id, "x.csv")
        refused = ended.code == 2 and f"{run_id}" in ended.err and ended.err.count("\n") == 1
        assert refused or ended == right

    flip()
