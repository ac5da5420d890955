"""A chart of a report as a file of its own."""

from __future__ import annotations

import re

STYLE = (
    "<style>text{font:12px sans-serif;fill:#666}text.mid{text-anchor:middle}text.end{text-anchor:end}"
    "line,polyline{stroke:#999;fill:none}polyline{stroke:#2563eb;stroke-width:2}circle{fill:#2563eb}</style>"
)


def alone(chart: str) -> str:
    """The SVG of `html.line_chart`, without its caption and with its own style."""
    found = re.search(r"<svg.*</svg>", chart, re.DOTALL)
    assert found is not None
    return found[0].replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1).replace(">", f">{STYLE}", 1) + "\n"
