"""A job: the complete description of a run before it starts, as plain values."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from gdexp.config import passwords, schema
from gdexp.config.settings import LATER, default_of, with_words

MAIN = ("lr", "iters", "seed", "dtype", "predict_at")  # params of every run
OPTIONAL = ("stop", "check", "scheduler")
UNUSED = {key: default_of(key) for key in schema.HINTS if key not in MAIN}
UNUSED |= {
    "scheduler": "none",
    "experiment": "none",
    **LATER,
}  # no params of a run that leaves them at this
UNNAMED = (
    "print_every",
    "trust",
    "data.metrics",
)  # they affect what is shown, not what is computed
WITHOUT_EFFECT = (  # on the result
    *("print_every", "trust", "tracking", "sweep", "checkpoint"),
    *("check", "plots"),
)
SPECIAL = re.compile(r"""[\s'"`$&;<>|(){}*?!#]""")  # means something to the shell


@dataclass(frozen=True)
class Job:
    """One run to do.

    Attributes:
        settings: the resolved configuration, without Hydra's node.
        choices: the chosen option of each group.
        typed: the overrides from which it was composed.
        sweep_id: the id of its sweep; None for a single run.
        number: its index in the sweep, from 0; None for a single run.
        following: the settings whose value is ``${iters}``.
        folders: the user's own folders of options, as ``--config-dir`` names one.
        shared: overrides of all runs of its sweep, which lines on stderr leave out.
    """

    settings: dict[str, Any]
    choices: dict[str, str]
    typed: tuple[str, ...] = ()
    sweep_id: str | None = None
    number: int | None = None
    following: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    shared: frozenset[str] = frozenset()

    @classmethod
    def of(cls, cfg: DictConfig, typed: Sequence[str]) -> Job:
        """The job of a composed configuration, which includes Hydra's node."""
        hydra = cfg.hydra
        sweep_id = number = None
        if not OmegaConf.is_missing(hydra.job, "num"):
            sweep_id, number = Path(hydra.sweep.dir).name, int(hydra.job.num)
        settings = with_words({str(key): _plain(cfg, str(key)) for key in cfg if key != "hydra"})
        choices = {str(key): str(value) for key, value in hydra.runtime.choices.items()}
        folders = tuple(
            str(source.path)
            for source in hydra.runtime.config_sources
            if source.schema == "file" and source.provider != "main"
        )
        settings, words = passwords.without(settings), passwords.of_words(typed)
        return cls(settings, choices, words, sweep_id, number, following(cfg), folders)

    @property
    def words(self) -> list[str]:
        """The overrides that lines on stderr show: those in which the runs of a sweep differ."""
        return [word for word in self.typed if word not in self.shared]

    @property
    def command(self) -> str:
        """The command that starts this run, quoted for the shell where it must be."""
        return quoted("python -m gdexp", self.typed)

    @cached_property
    def config_hash(self) -> str:
        """A digest of the settings that determine the result, ``_target_`` included.

        New settings at their defaults are left out (:data:`gdexp.config.settings.LATER`).
        """
        kept = {k: v for k, v in self.settings.items() if k not in WITHOUT_EFFECT}
        for key, default in LATER.items():
            group, _, name = key.rpartition(".")
            node = kept.get(group, {}) if group else kept
            if name in node and node[name] == default:
                rest = {k: v for k, v in node.items() if k != name}
                kept = {**kept, group: rest} if group else rest
        return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:16]

    def flat(self) -> dict[str, Any]:
        """The run's params: ``step``, each group's option, and keys such as ``updater.momentum``.

        Settings that few runs use, such as a stop rule or a scheduler, are omitted if unset.
        """
        groups = ("data", *schema.FAMILIES)
        flat: dict[str, Any] = {name: self.choices[name] for name in ("step", *groups)}
        flat |= {key: self.settings[key] for key in schema.HINTS if "." not in key}
        for group in (*groups, *OPTIONAL):
            flat |= dict(_leaves(group, self.settings[group]))
        flat["scheduler"] = self.choices["scheduler"]
        flat["experiment"] = self.choices.get("experiment", "none")  # records of old have none
        used = {k: v for k, v in flat.items() if k not in UNUSED or v != UNUSED[k]}
        return {k: v for k, v in used.items() if k not in UNNAMED}


def following(cfg: DictConfig | Mapping[str, Any]) -> tuple[str, ...]:
    """The settings of a schedule, not yet resolved, whose value is ``${iters}``."""
    raw: Any = cfg["scheduler"]
    if OmegaConf.is_config(raw):
        raw = OmegaConf.to_container(raw, resolve=False)
    options = raw if isinstance(raw, dict) else {}
    return tuple(f"scheduler.{name}" for name, value in options.items() if value == "${iters}")


def _plain(cfg: DictConfig, key: str) -> Any:
    value = cfg[key]
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value


def _leaves(prefix: str, node: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if str(key).startswith("_"):
            continue
        if isinstance(value, dict):
            yield from _leaves(f"{prefix}.{key}", value)
        else:
            yield f"{prefix}.{key}", value


def quoted(command: str, words: Sequence[str]) -> str:
    """A command with these words, quoted for the shell where they must be.

    >>> quoted("python -m gdexp -m", ["lr=0.1,0.2", "iters=range(5,55,5)"])
    "python -m gdexp -m lr=0.1,0.2 'iters=range(5,55,5)'"
    """
    return " ".join([command, *(shlex.quote(w) if SPECIAL.search(w) else w for w in words)])
