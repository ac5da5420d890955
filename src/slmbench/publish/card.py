"""The model card of a run: README.md as the Hugging Face Hub reads it (https://huggingface.co/docs/hub/model-cards)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from slmbench.metrics import LABELS, SLICE_KEYS
from slmbench.publish.record import Record
from slmbench.publish.tables import markdown_table, results_table, slices_table
from slmbench.template import prompt_text


def card(record: Record) -> str:
    """The Markdown text of the card, from the record alone."""
    parts = [
        f"---\n{yaml.safe_dump(front_matter(record), sort_keys=False, allow_unicode=True)}---",
        f"# {record['name']}",
        introduction(record),
        results(record),
        f"## Use\n\n```python\n{snippet(record)}```",
        training(record),
        provenance(record),
        limits(record),
    ]
    return "\n\n".join(parts) + "\n"


def base_id(record: Record) -> str:
    """The base model as others can load it: its Hub id where it has one."""
    weights = record["weights"]
    return str(weights.get("hub_id") or weights["name"])


def front_matter(record: Record) -> dict[str, Any]:
    """The card's metadata; the licence is that of the base weights, and left out where it is not known."""
    weights = record["weights"]
    results = [
        {
            "task": {"type": "text-generation", "name": "text to JSON"},
            "dataset": {"type": record["recipe"].get("task", "jsonl"), "name": split, "split": split},
            "metrics": [
                {"type": name, "name": LABELS[name], "value": round(test["metrics"][name]["value"], 4)}
                for name in ("json_exact", "field_f1", "schema_compliance")
            ],
        }
        for split, test in record["tests"].items()
    ]
    return {
        "base_model": base_id(record),
        **({"license": weights["license"]} if weights.get("license") else {}),
        "library_name": "peft",
        "pipeline_tag": "text-generation",
        "tags": ["lora", "json", "information-extraction", "structured-output", "slmbench"],
        "model-index": [{"name": record["name"], "results": results}],
    }


def introduction(record: Record) -> str:
    """What the model is, in a paragraph."""
    parameters = record["adapter"].get("parameters")
    size = f" of {parameters:,} parameters" if parameters else ""
    return (
        f"A LoRA adapter{size} for `{base_id(record)}` that reads a text and writes what it says as one JSON object. "
        f"Trained and measured with slmbench {record['slmbench']} on {record['created'][:10]}; every figure below is "
        "computed from stored outputs, with 95 % intervals (Wilson for shares, bootstrap over documents for F1)."
    )


def results(record: Record) -> str:
    """The result tables of every test split."""
    parts = ["## Results"]
    for split, test in record["tests"].items():
        parts.append(f"### {split}, {test['prompt']} prompt, {test['constraint']} generation")
        parts.append(results_table(test))
        for key in SLICE_KEYS:
            if len(test["slices"][key]) > 1:
                parts.append(f"<details><summary>by {key}</summary>\n\n{slices_table(test, key)}\n\n</details>")
    return "\n\n".join(parts)


def snippet(record: Record) -> str:
    """Python that loads the adapter, run in the card's folder, and extracts one document."""
    style = record["prompt"]["style"]
    if style == "plain":
        before, after = prompt_text("\0", {}, "plain").split("\0")
        prompt = f'text = "Ada Lovelace, ada@example.org"\nprompt = {before!r} + text + {after!r}'
    else:
        prompt = (
            "from slmbench.template import prompt_text  # the schema is part of this model's prompt\n\n"
            'text = "Ada Lovelace, ada@example.org"\n'
            'schema = {"properties": {"name": {"type": "string"}, "email": {"type": "string", "format": "email"}}}\n'
            f"prompt = prompt_text(text, schema, {style!r})"
        )
    return f"""import json
from pathlib import Path

from slmbench import models

base = models.find({record["weights"]["name"]!r})
tokenizer = models.load_tokenizer(base)
model = models.load_adapter(models.load_model(base), Path("adapter"), base)  # refuses any other base

{prompt}
inputs = tokenizer(prompt, add_special_tokens=False, return_tensors="pt")
output = model.generate(**inputs, max_new_tokens=512, do_sample=False)
print(json.loads(tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)))
"""


def flattened(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """(dotted key, value as text) of nested settings."""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from flattened(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", plain(value)


def plain(value: Any) -> str:
    """A value as it reads in a table: numbers short, lists with commas."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "–"}[value]
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10000 else str(value)
    if isinstance(value, list | tuple):
        return ", ".join(map(plain, value))
    return str(value)


def training(record: Record) -> str:
    """How it was trained: what came of it, the recipe, the machine."""
    tables = (
        ("## Training", record["training"]),
        ("### Recipe", record["recipe"]),
        ("### Machine", record["machine"]),
        ("### Seconds by stage", record["seconds"]),
    )
    parts = [f"{title}\n\n{markdown_table(['', ''], list(flattened(values)))}" for title, values in tables if values]
    return "\n\n".join(parts)


def provenance(record: Record) -> str:
    """Hashes of what went in and came out."""
    hashes = dict(record["hashes"])
    data = hashes.pop("data")
    rows = [[name, plain(part.get("rows")), f"`{data.get(name)}`"] for name, part in record["data"].items()]
    weights = [[key, plain(value)] for key, value in record["weights"].items()]
    made = [[key, plain(value)] for key, value in (*record["adapter"].items(), *flattened(record["prompt"], "prompt "))]
    return "\n\n".join(
        (
            "## Data",
            markdown_table(["file", "rows", "SHA-256"], rows),
            "## Weights really used",
            markdown_table(["base", ""], weights),
            markdown_table(["adapter", ""], made),
            "## Hashes",
            markdown_table(["SHA-256 of", ""], [[key, f"`{value}`"] for key, value in flattened(hashes)]),
        )
    )


def limits(record: Record) -> str:
    """What not to expect, with the figures that say so."""
    test = next(iter(record["tests"].values()))
    wrong, broken, cut = (test["metrics"][name] for name in ("json_exact", "schema_compliance", "truncated"))
    weakest = min(test["slices"]["complexity"].items(), key=lambda part: float(part[1]["json_exact"]["value"]))
    free = test["constraint"] == "free"
    lines = [
        f"Of {wrong['n']} test documents, {wrong['n'] - wrong['k']} were not reproduced exactly, "
        f"{broken['n'] - broken['k']} did not satisfy their schema, and {cut['k']} ran into the length limit. "
        "Check every output before relying on it.",
        f"The hardest slice is {weakest[0]}, with {weakest[1]['json_exact']['k']} of {weakest[1]['n']} exact.",
        *(["Nothing but training makes the output JSON: these figures are of greedy, unconstrained decoding."] * free),
        "A value may be a misspelt copy of the text, or be invented where the text says nothing.",
        "Texts in other languages, layouts and domains than the training data's are not covered by these figures.",
        "Personal data in a text will be in the output. Do not decide about people, health or money by it unchecked.",
    ]
    return "## Limits\n\n" + "\n".join(f"- {line}" for line in lines)
