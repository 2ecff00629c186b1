"""Columns of any magnitude: standardized as exact arithmetic says, or refused by what they are."""

from __future__ import annotations

import math
import warnings
from decimal import Decimal, localcontext
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gdexp import run
from gdexp.data.dataset import Dataset
from gdexp.data.moments import LARGEST, LEAST, means_of
from gdexp.data.transforms import Scaling, TargetScaling
from gdexp.errors import ConfigError, GdexpError

finite = st.floats(allow_nan=False, allow_infinity=False)
alike = st.tuples(st.integers(-1070, 1023), st.lists(st.floats(-1, 1), min_size=2, max_size=8)).map(
    lambda pair: [math.ldexp(value, pair[0]) for value in pair[1]]
)
columns = st.one_of(st.lists(finite, min_size=2, max_size=8), alike)


def exact(column: list[float]) -> tuple[Decimal, Decimal]:
    """Mean and standard deviation, with 60 digits."""
    numbers = [Fraction(value) for value in column]
    mean = sum(numbers) / len(numbers)
    variance = sum((value - mean) ** 2 for value in numbers) / len(numbers)
    with localcontext() as context:
        context.prec, context.Emin, context.Emax = 60, -99999, 99999
        parts = [Decimal(each.numerator) / Decimal(each.denominator) for each in (mean, variance)]
        return parts[0], parts[1].sqrt()


def expected(column: list[float]) -> str:
    """The outcome that the exact numbers ask for; "" near the limits."""
    mean, scale = exact(column)
    largest = max(abs(mean), scale)
    if scale == 0:
        return "in every row"
    if scale > 2 * LEAST and largest < LARGEST / 2:
        return "scaled"
    return "can be standardized" if scale < LEAST / 2 or largest > 2 * LARGEST else ""


@settings(max_examples=300, deadline=None, derandomize=True)
@example([1.5e-310, 1.5e-310])
@example([1.5e-310, 3e-310])
@example([5e-324, 0.0, 0.0])
@example([1.7e308, -1.7e308])
@example([1.7e308, 1.7e308])
@example([1e301, -1e-320])
@given(columns)
def test_a_column_is_standardized_exactly_or_refused(column: list[float]) -> None:
    table = Dataset(np.zeros(len(column)), np.array(column), "t")
    other = Dataset(np.array(column), np.zeros(len(column)), "t")
    wanted = expected(column)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            target, feature = TargetScaling.of(table), Scaling.of(other)
        except ConfigError as error:
            sentence = str(error)
        else:
            sentence = ""
    if sentence:
        assert wanted != "scaled"
        assert wanted in sentence
        return
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scaled, inputs = target.apply(table).y, feature.apply(other).x
    assert wanted in ("", "scaled")
    mean, scale = exact(column)
    size = float(max(map(abs, column)))
    assert abs(float(Decimal(target.mean) - mean)) <= 1e-14 * size
    assert target.scale == pytest.approx(float(scale), rel=1e-9, abs=1e-14 * size)
    assert (feature.mean[0], feature.scale[0]) == (target.mean, target.scale)
    right = [float((Decimal(value) - mean) / scale) for value in column]
    assert scaled == pytest.approx(right, rel=1e-9, abs=2e-14 * size / float(scale) + 1e-9)
    assert inputs.tolist() == scaled.tolist()


@settings(max_examples=200, deadline=None, derandomize=True)
@example([1.7e308] * 3)
@given(st.lists(finite, min_size=1, max_size=8))
def test_the_mean_of_any_column(column: list[float]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (mean,) = means_of(np.array(column))
    right = sum(map(Fraction, column)) / len(column)
    assert abs(Fraction(mean) - right) <= Fraction(1e-14) * max(map(abs, map(Fraction, column)))


SENTENCES = {
    ("data.standardize=true", "1.5e-310", "1.5e-310"): "column 'x' is 1.5e-310 in every row",
    ("data.standardize=true", "1.5e-310", "3e-310"): (
        "data.standardize: column 'x' has the mean 2.25e-310 and the standard deviation 7.5e-311; "
        "deviations from 1e-304 and numbers up to 1e+304 can be standardized. Give the column "
        "another unit, or type data.standardize=false."
    ),
    ("data.standardize=true", "1e308", "-1.7e308"): "numbers up to 1e+304 can be standardized.",
    ("data.compress=true gradient=manual", "1e308", "-1.7e308"): (
        "data.compress: the table has numbers beyond 1e+304, whose sums do not fit in float64."
    ),
    ("dtype=float32 step=model", "1e308", "1"): "column 'x' holds 1e+308, which does not fit in",
    ("dtype=float32 step=model", "1e-60", "1e-60"): "column 'x' holds 1e-60, which does not fit in",
}


@pytest.mark.parametrize(("words", "one", "other"), SENTENCES)
def test_a_table_that_cannot_be(words: str, one: str, other: str, workdir: Path) -> None:
    rows = [one, other] * 3
    Path("t.csv").write_text("x,y\n" + "".join(f"{x},{i}\n" for i, x in enumerate(rows)))
    typed = ["data=csv", "data.path=t.csv", "data.target=y", "tracking=off", "dtype=float64"]
    with pytest.raises(ConfigError) as refused:
        run(*typed, *words.split(), iters=2)
    assert SENTENCES[words, one, other] in str(refused.value)


MAGNITUDES = [
    5e-324,
    1.5e-310,
    1e-300,
    1e-160,
    1e-46,
    1e-10,
    1.0,
    1e30,
    1e39,
    1e154,
    1e300,
    1.7e308,
]
values = st.builds(
    lambda m, f: m * f, st.sampled_from(MAGNITUDES), st.sampled_from([-1.0, 0.0, 0.5, 1.0])
)
of_a_table = st.one_of(
    st.lists(values, min_size=4, max_size=4),
    st.builds(
        lambda m, fs: [m * f for f in fs],
        st.sampled_from(MAGNITUDES),
        st.lists(st.floats(-1, 1), min_size=4, max_size=4),
    ),
)


def check_record(typed: dict[str, Any]) -> None:
    """Run what is accepted: what is not finite is said to be so."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            result = run("data=csv", "data.path=t.csv", "data.target=y", tracking="off", **typed)
        except GdexpError:
            return
    numbers = [result.prediction, *result.coefficients.values(), *result.scores.values()]
    if not np.isfinite(result.trajectory.loss).all():
        assert result.outcome == "diverged"
    elif not np.isfinite(numbers).all():
        assert result.outcome == "diverged" or "not finite" in result.notes["overflow"]


@pytest.mark.slow
@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    x=of_a_table,
    y=of_a_table,
    step=st.sampled_from(["manual", "autograd", "model"]),
    lr=st.sampled_from([0.01, 1e-320, 1e300]),
    predict_at=st.sampled_from([5.0, 1e308, 1e-320]),
    dtype=st.sampled_from(["float32", "float64"]),
    data=st.fixed_dictionaries(
        {},
        optional={
            "standardize": st.just(True),
            "standardize_target": st.just(True),
            "compress": st.just(True),
            "validation": st.just(0.3),
        },
    ),
)
def test_no_number_is_lost_in_silence(
    x: list[float], y: list[float], data: dict[str, Any], tmp_path_factory: Any, **typed: Any
) -> None:
    folder = tmp_path_factory.getbasetemp() / "magnitudes"
    folder.mkdir(exist_ok=True)
    (folder / "t.csv").write_text(
        "x,y\n" + "".join(f"{a!r},{b!r}\n" for a, b in zip(x, y, strict=True))
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        check_record({"iters": 3, "gradient": "manual", "data": data, **typed})
