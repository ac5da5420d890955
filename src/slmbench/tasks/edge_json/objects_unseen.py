"""The makers of the schemas that no model of ours is trained on (see `objects.py`)."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from slmbench.synth.values import Source, iso, number
from slmbench.tasks.edge_json import words

Object = dict[str, Any]


def flight_status(s: Source) -> Object:
    origin, destination = s.rng.sample(words.CITIES, 2)
    return s.optional(
        {
            "flight": s.digits(s.pick(["LH ###", "BA###", "SK####", "AF ###"])),
            "origin": origin,
            "destination": destination,
            "departs_at": iso(s.moment()),
            "gate": s.pick("ABCDE") + str(s.integer(1, 48)),
        },
        "gate",
    )


def library_loan(s: Source) -> Object:
    return {
        "title": s.pick(words.BOOKS),
        "borrower": s.name(),
        "due_on": s.date().isoformat(),
        "renewals": s.integer(0, 6),
        "reserved": s.chance(0.4),
    }


def vehicle(s: Source) -> Object:
    return s.optional(
        {
            "plate": s.digits(s.pick(["KA-MB ###", "AB## XYZ", "###-TRK", "W ####C"])),
            "model": s.pick(words.CARS),
            "year": s.integer(2004, 2025),
            "mileage_km": s.integer(900, 290000),
            "color": s.pick(words.COLORS),
        },
        "color",
    )


_AMOUNTS = {
    "g": (50, 100, 150, 250, 400, 600),
    "ml": (100, 200, 250, 500),
    "tbsp": (1, 2, 3, 4),
    "tsp": (0.5, 1, 2),
    "pcs": (2, 3, 4, 6),
}


def recipe(s: Source) -> Object:
    title, vegetarian, parts = s.pick(words.DISHES)
    return {
        "title": title,
        "servings": s.integer(2, 12),
        "minutes": s.integer(3, 30) * 5,
        "vegetarian": vegetarian,
        "ingredients": [
            {"name": name, "amount": s.pick(_AMOUNTS[unit]), "unit": unit} for name, unit in s.some(parts, 2, 4)
        ],
    }


def property_listing(s: Source) -> Object:
    listing = {
        "listing_id": s.digits(s.pick(["H-####", "OBJ####", "RE-#####"])),
        "price": s.integer(90, 1900) * 1000 + s.pick([0, 0, 500, 900]),
        "area_m2": s.decimal(28, 320, 1),
        "rooms": s.integer(1, 12),
        "garden": s.chance(0.5),
    }
    address = {"street": s.street(), "city": s.city(), "postcode": s.postcode()}
    return {**s.optional(listing, "garden"), "address": address}


def job_posting(s: Source) -> Object:
    low = s.integer(24, 90) * 1000
    return {
        "title": s.pick(words.JOBS),
        "company": s.company(),
        "apply_by": s.date().isoformat(),
        "remote": s.chance(0.5),
        "salary": {"low": low, "high": low + s.integer(2, 30) * 1000, "currency": s.pick(["USD", "EUR", "GBP", "CHF"])},
        "skills": [] if s.chance(0.15) else s.some(words.SKILLS, 1, 3),
    }


def trip_itinerary(s: Source) -> Object:
    booked = s.date()
    person = s.person()
    stops = s.rng.sample(words.CITIES, s.integer(2, 4))
    day, legs, fee = booked, [], s.price(3, 30)
    total = fee
    for origin, destination in itertools.pairwise(stops):
        day, fare = s.after(day, 1, 40), s.price(15, 420)
        total += fare
        mode = s.pick(["train", "flight", "ferry", "bus"])
        leg = {
            "origin": origin,
            "destination": destination,
            "date": day.isoformat(),
            "mode": mode,
            "fare": number(fare),
        }
        legs.append(leg)
    passport = {"number": s.digits("C########"), "expires_on": s.after(day, 100, 3000).isoformat()}
    return {
        "booking_no": s.digits(s.pick(["QX####", "TR-#####"])),
        "booked_on": booked.isoformat(),
        "traveller": {"name": person.name, "email": person.email, "passport": passport},
        "legs": legs,
        "fee": number(fee),
        "total": number(total),
    }


def course_record(s: Source) -> Object:
    student, advisor = s.person(), s.person("uni.example.edu")
    courses = [
        {"code": code, "title": title, "credits": s.pick([3, 4, 5, 6, 8, 10]), "grade": s.pick("ABCDF")}
        for code, title in s.some(words.COURSES, 1, 3)
    ]
    record: Object = {
        "student": {
            "name": student.name,
            "number": s.digits("#######"),
            "advisor": {"name": advisor.name, "email": advisor.email},
        },
        "term": f"{s.pick(['spring', 'autumn', 'summer', 'winter'])} term {s.integer(2022, 2026)}",
        "program": s.pick(words.PROGRAMS),
        "courses": courses,
        "total_credits": sum(course["credits"] for course in courses),
        "on_leave": s.chance(0.3),
        "dean_list": s.chance(0.5),
    }
    return s.optional(record, "dean_list")


MAKERS: dict[str, Callable[[Source], Object]] = {
    maker.__name__: maker
    for maker in (
        flight_status, library_loan, vehicle, recipe, property_listing, job_posting, trip_itinerary, course_record,
    )
}  # fmt: skip
