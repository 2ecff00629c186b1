"""A result in a notebook: a table and a curve in one piece of HTML, and one line as text."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from gdexp.descent.result import Result
from gdexp.descent.trajectory import Trajectory

SVG = "{http://www.w3.org/2000/svg}"


def result(losses: Sequence[float], validation: Sequence[float] = (), **given: Any) -> Result:
    """A result with these losses, and w = 2 throughout."""
    twos = np.full(len(losses), 2.0)
    rows = [np.array(losses, float), twos, twos] + [np.array(validation)] * bool(validation)
    measures = ["validation/loss"] * bool(validation)
    trajectory = Trajectory.of(np.array(rows), ("w",), len(losses), False, measures)
    given = {"outcome": "completed", "reason": f"{len(losses)} epochs", "at": "5"} | given
    return Result(
        trajectory=trajectory, transcript="", prediction=10.0, parameters={"w": 2.0}, **given
    )


def shown(of: Result) -> ET.Element:
    """Its HTML, which is well-formed XML as well."""
    return ET.fromstring(of._repr_html_())


def rows(of: Result) -> dict[str, str]:
    return {row[0].text or "": row[1].text or "" for row in shown(of).iter("tr")}


def curves(of: Result) -> list[list[tuple[float, float]]]:
    """The points of each curve, in pixels."""
    paths = [path.attrib["d"] for path in shown(of).iter(f"{SVG}path")][:-1]  # the last: the axes
    return [
        [(float(x), float(y)) for x, y in re.findall(r"([\d.]+) ([\d.]+)", path)] for path in paths
    ]


def test_a_result_is_a_table() -> None:
    one = result([30.0, 0.3], run_id="3f2a", notes={"one": "A note."}, scores={"final/r2": 0.5})
    assert rows(one) == {
        "outcome": "completed: 2 epochs",
        "loss": "30 → 0.3",
        "f(5)": "10",
        "w": "2",
        "final/r2": "0.5",
        "note": "A note.",
        "run": "3f2a",
    }


def test_it_ends_with_the_loss_of_the_restored_epoch_and_shortens_large_numbers() -> None:
    assert rows(result([30.0, 3.59e31, 5.0], restored=2))["loss"] == "30 → 3.59e31"


def test_coefficients_replace_parameters_in_other_units() -> None:
    names = [f"x{number}" for number in range(10)]
    listed = rows(result([1.0], coefficients=dict.fromkeys(names, 3.0)))
    assert "w" not in listed
    assert [name for name in names if name in listed] == names[:8]
    assert listed["…"] == "and 2 more"


def test_its_curve_is_logarithmic() -> None:
    ((x, y),) = [zip(*points, strict=True) for points in curves(result([1000, 100, 10, 1, 10]))]
    assert np.diff(x) == pytest.approx([x[1] - x[0]] * 4, abs=0.2)
    down = y[1] - y[0]
    assert down > 20
    assert np.diff(y) == pytest.approx([down, down, down, -down], abs=0.2)


def test_a_validation_loss_is_a_second_curve_dashed() -> None:
    one = result([100.0, 1.0], validation=[10.0, 1.0])
    (first, second) = curves(one)
    assert first[1] == second[1]
    assert second[0][1] == pytest.approx((first[0][1] + first[1][1]) / 2, abs=0.1)
    dashes = [path.attrib.get("stroke-dasharray") for path in shown(one).iter(f"{SVG}path")]
    assert dashes == ["none", "4 3", None]


def test_a_long_curve_is_short_and_keeps_its_spike() -> None:
    losses = np.full(100_000, 1.0)
    losses[61_803] = 1e6
    one = result(losses.tolist())
    assert len(one._repr_html_()) < 10_000
    ((peak, _),) = [sorted(points, key=lambda point: point[1])[:2] for points in curves(one)]
    assert peak[1] == 8
    assert peak[0] == pytest.approx(64 + 0.61803 * (360 - 64 - 8), abs=0.2)


def test_the_curve_is_told_in_words() -> None:
    (image,) = shown(result([30.0, 0.0003])).iter(f"{SVG}svg")
    sentence = "The loss by epoch, on a logarithmic axis: 30 to 0.0003"
    assert (image.attrib["role"], image.attrib["aria-label"]) == ("img", sentence)
    assert image.findtext(f"{SVG}title") == sentence
    assert {"30", "0.0003", "epoch 1", "2"} <= {text.text for text in image.iter(f"{SVG}text")}


@pytest.mark.parametrize("losses", [[], [0.0, 0.0]])
def test_without_a_loss_above_zero_there_is_no_curve(losses: list[float]) -> None:
    assert not list(shown(result(losses)).iter(f"{SVG}svg"))


@pytest.mark.parametrize("losses", [[3.0], [3.0, 3.0], [3.0, 0.0], [1e-300, 1e300], [1e-323, 1]])
def test_no_curve_leaves_its_frame(losses: list[float]) -> None:
    (points,) = curves(result(losses))
    assert all(64 <= x <= 352 and 8 <= y <= 120 for x, y in points)


def test_whatever_it_says_is_escaped() -> None:
    bad = "<script>alert('&')</script>"
    one = result(
        [1.0], notes={"one": bad}, reason=bad, at=bad, coefficients={bad: 1.0}, scores={bad: 1.0}
    )
    assert "<script" not in one._repr_html_()
    assert rows(one)["note"] == bad


def test_as_text_a_result_is_one_line() -> None:
    assert repr(result([30.0, 0.3])) == (
        "Result(completed: 2 epochs, loss 30 → 0.3, f(5) = 10, w = 2)"
    )
    diverged = result([], outcome="diverged", reason="a value was not finite in epoch 1")
    assert repr(diverged) == "Result(diverged: a value was not finite in epoch 1, w = 2)"
    assert repr(diverged.trajectory) == "Trajectory(0 epochs of train/loss, param/w, grad/w)"
    many = Trajectory({"w": np.zeros(5)}, capacity=3)
    assert repr(many) == ("Trajectory(0 epochs of train/loss, param/w/0, param/w/1, and 8 more)")
