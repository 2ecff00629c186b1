"""What tests of reports import by name: a page as a reader takes it in."""

from __future__ import annotations

import re
from html.parser import HTMLParser

EMPTY = {"meta", "link", "br", "img", "image", "use", "path", "circle"}


class Page(HTMLParser):
    """What a page says, read with Python's own parser.

    Attributes:
        tables: the rows of each table as strings, by caption; the first row has the columns.
        texts: the texts of elements, by their names.
        attributes: the attributes of every element, by their names.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.tables: dict[str, list[list[str]]] = {}
        self.texts: dict[str, list[str]] = {}
        self.attributes: dict[str, list[dict[str, str]]] = {}
        self._rows: list[list[str]] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes.setdefault(tag, []).append({k: v or "" for k, v in attrs})
        self.texts.setdefault(tag, []).append("")
        if tag == "table":
            self._rows = []
        if tag == "tr":
            self._rows.append([])
        if tag in ("td", "th"):
            self._rows[-1].append("")
        if tag not in EMPTY:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag == "table":
            self.tables[self.texts["caption"][-1]] = self._rows
        if tag in self._open:  # with it, those whose end tags are optional
            del self._open[len(self._open) - 1 - self._open[::-1].index(tag) :]

    def handle_data(self, data: str) -> None:
        if not self._open:
            return
        tag = self._open[-1]
        self.texts[tag][-1] += data
        if tag in ("td", "th"):
            self._rows[-1][-1] = self.texts[tag][-1].strip()

    def column(self, caption: str, name: str) -> list[str]:
        """The cells of a column."""
        columns, *rows = next(rows for key, rows in self.tables.items() if key.startswith(caption))
        return [row[columns.index(name)] for row in rows]

    def facts(self, caption: str) -> dict[str, str]:
        """The values of a table of names and values."""
        return dict(row[:2] for row in self.tables[caption][1:])

    @property
    def answer(self) -> str:
        """The answer, in a sentence."""
        found = re.search(r'<p class="answer">(.*?)</p>', self.html, re.DOTALL)
        assert found
        return found[1]
