"""A price book as a form, and a form as a price book. Pure.

In: the book as the API tells it; a form's fields. Out: rows of fields; the document that the API takes, in which every
price is the text that was typed, so that 0.09 stays 0.09. Whether it is a good one, the API says.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

GIB = 1 << 30
MOST_ROWS = 200
# (member of the API's answer, of its document, in words, unit)
PLAIN = (
    ("anycastHourly", "anycast_hourly", "Anycast address", "an hour"),
    ("localOnlyHourly", "local_only_hourly", "Covering prefix of a workload's own", "an hour"),
    ("idleAddressHourly", "idle_address_hourly", "External address that is kept without an instance", "an hour"),
    ("volumeGibMonth", "volume_gib_month", "Volume, a GiB", "a month"),
    ("backboneGb", "backbone_gb", "Backbone, 10⁹ bytes from host to host", ""),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeFields:
    name: str = ""
    cpu: str = ""
    memory: str = ""
    hourly: str = ""


def fields(book: Mapping[str, Any]) -> dict[str, Any]:
    """What the form shows of a book."""
    sizes = [
        SizeFields(
            name=str(one["name"]),
            cpu=_plain(one["cpuMillis"], 1000),
            memory=_plain(one["memoryBytes"], GIB),
            hourly=price(one["hourly"]),
        )
        for one in book["sizes"]
    ]
    return {
        "currency": book["currency"],
        "hours": str(book["hoursPerMonth"]),
        "plain": {name: price(book[told]) for told, name, _, _ in PLAIN},
        "sizes": sizes,
        "classes": [(name, price(value)) for name, value in book["volumeClasses"].items()],
    }


def read(form: Any) -> dict[str, Any]:
    """The same of a form that was sent: `multi_items` in the order of its fields. Rows without any text are none."""
    columns: dict[str, list[str]] = {}
    for name, value in form.multi_items():
        columns.setdefault(name, []).append(value.strip())
    rows = zip(*(columns.get(name, []) for name in ("size", "cpu", "memory", "hourly")), strict=False)
    sizes = [SizeFields(name=n, cpu=c, memory=m, hourly=h) for n, c, m, h in rows if n or c or m or h]
    classes = zip(columns.get("class", []), columns.get("class-price", []), strict=False)
    return {
        "currency": form.get("currency", "").strip(),
        "hours": form.get("hours", "").strip(),
        "plain": {name: form.get(name, "").strip() for _, name, _, _ in PLAIN},
        "sizes": sizes[:MOST_ROWS],
        "classes": [(name, value) for name, value in classes if name or value][:MOST_ROWS],
    }


def document(shown: Mapping[str, Any]) -> dict[str, Any]:
    """The book as the API takes it, out of what the form has."""
    return {
        "currency": shown["currency"],
        "hours_per_month": int(shown["hours"]) if _is_count(shown["hours"]) else shown["hours"],
        **{name: value or "0" for name, value in shown["plain"].items()},
        "volume_classes": {name: value or "0" for name, value in shown["classes"]},
        "sizes": [
            {"name": s.name, "cpu": s.cpu, "memory": f"{s.memory}Gi" if _is_number(s.memory) else s.memory,
             "hourly": s.hourly}
            for s in shown["sizes"]
        ],
    }  # fmt: skip


def price(value: float) -> str:
    """As short as it is exact, and never with an exponent."""
    text = f"{value:.12f}".rstrip("0")
    return f"{text}0" if text.endswith(".") else text


def _plain(value: int, one: int) -> str:
    return str(value // one) if value % one == 0 else repr(value / one)


def _is_count(text: str) -> bool:
    return text.isdecimal() and text.isascii() and len(text) < 10


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isdecimal() and text.isascii()
