"""What determines a result is recorded: versions, machine, threads, data, git and what it lacks."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import CLI, process, python
from store_helpers import artifact, rows
from store_helpers import tags as recorded_tags

from gdexp.tracking import environment
from gdexp.tracking.uncommitted import LARGE, diff

DIFF = "gdexp.git_diff"


def git(*words: str) -> str:
    who = ["-c", "user.name=me", "-c", "user.email=me@localhost"]
    done = subprocess.run(["git", *who, *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def checkout(workdir: Path) -> Iterator[Path]:
    """A git checkout of one file, with nothing uncommitted."""
    git("init", "-q")
    (workdir / "model.py").write_text("one\n")
    git("add", "-A")
    git("commit", "-q", "-m", "first")
    forget()
    yield workdir
    forget()


def forget() -> None:
    """What a process asks git only once."""
    environment._git.cache_clear()
    diff.cache_clear()


def tags() -> dict[str, str]:
    forget()
    return environment.git()


def test_nothing_uncommitted_has_no_digest(checkout: Path) -> None:
    assert tags() == {
        "mlflow.source.git.commit": git("rev-parse", "HEAD"),
        "gdexp.git_dirty": "false",
    }
    assert environment.uncommitted() is None


def test_outside_git_there_are_no_tags(workdir: Path) -> None:
    assert tags() == {}
    assert diff(str(workdir)) is None


def test_whatever_is_uncommitted_counts(checkout: Path) -> None:
    digests = []
    inner = checkout / "inner"
    inner.mkdir()

    def changed() -> None:
        digests.append(tags()[DIFF])
        assert tags()[DIFF] == digests[-1]

    (checkout / "model.py").write_text("two\n")
    changed()
    git("add", "-A")  # staged is as good as unstaged
    assert tags()[DIFF] == digests[0]
    (checkout / "model.py").write_text("three\n")
    changed()
    (inner / "größe 1.py").write_text("a\n")
    changed()
    (inner / "größe 1.py").write_text("b\n")
    changed()
    (checkout / "table.bin").write_bytes(b"\0one")
    changed()
    (checkout / "table.bin").write_bytes(b"\0two")
    changed()
    (checkout / "large.csv").write_bytes(b"1" * (LARGE + 1))
    changed()
    os.utime(checkout / "large.csv", ns=(1, 1))
    changed()
    (checkout / "link").symlink_to("nowhere")
    changed()
    (checkout / "model.py").unlink()
    changed()
    assert len({*digests}) == len(digests)
    os.chdir(inner)  # it is the same checkout
    assert tags()[DIFF] == digests[-1]


def test_what_runs_write_and_what_is_ignored_does_not_count(checkout: Path) -> None:
    (checkout / ".gitignore").write_text("*.log\n")
    before = tags()[DIFF]
    (checkout / "outputs").mkdir()
    (checkout / "outputs" / "mlflow.db").write_text("1")
    (checkout / "a.log").write_text("1")
    assert tags()[DIFF] == before


def test_the_digest_does_not_depend_on_how_git_shows_a_diff(checkout: Path) -> None:
    (checkout / "model.py").write_text("two\n")
    before = tags()[DIFF]
    settings = {"diff.noprefix": "true", "color.ui": "always", "diff.external": "false"}
    for key, value in (settings | {"diff.context": "9", "diff.algorithm": "patience"}).items():
        git("config", key, value)
    assert tags()[DIFF] == before


def test_the_diff_can_be_applied(checkout: Path) -> None:
    contents = {"model.py": "two", "new.py": "a\r\nb\x0c\n", "inner/no end": "x", "empty": ""}
    (checkout / "inner").mkdir()
    for name, text in contents.items():
        (checkout / name).write_bytes(text.encode())
    patch = diff(str(checkout))
    assert patch is not None
    git("stash", "-q", "--include-untracked")
    (checkout / "p").write_bytes(patch)
    git("apply", "p")
    assert {name: (checkout / name).read_bytes().decode() for name in contents} == contents


def test_a_git_that_hangs_is_not_waited_for(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (checkout / "model.py").write_text("two\n")

    def hang(*args: Any, **kwargs: Any) -> None:
        raise subprocess.TimeoutExpired("git", 5)

    monkeypatch.setattr("gdexp.tracking.uncommitted._git", hang)
    assert tags().keys() == {"mlflow.source.git.commit", "gdexp.git_dirty"}


def test_the_diff_is_stored_on_request_only(checkout: Path, store: Path, cli: CLI) -> None:
    (checkout / "secret.py").write_text("password\n")
    forget()
    for words, stored in (((), False), (("tracking.git_diff=true",), True)):
        assert cli(*words).code == 0
        assert artifact(store, "uncommitted.diff").exists() == stored
        assert "password" not in str(recorded_tags(store))
        assert not rows(store, "SELECT key FROM params WHERE key LIKE '%git_diff%'")
    content = artifact(store, "uncommitted.diff").read_bytes()
    assert b"+password\n" in content
    assert recorded_tags(store)[DIFF] == hashlib.sha256(content).hexdigest()[:16]


def test_a_run_tells_what_it_was_computed_on(
    store: Path, cli: CLI, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("MKL_CBWR", "AVX2")
    assert cli("step=autograd").code == 0
    told = json.loads(recorded_tags(store)["gdexp.environment"])
    assert told["python"] == sys.version.split()[0]
    assert (told["numpy"], told["torch"]) == (np.__version__, torch.__version__)
    assert (told["threads"], told["device"]) == (torch.get_num_threads(), "cpu")
    assert told["variables"] == {"OMP_NUM_THREADS": "1", "MKL_CBWR": "AVX2"}
    assert told["folder"] == str(store)
    assert told["cpus"] == len(os.sched_getaffinity(0))
    assert [(told["data"],)] == rows(store, "SELECT digest FROM datasets WHERE name = 'tutorial'")
    assert cli("step=manual").code == 0
    assert "torch" not in json.loads(recorded_tags(store)["gdexp.environment"])


@pytest.mark.slow
def test_the_threads_are_those_of_the_process_that_computed_it(store: Path) -> None:
    words = ("-m", "step=optimizer", "lr=0.01,0.02", "hydra.launcher.engine=joblib")
    ended = process(*words, cwd=store, OMP_NUM_THREADS="2")
    assert ended.code == 0, ended.err
    query = "SELECT value FROM tags WHERE key = 'gdexp.environment' AND value LIKE '%threads%'"
    told = [json.loads(value) for (value,) in rows(store, query)]
    assert [(t["threads"], t["variables"]["OMP_NUM_THREADS"]) for t in told] == [(1, "1")] * 2
    assert {t["folder"] for t in told} == {str(store)}


def test_numpy_alone_asks_for_nothing_slow() -> None:
    code = (
        "import sys; from gdexp.tracking import facts as e; e.facts(torch=False); "
        "assert 'torch' not in sys.modules and 'importlib.metadata' not in sys.modules"
    )
    assert python("-c", code).code == 0
