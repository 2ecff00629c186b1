"""The gallery of mistakes: each option triggers the message that its file states."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from helpers import CLI, CONF

from gdexp import run
from gdexp.config.trust import COMPONENTS
from gdexp.errors import ConfigError

GALLERY = CONF / "experiment" / "mistakes"
NAMES = sorted(path.stem for path in GALLERY.glob("*.yaml"))


def stated(name: str) -> str:
    """The message that the file of a mistake states, on one line."""
    text = (GALLERY / f"{name}.yaml").read_text(encoding="utf-8")
    lines = re.findall(r"^#     (\S.*)$", text, re.M)
    return " ".join(lines)


@pytest.mark.parametrize("name", NAMES)
def test_a_mistake_triggers_the_message_that_its_file_states(workdir: Path, name: str) -> None:
    how = (f"experiment=mistakes/{name}", "tracking=off")
    if name == "forgotten_no_grad":
        with pytest.raises(ConfigError) as refused:
            run(*how)
        assert str(refused.value) == stated(name)
    else:
        assert stated(name) in run(*how).notes.values()
    assert not list(workdir.iterdir())


@pytest.mark.parametrize("name", NAMES)
def test_a_mistakes_file_says_what_it_is_and_how_to_start_it(name: str) -> None:
    package, what, command, says, *_ = (GALLERY / f"{name}.yaml").read_text().splitlines()
    assert package == "# @package _global_"
    assert re.fullmatch(r"# [A-Z].*\.", what)
    assert command == f"#   python -m gdexp experiment=mistakes/{name}"
    assert says == "# stderr says:"


def test_every_wrong_component_is_in_the_gallery() -> None:
    chosen = {
        f"{group.strip('/')}={option}"
        for path in GALLERY.glob("*.yaml")
        for default in yaml.safe_load(path.read_text())["defaults"]
        for group, option in [next(iter(default.items()))]
        for group in [group.removeprefix("override ")]
        if option.startswith("mistakes/")
    }
    files = [p for p in CONF.glob("*/mistakes/*.yaml") if p.parent.parent.name != "experiment"]
    assert chosen == {f"{p.parent.parent.name}=mistakes/{p.stem}" for p in files}
    targets = {yaml.safe_load(path.read_text())["_target_"] for path in files}
    assert targets == {f"gdexp.mistakes.{name}" for name in COMPONENTS["gdexp.mistakes"]}


@pytest.mark.parametrize(
    ("word", "sentence"),
    {
        "experiment=mistakes/not_zerod": "Did you mean experiment=mistakes/not_zeroed?",
        "experiment=not_zeroed": "Did you mean experiment=mistakes/not_zeroed?",
        "gradient=mistakes/missing_men": "gradient is one of: mistakes/forgotten_bias, ",
        "gradient=manua": "manual_sum, mistakes/NAME. Did you mean gradient=manual?",
    }.items(),
)
def test_the_nearest_option_is_named_in_folders_too(
    workdir: Path, cli: CLI, word: str, sentence: str
) -> None:
    ended = cli(word)
    assert ended.code == 2
    assert sentence in ended.err
    assert not list(workdir.iterdir())


def test_mistakes_are_swept_and_recorded_by_name(store: Path, cli: CLI) -> None:
    from helpers import client, runs

    ended = cli("-m", "experiment=none,mistakes/wrong_sign", "iters=3")
    assert ended.code == 0
    params = [run.data.params for run in runs(client(store)) if run.data.params.get("iters") == "3"]
    assert {p.get("experiment", "none") for p in params} == {"none", "mistakes/wrong_sign"}


OWN = """
import torch

class Own(torch.optim.Optimizer):
    def __init__(self, params, lr: float) -> None:
        super().__init__(params, {"lr": lr})

    def step(self, closure=None):
        for w in self.param_groups[0]["params"]:
            w -= 0.1 * w.grad
"""


def test_an_own_optimizer_without_no_grad_is_told_what_to_write(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (workdir / "updater").mkdir()
    (workdir / "updater" / "own.yaml").write_text("# own\n_target_: leafy.Own\nlr: ${lr}\n")
    (workdir / "leafy.py").write_text(OWN)
    monkeypatch.syspath_prepend(workdir)
    with pytest.raises(ConfigError) as refused:
        run("step=optimizer", "updater=own", config_dir=str(workdir))
    assert str(refused.value) == stated("forgotten_no_grad").replace(
        "mistakes/forgotten_no_grad", "own"
    )


def test_own_experiments_are_swept(workdir: Path, cli: CLI) -> None:
    (workdir / "experiment" / "mine").mkdir(parents=True)
    for name, lr in {"slow": 0.001, "mine/fast": 0.01}.items():
        text = f"# @package _global_\n# a study\nlr: {lr}\n"
        (workdir / "experiment" / f"{name}.yaml").write_text(text)
    ended = cli("--config-dir", ".", "-m", "experiment=slow,mine/fast", "tracking=off", "iters=2")
    assert ended.code == 0, ended.err
    assert "#1 experiment=mine/fast tracking=off iters=2: completed" in ended.err
    ended = cli("--config-dir", ".", "experiment=mine/fst", "tracking=off")
    assert "Did you mean experiment=mine/fast?" in ended.err
    ended = cli("--config-dir", ".", "--help")
    assert "  mine/NAME                      NAME is one of: fast\n" in ended.out
