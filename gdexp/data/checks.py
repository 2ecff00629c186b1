"""Whether a table may be prepared as the settings say, judged by the other choices alone."""

from __future__ import annotations

from gdexp.config import capabilities
from gdexp.config.job import Job
from gdexp.errors import ConfigError
from gdexp.manual import Loss


def check_numeric_target(job: Job) -> None:
    """Refuse to standardize classes.

    Raises:
        ConfigError: if the loss is one for classes.
    """
    if capabilities.task_of(job.settings) != "regression":
        raise ConfigError(
            f"data.standardize_target: loss={job.choices['loss']} predicts classes, which have no "
            "scale. Type data.standardize_target=false, or loss=MSELoss to predict numbers."
        )


def check_compressible(job: Job) -> None:
    """Refuse to compress if fewer rows would not have the same loss and gradient.

    Raises:
        ConfigError: names the choice that prevents it.
    """
    settings, data = job.settings, job.settings["data"]
    squares = capabilities.of(settings, "loss", "measures") == Loss.measures
    reasons = {
        f"predictor={job.choices['predictor']} is not linear": (
            not capabilities.is_linear(settings)
        ),
        f"loss={job.choices['loss']} is not the mean of squared errors": (
            not squares or capabilities.reduction(settings, "loss") != "mean"
        ),
        f"gradient={job.choices['gradient']} is a sum over all rows": (
            capabilities.reduction(settings, "gradient") == "sum"
        ),
        "data.batch_size needs single rows": data.get("batch_size") is not None,
        "data.validation needs single rows": bool(data.get("validation")),
    }
    for reason, holds in reasons.items():
        if holds:
            way_out = "gradient=manual" if "a sum" in reason else "data.compress=false"
            raise ConfigError(
                f"data.compress: {reason}, so fewer rows cannot replace the table. Type {way_out}."
            )
