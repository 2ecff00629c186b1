"""Runs written by MLflow's client: to a tracking server, or to tables that gdexp does not know."""

# mypy: allow-untyped-calls
from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from gdexp.credentials import without_password
from gdexp.errors import RefusedError, WriteError, brief, cause
from gdexp.tracking import dataset_query, environment
from gdexp.tracking.client_query import curve, quoted, recorded_run
from gdexp.tracking.client_write import actions, log_artifacts
from gdexp.tracking.patience import is_abandoned
from gdexp.tracking.run_record import DatasetRecord, Points, RecordedRun, RunRecord
from gdexp.tracking.store import adding, reading, writing
from gdexp.tracking.tags import OUTCOME, PROCESS, REASON, RUN_KEY

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

PAGE = 1000  # runs in one response
ASKED = 8  # requests at a time: MLflow's client reads the curves of one run in each


class ClientStore:
    """A store that MLflow's client writes, run by run.

    Args:
        client: the client.
        uri: the store's URI.
        experiment: the name of the experiment that runs go to.
        experiment_id: its id.
    """

    atomic = False

    def __init__(self, client: MlflowClient, uri: str, experiment: str, experiment_id: str) -> None:
        self.client, self.uri = client, uri
        self.experiment, self.experiment_id = experiment, experiment_id
        self._ids: dict[str, str] = {}  # the server's id of a run, by its key

    def write(self, records: Sequence[RunRecord], *, again: bool = False) -> list[str]:
        """Write runs one by one; see :class:`gdexp.tracking.store.Store`."""
        written, shown = [], without_password(self.uri)
        for record in records:
            try:
                written.append(self._write(record, again=again))
            except Exception as error:
                kind = RefusedError if _is_refusal(error) else WriteError
                raise kind(
                    f"A run cannot be written to {shown}: {cause(error).replace(self.uri, shown)}."
                ) from error
        return written

    def give_up(self, records: Sequence[RunRecord]) -> None:
        """Mark runs as FAILED whose end is lost; see :class:`gdexp.tracking.store.Store`."""
        with contextlib.suppress(Exception):
            for record in records:
                if record.run_id in self._ids and not (
                    record.is_open and record.status == "RUNNING"
                ):
                    self.fail({self._ids[record.run_id]: "its last rows could not be written"})

    def _write(self, record: RunRecord, *, again: bool) -> str:
        key, is_late, is_there = record.run_id, False, False
        if again or (record.is_open and key not in self._ids):
            run = self._known(key)
            is_late = run is not None and _has_ended(run, record)
            if run is not None:
                self._ids[key] = run.info.run_id
                is_there = run.info.status == record.status != "RUNNING"  # written last
        if key in self._ids:
            if not is_late:
                self._set_tags(self._ids[key], record)
        else:
            self._ids[key] = self._create(record)
        for action in () if is_there else actions(self.client, self._ids[key], record):
            if is_abandoned():
                raise TimeoutError("the server has taken too long")
            action()
        if again and not (record.is_open and record.status == "RUNNING"):
            for double in self._keyed(key)[1:]:
                self.client.delete_run(double.info.run_id)
        return self._ids[key]

    def _known(self, key: str) -> Run | None:
        """The run on the server with this key, if there is one."""
        from mlflow.exceptions import MlflowException

        if runs := self._keyed(key):
            return runs[0]
        try:
            return self.client.get_run(key)  # recorded by a version without keys
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise

    def _keyed(self, key: str) -> list[Run]:
        """The runs with this key, the one with most in it first.

        There are two if the answer to a creation was lost, and the server went on with it late.
        """
        known = self._ids.get(key)

        def rank(run: Run) -> tuple[bool, int, str]:
            size = len(run.data.params) + len(run.data.metrics)
            return run.info.run_id != known, -size, run.info.run_id

        condition = f"tags.`{RUN_KEY}` = '{key}'"
        return sorted(self.client.search_runs([self.experiment_id], condition), key=rank)

    def _create(self, record: RunRecord) -> str:
        # It takes several requests, so an owner is named until the last: else it would stay RUNNING
        # for ever if this process were killed in between.
        created = self.client.create_run(
            self.experiment_id,
            start_time=record.start_ms,
            tags={PROCESS: environment.process(), **record.tags, RUN_KEY: record.run_id},
            run_name=record.name,
        )
        return str(created.info.run_id)

    def _set_tags(self, run_id: str, record: RunRecord) -> None:
        from mlflow.entities import RunTag

        tags = [RunTag(key, value) for key, value in record.tags.items()]
        if tags:
            self.client.log_batch(run_id, tags=tags)
        if PROCESS in record.tags:  # it had ended, and is resumed
            self.client.update_run(run_id, status=record.status)

    @reading
    def runs(
        self,
        tags: Mapping[str, str | None] | None = None,
        *,
        limit: int | None = None,
        id_prefix: str | None = None,
        everywhere: bool = False,
    ) -> list[RecordedRun]:
        """The newest runs; see :class:`gdexp.tracking.store.Store`."""
        conditions = [
            f"tags.`{key}` LIKE '%'" if value is None else f"tags.`{key}` = {quoted(value)}"
            for key, value in (tags or {}).items()
        ]
        if id_prefix is not None:
            if not id_prefix.isalnum():
                return []
            conditions.append(f"attributes.run_id LIKE '{id_prefix}%'")
        experiments = [self.experiment_id]
        if everywhere:
            experiments = [each.experiment_id for each in self.client.search_experiments()]
        pages = self._pages(experiments, " AND ".join(conditions), limit)
        return [recorded_run(run) for run in pages]

    def _pages(self, experiments: list[str], condition: str, limit: int | None) -> Iterator[Run]:
        token, count = None, 0
        while limit is None or count < limit:
            size = PAGE if limit is None else min(PAGE, limit - count)
            page = self.client.search_runs(
                experiments, condition, 1, size, ["attributes.start_time DESC"], page_token=token
            )
            yield from page
            count += len(page)
            token = page.token
            if not token:
                return

    @writing
    def delete(self, run_ids: Sequence[str]) -> None:
        """Mark runs as deleted; see :class:`gdexp.tracking.store.Store`."""
        for run_id in run_ids:
            self.client.delete_run(run_id)

    @writing
    def fail(self, run_ids: Mapping[str, str]) -> None:
        """Mark runs as FAILED; see :class:`gdexp.tracking.store.Store`."""
        for run_id, reason in run_ids.items():
            self.client.set_tag(run_id, OUTCOME, "failed")
            self.client.set_tag(run_id, REASON, reason)
            self.client.update_run(run_id, status="FAILED")

    def interrupt(self, run: RecordedRun, end_ms: int, tags: Mapping[str, str]) -> bool:
        """Mark a run as KILLED; see :class:`gdexp.tracking.store.Store`."""
        now = recorded_run(self.client.get_run(run.run_id))
        if (now.status, now.tags.get(PROCESS)) != (run.status, run.tags.get(PROCESS)):
            return False
        end = RunRecord("KILLED", "KILLED", run.start_ms, end_ms, tags=tags)
        self._set_tags(run.run_id, end)
        for action in actions(self.client, run.run_id, end):
            action()
        return True

    def tag_experiment(self, experiment_id: str, tags: Mapping[str, str]) -> None:
        """Set tags of an experiment; see :class:`gdexp.tracking.store.Store`."""
        try:
            for key, value in tags.items():
                self.client.set_experiment_tag(experiment_id, key, value)
        except Exception as error:
            raise WriteError(
                f"{without_password(self.uri)} cannot be written: {brief(error)}."
            ) from error

    @reading
    def curves(self, run_ids: Sequence[str], name: str) -> dict[str, Points]:
        """A metric of many runs; see :class:`gdexp.tracking.store.Store`."""
        with ThreadPoolExecutor(ASKED) as pool:
            curves = pool.map(lambda run_id: curve(self.client, run_id, name), run_ids)
        return {run_id: c for run_id, c in zip(run_ids, curves, strict=True) if len(c[0])}

    @reading
    def files(self, run: RecordedRun, below: str = "") -> list[str]:
        """The files of a run; see :class:`gdexp.tracking.store.Store`."""
        entries = self.client.list_artifacts(run.run_id, below or None)
        return sorted(entry.path for entry in entries)

    @reading
    def read(self, run: RecordedRun, name: str) -> bytes:
        """The content of one file."""
        with tempfile.TemporaryDirectory() as folder:
            return Path(self.client.download_artifacts(run.run_id, name, folder)).read_bytes()

    @reading
    def dataset(self, run: RecordedRun) -> DatasetRecord | None:
        """The data set of a run; see :class:`gdexp.tracking.store.Store`."""
        return dataset_query.by_client(self.client.get_run(run.run_id))

    @adding
    def add_files(self, run: RecordedRun, files: Mapping[str, bytes]) -> None:
        """Add artifacts to a run; see :class:`gdexp.tracking.store.Store`."""
        log_artifacts(self.client, run.run_id, files)

    def analyze_after(self, written: int) -> None:
        """Do nothing: a server is tuned by its administrator."""


def _has_ended(run: Run, record: RunRecord) -> bool:
    """Whether a run that this record calls RUNNING has ended since."""
    ended = run.info.end_time
    return record.status == "RUNNING" and ended is not None and ended >= record.start_ms


def _is_refusal(error: Exception) -> bool:
    """Whether the run itself is refused, as for a key that MLflow does not allow."""
    code = getattr(error, "error_code", "")
    return code == "INVALID_PARAMETER_VALUE" or type(error) in (TypeError, ValueError)
