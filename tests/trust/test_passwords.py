"""No password of a URI is written anywhere, in any form that a URI has."""

from __future__ import annotations

import base64
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import psycopg.conninfo
import pytest
from helpers import CLI
from hypothesis import example, given, settings
from hypothesis import strategies as st
from requests.utils import get_auth_from_url
from sqlalchemy import make_url

from gdexp import credentials
from gdexp.config.overrides import parse
from gdexp.config.passwords import without_passwords
from gdexp.errors import StoreError, brief
from gdexp.sweep import grids
from gdexp.tracking import location

SECRET = "Zq8xW3vT"  # nothing else contains it
REPEATED = settings(max_examples=60, deadline=None)
passwords = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8).map(
    lambda text: f"{SECRET}{text}{SECRET}"
)
reference = re.compile(r"\$\{[^{}]+\}")
raw = passwords.filter(
    lambda text: not (set(text) & set("/?#[]%\t\r\n\\&") or reference.search(text))
)
HOSTS = ("host/runs", "10.0.0.1:5432/runs", "[::1]:5432/runs", "host/runs?sslmode=require")
DATABASES = ("postgresql", "postgresql+psycopg", "postgresql+psycopg2", "mysql+pymysql")


@pytest.fixture(autouse=True)
def _no_passwords_yet(environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(credentials.VARIABLE, "{}")


def separated(uri: str) -> credentials.Separated | None:
    """The URI and its secrets; None if it is refused."""
    try:
        return credentials.separated(uri)
    except ValueError as error:
        refused = str(error)
    assert SECRET not in refused
    return None


@REPEATED
@given(passwords, st.sampled_from(HOSTS), st.sampled_from(DATABASES), st.sampled_from(["me", ""]))
def test_a_databases_password_is_what_the_drivers_read(
    password: str, host: str, scheme: str, user: str
) -> None:
    uri = credentials.separated(f"{scheme}://{user}:{quote(password, safe='')}@{host}")
    assert uri.public == f"{scheme}://{user and f'{user}@'}{host}"
    assert make_url(uri.full).password == password
    if scheme == "postgresql":
        assert psycopg.conninfo.conninfo_to_dict(uri.full)["password"] == password


@REPEATED
@example(f"{SECRET}${{{SECRET}", HOSTS[0])  # no reference: it has no end
@given(raw, st.sampled_from(HOSTS))
def test_a_password_may_be_typed_as_it_is_where_its_end_can_be_told(
    password: str, host: str
) -> None:
    uri = separated(f"postgresql://me:{password}@{host}")
    if uri is not None:  # Unicode's normal form turns some letters into / or ?
        assert uri.public == f"postgresql://me@{host}"
        assert psycopg.conninfo.conninfo_to_dict(uri.full)["password"] == password


@REPEATED
@given(passwords, st.sampled_from(["me", "m%40e"]), st.sampled_from(["http", "https"]))
def test_an_http_address_is_shown_without_its_user(password: str, user: str, scheme: str) -> None:
    uri = credentials.separated(f"{scheme}://{user}:{quote(password, safe='')}@host:5000/path")
    assert uri.public == f"{scheme}://host:5000/path"
    assert get_auth_from_url(uri.full) == (unquote(user), password)


@REPEATED
@given(
    passwords, st.sampled_from(["password", "sslpassword", "PASSWORD", "odbc_connect", "to%6ben"])
)
def test_a_password_may_be_a_parameter(password: str, name: str) -> None:
    uri = f"postgresql://host/runs?user=me&{name}={quote(password, safe='')}&sslmode=require"
    assert credentials.separated(uri)[:2] == (
        "postgresql://host/runs?user=me&sslmode=require",
        uri,
    )


@REPEATED
@given(
    st.text(),
    st.sampled_from(["postgresql://", "http://", "x://me:", "sqlite:///", "", "http://["]),
)
def test_any_text_is_separated_or_refused_without_being_quoted(text: str, start: str) -> None:
    uri = f"{start}{SECRET}{text}"
    if (separate := separated(uri)) is None:
        return
    if not separate.secrets:
        assert separate.public == separate.full == uri
    assert credentials.separated(separate.public).public == separate.public


@pytest.mark.parametrize(
    "uri",
    [
        "http://TOKEN@host:5000",
        "postgresql://me:TOKEN/runs",  # the host is missing
        "postgresql://me:TOKEN@a:1,b:2/runs",
        "postgresql://me:TOKEN@/runs?host=/var/run/postgresql",
        "postgresql:///runs?password=TOKEN&host=/tmp",
        "postgresql://host/runs?password=a&TOKEN",
        "mssql+pyodbc:///?odbc_connect=DRIVER%3D%7Bx%7D%3BPWD%3DTOKEN",
        "s3://key:TOKEN@bucket/folder",
    ],
)
def test_other_forms(uri: str) -> None:
    uri = uri.replace("TOKEN", SECRET)
    public = credentials.without_password(uri)
    assert SECRET not in public
    assert credentials.kept(uri) == public
    assert SECRET in credentials.with_password(public)


@pytest.mark.parametrize(
    "uri",
    [
        "sqlite:////home/me@work:7/what?password=x.db",
        "postgresql://me@host/runs",
        "postgresql://a:1,[::1]:2/runs",
        "http://host:5000",
        "http://host:5000/a@b",
        "postgresql://me:${oc.env:PGPASSWORD}@host/runs",
        "${oc.env:URI}",
        "a note: see http://host/page",
    ],
)
def test_what_has_no_password_stays_as_it_is(uri: str) -> None:
    assert credentials.separated(uri) == (uri, uri, ())


URIS = "postgresql://me:{p}@h/db", "http://me:{p}@h:5000"
WORDS = (
    "tracking.uri=URI",
    "++tracking.uri=URI",
    "tracking.uri='URI'",
    'tracking.uri="URI"',
    "tracking={enabled: true, uri: 'URI'}",
    "tracking={enabled: true, uri: URI}",
    "a.b=URI,URI/x,other",
    "a.b=choice(URI,URI/x)",
    "a.b=[URI,{c: 'URI'}]",
    "hydra.sweeper.params={a.b: 'URI,URI/x'}",
)


@pytest.mark.parametrize("word", WORDS)
@settings(max_examples=3, deadline=None)
@given(passwords, st.sampled_from(URIS))
def test_overrides_lose_their_passwords(word: str, password: str, uri: str) -> None:
    typed = uri.format(p=quote(password, safe=""))
    public = credentials.separated(typed).public
    changed = without_passwords(word.replace("URI", typed))  # quotes are added where needed
    plain = str.maketrans("", "", "'\" ")
    assert changed.translate(plain) == word.replace("URI", public).translate(plain)
    parse(changed)
    assert credentials.with_password(public) == typed


def test_the_jobs_of_a_table_lose_their_passwords(workdir: Path) -> None:
    (workdir / "jobs.csv").write_text(f"loss.url,lr\nhttp://me:{SECRET}@host/a,0.1\n")
    sweep = {"_kind_": "csv", "path": "jobs.csv"}
    assert grids.jobs([], sweep, "csv", 0) == [("loss.url=http://host/a", "lr=0.1")]
    assert credentials.with_password("http://host/a") == f"http://me:{SECRET}@host/a"


@pytest.mark.parametrize("odd", ["p,w", "a=b c", "p}'w", "p:w@w", "%zz", "$x(y)", "a${b", "ü"])
def test_a_password_with_signs_that_mean_something_to_hydra(odd: str) -> None:
    word = without_passwords(f"tracking.uri=postgresql://me:{odd}{SECRET}@a:1,b:2/runs")
    assert word == "tracking.uri='postgresql://me@a:1,b:2/runs'"
    full = credentials.with_password("postgresql://me@a:1,b:2/runs")
    assert psycopg.conninfo.conninfo_to_dict(full)["password"] == f"{odd}{SECRET}"


HOW = (
    "tracking.uri: the URI cannot be read. In a user name or password, type @ : / ? # [ ] as %40 "
    "%3A %2F %3F %23 %5B %5D."
)


@pytest.mark.parametrize(
    ("word", "sentence"),
    {
        "tracking.uri=postgresql://me:PW/x@host/runs": HOW,
        "tracking.uri=postgresql://me:PW?x@host/runs": HOW,
        "tracking.uri=postgresql://me:PW[x@host/runs": HOW,
        "tracking.uri=postgresql://me:12/PW@host/runs": HOW,
        "tracking.uri=http://me:PW@${oc.env:HOME}": "tracking.uri: it has a password and ${…}. Put "
        "the password into the environment, as in ${oc.env:NAME}.",
        "tracking.uri=${oc.env:URI,postgresql://me:PW@host/runs}": "tracking.uri: it has a "
        "password and ${…}. Put the password into the environment, as in ${oc.env:NAME}.",
        "tracking.uri=postgres:me:PW@host/runs": "tracking.uri: '…@host/runs' is not a store URI. "
        "Type sqlite:///…@host/runs for a SQLite file, postgresql://user@host/name or "
        "http://host:5000.",
        "tracking.uri=postgresql://me:PW/runs": "tracking.uri: postgresql://me/runs is malformed: "
        "after the host and a colon, a port from 0 to 65535 is expected, and a password ends with "
        "@.",
        "tracking.uri=mysq://me:PW@host/runs": "tracking.uri: 'mysq://me@host/runs' is not a store "
        "URI. Type one like sqlite:///runs.db, postgresql://user@host/name or http://host:5000. "
        "Did you mean mysql?",
        "loss=[http://me:PW@host": "loss: the value cannot be read. Put single quotes around the "
        "URI.",
    }.items(),
)
def test_uris_that_cannot_be_used_are_not_quoted(
    word: str, sentence: str, workdir: Path, cli: CLI
) -> None:
    ended = cli(word.replace("PW", SECRET))
    assert ended == (2, "", f"gdexp: {sentence}\n")
    assert list(workdir.iterdir()) == []


def test_a_drivers_message_is_shown_without_the_password() -> None:
    password = f"{SECRET}'% ü"
    uri = credentials.kept(f"postgresql://me:{quote(password)}@host/runs")
    for form in (password, quote(password), repr(password), credentials.with_password(uri)):
        assert SECRET not in brief(ValueError(f"cannot use {form} at host"))
    credentials.kept("postgresql://me:pw@host2/runs")
    message = str(StoreError("no answer from postgresql://me:pw@host2/runs (pwd)"))
    assert message == "no answer from postgresql://me@host2/runs (pwd)"


# A server


@contextmanager
def serving(accepted: str) -> Iterator[tuple[str, list[str | None]]]:
    """A server that accepts one Authorization header, and those that it was sent."""
    sent: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            sent.append(self.headers["Authorization"])
            self.send_response(200 if sent[-1] == accepted else 401)
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        yield f"127.0.0.1:{server.server_port}", sent
        server.shutdown()
        thread.join()


def test_a_server_is_told_the_user_of_the_uri_else_of_mlflows_variables(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    basic = base64.b64encode(f"ann:{SECRET}@ü".encode()).decode()
    with serving(f"Basic {basic}") as (place, sent):
        asks = (
            f"tracking.uri: http://{place} asks for a user name and password. Set "
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or type "
            f"http://USER:PASSWORD@{place}"
        )
        with pytest.raises(StoreError) as refused:
            location.check_reachable(location.resolve(f"http://{place}"))
        assert str(refused.value) == asks
        wrong = location.resolve(f"http://ann:wrong{SECRET}@{place}")
        with pytest.raises(StoreError) as refused:
            location.check_reachable(wrong)
        assert str(refused.value) == asks.replace("asks for a", "does not accept this")
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ann")
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", f"{SECRET}@ü")
        location.check_reachable(wrong)  # the refused password is forgotten
        monkeypatch.delenv("MLFLOW_TRACKING_USERNAME")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://ann:{SECRET}%40%C3%BC@{place}")
        location.check_reachable(location.resolve(None))
        assert (len(sent), sent[0]) == (4, None)
    with serving(f"Bearer {SECRET}") as (place, sent):
        monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", SECRET)
        location.check_reachable(location.resolve(f"http://{place}"))
