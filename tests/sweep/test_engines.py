"""Programs computed elsewhere: the same results, no worker's death felt, no process left behind."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Ended, clean_environment, process
from mlflow import MlflowClient
from test_tracking import _fresh_connections, client, curve, runs  # noqa: F401

from gdexp.config.compose import Composer, session
from gdexp.config.job import Job
from gdexp.errors import ConfigError
from gdexp.sweep.launcher import plan
from gdexp.sweep.vectorized import compute
from gdexp.sweep.vectorized.loop import run_program
from gdexp.sweep.vectorized.program import Program
from gdexp.sweep.workers import engines

CLI = Callable[..., Ended]


def program(count: int, torch: bool = False, iters: int = 30) -> Program:
    return Program(
        x=np.array([1, 2, 3, 4], np.float32),
        y=np.array([2, 4, 6, 8], np.float32),
        gradient="autograd" if torch else "mean",
        reduction="mean",
        torch=torch,
        start={"w": np.zeros(count)},
        lr=np.geomspace(1e-4, 0.2, count),
        iters=np.full(count, iters),
        predict_at=np.full(count, 5.0),
    )


def jobs(*axes: list[str]) -> list[Job]:
    """The jobs of every combination of the axes' overrides."""
    with session():
        composer = Composer()
        maker = plan(composer.compose([]), composer.loader)
        typed: list[tuple[str, ...]] = [()]
        for axis in axes:
            typed = [(*texts, text) for texts in typed for text in axis]
        return [maker.job(texts, "s", number) for number, texts in enumerate(typed)]


def silent(runs: int) -> None:
    """A progress that is not shown."""


class Recorder:
    """A pool in this process, whose workers die as often as they are told to."""

    def __init__(self, deaths: dict[int, int] | None = None, workers: int = 2) -> None:
        self.workers, self.lost = workers, (BrokenPipeError,)
        self.deaths = deaths or {}
        self.sizes: list[int] = []
        self.closed = 0

    def submit(self, shard: Program) -> Future[engines.Timed]:
        self.sizes.append(len(shard.lr))
        future: Future[engines.Timed] = Future()
        if self.deaths.get(len(shard.lr), 0) > 0:
            self.deaths[len(shard.lr)] -= 1
            future.set_exception(BrokenPipeError())
        else:
            future.set_result(engines.timed(shard))
        return future

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def joblib() -> Iterator[engines.Engine]:
    engine = engines.create("joblib", 2, None)
    yield engine
    engine.close()


def children(of: int | None = None) -> set[int]:
    """All living descendants of a process."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            except OSError:  # it has just ended
                continue
            if state != "Z":
                parents[int(entry.name)] = int(parent)
    found, fresh = set(), {of or os.getpid()}
    while fresh:
        found |= fresh
        fresh = {pid for pid, parent in parents.items() if parent in fresh} - found
    return found - {of or os.getpid()}


def workers_of(of: int) -> set[int]:
    """The processes below one that are loky's or busy Ray's workers, by their command lines."""
    marks = ("popen_loky", "ray::timed")
    return {pid for pid in children(of) if any(mark in command(pid) for mark in marks)}


def of_session(leader: int) -> list[str]:
    """The commands of a terminal session's living processes, orphans too."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has just ended
            state, _, _, session_id = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
            if state != "Z" and int(session_id) == leader:
                found.append(command(int(entry.name)))
    return found


def command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def eventually(true: Callable[[], Any], seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.05)
    return found


# What is said before anything is started


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            ("joblb", None, None),
            "hydra.launcher.engine=joblb: it is one of: local, joblib, ray."
            " Did you mean hydra.launcher.engine=joblib?",
        ),
        (
            ("joblib", 0, None),
            "hydra.launcher.workers=0: a whole number of processes >= 1 is expected, "
            "or null for one on each core.",
        ),
        (
            ("ray", 1.5, None),
            "hydra.launcher.workers=1.5: a whole number of processes >= 1 is expected, "
            "or null for one on each core.",
        ),
        (
            ("local", 2, None),
            "hydra.launcher.workers=2: engine=local computes in this process alone. "
            "Add hydra.launcher.engine=joblib.",
        ),
        (
            ("joblib", 2, "auto"),
            "hydra.launcher.address=auto: it is Ray's. Add hydra.launcher.engine=ray.",
        ),
        *(
            (
                ("ray", 2, address),
                f"hydra.launcher.address={address}: "
                "auto, HOST:PORT or ray://HOST:PORT is expected.",
            )
            for address in ("", "here", "here:http", "http://here:80", "ray://here", "[::1:80", 5)
        ),
        *(
            (
                ("ray", 2, address),
                f"hydra.launcher.address={address}: no Ray cluster answers there, or it wants its "
                "token (see RAY_AUTH_TOKEN). Start one with ray start --head, or leave the "
                "address out.",
            )
            for address in ("127.0.0.1:1", "ray://127.0.0.1:1")
        ),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings: Any, sentence: str) -> None:
    with pytest.raises(ConfigError) as refused:
        engines.create(*settings)
    assert str(refused.value) == sentence


@pytest.mark.parametrize("name", ["joblib", "ray"])
def test_a_missing_extra_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError) as refused:
        engines.create(name, None, None)
    assert str(refused.value) == (
        f"hydra.launcher.engine={name}: {name} is not installed. Type pip install 'gdexp[{name}]'."
    )


@pytest.mark.parametrize(("launcher", "extra"), [("joblib", "joblib"), ("submitit_slurm", "slurm")])
def test_the_extra_of_a_missing_launcher_is_named(launcher: str, extra: str, workdir: Path) -> None:
    hidden = [f"hydra_plugins.hydra_{name}_launcher" for name in ("joblib", "submitit")]
    program = (
        f"import sys; sys.argv[0] = 'gdexp'; sys.modules.update(dict.fromkeys({hidden}));"
        "from gdexp.commands import main; main()"
    )
    words = ["-m", "lr=0.01,0.02", f"hydra/launcher={launcher}"]
    ended = subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == (
        f"gdexp: In 'hydra/config': Could not find 'hydra/launcher/{launcher}'. "
        f"Type pip install 'gdexp[{extra}]'.\n"
    )
    assert not list(workdir.iterdir())


@pytest.mark.parametrize("word", ["engine=joblb", "workers=0", "address=auto"])
def test_the_command_line_refuses_before_it_creates_anything(
    word: str, workdir: Path, cli: CLI
) -> None:
    ended = cli("-m", "lr=0.01,0.02", f"hydra.launcher.{word}")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"gdexp: hydra.launcher.{word}: ")
    assert ended.err.count("\n") == 1
    assert not list(workdir.iterdir())


def test_the_settings_of_other_launchers_are_their_own() -> None:
    engines.check_engine({"_target_": "hydra._internal.BasicLauncher"})


# How a program is cut


@pytest.mark.parametrize("shards", [1, 2, 3, 7])
def test_runs_that_differ_only_in_iters_stay_together(shards: int) -> None:
    whole = jobs([f"lr=0.00{i}" for i in range(1, 8)], [f"iters={n}" for n in (5, 9, 40)])
    parts = list(compute._parts(whole, shards))
    assert sorted(job.number for part in parts for job in part) == list(range(21))
    assert len(parts) <= shards
    for part in parts:
        for job in part:
            mates = [j for j in whole if j.settings["lr"] == job.settings["lr"]]
            assert all(mate in part for mate in mates)


def test_a_program_too_large_for_the_memory_is_cut_further(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compute, "MEMORY", 16 * 2 * 8 * 3 * 40)
    whole = jobs([f"lr=0.00{i}" for i in range(1, 8)], ["iters=40"])
    assert [len(part) for part in compute._parts(whole, 32)] == [1] * 7
    assert [len(part) for part in compute._parts(whole, 16)] == [1] * 7
    monkeypatch.setattr(compute, "MEMORY", 3 * 8 * 3 * 40)
    assert [len(part) for part in compute._parts(whole, 1)] == [3, 3, 1]


def results(whole: list[Job], engine: engines.Engine) -> dict[int, Any]:
    computed: list[int] = []
    ended = list(compute.compute(whole, computed.append, engine))
    assert computed[-1] == len(ended) == len(whole)
    assert computed == sorted(computed)
    assert all(one.seconds >= 0 and one.started > 1e9 for one in ended)
    return {one.job.number or 0: one.result for one in ended}


def check_same(whole: list[Job], engine: engines.Engine, tolerance: float) -> None:
    alone, shared = results(whole, engines.Local()), results(whole, engine)
    assert alone.keys() == shared.keys()
    for number, one in alone.items():
        other = shared[number]
        assert (other.outcome, other.reason, other.note) == (one.outcome, one.reason, one.note)
        columns = other.trajectory.columns()
        for name, values in one.trajectory.columns().items():
            if tolerance:
                np.testing.assert_allclose(columns[name], values, rtol=tolerance, atol=tolerance)
            else:
                assert columns[name].tobytes() == values.tobytes()
        if not tolerance:
            assert (other.transcript, other.prediction) == (one.transcript, one.prediction)


MANUAL = ([f"lr={0.002 * i:.3f}" for i in range(1, 31)], ["iters=7", "iters=80"])
TORCH = (["step=model"], [f"seed={i}" for i in range(5)], [f"lr={0.01 * i:.2f}" for i in (1, 2, 4)])


@pytest.mark.parametrize("workers", [1, 2, 3, 40])
def test_every_number_of_shards_gives_the_same_bits(workers: int) -> None:
    check_same(jobs(*MANUAL), engines.Pooled(lambda: Recorder(workers=workers)), 0)


def test_joblib_gives_the_same_bits(joblib: engines.Engine) -> None:
    check_same(jobs(*MANUAL), joblib, 0)


def test_joblib_gives_the_same_with_torch(joblib: engines.Engine) -> None:
    check_same(jobs(*TORCH), joblib, 1e-6)


@pytest.mark.slow
def test_ray_gives_the_same_and_is_ended_even_where_it_kills_its_own_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from ray._private.node import Node

    slowly = Node._kill_process_type
    engine, before = engines.create("ray", 2, None), children()
    try:
        check_same(jobs(*MANUAL), engine, 0)
        check_same(jobs(*TORCH), engine, 1e-6)
        started = children() - before
        assert any("raylet" in command(pid) for pid in started)
        monkeypatch.setattr(  # as it does to those that have not ended after a second
            Node, "_kill_process_type", lambda *a, allow_graceful, **k: slowly(*a, **k)
        )
    finally:
        engine.close()
    eventually(lambda: not any(map(command, started)), 10)


# Workers that die


def test_a_shard_whose_worker_dies_is_tried_again(capsys: pytest.CaptureFixture[str]) -> None:
    pool = Recorder({3: 2})
    found = engines.Pooled(lambda: pool).compute(map(program, [2, 3, 4]), silent)
    assert sorted(len(one.result.length) for one in found) == [2, 3, 4]
    assert sorted(pool.sizes) == [2, 3, 3, 3, 4]
    assert capsys.readouterr().err == ""


def test_after_three_deaths_a_shard_is_computed_here(capsys: pytest.CaptureFixture[str]) -> None:
    pool = Recorder({3: 99})
    found = engines.Pooled(lambda: pool).compute(map(program, [2, 3, 4]), silent)
    assert sorted(len(one.result.length) for one in found) == [2, 3, 4]
    assert sorted(pool.sizes) == [2, 3, 3, 3, 4]
    said = "the worker of 3 runs died 3 times: computed in this process\n"
    assert capsys.readouterr().err == said


def test_no_more_shards_are_made_than_are_under_way() -> None:
    made = []

    def shards() -> Iterator[Program]:
        for count in range(1, 20):
            made.append(count)
            yield program(count)

    pool = Recorder(workers=2)
    found = engines.Pooled(lambda: pool).compute(shards(), silent)
    next(found)
    assert len(made) == 4
    found.close()
    assert pool.closed == 1


def test_an_error_of_the_computation_is_raised(joblib: engines.Engine) -> None:
    odd = program(3)
    odd.start["w"].resize(1)
    with pytest.raises(ValueError, match="same shape"):
        list(joblib.compute([odd], silent))
    assert len(list(joblib.compute([program(3)], silent))) == 1  # it goes on


def kill_one(engine: engines.Engine) -> list[engines.Computed]:
    """Compute eight shards that take long, and kill a worker in the middle of them."""
    found = engine.compute((program(20 + i, iters=30_000) for i in range(8)), silent)
    first = next(found)
    os.kill(min(workers_of(os.getpid())), signal.SIGKILL)
    return [first, *found]


def check_whole(found: list[engines.Computed]) -> None:
    assert sorted(one.number for one in found) == list(range(8))
    for one in found:
        here = run_program(program(20 + one.number, iters=30_000))
        assert one.result.trajectory(3).loss.tobytes() == here.trajectory(3).loss.tobytes()
        assert len(one.result.length) == 20 + one.number


@pytest.mark.slow
@pytest.mark.parametrize("name", ["joblib", "ray"])
def test_a_worker_killed_in_the_middle_costs_nothing_but_time(name: str) -> None:
    engine = engines.create(name, 2, None)
    try:
        check_whole(kill_one(engine))
    finally:
        engine.close()


# Signals


def interrupted(folder: Path, signum: int, *words: str) -> tuple[int, str, list[str]]:
    """A sweep that gets a signal once its workers work; which of its processes are left."""
    sweep = ["-m", "sweep=log", "sweep.key=lr", "sweep.low=0.0001", "sweep.high=0.01"]
    started = subprocess.Popen(
        [sys.executable, "-m", "gdexp", *sweep, "sweep.num=4000", "iters=30000", *words],
        cwd=folder,
        env=clean_environment(),
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    eventually(lambda: workers_of(started.pid))
    time.sleep(1)
    if signum == signal.SIGINT:
        os.killpg(started.pid, signum)  # as a terminal does
    else:
        started.send_signal(signum)
    err = started.communicate(timeout=60)[1]
    with contextlib.suppress(AssertionError):
        eventually(lambda: not of_session(started.pid), 10)
    return started.returncode, err, of_session(started.pid)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["joblib", "ray"])
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_no_process_behind(name: str, signum: int, workdir: Path) -> None:
    words = (f"hydra.launcher.engine={name}", "hydra.launcher.workers=2", "tracking=off")
    code, err, left = interrupted(workdir, signum, *words)
    assert (code, left) == (128 + signum, []), err
    cause = "Ctrl-C" if signum == signal.SIGINT else "SIGTERM"
    assert [line for line in err.splitlines() if line][1:] == [f"interrupted by {cause}"]


# The whole command


def recorded(opened: MlflowClient) -> dict[str, Any]:
    members = [r for r in runs(opened) if "gdexp.job" in r.data.tags]
    return {r.data.tags["gdexp.preflight"]: r for r in members}


def summary_of(opened: MlflowClient) -> Any:
    (found,) = (r for r in runs(opened) if r.data.tags.get("gdexp.kind") == "sweep")
    return found


def numbers(opened: MlflowClient, found: dict[str, Any]) -> dict[str, Any]:
    """What was recorded of each run: its numbers and its curve."""
    return {
        text: (run.data.metrics, run.data.params, curve(opened, run.info.run_id, "train/loss"))
        for text, run in found.items()
    }


def check_sweep(store: Path, *words: str) -> None:
    """A sweep is recorded once and whole, with the numbers of the same sweep in this process."""
    axes = ("-m", "step=manual", "lr=0.001,0.05", "iters=10,20")
    ended = process(*axes, *words)
    assert ended.code == 0, ended.err
    assert "Traceback" not in ended.err
    assert "4 runs: 2 completed, 2 diverged" in ended.err
    opened = client(store)
    found = recorded(opened)
    assert {int(r.data.tags["gdexp.job"]) for r in found.values()} == set(range(len(found)))
    assert {r.info.status for r in found.values()} == {"FINISHED"}
    assert summary_of(opened).info.status == "FINISHED"
    there = numbers(opened, found)
    for run in runs(opened):
        opened.delete_run(run.info.run_id)
    alone = process(*axes)
    assert alone.code == 0, alone.err
    here = numbers(opened, recorded(opened))
    assert len(there) == 4
    assert there == here


@pytest.mark.slow
@pytest.mark.parametrize("name", ["joblib", "ray"])
def test_a_sweep_computed_elsewhere_is_recorded_whole(name: str, store: Path) -> None:
    check_sweep(store, f"hydra.launcher.engine={name}", "hydra.launcher.workers=2")


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2"),
        ("hydra/launcher=submitit_local", "hydra.launcher.timeout_min=5"),
    ],
    ids=["joblib", "submitit"],
)
def test_hydras_own_launchers_run_each_job_by_itself(words: tuple[str, ...], store: Path) -> None:
    check_sweep(store, *words)


@pytest.mark.slow
def test_a_cluster_is_used_and_left_running(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", secrets.token_hex())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = f"start --head --block --port={port} --node-ip-address=127.0.0.1 --num-cpus=2"
    folder = tempfile.mkdtemp(prefix="ray", dir="/tmp")  # the path of a socket must be short
    cluster = subprocess.Popen(
        [sys.executable, "-m", "ray.scripts.scripts", *words.split(), "--include-dashboard=false"],
        env=os.environ | {"RAY_USAGE_STATS_ENABLED": "0", "RAY_TMPDIR": folder},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        eventually(lambda: any("RuntimeEnvAgent" in one for one in of_session(cluster.pid)), 120)
        word = f"hydra.launcher.address=127.0.0.1:{port}"
        for _ in range(2):
            ended = process("-m", "lr=0.01,0.02", "hydra.launcher.engine=ray", word, "tracking=off")
            assert ended.code == 0, ended.err
            assert any("raylet" in one for one in of_session(cluster.pid))
    finally:
        cluster.terminate()
        cluster.wait(timeout=60)
        shutil.rmtree(folder, ignore_errors=True)
    eventually(lambda: not of_session(cluster.pid))
