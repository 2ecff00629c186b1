"""Coefficients in the data's own units, and scores."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np

from gdexp.config.capabilities import is_linear
from gdexp.config.job import Job
from gdexp.data.task import scores
from gdexp.descent.build import Components
from gdexp.descent.predictors import to_numpy

INTERCEPT = "intercept"
LONGEST = 200  # characters of a feature's name in a metric's; MLflow allows 250 in all


def coefficients(job: Job, built: Components) -> dict[str, float]:
    """The coefficients of a linear predictor by feature, and its intercept if it has a bias.

    A feature standardized as ``(x - m) / s`` has the coefficient ``w / s``; the intercept is
    ``b - sum(w * m / s)``.
    """
    if not is_linear(job.settings) or built.task == "classes":
        return {}
    parameters = built.predictor.parameters
    w = to_numpy(parameters["w"]).reshape(-1)
    b = float(to_numpy(parameters["b"]).item()) if "b" in parameters else None
    if built.data.scaling is not None:
        w, b = built.data.scaling.undo(w, b)
    names = metric_names(built.data.fitted.features)
    by_name = {name: float(value) for name, value in zip(names, w, strict=True)}
    return by_name if b is None else {**by_name, INTERCEPT: float(b)}


def metric_names(features: Iterable[str]) -> list[str]:
    """The names of features as MLflow allows them in a metric's name, made unique."""
    names: dict[str, None] = {INTERCEPT: None}
    for feature in features:
        name = re.sub(r"[^\w\-. :]", "_", feature)[:LONGEST]
        if not name.strip("."):
            name = "_" * len(name)
        while name in names:
            name += "_"
        names[name] = None
    return list(names)[1:]


def final_scores(job: Job, built: Components) -> dict[str, float]:
    """Scores on the training and the validation rows; none if the table was compressed."""
    if not job.settings["data"].get("metrics", True) or built.data.compressed:
        return {}
    parts = {"final": (built.x, built.data.fitted)}
    if built.kept is not None and built.data.kept is not None:
        parts["validation"] = (built.kept[0], built.data.kept)
    result: dict[str, float] = {}
    for prefix, (x, table) in parts.items():
        y_pred = built.predict(x)
        if np.isfinite(y_pred).all():
            scored = scores(table.y, y_pred, built.task)
            result |= {f"{prefix}/{name}": value for name, value in scored.items()}
    return result
