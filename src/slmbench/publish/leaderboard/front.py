"""The front page: every entry of every board in one table that can be sorted and filtered, plots, quoted figures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from slmbench.metrics import Figure, shown
from slmbench.publish.html import NONE, Markup, el, join
from slmbench.publish.leaderboard.entries import TRACKS, Board, Entry, Result
from slmbench.publish.leaderboard.page import (
    breakable,
    frame,
    grid,
    labelled,
    measured,
    quiet,
    reach,
    scroll,
    select,
    size,
    void,
)
from slmbench.publish.leaderboard.quoted import Source, quoted
from slmbench.publish.leaderboard.ranks import RULE, ranks
from slmbench.publish.report import seconds

TAIL = 20
"""Documents that have to be timed for a twentieth of them to be one."""


@dataclass(frozen=True)
class Row:
    """An entry with its place in the table: the number of its board, and its rank there, shared or not."""

    entry: Entry
    board: Board
    number: int
    rank: int
    shared: bool

    @property
    def latency(self) -> float | None:
        """The median time of a document, in seconds."""
        time = self.entry.latency.get("p50_s")
        return float(time) if isinstance(time, int | float) else None

    @property
    def training_rows(self) -> str:
        """How many rows it was trained on."""
        part = self.entry.result.record["data"].get("train") or {}
        known = self.entry.side == "tuned" and isinstance(part, dict) and isinstance(part.get("rows"), int)
        return f"{part['rows']:,} rows" if known else ""


@dataclass(frozen=True)
class Column:
    """A column that can be sorted by: `first` is the direction of the first press, `value` what is sorted by."""

    key: str
    title: str
    first: str
    value: Callable[[Row], float | str | None]
    show: Callable[[Row], str]


def _rank(row: Row) -> Markup:
    return el("span", f"{row.rank}{'=' * row.shared}", class_="rank")


def _model(row: Row) -> Markup:
    entry = row.entry
    return join(el("a", breakable(entry.name), href=f"models/{entry.result.page}.html"), quiet(entry.about))


def _test(row: Row) -> Markup:
    return join(
        el("a", breakable(row.board.label), href=f"tests/{row.board.key}.html"),
        quiet(f"{len(row.board.rows)} documents"),
    )


def _own(row: Row) -> Markup:
    label, figure, name = row.entry.own
    return join(el("span", f"{label} ", class_="label"), measured(figure, name))


def _exact(row: Row) -> Markup:
    figure = row.entry.figures["json_exact"]
    return measured(figure, "json_exact", reach(figure))


def _machine(row: Row) -> Markup:
    name, _, rest = row.entry.result.machine.partition(", ")
    return join(name, quiet(rest))


def _truncated(figure: Figure) -> Markup:
    return join(el("b", shown(figure["value"], "truncated")), " ", quiet(f"{figure['k']}/{figure['n']}"))


def _size(row: Row) -> Markup | str:
    """Parameters, and the bytes of the weights, which an export has fewer of."""
    said, taken = size(row.entry.result.size), row.entry.bytes
    return join(said, quiet(f"{taken / 1e6:.0f} MB")) if taken is not None else said


def _latency(row: Row) -> str:
    more, count = row.entry.latency.get("p95_s"), row.entry.latency.get("n", 0)
    if row.latency is None:
        return NONE
    slowest = [" ", quiet(f"p95 {seconds(more)}")] if count >= TAIL else []
    return join(el("b", seconds(row.latency)), *slowest, " ", quiet(f"{count} timed"))


COLUMNS = (
    Column("rank", "Rank", "asc", lambda row: row.rank, _rank),
    Column("model", "Model", "asc", lambda row: row.entry.name, _model),
    Column("test", "Test set", "asc", lambda row: row.number, _test),
    Column("exact", "JSONExact", "desc", lambda row: row.entry.figures["json_exact"]["value"], _exact),
    Column("own", "Task’s measure", "desc", lambda row: row.entry.own[1]["value"], _own),
    Column("truncated", "Truncated", "asc", lambda row: row.entry.figures["truncated"]["value"],
           lambda row: _truncated(row.entry.figures["truncated"])),
    Column("constraint", "Constraint", "asc", lambda row: row.entry.part["constraint"],
           lambda row: join(el("span", row.entry.part["constraint"], class_="tag"),
                            quiet(f"{row.entry.part['prompt']} prompt"))),
    Column("track", "Track", "asc", lambda row: row.entry.track,
           lambda row: join(row.entry.track, quiet(row.training_rows))),
    Column("size", "Size", "asc", lambda row: row.entry.bytes, _size),
    Column("latency", "Latency p50", "asc", lambda row: row.latency, _latency),
    Column("machine", "Machine", "asc", lambda row: row.entry.result.machine, _machine),
)  # fmt: skip


def front(
    results: Sequence[Result], boards: Sequence[Board], rows: Sequence[Row], sources: Sequence[Source], method: bool
) -> str:
    """The whole page; `rows` are those of all boards, each board's as `placed` puts them."""
    return frame(
        "slmbench leaderboard",
        introduction(results, boards),
        el("section", el("h2", "All results", class_="unseen"), filters(rows), board_table(rows), chosen()),
        plots(boards),
        sets(boards),
        quoted(sources),
        reading(),
        here="index",
        scripts=("common", "board"),
        method=method,
    )


def placed(board: Board, number: int) -> list[Row]:
    """The rows of a board by rank, then by what is right."""
    found = ranks(board)
    rows = [
        Row(entry, board, number, rank, found.count(rank) > 1) for entry, rank in zip(board.entries, found, strict=True)
    ]
    return sorted(rows, key=lambda row: row.rank)


def introduction(results: Sequence[Result], boards: Sequence[Board]) -> Markup:
    """What this is, in two sentences."""
    answers = sum(len(entry.samples) for board in boards for entry in board.entries)
    return el(
        "section",
        el("h1", "Text in, JSON out"),
        el("p", "Small language models that turn a text into JSON under a schema, measured on the same documents. "
           f"{count(len(results), 'model')}, {count(len(boards), 'test set')}, {answers:,} stored answers: "
           "every share here is counted from them.", class_="lead"),
    )  # fmt: skip


def count(number: int, noun: str) -> str:
    """So many of something."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def filters(rows: Sequence[Row]) -> Markup:
    """What may be left out of the table; a size is an upper bound."""
    sizes = sorted({row.entry.result.size for row in rows if row.entry.result.size is not None})
    choices: dict[str, tuple[str, list[tuple[str, str]]]] = {
        "task": ("Task", same(dict.fromkeys(row.board.task for row in rows))),
        "set": ("Test set", [(row.board.key, row.board.label) for row in {row.number: row for row in rows}.values()]),
        "track": ("Track", same(track for track in TRACKS if any(row.entry.track == track for row in rows))),
        "constraint": ("Constraint", same(sorted({row.entry.part["constraint"] for row in rows}))),
        "size": ("Size", [(str(number), f"up to {size(number)}") for number in sizes]),
        "machine": ("Machine", same(sorted({row.entry.result.machine for row in rows}))),
    }
    return el(
        "form",
        *(
            labelled(f"filter-{key}", words, select(f"filter-{key}", [("", "all"), *options], data_filter=key))
            for key, (words, options) in choices.items()
        ),
        el("button", "Show all", type="button", id="reset", class_="plain"),
        el("output", f"{len(rows)} of {len(rows)} rows", id="count"),
        id="filters",
        aria_label="Filters of the table",
    )


def same(values: Iterable[str]) -> list[tuple[str, str]]:
    """Options whose values are their words."""
    return [(value, value) for value in values]


def board_table(rows: Sequence[Row]) -> Markup:
    """The table, in the order that it is sorted by without a script: test sets, and ranks within each."""
    head = [
        el("th", el("button", column.title, type="button", data_sort=column.key, data_first=column.first),
           scope="col", aria_sort="ascending" if column.key == "test" else "none")
        for column in COLUMNS
    ]  # fmt: skip
    caption = el("caption", "Every model on every test set it answered, tuned and base", class_="unseen")
    pick = el("th", el("span", "Compare", class_="unseen"), scope="col", class_="pick")
    table = el("table", caption, el("thead", el("tr", pick, *head)), el("tbody", *map(line, rows)), id="board")
    return scroll("All results", table)


def line(row: Row) -> Markup:
    """A row of the table; its attributes are what filters, plots and comparisons read."""
    entry, figure = row.entry, row.entry.figures["json_exact"]
    data: dict[str, Any] = {
        "key": entry.key, "name": entry.name, "side": entry.side,
        "set": row.board.key, "label": row.board.label, "task": row.board.task, "track": entry.track,
        "constraint": entry.part["constraint"],
        "machine": entry.result.machine, "size": entry.result.size, "bytes": entry.bytes, "latency": row.latency,
        **{end: figure[end] for end in ("value", "low", "high")},
    }  # fmt: skip
    label = f"Compare {entry.name}, {entry.about}, on {row.board.label}"
    pick = el("td", void("input", type="checkbox", value=entry.key, aria_label=label), class_="pick")
    cells = []
    for column in COLUMNS:
        value = column.value(row)
        given: dict[str, str | float] = {"data_v": "" if value is None else value, "class_": column.key}
        if column.key == "model":
            # A narrow screen shows this in place of the next column, so that the figures come into view.
            cells.append(el("th", column.show(row), scope="row", data_test=row.board.label, **given))
        else:
            cells.append(el("td", column.show(row), **given))
    return el("tr", pick, *cells, **{f"data_{key}": "" if value is None else value for key, value in data.items()})


def chosen() -> Markup:
    """What is said of the rows that are ticked, and the way to their comparison."""
    return el(
        "div",
        el("p", "Tick two rows of one test set to compare them.", id="picked", role="status"),
        el("a", "Compare them", href="compare.html", id="compare", class_="act", hidden=""),
        class_="chosen",
    )


def plots(boards: Sequence[Board]) -> Markup:
    """The place for the two plots, which a script draws from the rows that are shown."""
    most = max(boards, key=lambda board: len({entry.name for entry in board.entries}))
    options = [(board.key, board.label) for board in boards]
    figures = [
        el("figure", el("figcaption", words), el("div", class_="plot", id=f"plot-{axis}"), el("p", class_="front"))
        for axis, words in (("bytes", "JSONExact against size"), ("latency", "JSONExact against latency"))
    ]
    return el(
        "section",
        el("h2", "Accuracy for its price"),
        el("p", "One test set at a time, the rows that the filters leave. The line is the Pareto front: no other row "
           "is as cheap and as accurate. Bars are 95 % intervals. Latencies are of one machine, that which timed most "
           "of these rows."),
        labelled("plot-set", "Test set", select("plot-set", options, data_most=most.key), "one"),
        el("div", *figures, class_="pair"),
        el("noscript", el("p", "The plots are drawn by a script; the table has the same figures.")),
    )  # fmt: skip


def sets(boards: Sequence[Board]) -> Markup:
    """The test sets, with the ways to their slices and documents."""
    rows = [
        [
            el("th", el("a", board.label, href=f"tests/{board.key}.html"), scope="row"),
            str(len(board.rows)),
            str(len({sample["schema_id"] for sample in board.rows})),
            str(len(board.entries)),
            el("td", el("a", "slices", about, href=f"tests/{board.key}.html#slices")),
            el("td", el("a", "documents", about, href=f"documents.html#set={board.key}")),
        ]
        for board in boards
        for about in [el("span", f" of {board.label}", class_="unseen")]
    ]
    head = ["Test set", "Documents", "Schemas", "Rows", "By complexity, style, schema", "Every answer"]
    return el("section", el("h2", "Test sets"), grid("Test sets", head, rows))


def reading() -> Markup:
    """The rules by which the table is made."""
    terms = {
        "Rank": RULE,
        "JSONExact": "The share of documents whose whole output is the gold value; for intents that is accuracy. "
        "Behind it k of n and Wilson’s 95 % interval.",
        "Task’s measure": "What the task itself has as its headline: macro-F1 of intents, FunctionExact of function "
        "calls, FieldF1 of everything else.",
        "Truncated": "The share of answers that ran into their length limit.",
        "Constraint": "What held the decoding: free (whatever the model writes), schema, or grounded. Rows of "
        "different constraints are different rows.",
        "Track": join(*(el("span", el("b", name), f": {words}. ") for name, words in TRACKS.items())),
        "Size": "Parameters of the base model, an adapter being merged into it; and what its weights take on the disk: "
        "an export’s files, two bytes a parameter (bf16) elsewhere. The filter is by parameters, the plot by bytes.",
        "Latency": "One document at a time, from the prompt’s tokens to the last one, on the machine that the row "
        "names; times of different machines do not compare. An export answers all documents so and a run a few of "
        f"them, so that a p95 is said of {TAIL} or more only.",
    }
    pairs = (join(el("dt", term), el("dd", words)) for term, words in terms.items())
    return el("section", el("h2", "How to read it"), el("dl", *pairs))
