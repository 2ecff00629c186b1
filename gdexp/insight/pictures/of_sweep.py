"""The pictures of a sweep: the map, the curves, the repetitions, the parallel coordinates."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import ParamSpec, TypeVar

from gdexp.insight.pictures.axes import Row, chosen, swept
from gdexp.insight.pictures.band import bands_of
from gdexp.insight.pictures.cells import PANELS, facets
from gdexp.insight.pictures.curves import Losses, curves_of
from gdexp.insight.pictures.map import map_of
from gdexp.insight.pictures.parallel import parallel_of
from gdexp.insight.pictures.picture import Picture
from gdexp.insight.pictures.profile import profile_of
from gdexp.insight.pictures.style import style

P = ParamSpec("P")
T = TypeVar("T")


def of_sweep(
    rows: Sequence[Row], losses: Losses | None = None, axes: Sequence[str] = ()
) -> Iterator[Picture]:
    """Draw a sweep: as many pictures as its runs have numbers for; none without runs.

    The first is the map of the final loss over two settings, or what is drawn in its place.

    Args:
        rows: a row for each run: ``run_id``, ``outcome``, its params (strings, as recorded) and
            its metrics, by name, as :func:`gdexp.sweep.summary.row_of` makes it of a recorded run;
            and, if it is known, its ``behaviour``.
        losses: reads the curves of the loss; None: they are not drawn.
        axes: the settings of the map's axes; lr and iters, or the first two that differ, if none.

    Raises:
        GdexpError: the runs have no such setting.
    """
    if not rows:
        return
    differ = swept(rows)
    drawn = chosen(rows, axes) if axes else differ[:2]
    others = [axis for axis in differ if axis.key not in {each.key for each in drawn}]
    if len(drawn) == 2:
        yield _drawn(map_of, rows, drawn[0], drawn[1], others)
    else:
        yield _drawn(profile_of, rows, drawn[0] if drawn else None)
    if len(differ) > 2 and len(facets(rows, others)) > PANELS:
        yield _drawn(parallel_of, rows, differ)
    if losses is not None:
        for draw in (curves_of, bands_of):
            if picture := _drawn(draw, rows, differ, losses):
                yield picture


def _drawn(draw: Callable[P, T], *args: P.args, **settings: P.kwargs) -> T:
    with style():
        return draw(*args, **settings)
