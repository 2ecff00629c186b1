"""The torch half of the four families, and the bridge from arrays to tensors.

Torch itself is imported when the first of these names is asked for.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
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
else:

    def __getattr__(name: str) -> object:
        """Import the modules that hold the names below."""
        import importlib

        if name in __all__:
            for module in ("gradients", "models", "optimizers", "schedulers", "tensors"):
                held = vars(importlib.import_module(f"{__name__}.{module}"))
                globals().update({known: held[known] for known in __all__ if known in held})
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
