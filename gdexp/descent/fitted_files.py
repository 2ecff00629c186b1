"""Read a fitted predictor back from a run's files.

The bytes may be damaged, and no code in them is run. Errors in them are ValueErrors whose messages
complete the sentence "predictor.npz is damaged: …".
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from gdexp.config import schema
from gdexp.config.capabilities import task_of
from gdexp.config.trust import ONLY_OURS, Trust, check
from gdexp.data.categories import Categories, Encoding
from gdexp.data.transforms import Scaling, TargetScaling
from gdexp.descent.archive import check_mapping, take, unpack
from gdexp.descent.fitted import NEEDED, Fitted
from gdexp.descent.sizes import check_parameters, check_sizes
from gdexp.errors import ConfigError, brief, excerpt, first_line
from gdexp.types import Task

PARTS = ("settings", "features", "outputs", "scaling", "state")
DEEPEST = 30  # levels of a configuration
LARGEST = 2**22  # bytes of a configuration
PREFIX = "param/"  # of the trajectory's columns that hold parameters


def read_fitted(content: bytes, trust: Trust = ONLY_OURS) -> Fitted:
    """Unpack what :meth:`gdexp.descent.fitted.Fitted.packed` returned.

    Raises:
        ConfigError: if the predictor's class is not trusted, cannot be imported or rejects its
            settings.
        ValueError: if the content is damaged.
    """
    parts = unpack(content)
    settings, features, outputs, scaling, state = take(parts, PARTS)
    _check_settings(check_mapping(settings, "settings"), NEEDED, trust)
    if not (_are_names(features) and features):
        raise ValueError("its features are not a list of names")
    if type(outputs) is not int or outputs < 1:
        raise ValueError(f"its number of outputs is {excerpt(outputs)}")
    if scaling is not None:
        scaling = _scaling(scaling, features)
    check_sizes(settings, check_mapping(state, "its state"))
    check_parameters(settings, state, len(features), outputs)
    fitted = Fitted(
        settings,
        features,
        outputs,
        scaling,
        state,
        _target_scaling(parts.get("target_scaling")),
        _encoding(parts, features),
        _classes(parts.get("classes", ()), outputs, task_of(settings)),
    )
    _check_predictions(fitted)
    return fitted


def read_config(content: bytes, trust: Trust | None = ONLY_OURS) -> dict[str, Any]:
    """The settings in a run's ``config.yaml``; of no trust (None), if nothing is built from them.

    Raises:
        UntrustedError: if they name a class that is not trusted.
        ValueError: if the content is damaged, or lacks a setting that every run has.
    """
    import yaml

    try:
        if len(content) > LARGEST:
            raise ValueError(f"it has {len(content)} bytes, too many to be a run's")
        text = content.decode()
        depth = 0
        for event in yaml.parse(text, yaml.SafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if isinstance(event, yaml.AliasEvent) or depth > DEEPEST:
                raise ValueError("it has aliases or is nested too deeply to be a run's")
        settings = yaml.safe_load(text)
    except ValueError as error:
        raise ValueError(first_line(error)) from error
    except Exception as error:  # a damaged file may raise anything
        raise ValueError(f"it is not YAML ({' '.join(str(error).split())[:200]})") from error
    _check_settings(check_mapping(settings, "it"), (*NEEDED, "data", "iters"), trust)
    return dict(settings)


def read_last_epoch(content: bytes, iters: int) -> dict[str, float]:
    """The parameters after the last epoch of a ``trajectory.parquet``; none if it has no epoch.

    Raises:
        ValueError: if the content is damaged, is not a trajectory, or has more than iters epochs.
    """
    file = open_trajectory(content, iters)
    columns, epochs = file.schema_arrow.names, file.metadata.num_rows
    names = [name for name in columns if name.startswith(PREFIX)]
    if not names or "epoch" not in columns:
        raise ValueError(f"it has no column {PREFIX + 'w' if 'epoch' in columns else 'epoch'}")
    if epochs == 0:
        return {}
    last = _last_row(file, ["epoch", *names])
    if last["epoch"] != epochs:
        raise ValueError(f"its last epoch is not {epochs}, the number of its rows")
    for name in names:
        if not isinstance(last[name], float) or not math.isfinite(last[name]):
            raise ValueError(f"the last value of its column {name!r} is {excerpt(last[name])}")
    return {name.removeprefix(PREFIX): last[name] for name in names}


def open_trajectory(content: bytes, iters: int) -> Any:
    """Open a ``trajectory.parquet``; returns pyarrow's ParquetFile, of which no row has been read.

    Raises:
        ValueError: if the content is damaged, or has more than iters epochs: a few bytes may stand
            for any number of rows.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(pa.BufferReader(content))
        data = file.metadata
        rows = max(
            data.num_rows, sum(data.row_group(i).num_rows for i in range(data.num_row_groups))
        )
    except Exception as error:  # a damaged file may raise anything
        raise ValueError(f"it cannot be read as Parquet ({brief(error)})") from error
    if rows > iters:
        raise ValueError(f"it has {rows} epochs, more than iters={iters}")
    return file


def _last_row(file: Any, wanted: list[str]) -> dict[str, Any]:
    """The last row of some columns.

    Only the last group of rows is read, in this thread: one of Arrow's may be the last to hold the
    bytes, and aborts the process if it lets go of them while the interpreter exits.
    """
    try:
        group = file.read_row_group(file.num_row_groups - 1, columns=wanted, use_threads=False)
        return {name: group[name][-1].as_py() for name in wanted}
    except Exception as error:  # a damaged file may raise anything
        raise ValueError(f"it cannot be read as Parquet ({brief(error)})") from error


def _check_settings(
    settings: Mapping[str, Any], needed: tuple[str, ...], trust: Trust | None
) -> None:
    """Raise ValueError if a setting is missing, out of its range, or names untrusted code."""
    check(settings, trust)
    for key in needed:
        if key not in settings:
            raise ValueError(f"it has no setting {key!r}")
        if key in schema.HINTS:
            try:
                schema.check(key, settings[key], schema.HINTS[key])
            except ConfigError as error:
                raise ValueError(str(error).partition(". ")[0].rstrip(".")) from error
        elif not isinstance(check_mapping(settings[key], key).get("_target_"), str):
            raise ValueError(f"{key} has no _target_")


def _check_predictions(fitted: Fitted) -> None:
    """Rebuild the predictor, restore its state and predict one row.

    Raises:
        ConfigError: if its class cannot be imported or rejects its settings.
        ValueError: if the state does not fit, or the prediction has the wrong shape.
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


def _scaling(pair: Any, features: tuple[str, ...]) -> Scaling:
    if not (isinstance(pair, tuple) and len(pair) == 2):
        raise ValueError("its scaling is not a mean and a scale")
    for array in pair:
        if np.shape(array) != (len(features),) or np.asarray(array).dtype.kind != "f":
            raise ValueError(f"its scaling is not {len(features)} numbers")
        if not np.isfinite(array).all():
            raise ValueError("its scaling is not finite")
    mean, scale = pair
    if not (scale > 0).all():
        raise ValueError("its scaling is not positive")
    return Scaling(mean, scale, features)


def _target_scaling(pair: Any) -> TargetScaling | None:
    if pair is None:
        return None
    if not (isinstance(pair, tuple) and len(pair) == 2 and all(type(v) is float for v in pair)):
        raise ValueError("its target's scaling is not two numbers")
    if not (math.isfinite(pair[0]) and 0 < pair[1] < math.inf):
        raise ValueError("its target's scaling is not finite and positive")
    return TargetScaling(*pair)


def _encoding(parts: Mapping[str, Any], features: tuple[str, ...]) -> Encoding | None:
    if "columns" not in parts and "categories" not in parts:
        return None
    columns, categories = take(parts, ("columns", "categories"))
    if not _are_names(columns):
        raise ValueError("its columns are not a list of names")
    for texts in check_mapping(categories, "its categories").values():
        if not _are_names(texts):
            raise ValueError("its categories are not lists of texts")
    encoding = Encoding(columns, categories)
    if encoding.features != features:
        raise ValueError("its categories do not give its features")
    return encoding


def _classes(names: Any, outputs: int, task: Task) -> Categories:
    expected = {"binary": 2, "classes": outputs}.get(task, 0)
    if not _are_names(names) or (names and len(names) < expected) or (names and not expected):
        raise ValueError(f"its classes are not {expected} names")
    return tuple(names)


def _are_names(names: Any) -> bool:
    return isinstance(names, tuple) and all(isinstance(name, str) for name in names)
