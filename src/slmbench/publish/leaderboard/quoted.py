"""Figures that others have published, out of a file: who said what, where and when. Never mixed with measured ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from slmbench.core import BadInput
from slmbench.publish.html import NONE, Markup, el, join
from slmbench.publish.leaderboard.page import grid

FILE = Path(__file__).parents[1] / "quoted.yaml"


@dataclass(frozen=True)
class Source:
    """One publication: `rows` are model -> measure -> figure as it stands there; `published` is "" where no day is
    given, `noted` the day on which it was written down here."""

    source: str
    published: str
    noted: str
    conditions: str
    rows: Mapping[str, Mapping[str, str]]


def load_quoted(path: Path = FILE) -> list[Source]:
    """The publications, in the file's order. Raises BadInput, naming it, where one is not whole."""
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8")) or []
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise BadInput(f"{path}: not readable as YAML ({error}); mend it.") from None
    names = {field.name for field in fields(Source)}
    for number, part in enumerate(found, 1):
        if not isinstance(part, dict) or set(part) != names:
            raise BadInput(f"{path}: publication {number} has not just {', '.join(sorted(names))}; mend it.")
        if not all(_is_text(part[name]) for name in names - {"rows", "published"}) or not _are_figures(part["rows"]):
            raise BadInput(f"{path}: publication {number} has something empty, or that is no text; put it in quotes.")
    return [Source(**part) for part in found]


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _are_figures(rows: Any) -> bool:
    return bool(rows) and all(_is_text(figure) for row in rows.values() for figure in row.values())


def quoted(sources: Sequence[Source]) -> Markup:
    """The section of the front page, nothing where nothing is quoted."""
    if not sources:
        return Markup()
    return el(
        "section",
        el("h2", "Quoted from others"),
        el("p", "Published figures of other people, as they stand there. They were not measured here and cannot be "
           "ranked with the rows above: the documents and the definitions are others."),
        *map(publication, sources),
    )  # fmt: skip


def publication(source: Source) -> Markup:
    """One publication: what it is, then its figures."""
    measures = list(dict.fromkeys(measure for row in source.rows.values() for measure in row))
    rows = [[model, *(row.get(measure, NONE) for measure in measures)] for model, row in source.rows.items()]
    days = f"Published {source.published or '(no day given)'}, noted here {source.noted}."
    return join(
        el("h3", source.source), el("p", f"{source.conditions} {days}"), grid(source.source, ["Model", *measures], rows)
    )
