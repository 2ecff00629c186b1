"""The MLflow store: which one, made once, under a lock."""

# mypy: allow-untyped-calls
from __future__ import annotations

import functools
import hashlib
import os
import socket
import tempfile
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gdexp.config.paths import OUTPUTS, absolute, check_writable
from gdexp.errors import StoreError, did_you_mean

if TYPE_CHECKING:
    from mlflow import MlflowClient

DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
SERVERS = ("http", "https")
PATIENCE = 5.0  # seconds a server may take to answer before a run starts
PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433, "http": 80, "https": 443}


@dataclass(frozen=True)
class Store:
    """An open store and the experiment in it that runs go to."""

    client: MlflowClient
    uri: str
    experiment: str
    experiment_id: str


def connect(settings: Mapping[str, Any]) -> Store:
    """The store that the tracking settings name, created if it is the embedded one.

    Args:
        settings: the tracking group: ``uri`` and ``experiment``, either may be None.

    Raises:
        StoreError: it is malformed, unreachable or cannot be written.
    """
    name = settings.get("experiment") or os.environ.get("MLFLOW_EXPERIMENT_NAME") or "gdexp"
    return _connect(resolve(settings.get("uri")), name)


def resolve(uri: str | None) -> str:
    """The store's URI: the setting, else MLFLOW_TRACKING_URI, else ``outputs/mlflow.db``.

    Raises:
        StoreError: it is not a URI of a store.
    """
    source = "tracking.uri" if uri else "MLFLOW_TRACKING_URI"
    uri = uri or os.environ.get("MLFLOW_TRACKING_URI")
    if not uri:
        return f"sqlite:///{absolute(OUTPUTS) / 'mlflow.db'}"
    scheme, colon, rest = uri.partition("://")
    kind = scheme.split("+")[0]
    if not colon or kind not in DATABASES + SERVERS or not rest.strip("/"):
        raise StoreError(
            f"{source}: {uri!r} is no store. Type one like sqlite:///runs.db, "
            f"postgresql://user@host/name or http://host:5000."
            + did_you_mean(kind, (*DATABASES, *SERVERS), prefix="")
            if colon
            else f"{source}: {uri!r} is no store. Type sqlite:///{uri} for a SQLite file, "
            "postgresql://user@host/name or http://host:5000."
        )
    if kind == "sqlite":
        return f"sqlite:///{absolute(rest.removeprefix('/'))}"
    return uri


@functools.cache
def _connect(uri: str, experiment: str) -> Store:
    scheme = uri.split("://")[0].split("+")[0]
    if scheme == "sqlite":
        check_writable(_sqlite_path(uri).parent, "tracking.uri")
    else:
        check_reachable(uri, scheme)
    if scheme not in SERVERS:
        check_writable(absolute(OUTPUTS), "outputs")
        absolute(OUTPUTS).mkdir(parents=True, exist_ok=True)
    quiet()
    from filelock import FileLock
    from mlflow import MlflowClient

    try:
        # Two processes that create the tables of one store at once break it for good.
        with FileLock(_lock_file(uri, scheme), timeout=120):
            if scheme == "sqlite":
                _make_tables(uri)
            client = MlflowClient(tracking_uri=uri)
            experiment_id = _experiment_id(client, experiment, scheme)
    except StoreError:
        raise
    except ModuleNotFoundError as error:
        raise StoreError(
            f"tracking.uri: {scheme} needs the package {error.name}. For PostgreSQL: pip install "
            "'gdexp[postgres]'"
        ) from error
    except Exception as error:
        raise StoreError(
            f"tracking.uri: {hide_password(uri)} cannot be opened as an MLflow store: "
            f"{' '.join(str(error).split())[:300]}"
        ) from error
    return Store(client, uri, experiment, experiment_id)


def _make_tables(uri: str) -> None:
    """Make a new SQLite file whole before it gets its name.

    MLflow makes its tables in hundreds of steps, and never again opens a file left half-way.
    """
    from mlflow.store.db.utils import _initialize_tables, create_sqlalchemy_engine
    from sqlalchemy import make_url

    path = Path(str(make_url(uri).database)).resolve()
    if path.exists() and path.stat().st_size:
        return
    draft = path.with_name(f".{path.name}.new")
    for left in (draft, draft.with_name(f"{draft.name}-journal")):
        left.unlink(missing_ok=True)
    engine = create_sqlalchemy_engine(f"sqlite:///{draft}")
    try:
        _initialize_tables(engine)
    finally:
        engine.dispose()
    draft.replace(path)


def _experiment_id(client: MlflowClient, name: str, scheme: str) -> str:
    found = client.get_experiment_by_name(name)
    if found is None:
        # A server keeps artifacts where it likes; ours belong under outputs/.
        place = None if scheme in SERVERS else (absolute(OUTPUTS) / "artifacts").as_uri()
        return str(client.create_experiment(name, artifact_location=place))
    if found.lifecycle_stage != "active":
        raise StoreError(
            f"tracking.experiment: {name!r} has been deleted in this store. Restore it with "
            f"`mlflow experiments restore -x {found.experiment_id}`, or type another name."
        )
    return str(found.experiment_id)


def _lock_file(uri: str, scheme: str) -> str:
    if scheme == "sqlite":
        path = _sqlite_path(uri)
        return str(path.with_name(f".{path.name}.lock"))
    digest = hashlib.sha256(uri.encode()).hexdigest()[:16]
    return str(Path(tempfile.gettempdir(), f"gdexp-{os.getuid()}-{digest}.lock"))


def _sqlite_path(uri: str) -> Path:
    return Path(uri.removeprefix("sqlite:///"))


def hide_password(uri: str) -> str:
    """The URI as it may be shown: ``postgresql://user:***@host/name``."""
    parts = urllib.parse.urlsplit(uri)
    return uri.replace(f":{parts.password}@", ":***@") if parts.password else uri


def check_reachable(uri: str, scheme: str) -> None:
    """Ask for an answer now: MLflow itself would try for minutes.

    Raises:
        StoreError: none came within five seconds.
    """
    shown = hide_password(uri)
    try:
        parts = urllib.parse.urlsplit(uri)
        address = (parts.hostname or "localhost", parts.port or PORTS[scheme])
        if scheme in SERVERS:
            _ask(uri)
        elif "host=" not in parts.query:  # a socket folder given in the query is not for us to dial
            socket.create_connection(address, timeout=PATIENCE).close()
    except ValueError as error:
        raise StoreError(f"tracking.uri: {shown} is malformed: {error}.") from error
    except OSError as error:
        raise StoreError(
            f"tracking.uri: {shown} does not answer ({_reason(error)}). Start the server, name "
            "another store, or type tracking=off."
        ) from error


def _reason(error: OSError) -> str:
    """What went wrong, without the wrapping: "Connection refused"."""
    inner = getattr(error, "reason", error)
    return str(getattr(inner, "strerror", None) or inner)


def _ask(uri: str) -> None:
    import http.client
    import urllib.error

    try:
        urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=PATIENCE).close()
    except urllib.error.HTTPError as error:
        if error.code >= 500:
            raise
    except http.client.HTTPException as error:
        raise OSError(f"it speaks no HTTP: {error!r}") from error


def quiet() -> None:
    """No telemetry, no migration log on stderr, and retries that end within seconds."""
    import logging

    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    import mlflow  # noqa: F401  (sets its loggers up, so ours is the last word)

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
