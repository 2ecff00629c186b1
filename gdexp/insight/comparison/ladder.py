"""One descent computed in several ways: which give identical numbers, and why others do not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from gdexp.config.job import Job
from gdexp.config.schema import FAMILIES
from gdexp.descent.numbers import short
from gdexp.descent.result import outcome
from gdexp.descent.trajectory import Trajectory
from gdexp.errors import counted
from gdexp.insight.comparison.changes import divided
from gdexp.insight.comparison.difference import Difference, difference, farthest, is_rounding
from gdexp.insight.comparison.rounding import computed, explain, place

SMALL = 1e-3  # relative: ratios that differ by less are the same


@dataclass(frozen=True)
class Rung:
    """One way to compute the descent.

    Attributes:
        words: the options by which it was composed, as typed.
        job: its job, which has been checked.
        labels: what the table calls it, as in ``2``.
        trajectory: every epoch.
    """

    words: tuple[str, ...]
    job: Job
    labels: tuple[str, ...] = ()
    trajectory: Trajectory = field(repr=False, kw_only=True)

    @property
    def choices(self) -> tuple[str, ...]:
        """The options of the four families."""
        return tuple(self.job.choices[family] for family in FAMILIES)

    @property
    def dtype(self) -> str:
        """The precision of the data."""
        return str(self.job.settings["dtype"])

    @property
    def final_loss(self) -> str:
        """The last loss, in the fewest digits that no other number of the precision has."""
        return str(np.dtype(self.dtype).type(self.trajectory.loss[-1]))

    @property
    def outcome(self) -> str:
        """How it ended, in words."""
        return outcome(self.trajectory)[0] if self.trajectory.length else "diverged"


def differs(a: Rung, b: Rung) -> Difference | None:
    """The first difference between two rungs; None if they are identical."""
    return difference(a.trajectory, b.trajectory, a.dtype)


def groups(rungs: Sequence[Rung]) -> list[list[Rung]]:
    """The rungs in groups of identical numbers, in the order of their first members."""
    grouped: list[list[Rung]] = []
    for rung in rungs:
        same = next((group for group in grouped if differs(group[0], rung) is None), None)
        if same is None:
            grouped.append([rung])
        else:
            same.append(rung)
    return grouped


def nearest(group: Sequence[Rung], others: Sequence[Sequence[Rung]]) -> tuple[int, Rung, Rung]:
    """The two rungs of a group and of another that differ in the fewest choices, and latest.

    Returns:
        (number of the other group, its rung, the group's rung)
    """
    pairs = [(i, a, b) for i, other in enumerate(others) for a in other for b in group]
    return min(pairs, key=lambda pair: _distance(pair[1], pair[2]))


def _distance(a: Rung, b: Rung) -> tuple[float, ...]:
    choices = sum(x != y for x, y in zip(a.choices, b.choices, strict=True))
    return choices, *(-late for late in place(differs(a, b)))


def identical(a: Rung) -> str:
    """``identical, bit for bit: 20 epochs, 3 quantities``."""
    epochs, quantities = a.trajectory.length, len(a.trajectory.columns())
    return f"identical, bit for bit: {counted(epochs, 'epoch')}, {quantities} quantities"


def comparison(a: Rung, b: Rung) -> Iterator[str]:
    """Whether two rungs are identical, or where they first differ, by how much, and why."""
    apart = differs(a, b)
    if apart is None:
        yield f"{identical(a)}."
        return
    yield f"different from epoch {apart.first.epoch} on: {_amount(a, b, apart)}."
    yield from _reason(a, b, apart)


def _amount(a: Rung, b: Rung, apart: Difference) -> str:
    """The first pair of values, and how far apart the two come later."""
    first = replace(apart.first, dtype=a.dtype)
    if first.a is None or first.b is None:
        shorter, longer = sorted((a.trajectory.length, b.trajectory.length))
        return f"one ends after epoch {shorter}, the other after epoch {longer}"
    text = f"{first.quantity} is {first.shown}"
    worst = farthest(a.trajectory, b.trajectory, a.dtype)
    if not is_rounding(a.trajectory, b.trajectory, first, a.dtype):
        return text
    text += f" ({first.distance})"
    if worst is not None and (worst.ulp or 0) > (first.ulp or 0):
        text += f", later at most {worst.distance} ({worst.quantity} in epoch {worst.epoch})"
    return text


def _reason(a: Rung, b: Rung, apart: Difference) -> Iterator[str]:
    """Why they differ, and the experiment that shows it."""
    why = explain(a.job, b.job, apart.first.epoch)
    if not why.changes:
        small = is_rounding(a.trajectory, b.trajectory, apart.first, a.dtype)
        yield f"Why: {'by rounding; ' if small else ''}no known cause explains it."
        return
    yield f"Why: {'; and '.join(change.cause for change in why.changes)}."
    undone = " and ".join(change.undone for change in why.changes)
    epochs = a.trajectory.length
    if why.rest is not None:
        left = why.rest.first
        yield f"Experiment: {undone}, they first differ in epoch {left.epoch} ({left.quantity})."
    elif why.epochs < epochs:
        yield f"Experiment: {undone}, the first {why.epochs} epochs are identical."
    else:
        yield f"Experiment: {undone}, all epochs are identical."


def multiple(published: Rung, derivative: Rung) -> float | None:
    """By how much the first gradients of one are larger than the other's.

    None if it varies, or if they are not taken at the same parameters: of minibatches, they are
    those of the last one.
    """
    losses = [rung.trajectory.loss[:1].tolist() for rung in (published, derivative)]
    if losses[0] != losses[1]:
        return None
    pairs = [
        (float(values[0]), float(derivative.trajectory.gradients[name][0]))
        for name, values in published.trajectory.gradients.items()
        if len(values) and derivative.trajectory.length
    ]
    ratios = [one / other for one, other in pairs if other]
    if not ratios or max(ratios) - min(ratios) > SMALL * abs(ratios[0]):
        return None
    return float(round(ratios[0])) if abs(ratios[0] - round(ratios[0])) < SMALL else ratios[0]


def without_factor(published: Rung, derivative: Rung, factor: float) -> Iterator[str]:
    """What is left between them once the larger gradient is divided by the factor."""
    again = computed(published.job, [divided(factor)])
    left = replace(published, trajectory=again)
    if differs(derivative, left) is None:
        yield f"Experiment: with its gradient divided by {short(factor)}, all epochs are identical."
        return
    worst = farthest(derivative.trajectory, again, derivative.dtype)
    if worst is not None and is_rounding(derivative.trajectory, again, worst, derivative.dtype):
        yield (
            f"Experiment: with its gradient divided by {short(factor)}, the numbers are at most "
            f"{worst.distance} apart ({worst.quantity} in epoch {worst.epoch})."
        )
