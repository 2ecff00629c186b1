"""Nothing runs unchecked, whatever is done to Hydra's callbacks, modes and references."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import CLI, client, last, process
from hydra._internal.callbacks import Callbacks
from hydra.types import HydraContext
from sweep_helpers import members

from gdexp import run, sweep
from gdexp.errors import ConfigError

UNKNOWN = "lrr: a run has no setting 'lrr'. Did you mean lr?"  # only the full check refuses it
BAD = "+lrr=0.1"
NONE = "hydra:\n  callbacks: {}\n"
BROKEN = "hydra:\n  callbacks:\n    mine:\n      _target_: pathlib.no_such_class\n"
RAISES = "hydra:\n  callbacks:\n    mine:\n      _target_: raising.Raises\n"
MULTIRUN = "hydra:\n  mode: MULTIRUN\n"


@pytest.fixture
def with_step(store: Path, monkeypatch: pytest.MonkeyPatch, cli: CLI) -> Callable[..., Any]:
    """The command line with a step of one's own, which sets more than a step should."""
    (store / "mine" / "step").mkdir(parents=True)
    (store / "raising.py").write_text(
        "from hydra.experimental.callback import Callback\n\n\n"
        "class Raises(Callback):\n"
        "    def on_run_start(self, **kwargs):\n"
        "        raise SystemExit(0)\n"
    )
    monkeypatch.syspath_prepend(store)

    def run_it(content: str, *words: str) -> Any:
        head = "# @package _global_\ndefaults:\n  - manual\n  - _self_\n"
        (store / "mine" / "step" / "mine.yaml").write_text(head + content)
        return cli("--config-dir", "mine", "step=mine", *words)

    return run_it


@pytest.mark.parametrize("content", [NONE, RAISES, MULTIRUN])
def test_a_preset_cannot_switch_the_check_off(content: str, with_step: Callable[..., Any]) -> None:
    ended = with_step(content, BAD)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == f"gdexp: {UNKNOWN}\n"
    assert not Path("outputs", "runs").exists()


def test_a_callback_that_cannot_be_made_stops_the_run(with_step: Callable[..., Any]) -> None:
    ended = with_step(BROKEN, "iters=1")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("gdexp: Error locating target 'pathlib.no_such_class'")
    assert ended.err.count("\n") == 1
    assert not Path("outputs", "runs").exists()


def test_a_preset_may_choose_a_multirun(with_step: Callable[..., Any], store: Path) -> None:
    assert with_step(MULTIRUN, "lr=0.01,0.02", "iters=1").code == 0
    assert len(members(client(store))) == 2


@pytest.mark.parametrize(
    "word",
    [
        "~hydra.callbacks",
        "hydra.callbacks=null",
        "hydra.callbacks={}",
        "hydra.callbacks.preflight=null",
        "+hydra.callbacks.preflight=null",
        "hydra.callbacks.preflight._target_=builtins.dict",
        "tracking.experiment=${hydra:job.name}",
        "hydra.mode=RUN",
        "hydra.mode=MULTIRUN",
        "--multirun",
        "--run",
    ],
)
def test_no_word_switches_the_check_off(word: str, store: Path, cli: CLI) -> None:
    before = Path("outputs", "mlflow.db").read_bytes()
    ended = cli(word, BAD)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("gdexp: ")
    assert ended.err.count("\n") == 1
    assert Path("outputs", "mlflow.db").read_bytes() == before
    assert [path.name for path in Path("outputs").iterdir()] == ["mlflow.db"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("-m", "--run"), "--run and --multirun exclude each other. Leave one of them out."),
        (("--cfg", "job", "-m"), "--multirun and --cfg exclude each other."),
        (("--info", "all", "--run"), "--run and --info exclude each other."),
        (("-m", "hydra.mode=RUN"), "--multirun and hydra.mode=RUN exclude each other."),
        (("--experimental-rerun", "x.pickle"), "--experimental-rerun: gdexp cannot rerun"),
    ],
)
def test_flags_that_exclude_each_other(
    words: tuple[str, ...], sentence: str, workdir: Path, cli: CLI
) -> None:
    ended = cli(*words)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"gdexp: {sentence}")
    assert not list(workdir.iterdir())


REFERENCES = {
    "${hydra:job.name}": "gdexp",
    "${hydra:runtime.choices.step}": "autograd",
    "of ${hydra:job.name}": "of gdexp",
}


@pytest.mark.parametrize("reference", REFERENCES)
def test_references_to_hydras_settings(reference: str, store: Path, cli: CLI) -> None:
    for words in ((), ("-m",)):
        ended = cli("step=autograd", f"tracking.experiment={reference}", "iters=1", *words)
        assert ended.code == 0, ended.err
        name = REFERENCES[reference]
        assert last(client(store), name).data.tags["gdexp.outcome"] == "completed"
    result = run("step=autograd", f"tracking.experiment={reference}", iters=1)
    assert last(client(store), REFERENCES[reference]).info.run_id == result.run_id


def test_every_job_of_a_sweep_may_refer_to_its_number(store: Path, cli: CLI) -> None:
    number = "seed=${hydra:job.num}"
    ended = cli("-m", "lr=0.01,0.02,0.03", number, "iters=1")
    assert ended.code == 0, ended.err
    seeds = {one.data.params["lr"]: one.data.params["seed"] for one in members(client(store))}
    assert seeds == {"0.01": "0", "0.02": "1", "0.03": "2"}
    ended = cli("-m", "lr=0.01,0.02,0.03", number, "iters=1", "sweep.resume=last")
    assert "3 finished, 0 to run" in ended.err
    table = sweep(number, lr=[0.01, 0.02], iters=1, tracking="off")
    assert table["seed"].tolist() == [0, 1]
    ended = cli("-m", "lr=0.01,0.02", "iters=${hydra:job.num}")
    assert ended.code == 2
    assert "iters: 0 is not a whole number from 1" in ended.err
    ended = cli("-m", "lr=0.01,0.02", number, "sweep.repeat=2")
    assert ended.err == (
        "gdexp: sweep.repeat=2: it counts from the seed, so seed must be a number, as in seed=0.\n"
    )


def test_a_store_in_the_folder_of_the_run(workdir: Path, cli: CLI) -> None:
    assert cli("iters=1", "tracking.uri=sqlite:///${hydra:runtime.output_dir}/x.db").code == 0
    (path,) = workdir.glob("outputs/runs/*/x.db")
    assert path.stat().st_size


UNRESOLVED = {
    "seed=${hydra:job.num}": "hydra.job.num does not exist, or has no value in this run",
    "tracking.experiment=${hydra:nope}": "hydra.nope does not exist, or has no value in this run",
    "tracking.uri=${oc.env:NOPE}": "Environment variable 'NOPE' not found",
}


@pytest.mark.parametrize("typed", UNRESOLVED)
def test_a_reference_without_a_value(typed: str, workdir: Path, cli: CLI) -> None:
    key, _, value = typed.partition("=")
    sentence = f"{key}: {value} has no value: {UNRESOLVED[typed]}. Type one."
    ended = cli(typed)
    assert (ended.code, ended.out, ended.err) == (2, "", f"gdexp: {sentence}\n")
    with pytest.raises(ConfigError) as refused:
        run(typed)
    assert str(refused.value) == sentence
    assert not list(workdir.iterdir())


def test_the_space_of_another_sweeper_is_checked(with_step: Callable[..., Any]) -> None:
    pytest.importorskip("optuna")
    space = "hydra:\n  sweeper:\n    n_trials: 3\n    params:\n      lr: interval(-2, -1)\n"
    ended = with_step(space, "-m", "hydra/sweeper=optuna", "iters=1")
    assert ended.code == 2
    assert ended.err == "gdexp: lr: -2.0 is not a finite number > 0. Type for example lr=0.01.\n"
    assert not Path("outputs", "sweeps").exists()


def test_what_another_sweeper_chooses_is_checked(store: Path) -> None:
    """Also if the check beforehand has not seen the value."""
    from hydra_plugins.gdexp_sweeps import VectorizedLauncher

    from gdexp.commands.start import run_checked
    from gdexp.config.compose import Composer, session

    with session():
        composer = Composer()
        launcher = VectorizedLauncher()
        config = composer.compose_sweep(["tracking=off"])
        launcher.setup(
            hydra_context=HydraContext(composer.loader, Callbacks(config)),
            task_function=run_checked,
            config=config,
        )
        with pytest.raises(ConfigError, match=r"lr: -1\.0 is not a finite number > 0"):
            launcher.launch([["lr=0.1"], ["lr=-1"]], 0)
    assert not (store / "outputs" / "sweeps").exists()


OF_HYDRA = {
    "-m hydra.sweeper=null": "hydra.sweeper: None is not a sweeper for Hydra. Choose one by",
    "-m hydra.launcher._target_=os.system": "hydra.launcher: os.system is not a launcher for",
    "hydra.searchpath=[nosuch]": "hydra.searchpath: there is no folder nosuch.",
    "-m hydra.sweep.dir=${hydra:job.num}": "hydra.sweep.dir=${hydra:job.num}: hydra.job.num does",
    "+hydra.callbacks.mine=3": "Cannot instantiate config of type int.",
}


@pytest.mark.parametrize("words", OF_HYDRA)
def test_settings_that_hydra_itself_cannot_use(words: str, workdir: Path, cli: CLI) -> None:
    ended = cli("tracking=off", *words.split())
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"gdexp: {OF_HYDRA[words]}")
    assert ended.err.count("\n") == 1
    assert not list(workdir.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["basic", "joblib", "submitit_local"])
def test_under_every_launcher(launcher: str, store: Path) -> None:
    words = ("-m", f"hydra/launcher={launcher}", "lr=0.01,0.02")
    assert process(*words, "hydra.callbacks={}", BAD, cwd=store).err == f"gdexp: {UNKNOWN}\n"
    assert not (store / "outputs" / "sweeps").exists()
    ended = process(*words, "iters=1", "seed=${hydra:job.num}", cwd=store)
    assert ended.code == 0, ended.err
    assert sorted(one.data.params["seed"] for one in members(client(store))) == ["0", "1"]


@pytest.mark.parametrize("mode", [(), ("-m",)])
@pytest.mark.parametrize("setting", ["version=2", "handlers=null", "root.handlers=[nope]"])
def test_logging_that_python_refuses(
    mode: tuple[str, ...], setting: str, workdir: Path, cli: CLI
) -> None:
    ended = cli(*mode, f"hydra.job_logging.{setting}", "iters=1")
    assert ended.code == 2
    assert ended.err.startswith("gdexp: hydra.job_logging: Python's logging refuses it: ")
    assert ended.err.count("\n") == 1
    assert not list(workdir.iterdir())


def test_a_dictionary_that_hydra_cannot_merge(cli: CLI) -> None:
    ended = cli("-m", "hydra/sweeper=optuna", "hydra.sweeper.params={lr: 0.1}")
    assert ended.code == 2
    assert ended.err == (
        "gdexp: hydra.sweeper.params: Hydra cannot set it on the command line. "
        "Set it in a YAML file.\n"
    )


def test_trust_that_names_everything(cli: CLI) -> None:
    ended = cli("trust=[*]")
    assert ended.code == 2
    assert ended.err.endswith("Type for example trust=[mypackage.*].\n")
