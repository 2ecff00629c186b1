"""``python -m gdexp ui``: serve MLflow's pages for the store of recorded runs."""

from __future__ import annotations

import argparse
import errno
import json
import os
import re
import signal
import socket
import sys
import threading
import warnings
import webbrowser
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, cast
from urllib.parse import quote

from gdexp.commands import common
from gdexp.config.paths import OUTPUTS, absolute
from gdexp.errors import GdexpError

if TYPE_CHECKING:
    from gdexp.tracking.run_record import RecordedRun
    from gdexp.tracking.store import Store

HOST, PORT = "127.0.0.1", 5000
TRIED = 100  # number of ports to try, from PORT on
LONGEST = 100  # runs that one URL can name
PATIENCE = 2  # seconds that a stopping server waits for requests to finish


def main(argv: Sequence[str]) -> int:
    """Run the command and return its exit code, 0 if Ctrl-C ended it."""
    parser = common.parser("ui")
    parser.add_argument("--port", type=_port, metavar="N", help=f"default: {PORT}, or the next")
    parser.add_argument("--open", action="store_true", help="also open the browser")
    args = parser.parse_args(argv)
    code = common.guarded(lambda: _show(args))
    return 0 if code == 128 + signal.SIGINT else code


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to 65535")
    return int(text)


def _show(args: argparse.Namespace) -> int:
    from gdexp.tracking.connect import open_existing
    from gdexp.tracking.query import select

    store = open_existing(args.uri, args.experiment)
    runs = select(store, args.runs)

    def announce(base: str) -> None:
        pages = addresses(base, store, runs)
        common.show("\n".join(f"{what + ':':<12}{where}" for what, where in pages.items()))
        if "comparison" not in pages:
            print(f"{len(runs)} runs are too many for a comparison page", file=sys.stderr)
        if args.open:
            threading.Thread(
                target=webbrowser.open, args=[[*pages.values()][-1]], daemon=True
            ).start()

    if store.uri.startswith("http"):
        announce(re.sub("//[^/]*@", "//", store.uri.rstrip("/")))  # without the password
        return 0
    with listen(args.port) as listener:
        base = f"http://{HOST}:{listener.getsockname()[1]}"
        return serve(store, listener, lambda: announce(base))


def addresses(base: str, store: Store, runs: Sequence[RecordedRun]) -> dict[str, str]:
    """The URLs of the runs table, the curves and the comparison.

    The comparison is left out if there are more runs than a URL can name.
    """
    from gdexp.tracking.query import SWEEP

    workflow = "workflowType=machine_learning"  # without it, MLflow opens its GenAI pages
    table = f"{base}/#/experiments/{store.experiment_id}/runs?{workflow}"
    sweeps = {run.tags.get(SWEEP) for run in runs}
    sweep = sweeps.pop() if len(sweeps) == 1 else None
    wanted = quote(f"tags.`{SWEEP}` = {sweep!r} AND tags.`gdexp.kind` = 'run'")
    condition = f"&searchFilter={wanted}" if sweep else ""
    pages = {"runs": table, "curves": f"{table}{condition}&compareRunsMode=CHART"}
    if len(runs) <= LONGEST:
        ids = json.dumps([run.run_id for run in runs])
        places = json.dumps(sorted({run.experiment_id for run in runs}))
        chosen = f"runs={quote(ids)}&experiments={quote(places)}"
        pages["comparison"] = f"{base}/#/compare-runs?{chosen}&{workflow}"
    return pages


def listen(port: int | None) -> socket.socket:
    """Open a listening socket on this port; None: on the first free one from 5000 on.

    Raises:
        GdexpError: the port is taken or cannot be used, or all are taken.
    """
    for candidate in range(port or PORT, (port or PORT + TRIED - 1) + 1):
        try:
            listener = socket.create_server((HOST, candidate))
        except OSError as error:
            is_taken = error.errno == errno.EADDRINUSE
            if is_taken and port is None:
                continue
            reason = "taken" if is_taken else f"not usable ({error.strerror})"
            raise GdexpError(
                f"--port: port {candidate} is {reason}. Name another, or leave --port out."
            ) from error
        if port is None and candidate != PORT:
            print(f"port {PORT} is taken, using {candidate} instead", file=sys.stderr)
        return listener
    raise GdexpError(f"--port: ports {PORT} to {candidate} are all taken. Type --port N.")


def serve(store: Store, listener: socket.socket, ready: Callable[[], None]) -> int:
    """Serve MLflow's pages on the socket until a signal arrives; returns 1 if it cannot start.

    The server runs in this process, not in a subprocess: it starts in half the time, and cannot
    outlive this process.

    Raises:
        Interrupted: Ctrl-C or SIGTERM has stopped the server.
    """
    try:
        import uvicorn

        application = _application(store.uri)
    except Exception as error:
        print(f"gdexp: MLflow's server cannot be started: {error!r}", file=sys.stderr)
        return 1

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets=sockets)
            if self.started:
                ready()

    config = uvicorn.Config(application, log_config=None, timeout_graceful_shutdown=PATIENCE)
    server = Server(config)
    server.run(sockets=[listener])
    return 0 if server.started else 1


def _application(uri: str) -> Callable[..., object]:
    """The application that ``mlflow server`` runs, without its job runners and logs."""
    from mlflow.server import constants

    place = absolute(OUTPUTS) / "artifacts"
    os.environ |= {
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        constants.BACKEND_STORE_URI_ENV_VAR: uri,
        constants.REGISTRY_STORE_URI_ENV_VAR: uri,
        constants.ARTIFACT_ROOT_ENV_VAR: place.as_uri(),
        constants.ARTIFACTS_DESTINATION_ENV_VAR: place.as_uri(),
        constants.SERVE_ARTIFACTS_ENV_VAR: "true",
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside the server
        from mlflow.server.fastapi_app import app
        from mlflow.server.handlers import initialize_backend_stores

    initialize_backend_stores(uri, uri, place.as_uri())
    return cast(Callable[..., object], app)
