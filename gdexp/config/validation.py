"""Checks the chosen options and their settings before anything is built."""

from __future__ import annotations

import inspect
import pkgutil
import re
import sys
from pathlib import Path
from typing import Any, Literal, get_type_hints

from gdexp.config import capabilities, schema
from gdexp.config.job import Job
from gdexp.errors import ConfigError, did_you_mean, first_line
from gdexp.pytorch import settings
from gdexp.types import Start

BUILT = ("data", *schema.FAMILIES, "scheduler")
DOTTED = re.compile(r"\w+(\.\w+)+")
EXPLICIT = {  # types that a default does not show
    "predictor.init": Start,
    "loss.reduction": Literal["mean", "sum"],
}


def check(job: Job) -> None:
    """Check a job's settings, each alone and in combination.

    Raises:
        ConfigError: a setting is out of range, or two choices are incompatible.
    """
    for group, node in job.settings.items():
        if group in BUILT:
            if not isinstance(node, dict) or "_target_" not in node:
                raise ConfigError(
                    f"{group}={job.choices.get(group)}: its YAML file has no _target_. Name the "
                    "class to build, as in _target_: mymodule.MyClass."
                )
            if group == "scheduler" and node["_target_"] is None:
                continue
            if not is_torch(job, group):
                _target(group, str(node["_target_"]))
        if group in schema.HINTS or not isinstance(node, dict):
            check_setting(job, group, node)
            continue
        for name, value in node.items():
            if not name.startswith("_"):
                check_setting(job, f"{group}.{name}", value)
    _check_together(job)
    capabilities.check_declared(job)
    _check_derivation(job)
    _check_device(job)
    _check_patience(job)


def check_setting(job: Job, key: str, value: Any) -> None:
    """Check one setting against its annotation, for a component that of its constructor.

    Raises:
        ConfigError: the parameter does not exist, or does not accept the value.
    """
    schema.check(key, value, _annotation(job, key), _example(job, key, value))


def _example(job: Job, key: str, value: Any) -> str:
    """The default of an option's setting as typed, or "" if the job has none but this value."""
    family, _, name = key.partition(".")
    default = job.settings[family].get(name) if family in BUILT else None
    if key in schema.HINTS or default is None or default == value:
        return ""
    return f"{key}={default if isinstance(default, str) else schema.typed(default)}"


def _annotation(job: Job, key: str) -> Any:
    """The annotation of a setting; Any if it has none.

    Those of torch's own classes are in :mod:`gdexp.pytorch.settings`. Any other setting of a class
    of torch has the type of its default in the YAML file, and torch checks its range.
    """
    if key in schema.HINTS:
        return schema.HINTS[key]
    family, _, name = key.partition(".")
    if family == "tracking":
        return schema.TRACKING.get(name, Any)
    if family not in BUILT or "." in name:
        return Any
    node = job.settings[family]
    if is_torch(job, family):
        if (hint := settings.annotation(str(node.get("_target_")), name)) is not None:
            return hint
        kinds = ((bool, bool), (int | float, float), (str, str))
        by_default = (hint for kind, hint in kinds if isinstance(node[name], kind))
        return EXPLICIT.get(key) or next(by_default, Any)
    target = str(node.get("_target_"))
    build = _target(family, target)
    parameters = inspect.signature(build).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return Any
    if name not in parameters:
        nearest = did_you_mean(name, parameters, prefix=f"{family}.")
        raise ConfigError(f"{key}: {target} has no parameter {name!r}.{nearest}")
    hints = get_type_hints(build.__init__ if inspect.isclass(build) else build, include_extras=True)
    return hints.get(name, Any)


def _target(family: str, target: str) -> Any:
    if not DOTTED.fullmatch(target):
        raise ConfigError(
            f"{family}: {target} names no class in a module. Type both with a dot between them, as "
            "in mymodule.MyClass."
        )
    try:
        return pkgutil.resolve_name(target)
    except (Exception, SystemExit) as error:
        reason = first_line(error).rstrip(".")
        near = _nearest(target, error)
        raise ConfigError(f"{family}: {target} cannot be imported: {reason}.{near}") from error


def _nearest(target: str, error: BaseException) -> str:
    """The name in the module, or the module in this folder, that was probably meant; or ""."""
    module, _, name = target.rpartition(".")
    if (imported := sys.modules.get(module)) is not None:
        names = [each for each in vars(imported) if each[0] != "_"]
        return did_you_mean(name, names, prefix=f"{module}.")
    here = [path.stem for path in Path().glob("*.py")]
    if isinstance(error, ModuleNotFoundError) and error.name == module.partition(".")[0]:
        if error.name in here:
            return f" {error.name}.py is in this folder: type export PYTHONPATH=. to have it read."
        return did_you_mean(error.name, here)
    return ""


def _check_together(job: Job) -> None:
    """Refuse settings of a torch class that contradict each other."""
    for group in ("updater", "scheduler"):
        node = job.settings[group]
        if wrong := settings.contradiction(str(node["_target_"]), node, job.settings["iters"]):
            raise ConfigError(f"{group}.{wrong[0]}: {wrong[1]}")


def _check_derivation(job: Job) -> None:
    """Refuse a gradient formula with a predictor or loss that it is not derived for."""
    if is_torch(job, "gradient"):
        return
    quantity = capabilities.of(job.settings, "gradient", "derived_for")
    if quantity is None:
        return
    if not capabilities.is_linear(job.settings):
        misfit = "predictor"
    elif capabilities.of(job.settings, "loss", "measures") != quantity:
        misfit = "loss"
    else:
        return
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
            "stop.patience: it watches the validation loss, and no rows are held out for it. "
            "Type for example data.validation=0.2."
        )


def is_torch_based(job: Job) -> bool:
    """Whether any of the four families is torch's, so that all families use tensors.

    A user's own module or optimizer is torch's if its class is derived from one of torch's, and a
    gradient source if it declares that autograd tracks the parameters.
    """
    if any(is_torch(job, family) for family in schema.FAMILIES):
        return True
    own = (str(job.settings[family].get("_target_")) for family in ("predictor", "updater"))
    is_derived = any(capabilities.is_derived_from_torch(target) for target in own)
    return is_derived or bool(capabilities.of(job.settings, "gradient", "tracked"))


def is_torch(job: Job, family: str) -> bool:
    """Whether a family's chosen option is torch's, judged by its path without importing it."""
    return str(job.settings[family].get("_target_")).startswith(("torch.", "gdexp.pytorch."))


def needs_full_check(job: Job) -> bool:
    """Whether a job that Hydra composed still needs the full check of :mod:`gdexp.preflight`.

    Hydra lets any key be added or removed, and settings of torch's classes are not annotated here.
    Those of a sweep have no effect on a run.
    """
    keys = [text.partition("=")[0] for text in job.typed]
    families = {key.partition(".")[0] for key in keys if "." in key}
    return any(key[:1] in "+~" or key.partition(".")[0] == "sweep" for key in keys) or any(
        is_torch(job, family) for family in families if family in BUILT
    )
