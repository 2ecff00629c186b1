"""A process that is killed between two requests to a server leaves a run that can be closed."""

from __future__ import annotations

import contextlib
import itertools
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from tracking_helpers import client_store, finished

from gdexp.tracking.connect import connect
from gdexp.tracking.liveness import state
from gdexp.tracking.tags import PROCESS, RUN_KEY

REQUESTS = (
    "create_run",
    "log_batch",
    "log_inputs",
    "log_artifacts",
    "set_terminated",
    "delete_tag",
)


class Killed(BaseException):
    """Stands for the end of the process, which no ``except Exception`` sees."""


def killed_after(requests: int, client: MlflowClient, patch: pytest.MonkeyPatch) -> None:
    """Let the client make so many requests, and raise Killed at the next one."""
    made = itertools.count()

    def counting(original: Any) -> Any:
        def request(*args: Any, **settings: Any) -> Any:
            if next(made) == requests:
                raise Killed
            return original(*args, **settings)

        return request

    for name in REQUESTS:
        patch.setattr(client, name, counting(getattr(client, name)))


def test_a_run_that_is_half_written_has_an_owner(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = client_store(connect({"experiment": "theirs"}))
    statuses = []
    for requests in range(1, 8):  # params and metrics are two of the same name
        record = finished()
        with monkeypatch.context() as patch:
            killed_after(requests, theirs.client, patch)
            with contextlib.suppress(Killed):
                theirs.write([record])
        (run,) = [run for run in theirs.runs() if run.tags[RUN_KEY] == record.run_id]
        assert run.status == "FINISHED" or state(run.tags[PROCESS]) == "alive", requests
        statuses.append(run.status)
    assert statuses == ["RUNNING"] * 5 + ["FINISHED"] * 2
    assert PROCESS not in run.tags
