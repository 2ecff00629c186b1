"""A data file is opened once in the life of a process, whatever is run on it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers import clean_environment

from gdexp import data
from gdexp.config.job import Job
from gdexp.data import Dataset
from gdexp.data.compress import digest
from gdexp.data.preparation import Origin, Prepared, prepare

# Every open of the file is counted: Python's and pandas' by an audit hook, pyarrow's, which opens
# files in C++, at its one way in.
PROGRAM = """
import sys
opened = []
def hook(event, args):
    if event == "open" and str(args[0]).rpartition("/")[2].startswith("t."):
        opened.append(args[0])
sys.addaudithook(hook)
if "data=parquet" in sys.argv:
    import pyarrow.parquet
    original = pyarrow.parquet.ParquetFile.__init__
    def counted(self, source, *args, **kwargs):
        opened.append(source)
        original(self, source, *args, **kwargs)
    pyarrow.parquet.ParquetFile.__init__ = counted
from gdexp.commands import main
try:
    code = main()
except SystemExit as ended:
    code = ended.code
print(f"code {code or 0}, opened {len(opened)} times", file=sys.stderr)
"""
CSV = "data=csv data.path=t.csv data.target=y tracking=off iters=3"
SWEEP = f"-m {CSV} lr=0.01,0.02,0.03,0.04,0.05,0.06"


@pytest.mark.parametrize(
    "typed",
    [
        f"{SWEEP} hydra/launcher=basic",
        CSV,
        f"{CSV} data.standardize=true data.validation=0.3",
        f"step=model {CSV} updater.momentum=0.5 updater.weight_decay=0.1",
        SWEEP,
        f"-m {CSV} data.standardize=true,false seed=1,2,3 data.validation=0.3",
        f"{CSV} gradient=manual data.compress=true",
        f"{SWEEP} gradient=manual data.compress=true hydra/launcher=basic",
        f"{CSV.replace('csv', 'parquet')}",
        f"step=optimizer {CSV.replace('csv', 'parquet')} updater.momentum=0.5 predictor.bias=true",
        f"{SWEEP.replace('csv', 'parquet')} hydra/launcher=basic",
    ],
)
@pytest.mark.slow
def test_a_file_is_opened_once(typed: str, workdir: Path) -> None:
    frame = pd.DataFrame({"x": np.arange(10.0), "z": np.arange(10.0) % 3, "y": np.ones(10)})
    frame.to_csv("t.csv", index=False)
    frame.to_parquet("t.parquet")
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, *typed.split()],
        capture_output=True,
        text=True,
        env=clean_environment(),
    )
    assert ended.stderr.splitlines()[-1:] == ["code 0, opened 1 times"], ended.stderr


def prepared(seed: int = 0, bias: bool = False, **settings: Any) -> Prepared:
    node = {"_target_": "gdexp.data.csv", "path": "t.csv", "target": "y"} | settings
    job = {
        "data": {"standardize": False} | node,
        "seed": seed,
        "predictor": {"_target_": "gdexp.manual.Predictor", "bias": bias},
        "gradient": {"_target_": "gdexp.manual.Gradient"},
        "loss": {"_target_": "gdexp.manual.Loss"},
    }
    return prepare(Job(job, {"predictor": "manual", "gradient": "manual", "loss": "manual"}), made)


def made(node: dict[str, Any]) -> Any:
    options: dict[str, Callable[..., Any]] = {"gdexp.data.csv": data.csv, "builtins.dict": own}
    return options[node.pop("_target_")](**node)


def own(**settings: Any) -> Dataset:
    """A loader of one's own, whose file has another key than ``path``."""
    y = np.array(json.loads(Path(settings["where"]).read_text()), float)
    return Dataset(y, y, "own")


def write(*y: float, where: str = "t.csv") -> None:
    Path(where).write_text("x,y\n" + "".join(f"{i},{v}\n" for i, v in enumerate(y)))


def test_the_same_settings_and_file_give_the_same_object(workdir: Path) -> None:
    write(1, 2, 3, 4)
    first = prepared()
    assert prepared(seed=5) is first  # nothing was drawn, so no seed matters
    assert prepared(path=str(workdir / "." / "t.csv")).table is not None
    halves = [prepared(seed, validation=0.5) for seed in (1, 2)]
    assert halves[0] is not halves[1]
    assert halves[0].table is halves[1].table
    assert prepared(1, validation=0.5) is halves[0]


def test_a_file_that_has_changed_is_read_anew(workdir: Path) -> None:
    write(1, 2)
    assert prepared().fitted.y.tolist() == [1, 2]
    write(1, 2, 3)  # another size
    assert prepared().fitted.y.tolist() == [1, 2, 3]
    state = os.stat("t.csv")
    write(1, 2, 4)
    os.utime("t.csv", ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    assert prepared().fitted.y.tolist() == [1, 2, 4]
    state = os.stat("t.csv")
    write(1, 2, 5, where="u.csv")
    os.utime("u.csv", ns=(state.st_atime_ns, state.st_mtime_ns))
    os.replace("u.csv", "t.csv")  # as old and as large, yet another file
    assert prepared().fitted.y.tolist() == [1, 2, 5]
    assert prepared(bias=True, compress=True, standardize=True).digest == prepared().digest
    write(9, 9)
    assert prepared(bias=True, compress=True).fitted.y.tolist() == [9, 9]


def test_a_relative_path_is_that_of_the_folder_one_is_in(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(1, 2)
    assert prepared().fitted.y.tolist() == [1, 2]
    state = os.stat("t.csv")
    Path("below").mkdir()
    monkeypatch.chdir("below")
    write(3, 4)
    os.utime("t.csv", ns=(state.st_atime_ns, state.st_mtime_ns))
    assert prepared().fitted.y.tolist() == [3, 4]


def test_the_file_of_an_own_loader_may_have_any_key(workdir: Path) -> None:
    Path("numbers").write_text("[1, 2]")
    settings = {"_target_": "builtins.dict", "where": "numbers", "path": None, "target": None}
    first = prepared(**settings)
    assert prepared(**settings) is first
    Path("numbers").write_text("[1, 2, 3]")
    assert prepared(**settings).fitted.y.tolist() == [1, 2, 3]


@pytest.mark.parametrize("text", ["t.csv\0", "x" * 5000, "~nobody-of-that-name/t.csv", "", "no"])
def test_a_setting_that_names_no_file_has_no_state(text: str, workdir: Path) -> None:
    settings = {"_target_": "gdexp.data.csv", "path": text, "standardize": True}
    origin = Origin.of(settings, made)
    assert origin.files == ()
    assert json.loads(origin.settings) == {"_target_": "gdexp.data.csv", "path": text}


def test_a_table_that_is_compressed_is_never_whole_in_memory(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data.Source, "load", None)
    rng = np.random.default_rng(0)
    write(*rng.standard_normal(1000))
    short = prepared(bias=True, compress=True)
    assert (short.table, short.rows, len(short.fitted.y)) == (None, 1000, 3)
    assert prepared(bias=True, compress=True) is short
    assert prepared(bias=False, compress=True) is not short
    monkeypatch.undo()
    whole = data.csv(str(workdir / "t.csv"), "y").load()
    assert short.digest == digest(whole)
    assert short.means == pytest.approx([whole.x.mean()])


def test_no_more_than_two_tables_are_kept(workdir: Path) -> None:
    for name in ("t.csv", "u.csv", "v.csv"):
        write(1, 2, where=name)
    first, second = prepared(), prepared(path="u.csv")
    assert (prepared(), prepared(path="u.csv")) == (first, second)
    prepared(path="v.csv")
    assert prepared(path="u.csv") is second
    assert prepared() is not first


def test_a_refused_file_may_be_corrected(workdir: Path) -> None:
    Path("t.csv").write_text("x,y\n1,1\n1,a\n")
    for _ in range(2):
        with pytest.raises(ValueError, match="line 3, column 'y': 'a' is not a number"):
            prepared()
    write(1, 2)
    assert prepared().fitted.y.tolist() == [1, 2]
