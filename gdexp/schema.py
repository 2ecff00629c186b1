"""The run-level settings, and the one check that holds any setting against its annotation.

A range is data beside the name it belongs to: ``lr: Annotated[float, Gt(0), "learning rate"]``.
The same check serves the fields of :class:`Settings` and the parameters of a component's
constructor, so every refusal reads alike.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le
from hydra.core.config_store import ConfigStore
from omegaconf import MISSING

from gdexp.errors import ConfigError


@dataclass
class Settings:
    """The keys of a run that belong to no family; each family's own keys sit under its name."""

    lr: Annotated[float, Gt(0), "learning rate"] = 0.01
    iters: Annotated[int, Ge(1), Le(100_000_000), "number of iterations (epochs)"] = 20
    seed: Annotated[int, Ge(0), Le(2**32 - 1), "seed of every random draw"] = 0
    dtype: Annotated[str, Literal["float32", "float64"], "precision of data and tensors"] = (
        "float32"
    )
    predict_at: Annotated[float, "input x at which f(x) is printed and recorded"] = 5.0
    print_every: Annotated[
        int | None, Ge(1), "epochs from one printed line to the next; null: about 20 lines"
    ] = None

    data: Any = MISSING
    predictor: Any = MISSING
    gradient: Any = MISSING
    loss: Any = MISSING
    updater: Any = MISSING
    tracking: Any = MISSING
    sweep: Any = MISSING


FAMILIES = ("predictor", "gradient", "loss", "updater")
HINTS: dict[str, Any] = {
    name: hint
    for name, hint in get_type_hints(Settings, include_extras=True).items()
    if get_origin(hint) is Annotated
}
TRACKING: dict[str, Any] = {
    "enabled": bool,
    "uri": str | None,
    "experiment": str | None,
    "max_points": Annotated[int, Ge(2)],
}

ConfigStore.instance().store(name="schema", node=Settings, provider="gdexp")


def check(key: str, value: Any, hint: Any) -> None:
    """Refuse a value that its annotation does not allow.

    Raises:
        ConfigError: "lr: -1 is not a finite number > 0."

    >>> check("lr", 0.1, HINTS["lr"])
    >>> check("lr", -1, HINTS["lr"])
    Traceback (most recent call last):
    gdexp.errors.ConfigError: lr: -1 is not a finite number > 0. Type for example lr=0.01.
    """
    if _accepts(hint, value):
        return
    default = getattr(Settings, key, None)
    hinted = f" Type for example {key}={default}." if default is not None else ""
    if isinstance(value, float) and value.is_integer() and _accepts(hint, int(value)):
        hinted = f" Did you mean {key}={int(value)}?"
    raise ConfigError(f"{key}: {shown(value)} is not {describe(hint)}.{hinted}")


def check_settings(settings: Mapping[str, Any]) -> None:
    """Hold every run-level setting against its range.

    Raises:
        ConfigError: a value is out of range.
    """
    for key, hint in HINTS.items():
        check(key, settings[key], hint)


def check_tracking(settings: Mapping[str, Any]) -> None:
    """Hold the tracking group's settings against their types.

    Raises:
        ConfigError: a value is out of range.
    """
    for key, value in settings.items():
        if key in TRACKING:
            check(f"tracking.{key}", value, TRACKING[key])


def describe(hint: Any) -> str:
    """What an annotation allows, in words.

    >>> describe(HINTS["iters"])
    'a whole number from 1 to 100000000'
    """
    kind, constraints = _split(hint)
    text = _kind(kind, [c for c in constraints if get_origin(c) is Literal])
    match [c for c in constraints if isinstance(c, Gt | Ge | Le)]:
        case [Ge(ge=low), Le(le=high)]:
            return f"{text} from {low} to {high}"
        case [Gt(gt=low)]:
            return f"{text} > {low}"
        case [Ge(ge=low)]:
            return f"{text} >= {low}"
    return text


def _split(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """An annotation as its type and its constraints."""
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
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and _finite(value)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if kind in (bool, str, NoneType):
        return isinstance(value, kind)
    return True  # an annotation that says more than we can check: the constructor decides


def _finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond the largest float
        return False


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
    return value in get_args(constraint) if get_origin(constraint) is Literal else True


def _kind(kind: Any, choices: list[Any]) -> str:
    if choices:
        return _kind(choices[0], [])
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(_kind(k, []) for k in reversed(get_args(kind)))
    if get_origin(kind) is Literal:
        names = list(map(str, get_args(kind)))
        return names[0] if len(names) == 1 else "one of " + ", ".join(names)
    words = {float: "a finite number", int: "a whole number", bool: "true or false", str: "a text"}
    return "null" if kind is NoneType else words.get(kind, f"a {getattr(kind, '__name__', kind)}")


def shown(value: Any) -> str:
    """A value as one would type it."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return repr(value) if isinstance(value, str) else f"{value}"


def meanings() -> Iterator[tuple[str, Any, str, str]]:
    """Key, default, allowed values and meaning of every run-level setting."""
    for key, hint in HINTS.items():
        meaning = next(c for c in hint.__metadata__ if isinstance(c, str))
        yield key, getattr(Settings, key), describe(hint), meaning
