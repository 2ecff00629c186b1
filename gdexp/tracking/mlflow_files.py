"""Artifacts in remote storage (S3, …), through MLflow's artifact repositories."""

# mypy: allow-untyped-calls
from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gdexp.credentials import without_password
from gdexp.errors import StoreError, cause
from gdexp.tracking.artifacts import temporary_folder


def upload(uri: str, files: Mapping[str, bytes]) -> None:
    """Upload files below this artifact URI."""
    with temporary_folder(files) as folder:
        _repository(uri).log_artifacts(folder)


def listed(uri: str, below: str) -> list[str]:
    """The entries of a folder of a run's artifacts."""
    with _reading(uri):
        entries = _repository(uri).list_artifacts(below or None)
        return sorted(entry.path for entry in entries)


def download(uri: str, name: str) -> bytes:
    """The content of one file."""
    with _reading(uri), tempfile.TemporaryDirectory() as folder:
        return Path(_repository(uri).download_artifacts(name, folder)).read_bytes()


@contextmanager
def _reading(uri: str) -> Iterator[None]:
    """Say which place cannot be read: it is not the store."""
    try:
        yield
    except StoreError:
        raise
    except Exception as error:
        why = cause(error).partition(". ")[0]
        raise StoreError(f"{without_password(uri)} cannot be read: {why}.") from error


def _repository(uri: str) -> Any:
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    if not uri:  # MLflow would take the working folder
        raise StoreError("the record does not say where the artifacts are. Run it again.")
    return get_artifact_repository(uri)
