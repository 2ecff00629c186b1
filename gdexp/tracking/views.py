"""MLflow's pages, set up for a selection of runs: their table, their curves, their comparison.

MLflow opens the page of an experiment as its tag ``mlflow.sharedViewState.<key>`` says, a JSON
object, if the address has ``viewStateShareKey=<key>``. What a user has set up stays as it is: the
page offers to return to it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from gdexp.config.differing import MAIN, differing, is_told_by_step
from gdexp.tracking.client_query import quoted
from gdexp.tracking.query import IS_RUN
from gdexp.tracking.run_record import RecordedRun
from gdexp.tracking.store import Store
from gdexp.tracking.tags import KIND, SWEEP

TAG = "mlflow.sharedViewState."
LONGEST = 80  # runs that one view can name: MLflow 3.10 keeps 5000 characters
LOADED = 100  # runs that MLflow loads at a time, and draws
RANDOM = "tags.`gdexp.config_hash`"  # in this order, the first 100 runs are a sample of all
SHOWN = 3  # params beside step, lr and iters that leave room for the results
AXES = 8  # params in a comparison
TRAIN, VALIDATION = "train/loss", "validation/loss"
OUTCOME = "tags.`gdexp.outcome`"

State: TypeAlias = dict[str, Any]


def save(store: Store, runs: Sequence[RecordedRun], *, named: bool = False) -> dict[str, str]:
    """Save the views of runs of one experiment in the store.

    Args:
        store: the store.
        runs: the runs.
        named: whether the views show only these runs, and not all of their sweep.

    Returns:
        The key of each view by its name: runs, curves and, if there are several runs, comparison.

    Raises:
        WriteError: the store cannot be written.
    """
    states = views(runs, named=named)
    condition = states["runs"]["searchFilter"]
    digest = hashlib.sha256(condition.encode()).hexdigest()[:8]
    keys = {name: f"gdexp-{digest}-{name}" for name in states}
    tags = {TAG + keys[name]: json.dumps(state) for name, state in states.items()}
    store.tag_experiment(runs[0].experiment_id, tags)
    return keys


def views(runs: Sequence[RecordedRun], *, named: bool = False) -> dict[str, State]:
    """The state of each view: what MLflow keeps of a page that a user has set up."""
    by_loss = {"orderByKey": _metric("final/loss"), "orderByAsc": True}
    own = {"searchFilter": condition_of(runs, named=named), **by_loss, **_columns(runs)}
    curves = {"train": [_line(TRAIN, runs)]}
    if any(VALIDATION in run.metrics for run in runs):
        curves["validation"] = [_line(VALIDATION, runs)]
    drawn = own if len(runs) <= LOADED else own | {"orderByKey": RANDOM}
    states = {"runs": own, "curves": {**drawn, **_charts(curves)}}
    if len(runs) > 1:
        states["comparison"] = {**drawn, **_charts({"comparison": [_parallel(runs)]})}
    return states


def condition_of(runs: Sequence[RecordedRun], *, named: bool = False) -> str:
    """MLflow's filter of runs: by their sweep if they have one in common, else by their ids.

    More than :data:`LONGEST` runs are not named: it then holds for all of their experiment.
    """
    sweep = sweep_of(runs)
    if len(runs) <= LONGEST and (named or sweep is None):
        ids = ", ".join(f"'{run.run_id}'" for run in runs)
        return f"attributes.run_id IN ({ids})"
    is_run = f"tags.`{KIND}` = '{IS_RUN[KIND]}'"
    return is_run if sweep is None else f"tags.`{SWEEP}` = {quoted(sweep)} AND {is_run}"


def sweep_of(runs: Sequence[RecordedRun]) -> str | None:
    """The id of the sweep that all runs belong to; None if there is none."""
    sweeps = {run.tags.get(SWEEP) for run in runs}
    return sweeps.pop() if len(sweeps) == 1 else None


def _columns(runs: Sequence[RecordedRun]) -> State:
    """The columns of the table: the params that differ, and between them the results.

    The first ones fit on a screen. A param that the step determines (the updater of the step
    model) comes last.
    """
    others = _others(runs)
    implied = [
        key for key in differing([run.params for run in runs]) if key not in (*MAIN, *others)
    ]
    results = [_metric("final/loss"), OUTCOME, _metric("final/prediction")]
    columns = [
        *map(_param, (*MAIN, *others[:SHOWN])),
        *results,
        *map(_param, (*others[SHOWN:], *implied)),
    ]
    widths = {"step": 90, "lr": 80, "iters": 70}
    return {
        "selectedColumns": columns,
        "columnOrder": ["attributes.`Run Name`", *columns],
        "columnWidths": {
            "attributes.`Run Name`": 160,
            **{_param(key): width for key, width in widths.items()},
        },
    }


def _others(runs: Sequence[RecordedRun]) -> list[str]:
    """The params that differ, apart from the main ones and those that the step determines."""
    params = [run.params for run in runs]
    return [
        key for key in differing(params) if key not in MAIN and not is_told_by_step(key, params)
    ]


def _charts(sections: Mapping[str, Iterable[State]]) -> State:
    """All runs drawn, in wide charts, section by section; MLflow's own charts follow."""
    return {
        "runsHiddenMode": "SHOW_ALL",
        "globalLineChartConfig": {"xAxisKey": "step", "lineSmoothness": 0},
        "isAccordionReordered": True,
        "compareRunSections": [
            {
                "uuid": f"gdexp-{name}",
                "name": name,
                "display": True,
                "isReordered": True,
                "columns": 1,
                "cardHeight": 420,
            }
            for name in sections
        ],
        "compareRunCharts": [
            {**card, "metricSectionId": f"gdexp-{name}", "isGenerated": False, "deleted": False}
            for name, cards in sections.items()
            for card in cards
        ],
    }


def _line(metric: str, runs: Sequence[RecordedRun]) -> State:
    """A chart of curves, on a log axis unless a loss is negative."""
    negative = any(run.metrics.get(key, 0) < 0 for run in runs for key in (metric, "best/loss"))
    return {
        "uuid": f"gdexp-{metric}",
        "type": "LINE",
        "metricKey": metric,
        "selectedMetricKeys": [metric],
        "displayName": metric,
        "scaleType": "linear" if negative else "log",
        "xAxisKey": "step",
        "lineSmoothness": 0,  # MLflow smooths by default: a loss of 2e-6 is drawn as 0.5
    }


def _parallel(runs: Sequence[RecordedRun]) -> State:
    """Parallel coordinates of the params that differ, lr in any case, and of a bounded loss."""
    differ = differing([run.params for run in runs])
    axes = [key for key in MAIN if key in differ or key == "lr"] + _others(runs)
    bounded = "final/log10_loss"
    if not all(bounded in run.metrics for run in runs):
        bounded = "best/loss"  # earlier versions recorded only this one; it is the first at most
    return {
        "uuid": "gdexp-parallel",
        "type": "PARALLEL",
        "selectedParams": axes[:AXES],
        "selectedMetrics": [bounded],
        "showAllRuns": True,
    }


def _param(key: str) -> str:
    return f"params.`{key}`"


def _metric(key: str) -> str:
    return f"metrics.`{key}`"
