"""The playground in a real browser: what it shows is what the server says, for a mouse, a keyboard and a phone."""

from __future__ import annotations

import ast
import itertools
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from chromium import needs_chromium
from contrast import CONTRAST
from playwright.sync_api import Browser, ConsoleMessage, Page, expect

from slmbench.backends import native

pytestmark = [
    pytest.mark.skipif(native.compiled() is None, reason="no C compiler"),
    needs_chromium,
]
TEXT = "Ann ordered “green tea” 🍵 for Bob, then Bob went home."
SCHEMA = {
    "type": "object",
    "properties": {"who": {"type": "string", "maxLength": 20}, "urgent": {"type": "boolean"}},
    "required": ["who", "urgent"],
    "additionalProperties": False,
}
KEY = "a-key-of-the-tests-own"


def serving(model: Path, key: str = "") -> Iterator[str]:
    """The address of `slmbench serve` in a process of its own, which ends with Ctrl-C's signal."""
    command = [sys.executable, "-m", "slmbench", "serve", str(model), "--port", "0"]
    env = {**os.environ, "SLMBENCH_API_KEY": key, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env) as process:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                yield found[0]
                break
        else:
            pytest.fail("".join(said))
        process.terminate()
        assert process.wait(30) == 0


@pytest.fixture(scope="module")
def server(wide_exports: Path) -> Iterator[str]:
    yield from serving(wide_exports / "export" / "int8")


@pytest.fixture
def visit(browser: Browser, server: str) -> Iterator[Callable[..., Page]]:
    """Opens the page; at the end nothing was asked of another server and nothing went wrong in it."""
    pages: list[tuple[Page, str, list[str], list[str]]] = []

    def go(address: str = "", **context: Any) -> Page:
        opened = browser.new_context(permissions=["clipboard-read", "clipboard-write"], **context)
        page = opened.new_page()
        asked: list[str] = []
        faults: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda message: faults.append(message.text) if _is_fault(message) else None)
        pages.append((page, address or server, asked, faults))
        page.goto(address or server)
        expect(page.locator("#model")).not_to_be_empty() if not address else None
        return page

    yield go
    for page, origin, asked, faults in pages:
        assert faults == [] and all(url.startswith((origin, "data:")) for url in asked)
        page.context.close()


def _is_fault(message: ConsoleMessage) -> bool:
    # Chromium itself tells of every answer of 400 and more.
    return message.type in ("error", "warning") and "the server responded with a status of" not in message.text


def fill(page: Page, text: str = TEXT, schema: Any = SCHEMA) -> None:
    page.get_by_label("Start from").select_option(label="My own")
    page.get_by_label("JSON Schema").fill(schema if isinstance(schema, str) else json.dumps(schema))
    page.get_by_label("Document").fill(text)


def extracted(page: Page) -> Any:
    expect(page.locator("#state")).to_contain_text("Answered")
    return json.loads(page.locator("#json").inner_text())


def test_the_page_the_client_and_curl_get_the_same(visit: Any, server: str, tmp_path: Path) -> None:
    page = visit()
    fill(page)
    page.get_by_role("button", name="Extract").click()
    shown = extracted(page)
    body = {"text": TEXT, "schema": SCHEMA, "constraint": "schema"}
    assert httpx.post(f"{server}/v1/extract", json=body, timeout=60).json()["json"] == shown
    client = openai.OpenAI(base_url=f"{server}/v1", api_key="none")
    answer = client.chat.completions.create(
        model=client.models.list().data[0].id,
        messages=[{"role": "user", "content": TEXT}],
        response_format={"type": "json_schema", "json_schema": {"name": "own", "schema": SCHEMA}},
    )
    assert json.loads(answer.choices[0].message.content or "") == shown
    for button, command, read in (
        ("Copy as curl", ["bash"], lambda said: json.loads(said)["json"]),
        ("Copy as Python", [sys.executable, "-"], ast.literal_eval),
    ):
        page.get_by_role("button", name=button).click()
        expect(page.locator("#state")).to_contain_text("copied")
        copied = page.evaluate("navigator.clipboard.readText()")
        ran = subprocess.run(command, input=copied, capture_output=True, text=True, timeout=60, check=True)
        assert read(ran.stdout) == shown
    page.get_by_role("button", name="Copy JSON").click()
    expect(page.locator("#state")).to_have_text("JSON copied.")
    assert json.loads(page.evaluate("navigator.clipboard.readText()")) == shown


def test_a_value_is_marked_where_it_was_read(visit: Any) -> None:
    page = visit()
    fill(page)
    page.get_by_label("Only what the text says").check()
    page.get_by_role("button", name="Extract").click()
    who = extracted(page)["who"]
    assert who and who in TEXT
    value = page.locator("#values button").first
    expect(value).to_contain_text("who")
    mark = page.locator("mark.on")
    expect(mark).to_have_count(0)
    value.hover()
    expect(mark).to_have_text(who)
    page.mouse.move(0, 0)
    expect(mark).to_have_count(0)
    value.click()
    page.mouse.move(0, 0)
    expect(value).to_have_attribute("aria-pressed", "true")
    expect(mark).to_have_text(who)
    assert page.locator("#text").inner_text() == TEXT


def test_by_keyboard_alone(visit: Any) -> None:
    page = visit()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    reached = []
    for _ in range(30):
        reached.append(page.evaluate("document.activeElement.id"))
        ring = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert ring != "none" or not reached[-1]
        page.keyboard.press("Tab")
    assert {"document", "go", "grounded", "pick", "schema", "curl", "python"} <= set(reached)
    fill(page)
    page.get_by_label("Document").press("Control+Enter")
    extracted(page)
    page.locator("#values button").first.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#values button").first).to_have_attribute("aria-pressed", "true")


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ("{", "This is no JSON Schema"), ("[]", "give an object"), ({"type": "nonsense"}, "nonsense"),
        ({"type": "object", "properties": {}, "additionalProperties": False}, "nothing"),
    ],
)  # fmt: skip
def test_a_schema_that_is_none(visit: Any, schema: Any, said: str) -> None:
    page = visit()
    fill(page, schema=schema)
    page.get_by_role("button", name="Extract").click()
    expect(page.locator(".wrong", has_text=re.compile(".+"))).to_contain_text(said)
    expect(page.locator("#json")).to_be_hidden()


def test_an_answer_can_be_stopped(visit: Any) -> None:
    """The request is held on its way: however fast the answer, Stop is pressed before it."""
    page = visit()
    held: list[Any] = []
    page.route("**/v1/extract", lambda route: held.append(route))
    fill(page)
    page.get_by_role("button", name="Extract").click()
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#state")).to_have_text("Stopped.")
    assert len(held) == 1
    page.unroute("**/v1/extract")
    page.get_by_role("button", name="Extract").click()
    extracted(page)


def test_a_key_is_asked_for(browser: Browser, visit: Any, wide_exports: Path) -> None:
    for address in serving(wide_exports / "export" / "int8", KEY):
        page = visit(address)
        expect(page.get_by_label("API key")).to_be_visible()
        fill(page)
        page.get_by_role("button", name="Extract").click()
        expect(page.locator("#error")).to_contain_text("key")
        page.get_by_label("API key").fill(KEY)
        page.get_by_role("button", name="Extract").click()
        extracted(page)
        page.get_by_role("button", name="Copy as curl").click()
        expect(page.locator("#state")).to_contain_text("copied")
        assert KEY not in page.evaluate("navigator.clipboard.readText()")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read(visit: Any, scheme: str) -> None:
    page = visit(color_scheme=scheme)
    fill(page)
    page.get_by_label("Only what the text says").check()
    page.get_by_role("button", name="Extract").click()
    extracted(page)
    page.locator("#values button").first.click()
    found = page.evaluate(CONTRAST)
    assert len(found) > 15 and {text: ratio for text, ratio in found if ratio < 4.5} == {}


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_it_fits_a_screen(visit: Any, width: int) -> None:
    page = visit(viewport={"width": width, "height": 700}, has_touch=width < 500)
    fill(page, "a-very-long-word" * 40 + " " + TEXT)
    go = page.get_by_role("button", name="Extract")
    go.tap() if width < 500 else go.click()
    extracted(page)
    expect(page.locator("#json")).to_be_in_viewport()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for control in page.locator("button:visible, select:visible, textarea:visible").all():
        box = control.bounding_box()
        assert box is not None and box["height"] >= 44 and box["width"] >= 44
    left, right = (page.locator(f"#{name}").bounding_box() for name in ("left", "right"))
    assert left and right and (left["y"] == right["y"]) == (width > 900)


def test_everything_has_a_name(visit: Any) -> None:
    page = visit()
    fill(page)
    page.get_by_role("button", name="Extract").click()
    extracted(page)
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, textarea, [role=region]")]
          .filter((e) => !(e.getAttribute("aria-label") || e.getAttribute("aria-labelledby") || e.textContent.trim()
            || (e.labels && e.labels.length)) || (e.labels && e.labels.length && !e.labels[0].textContent.trim()))
          .map((e) => e.outerHTML)"""
    )
    assert unnamed == [] and page.title() and page.evaluate("document.documentElement.lang") == "en"
    levels = page.evaluate("[...document.querySelectorAll('h1, h2, h3')].map((h) => Number(h.tagName[1]))")
    assert levels[0] == 1 and all(b - a <= 1 for a, b in itertools.pairwise(levels))
