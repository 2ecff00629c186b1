"""How a run is described in MLflow: its name, params, tags, metrics and note."""

from __future__ import annotations

import functools
import getpass
import hashlib
import json
import math
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflow.entities import Dataset as DatasetEntity
from mlflow.entities import DatasetInput, InputTag, Param, RunTag
from omegaconf import DictConfig, OmegaConf

import gdexp
from gdexp import schema
from gdexp.data import Dataset

if TYPE_CHECKING:
    from gdexp.experiment import Result

LONGEST_NAME = 250
LONGEST_VALUE = 6000
WITHOUT_EFFECT = ("print_every", "tracking")  # settings that do not change a run's result


def run_name(cfg: DictConfig, typed: Sequence[str]) -> str:
    """The overrides as typed, the step always among them."""
    words = [word for word in typed if not word.startswith(("hydra", "tracking"))]
    if not any(word.lstrip("+").startswith("step=") for word in words):
        words.insert(0, f"step={_choices(cfg)['step']}")
    name = " ".join(words)
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"


def params(cfg: DictConfig) -> list[Param]:
    """The choices, the run-level settings and every component's settings, flat."""
    return [Param(key, _short(value)) for key, value in flat(cfg).items()]


def flat(cfg: DictConfig) -> dict[str, Any]:
    """``step``, the option of each group, the run-level keys, and keys like updater.momentum."""
    choices = _choices(cfg)
    found: dict[str, Any] = {"step": choices["step"]}
    found |= {group: choices[group] for group in ("data", *schema.FAMILIES)}
    found |= {key: cfg[key] for key in schema.HINTS if key != "print_every"}
    for group in ("data", *schema.FAMILIES):
        found |= dict(_leaves(group, OmegaConf.to_container(cfg[group], resolve=True)))
    return found


def _leaves(prefix: str, node: Any) -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if str(key).startswith("_"):
            continue
        if isinstance(value, dict):
            yield from _leaves(f"{prefix}.{key}", value)
        else:
            yield f"{prefix}.{key}", value


def _choices(cfg: DictConfig) -> Mapping[str, Any]:
    choices: Mapping[str, Any] = cfg.hydra.runtime.choices
    return choices


def _short(value: Any) -> str:
    text = schema.shown(value).strip("'")
    return text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 1] + "…"


def command(typed: Sequence[str]) -> str:
    """What one types to get this run."""
    return " ".join(["python -m gdexp", *typed])


def tags(cfg: DictConfig, typed: Sequence[str]) -> dict[str, str]:
    """What is known of a run when it starts."""
    found = {
        "gdexp.kind": "run",
        "gdexp.overrides": " ".join(typed),
        "gdexp.config_hash": config_hash(cfg),
        "gdexp.version": gdexp.__version__,
        "mlflow.source.name": "gdexp",
        "mlflow.source.type": "LOCAL",
        "mlflow.user": _user(),
        **_git(),
    }
    if not OmegaConf.is_missing(cfg.hydra.job, "num"):
        found["gdexp.sweep_id"] = Path(cfg.hydra.sweep.dir).name
        found["gdexp.job"] = str(cfg.hydra.job.num)
    return {key: _short(value) for key, value in found.items()}


def config_hash(cfg: DictConfig) -> str:
    """A digest of everything that determines a run's result.

    The YAML targets are part of it, how a run is printed and recorded is not.
    """
    settings = {
        key: OmegaConf.to_container(cfg[key], resolve=True)
        if isinstance(cfg[key], DictConfig)
        else cfg[key]
        for key in cfg
        if key not in (*WITHOUT_EFFECT, "hydra")
    }
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def final_metrics(result: Result) -> dict[str, float]:
    """One number each, of the epochs that were finite; never infinite, never NaN."""
    loss = result.trajectory.loss
    if not len(loss):
        return {}
    best = int(loss.argmin())
    found = {
        "final/loss": float(loss[-1]),
        "best/loss": float(loss[best]),
        "best/epoch": float(best + 1),
    }
    if not result.trajectory.diverged and math.isfinite(result.prediction):
        found["final/prediction"] = result.prediction
    return found


def final_tags(cfg: DictConfig, typed: Sequence[str], result: Result) -> list[RunTag]:
    """How the run ended, and the note that says it in a sentence."""
    found = {
        "gdexp.outcome": result.outcome,
        "gdexp.reason": result.reason,
        "mlflow.note.content": note(cfg, typed, result),
    }
    return [RunTag(key, _short(value)) for key, value in found.items()]


def note(cfg: DictConfig, typed: Sequence[str], result: Result) -> str:
    """Command and result in a sentence or two."""
    loss = result.trajectory.loss
    text = f"`{command(typed)}` {result.outcome}: {result.reason}"
    if len(loss):
        text += (
            f", loss {loss[0]:.6g} → {loss[-1]:.6g}, f({cfg.predict_at:g}) = "
            f"{result.prediction:.6g}"
        )
    return f"{text}. {result.note}".rstrip()


def dataset_input(dataset: Dataset) -> DatasetInput:
    """The data set with its name, shape and digest, as MLflow's data set of a run."""
    from mlflow.data.numpy_dataset import from_numpy

    described = from_numpy(dataset.x, targets=dataset.y, name=dataset.name).to_dict()
    entity = DatasetEntity(**described)
    return DatasetInput(entity, [InputTag("mlflow.data.context", "training")])


@functools.cache
def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


@functools.cache
def _git() -> dict[str, str]:
    """The commit of the folder one works in, and whether it has changes; nothing outside git."""

    def ask(*words: str) -> str | None:
        try:
            answer = subprocess.run(["git", *words], capture_output=True, text=True, timeout=5)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return answer.stdout.strip() if answer.returncode == 0 else None

    commit = ask("rev-parse", "HEAD")
    if not commit:
        return {}
    dirty = "true" if ask("status", "--porcelain") else "false"
    return {"mlflow.source.git.commit": commit, "gdexp.git_dirty": dirty}
