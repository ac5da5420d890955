"""The documents: what they show runs, links lead somewhere, the site is whole and fetches nothing from elsewhere, and
what follows from the code (layout, tables, commands, errors) is what the code gives."""

from __future__ import annotations

import ast
import doctest
import functools
import importlib
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Callable
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from _table import replaced
from chromium import needs_chromium
from shown import PAGES, Block, blocks, commands, furnish

from slmbench.cli import parser
from slmbench.config import load_recipe, recipe_of
from slmbench.new import Rows
from slmbench.schema import check_schema, strict_loads
from slmbench.serving.guard import ROUTES

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "integrations").rglob("*.md"))]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files_and_to_headings_in_them(path: Path) -> None:
    targets = re.findall(r"\]\(([^)#:\s]*)(?:#([^)]*))?\)", path.read_text())
    assert [target for target, _ in targets if not (path.parent / target).exists()] == []
    wanted = [(path.parent / target if target else path, anchor) for target, anchor in targets if anchor]
    assert [(str(page), anchor) for page, anchor in wanted if anchor not in anchors(page)] == []


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as a renderer of Markdown makes them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    heads = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    named = set(re.findall(r"^::: ([\w.]+)$", text, re.MULTILINE))  # what the reference is made of
    return named | {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads}


def test_the_layout_of_the_design_page_is_the_code() -> None:
    block = (ROOT / "docs" / "design.md").read_text().split("```")[1]
    named = {name for line in block.splitlines() for name in re.findall(r"^([\w/]+(?:\.py|/)(?: \w+\.py)*)", line)}
    names = {part for entry in named for part in entry.split()}
    source = ROOT / "src" / "slmbench"
    assert [name for name in names if not (source / name).exists()] == []
    tops = {p.name if p.suffix else f"{p.name}/" for p in source.iterdir() if p.name[0] not in "_."} - {"py.typed"}
    assert tops == {name.split("/")[0] + ("/" if "/" in name else "") for name in names}


@pytest.mark.parametrize(
    ("page", "script", "table"),
    [
        ("method", "rule_baseline", "baseline_table"),
        ("method", "intent_baseline", "table"),
        ("method", "intent_ways_table", "ways_table"),
        ("method", "bfcl_table", "bfcl_table"),
        ("method", "mixing_table", "mixing_table"),
        ("method", "trust_table", "trust_table"),
        ("serving", "serve_table", "serving_table"),
        ("scale", "scale_table", "scale_table"),
        ("own-schema", "own_schema_table", "own_table"),
    ],
)
def test_a_table_is_what_its_script_prints(page: str, script: str, table: str) -> None:
    made, text = importlib.import_module(script), (ROOT / "docs" / f"{page}.md").read_text()
    assert replaced(text, getattr(made, table)(), made.BEGIN, made.END) == text


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks").glob("[!_]*.py")), ids=lambda path: path.stem)
def test_every_benchmark_explains_itself(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        importlib.import_module(path.stem).main(["--help"])
    assert stop.value.code == 0
    assert "usage:" in capsys.readouterr().out


# ---- blocks of code

ELSEWHERE = {
    "scale": "MODEL and documents/ are the reader's own",
    "method": "NAME is any result: tests/test_verify.py gives these commands",
    "add-a-task": "tests/test_add_a_task.py gives them, in a copy of the package",
    "serving": "the server is started below",
}
"""Pages whose commands are only parsed, and why."""
GIVEN = ("index", "commands", "own-schema", "own-model")
"""Pages whose commands are given, but for these verbs, which take long or need a run that they began themselves: the
README's test gives those."""
LEFT_OUT = {"run", "train", "evaluate", "preflight", "plan", "export", "logs", "serve"}
INTEGRATION = ROOT / "integrations" / "lm_eval" / "README.md"
"""Its commands and its program are given by tests/test_lm_eval.py."""
PROGRAMS = {"lm-eval", "cat", "cd", "curl", "export", "ls", "mkdir", "source", "split", "xargs", "accelerate"}
"""What commands of a shell may be besides slmbench, make, pip and Python."""


def pages(*languages: str) -> list[Any]:
    """The documents of `docs` that have blocks of these languages, as parameters."""
    return [
        pytest.param(page, id=page.stem) for page in PAGES if any(block.language in languages for block in blocks(page))
    ]


def shell(page: Path) -> list[list[str]]:
    """All commands of a document."""
    return [words for block in blocks(page) if is_shell(block) for words in commands(block.text)]


def is_shell(block: Block) -> bool:
    return block.language == "sh" or (block.language == "" and block.text.startswith("slmbench "))


def test_every_block_is_of_a_kind_that_is_checked() -> None:
    layout = ROOT / "docs" / "design.md"  # checked above
    for page in PAGES:
        for block in blocks(page):
            known = is_shell(block) or block.language in ("python", "pycon", "json", "yaml") or page == layout
            assert known, f"{block.where}: {block.language or 'no language'}"
    assert {page.stem for page in PAGES if shell(page)} == {*ELSEWHERE, *GIVEN}


@pytest.mark.parametrize("page", [*pages("sh", ""), pytest.param(INTEGRATION, id="lm_eval")])
def test_every_command_is_one(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in shell(page):
        check_command(words, capsys)


def check_command(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Fails for a verb, flag, make target, extra, script or program that there is none of."""
    program, *rest = words
    if program == "slmbench":
        try:
            parser().parse_args(rest)
        except SystemExit:
            pytest.fail(f"{' '.join(words)}: {capsys.readouterr().err}")
    elif program == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert rest[0] in targets, words
    elif program == "pip":
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        named = [name for word in rest for name in re.findall(r"\[(.*)\]", word)]
        assert rest[0] == "install" and {extra for name in named for extra in name.split(",")} <= extras.keys(), words
    elif program in ("python", "python3"):
        if rest[0] != "-m":
            with pytest.raises(SystemExit):
                importlib.import_module(Path(rest[0]).stem).main(["--help"])
            flags = {word for word in rest if word.startswith("--")}
            assert (ROOT / rest[0]).is_file() and all(flag in capsys.readouterr().out for flag in flags), words
    else:
        assert program in PROGRAMS, words


def test_a_wrong_command_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    """The check of the checks: each of these is wrong in one way."""
    wrong = ["slmbench nothing", "slmbench runs --all", "make nothing", "pip install 'slmbench[nothing]'", "rm -r runs",
             "ls | xargs -I{} slmbench extract MODEL {} --speed 9"]  # fmt: skip
    for line in wrong:
        with pytest.raises((AssertionError, pytest.fail.Exception)):
            for words in commands(line):
                check_command(words, capsys)


@pytest.mark.parametrize("page", pages("json", "yaml"))
def test_what_is_json_or_yaml_parses(page: Path) -> None:
    for block in blocks(page):
        if block.language == "json":
            lines = block.text.splitlines() if block.text.startswith('{"id"') else [block.text]
            for value in map(strict_loads, lines):
                if "properties" in value:
                    check_schema(value, block.where)
        elif block.language == "yaml":
            assert recipe_of(yaml.safe_load(block.text), block.where).name


@pytest.mark.parametrize("page", pages("pycon"))
def test_what_python_says_is_what_stands_there(page: Path) -> None:
    text = "".join(block.text + "\n" for block in blocks(page) if block.language == "pycon")
    test = doctest.DocTestParser().get_doctest(text, {}, page.name, str(page), 0)
    assert test.examples and doctest.DocTestRunner().run(test).failed == 0


@pytest.fixture
def place(
    tmp_path: Path, settings: dict[str, Any], wide_folder: Path, wide_exports: Path, finished: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:  # fmt: skip
    """A folder as the README's commands are given in, where the runs that pages name are finished and exported."""
    monkeypatch.setattr("slmbench.bench.BUDGET_FACTOR", 0.1)
    monkeypatch.setattr("slmbench.pace.rows_within", lambda *given: Rows(120, 80))  # tests/test_pace.py
    monkeypatch.chdir(tmp_path)
    furnish(tmp_path, settings, wide_folder)
    for name in ("a", "b", "edge_json_135m"):
        finish(Path("runs") / name, finished, wide_exports)
    return tmp_path


def finish(folder: Path, finished: Path, exports: Path) -> None:
    shutil.copytree(finished, folder)
    shutil.copytree(exports / "export", folder / "export")


@pytest.mark.parametrize("name", ["index", "commands", "own-schema"])
def test_the_commands_of_a_page_work(
    name: str, place: Path, finished: Path, wide_exports: Path, slmbench: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """In their order, each file written where the page shows it; of a run of its own, what it would have left."""
    for block in blocks(ROOT / "docs" / f"{name}.md"):
        if block.file and block.language == "json":
            Path(block.file).write_text(block.text)
        for words in commands(block.text) if block.language == "sh" else ():
            if words[0] == "cd":
                monkeypatch.chdir(words[1])
            elif words[:2] == ["slmbench", "run"] and not (made := Path("runs") / name_of_run(words)).exists():
                finish(made, finished, wide_exports)
            elif words[0] == "slmbench" and words[1] not in LEFT_OUT:
                monkeypatch.setattr("sys.stdin", io.StringIO("s\n"))
                said = slmbench(*words[1:])
                # What a random model writes is noise, and may be cut: a row with an error, and no failure of the verb.
                cut = words[1] == "extract" and said.code == 1 and "slmbench: " not in said.err
                assert said.code == 0 or cut, f"{' '.join(words)}: {said.err}"
                assert said.out or said.err, words


def name_of_run(words: list[str]) -> str:
    asked = parser().parse_args(words[1:])
    return str(asked.name or load_recipe(asked.recipe).name)


def test_a_model_of_ones_own_gets_its_row_on_a_leaderboard(
    place: Path, wide_folder: Path, slmbench: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page's way from a checkout to a leaderboard: under ten commands, and all that are slmbench's are given."""
    monkeypatch.setattr("slmbench.export.MOST_POINTS_LOST", 100)
    monkeypatch.setattr("slmbench.bench.BUDGET_FACTOR", 1.0)
    shutil.copytree(wide_folder, "models/my-model")
    recipe = Path("recipes/edge_json_135m.yaml")
    small = yaml.safe_load(recipe.read_text())
    small["evaluate"] |= {"budget_factor": 1, "budget_extra": 0}
    small["data"] |= {"limit": None, "validation": 8, "tests": small["data"]["tests"][:1]}
    recipe.write_text(yaml.safe_dump(small))
    shown = [list(commands(b.text)) for b in blocks(ROOT / "docs" / "own-model.md") if b.language == "sh"]
    (way, *_) = (block for block in shown if ["slmbench", "leaderboard", "build"] in block)
    assert len(way) < 10
    for words in (words for block in shown for words in block):
        if words[0] == "slmbench" and "--backend" not in words:  # a server's is run by the tests of servers
            said = slmbench(*words[1:])
            assert said.code == 0, f"{' '.join(words)}: {said.err}"
    board = Path("site/leaderboard/tests/edge_json-test.html").read_text()
    assert "my-model, as it is" in board and "my_model" in board and "exported as int8" in board
    assert Path("results/my_model.json").is_file() and "**my_model**" in Path("README.md").read_text()


def run_python(text: str, folder: Path) -> str:
    """What a program of its own says. It is run as a file."""
    (folder / "shown_here.py").write_text(text)
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        [sys.executable, "shown_here.py"], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("page", [page for page in pages("python") if page.id != "serving"])
def test_what_is_python_runs(page: Path, place: Path) -> None:
    shown = blocks(page)
    for block in shown:
        if block.file and block.language == "json":
            path = place / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)
    run_python("".join(block.text for block in shown if block.language == "python"), place)


def test_a_server_answers_as_the_page_says(place: Path, start: Callable[..., Any]) -> None:
    """curl and OpenAI's client, as they stand there but for the port."""
    process = start("serve", "runs/edge_json_135m/export/int8", "--port", "0")
    address = None
    while address is None:
        assert process.poll() is None, (place / "stderr").read_text()
        address = re.search(r"127\.0\.0\.1:\d+", (place / "stderr").read_text())
        time.sleep(0.05)
    page = blocks(ROOT / "docs" / "serving.md")
    asking = [block for block in page if block.language == "python" or block.text.startswith("curl")]
    shown = {block.language: block.text.replace("127.0.0.1:8077", address[0]) for block in asking}
    assert json.loads(run_python(shown["python"], place))["boxes"] is not None
    if shutil.which("curl"):
        said = subprocess.run(shlex.split(shown["sh"]), capture_output=True, text=True, check=True).stdout
        assert json.loads(said)["values"][0]["path"] == "/boxes"
    listed = re.findall(r"`(?:GET|POST) ([^`]+)`(?:, `([^`]+)`)?", (ROOT / "docs" / "serving.md").read_text())
    assert {path for pair in listed for path in pair if path} == {*ROUTES, "/v1/models/NAME"}


# ---- words that follow from the code


def test_the_page_of_commands_is_the_parser() -> None:
    page, text = importlib.import_module("commands_page"), (ROOT / "docs" / "commands.md").read_text()
    assert page.filled(text) == text, "python benchmarks/commands_page.py --write docs/commands.md"
    with pytest.raises(ValueError, match="no section for stop"):
        page.filled(text.replace("<!-- help: stop -->", ""))
    with pytest.raises(ValueError, match="sections for begin, which"):
        page.filled(text.replace("<!-- help: stop -->", f"<!-- help: begin -->\n{page.END}\n<!-- help: stop -->"))


def test_every_verb_has_an_example() -> None:
    text = (ROOT / "docs" / "commands.md").read_text()
    for name, _, _ in importlib.import_module("commands_page").verbs(parser()):
        (section,) = re.findall(rf"^### {name}\n(.*?)(?=^##|\Z)", text, re.DOTALL | re.MULTILINE)
        assert f"\nslmbench {name} " in section or f"\nslmbench {name}\n" in section, name


def test_errors_are_quoted_as_they_are_said() -> None:
    """What the page on errors has as headings stands in the code, "…" being anything."""
    said = []
    for path in sorted((ROOT / "src" / "slmbench").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                said.append("".join(p.value if isinstance(p, ast.Constant) else "…" for p in node.values))  # type: ignore[misc]
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                said.append(node.value)
    quoted = re.findall(r"^#### `(.*)`$", (ROOT / "docs" / "faq.md").read_text(), re.MULTILINE)
    assert len(quoted) > 20
    for quote in quoted:
        parts = [re.escape(part.strip()) for part in quote.split("…")]
        assert any(re.search(".*".join(parts), text) for text in said), quote


# ---- the site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as `make docs` builds it, elsewhere."""
    folder = tmp_path_factory.mktemp("docs")
    shutil.copy(ROOT / "mkdocs.yml", folder)
    shutil.copytree(ROOT / "docs", folder / "docs")
    for name in ("src", "benchmarks"):
        (folder / name).symlink_to(ROOT / name)
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No issues found" in done.stdout + done.stderr
    return folder / "site" / "docs"


class Seen(HTMLParser):
    """The anchors of a page, its links, and what a browser fetches for it by itself."""

    FETCHED: ClassVar = {
        **dict.fromkeys(("script", "img", "iframe", "source", "video", "audio", "embed"), "src"),
        **dict.fromkeys(("use", "image"), "href"),
        "object": "data",
    }
    RELATIONS: ClassVar = {
        *("stylesheet", "icon", "preload", "prefetch", "preconnect", "dns-prefetch"),
        *("modulepreload", "manifest", "apple-touch-icon"),
    }

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.ids |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if tag in self.FETCHED and self.FETCHED[tag] in values:
            self.fetched.append(values[self.FETCHED[tag]])
        if tag == "link" and set(values.get("rel", "").split()) & self.RELATIONS:
            self.fetched.append(values["href"])
        self.fetched += re.findall(r"url\(['\"]?([^)'\"]+)", values.get("style", ""))


@pytest.fixture(scope="module")
def seen(site: Path) -> dict[Path, Seen]:
    return {path: Seen(path) for path in sorted(site.rglob("*.html")) if path.name != "404.html"}


def test_the_site_has_every_page_once(site: Path, seen: dict[Path, Seen]) -> None:
    assert {path.stem for path in seen} == {page.stem for page in PAGES}
    named = re.findall(r": ([\w-]+)\.md$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    assert sorted(named) == sorted(page.stem for page in PAGES)


def test_links_and_anchors_of_the_site_hold(seen: dict[Path, Seen]) -> None:
    broken = []
    for path, page in seen.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme:
                assert parts.scheme in ("http", "https", "mailto") and (parts.netloc or parts.path), link
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            there = target.is_file() and (not parts.fragment or unquote(parts.fragment) in seen[target].ids)
            broken += [] if there else [f"{path.name}: {link}"]
    assert broken == []


def test_nothing_is_fetched_from_elsewhere(site: Path, seen: dict[Path, Seen]) -> None:
    for path, page in seen.items():
        assert page.fetched, path
        for address in page.fetched:
            assert not urlsplit(address).scheme and not address.startswith("//"), f"{path.name}: {address}"
            assert (path.parent / urlsplit(address).path).is_file(), f"{path.name}: {address}"
    for path in site.rglob("*.css"):
        fetched = re.findall(r"(?:url\(|@import\s+)['\"]?([^)'\"]+)", path.read_text())
        assert [address for address in fetched if not address.startswith(("data:", "#"))] == []


def test_the_reference_has_what_its_page_names(seen: dict[Path, Seen]) -> None:
    (ids,) = (page.ids for path, page in seen.items() if path.stem == "api")
    text = (ROOT / "docs" / "api.md").read_text()
    named = re.findall(r"^::: ([\w.]+)(?:\n    options:\n      members: \[(.*)\])?$", text, re.MULTILINE)
    wanted = {f"{name}.{part}".rstrip(".") for name, parts in named for part in (parts or "").split(", ")}
    assert len(wanted) > 50 and wanted - ids == set()
    for name in wanted:
        assert "slmbench.synth" in name or public(name).__doc__, name


def public(name: str) -> Any:
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


@needs_chromium
def test_the_site_in_a_browser_asks_nobody_else(site: Path, browser: Any) -> None:
    """Pages and search, in light and dark: all that is asked for comes from where the page came from."""
    from playwright.sync_api import expect

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        home = f"http://127.0.0.1:{server.server_port}"
        asked: list[str] = []
        faults: list[str] = []
        page = browser.new_context(color_scheme="dark").new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("response", lambda response: faults.append(response.url) if response.status >= 400 else None)
        page.on("pageerror", lambda error: faults.append(str(error)))
        for name in ("index", "commands", "api", "method"):
            page.goto(f"{home}/{name}.html")
            expect(page.locator("h1")).to_be_visible()
        page.goto(f"{home}/index.html")
        page.keyboard.press("Control+k")
        page.keyboard.type("leaderboard")
        expect(page.locator("a[href*='own-model.html']").last).to_be_visible(timeout=60_000)
        page.context.close()
        server.shutdown()
    assert faults == []
    assert [url for url in asked if not url.startswith((home, "data:", "blob:"))] == []
