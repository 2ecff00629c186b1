"""MLflow's client, set up: quiet, quick to give up, and wary of answers that were cut off."""

# mypy: allow-untyped-calls
from __future__ import annotations

import functools
import logging
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from requests import Response


def set_up() -> None:
    """Turn off telemetry and logs on stderr, and make retries end within seconds."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    # A repeated creation makes two runs, so Delivery tries again, not MLflow.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    # PostgreSQL, set up in the locale C, otherwise hands out bytes.
    os.environ.setdefault("PGCLIENTENCODING", "UTF8")
    import mlflow  # noqa: F401  (configures its loggers, so it must come before ours)

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # They try again, or raise what they warn of, but aloud and with a traceback.
    for name in ("mlflow.store.db.utils", "mlflow.utils.rest_utils", "urllib3"):
        logging.getLogger(name).setLevel(logging.ERROR)
    _refuse_cut_answers()


def _refuse_cut_answers() -> None:
    """Take no answer that was cut off in its headers for an empty one, as MLflow does.

    It would then know a run without a place for artifacts, and remember that.
    """
    from mlflow.utils import rest_utils

    verify = rest_utils.verify_rest_response

    @functools.wraps(verify)
    def checked(response: Response, *args: Any, **settings: Any) -> Any:
        if response.status_code == 200 and not response.content:
            raise ConnectionError("the answer was cut off")
        return verify(response, *args, **settings)

    if not hasattr(verify, "__wrapped__"):
        rest_utils.verify_rest_response = checked
