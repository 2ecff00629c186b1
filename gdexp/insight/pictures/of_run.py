"""The pictures of one run."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from gdexp.descent.result import Result
from gdexp.insight.pictures import descent, loss, quantities
from gdexp.insight.pictures.picture import Picture
from gdexp.insight.pictures.rebuilt import rebuilt


def of_run(result: Result) -> Iterator[Picture]:
    """Draw a run: as many pictures as its record has numbers for; none if it has no epoch.

    ``loss``, ``descent``, ``parameters``, ``gradient`` and, if it is scheduled, ``lr``.

    Args:
        result: the result of a run that has ended, computed here or read from its record.
            ``result.job``, if it is known, says what was minimised and on which data; it is built
            again, from files relative to :func:`gdexp.config.paths.started_in`.
    """
    if not result.trajectory.length:
        return
    built, missing = rebuilt(result)
    yield loss.picture(result, built)
    draws = (
        partial(descent.picture, result, built, missing),
        partial(quantities.parameters, result, built),
        partial(quantities.gradient, result),
        partial(quantities.lr, result),
    )
    yield from (picture for draw in draws if (picture := draw()) is not None)
