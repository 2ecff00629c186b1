"""Parquet files: the index of a data frame, categories, numbers stored as strings, and folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from gdexp import data
from gdexp.config.settings import Preparation
from gdexp.data.parquet_file import ParquetFile
from gdexp.data.preparation import Origin
from gdexp.errors import ConfigError

FILTERED = [0, 1, 3]  # as an index, it is no range, which would be described in the metadata alone
FRAME = pd.DataFrame({"x": [1.0, 3.0, 5.0], "y": [2.0, 4.0, 6.0]})


def test_the_index_of_a_filtered_frame_is_no_feature(workdir: Path) -> None:
    FRAME.set_axis(FILTERED).to_parquet("t.parquet")
    assert parquet.read_schema("t.parquet").names == ["x", "y", "__index_level_0__"]
    loaded = data.parquet("t.parquet", "y").load()
    assert (loaded.features, loaded.x.tolist()) == (("x",), [1, 3, 5])


def test_the_index_is_known_by_its_name_where_the_metadata_is_lost(workdir: Path) -> None:
    FRAME.set_axis(FILTERED).to_parquet("t.parquet")
    parquet.write_table(parquet.read_table("t.parquet").replace_schema_metadata(), "t.parquet")
    assert data.parquet("t.parquet", "y").load().features == ("x",)


@pytest.mark.parametrize(
    "metadata", [b"{", b"[]", b'{"index_columns": 3}', b'{"index_columns": [{}]}']
)
def test_metadata_that_describe_no_index(metadata: bytes, workdir: Path) -> None:
    table = pa.table({"x": [1, 3], "y": [2, 4]}).replace_schema_metadata({b"pandas": metadata})
    parquet.write_table(table, "t.parquet")
    assert data.parquet("t.parquet", "y").load().features == ("x",)


def test_a_named_index_is_a_feature_only_if_asked_for(workdir: Path) -> None:
    FRAME.assign(k=[7, 9, 8]).set_index("k").to_parquet("t.parquet")
    assert data.parquet("t.parquet", "y").load().features == ("x",)
    asked = data.parquet("t.parquet", "y", ["k", "x"]).load()
    assert asked.x.tolist() == [[7, 1], [9, 3], [8, 5]]
    target = data.parquet("t.parquet", "k").load()
    assert (target.features, target.y.tolist()) == (("x", "y"), [7, 9, 8])


def test_a_range_index_is_no_column(workdir: Path) -> None:
    FRAME.to_parquet("t.parquet")  # its index is described in the metadata alone
    assert data.parquet("t.parquet", "y").load().features == ("x",)
    assert data.parquet("t.parquet", "y", drop=["x"]).drop == ["x"]


def read(text: frozenset[str] | None = None, **columns: Any) -> list[list[Any]]:
    pd.DataFrame(columns).to_parquet("t.parquet")
    with ParquetFile.open(Path("t.parquet")) as file:
        names = tuple(file.columns)
        text = file.text_columns(names) if text is None else text
        return [column.tolist() for (column,) in ([c] for c in next(file.read(names, 99, text)))]


def test_strings_are_text_or_numbers_by_their_first_cell(workdir: Path) -> None:
    columns = {"a": [None, "red"], "b": ["1.5", "true"], "c": pd.Categorical(["u", "v"])}
    assert read(**columns) == [[None, "red"], [1.5, 1], ["u", "v"]]
    assert read(d=pd.Categorical([3, 4]), e=[True, False]) == [[3, 4], [1, 0]]


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"a": ["1", "x"]}, "row 2, column 'a': 'x' is not a number. Correct it, or leave out the "
         "column with data.drop."),
        ({"a": ["1,5", "2"]}, "row 1, column 'a': '1,5' is not a number. Correct it, or leave "
         "out the column with data.drop."),
        ({"a": ["x", None, "1"]}, "row 3, column 'a': '1' is a number in a column of text. "
         "Correct it, or leave out the column with data.drop."),
        ({"a": pd.to_datetime(["2026-11-25"])}, "column 'a': its type, timestamp[us], is not "
         "numeric. Correct it, or leave out the column with data.drop."),
    ],
)  # fmt: skip
def test_a_column_that_is_neither(columns: dict[str, Any], sentence: str, workdir: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        read(**columns)
    assert str(refused.value) == f"data.path: t.parquet, {sentence}"


def write_parts(**parts: dict[str, Any]) -> None:
    for name, columns in parts.items():
        file = Path("parts", name.replace("__", "/").replace("_eq_", "=") + ".parquet")
        file.parent.mkdir(parents=True, exist_ok=True)
        parquet.write_table(pa.table(columns), file)


def test_a_folder_of_parts_is_one_table_in_the_order_of_their_numbers(workdir: Path) -> None:
    write_parts(
        p2={"x": [2, 3], "y": [4, 6]}, p10={"x": [4.0], "y": [8.0]}, p1={"x": [1], "y": [2]}
    )
    write_parts(_metadata={"z": [0]}, **{"_tmp__p0": {"z": [0]}})
    Path("parts", "_SUCCESS").touch()
    for rows in (1, 2, 9):
        chunks = list(data.parquet("parts", "y").chunks(rows))
        assert [v for x, _ in chunks for v in x[:, 0].tolist()] == [1, 2, 3, 4]
        assert [v for _, y in chunks for v in y.tolist()] == [2, 4, 6, 8]
    assert data.parquet("parts", "y").load().name == "parts"


def test_folders_named_by_a_value_are_columns(workdir: Path) -> None:
    write_parts(
        year_eq_2025__a={"x": [1], "y": [2]},
        year_eq_2026__a={"x": [3, 5], "y": [4, 6]},
    )
    loaded = data.parquet("parts", "y").load()
    assert (loaded.features, loaded.x.tolist()) == (
        ("x", "year"),
        [[1, 2025], [3, 2026], [5, 2026]],
    )
    assert data.parquet("parts", "y", ["year"]).load().x.tolist() == [2025, 2026, 2026]


def test_a_folder_that_cannot_be_fitted(workdir: Path) -> None:
    Path("parts").mkdir()
    with pytest.raises(ConfigError, match=r"parts holds no file that ends in \.parquet\. Name a"):
        data.parquet("parts", "y").load()
    write_parts(p1={"x": [1], "y": [2]}, p2={"x": [1], "z": [2]})
    with pytest.raises(ConfigError, match=r"p2\.parquet has no column 'y', but p1\.parquet has\."):
        data.parquet("parts", "y").load()
    Path("parts", "p2.parquet").write_text("x,y\n")
    with pytest.raises(ConfigError, match=r"p2\.parquet cannot be read as Parquet: "):
        data.parquet("parts", "y").load()


def test_a_part_that_has_changed_is_noticed(workdir: Path) -> None:
    settings = {"_target_": "gdexp.data.parquet", "path": "parts"} | vars(Preparation())
    write_parts(p1={"x": [1], "y": [2]}, p2={"x": [1], "y": [2]})
    before = Origin.of(settings, lambda node: None)
    assert Origin.of(settings, before.make) == before
    write_parts(p2={"x": [1, 2], "y": [2, 4]})
    assert Origin.of(settings, before.make) != before


def test_a_table_is_written_as_it_is_stored(workdir: Path) -> None:
    frame = FRAME.assign(k=["a", "b", None]).set_index("k")
    frame.to_parquet("t.parquet")
    with ParquetFile.open(Path("t.parquet")) as file:
        assert file.table().to_pandas().equals(frame)
    parquet.write_table(pa.table({"x": np.empty(0), "k": pa.array([], pa.string())}), "u.parquet")
    with ParquetFile.open(Path("u.parquet")) as file:
        assert file.table().schema == parquet.read_schema("u.parquet")


def test_a_column_of_text_stays_one_in_each_part(workdir: Path) -> None:
    parts = [{"x": pa.nulls(1), "y": [0.0]}, {"x": ["a", "b"], "y": [1.0, 2.0]}]
    (workdir / "t").mkdir()
    for number, part in enumerate(parts):  # the first part does not tell what x holds
        parquet.write_table(pa.table(part), f"t/{number}.parquet")
    assert data.parquet("t", "y", missing="drop").load().features == ("x=a", "x=b")
    parquet.write_table(pa.table({"x": [3.0], "y": [3.0]}), "t/2.parquet")
    with pytest.raises(ConfigError) as refused:
        data.parquet("t", "y", missing="drop").load()
    assert str(refused.value) == (
        "data.path: t, row 4, column 'x': its type is double from here on, in a column of text. "
        "Correct it, or leave out the column with data.drop."
    )
