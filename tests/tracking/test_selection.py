"""What plot and report are asked for: runs, or a sweep, however they are named."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tracking_helpers import client_store, finished

from gdexp.errors import GdexpError
from gdexp.tracking.connect import connect
from gdexp.tracking.selection import Selection, selection
from gdexp.tracking.store import Store

FIRST, SECOND = "2026-11-25_first", "2026-11-26_second"
IDS = {  # of the runs, by their names
    "alone": "abcd" + "0" * 28,
    "first 0": "abff" + "1" * 28,
    "first 1": "11aa" + "2" * 28,
    "first": "5555" + "3" * 28,
    "second 0": "7777" + "4" * 28,
    "named 0": "9999" + "5" * 28,
}


def run(name: str, start: int, sweep: str | None = None, kind: str = "run") -> Any:
    tags = {"gdexp.kind": kind} | ({} if sweep is None else {"gdexp.sweep_id": sweep})
    if sweep is not None and kind == "run":
        tags["gdexp.job"] = name[-1]
    return finished(name=name, run_id=IDS[name], start_ms=start, tags=tags, artifacts={})


@pytest.fixture
def opened(store: Path) -> Store:
    """Two sweeps, the first with a summary; a run alone; a sweep whose id is like a run's."""
    made = connect({"experiment": "selected"})
    made.write(
        [
            run("first 1", 1, FIRST),
            run("first 0", 2, FIRST),
            run("first", 1, FIRST, "sweep"),
            run("alone", 5),
            run("named 0", 6, "abcd"),
            run("second 0", 9, SECOND),
        ]
    )
    return made


@pytest.fixture(params=["sql", "client"])
def read(request: pytest.FixtureRequest, opened: Store) -> Callable[..., Selection]:
    """Select, as each kind of store does."""
    store = opened if request.param == "sql" else client_store(opened)
    return lambda *words: selection(store, words)


def names(chosen: Selection) -> list[str]:
    return [each.name for each in chosen.runs]


def test_a_sweep_by_its_id_its_beginning_its_folder_or_its_summary(read: Any, store: Path) -> None:
    folder = store / "outputs" / "sweeps" / FIRST
    for word in (
        FIRST,
        "2026-11-25",
        str(folder),
        f"outputs/sweeps/{FIRST}/",
        IDS["first"],
        "5555",
    ):
        chosen = read(word)
        assert names(chosen) == ["first 0", "first 1"]
        assert chosen.sweep_id == FIRST
        assert chosen.summary is not None
        assert chosen.summary.name == "first"


def test_the_folder_one_stands_in(read: Any, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = store / FIRST
    folder.mkdir()
    monkeypatch.chdir(folder)
    assert read(".").sweep_id == FIRST
    assert read(os.path.join("..", FIRST)).sweep_id == FIRST


def test_the_newest_sweep_has_no_summary(read: Any) -> None:
    for words in ((), ("last",)):
        chosen = read(*words)
        assert (names(chosen), chosen.sweep_id, chosen.summary) == (["second 0"], SECOND, None)


def test_runs_by_their_ids_or_beginnings_in_the_order_named(read: Any) -> None:
    chosen = read("7777", IDS["alone"], "abcd0", "abff")
    assert names(chosen) == ["second 0", "alone", "first 0"]  # one is named twice
    assert (chosen.sweep_id, chosen.summary) == (None, None)


def test_a_sweeps_id_comes_before_a_runs(read: Any) -> None:
    assert names(read("abcd")) == ["named 0"]
    assert names(read("abcd0")) == ["alone"]


def test_a_newest_run_of_no_sweep_is_chosen_alone(opened: Store) -> None:
    IDS["newest"] = "eeee" + "6" * 28
    opened.write([run("newest", 99)])
    assert (names(selection(opened, [])), selection(opened, []).sweep_id) == (["newest"], None)


def test_a_summary_in_another_experiment_finds_its_runs(opened: Store) -> None:
    elsewhere = connect({"experiment": "gdexp"})
    chosen = selection(elsewhere, [IDS["first"]])
    assert names(chosen) == ["first 0", "first 1"]


KNOWN = "python -m gdexp compare --all lists the runs."
REFUSED = {
    "zebra": f"'zebra' is neither a run nor a sweep of experiment selected. {KNOWN}",
    "": f"'' is neither a run nor a sweep of experiment selected. {KNOWN}",
    "2026-11-26_secnd": "'2026-11-26_secnd' is neither a run nor a sweep of experiment selected. "
    f"Did you mean {SECOND}? {KNOWN}",
    "11ab22": "'11ab22' is neither a run nor a sweep of experiment selected. "
    f"Did you mean 11aa22? {KNOWN}",
    "ab": "the ids of several runs start with 'ab'. Type more characters.",
    "2026-11-2": "the ids of 2 sweeps start with '2026-11-2': "
    f"{SECOND}, {FIRST}. Type more characters.",
    f"{FIRST} 7777": f"'{FIRST}' is a sweep, which is shown alone. "
    "Name only this sweep, or only runs.",
    "abff last 7777": "'last' is a sweep, which is shown alone. "
    "Name only this sweep, or only runs.",
}


@pytest.mark.parametrize(("words", "sentence"), REFUSED.items(), ids=[*map(repr, REFUSED)])
def test_what_is_refused(words: str, sentence: str, opened: Store) -> None:
    with pytest.raises(GdexpError) as refused:
        selection(opened, words.split(" "))
    assert str(refused.value) == sentence


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "experiment empty has no runs yet; run python -m gdexp first."),
        (["last"], "experiment empty has no sweep yet."),
        (["x"], "experiment empty has no runs yet; run python -m gdexp first."),
    ],
)
def test_an_experiment_without_runs(words: list[str], sentence: str, store: Path) -> None:
    with pytest.raises(GdexpError) as refused:
        selection(connect({"experiment": "empty"}), words)
    assert str(refused.value) == sentence


def test_a_sweep_that_has_not_begun(opened: Store) -> None:
    IDS["bare"] = "beef" + "7" * 28
    opened.write([run("bare", 99, "bare-sweep", "sweep")])
    with pytest.raises(GdexpError) as refused:
        selection(opened, ["bare-sweep"])
    assert str(refused.value) == f"the sweep bare-sweep has no runs yet. {KNOWN}"
