"""How easy EdgeIntent is: what TF-IDF with a logistic regression scores, and how many turns train and test share.

The baseline learns from `train` or from `few` and answers `test`; its answers are scored as a model's are, and the
table is printed as Markdown. It needs scikit-learn.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from _table import command

from slmbench.core import Completion, Example
from slmbench.evaluate import make_sample
from slmbench.kept import kept_baseline
from slmbench.metrics import Sample, figure
from slmbench.publish.tables import full, markdown_table
from slmbench.schema import canonical
from slmbench.tasks.edge_intent import TASK, baseline

LEARNT = ("train", "few")
BEGIN, END = "<!-- intents:begin -->", "<!-- intents:end -->"


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table, or put it between the markers of a file."""
    command(__doc__, table, BEGIN, END, argv, keep)


def keep(results: Path) -> list[Path]:
    """Write its answers to `test` as results, one for each set that it learns from."""
    paths, says = [], "TF-IDF and a logistic regression"
    for split in LEARNT:
        started = time.monotonic()
        kept = kept_baseline(results, f"tfidf_{split}", says, "intent_baseline", TASK, ["test"], [split])
        samples = {"test": answered(TASK.load(split), kept.examples["test"])}
        paths.append(kept.write(samples, time.monotonic() - started))
    return paths


def answered(train: Sequence[Example], test: Sequence[Example]) -> list[Sample]:
    """The baseline's answers to `test` as scored samples, all written at once."""
    started = time.perf_counter()
    intents = baseline.predict(train, test)
    seconds = time.perf_counter() - started
    samples = []
    for example, intent in zip(test, intents, strict=True):
        text = canonical({"intent": intent}, example.schema)
        done = Completion(example.id, text, (), "stop", 0, 0, None, seconds, len(test))
        samples.append(make_sample(TASK, example, done))
    return samples


def table() -> str:
    """Markdown: a row for each set that the baseline learns from."""
    test = TASK.load("test")
    rows = []
    for split in LEARNT:
        train = TASK.load(split)
        samples = answered(train, test)
        own = TASK.measures(samples)
        figures = [full(own[name], name) for name in ("macro_f1", "oos_recall", "oos_precision")]
        shared = [f"{100 * baseline.overlap(train, test, n):.1f} %" for n in (2, 3, 4)]
        rows.append([f"{split} ({len(train)})", full(figure(samples, "json_exact"), "json_exact"), *figures, *shared])
    head = ["learnt from", "accuracy on test", "macro-F1", "out-of-scope recall", "out-of-scope precision"]
    return markdown_table([*head, *(f"{n}-grams of test in it" for n in (2, 3, 4))], rows)


if __name__ == "__main__":
    main()
