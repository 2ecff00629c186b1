"""Connections to PostgreSQL and to MLflow's server are cut after some number of bytes.

A proxy stands between gdexp and the store. It passes on so many bytes of what gdexp sends, or of
what it is answered, and then closes the connection, once or from then on. After ``sync``, the store
has each run whole and once.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import CHECKOUT, PATIENCE
from sweep_helpers import gd

sys.path.append(str(CHECKOUT / "scripts"))

import soak_store
from soak_audit import problems
from soak_log import Case, Log
from soak_store import Row

SIZES = ((0.02, 0.6), (0.3, 0.9))  # parts of the bytes that an undisturbed command moves
ALONE = ("iters=9", "seed=7")
SWEEP = ("-m", "lr=0.01,10", "iters=5", "seed=7")


class Proxy:
    """Passes bytes on to a server, until it has passed so many.

    Args:
        port: the server's.
    """

    def __init__(self, port: int) -> None:
        self.passed = {"to": 0, "from": 0}  # bytes to the server, and from it
        self._port, self._lock = port, threading.Lock()
        self._limits: dict[str, float] = {}
        self._is_down = self._stays_down = False
        self._open: set[socket.socket] = set()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self, way: str, size: int, *, stays_down: bool) -> None:
        """Cut all connections after so many more bytes of one way."""
        self.passed, self._limits = {"to": 0, "from": 0}, {way: size}
        self._is_down, self._stays_down = False, stays_down

    def heal(self) -> None:
        """Pass everything on again."""
        self._limits, self._is_down = {}, False

    @property
    def has_cut(self) -> bool:
        """Whether it has cut a connection since it was told to."""
        return not self._limits or self._is_down

    def close(self) -> None:
        """Take no more connections."""
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._close_all()

    def _close_all(self) -> None:
        with self._lock:
            connections, self._open = self._open, set()
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                if self._is_down and self._stays_down:
                    near.close()
                    continue
                far = socket.create_connection(("127.0.0.1", self._port))
                with self._lock:
                    self._open |= {near, far}
                for way, source, sink in (("to", near, far), ("from", far, near)):
                    threading.Thread(
                        target=self._pump, args=(way, source, sink), daemon=True
                    ).start()

    def _pump(self, way: str, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                left = self._limits.get(way, float("inf")) - self.passed[way]
                self.passed[way] += len(data)
                if len(data) > left and not (self._is_down and not self._stays_down):
                    sink.sendall(data[: max(0, int(left))])
                    self._is_down = True
                    self._close_all()
                    break
                sink.sendall(data)
            with contextlib.suppress(OSError):
                sink.shutdown(socket.SHUT_WR)
        with self._lock:
            self._open -= {source}
        source.close()


@contextlib.contextmanager
def proxied(port: int) -> Iterator[Proxy]:
    proxy = Proxy(port)
    try:
        yield proxy
    finally:
        proxy.close()


Rows = Callable[[], list[Row]]


@pytest.fixture(params=["postgresql", "server"])
def store(
    request: pytest.FixtureRequest,
    workdir: Path,
    experiment: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[tuple[Proxy, Rows, bool]]:
    """A store behind a proxy, its rows, and whether it writes a run in one transaction."""
    if request.param == "postgresql":
        uri = request.getfixturevalue("postgres_store")()
        port = int(uri.rpartition(":")[2].partition("/")[0])
        opened: Any = lambda: soak_store.postgresql(uri)  # noqa: E731
        root = None
    else:
        server = request.getfixturevalue("served")
        port, uri, root = server.port, server.uri, server.artifacts
        opened = lambda: soak_store.sqlite(server.database)  # noqa: E731
    assert gd("iters=1", f"tracking.uri={uri}").code == 0  # creates the experiment

    def rows() -> list[Row]:
        with opened() as query:
            every = soak_store.rows(query, root)
        return [row for row in every if row.folder.is_relative_to(root or workdir)]

    before = {row.run_id for row in rows()}
    with proxied(port) as proxy:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri.replace(str(port), str(proxy.port)))
        yield proxy, lambda: [row for row in rows() if row.run_id not in before], root is None


def forget_connections() -> None:
    """Open the store anew, as another process would."""
    from gdexp.tracking import connect, delivery

    connect._connect.cache_clear()
    delivery._deliveries.clear()


@pytest.mark.slow
@pytest.mark.parametrize("words", [ALONE, SWEEP], ids=["run", "sweep"])
@pytest.mark.parametrize("way", ["to", "from"])
@pytest.mark.timeout(PATIENCE)
def test_connections_that_are_cut_lose_nothing(
    words: tuple[str, ...], way: str, store: tuple[Proxy, Rows, bool], tmp_path: Path
) -> None:
    proxy, rows, atomic = store
    jobs = 2 if words is SWEEP else 1
    size = _moved(proxy, words, way)
    known = {row.run_id for row in rows()}
    for number, part in enumerate(SIZES[(words is SWEEP) ^ (way == "to")]):
        seed, sweep = 100 + number, f"s{100 + number}-{tmp_path.name}"
        given = (*words[:-1], f"seed={seed}")
        given += (f"hydra.sweep.dir={sweep}",) if words is SWEEP else ()
        log = Log(tmp_path / f"log{number}")
        log.started(case := Case("", seed, given, jobs, sweep if words is SWEEP else ""))
        forget_connections()
        proxy.cut(way, int(size * part), stays_down=number % 2 == 0)
        ended = gd(*given)
        was_cut = proxy.has_cut
        log.ended(case, ended.code, ended.out, ended.err)
        assert "Traceback" not in ended.err, ended.err
        assert ended.code in ((0, 2) if was_cut else (0,)), ended.err  # 2: it was never opened
        proxy.heal()
        forget_connections()
        synced = gd("sync")
        assert synced.code == 0, synced.err
        fresh = [row for row in rows() if row.run_id not in known]
        known |= {row.run_id for row in fresh}
        assert problems(log.cases, fresh, atomic=atomic) == [], (part, ended.err, synced.err)
        if ended.code == 0:
            assert [row.status for row in fresh] == ["FINISHED"] * (jobs + (words is SWEEP))
        assert [*Path("outputs/spool").glob("*.npz")] == []


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 200 OK\r\ndate: today\r\n", b"HTTP/1.1 200 OK\r\nda"]
)
def test_an_answer_that_is_cut_off_in_its_headers_is_no_empty_one(
    answer: bytes, environment: None, capfd: pytest.CaptureFixture[str]
) -> None:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    from gdexp.errors import cause
    from gdexp.tracking.mlflow_setup import set_up

    def serve() -> None:
        near, _ = listening.accept()
        with near:
            near.recv(65536)
            near.sendall(answer)

    set_up()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        serving = threading.Thread(target=serve)
        serving.start()
        client = MlflowClient(f"http://127.0.0.1:{listening.getsockname()[1]}")
        with pytest.raises((MlflowException, ConnectionError)) as refused:
            client.get_run("a")
        serving.join()
    assert cause(refused.value) == "the answer was cut off"
    assert capfd.readouterr().err == ""


def _moved(proxy: Proxy, words: tuple[str, ...], way: str) -> int:
    """The bytes that an undisturbed command moves."""
    forget_connections()
    proxy.passed = {"to": 0, "from": 0}
    ended = gd(*words)
    assert ended.code == 0, ended.err
    return proxy.passed[way]
