"""One session as BIRD's text: its export filter, its import filter, the session itself. Pure.

In: the session as ordered, what is exported on it, its password. Out: lines. A session cannot stand without an import
and an export of its own (RFC 8212): both are written here, in every case. What is not asked for is not written, so that
a new version of this program leaves standing sessions alone: BIRD resets a session when any of its parameters changes,
but not when its filters or limits do, or when it is to leave BFD to others.
"""

import re
from collections.abc import Sequence

from anypop.agent.act.bgp.policy import import_filter
from anypop.agent.act.bgp.words import ends, session_name
from anypop.agent.decide.elements import Export, SpeakerConfig
from anypop.model.announce import GRACEFUL_SHUTDOWN
from anypop.model.extended_communities import spelled
from anypop.model.network import Upstream, UpstreamKind
from anypop.model.peering import GracefulRestart, Role, most_prefixes

# Graceful restart (RFC 4724): a neighbour without BFD keeps our routes while a BIRD that was killed starts anew. That
# takes 1 to 2 s, of which BIRD waits 1 s before it connects; for so much longer than that at most may routes stand
# that nobody answers for.
RESTART_S = 10
# That a session came up or was lost is in the log at once, where the agent sees that something was written. To be told
# so is no parameter of a session: none is reset for it.
SAID = "\tdebug { states };"
_ROLES = {role: role.value.replace("-", "_") for role in Role}


def session(
    config: SpeakerConfig, upstream: Upstream, family: int, password: str | None, *, restarts: bool = True
) -> list[str]:
    """All lines of one session. `restarts` False: without graceful restart where nothing is ordered about it."""
    name = session_name(upstream, family)
    exports = [e for e in config.exports if e.upstream == upstream.name and e.prefix.version == family]
    imports = import_filter(config, upstream, family)
    local, neighbor = ends(upstream, family)
    return [
        *_export_filter(config.asn, name, family, exports),
        *imports,
        f"protocol bgp {name} {{",
        f'\tdescription "{upstream.kind} AS{upstream.asn}";',
        f"\tlocal {f'{local} ' if local is not None else ''}as {config.asn};",
        f"\tneighbor {neighbor} as {upstream.asn};",
        *([f'\tinterface "{upstream.interface}";'] if neighbor.is_link_local else []),
        # a process of its own has it (`bfd`): BIRD's would die with BIRD
        "\tbfd off;",
        "\tconnect delay time 1;",
        f"\tconnect retry time {upstream.connect_s or 1};",
        "\terror wait time 1, 2;",
        SAID,
        *_manner(config.asn, upstream, restarts=restarts),
        *_parameters(upstream, password),
        f"\tipv{family} {{",
        *([f"\t\tigp table near{family};"] if upstream.multihop is not None else []),
        f"\t\timport limit {most_prefixes(upstream.kind, upstream.imports, family)} action disable;",
        f"\t\timport {f'filter from_{name}' if imports else 'none'};",
        f"\t\texport filter to_{name};",
        "\t\tnext hop self;",
        "\t};",
        "}",
        "",
    ]


def _export_filter(asn: int, name: str, family: int, exports: Sequence[Export]) -> list[str]:
    lines = [f"filter to_{name} {{", f'\tif proto != "own{family}" then reject;']
    for export in exports:
        lines.append(f"\tif net = {export.prefix} then {{ {' '.join([*_marks(asn, export), 'accept;'])} }}")
    return [*lines, "\treject;", "}"]


def _marks(asn: int, export: Export) -> list[str]:
    communities = (*export.communities, *((GRACEFUL_SHUTDOWN,) if export.graceful else ()))
    return [
        *(f"bgp_path.prepend({asn});" for _ in range(export.prepend)),
        *(f"bgp_community.add(({a},{b}));" for a, b in dict.fromkeys(communities)),
        *(f"bgp_large_community.add(({a},{b},{c}));" for a, b, c in dict.fromkeys(export.large_communities)),
        *(f"bgp_ext_community.add(({', '.join(spelled(c))}));" for c in dict.fromkeys(export.extended_communities)),
    ]


def _manner(asn: int, upstream: Upstream, *, restarts: bool) -> list[str]:
    """What is particular about a session. The PoP's own edge router is one hop away also where it has our own number
    (iBGP, which BIRD takes for multihop unless told). It keeps the routes of a speaker that is started anew like any
    other neighbour: flows stay where they are, and a host that is gone is seen by BFD.
    """
    edge = upstream.kind is UpstreamKind.EDGE
    wanted = upstream.graceful_restart or (GracefulRestart.ON if restarts else GracefulRestart.OFF)
    direct = ["\tdirect;"] if edge and upstream.asn == asn and upstream.multihop is None else []
    if wanted is GracefulRestart.ON:
        return [*direct, f"\tgraceful restart on; graceful restart time {upstream.restart_s or RESTART_S};"]
    return [*direct, f"\tgraceful restart {wanted};"]


def _parameters(upstream: Upstream, password: str | None) -> list[str]:
    asked = [
        ("local role", _ROLES.get(upstream.role) if upstream.role is not None else None),
        ("multihop", upstream.multihop),
        ("ttl security", "on" if upstream.ttl_security else None),
        ("passive", "on" if upstream.passive else None),
        ("hold time", upstream.hold_s),
        ("keepalive time", upstream.keepalive_s),
        ("password", f'"{password}"' if password is not None else None),
    ]
    return [f"\t{word} {value};" for word, value in asked if value is not None]


def without_restart(text: str) -> frozenset[str]:
    """Sessions of a configuration that have no graceful restart, by name."""
    blocks = re.findall(r"^protocol bgp (\w+) \{$(.*?)^\}$", text, re.DOTALL | re.MULTILINE)
    return frozenset(name for name, lines in blocks if "\tgraceful restart off;" in lines)
