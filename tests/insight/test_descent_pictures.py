"""The descent is drawn on the surface of the loss that the run minimised, or without one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers import first_quick
from picture_helpers import (
    BY_HAND,
    axes_of,
    drawn,
    drawn_descent,
    drawn_loss,
    line,
    result,
    texts,
)

import gdexp
from gdexp.insight.pictures import descent
from gdexp.insight.pictures.drawn_path import path_of
from gdexp.insight.pictures.rebuilt import Landscape, landscape, rebuilt
from gdexp.insight.pictures.style import number


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
    first_quick(
        [
            "step=model predictor=mlp predictor.sizes=[2]",
            "step=manual loss=manual_logistic gradient=manual_logistic data.y=[0,0,1,1]",
            "step=model predictor.bias=true",
            "step=optimizer loss.reduction=sum lr=0.001",
            "step=model loss=HuberLoss predictor.bias=true",
        ],
        2,
    ),
)
def test_the_surface_has_the_recorded_losses(words: str) -> None:
    one = gdexp.run("tracking=off", *words.split(), "iters=6")
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


@pytest.mark.parametrize("batches", first_quick(["200", "null"], 1))
def test_a_path_of_which_only_norms_are_recorded_is_computed_again(batches: str) -> None:
    one = gdexp.run(
        *("tracking=off", "step=model", "predictor=mlp", "data=diabetes", "data.standardize=true"),
        *("lr=1e-4", "iters=6", f"data.batch_size={batches}"),
    )
    assert "0.weight.norm" in one.trajectory.names
    built, _ = rebuilt(one)
    assert built is not None
    ground = landscape(one, built)
    assert isinstance(ground, Landscape)
    path = path_of(one, built, ground)
    assert path is not None
    assert path.epochs.tolist() == [*range(7)]
    weights = path.points[1:, [name == "0.weight" for name in path.names]]
    norms = one.trajectory.parameters["0.weight.norm"]
    assert np.linalg.norm(weights, axis=1) == pytest.approx(norms, rel=1e-6)
    picture = descent.picture(one, *rebuilt(one))
    assert picture is not None
    assert "over lines of equal loss" in picture.description
    one.trajectory.table[0] *= 1.5
    assert descent.picture(one, *rebuilt(one)) is None


def test_a_path_along_a_line_has_a_plane() -> None:
    one = result([3.0, 2.0, 1.0], {f"w/{i}": [1.0, 2.0, 3.0] for i in range(4)})
    assert "account for 100% of its variation" in drawn_descent(one).description
    assert descent._padded(np.full((2, 3), np.nan), 3) == pytest.approx(np.eye(3)[:2])
