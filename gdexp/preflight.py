"""Refuses bad input before anything is created.

:func:`check` compares names with the groups and their YAML files; :mod:`gdexp.config.validation`
checks values, and :mod:`gdexp.sweep.grids` the settings of a sweep.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

from hydra.core.override_parser.types import IntervalSweep, Override
from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from gdexp.config import schema, validation
from gdexp.config.compose import Composer, resolved
from gdexp.config.job import Job
from gdexp.config.overrides import SYNONYMS, as_sweep, assignment, is_hydras, parse
from gdexp.descent.build import build
from gdexp.errors import ConfigError, did_you_mean, first_line
from gdexp.sweep import grids
from gdexp.sweep.grids.axis import check_axis

Choices: TypeAlias = tuple[str, ...]
Pair: TypeAlias = tuple[str, Any]
Together: TypeAlias = list[Pair]
"""Settings that a job takes together: one typed override, or one alternative of a grid."""

REQUIRED = ("step", *validation.BUILT, "tracking", "sweep")
EXTRAS = {"joblib": "joblib", "submitit_local": "slurm", "submitit_slurm": "slurm"}  # by launcher
SEE_HELP = " python -m gdexp --help lists every setting."


def check(overrides: Sequence[str], composer: Composer, *, multirun: bool) -> Job:
    """Refuse the first override that has an unknown name or a value out of range.

    In a sweep, every value of every axis is checked with every combination of options.

    Returns:
        The run, or the first run of the sweep.

    Raises:
        ConfigError: an override is invalid; says which one, and what to type instead.
    """
    parsed = [parse(text, composer.loader) for text in overrides]
    groups = composer.groups()
    choices = [o for o in parsed if _key(o) in groups]
    settings = [o for o in parsed if _key(o) not in groups and not is_hydras(str(o.input_line))]
    if not multirun:
        _check_single(parsed)
    for override in parsed:
        if override.is_sweep_override():
            check_axis(_key(override), str(override.input_line))
    for override in choices:
        _check_choice(override, composer)
    for override in settings:
        if override.is_delete():
            raise ConfigError(f"~{_key(override)}: it cannot be removed, every run needs it.")
    values = [[(_key(o), value)] for o in settings for value in _values(o)]
    pairs = [pair for (pair,) in values]
    grid = _grid(overrides, pairs, composer) if multirun else {(): []}
    hydras = [text for text in overrides if is_hydras(text)]
    jobs = [
        _check_values(composer, [*hydras, *combination, *chosen], [*values, *more])
        for combination in itertools.product(*map(_strings, choices))
        for chosen, more in grid.items()
    ]
    return jobs[0]


def _check_single(parsed: Sequence[Override]) -> None:
    """Refuse overrides that need a multirun."""
    for override in parsed:
        text = override.input_line
        if _key(override) == "sweep":
            raise ConfigError(f"{text}: a sweep is a multirun. Add -m.")
        if override.is_sweep_override():
            raise ConfigError(
                f"{text} names several values. Add -m to run each of them: "
                f"python -m gdexp -m {as_sweep(str(text))}"
            )


def _check_choice(override: Override, composer: Composer) -> None:
    """Refuse an unknown option, and adding or removing a group that every run needs."""
    group = _key(override)
    for option in _values(override):
        if override.is_delete() and group in REQUIRED:
            raise ConfigError(f"~{group}: {group} cannot be removed, every run needs it.")
        if override.is_add() and group in REQUIRED:
            raise ConfigError(f"+{group}: every run has a {group}. Type {group}={_typed(option)}.")
        _check_option(group, option, composer)


def _check_option(group: str, option: Any, composer: Composer) -> None:
    options = composer.options(group)
    for name in option if isinstance(option, list) else [option]:
        if name not in options:
            raise ConfigError(
                f"{group}={_typed(name)}: there is no such option. {group} is one of: "
                f"{', '.join(options)}.{did_you_mean(str(name), options, prefix=f'{group}=')}"
            )


def _grid(
    overrides: Sequence[str], values: list[Pair], composer: Composer
) -> dict[Choices, list[Together]]:
    """The options that the sweep's own grid chooses, and its settings for each choice."""
    cfg = _composed(composer, [text for text in overrides if text.startswith(("sweep=", "hydra"))])
    typed = [(key, value) for key, value in values if key.startswith("sweep.")]
    for key, value in typed:
        _holder(key, cfg)
        OmegaConf.update(cfg, key, value)
    option = cfg.hydra.runtime.choices.sweep
    if not str(cfg.hydra.sweeper._target_).endswith(".GridSweeper"):
        _check_foreign(cfg.hydra.runtime.choices["hydra/sweeper"], option, typed)
        return {(): []}
    grids.jobs(overrides, cfg.sweep, option, seed=0, loader=composer.loader)  # refuses too many
    groups = composer.groups()
    sets: dict[Choices, list[Together]] = {}
    for alternative in itertools.chain.from_iterable(grids.axes(cfg.sweep, option)):
        pairs = {text: _pair(text) for text in alternative}
        chosen = tuple(text for text, (key, _) in pairs.items() if key in groups)
        sets.setdefault(chosen, []).append([p for p in pairs.values() if p[0] not in groups])
    for text in itertools.chain.from_iterable(sets):
        _check_option(*_pair(text), composer)
    return sets or {(): []}


def _check_foreign(sweeper: str, option: str, values: list[Pair]) -> None:
    """Refuse settings of our grids if another sweeper chooses the jobs."""
    words = [f"sweep={option}"] if option != "grid" else []
    words += [key for key, _ in values if key != "sweep.on_error"]
    if words:
        raise ConfigError(f"{words[0]}: hydra/sweeper={sweeper} chooses the jobs itself. Drop one.")


def _check_values(composer: Composer, choices: list[str], values: list[Together]) -> Job:
    """Check each value of each key with one combination of options.

    Then build the components with the first value of every key, and again with each value that only
    torch can check.

    Returns:
        The job with the first value of every key.
    """
    base = _composed(composer, choices)
    job = Job.of(base, choices)
    for key, value in itertools.chain.from_iterable(values):
        _check_value(key, value, base, job)
    for pairs in reversed(values):
        _set(base, pairs)
    first = resolved(base)
    validation.check(first)
    build(first)
    for pairs in values:
        families = {key.partition(".")[0] for key, _ in pairs} & {*validation.BUILT}
        if any(validation.is_torch(job, family) for family in families):
            _set(base, pairs)
            build(Job.of(base, ()))
    return first


def _set(base: DictConfig, pairs: Together) -> None:
    for key, value in pairs:
        OmegaConf.update(base, key, value)


def _key(override: Override) -> str:
    return str(override.key_or_group)


def _pair(text: str) -> Pair:
    """Key and value of an override from a grid, which has a single value."""
    if (pair := assignment(text)) is not None:
        return pair
    override = parse(text)
    return _key(override), override.value()


def _values(override: Override) -> Iterator[Any]:
    """All values of an override; of an interval, its ends."""
    if isinstance(interval := override.value(), IntervalSweep):
        yield from (interval.start, interval.end)
    elif override.is_discrete_sweep():
        yield from map(Override._convert_value, override.sweep_iterator())
    elif not override.is_sweep_override():
        yield override.value()


def _strings(override: Override) -> list[str]:
    """One override for each value of an override."""
    key = override.get_key_element()
    if override.is_discrete_sweep():
        return [f"{key}={text}" for text in override.sweep_string_iterator()]
    return [str(override.input_line)]


def _typed(value: Any) -> str:
    return value if isinstance(value, str) else schema.shown(value)


def _composed(composer: Composer, choices: list[str]) -> DictConfig:
    """Compose these options, before any key is set."""
    try:
        return composer.compose(choices)
    except HydraException as error:
        line = first_line(error)
        cause = f" ({first_line(error.__cause__)})" if error.__cause__ else ""
        extras = [extra for name, extra in EXTRAS.items() if f"'hydra/launcher/{name}'" in line]
        install = f". Type pip install 'gdexp[{extras[0]}]'." if extras else ""
        raise ConfigError(f"{line}{cause}{install}") from error


def _check_value(key: str, value: Any, base: DictConfig, job: Job) -> None:
    """Refuse a key that does not exist, or a value that it does not accept."""
    node = _holder(key, base)
    if node is base and key not in schema.HINTS:
        raise ConfigError(f"{key}: {value!r} is not an option. Type one by its name.")
    if isinstance(node, DictConfig) and "${" not in str(value):  # else checked when resolved
        validation.check_setting(job, key, value)


def _holder(key: str, base: DictConfig) -> Any:
    """The node that contains this key; refuse an unknown key, and name the nearest."""
    parent, _, name = key.rpartition(".")
    node: Any = None
    with contextlib.suppress(HydraException, OmegaConfBaseException):
        node = OmegaConf.select(base, parent) if parent else base
    if isinstance(node, ListConfig):
        return node
    siblings = [str(k) for k in node] if isinstance(node, DictConfig) else []
    if name not in siblings:
        raise ConfigError(_unknown(key, siblings, base))
    return node


def _unknown(key: str, siblings: list[str], base: DictConfig) -> str:
    """The message for an unknown key, whose parent has the keys siblings."""
    parent, _, name = key.rpartition(".")
    siblings = [s for s in siblings if not s.startswith("_") and s != "hydra"]
    groups = [g for g in map(str, base) if isinstance(base[g], DictConfig) and g != "hydra"]
    if not parent:
        nested = [f"{g}.{k}" for g in groups for k in base[g] if not str(k).startswith("_")]
        near = did_you_mean(SYNONYMS.get(name, name), [*siblings, *nested])
        return f"{key}: a run has no setting {name!r}.{near or SEE_HELP}"
    if OmegaConf.select(base, parent) is None:
        return f"{key}: there is no group {parent!r}.{did_you_mean(parent, groups)}{SEE_HELP}"
    choice = base.hydra.runtime.choices.get(parent)
    listed = f"It has: {', '.join(siblings)}." if siblings else "It has no settings."
    return (
        f"{key}: {f'{parent}={choice}' if choice else parent} has no setting {name!r}. "
        f"{listed}{did_you_mean(name, siblings, prefix=f'{parent}.')}"
    )
