"""The pictures of a run show the trajectory's numbers, and can be drawn of any run."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.text import Text

import gdexp
from gdexp.descent.result import Result
from gdexp.descent.stopping import VALIDATION
from gdexp.descent.thinning import thin
from gdexp.descent.trajectory import Trajectory
from gdexp.insight.pictures import descent, loss, quantities
from gdexp.insight.pictures.of_run import of_run
from gdexp.insight.pictures.of_runs import of_runs
from gdexp.insight.pictures.picture import Picture
from gdexp.insight.pictures.rebuilt import Landscape, landscape, rebuilt
from gdexp.insight.pictures.style import FEW, number, rows

SVG = "{http://www.w3.org/2000/svg}"
BY_HAND = ("tracking=off", "step=manual", "gradient=manual")


def result(
    losses: Sequence[float],
    parameters: Mapping[str, Sequence[float]] | None = None,
    measures: Mapping[str, Sequence[float]] | None = None,
    **given: Any,
) -> Result:
    """A result with these curves, and gradients that equal the parameters."""
    parameters = {"w": losses} if parameters is None else parameters
    measures = measures or {}
    curves = [losses, *parameters.values(), *parameters.values(), *measures.values()]
    table = np.array(curves, float).reshape(len(curves), len(losses))
    trajectory = Trajectory.of(table, tuple(parameters), len(losses), False, [*measures])
    given = {"outcome": "completed", "reason": f"{len(losses)} epochs"} | given
    return Result(trajectory=trajectory, transcript="", prediction=0.0, **given)


def drawn(of: Result) -> dict[str, Picture]:
    """Its pictures by name."""
    return {picture.name: picture for picture in of_run(of)}


def drawn_loss(of: Result) -> Picture:
    built, _ = rebuilt(of)
    return loss.picture(of, built)


def drawn_descent(of: Result) -> Picture:
    built, missing = rebuilt(of)
    picture = descent.picture(of, built, missing)
    assert picture is not None
    return picture


def drawn_parameters(of: Result) -> Picture:
    picture = quantities.parameters(of, None)
    assert picture is not None
    return picture


def checked(picture: Picture) -> str:
    """Its SVG, which is small, well-formed, and the same once more."""
    svg = picture.svg()
    assert svg == picture.svg()
    assert len(svg) < 45_000
    ET.fromstring(svg)
    return svg.decode()


def axes_of(picture: Picture) -> Axes:
    (axes,) = picture.figure.axes
    return axes


def texts(picture: Picture) -> list[str]:
    """Labels and legends."""
    return [text.get_text() for text in picture.figure.findobj(Text)]


def line(picture: Picture, which: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The data of one of its lines, as they were given to Matplotlib."""
    x, y = axes_of(picture).get_lines()[which].get_data(orig=True)
    return np.asarray(x, float), np.asarray(y, float)


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


# The descent on the loss


def test_the_steps_are_on_the_parabola() -> None:
    one = gdexp.run(*BY_HAND, "lr=0.12")
    picture = drawn_descent(one)
    w = np.append(0.0, one.trajectory.parameters["w"])
    x, y = line(picture, 1)
    assert x.tolist() == w.tolist()
    assert y == pytest.approx(7.5 * (w - 2) ** 2, rel=1e-5)
    curve = line(picture, 0)
    assert curve[1] == pytest.approx(7.5 * (curve[0] - 2) ** 2, rel=1e-9)
    assert "lowest at w = 2; it crosses that 20 times." in picture.description
    assert {"w", "start", "after epoch 20", "loss: mean squared error"} <= {*texts(picture)}


def test_steps_that_grow_are_drawn_while_the_others_can_be_seen() -> None:
    picture = drawn_descent(gdexp.run(*BY_HAND, "lr=0.2", "iters=500"))
    x, y = line(picture, 1)
    assert x == pytest.approx([0, 6, -6, 18, -30][: len(x)])
    assert y.max() < 1e4 * 30
    assert f"Drawn up to epoch {len(x) - 1}, as the loss grows too far." in picture.description


def test_two_parameters_have_contours() -> None:
    one = gdexp.run(*BY_HAND, "predictor.bias=true", "lr=0.05", "iters=40")
    picture = drawn_descent(one)
    axes = axes_of(picture)
    lines = {text.get_label(): text.get_xydata() for text in axes.get_lines()}
    path = np.column_stack([*one.trajectory.parameters.values()])
    assert np.asarray(lines["epochs"]).tolist() == [[0, 0], *path.tolist()]
    (contours,) = axes.collections
    x = np.arange(1.0, 5)
    for path_of_level in contours.get_paths():
        points = np.asarray(path_of_level.vertices)
        losses = ((points[:, :1] * x + points[:, 1:] - 2 * x) ** 2).mean(axis=1)
        assert losses == pytest.approx(np.full(len(points), losses.mean()), rel=0.2)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("w", "b")
    assert "over lines of equal loss" in picture.description


def test_many_parameters_are_shown_in_the_plane_of_the_path() -> None:
    one = gdexp.run(
        *BY_HAND, "data=diabetes", "data.standardize=true", "predictor.bias=true", "lr=0.1"
    )
    picture = drawn_descent(one)
    path = np.column_stack([*one.trajectory.parameters.values()])
    path = np.vstack([np.zeros(11), path])
    _, sizes, directions = np.linalg.svd(path - path[-1], full_matrices=False)
    shown = np.column_stack([picture.table["direction 1"], picture.table["direction 2"]])
    assert np.abs(shown) == pytest.approx(np.abs((path - path[-1]) @ directions[:2].T), abs=1e-9)
    share = (sizes[:2] ** 2).sum() / (sizes**2).sum()
    assert f"account for {number(100 * share)}% of its variation" in picture.description


@pytest.mark.parametrize(
    "words",
    [
        ("step=model", "predictor.bias=true"),
        ("step=model", "predictor=mlp", "predictor.sizes=[2]"),
        ("step=manual", "loss=manual_logistic", "gradient=manual_logistic", "data.y=[0,0,1,1]"),
        ("step=optimizer", "loss.reduction=sum", "lr=0.001"),
        ("step=model", "loss=HuberLoss", "predictor.bias=true"),
    ],
    ids=lambda words: " ".join(words),
)
def test_the_surface_has_the_recorded_losses(words: tuple[str, ...]) -> None:
    one = gdexp.run("tracking=off", *words, "iters=6")
    built, _ = rebuilt(one)
    assert built is not None
    ground = landscape(one, built)
    assert isinstance(ground, Landscape)
    path = np.column_stack([*one.trajectory.parameters.values()])
    points = np.vstack([ground.start, path[:-1]])
    assert ground.loss(points) == pytest.approx(one.trajectory.loss, rel=1e-4)
    assert "Without the surface" not in drawn_descent(one).description


def test_data_that_have_changed_leave_the_surface_out(workdir: Path) -> None:
    Path("t.csv").write_text("a,y\n1,2\n2,4\n3,7\n")
    one = gdexp.run(*BY_HAND, "data=csv", "data.path=t.csv", "data.target=y", "iters=3")
    assert "Without" not in drawn_descent(one).description
    assert "loss: mean squared error (y²)" in texts(drawn_loss(one))
    Path("t.csv").write_text("a,y\n1,2\n2,4\n3,70\n4,80\n")
    picture = drawn_descent(one)
    assert picture.description.endswith(
        "Without the surface of the loss: the loss at the start, computed again, is not the "
        "recorded one."
    )
    assert line(picture)[0].tolist() == one.trajectory.parameters["w"][:-1].tolist()
    Path("t.csv").unlink()
    assert "there is no file" in drawn_descent(one).description
    unknown = drawn_descent(replace(one, job=None))
    assert "its settings are not known here" in unknown.description


def test_norms_have_no_path() -> None:
    assert [*drawn(result([1.0, 0.5], {"w.norm": [1.0, 2.0]}))] == [
        "loss",
        "parameters",
        "gradient",
    ]


def test_a_path_along_a_line_has_a_plane() -> None:
    one = result([3.0, 2.0, 1.0], {f"w/{i}": [1.0, 2.0, 3.0] for i in range(4)})
    assert "account for 100% of its variation" in drawn_descent(one).description
    assert descent._padded(np.full((2, 3), np.nan), 3) == pytest.approx(np.eye(3)[:2])


# Any run


ODD: dict[str, Sequence[float]] = {
    "one epoch": [3.0],
    "constant": [2.0] * 5,
    "zero": [0.0] * 5,
    "zero in the end": [1.0, 1e-3, 0.0, 0.0],
    "negative": [1.0, -1.0, -5.0],
    "smallest and largest": [5e-324, 1.7e308],
    "falls to the smallest": [1.7e308, 1.0, 5e-324],
    "one large": [1.0, 1.7e308],
    "a narrow range": [1e6, 1e6 + 1e-3],
}


@pytest.mark.parametrize("losses", ODD.values(), ids=ODD)
def test_odd_losses(losses: Sequence[float]) -> None:
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
