"""The nftables table that marks the flows of incarnations that drain, as text for `nft`. Pure.

In: all pins, and what of an older version of the table is to go. Out: one transaction that makes the rules anew and
keeps the recorded flows. A packet costs the same however many drain: one look by link, one by address, and then one
for each that drains on that very address. Another table than the firewall's: no connection tracking, nothing accepted
or dropped for others.
"""

from collections.abc import Iterable, Sequence

from anypop.agent.act.network.pins import Pin
from anypop.agent.act.network.sockets import Connection
from anypop.agent.naming import DRAIN_MARK_MASK
from anypop.model.announce import Address

BASE_CHAINS = ("prerouting", "output", "postrouting")
KINDS = ("tcp4", "tcp6", "closed4", "closed6", "asked4", "asked6", "udp4", "udp6", "talking")
"""The sets of each pin. `closed`: flows in which the incarnation has said its last, or which the client has reset;
`asked`: those in which it has not acknowledged the client's last words, or has only answered the SYN; `talking`: is
filled while UDP passes.
"""

_FLOWS = 1 << 20  # most flows of one kind that are recorded; memory is used as they come
_UDP_S = 120  # a UDP flow that is silent for longer is over (what connection tracking takes for one, too)
_TALKING_S = 1
_BARE = 120  # bytes of a packet that has no data, at most: headers of IP and TCP with all options
_ASKED_S = 3  # a client sends again what was lost after 0.2 s, and then after twice the time before
_AT_ONCE = 1000  # elements in one line
_REST = ~DRAIN_MARK_MASK & 0xFFFF_FFFF
_IP = {4: "ip", 6: "ip6"}


def render(table: str, pins: Sequence[Pin], chains: Iterable[str] = (), sets: Iterable[str] = ()) -> str:
    """The whole table. `chains` and `sets`: those that are there now; a set that belongs to one of `pins` keeps its
    elements.
    """
    kept = {pin.set_name(kind) for pin in pins for kind in KINDS}
    at = {
        a: [pin for pin in pins if a in pin.addresses]
        for a in sorted({a for pin in pins for a in pin.addresses}, key=_by_version)
    }
    return "\n".join(
        [
            f"table inet {table}",
            f"flush table inet {table}",
            *(f"delete chain inet {table} {name}" for name in chains if name not in BASE_CHAINS),
            # __: anonymous
            *(f"delete set inet {table} {name}" for name in sets if name not in kept and not name.startswith("__")),
            f"table inet {table} {{",
            *(line for pin in pins for line in _sets(pin)),
            *(line for pin in pins for line in _chains(pin)),
            *(line for address, those in at.items() for line in _chain(_at(address), _jumps(address, those))),
            "\tchain prerouting {",
            # late: what others mark before is kept
            "\t\ttype filter hook prerouting priority dstnat - 10; policy accept;",
            *_vmap("iifname", [f'"i{pin.key}" : jump {pin.set_name("sent")}' for pin in pins]),
            *_by_address(at),
            "\t}",
            "\tchain output {",
            "\t\ttype route hook output priority mangle; policy accept;",  # clients on the host itself
            *_by_address(at),
            "\t}",
            "\tchain postrouting {",
            # behind every firewall: only what arrives is recorded
            "\t\ttype filter hook postrouting priority mangle; policy accept;",
            *_vmap("oifname", [f'"i{pin.key}" : goto {pin.set_name("delivered")}' for pin in pins]),
            "\t}",
            "}",
            "",
        ]
    )


def elements(table: str, pin: Pin, flows: Iterable[Connection]) -> str:
    """Flows that its sockets know, to be added to its sets."""
    by_set: dict[str, list[str]] = {}
    for flow in flows:
        key = f"{flow.peer} . {flow.peer_port} . {flow.local} . {flow.local_port}"
        kinds = [
            f"{'udp' if flow.udp else 'tcp'}{flow.local.version}",
            *([f"closed{flow.local.version}"] if flow.said_all else []),
        ]
        for kind in kinds:
            by_set.setdefault(pin.set_name(kind), []).append(key)
    parts = ((name, keys[at : at + _AT_ONCE]) for name, keys in by_set.items() for at in range(0, len(keys), _AT_ONCE))
    return "".join(f"add element inet {table} {name} {{ {', '.join(part)} }}\n" for name, part in parts)


def key_of(flow: Connection) -> bytes:
    """A flow as the kernel keeps it in those sets: each part filled up to four bytes."""
    return b"".join(
        address.packed + port.to_bytes(2, "big") + b"\0\0"
        for address, port in ((flow.peer, flow.peer_port), (flow.local, flow.local_port))
    )


def _sets(pin: Pin) -> list[str]:
    lines = []
    for v in (4, 6):
        flow = f"type ipv{v}_addr . inet_service . ipv{v}_addr . inet_service"
        for kind in ("tcp", "closed"):  # no timeout: a connection may be quiet for days, and the agent may be dead
            lines += _set(pin.set_name(f"{kind}{v}"), flow, f"size {_FLOWS}", "flags dynamic")
        for kind, seconds in (("udp", _UDP_S), ("asked", _ASKED_S)):
            timeout = f"timeout {seconds}s"
            lines += _set(pin.set_name(f"{kind}{v}"), flow, f"size {_FLOWS}", "flags dynamic,timeout", timeout)
    return lines + _set(
        pin.set_name("talking"), "type inet_proto", "size 16", "flags dynamic,timeout", f"timeout {_TALKING_S}s"
    )


def _chains(pin: Pin) -> list[str]:
    """What arrives is marked (`pin4`, `pin6`); what is delivered or sent is recorded.

    A SYN in a closed flow is a new connection that uses an old port again: it is forgotten here and goes where new
    ones go. A SYN of any other recorded flow is sent again by a client whose connection is half open. One that was
    never answered makes no flow: sent again it goes where new ones go.

    A flow in which the client's last words (PSH) are not acknowledged is remembered for a while, and so is one whose
    SYN was just answered: where the server's queue is full, the answer is a cookie, and no socket tells of the
    connection that the client has. An answer that the server sends again by itself says nothing new of the client: a
    SYN that is sent again does.
    """
    lines, delivered, sent = [], [], []
    for v in sorted({address.version for address in pin.addresses}):
        ip, own = _IP[v], ", ".join(str(a) for a in sorted(pin.addresses, key=_by_version) if a.version == v)
        tcp, tcp_back = (f"{ip} {peer} . tcp {theirs} . {ip} {here} . tcp {ours}" for peer, theirs, here, ours in _WAYS)
        udp, udp_back = tcp.replace("tcp", "udp"), tcp_back.replace("tcp", "udp")
        kinds = (f"tcp{v}", f"closed{v}", f"asked{v}", f"udp{v}", "talking")
        tcps, closed, asked, udps, talking = (pin.set_name(kind) for kind in kinds)
        marked = f"meta mark set meta mark & {_REST:#010x} | {pin.mark:#010x} accept"
        again = f"delete @{tcps} {{ {tcp} }} delete @{closed} {{ {tcp} }} return"
        arriving = [
            f"tcp flags & (fin | syn | rst | ack) == syn {tcp} @{closed} {again}",
            f"{tcp} @{tcps} {marked}",
            f"{udp} @{udps} {marked}",
        ]
        lines += _chain(pin.set_name(f"pin{v}"), arriving)
        to, by = f"{ip} daddr {{ {own} }}", f"{ip} saddr {{ {own} }}"
        delivered += [
            f"{to} tcp flags & (fin | syn | rst | ack) == syn {tcp} @{tcps} update @{asked} {{ {tcp} }}",
            f"{to} tcp flags & rst != 0 add @{closed} {{ {tcp} }} return",
            f"{to} tcp flags & (syn | rst | psh | ack) == ack meta length <= {_BARE} return",
            f"{to} tcp flags & (syn | ack) != syn add @{tcps} {{ {tcp} }}",
            f"{to} tcp flags & (syn | rst | psh) == psh {tcp} != @{closed} update @{asked} {{ {tcp} }}",
            f"{to} update @{udps} {{ {udp} }} update @{talking} {{ meta l4proto }}",
        ]
        sent += [
            f"{by} tcp flags & (syn | ack) == syn | ack {tcp_back} != @{tcps} update @{asked} {{ {tcp_back} }}",
            f"{by} tcp flags & (fin | rst) == 0 tcp flags & (syn | psh) != 0 add @{tcps} {{ {tcp_back} }}",
            f"{by} tcp flags & syn == 0 delete @{asked} {{ {tcp_back} }}",
            f"{by} tcp flags & (fin | rst) != 0 add @{closed} {{ {tcp_back} }}",
            f"{by} update @{udps} {{ {udp_back} }} update @{talking} {{ meta l4proto }}",
        ]
    return [*lines, *_chain(pin.set_name("delivered"), delivered), *_chain(pin.set_name("sent"), sent)]


_WAYS = (("saddr", "sport", "daddr", "dport"), ("daddr", "dport", "saddr", "sport"))


def _by_address(at: dict[Address, list[Pin]]) -> list[str]:
    return [
        line
        for v in (4, 6)
        for line in _vmap(f"{_IP[v]} daddr", [f"{a} : goto {_at(a)}" for a in at if a.version == v])
    ]


def _jumps(address: Address, pins: list[Pin]) -> list[str]:
    return [f"jump {pin.set_name(f'pin{address.version}')}" for pin in pins]


def _at(address: Address) -> str:
    return f"at_{address.packed.hex()}"


def _by_version(address: Address) -> tuple[int, int]:
    return address.version, int(address)


def _vmap(key: str, entries: list[str]) -> list[str]:
    return [f"\t\t{key} vmap {{ {(',' + chr(10) + chr(9) * 3).join(entries)} }}"] if entries else []


def _chain(name: str, rules: list[str]) -> list[str]:
    return [f"\tchain {name} {{", *(f"\t\t{rule}" for rule in rules), "\t}"]


def _set(name: str, *words: str) -> list[str]:
    return [f"\tset {name} {{", *(f"\t\t{word}" for word in words), "\t}"]
