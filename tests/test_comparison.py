"""Runs side by side as one page: what it shows of made runs, in which order, in which colours, and the verb."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from leaderboard_results import NASTY, ROWS, Answer, answered, broken, hostile_rows, right, wrong
from test_publish import Tree

from slmbench.compare import compare
from slmbench.config import recipe_of
from slmbench.core import BadInput, Completion, load_task
from slmbench.evaluate import make_sample
from slmbench.metrics import LABELS, summarize
from slmbench.publish.comparison import MOST, Side, comparison_page, side_of, told_apart
from slmbench.publish.page import STYLE
from slmbench.publish.record import split_record, timing
from slmbench.publish.tables import change, full
from slmbench.template import target_text

ONE, OTHER = "One, 2 cores", "Another, 4 cores"


def side(name: str, answer: Callable[[int], Answer], machine: str = ONE, count: int = 12) -> Side:
    samples = answered(ROWS[:count], answer, 1.0)
    return Side(name, "plain prompt, free generation", samples, {}, timing(samples, None), machine)


FIRST = side("first", lambda i: right if i < 6 else wrong)
SECOND = side("second", lambda i: right if i < 9 else broken)
THIRD = side("third", lambda i: wrong if i == 3 else right, OTHER)


def section(page: str, title: str) -> str:
    return page.partition(f"<h2>{title}</h2>")[2].partition("</section>")[0]


def listed(page: str) -> list[str]:
    return re.findall(r"<summary><code>(.*?)</code>", page)


def test_a_page_is_one_file_with_a_column_for_each_run() -> None:
    page = comparison_page("test", [FIRST, SECOND, THIRD], ROWS[:12])
    tree = Tree(page)
    assert tree.references == [] and page.count("<script") == 1 and "Content-Security-Policy" in page
    assert not re.search(r"https?://|@import|url\(", page)
    assert re.findall(r'<div class="(tile r\d)"><span>(\w+)</span><strong>(.*?)</strong>', page) == [
        ("tile r1", "first", "50.0 %"), ("tile r2", "second", "75.0 %"), ("tile r3", "third", "91.7 %"),
    ]  # fmt: skip
    table = section(page, "Figures")
    assert [name for name in re.findall(r"<tr><td>(.*?)</td>", table)] == list(LABELS.values())
    for one in (SECOND, THIRD):
        found = compare(FIRST.samples, one.samples)["metrics"]
        for name, figure in summarize(one.samples).items():
            said = change(found[name], name).replace("<", "&lt;")
            assert f'<td>{full(figure, name)}<div class="quiet">{said}</div></td>' in table
    assert table.count('class="quiet"') == 2 * len(LABELS)
    bars = section(page, "Slices")
    assert set(re.findall(r'<i class="(\w+)" style', bars)) == {"r1", "r2", "r3"} and 'title="third"' in bars
    assert [bars.count(f"JSONExact by {name}") for name in ("complexity", "style", "schema")] == [1, 1, 1]


def test_times_of_two_machines_are_two_tables() -> None:
    times = section(comparison_page("test", [FIRST, SECOND, THIRD]), "Times")
    assert re.findall(r"<h3>(.*?)</h3>", times) == ["One, 2 cores", "Another, 4 cores"]
    assert re.findall(r"<tr><td>(.*?)</td>", times) == ["first", "second", "third"]


def test_what_each_run_took_stands_side_by_side() -> None:
    recipe = recipe_of({"name": "x", "data": {"tests": [{"split": "test"}]}}, "x").to_dict()
    intents = load_task("edge_intent")
    examples = intents.load("test")[:20]
    tuned, base = (
        [make_sample(intents, e, Completion(e.id, text(e), (), "stop", 9, 9, None, 1.0, 1)) for e in examples]
        for text in (target_text, lambda e: '{"intent":"none"}')
    )
    record = {
        "recipe": recipe, "weights": {"name": "b", "parameters": 1_234_567}, "machine": {"cpu": "One", "cores": 2},
        "tests": {"test": split_record("schema", {"tuned": tuned, "base": base}, intents)},
        "data": {"train": {"rows": 4321}}, "training": {"validation_losses": [0.5, 0.25]}, "peak_memory_gib": 1.5,
        "seconds": {"train": 70.0, "tuned/test": 8.0, "base/test": 9.0}, "hardware": {"joules": 36_000.0},
    }  # fmt: skip
    served = {**record, "weights": {"name": "s", "server": "http://x/v1"}, "training": {}, "seconds": {"bench": 3.0}}
    sides = [side_of(record, "test", "base", base, "base"), side_of(record, "test", "tuned", tuned, "tuned"),
             side_of(served, "test", "tuned", tuned, "served")]  # fmt: skip
    page = comparison_page("test", sides)
    costs = section(page, "Costs")
    rows = [re.findall(r"<td>(.*?)</td>", row) for row in re.findall(r"<tr>(<td>.*?)</tr>", costs)]
    found = {row[0]: row[1:] for row in rows}
    assert found["training"] == ["–", "70 s", "–"] and found["answering"] == ["9 s", "8 s", "3 s"]
    assert found["trained on"][:2] == ["–", "4,321 rows"] and found["peak memory of the run"][1] == "1.50 GiB"
    assert found["energy of the run"][1] == "0.0100 kWh (36,000 J)" and found["parameters"][0] == "1,234,567"
    assert found["machine"] == ["One, 2 cores", "One, 2 cores", "server http://x/v1"]
    assert costs.count("<polyline") == 1 and 'class="line r2"' in costs
    confusion = section(page, "The answers as a picture")
    assert confusion.count('<summary><span class="key">') == confusion.count("<svg") == 3
    assert "as a picture" not in comparison_page("test", [FIRST, SECOND]) and not re.search(
        "<polyline", section(comparison_page("test", [FIRST, SECOND]), "Costs")
    )


def test_where_the_runs_differ_stands_side_by_side() -> None:
    page = comparison_page("test", [FIRST, SECOND, THIRD], ROWS[:12])
    # Five are right in all; a broken answer is further from a right one than one with a wrong leaf.
    assert sorted(listed(page)) == [row.id for row in (ROWS[3], *ROWS[6:12])]
    assert set(listed(page)[:3]) == {row.id for row in ROWS[9:12]}
    assert "answer 7 of 12 documents exactly" in page
    entries = {listed(part)[0]: part for part in page.split('<details class="entry"')[1:]}
    assert len(entries) == page.count('class="entry"') == 7
    at = ROWS[10].id
    data = dict(re.findall(r'data-([\w-]+)="(.*?)"', page.partition(f"<code>{at}")[0].rpartition("<details")[2]))
    assert data == {
        "r1": "breaks the schema", "r2": "truncated", "r3": "right", "complexity": ROWS[10].tags["complexity"],
        "style": ROWS[10].tags["style"], "schema-id": ROWS[10].schema_id,
    }  # fmt: skip
    words = " ".join(Tree(page).text)
    assert ROWS[10].text in words and ROWS[2].text not in words
    shown = page.partition(f"<code>{at}")[2].partition("</details>")[0]
    assert " right: third" in shown and '<del class="quiet">missing</del>' in shown and "<ins>" in shown
    assert shown.count("<pre ") == 2 + 3 and "Its data is not here" in comparison_page("test", [FIRST, SECOND])
    selects = re.findall(r'<label>(.*?) <select data-key="(\w+)"', page)
    assert selects == [
        ("first", "r1"), ("second", "r2"), ("third", "r3"),
        ("complexity", "complexity"), ("style", "style"), ("schema", "schema_id"),
    ]  # fmt: skip


def test_the_mildest_are_left_out_where_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = listed(comparison_page("test", [FIRST, THIRD]))
    monkeypatch.setattr("slmbench.publish.comparison.MAX_DOCUMENTS", 2)
    page = comparison_page("test", [FIRST, THIRD])
    assert listed(page) == whole[:2] and "; the first 2 are listed." in page and len(whole) == 7


def test_what_models_wrote_is_only_text() -> None:
    def hostile(name: str, answer: Answer) -> Side:
        samples = answered(hostile_rows(), lambda i: answer, 1.0)
        return Side(name, NASTY, samples, {}, timing(samples, None), NASTY, {NASTY: NASTY}, [1.0])

    page = comparison_page(NASTY, [hostile(NASTY, right), hostile(f"{NASTY} again", wrong)], hostile_rows())
    assert page.count("<script") == 1 and "<img" not in page
    assert any(NASTY in text for text in Tree(page).text)


def test_what_cannot_be_on_one_page() -> None:
    with pytest.raises(BadInput, match=f"7 runs are more than a page can show; compare {MOST} at most"):
        comparison_page("test", [FIRST] * 7)
    with pytest.raises(BadInput, match="not taken on the same documents"):
        comparison_page("test", [FIRST, SECOND, side("fewer", lambda i: right, count=5)])


def test_names_that_come_again_are_numbered() -> None:
    assert told_apart(["a", "b", "a"]) == ["a (1)", "b", "a (2)"]


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours, by WCAG 2.2."""
    found = []
    for colour in (one, other):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        parts = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        found.append(sum(share * c for share, c in zip((0.2126, 0.7152, 0.0722), parts, strict=True)))
    return (max(found) + 0.05) / (min(found) + 0.05)


@pytest.mark.parametrize(("part", "paper"), [(0, "#ffffff"), (1, "#14171a")], ids=["light", "dark"])
def test_six_colours_can_be_told_from_the_paper_and_from_each_other(part: int, paper: str) -> None:
    block = re.findall(r":root\{(.*?)\}", STYLE, re.DOTALL)[part]
    names = [f"r{i + 1}" for i in range(MOST)]
    colours = dict(re.findall(r"--(r\d):(#\w{6})", block))
    assert list(colours) == names and len(set(colours.values())) == MOST
    assert all(contrast(colour, paper) >= 4.5 for colour in colours.values())
    assert all(f"i.{name}{{" in STYLE and f".tile.{name} strong" in STYLE for name in names)
    # Neighbours in a group of bars differ by some channel by a quarter of its range.
    for one, other in pairwise(colours.values()):
        assert max(abs(int(one[i : i + 2], 16) - int(other[i : i + 2], 16)) for i in (1, 3, 5)) >= 64


# ---- the verb


def results(folder: Path, names: Sequence[str]) -> list[Path]:
    return [folder / f"{name}.json" for name in names]


def test_compare_writes_a_page_of_results(board_results: Path, tmp_path: Path, slmbench: Callable[..., Any]) -> None:
    out = tmp_path / "new" / "page.html"
    said = slmbench("compare", *results(board_results, ("alpha", "beta", "gamma")), "--html", out)
    assert (said.code, said.out.strip()) == (0, str(out))
    page = out.read_text(encoding="utf-8")
    assert re.findall(r'<div class="tile r\d"><span>(\w+)</span>', page) == ["alpha", "beta", "gamma"]
    assert ROWS[20].text in " ".join(Tree(page).text) and "Its data is not here" not in page
    assert slmbench("compare", board_results / "alpha.json", "--html", out).code == 0
    assert re.findall(r"<span>(\w+)</span><strong>", out.read_text(encoding="utf-8")) == ["base", "tuned"]
    # Documents of a file that is not here.
    assert slmbench("compare", board_results / "hostile.json", "--html", out).code == 0
    assert "Its data is not here" in out.read_text(encoding="utf-8")


def test_compare_of_several_is_each_with_the_first(board_results: Path, slmbench: Callable[..., Any]) -> None:
    runs = results(board_results, ("alpha", "beta", "alpha"))
    text = slmbench("compare", *runs).out
    heads = [line.split() for line in text.splitlines() if "documents, paired" in line]
    assert [head[3:7] for head in heads] == [["alpha", "(1)", "beta", "difference"], ["alpha", "(1)", "alpha", "(2)"]]
    beta, same = json.loads(slmbench("compare", *runs, "--json").out)
    assert beta["metrics"]["json_exact"]["difference"] == pytest.approx(-0.05)
    assert same["flips"] == {"gained": [], "lost": []}
    assert json.loads(slmbench("compare", *runs[:2], "--json").out) == beta


def test_what_compare_refuses(board_results: Path, tmp_path: Path, slmbench: Callable[..., Any]) -> None:
    alpha, hostile = results(board_results, ("alpha", "hostile"))
    out = tmp_path / "page.html"
    for arguments, words in (
        ([alpha] * 7, "compare takes 6 runs at most, not 7"),
        ([alpha, hostile, "--html", out], "hostile.json: no tuned samples of test; give a --split of hostile.test"),
        ([board_results / "beta.json", "--html", out], "beta.json: no base samples of test"),
    ):
        said = slmbench("compare", *arguments)
        assert said.code == 2 and words in said.sentence
    assert slmbench("compare", alpha, "--json", "--html", out).code == 2 and not out.exists()
