"""Realistic values from one seed: people whose e-mail fits their name, dates that follow each other, sums that add up.

A `Source` is seeded with a string (say "1.0:train:17"), draws from `random.Random` and from Faker seeded likewise, and
so gives the same values on every machine and supported Python. It knows no schema: what belongs together in a document
is the task's business.
"""

from __future__ import annotations

import datetime
import functools
import random
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, TypeVar

T = TypeVar("T")
CENT = Decimal("0.01")
_NOT_DECOMPOSED = str.maketrans({"ł": "l", "Ł": "L", "ø": "o", "Ø": "O", "ß": "ss", "æ": "ae", "ı": "i", "đ": "d"})


@dataclass(frozen=True)
class Place:
    """Where a locale's people live: how its streets, postcodes and phone numbers are written (# is a digit)."""

    country: str
    cities: tuple[str, ...]
    postcode: str
    phone: str
    street: str
    tld: str
    iban: str


PLACES = {
    "en_US": Place(
        "United States", ("Denver", "Austin", "Portland", "Boston", "San Diego", "Madison", "Tampa", "Columbus"),
        "#####", "+1 ### 555 01##", "{number} {street}", "com", "US",
    ),
    "en_GB": Place(
        "United Kingdom", ("Leeds", "Bristol", "York", "Cardiff", "Glasgow", "Norwich", "Bath"),
        "LS# #AB", "+44 20 7946 0###", "{number} {street}", "co.uk", "GB",
    ),
    "de_DE": Place(
        "Germany", ("München", "Köln", "Leipzig", "Nürnberg", "Hamburg", "Lübeck", "Freiburg"),
        "#####", "+49 30 #######", "{street} {number}", "de", "DE",
    ),
    "fr_FR": Place(
        "France", ("Lyon", "Besançon", "Nîmes", "Orléans", "Nantes", "Saint-Étienne"),
        "#####", "+33 1 ## ## ## ##", "{number} {street}", "fr", "FR",
    ),
    "es_ES": Place(
        "Spain", ("Málaga", "Cádiz", "León", "Valencia", "A Coruña", "Logroño"),
        "#####", "+34 91 ### ## ##", "{street} {number}", "es", "ES",
    ),
    "it_IT": Place(
        "Italy", ("Torino", "Verona", "Forlì", "Bologna", "Padova", "Trieste"),
        "#####", "+39 06 #######", "{street} {number}", "it", "IT",
    ),
    "pl_PL": Place(
        "Poland", ("Kraków", "Gdańsk", "Łódź", "Poznań", "Wrocław"),
        "##-###", "+48 22 ### ## ##", "ul. {street} {number}", "pl", "PL",
    ),
    "sv_SE": Place(
        "Sweden", ("Malmö", "Göteborg", "Uppsala", "Umeå", "Örebro"),
        "### ##", "+46 8 ### ## ##", "{street} {number}", "se", "SE",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Person:
    """One person; `email` is made from the name."""

    first: str
    last: str
    email: str

    @property
    def name(self) -> str:
        return f"{self.first} {self.last}"


def number(value: Decimal) -> int | float:
    """A Decimal as the JSON number that is written shortest: 12.00 becomes 12, 12.50 becomes 12.5."""
    return int(value) if value == value.to_integral_value() else float(value)


def cents(value: Decimal) -> Decimal:
    """Rounded to cents, halves up, as an invoice does it."""
    return value.quantize(CENT, rounding=ROUND_HALF_UP)


def ascii_slug(text: str) -> str:
    """Lower-case ASCII letters and digits of a name: "Łukasz Gómez-Ruiz" gives "lukaszgomezruiz"."""
    plain = unicodedata.normalize("NFKD", text.translate(_NOT_DECOMPOSED)).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]", "", plain.lower())


@functools.cache
def _faker(locale: str) -> Any:
    from faker import Faker

    return Faker(locale, use_weighting=False)


class Source:
    """A seeded stream of values for one document, all from one place in the world.

    `multiline` allows line breaks inside strings, for the styles that can show them.
    """

    def __init__(self, seed: str, *, multiline: bool = False) -> None:
        self.rng = random.Random(seed)
        self.multiline = multiline
        locales = list(PLACES)
        self.locale = self.rng.choice(locales[:2] if self.rng.random() < 0.5 else locales[2:])
        self.place = PLACES[self.locale]
        self._fake = _faker(self.locale)
        self._fake.seed_instance(seed)

    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    def pick(self, options: Sequence[T]) -> T:
        return self.rng.choice(options)

    def some(self, options: Sequence[T], low: int, high: int) -> list[T]:
        """Between `low` and `high` of the options, each at most once; fewer are likelier than more."""
        count = min(self.rng.randint(low, high), self.rng.randint(low, high) + (1 if self.chance(0.5) else 0))
        return self.rng.sample(list(options), min(count, len(options)))

    def integer(self, low: int, high: int) -> int:
        return self.rng.randint(low, high)

    def decimal(self, low: int, high: int, places: int) -> int | float:
        """A number with up to `places` decimals, between `low` and `high`."""
        scale = 10**places
        return number(Decimal(self.rng.randint(low * scale, high * scale)) / scale)

    def digits(self, pattern: str) -> str:
        """The pattern with a digit for every #; the first one is never 0."""
        first = True
        result = ""
        for char in pattern:
            result += str(self.rng.randint(1 if first else 0, 9)) if char == "#" else char
            first = first and char != "#"
        return result

    def optional(self, values: dict[str, Any], *keys: str) -> dict[str, Any]:
        """`values` without those of `keys` that a document leaves out, each about one time in four."""
        gone = [key for key in keys if self.chance(0.25)]
        return {key: value for key, value in values.items() if key not in gone}

    # People and places

    def person(self, domain: str | None = None) -> Person:
        """Someone whose e-mail address is made from the name; `domain` is that of the employer, if there is one."""
        first, last = self._fake.first_name(), self._fake.last_name()
        a, b = ascii_slug(first), ascii_slug(last)
        local = self.pick([f"{a}.{b}", f"{a[0]}.{b}", f"{a}_{b}", f"{a}{self.rng.randint(2, 99)}", f"{b}.{a}"])
        host = domain or self.pick(["example.com", "example.org", f"mail.example.{self.place.tld}", "example.net"])
        return Person(first, last, f"{local}@{host}")

    def name(self) -> str:
        """A full name; now and then with a nickname in quotes."""
        person = self.person()
        if self.locale in ("en_US", "en_GB") and self.chance(0.04):
            return f'{person.first} "{self.pick(["Ace", "Red", "Sunny", "Doc"])}" {person.last}'
        return person.name

    def doctor(self) -> str:
        return f"Dr. {self._fake.last_name()}"

    def company(self) -> str:
        last = self._fake.last_name()
        endings = {
            "en_US": ["Inc.", "LLC", "and Sons", "Supply", "Labs"],
            "en_GB": ["Ltd", "and Sons", "Trading", "Partners"],
            "de_DE": ["GmbH", "AG", "KG"],
            "fr_FR": ["SARL", "SA", "et Fils"],
            "es_ES": ["S.L.", "e Hijos"],
            "it_IT": ["SpA", "Srl"],
            "pl_PL": ["Sp. z o.o.", "SA"],
            "sv_SE": ["AB", "Handel AB"],
        }
        trades = ["Logistics", "Foods", "Print", "Textil", "Software", "Energy", "Travel", "Paper", "Marine", "Optics"]
        trade = f" {self.pick(trades)}" if self.chance(0.5) else ""
        return f"{last}{trade} {self.pick(endings[self.locale])}"

    def domain(self, company: str) -> str:
        return f"{ascii_slug(company.split()[0])}.example.{self.place.tld}"

    def phone(self) -> str:
        return self.digits(self.place.phone)

    def street(self) -> str:
        """Street and house number; now and then with a first line for the recipient, where lines may be broken."""
        street = self.place.street.format(street=self._fake.street_name(), number=self.rng.randint(1, 190))
        if self.multiline and self.chance(0.2):
            return f"c/o {self._fake.last_name()}\n{street}"
        return street

    def city(self) -> str:
        return self.pick(self.place.cities)

    def postcode(self) -> str:
        return self.digits(self.place.postcode)

    def iban(self) -> str:
        return self.digits(f"{self.place.iban}## #### #### ####")

    # Time

    def date(self, first: int = 2023, last: int = 2026) -> datetime.date:
        start = datetime.date(first, 1, 1)
        return start + datetime.timedelta(days=self.rng.randrange((datetime.date(last + 1, 1, 1) - start).days))

    def after(self, day: datetime.date, low: int, high: int) -> datetime.date:
        """A day between `low` and `high` days after `day`."""
        return day + datetime.timedelta(days=self.rng.randint(low, high))

    def moment(self, *, seconds: bool = False) -> datetime.datetime:
        """A UTC moment, on the full minute unless `seconds`."""
        hour, minute, second = self.rng.randint(0, 23), self.rng.randint(0, 59), self.rng.randint(0, 59)
        return datetime.datetime.combine(self.date(), datetime.time(hour, minute, second if seconds else 0))

    def clock(self, low: int, high: int) -> datetime.time:
        """A time of day between two hours, mostly on the quarter."""
        return datetime.time(self.rng.randint(low, high), self.pick([0, 0, 15, 30, 30, 45, 5, 10, 50]))

    # Money

    def price(self, low: int, high: int) -> Decimal:
        """A price as shops set it."""
        ending = self.pick(["00", "00", "50", "50", "99", "95", "49", "90", "25", f"{self.rng.randint(1, 99):02d}"])
        return Decimal(f"{self.rng.randint(low, high)}.{ending}")


def iso(moment: datetime.datetime) -> str:
    """A UTC moment as RFC 3339 writes it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
