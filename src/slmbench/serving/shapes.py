"""Answers in OpenAI's shapes: whole, or as the chunks of a stream."""

from __future__ import annotations

import json
import secrets
import time
from typing import Any

from slmbench.calls import calls_of
from slmbench.serving.answers import Answered
from slmbench.serving.asked import Wanted
from slmbench.serving.limits import Refused

DONE = b"data: [DONE]\n\n"


def event(value: Any) -> bytes:
    """One server-sent event."""
    return b"data: " + json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace") + b"\n\n"


class Shape:
    """The answer to one request, under one id."""

    def __init__(self, model: str, wanted: Wanted) -> None:
        self.wanted, self.chat = wanted, not wanted.raw
        self.head = {
            "id": ("chatcmpl-" if self.chat else "cmpl-") + secrets.token_hex(12),
            "object": "chat.completion" if self.chat else "text_completion",
            "created": int(time.time()),
            "model": model,
        }

    def whole(self, answered: Answered) -> dict[str, Any]:
        """The body of an answer that is not streamed. Raises Refused where it broke off."""
        if self.chat:
            message, finish = self._message(answered)
            choice = {"index": 0, "message": {"role": "assistant", **message}, "logprobs": None}
        else:
            choice, finish = {"index": 0, "text": answered.text, "logprobs": None}, _finish(answered)
        choice["finish_reason"] = finish
        return {**self.head, "choices": [choice], "usage": answered.usage, "timings": answered.timings}

    def begin(self) -> bytes:
        """What a stream begins with."""
        return self._chunk({"role": "assistant", "content": None if self.wanted.calls else ""}) if self.chat else b""

    def piece(self, text: str) -> bytes:
        """A piece of the text; nothing where it holds calls, which are told at the end."""
        if self.wanted.calls:
            return b""
        return self._chunk({"content": text}) if self.chat else self._chunk(text)

    def end(self, answered: Answered) -> bytes:
        """What a stream ends with. Raises Refused where the answer broke off."""
        finish, parts = _finish(answered), b""
        if self.wanted.calls:
            message, finish = self._message(answered)
            calls = [{"index": i, **call} for i, call in enumerate(message.get("tool_calls", []))]
            parts = self._chunk({"tool_calls": calls} if calls else {"content": message["content"]})
        parts += self._chunk({} if self.chat else "", finish)
        if self.wanted.usage:
            parts += event({**self._chunk_head(), "choices": [], "usage": answered.usage})
        return parts + DONE

    def _chunk_head(self) -> dict[str, Any]:
        return {**self.head, "object": "chat.completion.chunk" if self.chat else "text_completion"}

    def _chunk(self, what: Any, finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta" if self.chat else "text": what, "logprobs": None, "finish_reason": finish}
        return event({**self._chunk_head(), "choices": [choice]})

    def _message(self, answered: Answered) -> tuple[dict[str, Any], str]:
        """(what the assistant says, why it ended)."""
        finish = _finish(answered)
        calls = calls_of(answered.text) if self.wanted.calls and finish == "stop" else None
        if not calls:
            return {"content": "" if calls == [] else answered.text}, finish
        made = [
            {
                "id": f"call_{secrets.token_hex(12)}",
                "type": "function",
                "function": {"name": call["name"], "arguments": json.dumps(call["arguments"], ensure_ascii=False)},
            }
            for call in calls
        ]
        return {"content": None, "tool_calls": made}, "tool_calls"


def _finish(answered: Answered) -> str:
    if answered.finish == "error":
        raise Refused(500, "The answer broke off: nothing legal could follow it.", "answer_broke_off")
    return answered.finish


def row(answered: Answered) -> dict[str, Any]:
    """The body of /v1/extract. Raises Refused where there is no value."""
    found = dict(answered.row or {})
    if "error" in found:
        said = str(found["error"])
        raise Refused(422, said[0].upper() + said[1:], "no_answer", extra={"output": found.get("output")})
    return {**found, "usage": answered.usage, "timings": answered.timings}
