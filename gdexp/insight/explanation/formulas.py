"""The lines of code that compute an epoch: by hand in NumPy, with autograd, with an optimizer.

Which lines are right follows from what the chosen classes declare
(:mod:`gdexp.config.capabilities`); a class that declares nothing has none. In the lines, ``dw`` is
the gradient by w, and ``vw`` what the updater remembers of w as v.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from gdexp.config import capabilities
from gdexp.manual import Logistic, Loss
from gdexp.pytorch.capabilities import SPARSE, TORCH

NUMPY, AUTOGRAD, OPTIMIZER, MODEL = "NumPy", "autograd", "optimizer", "model"
BY_HAND, WITH_TORCH = (NUMPY, AUTOGRAD), (AUTOGRAD, OPTIMIZER)

LOSSES = {
    Loss.measures: (BY_HAND, "((y_pred - y) ** 2)"),
    Logistic.measures: ((NUMPY,), "(np.logaddexp(0, y_pred) - y * y_pred)"),
}
"""By what a loss measures: the ways that can use it, and the loss of each row."""

SLOPES = {
    Loss.measures: ("", "2 * ", "(y_pred - y)"),
    Logistic.measures: ("p = 1 / (1 + np.exp(-y_pred))", "", "(p - y)"),
}
"""By what is derived: a line before the others, and the derivative by each prediction."""

REMEMBERED = {"momentum_buffer": "v", "exp_avg": "m", "exp_avg_sq": "v"}
"""What the lines call what torch's optimizers remember."""


class Line(NamedTuple):
    """A way to compute a step of an epoch.

    Attributes:
        ways: the ways that compute it so.
        code: one or more statements.
        setup: what they use and the run made before its first epoch, or "".
    """

    ways: tuple[str, ...]
    code: str
    setup: str = ""


@dataclass(frozen=True)
class Formulas:
    """The lines of a run.

    Attributes:
        settings: the run's settings.
        names: its parameters.
        features: the number of features, d.
        is_linear: whether the predictor is linear, with one output.
        is_module: whether it is a torch module.
        outputs: the number of outputs.
    """

    settings: Mapping[str, Any]
    names: tuple[str, ...]
    features: int
    is_linear: bool
    is_module: bool
    outputs: int = 1

    def prediction(self) -> list[Line]:
        """Lines that set ``y_pred``."""
        x = "x.unsqueeze(1)" if self.features == 1 else "x"
        call = f"y_pred = model({x}){'.squeeze(1)' if self.outputs == 1 else ''}"
        if not self.is_linear:
            return [Line((MODEL,), call)] if self.is_module else []
        bias = "b" in self.names
        hand = ("w * x" if self.features == 1 else "x @ w") + " + b" * bias
        parameters = "w, b = model.weight, model.bias" if bias else "w = model.weight"
        setup = f"model = torch.nn.Linear({self.features}, 1, bias={bias}); {parameters}"
        return [Line((NUMPY, *WITH_TORCH), f"y_pred = {hand}"), Line((MODEL,), call, setup)]

    def loss(self) -> list[Line]:
        """Lines that set ``loss``."""
        target, (measures, mean_or_sum) = self.settings["loss"]["_target_"], self._measured
        ways, rows = LOSSES.get(measures, ((), ""))
        lines = [Line(ways, f"loss = {rows}.{mean_or_sum}()")] if ways and mean_or_sum else []
        if target.startswith("torch."):
            call = _call(target, self.settings["loss"])
        elif lines:
            reduction = "" if mean_or_sum == "mean" else "reduction='sum'"
            call = f"{_torch_class('measures', measures)}({reduction})"
        else:
            return lines
        torch_ways = tuple(way for way in WITH_TORCH if way not in ways)
        return [*lines, Line(torch_ways, f"loss = {call}(y_pred, y)")]

    def gradient(self) -> list[Line]:
        """Lines that set ``dw`` and, with a bias, ``db``."""
        lines = []
        derived, mean_or_sum = self._derived
        if self.is_linear and derived in SLOPES and mean_or_sum:
            before, factor, error = SLOPES[derived]
            code = [before, f"dw = ({factor}x * {error}).{mean_or_sum}()"]
            if self.features > 1:
                rows = " / len(y)" if mean_or_sum == "mean" else ""
                code[1] = f"dw = {factor}x.T @ {error}{rows}"
            if "b" in self.names:
                code.append(f"db = ({factor}{error}).{mean_or_sum}()")
            lines = [Line((NUMPY,), "\n".join(filter(None, code)))]
        if self.loss() or capabilities.of(self.settings, "gradient", "tracked"):
            code = ["loss.backward()"]
            if self.is_linear:
                code += [f"d{name} = {name}.grad" for name in self.names]
            lines.append(Line(WITH_TORCH, "; ".join(code)))
        return lines

    def update(self, numbers: Mapping[str, Any], is_first: bool, is_derivative: bool) -> list[Line]:
        """Lines that update the parameters, and what is remembered of them.

        Args:
            numbers: the updater's settings.
            is_first: whether the updater remembers nothing yet.
            is_derivative: whether the run's gradient is that of autograd.
        """
        rules = [self._rule(name, numbers, is_first) for name in self.names if self.is_linear]
        hand = "\n".join(line for rule in rules for line in rule)
        lines = []
        if hand:
            inner = (
                " " + hand if "\n" not in hand else "".join(f"\n    {c}" for c in hand.split("\n"))
            )
            lines = [Line((NUMPY,), hand), Line((AUTOGRAD,), f"with torch.no_grad():{inner}")]
        if setup := self._optimizer(bool(hand)):
            is_sparse = self.settings["updater"]["_target_"] in SPARSE
            form = ".to_sparse()" if is_sparse else ""
            is_given = self.is_linear and (is_sparse or not is_derivative)
            given = "".join(f"{n}.grad = d{n}{form}; " for n in self.names if is_given)
            closure = "closure" if _needs_closure(self.settings["updater"]["_target_"]) else ""
            step = f"{given}optimizer.step({closure})"
            lines.append(Line((OPTIMIZER,), step, f"optimizer = {setup}"))
        return lines

    @property
    def is_derivative(self) -> bool:
        """Whether the gradient source gives the derivative of the loss, by what both declare."""
        return self._derived == self._measured

    @property
    def _measured(self) -> tuple[str, str | None]:
        measures = capabilities.of(self.settings, "loss", "measures", "")
        return measures, capabilities.reduction(self.settings, "loss")

    @property
    def _derived(self) -> tuple[str, str | None]:
        if capabilities.of(self.settings, "gradient", "tracked"):
            return self._measured
        derived = capabilities.of(self.settings, "gradient", "derived_for", "")
        return derived, capabilities.reduction(self.settings, "gradient")

    def _rule(self, p: str, numbers: Mapping[str, Any], is_first: bool) -> list[str]:
        """The statements that update the parameter p."""
        dynamics = capabilities.of(self.settings, "updater", "dynamics")
        adaptive = capabilities.of(self.settings, "updater", "adaptive")
        if not (dynamics or adaptive) or numbers.get("amsgrad"):
            return []
        g, code = f"d{p}", []
        if numbers.get("maximize"):
            g, code = f"g{p}", [f"g{p} = -d{p}"]
        if numbers.get("weight_decay"):
            if numbers.get("decoupled_weight_decay"):
                code.append(f"{p} -= lr * weight_decay * {p}")
            else:
                code.append(f"g{p} = {g} + weight_decay * {p}")
                g = f"g{p}"
        if adaptive:
            return [
                *code,
                f"m{p} = beta1 * m{p} + (1 - beta1) * {g}",
                f"v{p} = beta2 * v{p} + (1 - beta2) * {g}**2",
                f"{p} -= lr * m{p} / (1 - beta1**t) / ((v{p} / (1 - beta2**t)) ** 0.5 + eps)",
            ]
        if dynamics == "descent" or not numbers.get("momentum"):
            return [*code, f"{p} -= lr * {g}"]
        # torch's first buffer is the gradient itself
        damped = "(1 - dampening) * " if numbers.get("dampening") and not is_first else ""
        code.append(f"v{p} = momentum * v{p} + {damped}{g}")
        is_nesterov = dynamics == "nesterov" or numbers.get("nesterov")
        step = f"({g} + momentum * v{p})" if is_nesterov else f"v{p}"
        return [*code, f"{p} -= lr * {step}"]

    def _optimizer(self, is_known: bool) -> str:
        """How to make the optimizer that makes the same updates; "" if there is none in torch."""
        settings = self.settings["updater"]
        target = str(settings["_target_"])
        moved = f"[{', '.join(self.names)}]" if self.is_linear else "model.parameters()"
        if target.startswith("torch.") or capabilities.is_derived_from_torch(target):
            return _call(target, settings, moved)
        if not is_known:
            return ""
        if capabilities.of(self.settings, "updater", "adaptive"):
            betas, eps = (settings["beta1"], settings["beta2"]), settings["eps"]
            more, path = {"betas": betas, "eps": eps}, _torch_class("adaptive")
        else:
            dynamics = capabilities.of(self.settings, "updater", "dynamics")
            more = {} if dynamics == "descent" else {"momentum": settings["momentum"]}
            more |= {"nesterov": True} if dynamics == "nesterov" else {}
            path = _torch_class("dynamics")
        given = {"lr": settings["lr"], **more}
        return f"{path}({', '.join([moved, *(f'{key}={v!r}' for key, v in given.items())])})"


def _torch_class(capability: str, value: str | None = None) -> str:
    """The first class of torch that declares a capability, with this value."""
    declares = (path for path, has in TORCH.items() if capability in has)
    return next((p for p in declares if value in (None, TORCH[p][capability])), "")


def _needs_closure(target: str) -> bool:
    """Whether an optimizer computes loss and gradient itself, several times per step."""
    step = getattr(capabilities.resolve(target), "step", None)
    closure = step and inspect.signature(inspect.unwrap(step)).parameters.get("closure")
    return closure is not None and closure.default is inspect.Parameter.empty


def _call(target: str, settings: Mapping[str, Any], *first: str) -> str:
    """The call that builds a torch class, with its lr and the settings that are not defaults."""
    known = inspect.signature(capabilities.resolve(target)).parameters
    words = list(first)
    for key, value in settings.items():
        default = known[key].default if key in known else None
        value = tuple(value) if isinstance(value, list) else value
        if not key.startswith("_") and (key == "lr" or value != default):
            words.append(f"{key}={value!r}")
    return f"{target}({', '.join(words)})"
