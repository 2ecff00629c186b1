"""What the recorded quantities mean, as conf/tracking/README.md and --help define them."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import CONF
from sklearn.metrics import r2_score

from gdexp import run
from gdexp.commands.help import help_text
from gdexp.tracking.describe import final_metrics

X, Y = np.array([1.0, 2, 3, 4]), np.array([9.0, 8, 8, 7])
LR = 0.02


def gradient(w: float, x: np.ndarray, y: np.ndarray) -> float:
    return float((2 * x * (w * x - y)).mean())


def test_the_loss_is_taken_before_the_update_and_the_parameters_after_it() -> None:
    typed = ("data.y=[9,8,8,7]", "dtype=float64", f"lr={LR}", "iters=3", "data.metrics=true")
    result = run("step=manual", "gradient=manual", "tracking=off", *typed)
    w, losses, slopes, after = 0.0, [], [], []
    for _ in range(3):
        losses.append(((w * X - Y) ** 2).mean())
        slopes.append(gradient(w, X, Y))
        w -= LR * slopes[-1]
        after.append(w)
    trajectory = result.trajectory
    assert trajectory.loss == pytest.approx(losses, rel=1e-12)
    assert trajectory.gradients["w"] == pytest.approx(slopes, rel=1e-12)
    assert trajectory.parameters["w"] == pytest.approx(after, rel=1e-12)
    metrics = final_metrics(result)
    assert metrics["final/loss"] == pytest.approx(losses[-1], rel=1e-12)
    assert (metrics["best/loss"], metrics["best/epoch"]) == (min(trajectory.loss), 3)
    assert metrics["final/prediction"] == pytest.approx(5 * w, rel=1e-12)
    assert metrics["final/r2"] == pytest.approx(r2_score(Y, w * X), rel=1e-12)
    assert metrics["final/r2"] < 0  # centred, also without a bias


def test_the_validation_loss_is_taken_after_the_update() -> None:
    typed = ("data=synthetic", "data.rows=10", "data.validation=0.5", "dtype=float64", "iters=4")
    result = run("step=manual", "gradient=manual", "tracking=off", *typed)
    assert result.data is not None
    kept = result.data.kept
    assert kept is not None
    for k, w in enumerate(result.trajectory.parameters["w"]):
        loss = ((w * kept.x - kept.y) ** 2).mean()
        assert result.trajectory.measured["validation/loss"][k] == pytest.approx(loss, rel=1e-12)


@pytest.mark.parametrize("text", ["--help", "conf/tracking/README.md"])
def test_the_definitions_are_where_users_read_them(text: str) -> None:
    page = help_text() if text == "--help" else (CONF / "tracking" / "README.md").read_text()
    for name in ("train/loss", "validation/loss", "final/loss", "best/loss", "final/r2"):
        assert name in page
    for name in ("final/epoch", "stop.restore_best", "centred", "checkpoints", "before update"):
        assert name in page
