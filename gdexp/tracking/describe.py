"""How a run is described in MLflow: its name, params, tags, metrics and note."""

from __future__ import annotations

import functools
import getpass
import json
import math
import subprocess
from typing import TYPE_CHECKING, Any

import yaml
from mlflow.entities import Dataset as DatasetEntity
from mlflow.entities import DatasetInput, InputTag, Param, RunTag

import gdexp
from gdexp.config import schema
from gdexp.config.job import Job
from gdexp.data.preparation import Prepared

if TYPE_CHECKING:
    from gdexp.experiment import Result

LONGEST_NAME = 250
LONGEST_VALUE = 6000
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # the one in C where it is built


def run_name(job: Job) -> str:
    """The overrides as typed, the step always among them."""
    words = [word for word in job.typed if not word.startswith(("hydra", "tracking"))]
    if not any(word.lstrip("+").startswith("step=") for word in words):
        words.insert(0, f"step={job.choices['step']}")
    name = " ".join(words)
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"


def params(job: Job) -> list[Param]:
    """The choices, the run-level settings and every component's settings, flat."""
    return [Param(key, _short(value)) for key, value in job.flat().items()]


def config_text(job: Job) -> str:
    """The resolved configuration as YAML."""
    return "".join(_yaml(key, json.dumps(value)) for key, value in job.settings.items())


@functools.lru_cache(maxsize=10_000)
def _yaml(key: str, value: str) -> str:
    """One setting as YAML; the runs of a sweep share most of theirs."""
    loaded = {key: json.loads(value)}
    return yaml.dump(loaded, Dumper=_DUMPER, sort_keys=False, allow_unicode=True)


def _short(value: Any) -> str:
    text = schema.shown(value).strip("'")
    return text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 1] + "…"


def tags(job: Job) -> dict[str, str]:
    """What is known of a run when it starts."""
    found = {
        "gdexp.kind": "run",
        "gdexp.overrides": " ".join(job.typed),
        "gdexp.config_hash": job.config_hash,
        "gdexp.version": gdexp.__version__,
        "mlflow.source.name": "gdexp",
        "mlflow.source.type": "LOCAL",
        "mlflow.user": _user(),
        **_git(),
    }
    if job.sweep_id is not None:
        found |= {"gdexp.sweep_id": job.sweep_id, "gdexp.job": str(job.number)}
    return {key: _short(value) for key, value in found.items()}


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
    found |= {f"coef/{name}": value for name, value in result.coefficients.items()}
    return found | result.scores


def table_row(job: Job, result: Result) -> dict[str, Any]:
    """A run in the table of its sweep, as it can be read back from the store."""
    return {
        "job": job.number,
        "run_id": result.run_id,
        "name": run_name(job),
        "outcome": result.outcome,
        **{param.key: param.value for param in params(job)},
        **{name: float(v[-1]) for name, v in result.trajectory.columns().items() if len(v)},
        **final_metrics(result),
    }


def final_tags(job: Job, result: Result) -> list[RunTag]:
    """How the run ended, and the note that says it in a sentence."""
    found = {
        "gdexp.outcome": result.outcome,
        "gdexp.reason": result.reason,
        "mlflow.note.content": note(job, result),
    }
    return [RunTag(key, _short(value)) for key, value in found.items()]


def note(job: Job, result: Result) -> str:
    """Command and result in a sentence or two."""
    loss = result.trajectory.loss
    text = f"`{job.command}` {result.outcome}: {result.reason}"
    if len(loss):
        text += f", loss {loss[0]:.6g} → {loss[-1]:.6g}, f({result.at}) = {result.prediction:.6g}"
    return f"{text}. {result.note}".rstrip()


def dataset_input(data: Prepared) -> DatasetInput:
    """The data set with its name, shape and digest, as MLflow's data set of a run."""
    table, shape = data.fitted, [data.rows]
    inputs = shape if table.width == 1 else [data.rows, table.width]
    entity = DatasetEntity(
        name=table.name,
        digest=data.digest,
        source_type="code",
        source=json.dumps({"tags": {"mlflow.source.name": "gdexp"}}),
        schema=json.dumps({"mlflow_tensorspec": _tensors(inputs, shape)}),
        profile=json.dumps({"features_shape": inputs, "targets_shape": shape}),
    )
    return DatasetInput(entity, [InputTag("mlflow.data.context", "training")])


def _tensors(inputs: list[int], targets: list[int]) -> dict[str, str]:
    def spec(shape: list[int]) -> str:
        inner = {"dtype": "float64", "shape": [-1, *shape[1:]]}
        return json.dumps([{"type": "tensor", "tensor-spec": inner}])

    return {"features": spec(inputs), "targets": spec(targets)}


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
