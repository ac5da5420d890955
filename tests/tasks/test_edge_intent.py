"""EdgeIntent: whole, even, without a leak; every gold valid and decodable; measures by hand."""

from __future__ import annotations

import json
import random
from collections import Counter
from typing import Any

import pytest

from slmbench.core import BadInput
from slmbench.data import normalised
from slmbench.decode.grammar import Grammars, Vocabulary
from slmbench.schema import canonical, validate
from slmbench.tasks.edge_intent import DESCRIBED, FEW, MISTYPED, NONE, OFFERED, TASK, domain_of, intents, utterances
from slmbench.tasks.edge_intent.measures import INVALID, confusion, measures, pairs
from slmbench.tasks.edge_intent.picture import picture
from slmbench.tasks.edge_intent.slips import mistyped
from slmbench.template import prompt_text

STYLES = {"plain", "polite", "terse", "long", "typo", "dictation"}


def test_every_intent_has_its_share_in_every_style() -> None:
    assert len(intents()) == 60 and len(intents("unseen")) == 10 and not intents().keys() & intents("unseen").keys()
    assert len(set(domain_of().values())) == 8
    for split, each, none in (("train", 20, 120), ("test", 10, 100), ("few", FEW, FEW), ("unseen", 10, 0)):
        examples = TASK.load(split)
        counts = Counter(e.target["intent"] for e in examples)
        names = intents("unseen" if split == "unseen" else "")
        assert counts == Counter({name: each for name in names} | ({NONE: none} if none else {}))
        if split != "few":
            for name in names:
                assert {e.tags["style"] for e in examples if e.target["intent"] == name} == STYLES
    assert [e.target["intent"] for e in TASK.load("train_oos")] == [NONE] * 968
    large = Counter(e.target["intent"] for e in TASK.load("train_large"))
    assert large.keys() == {*intents(), NONE} and min(large.values()) >= 107 and large[NONE] == 353
    with pytest.raises(BadInput, match="no split 'dev': take one of train, train_large, train_oos, mistyped, few"):
        TASK.load("dev")


def test_no_text_stands_twice() -> None:
    written = ("train", "train_large", "train_oos", "test", "unseen")
    texts = [normalised(e.text) for split in written for e in TASK.load(split)]
    assert len(texts) == len(set(texts)) == 10031


def test_train_and_test_share_few_words_and_fewer_turns() -> None:
    """Not one template with the noun exchanged: no test text is near any of train."""
    train = [set(normalised(e.text).split()) for split in ("train", "train_large") for e in TASK.load(split)]
    near = 0
    for example in TASK.load("test"):
        words = set(normalised(example.text).split())
        near += any(len(words & other) > 0.6 * len(words | other) for other in train)
    assert near <= 10


def test_what_is_mistyped_keeps_its_intent() -> None:
    known = {
        normalised(row["text"]): row["intent"]
        for split in ("train", "train_large", "train_oos")
        for row in utterances(split)
    }
    found = TASK.load("mistyped")
    assert len(found) == MISTYPED and found == TASK.load("mistyped")
    assert len({e.id for e in found}) == MISTYPED and {e.tags["style"] for e in found} == {"typo"}
    changed = [e for e in found if normalised(e.text) not in known]
    assert len(changed) > 0.7 * MISTYPED
    assert all(known[normalised(e.text)] == e.target["intent"] for e in found if e not in changed)
    chance = random.Random(3)
    assert all(mistyped(text, chance) for text in ("I", "3.50, please!", "Zürich 8:30", "a b c"))
    assert "3.50" in mistyped("3.50, please!", chance)


def test_few_and_described_are_of_train() -> None:
    train = {e.text: e.target["intent"] for e in TASK.load("train")}
    few = TASK.load("few")
    assert all(train[e.text] == e.target["intent"] for e in few)
    assert [e.id for e in few] == [e.id for e in TASK.load("few")]
    described = TASK.load("described")
    known = {e.text: e.target["intent"] for split in ("train", "train_large") for e in TASK.load(split)}
    assert len({e.text for e in described}) == len(described) == DESCRIBED and described == TASK.load("described")
    away = renamed = 0
    for example in described:
        branches = example.schema["properties"]["intent"]["oneOf"]
        offered = {branch["const"]: branch["description"] for branch in branches}
        assert branches[-1]["const"] == NONE and OFFERED[0] <= len(branches) - 1 <= OFFERED[1]
        assert len(offered) == len(branches) == len(set(offered.values()))
        own, said = known[example.text], offered[example.target["intent"]]
        assert said == (intents()[own] if own != NONE and intents()[own] in offered.values() else "None of these")
        away += own != NONE and said == "None of these"
        renamed += not offered.keys() <= {*intents(), NONE}
    assert 0.08 < away / len(described) < 0.16 and 0.6 < renamed / len(described) < 0.8
    schemas = [json.dumps(e.schema) for e in described]
    assert len(described) / 6 < len(set(schemas)) < len(described) / 4


def test_golds_are_valid_and_their_grammar_lets_them_pass(tiny_folder: Any) -> None:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(tiny_folder / "tokenizer.json"))
    grammars = Grammars(Vocabulary(tiny_folder / "tokenizer.json", tokenizer.get_vocab_size(), [2]))
    for split in TASK.splits():
        for example in TASK.load(split)[::7]:
            assert validate(example.target, example.schema) == []
            text = canonical(example.target, example.schema)
            matcher = grammars.of(example.schema).start()
            ids = tokenizer.encode(text, add_special_tokens=False).ids
            assert matcher.try_consume_tokens(ids) == len(ids) and matcher.is_accepting(), text


def test_a_prompt_names_the_list_and_spells_out_descriptions() -> None:
    example = TASK.load("test")[0]
    assert 'Schema: {"intent":intent}\n' in prompt_text("x", example.schema, "schema")
    example = TASK.load("unseen")[0]
    said = prompt_text("x", example.schema, "schema")
    assert '"sprinkler_run" (Water the garden or lawn)|' in said and f'|"{NONE}" (None of these)}}' in said


def sample(gold: str, output: str) -> dict[str, Any]:
    return {"target": f'{{"intent":"{gold}"}}', "output": output}


def test_measures_by_hand() -> None:
    samples = [
        sample("a", '{"intent":"a"}'), sample("a", '{"intent":"b"}'), sample("b", 'Well: {"intent":"b"} it is'),
        sample(NONE, f'{{"intent":"{NONE}"}}'), sample(NONE, '{"intent":"zzz"}'), sample("b", f'{{"intent":"{NONE}"}}'),
        sample("b", "no JSON"), sample("b", '{"intent":["b"]}'),
    ]  # fmt: skip
    assert [said for _, said in pairs(samples)][-3:] == [NONE, INVALID, INVALID]
    found = measures(samples)
    a, b, none = 2 / 3, 2 / 6, 2 / 4
    assert found["macro_f1"]["value"] == pytest.approx((a + b + none) / 3)
    assert found["macro_f1"]["low"] <= found["macro_f1"]["value"] <= found["macro_f1"]["high"]
    assert (found["oos_recall"]["k"], found["oos_recall"]["n"]) == (1, 2)
    assert (found["oos_precision"]["k"], found["oos_precision"]["n"]) == (1, 2)
    assert (found["invalid_label"]["k"], found["invalid_label"]["n"]) == (3, 8)
    assert confusion(samples)[0] == ("b", INVALID, 2)
    assert measures([{"target": '{"name":"x"}', "output": "{}"}, *samples]) == {}  # a file of another kind
    assert picture([{"target": "[]", "output": "{}"}]) == "" and "matrix of 1 labels" in picture(samples[:1])
    assert measures(samples[:1])["macro_f1"]["value"] == 1 and "oos_recall" not in measures(samples[:1])
