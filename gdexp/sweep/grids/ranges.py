"""The settings of the group ``sweep``: types and ranges as data, each with an example."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from annotated_types import Ge, Gt
from omegaconf import OmegaConf

from gdexp.config import schema
from gdexp.errors import ConfigError, did_you_mean

COMMON: dict[str, Any] = {
    "repeat": Annotated[int, Ge(1), "sweep.repeat=3"],
    "resume": Annotated[str | None, "sweep.resume=last"],
    "skip_finished": Annotated[bool, "sweep.skip_finished=true"],
    "on_error": Annotated[str, Literal["continue", "stop"], "sweep.on_error=stop"],
    "dry_run": Annotated[bool, "sweep.dry_run=true"],
    "vectorize": Annotated[str, Literal["auto", "required", "off"], "sweep.vectorize=off"],
    "memory": Annotated[float | None, Gt(0), "sweep.memory=0.5"],
    "max_runs": Annotated[int, Ge(1), "sweep.max_runs=1000000"],
}
LINEAR: dict[str, Any] = {
    "key": Annotated[str, "sweep.key=lr"],
    "low": Annotated[float, "sweep.low=0.001"],
    "high": Annotated[float, "sweep.high=0.1"],
    "num": Annotated[int, Ge(1), "sweep.num=5"],
    "whole": Annotated[bool, "sweep.whole=true"],
}
LOG: dict[str, Any] = LINEAR | {
    "low": Annotated[float, Gt(0), "sweep.low=0.001"],
    "high": Annotated[float, Gt(0), "sweep.high=0.1"],
}
ZIP: dict[str, Any] = {"lists": Annotated[Any, "'sweep.lists={lr:[0.1,0.01],iters:[10,100]}'"]}
CSV: dict[str, Any] = {"path": Annotated[str, "sweep.path=jobs.csv"]}
DRAWN: dict[str, Any] = {
    "num": Annotated[int, Ge(1), "sweep.num=50"],
    "seed": Annotated[int, Ge(0), "sweep.seed=0"],
}
KINDS: dict[str, dict[str, Any]] = {
    "grid": {},
    "log": LOG,
    "linear": LINEAR,
    "zip": ZIP,
    "csv": CSV,
    "random": DRAWN,
    "sobol": DRAWN,
}
OPTIONAL = {"whole": False, "seed": 0}  # all other settings of a kind must be given
WHOLE_NUMBERS = {k for k, hint in schema.HINTS.items() if get_args(hint)[0] in (int, int | None)}


def checked(sweep: Mapping[str, Any], option: str) -> dict[str, Any]:
    """Check the settings of the group ``sweep`` against their types and ranges.

    Returns:
        The settings as plain values, with the defaults shared by all options filled in.

    Raises:
        ConfigError: a setting is unknown, missing, of the wrong type or out of range.

    >>> checked({"key": "lr", "low": 2, "high": 2, "num": 3}, "log")
    Traceback (most recent call last):
    gdexp.errors.ConfigError: sweep.low: 2 is not below sweep.high=2. Type sweep.num=1.
    """
    node: Any = OmegaConf.to_container(sweep, resolve=True) if OmegaConf.is_config(sweep) else sweep
    settings: dict[str, Any] = {"_kind_": option, "repeat": 1, "max_runs": 1_000_000} | node
    if (kind := str(settings["_kind_"])) not in KINDS:
        raise ConfigError(
            f"sweep={option}: the option is none of {', '.join(KINDS)} and must include one of "
            f"them, as in defaults: [log].{did_you_mean(kind, KINDS, prefix='sweep=')}"
        )
    own = KINDS[kind]
    settings = {name: OPTIONAL[name] for name in own if name in OPTIONAL} | settings
    hints = COMMON | own
    for name in settings:
        if name not in hints and not str(name).startswith("_"):
            raise ConfigError(
                f"sweep.{name}: sweep={option} has no setting {name!r}. It has: "
                f"{', '.join(hints)}.{did_you_mean(str(name), hints, prefix='sweep.')}"
            )
    needed = [name for name in own if name not in OPTIONAL]
    if missing := [name for name in needed if settings.get(name) in (None, "???")]:
        raise ConfigError(
            f"sweep={option} needs {' and '.join(f'sweep.{name}' for name in missing)}. "
            f"Type for example {' '.join(_example(own[name]) for name in missing)}."
        )
    for name, hint in hints.items():
        if name in settings:
            schema.check(f"sweep.{name}", settings[name], hint, _example(hint))
    if "low" in own:
        _check_ends(settings)
    elif "lists" in own:
        _check_lists(settings["lists"])
    return settings


def is_whole(sweep: Mapping[str, Any]) -> bool:
    """Whether a log or linear grid consists of whole numbers."""
    return bool(sweep["whole"]) or sweep["key"] in WHOLE_NUMBERS


def _example(hint: Any) -> str:
    return str(hint.__metadata__[-1])


def _check_ends(sweep: Mapping[str, Any]) -> None:
    """Check that low and high of a log or linear grid are in order and fit num."""
    low, high, num = sweep["low"], sweep["high"], sweep["num"]
    if is_whole(sweep):
        for end in ("low", "high"):
            example = f"sweep.{end}={math.ceil(sweep[end])}"
            schema.check(f"sweep.{end}", sweep[end], int, example)
    if low > high or (low == high and num > 1):
        instead = f"sweep.low={high} sweep.high={low}" if low > high else "sweep.num=1"
        raise ConfigError(f"sweep.low: {low} is not below sweep.high={high}. Type {instead}.")
    if low < high and num == 1:
        raise ConfigError(
            f"sweep.num: one value cannot be both sweep.low={low} and sweep.high={high}. "
            "Type sweep.num=2 or more."
        )


def _check_lists(lists: Any) -> None:
    """Check that zipped lists are lists of the same length."""
    example = f"Type for example {_example(ZIP['lists'])}."
    if not isinstance(lists, Mapping) or not lists:
        raise ConfigError(f"sweep.lists: {lists} does not map settings to lists. {example}")
    for name, one in lists.items():
        if not isinstance(one, list) or not one:
            kind = "an empty list" if one == [] else f"{schema.shown(one)}, not a list"
            raise ConfigError(f"sweep.lists: {name} is {kind}. {example}")
    (first, one), *others = lists.items()
    for name, other in others:
        if len(other) != len(one):
            raise ConfigError(
                f"sweep.lists: {first} has {n_values(len(one))} and {name} has "
                f"{n_values(len(other))}. Give both the same number: they are paired in order."
            )


def n_values(number: int) -> str:
    """``1 value`` or ``5 values``."""
    return "1 value" if number == 1 else f"{number} values"
