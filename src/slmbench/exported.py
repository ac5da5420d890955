"""An exported model: a folder that runs without torch. Its manifest says what it is, and each file's size and hash."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from slmbench.core import Backend, BadInput, Example, Request
from slmbench.files import file_sha256, read_json
from slmbench.memory import usable_threads
from slmbench.template import Encoded, PromptStyle, encode, encode_prompt, prompt_text

if TYPE_CHECKING:
    from slmbench.decode.loop import Decoder

MANIFEST = "manifest.json"
AGAIN = "export the model again"
MOST_ASKED = 256
"""Draft tokens, threads or documents at once."""


class Tokens:
    """A `tokenizers.Tokenizer` called as transformers' are: what `template.encode` needs, and no more."""

    def __init__(self, path: Path, eos: int, pad: int) -> None:
        from tokenizers import Tokenizer

        self.tokenizer = Tokenizer.from_file(str(path))
        self.eos_token_id, self.pad_token_id = eos, pad

    def __call__(self, text: str, add_special_tokens: bool = False) -> dict[str, list[int]]:
        """{"input_ids": [...]} of a text. Raises BadInput where it has half a character."""
        check_text(text)
        return {"input_ids": self.tokenizer.encode(text, add_special_tokens=add_special_tokens).ids}


def check_text(text: str) -> None:
    """Raise BadInput where a text has half a character."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadInput(
            f"the text has half a character, {text[error.start]!r}, as no encoding of text has; mend the document."
        ) from None


def check_count(name: str, value: int | None, least: int = 1) -> None:
    """Raise BadInput for a number of threads, documents or tokens that is out of bounds."""
    if value is not None and not least <= value <= MOST_ASKED:
        raise BadInput(f"{name} {value}: give {least} to {MOST_ASKED}.")


@dataclass(frozen=True, eq=False)
class Exported:
    """A checked folder and its manifest."""

    folder: Path
    manifest: dict[str, Any]

    @functools.cached_property
    def tokens(self) -> Tokens:
        """Its tokenizer."""
        return Tokens(self.folder / "tokenizer.json", self.manifest["eos"], self.manifest["pad"])

    @property
    def where(self) -> str:
        """What is said of it begins with this: its folder."""
        return str(self.folder)

    @property
    def identity(self) -> Mapping[str, Any]:
        """Its files, by their hashes."""
        files: dict[str, Any] = self.manifest["files"]
        return files

    @property
    def style(self) -> PromptStyle:
        """The prompt's style that it was trained with."""
        style: PromptStyle = self.manifest["prompt"]["style"]
        return style

    @property
    def _module(self) -> ModuleType:
        return importlib.import_module(f"slmbench.backends.{self.manifest['backend']}")

    @property
    def decoded_here(self) -> bool:
        """Whether our loop writes the answers, and not a library's own."""
        return not hasattr(self._module, "open_backend")

    @property
    def most_at_once(self) -> int:
        """Documents that one pass may answer."""
        return int(getattr(self._module, "MOST_SLOTS", 1))

    def encode(self, example: Example) -> Encoded:
        """Prompt, completion and EOS of a labelled document."""
        return encode(example, self.tokens, self.style)

    def gold_tokens(self, example: Example) -> int:
        """Tokens of the right answer, EOS included."""
        return self.encode(example).completion_tokens

    def request(self, example: Example, budget: int, constraint: str = "schema", likelihoods: bool = False) -> Request:
        """What a decoder is asked for a document; its answer may take `budget` tokens."""
        ids = encode_prompt(example, self.tokens, self.style)
        schema = None if constraint == "free" else example.schema
        shared = self._shared(ids, example)
        grounded = constraint == "grounded"
        return Request(example.id, ids, budget, schema, example.text, shared, grounded, likelihoods)

    def _shared(self, ids: tuple[int, ...], example: Example) -> int:
        """Tokens that the prompt has in common with that of any other document under the schema."""
        text = prompt_text("", example.schema, self.style)
        begins = self._beginning(text[: text.rindex("Input:") + len("Input:")])
        return next((i for i, (a, b) in enumerate(zip(begins, ids, strict=False)) if a != b), len(begins))

    @functools.lru_cache(maxsize=128)  # noqa: B019 - there is one for each process
    def _beginning(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokens(text)["input_ids"])

    def backend(self, threads: int | None = None, draft_tokens: int | None = None, batch: int = 1) -> Decoder | Backend:
        """What answers, on all cores by default, `batch` documents in a pass: our loop or a library's own.

        Raises SlmbenchError where the library is not installed, and BadInput where its own loop is told how to draft or
        takes fewer documents at once.
        """
        check_count("--draft-tokens", draft_tokens, 0)
        check_count("--threads", threads)
        check_count("--batch", batch)
        module = self._module
        if batch > self.most_at_once:
            raise BadInput(
                f"--batch {batch}: {self.manifest['form']} answers no more than {self.most_at_once} at once."
            )
        if not self.decoded_here:
            if draft_tokens is not None:
                raise BadInput(f"--draft-tokens: {self.manifest['form']} has its own loop; leave it away.")
            backend: Backend = module.open_backend(self.folder, threads or usable_threads())
            return backend
        from slmbench.decode.answer import MOST
        from slmbench.decode.grammar import Vocabulary
        from slmbench.decode.loop import Decoder

        engine = module.open_engine(self.folder, threads or usable_threads(), batch)
        vocabulary = Vocabulary(self.folder / "tokenizer.json", engine.vocabulary, self.manifest["stops"])
        return Decoder(engine, self.tokens.tokenizer, vocabulary, MOST if draft_tokens is None else draft_tokens)


def load_exported(folder: Path) -> Exported:
    """Raises BadInput where the folder is no export, or a file of it is not what was written."""
    if not (folder / MANIFEST).is_file():
        raise BadInput(f"{folder}: no exported model (no {MANIFEST}); give the folder that slmbench export wrote.")
    manifest = read_json(folder / MANIFEST, AGAIN)
    try:
        for name, facts in manifest["files"].items():
            size = (folder / name).stat().st_size if (folder / name).is_file() else None
            if size != facts["bytes"]:
                state = "missing" if size is None else f"{size} bytes long, not {facts['bytes']}"
                raise BadInput(f"{folder / name}: {state}; {AGAIN}.")
            if file_sha256(folder / name) != facts["sha256"]:
                raise BadInput(f"{folder / name}: its bytes are not those that were exported; {AGAIN}.")
        if manifest["backend"] not in backends():
            raise BadInput(f"{folder}: made for {manifest['backend']}, which this version does not have; {AGAIN}.")
        if not isinstance(manifest["prompt"]["style"], str):
            raise TypeError("prompt.style")
        if missing := {"eos", "pad", "stops", "task", "base"} - manifest.keys():
            raise KeyError(min(missing))
    except (KeyError, TypeError, AttributeError) as error:
        raise BadInput(f"{folder / MANIFEST}: {error} is missing or of another kind; {AGAIN}.") from None
    return Exported(folder, manifest)


def backends() -> list[str]:
    """What an exported model may name as its backend: the files of `backends` are the registry."""
    folder = Path(__file__).parent / "backends"
    return sorted(p.stem for p in folder.glob("*.py") if "\ndef open_" in p.read_text())
