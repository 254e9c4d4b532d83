"""The price of a workload, line by line, before anything starts.

In: a workload and a price book, which the operator can replace (`plan/pricebook.yaml` is the default). Out: a quote,
exact to the cent: reckoned in decimals, turned into floats at the very end. Nothing here meters what was really used.
"""

from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from anypop.model.allocation import AddressClass, Assignment, ReclaimAction
from anypop.model.codec import problems_of
from anypop.model.errors import Invalid, Problem
from anypop.model.plan import PriceLine, Quote
from anypop.model.workload import Workload
from anypop.plan.life import taken
from anypop.plan.quantity import cpu_millis, memory_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """A size of instance: what it has and its price for an hour."""

    name: str
    cpu_millis: int
    memory_bytes: int
    hourly: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceBook:
    """Prices in `currency`. `hours_per_month` makes a month of hours (730 = 365 x 24 / 12). `sizes` from small to
    large. `local_only_hourly`: of a covering prefix for one workload alone; `backbone_gb`: of 10^9 bytes that one host
    sends to another through a tunnel; `volume_gib_month`: of a GiB of a volume for a month, in those storage classes
    that have no price of their own under `volume_classes`; `idle_address_hourly`: of an external address
    that is kept while no instance has it.
    """

    currency: str
    hours_per_month: int
    anycast_hourly: Decimal
    sizes: tuple[Size, ...]
    local_only_hourly: Decimal = Decimal(0)
    backbone_gb: Decimal = Decimal(0)
    volume_gib_month: Decimal = Decimal(0)
    volume_classes: tuple[tuple[str, Decimal], ...] = ()
    idle_address_hourly: Decimal = Decimal(0)

    def volume_gib(self, storage_class: str) -> Decimal:
        """Of a GiB of a volume for a month."""
        return dict(self.volume_classes).get(storage_class, self.volume_gib_month)


# a YAML number goes through its shortest text, so that 0.09 means 0.09 and not the nearest binary fraction
_Price = Annotated[
    Decimal, BeforeValidator(lambda v: str(v) if isinstance(v, float) else v), Field(ge=0, allow_inf_nan=False)
]


class SizeText(BaseModel):
    """A size as an operator writes it: `cpu: 2` (or `500m`), `memory: 4Gi`."""

    model_config = ConfigDict(extra="forbid")
    name: Annotated[str, Field(min_length=1)]
    cpu: Annotated[int, BeforeValidator(lambda v: cpu_millis(str(v)))]
    memory: Annotated[int, BeforeValidator(lambda v: memory_bytes(str(v)))]
    hourly: _Price


class BookText(BaseModel):
    """A price book as an operator writes it, in YAML."""

    model_config = ConfigDict(extra="forbid")
    currency: Annotated[str, Field(min_length=1)]
    hours_per_month: Annotated[int, Field(gt=0)]
    anycast_hourly: _Price
    local_only_hourly: _Price = Decimal(0)
    backbone_gb: _Price = Decimal(0)
    volume_gib_month: _Price = Decimal(0)
    volume_classes: Annotated[dict[str, _Price], Field(max_length=1000)] = {}
    idle_address_hourly: _Price = Decimal(0)
    sizes: Annotated[list[SizeText], Field(min_length=1)]


def read_price_book(text: str) -> PriceBook:
    """A price book from YAML text. Raises `Invalid` with all its problems."""
    try:
        data = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise Invalid.one("", f"the price book is no YAML: {error}") from error
    try:
        book = BookText.model_validate(data)
    except ValidationError as error:
        raise Invalid(problems_of(error)) from error
    names = [s.name for s in book.sizes]
    twice = [
        Problem(path=f"sizes[{n}].name", message=f"{name} is there already")
        for n, name in enumerate(names)
        if name in names[:n]
    ]
    if twice:
        raise Invalid(twice)
    sizes = [Size(name=s.name, cpu_millis=s.cpu, memory_bytes=s.memory, hourly=s.hourly) for s in book.sizes]
    sizes.sort(key=lambda s: (s.cpu_millis, s.memory_bytes, s.hourly))
    return PriceBook(
        currency=book.currency,
        hours_per_month=book.hours_per_month,
        anycast_hourly=book.anycast_hourly,
        sizes=tuple(sizes),
        local_only_hourly=book.local_only_hourly,
        backbone_gb=book.backbone_gb,
        volume_gib_month=book.volume_gib_month,
        volume_classes=tuple(sorted(book.volume_classes.items())),
        idle_address_hourly=book.idle_address_hourly,
    )


@cache
def default_price_book() -> PriceBook:
    """The price book that comes with Anypop: package data, as constant as code."""
    return read_price_book(default_book_text())


def default_book_text() -> str:
    return files("anypop.plan").joinpath("pricebook.yaml").read_text(encoding="utf-8")


def amounts_of(workload: Workload) -> tuple[int, int]:
    """Thousandths of a core and bytes of memory that one instance takes."""
    return taken(workload)


def size_for(cpu_millis: int, memory_bytes: int, book: PriceBook) -> Size | None:
    """The smallest size that holds so much; None where there is none."""
    return next((s for s in book.sizes if cpu_millis <= s.cpu_millis and memory_bytes <= s.memory_bytes), None)


def item_hourly(book: PriceBook, item: str, cpu_millis: int, memory_bytes: int, name: str = "") -> Decimal | None:
    """The price of what is metered; None: an instance that fits no size of this book. Of a volume `memory_bytes` is its
    size, and its storage class the last word of `name`.
    """
    match item:
        case "volume":
            return _volume_hourly(book, memory_bytes, name.rpartition(" ")[2])
        case "anycast":
            return book.anycast_hourly
        case "prefix":
            return book.local_only_hourly
        case "address":
            return book.idle_address_hourly
    size = size_for(cpu_millis, memory_bytes, book)
    return size.hourly if size is not None else None


def _volume_hourly(book: PriceBook, size_bytes: int, storage_class: str) -> Decimal:
    return Decimal(size_bytes) / 2**30 * book.volume_gib(storage_class) / book.hours_per_month


def size_of(workload: Workload, book: PriceBook) -> Size:
    """The smallest size that holds all containers of one instance. Raises `Invalid` where there is none."""
    cpu, memory = amounts_of(workload)
    if (size := size_for(cpu, memory, book)) is not None:
        return size
    largest = book.sizes[-1]
    raise Invalid.one(
        "spec.containers",
        f"an instance asks for {cpu / 1000:g} vCPU and {memory / 2**30:g} GiB; no size has both "
        f"(the largest, {largest.name}, has {largest.cpu_millis / 1000:g} and {largest.memory_bytes / 2**30:g})",
    )


def quote(workload: Workload, book: PriceBook) -> Quote:
    """What `workload` costs while as many of its instances run as are declared at least, and what at most: one line for
    each target, one for each volume claim, one for anycast and one for a prefix of its own. Raises `Invalid` where an
    instance fits no size.
    """
    size = size_of(workload, book)
    rows: list[tuple[str, int, int, Decimal]] = [
        (
            f"{size.name} instance, target {t.name} ({', '.join(t.cities)})",
            t.replicas * len(t.cities),
            t.most * len(t.cities),
            size.hourly,
        )
        for t in workload.targets
    ]
    count, most = sum(least for _, least, _, _ in rows), sum(most for _, _, most, _ in rows)
    for claim in workload.volumes:
        gib = Decimal(claim.size_bytes) / 2**30
        unit = _volume_hourly(book, claim.size_bytes, claim.storage_class)
        rows.append((f"volume {claim.slug} ({gib:.4g} GiB, {claim.storage_class})", count, most, unit))
    if workload.anycast:
        rows.append(("anycast address", 1, 1, book.anycast_hourly))
    if workload.local_only:
        rows.append(("covering prefix of its own (local only)", 1, 1, book.local_only_hourly))
    if any(a.mode.kind is AddressClass.UNICAST and is_kept(a) for a in workload.assignments):
        # it costs nothing while its instance has it
        rows.append(("external address kept when its instance is gone, each", 0, 0, book.idle_address_hourly))
    hourly = sum((quantity * unit for _, quantity, _, unit in rows), Decimal(0))
    highest = sum((most * unit for _, _, most, unit in rows), Decimal(0))
    follows = any(t.most > t.replicas for t in workload.targets)
    return Quote(
        currency=book.currency,
        lines=tuple(_line(*row, book) for row in rows),
        hourly=float(hourly),
        monthly=float(hourly * book.hours_per_month),
        most_hourly=float(highest) if follows else None,
        most_monthly=float(highest * book.hours_per_month) if follows else None,
    )


def is_kept(one: Assignment) -> bool:
    """Whether an address stays when its instance goes."""
    template = one.source.template
    policies = [one.reclaim, *([template.reclaim] if template is not None else [])]
    return template is None or any(policy.action is not ReclaimAction.DELETE for policy in policies)


def backbone_price(sent_bytes: int, book: PriceBook) -> float:
    """Of bytes that hosts sent to each other."""
    return float(Decimal(sent_bytes) / 10**9 * book.backbone_gb)


def in_words(priced: Quote) -> str:
    """One line for people, cents and whole: `0.86 USD an hour, 627.80 USD a month`."""
    most = f", at most {priced.most_monthly:.2f} {priced.currency}" if priced.most_monthly is not None else ""
    return f"{priced.hourly:.2f} {priced.currency} an hour, {priced.monthly:.2f} {priced.currency} a month{most}"


def about(priced: Quote) -> str:
    """The month in whole units, cents dropped, as price tags do: `about 627 USD a month`."""
    return f"about {int(priced.monthly)} {priced.currency} a month"


def _line(item: str, quantity: int, most: int, unit: Decimal, book: PriceBook) -> PriceLine:
    hourly = quantity * unit
    return PriceLine(
        item=item,
        quantity=quantity,
        unit_hourly=float(unit),
        hourly=float(hourly),
        monthly=float(hourly * book.hours_per_month),
        most=most if most > quantity else None,
    )


def as_data(book: PriceBook) -> dict[str, Any]:
    """The book for `-o json` and the portal."""
    return {
        "currency": book.currency,
        "hoursPerMonth": book.hours_per_month,
        "anycastHourly": float(book.anycast_hourly),
        "localOnlyHourly": float(book.local_only_hourly),
        "backboneGb": float(book.backbone_gb),
        "volumeGibMonth": float(book.volume_gib_month),
        "idleAddressHourly": float(book.idle_address_hourly),
        "volumeClasses": {name: float(price) for name, price in book.volume_classes},
        "sizes": [
            {"name": s.name, "cpuMillis": s.cpu_millis, "memoryBytes": s.memory_bytes, "hourly": float(s.hourly)}
            for s in book.sizes
        ],
    }
