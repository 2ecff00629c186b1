"""What a record may name: gdexp's and torch's components, and what the user trusts."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers import CONF

from gdexp.config.trust import BUILT, COMPONENTS, ONLY_OURS, SOURCES, Trust, check, named_in
from gdexp.errors import ConfigError, UntrustedError

MANUAL = {
    family: {"_target_": f"gdexp.manual.{family.title()}"}
    for family in ("predictor", "gradient", "loss", "updater")
}
RULE = (
    "What comes from a record may only be a component of gdexp, a module of torch.nn, an optimizer "
    "or scheduler of torch.optim, or code that you trust."
)
OUTSIDE = [
    *("os.system", "subprocess.Popen", "builtins.eval", "posix.system", "pickle.loads"),
    *("pandas.read_pickle", "joblib.load", "numpy.load", "torch.load", "torch.hub.load"),
    *("functools.partial", "operator.attrgetter", "importlib.import_module", "runpy.run_path"),
    *("hydra.utils.get_method", "hydra.utils.get_object", "hydra.utils.instantiate"),
    *("gdexp.manual.np.load", "gdexp.manual.copy.deepcopy", "gdexp.manual.Loss.__call__"),
    *("gdexp.manual.Loss.__class__", "gdexp.pytorch.adopt", "gdexp.pytorch.Module"),
    *("gdexp.data.csv", "gdexp.data.files.Path.touch", "gdexp.commands.run.main", "gdexp.run"),
    *("torch.nn.modules.module.functools.partial", "torch.nn.modules.module.warnings.sys.exit"),
    *("torch.nn.Module.__class__", "torch.nn.Linear.__init__", "torch.nn.Linear.forward"),
    *("torch.nn.init.constant_", "torch.nn.functional.relu", "torch.nn.Parameter"),
    *("torch.nn.DataParallel", "torch.nn.parallel.DistributedDataParallel", "torch.nn.nothing"),
    *("torch.optim.swa_utils.AveragedModel", "torch.optim.lr_scheduler.partial", "torch.optim.Sgd"),
    *("torch.nn", "torch.nn.modules", "stranger.Net", "stranger.inner.Net"),
]
NO_NAMES = [
    *("", "stranger", "torch", "torch.nn:Linear", "torch.nn..Linear", " torch.nn.Linear", ".os"),
    *("torch.nn.Linear\n", "torch/nn/Linear", "os.system('true')", "3.a", "stranger:Net", "a.*"),
    *(3, 1.5, True, None, ["torch.nn.Linear"], {"_target_": "torch.nn.Linear"}),
]
NESTED = {
    "predictor": lambda inner: inner,
    "predictor.init": lambda inner: {**MANUAL["predictor"], "init": inner},
    "predictor._args_[0]": lambda inner: {"_target_": "torch.nn.Sequential", "_args_": [inner]},
    "predictor.a[1].b": lambda inner: {"_target_": "torch.nn.ReLU", "a": [0, {"b": inner}]},
    "predictor.a['b c']": lambda inner: {"_target_": "torch.nn.ReLU", "a": {"b c": inner}},
    "predictor.a": lambda inner: {**MANUAL["predictor"], "_recursive_": False, "a": inner},
}


@pytest.fixture(autouse=True)
def stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module that leaves a file where it is imported."""
    code = "from pathlib import Path\nPath(__file__).with_name('ran').touch()\nclass Net: ...\n"
    (tmp_path / "stranger.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "stranger", raising=False)
    return tmp_path / "ran"


def refusal(settings: dict[str, Any], trust: Trust = ONLY_OURS) -> str:
    with pytest.raises(UntrustedError) as caught:
        check(settings, trust)
    return str(caught.value)


def test_the_components_are_those_that_conf_offers() -> None:
    files = [path for group in BUILT for path in (CONF / group).rglob("*.yaml")]
    targets = {yaml.safe_load(path.read_text())["_target_"] for path in files} - {None}
    ours = {f"{module}.{name}" for module, names in COMPONENTS.items() for name in names}
    ours |= {f"gdexp.data.{name}" for name in SOURCES}
    assert {target for target in targets if target.startswith("gdexp.")} == ours
    for target in targets:
        check({("data" if ".data." in target else "loss"): {"_target_": target}}, ONLY_OURS)


@pytest.mark.parametrize("place", NESTED)
def test_other_code_is_neither_built_nor_imported(place: str, stranger: Path) -> None:
    import torch  # noqa: F401

    before = set(sys.modules)
    for target in OUTSIDE:
        sentence = refusal(MANUAL | {"predictor": NESTED[place]({"_target_": target, "x": 1})})
        package = target.partition(".")[0]
        is_known = package in {*sys.stdlib_module_names, "gdexp", "torch"}
        hint = "" if is_known else f" If it is code of your own, type --trust '{package}.*'."
        assert sentence == f"{place} names {target}. {RULE}{hint}"
    assert set(sys.modules) == before
    assert not stranger.exists()


@pytest.mark.parametrize("group", BUILT)
def test_what_is_not_the_name_of_a_class(group: str) -> None:
    for target in NO_NAMES:
        if (group, target) == ("scheduler", None):
            check({group: {"_target_": target}}, ONLY_OURS)
            continue
        sentence = f"{group} names {target!r}, which is not the name of a class."
        for trust in (ONLY_OURS, Trust(("stranger.*", "os.*"))):
            assert refusal({group: {"_target_": target}}, trust) == sentence


@pytest.mark.parametrize(
    "node",
    [
        {"_target_": "torch.nn.Sequential", "_args_": [{"_target_": "torch.nn.Tanh"}]},
        {"_target_": "torch.nn.modules.linear.Linear", "in_features": 2, "out_features": 1},
        {"_target_": "torch.optim.lr_scheduler.StepLR", "_partial_": True, "step_size": 3},
        {"_target_": "torch.optim.sgd.SGD", "lr": 0.1},
        {"_target_": "gdexp.pytorch.MLP", "sizes": [3], "activation": "ReLU"},
    ],
)
def test_the_components_of_torch_and_gdexp_may_be_named(node: dict[str, Any]) -> None:
    check({"predictor": node}, ONLY_OURS)


@pytest.mark.parametrize(
    "value", ["${oc.env:HOME}", "a ${lr} b", "${gdexp.stamp:}", "???", "\\${x}"]
)
def test_a_reference_is_not_resolved(value: str) -> None:
    for node, place in (
        ({"_target_": value}, "predictor._target_"),
        ({"init": value}, "predictor.init"),
        ({"init": [[value]]}, "predictor.init[0][0]"),
    ):
        with pytest.raises(ValueError, match="a reference instead of a value") as caught:
            check({"predictor": MANUAL["predictor"] | node}, ONLY_OURS)
        assert str(caught.value) == f"{place} is {value!r}, a reference instead of a value"


def deep(levels: int) -> Any:
    return [deep(levels - 1)] if levels else 0


@pytest.mark.parametrize(
    ("node", "sentence"),
    [
        ({"a": (1, 2)}, "predictor.a is not a plain value"),
        ({"a": {1, 2}}, "predictor.a is not a plain value"),
        ({"a": print}, "predictor.a is not a plain value"),
        ({"a": b"x"}, "predictor.a is not a plain value"),
        ({"a": {1: 2}}, "predictor.a has a key that is not a string"),
        ({"a": deep(40)}, "predictor is nested more than 30 levels deep"),
    ],
)
def test_settings_are_plain_values(node: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=r"^predictor") as caught:
        check({"predictor": MANUAL["predictor"] | node}, ONLY_OURS)
    assert str(caught.value) == sentence


def test_own_code_is_trusted_by_its_package_or_its_name(stranger: Path) -> None:
    for name in ("stranger.*", "stranger.Net"):
        check({"predictor": {"_target_": "stranger.Net"}}, Trust((name,)))
    for name in ("strange.*", "stranger.Other", "stranger.Net.*", "strangerous.*"):
        assert "predictor names stranger.Net. " in refusal(
            {"predictor": {"_target_": "stranger.Net"}}, Trust((name,))
        )


REEXPORTS = """
import functools, os, pathlib
from os import system
from pathlib import Path
from torch.nn import Linear
half = functools.partial(print)
class Net:
    touch = Path.touch
    @classmethod
    def made(cls): return cls()
def net(): return Net()
"""


def test_the_object_counts_and_not_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "reexports.py").write_text(REEXPORTS)
    monkeypatch.delitem(sys.modules, "reexports", raising=False)
    trust = Trust(("reexports.*",))
    for name in ("Net", "net", "Net.made", "Linear"):
        check({"predictor": {"_target_": f"reexports.{name}"}}, trust)
    for name, real in {
        "os.system": "posix.system",
        "system": "posix.system",
        "Path": "pathlib.Path",
        "Path.touch": "pathlib.Path.touch",
        "Net.touch": "pathlib.Path.touch",
        "Net.__class__": "builtins.type",
        "half": "functools.partial",
        "net.__globals__": "builtins.dict",
        "functools.partial": "functools.partial",
    }.items():
        sentence = refusal({"predictor": {"_target_": f"reexports.{name}"}}, trust)
        assert sentence == f"predictor names reexports.{name}, which is {real}. {RULE}"
    with pytest.raises(ConfigError, match=r"^predictor: reexports\.Nothing cannot be imported: "):
        check({"predictor": {"_target_": "reexports.Nothing"}}, trust)


@pytest.mark.parametrize("name", ["*", "", "mypackage", "a.*.b", "*.a", "a b.c", "a.", "os;.x"])
def test_what_cannot_be_trusted(name: str) -> None:
    with pytest.raises(ConfigError, match="is neither a package nor a class") as caught:
        Trust((name,))
    assert str(caught.value) == (
        f"trust: {name!r} is neither a package nor a class. Type for example --trust 'mypackage.*'."
    )


def test_what_the_users_own_configuration_names_in_the_same_place_is_theirs() -> None:
    own = {"loss": {"_target_": "mine.Loss", "inner": [{"_target_": "mine.Part"}]}}
    check({"loss": {**own["loss"], "scale": 3}}, ONLY_OURS, own)
    for stolen in (
        {"predictor": own["loss"]},
        {"loss": {"_target_": "mine.Part"}},
        {"loss": {"_target_": "mine.Loss", "other": {"_target_": "mine.Part"}}},
    ):
        with pytest.raises(UntrustedError, match=r"names mine\."):
            check(stolen, ONLY_OURS, own)


def test_the_names_in_the_users_folder(tmp_path: Path) -> None:
    for name, text in {
        "loss/a.yaml": "_target_: mine.Loss\nparts: [{_target_: mine.Part}]\n",
        "loss/broken.yaml": "_target_: [\n",
        "step/b.yaml": "updater:\n  _target_: mine.Updater\nodd:\n  _target_: 3\n",
        "notes.txt": "_target_: mine.No\n",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert named_in([str(tmp_path)]) == {"mine.Loss", "mine.Part", "mine.Updater"}
    assert named_in([]) == named_in([str(tmp_path / "nowhere")]) == frozenset()
