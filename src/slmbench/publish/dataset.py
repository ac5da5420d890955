"""A task's frozen data as a data set of the Hugging Face Hub: its card, its splits as JSONL, what they must be.

README.md          the card: a text of the task's own (`card.md` in its folder, else `dataset.md` here), every figure of
                   it counted from the rows
data/SPLIT.jsonl   a row a line, as `lm_eval.document` writes them: strings alone, schema and target as JSON
manifest.json      each file's size and hash, by which an upload knows that it has all of them

A text is Markdown with metadata above it. `{{ NAME }}` stands for a part that is made here (`Parts`), or by `facts()`
of the task's `card.py`, where it has one. Of the metadata, `splits`, `styles` and `measures` say what each of these is.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
import re
import statistics
import textwrap
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

from slmbench import __version__
from slmbench.core import BadInput, Completion, Example, Task, load_task
from slmbench.data import data_hash, normalised
from slmbench.evaluate import make_sample
from slmbench.files import json_text, read_json, write_atomic
from slmbench.metrics import LABELS
from slmbench.publish.lm_eval import document
from slmbench.publish.tables import markdown_table
from slmbench.schema import complexity, leaves
from slmbench.template import target_text

CARD, MANIFEST = "README.md", "manifest.json"
KIND = "slmbench data set"
REPO = "OWNER/NAME"
"""Stands in a card for the repository, until it is known."""
FIELDS = {
    "id": "the row's name, its own within the split",
    "schema_id": "the schema's name",
    "complexity": "`simple`, `medium` or `complex`, by the shape of what is asked for",
    "style": "the kind of text",
    "text": "what is read",
    "schema": "the JSON Schema that the answer satisfies, as JSON",
    "target": "the right answer, as compact JSON with its keys in the schema's order",
}
MEASURES = {
    LABELS["json_exact"]: "the whole answer is one JSON value, and it is the target: keys in any order, `1` and `1.0` "
    "the same",
    LABELS["field_f1"]: "F1 of the leaves: those that stand at the target's path with the target's value",
    LABELS["schema_compliance"]: "the first JSON value of the answer satisfies the schema, formats included",
    LABELS["truncated"]: "the answer ran into its limit of tokens",
}
OWN = ("splits", "styles", "measures")
"""Keys of a text's metadata that are not the Hub's."""
SIZES = {10**3: "n<1K", 10**4: "1K<n<10K", 10**5: "10K<n<100K", 10**6: "100K<n<1M"}
LISTED = 60
"""Schemas that a table has room for."""


def write_dataset(name: str, out: Path) -> list[Path]:
    """Write a task's data set into a folder; returns its files, the manifest last.

    Raises BadInput for a folder with a README.md or a manifest of another kind, which would be lost.
    """
    there = next((file for file in (MANIFEST, CARD) if (out / file).exists()), None)
    if there and (there == CARD or read_json(out / MANIFEST, "give another --out").get("kind") != KIND):
        raise BadInput(f"{out}: has a {there} that is not a data set's; give another --out.")
    files = dataset_files(load_task(name))
    for file, text in files.items():
        write_atomic(out / file, text)
    return [out / file for file in files]


def dataset_files(task: Task) -> dict[str, str]:
    """Name -> text of each file of a task's data set."""
    splits = frozen(task)
    rows = {f"data/{split}.jsonl": _lines(task, examples) for split, examples in splits.items()}
    facts = {
        name: {"bytes": len(text.encode()), "sha256": hashlib.sha256(text.encode()).hexdigest()}
        for name, text in rows.items()
    }
    manifest = {"kind": KIND, "task": task.name, "version": task.version, "slmbench": __version__, "files": facts}
    return {CARD: dataset_card(task, splits), **rows, MANIFEST: json_text(manifest)}


def frozen(task: Task) -> dict[str, list[Example]]:
    """The splits that are what they are: not those that are made in any size."""
    return {split: task.load(split) for split in task.splits() if split not in task.made}


def _lines(task: Task, examples: Sequence[Example]) -> str:
    rows = ({key: document(task.name, example)[key] for key in FIELDS} for example in examples)
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def dataset_card(task: Task, splits: Mapping[str, Sequence[Example]]) -> str:
    """The card of a task's data. Raises BadInput where its text asks for a part that there is not."""
    from huggingface_hub import DatasetCard, DatasetCardData

    told, text = card_text(task)
    parts = Parts(task, splits, {key: told.get(key) or {} for key in OWN})
    made = {**parts.all(), **facts(task)}
    total = sum(map(len, splits.values()))
    data = DatasetCardData(
        **{key: value for key, value in told.items() if key not in OWN},
        size_categories=next((name for size, name in SIZES.items() if total < size), "n>1M"),
        configs=[
            {
                "config_name": "default",
                "data_files": [{"split": split, "path": f"data/{split}.jsonl"} for split in splits],
            }
        ],
    )

    def put(match: re.Match[str]) -> str:
        if match[1] not in made:
            raise BadInput(f"the card of {task.name}: there is no {match[1]}; take one of {', '.join(sorted(made))}.")
        return made[match[1]]

    body = re.sub(r"\{\{ (\w+) \}\}", put, text).strip()
    return str(DatasetCard(f"---\n{data.to_yaml()}\n---\n\n{body}\n"))


def card_text(task: Task) -> tuple[dict[str, Any], str]:
    """The metadata and the text of a task's card. Raises BadInput where they cannot be told apart."""
    place = Path(_module(task).__file__ or "").parent / "card.md"
    if not place.is_file():
        place = Path(__file__).parent / "dataset.md"
    try:
        _, front, text = place.read_text(encoding="utf-8").split("---\n", 2)
        told = yaml.safe_load(front) or {}
        if not isinstance(told, dict) or not all(isinstance(told.get(key) or {}, dict) for key in OWN):
            raise ValueError(f"{', '.join(OWN)} are mappings")
    except (ValueError, yaml.YAMLError) as error:
        raise BadInput(f"{place}: begins with no metadata between two lines of --- ({error}); correct it.") from None
    return {"pretty_name": task.name, **told}, text


def _module(task: Task) -> ModuleType:
    return importlib.import_module(f"slmbench.tasks.{task.name}")


def facts(task: Task) -> dict[str, str]:
    """Further parts, by the task's own `card.py`."""
    name = f"{_module(task).__name__}.card"
    if importlib.util.find_spec(name) is None:
        return {}
    made: dict[str, str] = importlib.import_module(name).facts()
    return made


@dataclass(frozen=True)
class Parts:
    """What stands in a card for `{{ NAME }}`: the methods' names. `told` has what the text says of splits, styles and
    measures."""

    task: Task
    splits: Mapping[str, Sequence[Example]]
    told: Mapping[str, Mapping[str, str]]

    def all(self) -> dict[str, str]:
        """Name -> Markdown of every part."""
        made: tuple[Callable[[], str], ...] = (
            *(self.name, self.version, self.about, self.rows, self.hashes, self.complexity, self.styles, self.schemas),
            *(self.overlap, self.example, self.fields, self.measures, self.more, self.load, self.citation),
        )
        return {part.__name__: part() for part in made}

    def name(self) -> str:
        """The task's name."""
        return self.task.name

    def version(self) -> str:
        """The data's version."""
        return self.task.version

    def about(self) -> str:
        """What the task's own module says of it."""
        return (_module(self.task).__doc__ or "").strip()

    def rows(self) -> str:
        """Splits with their sizes: rows, schemas, lengths of texts and targets."""
        table = []
        for split, examples in self.splits.items():
            characters = [len(example.text) for example in examples]
            fields = [len(leaves(example.target)) for example in examples]
            table.append(
                [
                    f"`{split}`",
                    *(f"{len(examples):,}", f"{len({json.dumps(example.schema) for example in examples}):,}"),
                    *(f"{statistics.median(sizes):g} ({max(sizes):,})" for sizes in (characters, fields)),
                    self.told["splits"].get(split, ""),
                ]
            )
        head = ["split", "rows", "schemas", "characters, median (most)", "leaves of the target, median (most)", ""]
        return text_table(head, table)

    def hashes(self) -> str:
        """What each split is, by hash: of every id, text, target and schema in their order."""
        rows = [[f"`{split}`", f"`{data_hash(examples)}`"] for split, examples in self.splits.items()]
        return markdown_table(["split", "SHA-256"], rows)

    def complexity(self) -> str:
        """Rows by complexity and split."""
        return self._counts("complexity", ("simple", "medium", "complex"), {})

    def styles(self) -> str:
        """Rows by style and split."""
        return self._counts("style", (), self.told["styles"])

    def _counts(self, key: str, order: Sequence[str], told: Mapping[str, str]) -> str:
        counts = {
            split: Counter(example.tags.get(key, "unlabelled") for example in examples)
            for split, examples in self.splits.items()
        }
        names = dict.fromkeys([*order, *(name for count in counts.values() for name in count)])
        rows = [
            [f"`{name}`", *(str(count[name] or "–") for count in counts.values()), told.get(name, "")]
            for name in names
            if any(count[name] for count in counts.values())
        ]
        return text_table([key, *(f"`{split}`" for split in counts), ""], rows)

    def schemas(self) -> str:
        """The schemas with their shape, and how many rows of each split are under them; the number alone of many."""
        counts = {split: Counter(e.schema_id for e in examples) for split, examples in self.splits.items()}
        known = {e.schema_id: e.schema for examples in self.splits.values() for e in examples}
        if len(known) > LISTED:
            return f"There are {len(known):,} schemas."
        rows = [
            [f"`{name}`", complexity(schema), *(str(count[name] or "–") for count in counts.values())]
            for name, schema in sorted(known.items())
        ]
        return markdown_table(["schema", "complexity", *(f"`{split}`" for split in counts)], rows)

    def overlap(self) -> str:
        """Which texts stand in two splits, but for case and punctuation."""
        texts = {split: [normalised(e.text) for e in examples] for split, examples in self.splits.items()}
        known = {split: set(found) for split, found in texts.items()}
        names = list(texts)
        rows = [
            [f"`{split}`", f"`{other}`", f"{shared:,} of {len(texts[split]):,}"]
            for i, split in enumerate(names)
            for other in names[:i]
            if (shared := sum(text in known[other] for text in texts[split]))
        ]
        again = {split: len(found) - len(known[split]) for split, found in texts.items()}
        twice = ", ".join(f"`{split}` {count:,}" for split, count in again.items() if count)
        said = f" Texts that come again within a split: {twice}." if twice else ""
        if not rows:
            return f"No text stands in two splits, but for case and punctuation.{said}"
        table = markdown_table(["rows of", "that stand in", "how many"], rows)
        return f"These texts stand in two splits, but for case and punctuation, and no others.{said}\n\n{table}"

    def example(self) -> str:
        """The first row, its schema and its target."""
        example = next(iter(self.splits.values()))[0]
        schema = json.dumps(example.schema, ensure_ascii=False, indent=1)
        text = textwrap.indent(example.text, "> ", lambda line: True)
        return (
            f"{text}\n\n```json\n{target_text(example)}\n```\n\n"
            f"<details><summary>under the schema</summary>\n\n```json\n{schema}\n```\n\n</details>"
        )

    def fields(self) -> str:
        """What a row has."""
        return text_table(["field", "a string:"], [[f"`{name}`", said] for name, said in FIELDS.items()])

    def measures(self) -> str:
        """What is measured, the task's own measures among it."""
        own = self.told["measures"]
        labels = [part["label"] for part in self._measured().values()]
        rows = [*MEASURES.items(), *((label, own.get(label, "the task's own")) for label in labels)]
        return text_table(["measure", "what it counts"], [list(row) for row in rows])

    def _measured(self) -> dict[str, dict[str, Any]]:
        """The task's own measures, of answers that are all right."""
        found: dict[str, dict[str, Any]] = {}
        for examples in self.splits.values():
            samples = [
                make_sample(self.task, e, Completion(e.id, target_text(e), (), "stop", 0, 0, None, 0.0, 1))
                for e in examples[:: max(1, len(examples) // 100)]
            ]
            found |= self.task.measures(samples)
        return found

    def more(self) -> str:
        """How more rows are made, where the task makes any."""
        name = self.task.name
        lines = [f"slmbench data card {name}   # this folder again"]
        lines += [
            f"slmbench data build {name} --split {s} -n ROWS   # more to train on" for s in sorted(self.task.made)
        ]
        return "```sh\n" + "\n".join(lines) + "\n```"

    def load(self) -> str:
        """Code that reads the rows."""
        split = "test" if "test" in self.splits else list(self.splits)[-1]
        return (
            "```python\n"
            "import json\n\nfrom datasets import load_dataset\n\n"
            f'rows = load_dataset("{REPO}", split="{split}")  # or the path of this folder\n'
            'text, schema, target = rows[0]["text"], json.loads(rows[0]["schema"]), json.loads(rows[0]["target"])\n'
            "```\n\nIn slmbench the same rows are a split of a task:\n\n"
            "```python\n"
            "from slmbench.core import load_task\n\n"
            f'examples = load_task("{self.task.name}").load("{split}")\n'
            "```"
        )

    def citation(self) -> str:
        """An entry for a bibliography."""
        told, _ = card_text(self.task)
        return (
            "```bibtex\n"
            f"@misc{{slmbench_{self.task.name},\n"
            f"  title = {{{told['pretty_name']} {self.task.version}: text to JSON under a schema}},\n"
            "  author = {{slmbench}},\n"
            f"  note = {{Made by slmbench {__version__}}}\n"
            "}\n```"
        )


def text_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose last column is words, left out where it says nothing."""
    if not any(row[-1] for row in rows):
        return markdown_table(head[:-1], [row[:-1] for row in rows])
    return markdown_table(head, rows).replace("---: |\n", "--- |\n", 1)
