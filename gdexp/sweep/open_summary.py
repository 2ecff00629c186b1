"""The summary run of a sweep whose jobs are unknown until they are asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from gdexp.config.overrides import typed
from gdexp.sweep import resume
from gdexp.sweep.summary import Row, Summary, row_of
from gdexp.tracking.connect import connect


class OpenSummary(Summary):
    """A summary that reads its table from the store, and cannot be resumed."""

    @classmethod
    def of(cls, config: DictConfig) -> OpenSummary:
        """Open the summary of the sweep with this configuration.

        Raises:
            ConfigError: a sweep of this name is recorded already.
            StoreError: the store cannot be used.
        """
        hydras = [text for text in typed(config, "hydra") if not text.startswith(LEFT_OUT)]
        words = [*hydras, *typed(config)]
        summary = cls(connect(config.tracking), words, (), config.hydra.sweep.dir)
        summary.open()
        return summary

    @property
    def sweep_id(self) -> str:
        """The id of the sweep, which its jobs take from their folder."""
        return Path(self.folder).name

    @property
    def _or_resume(self) -> str:
        return ""

    def _definition(self) -> dict[str, Any]:
        jobs = {resume.DEFINITION: resume.definition(())}
        return {"params": {"jobs": "chosen by the sweeper"}, "artifacts": jobs}

    def _table(self, rows: Mapping[int, Row]) -> Sequence[Row]:
        recorded = [row_of(run) for run in self._recorded() if run.number is not None]
        return sorted(recorded, key=lambda row: int(row["job"]))


LEFT_OUT = (  # of the overrides, in the summary's name
    *("hydra.mode=", "hydra.sweep.dir=", "hydra/job_logging=none", "hydra/hydra_logging=none"),
)
