"""Extraction on Ray: what one process would write, to the byte, whoever is killed meanwhile."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest
from mail_schema import SCHEMA

from slmbench import __version__, engine_ray
from slmbench.backends import native
from slmbench.core import BadInput, SlmbenchError
from slmbench.documents import Piece, units
from slmbench.engine_ray import RayEngine, Worker, share_cores
from slmbench.exported import Exported, load_exported
from slmbench.extract import Asked, Extractor
from slmbench.remote import Remote

pytestmark = [
    pytest.mark.skipif(native.compiled() is None, reason="no C compiler"),
    pytest.mark.timeout(900),  # Ray starts a dozen processes, each time
]
SETTINGS = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # keeps it on loopback
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
}
CLUSTER = """
import sys, ray
ray.init(address="local", num_cpus=2, num_gpus=0, include_dashboard=False, object_store_memory=10**8, log_to_driver=0)
print(ray.get_runtime_context().gcs_address, flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def model(wide_exports: Path) -> Path:
    return wide_exports / "export" / "int8"


@pytest.fixture(scope="module")
def exported(model: Path) -> Exported:
    return load_exported(model)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A cluster of one machine with two cores, in a process of its own."""
    environment = {**os.environ, **SETTINGS}
    with subprocess.Popen(
        [sys.executable, "-c", CLUSTER], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        yield process.stdout.readline().strip()


@pytest.fixture
def cluster(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**SETTINGS, "RAY_ADDRESS": address}.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No cluster but the one that the engine starts itself."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


def mails(folder: Path, count: int) -> Path:
    """Rows, one in the middle broken."""
    path = folder / "mails.jsonl"
    lines = [json.dumps({"id": f"m{i}", "text": f"praise number {i}, urgent: yes"}) for i in range(count)]
    lines[count // 2] = '{"id": "broken'
    path.write_text("\n".join(lines) + "\n")
    return path


def every_kind(folder: Path) -> list[Path]:
    """A folder, rows, a CSV and a Parquet file, each with a document in the middle that cannot be read."""
    import pyarrow as pa
    from pyarrow import parquet

    letters = folder / "letters"
    letters.mkdir()
    for name, content in (("a.txt", b"an order"), ("b.txt", b"%PDF-1.7"), ("c.txt", b"caf\xe9"), ("d.txt", b"praise")):
        (letters / name).write_bytes(content)
    table = folder / "table.csv"
    table.write_bytes(b'id,body\nc1,"an order,\nurgent"\n\n,bad \xff text\nc3,a complaint\nc4\n"c5",praise\n')
    rows = folder / "rows.parquet"
    texts = [None if i == 7 else f"complaint {i}" for i in range(11)]
    parquet.write_table(pa.table({"id": [f"p{i}" for i in range(11)], "text": texts}), rows, row_group_size=4)
    return [letters, mails(folder, 9), table, rows]


def wait_for_rows(process: subprocess.Popen[str], path: Path, size: int, said: Path) -> bool:
    """Whether the file grew over a size before the process ended; one that failed is no end."""
    while process.poll() is None:
        if path.exists() and path.stat().st_size > size:
            return True
        time.sleep(0.005)
    assert process.returncode == 0, said.read_text()
    return False


def family(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def named(processes: list[psutil.Process], name: str) -> list[psutil.Process]:
    found = []
    for process in processes:
        with contextlib.suppress(psutil.Error):
            if process.cmdline()[0].startswith(name):
                found.append(process)
    return found


def test_the_same_to_the_byte(
    model: Path, schema_file: Path, tmp_path: Path, cluster: None, slmbench: Callable[..., Any]
) -> None:
    """Files of every kind, some documents broken, some rows doubtful."""
    given = [model, *every_kind(tmp_path), "--schema", schema_file, "--min-confidence", "1"]
    written = []
    for engine in ("local", "ray"):
        out, review = tmp_path / engine / "out.jsonl", tmp_path / engine / "review.jsonl"
        said = slmbench("extract", *given, "--engine", engine, "--out", out, "--review", review)
        assert said.code == 0, said.err
        assert said.err.splitlines()[-1].startswith("29 documents, 6 failed"), said.err
        written.append((out.read_bytes(), review.read_bytes()))
    assert written[0] == written[1] and all(written[0])
    begun, *progress, _ = said.err.splitlines()
    assert begun == "ray       2 workers, threads of each: 1"
    assert progress and all(line.startswith("extract: ") for line in progress), "Ray's own words"


def test_a_worker_that_is_killed_loses_nothing(
    model: Path, schema_file: Path, tmp_path: Path, alone: None, start: Callable[..., Any], slmbench: Callable[..., Any]
) -> None:
    """On this machine alone, where Ray starts and ends with the command and nothing listens but on loopback."""
    given = ["extract", model, mails(tmp_path, 400), "--schema", schema_file, "--explain"]
    ours, theirs = tmp_path / "ours.parquet", tmp_path / "theirs.parquet"
    assert slmbench(*given, "--out", theirs).code == 0
    process = start(*given, "--out", ours, "--engine", "ray", "--workers", "2")
    assert wait_for_rows(process, tmp_path / ".ours.parquet.rows.jsonl", 0, tmp_path / "stderr")
    everyone = family(process)
    listening = [
        one.laddr.ip for p in everyone for one in p.net_connections("inet") if one.status == psutil.CONN_LISTEN
    ]
    assert listening and {ip.removeprefix("::ffff:") for ip in listening} == {"127.0.0.1"}
    named(everyone, "ray::MapWorker")[0].kill()
    assert process.wait(600) == 0, (tmp_path / "stderr").read_text()
    assert ours.read_bytes() == theirs.read_bytes()
    _, alive = psutil.wait_procs(everyone, timeout=120)
    assert not alive


def test_killed_at_any_moment_it_goes_on(
    model: Path, schema_file: Path, tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch,
    start: Callable[..., Any], slmbench: Callable[..., Any],
) -> None:  # fmt: skip
    """On this machine, then on a cluster."""
    given = ["extract", model, mails(tmp_path, 500), "--schema", schema_file]
    ours, theirs = tmp_path / "ours.jsonl", tmp_path / "theirs.jsonl"
    assert slmbench(*given, "--out", theirs).code == 0
    chance, before = random.Random(4), []
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    for moment in range(3):
        size = ours.stat().st_size if ours.exists() else 0
        process = start(*given, "--out", ours, "--engine", "ray", "--workers", "2")
        if moment < 2:
            assert wait_for_rows(process, ours, size + chance.randint(0, 4000), tmp_path / "stderr")
            everyone = family(process)
            process.kill()
            process.wait()
            before.append(ours.read_bytes().count(b"\n"))
            _, alive = psutil.wait_procs(everyone, timeout=120)
            assert not alive
            with ours.open("ab") as handle:
                handle.write(b'{"id": "m')  # a write that was cut
        for name, value in {**SETTINGS, "RAY_ADDRESS": address}.items():
            monkeypatch.setenv(name, value)
    assert process.wait(600) == 0, (tmp_path / "stderr").read_text()
    assert 0 < before[0] < before[1] < 500
    assert f"going on behind {before[1]} documents" in (tmp_path / "stderr").read_text()
    assert ours.read_bytes() == theirs.read_bytes()


def test_a_cluster_that_is_not_there(
    model: Path, schema_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slmbench: Callable[..., Any]
) -> None:
    monkeypatch.setattr(engine_ray, "ANSWER_SECONDS", 2.0)
    given = ["extract", model, mails(tmp_path, 2), "--schema", schema_file, "--engine", "ray"]
    with socket.create_server(("127.0.0.1", 0)) as server:  # takes the call and says nothing
        there = f"127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setenv("RAY_ADDRESS", there)
        said = slmbench(*given)
    assert said.code == 1 and f"RAY_ADDRESS={there}: no Ray cluster answers there (not in 2 s)" in said.sentence
    said = slmbench(*given)
    assert said.code == 1 and "no Ray cluster answers there" in said.sentence and "refused" in said.sentence


def test_without_ray_the_extra_is_named(
    model: Path, schema_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slmbench: Callable[..., Any]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    out = tmp_path / "out.jsonl"
    given = ["extract", model, mails(tmp_path, 2), "--schema", schema_file, "--engine", "ray", "--out", out]
    said = slmbench(*given)
    assert said.code == 1 and "pip install 'slmbench[ray]'" in said.sentence and not out.exists()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--engine", "ray"], "standard input is read here alone; give files"),
        (["--engine", "ray", "--workers", "0"], "--workers 0: give 1 to"),
        (["--engine", "ray", "--threads", "0"], "--threads 0: give 1 to"),
        (["--workers", "2"], "they are of --engine ray"),
    ],
)
def test_what_does_not_go_together(
    model: Path, schema_file: Path, options: list[str], sentence: str, slmbench: Callable[..., Any]
) -> None:
    said = slmbench("extract", model, "-", "--schema", schema_file, *options)
    assert said.code == 2 and sentence in said.sentence


def test_a_server_needs_no_workers() -> None:
    with pytest.raises(BadInput, match="a server is asked from here"):
        RayEngine(Remote("http://127.0.0.1:1/v1", "m"), Asked(SCHEMA))


def test_documents_that_no_worker_could_read_are_found_first(exported: Exported, tmp_path: Path, alone: None) -> None:
    """Ray is not even started."""
    (tmp_path / "a.csv").write_text('text\none\n"two')
    with pytest.raises(BadInput, match=r"a\.csv:3: this is not CSV"):
        list(RayEngine(exported, Asked(SCHEMA)).answers([str(tmp_path / "a.csv")], None, 0))
    (tmp_path / "b.jsonl").write_text("\n")
    assert list(RayEngine(exported, Asked(SCHEMA)).answers([str(tmp_path / "b.jsonl")], None, 0)) == []


@pytest.mark.parametrize(
    ("cores", "workers", "threads", "shared"),
    [
        ([16], None, None, (16, 1)), ([16], 4, None, (4, 4)), ([16], None, 8, (2, 8)), ([16], 3, 2, (3, 2)),
        ([16], 5, None, (5, 3)), ([2], 4, None, (4, 1)), ([8, 8, 4], None, 3, (5, 3)), ([8, 8], 1, None, (1, 8)),
        ([0], None, None, (1, 1)), ([], None, 2, (1, 2)),
    ],
)  # fmt: skip
def test_cores_are_shared_out(
    cores: list[int], workers: int | None, threads: int | None, shared: tuple[int, int]
) -> None:
    assert share_cores(cores, workers, threads) == shared


def worker(exported: Exported, cwd: Path, other: Mapping[str, Any] | None = None) -> Callable[..., dict[str, Any]]:
    """A worker in this process."""
    made = Worker(
        {
            "version": __version__, "cwd": str(cwd), "folder": str(exported.folder), "column": None,
            "identity": dict(exported.identity), "asked": {"schema": SCHEMA, "threads": 1}, **(other or {}),
        }
    )  # fmt: skip

    def call(unit: list[Piece]) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(made({"unit": json.dumps(unit)})["rows"])
        return answer

    return call


def test_a_worker_answers_as_one_process_would(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mails(tmp_path, 6)
    monkeypatch.chdir(tmp_path)
    plain = Extractor(exported, Asked(SCHEMA, threads=1)).answers(["mails.jsonl"], None, 0)
    expected = [row for together in plain for row, _ in together]
    cut = list(units(["mails.jsonl"], None, 4))
    monkeypatch.chdir("/")  # a path that is relative means the folder where the command was given
    answer = worker(exported, tmp_path)
    assert [row for unit in cut for row, _ in answer(unit)["rows"]] == expected
    assert len(cut) == 2 and "error" in expected[3]


def test_a_worker_says_what_it_lacks(exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = mails(tmp_path, 3)
    (unit,) = units([str(path)], None, 9)
    shutil.copytree(exported.folder, tmp_path / "model")
    manifest = json.loads((tmp_path / "model" / "manifest.json").read_text())
    (tmp_path / "model" / "manifest.json").write_text(json.dumps({**manifest, "files": {}}))
    for other, sentence in (
        ({"folder": str(tmp_path / "none")}, "none: a worker does not see it"),
        ({"folder": str(tmp_path / "model")}, "another model on a worker than here"),
        ({"version": "0.0.0"}, f"slmbench {__version__} on a worker, 0.0.0 here: install the same"),
        ({"asked": {"schema": SCHEMA, "batch": 99}}, "--batch 99"),
    ):
        answer = worker(exported, tmp_path, other)(unit)
        assert answer["rows"] == [] and sentence in answer["error"]
        assert answer["bad"] is ("version" not in other)
    call = worker(exported, tmp_path)
    answer = call([unit[0]._replace(length=4)])
    assert len(answer["rows"]) == 3 and "has fewer documents" in answer["error"]
    path.write_text(path.read_text() + "\n")
    assert "bytes long" in call(unit)["error"]
    path.unlink()
    assert "mails.jsonl: a worker does not see it; put documents and model" in call(unit)["error"]


def test_what_is_wrong_with_us_is_no_sentence(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (unit,) = units([str(mails(tmp_path, 3))], None, 9)
    for error, key, said in (
        (KeyError("x"), "fault", "KeyError: 'x'"),
        (MemoryError(), "error", "a worker: MemoryError"),
    ):

        def broken(self: Worker, error: Exception = error) -> Extractor:
            raise error

        monkeypatch.setattr(Worker, "_open", broken)
        assert said in worker(exported, tmp_path)(unit)[key]


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        ("raise RuntimeError('it is full\\nand more')", "Ray: RuntimeError: it is full; what is written stays"),
        ("import os; os.write(2, b'noise\\n[2026-11-26 E 9 9] client.h:204: It is gone.'); os._exit(1)",
         r"Ray ended \(It is gone\.\); what is written stays"),
        ("import os; os._exit(3)", r"Ray ended \(code 3\); what"),
        ("raise ImportError('no msgpack')", r"needs more \(no msgpack\): pip install 'slmbench\[ray\]'"),
    ],
)  # fmt: skip
def test_however_ray_ends_there_is_a_sentence(
    exported: Exported, tmp_path: Path, alone: None, monkeypatch: pytest.MonkeyPatch, ends: str, said: str
) -> None:
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "__init__.py").write_text(ends)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(SlmbenchError, match=said):
        list(RayEngine(exported, Asked(SCHEMA)).answers([str(mails(tmp_path, 2))], None, 0))
