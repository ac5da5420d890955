"""EdgeFuncCall: which functions a request asks for, and with which arguments, as JSON; none, where none fits.

100 functions in 12 domains, written by hand like the requests; those of `test` by other hands than those of `train`,
and with other values. An answer is a list of calls, in the order in which they are asked for: `[]` where no function
fits or nothing is wanted any more; a call of `ask_user` where a required argument is missing. The `style` of a case
says what is hard about it (`generate.KINDS`). `train` and `test` are frozen; `train_large` is made when it is asked
for, out of templates and values of its own (`train_large.json`), and `train_large:N` has N cases.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slmbench.calls import calls_schema
from slmbench.core import Example
from slmbench.tasks import LARGE, JsonTask

if TYPE_CHECKING:
    from slmbench.metrics import Figure

_HERE = Path(__file__).parent
ASK = "ask_user"
_NAME = {"type": "string", "x-slmbench": {"grounded": False}}
_ASK: dict[str, Any] = {
    "name": ASK,
    "description": "Ask for required arguments that the user has not given",
    "parameters": {
        "type": "object",
        "properties": {"missing": {"type": "array", "items": _NAME, "minItems": 1, "maxItems": 8}},
        "required": ["missing"],
        "additionalProperties": False,
    },
}
_HINTS = frozenset({"values", "said", "multipleOf"})
"""What a parameter holds beside its JSON Schema."""


class EdgeFuncCall(JsonTask):
    """The benchmark as a `Task`."""

    name = "edge_func_call"
    names = ("train", "test", LARGE)
    made = frozenset({LARGE})

    def load(self, split: str) -> list[Example]:
        """The examples of a split, `train_large:N` for N cases. Raises BadInput for a split there is none of."""
        if split.partition(":")[0] == LARGE:
            from slmbench.tasks.edge_func_call.generate import build

            return [_example(row, LARGE) for row in build(LARGE, self.rows(split))]
        self.check(split)
        lines = (_HERE / "data" / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
        return [_example(json.loads(line), split) for line in lines]

    def measures(self, samples: Sequence[Mapping[str, Any]]) -> dict[str, Figure]:
        """FunctionExact, ParamF1, whole calls, abstention, and the turns that need memory."""
        from slmbench.tasks.edge_func_call.measures import measures

        return measures(samples)


@functools.cache
def functions() -> dict[str, dict[str, Any]]:
    """Name -> the function with its hints and templates, as it stands in `functions.json`."""
    listed: list[dict[str, Any]] = json.loads((_HERE / "functions.json").read_text(encoding="utf-8"))
    return {function["name"]: function for function in listed}


def tool(name: str) -> dict[str, Any]:
    """{name, description, parameters} as a model is offered it: JSON Schema alone."""
    if name == ASK:
        return _ASK
    function = functions()[name]
    parameters = _object(function["parameters"], function["required"])
    return {"name": name, "description": function["description"], "parameters": parameters}


def _object(parameters: Mapping[str, Any], required: Sequence[str]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {name: _plain(schema) for name, schema in parameters.items()},
        "required": list(required),
        "additionalProperties": False,
    }


def _plain(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A parameter without the hints of the generator. A `time` is a clock's here, without an offset: a pattern."""
    if schema.get("type") == "object":
        described = {"description": schema["description"]} if "description" in schema else {}
        return {**_object(schema["properties"], schema.get("required", ())), **described}
    kept = {key: value for key, value in schema.items() if key not in _HINTS}
    if kept.get("format") == "time":
        kept = {**{key: value for key, value in kept.items() if key != "format"}, "pattern": r"^\d\d:\d\d$"}
    return kept


def _example(row: Mapping[str, Any], split: str) -> Example:
    schema = _schema((*row["tools"], ASK))
    offered = len(row["tools"])
    tags = {
        "complexity": "simple" if offered == 1 else "medium" if offered < 5 else "complex",
        "style": row["style"],
        "split": split,
    }
    return Example(row["id"], row["text"], "tools", schema, row["target"], tags)


@functools.lru_cache(maxsize=4096)
def _schema(tools: tuple[str, ...]) -> dict[str, Any]:
    return {**calls_schema(tool(name) for name in tools), "maxItems": 8}


TASK = EdgeFuncCall()
