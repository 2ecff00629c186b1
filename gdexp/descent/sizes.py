"""Limits on the size of a predictor that a record describes: it is no larger than its state.

A record of a few bytes may ask for a layer of any width. Its state has a number for each parameter,
and the state is no larger than the record.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from gdexp.config.job import Job
from gdexp.config.trust import is_ours, targets
from gdexp.descent.instantiation import option
from gdexp.errors import excerpt

SPARE = 1000  # for settings that are not sizes


def check_sizes(settings: Mapping[str, Any], state: Any) -> None:
    """Refuse whole numbers in a predictor's settings that are larger than any size can be.

    What the user's own classes do with a number is not known, so theirs are not checked.

    Raises:
        ValueError: names the number.
    """
    node = settings["predictor"]
    if _is_known(node):
        most = _numbers(state) + SPARE
        for value in _whole_numbers(node):
            if abs(value) > most:
                size = excerpt(value)
                raise ValueError(f"predictor has a size of {size}, more than its state has")


def check_parameters(
    settings: Mapping[str, Any], state: Mapping[str, Any], features: int, outputs: int
) -> None:
    """Refuse a torch predictor whose state has another number of numbers, without its memory.

    Raises:
        ConfigError: if its class rejects its settings.
        ValueError: says how many it has and needs.
    """
    node = settings["predictor"]
    if not _is_known(node) or str(node["_target_"]).startswith("gdexp.manual."):
        return
    import torch

    with torch.device("meta"):  # shapes alone
        made = option(Job(dict(settings), {}), "predictor", features=features, outputs=outputs)
    module = getattr(made, "module", made)
    needed = sum(value.numel() for value in module.state_dict().values())
    if needed != (given := _numbers(state)):
        raise ValueError(
            f"its state does not fit the predictor: it has {given} numbers, not {needed}"
        )


def _is_known(node: Mapping[str, Any]) -> bool:
    return all(is_ours(target) for _, target in targets(node, ""))


def _numbers(state: Any) -> int:
    if isinstance(state, Mapping | list | tuple):
        return sum(map(_numbers, state.values() if isinstance(state, Mapping) else state))
    return math.prod(np.shape(state))


def _whole_numbers(node: Any) -> Iterator[int]:
    if isinstance(node, Mapping | list):
        for inner in node.values() if isinstance(node, Mapping) else node:
            yield from _whole_numbers(inner)
    elif type(node) is int:
        yield node
