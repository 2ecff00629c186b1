"""Takes the passwords of URIs out of overrides, configurations and settings.

They are kept in the environment, see :mod:`gdexp.credentials`. Overrides are rewritten before Hydra
reads them. Passwords in YAML files are taken out of the composed configuration, and those that an
interpolation such as ``${oc.env:URI}`` brings out of the resolved settings of a job.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

from hydra.core.override_parser.types import ChoiceSweep, Quote, QuotedString
from omegaconf import DictConfig, ListConfig

from gdexp import credentials
from gdexp.config.overrides import parse, readable, split_values
from gdexp.errors import ConfigError

STORE = ("tracking.uri", "uri")  # whose value is one URI, commas included
NESTED = re.compile(r"""['"\[{]|\w+\(""")  # how a value begins that Hydra's parser must take apart


def without_passwords(word: str) -> str:
    """An override, or another argument of a command, without the passwords of its URIs.

    Raises:
        ConfigError: it cannot be told where a password ends; the message does not quote it.

    >>> without_passwords("tracking.uri=postgresql://me:secret@host/runs")
    'tracking.uri=postgresql://me@host/runs'
    """
    if "://" not in word:
        return word
    key, _, value = word.partition("=")
    if "://" in key:  # not an override
        return _kept(word, "URI")
    if NESTED.match(value):
        return _nested(word)
    public = _public(value, key)
    if key.lstrip("+") == "tracking.uri" and "," in public and public.count("://") == 1:
        public = QuotedString(public, Quote.single).with_quotes()  # several hosts
    return f"{key}={public}"


def of_words(words: Iterable[str]) -> tuple[str, ...]:
    """Overrides without passwords, see :func:`without_passwords`."""
    return tuple(without_passwords(word) for word in words)


def _public(value: str, key: str) -> str:
    """A value without its passwords; a comma may separate alternatives or stand in a password."""
    parts: list[str] = []
    is_store = key.lstrip("+-") in STORE
    for part in split_values(value):
        if "://" not in part and parts and (is_store or "@" in part):
            parts[-1] += f",{part}"
        else:
            parts.append(part)
    return ",".join(_kept(part, key) for part in parts)


def _nested(word: str) -> str:
    """An override whose value is quoted, a list, a dictionary or a sweep."""
    key = word.partition("=")[0]
    word = readable(word)
    try:
        texts = list(_strings(parse(word)._value))
    except ConfigError:
        if "@" not in word:
            return word
        message = f"{key}: the value cannot be read. Put single quotes around the URI."
        raise ConfigError(message) from None
    for text in sorted(filter(_has_uri, set(texts)), key=len, reverse=True):
        public = _public(text, key)
        forms = (text, text.replace("'", r"\'"), text.replace('"', r"\""))
        typed = next((form for form in forms if form in word), None)
        if public != text and typed is None:
            raise ConfigError(f"{key}: the value cannot be read. Type % and its code for \\.")
        word = word.replace(typed or text, public)
    return word


def _strings(value: Any) -> Iterator[str]:
    match value:
        case QuotedString():
            yield value.text
        case str():
            yield value
        case dict():
            for inner in value.values():
                yield from _strings(inner)
        case list():
            for inner in value:
                yield from _strings(inner)
        case ChoiceSweep():
            yield from _strings(value.list)


def _kept(text: str, key: str) -> str:
    try:
        return credentials.kept(text)
    except ValueError as error:
        raise ConfigError(f"{key}: {error}") from None


def take_out(config: Any, path: str = "") -> None:
    """Take the passwords out of a composed configuration, interpolations left as they are.

    Raises:
        ConfigError: as :func:`without_passwords`.
    """
    content = config._content  # OmegaConf's public ways would take twenty times as long
    if not isinstance(content, dict | list):
        return
    for key, node in content.items() if isinstance(content, dict) else enumerate(content):
        if isinstance(node, DictConfig | ListConfig):
            take_out(node, f"{path}{key}.")
        elif isinstance(text := node._val, str) and "://" in text:
            node._val = _taken_out(text, f"{path}{key}")


def _taken_out(text: str, key: str) -> str:
    if NESTED.match(text):  # as a sweep in the settings of a sweeper
        with suppress(ConfigError):
            return _nested(f"{key}={text}").partition("=")[2]
    return _public(text, key)


def without(settings: Any, path: str = "") -> Any:
    """Plain settings without passwords: the same object if they have none.

    Raises:
        ConfigError: as :func:`without_passwords`.
    """
    if not _has_uri(settings):
        return settings
    if isinstance(settings, dict):
        return {key: without(value, f"{path}.{key}".lstrip(".")) for key, value in settings.items()}
    if isinstance(settings, list):
        return [without(value, path) for value in settings]
    return _kept(settings, path)


def _has_uri(settings: Any) -> bool:
    if isinstance(settings, str):
        return "://" in settings
    inner = settings.values() if isinstance(settings, dict) else settings
    return isinstance(settings, dict | list) and any(map(_has_uri, inner))


def with_passwords(settings: Any) -> Any:
    """Settings as an object's constructor needs them, each URI with its password."""
    if not _has_uri(settings):
        return settings
    if isinstance(settings, dict):
        return {key: with_passwords(value) for key, value in settings.items()}
    if isinstance(settings, list):
        return list(map(with_passwords, settings))
    return credentials.with_password(settings)
