"""The two pages that read a board's answers in the browser: comparing two rows, and looking at documents."""

from __future__ import annotations

from collections.abc import Sequence

from slmbench.publish.html import Markup, el
from slmbench.publish.leaderboard.entries import Board
from slmbench.publish.leaderboard.page import frame, labelled, select, void

FALLBACK = el(
    "noscript",
    el("p", "This page needs a script: it reads stored answers in your browser. Each model’s page has the raw files."),
)


def compare(boards: Sequence[Board], method: bool) -> str:
    """Two rows of one test set, in pairs."""
    controls = el(
        "form",
        labelled("set", "Test set", choice(boards)),
        labelled("a", "A", select("a", [])),
        labelled("b", "B", select("b", [])),
        el("button", "Swap A and B", type="button", id="swap", class_="plain"),
        id="controls",
        aria_label="What is compared",
    )
    listed = [
        ("differ", "right in one only"), ("a", "right in A only"), ("b", "right in B only"),
        ("answers", "different answers"), ("wrong", "wrong in both"), ("all", "all"),
    ]  # fmt: skip
    return frame(
        "Compare",
        el("section", el("h1", "Two rows, document by document"),
           el("p", "Both answered the same documents, so they are compared in pairs: B minus A.", class_="lead"),
           FALLBACK, controls, el("p", id="state", role="status")),
        el("section", el("h2", "Figures"), el("div", id="figures"), id="figuresbox", hidden=""),
        el("section", el("h2", "Documents"), labelled("show", "Show", select("show", listed), "one"),
           el("p", id="shown", role="status"), el("div", id="rows"),
           el("button", "Show more", type="button", id="more", hidden=""), id="rowsbox", hidden=""),
        here="compare",
        scripts=("common", "stats", "compare"),
        method=method,
    )  # fmt: skip


def documents(boards: Sequence[Board], method: bool) -> str:
    """Every document of a test set, its gold, and what each row answered."""
    controls = el(
        "form",
        labelled("set", "Test set", choice(boards)),
        labelled("query", "Search", void("input", type="search", id="query", autocomplete="off", spellcheck="false")),
        labelled("wrong", "Only wrong of", select("wrong", [])),
        id="controls",
        aria_label="Which documents",
    )
    steps = el(
        "div",
        el("button", "← Previous", type="button", id="previous"),
        el("button", "Next →", type="button", id="next"),
        el("span", id="place", role="status"),
        class_="steps",
    )
    return frame(
        "Documents",
        el("section", el("h1", "Every document, every answer"),
           el("p", "Search looks in ids, documents, gold and answers. The keys ← and → go from one to the next.",
              class_="lead"),
           FALLBACK, controls, el("p", id="state", role="status")),
        el("div", el("nav", el("ol", id="list"), aria_label="Documents found", class_="found"),
           el("article", steps, el("div", id="document"), aria_label="Document"), class_="browse", id="browse",
           hidden=""),
        here="documents",
        scripts=("common", "documents"),
        method=method,
    )  # fmt: skip


def choice(boards: Sequence[Board]) -> Markup:
    """The list of test sets."""
    return select("set", [(board.key, board.label) for board in boards])
