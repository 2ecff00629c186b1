"""Where plot and report may write: whole files, or none; never over what is somebody else's."""

from __future__ import annotations

import math
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow
import pytest
from helpers import CLI, refused
from pyarrow import parquet
from store_helpers import artifact, newest

from gdexp.config.paths import write_whole
from gdexp.errors import Interrupted
from gdexp.insight.pictures.files import Place
from gdexp.tracking.sql_store import SqlStore

SMALL = 4096  # bytes that a file may have


@contextmanager
def full_disk() -> Iterator[None]:
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (SMALL, former[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)


def test_a_full_disk_leaves_no_half_file_and_the_former_one(tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_bytes(b"before")
    with full_disk(), pytest.raises(OSError, match="File too large"):
        write_whole(file, b"x" * 2 * SMALL)
    assert os.listdir(tmp_path) == ["page.html"]
    assert file.read_bytes() == b"before"


def test_ctrl_c_leaves_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(partial: str, path: Path) -> None:
        assert Path(partial).read_bytes() == b"content"
        raise Interrupted(2)

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(Interrupted):
        write_whole(tmp_path / "page.html", b"content")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("typed", [["plot", "--out", "a.svg"], ["plot"], ["report"]])
def test_pictures_and_pages_on_a_full_disk(typed: list[str], store: Path, cli: CLI) -> None:
    before = {path for path in store.rglob("*") if path.is_file()}
    with full_disk():
        ended = cli(*typed)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.endswith(" cannot be written: File too large.\n")
    assert {path for path in store.rglob("*") if path.is_file()} == before


def test_a_report_that_cannot_be_logged(store: Path, cli: CLI) -> None:
    with full_disk():
        sentence = refused(cli, "report", "--log")
    assert "cannot be written: " in sentence
    assert "File too large" in sentence
    folder = artifact(store, "config.yaml").parent
    assert not [path for path in folder.iterdir() if "report" in path.name]


def test_what_is_not_a_file_is_not_replaced(store: Path, cli: CLI) -> None:
    for name in ("pipe.svg", "pipe.html"):
        os.mkfifo(name)
    os.symlink("nowhere.svg", "link.svg")
    for name in ("pipe.svg", "link.svg"):
        sentence = f"{store}/{name} already exists. Name a new file."
        for more in ([], ["--force"]):
            assert refused(cli, "plot", "--only", "loss", "--out", name, *more) == sentence
    for place in ("pipe.html", os.devnull):
        assert refused(cli, "report", "--out", place) == (
            f"--out: {place} already exists, and is not a file. Name a new file in a folder that "
            "exists."
        )


def test_an_empty_name_is_not_this_folder(store: Path, cli: CLI) -> None:
    assert refused(cli, "plot", "--out", "") == (
        "--out: '' is not a file name. Type FILE.svg, FILE.png or FOLDER/."
    )
    assert refused(cli, "report", "--out", "") == (
        "--out: '' is a folder. Name a new file in a folder that exists."
    )
    assert refused(cli, "plot", "--out", ".svg") == (
        "--out: .svg has no name before its suffix. Type run.svg."
    )
    assert refused(cli, "report", "--out", "run.pdf") == (
        "--out: run.pdf: a report is an HTML page. Type run.html."
    )
    assert os.listdir(store) == ["outputs"]


def test_a_new_place_is_found_beside_a_broken_link(tmp_path: Path) -> None:
    os.symlink("nowhere", tmp_path / "run.svg")
    place = Place.new(tmp_path, "run")
    assert place.path == tmp_path / "run.svg"
    from gdexp.insight.pictures.files import _numbered

    assert _numbered(place.path, b"") == tmp_path / "run-2.svg"


@pytest.mark.parametrize("digits", ["0", "1", "18", "-3", "1.5", "x", ""])
def test_digits_of_no_number(digits: str, store: Path, cli: CLI) -> None:
    ended = cli("explain", newest(store), f"--digits={digits}")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == (
        f"gdexp: explain: argument --digits: {digits!r} is not a number from 2 to 17. python -m "
        "gdexp explain --help lists its options.\n"
    )


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_record_of_values_that_are_not_finite_is_drawn(
    value: float, store: Path, cli: CLI
) -> None:
    assert cli("step=manual", "iters=5").code == 0
    file = artifact(store, "trajectory.parquet")
    table = parquet.read_table(file)
    columns = {n: [value] * len(table) if n != "epoch" else table[n] for n in table.column_names}
    parquet.write_table(pyarrow.table(columns), file)
    for words in (["plot", "--out", "pictures.svg"], ["report", "--out", "page.html"]):
        ended = cli(*words)
        assert (ended.code, ended.err) == (0, "")


def test_artifacts_that_cannot_be_reached(
    store: Path, cli: CLI, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*_: object) -> list[str]:
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(SqlStore, "files", unreachable)
    for command in ("plot", "report", "explain"):
        words = [command, *([newest(store)] if command == "explain" else [])]
        assert refused(cli, *words) == (
            f"the list of artifacts of run {newest(store)} cannot be read: Connection refused."
        )
