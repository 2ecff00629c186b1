"""CSV and Parquet files: read to the last bit, or refused with the line and the column."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers import csv_refusal

from gdexp import data
from gdexp.data import Source
from gdexp.data.compress import Digest, digest
from gdexp.errors import ConfigError

Writer = Callable[[pd.DataFrame, Path], None]


def write_csv(frame: pd.DataFrame, path: Path) -> None:
    frame.to_csv(path, index=False)


def write_parquet(frame: pd.DataFrame, path: Path) -> None:
    frame.to_parquet(path, row_group_size=400)


FORMATS = pytest.mark.parametrize(
    ("write", "read"),
    [(write_csv, data.csv), (write_parquet, data.parquet)],
    ids=["csv", "parquet"],
)
Reader = Callable[..., Source]


@pytest.fixture
def frame() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "a": rng.standard_normal(1000) * 1e-9,
            "y": rng.standard_normal(1000),
            "b": rng.integers(-1000, 1000, 1000),
            "c": rng.random(1000) > 0.5,
        }
    )


@FORMATS
def test_a_file_is_read_to_the_last_bit(
    write: Writer, read: Reader, frame: pd.DataFrame, workdir: Path
) -> None:
    write(frame, workdir / "table.data")
    source = read("table.data", "y")
    loaded = source.load()
    assert (loaded.name, loaded.features, loaded.target) == ("table", ("a", "b", "c"), "y")
    assert loaded.width == 3
    assert loaded.x.dtype == loaded.y.dtype == np.float64
    assert np.array_equal(loaded.x, frame[["a", "b", "c"]].to_numpy(np.float64))
    assert np.array_equal(loaded.y, frame["y"])
    for rows in (99, 300, 5000):
        pieces = list(source.chunks(rows))
        assert {len(y) for _, y in pieces[:-1]} <= {rows}
        assert np.array_equal(np.concatenate([x for x, _ in pieces]), loaded.x)
        assert np.array_equal(np.concatenate([y for _, y in pieces]), loaded.y)
    found = Digest(3)
    assert sum(len(y) for _, y in found.reading(source.chunks(100))) == 1000
    assert str(found) == digest(loaded)


@FORMATS
def test_features_come_in_the_order_asked_for(
    write: Writer, read: Reader, frame: pd.DataFrame, workdir: Path
) -> None:
    write(frame, workdir / "table.data")
    two = read("table.data", "y", ["c", "a"], name="mine").load()
    assert (two.name, two.features) == ("mine", ("c", "a"))
    assert np.array_equal(two.x, frame[["c", "a"]].to_numpy(np.float64))
    one = read("table.data", "a", ["y"]).load()
    assert one.x.shape == one.y.shape == (1000,)
    assert np.array_equal(one.x, frame["y"])


@FORMATS
def test_a_path_may_start_at_home(
    write: Writer, read: Reader, frame: pd.DataFrame, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (workdir / "home").mkdir()
    monkeypatch.setenv("HOME", str(workdir / "home"))
    write(frame, workdir / "home" / "table.data")
    assert len(read("~/table.data", "y").load().y) == 1000


@FORMATS
def test_rows_with_empty_cells_are_dropped_when_asked(
    write: Writer, read: Reader, frame: pd.DataFrame, workdir: Path
) -> None:
    holes = frame.assign(c=frame["c"].astype(float))
    holes.loc[[3, 500], "a"] = None
    holes.loc[[500, 999], "y"] = np.nan
    write(holes, workdir / "table.data")
    loaded = read("table.data", "y", missing="drop").load()
    assert np.array_equal(loaded.x, holes.dropna()[["a", "b", "c"]].to_numpy())
    assert len(loaded.y) == 997


@pytest.mark.parametrize(
    ("text", "settings"),
    {
        "a byte-order mark": ("\ufeffx,y\n1,2\n3,4\n", {}),
        "semicolons": ("x;y\n1;2\n3;4\n", {"separator": "semicolon"}),
        "tabs": ("x\ty\n1\t2\n3\t4\n", {"separator": "tab"}),
        "aligned columns": ("  x   y \n  1   2 \n\t3\t4\t\n  \n", {"separator": "space"}),
        "spaces after commas": ('x, "y"\n1, "2"\n3, 4\n', {}),
        "Windows' line ends": ("x,y\r\n1,2\r\n3,4\r\n", {}),
        "no last line end": ("x,y\n1,2\n3,4", {}),
        "blank lines": ("\nx,y\n\n1,2\n  \n3,4\n\n", {}),
        "quotes": ('"x","y"\n"1","2"\n"3","4"\n', {}),
        "a name over two lines": ('x,y,"z\n"\n1,2,0\n3,4,0\n', {"features": ["x"]}),
        "a column of texts left out": ("x,who,y\n1,me,2\n3,you,4\n", {"features": ["x"]}),
        "a column without a name left out": (",x,y\n0,1,2\n1,3,4\n", {"features": ["x"]}),
        "exponents": ("x,y\n1e0,0.2E1\n+3,4.\n", {}),
    }.values(),
    ids=lambda value: None if isinstance(value, dict) else repr(value),
)
def test_the_ways_to_write_a_csv_file(
    text: str, settings: dict[str, object], workdir: Path
) -> None:
    (workdir / "t.csv").write_bytes(text.encode())
    loaded = data.csv("t.csv", "y", **settings).load()  # type: ignore[arg-type]
    assert loaded.features == ("x",)
    assert loaded.x.tolist() == [1, 3]
    assert loaded.y.tolist() == [2, 4]


def test_true_and_false_are_1_and_0_whatever_stands_beside_them(workdir: Path) -> None:
    (workdir / "t.csv").write_text("x,y\ntrue,1\nFALSE,2\nTrue,3\n,4\n1,5\n0,6\n")
    for rows in (1, 2, 100):
        pieces = data.csv("t.csv", "y", missing="drop").chunks(rows)
        assert [v for x, _ in pieces for v in x[:, 0].tolist()] == [1, 0, 1, 1, 0]


def test_columns_named_by_numbers(workdir: Path) -> None:
    (workdir / "t.csv").write_text("0,1,2\n5,6,7\n")
    loaded = data.csv("t.csv", 2, [1], header=True).load()  # type: ignore[list-item]
    assert (loaded.features, loaded.target) == (("1",), "2")
    assert (loaded.x.tolist(), loaded.y.tolist()) == ([6], [7])


CORRECT = "Correct it, or leave out the column with data.drop."
FILL = "is empty. Fill it in, or type data.missing=drop to leave such rows out."
GOOD = "age,bmi,y\n1,2,3\n4,5,6\n"
LONG = ",".join(f"c{j}" for j in range(20))

REFUSED: dict[str, tuple[str | bytes, dict[str, object], str]] = {
    "no path": (GOOD, {"path": None}, "data.path: name the file to read, as in "
    "data.path=table.csv."),
    "a URL": (GOOD, {"path": "https://a.b/t.csv"}, "data.path: https://a.b/t.csv is a URL. "
    "Download the file, and name the copy."),
    "no file": (GOOD, {"path": "tt.csv"}, "data.path: there is no file {dir}/tt.csv. Did you mean "
    "data.path=t.csv?"),
    "no such user": (GOOD, {"path": "~no-such-user"}, "data.path: there is no file "
    "{dir}/~no-such-user."),
    "no folder": (GOOD, {"path": "no/t.csv"}, "data.path: there is no file {dir}/no/t.csv."),
    "a folder": (GOOD, {"path": "."}, "data.path: {dir} is a folder. Name a file in it; "
    "a folder of Parquet files is data=parquet."),
    "a device": (GOOD, {"path": "/dev/null"}, "data.path: /dev/null is a pipe or a device. Name a "
    "file that holds the table."),
    "no target": (GOOD, {"target": None}, "data.target: name the column to predict, as in "
    "data.target=y. It has: age, bmi, y."),
    "unknown target": (GOOD, {"target": "yy"}, "data.target: the file has no column 'yy'. It has: "
    "age, bmi, y. Did you mean y?"),
    "unknown feature": (GOOD, {"features": ["agee"]}, "data.features: the file has no column "
    "'agee'. It has: age, bmi, y. Did you mean age?"),
    "many columns": (f"{LONG}\n", {"target": "zzz"}, "data.target: the file has no column 'zzz'. "
    "It has: c0, c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, c11 and 8 more."),
    "target as feature": (GOOD, {"features": ["age", "y"]}, "data.features: 'y' is the column to "
    "predict, data.target. Leave it out."),
    "feature twice": (GOOD, {"features": ["age", "age"]}, "data.features: 'age' is listed twice. "
    "List it once."),
    "no features": (GOOD, {"features": []}, "data.features: name one column or more, or type null "
    "for all but the target."),
    "features no list": (GOOD, {"features": "age"}, "data.features: 'age' is not a list of "
    "columns. Type data.features=[age]."),
    "one column": ("y\n1\n", {}, "data.features: 'y' is the file's only column, so there is "
    "nothing to predict it from."),
    "a text": ("age,bmi,y\n1,2,3\n\n4,old,6\n", {}, "data.path: t.csv, line 4, column 'bmi': 'old' "
    f"is not a number. {CORRECT}"),
    "a text, dropping": ("age,bmi,y\n1,2,3\n,4,5\n4,old,6\n", {"missing": "drop"}, "data.path: "
    f"t.csv, line 4, column 'bmi': 'old' is not a number. {CORRECT}"),
    "a class": ("age,bmi,y\n1,2,0\n1,2,yes\n", {}, "data.path: t.csv, line 3, column 'y': 'yes' "
    f"is not a number. {CORRECT}"),
    "a long text": (f"age,bmi,y\n1,2,3\n1,{'z' * 99},3\n", {}, "data.path: t.csv, line 3, "
    f"column 'bmi': '{'z' * 39}…' is not a number. {CORRECT}"),
    "a decimal comma": ('age,bmi,y\n1,"2,5",3\n', {}, "data.path: t.csv, line 2, column 'bmi': "
    "'2,5' is not a number. Type data.decimal=comma."),
    "an empty cell": ("age,bmi,y\n1,2,3\n4,,6\n", {}, "data.path: t.csv, line 3, column 'bmi': '' "
    f"{FILL}"),
    "NA": ("age,bmi,y\n1,2,3\n4,5,NA\n", {}, "data.path: t.csv, line 3, column 'y': 'NA' " + FILL),
    "nan": ("age,bmi,y\n1,2,3\nnan,5,6\n", {}, "data.path: t.csv, line 3, column 'age': 'nan' "
    f"{FILL}"),
    "a short line": ("age,bmi,y\n1,2,3\n4,5\n", {}, "data.path: t.csv, line 3, column 'y': '' "
    f"{FILL}"),
    "infinite": ("age,bmi,y\n1,2,3\n-inf,5,6\n", {"missing": "drop"}, "data.path: t.csv, line 3, "
    "column 'age': '-inf' is not finite. Correct it."),
    "too large": ("age,bmi,y\n1,2,3\n1e400,5,6\n", {}, "data.path: t.csv, line 3, column 'age': "
    "'1e400' is not finite. Correct it."),
    "after a cell of two lines": ('age,bmi,y,z\n1,2,3,"a\nb"\n4,x,6,c\n', {"features": ["bmi"]},
    f"data.path: t.csv, line 4, column 'bmi': 'x' is not a number. {CORRECT}"),
    "no rows": ("age,bmi,y\n", {}, "data.path: {dir}/t.csv has no rows to fit."),
    "none left": ("age,bmi,y\n1,,3\n", {"missing": "drop"}, "data.path: {dir}/t.csv has no rows "
    "to fit: each has an empty cell."),
    "an empty file": ("", {}, "data.path: {dir}/t.csv is empty."),
    "blank lines alone": ("\n \n", {}, "data.path: {dir}/t.csv is empty."),
    "no text": (b"PAR1\xff\xfe\x00", {}, "data.path: {dir}/t.csv is a Parquet file. "
    "Type data=parquet."),
    "no text later": (b"age,bmi,y\n" + b"1,2,3\n" * 9999 + b"\xff,2,3\n", {}, "data.path: "
    "{dir}/t.csv is not UTF-8 text. Type data.encoding=cp1252 if Windows or Excel wrote it, else "
    "the name of its encoding, such as latin1."),
    "an open quote": ('age,bmi,y\n1,"2,3\n', {}, "data.path: {dir}/t.csv is not a CSV file: EOF "
    "inside string starting at row 1."),
    "names twice": ("age,age,y\n1,2,3\n", {}, "data.path: two columns are named 'age'. Rename "
    "one of them."),
    "no name": ("age,,y\n0,1,2\n", {}, "data.features: column 2 of the file has no name. Give it "
    "one, or name the columns to use, as in data.features=[a,b]."),
    "semicolons": ("age;bmi;y\n1;2;3\n", {}, "data.separator: no comma separates the names in the "
    "first line of t.csv, 'age;bmi;y'. Did you mean data.separator=semicolon?"),
    "commas": (GOOD, {"separator": "tab"}, "data.separator: no tab separates the names in the "
    "first line of t.csv, 'age,bmi,y'. Did you mean data.separator=comma?"),
    "a long first line": ("age,bmi,y\n1,2,3,4\n5,6,7,8\n", {}, "data.path: t.csv, line 2 has 4 "
    "cells, and the first line names 3 columns. Give each column a name."),
    "numbered rows": ("age,bmi,y\n0,2,3,4\n1,6,7,8\n", {}, "data.path: t.csv, line 2 has 4 "
    "cells, and the first line names 3 columns. Give each column a name."),
    "a long line": ("age,bmi,y\n1,2,3\n5,6,7,8\n", {}, "data.path: {dir}/t.csv is not a CSV file: "
    "Expected 3 fields in line 3, saw 4."),
}  # fmt: skip


@pytest.mark.parametrize(("content", "settings", "sentence"), REFUSED.values(), ids=REFUSED)
def test_a_csv_file_that_cannot_be_fitted(
    content: str | bytes, settings: dict[str, object], sentence: str, workdir: Path
) -> None:
    assert csv_refusal(workdir, content, settings) == sentence.replace("{dir}", str(workdir))


@pytest.mark.parametrize(("cell", "why"), [("x", "'x' is not a number"), ("", "'' is empty")])
def test_a_bad_cell_is_found_in_any_chunk(cell: str, why: str, workdir: Path) -> None:
    (workdir / "t.csv").write_text("x,y\n" + "1,2\n" * 100 + f"1,{cell}\n")
    for rows in (7, 25, 100, 101):
        with pytest.raises(ConfigError, match=f"line 102, column 'y': {why}"):
            list(data.csv("t.csv", "y").chunks(rows))


def test_a_text_far_below_numbers_is_found_without_a_warning(workdir: Path) -> None:
    names = ",".join([*(f"x{j}" for j in range(63)), "y"])
    (workdir / "t.csv").write_text(f"{names}\n" + f"{'1,' * 63}2\n" * 9999 + f"{'1,' * 63}x\n")
    with pytest.raises(ConfigError, match="line 10001, column 'y': 'x' is not a number"):
        data.csv("t.csv", "y").load()


def test_the_name_of_a_file_says_nothing_about_what_is_in_it(workdir: Path) -> None:
    (workdir / "t.zip").write_text(GOOD)
    assert data.csv("t.zip", "y").load().y.tolist() == [3, 6]


def test_whole_numbers_too_large_for_a_float_are_rounded(workdir: Path) -> None:
    pd.DataFrame({"x": [2**53 + 1, 2**60], "y": [1, 2]}).to_parquet(workdir / "t.parquet")
    assert data.parquet("t.parquet", "y").load().x.tolist() == [2.0**53, 2.0**60]


REFUSED_PARQUET: dict[str, tuple[dict[str, object], dict[str, object], str]] = {
    "no file": ({"y": [1]}, {"path": "u.parquet"}, "data.path: there is no file {dir}/u.parquet. "
    "Did you mean data.path=t.parquet?"),
    "no path": ({"y": [1]}, {"path": None}, "data.path: name the file to read, as in "
    "data.path=table.parquet."),
    "no target": ({"x": [1], "y": [1]}, {"target": None}, "data.target: name the column to "
    "predict, as in data.target=y. It has: x, y."),
    "texts": ({"x": ["1", "a"], "y": [1, 2]}, {}, "data.path: t.parquet, row 2, column 'x': "
    f"'a' is not a number. {CORRECT}"),
    "null": ({"x": [1, None], "y": [1, 2]}, {}, f"data.path: t.parquet, row 2, column 'x': the "
    f"cell {FILL}"),
    "nulls": ({"x": [None, None], "y": [1, 2]}, {"missing": "drop"}, "data.path: {dir}/t.parquet "
    "has no rows to fit: each has an empty cell."),
    "infinite": ({"x": [1, 2], "y": [1, np.inf]}, {}, "data.path: t.parquet, row 2, column 'y': "
    "the cell is not finite. Correct it."),
    "no rows": ({"x": np.empty(0), "y": np.empty(0)}, {}, "data.path: {dir}/t.parquet has no rows "
    "to fit."),
}  # fmt: skip


@pytest.mark.parametrize(
    ("content", "settings", "sentence"), REFUSED_PARQUET.values(), ids=REFUSED_PARQUET
)
def test_a_parquet_file_that_cannot_be_fitted(
    content: dict[str, object], settings: dict[str, object], sentence: str, workdir: Path
) -> None:
    pd.DataFrame(content).to_parquet(workdir / "t.parquet")
    with pytest.raises(ConfigError) as refused:
        data.parquet(**({"path": "t.parquet", "target": "y"} | settings)).load()  # type: ignore[arg-type]
    assert str(refused.value) == sentence.replace("{dir}", str(workdir))


def test_a_file_that_is_no_parquet_file(workdir: Path) -> None:
    (workdir / "t.csv").write_text(GOOD)
    with pytest.raises(ConfigError) as refused:
        data.parquet("t.csv", "y").load()
    assert str(refused.value).startswith(f"data.path: {workdir}/t.csv cannot be read as Parquet: ")
    assert str(refused.value).endswith(". For a CSV file, type data=csv.")


def test_a_file_that_goes_away(workdir: Path) -> None:
    (workdir / "t.csv").write_text(GOOD)
    source = data.csv("t.csv", "y")
    (workdir / "t.csv").unlink()
    with pytest.raises(ConfigError, match=r"t\.csv cannot be read: No such file or directory\.$"):
        source.load()
