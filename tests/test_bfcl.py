"""BFCL's documents as JSON Schema, its files as rows, and its checker's rules: each of them right and wrong once."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from slmbench.bfcl.check import check
from slmbench.bfcl.rows import documented, documents_of, find_tool, first_value, json_schema, read_bfcl
from slmbench.calls import tools_of
from slmbench.core import BadInput
from slmbench.schema import canonical, strict_loads, validate

EXTERNAL = Path(__file__).parents[2] / "shared" / "external"
FILES = ("simple_python", "multiple")
# Faults of the data: `fuel_efficiency` is required, and may be left out by its accepted values, the first of which is
# "" - so that the first accepted answer is wrong by the schema and by BFCL's own checker.
NOT_TURNED: dict[str, list[str]] = {"simple_python": ["simple_python_200"], "multiple": []}
# Required by the document, and left out by the answer; what else is accepted for it is right.
REQUIRED_AND_OPTIONAL: dict[str, set[tuple[str, str]]] = {
    "simple_python": {("simple_python_17", "formatted")},
    "multiple": set(),
}
external = pytest.mark.skipif(not (EXTERNAL / "bfcl_multiple.jsonl").exists(), reason="BFCL's files are not here")


def tool(name: str = "f", required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    parameters = {"type": "dict", "properties": properties, "required": list(required)}
    return {"name": name, "description": f"Does {name}.", "parameters": parameters}


def call(name: str = "f", **arguments: Any) -> dict[str, Any]:
    return {"name": name, "arguments": arguments}


# ---- json_schema and calls_schema


@pytest.mark.parametrize(
    ("language", "doc", "schema"),
    [
        ("python", {"type": "dict"}, {"type": "object"}),
        ("python", {"type": "dict", "properties": {}}, {"type": "object", "properties": {}}),
        ("python", {"type": "float", "default": 0.5}, {"type": "number", "default": 0.5}),
        ("python", {"type": "integer", "optional": True}, {"type": "integer"}),
        ("python", {"type": "any", "description": "What?"}, {"description": "What?"}),
        ("python", {"description": "No type."}, {"description": "No type."}),
        ("python", {"type": "tuple", "items": {"type": "float"}}, {"type": "array", "items": {"type": "number"}}),
        (
            "python",
            {"type": "tuple", "items": [{"type": "string"}, {"type": "any"}]},
            {"type": "array", "prefixItems": [{"type": "string"}, {}]},
        ),
        ("python", {"type": ["string", "null"]}, {"type": ["string", "null"]}),
        ("python", {"type": ["float", "number"]}, {"type": ["number"]}),
        ("python", {"items": {"type": "string"}}, {"type": "array", "items": {"type": "string"}}),
        ("python", {"type": "string", "enum": ["a", "b"]}, {"type": "string", "enum": ["a", "b"]}),
        (
            "python",
            {"type": "array", "items": {"type": "string"}, "enum": ["a"]},
            {"type": "array", "items": {"type": "string", "enum": ["a"]}},
        ),
        ("python", {"type": "array", "enum": [["a"], []]}, {"type": "array", "enum": [["a"], []]}),
        ("python", {"type": "integer", "maximum": 4}, {"type": "integer", "maximum": 4}),
        (
            "python",
            {"type": "dict", "additionalProperties": {"type": "float"}},
            {"type": "object", "additionalProperties": {"type": "number"}},
        ),
        (
            "python",
            {"type": "dict", "properties": {"b": {"type": "bool"}, "a": {"type": "any"}}, "required": ["a", "a"]},
            {
                "type": "object",
                "properties": {"b": {"type": "boolean"}, "a": {}},
                "additionalProperties": False,
                "required": ["a"],
            },
        ),
        ("java", {"type": "HashMap"}, {"type": "object"}),
        ("java", {"type": "ArrayList", "items": {"type": "String"}}, {"type": "array", "items": {"type": "string"}}),
        ("java", {"type": "long"}, {"type": "integer"}),
        ("java", {"type": "double"}, {"type": "number"}),
        ("javascript", {"type": "Bigint"}, {"type": "integer"}),
        ("javascript", {"type": "Boolean"}, {"type": "boolean"}),
    ],
)
def test_types_and_keywords_turned(language: str, doc: dict[str, Any], schema: dict[str, Any]) -> None:
    found = json_schema({"type": "dict", "properties": {"x": doc}, "required": ["x"]}, language)
    assert found == {"type": "object", "properties": {"x": schema}, "additionalProperties": False, "required": ["x"]}


def test_the_order_of_properties_is_kept_and_no_parameters_means_no_arguments() -> None:
    assert list(json_schema({"type": "dict", "properties": {k: {} for k in "cab"}})["properties"]) == ["c", "a", "b"]
    for doc in ({"type": "dict"}, {"type": "dict", "properties": {}, "required": []}):
        assert validate({"x": 1}, json_schema(doc)) and not validate({}, json_schema(doc))


@pytest.mark.parametrize(
    ("doc", "reason"),
    [
        ({"type": "HashMap"}, "properties/x: the type 'HashMap' is none of string, "),
        ({"type": 3}, "the type 3 is none of"),
        ({"type": "string", "$ref": "#"}, "the keyword '\\$ref' is none"),
        ({"type": "dict", "properties": {"y": {"oddity": 1}}}, "x/properties/y: the keyword 'oddity'"),
        ({"type": "dict", "properties": ["y"]}, "'properties' is not an object"),
        ({"type": "string", "properties": {"y": {}}}, "'properties' stands beside the type 'string'"),
        ({"type": "dict", "items": {"type": "string"}}, "'items' stands beside the type 'dict'"),
        ({"type": "dict", "properties": {"y": {}}, "required": ["z"]}, "'z' is required and no property"),
        ({"type": "string", "required": True}, "'required' is True, not a list"),
        ({"type": "integer", "enum": ["one", "two"]}, "no value of the enum is of the type 'integer'"),
        ({"type": "integer", "minimum": "three"}, "parameters/properties/x/minimum: 'three' is not of type 'number'"),
        ("string", "properties/x: 'string' is not an object"),
    ],
)
def test_what_json_schema_cannot_express(doc: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        json_schema({"type": "dict", "properties": {"x": doc}})


def test_parameters_are_an_object_in_a_language_that_is_known() -> None:
    with pytest.raises(ValueError, match="the type is 'array', arguments are an object"):
        json_schema({"type": "array", "items": {"type": "string"}})
    with pytest.raises(ValueError, match="the language 'cobol' is none of python, java, javascript"):
        json_schema({"type": "dict"}, "cobol")
    with pytest.raises(ValueError, match="there is no function to call"):
        documented([])
    with pytest.raises(ValueError, match=r"a\.b: parameters/properties/x: the type 'odd'"):
        documented([tool("a.b", x={"type": "odd"})])


def test_calls_to_several_tools() -> None:
    tools = [tool("a.b", ("x",), x={"type": "integer"}), tool("c", y={"type": "float"})]
    schema = documented(tools)
    first = {
        "type": "object",
        "description": "Does a.b.",
        "properties": {
            "name": {"const": "a.b"},
            "arguments": {
                "type": "object",
                "properties": {"x": {"type": "integer"}},
                "required": ["x"],
                "additionalProperties": False,
            },
        },
        "required": ["name", "arguments"],
        "additionalProperties": False,
    }
    assert schema["type"] == "array" and list(schema["items"]) == ["anyOf"] and schema["items"]["anyOf"][0] == first
    assert not validate([call("a.b", x=1), call("c")], schema)
    for wrong in ([call("a.b")], [call("a_b", x=1)], [call("c", x=1)], [{"name": "c"}], call("c")):
        assert validate(wrong, schema)
    assert [made["name"] for made in tools_of(schema)] == ["a.b", "c"]


# ---- check

INTEGER, FLOAT, STRING, BOOLEAN = ({"type": name} for name in ("integer", "float", "string", "boolean"))
STRINGS, FLOATS = ({"type": "array", "items": {"type": name}} for name in ("string", "float"))
DICT, DICTS = {"type": "dict"}, {"type": "array", "items": {"type": "dict"}}
LISTS = {"type": "array", "items": {"type": "array", "items": {"type": "string"}}}


@pytest.mark.parametrize(
    ("doc", "accepted", "right", "wrong"),
    [
        (INTEGER, [5, 6], [5, 6], [7, 5.0, "5", True, None, [5]]),
        (INTEGER, [1], [1], [True, 1.0]),
        (INTEGER, ["n"], ["n"], ["N", "m", 1]),
        (FLOAT, [5.0], [5, 5.0], ["5.0", 5.5, True]),
        (FLOAT, [5], [5, 5.0], [6]),
        (BOOLEAN, [True], [True], [False, 1, "true"]),
        (
            STRING,
            ["New York, NY", "it's"],
            ["new york ny", "NEW_YORK-NY.", "new/york*ny^", 'IT"S'],
            ["New York", "New\tYork, NY", "its", "new york; ny", 5, ["New York, NY"]],
        ),
        (STRING, ["1.5"], ["1.5", "15"], [1.5]),
        (STRING, [15], [15], ["15"]),
        (STRING, ["a", ""], ["A", "", " - "], ["b"]),
        (STRINGS, [["a b", "c"]], [["AB", "c."]], [["c", "ab"], ["ab"], ["ab", "c", "c"], [], "ab", ["ab", 1]]),
        (STRINGS, [["a"], ""], [["a"], []], [["b"]]),
        (FLOATS, [[1.5, 2.0]], [[1.5, 2.0]], [[1.5, 2], ["1.5", "2.0"]]),
        (FLOATS, [[1, 2]], [[1, 2], [1.0, 2.0], [1, 2.0]], [[True, 2]]),
        ({**STRINGS, "type": "tuple"}, [["a"]], [["A"]], [["b"], "a"]),
        (LISTS, [[["a"], ["b"]]], [[["a"], ["b"]]], [[["A"], ["b"]], [["a", "b"]], ["a", "b"]]),
        (
            DICT,
            [{"k": ["V w", "x"], "n": [1, ""]}],
            [{"k": "vw", "n": 1}, {"k": "X"}, {"n": 1.0, "k": "x"}],
            [{"n": 1}, {"k": "y"}, {"k": "x", "n": 2}, {"k": "x", "m": 1}, {"k": ["x"]}, {}, [], "k"],
        ),
        (DICT, [{"k": [{"a": "b"}]}], [{"k": {"a": "b"}}], [{"k": {"a": "B"}}, {"k": {}}]),
        (DICT, ["config", ""], ["config"], ["Config", {}, {"k": 1}]),
        (
            DICTS,
            [[{"k": ["a"]}, {"k": ["b"], "l": ["", 1]}]],
            [[{"k": "A"}, {"k": "b"}], [{"k": "a"}, {"k": "b", "l": 1}]],
            [[{"k": "b"}, {"k": "a"}], [{"k": "a"}], [], [{"k": "a"}, "b"], {"k": "a"}],
        ),
        ({"type": "any"}, ["a"], ["A"], ["b", 1]),
        ({"type": "any"}, [[1, 2]], [[1, 2], [1.0, 2]], [[2, 1], "12"]),
        ({}, [5], [5], ["5"]),
        (STRING, [None], [None], ["None"]),
    ],
)
def test_values(doc: dict[str, Any], accepted: list[Any], right: list[Any], wrong: list[Any]) -> None:
    tools, answers = [tool("f", ("x",), x=doc)], [{"f": {"x": accepted}}]
    schema_tools = tools_of(documented(tools))
    for value in right:
        assert check([call(x=value)], tools, answers) == check([call(x=value)], schema_tools, answers) == [], value
    for value in wrong:
        reasons = check([call(x=value)], tools, answers)
        assert len(reasons) == 1 and reasons[0].startswith("f: 'x' is "), value
        assert check([call(x=value)], schema_tools, answers) == reasons


def test_arguments_that_are_missing_or_unknown() -> None:
    tools = [tool("f", ("a",), a=INTEGER, b=INTEGER, c=INTEGER, d=INTEGER)]
    answers = [{"f": {"a": [1], "b": [2], "c": ["", 3]}}]
    assert check([call(b=2, a=1)], tools, answers) == check([call(a=1, b=2, c=3)], tools, answers) == []
    assert check([call(b=2)], tools, answers) == ["f: 'a' is required and missing"]
    assert check([call(a=1)], tools, answers) == ["f: 'b' is missing and may not be left out"]
    assert check([call(a=1, b=2, d=4)], tools, answers) == ["f: 'd' is not an argument that was expected"]
    assert check([call(a=1, b=2, e=4)], tools, answers) == ["f: 'e' is not an argument that was expected"]
    assert len(check([call(a=2, c=4)], tools, answers)) == 3
    # Required by the document wins over left out by the answer.
    assert check([call()], [tool("f", ("a",), a=INTEGER)], [{"f": {"a": ["", 1]}}])


def test_calls_that_are_none() -> None:
    tools, answers = [tool("f", x=INTEGER)], [{"f": {"x": [1]}}]
    for calls in (None, "f", 3, {}, call(x=1)):
        assert check(calls, tools, answers) == ["the answer is not a list of calls"]
    assert check([], tools, answers) == ["0 calls instead of 1"]
    assert check([call(x=1)] * 2, tools, answers) == ["2 calls instead of 1"]
    assert check([call(x=1)], tools, answers * 2) == ["1 call instead of 2"]
    assert check([call("g", x=1)], tools, answers) == ["the function 'g' is called instead of 'f'"]
    strangers: list[Any] = [None, "f", [], {}, {"name": ["f"]}, {"name": "F", "arguments": {}}, {"arguments": {"x": 1}}]
    for broken in strangers:
        assert "is called instead of 'f'" in check([broken], tools, answers)[0]
    for arguments in (None, [1], "x", {"name": "f"}):
        assert check([{"name": "f", "arguments": arguments}], tools, answers)
    assert check([{"name": "f"}], tools, answers) == ["f: the arguments are not an object"]
    assert check([], tools, []) == []
    assert check([call("h")], tools, [{"h": {}}]) == ["h: no such function is documented"]


def test_parallel_calls_match_in_any_order_and_each_once() -> None:
    tools = [tool("f", ("x",), x=INTEGER), tool("g", ("y",), y=STRING)]
    answers: list[dict[str, Any]] = [{"f": {"x": [1]}}, {"g": {"y": ["a"]}}, {"f": {"x": [1, 2]}}]
    one, two, other = call(x=1), call(x=2), call("g", y="A")
    for right in ([one, other, two], [two, other, one], [other, one, one]):
        assert check(right, tools, answers) == []
    assert check([two, two, other], tools, answers) == ["f: 'x' is 2, not one of [1]"] * 2
    assert check([one, other, other], tools, answers) == ["the function 'g' is called instead of 'f'"]
    # Greedy, as BFCL: the first answer takes the call that only the second could have spared.
    assert check([one, two], tools, [{"f": {"x": [1, 2]}}, {"f": {"x": [1]}}]) == ["f: 'x' is 2, not one of [1]"]
    assert check([two, one], tools, [{"f": {"x": [1, 2]}}, {"f": {"x": [1]}}]) == []


def test_languages_and_broken_answers() -> None:
    java = [tool("f", x={"type": "HashMap"}, y={"type": "ArrayList", "items": {"type": "long"}})]
    answers = [{"f": {"x": [{"k": ["v"]}], "y": [[1]]}}]
    assert check([call(x={"k": "V"}, y=[1])], java, answers, "java") == []
    assert check([call(x={"k": "w"}, y=["1"])], java, answers, "java")
    with pytest.raises(ValueError, match="the type 'HashMap' is none of"):
        check([call(x={}, y=[])], java, answers)
    with pytest.raises(ValueError, match="the language 'c' is none of"):
        check([call(x={}, y=[])], java, answers, "c")
    with pytest.raises(ValueError, match="not a list of calls"):
        check([], java, ["f(x=1)"])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="no list of accepted values"):
        check([], java, [{"f": {"x": 1}}])


# ---- read_bfcl


def question(number: int = 0, **changes: Any) -> dict[str, Any]:
    row = {
        "id": f"simple_python_{number}",
        "question": [[{"role": "user", "content": "Do it with 1."}]],
        "function": [tool("f", ("x",), x=INTEGER, y=STRING, z=DICT)],
    }
    return {key: value for key, value in {**row, **changes}.items() if value is not ...}


def answer(number: int = 0, **arguments: Any) -> dict[str, Any]:
    return {"id": f"simple_python_{number}", "ground_truth": [{"f": arguments or {"x": [1]}}]}


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def read(tmp_path: Path, questions: list[Any], answers: list[Any]) -> tuple[list[dict[str, Any]], list[Any]]:
    return read_bfcl(write(tmp_path / "q.jsonl", questions), write(tmp_path / "a.jsonl", answers))


def test_a_row(tmp_path: Path) -> None:
    accepted: dict[str, Any] = {"z": [{"b": ["B", "b"], "a": ["", 1], "l": [[1, 2]]}, ""], "y": ["", "no"], "x": [2, 1]}
    rows, lost = read(tmp_path, [question()], [answer(**accepted)])
    assert not lost
    assert rows == [
        {
            "id": "simple_python_0",
            "schema_id": "simple_python_0",
            "complexity": "unlabelled",
            "style": "bfcl",
            "text": "Do it with 1.",
            "schema": documented(question()["function"]),
            "target": '[{"name":"f","arguments":{"x":2,"z":{"b":"B","l":[1,2]}}}]',
            "answers": [{"f": accepted}],
        }
    ]


def test_objects_in_lists_and_other_lists(tmp_path: Path) -> None:
    function = [tool("f", d=DICTS, s=STRINGS, a={"type": "any"})]
    accepted: dict[str, Any] = {
        "a": [{"k": ["v"]}],
        "s": [["p", "q"], ["q"]],
        "d": [[{"k": ["v", "w"], "o": ["", 1]}, {"k": ["x"]}]],
    }
    rows, lost = read(tmp_path, [question(function=function)], [answer(**accepted)])
    made: dict[str, Any] = {"d": [{"k": "v"}, {"k": "x"}], "s": ["p", "q"], "a": {"k": ["v"]}}
    assert not lost and json.loads(rows[0]["target"]) == [call(**made)]
    assert check([call(**made)], function, rows[0]["answers"]) == []


def test_the_words_of_several_turns_and_the_language_of_the_id(tmp_path: Path) -> None:
    turns = [[{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "What?"}], ["It."]]
    turns[1] = [{"role": "user", "content": "It."}]
    system = [[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Go."}]]
    function = [tool("f", x={"type": "HashMap"})]
    rows, lost = read(
        tmp_path,
        [question(0, question=turns), question(1, question=system), question(id="simple_java_1", function=function)],
        [answer(0), answer(1), {"id": "simple_java_1", "ground_truth": [{"f": {"x": [{"k": ["v"]}]}}]}, answer(9)],
    )
    assert not lost
    assert [row["text"] for row in rows] == [
        "User: Hi.\nAssistant: What?\nUser: It.",
        "System: Be brief.\nUser: Go.",
        "Do it with 1.",
    ]
    assert rows[2]["target"] == '[{"name":"f","arguments":{"x":{"k":"v"}}}]'


@pytest.mark.parametrize(
    ("asked", "answered", "reason"),
    [
        ({"function": []}, answer(), "there is no function to call"),
        ({"function": {"name": "f"}}, answer(), "'function' is not a list of function documents"),
        ({"function": [tool("f", x={"type": "Long"})]}, answer(), "f: parameters/properties/x: the type 'Long'"),
        ({"function": [{"parameters": {}}]}, answer(), "a function has no name"),
        ({"question": "Do it."}, answer(), "'question' is not a list of turns"),
        ({"question": [[{"role": "user"}]]}, answer(), "'question' is not a list of turns"),
        ({}, answer(x=["", 1]), "the first accepted answer breaks the schema: f: the top: 'x' is a required property"),
        ({}, answer(x=["1"]), "breaks the schema: f: x: '1' is not of type 'integer'"),
        ({}, answer(x=[1], w=[1]), "breaks the schema: f: the top: Additional properties are not allowed"),
        ({}, answer(x=1), "the answers give no list of accepted values for each argument of 'f'"),
        ({}, {**answer(), "ground_truth": [{"g": {}}]}, "breaks the schema: there is no function 'g'"),
        ({}, {**answer(), "ground_truth": [["f(x=1)"]]}, "the answers are not a list of calls"),
        ({}, {**answer(), "ground_truth": "f(x=1)"}, "the answers are not a list of calls"),
    ],
)
def test_rows_that_cannot_be_turned(tmp_path: Path, asked: Any, answered: Any, reason: str) -> None:
    rows, lost = read(tmp_path, [question(**asked), question(1)], [answered, answer(1)])
    assert [row["id"] for row in rows] == ["simple_python_1"]
    assert [name for name, _ in lost] == ["simple_python_0"] and reason in lost[0][1]


@pytest.mark.parametrize(
    ("questions", "answers", "sentence"),
    [
        ([question(), question()], [answer()], "q.jsonl:2: the id 'simple_python_0' stands on an earlier line"),
        ([question()], [answer(), answer()], "a.jsonl:2: the id 'simple_python_0' has answers already"),
        ([question(1)], [answer()], "q.jsonl:1: .*a.jsonl has no answers for 'simple_python_1'"),
        ([question(function=...)], [answer()], "q.jsonl:1: the field 'function' is missing"),
        ([question()], [{"id": "x"}], "a.jsonl:1: the field 'ground_truth' is missing"),
        ([question(id=3)], [answer()], "q.jsonl:1: 'id' is 3, not a string"),
        ([[1]], [answer()], "q.jsonl:1: this line is not a JSON object"),
        ([question()], [], "a.jsonl: the file is empty"),
    ],
)
def test_broken_files(tmp_path: Path, questions: list[Any], answers: list[Any], sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        read(tmp_path, questions, answers)


def test_files_that_are_missing_or_not_json(tmp_path: Path) -> None:
    questions, answers = write(tmp_path / "q.jsonl", [question()]), write(tmp_path / "a.jsonl", [answer()])
    with pytest.raises(BadInput, match=r"none\.jsonl: there is no such file"):
        read_bfcl(tmp_path / "none.jsonl", answers)
    with pytest.raises(BadInput, match=r"none\.jsonl: there is no such file"):
        read_bfcl(questions, tmp_path / "none.jsonl")
    with pytest.raises(BadInput, match="this is a directory"):
        read_bfcl(tmp_path, answers)
    for content, sentence in ((b'{"id": \n', "q.jsonl:2: this line is not JSON"), (b'\n"\xff"\n', "q.jsonl:3: byte 1")):
        questions.write_bytes(b"\n" + content)
        with pytest.raises(BadInput, match=sentence):
            read_bfcl(questions, answers)


# ---- BFCL's own files


def documents(name: str) -> dict[str, list[dict[str, Any]]]:
    lines = (EXTERNAL / f"bfcl_{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return {row["id"]: row["function"] for row in map(json.loads, lines)}


def wrongs(calls: list[dict[str, Any]], answers: list[dict[str, Any]]) -> dict[str, Any]:
    """Changes after which the only call of `calls` must be wrong."""
    made: dict[str, Any] = {"no call": [], "two calls": calls * 2, "not a list": calls[0]}
    made["unknown argument"] = [{**calls[0], "arguments": {**calls[0]["arguments"], "no such thing": 1}}]
    made["other function"] = [{**calls[0], "name": calls[0]["name"] + "."}]
    ((_, accepted),) = answers[0].items()
    for key in calls[0]["arguments"]:
        for label, value in (("null", None), ("other string", "no such value"), ("boxed", [["no such value"]])):
            made[f"{key}: {label}"] = changed = copy.deepcopy(calls)
            changed[0]["arguments"][key] = value
        if "" not in accepted[key]:
            made[f"{key}: dropped"] = changed = copy.deepcopy(calls)
            del changed[0]["arguments"][key]
        made[f"{key}: renamed"] = changed = copy.deepcopy(calls)
        changed[0]["arguments"][key + "_"] = changed[0]["arguments"].pop(key)
    return made


@external
@pytest.mark.parametrize("name", FILES)
def test_gold_is_right_and_mutated_gold_is_wrong(name: str) -> None:
    rows, lost = read_bfcl(EXTERNAL / f"bfcl_{name}.jsonl", EXTERNAL / f"bfcl_{name}_answers.jsonl")
    tools = documents(name)
    assert [row_id for row_id, _ in lost] == NOT_TURNED[name]
    assert len(rows) + len(lost) == len(tools) == {"simple_python": 400, "multiple": 200}[name]
    for row in rows:
        calls = strict_loads(row["target"])
        assert canonical(calls, row["schema"]) == row["target"] and not validate(calls, row["schema"])
        assert check(calls, tools[row["id"]], row["answers"]) == [], row["id"]
        assert check(calls, tools_of(row["schema"]), row["answers"]) == [], row["id"]
        for label, wrong in wrongs(calls, row["answers"]).items():
            assert check(wrong, tools[row["id"]], row["answers"]), (row["id"], label)


@external
@pytest.mark.parametrize("name", FILES)
def test_every_accepted_value_is_right_in_its_place(name: str) -> None:
    rows, _ = read_bfcl(EXTERNAL / f"bfcl_{name}.jsonl", EXTERNAL / f"bfcl_{name}_answers.jsonl")
    tools = documents(name)
    contradictions: set[tuple[str, str]] = set()
    for row in rows:
        calls = strict_loads(row["target"])
        ((_, accepted),) = row["answers"][0].items()
        docs = documents_of(find_tool(tools[row["id"]], calls[0]["name"]))
        for key, values in accepted.items():
            for value in values:
                changed = copy.deepcopy(calls)
                changed[0]["arguments"].pop(key, None)
                if value != "":
                    changed[0]["arguments"][key] = first_value([value], docs[key], "python")
                reasons = check(changed, tools[row["id"]], row["answers"])
                if value == "" and reasons == [f"{calls[0]['name']}: {key!r} is required and missing"]:
                    contradictions.add((row["id"], key))
                else:
                    assert reasons == [], (row["id"], key, value)
    assert contradictions == REQUIRED_AND_OPTIONAL[name]
