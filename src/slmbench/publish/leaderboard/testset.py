"""The page of a test set: its rows with all measures, and JSONExact by complexity, style and schema."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from slmbench.metrics import LABELS, METRICS, SLICE_KEYS, Figure, slice_order
from slmbench.publish.html import NONE, Markup, el, join
from slmbench.publish.leaderboard.entries import FILES, Board
from slmbench.publish.leaderboard.front import Row, count
from slmbench.publish.leaderboard.page import facts, frame, grid, measured, quiet

TITLES = {"complexity": "complexity", "style": "style", "schema_id": "schema"}


def test_set(board: Board, rows: Sequence[Row], method: bool) -> str:
    """The whole page; `rows` are the board's, in the order of their ranks."""
    texts = "as frozen in slmbench" if board.texts[0] is not None else "not part of slmbench; answers and gold are here"
    about = facts(
        [
            ["task", board.task if board.task != FILES else "rows of a file"],
            ["documents", f"{len(board.rows)}, {texts}"],
            ["SHA-256 of its rows", el("code", board.digest)],
        ],
        f"About {board.label}",
    )
    links = el(
        "p",
        el("a", "Every document and answer", href=f"../documents.html#set={board.key}"),
        " · ",
        el("a", "Compare two rows", href=f"../compare.html#set={board.key}"),
    )
    return frame(
        board.label,
        el("section", el("h1", board.label), about, links),
        el("section", el("h2", "Rows"), measures_table(rows)),
        el("section", el("h2", "Slices", id="slices"),
           el("p", "JSONExact by what the documents are labelled as. Slices are small, so their intervals are wide; "
              "each model’s page has them."),
           *chain.from_iterable((el("h3", f"By {TITLES[key]}"), slices_table(rows, key)) for key in SLICE_KEYS)),
        root="../",
        method=method,
    )  # fmt: skip


def named(row: Row) -> Markup:
    """A row's name, and what it is."""
    return join(el("a", row.entry.name, href=f"../models/{row.entry.result.page}.html"), quiet(row.entry.about))


def measures_table(rows: Sequence[Row]) -> Markup:
    """Every measure of every row."""
    own = {name: figure["label"] for row in rows for name, figure in row.entry.measures.items()}
    lines = [
        [
            named(row),
            f"{row.rank}{'=' * row.shared}",
            f"{row.entry.part['constraint']}, {row.entry.part['prompt']} prompt",
            *(measured(row.entry.figures[name], name) for name in METRICS),
            *(measured(found[name], name) if name in (found := row.entry.measures) else NONE for name in own),
        ]
        for row in rows
    ]
    head = ["Model", "Rank", "Constraint, prompt", *LABELS.values(), *own.values()]
    return grid("All measures", head, lines)


def slices_table(rows: Sequence[Row], key: str) -> Markup:
    """A line a slice, a column a row: the share that is right, shaded, over what it was counted from."""
    names = sorted({name for row in rows for name in row.entry.slices[key]}, key=slice_order)
    head = [TITLES[key].capitalize(), "Documents", *(el("th", named(row), scope="col") for row in rows)]
    lines = []
    for name in names:
        parts = [row.entry.slices[key][name] for row in rows]
        lines.append([name, str(parts[0]["n"]), *(shaded(part["json_exact"]) for part in parts)])
    return grid(f"By {TITLES[key]}: {count(len(names), 'slice')}", head, lines)


def shaded(figure: Figure) -> Markup:
    """A cell whose shade says its value in tenths."""
    low, high = (f"{100 * figure[end]:.0f}" for end in ("low", "high"))
    return el(
        "td",
        el("b", f"{100 * figure['value']:.0f} %"),
        " ",
        quiet(f"{figure['k']}/{figure['n']}"),
        class_=f"shade s{min(9, int(10 * figure['value']))}",
        title=f"95 % interval {low}–{high} %",
    )
