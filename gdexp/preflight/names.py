"""Refuses names that do not exist: options, groups and settings; names the nearest that does."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any

from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException, ValidationError

from gdexp.config import schema, validation
from gdexp.config.compose import Composer
from gdexp.config.job import Job
from gdexp.config.meant import several
from gdexp.config.settings import switched
from gdexp.errors import ConfigError, did_you_mean, first_line
from gdexp.preflight.unknown import check_suffix, unknown_choice, unknown_key

REQUIRED = ("step", *validation.BUILT, "tracking", "sweep")
EXTRAS = {
    "hydra/launcher/joblib": "joblib",
    "hydra/launcher/submitit_local": "slurm",
    "hydra/launcher/submitit_slurm": "slurm",
    "hydra/sweeper/optuna": "optuna",
}  # that install an option of Hydra's


def key_of(override: Override) -> str:
    """The key or the group of an override."""
    return str(override.key_or_group)


def check_choice(override: Override, composer: Composer) -> None:
    """Refuse an unknown option, and adding or removing a group that every run needs."""
    group = key_of(override)
    if override.is_interval_sweep():
        raise ConfigError(
            f"{override.input_line}: {group} is not a number. It is one of: "
            f"{', '.join(_beside('', composer.options(group)))}."
        )
    for option in _values(override):
        if override.is_delete() and group in REQUIRED:
            raise ConfigError(f"~{group}: {group} cannot be removed, every run needs it.")
        if override.is_add() and group in REQUIRED:
            raise ConfigError(f"+{group}: every run has a {group}. Type {group}={_typed(option)}.")
        check_option(group, option, composer)


def check_option(group: str, option: Any, composer: Composer) -> None:
    """Refuse an option that the group does not have."""
    options = composer.options(group)
    for name in option if isinstance(option, list) else [option]:
        if name not in options:
            check_suffix(group, str(name), composer)
            near = did_you_mean(str(name), options, prefix=f"{group}=")
            raise ConfigError(
                f"{group}={_typed(name)}: there is no such option. {group} is one of: "
                f"{', '.join(_beside(str(name), options))}."
                f"{several(group, name) or near}"
            )


def _beside(name: str, options: list[str]) -> list[str]:
    """The options in the folder of the one that was typed, and other folders as ``mistakes/NAME``.

    >>> _beside("x", ["manual", "mistakes/a", "mistakes/b"])
    ['manual', 'mistakes/NAME']
    >>> _beside("mistakes/c", ["manual", "mistakes/a", "mistakes/b"])
    ['mistakes/a', 'mistakes/b']
    """
    folder = name.rpartition("/")[0]
    if inside := [option for option in options if folder and option.startswith(f"{folder}/")]:
        return inside
    return list(dict.fromkeys(o.partition("/")[0] + "/NAME" * ("/" in o) for o in options))


def composed(composer: Composer, choices: list[str]) -> DictConfig:
    """Compose these options, before any key is set."""
    try:
        return composer.compose(choices)
    except HydraException as error:
        line = first_line(error)
        if missing := re.search(r"Could not find '(hydra/[\w/]+)/([^'/]+)'", line):
            raise _no_option(missing[1], missing[2], composer) from error
        if missing := re.search(r"Could not override '(hydra/[\w/]+)'", line):
            raise _no_group(missing[1], composer) from error
        if missing := re.search(r"Could not override '(\w+)'", line):
            raise unknown_choice(missing[1]) from error
        if missing := re.search(r"Could not override '(hydra\.[\w.]+)'", line):
            others = [text for text in choices if text.lstrip("+").split("=")[0] != missing[1]]
            if len(others) < len(choices) and not isinstance(error.__cause__, ValidationError):
                raise _no_setting(missing[1], composed(composer, others)) from error
        cause = f" ({first_line(error.__cause__)})" if error.__cause__ else ""
        raise ConfigError(f"{line}{cause}") from error


def _no_option(group: str, option: str, composer: Composer) -> ConfigError:
    """The error for an option that a group of Hydra's, such as the launchers, does not have."""
    if extra := EXTRAS.get(f"{group}/{option}"):
        return ConfigError(
            f"{group}={option}: it is not installed. Type pip install 'gdexp[{extra}]'."
        )
    installable = [name.rpartition("/")[2] for name in EXTRAS if name.startswith(f"{group}/")]
    options = sorted({name for name in composer.options(group) if "/" not in name} | {*installable})
    return ConfigError(
        f"{group}={option}: there is no such option. {group} is one of: {', '.join(options)}."
        f"{did_you_mean(option, options, prefix=f'{group}=')}"
    )


def _no_group(group: str, composer: Composer) -> ConfigError:
    """The error for a group that Hydra does not have."""
    parent, _, name = group.rpartition("/")
    groups = sorted(composer.loader.list_groups(parent))
    return ConfigError(
        f"{group}: there is no such group. {parent} has: {', '.join(groups)}."
        f"{did_you_mean(name, groups, prefix=f'{parent}/')}"
    )


def _no_setting(key: str, node: Any) -> ConfigError:
    """The error for a setting of Hydra's that this configuration does not have."""
    parents: list[str] = []
    for name in key.split("."):
        settings = [str(k) for k in node] if isinstance(node, DictConfig) else []
        if name not in settings:
            break
        node = node._get_node(name)
        parents.append(name)
    parent = ".".join(parents)
    settings = [k for k in settings if not k.startswith("_")]
    return ConfigError(
        f"{key}: {parent} has no setting {name!r}. It has: {', '.join(settings) or 'none'}."
        f"{did_you_mean(name, settings, prefix=f'{parent}.')}"
    )


def check_value(key: str, value: Any, base: DictConfig, job: Job) -> None:
    """Refuse a key that does not exist, or a value that it does not accept.

    Args:
        key: the setting.
        value: its value.
        base: a configuration with the job's options.
        job: the job of that configuration.
    """
    node = holder(key, base)
    if node is base and key not in schema.HINTS:
        raise ConfigError(_no_value(key, value, base[key]))
    is_reference = isinstance(value, str) and "${" in value  # checked when it is resolved
    if isinstance(node, DictConfig) and not is_reference:
        validation.check_setting(job, key, switched(key, value))


def _no_value(key: str, value: Any, node: Any) -> str:
    """The message for a value given to a node, such as stop, whose settings have the values."""
    if not isinstance(node, DictConfig):
        return f"{key}: {value!r} is not an option. Type one by its name."
    return (
        f"{key}={_typed(value)}: {key} has no value of its own. Type one of its "
        f"settings: {', '.join(f'{key}.{name}' for name in map(str, node))}."
    )


def holder(key: str, base: DictConfig) -> Any:
    """The node that contains this key; refuse an unknown key, and name the nearest."""
    parent, _, name = key.rpartition(".")
    node: Any = None
    with contextlib.suppress(HydraException, OmegaConfBaseException):
        node = OmegaConf.select(base, parent) if parent else base
    if isinstance(node, ListConfig):
        return node
    siblings = [str(k) for k in node] if isinstance(node, DictConfig) else []
    if name not in siblings:
        raise ConfigError(unknown_key(key, siblings, base))
    return node


def _values(override: Override) -> Iterator[Any]:
    """All values of an override but a continuous range."""
    if override.is_discrete_sweep():
        yield from map(Override._convert_value, override.sweep_iterator())
    elif not override.is_sweep_override():
        yield override.value()


def _typed(value: Any) -> str:
    return value if isinstance(value, str) else schema.shown(value)
