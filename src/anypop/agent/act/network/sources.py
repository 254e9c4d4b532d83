"""The kernel's sample of whose connections come in here, in an nftables table of its own, there only where the operator
wants it.

In: one connection of how many, the interfaces towards upstreams, the prefixes that are announced. Out: the networks
(/24 and /48) that were seen, until they are forgotten. A connection is chosen by chance when its first packet (SYN)
comes in by an upstream, and remembered for some seconds. It counts when the instance here answers it with data: that is
sent to nobody but who has given back the number that went to his address, so a forged source does not count, nor a scan
nor UDP. The kernel itself cuts the address; sets are bounded, and who finds one full is not counted. No packet is
changed or dropped. What another host answers, or came by a tunnel, is not seen as a whole and does not count.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_network
from typing import NamedTuple

from anypop.agent.act.network import nftables, sets
from anypop.agent.act.network.netlink import NETFILTER, Netlink
from anypop.agent.act.network.nft import nft
from anypop.model.announce import Prefix
from anypop.model.sources import LENGTHS, MOST_SOURCES

ASKED_S, MOST_ASKED = 10, 16_384  # between the first packet and the answer; two megabytes when full
_MASKS = {4: "255.255.255.0", 6: "ffff:ffff:ffff::"}
_IP = {4: "ip", 6: "ip6"}
_CHAINS = ("begins", "chosen", "answers", "data", "known4", "known6")
_VERSION = 1  # of the rules themselves


class Sample(NamedTuple):
    """One of `one_of` connections that come in by these interfaces for these prefixes."""

    one_of: int
    interfaces: frozenset[str]
    prefixes: frozenset[Prefix]


Seen = Mapping[Prefix, frozenset[Prefix]]
"""By the prefix of ours the networks that came in for it."""


def script(table: str, sample: Sample) -> str:
    """The table anew, in one transaction."""
    ours = sorted(sample.prefixes, key=lambda p: (p.version, str(p)))
    uplinks = [f'"{name}"' for name in sorted(sample.interfaces)]
    return "\n".join(
        [
            f"table inet {table}",
            f"delete table inet {table}",
            f"table inet {table} {{",
            *(line for v in (4, 6) for line in _set(f"asked{v}", *_asked(v))),
            *(line for p in ours for line in _set(_name(p), f"type ipv{p.version}_addr", *_size(MOST_SOURCES))),
            *_chain(_digest(sample)),
            *_chain("chosen", *(rule for v in (4, 6) for rule in _chosen(v, ours))),
            *_chain(
                "begins",
                # before connection tracking, which leaves some addresses alone
                "type filter hook prerouting priority raw - 10; policy accept;",
                f"iifname {{ {', '.join(uplinks)} }} "
                f"tcp flags & (fin | syn | rst | ack) == syn numgen random mod {sample.one_of} 0 goto chosen",
            ),
            *(line for v in (4, 6) for line in _chain(f"known{v}", *_known(v, ours))),
            *_chain("data", *(f"{_flow(v, back=True)} @asked{v} goto known{v}" for v in (4, 6))),
            *_chain(
                "answers",
                # behind the firewall: what it drops is no answer
                "type filter hook forward priority filter + 30; policy accept;",
                "tcp flags & (syn | rst | psh) == psh goto data",
            ),
            "}",
            "",
        ]
    )


def _chosen(version: int, ours: Iterable[Prefix]) -> Iterator[str]:
    if own := ", ".join(str(p) for p in ours if p.version == version):
        yield f"{_IP[version]} daddr {{ {own} }} update @asked{version} {{ {_flow(version)} }}"


def _known(version: int, ours: Iterable[Prefix]) -> Iterator[str]:
    ip = _IP[version]
    yield f"delete @asked{version} {{ {_flow(version, back=True)} }}"
    for p in ours:
        if p.version == version:
            yield f"{ip} saddr {p} add @{_name(p)} {{ {ip} daddr & {_MASKS[version]} }}"


def _flow(version: int, *, back: bool = False) -> str:
    """Who asks whom, in a packet of his, or in one that goes back to him."""
    ip, (one, other) = _IP[version], ("d", "s") if back else ("s", "d")
    return f"{ip} {one}addr . tcp {one}port . {ip} {other}addr . tcp {other}port"


def _asked(version: int) -> tuple[str, ...]:
    ends = f"ipv{version}_addr . inet_service"
    return f"type {ends} . {ends}", f"size {MOST_ASKED}", "flags dynamic,timeout", f"timeout {ASKED_S}s"


def _size(most: int) -> tuple[str, ...]:
    # no time after which they go: what was read can be taken away by its key
    return f"size {most}", "flags dynamic"


def _set(name: str, *words: str) -> list[str]:
    return [f"\tset {name} {{", *(f"\t\t{word}" for word in words), "\t}"]


def _chain(name: str, *rules: str) -> list[str]:
    return [f"\tchain {name} {{", *(f"\t\t{rule}" for rule in rules), "\t}"]


def _name(prefix: Prefix) -> str:
    return f"seen_{prefix.network_address.packed.hex()}_{prefix.prefixlen}"


def _digest(sample: Sample) -> str:
    """The name of an empty chain, by which the table says what it was made from."""
    made_from = sample.one_of, sorted(sample.interfaces), sorted(map(str, sample.prefixes)), _VERSION
    return "of_" + hashlib.sha256(repr(made_from).encode()).hexdigest()[:16]


async def keep(table: str, sample: Sample) -> None:
    """Take this sample, from nothing. Raises `WorldError`."""
    await nft("look whose connections come in", "-f", "-", stdin=script(table, sample))


def is_kept(net: Netlink, table: str, sample: Sample) -> bool:
    """Whether that is what the table does. `net`: of nftables."""
    there = nftables.rule_counts(net, table)
    return _digest(sample) in there and all(there.get(name) for name in _CHAINS[:4])


def end(table: str) -> None:
    """Look at nothing; harmless where nothing is looked at. Raises `WorldError`."""
    with Netlink(NETFILTER) as net:
        nftables.delete_table(net, table)


def read(net: Netlink, table: str, sample: Sample) -> Seen:
    """What was seen and is not forgotten. Raises `WorldError`."""
    return {
        prefix: frozenset(
            ip_network((key, LENGTHS[prefix.version])) for key in sets.keys(net, table, (sets.INET, _name(prefix)))
        )
        for prefix in sample.prefixes
    }


def forget(net: Netlink, table: str, seen: Seen) -> None:
    """What was read, and nothing that came since. Raises `WorldError`."""
    gone = {(sets.INET, _name(p)): [s.network_address.packed for s in those] for p, those in seen.items() if those}
    sets.change(net, table, gone=gone, new={})
