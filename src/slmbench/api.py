"""A model in a Python program: `from slmbench import Extractor`."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from slmbench.core import BadInput, SlmbenchError
from slmbench.documents import Document
from slmbench.exported import load_exported
from slmbench.extract import Asked, schema_of
from slmbench.extract import Extractor as Rows
from slmbench.schema import check_extractable

EXPORT = Path("export") / "int8"


class Extractor:
    """An exported model and a schema, called with a text.

    Args:
        model: the folder that `slmbench export` wrote, or that of a run that has been exported.
        schema: a JSON Schema, a file of one, or a Pydantic class, whose instances are then returned; without it the one
            that the model was trained on.
        constraint: `schema`, `grounded` (strings only say what stands in the text) or `free`.
        threads: of the processor; all by default.

    Raises BadInput for a folder that is no model, and a schema that is none. One text is answered at a time, from
    however many threads it is called.

    >>> read = Extractor("runs/rental")  # doctest: +SKIP
    >>> read("Two rooms in Leipzig, 640 euros.")  # doctest: +SKIP
    {'rooms': 2, 'city': 'Leipzig', 'rent': 640}
    """

    def __init__(
        self, model: str | Path, schema: Mapping[str, Any] | str | Path | type | None = None, *,
        constraint: str = "schema", threads: int | None = None,
    ) -> None:  # fmt: skip
        folder = Path(model)
        exported = load_exported(folder / EXPORT if (folder / EXPORT).is_dir() else folder)
        self._made: Any = schema if isinstance(schema, type) else None
        if isinstance(schema, type):
            if not hasattr(schema, "model_json_schema"):
                raise BadInput(f"{schema.__name__}: no Pydantic class; give one, or a JSON Schema.")
            found: Mapping[str, Any] = check_extractable(schema.model_json_schema(), schema.__name__)
        elif isinstance(schema, Mapping):
            found = check_extractable(dict(schema), "schema")
        else:
            found = schema_of(exported, None if schema is None else Path(schema))
        self._plain = Rows(exported, Asked(found, constraint, threads=threads))
        self._told = Rows(exported, Asked(found, constraint, explain=True, threads=threads), self._plain.backend)
        self._lock = threading.Lock()

    def __call__(self, text: str) -> Any:
        """The value of a text: plain JSON types, or an instance of the Pydantic class.

        Raises SlmbenchError where the text has no answer: it is too long for the model, or the answer was cut.
        """
        row = self._row(self._plain, text)
        return row["json"] if self._made is None else self._made.model_validate_json(json.dumps(row["json"]))

    def explain(self, text: str) -> dict[str, Any]:
        """{json, confidence, values} of a text: of every value its path, where it was read and how sure it is."""
        row = self._row(self._told, text)
        return {key: row[key] for key in ("json", "confidence", "values")}

    def many(self, texts: Iterable[str]) -> Iterator[Any]:
        """The values of texts, in their order, each as it is ready."""
        return (self(text) for text in texts)

    async def acall(self, text: str) -> Any:
        """The same without holding up an event loop."""
        return await asyncio.to_thread(self, text)

    def _row(self, rows: Rows, text: str) -> dict[str, Any]:
        with self._lock:
            (row,) = rows.rows([Document("text", text)])
        if "error" in row:
            raise SlmbenchError(row["error"])
        return row
