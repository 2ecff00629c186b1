"""A fitted predictor keeps its categories, its classes and its target's scale in plain values."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gdexp.config.compose import Composer, session
from gdexp.config.job import Job
from gdexp.descent.archive import pack, unpack
from gdexp.descent.build import build
from gdexp.descent.fitted import Fitted
from gdexp.descent.fitted_files import read_fitted
from gdexp.errors import ConfigError

CELLS = [np.array([2.0, 5.0]), np.array(["b", "a"], dtype=object)]


def fitted_of(folder: Path, *typed: str) -> Fitted:
    """A predictor at its start, fitted to a table with text."""
    frame = pd.DataFrame({"x": [1.0, 2, 3, 5], "kind": [*"abab"], "y": [1.0, 3, 2, 7]})
    frame.assign(state=[*"nyny"]).to_csv(folder / "t.csv", index=False)
    overrides = ["data=csv", f"data.path={folder}/t.csv", "data.standardize=true", *typed]
    with session():
        job = Job.of(Composer().compose(overrides), overrides)
    return Fitted.of(job, build(job))


NUMBERS = ("data.target=y", "data.drop=[state]", "data.standardize_target=true", "gradient=manual")
CLASSES = ("data.target=state", "data.drop=[y]", "step=model")


@pytest.mark.parametrize(
    "typed",
    [
        (*NUMBERS, "predictor.bias=true", "predictor.init=0.5"),
        (*CLASSES, "loss=BCEWithLogitsLoss", "predictor.init=torch"),
        (*CLASSES, "loss=CrossEntropyLoss", "predictor.init=torch"),
    ],
)
def test_a_whole_file_gives_the_same_answers(typed: tuple[str, ...], tmp_path: Path) -> None:
    fitted = fitted_of(tmp_path, *typed)
    again = read_fitted(fitted.packed())
    assert (again.columns, again.text) == (("x", "kind"), {"kind"})
    assert again.classes == fitted.classes
    assert again.target_scaling == fitted.target_scaling
    x = again.inputs(CELLS)
    assert x.tolist() == [[2, 0, 1], [5, 1, 0]]
    expected = fitted.answers(fitted.inputs(CELLS))
    assert {k: v.tolist() for k, v in again.answers(x).items()} == {
        k: v.tolist() for k, v in expected.items()
    }


def test_a_file_without_text_is_as_it_always_was(tmp_path: Path) -> None:
    typed = ("data.target=y", "data.features=[x]", "gradient=manual")
    packed = unpack(fitted_of(tmp_path, *typed).packed())
    assert list(packed) == ["settings", "features", "outputs", "scaling", "state"]


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ({"columns": ("x",)}, "its categories do not give its features"),
        ({"columns": "x"}, "its columns are not a list of names"),
        ({"columns": ...}, "it has no 'columns'"),
        ({"categories": ...}, "it has no 'categories'"),
        ({"categories": ("a", "b")}, "its categories is not a mapping"),
        ({"categories": {"kind": (1, 2)}}, "its categories are not lists of texts"),
        ({"categories": {"kind": ("a", "c")}}, "its categories do not give its features"),
        ({"target_scaling": 3.0}, "its target's scaling is not two numbers"),
        ({"target_scaling": (1.0, "2")}, "its target's scaling is not two numbers"),
        ({"target_scaling": (1.0, 0.0)}, "its target's scaling is not finite and positive"),
        ({"target_scaling": (float("nan"), 1.0)}, "its target's scaling is not finite and positi"),
        ({"classes": ("a", "b")}, "its classes are not 0 names"),
        ({"classes": 3}, "its classes are not 0 names"),
    ],
)
def test_what_is_wrong_is_named(parts: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    kept = unpack(fitted_of(tmp_path, *NUMBERS).packed()) | parts
    content = pack({name: part for name, part in kept.items() if part is not ...})
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}") as refused:
        read_fitted(content)
    assert not isinstance(refused.value, ConfigError)


def test_classes_must_have_names_enough(tmp_path: Path) -> None:
    kept = unpack(fitted_of(tmp_path, *CLASSES, "loss=BCEWithLogitsLoss").packed())
    with pytest.raises(ValueError, match=r"^its classes are not 2 names$"):
        read_fitted(pack(kept | {"classes": ("n",)}))
