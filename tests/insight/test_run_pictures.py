"""The pictures of a run show the trajectory's numbers, and can be drawn of any run."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from html import unescape

import numpy as np
import pytest
from helpers import first_quick
from picture_helpers import (
    BY_HAND,
    axes_of,
    checked,
    drawn,
    drawn_descent,
    drawn_loss,
    drawn_parameters,
    line,
    result,
    texts,
)

import gdexp
from gdexp.descent.stopping import VALIDATION
from gdexp.descent.thinning import thin
from gdexp.insight.pictures import loss
from gdexp.insight.pictures.lines import FEW
from gdexp.insight.pictures.of_runs import of_runs
from gdexp.insight.pictures.style import rows

# What a run's pictures show


def test_the_loss_is_that_of_the_trajectory() -> None:
    one = gdexp.run(*BY_HAND, "lr=0.02")
    picture = drawn_loss(one)
    x, y = line(picture)
    assert x.tolist() == [*range(1, 21)]
    assert y.tolist() == one.trajectory.loss.tolist()
    assert axes_of(picture).get_yscale() == "log"
    assert {"epoch", "loss: mean squared error"} <= {*texts(picture)}
    assert picture.table["epoch"].tolist() == [*range(1, 21)]
    assert picture.table["training loss"].tolist() == y.tolist()
    assert picture.description.startswith("The loss goes from 30 in epoch 1 to ")
    assert " in epoch 20 (logarithmic axis)." in picture.description


def test_validation_and_the_restored_epoch() -> None:
    one = gdexp.run(
        *BY_HAND,
        *("data=diabetes", "data.standardize=true", "predictor.bias=true"),
        *("lr=0.1", "iters=250", "data.validation=0.2", "stop.patience=3"),
    )
    assert one.restored is not None
    assert one.restored < one.trajectory.length
    pictures = drawn(one)
    assert [*pictures] == ["loss", "descent", "parameters", "gradient"]
    picture = pictures["loss"]
    assert line(picture, 1)[1].tolist() == one.trajectory.measured[VALIDATION].tolist()
    words = texts(picture)
    assert {"training", "validation", f"epoch {one.restored}, restored"} <= {*words}
    assert "loss: mean squared error (progression²)" in words
    assert f"The parameters of epoch {one.restored} are the final ones." in picture.description
    assert "The run stopped there: the validation loss was " in picture.description
    assert one.restored in picture.table["epoch"]
    assert sum(len(checked(each)) for each in pictures.values()) < 150_000


def test_a_standardized_target_has_no_units() -> None:
    words = ("data=diabetes", "data.standardize=true", "data.standardize_target=true", "iters=2")
    assert "loss: mean squared error" in texts(drawn_loss(gdexp.run(*BY_HAND, *words)))


@pytest.mark.parametrize("outcome", ["diverged", "interrupted", "failed"])
def test_a_run_that_was_cut_short_is_drawn_up_to_its_last_epoch(outcome: str) -> None:
    one = result([1.0, 10.0, 1e30], outcome=outcome, reason="a value was not finite in epoch 4")
    picture = drawn_loss(one)
    assert line(picture, 1) == (3.0, 1e30)
    assert f"{outcome} after epoch 3" in texts(picture)
    assert picture.description.endswith(
        "Drawn up to epoch 3, the last recorded: a value was not finite in epoch 4."
    )


def test_the_forecast_is_a_dashed_line(monkeypatch: pytest.MonkeyPatch) -> None:
    class Known:
        def losses(self, epochs: int) -> np.ndarray:
            return np.geomspace(30, 1, epochs)

    monkeypatch.setattr(loss, "forecast", lambda job, built: Known())
    picture = drawn_loss(gdexp.run(*BY_HAND, "iters=5"))
    first, second = axes_of(picture).get_lines()
    assert (first.get_linestyle(), second.get_linestyle()) == ("-", "--")
    assert line(picture, 1)[1].tolist() == np.geomspace(30, 1, 5).tolist()
    assert "The forecast, dashed, ends at 1." in picture.description
    off = drawn_loss(gdexp.run(*BY_HAND, "iters=5", "check.forecast=false"))
    assert "forecast" not in {*texts(off)}


def test_a_few_parameters_each_have_a_curve() -> None:
    one = gdexp.run(*BY_HAND, "predictor.bias=true", "lr=0.05")
    picture = drawn_parameters(one)
    for which, values in enumerate(one.trajectory.parameters.values()):
        assert line(picture, which)[1].tolist() == values.tolist()
    assert {"w", "b", "parameter"} <= {*texts(picture)}


def test_many_parameters_are_shown_by_their_norms() -> None:
    many = {f"w/{i}": [float(i), 2.0 * i] for i in range(FEW)} | {"b": [3.0, -4.0]}
    picture = drawn_parameters(result([1.0, 0.5], many))
    norm = float(np.linalg.norm(range(FEW)))
    assert line(picture, 0)[1] == pytest.approx([norm, 2 * norm])
    assert line(picture, 1)[1].tolist() == [3, 4]
    layers = {f"{i}.weight/{k}": [1.0] for i in range(9) for k in (0, 1)}
    assert line(drawn_parameters(result([1.0], layers)))[1] == pytest.approx([18**0.5])


def test_gradient_and_learning_rate() -> None:
    one = gdexp.run("tracking=off", "step=model", "scheduler=StepLR", "scheduler.step_size=4")
    pictures = drawn(one)
    assert line(pictures["gradient"])[1].tolist() == np.abs(one.trajectory.gradients["w"]).tolist()
    assert line(pictures["lr"])[1].tolist() == one.trajectory.measured["train/lr"].tolist()
    assert "changes 4 times" in pictures["lr"].description


# Any run


ODD: dict[str, Sequence[float]] = {
    "one epoch": [3.0],
    "zero in the end": [1.0, 1e-3, 0.0, 0.0],
    "negative": [1.0, -1.0, -5.0],
    "smallest and largest": [5e-324, 1.7e308],
    "constant": [2.0] * 5,
    "zero": [0.0] * 5,
    "falls to the smallest": [1.7e308, 1.0, 5e-324],
    "one large": [1.0, 1.7e308],
    "a narrow range": [1e6, 1e6 + 1e-3],
}


@pytest.mark.parametrize("kind", first_quick(ODD, 4))
def test_odd_losses(kind: str) -> None:
    losses = ODD[kind]
    picture, *others = drawn(result(losses)).values()
    _, y = line(picture)
    is_log = axes_of(picture).get_yscale() == "log"
    shown = [value for value in losses if value > 1e-280] if is_log else losses
    assert y.tolist() == pytest.approx([min(value, 1e280) for value in shown])
    assert [each.name for each in others][-2:] == ["parameters", "gradient"]
    for each in (picture, *others[:1]):
        each.svg()


def test_without_an_epoch_there_is_no_picture() -> None:
    assert drawn(result([], {"w": []})) == {}


def test_zeros_are_marked_on_a_logarithmic_axis() -> None:
    picture = drawn_loss(result([1.0, 1e-3, 0.0, 0.0]))
    assert "exactly 0" in texts(picture)
    assert line(picture, 1)[0].tolist() == [3, 4]
    assert "It is exactly 0 in 2 epochs, first in epoch 3." in picture.description


def test_a_validation_loss_that_is_not_finite() -> None:
    nan = float("nan")
    some = drawn_loss(result([3.0, 2.0, 1.0], measures={VALIDATION: [nan, 5.0, nan]}))
    assert "The validation loss is 5 in epoch 2" in some.description
    never = drawn_loss(result([3.0, 2.0], measures={VALIDATION: [nan, nan]}))
    assert "The validation loss is not finite in any epoch." in never.description


def test_a_long_curve_is_thinned_and_keeps_its_spike() -> None:
    losses = np.geomspace(100, 1, 100_000)
    losses[61_803] = 1e9
    picture = drawn_loss(result(losses.tolist()))
    x, y = line(picture)
    assert len(x) <= 402
    assert (x[0], x[-1], y.max(), y.min()) == (1, 100_000, 1e9, losses.min())
    assert x[y.argmax()] == 61_804
    assert {1, 100_000} <= {*picture.table["epoch"]}


@pytest.mark.parametrize("length", [0, 1, 2, 399, 401, 5000])
def test_thinning_keeps_the_extremes(length: int) -> None:
    values = np.random.default_rng(length).normal(size=length)
    kept = thin(values)
    assert len(kept) <= 402
    assert np.all(np.diff(kept) > 0)
    if length:
        assert {0, length - 1, int(values.argmin()), int(values.argmax())} <= {*kept.tolist()}


@pytest.mark.parametrize("epochs", [0, 1, 49, 50, 51, 100_000])
def test_a_table_has_the_important_epochs(epochs: int) -> None:
    important = [max(1, epochs // 3)] if epochs else []
    shown = rows(epochs, *important)
    assert min(epochs, 45) <= len(shown) <= 50
    assert {*important, *([1, epochs] if epochs else [])} <= {*shown.tolist()}


NAMES = ("$a$", "_hidden", "<b>&", "größe", "宽度", "a\nb", "^{x}_2$", "x" * 200)


def test_names_are_shown_as_they_are() -> None:
    one = result([3.0, 1.0], {name: [1.0, 2.0] for name in NAMES})
    pictures = drawn_parameters(one), drawn_descent(result([3.0], {"$a$": [1.0], "_b&": [2.0]}))
    words = [unescape(checked(picture)) for picture in pictures]
    for name in NAMES:
        assert " ".join(name.split())[:39] in words[0]
    assert "$a$" in words[1]
    assert "_b&" in words[1]
    pictures[0].png(20)


def test_parameters_that_explode_can_be_seen() -> None:
    axes = axes_of(drawn_parameters(result([1.0] * 9, {"w": [(-10.0) ** k for k in range(9)]})))
    assert axes.get_yscale() == "symlog"
    assert line(drawn_parameters(result([1.0], {"w": [-3.0]})))[1] == -3


# The image


def test_text_stays_text_and_nothing_reaches_outside() -> None:
    picture = drawn_descent(gdexp.run(*BY_HAND, "iters=5"))
    svg = checked(picture)
    assert "sans-serif" in svg
    for unwanted in ("DejaVu", "<style", "<!DOCTYPE", "<metadata", "http://", "https://"):
        assert unwanted not in re.sub(r' xmlns(:xlink)?="[^"]*"', "", svg)
    root = ET.fromstring(picture.inline())
    assert root.attrib["aria-label"] == f"{picture.title}. {picture.description}"
    assert picture.inline().count("currentColor") > 5
    assert picture.png().startswith(b"\x89PNG")


def test_drawing_ignores_and_keeps_the_users_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    import matplotlib

    one = gdexp.run(*BY_HAND, "iters=5")
    before = drawn_parameters(one).svg()
    with matplotlib.rc_context({"text.usetex": True, "axes.grid": False, "font.size": 30}):
        assert drawn_parameters(one).svg() == before
        assert matplotlib.rcParams["font.size"] == 30


# Several runs


def test_several_runs_share_a_picture() -> None:
    losses = {"lr=0.1": result([3.0, 1.0]), "lr=$2": result([3.0, 30.0, 300.0])}
    picture = of_runs(losses | {"lr=9": result([], {"w": []})})
    assert picture is not None
    assert line(picture, 0)[1].tolist() == [3, 1]
    assert line(picture, 1)[1].tolist() == [3, 30, 300]
    assert {"lr=0.1", "lr=$2", "loss"} <= {*texts(picture)}
    assert picture.description == (
        "The losses of 2 runs. The last loss is smallest, 1, of lr=0.1, and largest, 300, of lr=$2."
        " 1 run without an epoch cannot be drawn."
    )
    np.testing.assert_array_equal(picture.table["lr=0.1"], [3, 1, np.nan])
    assert of_runs({"one": result([], {"w": []})}) is None
