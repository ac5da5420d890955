"""Rows of documents for anyone's JSON Schema: what `slmbench synth SCHEMA` writes.

A row's values, wording and style depend on the schema, the seed and the row's number alone. Styles take turns. Every
row passes the gate, and no text comes twice.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from slmbench.core import BadInput, Example
from slmbench.data import normalised
from slmbench.files import write_atomic
from slmbench.progress import progress
from slmbench.schema import canonical, complexity
from slmbench.synth.check import check_example
from slmbench.synth.doc import Doc
from slmbench.synth.fields import spoken, words_in
from slmbench.synth.fill import Filler, plan
from slmbench.synth.more_styles import STYLES
from slmbench.synth.saying import choose
from slmbench.synth.shown import Manner, money
from slmbench.synth.speech import Phrases, bare, on_words
from slmbench.synth.strays import lookalikes
from slmbench.synth.styles import first_up
from slmbench.synth.tree import Impossible, Node, as_object, every
from slmbench.synth.values import Source

Row = dict[str, Any]
RETRIES = 60
_BLOCKS = ("field_list", "memo", "record", "letter")
"""Styles in which a list may take a line for each item."""
_NULLS = ("log_line", "csv_table", "record")
"""Styles that say null."""


def make_rows(schema: Mapping[str, Any], n: int, seed: int = 42, schema_id: str = "document") -> list[Row]:
    """`n` rows of our own format under `schema`. The same arguments give the same rows.

    Raises BadInput, naming the field, for a schema that no document can be made for, and for n below 1.
    """
    if n < 1:
        raise BadInput(f"{schema_id}: {n} rows were asked for; ask for at least 1.")
    plan(schema, schema_id)
    with progress(f"{schema_id}: documents", n, "rows") as advance:
        rows = []
        for row in _rows(schema, n, seed, schema_id):
            rows.append(row)
            advance(1, "")
    return rows


def write(schema: Mapping[str, Any], n: int, path: Path, seed: int = 42, schema_id: str = "document") -> int:
    """Write `n` rows to `path` as JSONL, whole or not at all; how many there are."""
    rows = make_rows(schema, n, seed, schema_id)
    lines = (json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in rows)
    write_atomic(path, "".join(f"{line}\n" for line in lines))
    return len(rows)


def _rows(schema: Mapping[str, Any], n: int, seed: int, schema_id: str) -> Iterator[Row]:
    filler, level = Filler(schema, schema_id), complexity(schema)
    title = str(schema.get("title") or spoken(words_in(schema_id))).strip() or "document"
    known: set[str] = set()
    names = list(STYLES)
    random.Random(f"{seed}:styles").shuffle(names)
    for i in range(n):
        why = "no text was new"
        for attempt in range(RETRIES):
            source = Source(f"{schema_id}:{seed}:{i}:{attempt}")
            # After many tries the plainest style gets its turn: some values stand well in few styles only.
            style = names[i % len(names)] if attempt < RETRIES // 2 else "field_list"
            try:
                nodes = filler.fill(source, nulls=style in _NULLS)
            except Impossible as error:
                why = str(error)
                continue
            value = as_object(nodes)
            choose(nodes, source)
            text = _document(nodes, first_up(title), style, source, filler.theme, priced=filler.priced)
            wrong = check_example(Example("row", text, schema_id, schema, value, {"complexity": level}))
            plain = normalised(text)
            if not wrong and plain not in known:
                known.add(plain)
                yield {
                    "id": f"{schema_id}-{i + 1:0{max(4, len(str(n)))}d}", "schema_id": schema_id, "complexity": level,
                    "style": style, "text": text, "target": canonical(value, schema),
                }  # fmt: skip
                break
            why = wrong[0][1].removeprefix("row: ") if wrong else why
        else:
            raise BadInput(f"{schema_id}: after {i} of {n} rows no more could be made ({why}); loosen that field.")


def _document(nodes: Sequence[Node], title: str, style: str, source: Source, theme: str, *, priced: bool) -> str:
    """The document of these fields in one of STYLES; `priced` says that the schema has a field for the currency."""
    rng, visible = source.rng, [node for node in nodes if not node.hidden]
    mark = next((str(node.value) for node in nodes if node.meaning.args == ("currencies",)), None)
    # A currency that the document shows and no field has would be one more thing to extract.
    form = money(mark or rng.choice(["", "", "$", "€", "EUR", "£"] if not priced else [""]), rng)
    amounts = [node.value for node in every(visible) if node.meaning.kind == "money"]
    cents = not all(float(value).is_integer() for value in amounts if isinstance(value, int | float))
    manner = Manner(source, form, cents, grouped=source.chance(0.5), blocks=style in _BLOCKS)
    others = lookalikes(visible, manner, theme)
    text = STYLES[style](Doc({}, {"title": title}, Phrases(), rng, visible, theme, source, manner, others))
    # A style's small letter at the start of "PH value" or "VAT ID" is a slip.
    text = on_words(text, lambda said: re.sub(r"\b[a-z](?=[A-Z]{2})", lambda match: match[0].upper(), said))
    return bare(text).strip()
