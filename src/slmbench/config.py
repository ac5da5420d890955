"""Recipe: YAML file <-> frozen dataclasses. A setting is written once, here; flags and files derive from it."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import json
import math
import re
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml

from slmbench.core import BASE, BadInput
from slmbench.template import PromptStyle

T = TypeVar("T")
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class Test:
    """One test set of a recipe, named as in `Data`, and the prompt it is asked with."""

    split: str
    prompt: PromptStyle = "plain"
    base: bool = True
    """Whether the base model answers it too."""

    @property
    def name(self) -> str:
        """What the set is called in folders and tables: a split's own name, TASK_SPLIT for one of another task, a
        file's name without `.jsonl`."""
        path = Path(self.split)
        return path.name.removesuffix(".jsonl") if path.suffix else self.split.replace("/", "_")


@dataclass(frozen=True)
class Data:
    """Where examples come from: a split of the task by its name, one of another task as TASK/SPLIT, or a file.

    SOURCE:ROWS is so many of its rows, evenly spaced. Of what is trained on, SOURCE*N takes each row N times an epoch,
    which balances a small source against a large one; rows held back for validation are held back of all N.
    """

    train: tuple[str, ...] = ("train",)
    """One source or several, in their order."""
    validation: float = 126
    """Rows taken from train: a number of rows from 1 up, a share below 1."""
    tests: tuple[Test, ...] = (Test("test"),)
    schemas: str | None = None
    """Folder of `<schema_id>.json`, for files whose rows carry none; without it schemas are inferred from the rows."""
    limit: int | None = None
    """At most so many training and test rows, for a first look."""
    max_tokens: int = 4096
    over_long: Literal["error", "skip"] = "error"


@dataclass(frozen=True)
class Adapter:
    """LoRA (Hu et al. 2021, arXiv:2106.09685): `W + alpha / r * B A` on the named projections."""

    r: int = 16
    alpha: float = 32
    dropout: float = 0.0
    targets: tuple[str, ...] = PROJECTIONS


@dataclass(frozen=True)
class Training:
    """AdamW with a cosine schedule after a linear warm-up."""

    epochs: int = 3
    """0: nothing is trained, and what is measured is the base as it is."""
    learning_rate: float = 2e-4
    warmup: float = 0.1
    """Share of the updates."""
    update_examples: int = 32
    """Examples an update: the effective batch, whatever the memory."""
    together: int = 1
    """Examples of one schema that an update takes together: what they begin with is computed once. 1: as drawn."""
    stratified: bool = False
    """Whether every update holds its share of each schema that prompts write; chance fills some with one alone."""
    micro_tokens: int = 1536
    """Tokens a forward pass; memory follows this, the result does not."""
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    checkpoint_seconds: float = 60.0


@dataclass(frozen=True)
class Evaluation:
    """Greedy decoding. An answer may be `budget_factor` x the gold's tokens + `budget_extra` long."""

    budget_factor: float = 1.5
    budget_extra: int = 32
    batch_tokens: int = 32768
    """Key-value positions held at once: rows x (prompt + budget)."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    latency_rows: int = 8
    """Rows of the first test set that the tuned model answers again one at a time, for latency and first-token time."""


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a model, and nothing that does not."""

    name: str
    base: str = BASE
    task: str = "edge_json"
    prompt: PromptStyle = "plain"
    """How training asks: `schema` puts the schema before the text, `plain` does not."""
    seed: int = 42
    data: Data = field(default_factory=Data)
    adapter: Adapter = field(default_factory=Adapter)
    train: Training = field(default_factory=Training)
    evaluate: Evaluation = field(default_factory=Evaluation)

    @property
    def trains(self) -> bool:
        """Whether anything is trained; else the base, as it is, stands where the tuned model would."""
        return self.train.epochs > 0

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, every key written out."""
        plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return plain


def load_recipe(path: Path, changes: list[str] | None = None) -> Recipe:
    """Read a recipe and apply `--set a.b=value` changes (values are YAML).

    Raises BadInput for a missing file, broken YAML, an unknown key (naming the nearest), a value of the wrong type.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror}); give a recipe such as recipes/*.yaml.") from None
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: byte {error.start} is not UTF-8; save the recipe as UTF-8.") from None
    except (yaml.YAMLError, ValueError) as error:  # such as a date that there is not
        place = getattr(error, "problem_mark", None)
        line = f":{place.line + 1}" if place else ""
        what = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise BadInput(f"{path}{line}: not YAML ({what}); correct the line.") from None
    if not isinstance(raw, dict):
        raise BadInput(f"{path}: a recipe is a mapping of settings, this is {type(raw).__name__}; see recipes/*.yaml.")
    for change in changes or []:
        _apply(raw, change)
    return recipe_of(raw, str(path))


def recipe_of(raw: dict[str, Any], where: str) -> Recipe:
    """A recipe from plain values, as `Recipe.to_dict` gives them; `where` names their file in errors."""
    recipe = _build(Recipe, raw, where, "")
    _check(recipe, where)
    if recipe.trains:
        return recipe
    tests = tuple(dataclasses.replace(test, base=False) for test in recipe.data.tests)
    return dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, tests=tests))


def _apply(raw: dict[str, Any], change: str) -> None:
    key, found, text = change.partition("=")
    if not found:
        raise BadInput(f"--set {change}: write it as key=value, for example --set train.epochs=1.")
    *parents, last = key.strip().split(".")
    place = raw
    for parent in parents:
        place = place.setdefault(parent, {})
        if not isinstance(place, dict):
            raise BadInput(f"--set {change}: {parent} holds one value, not settings.")
    try:
        place[last] = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError):
        raise BadInput(f"--set {change}: {text!r} is not a YAML value; quote it.") from None


def _build(cls: type[T], raw: Any, where: str, path: str) -> T:
    if not isinstance(raw, dict):
        raise BadInput(f"{where}: {path or 'the recipe'} must be a mapping of settings, not {raw!r}.")
    hints = typing.get_type_hints(cls)
    for key in raw:
        if key not in hints:
            near = difflib.get_close_matches(str(key), hints, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(hints)}."
            raise BadInput(f"{where}: unknown key {path}{key}; {hint}")
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for name, spec in fields.items():
        required = spec.default is dataclasses.MISSING and spec.default_factory is dataclasses.MISSING
        if required and name not in raw:
            raise BadInput(f"{where}: {path}{name} is missing; add it.")
    return cls(**{key: _convert(hints[key], value, where, f"{path}{key}") for key, value in raw.items()})


def _convert(hint: Any, value: Any, where: str, path: str) -> Any:
    """`value` as the type `hint`, for the few types that a recipe uses."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        return _build(typing.cast(type[Any], hint), value, where, f"{path}.")
    if origin is tuple and isinstance(value, str):
        value = [value]
    if origin is tuple and isinstance(value, list):
        return tuple(_convert(arguments[0], item, where, f"{path}[{i}]") for i, item in enumerate(value))
    if origin is Literal and value in arguments:
        return value
    if origin in (types.UnionType, typing.Union):
        if value is None:
            return None
        return _convert(next(a for a in arguments if a is not type(None)), value, where, path)
    if hint is float and isinstance(value, str):  # YAML 1.1 reads 2e-4 as a string
        with contextlib.suppress(ValueError):
            value = float(value)
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if number and (hint is float or (hint is int and value == int(value))):
        return int(value) if value == int(value) else value
    if hint in (str, bool) and isinstance(value, hint):
        return value
    names = {Literal: " or ".join(map(repr, arguments)), tuple: "a list"}
    wanted = names.get(origin) or getattr(hint, "__name__", str(hint))
    raise BadInput(f"{where}: {path} must be {wanted}, not {value!r}.")


def _check(recipe: Recipe, where: str) -> None:
    """The bounds that types cannot say."""
    data, train, evaluate = recipe.data, recipe.train, recipe.evaluate
    bounds = {
        "seed": (0 <= recipe.seed < 2**31, "from 0 to below 2^31"),
        "adapter.r": (recipe.adapter.r >= 1, "at least 1"),
        "adapter.alpha": (recipe.adapter.alpha > 0, "above 0"),
        "adapter.targets": (len(recipe.adapter.targets) >= 1, "at least one projection"),
        "adapter.dropout": (0 <= recipe.adapter.dropout < 1, "from 0 to below 1"),
        "train.epochs": (train.epochs >= 0, "0 or more"),
        "train.learning_rate": (0 < train.learning_rate < 1, "above 0 and below 1"),
        "train.warmup": (0 <= train.warmup <= 1, "a share from 0 to 1"),
        "train.update_examples": (train.update_examples >= 1, "at least 1"),
        "train.together": (1 <= train.together <= train.update_examples, "1 to train.update_examples"),
        "train.micro_tokens": (train.micro_tokens >= 1, "at least 1"),
        "train.weight_decay": (train.weight_decay >= 0, "0 or more"),
        "train.max_grad_norm": (train.max_grad_norm > 0, "above 0"),
        "data.train": (len(data.train) >= 1, "a split or a file, or a list of them"),
        "data.validation": (data.validation >= 0, "0, a share below 1, or a number of rows"),
        "data.max_tokens": (data.max_tokens >= 8, "at least 8"),
        "data.limit": (data.limit is None or data.limit >= 4, "at least 4, or left out"),
        "data.tests": (len(data.tests) >= 1, "at least one test set"),
        "evaluate.budget_factor": (evaluate.budget_factor >= 1, "at least 1"),
        "evaluate.budget_extra": (evaluate.budget_extra >= 0, "0 or more"),
        "evaluate.batch_tokens": (evaluate.batch_tokens >= 1, "at least 1"),
        "evaluate.latency_rows": (evaluate.latency_rows >= 0, "0 or more"),
        "name": (re.fullmatch(r"\w[\w.-]*", recipe.name), "letters, digits, and . _ - within"),
    }
    for key, (good, wanted) in bounds.items():
        if not good:
            raise BadInput(f"{where}: {key} is out of bounds; it must be {wanted}.")
    names = ["train", "validation", *(test.name for test in data.tests)]
    for name in names:
        if names.count(name) > 1:
            raise BadInput(f"{where}: data.tests: two parts of the data would be called {name}; rename one file.")
