"""From a sweep's overrides to its jobs.

Hydra takes a tenth of a second to compose a job. Here each combination of options is composed once,
and a job is a copy of the resulting plain values with its own keys set.
"""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from omegaconf import DictConfig, OmegaConf

from gdexp.config.job import Job
from gdexp.config.overrides import assignment, is_hydras
from gdexp.config.settings import is_float

Compose: TypeAlias = Callable[[list[str]], DictConfig]
"""Composes overrides into a configuration that includes Hydra's own node."""

_REFERENCE = re.compile(r"\$\{([\w.]+)\}")


class Template:
    """A composed combination of options; jobs are copies of it with keys set."""

    def __init__(self, cfg: DictConfig) -> None:
        self._job = Job.of(cfg, ())
        raw = OmegaConf.to_container(cfg, resolve=False)
        assert isinstance(raw, dict)
        self._raw = {str(key): value for key, value in raw.items() if key != "hydra"}
        self._is_relative = "${." in str(self._raw)  # as in momentum: ${..lr}
        self.refers_to_hydra = "${hydra" in str(self._raw)

    def has(self, key: str) -> bool:
        """Whether the key exists in this combination and is not a group of keys."""
        node: Any = self._raw
        for name in key.split("."):
            if not isinstance(node, dict) or name not in node:
                return False
            node = node[name]
        return not isinstance(node, dict)

    def job(self, keys: Sequence[tuple[str, Any]]) -> Job:
        """The job with these keys set, and the references to them resolved."""
        if not keys:
            return self._job
        raw = copy.deepcopy(self._raw)
        for key, value in keys:
            *parents, name = key.split(".")
            _at(raw, parents)[name] = _converted(key, value)
        if self._is_relative or any("${." in str(value) for _, value in keys):
            settings: Any = OmegaConf.to_container(OmegaConf.create(raw), resolve=True)
            return replace(self._job, settings=settings)
        return replace(self._job, settings=_resolved(raw, raw))


def _converted(key: str, value: Any) -> Any:
    """Convert a value as the structured config does: ``lr=1`` is 1.0."""
    return float(value) if type(value) is int and is_float(key) else value


def _resolved(value: Any, root: dict[str, Any]) -> Any:
    """Replace every ``${key}`` in a value with the value of that key in root."""
    if isinstance(value, dict):
        return {key: _resolved(inner, root) for key, inner in value.items()}
    if isinstance(value, list):
        return [_resolved(inner, root) for inner in value]
    if not isinstance(value, str) or "${" not in value:
        return value
    if reference := _REFERENCE.fullmatch(value):
        return _resolved(_at(root, reference[1].split(".")), root)
    return OmegaConf.create({**root, "_": value})["_"]


def _at(node: Any, path: Sequence[str]) -> Any:
    return functools.reduce(lambda inner, name: inner[name], path, node)


class Plan:
    """Builds the jobs of a sweep.

    Args:
        compose: called once for each combination of options.
        groups: the names of the config groups.
    """

    def __init__(self, compose: Compose, groups: Sequence[str]) -> None:
        self._compose = compose
        self._groups = frozenset(groups)
        self._templates: dict[tuple[str, ...], Template] = {}

    def job(self, overrides: Sequence[str], sweep_id: str | None, number: int) -> Job:
        """The job that composing these overrides would give."""
        choices, keys = [], []
        for text in overrides:
            pair = assignment(text)
            if pair is None or pair[0] in self._groups or is_hydras(text):
                choices.append(text)
            else:
                keys.append(pair)
        template = self._template(tuple(choices))
        if (
            template.refers_to_hydra
            or not all(template.has(key) for key, _ in keys)
            or any("${hydra" in str(value) for _, value in keys)
        ):
            template, keys = self._template(tuple(overrides)), []
        job = template.job(keys)
        typed = tuple(text for text in overrides if not is_hydras(text))
        return replace(job, typed=typed, sweep_id=sweep_id, number=number)

    def _template(self, choices: tuple[str, ...]) -> Template:
        if choices not in self._templates:
            self._templates[choices] = Template(self._compose(list(choices)))
        return self._templates[choices]


def planned(
    config: DictConfig, loader: Any, overrides: Sequence[Sequence[str]], first: int = 0
) -> list[Job]:
    """The jobs of these overrides, numbered from ``first``; the sweep's folder names the sweep."""
    plan = Plan(functools.partial(loader.load_sweep_config, config), loader.list_groups(""))
    sweep_id = Path(config.hydra.sweep.dir).name
    return [plan.job(texts, sweep_id, number) for number, texts in enumerate(overrides, first)]
