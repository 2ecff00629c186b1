"""Compose overrides and YAML files into a configuration, with Hydra."""

from __future__ import annotations

import datetime
import functools
import os
import secrets
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hydra
from hydra import version
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

import gdexp.config.settings  # noqa: F401  (registers the structured schema)
from gdexp.config.folders import ROOT, checked_dir, conf_dir
from gdexp.config.passwords import take_out
from gdexp.errors import ConfigError, brief

VERSION_BASE = "1.3"

_composing = threading.RLock()


class Composer:
    """Composes configurations from Hydra's search path and the user's folder of options.

    Args:
        config_dir: that folder; None if it is on the search path already, or there is none.
        root: the name of the configuration that lists the defaults.

    Raises:
        ConfigError: config_dir cannot be used, see :func:`gdexp.config.folders.checked_dir`.
    """

    def __init__(self, config_dir: str | os.PathLike[str] | None = None, root: str = ROOT) -> None:
        self.folder = None if config_dir is None else checked_dir(config_dir)
        self._root = root
        place = QuotedString(f"file://{self.folder}", Quote.single).with_quotes()
        self._search = [f"hydra.searchpath=[{place}]"] if self.folder else []

    def compose(self, overrides: Sequence[str]) -> DictConfig:
        """The configuration of these overrides, including Hydra's own node.

        Raises:
            ConfigError: one of the YAML files is damaged.
            HydraException: Hydra's own error; :mod:`gdexp.preflight` raises clearer ones.
        """
        with composing():
            return hydra.compose(self._root, [*self._search, *overrides], return_hydra_config=True)

    def compose_sweep(self, overrides: Sequence[str]) -> DictConfig:
        """The configuration of a multirun of these overrides, with a new folder.

        Raises:
            HydraException: as for :meth:`compose`.
        """
        stamp.cache_clear()  # the sweep's name, which differs from that of the process's last one
        composer = GlobalHydra.instance().hydra
        assert composer is not None
        typed = [*self._search, *overrides, "hydra.mode=MULTIRUN"]
        return composer.compose_config(self._root, typed, RunMode.MULTIRUN, from_shell=False)

    def groups(self) -> list[str]:
        """The names of the groups: step, data, predictor, ..."""
        groups = set(self.loader.list_groups(""))
        if self.folder:
            groups |= {entry.name for entry in os.scandir(self.folder) if entry.is_dir()}
        return sorted(groups - {"hydra"})

    def options(self, group: str) -> list[str]:
        """The names of a group's options, as ``mistakes/x`` in a folder; may be empty."""
        options = set(self.loader.get_group_options(group, ObjectType.CONFIG))
        for inner in self.loader.list_groups(group):
            options |= {f"{inner}/{name}" for name in self.options(f"{group}/{inner}")}
        if self.folder:
            root = Path(self.folder, group)
            options |= {
                p.relative_to(root).as_posix()[: -len(p.suffix)] for p in root.rglob("*.yaml")
            }
        return sorted(options)

    @property
    def loader(self) -> ConfigLoader:
        """Hydra's configuration loader."""
        return GlobalHydra.instance().config_loader()


class _Loader(ConfigLoaderImpl):
    """Hydra's loader, whose configurations have no passwords: Hydra writes them to files."""

    def load_configuration(self, *args: Any, **keywords: Any) -> DictConfig:
        config = super().load_configuration(*args, **keywords)
        take_out(config)
        return config


setattr(hydra._internal.hydra, "ConfigLoaderImpl", _Loader)  # noqa: B010
# Hydra copies all that was registered for every composition; what it loads from there, it copies.
setattr(ConfigStore, "__deepcopy__", lambda store, memo: store)  # noqa: B010


@contextmanager
def composing() -> Iterator[None]:
    """Raise what Hydra raises by mistake as a ConfigError, its own errors as they are."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", "provider=.*path=.* is not available", UserWarning)
            yield
    except UserWarning as error:
        if "path=" not in str(error):  # another warning, which this process raises
            raise
        path = str(error).partition("path=")[2].removesuffix(" is not available.")
        raise ConfigError(f"hydra.searchpath: there is no folder {path}.") from error
    except YAMLError as error:
        raise yaml_problem(error) from error
    except RecursionError as error:
        raise ConfigError("the settings refer to each other in a circle. Break it.") from error
    except (AttributeError, TypeError, KeyError, IndexError) as error:
        if isinstance(error, OmegaConfBaseException | HydraException):
            raise
        key = str(error).partition("full_key: ")[2].partition("\n")[0]  # OmegaConf adds it
        raise ConfigError(
            f"{key}: Hydra cannot set it on the command line. Set it in a YAML file."
            if key
            else f"Hydra cannot compose these settings: {brief(error)}."
        ) from error


@contextmanager
def session(config_dir: str | None = None) -> Iterator[None]:
    """Initialise Hydra on our files, and restore its former state at the end.

    Hydra has one state for all threads, so only one of them composes at a time.

    Args:
        config_dir: the user's folder of options, searched before ours as with ``--config-dir``.
    """
    with _composing:
        former = GlobalHydra.instance().hydra
        GlobalHydra.instance().clear()
        version.setbase(VERSION_BASE)
        path = create_config_search_path(conf_dir())
        if config_dir is not None:
            place = f"file://{checked_dir(config_dir)}"
            path.prepend("command-line", place, SearchPathQuery(provider="schema"))
        try:
            Hydra.create_main_hydra2("gdexp", path)
            OmegaConf.register_new_resolver("hydra", _of_hydra, replace=True)
            yield
        finally:
            GlobalHydra.instance().hydra = former


def yaml_problem(error: YAMLError) -> ConfigError:
    """What is wrong with a YAML file, and where, in a sentence."""
    mark: Any = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = str(getattr(error, "problem", None) or error).splitlines()[0]
    if "'\\t'" in problem:
        problem = "a tab; YAML is indented with spaces"
    where = f"{mark.name}, line {mark.line + 1}: " if mark else "a YAML file cannot be read: "
    return ConfigError(f"{where}{problem}. Correct it.")


# Hydra looks for launchers and sweepers in the namespace package hydra_plugins. Its parent folder
# comes last on the path, so that it shadows no other module.
PLUGINS = str(Path(__file__).resolve().parents[1] / "sweep" / "plugins")
if PLUGINS not in sys.path:
    sys.path.append(PLUGINS)


def _of_hydra(path: str, *, _root_: DictConfig) -> Any:
    """Resolve ``${hydra:job.name}`` by the configuration it is in, even before Hydra's job starts.

    Raises:
        ValueError: Hydra has no such setting, or it has no value yet.
    """
    node: Any = _root_.hydra if "hydra" in _root_ else HydraConfig.get()
    value = OmegaConf.select(node, path, default=_NOTHING)
    if value is _NOTHING:
        raise ValueError(f"hydra.{path} does not exist, or has no value in this run")
    return value


_NOTHING = object()


def new_stamp() -> str:
    """A unique name for a run's folder: the time to the microsecond and a short id."""
    return f"{datetime.datetime.now():%Y-%m-%d_%H-%M-%S-%f}_{secrets.token_hex(3)}"


@functools.cache
def stamp() -> str:
    """The stamp of this command, or sweep; every use in a configuration gives the same one."""
    return new_stamp()


OmegaConf.register_new_resolver("gdexp.stamp", stamp, use_cache=True, replace=True)
