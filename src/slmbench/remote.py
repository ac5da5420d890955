"""A model on a server: what `extract` and `bench` need of it, as `exported` has it for a folder on this machine."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from slmbench.core import KEY, MOST_TOKENS, Backend, BadInput, Example, Model, Request
from slmbench.exported import check_count, check_text, load_exported
from slmbench.template import instruction_text, target_text

KIND = "openai"
"""What --backend begins with: the name of the module that asks."""


@dataclass(frozen=True)
class Remote:
    """A model by the name that a server has for it.

    Args:
        url: the server's address up to and with `/v1`, without credentials.
        name: the model's.
        task: what `bench` scores its answers by; None where nothing is scored.
    """

    url: str
    name: str
    task: str | None = None

    @property
    def manifest(self) -> dict[str, Any]:
        """Its name and task: a server says nothing of schemas and confidence."""
        return {"name": self.name, **({} if self.task is None else {"task": self.task})}

    @property
    def where(self) -> str:
        """What is said of it begins with this: name and address."""
        return f"{self.name} at {self.url}"

    @property
    def identity(self) -> dict[str, str]:
        """Server and name; what the server runs under that name, it alone knows."""
        return {"server": self.url, "model": self.name}

    def gold_tokens(self, example: Example) -> int:
        """Bytes of the right answer and its end: no tokenizer makes more tokens of it."""
        return len(target_text(example).encode()) + 1

    def request(self, example: Example, budget: int, constraint: str = "schema", likelihoods: bool = False) -> Request:
        """What the server is asked for a document; its answer may take `budget` tokens, or the most that one may.

        Raises BadInput where the text has half a character.
        """
        check_text(example.text)
        schema = None if constraint == "free" else example.schema
        return Request(
            example.id, (), min(budget, MOST_TOKENS), schema, example.text, grounded=constraint == "grounded",
            likelihoods=likelihoods, instruction=instruction_text(example.schema),
        )  # fmt: skip

    def backend(self, threads: int | None = None, draft_tokens: int | None = None, batch: int = 1) -> Backend:
        """What asks the server, `batch` documents at a time.

        Raises BadInput for what only a model on this machine has, for a key that is refused and a model that is not
        there; SlmbenchError where the server does not answer, or the client is not installed.
        """
        for flag, value in (("--threads", threads), ("--draft-tokens", draft_tokens)):
            if value is not None:
                raise BadInput(f"{flag}: how a server works is its own business; leave it away.")
        check_count("--batch", batch)
        key = checked_key(os.environ.get(KEY, ""))
        from slmbench.backends.openai import Server

        return Server(self.url, self.name, key, batch)


def open_model(name: str, backend: str | None = None, *, task: str | None = None, constraint: str = "schema") -> Model:
    """The exported folder `name`, or with `--backend openai:URL` the server's model of that name.

    Raises BadInput where there is none, and for settings that do not go together.
    """
    if backend is None:
        if task is not None:
            raise BadInput(f"--task {task}: an exported model knows its own; leave it away.")
        return load_exported(Path(name))
    kind, _, url = backend.partition(":")
    if kind != KIND:
        raise BadInput("--backend: give openai:URL, as openai:http://127.0.0.1:8077/v1.")
    if constraint == "grounded":
        raise BadInput("--constraint grounded: no server knows it; take schema or free, or an exported model.")
    return Remote(checked_url(url), name, task)


def checked_url(url: str) -> str:
    """The address that requests go to, `/v1` added where it has no path.

    Raises BadInput, which never repeats it: it may hold a password.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise BadInput("--backend: this is no URL; give openai:URL, as openai:http://127.0.0.1:8077/v1.") from None
    host = parts.hostname or ""
    if parts.scheme not in ("http", "https") or not re.fullmatch(r"[a-z0-9_.:-]+", host):
        raise BadInput("--backend: give the server's address as openai:http://HOST:PORT/v1 or openai:https://HOST/v1.")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise BadInput(f"--backend: an address without user, password, ? and #; set {KEY} for a key.")
    shown = f"[{host}]" if ":" in host else host
    path = parts.path.rstrip("/") or "/v1"
    return f"{parts.scheme}://{shown}{'' if port is None else f':{port}'}{path}"


def checked_key(key: str, where: str = KEY) -> str:
    """The key. Raises BadInput for one that a header cannot carry."""
    if not all("!" <= char <= "~" for char in key):
        raise BadInput(f"{where}: only letters, digits and marks of ASCII, no spaces; give another.")
    return key
