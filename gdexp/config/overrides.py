"""Parses overrides, and quotes what Hydra's grammar cannot read."""

from __future__ import annotations

import functools
import re
import shlex
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override, Quote, QuotedString, Sweep
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from gdexp.errors import ConfigError

_WHOLE = r"(?:0|[1-9]\d*)"  # Hydra parses 007 as a string
_NUMBER = re.compile(
    rf"([a-z_]\w*(?:\.\w+)*)=([-+]?(?:{_WHOLE}(?:\.\d*)?|\.\d+)(?:e[-+]?\d+)?)", re.I | re.A
)

_WORD = re.compile(r"[a-z_][\w./]*=[a-z_]\w*", re.I | re.A)  # as in step=manual
_KEY = re.compile(r"\+{0,2}[a-z_][\w./@:-]*", re.I | re.A)
_FUNCTION = re.compile(r"(choice|range|interval|glob|sort|shuffle|tag|extend_list)\(")
STRINGS = (  # settings whose value is a name, even if it looks like a number
    *("data.path", "data.target", "data.features", "data.drop", "continue_from"),
    *("tracking.uri", "tracking.experiment", "sweep.path", "sweep.key", "sweep.resume"),
)
LISTS = ("data.x", "data.y", "data.features", "data.drop", "predictor.sizes", "trust")
SYNONYMS = {  # what other programs call our settings
    "learning_rate": "lr",
    "eta": "lr",
    "alpha": "lr",
    "epochs": "iters",
    "num_epochs": "iters",
    "n_epochs": "iters",
    "n_iter": "iters",
    "max_iter": "iters",
    "iterations": "iters",
    "steps": "iters",
    "random_state": "seed",
    "random_seed": "seed",
    "tol": "stop.tolerance",
    "patience": "stop.patience",
    "optimizer": "updater",
    "optim": "updater",
    "criterion": "loss",
    "model": "predictor",
    "dataset": "data",
    "batch": "data.batch_size",
    "early_stopping": "stop.patience",
    "file": "data.path",
    "filename": "data.path",
    "hidden": "predictor.sizes",
    "hidden_size": "predictor.sizes",
    "hidden_sizes": "predictor.sizes",
    "layers": "predictor.sizes",
    "test_size": "data.validation",
    "normalize": "data.standardize",
}


def parse(text: str, loader: ConfigLoader | None = None) -> Override:
    """Parse an override as Hydra does.

    Args:
        text: the override as typed.
        loader: Hydra's, needed only to expand globs such as ``step=glob(*)``.

    Raises:
        ConfigError: Hydra cannot parse it.
    """
    try:
        (override,) = OverridesParser.create(loader).parse_overrides([text])  # sets the loader
        if not override.key_or_group:
            raise HydraException("no key")
    except (HydraException, OmegaConfBaseException) as error:
        reason = _unreadable(text)
        raise ConfigError(f"{text!r} cannot be read as key=value, {reason}.") from error
    value = override.value()
    if isinstance(value, ChoiceSweep) and any(isinstance(each, Sweep) for each in value.list):
        raise ConfigError(f"{text}: a range cannot be one of several values. List its values.")
    return override


def _unreadable(text: str) -> str:
    """Why Hydra cannot parse an override, or an example of one that it can.

    >>> _unreadable("lr=0.1,"), _unreadable("data.x=[1,2"), _unreadable("=3")
    ('since a value is missing beside a comma', 'since a bracket is not closed', 'as in lr=0.05')
    """
    key, _, value = text.partition("=")
    if value == "," and key in ("data.decimal", "data.separator", "data.thousands"):
        return f"since a comma is typed as a word: {key}=comma"
    if value.count("'") % 2 or value.count('"') % 2:
        return "since a quote is not closed"
    if any(value.count(one) > value.count(other) for one, other in ("()", "[]", "{}")):
        return "since a bracket is not closed"
    if value.strip() and "" in map(str.strip, value.split(",")):
        return "since a value is missing beside a comma"
    return "as in lr=0.05"


def readable(text: str) -> str:
    """An override as Hydra can read it: with quotes around the values that need them.

    Hydra's grammar knows neither letters beyond ASCII nor brackets or ``=`` in a value, and takes
    ``7.00`` for a number, though it may be the name of a column. Anything else is left as it is.

    >>> readable("data.path=data (1).csv"), readable("data.features=[größe, 7.00]")
    ("data.path='data (1).csv'", "data.features=['größe','7.00']")
    >>> readable("lr=0.1,0.2"), readable("data.target=null")
    ('lr=0.1,0.2', 'data.target=null')
    """
    key, _, value = text.partition("=")
    name = key.lstrip("+")
    if not value or not _KEY.fullmatch(key):
        return text
    is_plain = _NUMBER.fullmatch(text) or _WORD.fullmatch(text)  # Hydra's parser is slow
    if name not in STRINGS and (is_plain or _is_parsable(text)):
        return text
    quoted = f"{key}={_quoted(name, value)}"
    return quoted if _is_parsable(quoted) else text


def as_sweep(text: str) -> str:
    """An override with commas as typed in a shell, and what to type if it is one name.

    >>> print(as_sweep("lr=0.1,0.2"), as_sweep("data.target=a, b"), sep="; ")
    lr=0.1,0.2; 'data.target=a, b' or, for one name: 'data.target="a, b"'
    >>> print(as_sweep("lr=0,1"), as_sweep("data.features=a,b"), sep="; ")
    lr=0,1 or, for one number: lr=0.1; data.features=a,b or, for a list: 'data.features=[a,b]'
    """
    typed, (key, _, value) = shlex.quote(text), text.partition("=")
    if set(value) & set("'\"("):
        return typed
    if key in LISTS:
        return f"{typed} or, for a list: " + shlex.quote(f"{key}=[{value}]")
    if re.fullmatch(r"-?\d+,\d+", value) and key not in STRINGS:
        mark = "" if re.fullmatch(r"-?[1-9]\d*,\d{3}", value) else "."  # as in 1,000 or in 0,001
        return f"{typed} or, for one number: {key}={value.replace(',', mark)}"
    if key not in STRINGS:
        return typed
    return f"{typed} or, for one name: " + shlex.quote(f'{key}="{value}"')


def _quoted(key: str, value: str, *, is_listed: bool = False) -> str:
    """The value, or each of its alternatives or elements, in quotes where they are needed."""
    parts = [part.strip() for part in split_values(value)]
    if len(parts) > 1:
        quoted = [_quoted(key, part, is_listed=is_listed) for part in parts]
        return value if quoted == parts else ",".join(quoted)
    match value[:1], value[-1:]:
        case "[", "]":
            return f"[{_quoted(key, value[1:-1], is_listed=True)}]"
        case "{", "}":
            pairs = (part.partition(":") for part in split_values(value[1:-1]))
            rest = (f"{k}:{_quoted(k, v.strip(), is_listed=True)}" for k, _, v in pairs)
            return f"{{{','.join(rest)}}}"
        case "[" | "{", _:  # an unfinished list
            return value
    if _FUNCTION.match(value):
        return value
    is_null = value == "null" and not is_listed
    if not value or is_null or (_is_parsable(f"{key}={value}") and _is_kept(key, value, is_listed)):
        return value
    return QuotedString(value, Quote.single).with_quotes()


def _is_kept(key: str, value: str, is_listed: bool) -> bool:
    """Whether Hydra reads a value as the setting expects it: as a string, or as a whole number."""
    override = parse(f"{key}={value}")
    if key not in STRINGS or override.is_sweep_override():
        return True
    read = override.value()
    if type(read) is int and not is_listed and key in ("data.target", "data.features"):
        return str(read) == value  # of synthetic data, their number
    return isinstance(read, str)


def _is_parsable(text: str) -> bool:
    try:
        parse(text)
    except ConfigError:
        return False
    return True


def split_values(text: str) -> list[str]:
    """Split a value at the commas outside quotes and brackets: the alternatives of a sweep."""
    parts, depth, quote, previous = [""], 0, "", ""
    for char in text:
        if previous == "\\":
            previous = ""
        elif quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        else:
            depth += (char in "([{") - (char in ")]}")
        if char == "," and not depth and not quote and parts[-1][-1:] != "\\":
            parts.append("")
            continue
        parts[-1] += char
        previous = char
    return parts


@functools.lru_cache(maxsize=100_000)
def assignment(text: str) -> tuple[str, Any] | None:
    """Key and value of a plain ``key=value``; None for one that adds, removes or sweeps a key.

    Numbers, which most sweeps vary, bypass Hydra's slow parser.

    Raises:
        ConfigError: Hydra cannot parse it.

    >>> assignment("lr=1e-3"), assignment("step=model"), assignment("+lr=1")
    (('lr', 0.001), ('step', 'model'), None)
    """
    if number := _NUMBER.fullmatch(text):
        is_whole = number[2].lstrip("+-").isdigit()
        return number[1], int(number[2]) if is_whole else float(number[2])
    override = parse(text)
    if override.type.name != "CHANGE" or override.is_sweep_override():
        return None
    return str(override.key_or_group), override.value()


def typed(config: DictConfig, what: str = "task") -> list[str]:
    """The overrides of a configuration as typed, with references such as ``${lr}`` unresolved.

    Args:
        config: the configuration of a run or a sweep, including Hydra's node.
        what: "task" for those of the run, "hydra" for those of Hydra itself.
    """
    words = OmegaConf.to_container(config.hydra.overrides[what], resolve=False)
    assert isinstance(words, list)
    return words


def is_hydras(text: str) -> bool:
    """Whether an override configures Hydra itself, not the run."""
    return text.lstrip("+~").startswith(("hydra.", "hydra/", "hydra="))
