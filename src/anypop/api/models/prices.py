"""Price books and quotes."""

from anypop.api.models.common import Answer, CamelAnswer, left_out


class QuoteLine(Answer):
    """One item of a price."""

    item: str
    quantity: int
    unit_hourly: float
    hourly: float
    monthly: float
    most: int = left_out("what the quantity may grow to by itself, with the load")


class WithoutEffect(Answer):
    """What was accepted and has no effect yet."""

    field: str
    description: str


class Quote(Answer):
    """What a workload costs while as many instances run as are declared at least. Where their number follows their
    load, `most_hourly` and `most_monthly` say what it costs while all run that may.
    """

    currency: str
    lines: list[QuoteLine]
    hourly: float
    monthly: float
    most_hourly: float = left_out()
    most_monthly: float = left_out()
    without_effect: list[WithoutEffect] = left_out()


class PricedSize(CamelAnswer):
    """A size of instance and its price for an hour."""

    name: str
    cpu_millis: int
    memory_bytes: int
    hourly: float


class PriceBook(CamelAnswer):
    """The prices that quotes are made of. Sizes stand from small to large. `version`: another where any price is."""

    version: str
    currency: str
    hours_per_month: int
    anycast_hourly: float
    local_only_hourly: float
    backbone_gb: float
    volume_gib_month: float
    idle_address_hourly: float
    volume_classes: dict[str, float]
    sizes: list[PricedSize]
