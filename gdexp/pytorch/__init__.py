"""The torch half of the four families, and the conversion of arrays to tensors.

The first access to one of these names imports torch.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gdexp.pytorch.gradients import Autograd
    from gdexp.pytorch.models import MLP, Linear, Module, adopt, in_double, inference, initial
    from gdexp.pytorch.optimizers import Optimizer, QuasiNewton, Repeatable, Untracked, adapt
    from gdexp.pytorch.schedulers import Scheduled, schedule
    from gdexp.pytorch.tensors import device_of, joined, norm, tensors
else:

    def __getattr__(name: str) -> object:
        """Import the modules that define the names in ``__all__``."""
        import importlib

        if name in __all__:
            for module in ("gradients", "models", "optimizers", "schedulers", "tensors"):
                defined = vars(importlib.import_module(f"{__name__}.{module}"))
                globals().update({key: defined[key] for key in __all__ if key in defined})
            return globals()[name]
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


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
    "in_double",
    "inference",
    "initial",
    "joined",
    "norm",
    "schedule",
    "tensors",
]
