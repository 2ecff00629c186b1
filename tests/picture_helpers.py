"""Pictures of runs, for the tests of what they show."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.text import Text

from gdexp.descent.result import Result
from gdexp.descent.trajectory import Trajectory
from gdexp.insight.pictures import descent, loss, quantities
from gdexp.insight.pictures.of_run import of_run
from gdexp.insight.pictures.picture import Picture
from gdexp.insight.pictures.rebuilt import rebuilt

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
