"""The chosen options and their settings, checked before anything is built."""

from __future__ import annotations

import inspect
import pkgutil
from typing import Any, Literal, get_type_hints

from gdexp.config import capabilities, schema
from gdexp.config.job import Job
from gdexp.errors import ConfigError, did_you_mean, first_line
from gdexp.types import Start

BUILT = ("data", *schema.FAMILIES, "scheduler")
SHOWN_BY_NO_EXAMPLE = {"predictor.init": Start, "loss.reduction": Literal["mean", "sum"]}


def check(job: Job) -> None:
    """Hold a job's settings against ranges, constructors and what goes together.

    Raises:
        ConfigError: a setting is out of range, or two choices do not go together.
    """
    schema.check_settings(job.settings)
    for family in BUILT:
        node = job.settings[family]
        if family == "scheduler" and isinstance(node, dict) and node.get("_target_", "") is None:
            continue
        if not isinstance(node, dict) or "_target_" not in node:
            raise ConfigError(f"{family}: the chosen option names no _target_ to build.")
        if not is_torch(job, family):
            _target(family, str(node["_target_"]))
        for name in node:
            if not name.startswith("_"):
                check_setting(job, f"{family}.{name}", node[name])
    capabilities.check_declared(job)
    _check_derivation(job)
    _check_device(job)
    _check_patience(job)
    schema.check_tracking(job.settings["tracking"])


def check_setting(job: Job, key: str, value: Any) -> None:
    """Hold one setting of a component against its constructor.

    Settings of torch's own classes are held against the value in their YAML file, so that a
    mistyped number is found without importing torch; their ranges are torch's to check.

    Raises:
        ConfigError: the constructor has no such parameter, or not for this value.
    """
    if key in schema.HINTS:
        schema.check(key, value, schema.HINTS[key])
        return
    family, _, name = key.partition(".")
    node = job.settings[family]
    if family not in BUILT or "." in name:
        schema.check(key, value, schema.TRACKING.get(name, Any) if family == "tracking" else Any)
        return
    target = str(node.get("_target_"))
    if is_torch(job, family):
        _check_by_example(key, value, node[name])
        return
    build = _target(family, target)
    parameters = inspect.signature(build).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return
    if name not in parameters:
        nearest = did_you_mean(name, parameters, prefix=f"{family}.")
        raise ConfigError(f"{key}: {target} takes no {name!r}.{nearest}")
    hints = get_type_hints(build.__init__ if inspect.isclass(build) else build, include_extras=True)
    schema.check(key, value, hints.get(name, Any))


def _target(family: str, target: str) -> Any:
    try:
        return pkgutil.resolve_name(target)
    except Exception as error:
        reason = first_line(error)
        raise ConfigError(f"{family}: {target} cannot be imported: {reason}.") from error


def _check_by_example(key: str, value: Any, example: Any) -> None:
    kinds = ((bool, bool), (int | float, float), (str, str))
    hint = next((hint for kind, hint in kinds if isinstance(example, kind)), Any)
    schema.check(key, value, SHOWN_BY_NO_EXAMPLE.get(key, hint))


def _check_derivation(job: Job) -> None:
    """A formula derived by hand holds for a linear predictor and the loss it was derived for."""
    if is_torch(job, "gradient"):
        return
    quantity = capabilities.of(job.settings, "gradient", "derived_for")
    if quantity is None:
        return
    misfit = "predictor"
    if capabilities.is_linear(job.settings):
        if capabilities.of(job.settings, "loss", "measures") == quantity:
            return
        misfit = "loss"
    raise ConfigError(
        f"gradient={job.choices['gradient']}: the formula is derived for {quantity} of a linear "
        f"predictor, not for {misfit}={job.choices[misfit]}. "
        f"Type gradient={capabilities.derivative(job.settings)}."
    )


def _check_device(job: Job) -> None:
    device = job.settings["device"]
    if device not in ("cpu", "auto") and not is_torch_based(job):
        raise ConfigError(
            f"device={device}: all four choices are by hand, in NumPy, which computes on the CPU. "
            "Type for example step=autograd."
        )


def _check_patience(job: Job) -> None:
    if job.settings["stop"]["patience"] and not job.settings["data"].get("validation"):
        raise ConfigError(
            "stop.patience: it watches the validation loss, and no rows are kept for that. "
            "Type for example data.validation=0.2."
        )


def is_torch_based(job: Job) -> bool:
    """Whether any of the four families is torch's, so that all work on tensors."""
    return any(is_torch(job, family) for family in schema.FAMILIES)


def is_torch(job: Job, family: str) -> bool:
    """Whether the chosen option of a family is torch's: told by its target, nothing is imported."""
    return str(job.settings[family].get("_target_")).startswith(("torch.", "gdexp.pytorch."))


def leave_doubt(job: Job) -> bool:
    """Whether a job composed without complaint may still hold what :mod:`gdexp.preflight` refuses.

    Added and removed keys may be anything; settings of torch's classes have no annotation of ours.
    """
    keys = [text.partition("=")[0] for text in job.typed]
    families = {key.partition(".")[0] for key in keys if "." in key}
    return any(key[:1] in "+~" for key in keys) or any(
        is_torch(job, family) for family in families if family in BUILT
    )
