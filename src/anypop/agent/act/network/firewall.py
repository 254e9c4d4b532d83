"""The firewall in front of instances, as one nftables table of our own name; no other table is ever touched.

In: `Firewall` (pure data). Out: a ruleset that nft loads in one transaction, so there is no moment without it and
connection tracking is not disturbed: established flows survive every change. Outbound traffic and the router's own
are free.
"""

import hashlib

from anypop.agent.act.network.nft import nft
from anypop.agent.decide.elements import Firewall, Opening
from anypop.agent.naming import firewall_table
from anypop.model.errors import WorldError

_ICMP = ("meta l4proto { icmp, ipv6-icmp } accept",)


def render(rules: Firewall, prefix: str) -> str:
    """The nft script: makes the table if need be, deletes it with everything in it, makes it anew. One transaction."""
    table = f"inet {firewall_table(prefix)}"
    return "\n".join(
        [
            f"table {table}",
            f"delete table {table}",
            f"table {table} {{",
            f'\tcomment "{digest(rules)}"',
            *_set("instances", "ifname", [f'"{link}"' for link in rules.links]),
            *_set(
                "open4",
                "ipv4_addr . inet_proto . inet_service",
                [_element(o) for o in rules.openings if o.address.version == 4],
            ),
            *_set(
                "open6",
                "ipv6_addr . inet_proto . inet_service",
                [_element(o) for o in rules.openings if o.address.version == 6],
            ),
            "\tchain forward {",
            "\t\ttype filter hook forward priority filter; policy accept;",
            "\t\toifname @instances jump inbound",
            "\t}",
            "\tchain inbound {",
            "\t\tct state established,related accept",
            *(f"\t\t{rule}" for rule in _ICMP),
            "\t\tip daddr . meta l4proto . th dport @open4 accept",
            "\t\tip6 daddr . meta l4proto . th dport @open6 accept",
            "\t\tcounter drop",
            "\t}",
            "}",
            "",
        ]
    )


def digest(rules: Firewall) -> str:
    """A short name of exactly these rules, kept as the table's comment."""
    return hashlib.sha256(repr(rules).encode()).hexdigest()[:16]


async def load(rules: Firewall, prefix: str) -> None:
    await nft("load the firewall", "-f", "-", stdin=render(rules, prefix))


async def loaded_digest(prefix: str) -> str | None:
    """The digest of the rules that are loaded now; None when our table is not there."""
    try:
        listing = await nft("read the firewall", "-t", "list", "table", "inet", firewall_table(prefix))
    except WorldError:
        return None
    _, found, rest = listing.partition('comment "')
    return rest.partition('"')[0] if found else None


def _set(name: str, kind: str, elements: list[str]) -> list[str]:
    lines = [f"\tset {name} {{", f"\t\ttype {kind}"]
    if elements:
        lines.append(f"\t\telements = {{ {(',' + chr(10) + chr(9) * 3).join(elements)} }}")
    return [*lines, "\t}"]


def _element(opening: Opening) -> str:
    return f"{opening.address} . {opening.protocol.lower()} . {opening.port}"
