"""Hydra's submitit launchers: their settings, and submitit's executor with these settings."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gdexp.config.paths import OUTPUTS, absolute, check_writable
from gdexp.errors import ConfigError, brief

TARGETS = {"LocalLauncher": "local", "SlurmLauncher": "slurm"}  # submitit's name of the cluster
PLUGIN = "hydra_plugins.hydra_submitit_launcher."
IN_MEMORY = ("tmpfs", "ramfs", "devtmpfs")  # file systems that no other machine sees
OF_ITS_START = ("submitit_folder", "max_num_timeout")  # settings of the executor's constructor
LIBRARIES = ("OMP", "OPENBLAS", "MKL")


def cluster(launcher: Any) -> str:
    """``local`` or ``slurm``: what submitit calls the cluster of a launcher; "" of any other.

    Args:
        launcher: the node ``hydra.launcher``, or the launcher.
    """
    if isinstance(launcher, Mapping):
        target = str(launcher.get("_target_", ""))
    else:
        target = f"{type(launcher).__module__}.{type(launcher).__qualname__}"
    return TARGETS.get(target.rpartition(".")[2], "") if target.startswith(PLUGIN) else ""


def check(launcher: Any, folder: str) -> None:
    """Check the settings of the node ``hydra.launcher``; other launchers are not checked.

    Args:
        launcher: the node.
        folder: the sweep's folder, which its tasks use.

    Raises:
        ConfigError: there is no Slurm, submitit refuses a setting, or no other machine sees the
            sweep's folder.
        StoreError: one of the folders cannot be written.
    """
    name = cluster(launcher)
    if not name:
        return
    if name == "slurm":
        _check_slurm()
    for key in ("nodes", "tasks_per_node"):
        if launcher.get(key) not in (None, 1):
            several = " For more tasks at once, set hydra.launcher.array_parallelism."
            raise ConfigError(
                f"hydra.launcher.{key}={launcher[key]}: one task computes a shard, so it must be "
                f"1.{several if name == 'slurm' else ''}"
            )
    if name == "local" and launcher.timeout_min < 1:  # for Slurm, 0 is no limit
        raise ConfigError(
            f"hydra.launcher.timeout_min={launcher.timeout_min}: minutes >= 1 are expected."
        )
    places = {
        "outputs": absolute(OUTPUTS),  # the records go to its spool
        "hydra.sweep.dir": absolute(folder),
        "hydra.launcher.submitit_folder": _fixed_part(absolute(str(launcher.submitit_folder))),
    }
    for setting, place in places.items():
        check_writable(place, setting)
        if name == "slurm":
            check_shared(setting, place)
    _check_parameters(name, dict(launcher))


def _check_slurm() -> None:
    for program in ("sbatch", "srun"):
        if shutil.which(program) is None:
            raise ConfigError(
                f"hydra/launcher=submitit_slurm: there is no Slurm here, {program} is not "
                "installed. Start from a machine that submits Slurm jobs, or type "
                "hydra/launcher=submitit_local."
            )


def _fixed_part(path: Path) -> Path:
    """The part of a path that is the same for all tasks: that before ``%j``, a task's id."""
    from submitit.core.utils import JobPaths

    return Path(JobPaths.get_first_id_independent_folder(path))


def _check_parameters(name: str, params: dict[str, Any]) -> None:
    params.pop("_target_")
    with tempfile.TemporaryDirectory() as folder:  # the local executor creates its folder
        try:
            _executor(name, params | {"submitit_folder": folder})
        except Exception as error:
            raise ConfigError(f"hydra.launcher: submitit refuses it: {brief(error)}.") from error


def check_shared(setting: str, path: Path, mounts: str = "/proc/mounts") -> None:
    """Refuse a folder in the memory of this machine, which the nodes of a cluster cannot see.

    Args:
        setting: what names the folder.
        path: the folder.
        mounts: the file that lists the file systems.

    Raises:
        ConfigError: the folder is in memory.
    """
    try:
        lines = [line.split() for line in Path(mounts).read_text().splitlines()]
    except OSError:
        return
    kinds = {Path(words[1].replace("\\040", " ")): words[2] for words in lines if len(words) > 2}
    mounted = [each for each in (path, *path.parents) if each in kinds]
    if mounted and kinds[mounted[0]] in IN_MEMORY:
        raise ConfigError(
            f"{setting}: {path} is in the memory of this machine ({kinds[mounted[0]]}), where the "
            "nodes of a cluster cannot see it. Choose a folder that they share."
        )


def parallel(launcher: Any) -> int:
    """The number of tasks that run at once: by the settings of Slurm, or by the cores here."""
    if cluster(launcher) == "slurm":
        return max(1, int(launcher.params["array_parallelism"]))
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on Linux
        cores = os.cpu_count() or 1
    return max(1, cores // int(launcher.params.get("cpus_per_task") or 1))


def submit(launcher: Any, shards: Sequence[Any]) -> list[Any]:
    """Submit callables as tasks, with the executor that the launcher would use.

    Raises:
        ConfigError: submitit, or Slurm, refuses them.
    """
    try:
        tasks: list[Any] = _executor(cluster(launcher), launcher.params).submit_array(shards)
        return tasks
    except Exception as error:
        lines = str(error).strip().splitlines() or [repr(error)]  # the last one is Slurm's
        raise ConfigError(
            f"hydra/launcher=submitit_{cluster(launcher)}: the tasks cannot be submitted: "
            f"{lines[-1].rstrip('.')}."
        ) from error


def cancelling(tasks: Sequence[Any]) -> list[str]:
    """The command that cancels tasks of Slurm: one id stands for a whole array."""
    return ["scancel", *dict.fromkeys(str(task.job_id).partition("_")[0] for task in tasks)]


def gone(tasks: Sequence[Any]) -> set[str]:
    """The ids of the tasks of Slurm that have left its queue, if its accounting knows nothing.

    A cluster without accounting never says that a task was killed.
    """
    unknown = [str(task.job_id) for task in tasks if task.state == "UNKNOWN"]
    if not unknown:
        return set()
    jobs = ",".join(dict.fromkeys(each.partition("_")[0] for each in unknown))
    try:
        answer = subprocess.run(
            ["squeue", "--noheader", "--array", "--format=%i", f"--jobs={jobs}"],
            capture_output=True,
            text=True,
            timeout=60,
        )
    except (OSError, subprocess.TimeoutExpired):
        return set()
    if answer.returncode and "Invalid job id" not in answer.stderr:  # it has forgotten them
        return set()
    return set(unknown) - set(answer.stdout.split())


def reason(task: Any) -> str:
    """Why a task has ended before its work was done, in a phrase."""
    from submitit.core.utils import pickle_load

    try:
        outcome, result = pickle_load(task.paths.result_pickle)
    except Exception:  # it could not write the file
        is_known = type(task).__name__ == "SlurmJob" and task.state != "UNKNOWN"
        return f"Slurm calls it {task.state}" if is_known else "it was killed"
    if outcome == "error":
        return str(result).strip().splitlines()[-1].rstrip(".")
    return "its files do not arrive in the sweep's folder, which all machines must share"


def log(task: Any) -> Path:
    """The file with what a task has printed on stderr."""
    paths = task.paths
    return Path(paths.stderr if paths.stderr.exists() else paths.stdout)


def _executor(name: str, params: Mapping[str, Any]) -> Any:
    """As in ``hydra_plugins.hydra_submitit_launcher.submitit_launcher``."""
    import submitit
    from hydra_plugins.hydra_submitit_launcher.config import BaseQueueConf
    from omegaconf import OmegaConf

    logging.getLogger("submitit").setLevel(logging.ERROR)  # it writes warnings to stdout, too
    starts = {f"{name}_{key}": params[key] for key in OF_ITS_START[1:] if key in params}
    executor = submitit.AutoExecutor(params["submitit_folder"], cluster=name, **starts)
    shared = set(OmegaConf.structured(BaseQueueConf).keys())
    plain = {
        key: OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
        for key, value in params.items()
        if key not in OF_ITS_START
    }
    executor.update_parameters(
        **{key if key in shared else f"{name}_{key}": value for key, value in plain.items()}
    )
    return executor


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Processes started in this block use this many threads, unless the user has set a number."""
    names = [f"{library}_NUM_THREADS" for library in LIBRARIES]
    unset = [name for name in names if name not in os.environ]
    os.environ.update(dict.fromkeys(unset, str(number)))
    try:
        yield
    finally:
        for name in unset:
            del os.environ[name]
