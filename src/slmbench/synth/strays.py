"""Things in a document that nobody asks for: labelled values and remarks that no field of the schema means."""

from __future__ import annotations

from slmbench.synth.fields import words_in
from slmbench.synth.sections import Field
from slmbench.synth.spell import spell
from slmbench.synth.values import Source

_FIELDS = (
    ("Page", ("1 of 2", "2/3", "1")), ("Printed", ("DAY", "DAY TIME")), ("Copy for", ("the file", "accounting")),
    ("Form", ("F-##", "rev. #")), ("Last sync", ("## s ago", "DAY")), ("Export job", ("####", "nightly")),
    ("Template", ("v#", "standard ##")), ("Opened by", ("auto", "import")), ("Clerk", ("mk", "J. D.", "desk #")),
    ("Archive box", ("##", "B##")), ("Queue", ("#", "main")), ("Read by", ("### people", "bot")),
)  # fmt: skip
_REMARKS = (
    "Our office is closed on DAY, by the way.", "I tried to call you twice yesterday.", "Thanks for waiting.",
    "We had 1# similar cases last month.", "Sorry it took me 1# days to get back to you.",
    "Hope the weather is better.", "My colleague Jo will be back soon.",
    "The old form had 1# pages, this one is shorter.", "Coffee is on me.",
    "Please ignore my earlier mail of DAY, that was a draft.", "Sent from my phone, so excuse typos.",
    "The previous one, back on DAY, was quite different.", "I copied this from the other system.",
    "Greetings to everybody at your end.", "You asked me for this twice, I know.", "I am in meetings until 3 pm.",
)  # fmt: skip


def stray_fields(taken: set[str], source: Source) -> list[Field]:
    """One or two labelled values, under labels that share no word with `taken`."""
    free = [(label, ways) for label, ways in _FIELDS if not taken & set(words_in(label))]
    picked = source.rng.sample(free, min(len(free), source.pick([1, 1, 2])))
    return [Field("stray", label, filled(source.pick(ways), source), "", {}) for label, ways in picked]


def stray_remark(taken: set[str], source: Source) -> str:
    """A sentence that shares no long word with `taken`."""
    free = [way for way in _REMARKS if not taken & {word for word in words_in(way) if len(word) > 3}]
    return filled(source.pick(free or ["Thanks for waiting."]), source)


def filled(way: str, source: Source) -> str:
    """A way with its # as digits, its DAY as a date and its TIME as a time of day."""
    day = spell(source.date(2021, 2023).isoformat(), {"format": "date"}, source.rng, 0.8)
    clock = source.clock(7, 20).strftime("%H:%M")
    return source.digits(way).replace("DAY", day).replace("TIME", clock)
