"""What we announce, as a prediction takes it: control's rows, a plan file or neither in, `Announcements` out; and "what if" rules.

A rule is `withhold:JFK:209`, `prepend:LAX:209:2`, `scope:JFK:209:209:7100` (a community: what follows the upstream), `reset:JFK:209` or
`add:LHR:3356`; PoP `*` means all, several are separated by commas, an upstream is a name or an AS number. Pure but for `from_control`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from anypop.cli import views
from anypop.cli.catchment import plans
from anypop.cli.failure import Exit, Failure, usage
from anypop.model.announce import Mode, Scope
from anypop.model.cities import find_city
from anypop.model.codec import from_data
from anypop.model.errors import Invalid, Problem
from anypop.model.names import CityCode
from anypop.model.network import Network
from anypop.model.scopes import MOST_PREPENDS, read_community, with_communities
from anypop.model.sessions import Announcements, Session, from_network, of_rows

if TYPE_CHECKING:
    from anypop.cli.door import Door

_HOW = "withhold:POP:UPSTREAM, prepend:POP:UPSTREAM:N, scope:POP:UPSTREAM:COMMUNITY, reset:POP:UPSTREAM or add:POP:ASN"


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What control knows: the network, the announcements of `workload` and its `prefixes`.

    `workload` empty: none announces, and all PoPs count as if one did."""

    announcements: Announcements
    network: Network
    workload: str = ""
    prefixes: tuple[str, ...] = ()


def from_control(door: "Door", workload: str) -> Known:
    """What one workload announces now. `workload` empty: the only anycast one; where there is none, every PoP to every upstream."""
    network = from_data(Network, door.client.get("/anypop/v1/network", what="read the network"))
    if not workload:
        listed = door.client.every(f"{door.stack_path('workload')}/workloads", what="find the workload")
        slugs = [str(w.get("slug")) for w in listed if views.anycast_of(w)]
        if len(slugs) > 1:
            raise usage(f"several workloads have an anycast address: {', '.join(slugs)}", advice="Name one with --workload.")
        if not slugs:
            return Known(announcements=from_network(network), network=network)
        workload = slugs[0]
    path = f"{door.workload_path(workload, 'anypop')}/announcements"
    rows = door.client.get(path, what=f"announcements of {workload}").get("results") or []
    if not rows:
        raise Failure(f"{workload} announces nothing", code=Exit.NOT_FOUND, advice="Only a workload made with --anycast does.")
    prefixes = tuple(dict.fromkeys(str(row["prefix"]) for row in rows))
    return Known(announcements=of_rows(network, rows), network=network, workload=workload, prefixes=prefixes)


def from_file(path: Path) -> Announcements:
    return plans.read(text_of(path, "a plan"), str(path))


def text_of(path: Path, what: str) -> str:
    """A file's text. `Failure` for one that cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise usage(f"{path} cannot be read: {why}", advice=f"Name {what}.") from error


def changed(now: Announcements, rules: Sequence[str]) -> Announcements:
    """The announcements with all rules applied, one after the other. Raises `Invalid` with every rule that does not fit."""
    problems: list[Problem] = []
    for text in rules:
        try:
            now = _applied(now, text)
        except ValueError as error:
            problems.append(Problem(path=f"--what-if {text}", message=str(error)))
    if problems:
        raise Invalid(problems)
    return now


def _applied(now: Announcements, text: str) -> Announcements:
    verb, *parts = text.split(":")
    if len(parts) < 2 or verb not in ("withhold", "prepend", "scope", "reset", "add"):
        raise ValueError(f"write {_HOW}")
    pops, upstream, rest = parts[0].upper().split(","), parts[1].lower(), parts[2:]
    if len(rest) != {"prepend": 1, "scope": len(rest) or 1}.get(verb, 0):
        raise ValueError(f"write {_HOW}")
    if verb == "add":
        return _added(now, pops, upstream)
    chosen = _meant(now, pops, upstream)
    sessions = list(now.sessions)
    for index in chosen:
        old = sessions[index].scope
        match verb:
            case "withhold":
                scope = replace(old, mode=Mode.WITHHOLD)
            case "prepend":
                if not (rest[0].isascii() and rest[0].isdigit() and int(rest[0]) <= MOST_PREPENDS):
                    raise ValueError(f"prepend 0 to {MOST_PREPENDS} times, not '{rest[0]}'")
                scope = replace(old, mode=Mode.ANNOUNCE, prepend=int(rest[0]))
            case "scope":
                scope = with_communities(old, [read_community(":".join(rest))])
            case _:
                scope = Scope()
        sessions[index] = replace(sessions[index], scope=scope)
    return replace(now, sessions=tuple(sessions))


def _meant(now: Announcements, pops: Sequence[str], upstream: str) -> list[int]:
    here = sorted({session.pop for session in now.sessions})
    if unknown := [pop for pop in pops if pop != "*" and pop not in here]:
        raise ValueError(f"nothing is announced at {', '.join(unknown)} (PoPs: {', '.join(here)})")
    at = [i for i, session in enumerate(now.sessions) if "*" in pops or session.pop in pops]
    found = [i for i in at if upstream in ("*", now.sessions[i].upstream.lower(), str(now.sessions[i].asn), f"as{now.sessions[i].asn}")]
    if not found:
        there = sorted({f"{now.sessions[i].upstream} (AS{now.sessions[i].asn})" for i in at})
        raise ValueError(f"no upstream {upstream} there (they are: {', '.join(there)})")
    return found


def _added(now: Announcements, pops: Sequence[str], upstream: str) -> Announcements:
    number = upstream.removeprefix("as")
    if not (number.isascii() and number.isdigit() and 0 < int(number) <= 0xFFFFFFFF):
        raise ValueError(f"'{upstream}' is not an AS number")
    for pop in pops:
        if find_city(pop) is None:
            raise ValueError(f"'{pop}' is no city code")
        if any((s.pop, s.asn) == (pop, int(number)) for s in now.sessions):
            raise ValueError(f"{pop} has AS{number} as an upstream already")
    more = tuple(Session(pop=CityCode(pop), upstream=f"as{number}", asn=int(number)) for pop in pops)
    return replace(now, sessions=(*now.sessions, *more))
