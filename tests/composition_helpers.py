"""Hydra's compositions, remembered: each takes a tenth of a second, and tests make thousands.

What is remembered is what Hydra computes from the texts of the files and the chosen options. What
is typed besides, such as lr=0.1, it applies as always.
"""

from __future__ import annotations

import os
import pickle
from typing import Any

from hydra._internal import defaults_list
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import ConfigRepository, IConfigRepository
from hydra.core.object_type import ObjectType
from omegaconf import DictConfig

_load = ConfigRepository.load_config
_merge = ConfigLoaderImpl._compose_config_from_defaults_list
_map = defaults_list._create_interpolation_map
_loaded: dict[Any, bytes] = {}
_mapped: dict[str, DictConfig] = {}
_merged: dict[Any, bytes] = {}


def _source(repo: ConfigRepository, path: str) -> tuple[Any, ...]:
    """Where a configuration comes from, and its text if that may change."""
    source = repo._find_object_source(path, ObjectType.CONFIG)
    if source is None:
        return (path,)
    text = ""
    if source.scheme() == "file":
        name = os.path.join(source.path, source._normalize_file_name(path))
        with open(name, encoding="utf-8", errors="surrogateescape") as file:
            text = file.read()
    return path, source.scheme(), source.path, source.provider, text


def load_config(self: ConfigRepository, config_path: str) -> Any:
    """Read one configuration, as Hydra does, if its text is new."""
    key = _source(self, config_path)
    if len(key) == 1:
        return _load(self, config_path)
    if key not in _loaded:
        _loaded[key] = pickle.dumps(_load(self, config_path))
    return pickle.loads(_loaded[key])  # Hydra merges others into it


def merge(self: ConfigLoaderImpl, defaults: Any, repo: IConfigRepository) -> DictConfig:
    """Merge the chosen configurations, as Hydra does, if there is a new one among them."""
    delegate: Any = getattr(repo, "delegate", repo)
    key = tuple((repr(each), _source(delegate, each.config_path or "")) for each in defaults)
    if key not in _merged:
        _merged[key] = pickle.dumps(_merge(self, defaults, repo))
    config: DictConfig = pickle.loads(_merged[key])
    return config


def choices(overrides: Any, defaults: Any, self_added: bool) -> DictConfig:
    """The choices known so far, which are only read."""
    values = [(each.parent_base_dir, getattr(each, "value", None)) for each in defaults]
    key = repr((overrides.known_choices, defaults, values, self_added))
    if key not in _mapped:
        _mapped[key] = _map(overrides, defaults, self_added)
    return _mapped[key]


def remember() -> None:
    """Have Hydra remember within this process."""
    defaults_list._create_interpolation_map = choices
    ConfigRepository.load_config = load_config  # type: ignore[method-assign]
    ConfigLoaderImpl._compose_config_from_defaults_list = merge  # type: ignore[method-assign]
