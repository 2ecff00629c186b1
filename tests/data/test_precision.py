"""Numbers that float32 cannot hold are refused before a run, with dtype=float64."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers import CLI

from gdexp.data.precision import check_fits

OWN = "data.target=y data={0} data.path=t.{0}"


@pytest.mark.parametrize(
    ("typed", "what"),
    [
        ("data.x=[1,2,3,1e39]", "data: column 'x' holds 1e+39"),
        ("data.y=[1,2,3,-1e39]", "data: column 'y' holds 1e+39"),
        (OWN.format("csv"), "data: column 'big' holds 2e+39"),
        (OWN.format("parquet"), "data: column 'big' holds 2e+39"),
        (
            OWN.format("csv") + " data.features=[a] data.target=big",
            "data: column 'big' holds 2e+39",
        ),
        ("predict_at=-1e39", "predict_at: f(x) is printed at 1e+39"),
        ("data.x=[1,2,1e39,4] data.validation=0.5", "data: column 'x' holds 1e+39"),
    ],
)
def test_a_number_too_large_for_float32(typed: str, what: str, workdir: Path, cli: CLI) -> None:
    frame = pd.DataFrame({"a": [1.0, 2], "big": [1.0, -2e39], "y": [1.0, 2]})
    frame.to_csv("t.csv", index=False)
    frame.to_parquet("t.parquet")
    ended = cli(*typed.split())
    assert ended.err == (
        f"gdexp: {what}, which does not fit in float32 (up to 3.4e+38). Type dtype=float64.\n"
    )
    assert (ended.code, ended.out, Path("outputs").exists()) == (2, "", False)


def test_the_largest_number_of_float32_fits() -> None:
    check_fits("x:", np.finfo(np.float32).max, "float32")
    check_fits("x:", 1e39, "float64")
    check_fits("x:", 0.0, "float32")
    with pytest.raises(ValueError, match=r"x: 1e-50, which does not fit in float32 \(from 1.2e-38"):
        check_fits("x:", np.array([0, -1e-50]), "float32")


def test_a_large_column_that_is_standardized_fits(workdir: Path, cli: CLI) -> None:
    Path("t.csv").write_text("x,y\n1e39,1\n2e39,2\n4e39,3\n")
    typed = f"step=manual gradient=manual {OWN.format('csv')} data.standardize=true tracking=off"
    assert cli(*typed.split()).code == 0
