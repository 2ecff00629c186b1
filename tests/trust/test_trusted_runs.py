"""Own code in recorded runs: what must be typed to predict with it and to continue it."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from helpers import CLI, newest_checkpoints, refused

from gdexp import run
from gdexp.descent.archive import pack, unpack

CODE = """
import torch
from pathlib import Path

class Half(torch.nn.Linear):
    def __init__(self, features):
        super().__init__(features, 1)
    def forward(self, x):
        return super().forward(x) / 2

class Other(Half):
    pass

def ran():
    Path("ran").touch()
"""
RULE = (
    "What comes from a record may only be a component of gdexp, a module of torch.nn, an optimizer "
    "or scheduler of torch.optim, or code that you trust."
)
OWN = ("step=model", "predictor=half", "iters=4", "checkpoint.every=2")


@pytest.fixture(autouse=True)
def own(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A predictor of the user's own, in mine/ and halves.py."""
    Path("mine/predictor").mkdir(parents=True)
    Path("mine/predictor/half.yaml").write_text("_target_: halves.Half\n")
    Path("halves.py").write_text(CODE)
    monkeypatch.syspath_prepend(str(workdir))
    monkeypatch.delitem(sys.modules, "halves", raising=False)


def begun() -> str:
    """Four epochs without a store; the override that continues them."""
    run(*OWN, "tracking=off", config_dir="mine")
    return f"continue_from={newest_checkpoints()}"


def test_a_run_is_continued_with_own_code_that_is_typed_or_trusted(workdir: Path, cli: CLI) -> None:
    place = begun()
    label = f"{workdir}/{newest_checkpoints()}/00000004.npz"
    sys.modules.pop("halves")
    for typed in ((), ("trust=[half.*]",), ("trust=[halves.Other]",)):
        assert refused(cli, "tracking=off", "iters=6", place, *typed) == (
            f"continue_from: {label}: predictor names halves.Half. {RULE} "
            "If it is code of your own, type 'trust=[halves.*]'."
        )
        assert "halves" not in sys.modules
    whole = run(*OWN, "tracking=off", "iters=6", config_dir="mine")
    for typed, folder in (
        (("trust=[halves.*]",), None),
        (("trust=[halves.Half]",), None),
        ((), "mine"),
        (("step=model", "predictor=half"), "mine"),
    ):
        on = run("tracking=off", "iters=6", place, *typed, config_dir=folder)
        np.testing.assert_array_equal(on.trajectory.table, whole.trajectory.table, strict=True)


def test_a_folder_of_other_options_makes_nothing_trusted(workdir: Path, cli: CLI) -> None:
    place = begun()
    Path("theirs/predictor").mkdir(parents=True)
    Path("theirs/predictor/other.yaml").write_text("_target_: halves.Other\n")
    typed = ("--config-dir", "theirs", "tracking=off", "iters=6", place)
    assert "predictor names halves.Half. " in refused(cli, *typed)


def test_a_checkpoint_brings_no_trust_along(workdir: Path, cli: CLI) -> None:
    run(*OWN, "tracking=off", "trust=[halves.*]", config_dir="mine")
    path = max(newest_checkpoints().glob("*.npz"))
    parts = unpack(path.read_bytes())
    assert "trust" not in parts["settings"]
    path.write_bytes(pack(parts | {"settings": parts["settings"] | {"trust": ["halves.*"]}}))
    typed = ("tracking=off", "iters=6", f"continue_from={path}")
    assert "predictor names halves.Half. " in refused(cli, *typed)


@pytest.mark.parametrize(
    ("place", "node"),
    [
        ("predictor.init", {"predictor": {"_target_": "gdexp.manual.Predictor"}}),
        ("loss", {"loss": {"_target_": "halves.ran"}}),
        ("updater", {"updater": {"_target_": "halves.ran"}}),
        ("data", {"data": {"_target_": "halves.ran"}}),
        ("scheduler", {"scheduler": {"_target_": "halves.ran"}}),
        ("gradient", {"gradient": {"_target_": "halves.ran"}}),
    ],
)
def test_nothing_of_a_strange_checkpoint_runs(place: str, node: dict[str, object]) -> None:
    run("tracking=off", "iters=4", "checkpoint.every=4")
    path = max(newest_checkpoints().glob("*.npz"))
    parts = unpack(path.read_bytes())
    if place == "predictor.init":
        node = {"predictor": {**node["predictor"], "init": {"_target_": "halves.ran"}}}  # type: ignore[dict-item]
    path.write_bytes(pack(parts | {"settings": parts["settings"] | node}))
    with pytest.raises(ValueError, match=f"00000004.npz: {place} names halves.ran. "):
        run("tracking=off", "iters=6", f"continue_from={path}")
    assert not Path("ran").exists()
    assert "halves" not in sys.modules


def test_predict_asks_for_trust(store: Path, cli: CLI) -> None:
    result = run(*OWN, "trust=[halves.*]", config_dir="mine")
    assert result.run_id is not None
    Path("x.csv").write_text("x\n5\n")
    sys.modules.pop("halves")
    for typed in ((), ("--trust", "half.*"), ("--trust", "os.*", "--trust", "halves.Other")):
        assert refused(cli, "predict", result.run_id, "x.csv", *typed) == (
            f"predictor.npz of run {result.run_id}: predictor names halves.Half. {RULE} "
            "If it is code of your own, type --trust 'halves.*'."
        )
    assert refused(cli, "predict", result.run_id, "x.csv", "--trust", "*") == (
        "trust: '*' is neither a package nor a class. Type for example --trust 'mypackage.*'."
    )
    assert "halves" not in sys.modules
    for name in ("halves.*", "halves.Half"):
        ended = cli("predict", result.run_id, "x.csv", "--trust", "half.*", "--trust", name)
        assert (ended.code, ended.err) == (0, "")
        assert float(ended.out.split(",")[-1]) == pytest.approx(result.prediction)


def test_a_record_does_not_say_whom_its_user_trusts(store: Path) -> None:
    from gdexp.tracking.connect import open_existing
    from gdexp.tracking.query import select

    results = [run("iters=2", *typed) for typed in ((), ("trust=[halves.*]",))]
    opened = open_existing(None, None)
    one, other = (select(opened, [str(result.run_id)])[0] for result in results)
    assert one.params == other.params
    assert one.tags["gdexp.config_hash"] == other.tags["gdexp.config_hash"]
    assert "trust" not in yaml.safe_load(opened.read(other, "config.yaml"))


def test_mlflow_loads_a_model_with_own_code_only_if_the_environment_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pandas import DataFrame

    from gdexp.errors import ConfigError
    from gdexp.tracking import served

    result = run(*OWN, "tracking=off", config_dir="mine")
    assert result.fitted is not None
    path = tmp_path / "predictor.npz"
    path.write_bytes(result.fitted.packed())
    for names in (None, "", "half.*, halves.Other", " , "):
        if names is not None:
            monkeypatch.setenv("GDEXP_TRUST", names)
        with pytest.raises(ConfigError, match="predictor names halves") as caught:
            served._load_pyfunc(str(path))
        assert str(caught.value) == (
            f"predictor names halves.Half. {RULE} "
            "If it is code of your own, type export GDEXP_TRUST='halves.*'."
        )
    for names in ("halves.*", "other.*, halves.Half"):
        monkeypatch.setenv("GDEXP_TRUST", names)
        answer = served._load_pyfunc(str(path)).predict(DataFrame({"x": [5.0]}))
        assert answer["prediction"].tolist() == [pytest.approx(result.prediction)]
