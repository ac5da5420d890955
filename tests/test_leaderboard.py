"""The leaderboard as files: the same bytes twice, what models wrote only as text, ranks, tracks, and bad input."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from leaderboard_results import NASTY, ROWS, answered, broken, write

from slmbench.config import recipe_of
from slmbench.core import BadInput
from slmbench.data import data_hash
from slmbench.publish.leaderboard import build
from slmbench.publish.leaderboard.answers import changes
from slmbench.publish.leaderboard.entries import boards, load, slug, track
from slmbench.publish.leaderboard.front import placed
from slmbench.publish.leaderboard.method import rendered
from slmbench.publish.leaderboard.quoted import load_quoted
from slmbench.publish.leaderboard.ranks import ranks
from slmbench.publish.leaderboard.site import MANIFEST, pages
from slmbench.publish.record import split_record
from slmbench.publish.stored import load_record, samples_path, write_result

ROOT = Path(__file__).resolve().parents[1]
METHOD = ROOT / "docs" / "method.md"
VOID = {"meta", "link", "input", "wbr", "br", "hr", "img"}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def data(board_site: Path, key: str) -> dict[str, Any]:
    text = (board_site / "data" / f"{key}.js").read_text(encoding="utf-8")
    assert text.startswith("slmbench.loaded(") and text.endswith(");\n")
    value: dict[str, Any] = json.loads(text.removeprefix("slmbench.loaded(").removesuffix(");\n"))
    return value


class Page(HTMLParser):
    """What a page is made of; elements must nest."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.ids: list[str] = []
        self.inline = ""
        self.feed(page)
        assert not self.stack

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.stack and self.stack[-1] in ("script", "style"):
            self.inline += data


def test_the_same_bytes_twice(board_results: Path, board_site: Path, tmp_path: Path) -> None:
    again = tmp_path / "elsewhere" / "site"
    listed = build(board_results, again, METHOD)
    assert contents(again) == contents(board_site) and sorted(contents(again)) == listed
    build(board_results, again, METHOD)
    assert contents(again) == contents(board_site)
    assert list(again.parent.iterdir()) == [again]


def test_every_page_obeys_its_policy_and_every_link_leads_somewhere(board_site: Path) -> None:
    found = {path: Page(path.read_text(encoding="utf-8")) for path in board_site.rglob("*.html")}
    assert len(found) == 4 + 4 + 2
    for path, page in found.items():
        assert page.inline == "" and len(page.ids) == len(set(page.ids)), path
        policies = [value for tag, name, value in page.attributes if tag == "meta" and "default-src 'none'" in value]
        assert len(policies) == 1
        for _, name, value in page.attributes:
            assert name != "style" and not name.startswith("on"), (path, name)
            if name in ("src", "href", "action") and value != "data:,":
                parts = urlsplit(value)
                assert not parts.scheme and not parts.netloc, value
                target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
                assert target.is_file(), (path, value)
                if parts.fragment and "=" not in parts.fragment:
                    assert parts.fragment in found[target].ids, (path, value)


def test_what_models_wrote_is_only_text(board_site: Path) -> None:
    for name, content in contents(board_site).items():
        if name.endswith(".html"):
            assert b"<img" not in content and b"<script>" not in content, name
    raw = (board_site / "data" / "hostile.test.js").read_text(encoding="utf-8")
    assert not set("<>\u2028\u2029") & set(raw)
    assert data(board_site, "hostile.test")["ids"][0] == f"{NASTY} 0"
    assert NASTY.split()[0] not in (board_site / "models" / "hostile.html").read_text(encoding="utf-8")


def test_the_data_of_a_test_set_is_what_the_samples_say(board_results: Path, board_site: Path) -> None:
    board = data(board_site, "edge_json-test")
    assert board["ids"] == [row.id for row in ROWS] and board["text"] == [row.text for row in ROWS]
    assert [entry["key"] for entry in board["entries"]] == [
        "alpha.test.tuned", "beta.test.tuned", "gamma.test.tuned", "alpha.test.base",
    ]  # fmt: skip
    alpha, beta = board["entries"][:2]
    assert alpha["exact"] == [1] * 30 + [0] * 10 and alpha["out"][0] is None and alpha["changes"][0] == []
    first, *others = alpha["changes"][-1]
    assert first[0] == 0 and first[1] is None and others[-1] == ["zz_extra", json.dumps(NASTY, ensure_ascii=False)]
    assert alpha["out"][-1] and board["kinds"][alpha["kind"][-1]] == "breaks the schema"
    assert beta["changes"][0] is None and board["kinds"][beta["kind"][0]] == "truncated"
    # Documents of a file are not ours to show; its gold and answers are in the results.
    hostile = data(board_site, "hostile.test")
    assert hostile["text"] == [None] * 3 and hostile["leaves"][0][0] == [
        "__proto__",
        json.dumps(NASTY, ensure_ascii=False),
    ]
    for name in ("alpha.json", "alpha.samples.jsonl.gz"):
        assert (board_site / "results" / name).read_bytes() == (board_results / name).read_bytes()


def test_texts_of_other_rows_are_not_shown(tmp_path: Path) -> None:
    path = write(tmp_path, "one", "test", ROWS[:5], {"tuned": _answers(5)})
    assert boards(load(tmp_path))[0].texts == tuple(row.text for row in ROWS[:5])
    write(tmp_path, "one", "test", ROWS[:6], {"tuned": _answers(5)})
    assert boards(load(tmp_path))[0].texts == (None,) * 5
    # Another hash is another test set, though it has the same name.
    write(tmp_path, "two", "test", ROWS[:5], {"tuned": _answers(5)})
    labels = [board.label for board in boards(load(tmp_path))]
    assert len(labels) == 2 and all(re.fullmatch(r"edge_json/test \([0-9a-f]{8}\)", label) for label in labels)
    assert load_record(path)["name"] == "one"


def _answers(count: int) -> list[dict[str, Any]]:
    from leaderboard_results import right

    return answered(ROWS[:count], lambda i: right, 1.0)


def test_ranks_are_ties_where_the_paired_test_tells_nothing(board_results: Path) -> None:
    board = boards(load(board_results))[0]
    rows = placed(board, 0)
    # 30 and 28 of 40 are a tie, 6 and 0 are worse than both; 6 to 0 is p = 0.031.
    assert [(row.entry.key, row.rank, row.shared) for row in rows] == [
        ("alpha.test.tuned", 1, True), ("beta.test.tuned", 1, True), ("gamma.test.tuned", 3, False),
        ("alpha.test.base", 4, False),
    ]  # fmt: skip
    assert ranks(boards(load(board_results))[1]) == [1, 1]  # 1 of 3 against none


@pytest.mark.parametrize(
    ("train", "test", "side", "name"),
    [
        (["train"], "test", "base", "zero-shot"),
        (["train*2"], "test", "tuned", "own data"),
        (["train_large:900"], "test", "tuned", "generated"),
        (["edge_intent/train", "train_large"], "test", "tuned", "generated"),
        (["train_large", "data/a.train.jsonl"], "test", "tuned", "own + generated"),
        (["train", "train_large:900*2"], "test_schemas", "tuned", "own + generated"),
        (["edge_intent/train"], "test", "tuned", "transfer"),
        (["edge_intent/train_large"], "edge_intent/test", "tuned", "own data"),
        (["data/a.made.jsonl"], "data/a.test.jsonl", "tuned", "generated"),
        (["data/a.made.jsonl", "data/a.train.jsonl:50"], "data/a.test.jsonl", "tuned", "own + generated"),
        (["train_large"], "data/a.test.jsonl", "tuned", "transfer"),
    ],
)  # fmt: skip
def test_a_track_follows_from_the_recipe(train: list[str], test: str, side: str, name: str) -> None:
    recipe = recipe_of({"name": "x", "task": "edge_json", "data": {"train": train, "tests": [{"split": test}]}}, "x")
    assert track(recipe, recipe.data.tests[0], side, recipe.data.train) == name


def words(markup: str) -> str:
    """What is to be read in a piece of a page."""
    return " ".join(html.unescape(re.sub("<[^>]+>", " ", markup.replace("<wbr>", ""))).split())


def test_the_front_page_says_what_was_measured(board_site: Path) -> None:
    """34 of gamma's 40 answers are cut off; its base has 70 million parameters, in bf16."""
    page = (board_site / "index.html").read_text(encoding="utf-8")
    row = re.findall(r'<tr [^>]*data-key="gamma.test.tuned".*?</tr>', page)[0]
    cells = {name: words(cell) for name, cell in re.findall(r'<t[dh] [^>]*class="(\w+)"[^>]*>(.*?)</t[dh]>', row)}
    del cells["own"]
    assert cells == {
        "pick": "", "rank": "3", "model": "gamma tuned smollm2-135m:12", "test": "edge_json/test 40 documents",
        "exact": "15.0 % 6/40 · 7.1–29.1", "truncated": "85.0 % 34/40", "constraint": "free schema prompt",
        "track": "generated 503 rows", "size": "70 M 140 MB", "latency": "695 ms p95 870 ms 40 timed",
        "machine": "Example 2 cores",
    }  # fmt: skip


def test_the_page_of_a_test_set_says_what_was_measured(board_site: Path) -> None:
    page = (board_site / "tests" / "edge_json-test.html").read_text(encoding="utf-8")
    rows = [[words(cell) for cell in re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row)]
            for row in re.findall(r"<tr>(.*?)</tr>", page)]  # fmt: skip
    found = {row[0]: row[1:] for row in rows}
    beta = found["beta tuned smollm2-135m"]
    assert beta[:3] == ["1=", "free, schema prompt", "70.0 % 28/40 · 54.6–81.9"] and beta[-1].startswith("15.0 % 6/40")
    assert [row[0] for row in rows if row[0] in ("Complexity", "Style", "Schema")] == ["Complexity", "Style", "Schema"]
    for label, name in (("simple", "complexity"), ("ocr", "style"), ("sales_order", "schema_id")):
        mine = [i for i, row in enumerate(ROWS) if {**row.tags, "schema_id": row.schema_id}[name] == label]
        right = [sum(i < 30 for i in mine), sum(i >= 12 for i in mine), sum(i < 6 for i in mine), 0]
        assert [cell.split()[-1] for cell in found[label]] == [str(len(mine)), *(f"{k}/{len(mine)}" for k in right)]


def test_few_times_have_no_p95(tmp_path: Path) -> None:
    write(tmp_path, "one", "test", ROWS[:19], {"tuned": _answers(19)})
    index = pages(tmp_path, None)["index.html"].decode("utf-8")
    assert "19 timed" in index and "p95" not in index.partition("How to read it")[0]


def test_a_base_is_there_once(tmp_path: Path) -> None:
    """Timed and as it answered last; under another constraint, on another machine or of other weights it is another."""
    hashes = {**dict.fromkeys(("recipe", "tokenizer", "adapter", "code")), "weights": "a", "prompt": {}}

    def add(name: str, created: str, **changes: Any) -> None:
        stages = {"tuned": _answers(4), "base": _answers(4)}
        known = {**hashes, "data": {"test": data_hash(ROWS[:4])}, **changes.pop("hashes", {})}
        write(tmp_path, name, "test", ROWS[:4], stages, created=created, hashes=known, **changes)

    add("first", "2026-01-02T00:00:00+00:00")
    add("last", "2026-01-03T00:00:00+00:00")
    add("middle", "2026-01-02T12:00:00+00:00")
    add("elsewhere", "2026-01-01T00:00:00+00:00", machine={"cpu": "Other CPU", "cores": 4, "gpus": []})
    add("others", "2026-01-01T00:00:00+00:00", hashes={"weights": "b"})
    add("unknown", "2026-01-01T00:00:00+00:00", hashes={"weights": None})
    (board,) = boards(load(tmp_path))
    names = ("elsewhere", "first", "last", "middle", "others", "unknown")
    assert {entry.result.name for entry in board.entries if entry.side == "tuned"} == set(names)
    assert {e.result.name for e in board.entries if e.side == "base"} == {"elsewhere", "last", "others", "unknown"}
    # Another answer is another row; one that was timed stands for those that were not.
    kept = load_record(tmp_path / "last.json")
    untimed = [{**sample, "batch": 8, "first_token_s": None} for sample in _answers(4)]
    write_result(
        tmp_path / "last.json",
        {**kept, "tests": {"test": split_record("schema", {"tuned": untimed, "base": untimed})}},
        {"test": {"tuned": untimed, "base": untimed}},
    )
    others = {"tuned": _answers(4), "base": answered(ROWS[:4], lambda i: broken, 1.0)}
    later = "2026-01-05T00:00:00+00:00"
    write(tmp_path, "different", "test", ROWS[:4], others, created=later, hashes=kept["hashes"])
    (board,) = boards(load(tmp_path))
    bases = {e.result.name for e in board.entries if e.side == "base"}
    assert bases == {"elsewhere", "middle", "others", "unknown", "different"}


def test_an_export_has_the_size_of_its_files(tmp_path: Path) -> None:
    path = write(tmp_path, "one", "test", ROWS[:4], {"tuned": _answers(4)})
    record = {**load_record(path), "export": {"form": "int8", "bytes": 149_000_000}}
    write_result(path, record, {"test": {"tuned": _answers(4)}})
    index = pages(tmp_path, None)["index.html"].decode("utf-8")
    assert 'data-bytes="149000000"' in index and "149 MB" in index and "exported as int8" in index


def test_names_of_files_are_plain_and_differ() -> None:
    taken: set[str] = set()
    assert slug("a/b c", taken) == "a-b-c" and slug("A-b-c", taken) != "A-b-c" and slug("../..", taken) == "unnamed"
    assert slug("a/b c", taken).startswith("a-b-c-")
    # Whatever stands there already, such as what would be given to the next.
    taken = set()
    assert len({slug(text, taken) for text in ("A", "a-ca978112", "a", "a/", "a")}) == len(taken) == 5


def test_a_model_page_has_the_whole_record(board_site: Path) -> None:
    text = (board_site / "models" / "alpha.html").read_text(encoding="utf-8")
    commands = ("slmbench run alpha.yaml", "slmbench verify results/alpha.json", "../results/alpha.samples.jsonl.gz")
    for part in ("4,884,480", "75.0 %", "30/40", *commands, "Validation loss by epoch", "JSONExact by training rows"):
        assert part in text, part
    recipe = recipe_of(yaml.safe_load((board_site / "recipes" / "alpha.yaml").read_text(encoding="utf-8")), "alpha")
    assert recipe.name == "alpha" and recipe.data.train == ("train",)


def test_a_model_page_names_what_answered(board_site: Path, tmp_path: Path) -> None:
    def heads(page: Path) -> list[list[str]]:
        rows = re.findall(r"<thead><tr>(.*?)</tr>", page.read_text(encoding="utf-8"))
        return [re.findall(r'<th scope="col">(.*?)</th>', row) for row in rows]

    alpha, beta = (heads(board_site / "models" / f"{name}.html") for name in ("alpha", "beta"))
    assert alpha[0] == ["", "base", "tuned", "difference"]
    assert alpha[1] == ["Complexity", "n", "JSONExact, base", "tuned", "FieldF1, base", "tuned"]
    assert beta[:2] == [["", "tuned"], ["Complexity", "n", "JSONExact", "FieldF1"]]
    rules = {"name": "rules", "baseline": "rule_baseline", "origin": "rules"}
    write(tmp_path / "results", "rules", "test", ROWS[:4], {"tuned": _answers(4)}, weights=rules)
    build(tmp_path / "results", tmp_path / "site")
    page = tmp_path / "site" / "models" / "rules.html"
    assert heads(page)[0] == ["", "model"]
    assert ">test, model<" in page.read_text(encoding="utf-8") and "tuned" not in page.read_text(encoding="utf-8")


def test_the_front_page_of_our_own_results() -> None:
    files = pages(ROOT / "results", METHOD)
    index = files["index.html"].decode("utf-8")
    names = [path.stem for path in (ROOT / "results").glob("*.json")]
    assert names and all(f'href="models/{name}.html"' in index for name in names)
    loaded = [name for name in files if name.startswith("static/")]
    assert len(files["index.html"]) + sum(len(files[name]) for name in loaded) < 1_000_000


def test_quoted_figures_stand_apart(board_site: Path, tmp_path: Path) -> None:
    (source,) = load_quoted()
    index = (board_site / "index.html").read_text(encoding="utf-8")
    board, _, rest = index.partition("Quoted from others")
    assert source.rows["SmolLM2-135M, tuned"]["JSONExact"] == "24.7 %"
    assert "24.7 %" in rest and "24.7 %" not in board and source.noted in rest
    good = {"source": "a", "published": "", "noted": "2026-01-01", "conditions": "c", "rows": {"m": {"x": "1"}}}
    path = tmp_path / "quoted.yaml"
    for change, said in (
        ({"noted": ""}, "something empty"), ({"rows": {}}, "something empty"), ({"rows": {"m": {"x": 1}}}, "no text"),
        ({"more": "x"}, "has not just conditions, noted"),
    ):  # fmt: skip
        path.write_text(yaml.safe_dump([{**good, **change}]))
        with pytest.raises(BadInput, match=said):
            load_quoted(path)
    path.write_text("a: [")
    with pytest.raises(BadInput, match="not readable as YAML"):
        load_quoted(path)


def test_the_method_is_markdown_that_stays_within_its_page() -> None:
    text = rendered(
        "# How a *result* is checked\n\n<!-- begin -->\n| a | b |\n| --- | ---: |\n| `<b>` | 2 |\n\n"
        "[in](#how-a-result-is-checked), [out](design.md), ![p](http://x/y.png) <script>x</script>\n"
    )
    assert '<h1 id="how-a-result-is-checked">' in text and '<a href="#how-a-result-is-checked">in</a>' in text
    assert "<span>out</span>" in text and "http" not in text and "begin" not in text
    assert '<td class="number">2</td>' in text and "style=" not in text and "&lt;script&gt;" in text
    assert text.count('class="scroll"') == text.count("</table>\n</div>") == 1


def test_two_leaves_that_are_written_alike_are_two() -> None:
    """In all answers to a document each leaf has one name."""
    gold = {("n",): 1}
    places: dict[Any, Any] = {("n",): 0}
    assert changes(gold, places, '{"n":1,"x.y":1,"x":{"y":2}}') == [["x.y", "1"], ["x.y (2)", "2"]]
    assert changes(gold, places, '{"n":2,"x":{"y":3}}') == [[0, "2"], ["x.y (2)", "3"]]


# ---- what it refuses


def changed(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """A record changed in place; its own hash is left."""
    record = json.loads(path.read_text(encoding="utf-8"))
    change(record)
    path.write_text(json.dumps(record), encoding="utf-8")


BROKEN: list[tuple[Callable[[Path], Any], str]] = [
    (lambda p: p.write_text("{"), "not readable as JSON"),
    (lambda p: samples_path(p).unlink(), "there is no such file"),
    (lambda p: changed(p, lambda r: r.pop("metrics")), "metrics is missing"),
    (lambda p: changed(p, lambda r: r.update(machine=[])), "machine is no object"),
    (lambda p: changed(p, lambda r: r.update(export="int8")), "export is no object"),
    (lambda p: changed(p, lambda r: r.update(asked=["--split"])), "asked is no object"),
    (lambda p: changed(p, lambda r: r.update(name=3)), "name is no text"),
    (lambda p: changed(p, lambda r: r.update(hardware=[1])), "hardware is no object"),
    (lambda p: changed(p, lambda r: r["tests"]["test"].pop("constraint")), "not as a record has it .*'constraint'"),
    (lambda p: changed(p, lambda r: r["tests"]["test"].update(prompt=5)), "not as a record has it .*prompt is no text"),
    (
        lambda p: changed(
            p, lambda r: r["tests"]["test"]["measures"].update(x={**r["metrics"]["json_exact"], "label": 5})
        ),
        "not as a record has it .*label is no text",
    ),
    (lambda p: p.write_text("[" * 100_000), "not readable as JSON .*more than 200 levels"),
    (lambda p: changed(p, lambda r: r["recipe"].update(task="none")), "there is no task none"),
    (lambda p: changed(p, lambda r: r["tests"].update(more={})), "its test sets are not those of its recipe"),
    (lambda p: changed(p, lambda r: r["tests"]["test"].pop("slices")), "not as a record has it"),
    (lambda p: changed(p, lambda r: r["tests"]["test"]["metrics"]["field_f1"].update(low="x")), "not as a record has"),
    (lambda p: changed(p, lambda r: r["tests"]["test"]["metrics"]["json_exact"].update(k=5)), "its counts are not"),
    (lambda p: changed(p, lambda r: r["tests"]["test"]["latency"].update(p50_s=[1])), "p50_s is no number"),
    (
        lambda p: changed(p, lambda r: r["tests"]["test"]["metrics"]["field_f1"].update(high=1e999)),
        "Infinity is not JSON",
    ),
    (lambda p: changed(p, lambda r: r["tests"]["test"].update(constraint="schema")), "not as it was published"),
    (lambda p: changed(p, lambda r: r["machine"].update(gpus=5)), "not as it was published"),
    (lambda p: changed(p, lambda r: r["machine"].update(cpu="\ud800")), "a lone surrogate in a string"),
    (lambda p: changed(p, lambda r: r["tests"]["test"].update(base=r["metrics"])), "not as a record has it .*TypeErr"),
    (
        lambda p: (p.parent / "curves").mkdir() or (p.parent / "curves" / p.name).write_text("[1]"),
        "no.* learning curve",
    ),
]


@pytest.mark.parametrize(("harm", "said"), BROKEN, ids=[said for _, said in BROKEN])
def test_a_broken_result_is_named_and_the_old_site_stays(
    harm: Callable[[Path], Any], said: str, tmp_path: Path, slmbench: Callable[..., Any]
) -> None:
    path = write(tmp_path / "results", "one", "test", ROWS[:4], {"tuned": _answers(4)})
    out = tmp_path / "site"
    assert slmbench("leaderboard", "build", "--results", path.parent, "--out", out).code == 0
    before = contents(out)
    harm(path)
    found = slmbench("leaderboard", "build", "--results", path.parent, "--out", out)
    assert found.code == 2 and re.search(said, found.sentence) and re.search(r"\bone\.(json|samples)", found.sentence)
    assert contents(out) == before and sorted(p.name for p in tmp_path.iterdir()) == ["results", "site"]


def test_other_documents_under_one_hash(tmp_path: Path) -> None:
    write(tmp_path, "one", "test", ROWS[:4], {"tuned": _answers(4)})
    write(tmp_path, "two", "test", ROWS[:4], {"tuned": _answers(3)})
    with pytest.raises(BadInput, match="the same hash of test, other documents"):
        boards(load(tmp_path))


def test_no_results(tmp_path: Path, slmbench: Callable[..., Any]) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        said = slmbench("leaderboard", "build", "--results", folder, "--out", tmp_path / "site")
        assert said.code == 2 and "holds no results" in said.sentence
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def small(tmp_path: Path) -> tuple[Path, Path]:
    """A folder of one result, and its site."""
    write(tmp_path / "results", "one", "test", ROWS[:4], {"tuned": _answers(4)})
    build(tmp_path / "results", tmp_path / "site")
    return tmp_path / "results", tmp_path / "site"


FOREIGN: list[tuple[Callable[[Path], Any], str]] = [
    (lambda out: (out / "CNAME").write_text("x"), "CNAME: was not written by"),
    (lambda out: (out / "index.html").write_text("mine"), "index.html: was not written by .* or changed"),
    (lambda out: (out / MANIFEST).unlink(), "was not made by"),
    (lambda out: (out / MANIFEST).write_text("{}"), "site.json is not one of"),
    (lambda out: (out / MANIFEST).write_text("x"), "not readable as JSON"),
    (lambda out: (out / "link").symlink_to(out / "index.html"), "link: was not written by"),
]


@pytest.mark.parametrize(("harm", "said"), FOREIGN, ids=[said for _, said in FOREIGN])
def test_nothing_is_deleted_that_it_did_not_write(
    harm: Callable[[Path], Any], said: str, small: tuple[Path, Path]
) -> None:
    results, out = small
    harm(out)
    before = contents(out)
    with pytest.raises(BadInput, match=said):
        build(results, out)
    assert contents(out) == before


def test_places_that_cannot_be_a_site(small: tuple[Path, Path], tmp_path: Path, slmbench: Callable[..., Any]) -> None:
    results, out = small
    with pytest.raises(BadInput, match="is no folder"):
        build(results, results / "one.json")
    with pytest.raises(BadInput, match="was not made by"):
        build(results, results)
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="holds the results themselves"):
        build(tmp_path / "empty" / "results", tmp_path / "empty")
    build(results, tmp_path / "empty")
    assert contents(tmp_path / "empty") == contents(out)
    said = slmbench("leaderboard", "build", "--results", results, "--out", out, "--method", tmp_path / "none.md")
    assert said.code == 2 and "cannot be read" in said.sentence


def test_the_command_says_what_it_made(
    small: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, slmbench: Callable[..., Any]
) -> None:
    results, _ = small
    monkeypatch.chdir(results.parent)
    out = Path("site/leaderboard")
    said = slmbench("leaderboard", "build")
    assert said.code == 0 and said.out.splitlines()[0] == f"{out}/index.html: {len(contents(out))} files in {out}"
    assert "no method page" in said.out and not (out / "method.html").exists()
    assert "method.html" not in (out / "index.html").read_text(encoding="utf-8")
    Path("docs").mkdir()
    Path("docs/method.md").write_text("# How")
    assert slmbench("leaderboard", "build").out.splitlines() == [
        f"{out}/index.html: {len(contents(out))} files in {out}"
    ]
    assert 'href="method.html"' in (out / "index.html").read_text(encoding="utf-8")


def test_a_changed_record_is_another_site(small: tuple[Path, Path]) -> None:
    results, out = small
    before = contents(out)
    record = load_record(results / "one.json")
    record["machine"]["cpu"] = "Another"
    write_result(results / "one.json", record, {"test": {"tuned": _answers(4)}})
    build(results, out)
    assert contents(out) != before and b"Another" in contents(out)["index.html"]
