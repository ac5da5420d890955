"""One maker for each schema: a `Source` in, a coherent object out, keys in the schema's order.

Sums follow from their lines in Decimal, rounded to cents; later dates follow earlier ones; e-mails follow names.
"""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from slmbench.synth.values import Source, cents, iso, number
from slmbench.tasks.edge_json import words

Object = dict[str, Any]
_CURRENCIES = ("USD", "EUR", "GBP", "CHF", "SEK", "PLN")


def _fill(s: Source, phrase: str) -> str:
    slots = {
        "{host}": words.HOSTS, "{user}": words.USERS, "{file}": words.FILES, "{key}": words.KEYS,
        "{table}": words.TABLES, "{disk}": words.DISKS, "{month}": words.MONTHS, "{letter}": ("A", "B", "C", "D"),
    }  # fmt: skip
    for slot, options in slots.items():
        if slot in phrase:
            phrase = phrase.replace(slot, s.pick(options))
    return phrase.replace("{n}", str(s.integer(11, 499)))


def _message(s: Source) -> str:
    message = _fill(s, s.pick(words.MESSAGES))
    return f"{message}\n{s.pick(words.MESSAGE_TAILS)}" if s.multiline and s.chance(0.3) else message


def _ip(s: Source) -> str:
    return s.pick(["10.{}.{}.{}", "192.168.{1}.{2}", "172.16.{1}.{2}"]).format(
        s.integer(0, 250), s.integer(0, 250), s.integer(2, 250)
    )


def _firmware(s: Source) -> str:
    return f"{s.integer(1, 9)}.{s.integer(0, 19)}.{s.integer(0, 9)}"


def contact_card(s: Source) -> Object:
    company = s.company()
    employed = s.chance(0.75)
    person = s.person(s.domain(company) if employed else None)
    card = {"name": person.name, "email": person.email, "phone": s.phone()}
    card = s.optional(card, "phone")
    return {**card, "company": company} if employed else card


_SENSORS = {
    "°C": (-25, 80, 1),
    "%": (5, 99, 1),
    "hPa": (960, 1050, 1),
    "lux": (0, 90000, 0),
    "ppm": (380, 2400, 0),
    "V": (0, 48, 2),
}


def sensor_reading(s: Source) -> Object:
    unit = s.pick(list(_SENSORS))
    return s.optional(
        {
            "sensor_id": s.digits(s.pick(["SN-####", "TX###", "probe-##", "S###-B"])),
            "value": s.decimal(*_SENSORS[unit]),
            "unit": unit,
            "measured_at": iso(s.moment()),
            "battery": s.integer(3, 100),
        },
        "battery",
    )


def log_entry(s: Source) -> Object:
    return s.optional(
        {
            "time": iso(s.moment(seconds=True)),
            "level": s.pick(["debug", "info", "warning", "error", "critical"]),
            "service": s.pick(words.LOG_SERVICES),
            "message": _message(s),
            "code": s.pick([400, 401, 403, 404, 409, 429, 500, 502, 503, 504, s.integer(1000, 9999)]),
        },
        "code",
    )


def order_status(s: Source) -> Object:
    return s.optional(
        {
            "order_id": s.digits(s.pick(["SO-#####", "A######", "WEB-#####"])),
            "status": s.pick(["processing", "packed", "in_transit", "delivered", "returned"]),
            "items": s.integer(2, s.pick([6, 12, 24, 144])),
            "carrier": s.pick(words.CARRIERS),
            "eta": s.date().isoformat(),
        },
        "carrier",
        "eta",
    )


def invoice_summary(s: Source) -> Object:
    return {
        "invoice_no": s.digits(s.pick(["INV-#####", "R2#-####", "F######"])),
        "vendor": s.company(),
        "total": number(s.price(20, s.pick([400, 9000, 250000]))),
        "due_on": s.date().isoformat(),
        "paid": s.chance(0.5),
    }


def vital_signs(s: Source) -> Object:
    return s.optional(
        {
            "patient": s.name(),
            "heart_rate": s.integer(48, 138),
            "temp_c": s.decimal(35, 40, 1),
            "spo2": s.integer(86, 100),
            "fasting": s.chance(0.5),
        },
        "spo2",
    )


def calendar_event(s: Source) -> Object:
    return s.optional(
        {
            "title": s.pick(words.MEETINGS),
            "date": s.date().isoformat(),
            "start": s.clock(7, 20).strftime("%H:%M"),
            "place": _fill(s, s.pick(words.ROOMS)),
            "attendees": s.integer(2, s.pick([6, 12, 40])),
        },
        "place",
    )


def support_ticket(s: Source) -> Object:
    return {
        "ticket_id": s.digits(s.pick(["T-#####", "#####", "HD-####"])),
        "subject": _fill(s, s.pick(words.PROBLEMS)),
        "priority": s.pick(["low", "normal", "high", "urgent"]),
        "reporter": s.person().email,
        "resolved": s.chance(0.5),
    }


def iot_device(s: Source) -> Object:
    return s.optional(
        {
            "device_id": s.digits(s.pick(["dev-####", "IOT####", "unit-##", "DX-###"])),
            "kind": s.pick(["thermostat", "camera", "smart_plug", "motion_sensor", "door_lock"]),
            "ip": _ip(s),
            "online": s.chance(0.6),
            "firmware": _firmware(s),
        },
        "firmware",
    )


def card_payment(s: Source) -> Object:
    amount = s.price(2, s.pick([60, 900, 4000]))
    return {
        "merchant": s.pick(words.SHOPS),
        "amount": number(-amount if s.chance(0.2) else amount),
        "currency": s.pick(_CURRENCIES),
        "card": s.digits("####"),
        "date": s.date().isoformat(),
    }


def employee_contact(s: Source) -> Object:
    person = s.person(s.domain(s.company()))
    address = {"street": s.street(), "city": s.city(), "postcode": s.postcode(), "country": s.place.country}
    employee = {"name": person.name, "role": s.pick(words.ROLES), "email": person.email, "phone": s.phone()}
    return {**s.optional(employee, "phone"), "address": s.optional(address, "country")}


_WEATHER = {
    "temperature": ("°C", (-25, 41, 1)), "humidity": ("%", (15, 100, 0)), "pressure": ("hPa", (960, 1050, 1)),
    "wind_speed": ("m/s", (0, 31, 1)), "rainfall": ("mm", (0, 60, 1)),
}  # fmt: skip


def weather_station(s: Source) -> Object:
    station = {
        "station_id": s.digits(s.pick(["WS-###", "ST####", "met-##"])),
        "site": _fill(s, s.pick(words.SITES)),
        "taken_at": iso(s.moment()),
        "altitude_m": s.integer(-40, 2900),
    }
    kinds = [] if s.chance(0.06) else s.some(list(_WEATHER), 1, 4)
    readings = [{"quantity": k, "value": s.decimal(*_WEATHER[k][1]), "unit": _WEATHER[k][0]} for k in kinds]
    return {**s.optional(station, "altitude_m"), "readings": readings}


def deploy_log(s: Source) -> Object:
    status = s.pick(["succeeded", "failed", "rolled_back", "in_progress"])
    log = {
        "deploy_id": s.digits(s.pick(["D-####", "rel-###", "#####"])),
        "service": s.pick(words.LOG_SERVICES),
        "version": s.pick(["v{}.{}.{}", "{}.{}.{}"]).format(s.integer(0, 9), s.integer(0, 30), s.integer(0, 9)),
        "status": status,
        "duration_s": s.integer(12, 2400),
        "author": s.pick(["", "CORP\\"]) + s.pick(words.USERS),
    }
    count = s.integer(0, 1) if status == "succeeded" else s.integer(1, 3)
    codes = s.some([400, 404, 409, 429, 500, 502, 503, 1064, 2002, 137, 139], count, count)
    errors = [{"code": code, "message": _message(s)} for code in codes]
    return {**s.optional(log, "author"), "errors": errors}


def _order_lines(s: Source, low: int, high: int) -> tuple[list[Object], Decimal]:
    """Lines of an order and the sum of quantity times unit price."""
    lines, total = [], Decimal(0)
    for name in s.some(words.ARTICLES, low, high):
        quantity, price = s.integer(1, s.pick([3, 12, 24])), s.price(2, s.pick([40, 190]))
        total += quantity * price
        sku = s.digits(s.pick(["A-####", "K####", "###-##"]))
        lines.append({"sku": sku, "name": name, "quantity": quantity, "unit_price": number(price)})
    return lines, total


def purchase_order(s: Source) -> Object:
    lines, total = _order_lines(s, 1, 3)
    return {
        "order_id": s.digits(s.pick(["PO-#####", "B######", "#######"])),
        "customer": s.pick([s.company, s.name])(),
        "ordered_on": s.date().isoformat(),
        "items": lines,
        "total": number(total),
    }


def invoice(s: Source) -> Object:
    issued = s.date()
    net = s.price(80, s.pick([900, 20000, 400000]))
    tax = cents(net * s.pick([7, 8, 19, 20, 21, 23, 25]) / 100)
    return s.optional(
        {
            "invoice_no": s.digits(s.pick(["INV-#####", "R2#-####", "F######"])),
            "customer": s.company(),
            "issued_on": issued.isoformat(),
            "due_on": s.after(issued, 7, 60).isoformat(),
            "currency": s.pick(_CURRENCIES),
            "amounts": {"net": number(net), "tax": number(tax), "total": number(net + tax)},
            "paid": s.chance(0.5),
        },
        "paid",
    )


def prescription(s: Source) -> Object:
    drugs = [
        {
            "name": name,
            "dose_mg": s.pick(doses),
            "per_day": s.integer(1, 4),
            "days": s.pick([3, 5, 7, 10, 14, 21, 30, 90]),
        }
        for name, doses in s.some(words.DRUGS, 1, 3)
    ]
    allergies = [] if s.chance(0.4) else s.some(words.ALLERGIES, 1, 3)
    whole = {
        "patient": s.name(),
        "doctor": s.doctor(),
        "date": s.date().isoformat(),
        "drugs": drugs,
        "allergies": allergies,
    }
    return s.optional(whole, "allergies")


def event_booking(s: Source) -> Object:
    start = s.clock(8, 19)
    length = datetime.timedelta(minutes=s.pick([60, 90, 120, 150, 180, 240]))
    end = (datetime.datetime.combine(s.date(), start) + length).time()
    return {
        "event": s.pick(words.EVENTS) + s.pick(["", "", f" {s.integer(2023, 2027)}"]),
        "date": s.date().isoformat(),
        "start": start.strftime("%H:%M"),
        "end": end.strftime("%H:%M"),
        "venue": {"name": s.pick(words.VENUES), "city": s.city(), "capacity": s.integer(4, 300) * s.pick([5, 10, 50])},
        "tags": [] if s.chance(0.15) else s.some(words.EVENT_TAGS, 1, 3),
    }


def ticket_detail(s: Source) -> Object:
    person = s.person()
    plan = s.pick(["free", "basic", "business", "enterprise"])
    ticket = {
        "ticket_id": s.digits(s.pick(["T-#####", "#####", "HD-####"])),
        "title": _fill(s, s.pick(words.PROBLEMS)),
        "status": s.pick(["new", "in_progress", "on_hold", "resolved", "closed"]),
        "opened_at": iso(s.moment()),
        "assignee": s.person().name,
        "customer": {"name": person.name, "email": person.email, "plan": plan},
        "tags": [] if s.chance(0.2) else s.some(words.TICKET_TAGS, 1, 3),
    }
    return s.optional(ticket, "assignee")


def iot_gateway(s: Source) -> Object:
    kinds = ["temperature", "motion", "water_leak", "air_quality", "door_contact"]
    names = [f"{s.pick(['n', 'node-', 'N-'])}{i}" for i in s.some(range(10, 99), 1, 4)]
    nodes = [{"node_id": name, "kind": s.pick(kinds), "rssi": -s.integer(38, 112)} for name in names]
    return {
        "gateway_id": s.digits(s.pick(["GW-###", "gw##-a", "HUB####"])),
        "site": _fill(s, s.pick(words.SITES)),
        "ip": _ip(s),
        "uptime_h": s.integer(1, s.pick([90, 900, 20000])),
        "nodes": [] if s.chance(0.06) else nodes,
    }


def bank_transfer(s: Source) -> Object:
    amount = s.price(10, s.pick([900, 20000, 2500000]))
    transfer = {
        "transfer_id": str(uuid.UUID(int=s.rng.getrandbits(128), version=4)),
        "amount": number(-amount if s.chance(0.15) else amount),
        "currency": s.pick(_CURRENCIES),
        "executed_on": s.date().isoformat(),
        "reference": _fill(s, s.pick(words.REFERENCES)) + ("\nplease confirm" if s.multiline and s.chance(0.3) else ""),
    }
    payee = {"name": s.pick([s.company, s.name])(), "iban": s.iban(), "bank": s.pick(words.BANKS)}
    return {**s.optional(transfer, "reference"), "payee": s.optional(payee, "bank")}


def sales_order(s: Source) -> Object:
    person = s.person()
    lines, subtotal = _order_lines(s, 1, 3)
    shipping = s.pick([Decimal(0), s.price(3, 19), s.price(3, 19)])
    address = {"street": s.street(), "city": s.city(), "postcode": s.postcode()}
    order = {
        "order_id": s.digits(s.pick(["SO-#####", "A######", "WEB-#####"])),
        "placed_on": s.date().isoformat(),
        "customer": {"name": person.name, "email": person.email, "address": address},
        "lines": lines,
        "subtotal": number(subtotal),
        "shipping": number(shipping),
        "total": number(subtotal + shipping),
        "gift": s.chance(0.5),
    }
    return s.optional(order, "gift")


def tax_invoice(s: Source) -> Object:
    company, issued = s.company(), s.date()
    contact = s.person(s.domain(company))
    lines, net = [], Decimal(0)
    for description in s.some(words.SERVICES_SOLD, 1, 3):
        quantity, price = s.integer(1, s.pick([5, 12, 40])), s.price(15, s.pick([90, 400]))
        net += quantity * price
        lines.append(
            {
                "description": description,
                "quantity": quantity,
                "unit_price": number(price),
                "amount": number(quantity * price),
            }
        )
    rate = s.pick([Decimal(7), Decimal(8), Decimal(19), Decimal(20), Decimal("5.5"), Decimal("8.1"), Decimal(25)])
    tax = cents(net * rate / 100)
    return {
        "invoice_no": s.digits(s.pick(["INV-#####", "R2#-####", "F######"])),
        "issued_on": issued.isoformat(),
        "due_on": s.after(issued, 7, 60).isoformat(),
        "currency": s.pick(_CURRENCIES),
        "seller": s.company(),
        "buyer": {"name": company, "contact": {"name": contact.name, "email": contact.email}},
        "lines": lines,
        "net": number(net),
        "tax_rate": number(rate),
        "tax": number(tax),
        "total": number(net + tax),
    }


def _medication(s: Source) -> Object:
    tablets = [(name, "mg", doses) for name, doses in words.DRUGS]
    drug, unit, amounts = s.pick(words.LIQUIDS if s.chance(0.2) else tablets)
    return {"drug": drug, "dose": {"amount": s.pick(amounts), "unit": unit}, "per_day": s.integer(1, 4)}


def discharge_summary(s: Source) -> Object:
    admitted = s.date()
    discharged = s.after(admitted, 1, 21)
    medications = {m["drug"]: m for m in (_medication(s) for _ in range(s.integer(0, 3)))}
    summary = {
        "patient": {"name": s.name(), "born_on": s.date(1934, 2012).isoformat(), "record_no": s.digits("MR-#####")},
        "ward": s.pick(words.WARDS),
        "admitted_on": admitted.isoformat(),
        "discharged_on": discharged.isoformat(),
        "diagnoses": [{"code": code, "name": name} for code, name in s.some(words.DIAGNOSES, 1, 3)],
        "medications": list(medications.values()),
        "follow_up": {"date": s.after(discharged, 5, 60).isoformat(), "doctor": s.doctor()},
    }
    return s.optional(summary, "follow_up")


def incident_report(s: Source) -> Object:
    started = s.moment()
    minutes = s.integer(15, 300)
    resolved = started + datetime.timedelta(minutes=minutes)
    offsets = sorted(s.some(range(1, minutes), 0, 3))
    marks = [(started + datetime.timedelta(minutes=m)).strftime("%H:%M") for m in offsets]
    events = s.rng.sample(words.TIMELINE, len(marks))
    tasks = s.some(words.TASKS, 0, 2)
    person = s.person("ops.example.com")
    contact = s.optional({"email": person.email, "phone": s.phone()}, "phone")
    return {
        "incident_id": s.digits(s.pick(["INC-####", "P##-###"])),
        "title": _fill(s, s.pick(words.INCIDENTS)),
        "severity": s.pick(["minor", "major", "critical"]),
        "started_at": iso(started),
        "resolved_at": iso(resolved),
        "services": s.some(words.LOG_SERVICES, 0, 3),
        "lead": {"name": person.name, "contact": contact},
        "timeline": [{"time": m, "event": _fill(s, e)} for m, e in zip(marks, events, strict=True)],
        "actions": [
            {"task": _fill(s, task), "owner": s.person().first, "due_on": s.after(resolved.date(), 2, 40).isoformat()}
            for task in tasks
        ],
    }


_SITE_VALUES = {"temperature": (-15, 45, 1), "humidity": (15, 95, 0), "power": (1, 3200, 0), "co2": (390, 2100, 0)}


def iot_site(s: Source) -> Object:
    checked = s.moment()
    names = s.some(range(10, 99), 1, 3)
    devices = [
        {
            "id": f"{s.pick(['TH-', 'dev', 'K-', 'unit-'])}{name}",
            "kind": s.pick(["thermostat", "camera", "smart_plug", "air_monitor"]),
            "online": s.chance(0.7),
            "readings": [
                {"quantity": q, "value": s.decimal(*_SITE_VALUES[q])} for q in s.some(list(_SITE_VALUES), 0, 2)
            ],
        }
        for name in names
    ]
    site = {
        "site_id": s.digits(s.pick(["SITE-##", "L-###", "plant-##"])),
        "checked_at": iso(checked),
        "network": {"ssid": s.pick(words.SSIDS), "gateway": {"ip": _ip(s), "firmware": _firmware(s)}},
        "devices": devices,
        "alerts": [] if s.chance(0.3) else s.some(words.ALERTS, 1, 2),
        "technician": s.person().name,
        "next_check": s.after(checked.date(), 20, 200).isoformat(),
        "ok": s.chance(0.6),
    }
    return s.optional(site, "next_check")


MAKERS: dict[str, Callable[[Source], Object]] = {
    maker.__name__: maker
    for maker in (
        contact_card, sensor_reading, log_entry, order_status, invoice_summary, vital_signs, calendar_event,
        support_ticket, iot_device, card_payment, employee_contact, weather_station, deploy_log,
        purchase_order, invoice, prescription, event_booking, ticket_detail, iot_gateway, bank_transfer,
        sales_order, tax_invoice, discharge_summary, incident_report, iot_site,
    )
}  # fmt: skip
