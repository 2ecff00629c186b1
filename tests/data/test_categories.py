"""Columns of text are categories: encoded as pandas does, fitted, recorded and predicted for."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers import CLI, client, last
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression, LogisticRegression

from gdexp import data, run
from gdexp.data.categories import Encoding, UnknownCategoryError, listed
from gdexp.errors import ConfigError

CITIES = ["Rome", "Oslo", "Bergen [NO]"]
FIT = ("tracking=off", "data.path=t.csv", "dtype=float64", "predictor.bias=true")
NEWTON = (
    *("step=model", "updater=LBFGS", "updater.line_search_fn=strong_wolfe", "lr=1", "iters=20"),
    *("updater.tolerance_grad=1e-12", "updater.tolerance_change=1e-15"),
)
HEAVY_BALL = ("step=manual", "updater=manual_momentum", "updater.momentum=0.9", "lr=0.2")


def houses(n: int = 60) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({
        "area": rng.uniform(1, 3, n),
        "city": rng.choice(CITIES, n),
        "garden": rng.choice([True, False], n),
        "state": rng.choice(["new", "old"], n),
    })  # fmt: skip
    worth = frame["city"].map({"Rome": 3.0, "Oslo": 1.0, "Bergen [NO]": -2.0})
    frame["price"] = 2 * frame["area"] + worth + frame["garden"] + rng.normal(0, 0.1, n)
    frame["sold"] = np.where(frame["price"] + rng.normal(0, 2, n) > 5, "yes", "no")
    return frame


@pytest.fixture
def frame(workdir: Path) -> pd.DataFrame:
    table = houses()
    table.to_csv("t.csv", index=False)
    table.astype({"city": "category"}).to_parquet("t.parquet")
    return table


def dummies(frame: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """One column per category, in sorted order, by pandas."""
    return pd.get_dummies(frame[[*columns]], prefix_sep="=", dtype=float).astype(float)


@pytest.mark.parametrize("kind", [data.csv, data.parquet])
def test_a_table_is_encoded_as_by_pandas(kind, frame: pd.DataFrame) -> None:  # type: ignore[no-untyped-def]
    source = kind(f"t.{kind.__name__}", "price", ["area", "city", "garden", "state"])
    table = source.load()
    expected = dummies(frame, "area", "city", "garden", "state")
    names = ("area", "city=Bergen [NO]", "city=Oslo", "city=Rome", "garden", "state=new",
             "state=old")  # fmt: skip
    assert table.features == names
    assert (table.classes, table.width) == ((), 7)
    np.testing.assert_array_equal(table.x, expected[[*names]].to_numpy())
    chunks = [*source.chunks(7)]
    assert [len(y) for _, y in chunks] == [7] * 8 + [4]
    np.testing.assert_array_equal(np.concatenate([x for x, _ in chunks]), table.x)


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.floats(-9, 9), st.sampled_from("xy")), min_size=1)
)
def test_encoded_cells_come_back(rows: list[tuple[str, float, str]]) -> None:
    first, number, second = (np.array(c, dtype=object) for c in zip(*rows, strict=True))
    cells = [first, number.astype(float), second]
    categories = {"p": tuple("abc"), "r": tuple("xy")}
    encoding = Encoding(("p", "q", "r"), categories)
    x = encoding.apply(cells)
    assert x.shape == (len(rows), 6) == (len(rows), len(encoding.features))
    assert encoding.indicators.tolist() == [True, True, True, False, True, True]
    for cell, again in zip(cells, encoding.undo(x), strict=True):
        assert cell.tolist() == again.tolist()


def test_an_unknown_category_is_named_with_the_known_ones() -> None:
    encoding = Encoding(("city",), {"city": ("Oslo", "Rome")})
    with pytest.raises(UnknownCategoryError) as refused:
        encoding.apply([np.array(["Rome", "oslo"], dtype=object)])
    assert str(refused.value) == (
        "column 'city': 'oslo' is not one of its categories. The run knows 'Oslo', 'Rome'. "
        "Did you mean Oslo?"
    )
    assert (refused.value.row, refused.value.column) == (1, "city")
    with pytest.raises(UnknownCategoryError, match=r"^column 'city': the cell is empty"):
        encoding.apply([np.array([None], dtype=object)])
    assert listed([*"abcdefghijklmn"]).endswith("'k', 'l' and 2 more")


@pytest.mark.parametrize("how", ["", "data.standardize=true", "data.compress=true",
                                 "data.compress=true data.standardize=true"])  # fmt: skip
def test_a_linear_fit_predicts_as_scikit_learns(how: str, frame: pd.DataFrame) -> None:
    csv = ("data=csv", "data.target=price", "data.features=[area,city,garden]")
    fit = (*HEAVY_BALL, "gradient=manual", "iters=1500", *how.split())
    result = run(*FIT, *csv, *fit)
    x = dummies(frame, "area", "city", "garden")
    expected = LinearRegression().fit(x.to_numpy(), frame["price"])
    names = ["area", "city=Bergen [NO]", "city=Oslo", "city=Rome", "garden", "intercept"]
    assert list(result.coefficients) == names
    weights = np.array([*result.coefficients.values()])
    said = x[names[:-1]].to_numpy() @ weights[:-1] + weights[-1]
    np.testing.assert_allclose(said, expected.predict(x.to_numpy()), rtol=1e-6)
    assert result.fitted is not None
    assert result.fitted.columns == ("area", "city", "garden")
    cells = [frame[name].to_numpy() for name in result.fitted.columns]
    np.testing.assert_allclose(result.fitted(result.fitted.inputs(cells)), said, rtol=1e-9)


def test_a_category_that_no_training_row_has_is_no_constant_column(workdir: Path) -> None:
    rows = [f"{k},{'rare' if k == 0 else 'ab'[k % 2]},{k}" for k in range(20)]
    Path("t.csv").write_text("x,kind,y\n" + "\n".join(rows) + "\n")
    outcomes = set()
    for seed in range(4):
        how = ("data.standardize=true", "data.validation=0.5", f"seed={seed}", "iters=9")
        result = run(*FIT, "data=csv", "data.target=y", "gradient=manual", *how)
        scale = result.data.scaling.scale[-1]  # type: ignore[union-attr]
        outcomes.add(scale == 1)
        assert np.isfinite([*result.scores.values()]).all()
    assert outcomes == {True, False}
    Path("t.csv").write_text("x,kind,y\n1,a,2\n2,a,3\n4,a,1\n")
    short = ("data.standardize=true", "data.compress=true", "gradient=manual")
    assert run(*FIT, "data=csv", "data.target=y", *short).data.scaling.scale[-1] == 1  # type: ignore[union-attr]


@pytest.mark.parametrize("by_hand", [True, False])
def test_two_classes_by_name(by_hand: bool, frame: pd.DataFrame) -> None:
    csv = ("data=csv", "data.target=sold", "data.features=[area,state]", "data.standardize=true")
    torchs = (*NEWTON, "loss=BCEWithLogitsLoss")
    manual = (*HEAVY_BALL, "loss=manual_logistic", "gradient=manual_logistic", "iters=800")
    result = run(*FIT, *csv, *(manual if by_hand else torchs))
    x = dummies(frame, "area", "state")
    expected = LogisticRegression(C=np.inf, tol=1e-10, max_iter=10000).fit(
        x.to_numpy(), frame["sold"]
    )
    assert result.scores == {
        "final/accuracy": pytest.approx(expected.score(x.to_numpy(), frame["sold"]))
    }
    assert result.fitted is not None
    answers = result.fitted.answers(result.fitted.inputs([frame["area"], frame["state"]]))  # type: ignore[list-item]
    assert list(answers) == ["prediction", "probability_yes"]
    assert answers["prediction"].tolist() == expected.predict(x.to_numpy()).tolist()
    sure = expected.predict_proba(x.to_numpy())[:, 1]
    np.testing.assert_allclose(answers["probability_yes"], sure, atol=1e-4)


def test_several_classes_by_name(frame: pd.DataFrame) -> None:
    csv = ("data=csv", "data.target=city", "data.features=[area,price]", "data.standardize=true")
    result = run(*FIT, *csv, *NEWTON, "loss=CrossEntropyLoss")
    x = frame[["area", "price"]].to_numpy()
    expected = LogisticRegression(C=np.inf, tol=1e-10, max_iter=10000).fit(x, frame["city"])
    assert result.fitted is not None
    answers = result.fitted.answers(x)
    assert list(answers) == [
        "prediction", "probability_Bergen [NO]", "probability_Oslo", "probability_Rome"
    ]  # fmt: skip
    assert answers["prediction"].tolist() == expected.predict(x).tolist()
    found = np.column_stack([*answers.values()][1:]).astype(float)
    np.testing.assert_allclose(found, expected.predict_proba(x), atol=1e-4)


def test_numeric_classes_stay_numbers(workdir: Path) -> None:
    Path("t.csv").write_text("x,y\n" + "".join(f"{k},{k % 2}\n" for k in range(9)))
    result = run(*FIT, "data=csv", "data.target=y", "step=model", "loss=BCEWithLogitsLoss")
    assert result.fitted is not None
    assert list(result.fitted.answers(np.zeros((1, 1)))) == ["prediction"]
    assert result.fitted.classes == ()


def test_empty_texts_are_refused_or_dropped(workdir: Path) -> None:
    Path("t.csv").write_text("x,kind,y\n1,a,2\n2,,3\n4,b,1\n,c,1\n")
    with pytest.raises(ConfigError) as refused:
        data.csv("t.csv", "y").load()
    assert str(refused.value) == (
        "data.path: t.csv, line 3, column 'kind': '' is empty. Fill it in, or type "
        "data.missing=drop to leave such rows out."
    )
    table = data.csv("t.csv", "y", missing="drop").load()
    assert table.features == ("x", "kind=a", "kind=b")  # c occurs only in a row that is dropped
    assert table.x.tolist() == [[1, 1, 0], [4, 0, 1]]


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        ("y", "data.features: column 'id' holds 21 different texts in 21 rows, too many for "
         "categories. Type data.drop=[id] to leave it out."),
        ("id", "data.target: column 'id' holds 21 different texts in 21 rows, too many for "
         "categories. Name another."),
    ],
)  # fmt: skip
def test_a_column_of_names_is_no_category(target: str, sentence: str, workdir: Path) -> None:
    Path("t.csv").write_text("id,y\n" + "".join(f"n{k},{k}\n" for k in range(21)))
    with pytest.raises(ConfigError) as refused:
        data.csv("t.csv", target).load()
    assert str(refused.value) == sentence
    twice = "".join(f"n{k},{k}\n" for k in range(21)) * 2
    Path("t.csv").write_text("id,y\n" + twice)
    assert data.csv("t.csv", "y").load().width == 21


def test_the_digest_knows_the_categories(workdir: Path) -> None:
    def digest(text: str) -> str:
        Path("t.csv").write_text(text)
        result = run(*FIT, "data=csv", "data.target=y", "gradient=manual", "data.compress=true")
        whole = run(*FIT, "data=csv", "data.target=y", "gradient=manual")
        assert result.data is not None
        assert whole.data is not None
        assert result.data.digest == whole.data.digest
        return whole.data.digest

    digests = [digest(f"kind,y\n{a},1\n{b},2\n") for a, b in ("ab", "ac", "ba")]
    assert len(set(digests)) == 3


def test_predict_knows_the_categories_and_names_the_classes(store: Path, cli: CLI) -> None:
    houses().to_csv("t.csv", index=False)
    typed = ("data=csv", "data.path=t.csv", "data.target=sold", "data.drop=[price,garden]")
    ended = cli(*typed, "step=model", "loss=BCEWithLogitsLoss", "data.standardize=true")
    assert "classes: 0 is 'no', 1 is 'yes'" in ended.err.splitlines()
    recorded = last(client(store))
    assert recorded.data.tags["gdexp.classes"] == "0 is 'no', 1 is 'yes'"
    Path("new.csv").write_text("state,city,area\nold,Rome,2.5\nnew,Bergen [NO],1.25\n")
    answer = pd.read_csv(io.StringIO(cli("predict", recorded.info.run_id, "new.csv").out))
    assert list(answer) == ["state", "city", "area", "prediction", "probability_yes"]
    assert (
        answer["prediction"].tolist()
        == np.where(answer["probability_yes"] > 0.5, "yes", "no").tolist()
    )
    for text, why in {
        "old,Roma,2": "new.csv, line 2, column 'city': 'Roma' is not one of its categories. The "
        "run knows 'Bergen [NO]', 'Oslo', 'Rome'. Did you mean Rome?",
        "old,,2": "new.csv, line 2, column 'city': '' is not one of the run's categories. Correct "
        "it.",
    }.items():
        Path("new.csv").write_text(f"state,city,area\n{text}\n")
        refused = cli("predict", recorded.info.run_id, "new.csv")
        assert (refused.code, refused.err) == (2, f"gdexp: {why}\n")


def test_a_sweep_over_a_table_with_text_predicts_too(store: Path, cli: CLI) -> None:
    houses().to_parquet("t.parquet")
    typed = ("data=parquet", "data.path=t.parquet", "data.target=city", "data.features=[area,sold]")
    assert cli("-m", *typed, "step=model", "loss=CrossEntropyLoss", "lr=0.1,0.2").code == 0
    Path("new.csv").write_text("area;sold\n2,5;yes\n")
    notation = ("--separator", "semicolon", "--decimal", "comma")
    ended = cli("predict", last(client(store)).info.run_id, "new.csv", *notation)
    assert ended.err == ""
    header, row = ended.out.splitlines()
    assert header == "area;sold;prediction"
    assert row.removeprefix("2,5;yes;") in CITIES
