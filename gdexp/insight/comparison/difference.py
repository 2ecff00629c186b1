"""Where two trajectories first differ, by how many units in the last place, and how they end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from gdexp.descent.trajectory import FloatArray, Trajectory

Curves: TypeAlias = Mapping[str, FloatArray]

SMALL = 1e-3  # relative to the largest value of a curve
LOSS, GRADIENT, PARAMETER = "train/loss", "grad/", "param/"


@dataclass(frozen=True)
class Pair:
    """The two values of one quantity in one epoch.

    Attributes:
        epoch: the epoch, from 1.
        quantity: the name of the curve, as in ``param/w``.
        a: the value in the first trajectory; None if it does not have this epoch or quantity.
        b: the value in the second trajectory, likewise.
        dtype: the precision of both values.
    """

    epoch: int
    quantity: str
    a: float | None
    b: float | None
    dtype: str

    @property
    def ulp(self) -> int | None:
        """How many steps of :func:`numpy.nextafter` lead from one value to the other.

        None if there is no way: one of them is missing or NaN. 0.0 and -0.0 are 0 steps apart.
        """
        if self.a is None or self.b is None or np.isnan(self.a) or np.isnan(self.b):
            return None
        return abs(_place(self.a, self.dtype) - _place(self.b, self.dtype))

    @property
    def stage(self) -> int:
        """When in an epoch it is computed: 0 the loss, 1 a gradient, 2 a parameter, 3 the rest."""
        return _rank(self.quantity)[0]

    def words(self, a: str, b: str) -> str:
        """The pair in words: ``param/w: recorded 1.0, now 1.0000001 (1 ulp of float32)``.

        Args:
            a: what to call the first trajectory.
            b: what to call the second one.
        """
        text = f"{self.quantity}: {a} {self._shown(self.a)}, {b} {self._shown(self.b)}"
        if self.ulp is None:
            return text
        return f"{text} ({self.distance})"

    @property
    def distance(self) -> str:
        """Their distance in words: ``1 ulp of float32``; "" if there is none."""
        if self.ulp is None:
            return ""
        if not self.ulp:
            return "only the sign" if self.a == self.b else f"less than 1 ulp of {self.dtype}"
        return f"{self.ulp} ulp of {self.dtype}"

    @property
    def shown(self) -> str:
        """Both values: ``0.3 and 0.29999998``; with all digits if they are closer than that."""
        a, b = self._shown(self.a), self._shown(self.b)
        return f"{a} and {b}" if a != b or self.a == self.b else f"{self.a} and {self.b}"

    def _shown(self, value: float | None) -> str:
        """The shortest digits that no other value of this precision has."""
        return "none" if value is None else str(np.dtype(self.dtype).type(value))


@dataclass(frozen=True)
class Difference:
    """The first difference between two trajectories.

    Within an epoch, the loss comes first, then the gradients, the parameters and the rest: the
    order in which they are computed.

    Attributes:
        first: the first pair of values that differ.
        last_epoch: the last epoch that both have.
        ends: the pairs that differ in it.
    """

    first: Pair
    last_epoch: int
    ends: tuple[Pair, ...]


def difference(a: Trajectory, b: Trajectory, dtype: str = "float64") -> Difference | None:
    """Compare every epoch of every quantity, bit by bit; NaN equals NaN.

    A quantity that only one of them has counts if all others are equal in all epochs.

    Args:
        a: the first trajectory.
        b: the second trajectory.
        dtype: the precision of the runs. Values that it does not hold, such as the parameters of a
            float32 run by hand, are of double precision.

    Returns:
        The first difference; None if there is none.
    """
    one, other = a.columns(), b.columns()
    epochs = min(a.length, b.length)
    names = sorted(one.keys() & other.keys(), key=_rank)
    first = _first(one, other, names, epochs) or _missing(one, other, epochs)
    if first is None:
        return None
    epoch, name = first
    pairs = _differing(one, other, names, epochs, dtype) if epochs else ()
    return Difference(_pair(one, other, name, epoch, dtype), epochs, tuple(pairs))


def farthest(a: Trajectory, b: Trajectory, dtype: str) -> Pair | None:
    """The losses or parameters of one epoch that are most ulp apart, rounded to a precision.

    Left out is what consists of rounding errors: gradients, which vanish at the optimum, and values
    below a thousandth of their curve's largest.

    Returns:
        The first such pair; None if the trajectories have no epoch in common.
    """
    one, other, epochs = a.columns(), b.columns(), min(a.length, b.length)
    worst: tuple[int, str, int] | None = None
    names = [n for n in sorted(one.keys() & other.keys(), key=_rank) if not n.startswith(GRADIENT)]
    for name in names if epochs else ():
        x, y = one[name][:epochs], other[name][:epochs]
        sizes = np.maximum(abs(x), abs(y))
        apart = abs(_places(x, dtype) - _places(y, dtype)) * (sizes >= SMALL * sizes.max())
        row = int(apart.argmax())
        if worst is None or apart[row] > worst[0]:
            worst = int(apart[row]), name, row + 1
    if worst is None:
        return None
    _, name, epoch = worst
    return Pair(epoch, name, _value(one, name, epoch), _value(other, name, epoch), dtype)


def is_rounding(a: Trajectory, b: Trajectory, pair: Pair, dtype: str) -> bool:
    """Whether rounding may tell the first pair of values that differs apart.

    Their difference must be below 1,000 units of rounding of the largest value of its kind (loss,
    gradient, parameter) until then: a sum may be much smaller than its terms.
    """
    if pair.a is None or pair.b is None:
        return False
    curves = [*a.columns().items(), *b.columns().items()]
    kind = [values[: pair.epoch] for name, values in curves if _rank(name)[0] == pair.stage]
    largest = max(float(abs(values).max()) for values in kind)
    return abs(pair.a - pair.b) <= 1000 * float(np.finfo(dtype).eps) * largest


def _places(values: FloatArray, dtype: str) -> Any:
    """:func:`_place` of each value; in double precision, near 2**63, rounded."""
    kind = np.dtype(dtype)
    with np.errstate(over="ignore"):
        bits = values.astype(kind).view(f"i{kind.itemsize}").astype(np.int64)
    lowest = np.iinfo(f"i{kind.itemsize}").min
    places = np.where(bits >= 0, bits, lowest - bits)
    return places if kind.itemsize < 8 else places.astype(np.float64)


def _rank(name: str) -> tuple[int, str]:
    """A sort key: the order in which the quantities of an epoch are computed."""
    groups = (LOSS, GRADIENT, PARAMETER)
    return next((i for i, start in enumerate(groups) if name.startswith(start)), 3), name


def _first(a: Curves, b: Curves, names: list[str], epochs: int) -> tuple[int, str] | None:
    """The first epoch and quantity whose values differ."""
    first, place = None, epochs  # only epochs before the earliest difference are of interest
    for name in names:
        differs = _differs(a[name][:place], b[name][:place])
        if differs.any():
            place = int(differs.argmax())
            first = place + 1, name
    return first


def _missing(a: Curves, b: Curves, epochs: int) -> tuple[int, str] | None:
    """The first epoch that only one of them has, else a quantity that only one has."""
    if len(a[LOSS]) != len(b[LOSS]):
        return epochs + 1, LOSS
    alone = sorted(a.keys() ^ b.keys(), key=_rank)
    return (1, alone[0]) if alone else None


def _differing(a: Curves, b: Curves, names: list[str], epoch: int, dtype: str) -> Iterator[Pair]:
    for name in names:
        if _differs(a[name][epoch - 1 : epoch], b[name][epoch - 1 : epoch]).any():
            yield _pair(a, b, name, epoch, dtype)


def _differs(x: FloatArray, y: FloatArray) -> Any:
    """Where the bits differ, and not both are NaN."""
    differs = x.view(np.int64) != y.view(np.int64)
    return differs & ~(np.isnan(x) & np.isnan(y)) if differs.any() else differs


def _pair(a: Curves, b: Curves, name: str, epoch: int, dtype: str) -> Pair:
    one, other = _value(a, name, epoch), _value(b, name, epoch)
    is_held = _is_held(one, dtype) and _is_held(other, dtype)
    return Pair(epoch, name, one, other, dtype if is_held else "float64")


def _value(curves: Curves, name: str, epoch: int) -> float | None:
    values = curves.get(name, ())
    return float(values[epoch - 1]) if epoch <= len(values) else None


def _is_held(value: float | None, dtype: str) -> bool:
    with np.errstate(over="ignore"):
        return value is None or np.isnan(value) or float(np.dtype(dtype).type(value)) == value


def _place(value: float, dtype: str) -> int:
    """The place of a value among all of its precision, in order; that of 0.0 and -0.0 is 0."""
    kind = np.dtype(dtype)
    bits = int(np.array(value, kind).view(f"i{kind.itemsize}"))
    return bits if bits >= 0 else -(bits + 2 ** (8 * kind.itemsize - 1))
