"""BIRD's configuration, rendered from what the speaker shall say. Pure; golden files show it, and each passes `bird
-p`.

In: `SpeakerConfig`. Out: the text of bird.conf. Only the prefixes that stand in it can ever leave: each session's
export filter is an explicit list that accepts our own static routes and rejects everything else, so nothing learnt
from one upstream reaches another. BIRD forwards nothing of ours: its static routes never enter the kernel, and routes
learnt by BGP enter it under BIRD's own protocol number.
"""

import hashlib
import re
import zlib
from pathlib import Path

from anypop.agent.decide.elements import Export, SpeakerConfig
from anypop.model.announce import GRACEFUL_SHUTDOWN
from anypop.model.network import Upstream, UpstreamKind

KERNEL_METRIC = 1000  # learnt routes stand behind anything that the operator or the agent puts there
IMPORT_LIMIT = 2_000_000  # about twice the Internet's table: a leak of everything must not fill the memory
_BFD = "min rx interval 100 ms; min tx interval 100 ms; multiplier 3;"  # a silent loss is seen in 0.3 s
_FAMILIES = (4, 6)
# Graceful restart (RFC 4724): a neighbour without BFD keeps our routes while a BIRD that was killed starts anew. That
# takes 1 to 2 s, of which BIRD waits 1 s before it connects; for so much longer than that at most may routes stand
# that nobody answers for.
RESTART_S = 10
# a neighbour that does not come back in time holds up what is told to the others, and routes in the kernel, so long
_RECOVERY_S = 4


def session_name(upstream: Upstream, family: int) -> str:
    """The BGP protocol's name in BIRD: u4_level3. Names that BIRD would not take get a checksum, so that two never
    meet.
    """
    plain = re.sub(r"[^A-Za-z0-9_]", "_", upstream.name)
    if plain != upstream.name or len(plain) > 32:
        plain = f"{plain[:32]}_{zlib.crc32(upstream.name.encode()):08x}"
    return f"u{family}_{plain}"


def has_session(upstream: Upstream, family: int) -> bool:
    if family == 4:
        return upstream.neighbor4 is not None and upstream.local4 is not None
    return upstream.neighbor6 is not None and upstream.local6 is not None


def digest(config: SpeakerConfig, *, log: Path) -> str:
    """A short name of exactly this text; the daemon that runs it tells it (`eval anypop_digest`)."""
    return hashlib.sha256(_body(config, log, "").encode()).hexdigest()[:16]


def render(config: SpeakerConfig, *, log: Path) -> str:
    """The whole bird.conf."""
    return _body(config, log, digest(config, log=log))


def _body(config: SpeakerConfig, log: Path, name: str) -> str:
    own = {
        family: sorted({e.prefix for e in config.exports if e.prefix.version == family}, key=str)
        for family in _FAMILIES
    }
    lines = [
        f'log "{log}" 1048576 "{log}.old" {{ info, remote, warning, error, auth, fatal, bug }};',
        f"router id {config.router_id};",
        "timeformat protocol iso long ms;",
        f"graceful restart wait {_RECOVERY_S};",
        f'define anypop_digest = "{name}";',
        "",
        "protocol device { scan time 10; }",
        f'protocol bfd {{ interface "*" {{ {_BFD} }}; }}' if any(u.bfd for u in config.upstreams) else "",
        "",
    ]
    for family in _FAMILIES:
        lines += _kernel(family)
        lines += [
            f"protocol static own{family} {{",
            f"\tipv{family};",
            *(f"\troute {p} unreachable;" for p in own[family]),
            "}",
            "",
        ]
    for upstream in config.upstreams:
        for family in _FAMILIES:
            if has_session(upstream, family):
                exports = [e for e in config.exports if e.upstream == upstream.name and e.prefix.version == family]
                lines += _session(config.asn, upstream, family, exports)
    return "\n".join(lines) + "\n"


def _kernel(family: int) -> list[str]:
    return [
        f"protocol kernel kernel{family} {{",
        "\tpersist;  # a restart of BIRD takes no learnt route away",
        "\tgraceful restart;  # nor does one that follows upon a death, before the neighbours have told again",
        f"\tmetric {KERNEL_METRIC};",
        f"\tipv{family} {{ import none; export where source = RTS_BGP; }};",
        "}",
        "",
    ]


def _session(asn: int, upstream: Upstream, family: int, exports: list[Export]) -> list[str]:
    name = session_name(upstream, family)
    local = upstream.local4 if family == 4 else upstream.local6
    neighbor = upstream.neighbor4 if family == 4 else upstream.neighbor6
    lines = [f"filter to_{name} {{", f'\tif proto != "own{family}" then reject;']
    for export in exports:
        lines.append(f"\tif net = {export.prefix} then {{ {' '.join([*_marks(asn, export), 'accept;'])} }}")
    return [
        *lines,
        "\treject;",
        "}",
        f"protocol bgp {name} {{",
        f'\tdescription "{upstream.kind} AS{upstream.asn}";',
        f"\tlocal {local} as {asn};",
        f"\tneighbor {neighbor} as {upstream.asn};",
        f"\tbfd {'on' if upstream.bfd else 'off'};",
        "\tconnect delay time 1;",
        "\tconnect retry time 1;",
        "\terror wait time 1, 2;",
        *_manner(asn, upstream),
        f"\tipv{family} {{",
        f"\t\timport limit {IMPORT_LIMIT} action restart;",
        "\t\timport all;",
        f"\t\texport filter to_{name};",
        "\t\tnext hop self;",
        "\t};",
        "}",
        "",
    ]


def _manner(asn: int, upstream: Upstream) -> list[str]:
    """What is particular about a session. The PoP's own edge router spreads over its hosts: when a host's speaker is
    gone it must turn to the others at once, so nothing is kept for a restart. It is one hop away also where it has our
    own number (iBGP, which BIRD takes for multihop unless told).
    """
    if upstream.kind is not UpstreamKind.EDGE:
        return [f"\tgraceful restart on; graceful restart time {RESTART_S};"]
    return [*(["\tdirect;"] if upstream.asn == asn else []), "\tgraceful restart off;"]


def _marks(asn: int, export: Export) -> list[str]:
    communities = (*export.communities, *((GRACEFUL_SHUTDOWN,) if export.graceful else ()))
    return [
        *(f"bgp_path.prepend({asn});" for _ in range(export.prepend)),
        *(f"bgp_community.add(({a},{b}));" for a, b in dict.fromkeys(communities)),
        *(f"bgp_large_community.add(({a},{b},{c}));" for a, b, c in dict.fromkeys(export.large_communities)),
    ]
