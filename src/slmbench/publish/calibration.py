"""What a report says of an export's confidences: how far they are from the truth, what accepting the surest gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slmbench.publish.html import Markup, el, line_chart, table

NAMES = {"leaf": "values", "document": "documents"}


def calibration_section(export: str, told: Mapping[str, Mapping[str, Any]]) -> Markup:
    """Reliability diagram and risk-coverage curve of one export over the validation split, and their figures."""
    told = {name: part for name, part in told.items() if part["count"]}
    if not told:
        return Markup()
    shares = list(next(iter(told.values()))["right"])
    rows = [
        [
            NAMES[name],
            str(part["count"]),
            f"{part['error']:.3f}",
            *("–" if part["right"][share] is None else f"{100 * part['right'][share]:.1f} %" for share in shares),
        ]
        for name, part in told.items()
    ]
    head = [
        "",
        "answered",
        "calibration error",
        *(f"right of the surest {100 * float(share):.0f} %" for share in shares),
    ]
    sure = {NAMES[name]: [(b["confidence"], b["right"]) for b in part["bins"]] for name, part in told.items()}
    covered = {NAMES[name]: [(x, y) for x, y in part["covered"]] for name, part in told.items()}
    charts = [
        line_chart(
            "How often what is so sure is right", {"calibrated": [(0.0, 0.0), (1.0, 1.0)], **sure}, "confidence",
            "share right",
        ),
        line_chart("Accepting the surest", covered, "share accepted", "share right of it"),
    ]  # fmt: skip
    said = "Measured on the validation split, each answer by a curve that was fitted to the others."
    return el(
        "section", el("h2", f"Confidence of export/{export}"), el("p", said, class_="quiet"), table(head, rows),
        el("div", *charts, class_="grid2"),
    )  # fmt: skip
