"""What README and pages show: their blocks of code, the commands in these, and a folder in which they can be given."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_FILE = re.compile(r"`([\w./-]+)`")


@dataclass(frozen=True)
class Block:
    """A block of code: the line it begins at, its language, what it says, and its file, where that is named before."""

    path: Path
    line: int
    language: str
    text: str
    file: str = ""

    @property
    def where(self) -> str:
        """For a message."""
        return f"{self.path.name}:{self.line}"


def blocks(path: Path) -> list[Block]:
    """All blocks of a document, in their order."""
    text = path.read_text(encoding="utf-8")
    found = []
    for match in _FENCE.finditer(text):
        before = text[: match.start()]
        named = _FILE.match(before.rstrip().rpartition("\n\n")[2])
        file = named[1] if named and "." in named[1] else ""
        found.append(Block(path, before.count("\n") + 1, match[1], match[2], file))
    return found


def commands(text: str) -> Iterator[list[str]]:
    """The commands of a block of shell, as words: those behind a pipe and those that xargs starts too, without
    variables set before them and without redirections."""
    for line in text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|;&<>")
        lexer.whitespace_split = True
        command: list[str] = []
        for word in [*lexer, ";"]:
            if word in ("|", ";", "&&", "||", "&"):
                yield from _programs(command)
                command = []
            else:
                command.append(word)


def _programs(words: list[str]) -> Iterator[list[str]]:
    if ">" in words:
        words = words[: words.index(">")]
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words = words[1:]
    if not words:
        return
    if words[0] != "slmbench" and "slmbench" in words:  # xargs slmbench ..., accelerate launch -m slmbench ...
        at = words.index("slmbench")
        yield words[:at]
        words = words[at:]
    yield words


def furnish(folder: Path, settings: dict[str, Any], base: Path) -> None:
    """What the README's commands are given in: its recipe meaning a tiny base and 24 rows, rows, mails and a schema."""
    recipe = yaml.safe_load((ROOT / "recipes" / "edge_json_135m.yaml").read_text())
    recipe |= {"base": str(base), "adapter": settings["adapter"], "evaluate": {"latency_rows": 1}}
    recipe["data"] |= {"limit": 24, "validation": 4}
    recipe["train"] |= {"epochs": 1}
    (folder / "recipes").mkdir()
    (folder / "recipes" / "edge_json_135m.yaml").write_text(yaml.safe_dump(recipe))
    rows = [{"id": str(n), "schema_id": "box", "text": f"Box of {n}", "target": f'{{"n":{n}}}'} for n in range(10, 20)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "intents.csv").write_text("text,intent\n" + "".join(f"wish {n},{'ab'[n % 2]}\n" for n in range(10)))
    (folder / "mails").mkdir()
    (folder / "mails" / "1.txt").write_text("Two boxes, please.")
    (folder / "order.json").write_text(
        '{"type": "object", "properties": {"boxes": {"enum": [1, 2, 3]}}, "required": ["boxes"]}'
    )
    shutil.copy(ROOT / "README.md", folder / "README.md")
