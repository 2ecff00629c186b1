"""Checks every job of a sweep, and what several of them have in common only once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, NamedTuple, TypeAlias

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from gdexp.config import schema, validation
from gdexp.config.compose import Composer
from gdexp.config.job import Job
from gdexp.config.overrides import assignment, parse
from gdexp.errors import ConfigError, first_line
from gdexp.experiment import check_run
from gdexp.preflight.names import check_option, check_value, composed, holder, key_of
from gdexp.sweep.grids.axis import Overrides
from gdexp.sweep.jobs import Template, set_folder, set_number

Pair: TypeAlias = tuple[str, Any]

FREE = (  # numbers whose range is all there is to check, unless a component depends on them
    *("lr", "iters", "seed", "predict_at", "print_every"),
    *("stop.tolerance", "stop.watch", "stop.divergence", "stop.every", "tracking.max_points"),
)


class Base(NamedTuple):
    """A combination of options, before any key is set."""

    cfg: DictConfig
    template: Template
    bound: frozenset[str]  # keys of FREE on which a component depends

    @classmethod
    def of(cls, cfg: DictConfig) -> Base:
        """The combination of a composed configuration."""
        template = Template(cfg)
        return cls(cfg, template, frozenset(k for k in FREE if _is_bound(k, template)))


class JobCheck:
    """Checks jobs given as overrides.

    A value is checked once for each combination of options. A job is built once for each
    combination of the settings that can affect each other: those of the data and the predictor,
    and those of everything but the data.

    Args:
        composer: composes each combination of options.
        hydras: the overrides of Hydra's own settings.
        multirun: whether the jobs are those of a sweep, which have numbers.
    """

    def __init__(self, composer: Composer, hydras: Overrides, *, multirun: bool) -> None:
        self._composer, self._hydras, self._multirun = composer, hydras, multirun
        self._groups = frozenset(composer.groups())
        self._pairs: dict[str, Pair | None] = {}
        self._bases: dict[Overrides, Base] = {}
        self._checked: set[Any] = set()

    def check(self, jobs: Iterable[Overrides]) -> Job:
        """Check jobs; returns the first.

        Raises:
            ConfigError: a job is invalid; says which, unless the message begins with a setting in
                which it differs from the first.
        """
        first: tuple[Job, Overrides] | None = None
        for number, texts in enumerate(jobs):
            try:
                job = self._check(texts, number if self._multirun else None)
            except ConfigError as error:
                own = [text for text in texts if first is None or text not in first[1]]
                keys = tuple(text.partition("=")[0].lstrip("+~") for text in own)
                if first is None or str(error).startswith(keys):
                    raise
                raise ConfigError(f"run #{number} ({' '.join(own)}): {error}") from error
            first = first or (job, texts)
        assert first is not None
        return first[0]

    def _check(self, texts: Overrides, number: int | None) -> Job:
        settings = {text: pair for text in texts if (pair := self._pair(text)) is not None}
        choices = tuple(text for text in texts if text not in settings)
        pairs, base = list(settings.values()), self._base(choices)
        for text, pair in settings.items():
            if self._is_new(choices, text):
                _check_pair(pair, base, continues=any(key == "continue_from" for key, _ in pairs))
        job = replace(_job(base, pairs, number), typed=texts)
        continues = job.settings["continue_from"] is not None
        is_numbered = base.template.refers_to_hydra or "${hydra" in str(pairs)
        if continues or is_numbered or self._is_new_combination(choices, pairs, base, job):
            check_run(job)
        return job

    def _pair(self, text: str) -> Pair | None:
        """Key and value of a setting; None for an option of a group."""
        if text not in self._pairs:
            pair = assignment(text)
            if pair is None:
                override = parse(text, self._composer.loader)
                pair = key_of(override), override.value()
            elif pair[0] in self._groups:
                check_option(*pair, self._composer)
            self._pairs[text] = None if pair[0] in self._groups else pair
        return self._pairs[text]

    def _base(self, choices: Overrides) -> Base:
        if choices not in self._bases:
            cfg = composed(self._composer, [*self._hydras, *choices])
            if self._hydras:
                _check_hydra(cfg.hydra)
            if self._multirun:
                set_number(cfg, 0)
            else:
                set_folder(cfg)
            self._bases[choices] = Base.of(cfg)
        return self._bases[choices]

    def _is_new_combination(
        self, choices: Overrides, pairs: list[Pair], base: Base, job: Job
    ) -> bool:
        """Whether no earlier job had the same options and settings, apart from free numbers."""
        refers = any("${" in str(value) for _, value in pairs)
        splits = bool(job.settings["data"].get("validation"))
        related = [
            (key, repr(value))
            for key, value in pairs
            if key not in FREE or key in base.bound or refers or (splits and key == "seed")
        ]
        of_the_data = [p for p in related if not p[0].startswith(("updater.", "scheduler."))]
        of_the_rest = [p for p in related if not p[0].startswith("data.")]
        news = [
            self._is_new(choices, part, *kept)
            for part, kept in (("data", of_the_data), ("rest", of_the_rest))
        ]
        return any(news)

    def _is_new(self, *what: Any) -> bool:
        """Whether this is asked for the first time."""
        is_new = what not in self._checked
        self._checked.add(what)
        return is_new


def _check_hydra(hydra: DictConfig) -> None:
    """Refuse what Hydra would refuse in the middle of a run: folders with unknown references."""
    raw: Any = OmegaConf.to_container(hydra, resolve=False)
    schema.check("hydra.verbose", raw["verbose"], bool | str | list[str])
    for group, name in (("run", "dir"), ("sweep", "dir"), ("sweep", "subdir")):
        text = raw[group][name]
        is_later = name == "subdir" and ("${hydra:" in text or "${hydra.job." in text)
        try:
            _ = hydra[group][name]
        except OmegaConfBaseException as error:
            if not is_later:  # the number of a job is known when it runs
                reason = first_line(error).rpartition("interpolation: ")[2]
                raise ConfigError(f"hydra.{group}.{name}={text}: {reason}.") from error


def _check_pair(pair: Pair, base: Base, *, continues: bool) -> None:
    """Check a setting with a combination of options, whichever job has it."""
    try:
        holder(pair[0], base.cfg)
    except ConfigError as error:
        if not continues:
            raise
        raise ConfigError(
            f"{error} Leave it out: with continue_from, it is taken from the run."
        ) from error
    if "${" not in str(pair[1]):  # else checked with the job, in which it is resolved
        check_value(*pair, base.cfg, base.template.base)


def _job(base: Base, pairs: list[Pair], number: int | None) -> Job:
    try:
        if all(base.template.has(key) for key, _ in pairs):
            with contextlib.suppress(OmegaConfBaseException):  # a reference to Hydra's settings
                return base.template.job(pairs)
        cfg = base.cfg.copy()
        if number is not None:
            set_number(cfg, number)
        for key, value in pairs:
            OmegaConf.update(cfg, key, value)
        return Job.of(cfg, ())
    except (OmegaConfBaseException, KeyError, TypeError, RecursionError) as error:
        words = [f"{key}: {value}" for key, value in pairs if "${" in str(value)]
        if not words:
            raise
        raise ConfigError(f"{words[0]} {_unresolved(error)}") from error


def _unresolved(error: Exception) -> str:
    """Why a reference has no value, and what to type instead."""
    _, is_resolvers, reason = first_line(error).partition("raised while resolving interpolation: ")
    if is_resolvers:  # as of ${oc.env:HOME}
        return f"has no value: {reason.strip(chr(34))}. Type one."
    return (
        "refers to no setting of this run. Type a value, or refer to one of its settings, as in "
        "${lr}."
    )


def _is_bound(key: str, template: Template) -> bool:
    """Whether a component depends on a number of FREE beyond its range."""
    job, referring = template.base, template.referring(key)
    has_schedule = job.settings["scheduler"]["_target_"] is not None
    if key == "lr":  # gdexp's and torch's own classes accept any learning rate > 0
        referring = [name for name in referring if not _is_known(job, name)]
    return bool(referring) or (key == "iters" and has_schedule)


def _is_known(job: Job, family: str) -> bool:
    target = str(job.settings.get(family, {}).get("_target_"))
    return target.startswith("gdexp.") or validation.is_torch(job, family)
