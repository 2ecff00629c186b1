"""What a command line asks for, checked override by override before anything is created.

Hydra refuses an unknown name in its own words and lets an added key or an odd value pass. Here
every override is held against the groups, the YAML files and the annotations, and what is wrong
becomes one sentence with the nearest valid name.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig, OmegaConf

from gdexp import components, schema
from gdexp.compose import Composer
from gdexp.errors import ConfigError, did_you_mean
from gdexp.job import Job

CHOSEN = ("step", *components.BUILT, "tracking")


def check(overrides: Sequence[str], composer: Composer, *, multirun: bool) -> None:
    """Refuse the first override that names something unknown or gives a value out of range.

    In a sweep, every value of every axis is checked, on every combination of options.

    Raises:
        ConfigError: which one, and what to type instead.
    """
    parsed = [_parsed(text) for text in overrides]
    groups = set(composer.groups())
    choices = [o for o in parsed if _group(o) in groups]
    keys = [o for o in parsed if _group(o) not in groups and not _is_hydra(o)]
    hydras = [o.input_line for o in parsed if _is_hydra(o) and o.input_line]
    for override in parsed:
        if override.is_sweep_override() and not multirun:
            raise ConfigError(
                f"{override.input_line} names several values. Add -m to run each of them: "
                f"python -m gdexp -m {override.input_line}"
            )
    for override in choices:
        for option in _values(override):
            _check_option(_group(override), option, composer, override)
    for combination in itertools.product(*map(_strings, choices)):
        base = _base(composer, [*hydras, *combination])
        job = Job.of(base, combination)
        for override in keys:
            for value in _values(override):
                _check_key(override, value, base, job)
        _check_together(base, keys)


def leave_doubt(job: Job) -> bool:
    """Whether a job composed without complaint may still hold what :func:`check` refuses.

    Added and removed keys may be anything; settings of torch's classes have no annotation of ours.
    """
    keys = [text.partition("=")[0] for text in job.typed]
    families = {key.partition(".")[0] for key in keys if "." in key}
    return any(key[:1] in "+~" for key in keys) or any(
        components.is_torch(job, family) for family in families if family in components.BUILT
    )


def _check_together(base: DictConfig, keys: Sequence[Override]) -> None:
    """Build with the first value of every axis, and with each value that only torch can judge."""
    for override in keys:
        OmegaConf.update(base, _group(override), next(_values(override), None))
    job = Job.of(base, ())
    components.check(job)
    components.build(job)
    for override in keys:
        family = _group(override).partition(".")[0]
        if family in components.BUILT and components.is_torch(job, family):
            for value in _values(override):
                OmegaConf.update(base, _group(override), value)
                components.build(Job.of(base, ()))


def _parsed(text: str) -> Override:
    try:
        override = OverridesParser.create().parse_override(text)
        if not override.key_or_group:
            raise HydraException("no key")
        return override
    except HydraException as error:
        raise ConfigError(f"{text!r} cannot be read as key=value, as in lr=0.05.") from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or repr(error)).splitlines()[0]


def _group(override: Override) -> str:
    return str(override.key_or_group)


def _is_hydra(override: Override) -> bool:
    return _group(override).split("/")[0].split(".")[0] == "hydra"


def _values(override: Override) -> Iterator[Any]:
    """The values an override may take: the axis of a sweep, or its single value."""
    if override.is_discrete_sweep():
        for text in override.sweep_string_iterator():
            yield OverridesParser.create().parse_override(f"key={text}").value()
    elif not override.is_sweep_override():
        yield override.value()


def _strings(override: Override) -> list[str]:
    """An override once for each of its values, as one would type it."""
    key = override.get_key_element()
    if override.is_discrete_sweep():
        return [f"{key}={text}" for text in override.sweep_string_iterator()]
    return [str(override.input_line)]


def _check_option(group: str, option: Any, composer: Composer, override: Override) -> None:
    options = composer.options(group)
    if override.is_delete() and group in CHOSEN:
        raise ConfigError(f"~{group}: {group} cannot be removed, every run needs it.")
    if override.is_add() and group in CHOSEN:
        raise ConfigError(f"+{group}: every run has a {group}. Type {group}={_typed(option)}.")
    names = option if isinstance(option, list) else [option]
    for name in names:
        if name not in options:
            raise ConfigError(
                f"{group}={_typed(name)}: there is no such option. {group} is one of: "
                f"{', '.join(options)}.{did_you_mean(str(name), options, prefix=f'{group}=')}"
            )


def _typed(value: Any) -> str:
    return value if isinstance(value, str) else schema.shown(value)


def _base(composer: Composer, choices: list[str]) -> DictConfig:
    """The configuration of these options alone, before any key is set."""
    try:
        return composer.compose(choices)
    except HydraException as error:
        cause = f" ({_first_line(error.__cause__)})" if error.__cause__ else ""
        raise ConfigError(f"{_first_line(error)}{cause}") from error


def _check_key(override: Override, value: Any, base: DictConfig, job: Job) -> None:
    """Hold one key and one value against the configuration it would change."""
    key = _group(override)
    parent, _, name = key.rpartition(".")
    try:
        node = OmegaConf.select(base, parent) if parent else base
        siblings = [str(k) for k in node] if isinstance(node, DictConfig) else []
    except HydraException:
        siblings = []
    known = name in siblings or isinstance(node, ListConfig)
    if not known or key == "hydra":
        raise ConfigError(_unknown(key, parent, name, siblings, base))
    if override.is_delete():
        raise ConfigError(f"~{key}: {key} cannot be removed, every run needs it.")
    if parent == "":
        if key in schema.HINTS:
            schema.check(key, value, schema.HINTS[key])
        else:
            raise ConfigError(f"{key}: {value!r} is not an option. Type one by its name.")
    elif isinstance(node, DictConfig):
        components.check_setting(job, key, value)


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
