"""The torch half of the four families, and the bridge from arrays to tensors."""

from gdexp.pytorch.gradients import Autograd
from gdexp.pytorch.models import Linear, adopt, initial
from gdexp.pytorch.optimizers import Optimizer, adapt, untracked
from gdexp.pytorch.tensors import seeded, tensors

__all__ = [
    "Autograd",
    "Linear",
    "Optimizer",
    "adapt",
    "adopt",
    "initial",
    "seeded",
    "tensors",
    "untracked",
]
