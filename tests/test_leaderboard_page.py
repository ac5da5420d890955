"""The leaderboard in a real browser, opened from the disk: for a mouse, a keyboard, a phone, in light and dark."""

from __future__ import annotations

import itertools
import json
import math
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chromium import needs_chromium
from contrast import CONTRAST
from leaderboard_results import NASTY, ROWS
from playwright.sync_api import Browser, Page, expect

from slmbench.compare import compare
from slmbench.metrics import leaf_counts, mcnemar, micro_f1, paired_interval
from slmbench.publish.stored import load_record, load_samples

pytestmark = needs_chromium
EDGE = "set=edge_json-test"
EVERY = (
    "index.html", f"compare.html#{EDGE}", "compare.html#set=hostile.test&show=all", f"documents.html#{EDGE}",
    "documents.html#set=hostile.test", "method.html", "models/alpha.html", "models/hostile.html",
    "tests/edge_json-test.html",
)  # fmt: skip


@pytest.fixture
def visit(browser: Browser, board_site: Path) -> Iterator[Callable[..., Page]]:
    """Opens a page; at the end nothing outside the site was asked for and nothing went wrong in it."""
    site = board_site.as_uri()
    pages: list[tuple[Page, list[str], list[str]]] = []

    def go(address: str = "index.html", **context: Any) -> Page:
        page = browser.new_context(**context).new_page()
        asked: list[str] = []
        faults: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("requestfailed", lambda request: faults.append(request.url))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda message: faults.append(message.text))
        pages.append((page, asked, faults))
        page.goto(f"{site}/{address}")
        ready(page)
        return page

    yield go
    for page, asked, faults in pages:
        assert faults == [] and all(url.startswith((site, "data:")) for url in asked)
        assert page.evaluate("window.hacked") is None
        page.context.close()


def ready(page: Page) -> None:
    """Waits until what a page's script draws is there."""
    if page.locator("#count").count():
        expect(page.locator("#plot-set")).to_be_attached()
        page.wait_for_function("location.hash !== '' || document.querySelector('.plot svg') !== null")
    elif page.locator("#state").count():
        expect(page.locator("#state")).not_to_have_text(re.compile("^$|Reading"))


def shown(page: Page) -> list[str]:
    """The rows of the table that are shown, in their order."""
    rows = page.locator("#board tbody tr:visible").all()
    return [row.get_attribute("data-key") or "" for row in rows]


FIRST = ["alpha.test.tuned", "beta.test.tuned", "gamma.test.tuned", "alpha.test.base"]
ALL = [*FIRST, "hostile.hostile.test.tuned", "hostile.hostile.test.base"]


def sort_button(page: Page, title: str) -> Any:
    return page.locator("#board thead").get_by_role("button", name=title)


def test_sorting_by_mouse_and_keyboard(visit: Any) -> None:
    page = visit()
    assert shown(page) == ALL
    head = page.locator("#board th", has=page.locator("[data-sort=latency]"))
    expect(head).to_have_attribute("aria-sort", "none")
    sort_button(page, "Latency p50").click()
    expect(head).to_have_attribute("aria-sort", "ascending")
    assert shown(page)[:2] == ["gamma.test.tuned", "hostile.hostile.test.tuned"]
    sort_button(page, "Latency p50").focus()
    page.keyboard.press("Enter")
    expect(head).to_have_attribute("aria-sort", "descending")
    assert shown(page)[0] == "alpha.test.base"
    page.get_by_role("button", name="Show all").click()
    assert shown(page) == ALL and "sort=" not in page.url
    sort_button(page, "Latency p50").click()
    assert page.locator("#board [aria-sort=ascending], #board [aria-sort=descending]").count() == 1
    sort_button(page, "JSONExact").focus()
    page.keyboard.press("Space")
    assert shown(page)[0] == "alpha.test.tuned"
    for button in page.locator("#board thead button").all():
        button.click()
        assert sorted(shown(page)) == sorted(ALL)
    sort_button(page, "Test set").click()
    assert shown(page) == ALL


def test_another_size_of_the_window_leaves_the_focus(visit: Any) -> None:
    page = visit(viewport={"width": 1200, "height": 800})
    box = page.locator("#board tbody input").nth(2)
    box.focus()
    wide = page.locator("#plot-latency svg").get_attribute("viewBox")
    page.set_viewport_size({"width": 360, "height": 800})
    page.wait_for_function(
        "wide => document.querySelector('#plot-latency svg').getAttribute('viewBox') !== wide", arg=wide
    )
    expect(box).to_be_focused()


def test_plots_have_room_for_what_they_say(visit: Any) -> None:
    """On a phone: no number on another; and however many rows there are, the name of each within the picture."""
    page = visit(viewport={"width": 340, "height": 800})
    page.evaluate(
        "const body = document.querySelector('#board tbody'), row = body.rows[0];"
        "for (let i = 0; i < 6; i++) body.rows[i].dataset.latency = 0.01 * 2.2 ** i;"
    )
    sort_button(page, "JSONExact").click()
    page.locator("#plot-set").select_option("edge_json-test")
    boxes = page.evaluate(
        "[...document.querySelectorAll('#plot-latency text.mid')].slice(0, -1).map((t) => t.getBoundingClientRect())"
        ".map((r) => [r.left, r.right])"
    )
    assert len(boxes) > 1 and all(left[1] < right[0] for left, right in itertools.pairwise(boxes))
    page.evaluate(
        "const body = document.querySelector('#board tbody');"
        "for (let i = 0; i < 40; i++) { const row = body.rows[0].cloneNode(true); row.id = ''; body.append(row); }"
        "window.dispatchEvent(new Event('resize'));"
    )
    high = page.locator("#plot-latency svg").bounding_box()
    names = [one.bounding_box() for one in page.locator("#plot-latency text.name").all()]
    assert high and len(names) > 40
    tops = sorted(box["y"] for box in names if box)
    assert tops[0] >= high["y"] and tops[-1] <= high["y"] + high["height"]
    assert all(lower - upper > 5 for upper, lower in itertools.pairwise(tops))


def test_what_has_no_value_stands_last(visit: Any) -> None:
    page = visit()
    page.evaluate("document.querySelector('#board tbody tr td.latency').dataset.v = ''")
    for _ in range(2):
        sort_button(page, "Latency p50").click()
        assert shown(page)[-1] == "alpha.test.tuned"


def test_a_time_of_nothing_is_not_drawn(visit: Any) -> None:
    page = visit()
    page.evaluate("document.querySelectorAll('#board tbody tr').forEach((row) => { row.dataset.latency = '0'; })")
    sort_button(page, "JSONExact").click()
    said = page.locator("figure", has=page.locator("#plot-latency")).locator(".front")
    expect(said).to_have_text("None of these rows has a latency.")


def test_a_view_is_its_address(visit: Any) -> None:
    page = visit()
    page.get_by_label("Track", exact=True).select_option("zero-shot")
    assert shown(page) == ["alpha.test.base", "hostile.hostile.test.base"]
    page.get_by_label("Task", exact=True).select_option("edge_json")
    assert shown(page) == ["alpha.test.base"]
    expect(page.locator("#count")).to_have_text("1 of 6 rows")
    page.get_by_label("Size").select_option(label="up to 70 M")
    assert shown(page) == []
    expect(page.locator("#count")).to_have_text("No row passes these filters.")
    page.get_by_label("Track", exact=True).select_option("")
    assert shown(page) == ["gamma.test.tuned"]
    sort_button(page, "Model").click()
    address = page.url
    assert "task=edge_json" in address and "size=70000000" in address and "sort=model" in address
    again = visit(address.split("/site/")[1])
    assert shown(again) == ["gamma.test.tuned"]
    expect(again.get_by_label("Task", exact=True)).to_have_value("edge_json")
    again.get_by_role("button", name="Show all").click()
    assert shown(again)[:2] == ["alpha.test.tuned", "beta.test.tuned"] and len(shown(again)) == 6
    again.get_by_label("Machine").select_option(label="Other, 4 cores")
    assert shown(again) == ["beta.test.tuned"]
    again.evaluate("location.hash = 'set=hostile.test&task=no-such-task&sort=no&pick=nobody'")
    expect(again.locator("#count")).to_have_text("2 of 6 rows")


def test_plots_show_the_rows_that_are_left_and_their_front(visit: Any) -> None:
    page = visit(f"index.html#{EDGE}")
    label = page.locator("#plot-latency svg").get_attribute("aria-label") or ""
    assert "alpha: 75.0 %, 2.2 s; gamma" in label and "smollm2-135m, base: 0.0 %, 3.2 s" in label
    # gamma is cheapest, alpha the best; the base is beaten by both, and beta was timed on another machine.
    said = page.locator("figure", has=page.locator("#plot-latency")).locator(".front")
    text = said.inner_text()
    assert re.findall(r"(\w+) \(", text) == ["gamma", "alpha"]
    assert "Timed on Example, 2 cores" in text and "1 more, timed on other machines" in text
    page.get_by_label("Machine").select_option(label="Other, 4 cores")
    expect(said).to_contain_text("Pareto front: beta (70.0 %, 1.19 s). Timed on Other, 4 cores.")
    page.get_by_label("Machine").select_option("")
    assert page.locator("#plot-bytes circle").count() == 4
    page.get_by_label("Track", exact=True).select_option("zero-shot")
    assert page.locator("#plot-bytes circle").count() == 1
    expect(said).to_contain_text("Pareto front: smollm2-135m")
    page.get_by_label("Track", exact=True).select_option("")
    page.evaluate("document.querySelector('[data-key=\"beta.test.tuned\"]').dataset.bytes = ''")
    page.locator("#filter-set").select_option("")
    sizes = page.locator("figure", has=page.locator("#plot-bytes")).locator(".front")
    expect(sizes).to_contain_text("alpha (75.0 %, 269 MB). 1 without a size.")
    page.get_by_label("Constraint", exact=True).select_option("free")
    assert len(shown(page)) == 6
    page.locator("#plot-set").select_option("hostile.test")
    assert page.locator("#plot-bytes circle").count() == 2 and "plot=hostile.test" in page.url


def test_two_rows_are_compared_as_python_does(visit: Any, board_results: Path) -> None:
    page = visit()
    box = page.locator("#board tbody input")
    box.nth(1).check()
    expect(page.locator("#picked")).to_contain_text("beta is ticked")
    box.nth(4).focus()
    page.keyboard.press("Space")
    expect(page.locator("#picked")).to_contain_text("different test sets")
    expect(page.locator("#compare")).to_be_hidden()
    box.nth(4).uncheck()
    box.nth(0).check()
    page.locator("#compare").click()
    expect(page.locator("#counts")).to_be_visible()
    beta, alpha = (load_samples(board_results / f"{n}.json", load_record(board_results / f"{n}.json"))["test"]["tuned"]
                   for n in ("beta", "alpha"))  # fmt: skip
    wanted = compare(beta, alpha)["metrics"]
    exact, drawn, f1 = ([cell.inner_text() for cell in row.locator("td").all()]
                        for row in page.locator("#figures tbody tr").all())  # fmt: skip
    found = wanted["json_exact"]
    assert page.locator("#counts").inner_text() == (
        f"Of 40 documents 18 are right in both, {found['lost']} in A only, {found['gained']} in B only, 0 in neither."
    )
    ends = [f"{100 * found[end]:+.1f}".replace("-", "−") for end in ("low", "high")]
    assert exact[:5] == ["70.0 %", "75.0 %", "+5.0", " … ".join(ends), f"{found['p']:.3f}"]
    assert drawn[:3] == exact[:3]
    assert f1[:3] == [f"{wanted['field_f1'][side]:.3f}" for side in "ab"] + [f"{wanted['field_f1']['difference']:+.3f}"]
    assert page.locator(".case").count() == 20
    page.get_by_role("button", name="Show more").click()
    assert page.locator(".case").count() == found["lost"] + found["gained"] == 22
    expect(page.get_by_role("button", name="Show more")).to_be_hidden()
    page.get_by_role("button", name="Swap A and B").click()
    assert page.locator("#figures tbody tr td").nth(2).inner_text() == "−5.0"
    address = page.url
    page.get_by_label("Show", exact=True).select_option("all")
    expect(page.locator("#shown")).to_have_text("The first 20 of 40 documents.")
    assert "show=all" in page.url and "show=" not in address
    page.get_by_label("A", exact=True).select_option("beta.test.tuned")
    page.get_by_label("B", exact=True).select_option("beta.test.tuned")
    expect(page.locator("#state")).to_have_text("Choose two different rows.")
    expect(page.locator("#figures")).to_be_hidden()


def test_the_scripts_statistics_are_pythons(visit: Any, board_results: Path) -> None:
    page = visit("compare.html")
    pairs = [(0, 0), (0, 1), (3, 3), (8, 21), (0, 9), (160, 200), (700, 2), (600, 610)]
    ours = page.evaluate("pairs => pairs.map(([b, c]) => slmbench.stats.mcnemar(b, c))", pairs)
    for (b, c), p in zip(pairs, ours, strict=True):
        assert math.isclose(p, mcnemar(b, c), rel_tol=1e-8, abs_tol=1e-300), (b, c)
    sizes = [(b, c, b + c + more) for b, c in pairs for more in (0, 1, 50) if b + c + more]
    ours = page.evaluate("sizes => sizes.map((s) => slmbench.stats.pairedInterval(...s))", sizes)
    assert np.allclose(ours, [paired_interval(*size) for size in sizes], rtol=0, atol=1e-12)
    # The same draws in Python give the same bootstrap, to rounding; other draws the same but for chance.
    sides = [load_samples(board_results / f"{n}.json", load_record(board_results / f"{n}.json"))["test"]["tuned"]
             for n in ("alpha", "gamma")]  # fmt: skip
    counts = [leaf_counts(side, "hits") for side in sides]
    found = page.evaluate(
        "([a, b]) => slmbench.stats.bootstrap(a, b, slmbench.stats.microF1)", [c.tolist() for c in counts]
    )
    weights = np.array(list(itertools.islice(drawn(len(ROWS)), 2000)))
    rounds = micro_f1(weights, counts[1]) - micro_f1(weights, counts[0])
    low, high = np.percentile(rounds, [2.5, 97.5])
    assert np.allclose([found["low"], found["high"]], [low, high], rtol=0, atol=1e-12)
    assert found["p"] == pytest.approx(2 * (min((rounds <= 0).sum(), (rounds >= 0).sum()) + 1) / 2001)
    numpys = compare(*sides)["metrics"]["field_f1"]
    assert found["difference"] == pytest.approx(numpys["difference"], abs=1e-12)
    assert [found["low"], found["high"]] == pytest.approx([numpys["low"], numpys["high"]], abs=0.02)


def drawn(n: int) -> Iterator[list[int]]:
    """How often each document is drawn, resample by resample, by the same generator from the same seed."""
    x = 42
    while True:
        row = [0] * n
        for _ in range(n):
            x ^= (x << 13) & 0xFFFFFFFF
            x ^= x >> 17
            x ^= (x << 5) & 0xFFFFFFFF
            row[math.floor(x / 2**32 * n)] += 1
        yield row


def test_what_differs_is_shown_beside_document_and_gold(visit: Any) -> None:
    page = visit(f"compare.html#{EDGE}&a=alpha.test.tuned&b=beta.test.tuned&show=b")
    case = page.locator(".case").first
    assert case.locator("h3").inner_text() == ROWS[30].id
    assert case.locator("pre.text").first.text_content() == ROWS[30].text
    first = case.locator(".leaves").first.locator("tbody tr")
    gold = next(iter(ROWS[30].target.values()))
    cells = [cell.inner_text() for cell in first.nth(0).locator("td").all()]
    assert cells == [json.dumps(gold, ensure_ascii=False), "✗ missing", "✓ " + json.dumps(gold, ensure_ascii=False)]
    last = [cell.text_content() for cell in first.last.locator("td").all()]
    assert last == ["absent", "✗ " + json.dumps(NASTY, ensure_ascii=False), "✓ absent"]
    case.get_by_text("All fields").click()
    assert case.locator(".leaves").nth(1).locator("tbody tr").count() > first.count()
    page = visit("compare.html#set=hostile.test&show=all")
    expect(page.locator(".case").first).to_contain_text("not part of slmbench")
    assert page.locator(".case h3").first.text_content() == f"{NASTY} 0"


def test_documents_by_search_filter_and_keyboard(visit: Any) -> None:
    page = visit(f"documents.html#{EDGE}")
    title = page.locator("#document h2")
    expect(title).to_have_text(ROWS[0].id)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(title).to_have_text(ROWS[2].id)
    page.keyboard.press("ArrowLeft")
    expect(title).to_have_text(ROWS[1].id)
    assert f"id={ROWS[1].id}" in page.url
    page.get_by_role("button", name="Next").click()
    expect(page.locator("#place")).to_have_text("3 of 40")
    expect(page.locator("#list [aria-current]")).to_contain_text(ROWS[2].id)
    page.get_by_label("Only wrong of").select_option("alpha.test.tuned")
    expect(page.locator("#state")).to_have_text("10 of 40 documents.")
    expect(title).to_have_text(ROWS[30].id)
    expect(page.get_by_role("button", name="Previous")).to_be_disabled()
    page.get_by_label("Only wrong of").select_option("")
    page.get_by_label("Search").fill(ROWS[7].text[:40].upper())
    expect(title).to_have_text(ROWS[7].id)
    page.get_by_label("Search").press("ArrowLeft")
    expect(title).to_have_text(ROWS[7].id)
    page.get_by_label("Search").fill("window.hacked")
    expect(page.locator("#state")).to_contain_text("40 of 40")
    page.get_by_label("Search").fill("no document says this")
    expect(page.locator("#state")).to_have_text("0 of 40 documents.")
    expect(page.locator("#browse")).to_be_hidden()
    again = visit(f"documents.html#{EDGE}&wrong=any&id={ROWS[9].id}")
    expect(again.locator("#document h2")).to_have_text(ROWS[9].id)
    answers = again.locator(".answer h4")
    assert answers.count() == 4
    expect(answers.nth(0)).to_contain_text("✓ right")
    expect(answers.nth(1)).to_contain_text("✗")
    again.get_by_label("Test set").select_option("hostile.test")
    expect(again.locator("#state")).to_contain_text("of 3 documents")
    assert again.locator("#document h2").text_content() == f"{NASTY} 0"


def test_data_that_is_not_there_is_said(visit: Any, browser: Browser, board_site: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(board_site, tmp_path / "site")
    shutil.rmtree(copy / "data")
    for name in ("compare.html", "documents.html"):
        page = browser.new_page()
        page.goto(f"{copy.as_uri()}/{name}")
        expect(page.locator("#state")).to_contain_text("cannot be read: is the site whole?")
        page.close()


def test_by_keyboard_alone(visit: Any) -> None:
    page = visit()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    reached = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        one = "document.activeElement.id || document.activeElement.dataset.sort || document.activeElement.className"
        reached.add(page.evaluate(one))
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
    assert {"filter-task", "filter-track", "reset", "scroll", "rank", "latency", "machine"} <= reached


def test_the_theme_is_kept(visit: Any) -> None:
    page = visit(color_scheme="dark")
    paper = "getComputedStyle(document.body).backgroundColor"
    button = page.locator("#theme")
    expect(button).to_have_text("Theme: automatic")
    dark = page.evaluate(paper)
    button.click()
    expect(button).to_have_text("Theme: light")
    light = page.evaluate(paper)
    assert light != dark
    page.locator("#board th.model a").first.click()
    expect(page.locator("#theme")).to_have_text("Theme: light")
    assert page.evaluate(paper) == light
    page.locator("#theme").click()
    expect(page.locator("#theme")).to_have_text("Theme: dark")
    assert page.evaluate(paper) == dark


@pytest.mark.parametrize("width", [360, 390, 1440])
def test_every_page_fits_a_screen(visit: Any, width: int) -> None:
    for address in EVERY:
        page = visit(address, viewport={"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width, address
    page = visit(viewport={"width": width, "height": 800})
    figure = page.locator("#board td.exact b").first.bounding_box()
    assert figure is not None and figure["x"] + figure["width"] <= width  # seen without scrolling aside
    page.locator("#board tbody input").first.check()
    for control in page.locator("button:visible, select:visible, #board tbody .pick:visible").all():
        box = control.bounding_box()
        assert box is not None and box["height"] >= 24 and box["width"] >= 24


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read(visit: Any, scheme: str) -> None:
    for address in EVERY:
        page = visit(address, color_scheme=scheme)
        for details in page.locator("details").all():
            details.evaluate("box => { box.open = true; }")
        found = page.evaluate(CONTRAST)
        assert len(found) > 15 and {text: ratio for text, ratio in found if ratio < 4.5} == {}, address
    page = visit(color_scheme=scheme)
    for at in (0, 1):
        page.locator("#board tbody input").nth(at).check()
    assert {text: ratio for text, ratio in page.evaluate(CONTRAST) if ratio < 4.5} == {}


def test_everything_has_a_name(visit: Any) -> None:
    for address in EVERY:
        page = visit(address)
        unnamed = page.evaluate(
            """() => [...document.querySelectorAll("a, button, input, select, [role=region], [role=img], nav, form")]
              .filter((e) => !(e.getAttribute("aria-label") || (e.labels && e.labels.length
                && e.labels[0].textContent.trim()) || (!e.labels && e.textContent.trim())
                || (e.tagName === "BUTTON" && e.textContent.trim())))
              .map((e) => e.outerHTML)"""
        )
        assert unnamed == [] and page.title() and page.evaluate("document.documentElement.lang") == "en"
        levels = page.evaluate("[...document.querySelectorAll('h1, h2, h3, h4')].map((h) => Number(h.tagName[1]))")
        assert levels[0] == 1 and all(b - a <= 1 for a, b in itertools.pairwise(levels)), address
        assert page.locator("table:not(:has(th[scope]))").count() == 0 or address == "method.html"


def test_the_front_page_is_small(browser: Browser, board_site: Path) -> None:
    page = browser.new_page()
    loaded: list[str] = []
    page.on("request", lambda request: loaded.append(request.url))
    page.goto(f"{board_site.as_uri()}/index.html")
    page.wait_for_load_state("load")
    files = {Path(url.removeprefix("file://")) for url in loaded if url.startswith("file:")}
    assert {path.name for path in files} == {"index.html", "site.css", "theme.js", "common.js", "board.js"}
    assert sum(path.stat().st_size for path in files) < 1_000_000
    page.close()
