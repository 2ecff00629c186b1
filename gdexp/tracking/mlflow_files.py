"""Artifacts in remote storage (S3, …), through MLflow's artifact repositories."""

# mypy: allow-untyped-calls
from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gdexp.tracking.artifacts import temporary_folder


def upload(uri: str, files: Mapping[str, bytes]) -> None:
    """Upload files below this artifact URI."""
    with temporary_folder(files) as folder:
        _repository(uri).log_artifacts(folder)


def listed(uri: str, below: str) -> list[str]:
    """The entries of a folder of a run's artifacts."""
    entries = _repository(uri).list_artifacts(below or None)
    return sorted(entry.path for entry in entries)


def download(uri: str, name: str) -> bytes:
    """The content of one file."""
    with tempfile.TemporaryDirectory() as folder:
        return Path(_repository(uri).download_artifacts(name, folder)).read_bytes()


def _repository(uri: str) -> Any:
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    return get_artifact_repository(uri)
