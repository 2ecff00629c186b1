"""``diff`` tells how two recorded runs differ, where their curves part, and what can explain it."""

from __future__ import annotations

import json
import sqlite3
import zipfile
from pathlib import Path

import pytest
from helpers import CLI
from store_helpers import artifact, newest, rows, set_tag, tags

PACKED = Path(__file__).parents[1] / "data" / "legacy.zip"
LEARNING_RATE = """\
A  {a}  step=manual: completed, 20 epochs
B  {b}  step=manual lr=0.05: diverged, the loss grew from 30 to 8.24634e12

settings  A     B
  lr      0.01  0.05

results                   A          B
  outcome                 completed  diverged
"""
PARTED = """
the same: data, code, environment

the curves part in epoch 1: param/w is 1.2 and 6.0
  losses and gradients are equal until then, so what differs is how the parameters are updated
  too large for rounding
  in epoch 20, the last that both have: train/loss is 0.0 and 8.246337e+12, and 2 more differ
it can be explained by:
  lr: A 0.01, B 0.05
"""


def recorded(cli: CLI, folder: Path, *words: str) -> str:
    """The id of a run of these words."""
    cli(*words)
    return newest(folder)


def written(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_another_learning_rate(store: Path, cli: CLI) -> None:
    a = recorded(cli, store, "step=manual")
    b = recorded(cli, store, "step=manual", "lr=0.05")
    before = written(store)
    ended = cli("diff", a[:8], b)
    assert (ended.code, ended.err) == (1, "")
    assert ended.out.startswith(LEARNING_RATE.format(a=a[:8], b=b[:8]))
    assert ended.out.endswith(PARTED)
    told = json.loads(cli("diff", a, b, "--json").out)
    assert told["identical"] is False
    assert told["settings"] == {"lr": [0.01, 0.05]}
    assert told["candidates"] == ["lr"]
    assert told["results"]["outcome"] == ["completed", "diverged"]
    first = told["first"]
    assert (first["epoch"], first["quantity"], first["values"]) == (1, "param/w", [1.2, 6.0])
    assert written(store) == before


def test_identical_runs_and_one_run_twice(store: Path, cli: CLI) -> None:
    a = recorded(cli, store, "step=manual")
    b = recorded(cli, store, "step=manual", "print_every=7")
    assert cli("diff", a, b) == (
        0,
        f"A  {a[:8]}  step=manual: completed, 20 epochs\n"
        f"B  {b[:8]}  step=manual print_every=7: completed, 20 epochs\n\n"
        "settings       A  B\n"
        "  print_every  –  7  (not on the curves)\n\n"
        "the same: data, code, environment\n\n"
        "the curves are identical, bit for bit: 20 epochs, 3 quantities\n",
        "",
    )
    assert cli("diff", a, a[:9]) == (0, f"identical: both are run {a}\n", "")


def test_a_file_that_was_changed(store: Path, cli: CLI) -> None:
    words = ("step=manual", "data=csv", "data.path=t.csv", "data.target=y", "lr=0.001")
    Path("t.csv").write_text("x,y\n1,2\n2,4\n")
    a = recorded(cli, store, *words)
    Path("t.csv").write_text("x,y\n1,2\n2,4\n3,7\n")
    out = cli("diff", a, recorded(cli, store, *words)).out
    assert "\n  rows    2         3\n" in out
    assert "\nthe same: settings, code, environment\n" in out
    assert "\n  the losses differ first, so what differs comes before the gradient" in out
    digest = out.partition("  digest  ")[2].split()[:2]
    assert out.endswith(
        f"it can be explained by:\n  digest of the data: A {digest[0]}, B {digest[1]}\n"
    )


@pytest.mark.slow
def test_the_shorter_run_is_the_beginning_of_the_longer(store: Path, cli: CLI) -> None:
    a = recorded(cli, store, "step=manual", "lr=0.001")
    b = recorded(cli, store, "step=manual", "lr=0.001", "iters=30", "seed=4")
    ended = cli("diff", a, b)
    assert ended.code == 1
    assert ended.out.endswith(
        "the curves are equal up to epoch 20; A and B have 20 and 30\n"
        "  every epoch that both have is equal, so the shorter run is the beginning of the longer "
        "one\nit can be explained by:\n  iters: A 20, B 30\n"
    )


def test_where_only_the_surroundings_differ(store: Path, cli: CLI) -> None:
    a = recorded(cli, store, "step=autograd")
    recorded(cli, store, "step=autograd", "dtype=float64")
    double = artifact(store, "trajectory.parquet").read_bytes()
    b = recorded(cli, store, "step=autograd")
    told = json.loads(tags(store)["gdexp.environment"])
    changed = told | {"numpy": "1.0", "threads": 64}
    set_tag(store, "gdexp.environment", json.dumps(changed))
    artifact(store, "trajectory.parquet").write_bytes(double)
    out = cli("diff", a, b).out
    assert "param/w is 0.29999998 and 0.3 (1 ulp of float32)" in out
    assert "\n  as small as rounding\n" in out
    assert out.endswith(
        "it can be explained by:\n"
        f"  numpy: A {told['numpy']}, B 1.0\n  threads: A {told['threads']}, B 64\n"
    )
    set_tag(store, "gdexp.environment", json.dumps(told))
    assert cli("diff", a, b).out.endswith(
        "nothing that is recorded differs and can explain it:\n"
        "  python -m gdexp replay tells which of the two is computed again as it was\n"
    )


@pytest.mark.slow
def test_runs_without_curves_or_settings(store: Path, cli: CLI) -> None:
    a = recorded(cli, store, "step=manual")
    b = recorded(cli, store, "step=manual", "lr=0.02")
    artifact(store, "trajectory.parquet").unlink()
    artifact(store, "config.yaml").unlink()
    ended = cli("diff", a, b)
    assert ended.code == 1
    assert f"   run {b} (completed) has no trajectory.parquet among its artifacts" in ended.out
    assert "config.yaml" in ended.out
    assert "\nsettings  A     B\n  lr      0.01  0.02\n" in ended.out
    assert ended.out.endswith("no curves to compare\n")
    rows(store, "UPDATE runs SET status = 'RUNNING' WHERE run_uuid = ?", b)
    assert f"run {b} has not ended, so its curves are not compared." in cli("diff", a, b).out


@pytest.mark.slow
def test_a_run_that_failed_and_code_that_is_not_trusted(mine: tuple[str, ...], cli: CLI) -> None:
    folder = Path.cwd()
    a = recorded(cli, folder, *mine)
    b = recorded(cli, folder, *mine, "loss.breaks=true")
    Path("my_loss.py").write_text("raise SystemExit('this is imported')")
    out = cli("diff", a, b).out
    assert "\n  loss.breaks  false  true\n" in out
    assert "failed, RuntimeError after epoch 0 of 20: no more" in out
    assert "\n  loss.breaks: A false, B true\n" in out


def test_what_is_not_a_run(store: Path, cli: CLI) -> None:
    run = newest(store)
    typo = f"{run[:7]}{'0' if run[7] != '0' else '1'}"
    assert cli("diff", typo, run) == (
        2,
        "",
        f"gdexp: there is no run {typo!r} in this store. Did you mean {run[:8]}? "
        "python -m gdexp compare --all lists the runs.\n",
    )
    assert cli("diff", "%", run).err.startswith("gdexp: there is no run '%' in this store. python")
    rows(store, "UPDATE tags SET value = 'sweep' WHERE key = 'gdexp.kind'")
    rows(store, "INSERT INTO tags (key, value, run_uuid) VALUES ('gdexp.sweep_id', 'mine', ?)", run)
    assert cli("diff", run, run).err == (
        f"gdexp: {run!r} is the summary of a sweep, not a run. python -m gdexp compare --sweep "
        "mine lists its runs.\n"
    )


@pytest.mark.parametrize("words", [(), ("abc",), ("abc", "lr=3"), ("a", "b", "c")])
def test_arguments(words: tuple[str, ...], workdir: Path, cli: CLI) -> None:
    ended = cli("diff", *words)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("gdexp: diff: ")
    assert not any(workdir.iterdir())


def test_records_of_an_older_version(workdir: Path, cli: CLI) -> None:
    with zipfile.ZipFile(PACKED) as packed:
        packed.extractall(workdir)
    connection = sqlite3.connect(workdir / "outputs" / "mlflow.db")
    with connection:
        for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
            query = f"UPDATE {table} SET {column} = replace({column}, '/tmp/legacy', ?)"
            connection.execute(query, (str(workdir),))
    connection.close()
    ids = [run for (run,) in rows(workdir, "SELECT run_uuid FROM runs WHERE name LIKE ? "
                                  "ORDER BY name", "data=tutorial step=%")]  # fmt: skip
    codes = [cli("diff", ids[0], other).code for other in ids[1:]]
    assert len(codes) == 3
    out = cli("diff", ids[0], ids[1]).out
    assert "\n  lr      1e-05  2e-05\n" in out
    assert "\nnot recorded of A and B: the libraries' versions and the machine\n" in out
    assert out.endswith("it can be explained by:\n  lr: A 1e-05, B 2e-05\n")
