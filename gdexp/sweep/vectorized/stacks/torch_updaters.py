"""The updaters of :mod:`gdexp.manual` and of torch for many curves at once.

The parameters of each curve are a row, and every setting may differ from curve to curve. The
formulas, and the order of their operations, are those of torch's own ``_single_tensor_…`` functions
and of :mod:`gdexp.manual`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from gdexp.sweep.vectorized.stacks.stack import Floats

Settings: TypeAlias = Mapping[str, Any]


class Updater:
    """Plain gradient descent, ``p = p - lr * g``; the others derive from it.

    Args:
        settings: the settings of each curve.
        kind: the precision of the parameters.
        device: their device.
    """

    def __init__(self, settings: Sequence[Settings], kind: torch.dtype, device: str) -> None:
        self._kind, self._device, self.t = kind, device, 0
        self._settings: dict[str, Floats] = {}
        for name, value in settings[0].items():
            if isinstance(value, int | float):
                self._settings[name] = np.array([s[name] for s in settings], float)
        if "betas" in settings[0]:
            pairs = np.array([s["betas"] for s in settings], float)
            self._settings |= {"beta1": pairs[:, 0], "beta2": pairs[:, 1]}
        self._state: dict[str, Tensor] = {}
        self._tensors: dict[str, Tensor] = {}

    def __call__(self, p: Tensor, g: Tensor) -> Tensor:
        """The parameters after an update, shape (curves, size)."""
        self.t += 1
        return self.update(p, g)

    def update(self, p: Tensor, g: Tensor) -> Tensor:
        """The parameters after update ``t``."""
        return p - self.number("lr") * g

    def set(self, values: Mapping[str, Any]) -> None:
        """Change settings, as a scheduler does; each has shape (curves,)."""
        for name, value in values.items():
            if name == "betas":
                self.set({"beta1": value[:, 0], "beta2": value[:, 1]})
            else:
                self._settings[name] = value
                self._tensors.pop(name, None)

    def keep(self, curves: Tensor) -> None:
        """Keep these of the current curves."""
        rows = curves.cpu().numpy()
        self._settings = {name: value[rows] for name, value in self._settings.items()}
        self._state = {name: value[curves] for name, value in self._state.items()}
        self._tensors = {}

    def number(self, name: str) -> Tensor:
        """A setting as a column, shape (curves, 1)."""
        if name not in self._tensors:
            self._tensors[name] = self.column(self._settings[name])
        return self._tensors[name]

    def column(self, values: Floats) -> Tensor:
        """Numbers of each curve, shape (curves, 1), in the precision of the parameters."""
        return torch.tensor(values, dtype=self._kind, device=self._device)[:, None]

    def any(self, name: str) -> bool:
        """Whether a setting is not 0 in any curve."""
        return name in self._settings and bool(self._settings[name].any())

    def state(self, name: str, like: Tensor, value: float = 0.0) -> Tensor:
        """A tensor that is kept from update to update, changed in place."""
        if name not in self._state:
            self._state[name] = torch.full_like(like, value)
        return self._state[name]

    def power(self, name: str) -> Floats:
        """A setting to the power of ``t``, shape (curves,)."""
        power: Floats = self._settings[name] ** self.t
        return power

    def running(self, p: Tensor, g: Tensor) -> Tensor:
        """``buffer = momentum * buffer + g``; torch leaves it as it is in epochs without momentum.

        A scheduler may take a curve's momentum away for some epochs.
        """
        buffer, momentum = self.state("buffer", p), self.number("momentum")
        if self._settings["momentum"].all():
            return buffer.mul_(momentum).add_(g)
        return buffer.copy_(self.moving(momentum * buffer + g, buffer))

    def moving(self, moved: Tensor, resting: Tensor) -> Tensor:
        """The first where a curve has momentum, else the second."""
        if self._settings["momentum"].all():
            return moved
        return torch.where(self.number("momentum") != 0, moved, resting)

    def directed(self, p: Tensor, g: Tensor) -> Tensor:
        """``-g`` where a curve ascends; plus ``weight_decay * p``."""
        if self.any("maximize"):
            g = torch.where(self.number("maximize") != 0, -g, g)
        return g + self.number("weight_decay") * p if self.any("weight_decay") else g


class Momentum(Updater):
    """``v = momentum * v + g; p = p - lr * v``."""

    def update(self, p: Tensor, g: Tensor) -> Tensor:
        """The parameters after update ``t``."""
        v = self.state("v", p).mul_(self.number("momentum")).add_(g)
        return p - self.number("lr") * v


class Nesterov(Updater):
    """``v = momentum * v + g; p = p - lr * (g + momentum * v)``."""

    def update(self, p: Tensor, g: Tensor) -> Tensor:
        """The parameters after update ``t``."""
        v = self.state("v", p).mul_(self.number("momentum")).add_(g)
        return p - self.number("lr") * (g + self.number("momentum") * v)


class ManualAdam(Updater):
    """:class:`gdexp.manual.Adam`."""

    def update(self, p: Tensor, g: Tensor) -> Tensor:
        """The parameters after update ``t``."""
        beta1, beta2 = self._settings["beta1"], self._settings["beta2"]
        m = self.state("m", p).mul_(self.number("beta1")).add_(self.column(1 - beta1) * g)
        v = self.state("v", p).mul_(self.number("beta2")).add_(self.column(1 - beta2) * (g * g))
        root = (v / self.column(1 - self.power("beta2"))) ** 0.5
        mean = m / self.column(1 - self.power("beta1"))
        return p - self.number("lr") * mean / (root + self.number("eps"))


class SGD(Updater):
    """:class:`torch.optim.SGD`."""

    def update(self, p: Tensor, g: Tensor) -> Tensor:
        """The parameters after update ``t``."""
        g = self.directed(p, g)
        if self.any("momentum"):
            settings, momentum = self._settings, self.number("momentum")
            begun = settings.get("begun", np.zeros(len(p)))
            kept = np.where(begun, 1 - settings["dampening"], 1.0)  # the first gradient is whole
            settings["begun"] = np.where(settings["momentum"], 1.0, begun)
            buffer = self.running(p, self.column(kept) * g)
            ahead = torch.where(self.number("nesterov") != 0, g + momentum * buffer, buffer)
            g = self.moving(ahead, g)
        return torch.addcmul(p, self.number("lr"), g, value=-1)


class Adam(Updater):
    """:class:`torch.optim.Adam`; with ``decoupled_weight_decay``, AdamW."""

    decoupled = False

    def update(self, p: Tensor, g: Tensor) -> Tensor:
        """The parameters after update ``t``."""
        settings = self._settings
        decoupled = settings.get("decoupled_weight_decay", np.full(len(p), self.decoupled)) != 0
        if self.any("maximize"):
            g = torch.where(self.number("maximize") != 0, -g, g)
        if self.any("weight_decay"):
            decay = settings["weight_decay"]
            p = p * self.column(np.where(decoupled, 1 - settings["lr"] * decay, 1.0))
            g = g + self.column(np.where(decoupled, 0.0, decay)) * p
        beta1, beta2 = settings["beta1"], settings["beta2"]
        m = self.state("m", p).lerp_(g, self.column(1 - beta1))
        v = self.state("v", p).mul_(self.number("beta2")).add_(self.column(1 - beta2) * g * g)
        if self.any("amsgrad"):
            largest = torch.maximum(self.state("largest", p), v, out=self.state("largest", p))
            v = torch.where(self.number("amsgrad") != 0, largest, v)
        denominator = v.sqrt() / self.column((1 - self.power("beta2")) ** 0.5) + self.number("eps")
        size = self.column(-settings["lr"] / (1 - self.power("beta1")))
        return p + size * m / denominator


class AdamW(Adam):
    """:class:`torch.optim.AdamW`."""

    decoupled = True


class Adagrad(Updater):
    """:class:`torch.optim.Adagrad`."""

    def update(self, p: Tensor, g: Tensor) -> Tensor:
        """The parameters after update ``t``."""
        settings, g = self._settings, self.directed(p, g)
        if "sum" not in self._state:
            initial = self.number("initial_accumulator_value")
            self._state["sum"] = initial.expand_as(p).clone()
        total = self._state["sum"].addcmul_(g, g)
        size = self.column(-settings["lr"] / (1 + (self.t - 1) * settings["lr_decay"]))
        return p + size * g / (total.sqrt() + self.number("eps"))


class RMSprop(Updater):
    """:class:`torch.optim.RMSprop`."""

    def update(self, p: Tensor, g: Tensor) -> Tensor:
        """The parameters after update ``t``."""
        g, rest = self.directed(p, g), self.column(1 - self._settings["alpha"])
        v = self.state("v", p).mul_(self.number("alpha")).add_(rest * g * g)
        if self.any("centered"):
            mean = self.state("mean", p).lerp_(g, rest)
            v = torch.where(self.number("centered") != 0, torch.addcmul(v, mean, mean, value=-1), v)
        root = v.sqrt() + self.number("eps")
        if not self.any("momentum"):
            return p + -self.number("lr") * g / root
        step = g / root
        return p + -self.number("lr") * self.moving(self.running(p, step), step)


UPDATERS: dict[str, type[Updater]] = {
    "plain": Updater,
    "heavy_ball": Momentum,
    "nesterov": Nesterov,
    "adam": ManualAdam,
    "SGD": SGD,
    "Adam": Adam,
    "AdamW": AdamW,
    "Adagrad": Adagrad,
    "RMSprop": RMSprop,
}
"""The class of each form in which an updater is vectorized."""
