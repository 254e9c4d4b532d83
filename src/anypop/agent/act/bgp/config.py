"""BIRD's configuration, rendered from what the speaker shall say. Pure; golden files show it, and each passes `bird
-p`.

In: `SpeakerConfig`, passwords, and which sessions are left out. Out: the text of bird.conf. Only the prefixes that
stand in it can ever leave: each session's export filter is an explicit list that accepts our own static routes and
rejects everything else, so nothing learnt from one upstream reaches another. BIRD forwards nothing of ours: its static
routes never enter the kernel, and what it learns enters a table of its own.
"""

import hashlib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from anypop.agent.act.bgp import policy
from anypop.agent.act.bgp.session import session
from anypop.agent.act.bgp.tunnels import tunnels
from anypop.agent.act.bgp.words import FAMILIES, is_host, session_name
from anypop.agent.decide.elements import SpeakerConfig
from anypop.agent.naming import LEARNT_TABLE
from anypop.model.network import Upstream

KERNEL_METRIC = 1000
# a neighbour that does not come back in time holds up what is told to the others, and routes in the kernel, so long
_RECOVERY_S = 4
# Seconds. A cache that was away is asked again soon, new statements are seen within a minute, and what a dead cache has
# said counts for two hours, RFC 8210's own figure.
_RTR = "retry keep 2; refresh keep 60; expire keep 7200;"

Passwords = Mapping[str, str]
"""By the session's name in BIRD."""


def sessions_of(config: SpeakerConfig) -> dict[str, tuple[Upstream, int]]:
    """Every session that is ordered, by its name in BIRD."""
    return {session_name(u, f): (u, f) for u in config.upstreams for f in FAMILIES if u.has_session(f)}


def digest(config: SpeakerConfig, *, log: Path, passwords: Passwords | None = None) -> str:
    """A short name of exactly this text; the daemon that runs it tells it (`eval anypop_digest`)."""
    return hashlib.sha256(_body(config, log, "", passwords or {}).encode()).hexdigest()[:16]


def render(
    config: SpeakerConfig, *, log: Path, passwords: Passwords | None = None, left_out: Collection[str] = (),
    as_before: Collection[str] = (),
) -> str:  # fmt: skip
    """The whole bird.conf. `left_out`: sessions that must not be in it; `as_before`: those that stand without graceful
    restart, and would be reset to get it. Its digest stays that of the whole.
    """
    name = digest(config, log=log, passwords=passwords)
    return _body(config, log, name, passwords or {}, left_out=left_out, as_before=as_before)


def _body(
    config: SpeakerConfig, log: Path, name: str, passwords: Passwords, *, left_out: Collection[str] = (),
    as_before: Collection[str] = (),
) -> str:  # fmt: skip
    sessions = {key: found for key, found in sessions_of(config).items() if key not in left_out}
    lines = [
        f'log "{log}" 1048576 "{log}.old" {{ trace, info, remote, warning, error, auth, fatal, bug }};',
        f"router id {config.router_id};",
        "timeformat protocol iso long ms;",
        f"graceful restart wait {_RECOVERY_S};",
        f'define anypop_digest = "{name}";',
        "",
        *policy.sets(config),
        "",
        "protocol device { scan time 10; }",  # no BFD: another process has it, and its ports (`act/bgp/bfd`)
        *_rpki(config),
        "",
    ]
    for family in FAMILIES:
        own = sorted({e.prefix for e in config.exports if e.prefix.version == family}, key=str)
        if any(u.multihop is not None for u, f in sessions.values() if f == family):
            lines += _near(family)
        lines += _kernel(family)
        lines += [
            f"protocol static own{family} {{",
            f"\tipv{family};",
            *(f"\troute {p} unreachable;" for p in own),
            "}",
            "",
        ]
    for key, (upstream, family) in sessions.items():
        lines += session(config, upstream, family, passwords.get(key), restarts=key not in as_before)
    lines += tunnels(config)
    return "\n".join(lines) + "\n"


def _rpki(config: SpeakerConfig) -> Iterator[str]:
    for number, cache in enumerate(config.rpki):
        if is_host(cache.host) and 0 < cache.port < 65536:
            yield f"protocol rpki cache{number} {{ roa4 {{ table rpki4; }}; roa6 {{ table rpki6; }};"
            yield f'\tremote "{cache.host}" port {cache.port}; {_RTR} }}'


def _near(family: int) -> list[str]:
    """How a neighbour several hops away is reached: by the operator's own routes, never by those that it tells."""
    return [
        f"ipv{family} table near{family};",
        f"protocol direct links{family} {{ ipv{family} {{ table near{family}; }}; }}",
        f"protocol kernel operator{family} {{",
        f"\tlearn; scan time 10;\n\tipv{family} {{ table near{family}; import all; export none; }};",
        "}",
        "",
    ]


def _kernel(family: int) -> list[str]:
    return [
        f"protocol kernel kernel{family} {{",
        "\tpersist;  # a restart of BIRD takes no learnt route away",
        "\tgraceful restart;  # nor does one that follows upon a death, before the neighbours have told again",
        f"\tkernel table {LEARNT_TABLE};",
        f"\tmetric {KERNEL_METRIC};",
        f"\tipv{family} {{ import none; export where source = RTS_BGP; }};",
        "}",
        "",
    ]
