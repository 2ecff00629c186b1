"""One update before a run starts, so that what only an update reveals is refused in time.

It is made by a second set of components on a few rows. The run's own components, and every random
generator, stay as they are. An exception that a user's own code raises is left to the run, which
shows its traceback, and so is an overflow, with which the run diverges.
"""

from __future__ import annotations

import contextlib
import io
import json
import traceback
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gdexp.config.capabilities import resolve
from gdexp.config.job import Job
from gdexp.config.schema import FAMILIES
from gdexp.descent import generators, predictors
from gdexp.descent.archive import check_mapping
from gdexp.descent.build import Components, build
from gdexp.descent.numbers import is_overflow
from gdexp.descent.signals import is_of_signal
from gdexp.errors import ConfigError, brief
from gdexp.types import Array, Parameters

ROWS = 32  # a few; if they do not suffice, the update is tried on all of its rows
KEPT = 10_000
PACKAGE = Path(__file__).parents[1]
LEAF = "a leaf Variable that requires grad is being used in an in-place operation"  # torch's words
LIBRARIES = ("torch", "numpy")  # folders of site-packages

_passed: set[Any] = set()


class OwnError(Exception):
    """A user's own code raised."""


def check(job: Job, built: Components) -> None:
    """Refuse a run whose first update fails, or whose schedule ends before the run.

    Each choice of components is tried once.

    Args:
        job: the run.
        built: its components, which stay as they are.

    Raises:
        ConfigError: names the family and what is wrong with it.
    """
    key, scheduled = _key(job, built), built.scheduler is not None
    if key in _passed:
        return
    rows = len(built.y)
    if built.batch_size:  # those of the last minibatch, which may be smaller
        rows = rows % built.batch_size or built.batch_size
    with contextlib.suppress(OwnError), undisturbed(job):
        try:
            _update(job, build(job), min(rows, ROWS))
        except ConfigError:
            if rows <= ROWS:
                raise
            _update(job, build(job), rows)
        if scheduled:
            _check_end(job, built)
    if len(_passed) >= KEPT:
        _passed.clear()
    _passed.add(key)


def check_state(job: Job, state: Mapping[str, Any]) -> None:
    """Make two updates from the state of a checkpoint, by a second set of components.

    Raises:
        Exception: whatever the components raise if the state is damaged.
    """
    with undisturbed(job):
        built = build(job)
        if "best" in state:
            predictors.load_state(built.predictor, state["best"])
        built.load(state)
        generators.load(job, check_mapping(state.get("generators", {}), "generators"))
        size = built.batch_size or len(built.y)
        for _ in range(2):  # the second uses what the first and its scheduler have changed
            _update(job, built, min(size, len(built.y)))
            if built.scheduler is not None:
                built.scheduler.step(0.0)
        built.state()
        for name, parameter in built.predictor.parameters.items():
            if predictors.to_numpy(parameter).dtype.kind not in "fiu":
                raise ValueError(f"{name} does not hold numbers")


def _key(job: Job, built: Components) -> Any:
    """What the outcome of a trial depends on; the classes change if a module is reloaded."""
    settings = job.settings
    nodes = {name: settings[name] for name in (*FAMILIES, "scheduler", "dtype", "device")}
    nodes["updater"] = {k: v for k, v in nodes["updater"].items() if v != settings["lr"]}
    iters = settings["iters"] if built.scheduler is not None else None
    classes = tuple(resolve(settings[family]["_target_"]) for family in FAMILIES)
    return json.dumps(nodes), iters, built.batch_size, built.x.shape, built.task, classes


@contextlib.contextmanager
def undisturbed(job: Job) -> Iterator[None]:
    """With the run's seed, without output, warnings and lasting draws; sys.exit ends no process.

    Raises:
        OwnError: a component called sys.exit, or raised KeyboardInterrupt.
    """
    with (
        _contained(),
        generators.seeded(job),  # no other thread runs, whose stdout and warnings are the same
        warnings.catch_warnings(),
        np.errstate(all="ignore"),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def _contained() -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        if isinstance(error, Exception) or is_of_signal(error):
            raise
        raise OwnError(brief(error)) from error


@contextlib.contextmanager
def _blaming(job: Job, family: str) -> Iterator[None]:
    """Turn an exception into a ConfigError that names the family, unless own code raised it."""
    try:
        yield
    except ConfigError:
        raise
    except Exception as error:
        if LEAF in str(error):
            raise ConfigError(_of_leaf(job, family)) from error
        if _is_own(error) or is_overflow(error):  # a run whose numbers overflow diverges
            raise OwnError from error
        raise ConfigError(f"{family}={job.choices[family]}: {brief(error)}.") from error


def _of_leaf(job: Job, family: str) -> str:
    """That a family changes in place what autograd tracks, and what to do about it."""
    remedy = "Write the update within `with torch.no_grad():`."
    if job.settings[family].get("differentiable"):
        remedy = f"Type {family}.differentiable=false."
    return (
        f"{family}={job.choices[family]}: it updates tensors that autograd tracks in place, and "
        f"torch refuses that. {remedy}"
    )


def _is_own(error: Exception) -> bool:
    """Whether the innermost frame belongs neither to gdexp nor to a library it uses."""
    *_, last = traceback.extract_tb(error.__traceback__)
    path = Path(last.filename)
    return PACKAGE not in path.parents and not {*LIBRARIES} & {*path.parts}


def _update(job: Job, built: Components, rows: int) -> None:
    x, y, predictor = built.x[:rows], built.y[:rows], built.predictor
    with _blaming(job, "predictor"):
        y_pred = predictor(x)
    with _blaming(job, "loss"):
        value = built.loss(y_pred, y)
    _check_loss(job, built, y_pred, value)
    with _blaming(job, "gradient"):
        gradients = built.gradient(predictor.parameters, x, y, y_pred, value)
    _check_gradients(job, predictor.parameters, gradients)
    shapes = {name: np.shape(value) for name, value in predictor.parameters.items()}
    with _blaming(job, "updater"):
        built.updater(predictor.parameters, gradients)
    for name, shape in shapes.items():
        if (new := np.shape(predictor.parameters[name])) != shape:
            raise ConfigError(
                f"updater={job.choices['updater']}: it changes the shape of {name} from {shape} "
                f"to {new}."
            )


def _check_loss(job: Job, built: Components, y_pred: Array, value: Any) -> None:
    loss = f"loss={job.choices['loss']}"
    kind = getattr(getattr(value, "dtype", None), "kind", None)
    if not (hasattr(value, "detach") or isinstance(value, int | float) or kind in ("f", "i", "b")):
        raise ConfigError(f"{loss}: it returns {value!r:.60}, and a loss is one number.")
    if np.prod(shape := np.shape(value)) != 1:
        raise ConfigError(
            f"{loss}: it returns an array of shape {tuple(shape)}, and a loss is one number. "
            "Return for example its mean()."
        )
    if not getattr(built.gradient, "tracked", False) or getattr(value, "requires_grad", False):
        return
    if not getattr(y_pred, "requires_grad", False):
        raise ConfigError(
            f"predictor={job.choices['predictor']}: {_cut('its predictions', 'its parameters')}"
        )
    raise ConfigError(f"{loss}: {_cut('the number it returns', 'y_pred')}")


def _cut(result: str, origin: str) -> str:
    return (
        f"autograd cannot follow {result} back to {origin}. Compute with tensors, without item(), "
        "detach(), no_grad() or NumPy."
    )


def _check_gradients(job: Job, parameters: Parameters, gradients: Any) -> None:
    source = f"gradient={job.choices['gradient']}"
    if not isinstance(gradients, Mapping) or not parameters.keys() <= gradients.keys():
        given = ", ".join(gradients) if isinstance(gradients, Mapping) else f"{gradients!r:.60}"
        raise ConfigError(
            f"{source}: it returns {given or 'nothing'}, and the parameters are "
            f"{', '.join(parameters)}. Return a dict with a gradient for each."
        )
    for name, parameter in parameters.items():
        if gradients[name] is None:
            raise ConfigError(
                f"predictor={job.choices['predictor']}: the loss does not depend on the parameter "
                f"{name}, so it has no gradient. Use it in the predictions, or remove it."
            )
        shape, expected = np.shape(gradients[name]), np.shape(parameter)
        if np.prod(shape) not in (1, np.prod(expected)):
            raise ConfigError(
                f"{source}: the gradient of {name} has shape {tuple(shape)}, and {name} has shape "
                f"{tuple(expected)}."
            )


def _check_end(job: Job, built: Components) -> None:
    iters = job.settings["iters"]
    try:
        built.scheduler.try_step(iters)
    except Exception as error:
        if _is_own(error):
            raise OwnError from error
        raise ConfigError(
            f"scheduler: {brief(error)}. The schedule must last for the {iters} epochs of "
            f"iters={iters}."
        ) from error
