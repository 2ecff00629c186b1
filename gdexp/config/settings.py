"""The settings of a run that are no family's: their types, ranges, meanings and defaults.

A range is data beside the name it belongs to: ``lr: Annotated[float, Gt(0), "learning rate"]``.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt
from hydra.core.config_store import ConfigStore
from omegaconf import MISSING


@dataclass
class Preparation:
    """What is done to any data before it is fitted: keys of the group ``data``."""

    standardize: Annotated[bool, "bring each feature to mean 0 and deviation 1"] = False
    validation: Annotated[
        float, Ge(0), Lt(1), "share of the rows kept out of the fit, to judge it by"
    ] = 0.0
    batch_size: Annotated[
        int | None, Ge(1), "rows of a minibatch, shuffled in each epoch; null: all rows"
    ] = None
    compress: Annotated[
        bool, "fit d + 1 rows with the same loss (a linear predictor, mean squared error)"
    ] = False
    metrics: Annotated[bool, "at the end: mean absolute error and R², or accuracy"] = True


@dataclass
class Stop:
    """When a run ends before its last epoch; the values of an epoch are those it prints."""

    tolerance: Annotated[float | None, Gt(0), "stop at this loss or gradient norm"] = None
    watch: Annotated[str, Literal["loss", "gradient"], "what the tolerance is for"] = "loss"
    patience: Annotated[
        int | None, Ge(1), "stop after so many epochs without a smaller validation loss"
    ] = None
    divergence: Annotated[
        float | None, Gt(1), "stop at so many times the first loss; null: where it is not finite"
    ] = None
    every: Annotated[int, Ge(1), "epochs from one look to the next; more spares a GPU"] = 1


@dataclass
class Checkpoint:
    """When the state of a run is written down."""

    every: Annotated[int | None, Ge(1), "epochs from one checkpoint to the next"] = None


@dataclass
class Settings:
    """The keys of a run that belong to no family; each family's own keys sit under its name."""

    lr: Annotated[float, Gt(0), "learning rate"] = 0.01
    iters: Annotated[int, Ge(1), Le(100_000_000), "number of iterations (epochs)"] = 20
    seed: Annotated[int, Ge(0), Le(2**32 - 1), "seed of every random draw"] = 0
    dtype: Annotated[str, Literal["float32", "float64"], "precision of data and tensors"] = (
        "float32"
    )
    device: Annotated[str, Literal["cpu", "auto", "cuda", "mps"], "where tensors are"] = "cpu"
    predict_at: Annotated[
        float, "input x at which f(x) is printed; with more features, f(their means) is"
    ] = 5.0
    print_every: Annotated[
        int | None, Ge(1), "epochs from one printed line to the next; null: about 20 lines"
    ] = None
    continue_from: Annotated[
        str | None, "a run's id, or a checkpoint's path: go on from there to epoch iters"
    ] = None
    stop: Stop = field(default_factory=Stop)
    checkpoint: Checkpoint = field(default_factory=Checkpoint)

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
SECTIONS: dict[str, type] = {"data": Preparation, "stop": Stop, "checkpoint": Checkpoint}
HINTS = _hints(Settings)
for _name, _section in SECTIONS.items():
    HINTS |= _hints(_section, f"{_name}.")
TRACKING: dict[str, Any] = {
    "enabled": bool,
    "uri": str | None,
    "experiment": str | None,
    "max_points": Annotated[int, Ge(2)],
    "log_model": bool,
}

ConfigStore.instance().store(name="schema", node=Settings, provider="gdexp")


def default_of(key: str) -> Any:
    """The default of a run-level setting; None where it has none."""
    section, _, name = key.rpartition(".")
    return getattr(SECTIONS.get(section) if section else Settings, name, None)


def is_float(key: str) -> bool:
    """Whether the typed configuration makes a float of a whole number, as in ``lr=1``."""
    if key not in HINTS or key.startswith("data."):
        return False
    kind = get_args(HINTS[key])[0]
    return float in (kind, *get_args(kind))
