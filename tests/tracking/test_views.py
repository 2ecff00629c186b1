"""MLflow's pages set up for a selection of runs: what each view shows, and where it is kept."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tracking_helpers import client, client_store

from gdexp.errors import WriteError
from gdexp.tracking import views
from gdexp.tracking.connect import connect
from gdexp.tracking.run_record import RecordedRun
from gdexp.tracking.store import Store

METRICS = {"final/loss": 1.0, "best/loss": 1.0, "final/log10_loss": 0.0, "train/loss": 1.0}


def run(number: int = 0, sweep: str | None = "s", **params: str) -> RecordedRun:
    tags = {"gdexp.kind": "run"} | ({} if sweep is None else {"gdexp.sweep_id": sweep})
    known = {"step": "manual", "lr": "0.1", "iters": "10", "updater": "manual"} | params
    return RecordedRun(f"{number:032x}", "1", "", "FINISHED", 0, "", known, tags, METRICS)


def shown(runs: list[RecordedRun]) -> list[str]:
    """The columns of the table, by what they show."""
    names = views.views(runs)["runs"]["selectedColumns"]
    return [name.partition("`")[2].rstrip("`") for name in names]


def test_the_table_shows_the_question_and_its_answer_first() -> None:
    runs = [
        run(1, lr="0.1", updater="manual", seed="1", **{"updater.lr": "0.1"}),
        run(2, lr="0.2", updater="SGD", seed="1", **{"updater.lr": "0.2"}),
        run(3, lr="0.2", updater="Adam", seed="2", **{"updater.lr": "0.2"}),
    ]
    results = ["final/loss", "gdexp.outcome", "final/prediction"]
    assert shown(runs) == ["step", "lr", "iters", "updater", "seed", *results]
    table = views.views(runs)["runs"]
    assert (table["orderByKey"], table["orderByAsc"]) == ("metrics.`final/loss`", True)
    assert table["columnOrder"][1:] == table["selectedColumns"]
    alike = [run(1), run(2)]
    assert shown(alike) == ["step", "lr", "iters", *results]


def test_what_the_step_determines_comes_last() -> None:
    runs = [run(1, step="manual"), run(2, step="model", updater="SGD", predictor="model")]
    assert shown(runs)[3:] == ["final/loss", "gdexp.outcome", "final/prediction", "updater"]


def test_the_outcome_is_on_the_screen_however_many_params_differ() -> None:
    runs = [run(n, **{f"key{i}": str(n) for i in range(9)}) for n in range(2)]
    columns = shown(runs)
    assert columns.index("gdexp.outcome") == 7
    assert {f"key{i}" for i in range(9)} <= set(columns)


def test_curves_are_all_drawn_on_a_log_axis_train_loss_first() -> None:
    validated = replace(run(2), metrics=METRICS | {"validation/loss": 2.0})
    curves = views.views([run(1), validated])["curves"]
    assert curves["runsHiddenMode"] == "SHOW_ALL"
    assert [card["metricKey"] for card in curves["compareRunCharts"]] == [
        "train/loss",
        "validation/loss",
    ]
    assert [card["scaleType"] for card in curves["compareRunCharts"]] == ["log", "log"]
    assert [card["lineSmoothness"] for card in curves["compareRunCharts"]] == [0, 0]
    assert curves["globalLineChartConfig"]["lineSmoothness"] == 0
    sections = {section["uuid"]: section["name"] for section in curves["compareRunSections"]}
    used = [sections[card["metricSectionId"]] for card in curves["compareRunCharts"]]
    assert used == ["train", "validation"]
    (plain,) = views.views([run(1)])["curves"]["compareRunCharts"]
    assert plain["metricKey"] == "train/loss"


def test_a_negative_loss_needs_a_linear_axis() -> None:
    below = replace(run(2), metrics=METRICS | {"best/loss": -3.0})
    (card,) = views.views([run(1), below])["curves"]["compareRunCharts"]
    assert card["scaleType"] == "linear"


@pytest.mark.parametrize(
    ("changes", "axes"),
    [
        ({}, ["lr"]),
        ({"iters": "20"}, ["lr", "iters"]),
        ({"step": "model", "updater": "SGD"}, ["step", "lr"]),
        ({"seed": "3", "lr": "0.2"}, ["lr", "seed"]),
    ],
)
def test_the_comparison_has_the_params_that_differ_and_lr(
    changes: Mapping[str, str], axes: list[str]
) -> None:
    runs = [run(1, seed="1"), run(2, **{"seed": "1", **changes})]
    (card,) = views.views(runs)["comparison"]["compareRunCharts"]
    assert card["selectedParams"] == axes
    assert card["selectedMetrics"] == ["final/log10_loss"]
    assert card["showAllRuns"] is True


def test_runs_of_earlier_versions_are_compared_by_their_best_loss() -> None:
    earlier = replace(run(2), metrics={"final/loss": 1e37, "best/loss": 30.0})
    (card,) = views.views([run(1), earlier])["comparison"]["compareRunCharts"]
    assert card["selectedMetrics"] == ["best/loss"]


def test_one_run_is_not_compared() -> None:
    assert list(views.views([run()])) == ["runs", "curves"]


@pytest.mark.parametrize(
    ("runs", "named", "condition"),
    [
        ([run(1), run(2)], False, "tags.`gdexp.sweep_id` = 's' AND tags.`gdexp.kind` = 'run'"),
        ([run(1), run(2)], True, f"attributes.run_id IN ('{1:032x}', '{2:032x}')"),
        ([run(1), run(2, "t")], False, f"attributes.run_id IN ('{1:032x}', '{2:032x}')"),
        ([run(1, None)], False, f"attributes.run_id IN ('{1:032x}')"),
        ([run(n, None) for n in range(101)], False, "tags.`gdexp.kind` = 'run'"),
        ([run(1, "it's")], False, "tags.`gdexp.sweep_id` = \"it's\" AND tags.`gdexp.kind` = 'run'"),
    ],
    ids=["a sweep", "some of a sweep", "two sweeps", "no sweep", "too many", "a quote"],
)
def test_views_find_their_runs(runs: list[RecordedRun], named: bool, condition: str) -> None:
    states = views.views(runs, named=named)
    assert {state["searchFilter"] for state in states.values()} == {condition}


def test_more_runs_than_mlflow_draws_are_sampled() -> None:
    runs = [run(n, lr=str(n)) for n in range(1000)]
    states = views.views(runs)
    assert states["runs"]["orderByKey"] == "metrics.`final/loss`"
    assert states["curves"]["orderByKey"] == "tags.`gdexp.config_hash`"
    assert states["comparison"]["orderByKey"] == "tags.`gdexp.config_hash`"


@pytest.mark.parametrize("count", [views.LONGEST, 1000])
@pytest.mark.parametrize("sweep", ["s", None])
def test_views_fit_into_a_tag_of_every_mlflow(count: int, sweep: str | None) -> None:
    """MLflow 3.10 takes 5000 characters, of ASCII as any database stores it."""
    runs = [run(n, sweep, **{f"key{i}": str(n) for i in range(9)}) for n in range(count)]
    for state in views.views(runs).values():
        text = json.dumps(state)
        assert len(text) < 5000
        assert text.isascii()


# Kept in the store


def tags_of(store: Store) -> dict[str, str]:
    return dict(client(store).get_experiment(store.experiment_id).tags)


def check_kept(store: Store) -> None:
    here = store.experiment_id
    runs = [replace(run(n), experiment_id=here) for n in range(2)]
    client(store).set_experiment_tag(here, "mlflow.note.content", "mine")
    client(store).set_experiment_tag(here, "mlflow.sharedViewState.mine", "{}")
    keys = views.save(store, runs)
    assert list(keys) == ["runs", "curves", "comparison"]
    before = tags_of(store)
    assert views.save(store, runs) == keys  # again, in the same tags
    assert tags_of(store) == before
    states: dict[str, Any] = {
        name: json.loads(before.pop(f"mlflow.sharedViewState.{key}")) for name, key in keys.items()
    }
    assert states == views.views(runs)
    assert before == {"mlflow.note.content": "mine", "mlflow.sharedViewState.mine": "{}"}
    others = views.save(store, runs, named=True)
    assert not set(others.values()) & set(keys.values())


def test_both_stores_keep_views_beside_the_users_own(workdir: Path, migrated: Path) -> None:
    for name in ("fast.db", "slow.db"):
        shutil.copy(migrated, workdir / name)
        store = connect({"uri": f"sqlite:///{name}", "experiment": "a b"})
        check_kept(store if name == "fast.db" else client_store(store))


@pytest.mark.slow
def test_postgresql_keeps_views(workdir: Path, postgres_store: Callable[[], str]) -> None:
    check_kept(connect({"uri": postgres_store(), "experiment": "a b"}))


def test_a_store_that_takes_no_views_raises(store: Path) -> None:
    opened = connect({})
    runs = [replace(run(), experiment_id="77")]  # no such experiment
    with pytest.raises(WriteError, match=r"mlflow\.db cannot be written: .*FOREIGN KEY"):
        views.save(opened, runs)
    with pytest.raises(WriteError, match=r"mlflow\.db cannot be written: No Experiment with id=77"):
        views.save(client_store(opened), runs)
