"""Documents in: text files, JSONL, CSV, Parquet, folders of them, or standard input; one at a time and in their order.

What is wrong with one document is said in its place and the next goes on; what is wrong with a whole file (it is not
there, it has no such column) ends the reading. Files can be cut into units that others read (`units`, `read_unit`).
"""

from __future__ import annotations

import csv
import importlib
import itertools
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

from slmbench.core import BadInput
from slmbench.schema import strict_loads

STDIN = "-"
COLUMNS = ("text", "document", "content", "body", "prompt")
"""Where a row's document is looked for, in this order."""
MOST_BYTES = 4 * 2**20
"""Of one document: far over what any model here reads, and little enough to hold."""
BATCH = 256
"""Rows of a Parquet file at once."""
_LINES = frozenset({".jsonl", ".ndjson"})
_TABLES = frozenset({".csv", ".tsv"})
_MAGIC = {
    b"%PDF": "a PDF", b"\x89PNG": "an image", b"\xff\xd8\xff": "an image", b"GIF8": "an image",
    b"PK\x03\x04": "an archive or Office file", b"\x1f\x8b": "a compressed file",
}  # fmt: skip
_TEXT_FIRST = "turn it into text first"


@dataclass(frozen=True)
class Document:
    """A text and its id: that of its row, else its file and line. With an `error` there is no text to be read."""

    id: str
    text: str = ""
    error: str = ""


class Piece(NamedTuple):
    """`length` documents of a file of `size` bytes; the first begins at byte `at` (of Parquet: row `at`), in `line`."""

    path: str
    size: int
    at: int
    line: int
    length: int


def documents(sources: Sequence[str], column: str | None = None) -> Iterator[Document]:
    """The documents of files, folders and `-` (standard input), in the order given; folders by name.

    Raises BadInput for what is not there, cannot be opened, or has no column with texts.
    """
    for source in sources:
        if source == STDIN:
            yield from _standard_input(column)
            continue
        for path in files_of(Path(source)):
            yield from _file(path, column)


def files_of(path: Path) -> list[Path]:
    """The file, or all files below a folder by name, hidden ones left out. Raises BadInput where there is none."""
    if path.is_dir():
        below = (p for p in path.rglob("*") if not any(part.startswith(".") for part in p.relative_to(path).parts))
        found = sorted(p for p in below if p.is_file())
        if not found:
            raise BadInput(f"{path}: the folder holds no files; give one with documents.")
        return found
    if not path.exists():
        raise BadInput(f"{path}: there is no such file or folder; check the path.")
    return [path]


def shown(path: Path) -> str:
    """A path as text that can be written: bytes of a name that are no UTF-8 are U+FFFD each."""
    return os.fsencode(path).decode("utf-8", "replace")


def units(sources: Sequence[str], column: str | None, most: int, skip: int = 0) -> Iterator[list[Piece]]:
    """The documents of files and folders behind the first `skip`, `most` at a time: where they are, not what they say.

    Lines and rows are counted and no document is decoded. Raises BadInput as `documents` does.
    """
    unit: list[Piece] = []
    room, place = most, 0
    for path in itertools.chain.from_iterable(files_of(Path(source)) for source in sources):
        with _reading(path):
            size = path.stat().st_size
            for at, line in _beginnings(path, column):
                place += 1
                if place <= skip:
                    continue
                if unit and unit[-1].path == str(path):
                    unit[-1] = unit[-1]._replace(length=unit[-1].length + 1)
                else:
                    unit.append(Piece(str(path), size, at, line, 1))
                room -= 1
                if not room:
                    yield unit
                    unit, room = [], most
    if unit:
        yield unit


def read_unit(unit: Iterable[Piece], column: str | None) -> Iterator[Document]:
    """The documents of a unit. Raises BadInput where a file is not the one that was cut, or cannot be read."""
    for piece in unit:
        path = Path(piece.path)
        with _reading(path):
            here = path.stat().st_size
        if here != piece.size:
            raise BadInput(f"{path}: {here:,} bytes long, and {piece.size:,} when it was counted; leave it as it is.")
        yield from itertools.islice(_file(path, column, piece.at, piece.line), piece.length)


def _beginnings(path: Path, column: str | None) -> Iterator[tuple[int, int]]:
    """Where each document of a file begins: its byte (of Parquet its row), and the number of its line."""
    kind = path.suffix.lower()
    if kind == ".parquet":
        file = _parquet_file(path)
        column_of(str(path), file.schema_arrow.names, column)
        yield from ((row, 0) for row in range(file.metadata.num_rows))
    elif kind in _LINES | _TABLES:
        with path.open("rb") as handle:
            if kind in _TABLES:
                rows = _cells(path, handle)
                _, _, last = _header(path, rows, column)
                ends = (row.last for row in rows)
            else:
                last, ends = 0, (number for number, _ in _lines(handle))
            at = handle.tell()
            for end in ends:
                yield at, last + 1
                at, last = handle.tell(), end
    else:
        yield 0, 1


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Say that a file cannot be read. Raises BadInput."""
    try:
        yield
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror or error}); give a readable file.") from None


def _file(path: Path, column: str | None, at: int = 0, line: int = 1) -> Iterator[Document]:
    """The documents of a file from the one that begins at byte `at` (of Parquet: row `at`), in line `line`."""
    kind = path.suffix.lower()
    with _reading(path):
        if kind == ".parquet":
            yield from _parquet(path, column, at)
        else:
            with path.open("rb") as handle:
                if kind in _LINES:
                    handle.seek(at)
                    yield from _rows(shown(path), handle, column, behind=line - 1)
                elif kind in _TABLES:
                    yield from _table(path, handle, column, at, line)
                else:
                    yield _whole(shown(path), handle)


def _standard_input(column: str | None) -> Iterator[Document]:
    """Rows where the first line is a JSON object, else one document."""
    handle = sys.stdin.buffer
    first = handle.readline(MOST_BYTES + 1)
    try:
        is_row = isinstance(strict_loads(first.decode("utf-8-sig")), dict)
    except ValueError:
        is_row = False
    if is_row:
        yield from _rows("stdin", handle, column, first)
    elif rest := first + handle.read(MOST_BYTES + 1 - len(first)):
        yield _checked("stdin", rest)


def _whole(name: str, handle: IO[bytes]) -> Document:
    return _checked(name, handle.read(MOST_BYTES + 1))


def _checked(name: str, content: bytes) -> Document:
    """A document's bytes as text, or what is wrong with them."""
    what = next((what for magic, what in _MAGIC.items() if content.startswith(magic)), None)
    if what:
        return Document(name, error=f"{name}: this is {what}, not text; {_TEXT_FIRST}.")
    if len(content) > MOST_BYTES:
        return Document(name, error=f"{name}: over {MOST_BYTES:,} bytes long; cut it into documents.")
    encoding = "utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        return Document(
            name, error=f"{name}: byte {error.start} is not {encoding[:6].upper().rstrip('-')}; save it as UTF-8."
        )
    if "\0" in text:
        return Document(name, error=f"{name}: it holds null characters, so it is not text; {_TEXT_FIRST}.")
    return _sized(name, text)


def _sized(name: str, text: str) -> Document:
    if not text.strip():
        return Document(name, error=f"{name}: the document is empty.")
    return Document(name, text)


def _lines(handle: IO[bytes], first: bytes = b"", behind: int = 0) -> Iterator[tuple[int, bytes | None]]:
    """(number, line) of every line behind line `behind` that is not blank; None for one that is too long to hold."""
    number = behind
    while line := first or handle.readline(MOST_BYTES + 1):
        first = b""
        number += 1
        if len(line) <= MOST_BYTES or line.endswith(b"\n"):
            if line.strip():
                yield number, line
            continue
        while line and not line.endswith(b"\n"):
            line = handle.readline(MOST_BYTES + 1)
        yield number, None


def _rows(name: str, handle: IO[bytes], column: str | None, first: bytes = b"", behind: int = 0) -> Iterator[Document]:
    """Lines of JSON objects, behind line `behind`."""
    for number, line in _lines(handle, first, behind):
        where = f"{name}:{number}"
        if line is None:
            yield Document(where, error=f"{where}: the line is over {MOST_BYTES:,} bytes long.")
            continue
        try:
            row = strict_loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
        except UnicodeDecodeError as error:
            yield Document(where, error=f"{where}: byte {error.start} of the line is not UTF-8.")
            continue
        except ValueError as error:
            yield Document(where, error=f"{where}: the line is not JSON ({error}).")
            continue
        if not isinstance(row, dict):
            yield Document(where, error=f"{where}: the line is not a JSON object.")
            continue
        found = column or next((key for key in COLUMNS if key in row), COLUMNS[0])
        yield _of_row(where, row.get("id"), row.get(found), found)


def _of_row(where: str, name: Any, text: Any, column: str) -> Document:
    """A row's document."""
    id = str(name) if isinstance(name, str | int) and str(name) else where
    if not isinstance(text, str):
        what = "has no text under" if text is None else "has no string under"
        return Document(id, error=f"{where}: the row {what} {column!r}.")
    found = _sized(id, text)
    return Document(id, error=f"{where}: the document is empty.") if found.error else found


class _Row(NamedTuple):
    """Cells, the lines they stand in, and what is wrong with them: then there may be none."""

    first: int
    last: int
    cells: list[str]
    error: str = ""


class _TableLines:
    """The lines of a file behind line `number` as texts, and what is known of those since `begin`."""

    def __init__(self, handle: IO[bytes], number: int) -> None:
        self.handle, self.number = handle, number
        self.begin()

    def begin(self) -> None:
        """Begin a row."""
        self.broken = self.quoted = False

    def __iter__(self) -> _TableLines:
        return self

    def __next__(self) -> str:
        line = self.handle.readline()
        if not line:
            raise StopIteration
        self.number += 1
        self.quoted ^= line.count(b'"') % 2 == 1  # within a cell two of them stand for one
        try:
            return line.decode("utf-8-sig" if self.number == 1 else "utf-8")
        except UnicodeDecodeError:
            self.broken = True
            return line.decode("utf-8", "replace")

    def end(self) -> bool:
        """Pass over what is left of a row; False where it has no end."""
        while self.quoted:
            if next(self, None) is None:
                return False
        return True


def _cells(path: Path, handle: IO[bytes], behind: int = 0) -> Iterator[_Row]:
    """The rows of a CSV or TSV file behind line `behind` that are not blank. Raises BadInput for what is no CSV."""
    lines = _TableLines(handle, behind)
    reader = csv.reader(lines, delimiter="\t" if path.suffix.lower() == ".tsv" else ",", strict=True)
    while True:
        first, wrong = lines.number + 1, ""
        lines.begin()
        usual = csv.field_size_limit(MOST_BYTES)  # the process's: others' files keep theirs
        try:
            cells = next(reader, None)
        except csv.Error as error:
            # Behind a quote that is out of place it cannot be said where a row begins.
            if not str(error).startswith("field larger") or not lines.end():
                raise BadInput(f"{path}:{first}: this is not CSV ({error}); mend the row.") from None
            cells, wrong = [], f"a cell is over {MOST_BYTES:,} characters long"
        finally:
            csv.field_size_limit(usual)
        if cells is None:
            return
        if cells or wrong:
            yield _Row(first, lines.number, cells, "the row is not UTF-8" if lines.broken else wrong)


def _header(path: Path, rows: Iterator[_Row], column: str | None) -> tuple[list[str], int, int]:
    """The columns' names, which of them holds the documents, and the last line of them. Raises BadInput without any."""
    row = next(rows, None)
    if row is None:
        raise BadInput(f"{path}: the file is empty; give one with a header and rows.")
    header = [cell.strip() for cell in row.cells]
    return header, header.index(column_of(str(path), header, column)), row.last


def _table(path: Path, handle: IO[bytes], column: str | None, at: int = 0, line: int = 1) -> Iterator[Document]:
    """A CSV or TSV file with a header. A row that is not UTF-8 is told of; so is one of too many, too few or too long
    cells."""
    rows = _cells(path, handle)
    header, chosen, _ = _header(path, rows, column)
    if at:
        handle.seek(at)
        rows = _cells(path, handle, line - 1)
    for row in rows:
        where = f"{shown(path)}:{row.first}"
        if row.error:
            yield Document(where, error=f"{where}: {row.error}.")
        elif len(row.cells) != len(header):
            yield Document(where, error=f"{where}: {len(row.cells)} cells under {len(header)} columns.")
        else:
            name = row.cells[header.index("id")] if "id" in header else ""
            yield _of_row(where, name, row.cells[chosen], header[chosen])


def column_of(name: str, columns: Iterable[str], wanted: str | None) -> str:
    """The column that holds the documents. Raises BadInput where there is none, with those that there are."""
    listed = list(columns)
    for column in (wanted,) if wanted else COLUMNS:
        if column in listed:
            return column
    what = f"no column {wanted!r}" if wanted else f"none of the columns {', '.join(COLUMNS)}"
    raise BadInput(f"{name}: {what} among {', '.join(map(repr, listed))[:200]}; name one with --column.")


def parquet_rows(path: Path) -> int:
    """How many rows a Parquet file has. Raises BadInput where it is none."""
    return int(_parquet_file(path).metadata.num_rows)


def _parquet_file(path: Path) -> Any:
    """A `ParquetFile`. Raises BadInput."""
    parquet = parquet_library()
    try:
        return parquet.ParquetFile(path)
    except (OSError, ValueError) as error:
        raise BadInput(f"{path}: not a whole Parquet file ({str(error).splitlines()[0]}); write it again.") from None


def _parquet(path: Path, column: str | None, at: int = 0) -> Iterator[Document]:
    """The rows of a Parquet file from row `at` on, the first being 0."""
    file = _parquet_file(path)
    names = file.schema_arrow.names
    found = column_of(str(path), names, column)
    ends = list(itertools.accumulate(file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)))
    groups = [group for group, end in enumerate(ends) if end > at]
    number = ends[groups[0] - 1] if groups and groups[0] else 0
    columns = [found, *(["id"] if "id" in names else [])]
    batches = file.iter_batches(BATCH, row_groups=groups, columns=columns)
    while True:
        try:
            batch = next(batches, None)
        except (OSError, ValueError) as error:
            said = str(error).splitlines()[0]
            raise BadInput(f"{path}: damaged behind row {number} ({said}); write it again.") from None
        if batch is None:
            return
        if number + len(batch) <= at:  # of the same group, and before the documents asked for
            number += len(batch)
            continue
        for row in _values(batch):
            number += 1
            where = f"{shown(path)}:{number}"
            if number > at and row is None:
                yield Document(where, error=f"{where}: the row is not UTF-8.")
            elif number > at and row is not None:
                yield _of_row(where, row.get("id"), row[found], found)


def _values(batch: Any) -> Iterator[dict[str, Any] | None]:
    """The rows of a batch; None for one whose text is not UTF-8, which a writer may have put there unchecked."""
    try:
        rows = batch.to_pylist()
    except UnicodeDecodeError:
        for i in range(len(batch)):
            try:
                yield batch.slice(i, 1).to_pylist()[0]
            except UnicodeDecodeError:
                yield None
    else:
        yield from rows


def parquet_library() -> Any:
    """`pyarrow.parquet`. Raises SlmbenchError where it is not installed."""
    try:
        return importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise BadInput("Parquet needs pyarrow; install it with pip install 'slmbench[parquet]'.") from None
