"""What control knows of a workload's announcements: its network and its rows, as plain arguments, in; a `Known` out.

For who asks about what runs rather than about a plan file. Needs no numpy. Pure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from anypop.model.network import Network
from anypop.model.sessions import Announcements, from_network, of_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What control knows: the network, the announcements of `workload` and its `prefixes`; `onward`: by PoP, which
    other one answers what comes in there.

    `workload` empty: none announces, and all PoPs count as if one did."""

    announcements: Announcements
    network: Network
    workload: str = ""
    prefixes: tuple[str, ...] = ()
    onward: Mapping[str, str] = field(default_factory=dict)


def known_of(network: Network, workload: str = "", rows: Sequence[Mapping[str, Any]] = ()) -> Known:
    """What control's rows of a workload's announcements say; without rows every PoP announces to every upstream."""
    if not rows:
        return Known(announcements=from_network(network), network=network)
    prefixes = tuple(dict.fromkeys(str(row["prefix"]) for row in rows))
    return Known(
        announcements=of_rows(network, rows), network=network, workload=workload, prefixes=prefixes,
        onward={str(row["pop"]): str(row["carried_to"]) for row in rows if row.get("carried_to")},
    )  # fmt: skip
