"""The settings of a run that belong to no family: types, ranges, meanings and defaults.

A range is declared beside its name: ``lr: Annotated[float, Gt(0), "learning rate"]``.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt, Predicate
from hydra.core.config_store import ConfigStore
from omegaconf import MISSING

_TRUSTABLE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*\.([^\W\d]\w*|\*)")


def is_trustable(name: str) -> bool:
    """Whether a name is that of a package, as ``mypackage.*``, or of a class in a module.

    >>> is_trustable("mypackage.*"), is_trustable("absolute.Absolute"), is_trustable("*")
    (True, True, False)
    """
    return _TRUSTABLE.fullmatch(name) is not None


def packages_or_classes(names: list[str]) -> bool:
    """Whether all names are trustable; error messages use this function's name."""
    return all(map(is_trustable, names))


@dataclass
class Preparation:
    """Preprocessing of the data, whatever its source: keys of the group ``data``."""

    standardize: Annotated[bool, "scale each feature to mean 0 and standard deviation 1"] = False
    standardize_target: Annotated[
        bool, "scale the target like a feature; losses then have no units, predictions keep theirs"
    ] = False
    validation: Annotated[
        float, Ge(0), Lt(1), "share of the rows held out for the validation loss"
    ] = 0.0
    batch_size: Annotated[
        int | None, Ge(1), "rows per minibatch, reshuffled every epoch; null: all rows"
    ] = None
    compress: Annotated[
        bool, "fit d + 1 rows with the same loss (linear predictor, mean squared error)"
    ] = False
    metrics: Annotated[bool, "report mean absolute error and R², or accuracy, at the end"] = True


@dataclass
class Stop:
    """When a run stops before its last epoch, judged by the values that the transcript prints."""

    tolerance: Annotated[float | None, Gt(0), "stop at this loss or gradient norm"] = None
    watch: Annotated[str, Literal["loss", "gradient"], "what the tolerance applies to"] = "loss"
    patience: Annotated[
        int | None, Ge(1), "stop after this many epochs without a smaller validation loss"
    ] = None
    restore_best: Annotated[
        bool, "with patience, end with the parameters of the epoch of the smallest validation loss"
    ] = True
    divergence: Annotated[
        float | None, Gt(1), "stop above this multiple of the first loss; null: only at NaN or inf"
    ] = None
    every: Annotated[
        int, Ge(1), "check every this many epochs; more means fewer GPU synchronisations"
    ] = 1


@dataclass
class Checkpoint:
    """When the state of a run is saved."""

    every: Annotated[int | None, Ge(1), "save a checkpoint every this many epochs"] = None


@dataclass
class Check:
    """What a run examines about itself; see :mod:`gdexp.insight`."""

    gradient: Annotated[
        str,
        Literal["first", "every", "off"],
        "epochs in which the gradient is checked against the derivative of the loss",
    ] = "first"
    forecast: Annotated[bool, "forecast from the curvature which learning rates converge"] = True


@dataclass
class Settings:
    """The keys of a run; each family's own keys are nested under its name."""

    lr: Annotated[float, Gt(0), "learning rate"] = 0.01
    iters: Annotated[int, Ge(1), Le(100_000_000), "number of iterations (epochs)"] = 20
    seed: Annotated[int, Ge(0), Le(2**32 - 1), "seed of all random numbers"] = 0
    dtype: Annotated[str, Literal["float32", "float64"], "precision of data and tensors"] = (
        "float32"
    )
    device: Annotated[str, Literal["cpu", "auto", "cuda", "mps"], "device of tensors"] = "cpu"
    predict_at: Annotated[
        float, "input x at which f(x) is printed; with several features, their means are used"
    ] = 5.0
    print_every: Annotated[
        int | None,
        Ge(1),
        "print every this many epochs, as the tutorial does; null: about 20 epochs and the last",
    ] = None
    continue_from: Annotated[
        str | None, "run id or checkpoint path to continue from, up to epoch iters"
    ] = None
    trust: Annotated[
        list[str],
        Predicate(packages_or_classes),
        "own code that the checkpoint may name, as in [mypackage.*]",
    ] = field(default_factory=list)
    stop: Stop = field(default_factory=Stop)
    checkpoint: Checkpoint = field(default_factory=Checkpoint)
    check: Check = field(default_factory=Check)
    plots: Annotated[bool, "draw the run at its end, and record the pictures"] = False

    data: dict[str, Any] = field(default_factory=lambda: asdict(Preparation()))
    predictor: Any = MISSING
    gradient: Any = MISSING
    loss: Any = MISSING
    updater: Any = MISSING
    scheduler: Any = MISSING
    tracking: Any = MISSING
    sweep: Any = MISSING


def _hints(settings: type, prefix: str = "") -> dict[str, Any]:
    return {
        prefix + name: hint
        for name, hint in get_type_hints(settings, include_extras=True).items()
        if get_origin(hint) is Annotated
    }


FAMILIES = ("predictor", "gradient", "loss", "updater")
SECTIONS: dict[str, type] = {
    "data": Preparation,
    "stop": Stop,
    "checkpoint": Checkpoint,
    "check": Check,
}
HINTS = _hints(Settings)
for _name, _section in SECTIONS.items():
    HINTS |= _hints(_section, f"{_name}.")
TRACKING: dict[str, Any] = {
    "enabled": bool,
    "uri": str | None,
    "experiment": str | None,
    "max_points": Annotated[int, Ge(2)],
    "max_rows": Annotated[int | None, Ge(1)],
    "log_model": bool,
    "git_diff": bool,
}

LATER: dict[str, Any] = {
    "trust": [],
    "stop.restore_best": True,
    "data.standardize_target": False,
    "data.drop": None,
    "data.decimal": "point",
    "data.thousands": None,
    "data.encoding": None,
    "data.comment": None,
    "data.header": None,
    "tracking.git_diff": False,
    "tracking.max_rows": 5_000_000,
}
"""Settings that records of earlier versions lack, with their defaults.

A run that leaves them at their defaults has the hash and the params that an earlier version gave
it, so its sweeps can still be resumed. Add a line here for each new setting, of a run (as
``stop.name``) or of an option (as ``data.name``).
"""

ConfigStore.instance().store(name="schema", node=Settings, provider="gdexp")


def default_of(key: str) -> Any:
    """The default of a run-level setting, or of one that came later; else None."""
    section, _, name = key.rpartition(".")
    return getattr(SECTIONS.get(section) if section else Settings, name, LATER.get(key))


def switched(key: str, value: Any) -> Any:
    """The word "off" for a setting that has it, where YAML's grammar has read it as false.

    >>> switched("check.gradient", False), switched("check.forecast", False)
    ('off', False)
    """
    if value is not False and value != "False":
        return value
    metadata = getattr(HINTS.get(key), "__metadata__", ())
    words = [word for hint in metadata if get_origin(hint) is Literal for word in get_args(hint)]
    return "off" if "off" in words else value


def with_words(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings in which every "off" is a word, see :func:`switched`."""
    words = dict(settings)
    for section in SECTIONS:
        if isinstance(node := settings.get(section), dict):
            words[section] = {key: switched(f"{section}.{key}", v) for key, v in node.items()}
    return words


def is_float(key: str) -> bool:
    """Whether the structured config converts whole numbers to float, as in ``lr=1``."""
    if key not in HINTS or key.startswith("data."):
        return False
    kind = get_args(HINTS[key])[0]
    return float in (kind, *get_args(kind))
