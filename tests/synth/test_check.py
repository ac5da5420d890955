"""Every rule of the gate, broken and kept, and what the gate finds in data that nobody here wrote."""

from __future__ import annotations

import json
import time
from pathlib import Path
from random import Random
from typing import Any

import pytest

from slmbench.core import BadInput, Example
from slmbench.synth.check import RULES, Report, check_example, check_file

V3 = Path(__file__).parents[3] / "shared" / "external" / "cyclecore_edgejson_train_v3.jsonl"


def thing(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "additionalProperties": False}


STRING, INTEGER, NUMBER = {"type": "string"}, {"type": "integer"}, {"type": "number"}
PERSON = {**thing(name=STRING, age=INTEGER), "required": ["name"]}
ITEM = thing(task=STRING, owner=STRING, due=STRING)
ORDER = thing(
    lines={"type": "array", "items": thing(name=STRING, quantity=INTEGER, unit_price=NUMBER, line_total=NUMBER)},
    subtotal=NUMBER,
    tax=NUMBER,
    shipping=NUMBER,
    discount=NUMBER,
    total=NUMBER,
)
SCHEMAS = {
    "person": PERSON,
    "tasks": thing(items={"type": "array", "items": ITEM}),
    "order": ORDER,
    "list": thing(tags={"type": "array", "items": STRING}, extra={"type": "object"}),
}


def row(number: int, text: str, target: Any, schema_id: str = "person", **changes: Any) -> dict[str, Any]:
    target = json.dumps(target, ensure_ascii=False, separators=(",", ":"))
    labels = {"complexity": "simple", "style": "email"}
    return {"id": f"r{number}", "schema_id": schema_id, **labels, "text": text, "target": target, **changes}


def gate(folder: Path, rows: list[dict[str, Any]], name: str = "a.jsonl", **options: Any) -> Report:
    path = folder / name
    path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows), encoding="utf-8")
    return check_file(path, schemas=SCHEMAS, **options)


def broken(example_text: str, target: Any, schema_id: str, *, ours: bool = True) -> list[str]:
    example = Example("e", example_text, schema_id, SCHEMAS[schema_id], target)
    return [f"{rule}: {what}" for rule, what in check_example(example, ours=ours)]


ADA = row(1, "Ada is 36 years old.", {"name": "Ada", "age": 36})


def test_good_rows_pass(tmp_path: Path) -> None:
    report = gate(tmp_path, [ADA, row(2, "Bob, of an unknown age", {"name": "Bob"})])
    assert report.ok
    assert report.lines() == []
    assert report.slices == {"complexity": {"simple": 2}, "style": {"email": 2}, "schema": {"person": 2}}


def test_lines_and_json_say_the_same(tmp_path: Path) -> None:
    report = gate(tmp_path, [ADA, row(2, "Bob", {"name": "Eve"})])
    assert report.lines() == [
        f'{tmp_path}/a.jsonl:2: unanswerable: r2: name: "Eve": the text does not lead to this value'
    ]
    as_json = json.loads(json.dumps(report.to_json()))
    assert as_json["counts"] == {"unanswerable": 1}
    assert (as_json["rows"], as_json["bad_rows"], as_json["ok"]) == (2, 1, False)
    assert as_json["violations"][0]["line"] == 2
    assert set(report.counts()) <= set(RULES)


def test_schema(tmp_path: Path) -> None:
    report = gate(tmp_path, [row(1, "36 years", {"age": 36}), row(2, "Ada x", {"name": "Ada", "x": "x"})])
    assert report.counts() == {"schema": 2}


@pytest.mark.parametrize(
    "target", ['{"name": "Ada"}', '{"age":36,"name":"Ada"}', '{"name":"\\u0041da"}', '{"name":"Ada"} ']
)
def test_canonical(tmp_path: Path, target: str) -> None:
    report = gate(tmp_path, [{**ADA, "target": target}])
    assert report.counts() == {"canonical": 1}


def test_canonical_is_asked_of_our_format_only(tmp_path: Path) -> None:
    theirs = {"id": "a", "schema_id": "person", "prompt": "Ada, 36", "expected_output": {"age": 36, "name": "Ada"}}
    assert gate(tmp_path, [theirs]).ok
    report = gate(tmp_path, [{**ADA, "target": {"name": "Ada", "age": 36}}])
    assert report.counts() == {"canonical": 1}


def line(quantity: float, price: float, **more: float) -> dict[str, Any]:
    return {"name": "x", "quantity": quantity, "unit_price": price, **more}


@pytest.mark.parametrize(
    ("target", "what"),
    [
        ({"lines": [line(3, 1.1, line_total=3.4)]}, "line_total is 3.4, quantity x price is 3.3"),
        ({"lines": [line(3, 1.1), line(1, 2.0)], "subtotal": 5.4}, "subtotal is 5.4, the lines' sum is 5.3"),
        ({"lines": [line(2, 1.0, line_total=2.0)], "total": 2.5}, "total is 2.5, the lines' sum is 2.0"),
        ({"subtotal": 10, "tax": 1.9, "total": 12}, "total is 12, subtotal + tax is 11.9"),
        (
            {"subtotal": 10, "tax": 1, "shipping": 5, "discount": 2, "total": 15},
            "total is 15, subtotal + tax + shipping - discount is 14",
        ),
    ],
)
def test_arithmetic_broken(target: Any, what: str) -> None:
    text = "x " + json.dumps(target)
    found = [entry for entry in broken(text, target, "order") if entry.startswith("arithmetic")]
    assert len(found) == 1
    assert what in found[0]


@pytest.mark.parametrize(
    "target",
    [
        {"lines": [line(3, 1.1, line_total=3.3)], "subtotal": 3.3, "tax": 0.63, "total": 3.93},
        {"lines": [line(3, 0.335, line_total=1.01)], "total": 1.01},
        {"lines": [line(3, 1.1), line(1, 2.0)], "tax": 1.0, "total": 6.3},
        {"subtotal": 10, "tax": 1, "shipping": 5, "discount": 2, "total": 14},
        {"subtotal": 10, "total": 12, "gift_wrap": 2},
        {"subtotal": 10, "total": 11.9, "tax_rate": 0.19},
        {"lines": [{"name": "x", "quantity": 2}], "subtotal": 99.0},
        {"lines": [line(10, 2.0, discount_percentage=25)], "subtotal": 15.0},
        {"lines": [line(1, 2.0), line(1, 3.0)], "totals": {"subtotal": 5.0, "tax": 1.0, "total": 6.0}},
        {"quantity": 3, "price": 2.5},
        {"page": 1, "per_page": 20, "total": 62},
        {"total": "x", "subtotal": True, "tax": None},
    ],
)
def test_arithmetic_kept_or_not_asked(target: Any) -> None:
    assert not [entry for entry in broken("x", target, "order") if entry.startswith("arithmetic")]


def test_totals_one_level_down_are_checked() -> None:
    target = {"lines": [line(1, 2.0), line(1, 3.0)], "totals": {"subtotal": 6.0}}
    assert any("subtotal is 6.0, the lines' sum is 5.0" in entry for entry in broken("x", target, "order"))


def test_a_dropped_tax_is_allowed_in_foreign_data_only() -> None:
    target = {"subtotal": 10, "total": 11}
    assert any(entry.startswith("arithmetic") for entry in broken("10 11", target, "order"))
    assert not any(entry.startswith("arithmetic") for entry in broken("10 11", target, "order", ours=False))


@pytest.mark.parametrize("target", [{"tags": []}, {"extra": {}}, {"tags": ["b"]}])
def test_unanswerable(target: Any) -> None:
    assert [entry.split(":")[0] for entry in broken("Tags: a", target, "list")] == ["unanswerable"]


@pytest.mark.parametrize("target", [{"tags": []}, {"extra": {}}])
def test_a_phrase_makes_an_empty_value_answerable(target: Any) -> None:
    assert broken("Tags: none", target, "list") == []


TWO = {"items": [{"task": "Paint", "due": "May"}, {"owner": "Ada", "due": "June"}]}


@pytest.mark.parametrize(
    "text",
    [
        "Items:\n  Task: Paint\n  Due: May\n  Owner: Ada\n  Due: June\n",
        "Task: Paint, Due: May, Owner: Ada, Due: June",
        "- Task: Paint\n- Due: May\n- Owner: Ada\n- Due: June",
        "task=Paint due=May owner=Ada due=June",
        "What: Paint\nWhen: May\nWho: Ada\nWhen: June",
    ],
)
def test_array_boundary_unmarked(text: str) -> None:
    found = broken(text, TWO, "tasks")
    assert found == [
        "array_boundary: e: 'owner' of items/1 may as well belong to items/0: nothing in the text parts the two items"
    ]


@pytest.mark.parametrize(
    "text",
    [
        "- Task: Paint\n  Due: May\n- Owner: Ada\n  Due: June\n",
        "1. Task: Paint\n   Due: May\n2. Owner: Ada\n   Due: June\n",
        "Task: Paint\nDue: May\n\nOwner: Ada\nDue: June\n",
        "Item 1:\nTask: Paint\nDue: May\nItem 2:\nOwner: Ada\nDue: June\n",
        "Item 1 - Task: Paint, Due: May, Item 2 - Owner: Ada, Due: June",
        "Task: Paint, Due: May\nOwner: Ada, Due: June\n",
        "Task: Paint, Due: May; Owner: Ada, Due: June",
        "task,owner,due\nPaint,,May\n,Ada,June\n",
        "Paint is due in May. The other one is with Ada, due in June.",
        '{"task": "Paint", "due": "May"}, {"owner": "Ada", "due": "June"}',
    ],
)
def test_array_boundary_marked(text: str) -> None:
    assert broken(text, TWO, "tasks") == []


def test_a_label_that_comes_again_is_a_boundary() -> None:
    target = {"items": [{"task": "Paint", "due": "May"}, {"task": "Wash"}, {"task": "Cook", "owner": "Ada"}]}
    assert broken("Task: Paint\nDue: May\nTask: Wash\nTask: Cook\nOwner: Ada", target, "tasks") == []


def test_array_boundary_below_an_array_and_after_a_nested_object() -> None:
    schema = thing(nets={"type": "array", "items": thing(id=STRING, place=thing(city=STRING), links=SCHEMAS["tasks"])})
    nets = [
        {"id": "A1", "place": {"city": "Rome"}, "links": [{"task": "Paint"}, {"owner": "Ada"}]},
        {"id": "B2", "links": [{"task": "Wash"}]},
        {"place": {"city": "Oslo"}, "id": "C3"},
    ]
    text = (
        "Nets:\n  Id: A1\n  Place:\n    City: Rome\n  Links:\n    Task: Paint\n    Owner: Ada\n"
        "  Id: B2\n  Links:\n    Task: Wash\n  Place:\n    City: Oslo\n  Id: C3\n"
    )
    found = [what for rule, what in check_example(Example("e", text, "n", schema, {"nets": nets})) if "array" in rule]
    assert [what.split(" may")[0] for what in found] == [
        "e: 'owner' of nets/0/links/1",
        "e: 'place' of nets/2",
    ]


def test_duplicates_exact_and_normalised(tmp_path: Path) -> None:
    rows = [ADA, {**ADA, "id": "r2"}, {**ADA, "id": "r3", "text": "ADA -- is 36 years old; Ada!".replace(" Ada!", "")}]
    rows[2]["target"] = '{"name":"ADA","age":36}'
    report = gate(tmp_path, rows)
    assert report.counts() == {"duplicate": 2}
    assert "the same text as line 1 (r1)" in report.lines()[0]
    assert "but for case and punctuation as line 1" in report.lines()[1]


LONG = "On Monday Ada, who is 36 and lives by the river in a small white house, wrote a letter to the town office."


@pytest.mark.parametrize(
    ("text", "how"),
    [
        (LONG, "the same text as"),
        (LONG.upper().replace("ADA", "Ada"), "the same text but for case and punctuation as"),
        (LONG.replace("On Monday", "On Friday"), "nearly the same text (0.81"),
        (LONG.replace("office", "hall"), "nearly the same text (0.90"),
    ],
)
def test_leaks(tmp_path: Path, text: str, how: str) -> None:
    gate(tmp_path, [row(1, "Bob", {"name": "Bob"}), row(2, LONG, {"name": "Ada"})], "test.jsonl")
    rows = [row(3, "Eve", {"name": "Eve"}), row(4, text, {"name": "Ada"})]
    report = gate(tmp_path, rows, against=[tmp_path / "test.jsonl"])
    assert report.counts() == {"leak": 1}
    assert f"a.jsonl:2: leak: r4: {how}" in report.lines()[0]
    assert report.lines()[0].endswith("test.jsonl:2 (r2)")


def test_different_texts_are_no_leak(tmp_path: Path) -> None:
    gate(tmp_path, [row(2, LONG, {"name": "Ada"}), row(3, "Ada", {"name": "Ada"})], "test.jsonl")
    other = "On Tuesday Ada, who is 51 and lives by the sea in a big red house, wrote two letters to the tax office."
    rows = [row(1, other, {"name": "Ada"}), row(2, "Ada now", {"name": "Ada"})]
    assert gate(tmp_path, rows, against=[tmp_path / "test.jsonl"]).ok


def test_the_index_finds_what_comparing_all_pairs_finds(tmp_path: Path) -> None:
    random = Random(7)

    def shingles(words: list[str]) -> set[tuple[str, ...]]:
        return {tuple(words[i : i + 5]) for i in range(len(words) - 4)}

    def near(text: list[str]) -> list[str]:
        copy = list(text)
        for _ in range(random.randrange(5)):
            copy[random.randrange(len(copy))] = f"w{random.randrange(30)}"
        return copy

    texts = [[f"w{random.randrange(30)}" for _ in range(random.randrange(8, 60))] for _ in range(80)]
    copies = [near(random.choice(texts)) for _ in range(200)]
    gate(tmp_path, [row(n, " ".join(words), {"name": "w"}) for n, words in enumerate(texts)], "test.jsonl")
    report = gate(
        tmp_path,
        [row(n, " ".join(words), {"name": "w"}) for n, words in enumerate(copies)],
        against=[tmp_path / "test.jsonl"],
    )
    wanted = {
        line
        for line, a in enumerate(map(shingles, copies), 1)
        if any(len(a & b) >= 0.8 * len(a | b) for b in map(shingles, texts))
    }
    found = {violation.line for violation in report.violations if violation.rule == "leak"}
    assert found == wanted
    assert 20 < len(found) < 180


@pytest.mark.parametrize(("label", "count"), [("simple", 0), ("complex", 1), ("hard", 1)])
def test_complexity(tmp_path: Path, label: str, count: int) -> None:
    report = gate(tmp_path, [{**ADA, "complexity": label}])
    assert report.counts().get("complexity", 0) == count


def test_unlabelled_rows_have_no_wrong_label(tmp_path: Path) -> None:
    assert gate(tmp_path, [{**ADA, "complexity": None}]).ok


def test_an_inferred_schema_may_be_less_than_the_label_says(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    nested = {**ADA, "target": '{"name":"Ada","more":{"age":36}}'}
    for label, ok in (("medium", True), ("complex", True), ("simple", False)):
        path.write_text(json.dumps({**nested, "complexity": label}))
        assert check_file(path).ok is ok


def test_length_in_characters(tmp_path: Path) -> None:
    size = len(ADA["text"]) + len(ADA["target"])
    assert gate(tmp_path, [ADA], limit=size).ok
    report = gate(tmp_path, [ADA], limit=size - 1)
    assert f"length: r1: text and target have {size} characters, over the limit of {size - 1}" in report.lines()[0]


def test_slices_that_do_not_sum(tmp_path: Path) -> None:
    rows = [ADA, row(2, "Bob", {"name": "Bob"}, complexity=None), row(3, "Eve", {"name": "Eve"}, style=None)]
    report = gate(tmp_path, rows)
    assert report.counts() == {"slices": 2}
    assert "a.jsonl:2: slices: 1 rows from here on have no complexity: its slices sum to 2, not 3" in report.lines()[0]


def test_a_file_that_cannot_be_read_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"a\.jsonl:2: no schema 'nobody'"):
        gate(tmp_path, [ADA, row(2, "x", {}, schema_id="nobody")])
    with pytest.raises(BadInput, match="no such file"):
        check_file(tmp_path / "none.jsonl")


def test_a_thousand_rows_are_quick(tmp_path: Path) -> None:
    words = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu"]

    def text(number: int) -> str:
        return " ".join(f"{words[(number * k) % 12]}{number * k % 997}" for k in range(1, 80)) + f" Ada {number}"

    gate(tmp_path, [row(n, text(n), {"name": f"Ada {n}"}) for n in range(1000, 2000)], "test.jsonl")
    start = time.monotonic()
    rows = [row(n, text(n), {"name": f"Ada {n}", "age": n}) for n in range(1000)]
    report = gate(tmp_path, rows, against=[tmp_path / "test.jsonl"])
    assert time.monotonic() - start < 15
    assert report.rows == 1000


@pytest.mark.skipif(not V3.exists(), reason="the earlier data set is not here")
def test_the_known_defects_of_the_earlier_data_are_found() -> None:
    report = check_file(V3)
    counts = report.counts()
    assert counts["array_boundary"] > 100
    assert counts["unanswerable"] > 200
    lines = report.lines()
    assert any("customer_metrics/demographics/top_regions/0: {}: the text says nowhere" in line for line in lines)
    assert any(
        "'assigned_to' of action_items/1 may as well belong to action_items/0" in line
        for line in lines
        if "meeting_notes_template_015" in line
    )
    assert "arithmetic" not in counts
