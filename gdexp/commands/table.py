"""The table of a sweep started from Python: a pandas data frame with a row for each run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from hydra.core.utils import JobReturn, JobStatus

from gdexp.commands import accessor
from gdexp.commands.compare import parsed
from gdexp.config.differing import MAIN, differing
from gdexp.config.job import Job
from gdexp.descent.result import Result
from gdexp.errors import RunFailedError, counted
from gdexp.tracking import describe

if TYPE_CHECKING:
    import pandas as pd
    from omegaconf import DictConfig

Row: TypeAlias = tuple[Mapping[str, Any], Result]
"""Params and result of a run."""


@dataclass
class Kept:
    """What is kept of the runs of a sweep.

    Attributes:
        rows: the runs computed in this process, by job number.
        failures: overrides and cause of every run that failed.
        elsewhere: whether runs were computed in other processes.
    """

    rows: dict[int, Row] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    elsewhere: bool = False

    def keep(self, job: Job, returned: JobReturn, result: Result | None) -> None:
        """Keep a run that has ended; an observer of :mod:`gdexp.sweep.progress`."""
        if returned.status is JobStatus.FAILED:
            self.failures.append(f"{' '.join(job.typed)}: {returned._return_value}")
        elif result is None:
            self.elsewhere = True
        elif job.number is not None:
            self.rows[job.number] = job.flat(), result

    def failure(self) -> RunFailedError | None:
        """The error of a sweep in which runs failed."""
        if not self.failures:
            return None
        runs = counted(len(self.failures), "run")
        return RunFailedError(f"{runs} failed; the others are done.\n" + "\n".join(self.failures))

    def table(self, config: DictConfig) -> pd.DataFrame:
        """The table of the sweep with this configuration, by job number.

        Runs that were not computed here, since the sweep was resumed or other processes computed
        them, are read from the store.
        """
        sweep_id = Path(config.hydra.sweep.dir).name
        is_partial = self.elsewhere or not self.rows or config.sweep.resume
        if is_partial and config.tracking.enabled and not config.sweep.dry_run:
            self.rows = _recorded(config, sweep_id) | self.rows
        return frame(self.rows, sweep_id)


def _recorded(config: DictConfig, sweep_id: str) -> dict[int, Row]:
    from gdexp.tracking.connect import connect
    from gdexp.tracking.query import runs_of
    from gdexp.tracking.restore import result_of

    store = connect(config.tracking)
    runs = [run for run in runs_of(store, sweep_id) if run.status == "FINISHED"]
    return {
        run.number: (
            {key: parsed(text) for key, text in run.params.items()},
            result_of(store, run),
        )
        for run in runs
        if run.number is not None
    }


def frame(rows: Mapping[int, Row], sweep_id: str) -> pd.DataFrame:
    """A data frame with the params that differ, the outcome, the metrics and the results.

    Its accessor is :class:`gdexp.commands.accessor.Accessor`.

    Args:
        rows: params and result of each run, by job number.
        sweep_id: the id of the sweep, kept as ``frame.attrs["sweep_id"]``.
    """
    import pandas as pd

    accessor.register()
    shown = dict.fromkeys([*MAIN, *differing([params for params, _ in rows.values()])])
    lines = {
        number: {
            **{key: params.get(key) for key in shown},
            "outcome": result.outcome,
            **describe.final_metrics(result),
            "run_id": result.run_id,
            "result": result,
        }
        for number, (params, result) in sorted(rows.items())
    }
    table = pd.DataFrame.from_dict(lines, orient="index")
    table.index.name = "job"
    table.attrs["sweep_id"] = sweep_id
    last = [name for name in ("run_id", "result") if name in table]
    return table[[*table.columns.difference(last, sort=False), *last]]
