"""The files by which the agent and its process that sends logs know of each other, in one folder for both.

In and out: receivers and containers (the agent's), positions and counters (the process's). Written whole or not at all;
what cannot be read counts as not there. Receivers may have secrets: the folder is the agent's alone.
"""

import contextlib
import os
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import TypeVar

from anypop.agent.shipping.formats import Source
from anypop.agent.shipping.reading import Position
from anypop.model.codec import from_json, to_json
from anypop.model.errors import Invalid
from anypop.model.log_sinks import LogSink, Shipped

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Receivers:
    """`forbidden`: networks of the platform, where no tenant's receiver may be."""

    sinks: tuple[LogSink, ...] = ()
    forbidden: tuple[IPv4Network | IPv6Network, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    containers: tuple[Source, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Positions:
    """By sink and container. A sink that is in it has been begun."""

    of: dict[str, dict[str, Position]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    sinks: tuple[Shipped, ...] = ()


NAMES: dict[type, str] = {
    Receivers: "receivers.json", Sources: "sources.json", Positions: "positions.json", Told: "told.json",
}  # fmt: skip


def read(folder: Path, kind: type[T]) -> T | None:
    with contextlib.suppress(OSError, Invalid):
        return from_json(kind, (folder / NAMES[kind]).read_bytes())
    return None


def write(folder: Path, value: object) -> bool:
    """Whether it is another than before."""
    file = folder / NAMES[type(value)]
    content = to_json(value)
    with contextlib.suppress(OSError):
        if file.read_bytes() == content:
            return False
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    new = file.with_suffix(".new")
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as opened:
        opened.write(content)
    new.replace(file)
    return True
