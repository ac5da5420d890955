"""What the data set's card says of functions beside what it says of any task: their list and how cases are drawn."""

from __future__ import annotations

from slmbench.publish.dataset import text_table
from slmbench.tasks.edge_func_call import ASK, functions
from slmbench.tasks.edge_func_call.generate import VALUES


def facts() -> dict[str, str]:
    """Name -> Markdown of each part."""
    domains: dict[str, list[str]] = {}
    for name, function in functions().items():
        domains.setdefault(function["domain"], []).append(f"`{name}`")
    train, test = (set(range(VALUES[split].stop)[VALUES[split]]) for split in ("train", "test"))
    return {
        "ask": ASK,
        "function_count": str(len(functions())),
        "domain_count": str(len(domains)),
        "train_templates": _span([len(function["train"]) for function in functions().values()]),
        "test_templates": _span([len(function["test"]) for function in functions().values()]),
        "shared_values": f"{100 * len(train & test) / len(train | test):.0f} %",
        "functions": text_table(["domain", "functions"], [[name, ", ".join(d)] for name, d in domains.items()]),
    }


def _span(counts: list[int]) -> str:
    """`10`, or `8 to 10`."""
    return str(min(counts)) if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"
