"""The gate: may a file of examples be trained on, and may a model be judged by it?

Each rule has a name; what breaks one is a `Violation` with its place. `check_file` is the whole gate over one file,
`check_example` the part that needs one example only (a generator keeps what passes).

schema          the target is valid against its schema
canonical       the target is written in its canonical form (our own format only)
arithmetic      lines, subtotals and totals add up to the cent
unanswerable    every leaf stands in the text or follows from it by a rule of `derive`
array_boundary  the text shows where each array item ends
duplicate       no text comes twice, exactly or normalised
leak            no text stands in another split, exactly, normalised, or nearly (5-word shingles, Jaccard >= 0.8)
complexity      the label is what `schema.complexity` says
length          text and target together stay within the limit given
slices          a label that some rows have, all rows have, so that slices sum to n
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from slmbench.core import Example
from slmbench.data import UNLABELLED, Row, Schemas, examples_of, normalised, read_rows
from slmbench.schema import canonical, complexity, grounding, leaves, validate
from slmbench.synth.derive import derive
from slmbench.synth.structure import arithmetic, array_boundaries, field_schema, last_key

RULES = (
    "schema",
    "canonical",
    "arithmetic",
    "unanswerable",
    "array_boundary",
    "duplicate",
    "leak",
    "complexity",
    "length",
    "slices",
)
NEAR_DUPLICATE = 0.8
SHINGLE = 5
_LEVELS = ("simple", "medium", "complex")
_SHOWN = 60


@dataclass(frozen=True, order=True)
class Violation:
    """One thing wrong with a file: where, by which rule, and what."""

    file: str
    line: int
    rule: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.rule}: {self.message}"


@dataclass(frozen=True)
class Report:
    """What the gate says about one file: how many rows, how they slice, and every violation in the file's order."""

    file: str
    rows: int
    slices: dict[str, dict[str, int]]
    violations: list[Violation]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.violations

    def lines(self) -> list[str]:
        """Each violation as `file:line: rule: what`."""
        return [str(violation) for violation in self.violations]

    def counts(self) -> dict[str, int]:
        """How many violations each broken rule has, in the rules' order."""
        counts = Counter(violation.rule for violation in self.violations)
        return {rule: counts[rule] for rule in RULES if counts[rule]}

    def to_json(self) -> dict[str, Any]:
        """The report as a JSON value."""
        return {
            "file": self.file,
            "rows": self.rows,
            "bad_rows": len({violation.line for violation in self.violations}),
            "ok": self.ok,
            "slices": self.slices,
            "counts": self.counts(),
            "violations": [asdict(violation) for violation in self.violations],
        }


def check_file(
    path: Path,
    *,
    against: Sequence[Path] = (),
    schemas: Schemas | None = None,
    limit: int | None = None,
) -> Report:
    """The gate over one JSONL or CSV file, `against` the files that must share no text with it.

    `limit` bounds text and target together, in characters. Raises BadInput for a file that cannot be read at all.
    """
    rows = read_rows(path)
    examples = examples_of(rows, path, schemas=schemas)
    violations = check_rows(path, rows, examples, inferred=schemas is None, limit=limit)
    for other in against:
        violations += leaks(path, rows, other, read_rows(other))
    return Report(str(path), len(rows), slices(examples), sorted(violations))


def check_rows(
    path: Path,
    rows: Sequence[Row],
    examples: Sequence[Example],
    *,
    inferred: bool = False,
    limit: int | None = None,
) -> list[Violation]:
    """Every violation that the rows of one file show by themselves; `examples[i]` is the example of `rows[i]`.

    `inferred` says that rows without a schema of their own got one inferred from the rows.
    """
    found: list[tuple[int, str, str]] = []
    for row, example in zip(rows, examples, strict=True):
        sampled = inferred and row.schema is None
        found += [(row.line, rule, what) for rule, what in check_example(example, ours=row.ours, inferred=sampled)]
        wanted = canonical(example.target, example.schema)
        if row.ours and row.written != wanted:
            found.append((row.line, "canonical", f"{example.id}: {_difference(row.written, wanted)}"))
        length = len(example.text) + len(wanted)
        if limit is not None and length > limit:
            found.append(
                (
                    row.line,
                    "length",
                    f"{example.id}: text and target have {length} characters, over the limit of {limit}",
                )
            )
    found += _duplicates(rows)
    found += _partial_slices(rows)
    return [Violation(str(path), *entry) for entry in found]


def check_example(example: Example, *, ours: bool = True, inferred: bool = False) -> list[tuple[str, str]]:
    """What is wrong with one example by itself, as (rule, what).

    `ours` False allows that optional fields were dropped from the target alone. Under an `inferred` schema, which may
    lack what no row shows, a complexity label may be higher than the schema's, not lower.
    """
    found = [("schema", what) for what in validate(example.target, example.schema)]
    found += [("arithmetic", what) for what in arithmetic(example.target, example.schema, absent_is_zero=ours)]
    found += [("unanswerable", what) for what in _unanswerable(example)]
    found += [("array_boundary", what) for what in array_boundaries(example.target, example.text)]
    label, real = example.tags.get("complexity", UNLABELLED), complexity(example.schema)
    higher = inferred and label in _LEVELS[_LEVELS.index(real) :]
    if label not in (UNLABELLED, real) and not higher:
        found.append(("complexity", f"labelled {label}, the schema {example.schema_id!r} is {real}"))
    return [(rule, f"{example.id}: {what}") for rule, what in found]


def slices(examples: Sequence[Example]) -> dict[str, dict[str, int]]:
    """How many examples each complexity, style and schema has; every slicing sums to their number."""
    by: dict[str, Counter[str]] = {"complexity": Counter(), "style": Counter(), "schema": Counter()}
    for example in examples:
        by["complexity"][example.tags.get("complexity", UNLABELLED)] += 1
        by["style"][example.tags.get("style", UNLABELLED)] += 1
        by["schema"][example.schema_id] += 1
    return {name: dict(sorted(counts.items())) for name, counts in by.items()}


def leaks(path: Path, rows: Sequence[Row], other: Path, other_rows: Sequence[Row]) -> list[Violation]:
    """The rows of `path` whose text stands in `other` too: exactly, normalised, or nearly."""
    exact = {row.text: row for row in reversed(other_rows)}
    folded = {normalised(row.text): row for row in reversed(other_rows)}
    near = _NearDuplicates(other_rows)
    found = []
    for row in rows:
        twin, how = exact.get(row.text), "the same text as"
        if twin is None:
            twin, how = folded.get(normalised(row.text)), "the same text but for case and punctuation as"
        if twin is None:
            twin, share = near.find(row)
            how = f"nearly the same text ({share:.2f} of the {SHINGLE}-word shingles) as"
        if twin is not None:
            found.append(Violation(str(path), row.line, "leak", f"{row.id}: {how} {other}:{twin.line} ({twin.id})"))
    return found


def _unanswerable(example: Example) -> Iterator[str]:
    for path, leaf in leaves(example.target):
        schema = field_schema(example.schema, path)
        if "const" in schema or grounding(schema) is False:  # chosen, as a label is: it need not stand in the text
            continue
        if derive(leaf, example.text, schema, last_key(path)) is None:
            name = "/".join(map(str, path)) or "the top"
            shown = json.dumps(leaf, ensure_ascii=False)
            shown = shown if len(shown) <= _SHOWN else shown[: _SHOWN - 1] + "…"
            lack = "says nowhere that this is empty" if leaf in ({}, []) else "does not lead to this value"
            yield f"{name}: {shown}: the text {lack}"


def _difference(written: str | None, wanted: str) -> str:
    if written is None:
        return "the target is not a string: write its canonical JSON as a string"
    pairs = zip(written, wanted, strict=False)
    at = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(written), len(wanted)))
    here, there = written[at : at + 20], wanted[at : at + 20]
    return f"the target differs from its canonical form at character {at}: {here!r}, not {there!r}"


def _duplicates(rows: Sequence[Row]) -> Iterator[tuple[int, str, str]]:
    exact: dict[str, Row] = {}
    folded: dict[str, Row] = {}
    for row in rows:
        key = normalised(row.text)
        if row.text in exact:
            first = exact[row.text]
            yield row.line, "duplicate", f"{row.id}: the same text as line {first.line} ({first.id})"
        elif key in folded:
            first = folded[key]
            what = f"the same text but for case and punctuation as line {first.line} ({first.id})"
            yield row.line, "duplicate", f"{row.id}: {what}"
        exact.setdefault(row.text, row)
        folded.setdefault(key, row)


def _partial_slices(rows: Sequence[Row]) -> Iterator[tuple[int, str, str]]:
    for tag in ("complexity", "style"):
        without = [row for row in rows if getattr(row, tag) == UNLABELLED]
        if without and len(without) < len(rows):
            labelled = len(rows) - len(without)
            what = f"{len(without)} rows from here on have no {tag}: its slices sum to {labelled}, not {len(rows)}"
            yield without[0].line, "slices", what


class _NearDuplicates:
    """Finds a row that shares at least NEAR_DUPLICATE of its shingles, through an index of rare shingles only.

    Two sets with Jaccard similarity t or more share one of the rarest (1 - t) of either's shingles, in any fixed order
    (prefix filtering: Chaudhuri, Ganti, Kaushik, 2006): only those are indexed and looked up.
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows
        self._sets = [_shingles(row.text) for row in rows]
        self._frequency = Counter(shingle for shingles in self._sets for shingle in shingles)
        self._index: dict[tuple[str, ...], list[int]] = defaultdict(list)
        for number, shingles in enumerate(self._sets):
            for shingle in self._prefix(shingles):
                self._index[shingle].append(number)

    def find(self, row: Row) -> tuple[Row | None, float]:
        """The most similar row and its similarity; (None, 0.0) if there is none."""
        shingles = _shingles(row.text)
        best: tuple[Row | None, float] = (None, 0.0)
        for number in sorted({n for shingle in self._prefix(shingles) for n in self._index.get(shingle, ())}):
            both = len(shingles & self._sets[number])
            share = both / (len(shingles) + len(self._sets[number]) - both)
            if share >= NEAR_DUPLICATE and share > best[1]:
                best = (self._rows[number], share)
        return best

    def _prefix(self, shingles: frozenset[tuple[str, ...]]) -> list[tuple[str, ...]]:
        rare_first = sorted(shingles, key=lambda shingle: (self._frequency[shingle], shingle))
        return rare_first[: int(len(shingles) * (1 - NEAR_DUPLICATE) + 1e-9) + 1]


def _shingles(text: str) -> frozenset[tuple[str, ...]]:
    words = normalised(text).split()
    return frozenset(tuple(words[i : i + SHINGLE]) for i in range(max(1, len(words) - SHINGLE + 1)))
