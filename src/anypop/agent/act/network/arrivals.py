"""Counting what comes in from upstreams for prefixes that are drained, in an nftables table of its own.

In: which prefix by which interface. Out: packets and bytes of each since the table was made. It counts before anything
is decided about a packet, changes none, and is there only while something is drained: nobody else pays for it.
"""

import json
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from anypop.agent.act.network.nft import nft
from anypop.model.announce import Prefix
from anypop.model.errors import WorldError


class Door(NamedTuple):
    """Where a prefix's traffic comes in."""

    interface: str
    prefix: Prefix


Counts = Mapping[Door, tuple[int, int]]


def script(table: str, doors: Collection[Door]) -> str:
    """The table anew, in one transaction; without doors it goes."""
    head = [f"table inet {table}", f"delete table inet {table}"]
    if not doors:
        return "\n".join([*head, ""])
    rules = [
        f'\t\tiifname "{d.interface}" {"ip" if d.prefix.version == 4 else "ip6"} daddr {d.prefix} counter '
        f'comment "{d.prefix}"'
        for d in sorted(doors, key=lambda d: (d.interface, d.prefix.version, str(d.prefix)))
    ]
    return "\n".join(
        [
            *head,
            f"table inet {table} {{",
            "\tchain arrivals {",
            "\t\ttype filter hook prerouting priority raw - 10; policy accept;",
            *rules,
            "\t}",
            "}",
            "",
        ]
    )


async def count(table: str, doors: Collection[Door]) -> None:
    """Count at these doors and no others, from nothing. Raises `WorldError`."""
    await nft("count what arrives", "-f", "-", stdin=script(table, doors))


async def read(table: str, doors: Collection[Door]) -> Counts | None:
    """What has come in; None where the table is not the one that counts at these doors."""
    try:
        listed = json.loads(await nft("read what arrived", "-j", "list", "table", "inet", table))
    except (WorldError, ValueError):
        return None
    by_name = {(d.interface, str(d.prefix)): d for d in doors}
    found: dict[Door, tuple[int, int]] = {}
    for entry in listed.get("nftables", ()):
        rule = entry.get("rule")
        if not isinstance(rule, dict):
            continue
        door = by_name.get((_interface(rule), str(rule.get("comment"))))
        counter = next((e["counter"] for e in rule.get("expr", ()) if isinstance(e.get("counter"), dict)), None)
        if door is None or counter is None:
            return None
        found[door] = int(counter["packets"]), int(counter["bytes"])
    return found if found.keys() == set(doors) else None


def _interface(rule: Mapping[str, Any]) -> str:
    matches = (e["match"] for e in rule.get("expr", ()) if isinstance(e.get("match"), dict))
    return next((str(m["right"]) for m in matches if m.get("left") == {"meta": {"key": "iifname"}}), "")
