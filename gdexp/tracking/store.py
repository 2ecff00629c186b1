"""The interface of every MLflow store."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ParamSpec, Protocol, TypeVar

from gdexp.credentials import without_password
from gdexp.errors import GdexpError, StoreError, WriteError, cause
from gdexp.tracking.run_record import DatasetRecord, Points, RecordedRun, RunRecord

P = ParamSpec("P")
T = TypeVar("T")


def _raising(
    kind: type[StoreError], what: str, known: tuple[type[Exception], ...] = (GdexpError, OSError)
) -> Callable[[Callable[P, T]], Callable[P, T]]:
    def decorated(method: Callable[P, T]) -> Callable[P, T]:
        @functools.wraps(method)
        def called(*args: P.args, **settings: P.kwargs) -> T:
            try:
                return method(*args, **settings)
            except known:
                raise
            except Exception as error:
                store: Any = args[0]
                shown = without_password(store.uri)
                raise kind(f"{shown} {what}: {cause(error).replace(store.uri, shown)}.") from error

        return called

    return decorated


reading = _raising(StoreError, "cannot be read")
"""Lets a method of a store raise StoreError, whatever its library raises."""

writing = _raising(WriteError, "cannot be written")
"""Lets a method of a store raise WriteError, whatever its library raises."""

adding = _raising(WriteError, "cannot be written", (GdexpError,))
"""As writing, also of a full disk, which is not the delivery's to handle."""


class Store(Protocol):
    """An open store, and the experiment that runs go to.

    Attributes:
        uri: the store's URI.
        experiment: the experiment's name.
        experiment_id: its id.
        atomic: whether runs written together are either all stored or none.
    """

    uri: str
    experiment: str
    experiment_id: str
    atomic: bool

    def write(self, records: Sequence[RunRecord], *, again: bool = False) -> list[str]:
        """Write runs with everything that belongs to them.

        A database gets the artifacts first and then all runs in one transaction, so that every run
        in it is complete; a server gets the runs one by one.

        Args:
            records: the runs, and additions to runs.
            again: whether the store may have some of this, or records of these runs that are newer;
                what it has stays as it is.

        Returns:
            The ids of the runs, in the same order.

        Raises:
            RefusedError: the store refuses a run.
            WriteError: the store cannot be written. A database then has none of the runs.
        """

    def give_up(self, records: Sequence[RunRecord]) -> None:
        """Mark the runs among these that are RUNNING as FAILED: nobody will write their end."""

    def runs(
        self,
        tags: Mapping[str, str | None] | None = None,
        *,
        limit: int | None = None,
        id_prefix: str | None = None,
        everywhere: bool = False,
    ) -> list[RecordedRun]:
        """Find runs, newest first.

        Args:
            tags: required tags with their values; None: any value.
            limit: the maximum number; None: all.
            id_prefix: a prefix of the ids; None: any.
            everywhere: search all experiments.
        """

    def delete(self, run_ids: Sequence[str]) -> None:
        """Mark runs as deleted: MLflow hides them, and can restore them."""

    def fail(self, run_ids: Mapping[str, str]) -> None:
        """Mark FINISHED runs as FAILED, each with the reason."""

    def interrupt(self, run: RecordedRun, end_ms: int, tags: Mapping[str, str]) -> bool:
        """Mark a RUNNING run as KILLED, set tags, and remove its owner.

        Args:
            run: the run.
            end_ms: when it ended, in ms since 1970.
            tags: the tags.

        Returns:
            Whether this was done here: False if the run has ended, or changed its owner, meanwhile.
        """

    def tag_experiment(self, experiment_id: str, tags: Mapping[str, str]) -> None:
        """Set tags of an experiment; its other tags stay as they are.

        Raises:
            WriteError: the store cannot be written.
        """

    def curves(self, run_ids: Sequence[str], name: str) -> dict[str, Points]:
        """A metric of many runs: the (steps, values) of each run that has it, in ascending order.

        Where a step has several values, the last one counts.
        """

    def files(self, run: RecordedRun, below: str = "") -> list[str]:
        """The files and folders in a folder of a run's artifacts, by path."""

    def read(self, run: RecordedRun, name: str) -> bytes:
        """The content of one of a run's artifacts."""

    def dataset(self, run: RecordedRun) -> DatasetRecord | None:
        """The data set of a run; None if it has none."""

    def add_files(self, run: RecordedRun, files: Mapping[str, bytes]) -> None:
        """Add artifacts to a run, which may have ended; its status and its end stay as they are.

        Raises:
            WriteError: they cannot be written.
        """

    def analyze_after(self, written: int) -> None:
        """Let a database update its statistics, if enough runs have been written."""
