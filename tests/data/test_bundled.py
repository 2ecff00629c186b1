"""Tables that come along: diabetes, and made ones; and the options of all tables."""

from __future__ import annotations

import numpy as np
import pytest
import yaml
from helpers import CONF
from hypothesis import given, settings
from hypothesis import strategies as st

from gdexp import data
from gdexp.data.bundled import weights
from gdexp.errors import ConfigError


def test_diabetes_in_its_own_units() -> None:
    table = data.diabetes()
    assert (table.x.shape, table.y.shape) == ((442, 10), (442,))
    assert table.features == ("age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6")
    assert (table.name, table.target) == ("diabetes", "progression")
    assert table.x[0].tolist() == [59, 2, 32.1, 101, 157, 93.2, 38, 4, 4.8598, 87]
    assert (table.y.min(), table.y.max()) == (25, 346)


@settings(max_examples=20, deadline=None)
@given(
    d=st.integers(2, 12),
    condition=st.floats(1, 1e6),
    more=st.integers(1, 1000),
    seed=st.integers(0, 9),
)
def test_a_made_table_has_the_condition_asked_for(
    d: int, condition: float, more: int, seed: int
) -> None:
    table = data.synthetic(d + more, d, noise=0, condition=condition, bias=3, seed=seed)
    assert table.features[0] == "x1"
    assert len(table.features) == d
    values = np.linalg.svd(table.x, compute_uv=False) / np.sqrt(d + more)
    assert values == pytest.approx(np.geomspace(1, 1 / condition, d), rel=1e-6)
    assert table.x.mean(axis=0) == pytest.approx(np.zeros(d), abs=1e-10)
    assert weights(d).tolist() == list(range(1, d + 1))
    assert table.y == pytest.approx(table.x @ weights(d) + 3, rel=1e-9)


def test_a_made_table_of_one_feature_with_noise() -> None:
    table = data.synthetic(100_000, noise=0.5, bias=1)
    assert (table.x.shape, table.features) == ((100_000,), ("x",))
    residual = table.y - table.x - 1
    assert residual.std() == pytest.approx(0.5, rel=0.02)
    assert np.mean(table.x**2) == pytest.approx(1)
    assert abs(np.corrcoef(residual, table.x)[0, 1]) < 0.02


def test_a_made_table_is_made_again_from_its_seed() -> None:
    first, again, other = (data.synthetic(50, 3, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first.x, again.x)
    assert np.array_equal(first.y, again.y)
    assert not np.array_equal(first.x, other.x)


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        ({"rows": 5, "features": 5}, "data.rows: 5 features need more than 5 rows, not 5. "
        "Type data.rows=50."),
        ({"rows": 10**7, "features": 100}, "data.rows: 10000000 rows of 100 features are "
        "1000000000 numbers, more than 200000000. Type data.rows=2000000 or less."),
        ({"rows": 9, "condition": 10.0}, "data.condition: one feature has the condition number 1, "
        "not 10. Type data.features=2 or more, or data.condition=1."),
    ],
)  # fmt: skip
def test_a_table_that_cannot_be_made(wanted: dict[str, int], sentence: str) -> None:
    with pytest.raises(ConfigError) as refused:
        data.synthetic(**wanted)
    assert str(refused.value) == sentence


@pytest.mark.parametrize("option", ["csv", "parquet", "diabetes", "synthetic"])
def test_an_option_says_what_each_of_its_keys_means(option: str) -> None:
    text = (CONF / "data" / f"{option}.yaml").read_text()
    node = yaml.safe_load(text)
    assert getattr(data, node["_target_"].rsplit(".")[-1]).__module__.startswith("gdexp.data.")
    lines = [line for line in text.splitlines() if not line.startswith(("#", "_target_"))]
    assert all(" # " in line for line in lines)


def test_diabetes_is_scikit_learns_to_the_last_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    from sklearn import datasets

    def refused(**_: object) -> None:
        raise AssertionError("imported to read two files")

    table, oracle = data.diabetes(), datasets.load_diabetes(scaled=False)
    with monkeypatch.context() as patched:
        patched.setattr(datasets, "load_diabetes", refused)
        assert np.array_equal(data.diabetes().x, table.x)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)  # no such files
    for read in (table, data.diabetes()):
        assert read.x.tobytes() == oracle.data.tobytes()
        assert read.y.tobytes() == oracle.target.tobytes()
        assert list(read.features) == oracle.feature_names
