"""What the data set's card says of intents beside what it says of any task: their lists and how splits are drawn."""

from __future__ import annotations

from collections.abc import Mapping

from slmbench.tasks.edge_intent import FEW, NONE, OFFERED, RENAMED, WITHOUT, domain_of, intents


def facts() -> dict[str, str]:
    """Name -> Markdown of each part."""
    return {
        "none": NONE,
        "intent_count": str(len(intents())),
        "domain_count": str(len(set(domain_of().values()))),
        "few": str(FEW),
        "offered": f"{OFFERED[0]} to {OFFERED[1]}",
        "without": f"{100 * WITHOUT:g} %",
        "renamed": f"{100 * RENAMED:g} %",
        "intents": _listed(intents(), domain_of()),
        "unseen": _listed(intents("unseen"), {}),
    }


def _listed(described: Mapping[str, str], domains: Mapping[str, str]) -> str:
    """Intents with what they are for, domain by domain."""
    lines = []
    domain = ""
    for name, said in described.items():
        if domains.get(name, "") != domain:
            domain = domains[name]
            lines.append(f"\n**{domain}**\n")
        lines.append(f"- `{name}`: {said}")
    return "\n".join(lines).strip()
