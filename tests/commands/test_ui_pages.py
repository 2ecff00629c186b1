"""The pages that python -m gdexp ui prints, as a user sees them in a real browser."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import PATIENCE
from sweep_helpers import NAMES, gd
from ui_helpers import (
    STARTING,
    WELCOMED,
    WORKFLOW,
    Server,
    chromium,
    free_port,
    group_members,
    is_free,
    started,
)

from gdexp.tracking import query
from gdexp.tracking.connect import open_existing

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def opened() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def browser(opened: Any) -> Iterator[Any]:
    """A browser that has seen nothing yet."""
    context = opened.new_context(viewport={"width": 1400, "height": 900})
    context.add_init_script(WELCOMED)
    context.set_default_timeout(PATIENCE * 1000)
    yield context
    context.close()


@pytest.fixture(scope="module")
def server(recorded_sweep: Path) -> Iterator[Server]:
    """The pages of the recorded sweep; at the end, Ctrl-C leaves nothing behind."""
    with started(recorded_sweep, "--port", str(free_port())) as running:
        yield running
        assert running.stop(signal.SIGINT) == (0, STARTING)
        assert group_members(running.process.pid) == []
        assert is_free(running.port)


def visit(browser: Any, address: str) -> Any:
    """A new page: a new fragment alone would not load it anew."""
    page = browser.new_page()
    page.goto(address)
    return page


def keep(page: Any, name: str, folder: Path) -> None:
    """A picture of what a user sees at 1400 x 900, for those who look."""
    artifacts = Path(os.environ.get("GDEXP_TEST_ARTIFACTS") or folder)
    artifacts.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=artifacts / f"{name}.png")


def is_on_screen(page: Any, text: str) -> bool:
    """Whether this text is visible without scrolling."""
    box = page.get_by_text(text, exact=True).first.bounding_box()
    return bool(
        box and box["x"] >= 0 and box["x"] + box["width"] <= 1340 and box["y"] + box["height"] < 900
    )


def test_the_pages_answer_the_question(server: Server, browser: Any, tmp_path: Path) -> None:
    """At first sight: the params with the results, the losses drawn, the runs compared."""
    page = visit(browser, server.addresses["runs"])
    page.get_by_text("4 matching runs").wait_for()
    for column in ("step", "lr", "iters", "final/loss", "gdexp.outcome", "final/prediction"):
        page.get_by_text(column, exact=True).first.wait_for()
        assert is_on_screen(page, column), column
    assert is_on_screen(page, "diverged")
    keep(page, "runs", tmp_path)
    page = visit(browser, server.addresses["curves"])
    page.get_by_text("4 matching runs").wait_for()
    traces = page.locator("svg.main-svg").first.locator(".trace.scatter")
    traces.nth(len(NAMES) - 1).wait_for(state="attached")
    assert is_on_screen(page, "train/loss")
    assert page.get_by_text("train/loss", exact=True).first.bounding_box()["y"] < 450
    keep(page, "curves", tmp_path)
    page = visit(browser, server.addresses["comparison"])
    for axis in ("step", "lr", "final/log10_loss"):
        label = page.locator("svg").get_by_text(axis, exact=True).first
        label.wait_for()
        assert label.bounding_box()["y"] < 600
    keep(page, "comparison", tmp_path)


def test_the_page_of_a_run_starts_with_its_loss(
    sweep: Path, server: Server, browser: Any, tmp_path: Path
) -> None:
    chosen = query.select(open_existing(None, None))[0]
    asked = gd("ui", chosen.run_id, "--uri", f"http://127.0.0.1:{server.port}")
    addresses = dict(line.split(maxsplit=1) for line in asked.out.splitlines())
    page = visit(browser, addresses["run:"])
    loss, other = (page.get_by_text(name, exact=True) for name in ("train/loss", "best/loss"))
    loss.first.wait_for()
    assert loss.first.bounding_box()["y"] < other.first.bounding_box()["y"]
    keep(page, "run", tmp_path)
    page = visit(browser, addresses["curves:"])
    page.get_by_text("1 matching run", exact=False).wait_for()
    page.locator("svg .trace.scatter").first.wait_for(state="attached")
    keep(page, "run_curves", tmp_path)


def test_what_a_user_has_set_up_stays(server: Server, browser: Any) -> None:
    """The columns of one's own table are as before, after the prepared pages were seen."""
    own = f"http://127.0.0.1:{server.port}/#/experiments/1/runs?{WORKFLOW}"
    page = visit(browser, own)
    page.get_by_text("5 matching runs").wait_for()  # with the sweep's summary
    page.get_by_role("button", name="Columns", exact=True).click()
    page.get_by_placeholder("Search columns").fill("gdexp.reason")
    page.get_by_text("gdexp.reason", exact=True).first.click()
    page.keyboard.press("Escape")
    page.get_by_role("columnheader", name="gdexp.reason").first.wait_for()
    seen = visit(browser, server.addresses["runs"])
    seen.get_by_role("columnheader", name="gdexp.outcome").first.wait_for()
    assert not seen.get_by_role("columnheader", name="gdexp.reason").count()
    page = visit(browser, own)
    page.get_by_role("columnheader", name="gdexp.reason").first.wait_for()
    assert not page.get_by_role("columnheader", name="gdexp.outcome").count()
