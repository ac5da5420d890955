"""A model in a program: plain values, typed ones, sources, threads and an event loop."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any, Literal

import pydantic
import pytest

from slmbench import Extractor
from slmbench.backends import native
from slmbench.core import BadInput, SlmbenchError

pytestmark = pytest.mark.skipif(native.compiled() is None, reason="no C compiler")
SCHEMA: dict[str, Any] = {
    "type": "object", "properties": {"kind": {"enum": ["order", "praise"]}}, "required": ["kind"],
    "additionalProperties": False,
}  # fmt: skip


class Mail(pydantic.BaseModel):
    kind: Literal["order", "praise"]
    urgent: bool


def test_a_run_is_called_with_a_text(wide_exports: Path) -> None:
    read = Extractor(wide_exports, SCHEMA)
    assert read("an order")["kind"] in ("order", "praise")
    told = read.explain("an order, or praise")
    assert told["json"] == read("an order, or praise") and told["values"][0]["from"] == "verbatim"
    assert list(read.many(["a", "b"])) == [read("a"), read("b")]


def test_a_pydantic_class_gives_its_own(wide_exports: Path) -> None:
    mail = Extractor(wide_exports / "export" / "int8", Mail)("an order")
    assert isinstance(mail, Mail) and isinstance(mail.urgent, bool)


def test_threads_and_an_event_loop_share_it(wide_exports: Path) -> None:
    read = Extractor(wide_exports, SCHEMA)
    texts = [f"letter {n}" for n in range(12)]
    expected = [read(text) for text in texts]

    async def all_of_them() -> list[Any]:
        return await asyncio.gather(*map(read.acall, texts))

    assert asyncio.run(all_of_them()) == expected
    found: dict[str, Any] = {}
    threads = [threading.Thread(target=lambda t=text: found.update({t: read(t)})) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[text] for text in texts] == expected


def test_what_cannot_be(wide_exports: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no exported model"):
        Extractor(tmp_path)
    with pytest.raises(BadInput, match="int: no Pydantic class"):
        Extractor(wide_exports, int)
    with pytest.raises(BadInput, match="nothing to extract"):
        Extractor(wide_exports, {"type": "object"})
    with pytest.raises(BadInput, match="no schema of its own, or several"):
        Extractor(wide_exports)
    with pytest.raises(SlmbenchError, match="that this model reads"):
        Extractor(wide_exports, SCHEMA)("word " * 5000)
