from __future__ import annotations

from decimal import Decimal

import pytest

from slmbench.synth.values import PLACES, Source, ascii_slug, cents, number


def test_the_same_seed_gives_the_same_values_and_another_seed_others() -> None:
    def drawn(seed: str) -> list[object]:
        s = Source(seed)
        return [s.name(), s.company(), s.street(), s.date(), s.moment(), s.price(1, 99), s.iban(), s.person().email]

    assert drawn("1:train:7") == drawn("1:train:7")
    assert drawn("1:train:7") != drawn("1:train:8")


def test_sources_do_not_disturb_each_other() -> None:
    first, second = Source("a"), Source("b")
    alone = [Source("a").rng.random(), Source("b").rng.random()]
    assert [first.rng.random(), second.rng.random()] == alone


def test_these_values_are_pinned() -> None:
    """Frozen files are made again byte for byte only while the generators below us give what they gave."""
    s = Source("pin")
    assert (s.locale, s.name(), s.digits("INV-#####"), s.date().isoformat()) == (
        "en_GB",
        "Mohammed North",
        "INV-33290",
        "2023-02-17",
    )


def test_an_email_address_fits_its_name() -> None:
    for i in range(200):
        person = Source(f"mail{i}").person("firm.example.com")
        local, _, host = person.email.partition("@")
        assert host == "firm.example.com"
        assert ascii_slug(person.first) in local or ascii_slug(person.last) in local
        assert person.email.isascii()


def test_names_come_from_many_places_and_not_all_are_ascii() -> None:
    sources = [Source(f"n{i}") for i in range(300)]
    assert {s.locale for s in sources} == set(PLACES)
    assert any(not s.name().isascii() for s in sources)


@pytest.mark.parametrize(("value", "expected"), [("12.00", 12), ("12.50", 12.5), ("-3.10", -3.1), ("0", 0)])
def test_whole_numbers_are_integers(value: str, expected: float) -> None:
    assert repr(number(Decimal(value))) == repr(expected)


def test_cents_round_half_up() -> None:
    assert cents(Decimal("0.125")) == Decimal("0.13")
    assert cents(Decimal("2.675")) == Decimal("2.68")


def test_slugs_are_ascii() -> None:
    assert ascii_slug("Łukasz Gómez-Ruiz") == "lukaszgomezruiz"


def test_some_takes_each_option_once() -> None:
    for i in range(100):
        taken = Source(f"s{i}").some(range(5), 0, 5)
        assert len(set(taken)) == len(taken) <= 5


def test_line_breaks_only_where_they_are_allowed() -> None:
    assert not any("\n" in Source(f"m{i}").street() for i in range(200))
    assert any("\n" in Source(f"m{i}", multiline=True).street() for i in range(200))
