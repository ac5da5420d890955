"""Documents in, rows out: the verb `extract`.

Every document gives one row in the order of the documents, in a file that only grows: what a killed process wrote
stands, and the same command goes on behind it. Tables (CSV, Parquet) are made of that file when all is read. Rows come
from an engine, this process (`Extractor`) or many (`engine_ray`), and nothing else depends on which.
"""

from __future__ import annotations

import csv
import importlib
import io
import itertools
import json
import math
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from slmbench.confidence import curves_of, leaf_likelihoods
from slmbench.core import MOST_TOKENS, Backend, BadInput, Completion, Example, Model, Request
from slmbench.decode.loop import Decoder
from slmbench.documents import STDIN, Document, documents, files_of, parquet_library, parquet_rows, shown
from slmbench.explain import pointer, sources
from slmbench.files import (
    Appender,
    json_text,
    open_atomic,
    read_json,
    stream_jsonl_tolerant,
    write_atomic,
    write_errors,
)
from slmbench.progress import progress, say
from slmbench.schema import check_extractable, load_schema, properties_of, strict_loads, validate

_TABLES = frozenset({".csv", ".parquet"})
_GROUP = 2**14
"""Rows of a Parquet file that are in memory at a time."""
_TYPES = {
    frozenset(): "null", frozenset({"bool"}): "bool_", frozenset({"text"}): "string",
    frozenset({"short"}): "int64", frozenset({"long"}): "int64", frozenset({"short", "long"}): "int64",
    frozenset({"float"}): "float64", frozenset({"short", "float"}): "float64",
}  # fmt: skip
"""What a Parquet column is by the kinds of its values; anything else is JSON in text."""
Row = dict[str, Any]
Judged = tuple[Row, bool]
"""A row and whether it is doubtful; then it has the text of its document."""


@dataclass(frozen=True)
class Asked:
    """What is wanted of an extraction beside its documents and model."""

    schema: Mapping[str, Any]
    constraint: str = "schema"
    explain: bool = False
    min_confidence: float | None = None
    batch: int = 1
    threads: int | None = None

    @property
    def likelihoods(self) -> bool:
        """Whether the model is asked how sure it is."""
        return self.explain or self.min_confidence is not None


class Engine(Protocol):
    """Where rows come from."""

    model: Model
    asked: Asked

    def answers(self, inputs: Sequence[str], column: str | None, done: int) -> Iterator[Sequence[Judged]]:
        """The rows of all documents behind the first `done`, in their order, as many at a time as there are."""
        ...


Opener = Callable[[Model, Asked], Engine]


class Extractor:
    """A loaded model that turns documents into rows under one schema, one after the other."""

    def __init__(
        self, model: Model, asked: Asked, backend: Backend | None = None, check: Callable[[], None] = lambda: None
    ) -> None:
        """`backend` is one of the model that has been loaded already; `check` is that of `explain.sources`."""
        self.model, self.asked, self.check = model, asked, check
        self.backend = backend or model.backend(asked.threads, batch=asked.batch)
        curves = curves_of(model) if model.manifest.get("confidence") else {}
        self.leaf, self.whole = curves.get("leaf"), curves.get("document")

    def rows(self, found: Iterable[Document]) -> Iterator[Row]:
        """One row for each document, in their order: {id, json, ...} or {id, error}."""
        if self.asked.batch > 1:
            yield from self._at_once(found)
            return
        for document in found:
            request = self._request("0", document)
            if isinstance(request, dict):
                yield request
                continue
            for completion in self.backend.generate([request]):
                yield self.row(document, completion)

    def answers(self, inputs: Sequence[str], column: str | None, done: int) -> Iterator[Sequence[Judged]]:
        """The rows of all documents behind the first `done`, in their order."""
        for judged in self.judged(itertools.islice(documents(inputs, column), done, None)):
            yield [judged]

    def judged(self, found: Iterable[Document]) -> Iterator[Judged]:
        """The rows of documents, and which of them a person is to look at."""
        texts: deque[str] = deque()
        least = self.asked.min_confidence

        def kept() -> Iterator[Document]:
            for document in found:
                texts.append(document.text)
                yield document

        for row in self.rows(kept()):
            text, sure = texts.popleft(), row.get("confidence")
            doubtful = least is not None and "error" not in row and (sure is None or sure < least)
            yield ({**row, "text": text} if doubtful else row), doubtful

    def _at_once(self, found: Iterable[Document]) -> Iterator[Row]:
        """The same where answers end in any order."""
        waiting: dict[str, Row | None] = {}
        """Rows by their place, in the order of the documents; None where the answer is still being written."""
        asked: dict[str, Document] = {}

        def requests() -> Iterator[Request]:
            for place, document in enumerate(found):
                made = self._request(str(place), document)
                waiting[str(place)] = made if isinstance(made, dict) else None
                if isinstance(made, Request):
                    asked[made.id] = document
                    yield made

        for completion in self.backend.generate(requests()):
            waiting[completion.id] = self.row(asked.pop(completion.id), completion)
            yield from _ready(waiting)
        yield from _ready(waiting)

    def _request(self, key: str, document: Document) -> Request | Row:
        """What is asked for a document, or why nothing can be."""
        if document.error:
            return Row(id=document.id, error=document.error)
        example = Example(key, document.text, "", self.asked.schema, None)
        try:
            request = self.model.request(example, MOST_TOKENS, self.asked.constraint, self.asked.likelihoods)
        except BadInput as error:
            return Row(id=document.id, error=str(error))
        room = getattr(self.backend, "positions", math.inf)  # a server's model says nothing of it
        if len(request.prompt_ids) >= room:
            said = f"{len(request.prompt_ids)} tokens are over the {room - 1} that this model reads; cut the document."
            return Row(id=document.id, error=said)
        return request

    def row(self, document: Document, completion: Completion) -> Row:
        """The row of an answer."""
        if completion.error:
            return Row(id=document.id, error=completion.error)
        try:
            value = strict_loads(completion.text)
        except ValueError:
            cut = "was cut off at its limit" if completion.finish == "length" else "is no JSON"
            return Row(id=document.id, error=f"the answer {cut}.", output=completion.text)
        row = Row(id=document.id, json=value)
        if wrong := validate(value, self.asked.schema):
            row["invalid"] = wrong[0]
        if self.asked.likelihoods:
            row["confidence"] = self._confidence(completion)
        if self.asked.explain:
            row["values"] = self._values(document, value, completion)
        return row

    def _confidence(self, completion: Completion) -> float | None:
        """How likely the whole answer is right; None where its export does not know."""
        logs = completion.log_likelihoods
        return round(self.whole(math.exp(min(0.0, sum(logs)))), 4) if logs and self.whole else None

    def _values(self, document: Document, value: Any, completion: Completion) -> list[Row]:
        """Path, value, rule, span and confidence of every leaf."""
        likely = {}
        if completion.log_likelihoods and isinstance(self.backend, Decoder):
            word = self.backend.spelling.bytes
            pieces = [word(token).encode("latin-1") for token in completion.token_ids]
            likely = leaf_likelihoods(completion.text, pieces, completion.log_likelihoods)
        return [
            {
                "path": pointer(source.path),
                "value": source.value,
                "from": source.rule,
                "span": source.span,
                "confidence": round(self.leaf(likely[source.path]), 4) if self.leaf and source.path in likely else None,
            }
            for source in sources(value, self.asked.schema, document.text, self.check)
        ]


def _ready(waiting: dict[str, Row | None]) -> Iterator[Row]:
    """The rows at the beginning that are there."""
    while waiting and (row := waiting[first := next(iter(waiting))]) is not None:
        del waiting[first]
        yield row


def schema_of(model: Model, path: Path | None) -> Mapping[str, Any]:
    """The schema of a file, else the model's own. Raises BadInput where there is neither, or it cannot be used."""
    if path is None:
        own = model.manifest.get("schema")
        if not isinstance(own, dict):
            raise BadInput(f"{model.where}: this model has no schema of its own, or several; give one with --schema.")
        return own
    return check_extractable(load_schema(path), str(path))


def extract(
    model: Model, inputs: Sequence[str], asked: Asked, *, column: str | None = None, out: Path | None = None,
    review: Path | None = None, engine: Opener = Extractor,
) -> dict[str, int]:  # fmt: skip
    """The `extract` verb: rows to standard output or into files; {documents, failed, doubtful} of them.

    Raises BadInput for files that are not there or hold something else, and for settings that do not go together;
    SlmbenchError where the engine cannot go on.
    """
    if (asked.min_confidence is None) != (review is None):
        raise BadInput("--min-confidence and --review go together: how sure, and where the doubtful rows go.")
    if asked.min_confidence is not None and not 0 <= asked.min_confidence <= 1:
        raise BadInput(f"--min-confidence {asked.min_confidence}: give a probability, 0 to 1.")
    if asked.min_confidence is not None:
        curves_of(model)
    if review and not out:
        raise BadInput("--review needs --out: the other rows need a file as well.")
    for source in inputs:  # before the model is loaded
        if source != STDIN:
            files_of(Path(source))
            for path in (out, review):
                _check_apart(path, Path(source))
    opened = engine(model, asked)
    return to_file(opened, inputs, column, out, review) if out else to_stream(opened, inputs, column)


def _check_apart(path: Path | None, source: Path) -> None:
    """Raise BadInput where rows would be written over documents, or be read as some of them, which has no end."""
    if path is None:
        return
    if path.resolve() == source.resolve():
        raise BadInput(f"{path}: the rows would be written over the documents; give another file.")
    if path.resolve().is_relative_to(source.resolve()):
        raise BadInput(f"{path}: the rows would lie among the documents of {source}; give a file outside of it.")


def to_stream(engine: Engine, inputs: Sequence[str], column: str | None) -> dict[str, int]:
    """Rows to standard output as they come."""
    count = failed = 0
    for row, _ in itertools.chain.from_iterable(engine.answers(inputs, column, 0)):
        count, failed = count + 1, failed + ("error" in row)
        print(json.dumps(row, ensure_ascii=False), flush=True)
    return {"documents": count, "failed": failed, "doubtful": 0}


def to_file(
    engine: Engine, inputs: Sequence[str], column: str | None, out: Path, review: Path | None = None
) -> dict[str, int]:
    """Rows into a file, doubtful ones into another.

    What an earlier process wrote for the same documents, model and schema stays and is not done again. Raises BadInput
    where the file holds something else, or another process is writing it.
    """
    if STDIN in inputs:
        raise BadInput("standard input cannot be read again after a kill; leave --out away, or give files.")
    journal = out.with_name(f".{out.name}.rows.jsonl") if out.suffix.lower() in _TABLES else out
    if out.suffix.lower() == ".parquet":
        parquet_library()
    cursor, made_of = out.with_name(f".{out.name}.cursor.json"), _made_of(engine, inputs, column, review)
    with _alone(out):
        done, finished = _earlier(out, journal, review, cursor, made_of)
        if not finished:
            write_atomic(cursor, json_text({"made_of": made_of, "finished": False}))
            _append(engine, inputs, column, journal, review, done)
            if journal != out:
                _write_table(out, journal, engine.asked.schema)
            write_atomic(cursor, json_text({"made_of": made_of, "finished": True}))
        (sure, failed), (doubtful, _) = _counted(journal), _counted(review)
    return {"documents": sure + doubtful, "failed": failed, "doubtful": doubtful}


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Be the one process that writes these rows; the lock goes with the process, however it ends.

    Raises BadInput where another is at it.
    """
    from filelock import FileLock, Timeout

    path = out.with_name(f".{out.name}.lock")
    lock = FileLock(path, timeout=0)
    with write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire()
        except Timeout:
            raise BadInput(f"{out}: another process is writing it; wait for it to end, or give another file.") from None
    try:
        yield
    finally:
        lock.release()


def _counted(path: Path | None) -> tuple[int, int]:
    """How many rows a file has, and how many of them have failed."""
    count = failed = 0
    for row in stream_jsonl_tolerant(path) if path else ():
        count, failed = count + 1, failed + ("error" in row)
    return count, failed


def _append(
    engine: Engine, inputs: Sequence[str], column: str | None, journal: Path, review: Path | None, done: int
) -> None:
    """Every document behind the first `done`, a row each."""
    with ExitStack() as stack:
        rows = stack.enter_context(Appender(journal))
        doubts = stack.enter_context(Appender(review)) if review else rows
        advance = stack.enter_context(progress("extract", _count(inputs), "documents", done))
        for together in engine.answers(inputs, column, done):
            # The cursor is the lines of both files, so a row is on the disk before the next goes into the other file.
            for doubtful, run in itertools.groupby(together, key=lambda judged: judged[1]):
                (doubts if doubtful else rows).extend(row for row, _ in run)
            advance(len(together), "")


def _count(inputs: Sequence[str]) -> int:
    """About how many documents there are: lines or rows of files of rows, else files. For the progress alone."""
    total = 0
    for source in inputs:
        for path in files_of(Path(source)):
            if path.suffix.lower() in {".jsonl", ".ndjson", ".csv", ".tsv"}:
                with path.open("rb") as handle:
                    total += sum(1 for line in handle if line.strip())
            elif path.suffix.lower() == ".parquet":
                total += parquet_rows(path)
            else:
                total += 1
    return total


def _made_of(engine: Engine, inputs: Sequence[str], column: str | None, review: Path | None) -> Row:
    """What decides the rows: with anything else, they are others."""
    asked = engine.asked
    files = [[shown(path), path.stat().st_size] for source in inputs for path in files_of(Path(source))]
    return {
        "documents": files, "column": column, "model": engine.model.identity, "schema": asked.schema,
        "constraint": asked.constraint, "explain": asked.explain, "min_confidence": asked.min_confidence,
        "review": shown(review) if review else None,
    }  # fmt: skip


def _earlier(out: Path, journal: Path, review: Path | None, cursor: Path, made_of: Row) -> tuple[int, bool]:
    """(documents that are done, whether all are). Raises BadInput where the files are of something else."""
    if not cursor.exists():
        for path in (out, review):
            if path is not None and path.exists():
                raise BadInput(f"{path}: there is such a file already; give another, or delete it.")
        return 0, False
    found = read_json(cursor, f"delete it, and {out} to begin anew")
    before = found.get("made_of", {})
    changed = [key for key, value in made_of.items() if json.loads(json.dumps(value)) != before.get(key)]
    if changed:
        raise BadInput(
            f"{out}: it was begun with other {changed[0]}; give another file, or delete it and {cursor.name}."
        )
    done = _counted(journal)[0] + _counted(review)[0]
    finished = bool(found.get("finished")) and out.exists()
    if done and not finished:
        say(f"extract   going on behind {done} documents")
    return done, finished


def _write_table(path: Path, journal: Path, schema: Mapping[str, Any]) -> None:
    """Rows as a table: the id, a column for each property (objects and lists as JSON), confidence, and what failed.

    A property that is called as one of our own columns keeps its name; ours begins with an underscore then. The
    journal is read twice, first for the columns and what they hold, so that no more than a few rows are in memory.
    """
    names = list(properties_of(schema, schema)) or ["value"]
    extra = [key for key in ("confidence", "error") if any(key in row for row in stream_jsonl_tolerant(journal))]
    first, *last = (_free(key, names) for key in ("id", *extra))
    head = [first, *names, *last]

    def lines() -> Iterator[list[Any]]:
        for row in stream_jsonl_tolerant(journal):
            value = row.get("json")
            cells = value if isinstance(value, dict) else {"value": value}
            yield [row["id"], *(_cell(cells.get(name)) for name in names), *(row.get(key) for key in extra)]

    with open_atomic(path) as handle:
        if path.suffix.lower() == ".csv":
            text = io.TextIOWrapper(handle, encoding="utf-8", newline="")
            writer = csv.writer(text, lineterminator="\n")
            writer.writerow(head)
            writer.writerows(lines())
            text.detach()
        else:
            _write_parquet(handle, head, lines)


def _write_parquet(handle: BinaryIO, head: Sequence[str], lines: Callable[[], Iterator[list[Any]]]) -> None:
    """Columns of one kind each, which Parquet needs: as text where values are of several."""
    parquet, arrow = parquet_library(), importlib.import_module("pyarrow")
    kinds: list[set[str]] = [set() for _ in head]
    for line in lines():
        for found, value in zip(kinds, line, strict=True):
            found.add(_kind(value))
    types = [_TYPES.get(frozenset(found - {"null"}), "mixed") for found in kinds]
    places = {name: place for place, name in enumerate(head)}
    fields = [
        (name, arrow.string() if types[i] == "mixed" else getattr(arrow, types[i])()) for name, i in places.items()
    ]
    left = lines()
    with parquet.ParquetWriter(handle, arrow.schema(fields)) as writer:
        while some := list(itertools.islice(left, _GROUP)):
            columns = {
                name: [_as_text(line[i]) if types[i] == "mixed" else line[i] for line in some]
                for name, i in places.items()
            }
            writer.write_table(arrow.table(columns, schema=writer.schema))


def _free(name: str, taken: Collection[str]) -> str:
    return _free(f"_{name}", taken) if name in taken else name


def _cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value


def _as_text(value: Any) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False)


def _kind(value: Any) -> str:
    """What a column has to be for a value of a cell."""
    if isinstance(value, bool | None):
        return "null" if value is None else "bool"
    if isinstance(value, int):
        return "short" if abs(value) <= 2**53 else "long" if -(2**63) <= value < 2**63 else "mixed"
    return "float" if isinstance(value, float) else "text"
