"""A run that fails keeps the traceback; workers of other launchers end with their runs recorded."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import CLI, PATIENCE, clean_environment, eventually
from left_helpers import KILLED, left_in

from gdexp.tracking.connect import connect


@pytest.mark.parametrize("words", [(), ("-m", "lr=0.01,0.02"), ("-m", "hydra/launcher=basic")])
def test_a_failed_run_has_the_traceback(
    words: tuple[str, ...], mine: tuple[str, ...], store: Path, cli: CLI
) -> None:
    ended = cli(*mine, "loss.breaks=true", "tracking.experiment=mine", *words)
    assert ended.code == 1
    opened = connect({"experiment": "mine"})
    failed = [run for run in opened.runs({"gdexp.kind": "run"}) if run.status == "FAILED"]
    assert failed
    for run in failed:
        text = opened.read(run, "traceback.txt").decode()
        assert text.startswith("Traceback (most recent call last):\n")
        assert text.endswith("RuntimeError: no more\n")
        assert "my_loss.py" in text


@pytest.mark.slow
def test_a_signal_reaches_the_workers_of_another_launcher(store: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    words = ("-m", "lr=1e-9,1e-10", "iters=1000000", "hydra/launcher=joblib")
    words += ("data=synthetic", "data.rows=100000")  # few epochs: their records are written soon
    started = subprocess.Popen(
        [sys.executable, "-m", "gdexp", *words, "hydra.launcher.n_jobs=2"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=store,
        env=clean_environment(),
    )
    eventually(lambda: sum("gdexp.process" in run.tags for run in left_in(store)) == 3)
    started.send_signal(signal.SIGTERM)
    err = started.communicate(timeout=PATIENCE)[1]
    assert started.returncode == 143
    assert "Traceback" not in err
    ended = [run for run in left_in(store) if run.status != "FINISHED"]
    assert [(run.status, run.tags["gdexp.outcome"]) for run in ended] == [KILLED] * 3
    assert not any("gdexp.process" in run.tags for run in ended)
