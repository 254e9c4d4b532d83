"""A neighbour that tells what it must not: how much of it our speaker takes.

In: a name prefix for two network namespaces, a folder. Out: `HostileRoutes`. The speaker is a real BIRD with the very
text that an agent gives it; the neighbour is a BIRD that forges prefixes, paths and next hops in both families, and
tells honest routes in the same session. Then the import filter is taken out of the same configuration, and what comes
in now is counted: a zero with the filter counts only beside that.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_network
from pathlib import Path

from anypop.agent.act.bgp.config import render
from anypop.agent.decide.elements import SpeakerConfig
from anypop.agent.naming import LEARNT_TABLE
from anypop.host import birdc, ip, netns, process
from anypop.lab.until import until
from anypop.model.errors import WorldError
from anypop.model.network import Upstream, UpstreamKind

_OWN, _NEIGHBOUR = 33438, 3356
_WAIT_S = 20.0
_SELF = f"bgp_path.prepend({_NEIGHBOUR});"

OURS = tuple(
    map(
        ip_network,
        ("10.64.0.0/16", "185.1.0.0/24", "185.3.0.0/24", "185.2.0.0/22", "fd00:64::/64", "2a0e:b100::/40",
         "2a0e:b200::/48", "2a0e:b300::/48"),
    )
)  # fmt: skip
MANAGEMENT = (ip_network("62.10.0.0/24"), ip_network("2a0e:c000::/48"))


def _path(*numbers: int, own: bool = True) -> str:
    """The filter's words for a path, its first number last in the list of prepends."""
    return " ".join(f"bgp_path.prepend({n});" for n in reversed(numbers)) + (f" {_SELF}" if own else "")


# kind -> (prefix, what the neighbour does to the route beside telling it)
HOSTILE: dict[str, tuple[str, str]] = {
    "default route": ("0.0.0.0/0", _SELF),
    "private, 10": ("10.0.0.0/8", _SELF),
    "links of our instances": ("10.64.0.0/16", _SELF),
    "the address of a probe": ("10.64.0.1/32", _SELF),
    "shared address space": ("100.64.0.0/10", _SELF),
    "link-local": ("169.254.0.0/16", _SELF),
    "private, 172.16": ("172.16.0.0/12", _SELF),
    "protocol assignments": ("192.0.0.0/24", _SELF),
    "documentation 1": ("192.0.2.0/24", _SELF),
    "6to4 relay": ("192.88.99.0/24", _SELF),
    "private, 192.168": ("192.168.0.0/16", _SELF),
    "benchmarks": ("198.18.0.0/15", _SELF),
    "documentation 2": ("198.51.100.0/24", _SELF),
    "documentation 3": ("203.0.113.0/24", _SELF),
    "class E": ("240.0.0.0/4", _SELF),
    "a half of everything": ("128.0.0.0/1", _SELF),
    "a quarter of everything": ("64.0.0.0/2", _SELF),
    "our covering prefix": ("185.2.0.0/22", _SELF),
    "a part of our covering prefix": ("185.2.1.0/24", _SELF),
    "one anycast address": ("185.2.0.1/32", _SELF),
    "our external prefix": ("185.1.0.0/24", _SELF),
    "another host's external prefix": ("185.3.0.0/24", _SELF),
    "management": ("62.10.0.0/24", _SELF),
    "control's own address": ("62.10.0.7/32", _SELF),
    "too specific, 25": ("45.10.0.0/25", _SELF),
    "too specific, 32": ("45.10.1.1/32", _SELF),
    "a path of 250": ("45.11.0.0/24", _path(*[6939] * 249)),
    "a path of 65": ("45.11.1.0/24", _path(*[6939] * 64)),
    "another first AS": ("45.12.0.0/24", _path(174, own=False)),
    "a private AS in the path": ("45.12.1.0/24", _path(64512)),
    "a documentation AS in the path": ("45.12.2.0/24", _path(6939, 64500, 174)),
    "AS_TRANS in the path": ("45.12.3.0/24", _path(23456)),
    "a private 4-byte AS in the path": ("45.12.4.0/24", _path(4_200_000_000)),
    "the last AS in the path": ("45.12.5.0/24", _path(174, 4_294_967_295)),
    "somebody else's next hop": ("45.13.0.0/24", f"{_SELF} bgp_next_hop = 89.0.0.3;"),
    "a leak of its provider's route": ("45.14.0.0/24", f"{_path(1299)} bgp_otc = 1299;"),
    "default route, IPv6": ("::/0", _SELF),
    "unique local": ("fd00::/8", _SELF),
    "links of our instances, IPv6": ("fd00:64::/64", _SELF),
    "documentation, IPv6": ("2001:db8::/32", _SELF),
    "documentation, new": ("3fff::/20", _SELF),
    "6to4": ("2002::/16", _SELF),
    "6bone": ("3ffe::/16", _SELF),
    "translation": ("64:ff9b::/96", _SELF),
    "discard only": ("100::/64", _SELF),
    "ORCHID": ("2001:10::/28", _SELF),
    "benchmarks, IPv6": ("2001:2::/48", _SELF),
    "segments": ("5f00::/16", _SELF),
    "never given out": ("4000::/3", _SELF),
    "an eighth of everything": ("2000::/3", _SELF),
    "our covering prefix, IPv6": ("2a0e:b100::/40", _SELF),
    "a part of our covering prefix, IPv6": ("2a0e:b100:5::/48", _SELF),
    "one anycast address, IPv6": ("2a0e:b100::1/128", _SELF),
    "our external prefix, IPv6": ("2a0e:b200::/48", _SELF),
    "another host's external prefix, IPv6": ("2a0e:b300::/48", _SELF),
    "management, IPv6": ("2a0e:c000::/48", _SELF),
    "control's own address, IPv6": ("2a0e:c000::7/128", _SELF),
    "too specific, 49": ("2a10:1::/49", _SELF),
    "too specific, 64": ("2a10:2::/64", _SELF),
    "a path of 250, IPv6": ("2a11:1::/32", _path(*[6939] * 249)),
    "another first AS, IPv6": ("2a11:2::/32", _path(174, own=False)),
    "a private AS in the path, IPv6": ("2a11:3::/32", _path(65_001)),
    "somebody else's next hop, IPv6": ("2a11:4::/32", f"{_SELF} bgp_next_hop = 2a0e:d000::3;"),
    "a leak of its provider's route, IPv6": ("2a11:5::/32", f"{_path(1299)} bgp_otc = 1299;"),
}
HONEST: dict[str, str] = {
    "8.8.8.0/24": _SELF,
    "9.0.0.0/8": _SELF,
    "1.1.0.0/16": _path(13335),
    "45.20.0.0/22": _path(*[174] * 40),
    "185.0.0.0/16": _SELF,
    "45.14.1.0/24": f"{_SELF} bgp_otc = {_NEIGHBOUR};",
    "11.0.0.0/8": _path(396_982),
    "100.128.0.0/9": f"{_SELF} bgp_community.add((3356, 3)); bgp_med = 10;",
    "2600::/16": _SELF,
    "2a0e:b000::/29": _path(6939),
    "2001:4860::/32": _path(15169),
    "2a12::/48": _path(*[174] * 40),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class HostileRoutes:
    """`kinds` of bad routes were told; `taken`: those that the speaker or the kernel has. `honest` routes were told in
    the same session, and `arrived` came into the kernel. `taken_without_filter`: kinds that come in once the import
    filter is away.
    """

    kinds: int
    taken: tuple[str, ...]
    honest: int
    arrived: int
    taken_without_filter: int


def hostile_routes(prefix: str, folder: Path) -> HostileRoutes:
    """Play the scene; takes some 5 s and needs root. `prefix`: unique on the machine. Leaves nothing behind."""
    with _stage(prefix, folder) as (here, control):
        told = len(HOSTILE) + len(HONEST)
        _heard(control, told)
        until(
            lambda: len(_in_kernel(here)) >= len(HONEST),
            timeout_s=_WAIT_S,
            what="wait for honest routes in the kernel",
        )
        in_kernel = _in_kernel(here)
        there = _known(control) | in_kernel
        taken = tuple(kind for kind, (net, _) in HOSTILE.items() if net in there)
        file = folder / "pop.conf"
        file.write_text(re.sub(r"import filter from_\w+;", "import all;", file.read_text()))
        birdc.ask(control, "configure")
        _settled(control)
        known = _known(control)
        return HostileRoutes(
            kinds=len(HOSTILE),
            taken=taken,
            honest=len(HONEST),
            arrived=sum(net in in_kernel for net in HONEST),
            taken_without_filter=sum(net in known for net, _ in HOSTILE.values()),
        )


@contextmanager
def _stage(prefix: str, folder: Path) -> Iterator[tuple[str, Path]]:
    """Two namespaces with a BIRD each; gives the speaker's namespace and its control socket."""
    here, there = f"{prefix}-hp", f"{prefix}-hn"
    folder.mkdir(parents=True, exist_ok=True)
    upstream = Upstream(
        name="hostile", asn=_NEIGHBOUR, kind=UpstreamKind.PEER, interface="wan", bfd=False,
        neighbor4=IPv4Address("89.0.0.1"), local4=IPv4Address("89.0.0.2"),
        neighbor6=IPv6Address("2a0e:d000::1"), local6=IPv6Address("2a0e:d000::2"),
    )  # fmt: skip
    config = SpeakerConfig(
        asn=_OWN, router_id=IPv4Address("10.64.255.1"), upstreams=(upstream,), ours=OURS, management=MANAGEMENT
    )
    (folder / "pop.conf").write_text(render(config, log=folder / "pop.log"))
    (folder / "hostile.conf").write_text(_hostile(upstream))
    try:
        ip.batch([f"netns add {here}", f"netns add {there}"])
        ip.batch([f"link add wan netns {here} type veth peer name wan netns {there}"])
        for space, number in ((here, 2), (there, 1)):
            ip.batch(
                [
                    "link set lo up", "link set wan up", f"addr add 89.0.0.{number}/29 dev wan",
                    f"addr add 2a0e:d000::{number}/64 dev wan nodad",
                ],
                netns=space,
            )  # fmt: skip
        for space, name in ((here, "pop"), (there, "hostile")):
            argv = ["bird", "-f", "-c", str(folder / f"{name}.conf"), "-s", str(folder / f"{name}.ctl")]
            process.spawn(netns.command(space, *argv), pid_file=folder / f"{name}.pid", log=folder / f"{name}.out")
        yield here, folder / "pop.ctl"
    finally:
        for name in ("pop", "hostile"):
            process.end(folder / f"{name}.pid", grace_s=0)
        ip.batch([f"netns del {space}" for space in (here, there) if netns.exists(space)])


def _hostile(us: Upstream) -> str:
    """The neighbour's bird.conf. As a route server it adds nothing by itself: every path is what its filter makes."""
    lines = ["router id 89.0.0.1;", "protocol device {}"]
    for family, local, neighbour in ((4, us.neighbor4, us.local4), (6, us.neighbor6, us.local6)):
        told = {net: words for net, words in (*HOSTILE.values(), *HONEST.items()) if (":" in net) == (family == 6)}
        lines.append(f"protocol static {{ ipv{family}; {' '.join(f'route {net} unreachable;' for net in told)} }}")
        lines.append(f"filter forge{family} {{")
        lines += [f"\tif net = {net} then {{ {words} accept; }}" for net, words in told.items()]
        lines += ["\treject;", "}"]
        lines.append(
            f"protocol bgp h{family} {{ local {local} as {_NEIGHBOUR}; neighbor {neighbour} as {_OWN}; rs client;"
            f" connect delay time 1; ipv{family} {{ import none; export filter forge{family}; next hop keep; }}; }}"
        )
    return "\n".join(lines) + "\n"


def _heard(control: Path, told: int) -> None:
    """Wait until the speaker has heard all of it, whatever it thinks of it."""
    until(
        lambda: sum(map(int, re.findall(r"Import updates:\s+(\d+)", _all(control)))) >= told,
        timeout_s=_WAIT_S,
        what=f"wait until {told} routes are told",
    )


def _settled(control: Path) -> None:
    """Wait until the neighbour has told everything anew: every kind that BIRD itself takes has come in."""
    until(
        lambda: len(_known(control)) >= len(HOSTILE) + len(HONEST),
        timeout_s=_WAIT_S,
        what="wait for hostile routes without the filter",
    )


def _all(control: Path) -> str:
    with suppress(WorldError):  # it is just starting
        return birdc.ask(control, "show protocols all")
    return ""


def _known(control: Path) -> set[str]:
    text = birdc.ask(control, "show route where source = RTS_BGP")
    return set(re.findall(r"^([0-9a-f.:]+/\d+) ", text, flags=re.MULTILINE))


def _in_kernel(here: str) -> set[str]:
    found = set()
    for family in ("-4", "-6"):
        for row in ip.query(family, "route", "show", "table", str(LEARNT_TABLE), netns=here):
            found.add(str(ip_network(row["dst"] if row["dst"] != "default" else ("0.0.0.0/0", "::/0")[family == "-6"])))
    return found
