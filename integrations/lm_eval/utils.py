"""slmbench's tasks for lm-eval: its documents, its prompts, its budgets, its scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import datasets
from lm_eval.api.instance import Instance
from lm_eval.api.task import ConfigurableTask
from transformers import AutoTokenizer

from slmbench.config import Evaluation
from slmbench.core import MOST_TOKENS, Completion, load_task
from slmbench.evaluate import request
from slmbench.publish.lm_eval import document, example_of, field_f1, measured
from slmbench.template import Encoded, prompt_text

__all__ = ["SlmbenchTask", "field_f1", "prompt", "scores"]


def prompt(doc: Mapping[str, str]) -> str:
    """The prompt of a document, its schema in it."""
    example = example_of(doc)
    return prompt_text(example.text, example.schema, "schema")


def scores(doc: Mapping[str, str], results: Sequence[str]) -> dict[str, Any]:
    """What slmbench's own task says of an answer."""
    (output,) = results
    completion = Completion(doc["id"], output, (), "stop", 0, 0, None, 0.0, 1)
    return measured(asdict(load_task(doc["task"]).score(example_of(doc), completion)))


class SlmbenchTask(ConfigurableTask):  # type: ignore[misc]
    """A split of slmbench's, out of its package: `dataset_kwargs` names {task, split}.

    With a tokenizer at hand (`pretrained` or `tokenizer` among the model's arguments) each answer gets the budget that
    slmbench gives it, and ends at the tokens that end it there; otherwise it gets slmbench's largest.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config={key: value for key, value in config.items() if key != "class"})

    def download(self, dataset_kwargs: Mapping[str, str] | None = None, **_: Any) -> None:
        """Read the frozen documents and count the tokens of their targets; nothing is fetched."""
        asked = dict(dataset_kwargs or {})
        task = load_task(asked["task"])
        rows = [document(task.name, example) for example in task.load(asked["split"])]
        self.dataset = {self.config.test_split: datasets.Dataset.from_list(rows)}
        tokenizer = _tokenizer(self.config.metadata or {})
        pad = tokenizer.pad_token if tokenizer else None
        self.stops = [pad] if pad and pad != tokenizer.eos_token else []
        self.budgets = {row["id"]: _budget(row["target"], tokenizer) for row in rows}

    def construct_requests(self, doc: Mapping[str, str], ctx: str, **settings: Any) -> Instance:
        """The request of a document: lm-eval's own, with its budget and stops."""
        instance: Instance = super().construct_requests(doc, ctx, **settings)
        context, generation = instance.args
        until = generation["until"]
        stops = [*([until] if isinstance(until, str) else until), *self.stops]
        # A budget that was asked for on the command line stays.
        instance.arguments = (context, {"max_gen_toks": self.budgets[doc["id"]], **generation, "until": stops})
        return instance


def _tokenizer(model: Mapping[str, Any]) -> Any:
    """The tokenizer that the model's arguments name; None where they name none."""
    name = model.get("tokenizer") or model.get("pretrained")
    if not isinstance(name, str):
        return None
    return AutoTokenizer.from_pretrained(name, revision=model.get("revision", "main"), trust_remote_code=False)


def _budget(target: str, tokenizer: Any) -> int:
    """Tokens that an answer may take, as `slmbench.evaluate` counts them: by the target's and its end token."""
    if tokenizer is None:
        return MOST_TOKENS
    ids = (*tokenizer(target, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id)
    return request(Encoded("", ids, 0), Evaluation()).max_new_tokens
