"""Short ways to write schemas."""

from __future__ import annotations

from typing import Any

TEXT, NUMBER, WHOLE, YES_NO = ({"type": kind} for kind in ("string", "number", "integer", "boolean"))
DATE, MOMENT, MAIL = ({"type": "string", "format": name} for name in ("date", "date-time", "email"))


def obj(required: list[str] | None = None, **properties: Any) -> dict[str, Any]:
    """An object; all its properties are required unless said which are."""
    return {
        "type": "object", "properties": properties, "required": list(properties) if required is None else required,
        "additionalProperties": False,
    }  # fmt: skip


def items(item: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "array", "items": item, **more}


def one_of(*options: str) -> dict[str, Any]:
    return {"type": "string", "enum": list(options)}
