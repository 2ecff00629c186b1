"""The server of conf/tracking/README.md, started by the commands that are printed there."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import CONF, Ended, clean_environment, command, eventually, of_session, process
from sweep_helpers import gd
from ui_helpers import free_port

from gdexp import credentials

PAGE = (CONF / "tracking" / "README.md").read_text()
ADMIN = "Zq8xW3vT-admin"
ANN = "Zq8xW3vT@:/?#% "
SECRETS = ("Zq8xW3vT", "Yk5rP9sL")


def printed(heading: str) -> list[str]:
    """The shell commands below a heading of the page."""
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"```sh\n(.*?)```", section, re.DOTALL)


def request(url: str, user: str = "", *, body: dict[str, str] | None = None) -> tuple[int, str]:
    """The status and the text with which a server answers."""
    asked = urllib.request.Request(url, json.dumps(body).encode() if body else None)
    asked.add_header("Content-Type", "application/json")
    if user:
        asked.add_header("Authorization", f"Basic {b64encode(user.encode()).decode()}")
    try:
        with urllib.request.urlopen(asked) as answer:
            return int(answer.status), answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.fixture(autouse=True)
def _no_passwords_yet(environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(credentials.VARIABLE, "{}")


@pytest.fixture(scope="module")
def server(
    postgres_store: Callable[[], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Path, int]]:
    """The address of the server, the file of its log, and its terminal session."""
    pytest.importorskip("flask_wtf")  # of mlflow[auth]
    folder, port = tmp_path_factory.mktemp("server"), free_port()
    environment = clean_environment() | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "MLFLOW_BACKEND_STORE_URI": postgres_store().replace("gdexp@", "gdexp:Yk5rP9sL@"),
        "MLFLOW_AUTH_ADMIN_PASSWORD": ADMIN,
        "MLFLOW_PORT": str(port),
    }
    commands = printed("A team's server")[0]
    assert len(commands.splitlines()) == 2
    log = folder / "log.txt"
    with log.open("w") as out:
        started = subprocess.Popen(
            ["bash", "-ec", commands],
            cwd=folder,
            env=environment,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        address = f"http://127.0.0.1:{port}"
        eventually(lambda: started.poll() is not None or is_up(address))
        assert started.poll() is None, log.read_text()
        yield address, log, started.pid
    finally:
        os.killpg(started.pid, signal.SIGKILL)
        started.wait()


def is_up(address: str) -> bool:
    try:
        return request(f"{address}/health")[0] == 200
    except OSError:
        return False


@pytest.mark.slow
def test_a_stranger_can_neither_read_nor_sign_up(server: tuple[str, Path, int]) -> None:
    address, log, session = server
    user = {"username": "eve", "password": "a-long-password"}
    api = f"{address}/api/2.0/mlflow"
    for url, body in {
        f"{address}/": None,
        f"{address}/signup": None,
        f"{api}/experiments/search?max_results=1": None,
        f"{api}/runs/search": {"experiment_ids": "0"},
        f"{api}/users/create": user,
        f"{address}/api/2.0/mlflow/users/create-ui": user,
        f"{address}/get-artifact?path=x&run_uuid=x": None,
    }.items():
        for who in ("", "eve:a-long-password", "admin:password1234"):
            assert request(url, who, body=body)[0] == 401, url
    assert request(f"{api}/experiments/search?max_results=1", f"admin:{ADMIN}")[0] == 200
    assert not any(secret in log.read_text() for secret in SECRETS)
    shown = "".join(of_session(session)) + command(session)
    assert "mlflow" in shown
    assert not any(secret in shown for secret in SECRETS)


@pytest.mark.slow
def test_gdexp_needs_mlflows_own_variables_alone(
    server: tuple[str, Path, int], workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, log, _ = server
    new = {"username": "ann", "password": ANN}
    status, _ = request(f"{address}/api/2.0/mlflow/users/create", f"admin:{ADMIN}", body=new)
    assert status == 200
    variables: dict[str, str] = {
        "MLFLOW_TRACKING_URI": address,
        "MLFLOW_TRACKING_USERNAME": "ann",
        "MLFLOW_TRACKING_PASSWORD": ANN,
    }
    assert set(re.findall(r"MLFLOW_\w+", printed("A team's server")[1])) == set(variables)
    ended = [process("iters=5", cwd=workdir, **variables)]
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    ended += [gd("-m", "lr=0.01,0.02", "iters=5"), gd("compare"), gd("ui")]
    assert [each.err for each in ended if each.code] == []
    assert f"in experiment gdexp of {address}\n" in ended[0].err
    assert ended[2].out.count("completed") == 2
    page = ended[3].out.partition("comparison: ")[2].strip()
    assert page.startswith(f"{address}/#/experiments/")
    typed = address.replace("//", "//ann:Zq8xW3vT%40%3A%2F%3F%23%25%20@")
    words = ("-m", f"tracking.uri={typed}", "lr=0.01,0.02", "iters=5", "sweep.resume=last")
    ended += [gd(*words)]
    assert "2 finished, 0 to run" in ended[-1].err
    refused = gd("iters=5", f"tracking.uri={typed.replace('%20@', '@')}")
    assert refused == (
        2,
        "",
        f"gdexp: tracking.uri: {address} does not accept this user name and password. Set "
        "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or type "
        f"{address.replace('//', '//USER:PASSWORD@')}\n",
    )
    check_silent([*ended, refused], workdir, log)


def check_silent(ended: list[Ended], folder: Path, log: Path) -> None:
    """No secret is in an output, in a file, or in what the server holds and logs."""
    texts: list[Any] = [text for each in ended for text in (each.out, each.err)]
    files = [path for path in [*folder.rglob("*"), *log.parent.rglob("*")] if path.is_file()]
    texts += [path.read_bytes().decode("latin-1") for path in files]
    assert len(files) > 10
    assert [text for text in texts if any(secret in text for secret in SECRETS)] == []
