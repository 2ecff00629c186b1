"""Reports in a real browser: from disk and in MLflow's artifact viewer, on a phone and a desk."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from helpers import PATIENCE, clean_environment, client, process, runs
from sweep_helpers import gd
from ui_helpers import WELCOMED, WORKFLOW, chromium, free_port, started

pytestmark = pytest.mark.slow

KINDS = ("run", "sweep", "several")
WIDTHS = 1400, 390


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def reports(recorded_sweep: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A report of each kind."""
    folder = tmp_path_factory.mktemp("reports")
    ids = [r.info.run_id for r in runs(client(recorded_sweep)) if "gdexp.job" in r.data.tags]
    chosen = {"run": ids[1:2], "sweep": ["last"], "several": ids[:3]}
    for kind in KINDS:
        out = str(folder / f"{kind}.html")
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(recorded_sweep)
            for name in os.environ.keys() - clean_environment().keys():
                patch.delenv(name)
            assert gd("report", *chosen[kind], "--out", out) == (0, f"{out}\n", "")
    return {kind: folder / f"{kind}.html" for kind in KINDS}


@contextmanager
def opened(browser: Any, path: Path, **options: Any) -> Iterator[Any]:
    """The page of a report, which says nothing on the console and asks for nothing."""
    page = browser.new_page(**options)
    page.set_default_timeout(PATIENCE * 1000)
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri())
    yield page
    assert (said, asked) == ([], [path.as_uri()])
    page.close()


def keep(page: Any, name: str, folder: Path) -> None:
    """A picture of what a reader sees, for those who look."""
    artifacts = Path(os.environ.get("GDEXP_TEST_ARTIFACTS") or folder)
    artifacts.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=artifacts / f"{name}.png", full_page=True)


def violations(page: Any) -> list[str]:
    """What axe finds, in words."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    found = axe.run(page).response["violations"]
    return [f"{each['id']}: {node['html'][:200]}" for each in found for node in each["nodes"]]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_read_by_everyone(
    kind: str, scheme: str, browser: Any, reports: dict[str, Path], tmp_path: Path
) -> None:
    scroll_width = "document.documentElement.scrollWidth"
    with opened(browser, reports[kind], color_scheme=scheme) as page:
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate(scroll_width) == width
            keep(page, f"report_{kind}_{width}_{scheme}", tmp_path)
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (background == "rgb(255, 255, 255)") == (scheme == "light")
        for summary in page.locator("summary").all():
            summary.click()
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate(scroll_width) == width
            assert violations(page) == []


def column(page: Any, name: str) -> list[str]:
    table = page.locator("table.sortable").first
    names = [text.strip() for text in table.locator("thead th").all_inner_texts()]
    rows = table.locator("tbody tr").all()
    place = [each.split()[0] for each in names].index(name)
    return [row.locator("th, td").nth(place).inner_text() for row in rows]


def test_the_table_is_sorted_by_click_and_by_keyboard(
    browser: Any, reports: dict[str, Path]
) -> None:
    with opened(browser, reports["sweep"]) as page:
        recorded = column(page, "final/loss")
        header = page.locator("table.sortable th", has_text="final/loss").first
        button = header.locator("button")
        button.click()
        assert header.get_attribute("aria-sort") == "ascending"
        assert column(page, "final/loss") == sorted(recorded, key=float)
        button.focus()
        page.keyboard.press("Enter")
        assert header.get_attribute("aria-sort") == "descending"
        assert column(page, "final/loss") == sorted(recorded, key=float, reverse=True)
        page.locator("table.sortable th", has_text="outcome").first.locator("button").click()
        assert header.get_attribute("aria-sort") is None
        assert column(page, "outcome") == sorted(column(page, "outcome"))
        page.locator("table.sortable th", has_text="job").first.locator("button").click()
        assert column(page, "final/loss") == recorded


@pytest.mark.parametrize("kind", KINDS)
def test_the_cursor_reads_values(kind: str, browser: Any, reports: dict[str, Path]) -> None:
    with opened(browser, reports[kind], has_touch=True) as page:
        picture, value = page.locator("figure svg").first, page.locator(".at").first
        hint = value.inner_text()
        assert hint.startswith("Point at a picture")
        box = picture.bounding_box()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        pointed = value.inner_text()
        assert pointed != hint
        assert any(character.isdigit() for character in pointed)
        page.mouse.move(0, 0)
        assert value.inner_text() == hint
        picture.focus()
        read = []
        for _ in range(2):
            page.keyboard.press("ArrowRight")
            read.append(value.inner_text())
        assert hint not in read
        assert read[0] != read[1]
        box = picture.bounding_box()  # it may have been scrolled to
        page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        assert value.inner_text() == pointed


def test_without_scripts_it_says_the_same(browser: Any, reports: dict[str, Path]) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(reports["sweep"].as_uri())
    assert page.locator("table.sortable tbody tr").count() == 4
    assert not page.locator("table button").count()
    assert not page.locator(".at").first.is_visible()
    page.locator("summary").first.click()
    assert page.locator("details table").first.is_visible()
    context.close()


def test_on_paper_everything_is_unfolded(browser: Any, reports: dict[str, Path]) -> None:
    with opened(browser, reports["run"]) as page:
        page.emulate_media(media="print")
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert page.locator("details").count() == page.locator("details[open]").count() > 0
        assert not page.locator("nav").is_visible()
        assert not page.locator(".at").first.is_visible()
        page.evaluate("dispatchEvent(new Event('afterprint'))")
        assert not page.locator("details[open]").count()


def test_in_mlflows_viewer(recorded_sweep: Path, browser: Any, tmp_path: Path) -> None:
    """A frame in which scripts run, but neither storage nor pop-ups do."""
    shutil.copytree(recorded_sweep, folder := tmp_path / "store")
    place = f"sqlite:///{folder}/outputs/mlflow.db"
    assert process("report", "last", "--log", cwd=folder, MLFLOW_TRACKING_URI=place).code == 0
    (summary,) = (r for r in runs(client(folder)) if r.data.tags["gdexp.kind"] == "sweep")
    with started(folder, "--port", str(free_port())) as server:
        context = browser.new_context(viewport={"width": 1400, "height": 900})
        context.add_init_script(WELCOMED)
        page = context.new_page()
        page.set_default_timeout(PATIENCE * 1000)
        run = f"experiments/{summary.info.experiment_id}/runs/{summary.info.run_id}"
        page.goto(f"http://127.0.0.1:{server.port}/#/{run}/artifacts/report.html?{WORKFLOW}")
        frame = page.frame_locator("iframe").first
        frame.locator("h1").wait_for()
        sandbox = page.locator("iframe").first.get_attribute("sandbox")
        header = frame.locator("table.sortable th", has_text="final/loss").first
        header.locator("button").click()
        assert header.get_attribute("aria-sort") == "ascending"
        frame.locator("nav a").last.click()
        heading = frame.locator("h2").last
        assert frame.locator("h2:focus").inner_text() == heading.inner_text()
        box = frame.locator("figure svg").first
        box.scroll_into_view_if_needed()
        box.hover()
        assert not frame.locator(".at").first.inner_text().startswith("Point at")
        keep(page, "report_in_mlflow", tmp_path)
        assert sandbox == "allow-scripts"
        context.close()
