"""The settings of Hydra and MLflow are honoured, or refused with a sentence."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest
from helpers import CLI, process

from gdexp import run
from gdexp.errors import ConfigError, StoreError
from gdexp.tracking.connect import open_existing


def names(experiment: str | None = None) -> list[str]:
    """The names of the recorded runs, oldest first; the first one is the fixture's."""
    runs = open_existing(None, experiment).runs({"gdexp.kind": "run"})
    return sorted(run.name for run in runs)


def test_a_run_is_named_by_mlflows_variable(
    store: Path, cli: CLI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_RUN_NAME", "mine")
    run("iters=1")
    assert cli("-m", "lr=0.1,0.2", "iters=1").code == 0
    assert names() == ["mine", "mine #0", "mine #1", "step=manual iters=1"]


def test_torchs_threads_wait_asleep_unless_told_otherwise(
    workdir: Path, cli: CLI, monkeypatch: pytest.MonkeyPatch
) -> None:
    for told in ("ACTIVE", "PASSIVE"):
        monkeypatch.setenv("OMP_WAIT_POLICY", told)
        if told == "PASSIVE":
            monkeypatch.delenv("OMP_WAIT_POLICY")
        assert cli("lr=-1").code == 2
        assert os.environ["OMP_WAIT_POLICY"] == told


@pytest.mark.parametrize(
    ("variable", "sentence"),
    [
        (
            "MLFLOW_RUN_ID",
            "gdexp records each run as a new one. Unset the variable; to go on from a "
            "run's checkpoint, type continue_from=RUN_ID.",
        ),
        (
            "MLFLOW_EXPERIMENT_ID",
            "gdexp finds an experiment by its name. Set "
            "MLFLOW_EXPERIMENT_NAME, or type tracking.experiment=NAME.",
        ),
    ],
)
def test_variables_that_cannot_be_honoured(
    variable: str,
    sentence: str,
    workdir: Path,
    cli: CLI,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(variable, "7")
    assert cli("lr=0.1") == (2, "", f"gdexp: {variable}=7: {sentence}\n")
    assert not any(workdir.iterdir())


def test_they_do_not_matter_to_a_run_that_is_not_recorded(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_RUN_ID", "7")
    with pytest.raises(StoreError, match="MLFLOW_RUN_ID=7"):
        run("iters=1")
    run("iters=1", "tracking=off")


@pytest.mark.slow
def test_the_experiment_set_in_a_notebook(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow
    from mlflow.tracking import fluent

    monkeypatch.setattr(fluent, "_active_experiment_id", None)
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri("sqlite:///outputs/mlflow.db")
    try:
        mlflow.set_experiment("notebook")
        result = run("iters=1")
        assert [each.run_id for each in open_existing(None, None).runs()] == [result.run_id]
        assert open_existing(None, None).experiment == "notebook"
        assert run("iters=1", "tracking.experiment=gdexp").run_id is not None
        assert (len(names("notebook")), len(names("gdexp"))) == (1, 2)
    finally:
        mlflow.set_tracking_uri(before)
        os.environ.pop("MLFLOW_EXPERIMENT_ID", None)
        os.environ.pop("MLFLOW_TRACKING_URI", None)


@pytest.mark.parametrize("launcher", ["vectorized", pytest.param("basic", marks=pytest.mark.slow)])
def test_at_most_so_many_runs_are_launched_at_once(
    launcher: str, workdir: Path, cli: CLI, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hydra._internal.core_plugins.basic_launcher import BasicLauncher

    from gdexp.sweep.launcher import Launch

    sizes: list[int] = []
    ours, hydras = Launch.run, BasicLauncher.launch

    def run_ours(self, jobs):  # type: ignore[no-untyped-def]
        sizes.append(len(jobs))
        return ours(self, jobs)

    def launch(self, job_overrides, initial_job_idx):  # type: ignore[no-untyped-def]
        sizes.append(len(job_overrides))
        return hydras(self, job_overrides, initial_job_idx)

    monkeypatch.setattr(Launch, "run", run_ours)
    monkeypatch.setattr(BasicLauncher, "launch", launch)
    words = ["-m", "lr=range(1,6)", "iters=1", "tracking=off", f"hydra/launcher={launcher}"]
    ended = cli(*words, "hydra.sweeper.max_batch_size=2")
    assert (ended.code, ended.err.count(": completed,")) == (0, 5), ended.err
    assert sizes == [2, 2, 1]
    assert [line[:2] for line in ended.err.splitlines() if line.startswith("#")] == [
        f"#{i}" for i in range(5)
    ]


@pytest.mark.parametrize("value", ["0"])
def test_a_batch_size_that_is_no_number_of_runs(value: str, workdir: Path, cli: CLI) -> None:
    ended = cli("-m", "lr=0.1,0.2", f"hydra.sweeper.max_batch_size={value}")
    assert ended.err.startswith("gdexp: hydra.sweeper.max_batch_size: ")
    assert ended.err.endswith(" is not null or a whole number >= 1.\n")
    assert (ended.code, list(workdir.iterdir())) == (2, [])


@pytest.mark.slow
def test_values_that_the_sweeper_lists(workdir: Path, cli: CLI) -> None:
    listed = "hydra.sweeper.params={lr:'0.1,0.2',iters:1}"
    ended = cli("-m", listed, "tracking=off")
    assert (ended.code, ended.err.count(": completed,")) == (0, 2), ended.err
    bad = cli("-m", listed.replace("0.2", "-1"), "tracking=off")
    assert bad.err.startswith("gdexp: lr: -1 is not a finite number > 0.")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("word", "folders"),
    [
        ("hydra.sweep.subdir=run-${hydra.job.num}", {"run-0", "run-1"}),
        ("hydra.output_subdir=mine", {"0", "1"}),
        ("+hydra.job.env_set.GDEXP_MINE=yes", {"0", "1"}),
    ],
)
def test_settings_of_a_job_are_left_to_hydra(
    word: str, folders: set[str], workdir: Path, cli: CLI
) -> None:
    words = ["-m", "lr=0.1,0.2", "iters=1", "tracking=off", "hydra.sweep.dir=here", word]
    ended = cli(*words)
    assert (ended.code, ended.err.count(": completed,")) == (0, 2), ended.err
    assert {path.name for path in Path("here").iterdir() if path.is_dir()} == folders
    assert "2 of 2 runs one after another: hydra." in ended.err


@pytest.mark.slow
def test_a_sweep_by_hydras_mode(workdir: Path, cli: CLI) -> None:
    ended = cli("hydra.mode=MULTIRUN", "lr=0.1,0.2", "iters=1", "tracking=off")
    assert (ended.code, ended.err.count(": completed,")) == (0, 2), ended.err


def test_verbose_logs_the_settings_and_the_store(store: Path, cli: CLI) -> None:
    quiet = cli("iters=1")
    try:
        ended = cli("iters=1", "lr=0.25", "hydra.verbose=gdexp")
    finally:
        logging.getLogger("gdexp").setLevel(logging.NOTSET)  # Hydra leaves it for the next run
    assert "DEBUG" not in quiet.err
    lines = ended.err.splitlines()
    for line in ("step=manual", "lr=0.25", f"recorded in experiment gdexp of sqlite:///{store}"):
        assert any(each.startswith(f"[DEBUG] {line}") for each in lines)
    assert ended.out.startswith(" Prediction before training")


@pytest.mark.slow
def test_a_primary_configuration_of_ones_own(workdir: Path, cli: CLI) -> None:
    (workdir / "mine").mkdir()
    (workdir / "mine" / "own.yaml").write_text("defaults: [config, _self_]\nlr: 0.03\niters: 2\n")
    words = ["--config-dir", "mine", "--config-name", "own", "tracking=off"]
    assert cli(*words).out == cli("lr=0.03", "iters=2", "tracking=off").out
    ended = cli(*words, "-m", "seed=1,2")
    assert (ended.code, ended.err.count(": completed,")) == (0, 2), ended.err
    assert cli(*words, "+x=1").err.startswith("gdexp: x: a run has no setting 'x'.")


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("config.yaml", "Put your defaults into a preset of your own, as in step/mine.yaml."),
        ("loss/MSELoss.yaml", "Give your option another name."),
        ("hydra/sweeper/grid.yaml", "Give your option another name."),
    ],
)
@pytest.mark.parametrize("words", [[], ["--help"], ["-m", "lr=0.1,0.2"]])
def test_a_file_that_hydra_would_not_read(
    name: str, advice: str, words: list[str], workdir: Path, cli: CLI
) -> None:
    file = workdir / "mine" / name
    file.parent.mkdir(parents=True)
    file.write_text("lr: 3\n")
    sentence = f"--config-dir: {file} would not be read, since gdexp has its own {name}. {advice}"
    assert cli("--config-dir", "mine", *words) == (2, "", f"gdexp: {sentence}\n")
    with pytest.raises(ConfigError, match="would not be read"):
        run("iters=1", config_dir="mine")
    assert [path.name for path in workdir.iterdir()] == ["mine"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"_target_: a.b\n\tx: 1\n", ", line 2: a tab; YAML is indented with spaces. Correct it."),
        (b"_target_: a.b\nx: 1\nx: 2\n", ", line 3: found duplicate key x. Correct it."),
        (b"_target_: a.b\nx: [1\n", ", line 3: expected ',' or ']', but got '<stream end>'. "),
        (b"x: \xff\n", " cannot be read: 'utf-8' codec can't decode byte 0xff"),
    ],
)
def test_a_yaml_file_that_is_damaged(content: bytes, problem: str, workdir: Path, cli: CLI) -> None:
    file = workdir / "mine" / "loss" / "own.yaml"
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    flags = ["-m"] if b"\t" in content else []
    ended = cli("--config-dir", "mine", *flags, "loss=own")
    assert (ended.code, ended.out, len(ended.err.splitlines())) == (2, "", 1)
    assert f"{file}{problem}" in ended.err
    with pytest.raises(ConfigError) as refused:
        run("loss=own", config_dir="mine")
    assert f"{file}{problem}" in str(refused.value)
    assert [path.name for path in workdir.iterdir()] == ["mine"]


@pytest.mark.parametrize("words", [["continue_from=abc"], ["-m", "continue_from=abc,null"]])
def test_a_run_to_continue_is_looked_up_before_a_store_is_created(
    words: list[str], workdir: Path, cli: CLI
) -> None:
    sentence = "continue_from: 'abc' is neither a file nor a run: no run is recorded yet."
    assert cli(*words) == (2, "", f"gdexp: {sentence}\n")
    assert not any(workdir.iterdir())


@pytest.mark.parametrize("word", ["sweep.dry_run=true", "tracking=off"])
def test_only_recorded_runs_can_be_compared(word: str, workdir: Path, cli: CLI) -> None:
    ended = cli("-m", "lr=0.1,0.2", "iters=1", word)
    assert ended.code == 0, ended.err
    assert "compare" not in ended.err


@pytest.mark.parametrize("command", ["compare", "ui", "predict"])
def test_a_setting_is_no_run(command: str, workdir: Path, cli: CLI) -> None:
    ended = cli(command, "lr=0.1", *(["t.csv"] if command == "predict" else []))
    assert ended == (
        2,
        "",
        f"gdexp: {command}: argument RUN_ID: lr=0.1 is a setting, not a run's id. To run it, type "
        f"python -m gdexp lr=0.1. python -m gdexp {command} --help lists its options.\n",
    )


@pytest.mark.slow
def test_output_that_the_terminal_cannot_encode(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("größe,y\n1,2\n2,3\n", encoding="utf-8")
    words = ["data=csv", "data.path=t.csv", "data.target=y", "iters=1", "predictor.bias=true"]
    for arguments in (["--help"], words, ["compare"], ["compare", "--csv"]):
        ended = process(*arguments, cwd=tmp_path, PYTHONIOENCODING="ascii")
        assert ended.code == 0, ended.err
        assert (ended.out + ended.err).isascii()
        assert "Traceback" not in ended.err


MISTAKES = {
    "hydra.run.dir=${nosuch}": "hydra.run.dir=${nosuch}: Interpolation key 'nosuch' not found.",
    "-m hydra.sweep.dir=${nosuch}": "hydra.sweep.dir=${nosuch}: Interpolation key 'nosuch' not "
    "found.",
    "-m hydra.sweep.subdir=${nosuch}": "hydra.sweep.subdir=${nosuch}: Interpolation key 'nosuch' "
    "not found.",
    "hydra.verbose=7": "hydra.verbose: 7 is not a list of strings or a string or true or false.",
    "sweep.dry_run=true": "sweep.dry_run=true: a sweep is a multirun. Add -m.",
    "sweep=log": "sweep=log: a sweep is a multirun. Add -m.",
}


@pytest.mark.parametrize("words", MISTAKES)
def test_what_would_fail_later_or_have_no_effect_is_refused(
    words: str, workdir: Path, cli: CLI
) -> None:
    assert cli(*words.split()) == (2, "", f"gdexp: {MISTAKES[words]}\n")
    assert not any(workdir.iterdir())
