"""What every page of the leaderboard has: its frame and its policy, tables that scroll, intervals as small drawings."""

from __future__ import annotations

import re
from collections.abc import Sequence

from slmbench import __version__
from slmbench.metrics import Figure
from slmbench.publish.html import NONE, Markup, el, join
from slmbench.publish.tables import full

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'"
)
PAGES = {"index": "Leaderboard", "compare": "Compare", "documents": "Documents", "method": "Method"}


def frame(
    title: str, *sections: str, here: str = "", root: str = "", scripts: Sequence[str] = (), method: bool = True
) -> str:
    """A whole page. `here` is the page's own name in `PAGES`, `root` leads back to the front page's folder."""
    meta = (
        void("meta", charset="utf-8"),
        void("meta", name="viewport", content="width=device-width, initial-scale=1"),
        void("meta", http_equiv="Content-Security-Policy", content=POLICY),
        void("meta", name="referrer", content="no-referrer"),
        el("title", title if title == "slmbench leaderboard" else f"{title} – slmbench leaderboard"),
        void("link", rel="icon", href="data:,"),
        void("link", rel="stylesheet", href=f"{root}static/site.css"),
        el("script", src=f"{root}static/theme.js"),
        *(el("script", src=f"{root}static/{name}.js", defer="") for name in scripts),
    )
    links = [
        el("a", words, href=f"{root}{name}.html", **({"aria_current": "page"} if name == here else {}))
        for name, words in PAGES.items()
        if method or name != "method"
    ]
    header = el(
        "header",
        el("a", "slmbench", href=f"{root}index.html", class_="brand"),
        el("nav", *links, aria_label="Pages"),
        el("button", "Theme", type="button", id="theme"),
    )
    footer = el(
        "footer",
        el("p", f"Made by slmbench {__version__} out of stored answers. ", el("code", "slmbench verify results"),
           " computes every figure of the results again."),
    )  # fmt: skip
    body = el(
        "body", el("a", "To the content", href="#main", class_="skip"), header,
        el("main", *sections, id="main", tabindex="-1"), footer,
    )  # fmt: skip
    return f'<!doctype html>\n<html lang="en"><head>{join(*meta)}</head>\n{body}</html>\n'


def void(tag: str, **attributes: str | float) -> Markup:
    """An element that has no content and no end."""
    return Markup(el(tag, **attributes).removesuffix(f"</{tag}>"))


def scroll(label: str, table: Markup) -> Markup:
    """A table that scrolls sideways within its own frame, by keyboard too."""
    return el("div", table, class_="scroll", role="region", aria_label=label, tabindex="0")


def grid(label: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> Markup:
    """A table whose first column names its rows; cells that are `td` or `th` already stand as they are."""
    lines = [el("tr", *(cell(text, "row" if i == 0 else "") for i, text in enumerate(row))) for row in rows]
    above = [el("thead", el("tr", *(cell(text, "col") for text in head)))] if head else []
    return scroll(label, el("table", *above, el("tbody", *lines)))


def cell(text: str, scope: str) -> Markup:
    """A cell; of the given scope where it is a heading."""
    if isinstance(text, Markup) and text.startswith(("<td", "<th")):
        return text
    return el("th", text, scope=scope) if scope else el("td", text)


def facts(rows: Sequence[Sequence[str]], label: str) -> Markup:
    """Names and values, as a table without a head."""
    return grid(label, (), rows) if rows else Markup()


def reach(figure: Figure) -> Markup:
    """A figure between 0 and 1 with its interval, drawn; it says nothing that does not stand beside it in words."""
    low, at, high = (round(4 + 92 * float(figure[end]), 1) for end in ("low", "value", "high"))
    return el(
        "svg",
        el("path", d="M4 6H96", class_="axis"),
        el("path", d=f"M{low} 6H{high}", class_="reach"),
        el("circle", cx=at, cy=6, r=3.2, class_="point"),
        viewBox="0 0 100 12", class_="interval", aria_hidden="true", focusable="false",
    )  # fmt: skip


def measured(figure: Figure, name: str, drawing: str = "") -> Markup:
    """A figure: its value and perhaps its drawing, then what it was counted from and its interval, less loudly."""
    value, _, rest = full(figure, name).partition(" (")
    return join(el("b", value), " ", drawing, el("small", rest.removesuffix(")").replace("; ", " · ")))


def size(parameters: int | None) -> str:
    """A number of parameters as people say it."""
    if parameters is None:
        return NONE
    return f"{parameters / 1e9:.1f} B" if parameters >= 1e9 else f"{parameters / 1e6:.0f} M"


def select(name: str, options: Sequence[tuple[str, str]], **attributes: str) -> Markup:
    """A list to choose one of, with the id `name`; `options` are values and their words."""
    return el("select", *(el("option", words, value=value) for value, words in options), id=name, **attributes)


def labelled(name: str, words: str, control: Markup, kind: str = "") -> Markup:
    """A control, whose id is `name`, under its label."""
    return el("div", el("label", words, for_=name), control, class_=f"field {kind}".strip())


def breakable(name: str) -> Markup:
    """A name that a narrow column may break behind its marks."""
    return join(*(part for piece in re.split(r"(?<=[_/.])", name) for part in (piece, void("wbr"))))


def quiet(text: str) -> Markup:
    """Something less important, below or beside what it belongs to."""
    return el("small", text)
