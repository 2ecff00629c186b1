"""From a checked configuration to what descends: the one place where options are instantiated."""

from __future__ import annotations

import inspect
import json
import os
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, TypeAlias

from hydra.utils import instantiate

from gdexp import manual
from gdexp.config.capabilities import is_linear, task_of
from gdexp.config.job import Job
from gdexp.config.settings import Preparation
from gdexp.config.validation import is_torch_based
from gdexp.data.preparation import Prepared, prepare
from gdexp.data.task import check_targets, outputs_of, targets
from gdexp.data.transforms import batches
from gdexp.descent import predictors
from gdexp.descent.fused import fuse
from gdexp.descent.loop import descend, descend_in_batches
from gdexp.errors import ConfigError, first_line
from gdexp.types import Array, Gradient, Iteration, Loss, Predictor, Task

Batches: TypeAlias = Callable[[int], Iterable[tuple[Array, Array]]]


@dataclass
class Components:
    """What a configuration has been built into, ready to descend.

    Attributes:
        data: the data as prepared, in NumPy.
        task: what is predicted.
        x: the inputs of the fit.
        y: the targets of the fit.
        at: where f is shown, one row.
        kept: inputs and targets kept out of the fit; None where there are none.
        scheduler: what changes the learning rate from epoch to epoch; None: nothing does.
        batches: the minibatches of an epoch; None: all rows at once.
        batch_size: the rows of a minibatch.
        lr: the learning rate of the last update, where a scheduler changes it.
    """

    data: Prepared
    task: Task
    x: Array
    y: Array
    at: Array
    kept: tuple[Array, Array] | None
    predictor: Predictor
    gradient: Gradient
    loss: Loss
    updater: Any
    scheduler: Any = None
    batches: Batches | None = None
    batch_size: int | None = None
    lr: float = 0.0

    def iterations(self, iters: int, first: int = 1) -> Iterator[Iteration]:
        """The descent from epoch first to epoch iters."""
        families = self.predictor, self.gradient, self.loss
        if self.batches is None:
            families = fuse(self.x, self.y, *families) or families
            stream = descend(self.x, self.y, *families, self.updater, iters, first)
        else:
            stream = descend_in_batches(self.batches, *families, self.updater, iters, first)
        return stream if self.scheduler is None else self._scheduled(stream)

    def _scheduled(self, stream: Iterator[Iteration]) -> Iterator[Iteration]:
        for iteration in stream:
            self.lr = self.scheduler.lr
            loss = iteration.loss
            self.scheduler.step(loss.detach() if hasattr(loss, "detach") else loss)
            yield iteration

    def prediction(self) -> float:
        """``f(predict_at)`` with the parameters as they are now: the first of its numbers."""
        return float(self.predict(self.at).reshape(-1)[0])

    def predict(self, x: Array) -> Any:
        """What the predictor gives for inputs as the fit has them, as a NumPy array."""
        return predictors.predict(self.predictor, x)

    def kept_loss(self) -> Array:
        """The loss on the rows kept out of the fit."""
        assert self.kept is not None
        x, y = self.kept
        with predictors.judging(self.predictor, x):
            return self.loss(self.predictor(x), y)

    def state(self) -> dict[str, Any]:
        """Everything the next epoch depends on; see :meth:`load`."""
        found: dict[str, Any] = {"predictor": predictors.state_of(self.predictor)}
        parts = {"updater": self.updater, "scheduler": self.scheduler}
        found |= {name: part.state() for name, part in parts.items() if part is not None}
        if hasattr(self.x, "detach"):
            from gdexp.pytorch import random_state

            found["random"] = random_state()
        return found

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a state; tensors keep their place in memory, which others share."""
        for name, part in (("updater", self.updater), ("scheduler", self.scheduler)):
            if name in state:
                part.load(state[name])
        predictors.load(self.predictor, state["predictor"])
        if "random" in state:
            from gdexp.pytorch import set_random_state

            set_random_state(state["random"])


def build(job: Job) -> Components:
    """Build the data and the four families, as tensors where one of the four is torch's.

    Raises:
        ConfigError: a constructor refuses its settings, or the pieces do not fit together.
    """
    settings = job.settings
    task = task_of(settings)
    data = prepare(job, _source(job))
    tables = [data.fitted] if data.kept is None else [data.fitted, data.kept]
    known = (data.table or data.fitted).y
    check_targets(known, task, job.choices["loss"])
    outputs = outputs_of(known, task)
    predictor = _predictor(job, data.fitted.width, outputs)
    gradient, loss, updater = (_instantiate(job, f) for f in ("gradient", "loss", "updater"))
    rows: list[Array] = [a for table in tables for a in (table.x, targets(table.y, task))]
    arrays: list[Array] = [data.at(settings["predict_at"]), *rows]
    arrays = [predictors.cast(a, settings["dtype"]) for a in arrays]
    if is_torch_based(job):
        from gdexp import pytorch

        device = pytorch.device_of(settings["device"])
        arrays = list(pytorch.tensors(*arrays, device=device))
        tracked = getattr(gradient, "tracked", False)
        predictor = pytorch.adopt(predictor, settings["dtype"], tracked, device)
        with _refusing("updater"):
            updater, gradient = pytorch.adapt(updater, predictor, gradient, loss)
    else:
        predictor = predictors.in_precision(predictor, settings["dtype"])
    at, x, y, *kept = arrays
    families = predictor, gradient, loss, updater
    built = Components(data, task, x, y, at, (kept[0], kept[1]) if kept else None, *families)
    built.batch_size = size = settings["data"].get("batch_size")
    if size:
        built.batches = partial(batches, x, y, size, settings["seed"])
    if settings["scheduler"]["_target_"] is not None:
        from gdexp.pytorch import schedule

        with _refusing("scheduler"):
            built.scheduler = schedule(_instantiate(job, "scheduler"), updater)
    _check_linear(job, built)
    _check_shape(job, built, outputs)
    return built


def rebuild(settings: Mapping[str, Any], features: int, outputs: int) -> Predictor:
    """A run's predictor without its data, at its start and on the CPU: give it a state to load.

    Args:
        settings: of the run: the four families, dtype and seed.
        features: how many numbers an x has.
        outputs: how many numbers f(x) has.

    Raises:
        ConfigError: its class cannot be imported, or refuses its settings.
    """
    job = Job(dict(settings), {})
    if is_torch_based(job):
        from gdexp import pytorch

        return pytorch.adopt(_predictor(job, features, outputs), settings["dtype"], tracked=False)
    if settings["predictor"].get("init") == "torch":  # whatever it drew, a state takes its place
        job.settings["predictor"] = {**settings["predictor"], "init": 0.0}
    return predictors.in_precision(_predictor(job, features, outputs), settings["dtype"])


def _check_shape(job: Job, built: Components, outputs: int) -> None:
    x = built.x[:2]
    with _refusing("predictor"):
        found = tuple(built.predict(x).shape)
    expected = (len(x),) if outputs == 1 else (len(x), outputs)
    if found != expected:
        raise ConfigError(
            f"predictor={job.choices['predictor']}: inputs of shape {tuple(x.shape)} give "
            f"predictions of shape {found}, and loss={job.choices['loss']} needs {expected}."
        )


def _check_linear(job: Job, built: Components) -> None:
    """A class of the user's own that declares ``linear`` has the parameters of a linear one."""
    names = [*built.predictor.parameters]
    if is_linear(job.settings) and names not in (["w"], ["w", "b"], ["b", "w"]):
        raise ConfigError(
            f"predictor={job.choices['predictor']} declares linear = True, so its parameters must "
            f"be w and, with a bias, b, not {', '.join(names) or 'none'}."
        )


def _source(job: Job) -> Any:
    """The data source, made once for the same settings: a run is built twice, at first to check."""
    node = job.settings["data"]
    own = {key: value for key, value in node.items() if key not in vars(Preparation())}
    path = own.get("path")
    changed = os.stat(path).st_mtime_ns if isinstance(path, str) and os.path.exists(path) else 0
    with _refusing("data"):
        return _made(json.dumps(own), changed)


@lru_cache(maxsize=1)
def _made(node: str, changed: int) -> Any:
    return instantiate(json.loads(node), _convert_="all")


def _predictor(job: Job, features: int, outputs: int) -> Any:
    sizes = {"features": features, "outputs": outputs}
    if not (is_torch_based(job) or job.settings["predictor"].get("init") == "torch"):
        return _instantiate(job, "predictor", **sizes)
    from gdexp import pytorch

    seed = job.settings["seed"]
    with pytorch.seeded(seed):
        predictor = _instantiate(job, "predictor", **sizes)
    if isinstance(predictor, manual.Predictor) and predictor.init == "torch":
        predictor.parameters = pytorch.initial("b" in predictor.parameters, seed, features)
    return predictor


def _instantiate(job: Job, family: str, **sizes: int) -> Any:
    """The option of a family; a constructor that takes a size is told it."""
    node = job.settings[family]
    with _refusing(family):
        if sizes:
            taken = inspect.signature(pkgutil.resolve_name(node["_target_"])).parameters
            sizes = {name: n for name, n in sizes.items() if name in taken and name not in node}
        return instantiate(node, **sizes, _convert_="all")


@contextmanager
def _refusing(family: str) -> Iterator[None]:
    """Turn a constructor's complaint into a sentence about the family."""
    try:
        yield
    except ConfigError:
        raise
    except Exception as error:
        cause = error.__cause__ or error
        if isinstance(cause, ConfigError):
            raise cause from None
        raise ConfigError(f"{family}: {first_line(cause)}") from error
