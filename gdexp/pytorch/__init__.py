"""The torch half of the four families, and the bridge from arrays to tensors."""

from gdexp.pytorch.gradients import Autograd
from gdexp.pytorch.models import Linear, adopt, initial
from gdexp.pytorch.optimizers import Optimizer, Untracked, adapt
from gdexp.pytorch.schedulers import Scheduled, schedule
from gdexp.pytorch.tensors import seeded, tensors

__all__ = [
    "Autograd",
    "Linear",
    "Optimizer",
    "Scheduled",
    "Untracked",
    "adapt",
    "adopt",
    "initial",
    "schedule",
    "seeded",
    "tensors",
]
