"""The pictures of a run as artifacts, if it asks for them."""

from __future__ import annotations

from gdexp.descent.result import Result
from gdexp.errors import brief

PLOTS = "plots"  # their folder


def drawn(result: Result) -> tuple[dict[str, bytes], dict[str, str]]:
    """The pictures of a run as artifacts, and a note if not all of them could be drawn."""
    pictures: dict[str, bytes] = {}
    try:
        from gdexp.insight.pictures.of_run import of_run

        for picture in of_run(result):
            pictures[f"{PLOTS}/{picture.name}.svg"] = picture.svg()
    except (Exception, SystemExit) as error:  # a picture is no reason to lose a run
        return pictures, {PLOTS: f"Not all pictures could be drawn: {brief(error)}."}
    return pictures, {}
