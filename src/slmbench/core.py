"""The nouns that every other module speaks of, and the two errors that a user may see."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from slmbench.metrics import Score

Finish = Literal["stop", "length", "error"]
BASE = "smollm2-135m"
"""The base model where nobody names another."""
MOST_TOKENS = 1024
"""Of one answer."""
KEY = "SLMBENCH_API_KEY"
"""The variable of the environment that holds the key: what our server asks for, and what others are shown."""


class SlmbenchError(Exception):
    """Something failed that the input is not to blame for (a full disk, no network). One sentence; exit code 1."""

    exit_code = 1


class BadInput(SlmbenchError):
    """The input is wrong. One sentence: what, where (file, line, key), what to do; exit code 2."""

    exit_code = 2


@dataclass(frozen=True)
class Example:
    """One text, the schema it is read under, and the value it must become.

    `tags` holds strings to slice by: `complexity` (simple, medium, complex or unlabelled), `style`, `split`.
    """

    id: str
    text: str
    schema_id: str
    schema: Mapping[str, Any]
    target: Any
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Request:
    """What a backend is asked: prompt token ids and the number of tokens it may answer with.

    A server has a tokenizer of its own, so it is sent `instruction` and `text` as two messages, and no token ids.

    `schema` constrains the answer where the backend can; None leaves it free. `text` is the document, for a backend
    that drafts from it; `grounded` lets strings only say what stands in it. The first `shared_tokens` of the prompt are
    those of every document under the schema. `likelihoods` asks for those of the answer's tokens.
    """

    id: str
    prompt_ids: tuple[int, ...]
    max_new_tokens: int
    schema: Mapping[str, Any] | None = None
    text: str = ""
    shared_tokens: int = 0
    grounded: bool = False
    likelihoods: bool = False
    instruction: str = ""


@dataclass(frozen=True)
class Completion:
    """What a backend answered.

    `finish` is `stop` (it wrote its end token), `length` (it was cut at its limit) or `error`. Times are seconds;
    `first_token_s` is known at batch 1 only, and `total_s` is the batch's wall time, so latency is read at batch 1.
    `log_likelihoods` are the tokens' own, before any constraint, where they were asked for and the backend has them.
    Of a server's answer `constraint` is what it was asked for, `server` its URL and `model` its name for the model; it
    may count no tokens, which are then 0. `error` is one sentence where it failed at this request alone.
    """

    id: str
    text: str
    token_ids: tuple[int, ...]
    finish: Finish
    prompt_tokens: int
    output_tokens: int
    first_token_s: float | None
    total_s: float
    batch: int
    constraint: str = "free"
    log_likelihoods: tuple[float, ...] = ()
    server: str = ""
    model: str = ""
    error: str = ""


class Backend(Protocol):
    """Anything that generates: completions come in the order that suits the backend, each carrying its request's id."""

    def generate(self, requests: Iterable[Request]) -> Iterator[Completion]:
        """One completion for each request."""
        ...


class Model(Protocol):
    """What documents are put to: an exported folder, or a name on a server."""

    @property
    def manifest(self) -> Mapping[str, Any]:
        """What is known of it: its name, task, schema, confidence, as far as it has them."""
        ...

    @property
    def where(self) -> str:
        """What is said of it begins with this."""
        ...

    @property
    def identity(self) -> Mapping[str, Any]:
        """What decides its answers: with anything else, they are another model's."""
        ...

    def gold_tokens(self, example: Example) -> int:
        """How many tokens the right answer takes, its end included; not fewer where that is not known."""
        ...

    def request(self, example: Example, budget: int, constraint: str = "schema", likelihoods: bool = False) -> Request:
        """What is asked for a document; its answer may take `budget` tokens."""
        ...

    def backend(self, threads: int | None = None, draft_tokens: int | None = None, batch: int = 1) -> Backend:
        """What answers, `batch` documents at once."""
        ...


class Task(Protocol):
    """A benchmark as a value: how to load its splits and how to score one example."""

    name: str
    version: str
    made: frozenset[str]
    """Splits that are made in any size when they are asked for, as SPLIT:ROWS."""

    def splits(self) -> list[str]:
        """The names that `load` takes."""
        ...

    def load(self, split: str) -> list[Example]:
        """The examples of a split, in its order."""
        ...

    def score(self, example: Example, completion: Completion) -> Score:
        """The measures of one completion."""
        ...

    def measures(self, samples: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
        """What this task measures beside `metrics.summarize`: name -> {label, k, n, value, low, high} over samples;
        `share` is true where it is one."""
        ...

    def picture(self, samples: Sequence[Mapping[str, Any]]) -> str:
        """What a report shows of this task's samples beside tables, as HTML; empty for nothing."""
        ...


def tasks() -> list[str]:
    """The names of the tasks: the folders of `tasks` are the registry."""
    return sorted(p.name for p in (Path(__file__).parent / "tasks").iterdir() if (p / "__init__.py").exists())


def load_task(name: str) -> Task:
    """The task `slmbench.tasks.NAME`. Raises BadInput for one there is none of."""
    if name not in tasks():
        raise BadInput(f"task {name}: there is no such task; take one of {', '.join(tasks())}.")
    task: Task = importlib.import_module(f"slmbench.tasks.{name}").TASK
    return task


def find_split(own: Task, source: str) -> tuple[Task, str] | None:
    """The task and the split of it that a source of data names: SPLIT of `own`, TASK/SPLIT of any; None for a file."""
    name, slash, split = source.rpartition("/")
    if slash and name not in tasks():
        return None
    task = load_task(name) if slash else own
    return (task, split) if source_rows(split)[0] in task.splits() else None


def source_rows(source: str) -> tuple[str, str]:
    """(source, rows) of SOURCE:ROWS, no rows where it names none: a colon within a path is the path's."""
    name, colon, rows = source.rpartition(":")
    return (name, rows) if colon and not set(rows) & set("/\\.") else (source, "")


def source_times(source: str) -> tuple[str, int]:
    """(source, N) of SOURCE*N, a source of training rows that an epoch takes N times; 1 where it names none."""
    name, star, times = source.rpartition("*")
    return (name, int(times)) if star and times.isascii() and times.isdigit() and int(times) > 0 else (source, 1)
