"""What a server allows itself to be asked, and how it says no."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Limits:
    """Bounds of what one client, and all of them together, may take."""

    body_bytes: int = 1_000_000
    body_seconds: float = 10.0
    """From a request's first line to its body's end."""
    request_seconds: float = 120.0
    """From a body's end to the answer's, waiting included."""
    schema_bytes: int = 65_536
    schema_depth: int = 64
    """Levels of JSON, its references followed."""
    schema_parts: int = 20_000
    """Values of JSON, its references followed: a schema of a page may stand for one of a thousand. A text counts one
    more for every 100 characters. Those of all tools of a request are counted together."""
    pattern_chars: int = 1_000
    """Of one regular expression in a schema."""
    answer_tokens: int = 1024
    waiting: int = 32
    """Requests that wait for a worker."""
    connections: int = 256
    """Requests of which anything is held, those whose bodies are being read among them."""


@dataclass(eq=False)
class Refused(Exception):
    """Why a request is not answered: a status of HTTP, one sentence, a word for programs."""

    status: int
    message: str
    code: str
    headers: dict[str, str] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        """OpenAI's shape of an error."""
        return {"error": {"message": self.message, "type": _kind(self.status), "param": None, "code": self.code}} | (
            self.extra
        )


def _kind(status: int) -> str:
    if status == 401:
        return "authentication_error"
    if status == 429:
        return "rate_limit_error"
    return "invalid_request_error" if status < 500 else "server_error"


FAILED = Refused(500, "Something failed in the server; its log says where.", "internal_error")
"""All that a client is told of a bug."""
