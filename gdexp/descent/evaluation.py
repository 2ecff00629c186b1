"""What a fit is worth: coefficients in the data's own units, and scores."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np

from gdexp.config.capabilities import is_linear
from gdexp.config.job import Job
from gdexp.data.task import scores
from gdexp.descent.build import Components
from gdexp.types import Array

INTERCEPT = "intercept"
LONGEST = 200  # characters of a feature in a metric's name, of which MLflow takes 250


def coefficients(job: Job, built: Components) -> dict[str, float]:
    """The coefficients of a linear predictor by feature, and the intercept where there is one.

    A feature standardized as ``(x - m) / s`` has the coefficient ``w / s``; the intercept is
    ``b - sum(w * m / s)``.
    """
    if not is_linear(job.settings) or built.task == "classes":
        return {}
    parameters = built.predictor.parameters
    w = _numbers(parameters["w"])
    b = float(_numbers(parameters["b"])[0]) if "b" in parameters else None
    if built.data.scaling is not None:
        w, b = built.data.scaling.undo(w, b)
    names = metric_names(built.data.fitted.features)
    found = {name: float(value) for name, value in zip(names, w, strict=True)}
    return found if b is None else {**found, INTERCEPT: float(b)}


def metric_names(features: Iterable[str]) -> list[str]:
    """The names of features as far as MLflow allows them in a metric's name, no two alike."""
    found: dict[str, None] = {INTERCEPT: None}
    for feature in features:
        name = re.sub(r"[^\w\-. :]", "_", feature)[:LONGEST]
        if not name.strip("."):
            name = "_" * len(name)
        while name in found:
            name += "_"
        found[name] = None
    return list(found)[1:]


def final_scores(job: Job, built: Components) -> dict[str, float]:
    """Scores on the rows that were fitted, and on those that were kept out of the fit.

    Compressed rows are no rows of the table: they have none.
    """
    if not job.settings["data"].get("metrics", True) or built.data.compressed:
        return {}
    parts = {"final": (built.x, built.data.fitted)}
    if built.kept is not None and built.data.kept is not None:
        parts["validation"] = (built.kept[0], built.data.kept)
    found: dict[str, float] = {}
    for prefix, (x, table) in parts.items():
        y_pred = built.predict(x)
        if np.isfinite(y_pred).all():
            scored = scores(table.y, y_pred, built.task)
            found |= {f"{prefix}/{name}": value for name, value in scored.items()}
    return found


def _numbers(value: Array) -> np.ndarray:
    plain = value.detach().cpu().numpy() if hasattr(value, "detach") else value
    return np.reshape(plain, -1)
