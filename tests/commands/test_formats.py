"""Rows as CSV, JSON and Markdown: what a reader of the format gets is what was written."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import sys
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from gdexp.commands import formats
from gdexp.commands.formats import Spread
from gdexp.insight.report import page
from gdexp.insight.report.view import Setting

LETTERS = "ab1 ,;\"'\\\n\r\t|*_`~<>[]()!#&$=/.-:±é\U0001f600"
AWKWARD = st.text(st.sampled_from(LETTERS), max_size=12)
COLUMNS = st.lists(AWKWARD, min_size=1, max_size=3, unique=True)
VALUES = AWKWARD | st.floats() | st.integers() | st.booleans() | st.none()


@st.composite
def tables(draw: st.DrawFn, values: st.SearchStrategy[Any] = VALUES) -> list[dict[str, Any]]:
    columns = draw(COLUMNS)
    count = draw(st.integers(1, 3))
    return [{column: draw(values) for column in columns} for _ in range(count)]


@settings(deadline=None, max_examples=50)
@given(tables())
def test_csv_is_read_back(rows: list[dict[str, Any]]) -> None:
    written = formats.as_csv(rows)
    header, *lines = csv.reader(io.StringIO(written, newline=""))
    assert header == [*rows[0]]
    for line, row in zip(lines, rows, strict=True):
        for cell, value in zip(line, row.values(), strict=True):
            if isinstance(value, float) and not isinstance(value, bool):
                assert float(cell) == value or math.isnan(value)  # every digit
            else:
                assert cell == formats.text(value)


@settings(deadline=None, max_examples=50)
@given(tables())
def test_json_is_valid_and_read_back(rows: list[dict[str, Any]]) -> None:
    def refused(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    read = json.loads(formats.as_json(rows), parse_constant=refused)
    assert read == [
        {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}
        for row in rows
    ]


def test_json_is_valid_where_letters_cannot_be_encoded(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), "ascii", errors="backslashreplace")
    monkeypatch.setattr(sys, "stdout", stream)
    stream.write(formats.as_json([{"name": "größe"}]))
    stream.seek(0)
    assert json.loads(stream.buffer.read()) == [{"name": "größe"}]


class Cells(HTMLParser):
    """The content of a table's cells, and the markup within them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.cells: list[str] = []
        self.markup: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag in ("td", "th"):
            self.cells.append("")
        elif tag == "br":
            self.cells[-1] += "\n"
        elif tag not in ("table", "thead", "tbody", "tr"):
            self.markup.add(tag)

    def handle_data(self, data: str) -> None:
        if self.cells and data.strip("\n"):
            self.cells[-1] += data


@settings(deadline=None, max_examples=60)
@given(tables(st.text(st.sampled_from(LETTERS.replace("\r", "")), max_size=12)))
def test_markdown_shows_every_character_as_it_is(rows: list[dict[str, Any]]) -> None:
    columns = [f"c{i}" for i in range(len(rows[0]))]  # a table without a header is none
    rows = [dict(zip(columns, row.values(), strict=True)) for row in rows]
    reader = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    read = Cells(reader.render(formats.as_markdown(rows)))
    expected = [*columns, *(value for row in rows for value in row.values())]
    assert [_words(cell) for cell in read.cells] == [_words(cell) for cell in expected]
    assert not read.markup


def _words(cell: str) -> list[list[str]]:
    """The words of each line: Markdown does not keep spaces."""
    return [line.split() for line in cell.strip().split("\n")]


def test_markdown_is_what_the_table_shows() -> None:
    rows: list[formats.Row] = [
        {"run_id": "0123456789abcdef", "lr": 0.1234567890123, "final/loss": 1 / 3, "a_b": True},
        {"run_id": "f" * 32, "lr": None, "final/loss": Spread(1.5, 0.25), "a_b": "manual_sum"},
    ]
    assert formats.as_markdown(rows).splitlines() == [
        "| run_id | lr | final/loss | a_b |",
        "| --- | ---: | ---: | --- |",
        "| 01234567 | 0.1234567890123 | 0.333333 | true |",
        "| ffffffff |  | 1.5 ± 0.25 | manual_sum |",
    ]
    cells = [line.split() for line in formats.as_table(rows).splitlines()]
    assert cells[2] == ["01234567", "0.1234567890123", "0.333333", "true"]
    assert cells[3] == ["ffffffff", "1.5", "±", "0.25", "manual_sum"]


def test_a_narrow_terminal_cuts_nothing_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("NO_COLOR", "1")
    rows: list[formats.Row] = [
        {"step": "s" * 30, "n": 7, "final/loss": Spread(0.125, 0.25), "name": "x" * 40}
    ]
    shown = re.sub(r"\x1b\[[0-9;]*m", "", formats.as_table(rows))
    body = shown.rpartition("─\n")[2]
    assert max(map(len, shown.splitlines())) <= 40
    assert (body.count("s"), body.count("7"), body.count("x")) == (30, 1, 40)
    assert sorted(body.split()) == sorted([*re.findall("s+|x+", body), "7", "0.125", "±", "0.25"])


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_look_alike_in_tables_and_reports(value: float) -> None:
    typed = formats.cell("lr", value)
    assert typed == page.cell(Setting(value))
    assert float(typed) == value  # every digit of what was typed
    assert formats.cell("final/loss", value) == page.cell(value)


def test_numbers_are_short() -> None:
    assert [formats.cell("lr", v) for v in (10.0, 1e-08, 1e200, 0.13333334)] == [
        *("10", "1e-08", "1e200", "0.13333334")
    ]
    assert [formats.cell("final/loss", v) for v in (10.0, 1e-8, 0.13333334)] == [
        *("10", "1e-08", "0.133333")
    ]
