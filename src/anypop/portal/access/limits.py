"""Limits as people read and write them: each with its use, in the unit in which one thinks of it. Pure.

In: quota and use as the API tells them; a form. Out: rows for a template; the API's limits. A field that is left empty
is no limit.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

GIB = 1 << 30

# (member of the API, in words, one of the unit, its name); of an account, and those of a stack before `stacks`
ROWS: tuple[tuple[str, str, int, str], ...] = (
    ("workloads", "Workloads", 1, ""),
    ("instances", "Instances", 1, ""),
    ("cpu_millis", "Processor, requested", 1000, "vCPU"),
    ("memory_bytes", "Memory, requested", GIB, "GiB"),
    ("cpu_limit_millis", "Processor, by limits", 1000, "vCPU"),
    ("memory_limit_bytes", "Memory, by limits", GIB, "GiB"),
    ("instance_cpu_limit_millis", "Processor of one instance", 1000, "vCPU"),
    ("instance_memory_limit_bytes", "Memory of one instance", GIB, "GiB"),
    ("volume_bytes", "Volumes", GIB, "GiB"),
    ("image_bytes", "Images of virtual machines", GIB, "GiB"),
    ("anycast", "Anycast addresses", 1, ""),
    ("addresses", "Kept external addresses", 1, ""),
    ("local_only", "Covering prefixes of one's own", 1, ""),
    ("stacks", "Stacks", 1, ""),
    ("requests_per_second", "Requests in a second, of each credential", 1, ""),
)
OF_ACCOUNTS = ("stacks", "requests_per_second")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """`share`: used of most, in per cent, at most 100; None: no limit, or nothing that counts. `field`: as an input has
    it, empty: no limit.
    """

    name: str
    words: str
    unit: str
    used: str
    most: str
    field: str
    share: int | None

    @property
    def full(self) -> bool:
        return self.share is not None and self.share >= 90


def rows(quota: Mapping[str, Any], used: Mapping[str, Any], *, stack: bool = False) -> list[Row]:
    return [_row(shown, quota, used) for shown in ROWS if not (stack and shown[0] in OF_ACCOUNTS)]


def _row(shown: tuple[str, str, int, str], quota: Mapping[str, Any], used: Mapping[str, Any]) -> Row:
    name, words, one, unit = shown
    most, so_far = quota.get(name), used.get(name)
    share = None
    if most is not None and so_far is not None:
        share = min(100, round(100 * so_far / most)) if most else (100 if so_far else 0)
    return Row(
        name=name,
        words=words,
        unit=unit,
        used=_number(so_far, one) if so_far is not None else "",
        most=_number(most, one) if most is not None else "",
        field=_plain(most, one) if most is not None else "",
        share=share,
    )


def _number(value: int, one: int) -> str:
    return f"{value / one:,.6g}" if one > 1 else f"{value:,}"


def _plain(value: int, one: int) -> str:
    """So that it comes back as the same number."""
    return str(value // one) if value % one == 0 else repr(value / one)


def read(form: Mapping[str, str], *, stack: bool = False) -> tuple[dict[str, int], list[str]]:
    """The limits that a form has; and what of it is no number, in words."""
    limits: dict[str, int] = {}
    wrong = []
    for name, words, one, unit in ROWS:
        text = form.get(name, "").strip().replace(",", "")
        if not text or (stack and name in OF_ACCOUNTS):
            continue
        try:
            value = float(text) * one
            limits[name] = round(value)
        except (ValueError, OverflowError):
            wrong.append(f"{words}: a number{f' of {unit}' if unit else ''}, or nothing for no limit")
            continue
        if one == 1 and value != limits[name]:
            wrong.append(f"{words}: a whole number")
    return limits, wrong
