"""Learning-rate schedules: torch's schedulers, for its optimizers and for updaters by hand."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, TypeAlias

import torch
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from gdexp.errors import ConfigError
from gdexp.pytorch.eager import without_dynamo

Partial: TypeAlias = Callable[[torch.optim.Optimizer], LRScheduler]
"""A torch scheduler class with its settings, to be called with the optimizer."""


class Scheduled:
    """A running schedule.

    Args:
        partial: the scheduler.
        updater: an :class:`gdexp.pytorch.Optimizer`, or any object with a number ``lr``.
    """

    def __init__(self, partial: Partial, updater: Any) -> None:
        own = getattr(updater, "optimizer", None)
        self._optimizer = own if isinstance(own, torch.optim.Optimizer) else _Mirror(updater)
        self._partial = partial
        self._scheduler = partial(self._optimizer)
        self._apply()

    def step(self, loss: float) -> None:
        """End an epoch, after its update; some schedules depend on its loss."""
        if isinstance(self._optimizer, _Mirror):
            self._optimizer.step()  # or torch warns that the schedule is ahead of its optimizer
        if isinstance(self._scheduler, ReduceLROnPlateau):
            self._scheduler.step(loss)
        else:
            self._scheduler.step()
        self._apply()

    @property
    def lr(self) -> float:
        """The learning rate of the next update."""
        return float(self._group["lr"])

    def state(self) -> dict[str, Any]:
        """The scheduler's ``state_dict`` and the settings it changes."""
        numbers = {key: value for key, value in self._group.items() if key != "params"}
        return copy.deepcopy({"scheduler": self._scheduler.state_dict(), "numbers": numbers})

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore a state."""
        saved = copy.deepcopy(dict(state))
        self._scheduler.load_state_dict(saved["scheduler"])
        self._group.update(saved["numbers"])
        self._apply()

    def replayed(self, epochs: int) -> dict[str, Any]:
        """The state of a new schedule with these settings after some epochs."""
        fresh = self._fresh()
        for _ in range(epochs):
            fresh.step(0.0)
        return fresh.state()

    def try_step(self, epoch: int) -> None:
        """Raise what torch raises if the schedule does not last until this epoch."""
        fresh = self._fresh()
        fresh._scheduler.last_epoch = epoch - 1
        fresh.step(0.0)

    def _fresh(self) -> Scheduled:
        """A new schedule with these settings, for no updater."""
        settings = _settings(SimpleNamespace(**self._group))
        settings["lr"] = self._group.get("initial_lr", self.lr)
        return Scheduled(self._partial, SimpleNamespace(**settings))

    @property
    def _group(self) -> dict[str, Any]:
        return self._optimizer.param_groups[0]

    def _apply(self) -> None:
        if isinstance(self._optimizer, _Mirror):
            self._optimizer.apply()


class _Mirror(torch.optim.Optimizer):
    """An optimizer with the settings of an updater by hand, for torch's schedulers."""

    def __init__(self, updater: Any) -> None:
        self._updater = updater
        with without_dynamo():
            super().__init__([torch.zeros(1)], _settings(updater))

    def step(self, closure: Any = None) -> Any:
        """Do nothing: the updater has updated the parameters."""

    def apply(self) -> None:
        """Copy the current settings to the updater."""
        for name in self.defaults:
            setattr(self._updater, name, self.param_groups[0][name])


def schedule(partial: Partial, updater: Any) -> Scheduled:
    """Schedule an updater's learning rate.

    Args:
        partial: a torch scheduler class with its settings (``_partial_: true`` in its YAML file).
        updater: an updater by hand, or the result of :func:`gdexp.pytorch.adapt`.

    Raises:
        ConfigError: if the updater has no learning rate, or no momentum to cycle.
        ValueError: if torch rejects the settings.
    """
    updater = getattr(updater, "updater", updater)  # unwrap an Untracked one
    optimizer = getattr(updater, "optimizer", None)
    source = updater if optimizer is None else SimpleNamespace(**optimizer.param_groups[0])
    settings = _settings(source)
    if "lr" not in settings:
        raise ConfigError(
            f"scheduler: {type(updater).__name__} has no lr that a schedule could change. "
            "Type scheduler=none."
        )
    cycles = inspect.signature(partial).parameters.get("cycle_momentum")
    if cycles is not None and cycles.default and settings.keys() == {"lr"}:
        raise ConfigError(
            "scheduler.cycle_momentum: the updater has no momentum to cycle. "
            "Type scheduler.cycle_momentum=false."
        )
    Scheduled(partial, SimpleNamespace(**settings)).step(0.0)  # some settings fail only in a step
    return Scheduled(partial, updater)


def _settings(updater: Any) -> dict[str, Any]:
    """The settings of an updater that schedulers change."""
    names = ("lr", "momentum", "betas")
    return {name: getattr(updater, name) for name in names if hasattr(updater, name)}
