"""The settings of the group ``sweep``: types, ranges and an example to type, as data."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
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
    "max_runs": Annotated[int, Ge(1), "sweep.max_runs=1000000"],
}
LINEAR: dict[str, Any] = {
    "key": Annotated[str, "sweep.key=lr"],
    "low": Annotated[float, "sweep.low=0.001"],
    "high": Annotated[float, "sweep.high=0.1"],
    "num": Annotated[int, Ge(1), "sweep.num=5"],
}
LOG: dict[str, Any] = LINEAR | {
    "low": Annotated[float, Gt(0), "sweep.low=0.001"],
    "high": Annotated[float, Gt(0), "sweep.high=0.1"],
}
WHOLE: dict[str, Any] = {"whole": Annotated[bool, "sweep.whole=true"]}
ZIP: dict[str, Any] = {"lists": Annotated[Any, "'sweep.lists={lr:[0.1,0.01],iters:[10,100]}'"]}
CSV: dict[str, Any] = {"path": Annotated[str, "sweep.path=jobs.csv"]}
NEEDED = {"grid": dict[str, Any](), "log": LOG, "linear": LINEAR, "zip": ZIP, "csv": CSV}
WHOLE_NUMBERS = {k for k, hint in schema.HINTS.items() if get_args(hint)[0] in (int, int | None)}


def check_sweep(
    sweep: Mapping[str, Any], option: str, *, known: Collection[str] | None = None
) -> None:
    """Hold the settings of the group ``sweep`` against their types and ranges.

    Args:
        sweep: the group's settings, as a mapping or a node of a configuration.
        option: the chosen option.
        known: the settings and groups that a job may name; None: whatever it names.

    Raises:
        ConfigError: a setting is unknown, missing, of the wrong type or out of range.

    >>> check_sweep({"key": "lr", "low": 2, "high": 2, "num": 3}, "log")
    Traceback (most recent call last):
    gdexp.errors.ConfigError: sweep.low: 2 is not below sweep.high=2. Type sweep.num=1.
    """
    settings = plain(sweep)
    needed = NEEDED[kind(settings, option)]
    hints = COMMON | needed | (WHOLE if "num" in needed else {})
    for name in (name for name in settings if name not in hints and not name.startswith("_")):
        raise ConfigError(
            f"sweep.{name}: sweep={option} has no setting {name!r}. It has: {', '.join(hints)}."
            f"{did_you_mean(name, hints, prefix='sweep.')}"
        )
    if missing := [name for name in needed if settings.get(name) in (None, "???")]:
        raise ConfigError(
            f"sweep={option} needs {' and '.join(f'sweep.{name}' for name in missing)}. "
            f"Type for example {' '.join(_example(needed[name]) for name in missing)}."
        )
    for name in (name for name in hints if name in settings):
        _check(name, settings[name], hints[name])
    if "num" in needed:
        check_known(settings["key"], known, "sweep.key")
        _check_ends(settings)
    elif "lists" in needed:
        _check_lists(settings["lists"], known)


def plain(sweep: Mapping[str, Any]) -> dict[str, Any]:
    """The settings as Python's own dicts and lists."""
    found: Any = sweep
    if OmegaConf.is_config(sweep):
        found = OmegaConf.to_container(sweep, resolve=True)
    return {str(name): value for name, value in found.items()}


def kind(sweep: Mapping[str, Any], option: str) -> str:
    """Which grid an option is: ours by their names, a user's by the one of ours it includes.

    Raises:
        ConfigError: it is none of them.
    """
    found = str(sweep.get("_kind_", option))
    if found not in NEEDED:
        raise ConfigError(
            f"sweep={option}: the option is none of {', '.join(NEEDED)}. Include one of them in "
            f"it, as in defaults: [log].{did_you_mean(found, NEEDED, prefix='sweep=')}"
        )
    return found


def max_runs(sweep: Mapping[str, Any]) -> int:
    """The most runs that a sweep may have."""
    return int(sweep.get("max_runs", 1_000_000))


def is_whole(sweep: Mapping[str, Any]) -> bool:
    """Whether the key of a log or linear grid takes whole numbers."""
    return bool(sweep.get("whole")) or sweep["key"] in WHOLE_NUMBERS


def check_known(name: str, known: Collection[str] | None, where: str) -> None:
    """Refuse a setting that there is not.

    Raises:
        ConfigError: with the nearest name that there is.
    """
    if known is not None and name not in known:
        nearest = did_you_mean(name, known) or " python -m gdexp --help lists every setting."
        raise ConfigError(f"{where}: there is no setting {name!r}.{nearest}")


def _example(hint: Any) -> str:
    return str(hint.__metadata__[-1])


def _check(name: str, value: Any, hint: Any) -> None:
    """As :func:`gdexp.config.schema.check`, with the annotation's example at the end."""
    try:
        schema.check(f"sweep.{name}", value, hint)
    except ConfigError as error:
        if "Did you mean" in str(error):
            raise
        raise ConfigError(f"{error} Type for example {_example(hint)}.") from None


def _check_ends(sweep: Mapping[str, Any]) -> None:
    """Hold both ends of a log or linear grid against each other."""
    low, high, num = sweep["low"], sweep["high"], sweep["num"]
    if is_whole(sweep):
        for end in ("low", "high"):
            _check(end, sweep[end], Annotated[int, f"sweep.{end}={math.ceil(sweep[end])}"])
    if low > high or (low == high and num > 1):
        instead = f"sweep.low={high} sweep.high={low}" if low > high else "sweep.num=1"
        raise ConfigError(f"sweep.low: {low} is not below sweep.high={high}. Type {instead}.")
    if low < high and num == 1:
        raise ConfigError(
            f"sweep.num: one value cannot be both sweep.low={low} and sweep.high={high}. "
            "Type sweep.num=2 or more."
        )


def _check_lists(lists: Any, known: Collection[str] | None) -> None:
    """Hold zipped lists against each other."""
    example = f"Type for example {_example(ZIP['lists'])}."
    if not isinstance(lists, Mapping) or not lists:
        raise ConfigError(f"sweep.lists: {lists} gives no setting a list of values. {example}")
    for name, one in lists.items():
        check_known(str(name), known, "sweep.lists")
        if not isinstance(one, list) or not one:
            found = "an empty list" if one == [] else f"{schema.shown(one)}, not a list"
            raise ConfigError(f"sweep.lists: {name} is given {found}. {example}")
    (first, one), *others = lists.items()
    for name, other in others:
        if len(other) != len(one):
            raise ConfigError(
                f"sweep.lists: {first} has {values(len(one))} and {name} has "
                f"{values(len(other))}. Give both as many: the i-th of each go together."
            )


def values(number: int) -> str:
    """A number of values, in words."""
    return "1 value" if number == 1 else f"{number} values"
