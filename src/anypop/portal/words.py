"""Data as people read it: money, sizes, moments, states, problems. Pure.

In: values of the API's answers. Out: short texts for templates, which escape them. A state is told by a word and a
shape, never by a colour alone.
"""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

# what a state looks like: the name of its style, and a shape that says the same without colour
SHAPES = {"good": "●", "way": "◐", "bad": "■", "off": "○"}

LONGEST = 200  # letters of a value of which only the beginning is of interest

# of an instance whose process runs, and that does not answer: no new traffic goes there
NOT_HEALTHY = ("Not healthy", "bad")
_ASKED_FOR = {"rescued": ("In rescue", "way"), "powered-off": ("Shutting down", "way")}

_STATES = {
    "RUNNING": ("Running", "good"),
    "STARTING": ("Starting", "way"),
    "SCHEDULING": ("Scheduling", "way"),
    "DELETING": ("Deleting", "way"),
    "FAILED": ("Failed", "bad"),
    "STOPPED": ("Stopped", "bad"),
    "COMPLETED": ("Completed", "off"),
}


def state(phase: str) -> tuple[str, str]:
    """The word for an instance's phase, and its style. What is not known is never told as well."""
    return _STATES.get(phase.removeprefix("INSTANCE_PHASE_"), ("Unknown", "off"))


def standing(instance: Mapping[str, Any]) -> tuple[str, str]:
    """The word for how an instance is, and its style: one that runs and does not answer is not told as well."""
    word, style = state(str(instance.get("phase", "")))
    if style != "good" or instance.get("healthy"):
        return word, style
    return _ASKED_FOR.get(str(instance.get("reason", "")), NOT_HEALTHY)


def hourly(amount: float) -> str:
    """For an hour: four digits behind the point where two would hide something."""
    return f"{amount:,.2f}" if round(amount, 2) == round(amount, 4) else f"{amount:,.4f}".rstrip("0")


def monthly(amount: float) -> str:
    return f"{amount:,.2f}"


def cpus(millis: int) -> str:
    return f"{millis / 1000:g} vCPU"


def memory(size: int) -> str:
    """In the largest unit of which there is a whole one."""
    for unit, one in (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20)):
        if size >= one:
            return f"{size / one:g} {unit}"
    return f"{size} bytes"


def rate(bits: float) -> str:
    """Bits in a second, three digits of them."""
    for unit, one in (("Gbit/s", 1e9), ("Mbit/s", 1e6), ("kbit/s", 1e3)):
        if bits >= one:
            return f"{bits / one:.3g} {unit}"
    return f"{bits:.0f} bit/s"


def utc(at: str) -> str:
    """A moment as the API tells it, for those without a script; the page's script puts it into the reader's zone."""
    try:
        return datetime.fromisoformat(at).strftime("%Y-%m-%d %H:%M:%S UTC")
    except ValueError:
        return at


def epoch(at: float) -> str:
    """The same for seconds since the epoch."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def aged(seconds: float) -> str:
    """How old something is, in its largest unit."""
    for unit, least, one in (("days", 172_800, 86_400), ("h", 5400, 3600), ("min", 90, 60)):
        if seconds >= least:
            return f"{seconds / one:.0f} {unit}"
    return f"{seconds:.0f} s"


def reason(value: str) -> str:
    """`probe-passed` as `probe passed`."""
    return value.replace("-", " ").replace("_", " ")


def short(value: object) -> str:
    """A value of a document in one line: text as it is, the rest as JSON."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


FILTERS: Mapping[str, Callable[..., Any]] = {
    "standing": standing,
    "shape": lambda style: SHAPES[style],
    "hourly": hourly,
    "monthly": monthly,
    "cpus": cpus,
    "memory": memory,
    "rate": rate,
    "utc": utc,
    "epoch": epoch,
    "aged": aged,
    "reason": reason,
    "short": short,
}
