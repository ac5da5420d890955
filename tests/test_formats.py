"""Every format in from a small file and back through `read_examples`; every bad file refused with its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from slmbench.core import BadInput, Example
from slmbench.data import read_examples, schemas_folder
from slmbench.formats import FORMATS, Imported, import_file
from slmbench.schema import MAX_DEPTH, load_schemas, validate
from slmbench.synth.check import check_file

BANKING = Path(__file__).parents[2] / "shared" / "external" / "banking77_train.csv"


def csv_file(folder: Path, *lines: str, name: str = "bank.csv", header: str = "text,category") -> Path:
    path = folder / name
    path.write_bytes("".join(line + "\n" for line in (header, *lines)).encode())
    return path


def json_file(folder: Path, value: Any, name: str = "data_full.json") -> Path:
    path = folder / name
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
    return path


def snips(**intents: list[Any]) -> dict[str, Any]:
    keys = ("text", "entity", "slot_name")
    return {
        intent: [{"data": [dict(zip(keys, part, strict=False)) for part in parts]} for parts in rows]
        for intent, rows in intents.items()
    }


def read_back(path: Path, source: Path, out: Path) -> list[Example]:
    """The examples of a written file, each of which must fit its schema."""
    folder = schemas_folder(source, out)
    examples = read_examples(path, schemas=folder if folder.exists() else None)
    assert not [violation for example in examples for violation in validate(example.target, example.schema)]
    return examples


def refused(folder: Path, format: str, path: Path, match: str, answers: Path | None = None) -> None:
    """The import is a BadInput of one sentence that holds `match`, and leaves nothing behind."""
    with pytest.raises(BadInput) as caught:
        import_file(format, path, answers, folder / "out")
    assert match in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (folder / "out").exists()


def lost_at(imported: Imported) -> dict[str, str]:
    return {where.rpartition("/")[2]: reason for where, reason in imported.lost}


def test_every_format_has_a_line_for_the_help() -> None:
    assert list(FORMATS) == ["intents-csv", "clinc150", "snips", "bfcl"]
    assert all(kind.description and "\n" not in kind.description for kind in FORMATS.values())


def test_intents_csv(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "Where is my card?,card_arrival", '"Hm, again\nand again",top_up', "Ünïcode “…”,top_up")
    written, imported = import_file("intents-csv", path, None, tmp_path / "out")
    assert written == [tmp_path / "out" / "bank.jsonl"]
    assert imported.lost == []
    assert imported.splits[""][0] == {
        "id": "bank-000001",
        "schema_id": "bank",
        "complexity": "simple",
        "style": "utterance",
        "text": "Where is my card?",
        "target": '{"intent":"card_arrival"}',
    }
    hints = {"prompt": "intent", "grounded": False}
    assert imported.schemas["bank"] == {
        "type": "object",
        "properties": {"intent": {"enum": ["card_arrival", "top_up"], "x-slmbench": hints}},
        "required": ["intent"],
        "additionalProperties": False,
    }
    examples = read_back(written[0], path, tmp_path / "out")
    assert [example.text for example in examples] == ["Where is my card?", "Hm, again\nand again", "Ünïcode “…”"]
    assert [example.id for example in examples] == ["bank-000001", "bank-000002", "bank-000003"]
    assert examples[1].target == {"intent": "top_up"}
    assert load_schemas(schemas_folder(path, tmp_path / "out")) == imported.schemas


@pytest.mark.parametrize("header", ["intent,id,text", "Label,id, Utterance ", "category,id,query", "label,id,SENTENCE"])
def test_intents_csv_takes_other_names_of_columns(tmp_path: Path, header: str) -> None:
    path = csv_file(tmp_path, "hello,7,Good day", header="\ufeff" + header)
    _, imported = import_file("intents-csv", path, None, tmp_path / "out")
    (row,) = imported.splits[""]
    assert (row["text"], row["target"]) == ("Good day", '{"intent":"hello"}')


def test_intents_csv_with_windows_line_ends_and_separators_in_a_text(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "one\u2028two,a\r", " three \x85 four,b\r", header="text,label\r")
    _, imported = import_file("intents-csv", path, None, tmp_path / "out")
    assert [row["text"] for row in imported.splits[""]] == ["one\u2028two", "three \x85 four"]
    assert imported.schemas["bank"]["properties"]["intent"]["enum"] == ["a", "b"]


def test_intents_csv_says_what_is_lost(tmp_path: Path) -> None:
    lines = ["My card,a", " ,a", "Yes,", "MY  card!,a", "", "my card.,b", "???,a", "!,b", "No,b"]
    path = csv_file(tmp_path, *lines)
    written, imported = import_file("intents-csv", path, None, tmp_path / "out")
    lost = lost_at(imported)
    assert list(lost) == ["bank.csv:3", "bank.csv:4", "bank.csv:5", "bank.csv:7"]
    assert lost["bank.csv:3"] == "the text is empty"
    assert lost["bank.csv:4"] == "the label is empty"
    assert "the same label" in lost["bank.csv:5"]
    assert lost["bank.csv:5"].endswith("bank.csv:2")
    assert lost["bank.csv:7"].startswith("labelled 'b', while the same text is 'a' at")
    assert [(e.id, e.text) for e in read_back(written[0], path, tmp_path / "out")] == [
        ("bank-000001", "My card"),
        ("bank-000006", "???"),
        ("bank-000007", "!"),
        ("bank-000008", "No"),
    ]


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "bank.csv: the file is empty"),
        (b"text,category\n", "bank.csv: nothing in it could be turned (it holds no rows)"),
        (b"text,category\n,a\n,b\n", "all 2 were lost, the first at"),
        (b"words,category\na,b\n", "bank.csv:1: the header ('words', 'category') has no column text or utterance"),
        (b"text;category\na;b\n", "bank.csv:1: the header ('text;category') has no column text or"),
        (b"text,kind\na,b\n", "bank.csv:1: the header ('text', 'kind') has no column category or intent or label"),
        (b"text,category\nyes, please,b\n", "bank.csv:2: 3 cells under 2 columns"),
        (b'text,category\na,b\n"c,d\ne,f\n', "bank.csv:3: this is not CSV"),
        (b'text,category\n"a"b,c\n', "bank.csv:2: this is not CSV"),
        (b"text,category\n" + b"a" * 140_000 + b",c\n", "bank.csv:2: this is not CSV (field larger than"),
        (b"text,category\na,b\nd\xe9j\xe0,c\n", "bank.csv:3: byte 1 of the line (0xe9"),
    ],
)
def test_intents_csv_refuses(tmp_path: Path, content: bytes, match: str) -> None:
    path = tmp_path / "bank.csv"
    path.write_bytes(content)
    refused(tmp_path, "intents-csv", path, match)


def test_clinc150(tmp_path: Path) -> None:
    path = json_file(
        tmp_path,
        {
            "oos_val": [["what is the moon", "oos"]],
            "val": [["send money", "transfer"]],
            "train": [["pay bob", "transfer"], ["Hi there", "greeting"], ["hi, there", "greeting"], ["Play!", "music"]],
            "oos_test": [["who won", "oos"]],
            "test": [["play", "sound"]],
            "oos_train": [["what day", "oos"], ["", "oos"]],
        },
    )
    written, imported = import_file("clinc150", path, None, tmp_path / "out")
    assert [place.name for place in written] == [f"data_full.{split}.jsonl" for split in ("train", "val", "test")]
    train, val, test = (read_back(place, path, tmp_path / "out") for place in written)
    assert [(e.id, e.text, e.target["intent"]) for e in train] == [
        ("data_full.train-000001", "pay bob", "transfer"),
        ("data_full.train-000002", "Hi there", "greeting"),
        ("data_full.train-000005", "what day", "out_of_scope"),
    ]
    assert [e.target["intent"] for e in val] == ["transfer", "out_of_scope"]
    assert [e.target["intent"] for e in test] == ["sound", "out_of_scope"]
    enum = ["greeting", "out_of_scope", "sound", "transfer"]
    assert imported.schemas["data_full"]["properties"]["intent"]["enum"] == enum
    assert {e.schema_id for e in train + val + test} == {"data_full"}
    lost = lost_at(imported)
    assert "the same label" in lost["data_full.json: train[2]"]
    # A training text that is tested on gives way, wherever it stands in the file.
    assert lost["data_full.json: train[3]"].endswith("data_full.json: test[0]")
    assert lost["data_full.json: oos_train[1]"] == "the text is empty"


def test_clinc150_says_what_is_lost(tmp_path: Path) -> None:
    path = json_file(tmp_path, {"train": [["a", "b"], ["a"], "ab", [1, "b"], {"a": "b"}], "domains": {"x": ["b"]}})
    written, imported = import_file("clinc150", path, None, tmp_path / "out")
    assert len(read_back(written[0], path, tmp_path / "out")) == 1
    assert list(lost_at(imported)) == ["data_full.json: domains"] + [f"data_full.json: train[{i}]" for i in range(1, 5)]


def test_snips(tmp_path: Path) -> None:
    rows: list[Any] = [
        [("add ",), ("Clem Burke", "artist"), (" to ",), ("my", "playlist_owner"), (" list ",), (" Rock ", "playlist")],
        [("put it on ",), ("Jazz", "playlist")],
        [("add something",)],
    ]
    path = json_file(tmp_path, snips(AddToPlaylist=rows), "train_AddToPlaylist_full.json")
    written, imported = import_file("snips", path, None, tmp_path / "out")
    assert (imported.lost, [place.name for place in written]) == ([], ["train_AddToPlaylist_full.jsonl"])
    first, second, third = read_back(written[0], path, tmp_path / "out")
    assert (first.id, first.schema_id) == ("train_AddToPlaylist_full-000001", "AddToPlaylist")
    assert first.text == "add Clem Burke to my list  Rock"
    assert imported.splits[""][0]["target"] == '{"artist":"Clem Burke","playlist_owner":"my","playlist":"Rock"}'
    assert (second.text, second.target) == ("put it on Jazz", {"playlist": "Jazz"})
    assert (third.text, third.target) == ("add something", {})
    assert first.tags == {"complexity": "simple", "style": "utterance"}
    schema = imported.schemas["AddToPlaylist"]
    assert schema["properties"] == {key: {"type": "string"} for key in ("artist", "playlist_owner", "playlist")}
    assert (schema["required"], schema["additionalProperties"]) == ([], False)


def test_snips_makes_lists_of_slots_that_are_repeated_somewhere(tmp_path: Path) -> None:
    two = [("from ",), ("Rome", "city", "stop"), (" by ",), ("train", "means"), (" via ",), ("Pisa", "city", "stop")]
    document = snips(Travel=[two, [("to ",), ("Bonn", "city", "stop")]], Stay=[[("in ",), ("Bonn", "city", "stop")]])
    path = json_file(tmp_path, document, "train.json")
    written, imported = import_file("snips", path, None, tmp_path / "out")
    examples = read_back(written[0], path, tmp_path / "out")
    assert [example.target for example in examples] == [
        {"stop": ["Rome", "Pisa"], "means": "train"},
        {"stop": ["Bonn"]},
        {"stop": "Bonn"},
    ]
    assert imported.schemas["Travel"]["properties"]["stop"] == {"type": "array", "items": {"type": "string"}}
    assert imported.schemas["Stay"]["required"] == ["stop"]
    assert [example.id for example in examples] == ["train-000001", "train-000002", "train-000003"]


def test_snips_says_what_is_lost(tmp_path: Path) -> None:
    document = snips(A=[[("x ",), (" ", "slot")], [(" ",)], [("fine",)]])
    document["A"] += [{"data": "text"}, "text", {"data": [{"entity": "slot"}]}, {"data": [{"text": "a", "entity": 3}]}]
    document["../B"] = []
    path = json_file(tmp_path, document, "train.json")
    written, imported = import_file("snips", path, None, tmp_path / "out")
    assert [example.text for example in read_back(written[0], path, tmp_path / "out")] == ["fine"]
    assert list(imported.schemas) == ["A"]
    assert [reason for _, reason in imported.lost] == [
        "the slot 'slot' is empty",
        "the text is empty",
        "'data' is not a list of parts",
        "'data' is not a list of parts",
        "a part has no text",
        "the slot 3 is not a name",
    ]
    assert imported.lost[0][0] == f"{path}: A[0]"


@pytest.mark.parametrize("intent", ["../../evil", "/tmp/evil", "a\\b", "..", "", "a\x00b", "ä" * 101])
def test_snips_refuses_intents_that_name_no_file(tmp_path: Path, intent: str) -> None:
    path = json_file(tmp_path, snips(**{intent: [[("text",)]]}), "train.json")
    refused(tmp_path, "snips", path, "name a file")


@pytest.mark.parametrize("format", ["clinc150", "snips"])
@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b" \n", "data.json: the file is empty"),
        (b'{"train":\n [["a", "b"],\n]}', "data.json:3: this is not JSON (Expecting value"),
        (b'{"train": []}\n{"train": []}\n', "data.json:1: this is not JSON (text after the JSON value"),
        (b'{"train": [], "train": []}', "data.json: this is not JSON (duplicate key 'train')"),
        (b'{"train": [[NaN, "a"]]}', "data.json: this is not JSON (NaN"),
        (b'{"train": [["\\ud800", "a"]]}', "data.json: this is not JSON (a lone surrogate"),
        (b"[" * 100_000, f"data.json: this is not JSON (more than {MAX_DEPTH} levels)"),
        (b'{"train":\n "\xff"}', "data.json:2: byte 2 of the line (0xff"),
        (b"[1]", "data.json:1: this is not a JSON object"),
        (b'{"train": {"a": "b"}}', "data.json: 'train' is not a list"),
        (b'{"train": [7]}', "data.json: nothing in it could be turned (all 1 were lost, the first at"),
        (b"{}", "data.json: nothing in it could be turned (it holds no rows)"),
    ],
)
def test_json_formats_refuse(tmp_path: Path, format: str, content: bytes, match: str) -> None:
    path = tmp_path / "data.json"
    path.write_bytes(content)
    refused(tmp_path, format, path, match)


def bfcl_files(folder: Path, name: str = "simple.json") -> tuple[Path, Path]:
    parameters = {"type": "dict", "properties": {"base": {"type": "integer"}}, "required": ["base"]}
    functions: list[Any] = [{"name": "area", "description": "An area.", "parameters": parameters}]
    questions, answers = folder / name, folder / "answers.json"
    with questions.open("w") as asked, answers.open("w") as answered:
        for i, accepted in enumerate(([10], ["ten"])):
            question = [[{"role": "user", "content": f"The area of base {accepted[0]}?"}]]
            asked.write(json.dumps({"id": f"simple_{i}", "question": question, "function": functions}) + "\n")
            answered.write(json.dumps({"id": f"simple_{i}", "ground_truth": [{"area": {"base": accepted}}]}) + "\n")
    return questions, answers


def test_bfcl(tmp_path: Path) -> None:
    questions, answers = bfcl_files(tmp_path)
    written, imported = import_file("bfcl", questions, answers, tmp_path / "out")
    assert [place.name for place in (tmp_path / "out").iterdir()] == ["simple.jsonl"]
    (example,) = read_back(written[0], questions, tmp_path / "out")
    assert (example.id, example.text) == ("simple_0", "The area of base 10?")
    assert example.target == [{"name": "area", "arguments": {"base": 10}}]
    ((where, reason),) = imported.lost
    assert (where, imported.schemas) == ("simple_1", {})
    assert "breaks the schema" in reason


def test_bfcl_asks_for_the_answers_and_the_others_for_none(tmp_path: Path) -> None:
    questions, answers = bfcl_files(tmp_path)
    refused(tmp_path, "bfcl", questions, "give it as --answers FILE")
    refused(tmp_path, "bfcl", questions, "missing.json: there is no such file", tmp_path / "missing.json")
    for format in set(FORMATS) - {"bfcl"}:
        refused(tmp_path, format, questions, "leave out --answers", answers)


def test_the_file_itself_is_never_written_over(tmp_path: Path) -> None:
    questions, answers = bfcl_files(tmp_path, "simple.jsonl")
    before = questions.read_bytes()
    with pytest.raises(BadInput, match=r"simple\.jsonl: the rows would be written over the file they come from"):
        import_file("bfcl", questions, answers, tmp_path / "elsewhere" / "..")
    assert questions.read_bytes() == before


def test_an_unknown_format_names_the_nearest(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "a,b")
    refused(tmp_path, "clinc", path, "did you mean 'clinc150'? take one of intents-csv, clinc150, snips, bfcl")
    refused(tmp_path, "xyz", path, "format xyz: there is no such format: take one of")


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    refused(tmp_path, "snips", tmp_path, "this is a directory")
    refused(tmp_path, "intents-csv", tmp_path / "no.csv", "no.csv: there is no such file")


def test_importing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "a,b", "c,d")
    (first,), _ = import_file("intents-csv", path, None, tmp_path / "out")
    before = first.read_bytes()
    (second,), _ = import_file("intents-csv", path, None, tmp_path / "out")
    assert (second, second.read_bytes()) == (first, before)


@pytest.mark.skipif(not BANKING.exists(), reason="the external data are not here")
def test_banking77(tmp_path: Path) -> None:
    written, imported = import_file("intents-csv", BANKING, None, tmp_path)
    examples = read_examples(written[0], schemas=schemas_folder(BANKING, tmp_path))
    assert len(examples) + len(imported.lost) == 10_003
    assert len(imported.schemas["banking77_train"]["properties"]["intent"]["enum"]) == 77
    assert {example.target["intent"] for example in examples} == set(examples[0].schema["properties"]["intent"]["enum"])
    assert all("same text" in reason for _, reason in imported.lost)


def test_imported_intents_pass_the_gate(tmp_path: Path) -> None:
    """A label is chosen: it need not stand in the text."""
    source = csv_file(tmp_path, "where is my card,card_arrival", "no cash came out,cash_withdrawal")
    ((path,), _) = import_file("intents-csv", source, None, tmp_path / "out")
    assert check_file(path, schemas=schemas_folder(source, tmp_path / "out")).counts() == {}
