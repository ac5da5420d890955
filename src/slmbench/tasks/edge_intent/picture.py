"""The confusion matrix of intents as a picture: a row for each gold label, by domains; and what is confused most."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from slmbench.publish.html import Markup, el, join, table
from slmbench.tasks.edge_intent import NONE, domain_of, intents
from slmbench.tasks.edge_intent.measures import INVALID, confusion, pairs

CELL, EDGE = 10, 74
NAMED = 20
"""Confusions that are listed."""


def picture(samples: Sequence[Mapping[str, Any]]) -> Markup:
    """Darker: more often. A cell says on being pointed at what was taken for what."""
    both = pairs(samples)
    gold = {label for label, _ in both}
    if INVALID in gold:
        return Markup()
    lists = ([*intents(), NONE], [*intents("unseen"), NONE])
    known = next((names for names in lists if gold <= set(names)), [])
    labels = [*known, *sorted({label for pair in both for label in pair} - set(known))]
    place = {label: EDGE + CELL * i for i, label in enumerate(labels)}
    total = Counter(label for label, _ in both)
    cells = [
        el(
            "rect",
            el("title", f"{label} → {said}: {count} of {total[label]}"),
            x=place[said], y=place[label], width=CELL - 1, height=CELL - 1, fill="var(--wrong)",
            class_="box tuned" if label == said else "box", fill_opacity=round(0.15 + 0.85 * count / total[label], 2),
        )
        for (label, said), count in sorted(Counter(both).items())
    ]  # fmt: skip
    size = EDGE + CELL * len(labels)
    frame, names = [], []
    for domain, part in groupby(labels, lambda label: domain_of().get(label, "")):
        some = list(part)
        start, end = place[some[0]], place[some[-1]] + CELL
        frame.append(el("path", d=f"M{EDGE} {start}H{size}M{start} {EDGE}V{size}", class_="grid"))
        names.append(el("text", domain or "others", x=EDGE - 4, y=(start + end) / 2 + 3, class_="end"))
    drawn = el(
        "svg", *frame, *names, *cells, viewBox=f"0 {EDGE - 4} {size} {size - EDGE + 4}", role="img",
        aria_label=f"confusion matrix of {len(labels)} labels",
    )  # fmt: skip
    caption = "Rows: the right label; columns, in the same order: the answer. The diagonal is right."
    listed = [[label, said, str(count)] for label, said, count in confusion(samples)[:NAMED]]
    rows = table(["right label", "answer", "times"], listed) if listed else Markup()
    figure = el("figure", el("figcaption", caption), drawn)
    return el("details", el("summary", "Confusion matrix"), join(figure, rows), open="")
