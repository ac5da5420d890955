"""EdgeFuncCall: functions and templates that fit each other, cases that follow from their text, measures by hand."""

from __future__ import annotations

import datetime
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from slmbench.calls import calls_of
from slmbench.core import BadInput
from slmbench.data import normalised
from slmbench.decode.grammar import Grammars, Vocabulary
from slmbench.schema import canonical, check_schema, validate
from slmbench.tasks.edge_func_call import ASK, TASK, functions, generate, say, tool
from slmbench.tasks.edge_func_call.measures import by_bfcl, measures, outcome, parameter_counts, whole

FUNCTIONS = functions()
SPLITS = ("train", "train_large", "test")
SAID = {split: generate.functions_of(split) for split in SPLITS}


def test_functions_are_whole_and_their_names_their_own() -> None:
    assert len(FUNCTIONS) == 100 and len({f["domain"] for f in FUNCTIONS.values()}) == 12
    for name, function in FUNCTIONS.items():
        check_schema(tool(name)["parameters"], name)
        assert set(function["required"]) <= set(function["parameters"]) and len(function["parameters"]) >= 2
        templates = [SAID[split][name]["templates"] for split in SPLITS]
        assert [len(own) for own in templates] == [10, len(templates[1]), 5] and len(templates[1]) >= 38
        assert len({normalised(template) for own in templates for template in own}) == sum(map(len, templates))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_templates_fit_their_function(name: str) -> None:
    for split, needed in (("train", 5), ("train_large", 19), ("test", 2)):
        function = SAID[split][name]
        for template in function["templates"]:
            assert (
                template.count("[") == template.count("]") and "[" not in template.replace("[", "", 1).split("[")[0][:0]
            )
            pieces = say.clauses(template)
            found = [slot for _, text in pieces for slot in say.slots(text)]
            assert len(found) == len(set(found)), template
            for _, text in pieces:
                assert not set("{}") & set(say._SLOT.sub("", text)), template
            for slot in found:
                say.parameter(function, slot)
            assert {slot.split(".")[0] for slot in found} >= set(function["required"]), template
            outside = {slot.split(".")[0] for may, text in pieces if not may for slot in say.slots(text)}
            assert outside <= set(function["required"]), template
        assert sum(bool(say.droppable(function, t)) for t in function["templates"]) >= needed


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("split", SPLITS)
def test_requests_give_valid_arguments_and_say_them(name: str, split: str) -> None:
    function, chance = SAID[split][name], random.Random(name)
    for template in function["templates"]:
        for rate in (0.0, 1.0):
            said = say.request(function, template, chance, rate=rate)
            assert validate(said.arguments, tool(name)["parameters"]) == [], template
            assert say.missing(function, said.arguments) == [] and not set("{}[]") & set(said.text)
            assert all(text in said.text for text in said.surfaces.values())
        for place in say.droppable(function, template):
            said = say.request(function, template, chance, [place])
            assert say.missing(function, said.arguments), template


def test_clocks_and_days_are_said_as_they_are() -> None:
    said = {"09:00": "nine o'clock in the morning", "19:30": "half past seven in the evening", "07:10": "7:10 am"}
    said |= {"12:15": "quarter past twelve in the afternoon", "14:45": "quarter to three in the afternoon"}
    said |= {"11:45": "11:45 am", "17:45": "5:45 pm", "22:45": "quarter to eleven in the evening"}
    for clock, text in said.items():
        assert say.in_words(datetime.time.fromisoformat(clock)) == text
    assert say.listed(["a"]) == "a" and say.listed(["a", "b", "c"]) == "a, b and c"
    assert say.tidy(" a , b ,. c ;") == "a, b. c"


def test_the_frozen_files_are_what_is_built(tmp_path: Path) -> None:
    for split in ("train", "test"):
        path = generate.write(split, tmp_path)
        assert path.read_bytes() == (Path(generate.__file__).parent / "data" / f"{split}.jsonl").read_bytes()
    assert len(generate.build("train", 30)) == 30 and generate.build("train", 30) == generate.build("train", 30)
    assert len(TASK.load("train_large")) == generate.LARGE_SIZE
    for split, n in (("dev", None), ("test", 0)):
        with pytest.raises(BadInput, match="edge_func_call"):
            generate.build(split, n)
    with pytest.raises(BadInput, match="no split 'dev'"):
        TASK.load("dev")


@pytest.mark.parametrize("split", ["train", "train_large:300", "test"])
def test_cases_are_valid_and_of_every_kind(split: str, tiny_folder: Path) -> None:
    from tokenizers import Tokenizer

    examples = TASK.load(split)
    kinds = Counter(e.tags["style"] for e in examples)
    assert (
        kinds.keys() == generate.KINDS.keys() - ({"single"} if "large" in split else set())
        and len(examples) == {**generate.SIZES, "train_large:300": 300}[split]
    )
    assert len({(normalised(e.text), str(e.target)) for e in examples if e.target}) == sum(
        bool(e.target) for e in examples
    )
    tokenizer = Tokenizer.from_file(str(tiny_folder / "tokenizer.json"))
    grammars = Grammars(Vocabulary(tiny_folder / "tokenizer.json", tokenizer.get_vocab_size(), [2]))
    for i, example in enumerate(examples):
        kind, calls = example.tags["style"], example.target
        assert validate(calls, example.schema) == [], example.id
        offered = [branch["properties"]["name"]["const"] for branch in example.schema["items"]["anyOf"]]
        assert offered[-1] == ASK and len(offered) == len(set(offered)) and {c["name"] for c in calls} <= set(offered)
        assert (calls == []) == (kind == "none") and (len(calls) > 1) == (kind == "parallel")
        assert (outcome(calls) == "asked") == (kind == "missing")
        assert example.text.startswith("User: ") == ("\nAssistant: " in example.text)
        if i % 9 == 0:
            text = canonical(calls, example.schema)
            matcher = grammars.of(example.schema).start()
            ids = tokenizer.encode(text, add_special_tokens=False).ids
            assert matcher.try_consume_tokens(ids) == len(ids) and matcher.is_accepting(), text


def test_cases_to_train_on_are_offered_the_same_by_eights() -> None:
    examples = TASK.load("train_large:96")
    offers = [
        {json.dumps(e.schema) for e in examples[i : i + generate.TOGETHER]} for i in range(0, 96, generate.TOGETHER)
    ]
    assert all(len(part) == 1 for part in offers) and len(set.union(*offers)) == 12
    counts = {len(e.schema["items"]["anyOf"]) - 1 for e in examples}
    assert max(counts) == 8 and len(counts) > 3
    assert "single" not in {e.tags["style"] for e in examples}


def test_nothing_of_test_stands_in_train() -> None:
    texts = {split: {normalised(e.text) for e in TASK.load(split) if e.target} for split in SPLITS}
    assert not (texts["train"] | texts["train_large"]) & texts["test"]


def sample(kind: str, gold: Any, output: Any) -> dict[str, Any]:
    return {
        "style": kind,
        "target": json.dumps(gold),
        "output": output if isinstance(output, str) else json.dumps(output),
    }


def call(name: str, **arguments: Any) -> dict[str, Any]:
    return {"name": name, "arguments": arguments}


def test_measures_by_hand() -> None:
    a, b = call("a", x=1, y="s"), call("b", z=[1, 2])
    ask = call(ASK, missing=["x"])
    samples = [
        sample("parallel", [a, b], [b, a]),  # another order: whole all the same
        sample("single", [a], [call("a", x=1, y="t")]),  # one of two parameters
        sample("none", [], []),
        sample("none", [], [a]),
        sample("missing", [ask], [ask]),
        sample("missing", [ask], "no list"),
        sample("recovered", [b], [b]),
        sample("corrected", [b], []),
    ]
    found = measures(samples)
    counts = {name: (figure["k"], figure["n"]) for name, figure in found.items()}
    assert counts["function_exact"] == (5, 8) and counts["call_exact"] == (4, 8)
    assert counts["abstention"] == (2, 4) and counts["called_right"] == (3, 4)
    assert counts["multi_turn"] == (1, 2) and counts["recovery"] == (1, 1)
    hits, predicted, gold = 4 + 1 + 0 + 0 + 1 + 0 + 2 + 0, 4 + 2 + 0 + 2 + 1 + 0 + 2 + 0, 4 + 2 + 0 + 0 + 1 + 1 + 2 + 2
    assert found["param_f1"]["k"] == hits
    assert found["param_f1"]["value"] == pytest.approx(2 * hits / (predicted + gold))
    assert "recovery" not in measures(samples[:3])
    assert measures([sample("x", {"name": "a"}, []), *samples]) == {}  # a file of another kind
    foreign = measures([sample("bfcl", [a], [a])])
    assert "bfcl" not in foreign and foreign["call_exact"]["k"] == 1  # whose functions are not ours


def test_bfcl_takes_what_is_nearly_so() -> None:
    for example in TASK.load("test"):
        assert by_bfcl(example.target, example.target), example.id
    gold = [call("set_temperature", room="Attic Room", temperature=21)]
    assert by_bfcl([call("set_temperature", room="attic-room", temperature=21)], gold)
    assert not by_bfcl([call("set_temperature", room="attic", temperature=21)], gold)
    assert not by_bfcl([call("set_temperature", room="Attic Room", temperature="21")], gold)
    assert not by_bfcl([], gold) and not by_bfcl(None, []) and by_bfcl([], [])
    assert not by_bfcl([call("nothing_of_ours", x=1)], gold)


def test_calls_are_told_from_what_is_none() -> None:
    for text in (
        "",
        "nothing",
        "{}",
        "[1]",
        '[{"name":"a"}]',
        '[{"name":1,"arguments":{}}]',
        '[{"name":"a","arguments":[]}]',
    ):
        assert calls_of(text) is None and outcome(calls_of(text)) == "unparseable"
    assert calls_of("Sure: [] there") == [] and outcome([]) == "nothing"
    twice = [call("a", x=1), call("a", x=2)]
    assert whole(twice[::-1], twice) and not whole([twice[0], twice[0]], twice) and not whole(None, [])
    assert parameter_counts(twice[:1], twice) == (1, 1, 2)
    assert parameter_counts([call("a")], [call("a", x={"y": 1})]) == (0, 0, 1)
