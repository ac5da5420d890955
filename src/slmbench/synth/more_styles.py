"""What people copy and paste, as styles beside those of `styles.py`: mails that tell and list, notes, web pages."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from slmbench.synth import styles
from slmbench.synth.doc import Doc
from slmbench.synth.sections import folded, groups
from slmbench.synth.styles import first_up
from slmbench.synth.tree import Node


def _split(doc: Doc) -> tuple[list[Node], list[Node]]:
    """Some of the fields to tell, and the rest to list."""
    told = [node for node in doc.nodes if not node.items and doc.chance(0.45)]
    return told, [node for node in doc.nodes if all(node is not one for one in told)]


def _listed(doc: Doc, nodes: Sequence[Node]) -> list[str]:
    fields, items = folded(doc.parts(nodes))
    mark, bullet = doc.rng.choice([": ", ": ", " - ", " = "]), doc.rng.choice(["", "- ", "* ", "• "])
    lines = [f"{bullet}{first_up(f.label)}{mark}{f.text}" for f in fields]
    for group in groups(items):
        lines += ["", f"{first_up(group[0].group)}:"]
        lines += [f"{n}. " + "; ".join(f"{f.label} {f.text}" for f in item.fields) for n, item in enumerate(group, 1)]
    return lines[1:] if lines and not lines[0] else lines


def memo(doc: Doc) -> str:
    """A mail or letter that tells some things and lists the rest."""
    told, rest = _split(doc)
    rng, said = doc.rng, doc.sentences(told) if told else []
    name, other = doc.source.person(), doc.source.person()
    head = [f"From: {name.name}", f"To: {rng.choice(['office', 'team', other.name])}"] if doc.chance(0.5) else []
    head += [f"Subject: {first_up(doc.about())}"] if head or doc.chance(0.4) else []
    lead = rng.choice(["Here are the details:", "In short:", "The facts:", "What I have so far:", "Please see below."])
    hello = rng.choice([f"Hi {other.first},", "Hello,", "Dear all,", f"Dear {other.name},", "Good afternoon,"])
    bye = rng.choice(["Best", "Thanks", "Kind regards", "BR", "Many thanks and see you soon", "Yours"])
    blocks = ["\n".join(head), hello, " ".join(said), "\n".join([lead, *_listed(doc, rest)] if rest else [])]
    blocks.append(f"{bye},\n{name.first}" if not doc.taken() & {"name", "sender"} else f"{bye},\nthe office")
    return "\n\n".join(block for block in blocks if block)


def letter(doc: Doc) -> str:
    """A formal letter with a reference line, and a block of particulars."""
    told, rest = _split(doc)
    rng = doc.rng
    opening = rng.choice(
        ["we refer to our conversation and are pleased to confirm the following", "thank you for your message",
         "please find the particulars below", "we write to you about {about}", "further to your request about {about}"]
    ).replace("{about}", doc.about())  # fmt: skip
    said = " ".join(doc.sentences(told)) if told else ""
    block = "\n".join(_listed(doc, rest))
    end = rng.choice(["Yours faithfully", "Yours sincerely", "With kind regards", "Respectfully"])
    close = rng.choice(["Please contact us with any questions.", "We look forward to your reply.", ""])
    subject = f"Re: {doc.about()}" if doc.chance(0.5) else ""
    parts = [subject, f"Dear {rng.choice(['Sir or Madam', 'colleagues', 'customer', 'friends'])},"]
    parts += [f"{opening}. {said}".strip(), block, close, end]
    return "\n\n".join(part for part in parts if part)


def record(doc: Doc) -> str:
    """What one copies from a web page or an app: a label, and its value on the next line or behind a tab."""
    rng, gap = doc.rng, doc.rng.choice(["\n", "\n", "\t", "  "])
    lines = [rng.choice(["Home > Records > Details", "Back | Edit | Print", "Overview   Details   History"])]
    lines = (lines if doc.chance(0.5) else []) + ([first_up(doc.title())] if doc.chance(0.5) else [])
    for section in doc.parts():
        if section.number:
            lines.append(f"{first_up(section.title)} {section.number}")
        elif section.title and section.fields:
            lines.append(first_up(section.title))
        lines += [f"{first_up(f.label)}{gap}{f.text}" for f in section.fields] + ([""] if section.number else [])
    if doc.chance(0.3):
        lines.append(rng.choice(["Share   Save   Report", "© all rights reserved", "Was this helpful?", "Show more"]))
    return "\n".join(lines)


def scribble(doc: Doc) -> str:
    """Short notes in a row, as one jots them down: fields parted by commas, slashes or line breaks."""
    fields, items = folded(doc.parts())
    mark, gap = doc.rng.choice([" ", ": ", " = "]), doc.rng.choice([", ", " / ", "\n", " // ", "; "])
    lower = str.lower if doc.chance(0.6) else str
    lines = [gap.join(f"{lower(f.label)}{mark}{f.text}" for f in fields)]
    bullet = doc.rng.choice(["-", "+", ">", "*"])
    for group in groups(items):
        lines += [f"{lower(group[0].group)}:"] if len(groups(items)) > 1 or doc.chance(0.5) else []
        lines += [f"{bullet} " + ", ".join(f"{lower(f.label)} {f.text}" for f in item.fields) for item in group]
    head = doc.rng.choice(["", "", "note to self: ", "re " + doc.about() + ": ", "tel. note - ", "TODO file: "])
    return head + "\n".join(lines)


def thread(doc: Doc) -> str:
    """An answer above the mail that asked for it."""
    rng, said = doc.rng, doc.sentences()
    asker = doc.source.person().first
    ask = rng.choice(["could you send me the details of {a}?", "what is the state of {a}?", "any news on {a}?"])
    asked = [f"> {rng.choice(['Hi', 'Hello', 'Hey'])},", f"> {ask.replace('{a}', doc.about())}"]
    asked += [f"> {doc.remark()}"] if doc.chance(0.4) else []
    cut = rng.randint(1, max(1, len(said) - 1))
    head = rng.choice([f"Hi {asker},", "Sure,", "Here you go.", "Hello again,", "See my answer here:"])
    body = "\n".join([head, "", " ".join(said[:cut]), *([" ".join(said[cut:])] if said[cut:] else [])])
    wrote = rng.choice([f"{asker} wrote:", "-----Original Message-----", doc.filled(f"On DAY, {asker} wrote:")])
    return f"{body}\n\n{wrote}\n" + "\n".join(asked)


def advert(doc: Doc) -> str:
    """What stands in a small advertisement, a notice or a headline: values in a row, labels only where needed."""
    rng = doc.rng
    plain = [node for node in doc.nodes if not node.items and not node.children and node.meaning.kind != "prose"]
    rest = [node for node in doc.nodes if all(node is not one for one in plain)]
    found = doc.chips(plain)
    mark, cut = rng.choice([", ", ". ", " - ", " | ", " · ", "; ", " // "]), rng.randint(1, max(1, len(found)))
    lines = [first_up(mark.join(found[:cut])), mark.join(found[cut:])] if doc.chance(0.5) else [mark.join(found)]
    head = rng.choice(["", "", first_up(doc.title()), doc.title().upper(), first_up(doc.about()), "NEW: ", "Notice"])
    said = [other.sentence for other in doc.others] + ([doc.remark()] if doc.chance(0.3) else [])
    tail = _listed(doc, rest) if rest and doc.chance(0.5) else doc.sentences(rest) if rest else said
    return "\n".join(part for part in [head, *lines, *tail] if part)


STYLES: dict[str, Callable[[Doc], str]] = {
    **styles.TRAINED,
    **{style.__name__: style for style in (memo, letter, record, scribble, thread, advert)},
}
"""All styles of documents, by name."""
