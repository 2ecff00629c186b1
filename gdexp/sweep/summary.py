"""The summary run of a sweep: the table of its runs, counts by outcome, the best run, the time."""

from __future__ import annotations

import io
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from mlflow.entities import Metric, Run, RunTag

from gdexp.sweep.resume import runs_of, short
from gdexp.tracking.store import Store

if TYPE_CHECKING:
    import pandas as pd

Row: TypeAlias = Mapping[str, Any]


def table_of(store: Store, sweep_id: str, known: Mapping[int, Row], jobs: int) -> pd.DataFrame:
    """A row for each run of the sweep, read from the store unless all are known."""
    import pandas as pd

    rows = known
    if len(known) < jobs:
        found = {int(run.data.tags["gdexp.job"]): _row(run) for run in runs_of(store, sweep_id)}
        rows = {**found, **known}
    return pd.DataFrame([rows[number] for number in sorted(rows)])


def close(
    store: Store, run_id: str, table: pd.DataFrame, command: str, status: str, seconds: float
) -> str:
    """Close the summary run: the table of all runs, counts by outcome, the best run, the time.

    Returns:
        The summary in a sentence.
    """
    counts = Counter(map(str, table["outcome"])) if len(table) else Counter()
    text = f"{len(table)} runs: " + ", ".join(
        f"{n} {outcome}" for outcome, n in counts.most_common()
    )
    metrics = {"sweep/runs": len(table), "sweep/seconds": seconds}
    metrics |= {f"sweep/{outcome}": n for outcome, n in counts.items()}
    best = _best(table)
    if best is not None:
        metrics["best/loss"] = best["final/loss"]
        text += f". Best: {best['name']}, loss {best['final/loss']:.6g}"
    now = int(time.time() * 1000)
    tags = {
        "mlflow.note.content": f"`{short(command)}`: {text}, in {seconds:.1f} s.",
        "gdexp.outcome": {"FINISHED": "completed", "KILLED": "interrupted"}.get(status, "failed"),
        **({"gdexp.best_run": str(best["run_id"])} if best is not None else {}),
    }
    store.client.log_batch(
        run_id,
        metrics=[Metric(name, float(value), now, 0) for name, value in metrics.items()],
        tags=[RunTag(key, value) for key, value in tags.items()],
    )
    _log_tables(store, run_id, table)
    store.client.set_terminated(run_id, status)
    return text


def _row(run: Run) -> dict[str, Any]:
    tags = run.data.tags
    return {
        "job": int(tags["gdexp.job"]),
        "run_id": run.info.run_id,
        "name": run.info.run_name,
        "outcome": tags.get("gdexp.outcome", run.info.status.lower()),
        **run.data.params,
        **run.data.metrics,
    }


def _best(table: pd.DataFrame) -> Row | None:
    """The completed run with the smallest final loss."""
    if not len(table) or "final/loss" not in table:
        return None
    completed = table[table["outcome"] == "completed"].dropna(subset=["final/loss"])
    if not len(completed):
        return None
    return cast(Row, completed.sort_values("final/loss").iloc[0].to_dict())


def _log_tables(store: Store, run_id: str, table: pd.DataFrame) -> None:
    import tempfile
    from pathlib import Path

    from gdexp.sweep.grids.repetitions import summarise

    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "runs.csv").write_text(table.to_csv(index=False))
        table.to_parquet(Path(folder, "runs.parquet"), index=False)
        if len(table) and table["seed"].nunique() > 1:
            ignored = ("seed", "job", "run_id", "name", "outcome")
            rows = summarise(cast(list[Row], table.to_dict("records")), ignore=ignored)
            Path(folder, "repetitions.csv").write_text(_csv(rows))
        store.client.log_artifacts(run_id, folder)


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    import pandas as pd

    text = io.StringIO()
    pd.DataFrame(list(rows)).to_csv(text, index=False)
    return text.getvalue()
