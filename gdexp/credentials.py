"""Passwords of URIs, kept out of settings: in an environment variable of this process.

A setting is written to many places: tags, names, artifacts, Hydra's files, messages. So it holds
``postgresql://me@host/name``, and the URI with the password is kept in GDEXP_CREDENTIALS, which
worker processes inherit. Only code that connects asks for it (:func:`with_password`).

Secret are the password in ``me:password@``; in an HTTP address all of ``me:password@`` or
``token@``; and query parameters such as ``password=``.
"""

from __future__ import annotations

import json
import os
import re
from typing import NamedTuple
from urllib.parse import quote, unquote, unquote_to_bytes, urlsplit

VARIABLE = "GDEXP_CREDENTIALS"  # a JSON object: URIs without their passwords, and with them
SECRETS = ("password", "passwd", "pwd", "secret", "token", "odbc_connect")  # in parameters' names
_REFERENCE = re.compile(r"\$\{[^{}]+\}")  # to a setting or a variable; a lone ${ is text
LONG = 4  # characters from which a password is hidden in messages wherever it stands
UNREADABLE = (
    "the URI cannot be read. In a user name or password, type @ : / ? # [ ] as "
    "%40 %3A %2F %3F %23 %5B %5D."
)
MIXED = "it has a password and ${…}. Put the password into the environment, as in ${oc.env:NAME}."


class Separated(NamedTuple):
    """A URI and its secrets.

    Attributes:
        public: the URI without them.
        full: the URI with them, the password percent-encoded, as every driver reads it.
        secrets: passwords and tokens, as typed.
    """

    public: str
    full: str
    secrets: tuple[str, ...] = ()


def separated(uri: str) -> Separated:
    """Separate a URI from its secrets; any other text has none, nor has ``u:${oc.env:PW}@host``.

    Raises:
        ValueError: it cannot be told where the password ends; the message does not quote it.

    >>> separated("postgresql://me:p@ss@host/runs?sslmode=require&sslpassword=x").public
    'postgresql://me@host/runs?sslmode=require'
    >>> separated("postgresql://me:p@ss@host/runs").full
    'postgresql://me:p%40ss@host/runs'
    """
    scheme, colon, rest = uri.partition("://")
    if not colon or scheme.startswith("sqlite") or not set(rest) & set("@:?"):
        return Separated(uri, uri)
    shown, kept, hidden, rest = _host(rest, is_http=scheme.endswith(("http", "https")))
    path, _, query = rest.partition("?")
    pairs = query.split("&")
    secret = [pair for pair in pairs if _is_secret(pair)]
    if secret:  # an & in the password has split it
        secret += [pair for pair in pairs if "=" not in pair]
    secrets = tuple(filter(None, [hidden, *(pair.rpartition("=")[2] for pair in secret)]))
    if not secrets or all(map(_REFERENCE.search, secrets)):
        return Separated(uri, uri)
    if _REFERENCE.search(uri):
        raise ValueError(MIXED)
    shown_query = "&".join(pair for pair in pairs if pair not in secret)
    public = f"{scheme}://{shown}{path}{shown_query and f'?{shown_query}'}"
    return Separated(public, f"{scheme}://{kept}{rest}", secrets)


def _host(rest: str, *, is_http: bool) -> tuple[str, str, str, str]:
    """The part before the path without and with its secret, the secret, and what follows."""
    try:
        place = urlsplit(f"//{rest}", allow_fragments=False).netloc
    except ValueError:  # a bracket, for example
        place = None
    if place is None or not rest.startswith(place):  # it drops line breaks
        if "@" not in rest:
            return "", "", "", rest
        raise ValueError(UNREADABLE)
    after = rest[len(place) :]
    userinfo, at, host = place.rpartition("@")
    user, _, password = userinfo.partition(":")
    if at:
        name = "" if is_http else user
        is_typed = not _REFERENCE.search(password)
        escaped = quote(unquote_to_bytes(password), safe="") if is_typed else password
        kept = f"{user}:{escaped}@{host}"
        return (name and f"{name}@") + host, kept, password or (user if is_http else ""), after
    if not _has_odd_port(place):
        return place, place, "", after
    if "@" in after:  # after an unquoted / ? or # of the password
        raise ValueError(UNREADABLE)
    name, _, password = place.partition(":")  # a host is missing
    return name, place, password, after


def _has_odd_port(place: str) -> bool:
    """Whether a port is not a number; there may be several hosts, as in ``a:1,[::1]:2``."""
    ports = [host.rpartition("]")[2].partition(":")[2] for host in place.split(",")]
    return any(not (port.isdecimal() or _REFERENCE.search(port)) for port in ports if port)


def _is_secret(pair: str) -> bool:
    name, _, value = pair.partition("=")
    return bool(value) and any(word in unquote(name).lower() for word in SECRETS)


def without_password(uri: str) -> str:
    """The URI as it may be shown and stored; of one that cannot be read, the scheme.

    >>> without_password("http://me:secret@host:5000")
    'http://host:5000'
    """
    try:
        return separated(uri).public
    except ValueError:
        return f"{uri.partition('://')[0]}://…"


def kept(text: str) -> str:
    """The URI without its password, which is kept for :func:`with_password`.

    Raises:
        ValueError: as :func:`separated`.
    """
    uri = separated(text)
    if uri.secrets:
        os.environ[VARIABLE] = json.dumps(_known() | {uri.public: uri.full})
    return uri.public


def with_password(uri: str) -> str:
    """The URI, or URIs separated by commas, with the passwords that were kept for them."""
    known = _known()
    if uri in known:
        return known[uri]
    return ",".join(known.get(part, part) for part in uri.split(","))


def forget(uri: str) -> None:
    """Keep no password for a URI, as it was refused."""
    os.environ[VARIABLE] = json.dumps({k: v for k, v in _known().items() if k != uri})


def scrubbed(message: str) -> str:
    """A message, such as a driver's, without the passwords that are kept.

    Short passwords, which other words contain, are only looked for within a URI.
    """
    for public, full in _known().items():
        message = message.replace(full, public)
        for secret in separated(full).secrets:
            for form in (secret, unquote(secret), repr(unquote(secret))[1:-1]):
                message = message.replace(f":{form}@", "@")
                if len(form) >= LONG:
                    message = message.replace(form, "***")
    return message


def _known() -> dict[str, str]:
    try:
        known = json.loads(os.environ.get(VARIABLE, "{}"))
    except ValueError:
        return {}
    return known if isinstance(known, dict) else {}
