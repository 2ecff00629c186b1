"""The torch half of the four families, and the bridge from arrays to tensors."""

from gdexp.pytorch.gradients import Autograd
from gdexp.pytorch.models import MLP, Linear, Module, adopt, initial, judging
from gdexp.pytorch.optimizers import Optimizer, QuasiNewton, Repeatable, Untracked, adapt
from gdexp.pytorch.schedulers import Scheduled, schedule
from gdexp.pytorch.tensors import (
    device_of,
    joined,
    norm,
    random_state,
    seeded,
    set_random_state,
    tensors,
)

__all__ = [
    "MLP",
    "Autograd",
    "Linear",
    "Module",
    "Optimizer",
    "QuasiNewton",
    "Repeatable",
    "Scheduled",
    "Untracked",
    "adapt",
    "adopt",
    "device_of",
    "initial",
    "joined",
    "judging",
    "norm",
    "random_state",
    "schedule",
    "seeded",
    "set_random_state",
    "tensors",
]
