"""Reports and comparisons of runs in a real browser, opened from the disk: wide, narrow, in light and dark."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chromium import needs_chromium
from contrast import CONTRAST
from leaderboard_results import ROWS
from playwright.sync_api import Browser, Page, expect
from test_comparison import FIRST, SECOND, THIRD
from test_publish import EXAMPLES, HISTORY, RECORD, SAMPLES

from slmbench import publish
from slmbench.publish.comparison import comparison_page

pytestmark = needs_chromium
SCREENS = [(1440, "light"), (1440, "dark"), (360, "light"), (360, "dark")]


@pytest.fixture(params=["report", "comparison"])
def shown(request: pytest.FixtureRequest, browser: Browser, tmp_path: Path) -> Iterator[Any]:
    """(width, colour scheme) -> the page; at the end it has asked for nothing and nothing went wrong in it."""
    if request.param == "report":
        text = publish.report(RECORD, SAMPLES, {"test": EXAMPLES, "test_styles": EXAMPLES}, HISTORY)
    else:
        text = comparison_page("test", [FIRST, SECOND, THIRD], ROWS[:12])
    file = tmp_path / "page.html"
    file.write_text(text, encoding="utf-8")
    asked: list[str] = []
    faults: list[str] = []
    pages: list[Page] = []

    def go(width: int, scheme: Any) -> Page:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True)
        page = context.new_page()
        pages.append(page)
        page.on("request", lambda one: asked.append(one.url))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda message: faults.append(message.text))
        page.goto(file.as_uri())
        return page

    yield go
    assert faults == [] and set(asked) == {file.as_uri()}
    for page in pages:
        page.context.close()


def test_it_fits_the_screen_and_can_be_read(shown: Any) -> None:
    for width, scheme in SCREENS:
        page = shown(width, scheme)
        page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, (width, scheme)
        pale = [(text, ratio) for text, ratio in page.evaluate(CONTRAST) if ratio < 4.5]
        assert pale == [], (width, scheme)


def test_entries_are_filtered_by_keyboard(shown: Any) -> None:
    page = shown(1440, "light")
    entries = page.locator(".entry:visible")
    every = entries.count()
    assert every > 1
    hidden = 0
    for select in page.locator("#filters select").all():
        select.focus()
        page.keyboard.press("ArrowDown")
        key, chosen = (select.get_attribute("data-key") or "").replace("_", "-"), select.input_value()
        has = [one.get_attribute(f"data-{key}") for one in page.locator(".entry").all()]
        assert chosen and entries.count() == has.count(chosen) >= 1
        hidden += every - entries.count()
        expect(page.locator("#shown")).to_have_text(str(entries.count()))
        select.select_option("")
    assert entries.count() == every and hidden


def test_what_scrolls_can_be_reached(shown: Any) -> None:
    page = shown(360, "light")
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    found = page.evaluate(
        "[...document.querySelectorAll('.scroll, pre')].filter((b) => b.scrollWidth > b.clientWidth"
        " || b.scrollHeight > b.clientHeight).map((b) => b.tabIndex)"
    )
    assert found and set(found) == {0}
