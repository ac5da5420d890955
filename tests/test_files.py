"""Whole files or none, whole lines or none, and a sentence when the disk is full."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest

from slmbench.core import BadInput, SlmbenchError
from slmbench.files import Appender, file_sha256, json_text, open_atomic, read_json, read_jsonl_tolerant, write_atomic


def full_disk(descriptor: int) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_write_atomic_makes_folders_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "a.txt"
    write_atomic(path, "größe\n")
    assert path.read_bytes() == "größe\n".encode()
    write_atomic(path, b"\x00\xff")
    assert path.read_bytes() == b"\x00\xff"
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"]


def test_a_full_disk_is_a_sentence_and_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt"
    write_atomic(path, "old")
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(SlmbenchError, match=r"a\.txt: the disk is full: free some space") as caught:
        write_atomic(path, "new")
    assert caught.value.exit_code == 1
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_what_is_written_piece_by_piece_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    with open_atomic(path) as handle:
        handle.write(b"one ")
        handle.write(b"two")
        assert not path.exists()
    with pytest.raises(ValueError, match="no"), open_atomic(path) as handle:
        handle.write(b"three")
        raise ValueError("no")
    assert path.read_text() == "one two" and [p.name for p in path.parent.iterdir()] == ["a.txt"]


def test_a_place_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(SlmbenchError, match="folder: cannot be written"):
        write_atomic(tmp_path / "folder", "text")
    (tmp_path / "file").write_text("")
    with pytest.raises(SlmbenchError, match="cannot be written"):
        write_atomic(tmp_path / "file" / "below", "text")


def test_appender_writes_lines_that_read_back(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "samples.jsonl"
    with Appender(path) as log:
        log.append({"id": "ä", "n": 1})
        assert read_jsonl_tolerant(path) == [{"id": "ä", "n": 1}]
        log.append([2])
    with Appender(path) as log:
        log.append(None)
    assert read_jsonl_tolerant(path) == [{"id": "ä", "n": 1}, [2], None]


@pytest.mark.parametrize("torn", [b'{"id": 3', b"\n", b'{"id": 3}', b'{"id": 3\n', b"\x00\x00\n", b"\xc3"])
def test_a_torn_last_line_is_dropped_and_written_over(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "samples.jsonl"
    path.write_bytes(b'{"id":1}\n{"id":2}\n' + torn)
    assert read_jsonl_tolerant(path) == [{"id": 1}, {"id": 2}]
    with Appender(path) as log:
        log.append({"id": 4})
    assert read_jsonl_tolerant(path) == [{"id": 1}, {"id": 2}, {"id": 4}]


@pytest.mark.parametrize("torn", [b"", b'{"id": ' + b"3" * 200_000, b'"' + b"4" * 70_000 + b'"\n\xc3'])
def test_lines_of_any_length_are_told_from_torn_ones(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "samples.jsonl"
    whole = [{"id": "1" * 100_000}, {"id": 2}, {"id": "3" * 150_000}]
    with Appender(path) as log:
        log.extend(whole[:2])
        log.extend(iter(whole[2:]))
        log.extend([])
    with path.open("ab") as handle:
        handle.write(torn)
    kept = [*whole, *(["4" * 70_000] if torn.endswith(b"\xc3") else [])]
    assert read_jsonl_tolerant(path) == kept
    with Appender(path) as log:
        log.append(5)
    assert read_jsonl_tolerant(path) == [*kept, 5]


def test_a_broken_line_in_the_middle_is_bad_input(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    path.write_bytes(b'{"id":1}\n{"id"\n{"id":3}\n')
    with pytest.raises(BadInput, match=r"samples\.jsonl:2: this line is damaged"):
        read_jsonl_tolerant(path)


def test_no_file_has_no_lines_and_a_folder_is_bad_input(tmp_path: Path) -> None:
    assert read_jsonl_tolerant(tmp_path / "none.jsonl") == []
    with pytest.raises(BadInput, match="cannot be read"):
        read_jsonl_tolerant(tmp_path)


def test_appending_to_a_full_disk_keeps_the_lines_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "samples.jsonl"
    with Appender(path) as log:
        log.append(1)
        monkeypatch.setattr(os, "fsync", full_disk)
        with pytest.raises(SlmbenchError, match="the disk is full"):
            log.append(2)
    assert read_jsonl_tolerant(path)[0] == 1


def test_json_reads_back_and_has_one_hash(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_atomic(path, json_text({"größe": [1]}))
    assert read_json(path, "") == {"größe": [1]}
    assert file_sha256(path) == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("content", "what"), [(None, "there is no such file"), ("{", "not readable as JSON"), ("[]", "not a JSON object")]
)
def test_json_that_is_none_says_what_to_do(tmp_path: Path, content: str | None, what: str) -> None:
    path = tmp_path / "a.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(BadInput, match=rf"a\.json: {what}.*: make it again"):
        read_json(path, "make it again")
