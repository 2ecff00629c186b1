"""A picture: a Matplotlib figure, the sentence that describes it, and its numbers as a table."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Picture:
    """One picture, with everything that a reader who cannot see it needs.

    Attributes:
        name: the stem of its file, such as ``loss``.
        title: what it shows, in a few words.
        description: what can be seen in it, in a sentence or two.
        table: its numbers, as columns by name; thinned if they are many.
        figure: the figure.
    """

    name: str
    title: str
    description: str
    table: Mapping[str, Any]
    figure: Figure

    def svg(self) -> bytes:
        """The picture as SVG, in which text stays text."""
        return self._saved("svg")

    def png(self, dpi: int = 150) -> bytes:
        """The picture as PNG."""
        return self._saved("png", dpi=dpi)

    def _saved(self, kind: str, **options: Any) -> bytes:
        import matplotlib

        stream = io.BytesIO()
        with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": self.name}):
            self.figure.savefig(
                stream, format=kind, metadata={"Date": None} if kind == "svg" else {}, **options
            )
        return stream.getvalue()
