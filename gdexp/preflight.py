"""What a command line asks for, checked override by override before anything is created.

Hydra refuses an unknown name in its own words and lets an added key or an odd value pass. Here
every override is held against the groups, the YAML files and the annotations, and what is wrong
becomes one sentence with the nearest valid name.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from gdexp.config import schema, validation
from gdexp.config.compose import Composer
from gdexp.config.job import Job
from gdexp.descent.build import build
from gdexp.errors import ConfigError, did_you_mean, first_line
from gdexp.sweep import grids
from gdexp.sweep.grids.axis import check_key, read_override
from gdexp.sweep.jobs import Compose, read

Choices: TypeAlias = tuple[str, ...]
Pair: TypeAlias = tuple[str, Any]
Together: TypeAlias = list[Pair]
"""Keys and values that a job has together: one of those typed, or a line of a grid."""

CHOSEN = ("step", *validation.BUILT, "tracking", "sweep")
EXTRAS = {"joblib": "joblib", "submitit_local": "slurm", "submitit_slurm": "slurm"}  # by launcher


def check(overrides: Sequence[str], composer: Composer, *, multirun: bool) -> Job:
    """Refuse the first override that names something unknown or gives a value out of range.

    In a sweep, every value of every axis is checked, on every combination of options.

    Returns:
        The run, or the first one of the sweep.

    Raises:
        ConfigError: which one, and what to type instead.
    """
    parser = OverridesParser.create(composer.loader)
    parsed = [read_override(text, parser) for text in overrides]
    groups = set(composer.groups())
    choices = [o for o in parsed if _group(o) in groups]
    keys = [o for o in parsed if _group(o) not in groups and not _is_hydra(o)]
    hydras = [o.input_line for o in parsed if _is_hydra(o) and o.input_line]
    for override in parsed:
        if _group(override) == "sweep" and not multirun:
            raise ConfigError(f"{override.input_line}: a sweep is a multirun. Add -m.")
        if override.is_sweep_override() and not multirun:
            raise ConfigError(
                f"{override.input_line} names several values. Add -m to run each of them: "
                f"python -m gdexp -m {override.input_line}"
            )
        if override.is_sweep_override():
            check_key(_group(override), str(override.input_line))
    for override in choices:
        for option in _values(override):
            _check_option(_group(override), option, composer, override.type.name)
    own = [o for o in keys if _group(o).startswith("sweep.") and not o.is_sweep_override()]
    settings = [(_group(o), o.value()) for o in own]
    grid = _grid(overrides, settings, composer) if multirun else {(): []}
    values = [[(_group(o), value)] for o in keys if not o.is_delete() for value in _values(o)]
    for override in keys:
        if override.is_delete():
            raise ConfigError(f"~{_group(override)}: it cannot be removed, every run needs it.")
    typed = [[*hydras, *combination] for combination in itertools.product(*map(_strings, choices))]
    jobs = [
        _check_values(composer.compose, [*combination, *chosen], [*values, *more])
        for combination in typed
        for chosen, more in grid.items()
    ]
    return jobs[0]


def _sweep_settings(overrides: Sequence[str], values: list[Pair], composer: Composer) -> DictConfig:
    """The configuration with the settings of the group sweep, each checked for its name."""
    chosen = [text for text in overrides if text.startswith(("sweep=", "hydra"))]
    cfg = _composed(composer.compose, chosen)
    for key, value in values:
        if key.startswith("sweep."):
            _check_key(key, value, cfg, None)
            OmegaConf.update(cfg, key, value)
    return cfg


def _grid(
    overrides: Sequence[str], values: list[Pair], composer: Composer
) -> dict[Choices, list[Together]]:
    """What the sweep's own grid sets, by the options that it chooses with it.

    A sweep of too many jobs is refused before its values are listed.
    """
    cfg = _sweep_settings(overrides, values, composer)
    option = cfg.hydra.runtime.choices.sweep
    if not str(cfg.hydra.sweeper._target_).endswith(".GridSweeper"):
        _check_foreign(cfg.hydra.runtime.choices["hydra/sweeper"], option, values)
        return {(): []}
    grids.jobs(overrides, cfg.sweep, option, seed=0, loader=composer.loader)
    groups = set(composer.groups())
    found: dict[Choices, list[Together]] = {}
    for axis in grids.axes(cfg.sweep, option):
        for alternative in axis:
            pairs = [read(text)[:2] for text in alternative]
            chosen = tuple(
                text for text, (key, _) in zip(alternative, pairs, strict=True) if key in groups
            )
            found.setdefault(chosen, []).append([pair for pair in pairs if pair[0] not in groups])
    for chosen in found:
        for key, option in (read(text)[:2] for text in chosen):
            _check_option(key, option, composer)
    return found or {(): []}


def _check_foreign(sweeper: str, option: str, values: list[Pair]) -> None:
    """Another sweeper chooses the jobs itself: refuse what it would ignore."""
    asked = [key for key, _ in values if key.startswith("sweep.") and key != "sweep.on_error"]
    for word in [f"sweep={option}"] * (option != "grid") + asked:
        raise ConfigError(f"{word}: hydra/sweeper={sweeper} chooses the jobs itself. Drop one.")


def _check_values(compose: Compose, choices: list[str], values: list[Together]) -> Job:
    """Check every value of every key on one combination of options; the job of the first ones."""
    base = _composed(compose, choices)
    job = Job.of(base, choices)
    for key, value in itertools.chain.from_iterable(values):
        _check_key(key, value, base, job)
    return _check_together(base, job, values)


def _check_together(base: DictConfig, job: Job, values: list[Together]) -> Job:
    """Build with the first value of every key, and with each value that only torch can judge."""
    for pairs in reversed(values):
        _set(base, pairs)
    first = Job.of(base, ())
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


def _group(override: Override) -> str:
    return str(override.key_or_group)


def _is_hydra(override: Override) -> bool:
    return _group(override).split("/")[0].split(".")[0] == "hydra"


def _values(override: Override) -> Iterator[Any]:
    """The values an override may take: the axis of a sweep, or its single value."""
    if isinstance(interval := override.value(), IntervalSweep):
        yield from (interval.start, interval.end)
    elif override.is_discrete_sweep():
        yield from map(Override._convert_value, override.sweep_iterator())
    elif not override.is_sweep_override():
        yield override.value()


def _strings(override: Override) -> list[str]:
    """An override once for each of its values, as one would type it."""
    key = override.get_key_element()
    if override.is_discrete_sweep():
        return [f"{key}={text}" for text in override.sweep_string_iterator()]
    return [str(override.input_line)]


def _check_option(group: str, option: Any, composer: Composer, kind: str = "") -> None:
    options = composer.options(group)
    if kind == "DEL" and group in CHOSEN:
        raise ConfigError(f"~{group}: {group} cannot be removed, every run needs it.")
    if kind == "ADD" and group in CHOSEN:
        raise ConfigError(f"+{group}: every run has a {group}. Type {group}={_typed(option)}.")
    for name in option if isinstance(option, list) else [option]:
        if name not in options:
            raise ConfigError(
                f"{group}={_typed(name)}: there is no such option. {group} is one of: "
                f"{', '.join(options)}.{did_you_mean(str(name), options, prefix=f'{group}=')}"
            )


def _typed(value: Any) -> str:
    return value if isinstance(value, str) else schema.shown(value)


def _composed(compose: Compose, choices: list[str]) -> DictConfig:
    """The configuration of these options alone, before any key is set."""
    try:
        return compose(choices)
    except HydraException as error:
        cause = f" ({first_line(error.__cause__)})" if error.__cause__ else ""
        raise ConfigError(f"{first_line(error)}{cause}{_extra(first_line(error))}") from error


def _extra(line: str) -> str:
    """What to install where Hydra misses a launcher."""
    extras = [extra for name, extra in EXTRAS.items() if f"'hydra/launcher/{name}'" in line]
    return f". Type pip install 'gdexp[{extras[0]}]'." if extras else ""


def _check_key(key: str, value: Any, base: DictConfig, job: Job | None) -> None:
    """Hold one key and one value against the configuration it would change."""
    parent, _, name = key.rpartition(".")
    node: Any = None
    with contextlib.suppress(HydraException, OmegaConfBaseException):
        node = OmegaConf.select(base, parent) if parent else base
    siblings = [str(k) for k in node] if isinstance(node, DictConfig) else []
    if name not in siblings and not isinstance(node, ListConfig):
        raise ConfigError(_unknown(key, parent, name, siblings, base))
    if not parent and key in schema.HINTS:
        schema.check(key, value, schema.HINTS[key])
    elif not parent:
        raise ConfigError(f"{key}: {value!r} is not an option. Type one by its name.")
    elif isinstance(node, DictConfig) and job is not None:
        validation.check_setting(job, key, value)


def _unknown(key: str, parent: str, name: str, siblings: list[str], base: DictConfig) -> str:
    visible = [s for s in siblings if not s.startswith("_") and s != "hydra"]
    if parent and OmegaConf.select(base, parent) is None:
        groups = [str(g) for g in base if isinstance(base[g], DictConfig) and g != "hydra"]
        return (
            f"{key}: there is no group {parent!r}.{did_you_mean(parent, groups)} "
            "python -m gdexp --help lists every setting."
        )
    if parent:
        prefix = f"{parent}."
        choice = base.hydra.runtime.choices.get(parent)
        what = f"{parent}={choice}" if choice else parent
        listed = f" It has: {', '.join(visible)}." if visible else " It has no settings."
    else:
        prefix, what, listed = "", "a run", ""
        nested = [f"{g}.{k}" for g in visible if isinstance(base[g], DictConfig) for k in base[g]]
        visible += [n for n in nested if "._" not in n]
        if not did_you_mean(name, visible):
            listed = " python -m gdexp --help lists every setting."
    return (
        f"{key}: {what} has no setting {name!r}.{listed}"
        f"{did_you_mean(name, visible, prefix=prefix)}"
    )
