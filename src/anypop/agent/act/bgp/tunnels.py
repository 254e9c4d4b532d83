"""The sessions with the other hosts, as BIRD's text: who serves which address, and with how many instances. Pure.

In: the order's `Backbone`. Out: lines, and none without one. Each host has a session with each other one inside the
tunnel, so that a tunnel that does not carry packets carries no promises either. What is told comes from a kernel table
that the agent writes, and what is heard goes to one kernel table for each host, which the agent reads: nothing is
configured anew when addresses come and go. Of an instance's own addresses is told whose they are, by a number of two
parts, and whether it serves; a host is heard on those of its own prefixes alone. Of gateways is told how many lead to
a destination. These routes stand in tables of their own, apart from those of upstreams; no packet is ever routed by
them, and no upstream hears of them.
"""

import re
import zlib
from collections.abc import Iterable, Iterator

from anypop.agent.act.bgp.session import RESTART_S, SAID
from anypop.agent.act.bgp.words import FAMILIES
from anypop.agent.decide.elements import SpeakerConfig
from anypop.agent.naming import GATEWAY_KEYS, SERVED_TABLE, TUNNEL, peer_table, tunnel_end
from anypop.model.announce import Prefix
from anypop.model.backbone import Backbone, BackbonePeer

_LENGTH = {4: 32, 6: 128}
_MOST = 100_000  # addresses of a whole platform, and more
_HOLD_S = 9  # BFD is quicker; this is for a loss before it has come up
# An address that this host serves too: its own route must stay the best one, or two hosts withdraw theirs in turn.
_OWN_PREFERENCE = 200
# A community inside the tunnels: the instance that has this address does not serve at the moment.
_UNWELL = "(0,1)"


def tunnel_name(peer: BackbonePeer) -> str:
    """The BGP protocol's name in BIRD: t_LHR_2. No upstream's begins so."""
    plain = re.sub(r"[^A-Za-z0-9_]", "_", peer.host)
    if len(plain) > 32 or plain != peer.host.replace("-", "_"):
        plain = f"{plain[:32]}_{zlib.crc32(peer.host.encode()):08x}"
    return f"t_{plain}"


def tunnels(config: SpeakerConfig) -> Iterator[str]:
    """All lines of all these sessions."""
    backbone = config.backbone
    if backbone is None:
        return
    for family in FAMILIES:
        yield from _told(backbone, config.own, family)
    for peer in backbone.peers:
        for family in FAMILIES:
            yield from _heard(peer, family)
        yield from _session(config, peer)


def _told(backbone: Backbone, own: Iterable[Prefix], family: int) -> Iterator[str]:
    """The table of all that is served anywhere, and what this host itself serves in it."""
    yield from (
        f"define CARRIED{family} = {_single((*backbone.carried, GATEWAY_KEYS), family)};",
        f"define SIBLINGS{family} = {_single(own, family)};",
        f"ipv{family} table carried{family};",
        f"filter served_here{family} {{",
        f"\tif (net !~ CARRIED{family} && net !~ SIBLINGS{family}) then reject;",
        f"\tpreference = {_OWN_PREFERENCE};",
        "\tbgp_med = krt_initcwnd;",
        f"\tif (net ~ SIBLINGS{family}) then {{",
        "\t\tbgp_local_pref = krt_window;",
        f"\t\tif defined(krt_initrwnd) then bgp_community.add({_UNWELL});",
        "\t}",
        "\taccept;",
        "}",
        f"protocol kernel served{family} {{",
        f"\tlearn; scan time 10; kernel table {SERVED_TABLE};",
        f"\tipv{family} {{ table carried{family}; import filter served_here{family}; export none; }};",
        "}",
        "",
    )


def _single(prefixes: Iterable[Prefix], family: int) -> str:
    """The set of all single addresses in these."""
    inside = ", ".join(f"{p}{{{_LENGTH[family]},{_LENGTH[family]}}}" for p in prefixes if p.version == family)
    return f"[ {inside} ]" if inside else "[]"


def _heard(peer: BackbonePeer, family: int) -> Iterator[str]:
    name, inside = tunnel_name(peer), _single(peer.own(), family)
    yield from (
        f"define {name}_own{family} = {inside};",
        f"filter {name}_heard{family} {{",
        f"\tif (net !~ CARRIED{family} && net !~ {name}_own{family}) then reject;",
        "\tdest = RTD_BLACKHOLE;  # it says how many, or whose, not by which way",
        "\taccept;",
        "}",
        f"ipv{family} table {name}_{family};",
        f"protocol pipe {name}_pipe{family} {{",
        f"\ttable {name}_{family}; peer table carried{family};",
        f'\timport where proto = "{name}"; export none;',
        "}",
        f"protocol kernel {name}_kernel{family} {{",
        f"\tgraceful restart; scan time 10; kernel table {peer_table(peer.router_id)};",
        f"\tipv{family} {{",
        f"\t\ttable {name}_{family}; import none;",
        "\t\texport filter {",
        "\t\t\tkrt_initcwnd = bgp_med;",
        f"\t\t\tif (net ~ {name}_own{family}) then {{",
        "\t\t\t\tkrt_window = bgp_local_pref;",
        f"\t\t\t\tif ({_UNWELL} ~ bgp_community) then krt_initrwnd = 1;",
        "\t\t\t}",
        "\t\t\taccept;",
        "\t\t};",
        "\t};",
        "}",
    )


def _session(config: SpeakerConfig, peer: BackbonePeer) -> Iterator[str]:
    yield from (
        f"protocol bgp {tunnel_name(peer)} {{",
        f'\tdescription "host {tunnel_name(peer)[2:]}";',
        f"\tlocal {tunnel_end(config.router_id)} as {config.asn};",
        f"\tneighbor {tunnel_end(peer.router_id)} as {config.asn};",
        f'\tinterface "{TUNNEL}"; direct;',
        "\tbfd off;",  # a process of its own has it: while that says that host and way live, so does what they told
        f"\tgraceful restart on; graceful restart time {RESTART_S};",
        f"\thold time {_HOLD_S};",
        "\tconnect delay time 1;",
        "\tconnect retry time 1;",
        "\terror wait time 1, 2;",
        SAID,
    )
    for family in FAMILIES:
        yield from (
            f"\tipv{family} {{",
            f"\t\ttable carried{family};",
            *(["\t\textended next hop on;"] if family == 4 else []),
            f"\t\timport limit {_MOST} action block;",
            f"\t\timport filter {tunnel_name(peer)}_heard{family};",
            f'\t\texport where proto = "served{family}";',
            "\t\tnext hop self;",
            "\t};",
        )
    yield from ("}", "")
