"""With patience, a run ends with the parameters of the epoch of the smallest validation loss."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import newest_checkpoints

from gdexp import run
from gdexp.descent import predictors
from gdexp.descent.archive import pack, unpack
from gdexp.experiment import Result

NOISY = (
    *("data=synthetic", "data.rows=12", "data.features=5", "data.noise=8", "data.validation=0.5"),
    *("lr=0.1", "iters=60", "predictor.bias=true"),
)
KINDS = {
    "manual": ("step=manual", "gradient=manual"),
    "model": ("step=model",),
    "minibatches": ("step=model", "updater=Adam", "data.batch_size=4", "lr=0.5"),
    "mlp": ("step=model", "predictor=mlp", "updater=Adam"),
}
EARLY = "stop.patience=4"
LATE = "stop.patience=1000"


def fit(kind: str, *overrides: str) -> Result:
    return run("tracking=off", *NOISY, *KINDS[kind], *overrides)


def validation(result: Result) -> np.ndarray:
    return result.trajectory.measured["validation/loss"]


def final(result: Result) -> tuple[Any, ...]:
    """All that describes the final parameters."""
    assert result.fitted is not None
    state = {name: np.asarray(value).tolist() for name, value in result.fitted.state.items()}
    numbers = result.loss, result.prediction
    return (*numbers, result.parameters, result.coefficients, result.scores, state)


@pytest.mark.parametrize(("kind", "patience"), [*((kind, EARLY) for kind in KINDS), ("mlp", LATE)])
def test_a_run_is_described_as_if_it_had_ended_in_its_best_epoch(kind: str, patience: str) -> None:
    result = fit(kind, patience)
    best = int(validation(result).argmin()) + 1
    assert 1 < best < result.trajectory.length
    assert (result.outcome, result.trajectory.length < 60) == (
        ("converged", True) if patience == EARLY else ("completed", False)
    )
    assert result.restored == best
    assert result.reason.endswith(f"; the parameters of epoch {best} are restored")
    assert final(result) == final(fit(kind, f"iters={best}"))
    assert result.transcript.splitlines()[-1] == (
        f" Prediction after training: f(mean) = {result.prediction:.3f}"
    )


@pytest.mark.parametrize("kind", ["manual", "mlp"])
def test_the_last_parameters_stay_where_asked(kind: str) -> None:
    result = fit(kind, EARLY, "stop.restore_best=false")
    assert result.restored is None
    assert "restored" not in result.reason
    assert final(result) == final(fit(kind, f"iters={result.trajectory.length}"))


def test_the_best_epoch_may_be_the_last() -> None:
    result = fit("manual", LATE, "iters=2")
    assert (result.restored, result.reason) == (2, "2 epochs")
    assert final(result) == final(fit("manual", "iters=2"))


def test_a_diverged_run_keeps_its_last_parameters() -> None:
    result = fit("manual", LATE, "lr=1.5")
    assert (result.outcome, result.restored) == ("diverged", None)
    assert result.parameters == {n: v[-1] for n, v in result.trajectory.parameters.items()}


@pytest.mark.parametrize("patience", [LATE, None])
def test_the_parameters_are_copied_once_for_each_new_best(
    patience: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied: list[int] = []
    read = predictors.state_of
    monkeypatch.setattr(predictors, "state_of", lambda p: copied.append(1) or read(p))
    result = fit("model", *[patience] if patience else [])
    smallest = np.minimum.accumulate(validation(result))
    bests = 1 + np.count_nonzero(np.diff(smallest))
    assert len(copied) == 1 + (bests if patience else 0)  # one for the fitted predictor


@pytest.mark.parametrize(
    ("kind", "first"), [("manual", 3), ("model", 40), ("minibatches", 40), ("mlp", 3)]
)
def test_a_continued_run_knows_its_best_epoch(kind: str, first: int, workdir: Path) -> None:
    whole = fit(kind, LATE)
    assert whole.restored is not None
    assert 3 < whole.restored < 40
    begun = fit(kind, LATE, f"iters={first}", "checkpoint.every=100")
    assert begun.trajectory.length == first
    state = unpack(max(newest_checkpoints().iterdir()).read_bytes())["state"]
    last, best = state["predictor"], state["best"]
    assert all(np.isfinite(np.asarray(best[name])).all() for name in best)
    different = [not np.array_equal(np.asarray(last[n]), np.asarray(best[n])) for n in last]
    assert any(different) == (begun.restored != first)  # the checkpoint goes on from the last
    continued = fit(kind, LATE, f"continue_from={newest_checkpoints()}")
    assert final(continued) == final(whole)
    assert (continued.restored, continued.reason) == (whole.restored, whole.reason)
    np.testing.assert_array_equal(continued.trajectory.table, whole.trajectory.table)


def test_a_checkpoint_without_patience_lacks_the_best_parameters(workdir: Path) -> None:
    best = fit("model", LATE).restored
    fit("model", "iters=40", "checkpoint.every=100")
    continued = fit("model", LATE, f"continue_from={newest_checkpoints()}")
    assert continued.restored is None
    assert continued.reason == (
        f"60 epochs; the checkpoint lacks the parameters of epoch {best}, the last remain"
    )
    assert final(continued) == final(fit("model"))


def test_a_checkpoint_in_its_best_epoch_has_the_best_parameters(workdir: Path) -> None:
    whole = fit("model", LATE)
    fit("model", f"iters={whole.restored}", "checkpoint.every=100")
    continued = fit("model", LATE, f"continue_from={newest_checkpoints()}")
    assert continued.restored == whole.restored
    assert final(continued) == final(whole)


def test_damaged_best_parameters_are_refused(workdir: Path) -> None:
    fit("manual", LATE, "iters=5", "checkpoint.every=100")
    path = newest_checkpoints() / "00000005.npz"
    content = unpack(path.read_bytes())
    content["state"]["best"] = {"w": np.zeros(4)}
    path.write_bytes(pack(content))
    sentence = rf"continue_from: .*{path} is damaged: its parameters are w, not b, w\."
    with pytest.raises(ValueError, match=sentence):
        fit("manual", LATE, f"continue_from={path}")


@pytest.mark.parametrize("data", ["synthetic", "tutorial"])
def test_the_record_has_the_best_epoch(data: str, store: Path) -> None:
    from mlflow import MlflowClient

    from gdexp.tracking.connect import connect
    from gdexp.tracking.restore import fitted_of

    points = ("data.x=[1,2,3,4,5,6,7]", "data.y=[1,5,2,8,1,9,2]", "lr=0.01", "iters=60")
    typed = (*NOISY, *KINDS["model"]) if data == "synthetic" else ("step=model", *points)
    result = run(*typed, "data.validation=0.5", "data.metrics=true", LATE)
    assert result.run_id is not None
    assert result.restored is not None
    assert result.restored < 60
    recorded = MlflowClient(f"sqlite:///{store}/outputs/mlflow.db").get_run(result.run_id).data
    row = result.restored - 1
    assert recorded.metrics["final/epoch"] == result.restored
    assert recorded.metrics["final/loss"] == result.trajectory.loss[row]
    assert recorded.metrics["final/prediction"] == result.prediction
    assert recorded.metrics["best/loss"] == result.trajectory.loss.min()
    assert f"the parameters of epoch {row + 1} are restored" in recorded.tags["mlflow.note.content"]
    assert "stop.restore_best" not in recorded.params
    opened = connect({"uri": None, "experiment": None, "max_points": 100})
    (read,) = opened.runs({}, id_prefix=result.run_id)
    assert result.fitted is not None
    x = np.array([[1.5] * len(result.fitted.features)])
    assert fitted_of(opened, read)(x).tolist() == result.fitted(x).tolist()
    if data == "tutorial":
        assert fitted_of(opened, read)(x)[0] == pytest.approx(1.5 * result.parameters["w"])
