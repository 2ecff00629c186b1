"""``predict`` reads a table by the rules of the fit, keeps every row, and writes the same kind."""

from __future__ import annotations

import argparse
import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers import CLI

from gdexp import data
from gdexp.commands.predict import _format
from gdexp.commands.prediction import as_options, predict
from gdexp.data.csv_format import Format
from gdexp.descent.fitted import Fitted
from gdexp.errors import GdexpError

FAMILIES = ("predictor", "gradient", "loss", "updater")
SETTINGS: dict[str, Any] = {f: {"_target_": f"gdexp.manual.{f.title()}"} for f in FAMILIES}
SUM = np.array([1.0, 10.0])


def fitted(dtype: str = "float64", features: tuple[str, ...] = ("a", "b")) -> Fitted:
    """A predictor of a + 10 b, or of a alone."""
    w = SUM if len(features) == 2 else 1.0
    return Fitted(SETTINGS | {"dtype": dtype, "seed": 0}, features, 1, None, {"w": w})


def predicted(content: str | bytes, run: Fitted | None = None, **written: Any) -> str:
    Path("t.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    with as_options():
        text, encoding = predict(Path("t.csv"), Format(**written), run or fitted())
    return text.decode(encoding)


@pytest.mark.parametrize(
    ("content", "written", "expected"),
    [
        ("a,note,b\n1, as it is ,2\n\n3,,True\n", {}, "a,note,b,prediction\n1,as it is ,2,21.0\n"
         "3,,True,13.0\n"),
        ("b;a\n1,5;2\n", {"separator": "semicolon", "decimal": "comma"}, "b;a;prediction\n"
         "1,5;2;17,0\n"),
        ('a,b\n"1,000",2\n', {"thousands": "comma"}, 'a,b,prediction\n"1,000",2,1020.0\n'),
        ("# by hand\na|b\n1|2\n#\n", {"separator": "pipe", "comment": "#"}, "a|b|prediction\n"
         "1|2|21.0\n"),
        (gzip.compress(b"a,b\n1,2\n", mtime=0), {}, "a,b,prediction\n1,2,21.0\n"),
        ("größe,a,b\nß,1,2\n".encode("cp1252"), {"encoding": "cp1252"}, "größe,a,b,prediction\n"
         "ß,1,2,21.0\n"),
        ("a,b\n", {}, "a,b,prediction\n"),
    ],
)  # fmt: skip
def test_a_csv_file(
    content: str | bytes, written: dict[str, Any], expected: str, workdir: Path
) -> None:
    assert predicted(content, **written) == expected


def test_a_file_without_a_header_gets_none(workdir: Path) -> None:
    run = fitted(features=("column_1", "column_2"))
    assert predicted("1,2\n3,4\n", run, header=False) == "1,2,21.0\n3,4,43.0\n"


def test_the_output_has_the_encoding_of_the_input(workdir: Path) -> None:
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        Path("t.csv").write_bytes("a,b,größe\n1,2,ß\n".encode(encoding))
        content, said = predict(Path("t.csv"), Format(), fitted())
        assert content == "a,b,größe,prediction\n1,2,ß,21.0\n".encode(encoding), said


@pytest.mark.parametrize("cell", ["1_0", "٣", "0x10", "1,5", "", "NA", "two", "inf", "12 €"])
def test_a_cell_that_the_fit_refuses_is_refused(cell: str, workdir: Path) -> None:
    Path("t.csv").write_text(f'a,b,y\n1,2,3\n"{cell}",2,3\n')
    with pytest.raises(GdexpError) as fit:
        data.csv("t.csv", "y").load()
    with pytest.raises(GdexpError) as prediction:
        predicted(Path("t.csv").read_text())
    place = f"t.csv, line 3, column 'a': '{cell}' is "
    assert str(fit.value).startswith(f"data.path: {place}")
    assert str(prediction.value).startswith(place)


@pytest.mark.parametrize(
    ("content", "written", "sentence"),
    [
        ("a,b\n1,2\n,\n3,4\n", {}, "t.csv, line 3, column 'a': '' is not a finite number. Correct "
         "it."),
        ('a,b\n"1,5",2\n', {}, "t.csv, line 2, column 'a': '1,5' is not a number. Type --decimal "
         "comma."),
        ("a,b\nx,2\n", {}, "t.csv, line 2, column 'a': 'x' is not a number. Correct it."),
        ("a;b\n1;2\n", {}, "--separator: no comma separates the names in the first line of t.csv, "
         "'a;b'. Did you mean --separator semicolon?"),
        ("1,2\n3,4\n", {}, "--header: the first line of t.csv, '1,2', looks like a row, not like "
         "names. Type --header false if it is a row (the columns are then column_1, column_2, …), "
         "or --header true if these are the names."),
        (b"a,b\n1,2\n\xe4,2\n", {}, "t.csv is not UTF-8 text. Type --encoding cp1252 if "
         "Windows or Excel wrote it, else the name of its encoding, such as latin1."),
        ("a,b\n1,2,3\n", {}, "t.csv, line 2 has 3 cells, and the first line names 2 columns. Give "
         "each row one cell per column."),
        ("1,2\n1\n", {"header": False}, "t.csv, line 2 has 1 cells, and the first line has 2 "
         "columns. Give each row one cell per column."),
    ],
)  # fmt: skip
def test_a_table_that_is_refused(
    content: str | bytes, written: dict[str, Any], sentence: str, workdir: Path
) -> None:
    with pytest.raises(GdexpError) as refused:
        predicted(content, **written)
    assert str(refused.value) == sentence


def test_a_number_that_does_not_fit_is_refused(workdir: Path) -> None:
    assert predicted("a,b\n1e39,2\n").splitlines()[1] == "1e39,2,1e+39"
    with pytest.raises(GdexpError) as refused:
        predicted("a,b\n1,2\n1e39,2\n", fitted("float32"))
    assert str(refused.value) == (
        "t.csv, line 3: the prediction is not finite, since a number is too large for float32. "
        "Correct it."
    )


def test_parquet_in_parquet_out(workdir: Path) -> None:
    frame = pd.DataFrame({"who": ["x", None, "z"], "a": [1.0, 2, 3], "b": [1, 2, 4]}, [3, 7, 8])
    frame.to_parquet("t.parquet")
    Path("parts").mkdir()
    frame[:2].to_parquet("parts/1.parquet")
    frame[2:].to_parquet("parts/2.parquet")
    for path in ("t.parquet", "parts"):
        content, encoding = predict(Path(path), Format(), fitted())
        assert encoding == ""
        Path("out.parquet").write_bytes(content)
        assert pd.read_parquet("out.parquet").equals(frame.assign(prediction=[11.0, 22.0, 43.0]))


def test_the_kind_of_table_makes_no_difference_to_the_last_bit(workdir: Path) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.standard_normal((500, 2)), columns=["a", "b"])
    frame.to_parquet("t.parquet")
    content, _ = predict(Path("t.parquet"), Format(), fitted("float32"))
    Path("out.parquet").write_bytes(content)
    lines = predicted(frame.to_csv(index=False), fitted("float32")).splitlines()[1:]
    assert [float(line.split(",")[2]) for line in lines] == (
        pd.read_parquet("out.parquet")["prediction"].tolist()
    )


def test_a_file_is_read_as_the_run_s_own_unless_typed() -> None:
    typed = argparse.Namespace(**dict.fromkeys(vars(Format())))
    run = {"data.separator": "tab", "data.decimal": "comma", "data.thousands": "null"}
    assert _format(typed, run) == Format("tab", "comma")
    typed.separator, typed.decimal, typed.header = "comma", "point", "false"
    assert _format(typed, run) == Format(header=False)
    typed = argparse.Namespace(**dict.fromkeys(vars(Format())))
    assert _format(typed, {"data.encoding": "labels"}) == Format()  # of another kind of source


def test_the_command_reads_what_the_run_was_fitted_to(store: Path, cli: CLI) -> None:
    Path("t.csv").write_text("x;y\n1,5;3\n2,5;5\n")
    fit = "step=manual iters=9 data=csv data.path=t.csv data.target=y data.separator=semicolon"
    ended = cli(*fit.split(), "data.decimal=comma")
    run_id = ended.err.split("recorded as run ")[1].split()[0]
    ended = cli("predict", run_id, "t.csv")
    assert [line.split(";")[:2] for line in ended.out.splitlines()] == [
        ["x", "y"], ["1,5", "3"], ["2,5", "5"],
    ]  # fmt: skip
    assert (ended.code, ended.out.count(",")) == (0, 4)
    Path("u.csv").write_text("x\n1.5\n")
    assert cli("predict", run_id, "u.csv", "--decimal", "point").out.startswith(
        "x;prediction\n1.5;"
    )
    pd.DataFrame({"x": [1.5]}).to_parquet("t.parquet")
    assert cli("predict", run_id, "t.parquet").err == (
        "gdexp: --out: name a new file for the table, since t.parquet is Parquet.\n"
    )
    assert cli("predict", run_id, "t.parquet", "--out", "out.parquet").code == 0
    assert list(pd.read_parquet("out.parquet")) == ["x", "prediction"]
    assert cli("predict", run_id, "t.csv", "--thousands", "comma").err == (
        "gdexp: --thousands: comma is the decimal sign. Type --decimal point --thousands comma, or "
        "--thousands null.\n"
    )


def test_the_folder_of_a_user_who_does_not_exist(workdir: Path, cli: CLI) -> None:
    ended = cli("predict", "abc", "~no-such-user/t.csv")
    assert ended == (2, "", "gdexp: there is no file ~no-such-user/t.csv.\n")
