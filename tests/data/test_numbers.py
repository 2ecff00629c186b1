"""What a number is: pandas' rule for every reader, and what to type where a cell is none."""

from __future__ import annotations

import io
import math

import numpy as np
import pandas as pd
import pytest

from gdexp.data.advice import advice, is_text, text_columns
from gdexp.data.numbers import EMPTY, Notation

CORRECT = "Correct it, or leave out the column with data.drop."


def test_a_number_is_what_pandas_reads_as_one() -> None:
    rng = np.random.default_rng(0)
    signs = np.array([*"0123456789+-.eE_ \tx", "inf", "nan", "1e5", "٣", "３"])
    cells = ["".join(rng.choice(signs, rng.integers(1, 6))).strip() for _ in range(3000)]
    cells += ["1_0", "٣", "0x10", "1e400", "9" * 25, "-9" * 9, "1.", ".5", ".", "+1", "InFiNiTy"]
    text = ",".join(map(str, range(len(cells)))) + "\n" + ",".join(f'"{cell}"' for cell in cells)
    row = pd.read_csv(io.StringIO(text), low_memory=False).iloc[0]
    kept = {"numbers": 0, "text": 0}
    for cell, read in zip(cells, row, strict=True):
        number = Notation().number(cell)
        if isinstance(read, str):
            assert number is None, cell
            kept["text"] += 1
        elif not math.isnan(read):
            assert number == float(read), cell
            kept["numbers"] += 1
    assert min(kept.values()) > 300


@pytest.mark.parametrize("cell", sorted(EMPTY))
def test_a_cell_that_pandas_takes_for_missing_is_empty(cell: str) -> None:
    assert pd.read_csv(io.StringIO(f'a,b\n"{cell}",1\n'))["a"].isna().all()
    number = Notation().number(f" {cell}\t")
    assert number is not None
    assert math.isnan(number)


@pytest.mark.parametrize(
    ("decimal", "thousands", "cells"),
    [
        ("comma", None, {"1,5": 1.5, "-,5": -0.5, "1,5e3": 1500.0, "1.5": None, "2": 2.0}),
        (
            "comma",
            "point",
            {"1.234,5": 1234.5, "1.234.567": 1234567.0, "1.23": None, "0.123": None},
        ),
        ("point", "comma", {"1,234.5": 1234.5, "1,5": None, "1,2345": None, "-1,000": -1000.0}),
        ("point", "space", {"1 234": 1234.0, "1\u202f234\u202f567": 1234567.0, "1 23": None}),
        ("point", "apostrophe", {"1'234.5": 1234.5, "1’234": 1234.0, "1'234’567": None}),
    ],
)
def test_decimals_and_thousands(
    decimal: str, thousands: str | None, cells: dict[str, float | None]
) -> None:
    notation = Notation(decimal, thousands)
    assert {cell: notation.number(cell) for cell in cells} == cells


@pytest.mark.parametrize(
    ("cell", "sentence"),
    {
        "1,5": "Type data.decimal=comma.",
        "0,123": "Type data.decimal=comma.",
        "1.234,5": "Type data.decimal=comma data.thousands=point.",
        "1,234.5": "Type data.thousands=comma.",
        "1,234": "Type data.decimal=comma if it is 1.234, or data.thousands=comma if it is 1234.",
        "1 234": "Type data.thousands=space.",
        "1'234.50": "Type data.thousands=apostrophe.",
        "12 €": "Write the number alone, without '€'.",
        "$1,200.50": "Write the number alone, without '$'. Type data.thousands=comma.",
        "45%": "Write the number alone, without '%'.",
        "3 rooms": "Write the number alone, without 'rooms'.",
        "?": "If it stands for a missing value, leave the cell empty.",
        "N.A.": "If it stands for a missing value, leave the cell empty.",
        "−1": "Write the minus sign as a hyphen, -.",
        "1_0": "Write it as 10.",
        "٣": "Write it as 3.",
        "-$3": "Write the number alone, without '$'.",
        "#DIV/0!": "If it stands for a missing value, leave the cell empty.",
        "(12.5)": "Write it as -12.5.",
        "12-": "Write it as -12.",
        '="007"': "Write it as 007.",
        "2026-11-25": "It looks like a date or a time: write numbers, such as days, or leave out "
        "the column with data.drop.",
        "# sum": "If the line is a comment, type data.comment='#'.",
        "old": CORRECT,
        "1,2,3": CORRECT,
        "€": CORRECT,
    }.items(),
)
def test_a_cell_that_is_no_number_comes_with_what_to_do(cell: str, sentence: str) -> None:
    assert advice(cell, Notation()) == sentence


def test_advice_depends_on_the_notation() -> None:
    german = Notation("comma", "point")
    assert advice("1.5", german) == "Type data.decimal=point data.thousands=null."
    assert advice("1.234", Notation("comma")) == (
        "Type data.decimal=point if it is 1.234, or data.thousands=point if it is 1234."
    )
    assert advice("12,5 €", german) == "Write the number alone, without '€'."


@pytest.mark.parametrize(
    ("expected", "cells"),
    {
        True: ["red", "1st", "4WD", "A12", "3+", "yes", "18-30", "(a)", "a-"],
        False: [
            "1",
            "True",
            "1,5",
            "12 kg",
            "€3",
            "2026-11-25",
            "12:30",
            "1-Nov-26",
            "2026/11/25",
            "Nov 25, 2026",
        ],
        None: ["", "NA", "?"],
    }.items(),
)
def test_whether_a_cell_is_a_word(expected: bool | None, cells: list[str]) -> None:
    assert {cell: is_text(cell, Notation()) for cell in cells} == dict.fromkeys(cells, expected)


def test_a_column_is_text_if_the_first_cell_that_tells_is_a_word() -> None:
    rows = iter([{"a": "", "b": "?", "c": "red"}, {"a": "x", "b": "1", "c": "2"}, {"a": "1"}])
    assert text_columns("abc", rows, Notation()) == {"a", "c"}
    assert next(rows) == {"a": "1"}  # not needed, so not taken
    assert text_columns("ab", [{"a": "?", "b": "NA"}, {"a": "-"}], Notation()) == {"a"}
