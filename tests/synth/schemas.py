"""Short ways to write schemas."""

from __future__ import annotations

from typing import Any

TEXT, NUMBER, WHOLE, YES_NO = ({"type": kind} for kind in ("string", "number", "integer", "boolean"))
DATE, MOMENT, MAIL = ({"type": "string", "format": name} for name in ("date", "date-time", "email"))


def obj(required: list[str] | None = None, **properties: Any) -> dict[str, Any]:
    """An object; all its properties are required unless said which are."""
    return {
        "type": "object", "properties": properties, "required": list(properties) if required is None else required,
        "additionalProperties": False,
    }  # fmt: skip


def items(item: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "array", "items": item, **more}


def one_of(*options: str) -> dict[str, Any]:
    return {"type": "string", "enum": list(options)}


def told(kind: str, description: str, **more: Any) -> dict[str, Any]:
    """A field with a description."""
    return {"type": kind, "description": description, **more}


def day(description: str) -> dict[str, Any]:
    return told("string", description, format="date")


def option(description: str, *options: str) -> dict[str, Any]:
    return told("string", description, enum=list(options))


def texts(description: str, **more: Any) -> dict[str, Any]:
    return {"type": "array", "items": TEXT, "description": description, **more}


_HOURS = "full_time (also 40 hours, all week), part_time (also half days, job share) or casual (also on call)"
_OFFENCE = (
    "no_ticket: no ticket was displayed; expired: the time paid for had run out; blocked: the car stood in front of an"
    " exit"
)
_DIET = "vegan, vegetarian or mixed; dishes with fish or meat count as mixed, dishes with eggs as vegetarian"
_PROBLEM = "missing (also lost, never came), damaged (also broken, dented), late, wrong_item (also mix-up)"
DESCRIBED: dict[str, dict[str, Any]] = {
    "job_advert": obj(
        ["position", "employer"], position=told("string", "Title of the post, as written"),
        employer=told("string", "Company that hires, not the agency that placed the advert"),
        place=told("string", "Town where the work is done; not the town of the head office"),
        hours=option(_HOURS, "full_time", "part_time", "casual"),
        salary=told("number", "Yearly salary in euros, without bonus or travel money"),
        apply_by=day("Last day on which applications are accepted, not the start of work"),
        licence_needed=told("boolean", "Whether applicants must have a driving licence"),
        skills=texts("Skills that the advert asks for"),
        vacancies=told("integer", "How many people will be hired", minimum=1),
    ),
    "parking_fine": obj(
        ["ticket_number"], ticket_number=told("string", "Number of the fine; not the badge or permit number"),
        vehicle=told("string", "Make and model of the car, without the colour"), plate=TEXT,
        street=told("string", "Street in which the car stood"), towed=YES_NO,
        offence=option(_OFFENCE, "no_ticket", "expired", "blocked"),
        issued=day("Day on which the fine was issued, not the day by which it is to be paid"),
        amount=told("number", "Amount of the fine, without late fee or towing"),
        warden=told("string", "Name of the warden, without a title such as Officer"),
        reminders=told("integer", "How many times the driver was reminded (0 for never, 1 for once)", minimum=0),
    ),
    "recipe": obj(
        None, dish=told("string", "Name of the dish"), servings=told("integer", "Number of portions", minimum=1),
        ingredients=items(obj(
            ["name"], name=told("string", "Name of the ingredient without its amount"),
            quantity=told("string", "Amount as written, with its unit"),
        ), description="What goes in"), diet=option(_DIET, "vegan", "vegetarian", "mixed"),
        minutes=told("integer", "How long it takes in minutes"),
        needs_oven=told("boolean", "Whether an oven is needed"),
        utensils=texts("Each utensil that the cook must have, without articles"),
        freezable=told("boolean", "Whether leftovers can be frozen"),
    ),
    "delivery_complaint": obj(
        ["order_no", "items"], order_no=told("string", "Order number, not the customer or parcel number"),
        customer=told("string", "Name of the person who complains, in the fullest form"),
        items=texts("Articles that are missing or broken; articles that arrived in order are left out", minItems=1),
        problem=option(_PROBLEM, "missing", "damaged", "late", "wrong_item"),
        ordered=day("When the order was placed"), delivered=day("Date of delivery"),
        wants_refund=told("boolean", "Whether the customer wants the money back"),
        contacted=told("integer", "How often the customer has written before", minimum=0),
        carrier=told("string", "Firm that brought the parcel"),
    ),
    "insurance_claim": obj(
        ["policy", "happened"], policy=told("string", "Policy number as printed"),
        claimant=told("string", "Person who makes the claim"), witness=told("string", "Who saw it"),
        happened=day("Day on which the damage happened, not the day it was reported or repaired"),
        place=told("string", "Town where it happened, not where the claimant lives"),
        damaged_things=texts("Things that were damaged or stolen"),
        results=items(obj(
            ["quantity", "value"], quantity=told("string", "What was measured"), value=NUMBER, unit=TEXT,
        )), loss=told("number", "Estimated loss in pounds, without the excess"),
        police_informed=told("boolean", "Whether the police were informed"),
        injured=told("integer", "How many people were hurt", minimum=0),
    ),
}  # fmt: skip
"""Schemas whose descriptions say much: synonyms, explanations, what a field is not, how it is written."""
