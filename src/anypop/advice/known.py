"""What control knows of a workload's announcements: its network and its rows, as plain arguments, in; a `Known` out.

For who asks about what runs rather than about a plan file. Needs no numpy. Pure.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from anypop.model.network import Network
from anypop.model.sessions import Announcements, from_network, of_predicted_family, of_rows, predicted_family


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What control knows: the network, the announcements of `workload` and its `prefixes`; `onward`: by PoP, which
    other one answers what comes in there. `doubts`: what is not as announced, or not known to be, in words.

    `workload` empty: none announces, and all PoPs count as if one did."""

    announcements: Announcements
    network: Network
    workload: str = ""
    prefixes: tuple[str, ...] = ()
    onward: Mapping[str, str] = field(default_factory=dict)
    doubts: tuple[str, ...] = ()


def known_of(network: Network, workload: str = "", rows: Sequence[Mapping[str, Any]] = ()) -> Known:
    """What control's rows of a workload's announcements say; without rows every PoP announces to every upstream."""
    if not rows:
        return Known(announcements=from_network(network), network=network)
    prefixes = tuple(dict.fromkeys(str(row["prefix"]) for row in rows))
    announcements = of_rows(network, rows)
    return Known(
        announcements=announcements,
        network=network,
        workload=workload,
        prefixes=prefixes,
        onward={str(row["pop"]): str(row["carried_to"]) for row in rows if row.get("carried_to")},
        doubts=tuple(dict.fromkeys(_doubts(rows, announcements))),
    )


def _doubts(rows: Sequence[Mapping[str, Any]], announcements: Announcements) -> Iterator[str]:
    """Of what counts as announced: what is not answered there, and of what nobody knows whether it is out. Before
    anything is, what will be is asked about, and there is nothing to doubt.
    """
    if not any(row.get("announced", True) for row in rows):
        return
    sessions = {session.key for session in announcements.sessions}
    hears = {session.key for session in announcements.sessions if session.hears}
    family, own = predicted_family(rows), of_predicted_family(rows)
    out = {(str(row["pop"]), str(row["upstream"])) for row in own if row.get("announced", True)}
    for row in rows:
        pop, upstream, says = str(row["pop"]), str(row["upstream"]), row.get("says") or row.get("reason", "")
        if (pop, upstream) not in sessions:
            yield f"{pop} tells {upstream} {row['prefix']} alone: IPv{family} is predicted, and hears nothing there"
            continue
        if row not in own or (pop, upstream) not in hears:
            continue
        if row.get("dark"):
            yield f"what lands in {pop} is not answered there: {says}"
        elif row.get("announced", True):
            continue
        elif (pop, upstream) in out:
            yield f"{row['prefix']} is not out from {pop} to {upstream}: {says}; it counts as if it were"
        else:
            yield f"{pop} may not be announcing: {says}; it counts as if it were"
