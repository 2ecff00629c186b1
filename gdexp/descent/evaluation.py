"""Coefficients in the data's own units, and scores."""

from __future__ import annotations

import numpy as np

from gdexp.config.capabilities import is_linear
from gdexp.config.job import Job
from gdexp.data.task import has_scores, scores
from gdexp.descent.build import Components
from gdexp.descent.predictors import to_numpy

INTERCEPT = "intercept"


def coefficients(job: Job, built: Components) -> dict[str, float]:
    """The coefficients of a linear predictor by feature, and its intercept if it has a bias.

    A feature standardized as ``(x - m) / s`` has the coefficient ``w / s``; the intercept is
    ``b - sum(w * m / s)``. A standardized target multiplies both by its own s and adds its m.
    """
    if not is_linear(job.settings) or built.task == "classes":
        return {}
    parameters = built.predictor.parameters
    w = to_numpy(parameters["w"]).reshape(-1)
    b = float(to_numpy(parameters["b"]).item()) if "b" in parameters else None
    if built.data.scaling is not None:
        w, b = built.data.scaling.undo(w, b)
    if built.data.target_scaling is not None:
        w, b = built.data.target_scaling.undo_coefficients(w, b)
    features = built.data.fitted.features
    by_name = {name: float(value) for name, value in zip(features, w, strict=True)}
    own = f"{INTERCEPT} (b)" if INTERCEPT in by_name else INTERCEPT
    return by_name if b is None else {**by_name, own: float(b)}


def final_scores(job: Job, built: Components) -> dict[str, float]:
    """Scores on the training and the validation rows.

    There are none if the table was compressed, or if its targets are probabilities.
    """
    table = built.data.table
    if not job.settings["data"].get("metrics", True) or built.data.compressed or table is None:
        return {}
    if not has_scores(table.y, built.task):
        return {}
    parts = {"final": (built.x, built.data.fitted)}
    if built.kept is not None and built.data.kept is not None:
        parts["validation"] = (built.kept[0], built.data.kept)
    result: dict[str, float] = {}
    for prefix, (x, part) in parts.items():
        y_pred = built.data.in_units(built.predict(x))
        if np.isfinite(y_pred).all():
            scored = scores(built.data.in_units(part.y), y_pred, built.task)
            result |= {f"{prefix}/{name}": value for name, value in scored.items()}
    return result
