"""Check that a linear predictor of standardized features has a bias if it needs one."""

from __future__ import annotations

import numpy as np

from gdexp.config.capabilities import is_linear
from gdexp.config.job import Job
from gdexp.data.preparation import Prepared
from gdexp.descent.build import Components

SMALL = 0.1  # a mean below this share of the standard deviation costs less than 1 % of R²


def warning(job: Job, built: Components) -> str:
    """A warning if standardizing forces f to be 0 where the targets are not, else "".

    Standardized features are 0 at their means, so without a bias ``f(means) = 0``: the logit of a
    class, and hence its probability, is fixed there too.
    """
    if built.data.scaling is None or not is_linear(job.settings):
        return ""
    if "b" in built.predictor.parameters:
        return ""
    has_setting = "bias" in job.settings["predictor"]
    way_out = "type predictor.bias=true" if has_setting else "choose a predictor with a bias"
    here = "without a bias, f(x) is 0 at the features' means"
    if built.task == "regression":
        with np.errstate(over="ignore", invalid="ignore"):  # then it is unknown
            mean, deviation = _moments(built.data)
        if abs(mean) > SMALL * deviation:
            return f"{here}, where the targets average {mean:.4g}: {way_out}."
        return ""
    _, counts = np.unique(built.data.fitted.y, return_counts=True)
    if counts.max() - counts.min() > SMALL * counts.sum():
        return f"{here}, so all classes are equally likely there, as they are not: {way_out}."
    return ""


def _moments(data: Prepared) -> tuple[float, float]:
    """Mean and standard deviation of the targets of the rows to fit."""
    y = data.fitted.y.astype(np.float64)
    if not data.compressed or data.rows == len(y):
        return float(y.mean()), float(y.std())
    # Of a table compressed without a bias, the first row has x = 0 and sqrt(m) times the mean of y.
    mean = float(y[0]) / np.sqrt(len(y))
    return mean, float(np.sqrt(max(0.0, np.mean(y**2) - mean**2)))
