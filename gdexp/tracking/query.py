"""Which recorded runs to look at: the store opened for reading alone, and a choice of its runs."""

from __future__ import annotations

import functools
import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gdexp.errors import GdexpError, StoreError, did_you_mean

if TYPE_CHECKING:
    from mlflow.entities import Experiment, Run

    from gdexp.tracking.store import Store

NEWEST = 20  # runs shown where the newest one belongs to no sweep
PAGE = 1000  # runs asked for at once
SWEEP, JOB = "gdexp.sweep_id", "gdexp.job"
IS_RUN = "tags.`gdexp.kind` = 'run'"  # other kinds summarise runs
NEWEST_FIRST = ["attributes.start_time DESC"]


def open_store(uri: str | None, experiment: str | None) -> Store:
    """The store that runs are recorded in, as it is: nothing is created by looking.

    Args:
        uri: the store; None: MLFLOW_TRACKING_URI, else ``outputs/mlflow.db``.
        experiment: its experiment; None: MLFLOW_EXPERIMENT_NAME, else gdexp.

    Raises:
        StoreError: it is malformed, unreachable or no MLflow store.
        GdexpError: nothing is recorded in it yet, or it has no such experiment.
    """
    from gdexp.tracking import store as stores

    uri = stores.resolve(uri)
    scheme = uri.split("://")[0].split("+")[0]
    if scheme != "sqlite":
        stores.check_reachable(uri, scheme)
    try:
        if scheme not in stores.SERVERS:
            _check_tables(uri, scheme)
        stores.quiet()
        from mlflow import MlflowClient

        client = MlflowClient(tracking_uri=uri)
        known = {found.name: found for found in client.search_experiments()}
    except GdexpError:
        raise
    except Exception as error:
        raise StoreError(
            f"{stores.hide_password(uri)} cannot be read as an MLflow store: "
            f"{' '.join(str(getattr(error, 'orig', error)).split())[:300]}"
        ) from error
    name = experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME") or "gdexp"
    return stores.Store(client, uri, name, _experiment(name, known).experiment_id)


def _check_tables(uri: str, scheme: str) -> None:
    """Refuse a database that holds no store: MLflow would make one of it."""
    import sqlalchemy

    if scheme == "sqlite":
        path = Path(uri.removeprefix("sqlite:///"))
        if not path.exists():
            near = path.is_relative_to(Path.cwd())
            place = path.relative_to(Path.cwd()) if near else path
            raise GdexpError(
                f"nothing recorded yet: {place} is not there; run python -m gdexp first."
            )
        reading = functools.partial(sqlite3.connect, f"{path.as_uri()}?mode=ro", uri=True)
        engine = sqlalchemy.create_engine("sqlite://", creator=reading)
    else:
        engine = sqlalchemy.create_engine(uri)
    try:
        if not sqlalchemy.inspect(engine).has_table("experiments"):
            raise GdexpError(
                "nothing recorded yet: the store is an empty database; run python -m gdexp first."
            )
    finally:
        engine.dispose()


def _experiment(name: str, known: dict[str, Experiment]) -> Experiment:
    if name not in known:
        raise GdexpError(
            f"--experiment: there is no experiment {name!r} in this store. It has: "
            f"{', '.join(sorted(known))}.{did_you_mean(name, known)}"
        )
    return known[name]


def select(
    store: Store,
    ids: Sequence[str] = (),
    *,
    sweep: str | None = None,
    last: int | None = None,
    everything: bool = False,
) -> list[Run]:
    """The runs named: ids in the order given, others in the order they were started in.

    Args:
        store: where to look.
        ids: ids of runs, or their beginnings.
        sweep: the id of a sweep, its folder, or ``last``.
        last: how many of the newest runs.
        everything: all runs of the experiment.

    Raises:
        GdexpError: there is no such run or sweep, or no run at all.
    """
    if ids:
        return [_named(store, beginning) for beginning in dict.fromkeys(ids)]
    if sweep is None and (last or everything):
        return _ordered(_some(store, _newest(store, last)))
    if sweep in (None, "last"):
        condition = f"tags.`{SWEEP}` LIKE '%'" if sweep else ""
        newest = search(store, condition, limit=1)
        if sweep and not newest:
            raise GdexpError(f"--sweep: experiment {store.experiment} has no sweep yet.")
        sweep = _some(store, newest)[0].data.tags.get(SWEEP)
        if sweep is None:
            return _ordered(search(store, limit=NEWEST))
    return _ordered(_of_sweep(store, Path(sweep).name))


def _newest(store: Store, count: int | None) -> list[Run]:
    """The newest runs; of runs that started in the same millisecond, the later jobs."""
    found = {run.info.run_id: run for run in search(store, limit=count)}
    if count is not None and len(found) == count:  # the store may have cut in between
        oldest = min(run.info.start_time for run in found.values())
        tied = search(store, f"attributes.start_time = {oldest}")
        found |= {run.info.run_id: run for run in tied}
    kept = sorted(found.values(), key=lambda run: (run.info.start_time, _number(run)))
    return kept[-count:] if count is not None else kept


def _number(run: Run) -> int:
    return int(run.data.tags.get(JOB, 0))


def search(store: Store, condition: str = "", limit: int | None = None) -> list[Run]:
    """The newest runs that meet a condition, newest first; pages are put together."""
    condition = f"{IS_RUN} AND {condition}" if condition else IS_RUN
    return _pages(store, [store.experiment_id], condition, limit)


def _pages(store: Store, experiments: list[str], condition: str, limit: int | None) -> list[Run]:
    found: list[Run] = []
    token = None
    while limit is None or len(found) < limit:
        size = PAGE if limit is None else min(PAGE, limit - len(found))
        page = store.client.search_runs(
            experiments, condition, 1, size, NEWEST_FIRST, page_token=token
        )
        found += page
        token = page.token
        if not token:
            break
    return found


def _some(store: Store, runs: list[Run]) -> list[Run]:
    if not runs:
        raise GdexpError(
            f"experiment {store.experiment} has no runs yet; run python -m gdexp first."
        )
    return runs


def _of_sweep(store: Store, sweep: str) -> list[Run]:
    quote = '"' if "'" in sweep else "'"
    runs = search(store, f"tags.`{SWEEP}` = {quote}{sweep}{quote}")
    if not runs:
        known = {run.data.tags[SWEEP]: None for run in search(store, f"tags.`{SWEEP}` LIKE '%'")}
        named = f" The last one is {next(iter(known))}." if known else " It has no sweep yet."
        raise GdexpError(
            f"--sweep: experiment {store.experiment} has no sweep {sweep!r}."
            f"{did_you_mean(sweep, known) or named}"
        )
    return runs


def _named(store: Store, beginning: str) -> Run:
    """The run with this id, in whichever experiment it is."""
    experiments = [found.experiment_id for found in store.client.search_experiments()]
    condition = f"attributes.run_id LIKE '{beginning}%'"
    found = _pages(store, experiments, condition, 2) if beginning.isalnum() else []
    if not found:
        raise GdexpError(
            f"there is no run {beginning!r} in this store. python -m gdexp compare --all lists "
            "the runs."
        )
    if len(found) > 1:
        raise GdexpError(f"{beginning!r} begins the ids of several runs. Type more of it.")
    kind = found[0].data.tags.get("gdexp.kind")
    if kind != "run":
        raise GdexpError(f"{beginning!r} is not a run of gdexp (its tag gdexp.kind is {kind!r}).")
    return found[0]


def _ordered(runs: list[Run]) -> list[Run]:
    """By start, the jobs of a sweep together and by their number."""
    began: dict[str, int] = {}
    for run in runs:
        key = run.data.tags.get(SWEEP, run.info.run_id)
        began[key] = min(run.info.start_time, began.get(key, run.info.start_time))

    def place(run: Run) -> tuple[int, str, int, int]:
        tags, start = run.data.tags, run.info.start_time
        key = tags.get(SWEEP, run.info.run_id)
        return began[key], key, _number(run), start

    return sorted(runs, key=place)
