"""The map of a sweep: every cell against its run, the bound, the marks, sizes, odd sweeps."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from sweep_rows import BOUND, descended, drawn, grid, row

from gdexp.insight.pictures.picture import Picture

LRS = (0.001, 0.01, 0.05, 0.1, 0.2)
ITERS = (5, 10, 20, 40)
RED = "#d1105a"


def panels(picture: Picture) -> list[Any]:
    return [axes for axes in picture.figure.axes if axes.get_label() != "<colorbar>"]


def field(axes: Any) -> Any:
    """The losses of a panel, as they are drawn last."""
    return axes.get_images()[-1].get_array()


def lines(axes: Any, label: str) -> list[Any]:
    return [line for line in axes.get_lines() if line.get_label() == label]


def words(picture: Picture) -> set[str]:
    return {text.get_text() for legend in picture.figure.legends for text in legend.get_texts()}


def test_each_cell_is_its_run_and_diverged_cells_are_crossed() -> None:
    rows = grid(lr=LRS, iters=ITERS)
    picture = drawn(rows)["map"]
    (axes,) = panels(picture)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("lr", "iters")
    assert [t.get_text() for t in axes.get_xticklabels()] == ["0.001", "0.01", "0.05", "0.1", "0.2"]
    losses = field(axes)
    diverged = set()
    for number, each in enumerate(rows):
        i, j = divmod(number, len(ITERS))
        if each["outcome"] == "diverged":
            assert np.ma.is_masked(losses[j, i])
            diverged.add((i, j))
        else:
            assert losses[j, i] == max(each["final/loss"], losses.min())
    (crosses,) = lines(axes, "diverged")
    assert crosses.get_marker() == "x"
    assert {*zip(crosses.get_xdata(), crosses.get_ydata(), strict=True)} == diverged
    assert f"{len(diverged)} of 20 runs diverged." in picture.description
    assert "No run contradicts the forecast." in picture.description


def test_oscillating_and_growing_runs_have_marks_of_their_own_and_numbers_their_cells() -> None:
    rows = grid(lr=(0.001, 0.1, 0.15), iters=(5, 10))
    picture = drawn(rows)["map"]
    (axes,) = panels(picture)
    marks = {state: lines(axes, state) for state in ("oscillating", "diverging", "diverged")}
    columns = {
        state: {int(x) for each in v for x in each.get_xdata()} for state, v in marks.items()
    }
    assert columns == {"oscillating": {1}, "diverging": {2}, "diverged": set()}
    assert words(picture) >= {"no mark: monotone", "oscillating", "growing"}
    texts = [text.get_text() for text in axes.texts]
    assert len(texts) == 6
    shown = {float(text) for text in texts}
    for each in rows:
        assert any(value == pytest.approx(each["final/loss"], rel=0.06) for value in shown)


def test_a_constant_bound_is_a_line_at_its_place() -> None:
    (axes,) = panels(drawn(grid(lr=LRS, iters=ITERS))["map"])
    (line,) = lines(axes, "forecast/largest_lr")
    at = 3 + math.log(BOUND / 0.1) / math.log(0.2 / 0.1)  # the axis is logarithmic
    assert [*line.get_xdata()] == pytest.approx([at] * 8)
    assert (min(line.get_ydata()), max(line.get_ydata())) == (-0.5, 3.5)
    assert line.get_color() == RED


def test_a_bound_that_depends_on_the_other_axis_is_a_stair() -> None:
    rows = grid(
        lambda p: 0.02 if p["updater__momentum"] == 0 else 0.15,
        lr=(0.01, 0.1, 1.0),
        updater__momentum=(0, 0.5),
    )
    picture = drawn(rows)["map"]
    (axes,) = panels(picture)
    (line,) = lines(axes, "forecast/largest_lr")
    low, high = (1 + math.log10(b / 0.1) for b in (0.02, 0.15))
    assert [*line.get_xdata()] == pytest.approx([low, low, high, high])
    assert [*line.get_ydata()] == [-0.5, 0.5, 0.5, 1.5]
    assert picture.description.endswith("the largest lr that converges, as forecast: 0.02 to 0.15.")


def test_without_lr_on_an_axis_the_bound_follows_the_edges_of_the_cells() -> None:
    rows = grid(
        lambda p: 0.05 if p["updater__momentum"] < 0.5 else 0.2,
        lr=(0.1,),
        updater__momentum=(0, 0.3, 0.6, 0.9),
        iters=(5, 10),
    )
    (axes,) = panels(drawn(rows)["map"])
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("iters", "updater.momentum")
    edges = lines(axes, "forecast/largest_lr")
    assert sorted((*line.get_xdata(), *line.get_ydata()) for line in edges) == [
        (-0.5, 0.5, 1.5, 1.5),
        (0.5, 1.5, 1.5, 1.5),
    ]


def test_cells_that_contradict_the_forecast_are_ringed() -> None:
    rows = grid(lr=LRS, iters=ITERS)
    rows[5] |= {"outcome": "diverged"}  # lr=0.01, iters=10: below the bound
    rows[19] |= {"outcome": "converged", "final/loss": 1e-9, "behaviour": "monotone"}  # above it
    picture = drawn(rows)["map"]
    (axes,) = panels(picture)
    (rings,) = lines(axes, "odd")
    assert {*zip(rings.get_xdata(), rings.get_ydata(), strict=True)} == {(1, 1), (4, 3)}
    assert "contradicts the forecast" in words(picture)
    assert "2 runs contradict the forecast." in picture.description
    assert picture.table["contradicts the forecast"].count("yes") == 2


@pytest.mark.parametrize(
    ("changed", "odd"),
    [
        ({"outcome": "completed"}, False),  # it was stopped before its loss could grow
        ({"outcome": "completed", "forecast/exceeds_epoch": 15.0}, False),
        ({"outcome": "completed", "forecast/exceeds_epoch": 3.0}, True),
        ({"outcome": "completed", "forecast/exceeds_epoch": 3.0, "behaviour": "diverging"}, False),
        ({"outcome": "interrupted", "forecast/exceeds_epoch": 3.0}, False),
        ({"outcome": "converged"}, True),
        ({"outcome": "converged", "updater.lr": "0.01"}, False),
        ({"outcome": "diverged"}, False),
        ({"outcome": "diverged", "lr": "0.1"}, True),
        ({"outcome": "diverged", "lr": "0.1", "forecast/largest_lr": math.nan}, False),
    ],
)
def test_what_contradicts_the_forecast(changed: dict[str, Any], odd: bool) -> None:
    from gdexp.insight.pictures.state import contradicts

    each = row(lr=0.2, iters=20) | {"forecast/largest_lr": BOUND, "behaviour": "monotone"}
    assert contradicts(each | changed) == odd


def test_a_third_setting_has_a_panel_for_each_value_on_one_scale() -> None:
    rows = grid(
        lambda p: BOUND / 4 if p["step"] == "manual" else BOUND,
        step=("manual", "model"),
        lr=LRS,
        iters=ITERS,
    )
    picture = drawn(rows)["map"]
    first, second = panels(picture)
    assert [axes.get_title() for axes in (first, second)] == ["step=manual", "step=model"]
    at = [lines(axes, "forecast/largest_lr")[0].get_xdata()[0] for axes in (first, second)]
    assert at[0] < at[1]
    norms = {
        (image.norm.vmin, image.norm.vmax)
        for axes in (first, second)
        for image in axes.get_images()[-1:]
    }
    assert len(norms) == 1
    assert ", in 2 panels." in picture.description


def test_runs_that_repeat_a_cell_are_one_median() -> None:
    rows = [
        row(i, loss=float(i), lr=lr, iters=it, seed=s)
        for i, (lr, it, s) in enumerate(
            (lr, it, s) for lr in (0.1, 0.2) for it in (5, 9) for s in range(3)
        )
    ]
    rows[2] |= {"outcome": "diverged", "final/loss": 1e30}
    picture = drawn(rows)["map"]
    (axes,) = panels(picture)
    assert field(axes)[0].tolist() == [1.0, 7.0]
    assert "Each cell shows the median of its runs, up to 3." in picture.description


def test_too_many_panels_become_the_best_of_each_cell_and_parallel_coordinates() -> None:
    rows = grid(lr=(0.01, 0.1), iters=(5, 10), updater__momentum=[i / 10 for i in range(9)])
    for number, each in enumerate(rows):
        each["final/loss"] = float(number + 1)
    pictures = drawn(rows)
    assert [*pictures] == ["map", "parallel"]
    (axes,) = panels(pictures["map"])
    assert field(axes).tolist() == [[1.0, 19.0], [10.0, 28.0]]
    assert "Each cell shows its best run over updater.momentum." in pictures["map"].description


def test_a_sweep_that_fills_no_grid_is_drawn_as_points() -> None:
    rows = [descended(i, lr=0.001 * 1.3**i, iters=10 + i) for i in range(20)]
    picture = drawn(rows)["map"]
    (axes,) = panels(picture)
    assert not axes.get_images()
    offsets = np.concatenate([each.get_offsets() for each in axes.collections])
    assert sorted(offsets[:, 1].tolist()) == [10 + i for i in range(20)]
    assert axes.get_xscale() == "log"
    (line,) = lines(axes, "forecast/largest_lr")
    assert {*line.get_xdata()} == {BOUND}


def test_missing_cells_stay_empty() -> None:
    rows = grid(lr=LRS, iters=ITERS)
    del rows[0]
    (axes,) = panels(drawn(rows)["map"])
    assert np.ma.is_masked(field(axes)[0, 0])


def test_words_can_be_an_axis() -> None:

    rows = grid(lr=LRS, updater=("SGD", "a_$x$<&>"))
    picture = drawn(rows, saved=True)["map"]
    (axes,) = panels(picture)
    assert [t.get_text() for t in axes.get_yticklabels()] == ["SGD", "a_$x$<&>"]
    assert b"a_$x$&lt;&amp;&gt;" in picture.svg()


@pytest.mark.parametrize("loss", [0.0, -3.0, math.nan, None, 5.0])
def test_losses_of_every_kind(loss: float | None) -> None:
    rows = [
        row(i, loss, lr=lr, iters=it)
        for i, (lr, it) in enumerate((lr, it) for lr in (0.1, 0.2) for it in (5, 9))
    ]
    picture = drawn(rows)["map"]
    known = loss is not None and not math.isnan(loss)
    assert len(picture.figure.axes) == 1 + known  # the scale of the colours
    assert ("did not finish" in picture.description) != known
    rows[0] |= {"final/loss": 1.0}
    drawn(rows)


def test_all_runs_diverged() -> None:
    rows = [each | {"outcome": "diverged"} for each in grid(lr=(0.5, 1.0), iters=ITERS)]
    picture = drawn(rows)["map"]
    assert "Every run diverged." in picture.description
    (axes,) = panels(picture)
    assert len(lines(axes, "diverged")[0].get_xdata()) == 8
    assert len(picture.figure.axes) == 1


def test_failed_runs_are_marked_and_counted() -> None:
    rows = grid(lr=LRS, iters=ITERS)
    rows[0] = row(0, None, "failed", lr=0.001, iters=5)
    rows[1] |= {"outcome": "running"}
    picture = drawn(rows)["map"]
    assert "2 runs did not finish." in picture.description
    (axes,) = panels(picture)
    assert len(lines(axes, "unfinished")[0].get_xdata()) == 2


@pytest.mark.slow
def test_ten_thousand_cells_are_small_and_all_there() -> None:
    rows = grid(lr=np.geomspace(0.001, 0.3, 100).tolist(), iters=[*range(10, 1010, 10)])
    rows[1234] |= {"outcome": "diverged"}
    picture = drawn(rows, saved=True)["map"]
    assert len(picture.svg()) < 100_000
    (axes,) = panels(picture)
    assert field(axes).shape == (100, 100)
    assert len(lines(axes, "odd")[0].get_xdata()) == 1  # a single one is seen all the same
    assert not axes.texts


def test_the_bound_is_drawn_only_where_each_run_has_one() -> None:
    rows = grid(lr=(0.01, 0.1, 1.0), updater=("SGD", "Adam"))
    for each in rows:
        if each["updater"] == "Adam":
            del each["forecast/largest_lr"]
    rows[0] = row(0, None, "failed", lr=0.01, updater="SGD")  # it had no time for a forecast
    picture = drawn(rows)["map"]
    (line,) = lines(panels(picture)[0], "forecast/largest_lr")
    at = 1 + math.log10(BOUND / 0.1)
    assert [*line.get_xdata()] == pytest.approx([at, at, math.nan, math.nan], nan_ok=True)
    adam = [each for each in rows if each["updater"] == "Adam"]
    (axes,) = panels(drawn([each | {"iters": i} for each in adam for i in ("5", "9")])["map"])
    assert not lines(axes, "forecast/largest_lr")


def test_all_texts_are_plain_and_lie_within_the_picture() -> None:
    rows = grid(lr=LRS, iters=ITERS)
    rows[0] = row(0, None, "failed", lr=0.001, iters=5)
    rows[5] |= {"outcome": "diverged"}
    picture = drawn(rows)["map"]
    assert b"mathdefault" not in picture.svg()
    (legend,) = picture.figure.legends
    box, page = legend.get_window_extent(), picture.figure.bbox
    assert len(legend.get_texts()) == 7
    assert page.x0 <= box.x0
    assert box.x1 <= page.x1


@pytest.mark.parametrize(("side", "are_written"), [(4, True), (10, True), (11, False)])
def test_numbers_are_written_where_they_can_be_read(side: int, are_written: bool) -> None:
    rows = grid(lr=np.geomspace(0.001, 0.1, side).tolist(), iters=range(10, 10 * side + 10, 10))
    (axes,) = panels(drawn(rows)["map"])
    assert len(axes.texts) == side**2 * are_written
    assert all(text.get_fontsize() >= 6 for text in axes.texts)
