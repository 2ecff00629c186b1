"""``python -m gdexp ui``: serve MLflow's pages for the store of recorded runs."""

from __future__ import annotations

import argparse
import errno
import json
import os
import signal
import socket
import sys
import threading
import warnings
import webbrowser
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, cast
from urllib.parse import quote

from gdexp.commands import common
from gdexp.config.paths import OUTPUTS, absolute
from gdexp.credentials import with_password
from gdexp.errors import GdexpError, StoreError, brief

if TYPE_CHECKING:
    from gdexp.tracking.run_record import RecordedRun
    from gdexp.tracking.selection import Selection
    from gdexp.tracking.store import Store

HOST, PORT = "127.0.0.1", 5000
TRIED = 100  # number of ports to try, from PORT on
WORKFLOW = "workflowType=machine_learning"  # without it, MLflow opens its GenAI pages
DRAWING = "drawing"  # the name of a thread
PATIENCE = 2  # seconds that a stopping server waits for requests to finish


def main(argv: Sequence[str]) -> int:
    """Run the command and return its exit code, 0 if Ctrl-C ended it."""
    parser = common.parser("ui")
    parser.add_argument("--port", type=_port, metavar="N", help=f"default: {PORT}, or the next")
    parser.add_argument("--open", action="store_true", help="also open the browser")
    args = parser.parse_args(argv)
    code = common.guarded(lambda: _show(args))
    code = 0 if code == 128 + signal.SIGINT else code
    if any(thread.name == DRAWING for thread in threading.enumerate()):
        # Python's own end stops a thread in the middle of Matplotlib's C++, which then aborts.
        os._exit(code)
    return code


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to 65535")
    return int(text)


def _show(args: argparse.Namespace) -> int:
    from gdexp.sweep.pictures import own_sweep
    from gdexp.tracking.connect import open_existing
    from gdexp.tracking.migration import ready_for_mlflow
    from gdexp.tracking.query import select

    store = open_existing(args.uri, args.experiment)
    runs = select(store, args.runs)
    common.report_silent(runs)
    sweep = None if args.runs else own_sweep(store, runs)
    if store.uri.startswith("http"):
        prepared = _with_pictures(pages(store, runs, named=bool(args.runs)), sweep)
        _announce(store.uri.rstrip("/"), prepared, args.open)
        _log_pictures(store, sweep)
        return 0
    ready_for_mlflow(store.uri)
    with listen(args.port) as listener:
        print(
            "starting MLflow's pages, which takes a few seconds; Ctrl-C stops them", file=sys.stderr
        )
        base = f"http://{HOST}:{listener.getsockname()[1]}"
        prepared = _with_pictures(pages(store, runs, named=bool(args.runs)), sweep)
        drawing = threading.Thread(
            target=_log_pictures, args=[store, sweep], name=DRAWING, daemon=True
        )

        def ready() -> None:
            _announce(base, prepared, args.open)
            drawing.start()  # only now, so that it does not delay the pages

        try:
            return serve(store, listener, ready)
        finally:
            if drawing.ident is not None:
                drawing.join(PATIENCE)


def _log_pictures(store: Store, sweep: Selection | None) -> None:
    """Add the pictures of a sweep to its summary run; the pages open all the same if that fails."""
    if sweep is None:
        return
    from gdexp.sweep.pictures import log_pictures

    try:
        log_pictures(store, sweep)
    except Exception as error:
        print(f"the sweep's pictures cannot be logged: {brief(error)}.", file=sys.stderr)


def _with_pictures(prepared: Mapping[str, str], sweep: Selection | None) -> dict[str, str]:
    """The pages, with that of the sweep's pictures before the last."""
    if sweep is None or sweep.summary is None:
        return dict(prepared)
    *first, last = prepared.items()
    run = f"experiments/{sweep.summary.experiment_id}/runs/{sweep.summary.run_id}"
    return dict([*first, ("pictures", f"{run}/artifacts/plots/map.svg?{WORKFLOW}"), last])


def _announce(base: str, prepared: Mapping[str, str], wanted: bool) -> None:
    """Print the addresses, and open the last in the browser if that is wanted."""
    addresses = {what: f"{base}/#/{page}" for what, page in prepared.items()}
    common.show("\n".join(f"{what + ':':<12}{where}" for what, where in addresses.items()))
    if wanted:
        last = [*addresses.values()][-1]
        threading.Thread(target=webbrowser.open, args=[last], daemon=True).start()


def pages(store: Store, runs: Sequence[RecordedRun], *, named: bool = False) -> dict[str, str]:
    """The pages of runs, as MLflow's addresses name them: runs, curves, comparison or run.

    Args:
        store: the store, in which the views of these pages are saved.
        runs: the runs.
        named: whether they are to be shown without the rest of their sweep.
    """
    from gdexp.tracking import views

    if (named or not views.sweep_of(runs)) and len(runs) > views.LONGEST:
        print(
            f"{len(runs)} runs are too many for one address: the pages show all runs of their "
            f"{'sweep' if views.sweep_of(runs) else 'experiment'}",
            file=sys.stderr,
        )
    if len(runs) > views.LOADED:
        print(
            f"curves and comparison first draw a sample of {views.LOADED} of the {len(runs)} runs; "
            '"Load more" at the end of their list adds others',
            file=sys.stderr,
        )
    places = {run.experiment_id for run in runs}
    if len(places) > 1:
        return _plain_pages(store, runs)
    try:
        keys = views.save(store, runs, named=named)
    except StoreError as error:
        print(f"{error} So the pages open as MLflow arranges them.", file=sys.stderr)
        return _plain_pages(store, runs)
    table = f"experiments/{places.pop()}/runs"
    modes = {"runs": "", "curves": "&compareRunsMode=CHART", "comparison": "&compareRunsMode=CHART"}
    prepared = {
        name: f"{table}?viewStateShareKey={key}&{WORKFLOW}{modes[name]}"
        for name, key in keys.items()
    }
    return prepared | _own_page(runs)


def _own_page(runs: Sequence[RecordedRun]) -> dict[str, str]:
    """The page of the run, if there is only one."""
    if len(runs) > 1:
        return {}
    return {"run": f"experiments/{runs[0].experiment_id}/runs/{runs[0].run_id}?{WORKFLOW}"}


def _plain_pages(store: Store, runs: Sequence[RecordedRun]) -> dict[str, str]:
    """The pages as MLflow arranges them; an address names a limited number of runs."""
    from gdexp.tracking.views import LONGEST, condition_of

    table = f"experiments/{runs[0].experiment_id}/runs?{WORKFLOW}"
    condition = quote(condition_of(runs))
    plain = {"runs": table, "curves": f"{table}&searchFilter={condition}&compareRunsMode=CHART"}
    if 1 < len(runs) <= LONGEST:
        ids = quote(json.dumps([run.run_id for run in runs]))
        places = quote(json.dumps(sorted({run.experiment_id for run in runs})))
        plain["comparison"] = f"compare-runs?runs={ids}&experiments={places}&{WORKFLOW}"
    return plain | _own_page(runs)


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

        application = _application(with_password(store.uri))
    except Exception as error:
        print(f"gdexp: MLflow's server cannot be started: {brief(error)}.", file=sys.stderr)
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
