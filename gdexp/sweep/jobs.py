"""A sweep's jobs: composed once for each choice of options, every number filled in.

Hydra composes a job in a tenth of a second, most of it the same work again. Here a configuration is
composed once for each combination of options; what a job sets beside them is put into a copy of its
plain values.
"""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from gdexp.config.job import Job
from gdexp.config.settings import is_float

Compose: TypeAlias = Callable[[list[str]], DictConfig]
"""Overrides to a configuration with Hydra's node in it."""

_WHOLE = r"(?:0|[1-9]\d*)"  # 007 is a text to Hydra
_NUMBER = re.compile(
    rf"([a-z_]\w*(?:\.\w+)*)=([-+]?(?:{_WHOLE}(?:\.\d*)?|\.\d+)(?:e[-+]?\d+)?)", re.I | re.A
)
_REFERENCE = re.compile(r"\$\{([\w.]+)\}")


class Template:
    """One combination of options, and the job that it becomes when keys are set."""

    def __init__(self, cfg: DictConfig) -> None:
        self._job = Job.of(cfg, ())
        raw = OmegaConf.to_container(cfg, resolve=False)
        assert isinstance(raw, dict)
        self._raw = {str(key): value for key, value in raw.items() if key != "hydra"}

    def has(self, key: str) -> bool:
        """Whether this combination has the key, and it is a single value."""
        node: Any = self._raw
        for name in key.split("."):
            if not isinstance(node, dict) or name not in node:
                return False
            node = node[name]
        return not isinstance(node, dict)

    def job(self, keys: Sequence[tuple[str, Any]]) -> Job:
        """The job with these keys set, and all that refers to them."""
        raw = copy.deepcopy(self._raw)
        for key, value in keys:
            *parents, name = key.split(".")
            node = functools.reduce(lambda inner, parent: inner[parent], parents, raw)
            node[name] = _converted(key, value)
        return replace(self._job, settings=_resolved(raw))


def _converted(key: str, value: Any) -> Any:
    """The value as the typed configuration would hold it: ``lr=1`` is 1.0."""
    return float(value) if type(value) is int and is_float(key) else value


def _resolved(raw: dict[str, Any]) -> dict[str, Any]:
    """Every ``${key}`` replaced by the key's value."""

    def look_up(text: str) -> Any:
        match = _REFERENCE.fullmatch(text)
        if match is None:
            return None
        value: Any = raw
        for name in match[1].split("."):
            value = value[name]
        return resolve(value)

    def resolve(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: resolve(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [resolve(inner) for inner in value]
        if isinstance(value, str) and "${" in value:
            found = look_up(value)
            if found is None:  # more than a plain reference: OmegaConf's to resolve
                whole = OmegaConf.to_container(OmegaConf.create({**raw, "_": value}), resolve=True)
                assert isinstance(whole, dict)
                return whole["_"]
            return found
        return value

    resolved = resolve(raw)
    assert isinstance(resolved, dict)
    return resolved


class Plan:
    """The jobs of a sweep.

    Args:
        compose: composes the configuration of one job; called once for each choice of options.
        groups: the names of the config groups.
    """

    def __init__(self, compose: Compose, groups: Sequence[str]) -> None:
        self._compose = compose
        self._groups = frozenset(groups)
        self._templates: dict[tuple[str, ...], Template] = {}

    def job(self, overrides: Sequence[str], sweep_id: str | None, number: int) -> Job:
        """The job of these overrides, as composing them would give it."""
        choices, keys = [], []
        for text in overrides:
            key, value, plain = read(text)
            if plain and key not in self._groups and key.partition(".")[0] != "hydra":
                keys.append((key, value, text))
            else:
                choices.append(text)
        template = self._template(tuple(choices))
        if not all(template.has(key) for key, _, _ in keys):
            template, keys = self._template(tuple(overrides)), []
        job = template.job([(key, value) for key, value, _ in keys])
        typed = tuple(text for text in overrides if not _is_hydra(text))
        return replace(job, typed=typed, sweep_id=sweep_id, number=number)

    def _template(self, choices: tuple[str, ...]) -> Template:
        if choices not in self._templates:
            self._templates[choices] = Template(self._compose(list(choices)))
        return self._templates[choices]


def _is_hydra(text: str) -> bool:
    return text.lstrip("+~").startswith(("hydra.", "hydra/"))


@functools.lru_cache(maxsize=100_000)
def read(text: str) -> tuple[str, Any, bool]:
    """Key, value, and whether the override is a plain ``key=value``."""
    if number := _NUMBER.fullmatch(text):  # what most of a sweep's overrides are
        whole = number[2].lstrip("+-").isdigit()
        return number[1], int(number[2]) if whole else float(number[2]), True
    override = OverridesParser.create().parse_override(text)
    plain = override.type.name == "CHANGE" and not override.is_sweep_override()
    return str(override.key_or_group), override.value() if plain else None, plain
