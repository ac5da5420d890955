"""The method page: the project's own Markdown as a page of the site."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from typing import TYPE_CHECKING

from slmbench.core import SlmbenchError
from slmbench.publish.html import Markup, el
from slmbench.publish.leaderboard.page import frame

if TYPE_CHECKING:
    from markdown_it.token import Token

SCROLL = '<div class="scroll" role="region" aria-label="Table" tabindex="0">\n<table>\n'


def method(text: str) -> str:
    """The whole page. Raises SlmbenchError where the library that reads Markdown is not installed."""
    return frame("Method", el("article", rendered(text), class_="prose"), here="method")


def rendered(text: str) -> Markup:
    """Markdown as HTML that obeys the pages' policy.

    HTML within it is shown as text, comments are left out. Headings have the ids that links within the page expect,
    links to anything else are their words alone, tables scroll.
    """
    try:
        from markdown_it import MarkdownIt
    except ImportError:
        raise SlmbenchError("the method page needs markdown-it-py: pip install 'slmbench[publish]'.") from None
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    parser.add_render_rule("table_open", lambda *_: SCROLL)
    parser.add_render_rule("table_close", lambda *_: "</table>\n</div>\n")
    tokens = parser.parse(re.sub(r"^<!--.*-->\n", "", text, flags=re.MULTILINE))
    seen: Counter[str] = Counter()
    for token, following in pairwise(tokens):
        if token.type == "heading_open":
            name = anchor("".join(part.content for part in following.children or ()))
            token.attrSet("id", f"{name}-{seen[name]}" if seen[name] else name)
            seen[name] += 1
        if "style" in token.attrs:  # a column's side, which the policy lets only a class say
            token.attrs = {"class": "number"} if "right" in str(token.attrs["style"]) else {}
        _keep_inside(token.children or ())
    return Markup(parser.renderer.render(tokens, parser.options, {}))


def _keep_inside(tokens: Iterable[Token]) -> None:
    """Make links and pictures that lead out of the page plain words."""
    out: list[bool] = []
    for token in tokens:
        if token.type == "link_open":
            out.append(not str(token.attrs.get("href", "")).startswith("#"))
        leads_out = token.type == "image" or (token.type in ("link_open", "link_close") and out[-1])
        if leads_out:
            token.tag, token.attrs = "span", {}
            token.type = "text" if token.type == "image" else token.type
        if token.type == "link_close":
            out.pop()


def anchor(heading: str) -> str:
    """The id of a heading, as links to it are written: small letters, hyphens for spaces, no other marks."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
