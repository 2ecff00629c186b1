"""Curves, bands over seeds, parallel coordinates, and what is drawn in the place of a map."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sweep_rows import BOUND, CURVATURE, START, descended, drawn, grid, losses, row

from gdexp.insight.pictures.axes import swept
from gdexp.insight.pictures.band import bands_of, mean_and_deviation
from gdexp.insight.pictures.curves import POINTS, curves_of
from gdexp.insight.pictures.of_sweep import of_sweep
from gdexp.insight.pictures.picture import Picture

SEED_FACTORS = np.array([1.0, 1.1, 1.2])  # of the losses, as sweep_rows has them


def picture_of_curves(rows: list[Any]) -> tuple[Picture, list[str]]:
    read = losses(rows)
    picture = curves_of(rows, swept(rows), read)
    assert picture is not None
    return picture, read.asked  # type: ignore[attr-defined]


def by_run(axes: Any) -> dict[str, Any]:
    return {line.get_label(): line for line in axes.get_lines() if line.get_label()[:3] == "run"}


def test_a_curve_is_the_loss_of_its_run_and_is_named_at_its_end() -> None:
    rows = grid(lr=(0.001, 0.01, 0.15), iters=(30,))
    picture, _ = picture_of_curves(rows)
    (axes,) = picture.figure.axes
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_yscale()) == ("epoch", "loss", "log")
    curves = by_run(axes)
    for each in rows:
        x, y = curves[each["run_id"]].get_data()
        assert y == pytest.approx(START * (1 - float(each["lr"]) * CURVATURE) ** (2 * (x - 1)))
        assert (x[0], x[-1]) == (1, 30)
    assert [text.get_text() for text in axes.texts] == ["0.01", "0.001", "lr=0.15"]
    assert picture.table["last loss"] == [line.get_ydata()[-1] for line in curves.values()]
    assert len({line.get_marker() for line in curves.values()}) == 3


def test_of_runs_that_differ_in_iters_the_longest_is_drawn() -> None:
    rows = grid(lr=(0.001, 0.01), iters=(5, 40, 10))
    picture, asked = picture_of_curves(rows)
    assert asked == ["run1", "run4"]
    assert "Of runs that differ only in iters, the longest is drawn." in picture.description


@pytest.mark.slow
def test_many_curves_are_a_sample_with_the_best_and_a_scale() -> None:
    rows = grid(lr=np.geomspace(0.0001, 0.1, 500).tolist(), iters=(50,))
    picture, asked = picture_of_curves(rows)
    assert len(asked) == len({*asked}) == 100
    best = min(rows, key=lambda each: each["final/loss"])
    assert best["run_id"] in asked
    assert "of 100 of 500 runs, evenly sampled, coloured by lr." in picture.description
    axes, bar = picture.figure.axes
    assert bar.get_ylabel() == "lr"
    assert not axes.texts
    assert len(picture.svg()) < 100_000


def test_long_curves_are_thinned_and_keep_their_extremes() -> None:
    rows = [row(0, lr=0.1)]
    values = np.ones(10_000)
    values[1234], values[5678] = 9.0, 0.1
    curve = np.arange(1.0, 10_001), values
    picture = curves_of(rows, swept(rows), lambda ids: {"run0": curve})
    assert picture is not None
    shown = by_run(picture.figure.axes[0])["run0"].get_xdata()
    assert {1, 1235, 5679, 10_000} <= {*shown}
    assert len(shown) <= POINTS + 2


def test_diverged_curves_are_dashed_and_leave_at_the_top() -> None:
    rows = grid(lr=(0.01, 0.5), iters=(60,))
    picture, _ = picture_of_curves(rows)
    (axes,) = picture.figure.axes
    styles = {name: line.get_linestyle() for name, line in by_run(axes).items()}
    assert styles == {"run0": "-", "run1": "--"}
    assert axes.get_ylim()[1] < START * 1e4


def test_curves_that_all_diverge_are_seen_from_their_start() -> None:
    rows = grid(lr=(0.5, 0.6), iters=(60,))
    axes, *_ = picture_of_curves(rows)[0].figure.axes
    low, high = axes.get_ylim()
    assert low < START < high < START * 1e5


@pytest.mark.parametrize(
    "values", [[0.0, 0.0], [-1.0, 2.0], [np.nan, np.nan], [np.inf, 1.0], [3.0]]
)
def test_curves_of_every_kind(values: list[float]) -> None:
    rows = [row(0, lr=0.1), row(1, lr=0.2), row(2, lr=0.3)]
    curve = np.arange(1.0, len(values) + 1), np.array(values)
    picture = curves_of(rows, swept(rows), lambda ids: {rows[0]["run_id"]: curve})
    assert picture is not None
    picture.svg()
    assert len(by_run(picture.figure.axes[0])) == 1


def test_runs_without_curves_have_no_picture_of_them() -> None:
    rows = [row(0, lr=0.1), row(1, lr=0.2)]
    pictures = [*of_sweep(rows, lambda ids: {})]
    assert [each.name for each in pictures] == ["map"]
    assert [*of_sweep([], lambda ids: {})] == []


# Seeds


def repeated(**changed: Any) -> list[Any]:
    rows = [
        descended(3 * i + s, lr=lr, iters=20, seed=s)
        for i, lr in enumerate((0.001, 0.01))
        for s in range(3)
    ]
    for number, change in changed.items():
        rows[int(number[1:])] |= change
    return rows


def test_a_band_is_the_mean_and_one_deviation() -> None:
    rows = repeated()
    picture = bands_of(rows, swept(rows), losses(rows))
    assert picture is not None
    (axes,) = picture.figure.axes
    for lr, line, band in zip((0.001, 0.01), axes.get_lines(), axes.collections, strict=False):
        x, y = line.get_data()
        curve = START * (1 - lr * CURVATURE) ** (2 * (x - 1))
        assert y == pytest.approx(curve * SEED_FACTORS.mean())
        corners = band.get_paths()[0].vertices
        last = corners[corners[:, 0] == 20][:, 1]
        deviation = curve[-1] * SEED_FACTORS.std(ddof=1)
        assert (last.min(), last.max()) == pytest.approx(
            (max(y[-1] - deviation, curve[-1]), y[-1] + deviation)
        )
    assert [text.get_text() for text in axes.texts] == ["lr=0.01", "lr=0.001"]
    assert picture.table["runs"] == [3, 3]
    assert picture.description.startswith("The mean of the loss over 3 seeds, and one standard")


def test_runs_that_diverged_are_left_out_of_the_band_and_counted() -> None:
    rows = repeated(r4={"outcome": "diverged"}, r5={"outcome": "failed"})
    picture = bands_of(rows, swept(rows), losses(rows))
    assert picture is not None
    assert (picture.table["setting"], picture.table["left out"]) == (["lr=0.001"], [0])
    rows = repeated(r4={"outcome": "diverged"})
    picture = bands_of(rows, swept(rows), losses(rows))
    assert picture is not None
    assert picture.table["left out"] == [0, 1]
    assert picture.description.endswith("1 run that diverged or did not finish is left out.")


def test_a_run_that_stopped_early_keeps_its_last_loss_in_the_mean() -> None:
    short = np.array([1.0, 2.0]), np.array([4.0, 2.0])
    long = np.array([1.0, 2.0, 3.0]), np.array([6.0, 4.0, 2.0])
    epochs, mean, deviation = mean_and_deviation([short, long])
    assert epochs.tolist() == [1, 2, 3]
    assert mean.tolist() == [5, 3, 2]
    assert deviation == pytest.approx([2**0.5, 2**0.5, 0])


def test_no_band_without_repetitions() -> None:
    rows = grid(lr=(0.01, 0.1))
    assert bands_of(rows, swept(rows), losses(rows)) is None
    rows = [descended(i, lr=0.01 + i / 100, seed=i) for i in range(3)]  # never two of a kind
    assert bands_of(rows, swept(rows), losses(rows)) is None
    rows = [each | {"outcome": "diverged"} for each in repeated()]
    assert bands_of(rows, swept(rows), losses(rows)) is None


def test_a_sweep_of_seeds_alone() -> None:
    rows = [descended(s, seed=s) for s in range(3)]
    pictures = drawn(rows, curves=True)
    assert [*pictures] == ["map", "curves", "repetitions"]
    assert pictures["map"].description.startswith(
        "The runs differ only in seed, so there are no two axes for a map: "
        "this draws the final loss over seed."
    )
    assert pictures["repetitions"].table["setting"] == ["all"]


# One setting, or none


def points(axes: Any) -> dict[str, Any]:
    return {each.get_label(): each.get_offsets().tolist() for each in axes.collections}


def test_one_setting_is_a_profile_with_the_bound() -> None:
    rows = grid(lr=(0.001, 0.01, 0.1, 0.13, 1.0), iters=(200,))
    picture = drawn(rows)["map"]
    assert picture.description.startswith(
        "The runs differ only in lr, so there are no two axes for a map: "
        "this draws the final loss over lr. "
    )
    assert picture.description.endswith(
        "The dashed line is at lr=0.1333, the largest lr that converges, as forecast."
    )
    (axes,) = picture.figure.axes
    (bound,) = (x for x in axes.get_lines() if x.get_label() == "forecast/largest_lr")
    assert [*bound.get_xdata()] == [BOUND, BOUND]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    shown = points(axes)
    assert shown["monotone"][0] == [0.001, pytest.approx(rows[0]["final/loss"])]
    assert [x for x, _ in shown["diverged"]] == [1.0]
    low, high = axes.get_ylim()
    assert low * (high / low) ** 0.9 < shown["diverged"][0][1] < high
    assert picture.table["lr"] == [0.001, 0.01, 0.1, 0.13, 1.0]


def test_words_alone_are_a_profile() -> None:
    rows = [row(i, float(i + 1), step=step) for i, step in enumerate(("model", "manual"))]
    (axes,) = drawn(rows)["map"].figure.axes
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["model", "manual"]
    assert points(axes)["completed"] == [[0, 1], [1, 2]]


@pytest.mark.parametrize("outcome", ["completed", "diverged", "failed", "running"])
def test_a_sweep_of_one_run(outcome: str) -> None:
    pictures = drawn([descended() | {"outcome": outcome}], curves=True, saved=outcome == "failed")
    assert [*pictures] == ["map", "curves"]
    assert pictures["map"].description.startswith(
        "The runs do not differ, so there are no two axes for a map: "
        "this draws the final loss of each run."
    )


def test_the_axes_can_be_chosen() -> None:
    rows = grid(lr=(0.01, 0.1), iters=(5, 10), updater__momentum=(0, 0.5))
    axes = drawn(rows, axes=["updater.momentum", "lr"])["map"].figure.axes
    assert [axes[0].get_xlabel(), axes[0].get_ylabel()] == ["updater.momentum", "lr"]
    assert [axes[0].get_title(), axes[1].get_title()] == ["iters=5", "iters=10"]
    (profile,) = drawn(rows, axes=["iters"])["map"].figure.axes
    assert profile.get_xlabel() == "iters"


# Parallel coordinates


def test_each_run_is_a_line_through_its_settings() -> None:
    rows = grid(lr=(0.01, 0.1, 1.0), iters=(10, 20), updater__momentum=[i / 8 for i in range(9)])
    picture = drawn(rows)["parallel"]
    axes = picture.figure.axes[0]
    labels = [tick.get_text() for tick in axes.get_xticklabels()]
    assert labels == ["lr", "iters", "updater.\nmomentum", "final loss"]
    paths = [line.get_ydata() for line in axes.get_lines() if len(line.get_xdata()) == 4]
    assert len(paths) == len(rows)
    expected = {(lr, it, m) for lr in (0, 0.5, 1) for it in (0, 1) for m in np.arange(9) / 8}
    assert {tuple(np.round(path[:3], 9)) for path in paths} == expected
    gone = [path[-1] for path in paths if path[-1] > 1]
    assert len(gone) == sum(each["outcome"] == "diverged" for each in rows) == 18
    assert "diverged" in [text.get_text() for text in axes.texts]


@pytest.mark.slow
def test_many_lines_are_a_sample() -> None:
    rows = grid(
        lr=np.geomspace(0.001, 0.1, 20).tolist(),
        iters=[10, 20],
        updater__momentum=[i / 8 for i in range(9)],
    )
    picture = drawn(rows, saved=True)["parallel"]
    assert picture.description.startswith("200 of 360 runs, evenly sampled by final loss.")
