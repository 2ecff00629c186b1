"""The schedulers of many curves: torch's own, one for all curves with the same settings."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gdexp.pytorch.eager import without_dynamo
from gdexp.sweep.vectorized.stacks.stack import SCHEDULED, Floats, Stack, scheduled


class Schedules:
    """The scheduled settings of the updaters of some curves.

    A scheduler of torch changes each group of parameters by itself, so one scheduler serves all
    curves with its settings, with a group for each. What depends on the loss, or is a user's own,
    has one for each curve.

    Args:
        stack: the curves.
        curves: the indices of those that are scheduled.
    """

    def __init__(self, stack: Stack, curves: NDArray[np.intp]) -> None:
        self._groups: list[dict[str, Any]] = []
        together: dict[str, list[int]] = defaultdict(list)
        for row, curve in enumerate(curves):
            partial = stack.schedules[curve]
            key = json.dumps([partial.keywords, None if _is_shared(partial) else row], default=repr)
            together[key].append(row)
            self._groups.append(scheduled(stack.settings[curve]))
        self._schedulers = []
        for rows in together.values():
            optimizer = _Optimizer([self._groups[row] for row in rows])
            scheduler = stack.schedules[curves[rows[0]]](optimizer)
            self._schedulers.append((scheduler, optimizer, rows))
            for row, group in zip(rows, optimizer.param_groups, strict=True):
                self._groups[row] = group
        self._rows = np.arange(len(curves))

    @property
    def values(self) -> dict[str, Any]:
        """The settings for the next update, each of shape (curves,); of betas the first two."""
        kept = [self._groups[row] for row in self._rows]
        return {
            name: np.array([group[name] for group in kept], float)
            for name in SCHEDULED
            if name in self._groups[0]
        }

    def step(self, losses: Callable[[], Floats]) -> None:
        """End an epoch, after its update.

        Args:
            losses: returns the loss of each curve in that epoch, shape (curves,); it is called only
                where a scheduler needs them, because another device would have to be waited for.
        """
        at: dict[int, float] = {}
        if any(_needs_loss(type(scheduler)) for scheduler, *_ in self._schedulers):
            at = dict(zip(self._rows.tolist(), losses().tolist(), strict=True))
        for scheduler, optimizer, rows in self._schedulers:
            optimizer.step()  # or torch warns that the schedule is ahead of it
            if not _needs_loss(type(scheduler)):
                scheduler.step()
            elif rows[0] in at:
                scheduler.step(at[rows[0]])

    def keep(self, curves: NDArray[np.intp]) -> None:
        """Schedule only these of the current curves from now on."""
        self._rows = self._rows[curves]
        kept = set(self._rows.tolist())
        self._schedulers = [one for one in self._schedulers if kept & {*one[-1]}]


class _Optimizer(torch.optim.Optimizer):
    """The updaters of some curves for torch's schedulers, each a group of parameters."""

    def __init__(self, groups: Sequence[dict[str, Any]]) -> None:
        with without_dynamo():
            super().__init__(
                [{"params": [torch.zeros(1)], **group} for group in groups], dict(groups[0])
            )

    def step(self, closure: Any = None) -> Any:
        """Do nothing: the curves have been updated."""


def _is_shared(partial: Any) -> bool:
    kind = partial.func
    return kind.__module__ == "torch.optim.lr_scheduler" and not _needs_loss(kind)


def _needs_loss(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, torch.optim.lr_scheduler.ReduceLROnPlateau)
