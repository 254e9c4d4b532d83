"""The nftables tables that lead an ICMP error to the instance whose packet it quotes, as text for `nft`. Pure.

In: the ways, and what of a table is there. Out: one transaction that adds and takes away what differs. Behind a group
of next hops an error is hashed like any packet, by who sent it: mostly to another instance than the one that has to
send less, and the transfer hangs. So connection tracking remembers by which link a flow goes (its mark is the link's
number), and the error is copied there. One that belongs to no flow we know is copied to all members, so many a second.
The cost is a few look-ups, however many instances there are.
"""

from collections.abc import Iterable

from anypop.agent.decide.error_ways import Copy, ErrorTable, ErrorWay, chain_of, error_table, members_behind
from anypop.agent.naming import TUNNEL
from anypop.model.announce import Address

FAMILIES = {4: "ip", 6: "ip6"}
BASE_RULES = {"remember": 2, "arriving": 1, "made_here": 2, "error": 2}
"""The chains that every table has, and how many rules each."""

_PER_SECOND, _BURST = 20, 40  # errors copied to all: to 200 members, 4,000 packets of 5 us, a fiftieth of a core
_KINDS = {
    4: "icmp type { destination-unreachable, time-exceeded, parameter-problem }",
    6: "icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem }",
}


def render(table: str, version: int, ways: Iterable[ErrorWay], there: ErrorTable | None) -> str:
    """From what is there to what should be. `there` None: nothing, or not all that a table must have: it is made anew.
    What is right already is not touched; without any way there is no table.
    """
    ways, head = tuple(ways), f"{FAMILIES[version]} {table}"
    should = error_table(ways, version)
    if not should.anycast:
        return f"table {head}\ndelete table {head}\n"
    if there is None:
        fresh = f"table {head}\ndelete table {head}\n{_skeleton(table, version)}"
        return fresh + _difference(head, ways, version, ErrorTable(), should)
    return _difference(head, ways, version, there, should)


def _skeleton(table: str, version: int) -> str:
    ip, kinds, address = FAMILIES[version], _KINDS[version], f"ipv{version}_addr"
    return "\n".join(
        [
            f"table {ip} {table} {{",
            *_named("map links", "type ifname : mark"),
            *_named("map gateways", f"type mark : {address}"),
            *_named("map numbers", "type mark : iface_index"),
            *_named("set anycast", f"type {address}"),
            *_named("map everyone", f"type {address} : verdict"),
            *_named(
                "chain error",
                "ct state related ct mark != 0 dup to ct mark map @gateways device ct mark map @numbers drop",
                f"{ip} daddr vmap @everyone",
            ),
            *_named(
                "chain remember",
                "type filter hook forward priority mangle; policy accept;",
                # a connection stays with its link, or ends
                "meta l4proto tcp ct state established ct mark != 0 accept",
                f"ct direction original {ip} daddr @anycast ct mark set oifname map @links",
            ),
            *_named(
                "chain arriving",
                "type filter hook prerouting priority mangle; policy accept;",
                f"{kinds} {ip} daddr @anycast goto error",
            ),
            *_named(
                "chain made_here",  # by this router, where its own link is the small one
                "type filter hook output priority mangle; policy accept;",
                "ct state untracked accept",  # the copies themselves
                f"{kinds} {ip} daddr @anycast goto error",
            ),
            "}",
            "",
        ]
    )


def _difference(head: str, ways: Iterable[ErrorWay], version: int, there: ErrorTable, should: ErrorTable) -> str:
    behind = members_behind(ways, version)
    wrong = {name for name, count in should.rules.items() if there.rules.get(name) != count}
    new = {a: those for a, those in behind.items() if chain_of(a, those) in wrong or a not in there.anycast}
    stale = [a for a in there.anycast if a in new or a not in behind]
    lines = [
        _alter("delete", head, "links", [f'"{k}"' for k, n in there.links.items() if should.links.get(k) != n]),
        _alter("delete", head, "gateways", [str(n) for n, a in there.gateways.items() if should.gateways.get(n) != a]),
        _alter("delete", head, "numbers", [str(n) for n in there.devices - should.devices]),
        _alter("delete", head, "anycast", [str(a) for a in there.anycast - should.anycast]),
        _alter("delete", head, "everyone", [str(a) for a in stale]),
        _alter(
            "add", head, "gateways", [f"{n} : {a}" for n, a in should.gateways.items() if there.gateways.get(n) != a]
        ),
        _alter("add", head, "numbers", [f"{n} : {n}" for n in should.devices - there.devices]),
        _alter("add", head, "links", [f'"{k}" : {n}' for k, n in should.links.items() if there.links.get(k) != n]),
        _alter("add", head, "anycast", [str(a) for a in should.anycast - there.anycast]),
        *(_chain(head, address, those) for address, those in new.items()),
        _alter("add", head, "everyone", [f"{a} : goto {chain_of(a, those)}" for a, those in new.items()]),
        *(f"delete chain {head} {name}\n" for name in sorted(there.rules.keys() - should.rules.keys())),
    ]
    return "".join(lines)


def _chain(head: str, address: Address, those: list[Copy]) -> str:
    """Copies to all behind an address; what came by the tunnel goes to instances here alone. Over the limit an error
    goes where it is hashed to.
    """
    name = chain_of(address, those)
    rules = [
        f"limit rate over {_PER_SECOND}/second burst {_BURST} packets return",
        *(f"dup to {own} device {number}" for number, own, away in those if not away),
        *([f'iifname "{TUNNEL}" drop'] if any(away for _, _, away in those) else []),
        *(f"dup to {own} device {number}" for number, own, away in those if away),
        "drop",
    ]
    return f"add chain {head} {name}\nflush chain {head} {name}\n" + "".join(
        f"add rule {head} {name} {rule}\n" for rule in rules
    )


def is_of_an_address(name: str) -> bool:
    """Whether a chain is one of those."""
    return name.startswith("all_")


def _alter(verb: str, head: str, name: str, elements: list[str]) -> str:
    return f"{verb} element {head} {name} {{ {', '.join(sorted(elements))} }}\n" if elements else ""


def _named(name: str, *lines: str) -> list[str]:
    return [f"\t{name} {{", *(f"\t\t{line}" for line in lines), "\t}"]
