"""A text for each kind of field (a person, a code, a day, prose), drawn so that one document tells one story."""

from __future__ import annotations

import datetime
import functools
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from slmbench.synth import free
from slmbench.synth.fields import Meaning, table
from slmbench.synth.values import Person, Source, ascii_slug, iso


@dataclass
class Story:
    """What the values of one document share: its day, what it is about, its people by group, the texts told so far."""

    source: Source
    day: datetime.date
    theme: str
    people: dict[str, Person] = field(default_factory=dict)
    told: set[str] = field(default_factory=set)

    def person(self, group: str, *, new: bool = False) -> Person:
        """The person of a group of fields ("customer"), else the last one met; someone else where `new`."""
        if not new and group not in self.people and self.people:
            return next(reversed(self.people.values()))
        if new or group not in self.people:
            self.people[group] = self.source.person()
        return self.people[group]


def _code(story: Story, told: Meaning) -> str:
    """A code of one of the patterns in `args`: a digit for each #, a letter for each @; often of another shape, where
    they are nothing but numbers."""
    patterns = " ".join(told.args).split("|")
    if len(patterns) > 2 and min(map(len, patterns)) > 4 and story.source.chance(0.45):
        return free.code(story.source)
    return free.shaped(story.source.pick(patterns), story.source)


def _pick(story: Story, told: Meaning) -> str:
    """One of a list, or what the templates of the same name make; nouns behind the name may head it."""
    choices, source, (name, *nouns) = table()["choices"], story.source, told.args
    listed = choices.get(f"{name}.{story.theme}", choices.get(name))
    if free.makes(name) and (listed is None or name == "things" or source.chance(0.7)):
        if nouns and source.chance(0.35):
            return free.made("headed", source, nouns)
        return free.made(name, source, choices=_anything())
    return str(source.pick(listed))


@functools.cache
def _anything() -> tuple[str, ...]:
    return tuple(free.anything(table()["choices"]))


def _city(story: Story, told: Meaning) -> str:
    return story.source.city() if story.source.chance(0.35) else free.made("towns", story.source)


def _street(story: Story, told: Meaning) -> str:
    return story.source.street() if story.source.chance(0.7) else free.made("streets", story.source)


def _person(story: Story, told: Meaning) -> str:
    known = story.people.get(told.group)
    return story.person(told.group, new=known is None or known.name in story.told).name


def _address(story: Story, told: Meaning) -> str:
    s = story.source
    return f"{s.street()}, {s.postcode()} {s.city()}"


def _url(story: Story, told: Meaning) -> str:
    s = story.source
    host = f"{ascii_slug(s.person().last)}.example.{s.pick(['com', 'org', s.place.tld])}"
    return (
        s.pick(["https", "https", "http"])
        + f"://{s.pick(['', 'www.'])}{host}"
        + s.digits(s.pick(["", "/info", "/item/####", "/en/view?id=###", "/p/######"]))
    )


def _day(story: Story, told: Meaning) -> str:
    low, high = (int(arg) for arg in told.args)
    return story.source.after(story.day, low, high).isoformat()


def _moment(story: Story, told: Meaning) -> str:
    s, seconds = story.source, story.theme in ("alarm", "bug") and story.source.chance(0.5)
    day = s.after(story.day, 0, 2)
    clock = datetime.time(s.integer(0, 23), s.integer(0, 59), s.integer(0, 59) if seconds else 0)
    return iso(datetime.datetime.combine(day, clock))


def _clock(story: Story, told: Meaning) -> str:
    """HH:MM, or what `format: time` asks for where the field says that, by `args`."""
    return story.source.clock(7, 20).strftime("%H:%M:00Z" if told.args else "%H:%M")


def _prose(story: Story, told: Meaning) -> str:
    bank, s = told.args[0], story.source
    count = s.pick([1, 1, 2, 2, 3]) if bank in ("summary", "notes") else 1
    found: list[str] = []
    for _ in range(count * 3):
        said = sentence(story, bank)
        if said[:9] not in {known[:9] for known in found} and len(found) < count:
            found.append(said)
    text = " ".join(found)
    return text.rstrip(".") if count == 1 and s.chance(0.4) else text


def sentence(story: Story, bank: str) -> str:
    """A sentence of a bank of `fields.json`, that of the theme where it has one: each [a|b] drawn."""
    known, source = table()["prose"], story.source
    ways = known.get(f"{bank}.{story.theme}", known[bank])
    return re.sub(r"\[([^\]]*)\]", lambda match: str(source.pick(match[1].split("|"))), str(source.pick(ways)))


def _version(story: Story, told: Meaning) -> str:
    s = story.source
    form = s.pick(
        ["{}.{}.{}", "v{}.{}.{}", "{}.{}", "{}.{}.{}-beta", "{}.{}.{} RC1", "{}.{}.{}.{}", "20{}.{}", "{}.{}a"]
    )
    return form.format(s.integer(0, 12), s.integer(0, 30), s.integer(0, 9), s.integer(1, 999))


def _ip(story: Story, told: Meaning) -> str:
    s = story.source
    return f"{s.pick(['10.0', '172.16', '192.168'])}.{s.integer(0, 250)}.{s.integer(2, 250)}"


def _spelled(story: Story, told: Meaning) -> str:
    """A number for a field of type string, with its unit."""
    low, high = (int(arg) for arg in told.args[:2])
    s = story.source
    if told.kind == "money":
        return f"{s.price(low, high)} {s.pick(['EUR', 'USD', 'GBP'])}"
    places = int(told.args[2]) if told.kind == "dec" else 0
    return f"{s.decimal(low, high, places)}{' ' + told.unit if told.unit else ''}"


MAKERS: dict[str, Callable[[Story, Meaning], str]] = {
    "code": _code,
    "pick": _pick,
    "person": _person,
    "doctor": lambda story, told: story.source.doctor(),
    "first": lambda story, told: story.person(told.group).first,
    "last": lambda story, told: story.person(told.group).last,
    "user": lambda story, told: story.person(told.group).email.split("@")[0],
    "email": lambda story, told: story.person(told.group).email,
    "phone": lambda story, told: story.source.phone(),
    "company": lambda story, told: story.source.company(),
    "street": _street,
    "address": _address,
    "city": _city,
    "country": lambda story, told: story.source.place.country,
    "postcode": lambda story, told: story.source.postcode(),
    "iban": lambda story, told: story.source.iban(),
    "url": _url,
    "date": _day,
    "born": lambda story, told: story.source.date(1934, 2006).isoformat(),
    "moment": _moment,
    "time": _clock,
    "prose": _prose,
    "version": _version,
    "ip": _ip,
    "ip6": lambda story, told: ":".join(["2001", "db8", *(f"{story.source.integer(1, 65535):x}" for _ in range(6))]),
    "uuid": lambda story, told: str(uuid.UUID(int=story.source.rng.getrandbits(128), version=4)),
    "year": lambda story, told: str(story.source.integer(*(int(arg) for arg in told.args[:2]))),
    "pickint": lambda story, told: f"{story.source.pick(told.args)}{' ' + told.unit if told.unit else ''}",
    "money": _spelled,
    "int": _spelled,
    "dec": _spelled,
}
