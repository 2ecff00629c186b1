"""The settings of Hydra's submitit launchers: passed on as the plugin does, or refused."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import submitit
from helpers import CLI, refused
from hydra.core.plugins import Plugins
from slurm_helpers import install

from gdexp.config.compose import Composer, session
from gdexp.errors import ConfigError
from gdexp.sweep.shards import executor

TYPED = {
    "submitit_local": ("cpus_per_task=2", "timeout_min=7", "stderr_to_stdout=true"),
    "submitit_slurm": (
        *("partition=long", "mem_gb=4", "array_parallelism=12", "max_num_timeout=3"),
        *("setup=[module load cuda]", "+additional_parameters.mail-user=me", "name=mine"),
    ),
}


def of_launcher(word: str) -> str:
    """An override of a setting of the launcher."""
    plus = "+" if word.startswith("+") else ""
    return f"{plus}hydra.launcher.{word.removeprefix('+')}"


@pytest.mark.parametrize("launcher", TYPED)
def test_submitit_gets_what_the_plugin_would_pass(
    launcher: str, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []

    class Spy:
        def __init__(self, *args: Any, **settings: Any) -> None:
            folder = args[0] if args else settings.pop("folder")
            calls.append((folder, settings))

        def update_parameters(self, **settings: Any) -> None:
            calls.append(settings)

        def map_array(self, *_: Any) -> list[Any]:
            return []

        def submit_array(self, tasks: Any) -> list[Any]:
            return [*tasks]

    monkeypatch.setattr(submitit, "AutoExecutor", Spy)
    with session():
        words = [*map(of_launcher, TYPED[launcher])]
        config = Composer().compose_sweep([f"hydra/launcher={launcher}", *words])
        made: Any = Plugins.instance()._instantiate(config.hydra.launcher)
        assert executor.cluster(config.hydra.launcher) == executor.cluster(made) != ""
        made.config = config
        made.launch([["lr=0.1"]], 0)
        theirs, calls[:] = [*calls], []
        assert executor.submit(made, ["a shard"]) == ["a shard"]
    assert calls == theirs
    assert len(calls) == 2


def test_the_script_for_slurm(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(workdir, monkeypatch)
    with session():
        words = [*map(of_launcher, TYPED["submitit_slurm"])]
        config = Composer().compose_sweep(["hydra/launcher=submitit_slurm", *words])
        executor.check(config.hydra.launcher, "outputs/mine")
        made: Any = Plugins.instance()._instantiate(config.hydra.launcher)
        inner = executor._executor("slurm", made.params)._executor
    lines = inner._make_submission_file_text("task", "").splitlines()
    for line in ("--partition=long", "--mem=4GB", "--mail-user=me", "--time=60"):
        assert f"#SBATCH {line}" in lines
    assert "module load cuda" in lines
    assert executor.parallel(made) == 12


def test_tasks_here_share_the_cores() -> None:
    class Local:
        params = {"cpus_per_task": None}  # noqa: RUF012

    cores = len(os.sched_getaffinity(0))
    assert executor.parallel(Local()) == cores
    Local.params["cpus_per_task"] = 10**6  # type: ignore[assignment]
    assert executor.parallel(Local()) == 1


def test_threads_that_the_user_has_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    with executor.threads(2):
        assert (os.environ["OMP_NUM_THREADS"], os.environ["MKL_NUM_THREADS"]) == ("7", "2")
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "MKL_NUM_THREADS" not in os.environ


SWEEP = ("-m", "lr=0.01,0.02")
SLURM = "hydra/launcher=submitit_slurm"


@pytest.mark.parametrize("launcher", TYPED)
@pytest.mark.parametrize("key", ["nodes", "tasks_per_node"])
def test_one_task_computes_a_shard(
    launcher: str,
    key: str,
    tmp_path: Path,
    workdir: Path,
    monkeypatch: pytest.MonkeyPatch,
    cli: CLI,
) -> None:
    install(tmp_path, monkeypatch)
    (workdir / "work").mkdir()
    monkeypatch.chdir(workdir / "work")
    several = " For more tasks at once, set hydra.launcher.array_parallelism."
    assert refused(cli, *SWEEP, f"hydra/launcher={launcher}", f"hydra.launcher.{key}=2") == (
        f"hydra.launcher.{key}=2: one task computes a shard, so it must be 1."
        f"{several if launcher == 'submitit_slurm' else ''}"
    )


def test_a_machine_without_slurm(workdir: Path, monkeypatch: pytest.MonkeyPatch, cli: CLI) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert refused(cli, *SWEEP, SLURM) == (
        "hydra/launcher=submitit_slurm: there is no Slurm here, sbatch is not installed. Start "
        "from a machine that submits Slurm jobs, or type hydra/launcher=submitit_local."
    )
    assert cli(*SWEEP, SLURM, "sweep.dry_run=true").code == 0


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("hydra.launcher.timeout_min=0", "hydra.launcher.timeout_min=0: minutes >= 1 are expected"),
        (
            "+hydra.launcher.cores=3",
            "hydra.launcher: submitit refuses it: Unknown argument 'cores'",
        ),
    ],
)
def test_settings_that_submitit_cannot_use(
    word: str, sentence: str, workdir: Path, cli: CLI
) -> None:
    assert refused(cli, *SWEEP, "hydra/launcher=submitit_local", word).startswith(sentence)


def test_a_folder_in_the_memory_of_one_machine_is_not_shared(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "disk / ext4 rw 0 0\n"
        "tmpfs /fast\\040one tmpfs rw 0 0\n"
        "server:/home /fast\\040one/home nfs rw 0 0\n"
    )
    with pytest.raises(ConfigError) as error:
        executor.check_shared("hydra.sweep.dir", Path("/fast one/mine/a"), str(mounts))
    assert str(error.value) == (
        "hydra.sweep.dir: /fast one/mine/a is in the memory of this machine (tmpfs), where the "
        "nodes of a cluster cannot see it. Choose a folder that they share."
    )
    for path in ("/fast one/home/me", "/data", "/fast"):
        executor.check_shared("outputs", Path(path), str(mounts))
    executor.check_shared("outputs", Path("/fast one"), str(tmp_path / "none"))


def test_a_folder_that_cannot_be_written(workdir: Path, cli: CLI) -> None:
    (workdir / "file").touch()
    words = ("hydra/launcher=submitit_local", "hydra.launcher.submitit_folder=file/%j")
    assert refused(cli, *SWEEP, *words) == (
        f"hydra.launcher.submitit_folder: {workdir}/file is in the way: it is not a folder. Move "
        "it."
    )


def test_tasks_that_slurm_refuses(
    tmp_path: Path, workdir: Path, monkeypatch: pytest.MonkeyPatch, cli: CLI
) -> None:
    install(tmp_path, monkeypatch)
    program = "#!/bin/sh\necho sbatch: error: invalid partition specified: long >&2\nexit 1\n"
    (tmp_path / "bin" / "sbatch").write_text(program)
    ended = cli(*SWEEP, SLURM, "hydra.launcher.partition=long", "tracking=off")
    assert ended.code == 2
    assert ended.err.splitlines()[-1] == (
        "gdexp: hydra/launcher=submitit_slurm: the tasks cannot be submitted: sbatch: error: "
        "invalid partition specified: long."
    )


class Queued:
    def __init__(self, job_id: str, state: str = "UNKNOWN") -> None:
        self.job_id, self.state = job_id, state


@pytest.mark.parametrize(
    ("squeue", "gone"),
    [
        ("echo 77_1; echo 77_2", {"77_0", "78"}),
        (
            "echo slurm_load_jobs error: Invalid job id specified >&2; exit 1",
            {"77_0", "77_1", "78"},
        ),
        ("echo slurm_load_jobs error: Unable to contact slurm controller >&2; exit 1", set()),
        (None, set()),
    ],
)
def test_where_slurm_has_no_accounting_its_queue_tells_which_tasks_have_ended(
    squeue: str | None, gone: set[str], workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{workdir}{os.pathsep}{os.environ['PATH']}")
    tasks = [Queued("77_0"), Queued("77_1"), Queued("78"), Queued("77_3", "RUNNING")]
    if squeue is not None:
        (workdir / "squeue").write_text(f"#!/bin/sh\necho $* > asked\n{squeue}\n")
        (workdir / "squeue").chmod(0o755)
    assert executor.gone(tasks) == gone
    assert executor.gone(tasks[3:]) == set()
    if squeue is not None:
        assert "--jobs=77,78" in (workdir / "asked").read_text()
