"""Rows of sweeps that were never run: descents on a parabola, as closed forms."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from gdexp.insight.pictures.curves import Curve
from gdexp.insight.pictures.of_sweep import of_sweep
from gdexp.insight.pictures.picture import Picture

CURVATURE, START = 15.0, 30.0
BOUND = 2 / CURVATURE
GONE = 1e12  # a loss that counts as diverged


def row(
    number: int = 0, loss: float | None = 1.0, outcome: str = "completed", **params: Any
) -> Any:
    """The row of a run; a param's dot is written as two underscores."""
    named = {key.replace("__", "."): str(value) for key, value in params.items()}
    made = {"job": number, "run_id": f"run{number}", "name": f"#{number}", "outcome": outcome}
    made |= {"step": "manual", "seed": "0", "lr": "0.01", "iters": "20", **named}
    return made if loss is None else made | {"final/loss": loss}


def descended(number: int = 0, bound: float = BOUND, **params: Any) -> Any:
    """The row of a descent on the parabola, with its forecast and its behaviour."""
    lr, iters = float(params.get("lr", 0.01)), int(params.get("iters", 20))
    logarithm = math.log(START) + iters * _log_ratio(lr)
    is_gone = logarithm > math.log(GONE)
    loss = GONE if is_gone else math.exp(logarithm) if logarithm > -700 else 0.0
    made = row(number, loss, "diverged" if is_gone else "completed", **params)
    behaviour = "diverging" if lr > BOUND else "oscillating" if lr > BOUND / 2 else "monotone"
    return made | {"forecast/largest_lr": bound, "behaviour": behaviour}


def _log_ratio(lr: float) -> float:
    return 2 * math.log(abs(1 - lr * CURVATURE) + 1e-300)


def grid(bound: Callable[[Any], float] = lambda _: BOUND, **axes: Sequence[Any]) -> list[Any]:
    """The rows of all combinations of these values."""
    made = []
    for number, values in enumerate(itertools.product(*axes.values())):
        params = dict(zip(axes, values, strict=True))
        made.append(descended(number, bound(params), **params))
    return made


def losses(rows: Sequence[Any]) -> Callable[[Sequence[str]], Mapping[str, Curve]]:
    """A reader of their curves, which counts what it is asked for as ``asked``."""
    by_id = {each["run_id"]: each for each in rows}

    def read(run_ids: Sequence[str]) -> Mapping[str, Curve]:
        read.asked = [*run_ids]  # type: ignore[attr-defined]
        return {run_id: _curve(by_id[run_id]) for run_id in run_ids}

    return read


def _curve(each: Any) -> Curve:
    epochs = np.arange(1.0, int(each["iters"]) + 1)
    logarithms = math.log(START) + (epochs - 1) * _log_ratio(float(each["lr"]))
    return epochs, np.exp(np.clip(logarithms, -700, 80)) * (1 + 0.1 * int(each["seed"]))


def drawn(
    rows: Sequence[Any], *, axes: Sequence[str] = (), curves: bool = False, saved: bool = False
) -> dict[str, Picture]:
    """The pictures of a sweep by name, saved too, which takes most of the time."""
    pictures = {each.name: each for each in of_sweep(rows, losses(rows) if curves else None, axes)}
    for picture in pictures.values():
        assert picture.description.endswith(".")
        assert picture.title
        (length,) = {len(column) for column in picture.table.values()}
        assert 1 <= length <= 50
        if saved:
            content = picture.svg()
            assert content.startswith(b"<?xml")
            assert len(content) < 120_000
    return pictures
