"""``replay`` computes a recorded run again and finds every epoch as it was, to the last bit.

Whatever is changed afterwards, in the record, the data or the code, is told by the first epoch and
quantity that differ, or refused with a sentence.
"""

from __future__ import annotations

import importlib
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import CLI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_helpers import artifact, newest, rows, set_tag, tags

from gdexp import __version__
from gdexp.commands.conditions import Conditions
from gdexp.tracking.run_record import RecordedRun

DIABETES = ("data=diabetes", "data.standardize=true", "step=model", "lr=0.1", "iters=12")
BREAKING = """
class Loss:
    def __init__(self, after: int = 1000, how: str = "error") -> None:
        self.after, self.how, self.calls = after, how, 0
    def __call__(self, y_pred, y):
        self.calls += 1
        if self.calls > self.after:
            if self.how == "signal":
                from gdexp.errors import Interrupted
                raise Interrupted(2)
            raise RuntimeError("no more")
        return ((y_pred - y) ** 2).mean()
"""
EQUAL = "nothing differs around it: the versions, the machine and the data are the same\n"


def environment(folder: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(tags(folder)["gdexp.environment"])
    return told


def column(folder: Path, name: str) -> list[float]:
    values: list[float] = pq.read_table(artifact(folder, "trajectory.parquet"))[name].to_pylist()
    return values


def written(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file below a folder, with its content."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {
        str(p): (p.stat().st_mtime_ns, p.read_bytes()) for p in paths if "pycache" not in str(p)
    }


def one_ulp_more(folder: Path, quantity: str, epoch: int, dtype: str = "float32") -> None:
    """The trajectory with the next number of a precision in one place."""
    path = artifact(folder, "trajectory.parquet")
    table = pq.read_table(path)
    values, kind = table[quantity].to_pylist(), np.dtype(dtype).type
    values[epoch - 1] = float(np.nextafter(kind(values[epoch - 1]), kind(np.inf)))
    place = table.column_names.index(quantity)
    pq.write_table(table.set_column(place, quantity, pa.array(values)), path)


def identical(folder: Path, cut: str = "") -> str:
    """What is printed of the newest run if it is identical."""
    table = pq.read_table(artifact(folder, "trajectory.parquet"))
    epochs = f"{table.num_rows} epoch{'' if table.num_rows == 1 else 's'}"
    how = f" (the run was {cut})" if cut else ""
    return f"identical, bit for bit: {epochs}, {table.num_columns - 1} quantities{how}\n"


@pytest.mark.parametrize(
    ("words", "outcome"),
    [
        (("step=manual",), "completed"),
        (("step=optimizer", "lr=0.3", "iters=900"), "diverged"),
        (("lr=1e300",), "diverged"),
        ((*DIABETES, "updater=Adam", "data.batch_size=100", "seed=7", "predictor=mlp",
          "checkpoint.every=5", "tracking.max_points=3"), "completed"),
        ((*DIABETES, "data.validation=0.3", "stop.patience=2", "data.standardize_target=true",
          "scheduler=StepLR", "lr=0.9"), "converged"),
        ((*DIABETES, "data.compress=true", "dtype=float64", "stop.tolerance=2e4", "stop.every=5",
          "predictor.bias=true", "checkpoint.every=3"), "converged"),
    ],
)  # fmt: skip
def test_a_run_is_identical_and_leaves_nothing(
    words: tuple[str, ...], outcome: str, store: Path, cli: CLI
) -> None:
    assert cli(*words).code == 0
    assert tags(store)["gdexp.outcome"] == outcome
    before = written(store)
    assert cli("replay", newest(store)) == (0, identical(store), "")
    assert written(store) == before


def test_a_continued_run_starts_from_its_checkpoint(store: Path, cli: CLI) -> None:
    assert cli(*DIABETES, "updater=Adam", "checkpoint.every=5").code == 0
    first = newest(store)
    assert cli(f"continue_from={first}", "iters=30").code == 0
    assert cli("replay", newest(store)) == (0, identical(store), "")
    shutil.rmtree(artifact(store, "").parents[1] / first / "artifacts" / "checkpoints")
    ended = cli("replay", newest(store))
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == (
        f"gdexp: run {newest(store)} cannot be replayed: continue_from: run {first} has no "
        f"checkpoint. It was started in the folder {store}.\n"
    )


@pytest.mark.parametrize(("how", "outcome"), [("error", "failed"), ("signal", "interrupted")])
def test_of_a_run_that_was_cut_short_its_epochs_are_compared(
    how: str, outcome: str, own: tuple[str, ...], store: Path, cli: CLI
) -> None:
    ended = cli(*own, "loss.after=9", f"loss.how={how}")
    assert ended.code in (1, 130)
    assert pq.read_table(artifact(store, "trajectory.parquet")).num_rows == 9
    assert cli("replay", newest(store), "--trust", "breaking.*") == (
        0,
        identical(store, outcome),
        "",
    )


@pytest.fixture
def own(store: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """A loss of the user's own, and the words that choose it."""
    (store / "mine" / "loss").mkdir(parents=True)
    option = "_target_: breaking.Loss\nafter: 1000\nhow: error\n"
    (store / "mine" / "loss" / "breaking.yaml").write_text(option)
    (store / "breaking.py").write_text(BREAKING)
    monkeypatch.syspath_prepend(store)
    monkeypatch.delitem(sys.modules, "breaking", raising=False)
    return "--config-dir", "mine", "step=autograd", "loss=breaking"


MEMBERS = "SELECT run_uuid FROM tags WHERE key = 'gdexp.job'"
UNKNOWN = "DELETE FROM tags WHERE key IN ('gdexp.environment', 'gdexp.together')"


@pytest.mark.parametrize(
    "words", [(), pytest.param(("hydra/launcher=basic",), marks=pytest.mark.slow)]
)
def test_members_of_a_sweep(words: tuple[str, ...], store: Path, cli: CLI) -> None:
    assert cli("-m", "step=manual,autograd", "lr=0.01,0.3", "iters=90", *words).code == 0
    together = rows(store, "SELECT value FROM tags WHERE key = 'gdexp.together'")
    assert together == ([] if words else [("2",)] * 4)
    for _ in range(2):  # then as an older version would have recorded them
        for (member,) in rows(store, MEMBERS):
            assert cli("replay", member).out.startswith("identical, bit for bit: ")
        rows(store, UNKNOWN)
    assert len(rows(store, MEMBERS)) == 4


def test_the_first_difference_is_told(store: Path, cli: CLI) -> None:
    assert cli("step=autograd").code == 0
    one_ulp_more(store, "param/w", 7)
    one_ulp_more(store, "train/loss", 20)
    loss, w = column(store, "train/loss"), column(store, "param/w")
    texts = [str(np.float32(v)) for v in (w[6], loss[19])]
    lower = [str(np.nextafter(np.float32(v), np.float32(0))) for v in (w[6], loss[19])]
    assert cli("replay", newest(store)) == (
        1,
        "different from epoch 7 on:\n"
        f"  param/w: recorded {texts[0]}, now {lower[0]} (1 ulp of float32)\n"
        "in epoch 20, the last that both have:\n"
        f"  train/loss: recorded {texts[1]}, now {lower[1]} (1 ulp of float32)\n" + EQUAL,
        "",
    )


def test_by_hand_parameters_are_in_double_precision(store: Path, cli: CLI) -> None:
    assert cli("step=manual").code == 0
    one_ulp_more(store, "param/w", 7, "float64")
    ended = cli("replay", newest(store))
    assert ended.out.splitlines()[1].endswith("(1 ulp of float64)")
    assert ended.out.splitlines()[3] == "  everything is equal again"


def test_what_differs_around_it_is_told(store: Path, cli: CLI) -> None:
    assert cli("step=autograd").code == 0
    one_ulp_more(store, "train/loss", 1)
    told = environment(store)
    now = {name: told[name] for name in ("torch", "threads", "data")}
    changed = told | {"torch": "1.0", "threads": 64, "data": "00000000", "cpus": told["cpus"]}
    changed["variables"] = told["variables"] | {"MKL_CBWR": "AVX2"}
    set_tag(store, "gdexp.environment", json.dumps(changed))
    set_tag(store, "gdexp.version", "0.0.1")
    lines = cli("replay", newest(store)).out.splitlines()
    assert lines[lines.index("what differs around it:") + 1 :] == [
        f"  gdexp: recorded 0.0.1, now {__version__}",
        f"  torch: recorded 1.0, now {now['torch']}",
        f"  threads: recorded 64, now {now['threads']}",
        f"  digest of the data: recorded 00000000, now {now['data']}",
        "  MKL_CBWR: recorded AVX2, now none",
    ]


@pytest.mark.parametrize("told", [None, "", "no JSON", "[1]", "{}", '{"variables": 3}'])
def test_an_environment_that_is_not_recorded(told: str | None) -> None:
    tags = {} if told is None else {"gdexp.environment": told}
    run = RecordedRun("a1", "1", "run", "FINISHED", 0, "", {}, tags, {})
    then = Conditions.recorded(run)
    assert (then.is_known, then.folder, then.together) == (False, "", None)


def test_of_an_older_version_it_says_what_is_not_recorded(store: Path, cli: CLI) -> None:
    assert cli("step=manual").code == 0
    one_ulp_more(store, "train/loss", 1)
    rows(store, UNKNOWN)
    ended = cli("replay", newest(store))
    assert (ended.code, ended.err) == (1, "")
    assert ended.out.splitlines()[-1] == (
        "not recorded: the versions of libraries, the machine and the digest of the data"
    )


def test_a_component_that_fails_now(own: tuple[str, ...], store: Path, cli: CLI) -> None:
    assert cli(*own).code == 0
    (store / "breaking.py").write_text(BREAKING.replace("> self.after", "> 9"))
    del sys.modules["breaking"]
    ended = cli("replay", newest(store), "--trust", "breaking.Loss")
    assert (ended.code, ended.err) == (1, "")
    assert ended.out.splitlines()[:4] == [
        "it fails now: RuntimeError after epoch 9 of 20: no more",
        "different from epoch 10 on:",
        f"  train/loss: recorded {np.float32(column(store, 'train/loss')[9])!s}, now none",
        "  the recorded run went on, and ends now after epoch 9",
    ]
    assert ended.out.splitlines()[-1] == (
        "not recorded: your own code, which was not in a git repository"
    )


def test_a_run_that_goes_on_where_the_recorded_one_ended(store: Path, cli: CLI) -> None:
    assert cli("step=autograd", "stop.tolerance=1").code == 0
    path = artifact(store, "config.yaml")
    path.write_text(path.read_text().replace("tolerance: 1.0", "tolerance: 0.001"))
    ended = cli("replay", newest(store))
    assert ended.code == 1
    epochs = pq.read_table(artifact(store, "trajectory.parquet")).num_rows
    assert f"\n  the recorded run ended after epoch {epochs}, and goes on now\n" in ended.out
    assert "\n  digest of the settings: recorded " in ended.out


# What it needs is gone


def test_data(store: Path, cli: CLI, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("table.csv").write_text("a,y\n1,2\n2,4\n3,7\n")
    assert cli("data=csv", "data.path=table.csv", "data.target=y", "gradient=manual").code == 0
    uri, run_id = f"sqlite:///{store}/outputs/mlflow.db", newest(store)
    (store / "elsewhere").mkdir()
    monkeypatch.chdir(store / "elsewhere")  # the path is that of the folder of the start
    assert cli("replay", run_id, "--uri", uri) == (0, identical(store), "")
    digest = environment(store)["data"]
    (store / "table.csv").write_text("a,y\n1,2\n2,4\n3,8\n")
    ended = cli("replay", run_id, "--uri", uri)
    assert ended.code == 1
    assert f"what differs around it:\n  digest of the data: recorded {digest}, now " in ended.out
    (store / "table.csv").unlink()
    assert cli("replay", run_id, "--uri", uri) == (
        2,
        "",
        f"gdexp: run {run_id} cannot be replayed: data.path: there is no file {store}/table.csv. "
        f"It was started in the folder {store}.\n",
    )
    assert list((store / "elsewhere").iterdir()) == []


def test_own_code(own: tuple[str, ...], store: Path, cli: CLI) -> None:
    assert cli(*own).code == 0
    run_id = newest(store)
    ended = cli("replay", run_id)
    assert (ended.code, ended.out) == (2, "")
    assert "loss names breaking.Loss. " in ended.err
    (store / "breaking.py").unlink()
    del sys.modules["breaking"]
    importlib.invalidate_caches()
    assert cli("replay", run_id, "--trust", "breaking.*") == (
        2,
        "",
        f"gdexp: run {run_id} cannot be replayed: loss: breaking.Loss cannot be imported: No "
        f"module named 'breaking'. It was started in the folder {store}.\n",
    )


def test_a_device(store: Path, cli: CLI) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has the device")
    assert cli("step=autograd").code == 0
    path = artifact(store, "config.yaml")
    path.write_text(path.read_text().replace("device: cpu", "device: cuda"))
    assert cli("replay", newest(store)) == (
        2,
        "",
        f"gdexp: run {newest(store)} cannot be replayed: device=cuda: torch {torch.__version__} "
        f"finds no such device here. It was started in the folder {store}.\n",
    )


def test_what_is_no_run_to_replay(store: Path, cli: CLI) -> None:
    assert cli("step=manual").code == 0
    summary = newest(store)
    set_tag(store, "gdexp.kind", "sweep")
    assert cli("replay", summary) == (
        2,
        "",
        f"gdexp: {summary!r} is the summary of a sweep, not a run. python -m gdexp compare --sweep "
        "last lists its runs.\n",
    )  # fmt: skip
    assert cli("replay", "zzz") == (
        2, "", "gdexp: there is no run 'zzz' in this store. python -m gdexp compare --all lists "
        "the runs.\n"
    )  # fmt: skip
    assert cli("replay").err.startswith("gdexp: replay: the following arguments are required: ")


def test_a_run_without_a_trajectory(store: Path, cli: CLI) -> None:
    assert cli("step=manual").code == 0
    run_id = newest(store)
    artifact(store, "trajectory.parquet").unlink()
    assert cli("replay", run_id) == (
        2, "", f"gdexp: run {run_id} (completed) has no trajectory.parquet among its artifacts, so "
        "there is nothing to compare with. Run it again.\n"
    )  # fmt: skip
    rows(store, "UPDATE runs SET status = 'RUNNING' WHERE run_uuid = ?", run_id)
    ended = cli("replay", run_id)
    assert ended.err == f"gdexp: run {run_id} has not ended. Replay it when it has.\n"
    assert ended.code == 2


@pytest.mark.parametrize("name", ["config.yaml", "trajectory.parquet"])
@settings(max_examples=30, deadline=None, suppress_health_check=[*HealthCheck])
@given(data=st.data())
def test_damaged_artifacts(name: str, data: st.DataObject, store: Path, cli: CLI) -> None:
    path = artifact(store, name)
    whole = path.read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    length, other = data.draw(st.integers(0, 9)), data.draw(st.binary(max_size=9))
    try:
        path.write_bytes(whole[:place] + other + whole[place + length :])
        ended = cli("replay", newest(store))
    finally:
        path.write_bytes(whole)
    assert (ended.code, ended.err) in ((0, ""), (1, "")) or ended.code == 2
    assert "Traceback" not in ended.err
    assert ended.err.count("\n") <= 1
