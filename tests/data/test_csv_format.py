"""CSV files as people have them: encodings, compression, notations, headers, comments, indices."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers import csv_refusal

from gdexp import data
from gdexp.data.csv_file import CsvFile
from gdexp.data.csv_format import Format
from gdexp.errors import ConfigError

TEXT = "größe,y\n1,2\n3,4\n"


@pytest.mark.parametrize(
    ("encoding", "settings"),
    [("utf-8", {}), ("utf-8-sig", {}), ("utf-16", {}), ("utf-32", {})]
    + [(name, {"encoding": name}) for name in ("utf-8", "cp1252", "latin1", "utf-16", "utf-16-le")],
)
def test_encodings(encoding: str, settings: dict[str, str], workdir: Path) -> None:
    (workdir / "t.csv").write_bytes(TEXT.encode(encoding))
    loaded = data.csv("t.csv", "y", **settings).load()  # type: ignore[arg-type]
    assert (loaded.features, loaded.x.tolist(), loaded.y.tolist()) == (("größe",), [1, 3], [2, 4])


def zipped(path: Path, content: bytes) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("folder/", b"")
        archive.writestr("folder/table.csv", content)
        archive.writestr("__MACOSX/folder/._table.csv", b"\0")


@pytest.mark.parametrize(
    "write",
    [
        lambda path, content: path.write_bytes(gzip.compress(content)),
        lambda path, content: path.write_bytes(bz2.compress(content)),
        lambda path, content: path.write_bytes(lzma.compress(content)),
        zipped,
    ],
    ids=["gzip", "bzip2", "xz", "zip"],
)
def test_a_compressed_file_whatever_its_name(
    write: Callable[[Path, bytes], None], workdir: Path
) -> None:
    frame = pd.DataFrame(
        np.random.default_rng(0).standard_normal((5000, 3)), columns=["a", "b", "y"]
    )
    write(workdir / "t.csv", frame.to_csv(index=False).encode("utf-16"))
    loaded = data.csv("t.csv", "y").load()
    assert np.array_equal(loaded.x, frame[["a", "b"]])
    assert np.array_equal(loaded.y, frame["y"])


@pytest.mark.parametrize(
    ("text", "settings"),
    {
        "decimal commas": (
            "x;y\n1,5;2\n-3,25;4e1\n",
            {"decimal": "comma", "separator": "semicolon"},
        ),
        "quoted": ('x,y\n"1,5",2\n"-3,25",40\n', {"decimal": "comma"}),
        "pipes": ("x|y\n1.5|2\n-3.25|40\n", {"separator": "pipe"}),
        "comments": ("# by hand\n\nx,y\n# first\n1.5,2\n#,,,,\n-3.25,40\n", {"comment": "#"}),
        "long comments": ("// a\nx,y\n1.5,2\n  // b\n-3.25,40\n", {"comment": "//"}),
    }.values(),
    ids=str,
)
def test_notations(text: str, settings: dict[str, str], workdir: Path) -> None:
    (workdir / "t.csv").write_text(text)
    loaded = data.csv("t.csv", "y", **settings).load()  # type: ignore[arg-type]
    assert (loaded.x.tolist(), loaded.y.tolist()) == ([1.5, -3.25], [2, 40])


def test_thousands_in_some_rows_of_any_chunk(workdir: Path) -> None:
    numbers = [float(number) for number in range(0, 3_000_000, 1234)]
    lines = (f'"{number:,.1f}",1' for number in numbers)
    (workdir / "t.csv").write_text("x,y\n" + "\n".join(lines))
    for rows in (7, 1000, 5000):
        chunks = data.csv("t.csv", "y", thousands="comma").chunks(rows)
        assert [x for chunk, _ in chunks for x in chunk[:, 0].tolist()] == numbers


def test_a_file_without_a_header(workdir: Path) -> None:
    (workdir / "t.csv").write_text("1,4,7\n2,5,8\n")
    loaded = data.csv("t.csv", "column_3", header=False).load()
    assert loaded.features == ("column_1", "column_2")
    assert (loaded.x.tolist(), loaded.y.tolist()) == ([[1, 4], [2, 5]], [7, 8])
    years = data.csv("t.csv", "7", header=True).load()
    assert (years.features, years.x.tolist(), years.y.tolist()) == (("1", "4"), [[2, 5]], [8])


@pytest.mark.parametrize(
    "text", ["country,2019,2020\n3,3.5,4\n", "0,1,2,class\n5,3,4,red\n", "1st,y\n1,2\n"]
)
def test_names_among_which_are_numbers(text: str, workdir: Path) -> None:
    (workdir / "t.csv").write_text(text)
    with CsvFile.open(workdir / "t.csv", Format()) as file:
        assert file.columns == text.splitlines()[0].split(",")


ROW = (
    "data.header: the first line of t.csv, {}, looks like a row, not like names. Type "
    "data.header=false if it is a row (the columns are then column_1, column_2, …), or "
    "data.header=true if these are the names."
)
NO_UTF8 = (
    "data.path: {dir}/t.csv is not UTF-8 text. Type data.encoding=cp1252 if Windows or Excel wrote "
    "it, else the name of its encoding, such as latin1."
)
REFUSED: dict[str, tuple[str | bytes, dict[str, object], str]] = {
    "numbers as names": ("1,4,7\n2,5,8\n", {}, ROW.format("'1,4,7'")),
    "numbers and a class": ("5.1,3.5,setosa\n4.9,3,setosa\n", {}, ROW.format("'5.1,3.5,setosa'")),
    "decimal commas": ("1,5;2,5\n3,5;4\n", {"separator": "semicolon"}, ROW.format("'1,5;2,5'")),
    "one row": ("1.5\n", {}, ROW.format("'1.5'")),
    "cp1252": (TEXT.encode("cp1252"), {}, NO_UTF8),
    "cp1252 later": (b"x,y\n" + b"1,2\n" * 9999 + b"\xe4,2\n", {}, NO_UTF8),
    "UTF-16 without a mark": (TEXT.encode("utf-16-le"), {}, "data.path: {dir}/t.csv has null "
    "bytes, so it is not UTF-8 text. If it is UTF-16, type data.encoding=utf-16-le."),
    "another encoding": (TEXT.encode("cp1252"), {"encoding": "ascii"}, "data.encoding: {dir}/t.csv "
    "is not ascii text. Leave data.encoding out for UTF-8, or name its encoding, such as cp1252."),
    "no encoding": (TEXT, {"encoding": "utf9"}, "data.encoding: 'utf9' is not the name of a text "
    "encoding. Type for example utf-8, cp1252, latin1 or utf-16."),
    "no text encoding": (TEXT, {"encoding": "base64"}, "data.encoding: 'base64' is not the name of "
    "a text encoding. Type for example utf-8, cp1252, latin1 or utf-16."),
    "cut short": (gzip.compress(TEXT.encode())[:-9], {}, "data.path: {dir}/t.csv cannot be "
    "decompressed: Compressed file ended before the end-of-stream marker was reached."),
    "an Arrow file": (b"ARROW1" + bytes(9), {}, "data.path: {dir}/t.csv is an Arrow file. Save it "
    "as Parquet, or as CSV."),
    "Zstandard": (b"\x28\xb5\x2f\xfd" + bytes(9), {}, "data.path: {dir}/t.csv is compressed by "
    "Zstandard. Decompress it."),
    "an old workbook": (b"\xd0\xcf\x11\xe0" + bytes(600), {}, "data.path: {dir}/t.csv is an Excel "
    "workbook. Save it as CSV."),
    "two points": (TEXT, {"thousands": "point"}, "data.thousands: point is the decimal sign. Type "
    "data.decimal=comma data.thousands=point, or data.thousands=null."),
    "no sign": (TEXT, {"comment": " "}, "data.comment: ' ' is not a sign that lines of comments "
    "begin with. Type for example data.comment='#'."),
    "a comment": ("# by hand\nx,y\n1,2\n", {}, "data.comment: the first line of t.csv, '# by "
    "hand', looks like a comment. Type data.comment='#' to skip such lines."),
    "a comment below": ("x,y\n1,2\n# sum\n", {}, "data.path: t.csv, line 3, column 'x': '# sum' is "
    "not a number. If the line is a comment, type data.comment='#'."),
    "comments with commas": ("# by, hand\nx,y,z\n1,2,3\n", {}, "data.comment: the first line of "
    "t.csv, '# by,hand', looks like a comment. Type data.comment='#' to skip such lines."),
    "a line for Excel": ("sep=;\nx;y\n1;2\n", {"separator": "semicolon"}, "data.comment: the first "
    "line of t.csv, 'sep=;', tells Excel the separator. Type data.comment=sep= to skip it."),
    "a number among text": ("x,y\n\u200b1,2\n2,3\n", {}, "data.path: t.csv, line 3, column 'x': "
    "'2' is a number in a column of text, like '\\u200b1' in line 2. Correct it, or leave out the "
    "column with data.drop."),
    "commas in names": ("net, gross;y\n1;2\n", {}, "data.separator: a semicolon is inside a name "
    "in the first line of t.csv, 'gross;y'. Did you mean data.separator=semicolon?"),
    "decimal commas, unset": ('x,y\n"1,5",2\n', {}, "data.path: t.csv, line 2, column 'x': '1,5' "
    "is not a number. Type data.decimal=comma."),
    "thousands, unset": ('x,y\n1,2\n"1,234,567",2\n', {}, "data.path: t.csv, line 3, column 'x': "
    "'1,234,567' is not a number. Type data.thousands=comma."),
    "drop unknown": ("x,y,z\n1,2,3\n", {"drop": ["zz"]}, "data.drop: the file has no column 'zz'. "
    "It has: x, y, z. Did you mean z?"),
    "drop no list": ("x,y,z\n1,2,3\n", {"drop": "z"}, "data.drop: 'z' is not a list of columns. "
    "Type data.drop=[z]."),
    "drop the target": ("x,y\n1,2\n", {"drop": ["y"]}, "data.drop: 'y' is the column to predict, "
    "data.target. Leave it out."),
    "drop a feature": ("x,y,z\n1,2,3\n", {"drop": ["x"], "features": ["x", "z"]}, "data.drop: 'x' "
    "is listed in data.features too. Leave it out of one of them."),
    "drop all": ("x,y\n1,2\n", {"drop": ["x"]}, "data.drop: no column is left to predict from. "
    "Leave fewer out."),
}  # fmt: skip


@pytest.mark.parametrize(("content", "settings", "sentence"), REFUSED.values(), ids=REFUSED)
def test_a_format_that_does_not_fit_is_told(
    content: str | bytes, settings: dict[str, object], sentence: str, workdir: Path
) -> None:
    assert csv_refusal(workdir, content, settings) == sentence.replace("{dir}", str(workdir))


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        (["a.csv", "b.csv"], "is an archive of 2 files. Extract the one to read."),
        (["xl/workbook.xml", "a"], "is an Excel workbook. Save it as CSV."),
    ],
)
def test_an_archive_of_more_than_one_file(files: list[str], sentence: str, workdir: Path) -> None:
    with zipfile.ZipFile(workdir / "t.zip", "w") as archive:
        for file in files:
            archive.writestr(file, TEXT)
    with pytest.raises(ConfigError) as refused:
        data.csv("t.zip", "y").load()
    assert str(refused.value) == f"data.path: {workdir}/t.zip {sentence}"


def test_columns_are_left_out(workdir: Path) -> None:
    (workdir / "t.csv").write_text("id,x,when,y\na,1,2026-11-25,2\nb,3,2026-11-26,4\n")
    loaded = data.csv("t.csv", "y", drop=["id", "when"]).load()
    assert (loaded.features, loaded.x.tolist()) == (("x",), [1, 3])


def test_text_is_read_as_it_is_and_numbers_in_it_are_refused(workdir: Path) -> None:
    (workdir / "t.csv").write_text("x,who,flag\n1, me ,true\n,NA,\n3,None of us,FALSE\n")
    with CsvFile.open(workdir / "t.csv", Format()) as file:
        assert file.text_columns(("x", "who", "flag")) == {"who"}
        for rows in (1, 2, 9):
            chunks = list(file.read(("who", "flag", "x"), rows, frozenset({"who"})))
            who, flag, x = map(np.concatenate, zip(*chunks, strict=True))
            assert who.tolist() == ["me", None, "None of us"]
            assert flag.tolist()[::2] == [1, 0]
            assert x.tolist()[::2] == [1, 3]
            assert np.isnan([flag[1], x[1]]).all()
    (workdir / "t.csv").write_text("who\nme\n3\n")
    with (
        CsvFile.open(workdir / "t.csv", Format()) as file,
        pytest.raises(
            ConfigError, match="line 3, column 'who': '3' is a number in a column of text"
        ),
    ):
        list(file.read(("who",), 9, file.text_columns(("who",))))


LINES = ["", "  ", "1,2", ",", " , ", '""', '"",""', "\t", "\t,", '"a\nb",1', "#x", " #", "3", "x"]


@pytest.mark.parametrize("seed", range(20))
def test_the_rows_of_pandas_are_the_rows_of_the_file(seed: int, workdir: Path) -> None:
    rng = np.random.default_rng(seed)
    end = str(rng.choice(["\n", "\r\n"]))
    (workdir / "t.csv").write_bytes(end.join(["x,y", *rng.choice(LINES, 12)]).encode())
    with CsvFile.open(workdir / "t.csv", Format(comment="#")) as file:
        cells = [row for _, row in file.cells()]
        read = [y for (chunk,) in file.read(("y",), 5) for y in chunk.tolist()]
    written = [float(row[1]) if row[1:] and row[1].strip() else np.nan for row in cells]
    assert cells
    assert np.array_equal(read, written, equal_nan=True)


@pytest.mark.parametrize("again", [0, 1, 2])
def test_the_index_that_pandas_writes_is_no_feature(again: int, workdir: Path) -> None:
    frame = pd.DataFrame({"x": [1.0, 3.0, 5.0], "y": [2.0, 4.0, 6.0]})
    frame[frame.x > 2].to_csv("t.csv")
    for _ in range(again):  # read and written without a thought for the index
        pd.read_csv("t.csv").to_csv("t.csv")
    loaded = data.csv("t.csv", "y").load()
    assert (loaded.features, loaded.x.tolist()) == (("x",), [3, 5])
    if again:
        asked = data.csv("t.csv", "y", ["Unnamed: 0", "x"]).load()
        assert asked.features == ("Unnamed: 0", "x")
