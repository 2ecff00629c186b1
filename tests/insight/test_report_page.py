"""The page of a report: everything escaped, nothing fetched, pictures that tell their numbers."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from report_helpers import Page

from gdexp.insight.pictures.picture import Picture
from gdexp.insight.report.page import SAFE, cell, is_report, page
from gdexp.insight.report.view import Block, Code, Drawing, Section, Sentence, Table, View

HOSTILE = "<script>alert(1)</script>&\"'</style>{{ 7 * 7 }}\u2028\udc80"


def view(*blocks: Block, **changes: Any) -> View:
    plain: dict[str, Any] = {"title": "Run 1", "command": "c", "answer": "a", "notes": []}
    sections = [Section("all", "All", blocks), Section("empty", "Nothing", [])]
    return View(**{**plain, "sections": sections, "source": "s", **changes})


def picture(name: str = "loss", count: int = 20, **changes: Any) -> Picture:
    figure = Figure()
    axes = figure.subplots()
    epochs, loss = np.arange(1, count + 1), 0.5 ** np.arange(count)
    axes.semilogy(epochs, loss, label="of the run")
    axes.set_xlabel("epoch")
    axes.set_ylabel("loss")
    table = {"epoch": epochs, "loss": loss}
    said = {"title": "Loss", "description": "It falls.", "table": table, "figure": figure}
    return Picture(name, **{**said, **changes})


def groups(html: str) -> list[dict[str, Any]]:
    found = re.findall(r'<script type="application/json">(.*?)</script>', html, re.DOTALL)
    return [group for text in found for group in json.loads(text)]


def read(group: dict[str, Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Places, shape (points, 2), and values, shape (points, names)."""
    at = np.array(group["at"].split(), float).reshape(-1, 2)
    values = np.array(group["values"].split(), float).reshape(-1, len(group["names"]))
    return at, values


def test_every_value_is_escaped() -> None:
    table = Table(HOSTILE, [HOSTILE], [[HOSTILE]])
    blocks = table, Sentence(HOSTILE), Code(HOSTILE, HOSTILE, is_folded=True)
    drawn = Drawing(picture(title=HOSTILE, description=HOSTILE, table={HOSTILE: [HOSTILE]}))
    drawn.picture.figure.axes[0].set_xlabel(HOSTILE.replace("\udc80", "$"))
    html = page(
        view(*blocks, drawn, title=HOSTILE, command=HOSTILE, answer=HOSTILE, notes=[HOSTILE])
    )
    shown = Page(html.encode(*SAFE).decode())
    assert len(shown.texts["script"]) == 2  # the points of the picture, and the page's own
    assert groups(html)[0]["names"][0] == HOSTILE.replace("\udc80", "$")
    survives = HOSTILE.replace("\udc80", "\ufffd")
    assert shown.tables[survives] == [[survives], [survives]]
    assert shown.texts["h1"] == [survives]
    assert shown.attributes["svg"][0]["aria-label"] == survives
    assert shown.texts["code"].count(survives) == 2


def test_nothing_is_fetched() -> None:
    big = picture("map", figure=cells(15, 15))
    html = page(view(Drawing(picture()), Drawing(big), limit=10_000))
    assert "data:image/png;base64," in html
    script = Page(html).texts["script"][-1]
    outside = html.replace(script, "")
    assert not re.search(r"https?:|//\w|@import|@font-face", re.sub('base64,[^"]*', "", outside))
    assert set(re.findall(r"https?://[^\"' ]*", script)) == {"http://www.w3.org/2000/svg"}
    sources = re.findall(r'(?:href|src|url)\s*[=(]\s*["\']?([^"\')]*)', outside)
    assert {source[:5] for source in sources if not source.startswith("#")} == {"data:"}
    assert "localStorage" not in script
    assert is_report(html.encode()[:1000])
    assert not is_report(b"<!DOCTYPE html><title>other</title>")


def test_ids_are_unique_and_every_reference_leads_to_one() -> None:
    html = page(view(Drawing(picture()), Drawing(picture())))
    ids = re.findall(r'\bid="([^"]*)"', html)
    assert len({*ids}) == len(ids)
    referred = re.findall(r'href="#([^"]*)"|url\(#([^)]*)\)', html)
    assert {a or b for a, b in referred} <= {*ids}
    assert len(referred) > 3


def test_the_cursor_reads_the_values_that_are_drawn() -> None:
    html = page(view(Drawing(picture())))
    (group,) = groups(html)
    at, values = read(group)
    assert (group["label"], group["names"]) == ("of the run", ["epoch", "loss"])
    np.testing.assert_array_equal(values[:, 0], np.arange(1, 21))
    np.testing.assert_allclose(values[:, 1], 0.5 ** np.arange(20), rtol=1e-5)
    # the places are those of the line in the picture
    path = re.search(r'd="(M [^"]*)"[^>]*stroke: #1f77b4', html)
    assert path
    drawn = np.array(re.findall(r"[ML] (\S+) (\S+)", path[1]), float)
    np.testing.assert_allclose(at[[0, -1]], drawn[[0, -1]], atol=0.51)


def cells(columns: int, rows: int) -> Figure:
    figure = Figure()
    axes = figure.subplots()
    values = np.random.default_rng(0).random((rows, columns))
    mesh = axes.pcolormesh(np.arange(columns + 1.0), np.arange(rows + 1.0), values)
    figure.colorbar(mesh, label="final loss")
    axes.set_xlabel("lr")
    axes.set_ylabel("iters")
    return figure


def test_cells_points_and_coloured_lines_are_read_too() -> None:
    mesh = cells(3, 2)
    expected = mesh.axes[0].collections[0].get_array().data  # type: ignore[union-attr]
    shown = [read(group)[1] for group in groups(page(view(Drawing(picture(figure=mesh)))))]
    np.testing.assert_allclose([row[:, 2] for row in shown], expected, rtol=1e-5)
    np.testing.assert_array_equal(shown[1][:, :2], [[0.5, 1.5], [1.5, 1.5], [2.5, 1.5]])

    figure = Figure()
    axes = figure.subplots()
    axes.scatter([1, 2], [3, 4], c=[5, 6], label="runs")
    lines = LineCollection([[(0, 0), (1, 1)], [(0, 1), (1, 0)]], array=[0.1, 0.2])
    axes.add_collection(lines)
    axes.imshow([[1.0, 2.0]], extent=(0, 2, 0, 1), origin="upper")
    axes.axvline(1.5)  # no data: it has no values
    figure.colorbar(lines, label="lr")
    labels: dict[str, Any] = {}
    for group in groups(page(view(Drawing(picture(figure=figure))))):
        labels[group["label"]] = read(group)[1].tolist()
    assert labels == {
        "runs": [[1, 3, 5], [2, 4, 6]],
        "lr 0.1": [[0, 0], [1, 1]],
        "lr 0.2": [[0, 1], [1, 0]],
        "": [[0.5, 0.5, 1], [1.5, 0.5, 2]],
    }


def test_panels_share_the_names_of_their_axes_and_may_format_their_values() -> None:
    figure = Figure()
    left, right = figure.subplots(1, 2, sharey=True)
    left.set(ylabel="iters", xlabel="lr", title="step=manual")
    right.set_title("step=model")
    left.fmt_xdata = right.fmt_xdata = lambda at: ["0.01 or so", "0.1"][round(at)]
    right.imshow([[1, np.nan]], cmap="viridis", label="_image")
    right.imshow([[np.nan, 1]], cmap=ListedColormap(["grey"]), label="diverged")
    left.plot([0], [0], label="bound")
    left.plot([1], [0], label="0123456789abcdef" * 2)
    shown = {group["label"]: group for group in groups(page(view(Drawing(picture(figure=figure)))))}
    assert "step=manual, run 01234567" in shown
    assert shown["step=manual, bound"]["names"] == ["lr", "iters"]
    assert shown["step=model"]["names"] == ["x", "iters", "value"]
    assert shown["step=model"]["values"].split(" ") == ["0.01\u00a0or\u00a0so", "0", "1"]
    assert shown["step=model, diverged"]["values"].split(" ") == ["0.1", "0"]


def test_pictures_lose_detail_before_the_page_is_too_large() -> None:
    many = [Drawing(picture(f"map{i}", 500, figure=cells(18, 18))) for i in range(2)]
    rich, poor = page(view(*many, limit=10_000_000)), page(view(*many, limit=60_000))
    assert len(poor) <= 60_000 < len(rich)
    shown = Page(rich)
    title = "The numbers of this picture: Loss (168 of 500 rows)"
    assert [row[0] for row in shown.tables[title]][:3] == ["epoch", "1", "4"]
    assert shown.tables[title][-1][0] == "500"
    assert groups(poor)


def test_a_picture_without_numbers_at_places_has_no_cursor() -> None:
    html = page(view(Drawing(picture(figure=Figure(), table={}))))
    assert "application/json" not in html
    assert '<p class="at">' not in html


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.123456789, "0.123457"), (8e12, "8e12"), (20, "20"), (2.0, "2"), (True, "true"),
        (None, "–"), (float("nan"), "NaN"), (float("-inf"), "-inf"), ("0.10", "0.10"),
    ],
)  # fmt: skip
def test_a_cell_shows_six_digits(value: Any, text: str) -> None:
    assert cell(value) == text
