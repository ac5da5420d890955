"""Files as this project writes and reads them: writes that survive a kill or a full disk, reads that say what is wrong.

A file is either the old one or the new one (`write_atomic`); a log of JSON lines keeps every whole line
(`Appender`, `read_jsonl_tolerant`), however the process that wrote it ended.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from slmbench.core import BadInput, SlmbenchError


def write_atomic(path: Path, data: bytes | str, *, keep: Path | None = None) -> None:
    """Put `data` (text as UTF-8) at `path` whole or not at all: a temporary file beside it, fsync, rename.

    What was at `path` before goes to `keep` where that is given. Makes missing parent folders. Raises SlmbenchError,
    and leaves what was at `path` as it was, when the disk is full or the place cannot be written.
    """
    with open_atomic(path, keep=keep) as handle:
        handle.write(data.encode("utf-8") if isinstance(data, str) else data)


@contextlib.contextmanager
def open_atomic(path: Path, *, keep: Path | None = None) -> Iterator[BinaryIO]:
    """The same for what is written piece by piece; nothing changes at `path` where the block fails."""
    with write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
        try:
            with temporary.open("xb") as handle:
                yield handle
                handle.flush()
                os.fsync(handle.fileno())
            if keep and path.exists():
                path.replace(keep)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


class Appender:
    """Appends JSON values to a JSONL file, each line on the disk before `append` returns.

    Opening removes a torn last line, so that a resumed file never holds half a row. Use as a context manager.

    >>> with Appender(Path("samples.jsonl")) as samples:  # doctest: +SKIP
    ...     samples.append({"id": "a", "text": "..."})
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with write_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._handle: BinaryIO = path.open("a+b")
            whole = _whole_size(self._handle)
            self._handle.truncate(whole)
            self._handle.seek(whole)

    def append(self, value: Any) -> None:
        """Write one line. Raises SlmbenchError when the disk is full; the lines before it stay."""
        self.extend([value])

    def extend(self, values: Iterable[Any]) -> None:
        """Write a line for each and wait for the disk once. Raises as `append`; a kill leaves the first so many."""
        lines = (json.dumps(v, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n" for v in values)
        content = "".join(lines).encode("utf-8")
        with write_errors(self.path):
            self._handle.write(content)
            self._handle.flush()
            os.fsync(self._handle.fileno())

    def close(self) -> None:
        """Close the file; harmless when it is closed already."""
        with write_errors(self.path):
            self._handle.close()

    def __enter__(self) -> Appender:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_jsonl_tolerant(path: Path) -> list[Any]:
    """The values of a JSONL file that `Appender` wrote, without a torn last line; [] if there is no file.

    Raises BadInput when a line other than the last is broken: that is damage, not an interrupted write.
    """
    return list(stream_jsonl_tolerant(path))


def stream_jsonl_tolerant(path: Path) -> Iterator[Any]:
    """The same, one at a time."""
    try:
        handle = path.open("rb")
    except FileNotFoundError:
        return
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror}): give a readable file") from error
    with handle:
        for number, line in enumerate(handle, start=1):
            if not line.endswith(b"\n"):
                return
            if not line.strip():
                continue
            try:
                value = json.loads(line)
            except ValueError as error:
                if not next(handle, b"").endswith(b"\n"):
                    return
                raise BadInput(
                    f"{path}:{number}: this line is damaged ({error}): delete the line to go on without it"
                ) from error
            yield value


def read_json(path: Path, remedy: str, loads: Callable[[str], Any] = json.loads) -> dict[str, Any]:
    """The JSON object in a file. Raises BadInput, with `remedy` as what to do, where there is no file or no object."""
    try:
        value = loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BadInput(f"{path}: there is no such file: {remedy}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"{path}: not readable as JSON ({error}): {remedy}") from error
    if not isinstance(value, dict):
        raise BadInput(f"{path}: not a JSON object: {remedy}")
    return value


def json_text(value: Any, indent: int | None = 1) -> str:
    """JSON as it stands in the files that this project writes, with the last line ended."""
    return json.dumps(value, ensure_ascii=False, indent=indent, allow_nan=False) + "\n"


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


@contextlib.contextmanager
def write_errors(path: Path) -> Iterator[None]:
    """Turn an OSError from writing at `path` into a SlmbenchError of one sentence with the remedy."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise SlmbenchError(f"{path}: the disk is full: free some space and give the same command again") from error
        reason = error.strerror or str(error)
        raise SlmbenchError(
            f"{path}: cannot be written ({reason}): choose another place or change its rights"
        ) from error


def _whole_size(handle: BinaryIO) -> int:
    """The number of leading bytes of a file that are whole lines; as much of its end is read as says so."""
    size, span = handle.seek(0, os.SEEK_END), 2**16
    while True:
        start = handle.seek(max(0, size - span))
        content = handle.read()
        if not start or content.count(b"\n") > 1:  # so that the last line is there from its beginning
            return start + _whole_length(content)
        span *= 2


def _whole_length(content: bytes) -> int:
    """The number of leading bytes that are whole lines: all but a last line that was cut short."""
    end = content.rfind(b"\n") + 1
    start = content.rfind(b"\n", 0, max(end - 1, 0)) + 1
    try:
        if content[start:end].strip():
            json.loads(content[start:end])
    except ValueError:
        return start
    return end


@contextlib.contextmanager
def partial_folder(folder: Path) -> Iterator[Path]:
    """A folder beside `folder` that takes its place when the block ends well and vanishes when it does not."""
    from safetensors import SafetensorError

    old = folder.with_name(f".{folder.name}.partial-old")
    # A folder cannot replace one that has files, so the old one steps aside; a kill between the moves is undone here.
    if old.is_dir() and not folder.exists():
        old.replace(folder)
    for stale in folder.parent.glob(f".{folder.name}.partial-*"):
        shutil.rmtree(stale, ignore_errors=True)
    with write_errors(folder):
        partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}.partial-", dir=folder.parent))
        try:
            yield partial
            partial.chmod(0o755)
            if folder.exists():
                folder.replace(old)
            partial.replace(folder)
            shutil.rmtree(old, ignore_errors=True)
        except SafetensorError as error:
            raise SlmbenchError(f"{folder}: the weights could not be written ({error}): free some space") from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)
