"""Store URIs: which one is meant, what it names, and whether it can be reached."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import sys
import tempfile
import urllib.parse
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from gdexp.config.paths import OUTPUTS, absolute
from gdexp.credentials import UNREADABLE, forget, kept, with_password
from gdexp.errors import StoreError, did_you_mean

DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
SERVERS = ("http", "https")
PATIENCE = 5.0  # seconds to wait for a server to answer
QUESTION = "api/2.0/mlflow/experiments/search?max_results=1"  # needs a user, unlike /health
PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433, "http": 80, "https": 443}


def resolve(uri: str | None) -> str:
    """The store's URI: the setting, else MLFLOW_TRACKING_URI, else ``outputs/mlflow.db``.

    It has no password; :func:`gdexp.credentials.with_password` gives it back to what connects.

    Raises:
        StoreError: it is not a store URI.
    """
    source = "tracking.uri" if uri else "MLFLOW_TRACKING_URI"
    uri = uri or os.environ.get("MLFLOW_TRACKING_URI")
    if not uri:
        return sqlite_uri(absolute(OUTPUTS) / "mlflow.db")
    try:
        uri = kept(uri)
    except ValueError as error:
        raise StoreError(f"{source}: {error}") from None
    scheme, colon, rest = uri.partition("://")
    kind = scheme.split("+")[0]
    if not colon or kind not in DATABASES + SERVERS or not rest.strip("/"):
        uri = uri if colon else f"{'…' if '@' in uri else ''}{uri[max(uri.rfind('@'), 0) :]}"
        raise StoreError(
            f"{source}: {uri!r} is not a store URI. Type one like sqlite:///runs.db, "
            f"postgresql://user@host/name or http://host:5000."
            + did_you_mean(kind, (*DATABASES, *SERVERS), prefix="")
            if colon
            else f"{source}: {uri!r} is not a store URI. Type sqlite:///{uri} for a SQLite file, "
            "postgresql://user@host/name or http://host:5000."
        )
    if kind != "sqlite":
        if "@" in rest.replace("?", "/").partition("/")[2]:  # it may belong to a password
            raise StoreError(f"{source}: {UNREADABLE}")
        return uri
    path = absolute(sqlite_path(uri))
    if "?" in rest and not path.exists():
        raise StoreError(
            f"{source}: {uri!r} has options after ?, which are not supported. Leave them out; if "
            f"the ? belongs to the path, type {uri.replace('?', '%3F')}"
        )
    return sqlite_uri(path)


def kind_of(uri: str) -> str:
    """sqlite, postgresql, mysql, mssql, http or https."""
    return uri.split("://")[0].split("+")[0]


def sqlite_uri(path: Path) -> str:
    """The URI of a SQLite file, escaped as SQLAlchemy needs it: ``?`` would start options.

    MLflow creates the folder of the file without unescaping it, so the slashes after the first
    escape are escaped too.

    >>> sqlite_uri(Path("/tmp/Größe (1)/runs.db")), sqlite_uri(Path("/tmp/what?/runs.db"))
    ('sqlite:////tmp/Größe (1)/runs.db', 'sqlite:////tmp/what%3F%2Fruns.db')
    """
    text = str(path)
    special = re.search(r"[%?\x00-\x1f]", text)
    start = text.rfind("/", 0, special.start()) + 1 if special else len(text)
    escaped = re.sub(r"[/%?\x00-\x1f]", lambda c: f"%{ord(c[0]):02X}", text[start:])
    return f"sqlite:///{text[:start]}{escaped}"


def sqlite_path(uri: str) -> Path:
    """The file of a SQLite store.

    >>> sqlite_path("sqlite:///what%3F/runs.db")
    PosixPath('what?/runs.db')
    """
    return Path(urllib.parse.unquote(re.sub(r"^sqlite[^:]*:///", "", uri)))


def is_created(uri: str) -> bool:
    """Whether the store of a resolved URI exists; assumed of databases and servers."""
    path = sqlite_path(uri)
    return kind_of(uri) != "sqlite" or (path.is_file() and path.stat().st_size > 0)


def check_environment() -> None:
    """Refuse variables of MLflow that a new run cannot honour.

    Raises:
        StoreError: MLFLOW_RUN_ID names a run to go on with.
    """
    if run_id := os.environ.get("MLFLOW_RUN_ID"):
        raise StoreError(
            f"MLFLOW_RUN_ID={run_id}: gdexp records each run as a new one. Unset the variable; to "
            "go on from a run's checkpoint, type continue_from=RUN_ID."
        )


def experiment_name(setting: str | None) -> str:
    """The experiment: the setting, else that of ``mlflow.set_experiment``, else of the environment.

    Without any, it is ``gdexp``.

    Raises:
        StoreError: MLFLOW_EXPERIMENT_ID alone names one.
    """
    if setting or (setting := _active_experiment() or os.environ.get("MLFLOW_EXPERIMENT_NAME")):
        return setting
    if number := os.environ.get("MLFLOW_EXPERIMENT_ID"):
        raise StoreError(
            f"MLFLOW_EXPERIMENT_ID={number}: gdexp finds an experiment by its name. Set "
            "MLFLOW_EXPERIMENT_NAME, or type tracking.experiment=NAME."
        )
    return "gdexp"


def _active_experiment() -> str | None:
    """The experiment that ``mlflow.set_experiment`` has set in this process, as in a notebook."""
    fluent = sys.modules.get("mlflow.tracking.fluent")
    number = fluent and fluent._active_experiment_id
    return str(fluent.get_experiment(number).name) if fluent and number else None


def check_reachable(uri: str) -> None:
    """Check that a server or database answers: MLflow itself would retry for minutes.

    Raises:
        StoreError: the URI is malformed, no answer came within five seconds, or the server refuses
            the user.
    """
    kind, status = kind_of(uri), 0
    parts = urllib.parse.urlsplit(with_password(uri))
    has_one_address = "host=" not in parts.query and "," not in parts.netloc
    try:
        if kind in SERVERS:
            status = _ask(uri)
        elif has_one_address:  # else a socket's folder, or several hosts
            address = (parts.hostname or "localhost", parts.port or PORTS[kind])
            socket.create_connection(address, timeout=PATIENCE).close()
    except ValueError as error:  # whose message may quote the password
        raise StoreError(
            f"tracking.uri: {uri} is malformed: after the host and a colon, a port from 0 to 65535 "
            "is expected, and a password ends with @."
        ) from error
    except OSError as error:
        raise StoreError(
            f"tracking.uri: {uri} does not answer ({_reason(error)}). Start the server, name "
            "another store, or type tracking=off."
        ) from error
    if status == 401:
        verb = "does not accept this" if _authorization(uri) else "asks for a"
        forget(uri)
        raise StoreError(
            f"tracking.uri: {uri} {verb} user name and password. Set MLFLOW_TRACKING_USERNAME and "
            f"MLFLOW_TRACKING_PASSWORD, or type {uri.replace('://', '://USER:PASSWORD@')}"
        )


def _reason(error: OSError) -> str:
    """The message of the innermost error: "Connection refused"."""
    inner = getattr(error, "reason", error)
    return str(getattr(inner, "strerror", None) or inner)


def _ask(uri: str) -> int:
    """The status with which a server answers a request of the user."""
    import http.client
    import urllib.error
    import urllib.request

    _ = urllib.parse.urlsplit(with_password(uri)).port  # raises ValueError if it is no number
    request = urllib.request.Request(f"{uri.rstrip('/')}/{QUESTION}")
    if authorization := _authorization(uri):
        request.add_unredirected_header("Authorization", authorization)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        if error.code >= 500:
            raise
        return error.code
    except http.client.HTTPException as error:
        raise OSError(f"not an HTTP server: {error!r}") from error


def _authorization(uri: str) -> str | None:
    """The header that MLflow's client sends: of the URI, else of MLflow's variables."""
    from base64 import b64encode

    parts = urllib.parse.urlsplit(with_password(uri))
    user, password = urllib.parse.unquote(parts.username or ""), parts.password or ""
    password = urllib.parse.unquote(password)
    if not user:
        user = os.environ.get("MLFLOW_TRACKING_USERNAME", "")
        password = os.environ.get("MLFLOW_TRACKING_PASSWORD", "")
    if user:
        return f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"
    token = os.environ.get("MLFLOW_TRACKING_TOKEN")
    return f"Bearer {token}" if token else None


def lock(uri: str) -> AbstractContextManager[Any]:
    """The lock of a store, which a thread may take again: only one process creates its tables."""
    from filelock import FileLock

    if kind_of(uri) == "sqlite":
        path = sqlite_path(uri)
        path.parent.mkdir(parents=True, exist_ok=True)
        name = path.with_name(f".{path.name}.lock")
    else:
        digest = hashlib.sha256(uri.encode()).hexdigest()[:16]
        name = Path(tempfile.gettempdir(), f"gdexp-{os.getuid()}-{digest}.lock")
    return FileLock(name, timeout=120, is_singleton=True)
