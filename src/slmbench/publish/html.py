"""HTML elements that escape what they are given, and the few charts of a report as inline SVG or plain boxes."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence

import numpy as np

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 360, 200, 52, 16, 10, 34
Point = tuple[float, float]
NONE = "–"
"""What stands where there is nothing to say."""


class Markup(str):
    """Text that is HTML already; any other string is escaped by `el`."""

    __slots__ = ()


def el(tag: str, *children: str, **attributes: str | float) -> Markup:
    """One element: `el("a", "x < y", href="#top")`.

    A trailing underscore is dropped from attribute names (`class_`), others become hyphens (`data_kind`).
    """
    pairs = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"' for name, value in attributes.items()
    )
    return Markup(f"<{tag}{pairs}>{join(*children)}</{tag}>")


def join(*children: str) -> Markup:
    """Children one after another, escaped where they are not `Markup`."""
    return Markup("".join(child if isinstance(child, Markup) else html.escape(child) for child in children))


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Markup:
    """A table that scrolls sideways where the screen is narrow, by keyboard too."""
    header = el("tr", *(el("th", cell) for cell in head))
    body = (el("tr", *(el("td", cell) for cell in row)) for row in rows)
    return el("div", el("table", el("thead", header), el("tbody", *body)), class_="scroll", tabindex="0")


def pre(text: str) -> Markup:
    """A text as it is, which scrolls where it is long, by keyboard too."""
    return el("pre", text, tabindex="0")


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) that span low to high, about `count` of them."""
    span = (high - low) or abs(high) or 1.0
    raw = span / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil((low + span) / step - 1e-9)
    return [i * step for i in range(first, last + 1)]


class Axes:
    """A chart's frame: maps values to the drawing and holds the tick marks of both axes."""

    def __init__(self, x: Sequence[float], y: Sequence[float], x_label: str, y_label: str) -> None:
        marks, self.y_ticks = ticks(min(x), max(x)), ticks(min(0.0, *y), max(y))
        self.low, self.high = (min(x), max(x)) if min(x) < max(x) else (marks[0], marks[-1])
        self.x_ticks = [t for t in marks if self.low <= t <= self.high]
        self.x_label, self.y_label = x_label, y_label

    def x(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    def y(self, value: float) -> float:
        share = (value - self.y_ticks[0]) / (self.y_ticks[-1] - self.y_ticks[0])
        return round(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM), 1)

    def draw(self, title: str, *marks: Markup) -> Markup:
        """The whole chart: grid, labels, then the marks."""
        grid = [el("path", d=f"M{LEFT} {self.y(t)}H{WIDTH - RIGHT}", class_="grid") for t in self.y_ticks]
        left = [el("text", f"{t:g}", x=LEFT - 5, y=self.y(t) + 3, class_="end") for t in self.y_ticks]
        below = [el("text", f"{t:g}", x=self.x(t), y=HEIGHT - BOTTOM + 13, class_="mid") for t in self.x_ticks]
        names = (
            el("text", self.x_label, x=(LEFT + WIDTH - RIGHT) / 2, y=HEIGHT - 4, class_="mid"),
            el(
                "text",
                self.y_label,
                x=0,
                y=0,
                class_="mid",
                transform=f"translate(9 {(HEIGHT - BOTTOM) / 2}) rotate(-90)",
            ),
        )
        return el(
            "svg",
            *(el("title", title), *grid, *left, *below, *names, *marks),
            viewBox=f"0 0 {WIDTH} {HEIGHT}",
            role="img",
        )


def line_chart(
    title: str,
    lines: Mapping[str, Sequence[Point]],
    x_label: str,
    y_label: str,
    titles: Mapping[str, str] | None = None,
) -> Markup:
    """Named lines of (x, y) points; a line of up to ten points shows them as dots.

    A line's name is its CSS class, and what it is called where `titles` does not have it.
    """
    points = [point for line in lines.values() for point in line]
    axes = Axes([x for x, _ in points], [y for _, y in points], x_label, y_label)
    marks = []
    for name, line in lines.items():
        path = " ".join(f"{axes.x(x)},{axes.y(y)}" for x, y in line)
        marks.append(el("polyline", points=path, class_=f"line {name}"))
        if len(line) <= 10:
            marks += [el("circle", cx=axes.x(x), cy=axes.y(y), r=3, class_=f"dot {name}") for x, y in line]
    return el("figure", el("figcaption", title, legend(list(lines), titles)), axes.draw(title, *marks))


def thinned(points: Sequence[Point], most: int = 400) -> list[Point]:
    """At most so many points, each the mean of its neighbours: a page stays small however long a run was."""
    step = math.ceil(len(points) / most) or 1
    groups = [points[i : i + step] for i in range(0, len(points), step)]
    return [(sum(x for x, _ in group) / len(group), sum(y for _, y in group) / len(group)) for group in groups]


def histogram(title: str, series: Mapping[str, Sequence[float]], x_label: str, bins: int = 20) -> Markup:
    """How many values fall into each of `bins` equal bins, the series' boxes side by side in one frame."""
    values = [value for row in series.values() for value in row]
    edges = np.histogram_bin_edges(values, bins)
    counts = {name: np.histogram(row, edges)[0] for name, row in series.items()}
    axes = Axes(
        [float(edges[0]), float(edges[-1])], [float(max(c.max() for c in counts.values()))], x_label, "documents"
    )
    marks = []
    for i, (name, heights) in enumerate(counts.items()):
        for low, high, count in zip(edges, edges[1:], heights, strict=False):
            wide = (axes.x(float(high)) - axes.x(float(low))) / len(counts)
            top = axes.y(float(count))
            box = {"x": round(axes.x(float(low)) + i * wide, 1), "y": top, "width": round(max(wide - 0.5, 0.5), 1)}
            marks.append(el("rect", **box, height=round(axes.y(0) - top, 1), class_=f"box {name}"))
    return el("figure", el("figcaption", title, legend(list(series))), axes.draw(title, *marks))


def legend(names: Sequence[str], titles: Mapping[str, str] | None = None) -> Markup:
    """Colour keys, where there is more than one colour."""
    return join(*(key(name, (titles or {}).get(name, name)) for name in names)) if len(names) > 1 else Markup()


def key(name: str, words: str) -> Markup:
    """A colour, by the CSS class that has it, and what it stands for."""
    return el("span", el("i", class_=name), words, class_="key")


def bars(
    rows: Sequence[tuple[str, Mapping[str, Mapping[str, float]]]], titles: Mapping[str, str] | None = None
) -> Markup:
    """Shares with their intervals as horizontal bars: (label, series name -> {k, n, value, low, high}).

    A series' name is its CSS class; `titles` are what a bar says on being pointed at.
    """
    lines = []
    for label, parts in rows:
        tracks = []
        for name, part in parts.items():
            low, high = (100 * part[end] for end in ("low", "high"))
            fill = el("i", class_=name, style=f"width:{100 * part['value']:.1f}%")
            reach = el("b", style=f"left:{low:.1f}%;width:{high - low:.1f}%")
            note = el("span", f"{100 * part['value']:.0f} % ({part['k']}/{part['n']})", class_="note")
            told: dict[str, str | float] = {"title": titles[name]} if titles else {}
            tracks.append(el("div", el("span", fill, reach, class_="track"), note, class_="pair", **told))
        lines.append(el("div", el("span", label, class_="label"), el("div", *tracks), class_="bar"))
    return el("div", *lines, class_="bars")
