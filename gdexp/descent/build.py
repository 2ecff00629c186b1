"""Build the data and the four families from a checked configuration."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gdexp import manual
from gdexp.config.capabilities import is_linear, task_of
from gdexp.config.job import Job
from gdexp.config.validation import is_torch_based
from gdexp.data.dataset import Dataset
from gdexp.data.precision import check_fits, check_table
from gdexp.data.preparation import KEPT, Prepared, prepare
from gdexp.data.task import check_targets, ignored_class, outputs_of, targets
from gdexp.data.transforms import batches
from gdexp.descent import predictors
from gdexp.descent.fused import fuse
from gdexp.descent.generators import drawing, seeded
from gdexp.descent.instantiation import option, refusing, source
from gdexp.descent.loop import descend, descend_in_batches
from gdexp.errors import ConfigError
from gdexp.types import Array, Gradient, Iteration, Loss, Predictor, Task

Batches: TypeAlias = Callable[[int], Iterable[tuple[Array, Array]]]


@dataclass
class Components:
    """The data and the four families of a job, ready to descend.

    Attributes:
        data: the prepared data, in NumPy.
        task: what is predicted.
        x: the training inputs.
        y: the training targets.
        at: the input at which f(x) is printed, one row.
        kept: inputs and targets of the validation rows; None if there are none.
        scheduler: changes the learning rate after each epoch; None if it is constant.
        batches: the minibatches of an epoch; None for the full batch.
        batch_size: the rows of a minibatch.
        lr: the learning rate of the last update, if there is a scheduler.
        measures: further curves by name, functions that return one number after each epoch.
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
    measures: dict[str, Callable[[], float]] = field(default_factory=dict)

    def iterations(self, iters: int, first: int = 1) -> Iterator[Iteration]:
        """Descend from epoch ``first`` to epoch ``iters``."""
        families = *self.families(), self.updater
        if self.batches is None:
            stream = descend(self.x, self.y, *families, iters, first)
        else:
            stream = descend_in_batches(self.batches, *families, iters, first)
        return stream if self.scheduler is None else self._scheduled(stream)

    def families(self) -> tuple[Predictor, Gradient, Loss]:
        """Predictor, gradient and loss as the loop calls them: in one pass, if they can be."""
        families = self.predictor, self.gradient, self.loss
        return (None if self.batches else fuse(self.x, self.y, *families)) or families

    def _scheduled(self, stream: Iterator[Iteration]) -> Iterator[Iteration]:
        for iteration in stream:
            self.lr = self.scheduler.lr
            loss = iteration.loss
            self.scheduler.step(loss.detach() if hasattr(loss, "detach") else loss)
            yield iteration

    def prediction(self) -> float:
        """``f(predict_at)`` at the current parameters, in the data's own units.

        Of several outputs, the first.
        """
        return float(self.data.in_units(self.predict(self.at)).reshape(-1)[0])

    def predict(self, x: Array) -> Any:
        """Predictions for inputs prepared like ``x``, as a NumPy array."""
        return predictors.predict(self.predictor, x)

    def kept_loss(self) -> Array:
        """The loss on the validation rows."""
        assert self.kept is not None
        x, y = self.kept
        with predictors.inference(self.predictor, x):
            return self.loss(self.predictor(x), y)

    def state(self) -> dict[str, Any]:
        """Everything the next epoch depends on; see :meth:`load`."""
        state = {"predictor": predictors.state_of(self.predictor), "updater": self.updater.state()}
        if self.scheduler is not None:
            state["scheduler"] = self.scheduler.state()
        if hasattr(self.x, "detach"):
            import torch

            state["random"] = torch.get_rng_state()
        return state

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore a state; tensors are overwritten in place, because other objects share them."""
        self.updater.load(state["updater"])
        if self.scheduler is not None:
            self.scheduler.load(state["scheduler"])
        predictors.load_state(self.predictor, state["predictor"])
        if "random" in state:
            import torch

            torch.set_rng_state(state["random"])


def build(job: Job) -> Components:
    """Build the data and the four families, as tensors if one of the four is torch's.

    Raises:
        ConfigError: if a constructor rejects its settings, or the pieces do not fit together.
    """
    settings = job.settings
    task = task_of(settings)
    loss = option(job, "loss")
    ignored = ignored_class(loss, task)
    data = prepare(job, source, ignored)
    table = data.table or data.fitted
    check_targets(table, task, job.choices["loss"], ignored)
    outputs = outputs_of(table.y, task, loss)
    predictor = _predictor(job, data.fitted.width, outputs)
    gradient, updater = option(job, "gradient"), option(job, "updater")
    device = None
    if is_torch_based(job):
        from gdexp import pytorch

        device = pytorch.device_of(settings["device"])
        tracked = getattr(gradient, "tracked", False)
        predictor = pytorch.adopt(predictor, settings["dtype"], tracked, device)
        if not predictor.parameters:
            raise ConfigError(f"predictor={job.choices['predictor']}: it has no parameters to fit.")
        with refusing("updater"):
            updater, gradient = pytorch.adapt(updater, predictor, gradient, loss)
    else:
        predictor = predictors.in_precision(predictor, settings["dtype"])
    (x, y), kept = _arrays(data, task, settings["dtype"], device)
    at: Array = data.at(settings["predict_at"])
    large = np.maximum(np.abs(at), 1)  # a number that becomes 0 does no harm
    check_fits("predict_at: f(x) is printed at", large, settings["dtype"])
    at = _shared(at, settings["dtype"], device)
    built = Components(data, task, x, y, at, kept, predictor, gradient, loss, updater)
    built.batch_size = size = settings["data"].get("batch_size")
    if size:
        built.batches = partial(batches, x, y, size, settings["seed"])
    if settings["scheduler"]["_target_"] is not None:
        from gdexp.pytorch import schedule

        with refusing("scheduler"):
            built.scheduler = schedule(option(job, "scheduler"), updater)
    if is_linear(settings):
        option_name = f"predictor={job.choices['predictor']}"
        predictors.check_linear(predictor, option_name, data.fitted.width, outputs)
    _check_shape(job, built, outputs)
    return built


def rebuild(settings: Mapping[str, Any], features: int, outputs: int) -> Predictor:
    """Rebuild a run's predictor on the CPU, at its start values, without the run's data.

    Args:
        settings: the run's four families, dtype and seed.
        features: the number of features of x.
        outputs: the number of outputs of f(x).

    Raises:
        ConfigError: if its class cannot be imported or rejects its settings.
    """
    job = Job(dict(settings), {})
    if is_torch_based(job):
        from gdexp import pytorch

        return pytorch.adopt(_predictor(job, features, outputs), settings["dtype"], tracked=False)
    if settings["predictor"].get("init") == "torch":  # the draws will be replaced by a state
        job.settings["predictor"] = {**settings["predictor"], "init": 0.0}
    return predictors.in_precision(_predictor(job, features, outputs), settings["dtype"])


def _check_shape(job: Job, built: Components, outputs: int) -> None:
    x = built.x[:2]
    if hasattr(x, "clone"):  # a module may change it in place, and runs share the rows
        x = x.clone()
    with refusing("predictor"), drawing(job):
        shape = built.predict(x).shape
    expected = (len(x),) if outputs == 1 else (len(x), outputs)
    if shape != expected:
        raise ConfigError(
            f"predictor={job.choices['predictor']}: inputs of shape {tuple(x.shape)} give "
            f"predictions of shape {shape}, and loss={job.choices['loss']} needs {expected}."
        )


@lru_cache(maxsize=KEPT)
def _arrays(
    data: Prepared, task: Task, dtype: str, device: str | None
) -> tuple[tuple[Array, Array], tuple[Array, Array] | None]:
    """Inputs and targets of the training rows, and of the validation rows or None.

    NumPy arrays if the device is None, else tensors on the device. All jobs with the same data
    share them, so NumPy arrays are read-only.
    """

    def arrays(table: Dataset) -> tuple[Array, Array]:
        check_table(table, dtype)
        y = targets(table.y, task)
        return _shared(table.x, dtype, device), _shared(y, dtype, device)

    return arrays(data.fitted), None if data.kept is None else arrays(data.kept)


def _shared(array: NDArray[Any], dtype: str, device: str | None) -> Array:
    array = predictors.cast(array, dtype)
    if device is None:
        view = array.view()
        view.flags.writeable = False
        return view
    from gdexp import pytorch

    return pytorch.tensors(array, device=device)[0]


def _predictor(job: Job, features: int, outputs: int) -> Any:
    sizes = {"features": features, "outputs": outputs}
    if not (is_torch_based(job) or job.settings["predictor"].get("init") == "torch"):
        return option(job, "predictor", **sizes)
    from gdexp import pytorch

    predictor = option(job, "predictor", **sizes)
    if isinstance(predictor, manual.Predictor) and predictor.init == "torch":
        with seeded(job):
            predictor.parameters = pytorch.initial("b" in predictor.parameters, features)
    return predictor
