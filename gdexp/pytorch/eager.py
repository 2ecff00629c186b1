"""Torch without the Python code that takes a small model longer than its arithmetic.

Each function falls back to torch's public API if the installed torch is not built as it expects.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import MethodType
from typing import Any

import torch
from torch import Tensor

OPTIONS = {"allow_unreachable": True, "accumulate_grad": True}  # torch.autograd.backward's own


def backward(loss: Tensor) -> None:
    """``loss.backward()``, by a direct call of torch's engine if the loss is a scalar on the CPU.

    The Python code that ``Tensor.backward`` runs before the engine takes a third of the time of a
    small model's backpropagation. Most of it serves losses that are not scalars.
    """
    run = _engine()
    if run is None or type(loss) is not Tensor or loss.ndim or not loss.is_cpu:
        loss.backward()  # type: ignore[no-untyped-call]
        return
    run((loss,), (_one(loss.dtype),), False, False, (), **OPTIONS)


@functools.cache
def _one(dtype: torch.dtype) -> Tensor:
    """The gradient at which backpropagation starts; backward functions must not modify it."""
    return torch.ones((), dtype=dtype)


@functools.cache
def _engine() -> Any:
    """The engine's ``run_backward``; None if it does not work as in torch 2.13."""
    try:
        run = torch.autograd.Variable._execution_engine.run_backward
        with torch.enable_grad():
            w = torch.ones((), requires_grad=True)
            run((3 * w,), (_one(w.dtype),), False, False, (), **OPTIONS)
    except (AttributeError, RuntimeError, TypeError):
        return None
    return run if w.grad == 3 else None


@contextmanager
def without_dynamo() -> Iterator[None]:
    """Create an optimizer, or save or load its state, without importing ``torch._dynamo``.

    The import takes as long as that of torch itself, and only compiled code needs it. Torch wraps
    some methods of ``torch.optim.Optimizer`` to hide them from ``torch.compile``. The wrapper calls
    the method's attribute ``__dynamo_disable``, and if it is missing, imports ``torch._dynamo`` to
    create it (``torch/_compile.py``). Within this block the attribute is the method itself. Nothing
    changes if torch has no such wrapper or has already imported ``torch._dynamo``.
    """
    methods: list[Any] = []
    if "torch._dynamo" not in sys.modules:
        wrapped = [getattr(m, "__wrapped__", None) for m in vars(torch.optim.Optimizer).values()]
        methods = [method for method in wrapped if inspect.isfunction(method)]
    for method in methods:
        vars(method)["__dynamo_disable"] = method
    try:
        yield
    finally:
        for method in methods:
            vars(method).pop("__dynamo_disable", None)


def lighten(optimizer: torch.optim.Optimizer) -> None:
    """Replace ``optimizer.step()`` by the unwrapped method of its class, under ``torch.no_grad()``.

    Torch wraps the method twice: for its profiler, and to stop ``torch.compile`` there, for which
    it imports ``torch._dynamo``. The wrappers take longer than an update of a small model. A step
    that is wrapped in another way, or is differentiable, stays as it is.
    """
    step: Any = type(optimizer).step
    guarded = getattr(step, "__wrapped__", None) if getattr(step, "hooked", False) else None
    is_guard = getattr(getattr(guarded, "__code__", None), "co_name", "") == "_use_grad"
    plain = getattr(guarded, "__wrapped__", None) if is_guard else None
    if plain is None or optimizer.defaults.get("differentiable"):
        return

    def step_without_hooks(self: torch.optim.Optimizer, closure: Any = None) -> Any:
        with torch.no_grad():
            return plain(self, closure)

    # A bound method, because schedulers wrap it to count the steps.
    setattr(optimizer, "step", MethodType(step_without_hooks, optimizer))  # noqa: B010
