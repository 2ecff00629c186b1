"""Read a fitted predictor back from a run's files.

Every function takes bytes that may be damaged and runs no code of theirs. What is wrong is a
ValueError whose message completes the sentence "predictor.npz is damaged: …".
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from gdexp.config import schema
from gdexp.data.transforms import Scaling
from gdexp.descent.archive import unpack
from gdexp.descent.fitted import NEEDED, Fitted
from gdexp.errors import ConfigError, first_line

PARTS = ("settings", "features", "outputs", "scaling", "state")
DEEPEST = 30  # levels of a configuration
PREFIX = "param/"  # of a trajectory's columns


def read_fitted(content: bytes) -> Fitted:
    """The predictor that :meth:`gdexp.descent.fitted.Fitted.packed` has written.

    Raises:
        ConfigError: its class cannot be imported, or refuses its settings.
        ValueError: the content is damaged.
    """
    parts = _mapping(unpack(content), "it")
    for name in PARTS:
        if name not in parts:
            raise ValueError(f"it has no {name}")
    settings, features, outputs, scaling, state = (parts[name] for name in PARTS)
    check_settings(_mapping(settings, "settings"), NEEDED)
    if not (features and isinstance(features, tuple) and all(isinstance(f, str) for f in features)):
        raise ValueError("its features are not a list of names")
    if type(outputs) is not int or outputs < 1:
        raise ValueError(f"its number of outputs is {outputs!r}")
    fitted = Fitted(
        settings,
        features,
        outputs,
        None if scaling is None else _scaling(scaling, features),
        _mapping(state, "state"),
    )
    check_predictions(fitted)
    return fitted


def read_config(content: bytes) -> dict[str, Any]:
    """The settings in a run's ``config.yaml``.

    Raises:
        ValueError: the content is damaged, or lacks what every run has.
    """
    import yaml

    try:
        text = content.decode()
        depth = 0
        for event in yaml.parse(text, yaml.SafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if isinstance(event, yaml.AliasEvent) or depth > DEEPEST:
                raise ValueError("it has aliases or is nested too deeply, and no run's is")
        settings = yaml.safe_load(text)
    except ValueError as error:
        raise ValueError(first_line(error)) from error
    except Exception as error:  # a damaged file may raise anything
        raise ValueError(f"it is not YAML ({' '.join(str(error).split())[:200]})") from error
    check_settings(_mapping(settings, "it"), (*NEEDED, "data", "iters"))
    return dict(settings)


def read_last_epoch(content: bytes, iters: int) -> dict[str, float]:
    """The parameters after the last epoch of a ``trajectory.parquet``, by name.

    Args:
        content: of the file.
        iters: how many epochs it has at most.

    Returns:
        Each parameter's value; nothing if there are no epochs.

    Raises:
        ValueError: the content is damaged, or is not a trajectory.
    """
    columns, epochs, last = _last_row(content)
    names = [name for name in columns if name.startswith(PREFIX)]
    if not names or "epoch" not in columns:
        raise ValueError(f"it has no column {PREFIX + 'w' if 'epoch' in columns else 'epoch'}")
    if epochs > iters:
        raise ValueError(f"it has {epochs} epochs, more than iters={iters}")
    if epochs == 0:
        return {}
    if last["epoch"] != epochs:
        raise ValueError(f"its last epoch is not {epochs}, the number of its rows")
    for name in names:
        if not isinstance(last[name], float) or not math.isfinite(last[name]):
            raise ValueError(f"the last value of its column {name!r} is {last[name]!r}")
    return {name.removeprefix(PREFIX): last[name] for name in names}


def _last_row(parquet: bytes) -> tuple[list[str], int, dict[str, Any]]:
    """The columns of a Parquet file, how many rows it has, and the last row's epoch and parameters.

    Only the last group of rows is read, in this thread: one of Arrow's may be the last to hold the
    bytes, and aborts the process if it lets go of them while the interpreter exits.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(pa.BufferReader(parquet))
        columns, rows = file.schema_arrow.names, file.metadata.num_rows
        wanted = [name for name in columns if name == "epoch" or name.startswith(PREFIX)]
        if rows == 0 or not wanted:
            return columns, rows, {}
        last = file.num_row_groups - 1
        group = file.read_row_group(last, columns=wanted, use_threads=False)
        return columns, rows, {name: group[name][-1].as_py() for name in wanted}
    except Exception as error:  # a damaged file may raise anything
        raise ValueError(f"it cannot be read as Parquet ({first_line(error)})") from error


def check_settings(settings: Mapping[str, Any], needed: tuple[str, ...]) -> None:
    """Refuse settings that lack one of these, or give one a value that no run has.

    Raises:
        ValueError: which one.
    """
    for key in needed:
        if key not in settings:
            raise ValueError(f"it has no setting {key!r}")
        if key in schema.HINTS:
            _check_range(key, settings[key])
        elif not isinstance(_mapping(settings[key], key).get("_target_"), str):
            raise ValueError(f"{key} names no _target_")
    for target in _targets(settings["predictor"]):
        if str(target).partition(".")[0] in sys.stdlib_module_names:
            raise ValueError(f"predictor: {target} is not a predictor")


def check_predictions(fitted: Fitted) -> None:
    """Rebuild the predictor, give it its state and ask it for one row.

    Raises:
        ConfigError: its class cannot be imported, or refuses its settings.
        ValueError: the state does not fit, or the prediction has another shape.
    """
    row = np.zeros((1, len(fitted.features)))
    try:
        shape = np.shape(fitted(row))
    except ConfigError:
        raise
    except Exception as error:  # torch and a user's own predictor may raise anything
        reason = " ".join(str(error).split())[:200] or repr(error)
        raise ValueError(f"its state does not fit the predictor ({reason})") from error
    expected = (1,) if fitted.outputs == 1 else (1, fitted.outputs)
    if shape != expected:
        raise ValueError(f"it predicts shape {shape} for one row, not {expected}")


def _check_range(key: str, value: Any) -> None:
    try:
        schema.check(key, value, schema.HINTS[key])
    except ConfigError as error:
        raise ValueError(str(error).partition(". ")[0].rstrip(".")) from error


def _mapping(value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{what} is not a mapping")
    return value


def _scaling(pair: Any, features: tuple[str, ...]) -> Scaling:
    if not (isinstance(pair, tuple) and len(pair) == 2):
        raise ValueError("its scaling is not a mean and a scale")
    for array in pair:
        shape = np.shape(array)
        if shape != (len(features),) or np.asarray(array).dtype.kind != "f":
            raise ValueError(f"its scaling is not {len(features)} numbers")
        if not np.isfinite(array).all():
            raise ValueError("its scaling is not finite")
    mean, scale = pair
    if not (scale > 0).all():
        raise ValueError("its scaling is not positive")
    return Scaling(mean, scale, features)


def _targets(node: Any) -> Iterator[Any]:
    """Every ``_target_`` in a component's settings, nested ones too."""
    if isinstance(node, Mapping):
        if "_target_" in node:
            yield node["_target_"]
        node = node.values()
    if not isinstance(node, str):
        for inner in node if isinstance(node, Iterable) else ():
            yield from _targets(inner)
