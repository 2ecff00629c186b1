"""The curvature is that of the normal equations, the optimum that of numpy's least squares."""

from __future__ import annotations

import numpy as np
import pytest

from gdexp.config.compose import Composer, session
from gdexp.config.job import Job
from gdexp.data.bundled import diabetes
from gdexp.descent.build import build
from gdexp.insight.dynamics import curvature as module
from gdexp.insight.dynamics.curvature import Curvature, curvature, parameters
from gdexp.insight.dynamics.stability import rounded_down


def of(*overrides: str) -> Curvature | None:
    with session():
        job = Job.of(Composer().compose(["step=manual", "gradient=manual", *overrides]), overrides)
    return curvature(job, build(job))


def known(*overrides: str) -> Curvature:
    quadratic = of(*overrides)
    assert quadratic is not None
    return quadratic


def table(*, bias: bool, standardize: bool) -> tuple[np.ndarray, np.ndarray]:
    data = diabetes().load()
    x = data.x.astype(float)
    if standardize:
        x = (x - x.mean(axis=0)) / x.std(axis=0)
    return np.column_stack([x, np.ones(len(x))]) if bias else x, data.y.astype(float)


@pytest.mark.parametrize("compress", ["false", "true"])
@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_it_is_that_of_the_normal_equations(bias: bool, standardize: bool, compress: str) -> None:
    words = f"predictor.bias={str(bias).lower()} data.standardize={str(standardize).lower()}"
    quadratic = known("data=diabetes", *words.split(), f"data.compress={compress}")
    a, y = table(bias=bias, standardize=standardize)
    expected = np.linalg.eigvalsh(2 / len(a) * a.T @ a)
    np.testing.assert_allclose(quadratic.eigenvalues, expected[::-1], rtol=1e-9)
    assert quadratic.largest == pytest.approx(expected[-1], rel=1e-12)
    assert quadratic.condition == pytest.approx(expected[-1] / expected[0], rel=1e-9)
    solution, residual, *_ = np.linalg.lstsq(a, y, rcond=None)
    np.testing.assert_allclose(quadratic.optimum, solution, rtol=1e-9)
    assert quadratic.lowest == pytest.approx(residual.item() / len(a), rel=1e-12)


def test_the_numbers_of_the_diabetes_data() -> None:
    quadratic = known("data=diabetes", "data.standardize=true", "predictor.bias=true")
    assert 2 / quadratic.largest == pytest.approx(0.24850, abs=5e-6)
    assert quadratic.condition == pytest.approx(470, abs=0.5)


def test_the_numbers_of_the_tutorial() -> None:
    quadratic = known()
    assert (quadratic.largest, quadratic.condition) == (pytest.approx(15), 1)
    assert quadratic.optimum == pytest.approx(2)
    assert quadratic.lowest == pytest.approx(0, abs=1e-28)


def test_dependent_columns_leave_a_family_of_optima() -> None:
    x = np.array([1.0, 2, 3, 5])
    data = np.column_stack([x, 2 * x])
    quadratic = module._of_factor(np.linalg.qr(np.column_stack([data, x]), mode="r"), 4, False)
    assert quadratic is not None
    assert quadratic.eigenvalues == pytest.approx([2 / 4 * 5 * x @ x])
    for optimum in ([1, 0], [0, 0.5], [-3, 2]):
        assert quadratic.distance(np.array(optimum, float)) == pytest.approx([0, 0], abs=1e-12)
    assert quadratic.distance(np.array([2.0, 0])) == pytest.approx([0.2, 0.4])


def test_the_size_of_a_parameter_spreads_predictions_like_the_targets() -> None:
    quadratic = known("data=diabetes", "predictor.bias=true")
    x, y = table(bias=False, standardize=False)
    expected = [*(y.std() / x.std(axis=0)), y.std()]
    np.testing.assert_allclose(quadratic.sizes, expected, rtol=1e-9)


@pytest.mark.parametrize(
    "words",
    [
        "loss=L1Loss gradient=autograd",
        "predictor=mlp gradient=autograd",
        "loss=manual_logistic gradient=manual_logistic data.y=[0,1,0,1]",
        "data.x=[0,0] data.y=[1,2]",
        "data.x=[1e200,2e200] data.y=[1,2] dtype=float64",
    ],
)
def test_other_losses_and_tables_without_information_have_none(words: str) -> None:
    assert of(*words.split()) is None


def test_a_table_too_wide_to_be_factored_soon_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGEST", 442 * 11**2 - 1)
    assert of("data=diabetes", "dtype=float64") is None


def test_the_jobs_of_a_sweep_share_one() -> None:
    assert of("lr=0.1") is of("lr=0.2", "dtype=float64", "iters=7")


def test_the_parameters_are_w_then_b() -> None:
    with session():
        words = ["data=diabetes", "predictor.bias=true", "predictor.init=3", "step=model"]
        job = Job.of(Composer().compose(words), words)
    assert parameters(build(job)).tolist() == [3.0] * 11


@pytest.mark.parametrize("digits", [2, 4])
def test_rounding_down_never_exceeds_the_number(digits: int) -> None:
    for number in np.random.default_rng(0).lognormal(0, 20, 200):
        text = rounded_down(float(number), digits)
        assert float(text) <= number * (1 + 1e-9)
        assert float(text) > number * (1 - 10.0 ** (1 - digits))
