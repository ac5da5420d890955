"""Object -> document. Ten styles to train on, five more that only `test_styles` shows.

Every style shows each leaf once, keeps list items apart (one row, numbered block or sentence each), and says nothing
of fields that are absent. `render` is the way in.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slmbench.synth.sections import Field, Section, folded, groups, sections
from slmbench.synth.speech import OPEN, Phrases, Speaker, bare, on_words

# The share of eligible values that are written by a rule (`spell.py`) rather than as in the JSON.
RATE_LISTED, RATE_SPOKEN = 0.12, 0.22


@dataclass(frozen=True)
class Page:
    """What a style gets to draw from."""

    value: Mapping[str, Any]
    schema: Mapping[str, Any]
    phrases: Phrases
    rng: random.Random

    def parts(self) -> list[Section]:
        return sections(self.value, self.schema, self.rng, RATE_LISTED)

    def sentences(self) -> list[str]:
        return Speaker(self.phrases, self.schema, self.rng, RATE_SPOKEN).sentences(self.value)

    def about(self) -> str:
        return self.rng.choice(self.phrases.about)

    def title(self) -> str:
        return str(self.schema["title"])

    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability


def render(
    value: Mapping[str, Any], schema: Mapping[str, Any], style: str, phrases: Phrases, rng: random.Random
) -> str:
    """The document of `value` in `style`, one of `TRAINED` or `UNSEEN`."""
    return bare({**TRAINED, **UNSEEN}[style](Page(value, schema, phrases, rng))).strip()


def first_up(text: str) -> str:
    """A text whose first letter is large."""
    return text[:1].upper() + text[1:]


def _reordered(fields: Sequence[Field], page: Page) -> list[Field]:
    fields = list(fields)
    if page.chance(0.25):
        page.rng.shuffle(fields)
    return fields


# Labelled styles


def field_list(page: Page) -> str:
    """`Label: value` lines; nested objects indented or with both labels; items numbered."""
    rng, parts = page.rng, page.parts()
    mark, bullet = rng.choice([": ", ": ", " = "]), rng.choice(["", "", "- ", "* ", "• "])
    lines = [page.title() + ":"] if page.chance(0.3) else []
    if page.chance(0.5):
        fields, items = folded(parts)
        lines += [f"{bullet}{first_up(f.label)}{mark}{f.text}" for f in _reordered(fields, page)]
    else:
        items = [s for s in parts if s.number]
        for section in (s for s in parts if not s.number):
            lines += [f"{first_up(section.title)}:"] if section.title and section.fields else []
            indent = "  " if section.title else ""
            lines += [f"{indent}{bullet}{first_up(f.label)}{mark}{f.text}" for f in _reordered(section.fields, page)]
    inline = page.chance(0.5)
    for group in groups(items):
        lines.append(f"{first_up(group[0].group)}:")
        for item in group:
            if inline:
                lines.append(f"  {item.number}. " + "; ".join(f"{f.label}{mark}{f.text}" for f in item.fields))
            else:
                lines.append(f"  {item.title} {item.number}")
                lines += [f"    {first_up(f.label)}{mark}{f.text}" for f in item.fields]
    return "\n".join(lines)


def _boxes(field: Field, page: Page) -> str:
    if isinstance(field.value, bool):
        return page.rng.choice([("[x] yes [ ] no", "[ ] yes [x] no"), ("[x]", "[ ]")])[not field.value]
    options = field.schema.get("enum", [])
    if 0 < len(options) <= 4 and page.chance(0.4):
        return " ".join(f"[{'x' if o == field.value else ' '}] {o.replace('_', ' ')}" for o in options)
    return field.text


def form(page: Page) -> str:
    """A filled form: dotted lines, ticked boxes, headed blocks."""
    parts, dots = page.parts(), page.chance(0.6)
    lines = [page.title().upper()] + (["(please print)"] if page.chance(0.15) else [])
    for section in parts:
        if section.number:
            lines.append(f"-- {section.title} {section.number} --")
        elif section.title and section.fields:
            lines.append(f"-- {first_up(section.title)} --")
        for field in section.fields:
            gap = " " + "." * page.rng.randint(3, 8) + " " if dots else ": "
            lines.append(f"{first_up(field.label)}{gap}{_boxes(field, page)}")
    if page.chance(0.2):
        lines.append(page.rng.choice(["Signature: ________", "Thank you for filling in this form."]))
    return "\n".join(lines)


def _rows(items: list[Section]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a list's table; a field that an item lacks is an empty cell."""
    keys: dict[str, str] = {}
    for item in items:
        for field in item.fields:
            keys.setdefault(field.key, field.label)
    rows = [[next((f.text for f in item.fields if f.key == key), "") for key in keys] for item in items]
    return list(keys.values()), rows


def markdown_table(page: Page) -> str:
    """A table of fields and values (or one wide row), and a table for each list."""
    fields, items = folded(page.parts())
    fields = _reordered(fields, page)
    lines = [f"## {page.title()}"] if page.chance(0.4) else []
    if len(fields) <= 5 and page.chance(0.5):
        lines += _markdown([first_up(f.label) for f in fields], [[f.text for f in fields]])
    else:
        head = page.rng.choice([["Field", "Value"], ["Item", "Entry"], ["What", "Details"]])
        lines += _markdown(head, [[first_up(f.label), f.text] for f in fields])
    numbered = page.chance(0.4)
    for group in groups(items):
        header, rows = _rows(group)
        if numbered:
            header, rows = ["#", *header], [[str(i), *row] for i, row in enumerate(rows, 1)]
        lines += ["", f"**{first_up(group[0].group)}**", *_markdown([first_up(h) for h in header], rows)]
    return "\n".join(lines)


def _markdown(header: list[str], rows: list[list[str]]) -> list[str]:
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def csv_table(page: Page) -> str:
    """Header and row, or `field,value` rows; a table for each list. The delimiter stands in no value."""
    fields, items = folded(page.parts())
    texts = [f.text for f in fields] + [f.text for s in items for f in s.fields]
    mark = next(m for m in page.rng.choice([",;|", ";,|"]) if not any(m in text for text in texts))
    if len(fields) <= 8 and page.chance(0.6):
        lines = [mark.join(f.label.lower() for f in fields), mark.join(f.text for f in fields)]
    else:
        lines = [f"{f.label.lower()}{mark}{f.text}" for f in fields]
    for group in groups(items):
        header, rows = _rows(group)
        lines += ["", f"# {group[0].group.lower()}", mark.join(h.lower() for h in header), *map(mark.join, rows)]
    return "\n".join(lines)


def log_line(page: Page) -> str:
    """`key=value` on one line; each list item on a line of its own."""
    fields, items = folded(page.parts())
    mark, gap = page.rng.choice([("=", " "), ("=", " "), (": ", " | ")])
    head = page.rng.choice(["app[main]", "sync", "worker", "feed", "<14> hub", "audit"])
    name = page.title().lower().replace(" ", ".")
    lines = [f"{head} {name}{page.rng.choice([' ', ': ', ' - ']) if gap == ' ' else ' | '}" + _pairs(fields, mark, gap)]
    for item in items:
        lines.append(f"{head} {name} {item.title.lower()}#{item.number}{gap}" + _pairs(item.fields, mark, gap))
    return "\n".join(lines)


def _pairs(fields: Sequence[Field], mark: str, gap: str) -> str:
    return gap.join(f"{f.label.lower().strip('.').replace(' ', '_')}{mark}{_quoted(f.text, gap)}" for f in fields)


def _quoted(text: str, gap: str) -> str:
    if gap != " " or " " not in text:
        return text
    return f"'{text}'" if '"' in text else f'"{text}"'


_MISREAD = (("o", "0"), ("l", "1"), ("i", "l"), ("m", "rn"), ("e", "c"), ("s", "5"), ("u", "v"), ("t", "f"))


def ocr(page: Page) -> str:
    """A scanned form: misread labels, stray marks, broken lines, junk above and below. Values stay as they are."""
    rng = page.rng
    lines = [rng.choice(["SCANNED COPY", "~ ~ page 1 of 1 ~ ~", "'' COPY ''", "== fax =="])] if page.chance(0.5) else []
    lines.append(" ".join(page.title().upper()) if page.chance(0.3) else page.title().upper())
    for section in page.parts():
        if section.number:
            lines.append(f"{section.title.upper()} {section.number}" + rng.choice(["", " --", " :"]))
        elif section.title and section.fields:
            lines.append(section.title.upper())
        lines += [_scanned(field, page) for field in section.fields]
    if page.chance(0.4):
        lines.append(rng.choice(["-- end of copy --", "~~ ' .. ~", "[stamp illegible]", "_ _ _ _"]))
    return "\n".join(lines)


def _scanned(field: Field, page: Page) -> str:
    label = first_up(field.label)
    if page.chance(0.35):
        label = _misread(label, page.rng)
    text = field.text
    gap = page.rng.choice([": ", ": ", " " if ":" in text else ":", " :  ", ":   ", ":\n  "])
    if page.chance(0.1) and text.count(" ") >= 2 and "\n" not in text:
        at = text.index(" ", len(text) // 3) if " " in text[len(text) // 3 :] else text.index(" ")
        text = f"{text[:at]}\n  {text[at + 1 :]}"
    return label + gap + text + (page.rng.choice([" ~", " |", " ^", " _"]) if page.chance(0.12) else "")


def _misread(label: str, rng: random.Random) -> str:
    found = [(i, new) for i, char in enumerate(label) for old, new in _MISREAD if char == old and i > 0]
    if not found:
        return label
    at, new = rng.choice(found)
    return label[:at] + new + label[at + 1 :]


# Styles of running text


def prose(page: Page) -> str:
    """One flowing paragraph."""
    said = page.sentences()
    if page.chance(0.2):
        said.insert(0, page.rng.choice(["For the record.", "A short note.", "Here is what I know.", "To sum up:"]))
    if page.chance(0.2):
        said.append(page.rng.choice(["That is all for now.", "Nothing else to report.", "More will follow."]))
    return " ".join(said)


def email(page: Page) -> str:
    """A short mail with subject, greeting and sign-off."""
    rng, said = page.rng, page.sentences()
    small_talk = ["I hope you are well.", "Thanks for the call earlier.", "Sorry for the late reply.", "As promised:"]
    opening = [rng.choice(small_talk)] if page.chance(0.35) else []
    closing = [rng.choice(["Let me know if anything is unclear.", "Could you file this?", "Thanks a lot!"])]
    half = len(said) // 2 if len(said) > 3 else len(said)
    body = "\n\n".join(" ".join(block) for block in (opening + said[:half], said[half:]) if block)
    greeting = rng.choice(["Hi all,", "Hello,", "Dear team,", "Hi there,", "Good morning,"])
    bye = rng.choice(["Best regards", "Thanks", "Kind regards", "Cheers", "All the best"])
    tail = (" " + closing[0]) if page.chance(0.4) else ""
    return f"Subject: {first_up(page.about())}\n\n{greeting}\n\n{body}{tail}\n\n{bye}"


def chat(page: Page) -> str:
    """Two people in a chat window; one tells, the other nods."""
    rng = page.rng
    teller, other = rng.choice([("desk", "me"), ("agent", "user"), ("A", "B"), ("night", "day"), ("ops", "lead")])
    lines = [f"{other}: {rng.choice(['hi, what do you have?', 'any news?', 'go ahead', 'what is it about?'])}"]
    if page.chance(0.4):
        lines.append(f"{teller}: it's about {page.about()}")
    left = page.sentences()
    while left:
        taken = rng.randint(1, 2)
        turn, left = " ".join(left[:taken]), left[taken:]
        if page.chance(0.5) and not turn.startswith(OPEN):
            turn = turn[0].lower() + turn[1:]
        lines.append(f"{teller}: {turn}")
        if left and page.chance(0.25):
            lines.append(f"{other}: {rng.choice(['ok', 'got it', 'and?', 'noted', 'uh-huh', 'go on'])}")
    if page.chance(0.3):
        lines.append(f"{other}: {rng.choice(['thanks!', 'all clear', 'great, bye', 'perfect'])}")
    return "\n".join(lines)


def dictation(page: Page) -> str:
    """Spoken into a recorder and typed as heard: lower case, fillers, a few spoken marks."""
    rng = page.rng
    stop = rng.choice([".", " period", ",", " full stop"])

    def heard(words: str) -> str:
        return words.lower().replace(". ", f"{stop} ")

    said = []
    for sentence in page.sentences():
        filler = rng.choice(["um ", "okay ", "so ", "right, ", "and "]) if page.chance(0.3) else ""
        said.append(filler + on_words(sentence + " ", heard).rstrip())
    start = rng.choice(["new note", "memo", "okay recording", "dictation"])
    end = f" {rng.choice(['end of note', 'that is it', 'end of dictation'])}" if page.chance(0.5) else ""
    return f"{start}, {page.about()}: " + " ".join(said) + end


# Styles that are never trained on


def voicemail(page: Page) -> str:
    """A message on an answering machine."""
    rng = page.rng
    start = rng.choice(["Hi, it's the office calling", "Hello, this is a message", "Good evening, just a quick call"])
    said = [f"{start} about {page.about()}."]
    for sentence in page.sentences():
        filler = f"{rng.choice(['Let me see...', 'Uh,', 'Okay.', 'Right.'])} " if page.chance(0.3) else ""
        said.append(filler + sentence)
    said.append(rng.choice(["Call me back if you need to. Bye!", "Talk soon, bye-bye.", "That was it, thank you."]))
    return "[beep] " + " ".join(said)


def sms(page: Page) -> str:
    """A burst of text messages in the short spelling of a phone."""
    short = {"please ": "pls ", "you ": "u ", " and ": " & ", "with ": "w/ ", "are ": "r ", "about ": "abt "}

    def shorten(words: str) -> str:
        for long, brief in short.items():
            words = words.replace(long, brief)
        return words

    lines = [f"> {on_words(sentence, shorten).removesuffix('.')}" for sentence in page.sentences()]
    return "\n".join([f"> hey, abt {page.about()}", *lines, *(["> thx!"] if page.chance(0.5) else [])])


def letter(page: Page) -> str:
    """A formal letter."""
    rng, said = page.rng, page.sentences()
    opening = f"With this letter we would like to inform you about {page.about()}."
    end = rng.choice(["We thank you for your trust.", "Feel free to contact us.", "Please keep this letter."])
    body = " ".join(said)
    bye = rng.choice(["Yours faithfully", "Yours sincerely", "With kind regards"])
    return f"Dear Sir or Madam,\n\n{opening} {body}\n\n{end}\n\n{bye},\nThe Office"


def html(page: Page) -> str:
    """A fragment of a web page."""
    rows = ["<li><b>{label}</b> {text}</li>", "<p>{label}: {text}</p>", "<dt>{label}</dt> <dd> {text} </dd>"]
    row = page.rng.choice(rows)
    lines = [f"<h2>{page.title()}</h2>"]
    for section in page.parts():
        if section.number:
            lines.append(f"<h3>{section.title} {section.number}</h3>")
        elif section.title and section.fields:
            lines.append(f"<h3>{first_up(section.title)}</h3>")
        lines += [row.replace("{label}", first_up(f.label)).replace("{text}", f.text) for f in section.fields]
    return "\n".join(lines)


def ini(page: Page) -> str:
    """A settings file with a section for each object and list item."""
    lines = []
    for section in page.parts():
        if section.number:
            lines.append(f"[{section.title.lower()}.{section.number}]")
        elif section.fields:
            lines.append(f"[{(section.title or page.title()).lower().replace(' ', '_')}]")
        lines += [f"{f.label.lower().strip('.').replace(' ', '_')} = {f.text}" for f in section.fields]
    return "\n".join(lines)


_LABELLED = (field_list, form, markdown_table, csv_table, log_line, ocr)
_RUNNING = (prose, email, chat, dictation)
TRAINED: dict[str, Callable[[Page], str]] = {style.__name__: style for style in (*_LABELLED, *_RUNNING)}
UNSEEN: dict[str, Callable[[Page], str]] = {style.__name__: style for style in (voicemail, sms, letter, html, ini)}
# Only these can show a line break inside a value as it stands and leave no doubt where the value ends.
MULTILINE = ("field_list", "form", "email", "prose")
