"""What can be asked of an MLflow store, whatever kind it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from gdexp.tracking.run_record import RecordedRun, RunRecord


class Store(Protocol):
    """An open store and the experiment in it that runs go to.

    Attributes:
        uri: where it is.
        experiment: the experiment's name.
        experiment_id: its id.
        atomic: whether runs written together are all there or none.
    """

    uri: str
    experiment: str
    experiment_id: str
    atomic: bool

    def write(self, records: Sequence[RunRecord]) -> list[str]:
        """Write runs with all that belongs to them; the ids, in their order.

        A database gets all of them in one transaction, after their files, so that a run in it is
        whole; a server gets them one by one.

        Raises:
            WriteError: the store refuses. What a database was given is then not in it.
        """

    def runs(
        self,
        tags: Mapping[str, str | None] | None = None,
        *,
        limit: int | None = None,
        id_prefix: str | None = None,
        everywhere: bool = False,
    ) -> list[RecordedRun]:
        """The newest runs, newest first.

        Args:
            tags: each with its value; None: whatever its value is.
            limit: how many at most.
            id_prefix: how their ids begin.
            everywhere: in any experiment.
        """

    def delete(self, run_ids: Sequence[str]) -> None:
        """Mark runs as deleted: they can be restored, and no page shows them."""

    def fail(self, run_ids: Mapping[str, str]) -> None:
        """Turn runs that claim to be FINISHED into FAILED ones, each with the reason."""

    def files(self, run: RecordedRun, below: str = "") -> list[str]:
        """The names of a run's files in a folder of its artifacts."""

    def read(self, run: RecordedRun, name: str) -> bytes:
        """The content of one of a run's files."""

    def analyze_after(self, written: int) -> None:
        """Let a database measure its tables, if that many new runs make it worth while."""
