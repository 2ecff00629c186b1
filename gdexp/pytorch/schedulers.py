"""Learning rates that change: torch's schedulers, for its optimizers and for updaters by hand."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, TypeAlias

import torch
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from gdexp.errors import ConfigError
from gdexp.pytorch.eager import without_dynamo

Partial: TypeAlias = Callable[[torch.optim.Optimizer], LRScheduler]
"""A scheduler class of torch with its settings, still without the optimizer."""


class Scheduled:
    """A schedule under way.

    Args:
        partial: the scheduler.
        updater: an :class:`gdexp.pytorch.Optimizer`, or any object with a number ``lr``.
    """

    def __init__(self, partial: Partial, updater: Any) -> None:
        held = getattr(updater, "optimizer", None)
        self._optimizer = held if isinstance(held, torch.optim.Optimizer) else _Mirror(updater)
        self._scheduler = partial(self._optimizer)
        self._reflect()

    def step(self, loss: float) -> None:
        """The end of an epoch, after its update.

        Args:
            loss: the epoch's.
        """
        if isinstance(self._optimizer, _Mirror):
            self._optimizer.step()  # torch warns of a schedule that is ahead of its optimizer
        if isinstance(self._scheduler, ReduceLROnPlateau):
            self._scheduler.step(loss)
        else:
            self._scheduler.step()
        self._reflect()

    @property
    def lr(self) -> float:
        """The learning rate of the next update."""
        return float(self._group["lr"])

    def state(self) -> dict[str, Any]:
        """Where the schedule is: the scheduler's ``state_dict`` and the numbers it moves."""
        numbers = {key: value for key, value in self._group.items() if key != "params"}
        return copy.deepcopy({"scheduler": self._scheduler.state_dict(), "numbers": numbers})

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        saved = copy.deepcopy(dict(state))
        self._scheduler.load_state_dict(saved["scheduler"])
        self._group.update(saved["numbers"])
        self._reflect()

    @property
    def _group(self) -> dict[str, Any]:
        return self._optimizer.param_groups[0]

    def _reflect(self) -> None:
        if isinstance(self._optimizer, _Mirror):
            self._optimizer.reflect()


class _Mirror(torch.optim.Optimizer):
    """Stands in for an updater by hand where torch wants an optimizer."""

    def __init__(self, updater: Any) -> None:
        self._updater = updater
        with without_dynamo():
            super().__init__([torch.zeros(1)], _moved(updater))

    def step(self, closure: Any = None) -> Any:
        """Nothing: the updater has moved the parameters."""

    def reflect(self) -> None:
        """Give the updater its numbers as they are now."""
        for name in self.defaults:
            setattr(self._updater, name, self.param_groups[0][name])


def schedule(partial: Partial, updater: Any) -> Scheduled:
    """Put a schedule in charge of an updater's learning rate.

    Args:
        partial: a scheduler class of torch with its settings (``_partial_: true`` in its YAML).
        updater: what :func:`gdexp.pytorch.adapt` returned, or an updater by hand.

    Raises:
        ConfigError: the updater has no learning rate.
        ValueError: torch refuses the settings.
    """
    updater = getattr(updater, "updater", updater)  # one that is kept out of autograd's sight
    held = getattr(updater, "optimizer", None)
    numbers = _moved(updater if held is None else SimpleNamespace(**held.param_groups[0]))
    if "lr" not in numbers:
        raise ConfigError(
            f"scheduler: {type(updater).__name__} has no lr that a schedule could change. "
            "Type scheduler=none."
        )
    Scheduled(partial, SimpleNamespace(**numbers)).step(0.0)  # some settings fail only in a step
    return Scheduled(partial, updater)


def _moved(updater: Any) -> dict[str, Any]:
    """The numbers of an updater that schedulers move."""
    names = ("lr", "momentum", "betas")
    return {name: getattr(updater, name) for name in names if hasattr(updater, name)}
