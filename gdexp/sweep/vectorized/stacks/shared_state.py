"""What components keep besides their parameters, as bytes that can be compared.

The runs of a stack share it, so it must be equal in all of them and must not change from call to
call.
"""

from __future__ import annotations

import io
import pickle
import sys
from collections.abc import Mapping
from types import FunctionType, ModuleType
from typing import Any

from gdexp.descent.build import Components


def shared_state(built: Components) -> bytes:
    """The buffers and attributes of the predictor, the loss and the gradient source.

    Equal bytes mean an equal state. Functions and what cannot be pickled count by their names.
    """
    predictor: Any = built.predictor
    skipped = {"parameters"}
    if type(predictor).__module__.startswith("gdexp."):
        skipped.add("init")  # the start value, in which runs may differ
    own = {k: v for k, v in predictor.__getstate__().items() if k not in skipped}
    file = io.BytesIO()
    _Pickler(file, built).dump((own, built.loss, built.gradient))
    return file.getvalue()


class _Pickler(pickle.Pickler):
    """Writes parameters as their shapes, and other tensors as their numbers."""

    def __init__(self, file: io.BytesIO, built: Components) -> None:
        super().__init__(file, protocol=4)
        self._parameters = {id(value) for value in built.predictor.parameters.values()}
        self._torch: Any = sys.modules.get("torch")
        self._classes: set[type] = set()

    def persistent_id(self, value: Any) -> Any:
        """What is written in place of an object; None for the object itself."""
        if id(value) in self._parameters:
            return "parameter", str(getattr(value, "shape", ()))
        if isinstance(value, type | ModuleType | FunctionType):
            return "name", _name(value)
        if self._torch is None:
            return None
        if isinstance(value, self._torch.Tensor):
            return "tensor", str(value.dtype), value.detach().tolist()
        if isinstance(value, self._torch.Generator):
            return "generator", value.get_state().tolist()
        return None

    def reducer_override(self, value: Any) -> Any:
        """How an object is written: its class by name, and its state."""
        kind = type(value)
        numbers = {}
        if kind not in self._classes:
            self._classes.add(kind)
            numbers = {k: v for k, v in vars(kind).items() if isinstance(v, int | float)}
        if self._torch is not None and isinstance(value, self._torch.nn.Module):
            state = {k: _unnumbered(k, v) for k, v in vars(value).items()}
            return _opaque, (_name(kind), numbers), state
        try:
            reduced = value.__reduce_ex__(4)
        except Exception:
            return _opaque, (_name(kind), numbers)
        if isinstance(reduced, str):
            return _opaque, (_name(kind), numbers)
        return _opaque, (_name(kind), numbers, *reduced[1]), *reduced[2:]


def _opaque(*_: object) -> None:
    """Stands for the constructor of an object: nothing is unpickled."""


def _name(value: Any) -> str:
    return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', value.__name__)}"


def _unnumbered(name: str, value: Any) -> Any:
    """A module's hooks without their numbers, which are counted in the process."""
    return [*value.values()] if name.endswith("_hooks") and isinstance(value, Mapping) else value
