"""What a notebook gets of a sweep: the table of its runs, recorded as by the command line."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import client, runs
from mlflow.entities import Run
from record_helpers import assert_alike, recorded
from sweep_helpers import gd, members, sweeps

from gdexp import run, sweep
from gdexp.errors import ConfigError, RunFailedError

SWEPT = "step=manual,model", "lr=0.01,0.1", "iters=10"


def test_sweep_returns_a_row_for_each_run(store: Path, capfd: pytest.CaptureFixture[str]) -> None:
    table = sweep("step=manual,model", lr=[0.01, 0.1], iters=10)
    assert capfd.readouterr() == ("", "")
    assert list(table.index) == [0, 1, 2, 3]
    assert list(table.step) == ["manual", "manual", "model", "model"]
    assert list(table.lr) == [0.01, 0.1] * 2
    assert list(table.outcome) == ["completed", "diverged", "completed", "completed"]
    for _, row in table.iterrows():
        alone = run(f"step={row.step}", lr=row.lr, iters=10, tracking="off")
        assert list(row.result.trajectory.loss) == pytest.approx(list(alone.trajectory.loss))
        assert row["final/loss"] == row.result.trajectory.loss[-1]
        assert row.run_id == row.result.run_id
    ids = [r.info.run_id for r in members(client(store))]
    assert list(table.run_id) == ids
    assert table.attrs["sweep_id"] == sweeps(store)[0].data.tags["gdexp.sweep_id"]


@pytest.mark.slow
def test_it_is_recorded_as_the_command_lines(store: Path) -> None:
    ended = gd("-m", *SWEPT, "hydra.sweep.dir=outputs/sweeps/typed")
    assert ended.code == 0, ended.err
    sweep(
        "hydra.sweep.dir=outputs/sweeps/called", step=["manual", "model"], lr=[0.01, 0.1], iters=10
    )
    opened = client(store)
    typed, called = members(opened, "typed"), members(opened, "called")
    assert len(typed) == len(called) == 4
    for one, other in zip(typed, called, strict=True):
        assert_alike(recorded(opened, one), recorded(opened, other), exactly=True)
    summaries = [_summary(opened, one) for one in sweeps(store)]
    assert_alike(*summaries, exactly=True)
    folders = [
        sorted(p.name for p in (store / "outputs/sweeps" / n).iterdir())
        for n in ("typed", "called")
    ]
    assert folders[0] == folders[1]


def _summary(opened: Any, one: Run) -> dict[str, Any]:
    """All that is recorded of a summary but names, ids and times."""
    whole = recorded(opened, one)
    text = repr([whole["tags"], whole["params"], whole["name"], whole["contents"]["jobs.json"]])
    text = re.sub(r"[0-9a-f]{32}|sweeps/\w+|took [0-9.]+ s", "#", text)
    return {"text": text, "artifacts": whole["artifacts"], "metrics": sorted(whole["metrics"])}


def test_lists_are_axes_and_nested_lists_are_values(workdir: Path) -> None:
    table = sweep(
        "tracking=off",
        data={"x": [[1.0, 2.0], [1.0, 3.0]], "y": [[2.0, 4.0]]},
        seed=range(2),
        lr=np.array([0.01]),
        iters=2,
    )
    assert list(table["data.x"]) == [[1, 2], [1, 2], [1, 3], [1, 3]]
    assert list(table.seed) == [0, 1, 0, 1]
    assert list(table.run_id) == [None] * 4
    assert "data.y" not in table  # it does not differ


def test_means_and_deviations_over_seeds(workdir: Path) -> None:
    table = sweep(
        "data=synthetic", "step=manual", "gradient=manual", "tracking=off", "data.rows=20",
        "data.batch_size=5", seed=range(3), lr=[0.1, 3.0], iters=3,
    )  # fmt: skip
    groups = table.gdexp.over("seed")
    assert list(groups.columns[:6]) == [
        *("lr", "n", "diverged", "unfinished", "final/loss.mean", "final/loss.std"),
    ]
    assert groups[["lr", "n", "diverged"]].to_numpy().tolist() == [[0.1, 3, 0], [3.0, 0, 3]]
    expected = table[table.outcome == "completed"].groupby("lr")["final/loss"].agg(["mean", "std"])
    assert groups.iloc[0, 4:6].tolist() == pytest.approx(expected.iloc[0].tolist())
    assert groups.iloc[1, 4:].isna().all()
    assert set(groups.dtypes.iloc[4:]) == {np.dtype(float)}
    assert groups.attrs == table.attrs
    assert table[table.lr < 1].gdexp.over("seed", "lr").n.tolist() == [3]
    for keys, cause in [(["sed"], "no run has a setting 'sed'. Did you mean seed?"),
                        (["iters"], "nothing to average, as all 6 runs have iters=3."),
                        ([], "name a setting, such as seed.")]:  # fmt: skip
        with pytest.raises(ConfigError, match=re.escape(f"table.gdexp.over: {cause}")):
            table.gdexp.over(*keys)
    with pytest.raises(ConfigError, match=r"over: the table needs its column 'outcome'\."):
        table[["lr", "seed", "final/loss"]].gdexp.over("seed")
    with pytest.raises(ConfigError, match=r"over: there are no runs to average\."):
        table[:0].gdexp.over("seed")


@pytest.mark.slow
def test_a_resumed_sweep_gives_all_of_its_runs(store: Path) -> None:
    sweep("tracking=off", iters=[1])
    words = {"lr": [0.01, 0.1], "data": {"validation": [0.25]}, "iters": 5}
    first = sweep("step=autograd", **words)
    again = sweep("step=autograd", "sweep.resume=last", **words)
    assert again.attrs == first.attrs
    folders = {path.name for path in (store / "outputs" / "sweeps").iterdir()}
    assert len(folders) == 2  # each sweep but the resumed one has its own
    assert first.attrs["sweep_id"] in folders
    assert len(members(client(store))) == 2
    columns = [name for name in first if name != "result"]
    assert_alike(again[columns].to_dict(), first[columns].to_dict(), exactly=True)
    for one, other in zip(first.result, again.result, strict=True):
        assert list(one.trajectory.columns()) == list(other.trajectory.columns())
        assert np.array_equal(one.trajectory.table, other.trajectory.table)
        assert (one.transcript, one.at, one.reason) == (other.transcript, other.at, other.reason)
        assert one.parameters == other.parameters


def test_a_run_that_fails_is_an_error_after_the_others_have_run(
    mine: tuple[str, ...], store: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder, *words = mine[1:]
    with pytest.raises(RunFailedError) as caught:
        sweep(words, config_dir=Path(folder), loss={"breaks": [True, False]}, iters=2)
    assert str(caught.value) == (
        "1 run failed; the others are done.\n"
        "step=autograd loss=mine loss.breaks=True iters=2: no more"
    )
    assert capfd.readouterr().err.count("RuntimeError: no more") == 1  # where it was raised
    assert [r.info.status for r in members(client(store))] == ["FAILED", "FINISHED"]
    assert sweeps(store)[0].info.status == "FINISHED"


def test_a_dry_run_runs_nothing(store: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = len(runs(client(store)))
    table = sweep("sweep.dry_run=true", lr=[0.1, 0.2])
    assert capfd.readouterr().out == "#0 lr=0.1\n#1 lr=0.2\n2 runs\n"
    assert len(table) == 0
    assert len(runs(client(store))) == before


def test_the_callers_logging_stays_as_it_is(workdir: Path) -> None:
    root, own = logging.getLogger(), logging.StreamHandler()
    root.addHandler(own)
    try:
        before = list(root.handlers)
        sweep("hydra/launcher=basic", "tracking=off", iters=1, lr=[0.1])  # Hydra runs the job
        assert root.handlers == before
    finally:
        root.removeHandler(own)


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        (
            "hydra.sweeper.max_batch_size=0",
            "hydra.sweeper.max_batch_size: 0 is not null or a whole ",
        ),
        (
            "hydra/launcher=joblib",
            "hydra/launcher=joblib: it computes runs in other processes, and",
        ),
    ],
)
def test_a_sweep_that_could_not_be_run_or_returned(word: str, sentence: str, workdir: Path) -> None:
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        sweep(word, "tracking=off", lr=[0.1, 0.2])
    assert not any(workdir.iterdir())
