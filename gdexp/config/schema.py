"""Checks a value against its annotation.

The settings of a run and the constructor parameters of its components share this check, so that all
errors read the same.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, Predicate

from gdexp.config.meant import meanings_of, several
from gdexp.config.settings import FAMILIES, HINTS, TRACKING, default_of
from gdexp.errors import ConfigError, cut

LONGEST = 100  # characters of a value in a sentence
__all__ = ["FAMILIES", "HINTS", "TRACKING"]


def check(key: str, value: Any, hint: Any, example: str = "", *, is_typed: bool = True) -> None:
    """Refuse a value that its annotation does not allow.

    Args:
        key: the setting.
        value: its value.
        hint: its annotation.
        example: what to type instead; empty: the setting's default.
        is_typed: whether the value was typed, and not declared by a class.

    Raises:
        ConfigError: the value is not allowed.

    >>> check("lr", 0.1, HINTS["lr"])
    >>> check("lr", -1, HINTS["lr"])
    Traceback (most recent call last):
    gdexp.errors.ConfigError: lr: -1 is not a finite number > 0. Type for example lr=0.01.
    """
    if _accepts(hint, value):
        return
    if key == "trust":
        example = "trust=[mypackage.*]"
    elif not example and (default := default_of(key)) is not None:
        example = f"{key}={default if isinstance(default, str) else shown(default)}"
    hinted = f" Type for example {example}." if example else ""
    hinted = (is_typed and _did_you_mean(key, value, hint)) or hinted
    text = " ".join(typed(value).split())
    raise ConfigError(f"{key}: {cut(text, LONGEST)} is not {describe(hint)}.{hinted}")


def _did_you_mean(key: str, value: Any, hint: Any) -> str:
    """What was probably meant by a value that is refused, or "".

    >>> _did_you_mean("predictor.bias", "yes", bool), _did_you_mean("lr", [1, 2], float)
    (' Did you mean predictor.bias=true?', ' Type -m lr=1,2 to run each; in Python, call sweep.')
    >>> _did_you_mean("data.validation", "20%", HINTS["data.validation"])
    ' Did you mean data.validation=0.2?'
    """
    if hinted := several(key, value):
        return hinted
    if isinstance(value, list) and value and all(_accepts(hint, each) for each in value):
        each = ",".join(map(typed, value))
        return f" Type -m {key}={each} to run each; in Python, call sweep."
    for meant in meanings_of(value, _names(hint)):
        if _accepts(hint, meant):
            text = typed(meant).replace("'", "")
            return f" Did you mean {key}={text}?"
    return ""


def _names(hint: Any) -> tuple[Any, ...]:
    """The words that an annotation allows, if it is a choice of words."""
    kind, constraints = _split(hint)
    for each in (*constraints, kind, *get_args(kind)):
        if get_origin(each) is Literal:
            return get_args(each)
    return ()


def describe(hint: Any) -> str:
    """What an annotation allows, in words.

    >>> describe(HINTS["iters"])
    'a whole number from 1 to 100000000'
    """
    kind, constraints = _split(hint)
    text = _kind(next((c for c in constraints if get_origin(c) is Literal), kind))
    if NoneType in get_args(kind) and not text.startswith("null"):
        text = f"null or {text}"
    for constraint in constraints:
        if isinstance(constraint, Predicate):
            text += f", {constraint.func.__name__.replace('_', ' ')}"
    match [c for c in constraints if isinstance(c, Gt | Ge | Le | Lt)]:
        case [Ge(ge=low), Le(le=high)]:
            return f"{text} from {low} to {high}"
        case [Ge(ge=low), Lt(lt=high)]:
            return f"{text} from {low} to below {high}"
        case [Gt(gt=low), Le(le=high)]:
            return f"{text} above {low} and up to {high}"
        case [Gt(gt=low), Lt(lt=high)]:
            return f"{text} above {low} and below {high}"
        case [Gt(gt=low)]:
            return f"{text} > {low}"
        case [Ge(ge=low)]:
            return f"{text} >= {low}"
        case [Le(le=high)]:
            return f"{text} <= {high}"
    return text


def _split(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """Split an annotation into its type and its constraints."""
    if get_origin(hint) is Annotated:
        return get_args(hint)[0], hint.__metadata__
    return hint, ()


def _accepts(hint: Any, value: Any) -> bool:
    kind, constraints = _split(hint)
    return _is_kind(kind, value) and all(_within(c, value) for c in constraints)


def _is_kind(kind: Any, value: Any) -> bool:
    if get_origin(kind) in (Union, UnionType):
        return any(_is_kind(k, value) for k in get_args(kind))
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    if get_origin(kind) is list:
        return isinstance(value, list) and all(_accepts(get_args(kind)[0], v) for v in value)
    if get_origin(kind) is tuple:
        parts = get_args(kind)
        fits = isinstance(value, list) and len(value) == len(parts)
        return fits and all(map(_accepts, parts, value))
    if kind is float:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return is_number and abs(value) <= sys.float_info.max  # False for NaN
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if kind in (bool, str, NoneType):
        return isinstance(value, kind)
    return True  # any other annotation: the constructor decides


def _within(constraint: Any, value: Any) -> bool:
    if value is None:
        return True
    match constraint:
        case Gt(gt=bound):
            return bool(value > bound)
        case Ge(ge=bound):
            return bool(value >= bound)
        case Le(le=bound):
            return bool(value <= bound)
        case Lt(lt=bound):
            return bool(value < bound)
        case Predicate(func=holds):
            return bool(holds(value))
    return value in get_args(constraint) if get_origin(constraint) is Literal else True


def _kind(kind: Any) -> str:
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(map(_kind, reversed(get_args(kind))))
    if get_origin(kind) is Literal:
        names = list(map(str, get_args(kind)))
        return names[0] if len(names) == 1 else "one of " + ", ".join(names)
    if get_origin(kind) in (list, tuple):
        return _list(kind)
    words = {
        float: "a finite number",
        int: "a whole number",
        bool: "true or false",
        str: "a string",
    }
    return "null" if kind is NoneType else words.get(kind, f"a {getattr(kind, '__name__', kind)}")


def _list(kind: Any) -> str:
    """``a list of whole numbers >= 0``, or what each place of a list holds."""
    parts = [describe(part) for part in get_args(kind)]
    if len(set(parts)) > 1:
        return f"[{', '.join(parts)}]"
    size = "" if get_origin(kind) is list else f"{len(parts)} "
    part = parts[0].removeprefix("a ").replace("number", "numbers", 1)
    return f"a list of {size}{part.replace('string', 'strings', 1)}"


def shown(value: Any) -> str:
    """A value as typed on the command line."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return repr(value) if isinstance(value, str) else f"{value}"


def typed(value: Any) -> str:
    """A value as typed on the command line without spaces, lists included.

    >>> typed([None, 0.001])
    '[null,0.001]'
    """
    return f"[{','.join(map(typed, value))}]" if isinstance(value, list) else shown(value)


def meanings() -> Iterator[tuple[str, Any, str, str]]:
    """Key, default, allowed values and meaning of every run-level setting."""
    for key, hint in HINTS.items():
        meaning = next(c for c in hint.__metadata__ if isinstance(c, str))
        yield key, default_of(key), describe(hint), meaning
