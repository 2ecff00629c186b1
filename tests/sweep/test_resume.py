"""A sweep that stops early loses nothing, and its summary says what came of it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import statistics
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from filelock import FileLock
from helpers import PATIENCE, artifact, client, eventually, runs
from sweep_helpers import essence, gd, members, start, summary, table, working_in

TYPED = ("step=manual,model", "lr=0.01,0.05", "predictor.init=torch", "sweep.repeat=3", "iters=8")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> Iterator[Path]:
    """A sweep of twelve runs that nothing has disturbed."""
    with working_in(tmp_path_factory.mktemp("whole"), migrated) as folder:
        assert gd("-m", *TYPED).code == 0
        yield folder


@pytest.fixture
def copied(whole: Path, workdir: Path) -> Path:
    """The same sweep as if it had been run here, to be damaged."""
    shutil.copytree(whole / "outputs", workdir / "outputs", dirs_exist_ok=True)
    opened = client(workdir)
    (folder,) = (workdir / "outputs" / "sweeps").iterdir()
    opened.set_tag(summary(opened).info.run_id, "gdexp.sweep_dir", str(folder))
    return workdir


def test_the_summary_has_a_row_for_every_run(whole: Path) -> None:
    opened = client(whole)
    found, data = members(opened), summary(opened).data
    assert len(found) == 12
    assert summary(opened).info.status == "FINISHED"
    assert data.tags["gdexp.sweep_id"] == found[0].data.tags["gdexp.sweep_id"]
    assert data.metrics["sweep/runs"] == data.metrics["sweep/completed"] + 3 == 12
    assert data.metrics["sweep/diverged"] == 3
    assert data.params == {"jobs": "12"}
    rows = table(opened)
    assert [row["run_id"] for row in rows] == [r.info.run_id for r in found]
    for row, r in zip(rows, found, strict=True):
        assert row["name"] == r.info.run_name
        assert row["outcome"] == r.data.tags["gdexp.outcome"]
        assert r.data.params.items() <= {k: v or "null" for k, v in row.items()}.items() or (
            r.data.params.items() <= row.items()
        )
        assert {name: float(row[name]) for name in r.data.metrics} == r.data.metrics
    columnar = artifact(opened, summary(opened).info.run_id, "runs.parquet")
    assert pq.read_table(columnar).column("run_id").to_pylist() == [r["run_id"] for r in rows]


def test_the_summary_names_the_best_run(whole: Path) -> None:
    opened = client(whole)
    completed = [r for r in members(opened) if r.data.tags["gdexp.outcome"] == "completed"]
    best = min(completed, key=lambda r: r.data.metrics["final/loss"])
    data = summary(opened).data
    assert data.tags["gdexp.best_run"] == best.info.run_id
    assert data.metrics["best/loss"] == best.data.metrics["final/loss"]
    note = data.tags["mlflow.note.content"]
    assert note.startswith(f"`python -m gdexp -m {' '.join(TYPED)}`: 12 runs: 9 completed, 3 div")
    assert f"Best: {best.info.run_name}, loss " in note


def test_repetitions_are_summed_up_by_mean_and_deviation(whole: Path) -> None:
    opened = client(whole)
    rows = table(opened, "repetitions.csv")
    assert [(row["n"], row["diverged"]) for row in rows] == [("3", "0"), ("0", "3")] + [
        ("3", "0")
    ] * 2
    losses = [r.data.metrics["final/loss"] for r in members(opened)]
    for row, at in zip(rows, range(0, 12, 3), strict=True):
        if row["n"] == "0":
            assert row["final/loss.mean"] == row["final/loss.std"] == ""
            continue
        assert float(row["final/loss.mean"]) == pytest.approx(statistics.mean(losses[at:][:3]))
        assert float(row["final/loss.std"]) == pytest.approx(statistics.stdev(losses[at:][:3]))
    note = summary(opened).data.tags["mlflow.note.content"]
    assert re.search(
        r"\. Smallest mean loss over seed: \S+ ± \S+ \(n = 3\) with step=\w+ lr=", note
    )


def test_other_commands_pass_a_summary_over(whole: Path) -> None:
    from gdexp.tracking import query as chosen
    from gdexp.tracking.connect import open_existing

    store = open_existing(f"sqlite:///{whole}/outputs/mlflow.db", None)
    kinds = {r.tags["gdexp.kind"] for r in chosen.select(store, everything=True)}
    assert kinds == {"run"}
    assert len(chosen.select(store)) == 12  # the last sweep
    with pytest.raises(Exception, match="is the summary of a sweep, not a run"):
        chosen.select(store, [summary(client(whole)).info.run_id])


def test_a_finished_sweep_is_left_as_it_is(copied: Path) -> None:
    before = essence(members(client(copied)))
    ended = gd("-m", *TYPED, "sweep.resume=last")
    assert (ended.code, ended.out) == (0, "")
    assert "12 finished, 0 to run\n" in ended.err
    assert "0 runs" not in ended.err  # nothing is computed, so no folder is named
    assert essence(members(client(copied))) == before
    assert len(table(client(copied))) == 12


@pytest.mark.slow
def test_what_failed_was_killed_or_is_missing_is_run_again(copied: Path) -> None:
    opened = client(copied)
    before, found = essence(members(opened)), members(opened)
    opened.set_terminated(found[1].info.run_id, "FAILED")
    opened.set_terminated(found[5].info.run_id, "KILLED")
    opened.update_run(found[6].info.run_id, status="RUNNING")
    opened.delete_run(found[11].info.run_id)
    sweep_id = found[0].data.tags["gdexp.sweep_id"]
    ended = gd("-m", *TYPED, f"sweep.resume={sweep_id}")
    assert ended.code == 0, ended.err
    assert "8 finished, 4 to run\n" in ended.err
    again = members(opened)
    assert essence(again) == before
    assert [int(r.data.tags["gdexp.job"]) for r in again] == list(range(12))
    kept = {r.info.run_id for r in again} & {r.info.run_id for r in found}
    assert len(kept) == 8
    assert len(table(opened)) == 12
    assert summary(opened).info.status == "FINISHED"
    assert len(list((copied / "outputs" / "sweeps").iterdir())) == 1


def test_another_definition_is_refused_with_the_difference(copied: Path) -> None:
    changed = [word.replace("0.05", "0.07") for word in TYPED]
    ended = gd("-m", *changed, "sweep.resume=last")
    assert (ended.code, ended.out) == (2, "")
    assert "was started with other jobs (6 of 12 are gone, 6 are new)" in ended.err
    assert f"Type what it was started with: {' '.join(TYPED)}\n" in ended.err
    assert "  - step=manual lr=0.05 predictor.init=torch iters=8 seed=0\n" in ended.err
    assert "  + step=manual lr=0.07 predictor.init=torch iters=8 seed=0\n" in ended.err
    assert len(members(client(copied))) == 12


@pytest.mark.slow
def test_an_unknown_sweep_and_one_that_runs_are_refused(copied: Path) -> None:
    ended = gd("-m", *TYPED, "sweep.resume=other")
    assert ended.code == 2
    assert ended.err == (
        "gdexp: sweep.resume: there is no sweep 'other' in experiment gdexp. Type "
        "sweep.resume=last, or the id of a sweep: the name of its folder.\n"
    )
    (folder,) = (copied / "outputs" / "sweeps").iterdir()
    with FileLock(folder / ".lock"):
        ended = gd("-m", *TYPED, "sweep.resume=last")
    assert ended.code == 2
    assert ended.err == f"gdexp: sweep.resume: {folder.name} is still running.\n"
    ended = gd("-m", *TYPED, f"hydra.sweep.dir=outputs/others/{folder.name}")
    assert ended.code == 2
    assert f"hydra.sweep.dir: a sweep {folder.name!r} is recorded already." in ended.err


@pytest.mark.slow
@pytest.mark.parametrize("by", ["setting", "environment"])
def test_a_sweep_is_resumed_from_another_folder(
    copied: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    opened = client(copied)
    before = essence(members(opened))
    for gone in members(opened)[3:5]:
        opened.delete_run(gone.info.run_id)
    store = f"sqlite:///{copied}/outputs/mlflow.db"
    more = [f"tracking.uri={store}"] if by == "setting" else []
    if not more:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    (folder,) = (copied / "outputs" / "sweeps").iterdir()
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.chdir(elsewhere)
    with FileLock(folder / ".lock"):
        ended = gd("-m", *TYPED, *more, "sweep.resume=last")
    assert (ended.code, ended.err) == (
        2,
        f"gdexp: sweep.resume: {folder.name} is still running.\n",
    )
    ended = gd("-m", *TYPED, *more, f"sweep.resume={folder}")
    assert ended.code == 0, ended.err
    assert f"10 finished, 2 to run\n2 runs in {folder}\n" in ended.err
    assert essence(members(opened)) == before
    assert len(table(opened)) == 12
    assert not list(elsewhere.rglob(folder.name))


def test_a_sweep_whose_folder_cannot_be_made_again_is_refused(copied: Path) -> None:
    opened = client(copied)
    (copied / "file").touch()
    opened.set_tag(summary(opened).info.run_id, "gdexp.sweep_dir", f"{copied}/file/here")
    ended = gd("-m", *TYPED, "sweep.resume=last")
    assert (ended.code, ended.err) == (
        2,
        f"gdexp: sweep.resume: {copied}/file is in the way: it is not a folder. Move it.\n",
    )


@pytest.mark.parametrize("folder", ["outputs/it's", ".", "outputs/.."])
def test_a_folder_whose_name_cannot_be_searched_for_is_refused(store: Path, folder: str) -> None:
    quoted = '"' + folder + '"'
    ended = gd("-m", "lr=0.01,0.02", f"hydra.sweep.dir={quoted}")
    assert (ended.code, ended.err) == (
        2,
        f"gdexp: hydra.sweep.dir={folder}: the folder's name is the sweep's id, so it must be "
        "a name without an apostrophe, as in hydra.sweep.dir=outputs/mine.\n",
    )
    assert not members(client(store))
    assert not (store / "outputs" / "it's").exists()


@pytest.mark.slow
def test_a_path_with_an_apostrophe_is_resumed(store: Path) -> None:
    words = "lr=0.01,0.02", "iters=3"
    assert gd("-m", *words, 'hydra.sweep.dir="outputs/it\'s/mine"').code == 0
    opened = client(store)
    opened.delete_run(members(opened)[1].info.run_id)
    ended = gd("-m", *words, "sweep.resume=mine")
    assert ended.code == 0, ended.err
    assert len(members(opened, "mine")) == 2


@pytest.mark.slow
def test_a_sweep_killed_before_its_jobs_were_written_down_is_run(copied: Path) -> None:
    opened = client(copied)
    old = summary(opened)
    tags = {k: v for k, v in old.data.tags.items() if k.startswith("gdexp.")}
    for r in runs(opened):
        opened.delete_run(r.info.run_id)
    opened.create_run(old.info.experiment_id, tags=tags)
    ended = gd("-m", *TYPED, "sweep.resume=last")
    assert ended.code == 0, ended.err
    assert "0 finished, 12 to run\n" in ended.err
    jobs = artifact(opened, summary(opened).info.run_id, "jobs.json").read_text()
    assert len(json.loads(jobs)) == len(members(opened)) == 12


def test_finished_runs_are_taken_over(copied: Path) -> None:
    more = [word.replace("0.05", "0.05,0.07") for word in TYPED]
    ended = gd("-m", *more, "sweep.skip_finished=true", "hydra.sweep.dir=outputs/more")
    assert ended.code == 0, ended.err
    assert "12 taken over from finished runs, 6 to run\n" in ended.err
    assert {r.data.params["lr"] for r in members(client(copied), "more")} == {"0.07"}


def test_a_dry_run_lists_the_jobs_and_creates_nothing(store: Path) -> None:
    before = len(runs(client(store)))
    ended = gd("-m", "lr=0.01,0.02", "sweep.repeat=15", "sweep.dry_run=true")
    assert ended.code == 0, ended.err
    lines = ended.out.splitlines()
    assert lines[0] == "#0 lr=0.01 seed=0"
    assert (len(lines), lines[-1]) == (21, "... and 10 more: 30 runs")
    assert len(runs(client(store))) == before
    assert {path.name for path in (store / "outputs").iterdir()} <= {"mlflow.db", ".mlflow.db.lock"}


@pytest.mark.parametrize("launcher", ["vectorized", pytest.param("basic", marks=pytest.mark.slow)])
def test_failures_are_listed_at_the_end(
    store: Path,
    mine: tuple[str, ...],
    launcher: str,
) -> None:
    words = f"hydra/launcher={launcher}", "loss.breaks=false,true", "lr=0.01,0.02", "iters=3"
    ended = gd("-m", *mine, *words)
    assert ended.code == 1
    assert "2 of 4 runs failed:\n" in ended.err
    assert "  step=autograd loss=mine loss.breaks=True lr=0.02 iters=3  no more\n" in ended.err
    opened = client(store)
    assert [r.info.status for r in members(opened)] == ["FINISHED"] * 2 + ["FAILED"] * 2
    assert summary(opened).data.metrics["sweep/failed"] == 2
    assert summary(opened).info.status == "FINISHED"


@pytest.mark.slow
def test_a_sweep_stops_at_the_first_failure_and_so_does_its_resumption(
    store: Path,
    mine: tuple[str, ...],
) -> None:
    words = [*mine, "lr=0.01,0.02", "loss.breaks=true,false", "iters=3"]
    assert gd("-m", *words, "sweep.on_error=stop", "hydra.sweep.dir=outputs/a").code == 1
    opened = client(store)
    assert [r.info.status for r in members(opened)] == ["FAILED"]
    assert gd("-m", *words, "sweep.resume=a").code == 1
    former = [r.info.run_id for r in members(opened)]
    ended = gd("-m", *words, "sweep.resume=a", "sweep.on_error=stop")
    assert ended.code == 1
    assert "2 finished, 2 to run" in ended.err
    assert [r.info.status for r in members(opened)] == ["FAILED", "FINISHED", "FINISHED"]
    assert members(opened)[0].info.run_id not in former
    assert not (store / "outputs" / "sweeps").exists()


def wait_for(running: subprocess.Popen[str], text: str) -> None:
    assert running.stderr is not None
    assert any(text in line for line in running.stderr)


@pytest.mark.slow
def test_ctrl_c_closes_members_and_summary(store: Path, mine: tuple[str, ...]) -> None:
    words = [*mine, "loss.waits=false,true", "lr=0.01,0.02", "iters=150"]
    (store / "wait").touch()
    running = start(store, *words)
    wait_for(running, "#1 ")
    opened = client(store)
    eventually((store / "waiting").exists)
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=PATIENCE)
    assert running.returncode == 130
    assert ". To run the rest, type the same command with sweep.resume=last\n" in err
    assert err.endswith("\ninterrupted by Ctrl-C\n")
    assert "Traceback" not in err
    with pytest.raises(ProcessLookupError):
        os.killpg(running.pid, 0)
    assert [r.info.status for r in members(opened)] == ["FINISHED", "FINISHED", "KILLED"]
    assert summary(opened).info.status == "KILLED"
    assert summary(opened).data.tags["gdexp.outcome"] == "interrupted"
    assert [row["outcome"] for row in table(opened)] == ["completed"] * 2 + ["interrupted"]
    (store / "wait").unlink()
    assert gd("-m", *words, "sweep.resume=last").code == 0
    assert [r.info.status for r in members(opened)] == ["FINISHED"] * 4
    assert summary(opened).info.status == "FINISHED"
