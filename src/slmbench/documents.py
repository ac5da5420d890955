"""Documents in: text files, JSONL, CSV, Parquet, folders of them, or standard input; one at a time and in their order.

What is wrong with one document is said in its place and the next goes on; what is wrong with a whole file (it is not
there, it has no such column) ends the reading.
"""

from __future__ import annotations

import csv
import importlib
import itertools
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

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


def _file(path: Path, column: str | None) -> Iterator[Document]:
    kind = path.suffix.lower()
    try:
        if kind == ".parquet":
            yield from _parquet(path, column)
        else:
            with path.open("rb") as handle:
                if kind in _LINES:
                    yield from _rows(str(path), handle, column)
                elif kind in _TABLES:
                    yield from _table(path, handle, column)
                else:
                    yield _whole(str(path), handle)
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror or error}); give a readable file.") from None


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


def _lines(handle: IO[bytes], first: bytes = b"") -> Iterator[tuple[int, bytes | None]]:
    """(number, line) of every line that is not blank; None for a line that is too long to hold."""
    number = 0
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


def _rows(name: str, handle: IO[bytes], column: str | None, first: bytes = b"") -> Iterator[Document]:
    """Lines of JSON objects."""
    for number, line in _lines(handle, first):
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


def _table(path: Path, handle: IO[bytes], column: str | None) -> Iterator[Document]:
    """A CSV or TSV file with a header. A row that is not UTF-8 is told of; so is one of too many or too few cells."""
    broken: set[int] = set()

    def texts() -> Iterator[str]:
        for number in itertools.count(1):
            line = handle.readline()
            if not line:
                return
            try:
                yield line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError:
                broken.add(number)
                yield line.decode("utf-8", "replace")

    reader = csv.reader(texts(), delimiter="\t" if path.suffix.lower() == ".tsv" else ",", strict=True)
    header: list[str] = []
    chosen = 0
    while True:
        start = reader.line_num + 1
        where = f"{path}:{start}"
        usual = csv.field_size_limit(MOST_BYTES)  # the process's: others' files keep theirs
        try:
            cells = next(reader, None)
        except csv.Error as error:
            # Behind a quote that is out of place it cannot be said where a row begins.
            raise BadInput(f"{where}: this is not CSV ({error}); mend the row.") from None
        finally:
            csv.field_size_limit(usual)
        if cells is None:
            break
        if not cells:
            continue
        if not header:
            header = [cell.strip() for cell in cells]
            chosen = header.index(column_of(str(path), header, column))
            continue
        if any(number in broken for number in range(start, reader.line_num + 1)):
            yield Document(where, error=f"{where}: the row is not UTF-8.")
        elif len(cells) != len(header):
            yield Document(where, error=f"{where}: {len(cells)} cells under {len(header)} columns.")
        else:
            name = cells[header.index("id")] if "id" in header else ""
            yield _of_row(where, name, cells[chosen], header[chosen])
    if not header:
        raise BadInput(f"{path}: the file is empty; give one with a header and rows.")


def column_of(name: str, columns: Iterable[str], wanted: str | None) -> str:
    """The column that holds the documents. Raises BadInput where there is none, with those that there are."""
    listed = list(columns)
    for column in (wanted,) if wanted else COLUMNS:
        if column in listed:
            return column
    what = f"no column {wanted!r}" if wanted else f"none of the columns {', '.join(COLUMNS)}"
    raise BadInput(f"{name}: {what} among {', '.join(map(repr, listed))[:200]}; name one with --column.")


def _parquet(path: Path, column: str | None) -> Iterator[Document]:
    parquet = parquet_library()
    try:
        file = parquet.ParquetFile(path)
    except (OSError, ValueError) as error:
        raise BadInput(f"{path}: not a whole Parquet file ({str(error).splitlines()[0]}); write it again.") from None
    names = file.schema_arrow.names
    found = column_of(str(path), names, column)
    number = 0
    batches = file.iter_batches(BATCH, columns=[found, *(["id"] if "id" in names else [])])
    while True:
        try:
            batch = next(batches, None)
        except (OSError, ValueError) as error:
            said = str(error).splitlines()[0]
            raise BadInput(f"{path}: damaged behind row {number} ({said}); write it again.") from None
        if batch is None:
            return
        for row in batch.to_pylist():
            number += 1
            yield _of_row(f"{path}:{number}", row.get("id"), row[found], found)


def parquet_library() -> Any:
    """`pyarrow.parquet`. Raises SlmbenchError where it is not installed."""
    try:
        return importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise BadInput("Parquet needs pyarrow; install it with pip install 'slmbench[parquet]'.") from None
