"""What to say of a name that does not exist: the nearest that does, or which option has it."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from gdexp.config import validation
from gdexp.config.compose import Composer
from gdexp.config.folders import conf_dir
from gdexp.config.overrides import SYNONYMS
from gdexp.errors import ConfigError, did_you_mean

LISTED = 6  # options that have a setting
SEE_HELP = " python -m gdexp --help lists every setting."


def unknown_key(key: str, siblings: list[str], base: DictConfig) -> str:
    """The message for an unknown key, whose parent has the keys siblings."""
    parent, _, name = key.rpartition(".")
    siblings = [s for s in siblings if not s.startswith("_") and s != "hydra"]
    groups = [g for g in map(str, base) if isinstance(base[g], DictConfig) and g != "hydra"]
    if not parent:
        nested = [f"{g}.{k}" for g in groups for k in base[g] if not str(k).startswith("_")]
        meant, known = SYNONYMS.get(name, name), [*siblings, "step", "experiment", *nested]
        same = [each for each in known if each == meant or each.endswith(f".{meant}")]
        near = _of_other_options(meant) or did_you_mean(meant, known)
        near = f" Did you mean {same[0]}?" if same else near
        return f"{key}: a run has no setting {name!r}.{near or SEE_HELP}"
    if OmegaConf.select(base, parent) is None:
        return f"{key}: there is no group {parent!r}.{did_you_mean(parent, groups)}{SEE_HELP}"
    choice = base.hydra.runtime.choices.get(parent)
    listed = f"It has: {', '.join(siblings)}." if siblings else "It has no settings."
    meant = SYNONYMS.get(name, name).removeprefix(f"{parent}.")
    others = "" if meant in siblings else _of_other_options(f"{parent}.{meant}")
    near = others or did_you_mean(meant, siblings, prefix=f"{parent}.")
    return (
        f"{key}: {f'{parent}={choice}' if choice else parent} has no setting {name!r}. "
        f"{listed}{near}"
    )


def _of_other_options(meant: str) -> str:
    """Which options have a setting, whose group may be missing, as a sentence; "" if none.

    >>> _of_other_options("path")
    ' data.path is a setting of data=csv, parquet.'
    """
    parent, _, name = meant.rpartition(".")
    for group in validation.BUILT:
        if group != (parent or group):
            continue
        files = sorted(Path(conf_dir(), group).glob("*.yaml"))
        options = [path.stem for path in files if name in OmegaConf.load(path)]
        if options:
            more = f" and {len(options) - LISTED} more" if len(options) > LISTED else ""
            listed = ", ".join(options[:LISTED])
            return f" {group}.{name} is a setting of {group}={listed}{more}."
    return ""


def unknown_choice(group: str) -> ConfigError:
    """The error for a folder of the user's options that no choice of a run is named after."""
    choices = ("step", *validation.BUILT, "experiment", "tracking", "sweep")
    return ConfigError(
        f"{group}: a run has no choice {group!r}. A folder of options is named after one of: "
        f"{', '.join(choices)}.{did_you_mean(SYNONYMS.get(group, group), choices)}"
    )


def check_suffix(group: str, name: str, composer: Composer) -> None:
    """Refuse a file of the user's that is named .yml, which Hydra does not read."""
    places = [source.path for source in composer.loader.get_search_path().get_path()]
    for place in filter(None, [*places, composer.folder]):
        path = Path(place.removeprefix("file://"), group, f"{name}.yml")
        if path.is_file():
            raise ConfigError(f"{group}={name}: {path} is not read. Rename it to {name}.yaml.")
