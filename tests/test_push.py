"""`slmbench push` against a Hub of our own on this machine: what arrives, what never does, and what is said."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import yaml
from huggingface_hub import DatasetCard, ModelCard
from safetensors.numpy import save_file

from slmbench import publish
from slmbench.core import load_task
from slmbench.files import file_sha256
from slmbench.publish.dataset import dataset_files
from slmbench.publish.hub import is_path, prepare
from slmbench.publish.record import seal, value_sha256

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "results" / "edge_intent_135m_few.json"
TOKEN = "hf_aSecretThatNobodyMaySee"
RUN_FILES = [
    "README.md", "adapter_config.json", "adapter_model.safetensors", "slmbench_adapter.json", "tokenizer.json",
    "tokenizer_config.json", "recipe.yaml", "record.json", "record.samples.jsonl.gz",
]  # fmt: skip
INSTRUCT = "HuggingFaceTB/SmolLM2-135M-Instruct"


@dataclass
class Hub:
    """What a Hub holds and was asked; `failing` is part of a path -> the status it is answered with."""

    url: str = ""
    repos: dict[str, bool] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    commits: list[tuple[str, dict[str, bytes]]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    tokens: set[str | None] = field(default_factory=set)
    failing: dict[str, int] = field(default_factory=dict)
    says: str = f"no, {TOKEN}, you may not"
    holding: threading.Event = field(default_factory=threading.Event)
    """Unset, uploads of large files are read and not answered."""

    def files(self, repo: str) -> dict[str, bytes]:
        """The files of a repository after all its commits."""
        return {name: content for at, files in self.commits if at == repo for name, content in files.items()}


class Answers(BaseHTTPRequestHandler):
    """The few of the Hub's answers that its client needs for an upload."""

    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def answer(self, status: int, value: Any) -> None:
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def body(self) -> bytes:
        if "Content-Length" in self.headers:
            return self.rfile.read(int(self.headers["Content-Length"]))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def do_any(self) -> None:
        body = self.body() if self.command != "GET" else b""
        hub, path = self.hub, self.path.partition("?")[0]
        hub.asked.append(f"{self.command} {path}")
        if not path.startswith("/lfs/"):
            hub.tokens.add(self.headers.get("Authorization"))
        for part, status in hub.failing.items():
            if part in path:
                return self.answer(status, {"errors": [{"message": hub.says}]} if status != 200 else "what?")
        if path == "/api/repos/create":
            return self.create(json.loads(body))
        if path == "/api/validate-yaml":
            return self.answer(200, {"warnings": [{"message": hub.says}]})
        if path.startswith("/lfs/"):
            if not hub.holding.wait(60):
                return self.answer(500, {})
            hub.objects[path.removeprefix("/lfs/")] = body
            return self.answer(200, {})
        if path.endswith(".git/info/lfs/objects/batch"):
            objects = json.loads(body)["objects"]
            for one in objects:
                one["actions"] = {"upload": {"href": f"{hub.url}/lfs/{one['oid']}"}}
            return self.answer(200, {"transfer": "basic", "objects": objects})
        kind, owner, name, *verb = path.removeprefix("/api/").split("/")
        repo = f"{'datasets/' * (kind == 'datasets')}{owner}/{name}"
        if repo not in hub.repos:
            return self.answer(404, {"error": "Repository not found"})
        if not verb or verb == ["revision", "main"]:
            return self.answer(200, {"id": f"{owner}/{name}", "private": hub.repos[repo], "sha": "0" * 40})
        if verb == ["preupload", "main"]:
            return self.preupload(repo, json.loads(body)["files"])
        return self.commit(repo, [json.loads(line) for line in body.splitlines()])

    def create(self, asked: dict[str, Any]) -> None:
        prefix = "datasets/" * (asked["type"] == "dataset")
        repo = f"{prefix}{asked['organization']}/{asked['name']}"
        status = 409 if repo in self.hub.repos else 200
        self.hub.repos.setdefault(repo, asked["visibility"] == "private")
        self.answer(status, {"url": f"{self.hub.url}/{repo}", **({"error": "there already"} if status == 409 else {})})

    def preupload(self, repo: str, files: list[dict[str, Any]]) -> None:
        there = self.hub.files(repo)
        large = (".safetensors", ".gz", ".gguf")
        told = []
        for file in files:
            content = there.get(file["path"])
            blob = None if content is None else hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
            if content is not None and file["path"].endswith(large):
                blob = hashlib.sha256(content).hexdigest()
            mode = "lfs" if file["path"].endswith(large) else "regular"
            told.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": blob})
        self.answer(200, {"files": told})

    def commit(self, repo: str, lines: list[dict[str, Any]]) -> None:
        files = {}
        for line in lines[1:]:
            value = line["value"]
            files[value["path"]] = (
                base64.b64decode(value["content"]) if line["key"] == "file" else self.hub.objects[value["oid"]]
            )
        self.hub.commits.append((repo, files))
        self.answer(200, {"commitUrl": f"{self.hub.url}/{repo}/commit/abc", "commitOid": "abc"})

    do_GET = do_POST = do_PUT = do_any


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    found = Hub()
    found.holding.set()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Of", (Answers,), {"hub": found}))
    server.daemon_threads = True
    found.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    # The other way that large files may go needs servers of its own.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no-token"))
    yield found
    found.holding.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a finished run: a published result's record and answers, an adapter, and much that is nobody's."""
    folder = tmp_path / "runs" / "mine"
    for name in ("adapter", "adapter_best", "tokenizer", "train", "tensorboard", "export/int8"):
        (folder / name).mkdir(parents=True)
    save_file({"a": np.ones((4, 8), np.float32)}, folder / "adapter" / "adapter_model.safetensors")
    config = {"base_model_name_or_path": "smollm2-135m", "peft_type": "LORA", "r": 4}
    (folder / "adapter" / "adapter_config.json").write_text(json.dumps(config))
    (folder / "adapter" / "slmbench_adapter.json").write_text('{"base_name": "smollm2-135m"}')
    (folder / "tokenizer" / "tokenizer.json").write_text('{"model": {"vocab": {"/usr/bin/x": 1}}}')
    (folder / "tokenizer" / "tokenizer_config.json").write_text('{"eos_token": "<|end|>"}')
    for name in ("log", "lock", "state.json", "plan.json", "report.html", "recipe.yaml", "README.md", "hardware.jsonl",
                 "train/checkpoint.safetensors", "train/history.jsonl", "tensorboard/events", "adapter/optimizer.pt",
                 "adapter/notes.txt", "adapter/extra.safetensors", "tokenizer/.env", "adapter_best/x.bin"):  # fmt: skip
        (folder / name).write_text(f"not for others: {TOKEN}")
    record = publish.load_record(RESULT)
    record["hashes"]["adapter"] = file_sha256(folder / "adapter" / "adapter_model.safetensors")
    publish.write_result(folder / "record.json", record, publish.load_samples(RESULT, record))
    save_file({"b": np.ones(16, np.float32)}, folder / "export" / "int8" / "model.safetensors")
    (folder / "export" / "int8" / "config.json").write_text('{"_name_or_path": "/srv/models/x", "hidden_size": 8}')
    (folder / "export" / "int8" / "left-over.bin").write_text("not for others")
    manifest_of(folder, "model.safetensors", "config.json")
    return folder


def manifest_of(folder: Path, *names: str) -> None:
    """Write the manifest of the run's export with these files."""
    place = folder / "export" / "int8"
    files = {name: {"bytes": (place / name).stat().st_size, "sha256": file_sha256(place / name)} for name in names}
    record = json.loads((folder / "record.json").read_text())
    schema = {"properties": {"path": {"const": "/srv/a/b"}}}
    facts = {"form": "int8", "adapter_sha256": record["hashes"]["adapter"], "schema": schema, "files": files}
    (place / "manifest.json").write_text(json.dumps(facts))


def changed(path: Path, change: Callable[[Any], Any]) -> None:
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


# ---- what is listed


def test_without_yes_files_are_listed_and_nobody_is_asked(
    slmbench: Callable[..., Any], hub: Hub, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    said = slmbench("push", run, "--repo", "me/mine", "--endpoint", hub.url)
    assert said.code == 0 and said.err == ""
    lines = said.out.splitlines()
    assert lines[0] == f"{hub.url}/me/mine: a public model repository"
    assert [line.split()[1] for line in lines[1:10]] == RUN_FILES
    size = (run / "adapter" / "adapter_model.safetensors").stat().st_size
    assert lines[3] == f"{size:>13,}  adapter_model.safetensors"
    assert re.fullmatch(r" +[\d,]+  bytes in 9 files", lines[10])
    assert lines[11:] == ["Nothing was sent: --yes sends these files, in one commit."]
    assert hub.asked == []
    told = json.loads(slmbench("push", run, "--repo", "me/mine", "--private", "--export", "int8", "--json").out)
    assert (told["repo"], told["kind"], told["private"], told["sent"], told["commit"]) == (
        "me/mine", "model", True, False, None,
    )  # fmt: skip
    names = [file["name"] for file in told["files"]]
    assert names == [
        *RUN_FILES,
        *(f"export/int8/{name}" for name in ("manifest.json", "model.safetensors", "config.json")),
    ]
    assert told["bytes"] == sum(file["bytes"] for file in told["files"])
    assert told["files"][2]["sha256"] == file_sha256(run / "adapter" / "adapter_model.safetensors")


# ---- what arrives


def test_a_run_arrives_whole_in_one_commit(slmbench: Callable[..., Any], hub: Hub, run: Path) -> None:
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    said = slmbench("push", run, "--repo", "me/mine", "--endpoint", hub.url, "--export", "int8", "--yes")
    assert said.code == 0, said.err
    assert said.out.splitlines()[-1] == f"sent: {hub.url}/me/mine/commit/abc"
    assert TOKEN not in said.out + said.err
    assert hub.tokens == {f"Bearer {TOKEN}"}
    assert len(hub.commits) == 1 and hub.repos == {"me/mine": False}
    files = hub.files("me/mine")
    exported = ("manifest.json", "model.safetensors", "config.json")
    assert sorted(files) == sorted([*RUN_FILES, *(f"export/int8/{name}" for name in exported)])
    same = {
        **{name: run / "adapter" / name for name in ("adapter_model.safetensors", "slmbench_adapter.json")},
        **{name: run / "tokenizer" / name for name in ("tokenizer.json", "tokenizer_config.json")},
        **{name: run / name for name in ("record.json", "record.samples.jsonl.gz")},
        **{f"export/int8/{name}": run / "export" / "int8" / name for name in exported[1:2]},
    }
    for name, path in same.items():
        assert files[name] == path.read_bytes(), name
    config = json.loads((run / "adapter" / "adapter_config.json").read_text())
    assert json.loads(files["adapter_config.json"]) == {**config, "base_model_name_or_path": INSTRUCT}
    assert json.loads(files["export/int8/config.json"]) == {"_name_or_path": INSTRUCT, "hidden_size": 8}
    listed = json.loads(files["export/int8/manifest.json"])["files"]["config.json"]
    content = files["export/int8/config.json"]
    assert listed == {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    record = publish.load_record(run)
    assert yaml.safe_load(files["recipe.yaml"]) == record["recipe"]
    assert files["README.md"].decode() == publish.card(record, "me/mine")
    assert ModelCard(files["README.md"].decode()).data.base_model == INSTRUCT
    assert not any(TOKEN.encode() in content or b"not for others" in content for content in files.values())
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_what_is_there_already_is_not_sent_again(slmbench: Callable[..., Any], hub: Hub, run: Path) -> None:
    command = ("push", run, "--repo", "me/mine", "--endpoint", hub.url, "--yes")
    assert slmbench(*command).code == 0
    changed(run / "tokenizer" / "tokenizer_config.json", lambda config: config.update(eos_token="<|stop|>"))
    said = slmbench(*command)
    assert said.code == 0, said.err
    assert [sorted(files) for _, files in hub.commits][1:] == [["tokenizer_config.json"]]
    told = slmbench(*command, "--json")
    assert json.loads(told.out)["sent"] and len(hub.commits) == 2


def test_a_data_set_arrives_as_one(slmbench: Callable[..., Any], hub: Hub, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    assert slmbench("data", "card", "edge_json", "--out", folder).code == 0
    (folder / "notes.txt").write_text("not for others")
    said = slmbench("push", folder, "--repo", "me/edge-json", "--endpoint", hub.url, "--yes")
    assert said.code == 0, said.err
    assert hub.repos == {"datasets/me/edge-json": False} and len(hub.commits) == 1
    files = hub.files("datasets/me/edge-json")
    wanted = dataset_files(load_task("edge_json"))
    assert set(files) == set(wanted)
    for name, text in wanted.items():
        assert files[name] == text.replace("OWNER/NAME", "me/edge-json").encode(), name
    assert 'load_dataset("me/edge-json"' in files["README.md"].decode()
    assert DatasetCard(files["README.md"].decode()).data.pretty_name == "EdgeJSON"


def test_what_is_private_never_goes_into_what_is_public(slmbench: Callable[..., Any], hub: Hub, run: Path) -> None:
    command = ("push", run, "--repo", "me/mine", "--endpoint", hub.url, "--yes", "--private")
    assert slmbench(*command).code == 0
    assert hub.repos == {"me/mine": True}
    hub.repos["me/mine"] = False
    said = slmbench(*command)
    assert (said.code, said.sentence) == (
        2,
        "slmbench: me/mine: the repository is there and public; give another --repo, or make it private.",
    )
    assert len(hub.commits) == 1


def test_a_run_of_this_program_arrives_so_that_it_can_be_used(
    slmbench: Callable[..., Any], hub: Hub, run_copy: Path, tiny: Any, tmp_path: Path
) -> None:
    """What came is an adapter for its base, and its figures can be checked by whoever gets it."""
    from slmbench import models

    said = slmbench("push", run_copy, "--repo", "me/tiny", "--endpoint", hub.url, "--base", "me/base", "--yes")
    assert said.code == 0, said.err
    assert "Paths of this machine are shortened to their ends: recipe.base, recipe.data.train.0," in said.out
    assert "has the answers to documents of your own" in said.out
    for name, content in hub.files("me/tiny").items():
        (tmp_path / "got" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "got" / name).write_bytes(content)
    models.check_adapter(tmp_path / "got", tiny)
    config = json.loads((tmp_path / "got" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "me/base"
    assert ModelCard.load(tmp_path / "got" / "README.md").data.base_model == "me/base"
    assert ModelCard.load(tmp_path / "got" / "README.md").data.eval_results
    assert slmbench("verify", tmp_path / "got" / "record.json").code == 0
    texts = "".join(
        path.read_text() for path in (tmp_path / "got").iterdir() if path.suffix in (".json", ".md", ".yaml")
    )
    assert str(tiny.folder.parent) not in texts and str(tmp_path.parent) not in texts


# ---- paths of this machine


def test_no_path_of_this_machine_is_sent(slmbench: Callable[..., Any], hub: Hub, run: Path) -> None:
    def elsewhere(record: dict[str, Any]) -> None:
        record["recipe"] |= {"base": "/srv/models/secret-base", "data": {**record["recipe"]["data"]}}
        record["recipe"]["data"] |= {"train": ["train", "/srv/ann/rows.jsonl:100"], "schemas": "C:\\ann\\schemas"}
        record["recipe"]["data"]["tests"] = [{"split": "~/ann/exam.jsonl", "prompt": "schema", "base": False}]
        record["weights"] |= {"source": "local", "name": "secret-base"}

    changed(run / "record.json", lambda record: (elsewhere(record), record["hashes"].update(record=seal(record))))
    config = run / "adapter" / "adapter_config.json"
    changed(config, lambda value: value.update(base_model_name_or_path="/srv/models/secret-base"))
    changed(
        run / "tokenizer" / "tokenizer_config.json", lambda value: value.update(name_or_path="/srv/models/secret-base")
    )
    said = slmbench("push", run, "--repo", "me/mine", "--endpoint", hub.url, "--yes")
    assert said.code == 0, said.err
    assert "The base was a folder, secret-base, which others cannot load by name: --base" in said.out
    files = hub.files("me/mine")
    assert json.loads(files["adapter_config.json"])["base_model_name_or_path"] == "secret-base"
    assert json.loads(files["tokenizer_config.json"])["name_or_path"] == "secret-base"
    for name, content in files.items():
        assert not re.search(rb"/srv/|C:\\|~/", content), name
    record = json.loads(files["record.json"])
    assert record["recipe"]["base"] == "secret-base" and record["recipe"]["data"]["schemas"] == "schemas"
    assert record["recipe"]["data"]["train"] == ["train", "rows.jsonl:100"]
    assert record["hashes"]["record"] == seal(record)
    assert record["hashes"]["recipe"] == value_sha256(record["recipe"])
    assert "base_model:" not in files["README.md"].decode()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *((text, True) for text in ("/home/ann/x", "~/x", "C:\\x\\y", "\\\\host\\share\\x", "/data/rows.jsonl:5")),
        *((text, False) for text in ("", "/", "/boxes", "data/x.jsonl", "owner/model", "5/7", "a\n/b/c", "km/h")),
    ],
)
def test_what_is_a_path(text: str, expected: bool) -> None:
    assert is_path(text) == expected


# ---- what is refused before anything is sent


BROKEN: list[tuple[str, Callable[[Path], object], str]] = [
    ("not finished", lambda run: (run / "record.json").unlink(), r"record\.json: there is no such file: give the"),
    (
        "a digit changed",
        lambda run: changed(run / "record.json", lambda record: record["metrics"]["json_exact"].update(k=150)),
        r"mine: its record\.json is not as the run wrote it; give the run's own command again",
    ),
    ("samples gone", lambda run: (run / "record.samples.jsonl.gz").unlink(), r"jsonl\.gz: there is no such file"),
    ("no adapter", lambda run: shutil.rmtree(run / "adapter"), r"adapter: adapter_config\.json is missing; give the"),
    ("no weights", lambda run: (run / "adapter" / "adapter_model.safetensors").unlink(), "adapter_model.*is missing"),
    (
        "weights cut",
        lambda run: (run / "adapter" / "adapter_model.safetensors").write_bytes(b"\0" * 100),
        "not a whole safetensors file",
    ),
    (
        "another adapter",
        lambda run: save_file({"a": np.zeros(3, np.float32)}, run / "adapter" / "adapter_model.safetensors"),
        r"not the adapter that the record is of \(hashes\.adapter\)",
    ),
    ("no tokenizer", lambda run: shutil.rmtree(run / "tokenizer"), r"tokenizer: tokenizer\.json is missing"),
    ("no export", lambda run: shutil.rmtree(run / "export"), "--export int8: .*mine has no exports; give slmbench"),
    ("export cut", lambda run: (run / "export" / "int8" / "config.json").unlink(), r"int8: config\.json is missing"),
    (
        "export changed",
        lambda run: (run / "export" / "int8" / "config.json").write_text("{}"),
        r"config\.json: not the file that was written there \(manifest\.json\)",
    ),
    ("export of another", lambda run: changed(
        run / "export" / "int8" / "manifest.json", lambda value: value.update(adapter_sha256="ab")
    ), "the export of another adapter than the record's"),
    ("a file too many", lambda run: manifest_of(run, "left-over.bin"), r"left-over\.bin is none of an export's files"),
    ("nothing in it", lambda run: manifest_of(run), r"manifest\.json: lists no files"),
    ("at work", lambda run: (run / "lock").write_text(
        json.dumps({"pid": os.getpid(), "started": psutil.Process().create_time()})
    ), "this run is still at work"),
]  # fmt: skip


@pytest.mark.parametrize(("damage", "sentence"), [pytest.param(d, s, id=name) for name, d, s in BROKEN])
def test_a_broken_run_is_refused(
    damage: Callable[[Path], object], sentence: str, slmbench: Callable[..., Any], hub: Hub, run: Path
) -> None:
    damage(run)
    said = slmbench("push", run, "--repo", "me/mine", "--endpoint", hub.url, "--export", "int8", "--yes")
    assert said.code == 2
    assert re.search(sentence, said.sentence), said.sentence
    assert hub.asked == []


def test_a_broken_data_set_is_refused(slmbench: Callable[..., Any], hub: Hub, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    (folder / "data").mkdir(parents=True)
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    (folder / "data" / "test.jsonl").write_text("{}\n")
    facts = {"bytes": 3, "sha256": hashlib.sha256(b"{}\n").hexdigest()}
    manifest = {"kind": "slmbench data set", "files": {"data/test.jsonl": facts}}

    def refused(**changes: Any) -> str:
        (folder / "manifest.json").write_text(json.dumps({**manifest, **changes}))
        said = slmbench("push", folder, "--repo", "me/x", "--endpoint", hub.url, "--yes")
        assert said.code == 2
        return str(said.sentence)

    assert "neither a finished run nor a folder that `data card` wrote" in refused(kind="other")
    assert "../x is none of a data set's files" in refused(files={"../x": facts})
    assert "gone.jsonl is missing" in refused(files={"data/gone.jsonl": facts})
    assert "test.jsonl: not the file that was written there" in refused(
        files={"data/test.jsonl": {**facts, "bytes": 4}}
    )
    (folder / "README.md").unlink()
    assert "set: README.md is missing; give slmbench data card TASK again" in refused()
    said = slmbench("push", folder, "--repo", "me/x", "--export", "int8")
    assert "a data set, which has neither exports nor a base" in said.sentence
    assert "there is no such folder" in slmbench("push", tmp_path / "nothing", "--repo", "me/x").sentence
    assert hub.asked == []


@pytest.mark.parametrize(
    "repo", ["mine", "me/", "/mine", "me/a/b", "me/-x", "me/a b", "me/a--b", "me/a..b", "me/a.", "http://x/y"]
)
def test_a_bad_name_is_refused(repo: str, slmbench: Callable[..., Any], run: Path) -> None:
    said = slmbench("push", run, "--repo", repo)
    assert (said.code, said.sentence) == (
        2,
        f"slmbench: --repo {repo}: give OWNER/NAME, of letters, digits and single - _ . between them.",
    )
    assert slmbench("push", run, "--repo", "me/mine", "--base", repo).sentence.startswith(f"slmbench: --base {repo}: ")


@pytest.mark.parametrize(
    "url", ["hub", "ftp://x", "http://hub.example", "https://", "https://ann:secret@x", "http://x/?a=b", "http://x:y"]
)
def test_a_bad_address_is_refused_and_not_repeated(url: str, slmbench: Callable[..., Any], run: Path) -> None:
    said = slmbench("push", run, "--repo", "me/mine", "--endpoint", url)
    assert said.code == 2 and "--endpoint or HF_ENDPOINT: give an address as https://HOST" in said.sentence
    assert "secret" not in said.err


def test_the_hub_is_the_clients_own_where_none_is_given(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "https://hub.example")
    assert prepare(run, "me/mine").url == "https://hub.example/me/mine"


# ---- what goes wrong on the way


FAILURES = [
    ("repos/create", 401, 2, "the Hub does not take this token (401); log in"),
    ("repos/create", 403, 2, "this token may not write there (403, no, ***, you may not); take a token"),
    ("repos/create", 404, 2, "the Hub has no such owner or repository (404, no, ***, you may not); correct --repo"),
    ("repos/create", 429, 1, "the Hub has had too many requests (429); wait"),
    ("repos/create", 500, 1, "the Hub failed (500, no, ***, you may not); give the same command again"),
    ("repos/create", 200, 1, "the upload broke off ("),
    ("validate-yaml", 400, 2, "README.md: the Hub refuses its metadata (no, ***, you may not); correct it"),
    ("preupload", 401, 2, "the Hub does not take this token (401)"),
    ("preupload", 403, 2, "this token may not write there (403"),
    ("/lfs/", 403, 2, "this token may not write there (403"),
    ("/commit/", 400, 2, "the Hub refuses what was sent (400, no, ***, you may not); nothing was committed"),
    ("/commit/", 503, 1, "the Hub failed (503, no, ***, you may not); give the same command again"),
]


@pytest.mark.parametrize(("where", "status", "code", "sentence"), FAILURES)
def test_a_refusal_is_one_sentence_without_the_token(
    where: str, status: int, code: int, sentence: str, slmbench: Callable[..., Any], hub: Hub, run: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    hub.failing = {where: status}
    said = slmbench("push", run, "--repo", "me/mine", "--endpoint", hub.url, "--yes")
    assert said.code == code
    assert sentence in said.sentence
    assert TOKEN not in said.out + said.err + caplog.text
    assert hub.commits == []
    hub.failing = {}
    assert slmbench("push", run, "--repo", "me/mine", "--endpoint", hub.url, "--yes").code == 0
    assert sorted(hub.files("me/mine")) == sorted(RUN_FILES)


def test_a_refusal_of_large_files_is_a_sentence_too(
    slmbench: Callable[..., Any], hub: Hub, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("hf_xet")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", False)
    hub.failing = {"xet-write-token": 403}
    said = slmbench("push", run, "--repo", "me/mine", "--endpoint", hub.url, "--yes")
    assert said.code == 1 and TOKEN not in said.out + said.err
    assert "me/mine: the large files could not be sent (403 Forbidden); give it again with a token" in said.sentence
    assert hub.commits == []


def test_no_token_no_network_no_server(
    slmbench: Callable[..., Any], hub: Hub, run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    command = ("push", run, "--repo", "me/mine", "--yes", "--endpoint")
    monkeypatch.setenv("HF_TOKEN", f"{TOKEN}\u00fc")
    said = slmbench(*command, hub.url)
    assert (said.code, TOKEN in said.err) == (2, False) and "the Hub's token: only letters" in said.sentence
    monkeypatch.delenv("HF_TOKEN")
    said = slmbench(*command, hub.url)
    assert said.code == 2 and "there is no token for the Hub: log in with `hf auth login`" in said.sentence
    (tmp_path / "no-token").write_text(f"{TOKEN}\n")
    assert slmbench(*command, hub.url).code == 0 and hub.tokens == {f"Bearer {TOKEN}"}
    said = slmbench(*command, "http://127.0.0.1:9")
    assert said.code == 1
    assert "http://127.0.0.1:9: the upload broke off (ConnectError" in said.sentence and TOKEN not in said.err
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    said = slmbench(*command, hub.url)
    assert said.code == 1 and "HF_HUB_OFFLINE is set" in said.sentence


def test_a_kill_in_the_middle_leaves_nothing_half(
    start: Callable[..., subprocess.Popen[str]], slmbench: Callable[..., Any], hub: Hub, run: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    hub.holding.clear()
    process = start("push", run, "--repo", "me/mine", "--endpoint", hub.url, "--yes")
    deadline = time.monotonic() + 120
    while not any(asked.startswith("PUT /lfs/") for asked in hub.asked):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    hub.holding.set()
    assert hub.repos == {"me/mine": False} and hub.commits == []
    assert slmbench("push", run, "--repo", "me/mine", "--endpoint", hub.url, "--yes").code == 0
    assert sorted(hub.files("me/mine")) == sorted(RUN_FILES) and len(hub.commits) == 1
