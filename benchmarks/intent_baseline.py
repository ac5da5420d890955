"""How easy EdgeIntent is: what TF-IDF with a logistic regression scores, and how many turns train and test share.

The baseline learns from `train` or from `few` and answers `test`; its answers are scored as a model's are, and the
table is printed as Markdown. It needs scikit-learn.
"""

from __future__ import annotations

from collections.abc import Sequence

from _table import command

from slmbench.core import Completion
from slmbench.evaluate import make_sample
from slmbench.metrics import figure
from slmbench.publish.tables import full, markdown_table
from slmbench.schema import canonical
from slmbench.tasks.edge_intent import TASK, baseline

BEGIN, END = "<!-- intents:begin -->", "<!-- intents:end -->"


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table, or put it between the markers of a file."""
    command(__doc__, table, BEGIN, END, argv)


def table() -> str:
    """Markdown: a row for each set that the baseline learns from."""
    test = TASK.load("test")
    rows = []
    for split in ("train", "few"):
        train = TASK.load(split)
        samples = []
        for example, intent in zip(test, baseline.predict(train, test), strict=True):
            text = canonical({"intent": intent}, example.schema)
            samples.append(make_sample(TASK, example, Completion(example.id, text, (), "stop", 0, 0, None, 0.0, 1)))
        own = TASK.measures(samples)
        figures = [full(own[name], name) for name in ("macro_f1", "oos_recall", "oos_precision")]
        shared = [f"{100 * baseline.overlap(train, test, n):.1f} %" for n in (2, 3, 4)]
        rows.append([f"{split} ({len(train)})", full(figure(samples, "json_exact"), "json_exact"), *figures, *shared])
    head = ["learnt from", "accuracy on test", "macro-F1", "out-of-scope recall", "out-of-scope precision"]
    return markdown_table([*head, *(f"{n}-grams of test in it" for n in (2, 3, 4))], rows)


if __name__ == "__main__":
    main()
