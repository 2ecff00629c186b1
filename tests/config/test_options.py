"""Every YAML option composed and built; the steps read as the tutorial's table of contents."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from helpers import CHECKOUT
from hydra.utils import get_object

from gdexp import run
from gdexp.commands.help import help_text
from gdexp.config import schema, validation
from gdexp.config.compose import Composer, session
from gdexp.config.job import Job
from gdexp.descent.build import build

CONF = CHECKOUT / "conf"
PATHS = (path.relative_to(CONF).with_suffix("").as_posix() for path in CONF.rglob("*/*.yaml"))
OPTIONS = sorted(
    (group, option)
    for group, _, option in (path.partition("/") for path in PATHS)
    if group not in ("hydra", "step")
)
RIGHT = [(group, option) for group, option in OPTIONS if "mistakes/" not in option]
# Parameters of constructors that no YAML file sets:
LEFT_OUT = {
    *("size_average", "reduce"),  # torch itself asks not to use them
    *("weight", "pos_weight"),  # tensors
    *("params", "optimizer"),  # told when the option is built
}
SIZES = {"predictor": {"features", "outputs"}}  # told as well
ONES_AND_ZEROS = "data.y=[0,0,1,1]"
NEIGHBOURS = {  # the other choices that an option needs to make sense
    "data=csv": ["data.path=table.csv", "data.target=y"],
    "data=diabetes": ["data.standardize=true"],
    "data=parquet": ["data.path=table.parquet", "data.target=y"],
    "gradient=manual": ["loss=manual"],
    "gradient=manual_sum": ["loss=manual"],
    "gradient=manual_logistic": ["loss=manual_logistic", ONES_AND_ZEROS],
    "loss=manual_logistic": [ONES_AND_ZEROS],
    "loss=BCEWithLogitsLoss": [ONES_AND_ZEROS],
    "loss=CrossEntropyLoss": ["predictor=model", ONES_AND_ZEROS],
    "scheduler=CyclicLR": ["updater=manual_momentum"],
    "scheduler=OneCycleLR": ["updater=manual_momentum"],
    "updater=Muon": ["predictor=model"],
}


@pytest.fixture
def tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working folder with a table in it."""
    monkeypatch.chdir(tmp_path)
    table = pd.DataFrame({"x": [1, 2, 3, 4], "y": [2, 4, 6, 8]})
    table.to_csv("table.csv", index=False)
    table.to_parquet("table.parquet")


def chosen(group: str, option: str) -> list[str]:
    more = NEIGHBOURS.get(f"{group}={option}", [])
    return [f"{group}={option}", *([] if group == "gradient" else ["gradient=autograd"]), *more]


@pytest.mark.parametrize(("group", "option"), RIGHT, ids=map("=".join, RIGHT))
def test_every_option_is_composed_built_and_descends(tables: None, group: str, option: str) -> None:
    with session():
        job = Job.of(Composer().compose(chosen(group, option)), ())
    validation.check(job)
    first, second = build(job).iterations(2)
    assert first.epoch == 1
    before, after = (getattr(i.loss, "item", lambda i=i: i.loss)() for i in (first, second))
    assert np.isfinite(before)
    assert after < before


@pytest.mark.parametrize(("group", "option"), OPTIONS, ids=map("=".join, OPTIONS))
def test_an_option_lists_exactly_its_constructors_settings(group: str, option: str) -> None:
    node = yaml.safe_load((CONF / group / f"{option}.yaml").read_text())
    if group == "experiment":  # a preset
        return
    if group == "tracking":
        assert set(node) <= set(schema.TRACKING)
    if group in ("tracking", "sweep") or node["_target_"] is None:  # nothing is built of these
        return
    parameters = set(inspect.signature(get_object(node["_target_"])).parameters)
    listed = {
        key for key in node if not key.startswith("_") and f"{group}.{key}" not in schema.HINTS
    }
    assert listed == parameters - LEFT_OUT - SIZES.get(group, set())


@pytest.mark.parametrize(
    ("step", "families"),
    {
        "manual": ["manual", "manual_sum", "manual", "manual"],
        "autograd": ["manual", "autograd", "manual", "manual"],
        "optimizer": ["manual", "autograd", "MSELoss", "SGD"],
        "model": ["model", "autograd", "MSELoss", "SGD"],
    }.items(),
)
def test_a_step_states_all_four_families(step: str, families: list[str]) -> None:
    text = (CONF / "step" / f"{step}.yaml").read_text()
    stated = re.findall(r"override /(\w+): (\w+)", text)
    assert stated == list(zip(schema.FAMILIES, families, strict=True))
    assert f"python -m gdexp step={step}" in text
    with session():
        choices = Composer().compose([f"step={step}"]).hydra.runtime.choices
    assert [choices[family] for family in schema.FAMILIES] == families


def test_there_is_a_step_for_each_of_the_tutorials() -> None:
    steps = {path.stem for path in (CONF / "step").iterdir()}
    assert steps == {"manual", "autograd", "optimizer", "model"}


@pytest.mark.parametrize(
    "overrides", [("step=autograd", "gradient=manual"), ("gradient=manual", "step=autograd")]
)
def test_the_command_line_beats_the_step_in_any_order(overrides: tuple[str, ...]) -> None:
    with session():
        choices = Composer().compose(overrides).hydra.runtime.choices
    assert (choices.step, choices.gradient) == ("autograd", "manual")


def test_help_lists_every_option_and_every_setting_with_its_meaning() -> None:
    text = help_text()
    for group, option in set(OPTIONS) - set(RIGHT):
        folder, _, name = option.partition("/")
        assert re.search(rf"^{group}=OPTION\n(  .*\n)+  {folder}/NAME .*\b{name}\b", text, re.M)
    for group, option in RIGHT:
        assert re.search(rf"^  {option} +\S", text, re.M), option
        node = yaml.safe_load((CONF / group / f"{option}.yaml").read_text()) or {}
        for key in (key for key in node if not key.startswith("_") and key != "defaults"):
            assert re.search(rf"^    {group}\.{key}=.* \S+", text, re.M), key
    for key, hint in schema.HINTS.items():
        assert re.search(rf"^  {key}=\S+ +.*; {re.escape(schema.describe(hint))}$", text, re.M), key
    steps = re.findall(r"^  (\w+) +Step (\d)", text, re.M)
    assert steps == [("manual", "1"), ("autograd", "2"), ("optimizer", "3"), ("model", "4")]


def test_a_users_own_option_needs_no_change_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "loss").mkdir()
    (tmp_path / "loss" / "absolute.yaml").write_text(
        "# mean absolute error\n_target_: absolute_error.Absolute\nscale: 1.0  # a factor, > 0\n"
    )
    (tmp_path / "absolute_error.py").write_text(
        "class Absolute:\n"
        "    def __init__(self, scale: float) -> None:\n"
        "        self.scale = scale\n"
        "    def __call__(self, y_pred, y):\n"
        "        return self.scale * (y_pred - y).abs().mean()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    choice = ("step=autograd", "loss=absolute", "tracking=off", "iters=1")
    result = run(*choice, config_dir=str(tmp_path))
    assert result.trajectory.loss[0] == pytest.approx(5)  # mean of 2, 4, 6, 8
    assert result.trajectory.gradients["w"][0] == pytest.approx(-2.5)
    doubled = run(*choice, "loss.scale=2", config_dir=str(tmp_path))
    assert doubled.trajectory.loss[0] == pytest.approx(10)
    assert "absolute                       mean absolute error" in help_text(str(tmp_path))
    with pytest.raises(ValueError, match=r"loss\.scale: 'x' is not a finite number\."):
        run(*choice, "loss.scale=x", config_dir=str(tmp_path))
    with pytest.raises(ValueError, match=r"Did you mean loss=absolute\?"):
        run("loss=absolut", config_dir=str(tmp_path))
    with pytest.raises(ValueError, match=r"not for loss=absolute\. Type gradient=autograd\."):
        run(*choice, "gradient=manual", config_dir=str(tmp_path))
