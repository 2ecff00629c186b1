"""From a sweep's overrides to its jobs.

Hydra takes a tenth of a second to compose a job. Here each combination of options is composed once,
and a job is a copy of the resulting plain values with its own keys set.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from omegaconf import DictConfig, OmegaConf, open_dict

from gdexp.config import passwords
from gdexp.config.job import Job, following
from gdexp.config.overrides import assignment, is_hydras
from gdexp.config.settings import is_float, switched, with_words

Compose: TypeAlias = Callable[[list[str]], DictConfig]
"""Composes overrides into a configuration that includes Hydra's own node."""

LONG = 80  # characters of what all runs of a sweep share, up to which their lines show it
COMPUTING = ("vectorize", "memory")  # settings of a sweep that say how it is computed

_REFERENCE = re.compile(r"\$\{(\w+(?:\.\w+)*)\}")


class Template:
    """A composed combination of options; jobs are copies of it with keys set.

    Jobs share the sections that no key changes, so their settings must not be modified.

    Attributes:
        base: the job with no key set.
    """

    def __init__(self, cfg: DictConfig) -> None:
        self.base = Job.of(cfg, ())
        raw = OmegaConf.to_container(cfg, resolve=False)
        assert isinstance(raw, dict)
        self._raw = with_words({str(k): value for k, value in raw.items() if k != "hydra"})
        self._references = {name: _references(value) for name, value in self._raw.items()}
        self.refers_to_hydra = "${hydra" in str(self._raw)

    def has(self, key: str) -> bool:
        """Whether the key exists in this combination and is not a group of keys."""
        node: Any = self._raw
        for name in key.split("."):
            if not isinstance(node, dict) or name not in node:
                return False
            node = node[name]
        return not isinstance(node, dict)

    def referring(self, key: str) -> list[str]:
        """The sections with a reference to this key, or with one that is not a plain ``${key}``."""
        return [name for name, keys in self._references.items() if key in keys or None in keys]

    def job(self, keys: Sequence[tuple[str, Any]]) -> Job:
        """The job with these keys set, and the references to them resolved."""
        raw = dict(self._raw)
        for key, value in keys:
            node, (*parents, name) = raw, key.split(".")
            for parent in parents:
                node[parent] = node = dict(node[parent])
            node[name] = _converted(key, value)
        changed = {key.partition(".")[0]: _references(value) for key, value in keys}
        references = self._references | {k: self._references[k] | v for k, v in changed.items()}
        if any(None in named for named in references.values()):
            settings: Any = OmegaConf.to_container(OmegaConf.create(raw), resolve=True)
            settings = passwords.without(settings)
        else:
            affected = {name for name, named in references.items() if named or name in changed}
            new = {name: _resolved(raw[name], raw) for name in raw if name in affected}
            settings = self.base.settings | passwords.without(new)
        return replace(self.base, settings=settings, following=following(raw))


def _converted(key: str, value: Any) -> Any:
    """Convert a value as the structured config does: ``lr=1`` is 1.0."""
    return float(value) if type(value) is int and is_float(key) else switched(key, value)


def _references(value: Any) -> set[str | None]:
    """The keys to which a value refers; None stands for anything but a plain ``${key}``."""
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        return set().union(*map(_references, inner))
    if not isinstance(value, str) or "${" not in value:
        return set()
    reference = _REFERENCE.fullmatch(value)
    return {reference[1] if reference else None}


def _resolved(value: Any, root: dict[str, Any]) -> Any:
    """Replace every ``${key}`` in a value with the value of that key in root."""
    if isinstance(value, dict):
        return {key: _resolved(inner, root) for key, inner in value.items()}
    if isinstance(value, list):
        return [_resolved(inner, root) for inner in value]
    if isinstance(value, str) and (reference := _REFERENCE.fullmatch(value)):
        path = reference[1].split(".")
        return _resolved(functools.reduce(lambda node, name: node[name], path, root), root)
    return value


def set_number(cfg: DictConfig, number: int) -> None:
    """Give the job of a configuration its number in the sweep, as Hydra's launchers do."""
    with open_dict(cfg):
        cfg.hydra.job.num, cfg.hydra.job.id = number, str(number)


def set_folder(cfg: DictConfig) -> None:
    """Give a single run its folder, as Hydra does when it starts it."""
    with open_dict(cfg):
        cfg.hydra.runtime.output_dir = os.path.abspath(cfg.hydra.run.dir)


class Plan:
    """Builds the jobs of a sweep.

    Args:
        compose: called once for each combination of options.
        groups: the names of the config groups.
        shared: the overrides that the lines of no job show.
    """

    def __init__(
        self, compose: Compose, groups: Sequence[str], shared: frozenset[str] = frozenset()
    ) -> None:
        self._compose, self._shared = compose, shared
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
            job = self._composed(overrides, number)
        else:
            job = template.job(keys)
        typed = passwords.of_words(text for text in overrides if not is_hydras(text))
        return replace(job, typed=typed, sweep_id=sweep_id, number=number, shared=self._shared)

    def _composed(self, overrides: Sequence[str], number: int) -> Job:
        """The job as Hydra composes it, with references to Hydra's settings."""
        cfg = self._compose(list(overrides))
        set_number(cfg, number)
        return Job.of(cfg, ())

    def _template(self, choices: tuple[str, ...]) -> Template:
        if choices not in self._templates:
            cfg = self._compose(list(choices))
            set_number(cfg, 0)
            self._templates[choices] = Template(cfg)
        return self._templates[choices]


def unshown(words: Iterable[str]) -> frozenset[str]:
    """Of the overrides that all jobs have, those that lines leave out: all but the step, if long.

    >>> own = ["data=csv", f"data.path={'measurements/' * 6}houses.csv"]
    >>> sorted(unshown(["step=model", *own])) == sorted(own)
    True
    >>> unshown(["step=model", "iters=50"])
    frozenset()
    """
    rest = frozenset(word for word in words if not word.lstrip("+").startswith("step="))
    shown = (word for word in rest if not word.startswith(("hydra", "tracking")))
    return rest if sum(map(len, shown)) > LONG else frozenset()


def planned(
    config: DictConfig,
    loader: Any,
    overrides: Sequence[Sequence[str]],
    first: int = 0,
    shared: Iterable[str] | None = None,
) -> list[Job]:
    """The jobs of these overrides, numbered from ``first``; the sweep's folder names the sweep.

    Those that all jobs of the sweep share are ``shared``, if these jobs are not all of them.
    They know how the sweep is to be computed, whose settings are no overrides of its jobs.
    """
    compose = functools.partial(loader.load_sweep_config, config)
    if shared is None:
        shared = set(overrides[0]).intersection(*overrides[1:]) if len(overrides) > 1 else ()
    plan = Plan(compose, loader.list_groups(""), unshown(shared))
    sweep_id = Path(config.hydra.sweep.dir).name
    jobs = [plan.job(texts, sweep_id, number) for number, texts in enumerate(overrides, first)]
    own = {name: config.sweep[name] for name in COMPUTING if name in config.sweep}
    if not jobs or own.items() <= (node := jobs[0].settings["sweep"]).items():
        return jobs
    return [replace(job, settings={**job.settings, "sweep": node | own}) for job in jobs]
