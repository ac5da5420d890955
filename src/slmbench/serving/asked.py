"""Bodies of requests -> what is wanted. Everything that a client can get wrong is said here, in one sentence."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, Field, StrictBool, StrictInt, StrictStr, ValidationError

from slmbench.calls import calls_schema
from slmbench.schema import strict_loads
from slmbench.serving.limits import Limits, Refused
from slmbench.serving.schemas import checked, inlined, parts_of, too_large

Constraint = Literal["schema", "grounded", "free"]
_Body = TypeVar("_Body", bound=BaseModel)


class _Part(BaseModel):
    type: StrictStr
    text: StrictStr = ""


class _Message(BaseModel):
    role: StrictStr
    content: StrictStr | list[_Part] | None = None


class _Function(BaseModel):
    name: StrictStr = Field(min_length=1, max_length=128)
    description: StrictStr | None = None
    parameters: dict[str, Any] | None = None


class _Tool(BaseModel):
    type: Literal["function"]
    function: _Function


class _Named(BaseModel):
    name: StrictStr


class _Choice(BaseModel):
    type: Literal["function"]
    function: _Named


class _JsonSchema(BaseModel):
    schema_: dict[str, Any] | None = Field(None, alias="schema")


class _Format(BaseModel):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: _JsonSchema | None = None


class _Options(BaseModel):
    include_usage: StrictBool = False


class _Common(BaseModel):
    model: StrictStr | None = None
    max_tokens: StrictInt | None = None
    n: StrictInt | None = None
    stream: StrictBool | None = None
    stream_options: _Options | None = None
    constraint: Constraint | None = None


class _Chat(_Common):
    messages: list[_Message] = Field(min_length=1)
    max_completion_tokens: StrictInt | None = None
    response_format: _Format | None = None
    tools: list[_Tool] | None = Field(None, max_length=128)
    tool_choice: Literal["none", "auto", "required"] | _Choice | None = None
    parallel_tool_calls: StrictBool | None = None
    logprobs: StrictBool | None = None
    stop: StrictStr | list[StrictStr] | None = None


class _Completion(_Common):
    prompt: StrictStr | list[StrictStr]
    schema_: dict[str, Any] | None = Field(None, alias="schema")
    logprobs: StrictInt | None = None
    echo: StrictBool | None = None
    stop: StrictStr | list[StrictStr] | None = None


class _Extract(BaseModel):
    text: StrictStr
    id: StrictStr = Field("text", max_length=200)
    schema_: dict[str, Any] | None = Field(None, alias="schema")
    explain: StrictBool = False
    constraint: Constraint = "schema"
    max_tokens: StrictInt | None = None


@dataclass(frozen=True)
class Wanted:
    """One answer that is asked for."""

    text: str
    schema: Mapping[str, Any] | None
    """None only where a raw prompt is answered freely."""
    max_tokens: int
    constraint: Constraint = "schema"
    raw: bool = False
    """`text` is a prompt, not a document."""
    row: bool = False
    """The answer is one of `slmbench extract`'s rows."""
    id: str = "text"
    explain: bool = False
    calls: bool = False
    stream: bool = False
    usage: bool = False
    foreign: bool = False
    """The schema is the client's own."""


@dataclass(frozen=True)
class Served:
    """What a server is asked of: the model's name, and the one schema that it was trained on, if it was one."""

    name: str
    schema: Mapping[str, Any] | None
    limits: Limits

    def _own(self, how: str) -> Mapping[str, Any]:
        if self.schema is None:
            raise Refused(400, f"This model was trained under several schemas; give one as {how}.", "no_schema")
        return self.schema

    def chat(self, body: bytes) -> Wanted:
        """Of /v1/chat/completions: the last user message is the document. Raises Refused."""
        asked = _read(body, _Chat)
        self._common(asked)
        if asked.logprobs:
            raise Refused(400, "logprobs: not given here; ask /v1/extract with explain for confidences.", "unsupported")
        _no_stop(asked.stop)
        schema, foreign = self._chat_schema(asked)
        calls = bool(asked.tools) and asked.tool_choice != "none"
        return Wanted(
            _document(asked.messages), schema, self._tokens(asked.max_completion_tokens or asked.max_tokens),
            asked.constraint or "schema", calls=calls, stream=bool(asked.stream),
            usage=bool(asked.stream_options and asked.stream_options.include_usage), foreign=foreign,
        )  # fmt: skip

    def completion(self, body: bytes) -> Wanted:
        """Of /v1/completions: the prompt as it is. Raises Refused."""
        asked = _read(body, _Completion)
        self._common(asked)
        if asked.logprobs is not None or asked.echo:
            raise Refused(400, "logprobs and echo are not given here; leave them out.", "unsupported")
        _no_stop(asked.stop)
        prompt = asked.prompt if isinstance(asked.prompt, str) else asked.prompt[0] if len(asked.prompt) == 1 else None
        if not prompt:
            raise Refused(400, "prompt: give one text that is not empty.", "bad_prompt")
        schema = None if asked.schema_ is None else checked(asked.schema_, "schema", self.limits)
        return Wanted(
            prompt, schema, self._tokens(asked.max_tokens), asked.constraint or "schema", raw=True,
            stream=bool(asked.stream), usage=bool(asked.stream_options and asked.stream_options.include_usage),
            foreign=True,
        )  # fmt: skip

    def extract(self, body: bytes) -> Wanted:
        """Of /v1/extract. Raises Refused."""
        asked = _read(body, _Extract)
        foreign = asked.schema_ is not None
        schema = checked(asked.schema_, "schema", self.limits) if foreign else self._own("schema")
        return Wanted(
            _text(asked.text, "text"), schema, self._tokens(asked.max_tokens), asked.constraint, row=True, id=asked.id,
            explain=asked.explain, foreign=foreign,
        )  # fmt: skip

    def _common(self, asked: _Common) -> None:
        if asked.model is not None and asked.model != self.name:
            raise Refused(404, f"model: this server has {self.name} and no other; ask for that.", "model_not_found")
        if asked.n not in (None, 1):
            raise Refused(400, "n: a document has one answer here; leave n out.", "unsupported")

    def _tokens(self, asked: int | None) -> int:
        most = self.limits.answer_tokens
        if asked is None:
            return most
        if not 1 <= asked <= most:
            raise Refused(400, f"max_tokens: {asked} is not within 1 to {most}.", "bad_max_tokens")
        return asked

    def _chat_schema(self, asked: _Chat) -> tuple[Mapping[str, Any], bool]:
        """(the schema of the answer, whether it is the client's)."""
        if asked.tools and asked.tool_choice != "none":
            return self._calls(asked), True
        shape = asked.response_format
        if shape is None or shape.type != "json_schema":
            return self._own("response_format, or tools"), False
        if shape.json_schema is None or shape.json_schema.schema_ is None:
            raise Refused(400, "response_format: json_schema.schema is missing; give a JSON Schema there.", "no_schema")
        return checked(shape.json_schema.schema_, "response_format.json_schema.schema", self.limits), True

    def _calls(self, asked: _Chat) -> dict[str, Any]:
        """The schema of calls of the tools that may be called."""
        functions = [tool.function for tool in asked.tools or []]
        one = isinstance(asked.tool_choice, _Choice) or asked.parallel_tool_calls is False
        if isinstance(asked.tool_choice, _Choice):
            name = asked.tool_choice.function.name
            functions = [function for function in functions if function.name == name]
            if not functions:
                raise Refused(400, "tool_choice: names a function that is not among the tools.", "bad_tools")
        if len({function.name for function in functions}) < len(functions):
            raise Refused(400, "tools: two functions have one name; give each its own.", "bad_tools")
        tools = []
        parts = 0
        for i, function in enumerate(functions):
            given, where = function.parameters or {"type": "object", "properties": {}}, f"tools.{i}.function.parameters"
            parts += parts_of(given, where, self.limits)
            if parts > self.limits.schema_parts:  # each alone may have as many, and they are written out below
                said = f"with their references followed they have over {self.limits.schema_parts:,} parts together"
                raise too_large("tools", said)
            whole = checked(given, where, self.limits, empty=True)
            tools.append(
                {"name": function.name, "description": function.description, "parameters": inlined(whole, whole)}
            )
        schema = calls_schema(tools)
        if asked.tool_choice not in (None, "auto"):
            schema["minItems"] = 1
        if one:
            schema["maxItems"] = 1
        return checked(schema, "tools", self.limits)


def _no_stop(stop: Any) -> None:
    if stop:
        raise Refused(400, "stop: an answer ends where its JSON does; leave stop out.", "unsupported")


def _document(messages: list[_Message]) -> str:
    """The text of the last user message."""
    users = [message for message in messages if message.role == "user"]
    if not users:
        raise Refused(400, "messages: none of them is the user's; the last of these is the document.", "no_document")
    content = users[-1].content
    if isinstance(content, list):
        if any(part.type not in ("text", "input_text") for part in content):
            raise Refused(400, "messages: only parts of type text are read; turn others into text.", "unsupported")
        content = "\n".join(part.text for part in content)
    if not content:
        raise Refused(400, "messages: the last user message is empty; it is the document.", "no_document")
    return _text(content, "messages")


def _text(text: str, where: str) -> str:
    """A document's text. Raises Refused for what `extract` reads no file of either: a PDF, other bytes, nothing."""
    if text.startswith("%PDF") or "\0" in text:
        what = "a PDF" if text.startswith("%PDF") else "something with null characters"
        raise Refused(400, f"{where}: this is {what}, not text; turn it into text first.", "not_text")
    if not text.strip():
        raise Refused(400, f"{where}: the document is empty; give one with text.", "no_document")
    return text


def _read(body: bytes, shape: type[_Body]) -> _Body:
    """A body in its shape. What is said of it holds keys and kinds, never the client's values."""
    try:
        value = strict_loads(body.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise Refused(400, f"The body is not UTF-8, at byte {error.start}; send JSON in UTF-8.", "bad_json") from None
    except json.JSONDecodeError as error:
        said = f"The body is not JSON: {error.msg} at character {error.pos}."
        raise Refused(400, said, "bad_json") from None
    except ValueError as error:
        raise Refused(400, f"The body is not JSON as it should be: {error}."[:300], "bad_json") from None
    if not isinstance(value, dict):
        raise Refused(400, "The body must be a JSON object.", "bad_json")
    try:
        return shape.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(str(step) for step in first["loc"])[:200]
        raise Refused(400, f"{place}: {first['msg']}.", "bad_request") from None
