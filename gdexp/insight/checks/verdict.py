"""Whether gradients and derivatives agree within rounding, and if not, why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gdexp.descent.predictors import to_numpy
from gdexp.insight.checks.causes import Cause, Evidence, Indices, multiple_of, name_cause
from gdexp.insight.checks.probe import Point, Probe, flat, norm
from gdexp.insight.checks.reference import Floats, Values, dot, moved

COORDINATES = 32  # differentiated one by one where gradient and derivative disagree
CLOSE = 3e-4  # a gradient as close as this, such as one by forward differences, is not blamed
LOST = 0.1  # a check that rounding can falsify by this share of the derivative makes no sense
SPARE = 8  # a cause is recognized within this many times the tolerance of the check


class Verdict(NamedTuple):
    """How a gradient compares with the derivative.

    Attributes:
        error: the largest distance from the derivative, relative to the largest derivative.
        ratio: the least-squares multiple of the derivative that the gradient is.
        cause: why they disagree; None if they agree.
        is_cut: whether autograd itself gives something else than the derivative.
    """

    error: float
    ratio: float
    cause: Cause | None = None
    is_cut: bool = False


def judge(probe: Probe, points: Sequence[Point]) -> Verdict | None:
    """The verdict on two or more points; None if rounding leaves no telling."""
    numbers = [p.slope.value + p.slope.noise + flat(p.given).sum() for p in points]
    largest = max(_length(probe, point) for point in points)
    if not (np.isfinite(numbers).all() and largest):
        return None
    if all(agrees(probe, point) for point in points):
        return _measured(probe, points)
    noise = [noise_of(probe, point) for point in points]
    if max(noise) > LOST * largest:
        return None
    if all(agrees(probe, point, extra) for point, extra in zip(points, noise, strict=True)):
        return _measured(probe, points)
    return _explained(probe, points)


def agrees(probe: Probe, point: Point, noise: float = 0.0) -> bool:
    """Whether rounding explains the difference between a gradient and the derivative.

    Half the digits of the run's precision have to be right: the rounding of a sum of n terms stays
    far below that.
    """
    share = max(probe.root, CLOSE)
    size = norm({name: point.given[name] * v for name, v in probe.direction.items()})
    slack = share * (size + abs(point.slope.value)) + point.slope.noise + noise
    if abs(dot(point.given, probe.direction) - point.slope.value) > slack:
        return False
    if point.exact is None:
        return True
    exact = probe.scaled(point.exact)
    distance = norm(moved(probe.scaled(point.given), exact, -1))
    return distance <= share * norm(exact) + point.slope.noise + noise


def _length(probe: Probe, point: Point) -> float:
    lengths = [abs(point.slope.value), norm(probe.scaled(point.given))]
    return max(*lengths, norm(probe.scaled(point.exact)) if point.exact is not None else 0.0)


def distance(probe: Probe, point: Point) -> float:
    """From the gradient to the derivative: of all numbers by autograd, if it can be trusted."""
    along = abs(dot(point.given, probe.direction) - point.slope.value)
    if point.exact is None:
        return along
    whole = norm(probe.scaled(moved(point.given, point.exact, -1)))
    off = abs(dot(point.exact, probe.direction) - point.slope.value)
    is_right = off <= probe.root * norm(probe.scaled(point.exact)) + point.slope.noise
    return whole if is_right else max(whole, along)


def noise_of(probe: Probe, point: Point) -> float:
    """How far the derivative moves if the data are rounded, or the difference is taken closer.

    Every number of the data is rounded to half its digits, thrice, which is far more than a run
    rounds. A smooth loss has the same slope over an eighth of the distance.
    """
    closer = probe.reference.slope(point.at, probe.direction, probe.h / 8)
    distances = [abs(closer.value - point.slope.value)]
    for _ in range(3):
        near = probe.reference.jittered(probe.root, probe.rng)
        slope = near.slope(point.at, probe.direction, probe.h)
        distances.append(abs(slope.value - point.slope.value))
        if point.exact is not None and (exact := near.gradient(point.at)) is not None:
            distances.append(norm(probe.scaled(moved(exact, point.exact, -1))))
    return 3 * max(distances) + point.slope.noise


def _measured(probe: Probe, points: Sequence[Point]) -> Verdict:
    """The verdict where all agree: with torch of whole vectors, else along the direction."""
    if all(point.exact is not None for point in points):
        given = [flat(probe.scaled(point.given)) for point in points]
        right = [flat(probe.scaled(p.exact)) for p in points if p.exact is not None]
    else:
        given = [np.array([dot(point.given, probe.direction)]) for point in points]
        right = [np.array([point.slope.value]) for point in points]
    return _summary(given, right)


def _summary(given: Sequence[Floats], right: Sequence[Floats]) -> Verdict:
    largest = max(float(np.linalg.norm(r)) for r in right) or 1.0
    distances = [float(np.linalg.norm(g - r)) for g, r in zip(given, right, strict=True)]
    ratio = multiple_of(np.concatenate(given), np.concatenate(right))
    return Verdict(max(distances) / largest, ratio)


def _explained(probe: Probe, points: Sequence[Point]) -> Verdict:
    """The verdict where they disagree, number by number."""
    is_cut = any(_is_cut(probe, point) for point in points)
    given = [probe.scaled(point.given) for point in points]
    used: dict[str, Indices] | None = None
    if is_cut or points[0].exact is None:
        chosen = _used(probe)
        right = [_by_differences(probe, point.at, chosen) for point in points]
        given = [{name: g[name].reshape(-1)[i] for name, i in chosen.items()} for g in given]
        if all(len(i) == probe.scales[name].size for name, i in chosen.items()):
            given, right = _shaped(probe, given), _shaped(probe, right)
        else:
            used = chosen
    else:
        right = [probe.scaled(point.exact) for point in points if point.exact is not None]
    evidence = Evidence(
        given=(given[0], given[-1]),
        right=(right[0], right[-1]),
        scales=probe.scales,
        rows=len(probe.y),
        total=probe.total,
        tolerance=SPARE * probe.root,
        pairs=_pairs(probe, points) if used is None else (),
        used=used,
    )
    cause = name_cause(evidence)
    verdict = _summary(list(map(flat, given)), list(map(flat, right)))
    verdict = verdict._replace(cause=cause, is_cut=is_cut)
    if cause.multiple is None:
        return verdict
    return verdict._replace(error=abs(cause.multiple - 1), ratio=cause.multiple)


def _is_cut(probe: Probe, point: Point) -> bool:
    """Whether autograd gives something else than the derivative."""
    if point.exact is None:
        return False
    distance = abs(dot(point.exact, probe.direction) - point.slope.value)
    return distance > probe.root * norm(probe.scaled(point.exact)) + noise_of(probe, point)


def _used(probe: Probe) -> dict[str, Indices]:
    """Which numbers of each parameter are differentiated one by one."""
    share = max(1, COORDINATES // len(probe.scales))
    return {
        name: np.unique(np.linspace(0, scale.size - 1, min(share, scale.size)).astype(int))
        for name, scale in probe.scales.items()
    }


def _by_differences(probe: Probe, at: Values, used: dict[str, Indices]) -> Values:
    """The derivative by these numbers, in units of their scales."""
    right: Values = {}
    for name, indices in used.items():
        right[name] = np.empty(len(indices))
        for k, i in enumerate(indices):
            direction = {n: np.zeros(scale.size) for n, scale in probe.scales.items()}
            direction[name][i] = probe.scales[name].reshape(-1)[i]
            shaped = {n: v.reshape(at[n].shape) for n, v in direction.items()}
            right[name][k] = probe.reference.difference(at, shaped, probe.h)
    return right


def _shaped(probe: Probe, points: Sequence[Values]) -> list[Values]:
    return [{n: v.reshape(probe.scales[n].shape) for n, v in point.items()} for point in points]


def _pairs(probe: Probe, points: Sequence[Point]) -> tuple[tuple[Values, Values], ...]:
    """The slopes of squared errors over all pairs, by the row of the prediction or the target.

    For residuals ``r[i, j] = y_pred[i] - y[j]``, these are the means of ``x[i] * r[i, j]`` and of
    ``x[j] * r[i, j]``.
    """
    if not probe.is_linear or probe.built.task != "regression":
        return ()
    reference = probe.reference
    x, y = (to_numpy(rows).astype(np.float64) for rows in (reference.x, reference.y))
    x = x.reshape(len(x), -1)

    def slopes(point: Point, by_target: bool) -> Values:
        p = reference.predictions(point.at)
        r = p.mean() - y if by_target else p - y.mean()
        both = {"w": (x * r[:, None]).mean(axis=0), "b": r.mean()}
        return {n: scale * np.reshape(both[n], scale.shape) for n, scale in probe.scales.items()}

    ends = points[0], points[-1]
    return tuple((slopes(ends[0], by), slopes(ends[1], by)) for by in (False, True))
