"""Rules that change what we announce, "as if": announcements and texts in, other announcements out. Pure.

A rule is `withhold:JFK:209`, `prepend:LAX:209:2`, `scope:JFK:209:209:7100` (a community: what follows the upstream),
`reset:JFK:209` or `add:LHR:3356`; PoP `*` means all, several are separated by commas, an upstream is a name or an AS
number. Rules apply one after the other.
"""

from collections.abc import Sequence
from dataclasses import replace

from anypop.model.announce import Mode, Scope
from anypop.model.cities import city_of_pop
from anypop.model.errors import Invalid, Problem
from anypop.model.names import CityCode
from anypop.model.scopes import MOST_PREPENDS, read_community, with_communities
from anypop.model.sessions import Announcements, Session

_HOW = "withhold:POP:UPSTREAM, prepend:POP:UPSTREAM:N, scope:POP:UPSTREAM:COMMUNITY, reset:POP:UPSTREAM or add:POP:ASN"


def changed(now: Announcements, rules: Sequence[str], paths: Sequence[str] = ()) -> Announcements:
    """The announcements with all rules applied. `paths`: what each is called in a problem (default: itself). Raises
    `Invalid` with every rule that does not fit.
    """
    problems: list[Problem] = []
    for text, path in zip(rules, paths or rules, strict=True):
        try:
            now = _applied(now, text)
        except ValueError as error:
            problems.append(Problem(path=path, message=str(error)))
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
    meant = [now.sessions[index] for index in _meant(now, pops, upstream)]
    chosen = {session.key: session.own or session.scope for session in meant}
    return now.with_scopes({key: _scope(old, verb, rest) for key, old in chosen.items()})


def _scope(old: Scope, verb: str, rest: Sequence[str]) -> Scope:
    match verb:
        case "withhold":
            return replace(old, mode=Mode.WITHHOLD)
        case "prepend":
            if not (rest[0].isascii() and rest[0].isdigit() and int(rest[0]) <= MOST_PREPENDS):
                raise ValueError(f"prepend 0 to {MOST_PREPENDS} times, not '{rest[0]}'")
            return replace(old, mode=Mode.ANNOUNCE, prepend=int(rest[0]))
        case "scope":
            return with_communities(old, [read_community(":".join(rest))])
        case _:
            return Scope()


def _meant(now: Announcements, pops: Sequence[str], upstream: str) -> list[int]:
    here = sorted({session.pop for session in now.sessions})
    if unknown := [pop for pop in pops if pop != "*" and pop not in here]:
        raise ValueError(f"nothing is announced at {', '.join(unknown)} (PoPs: {', '.join(here)})")
    at = [i for i, session in enumerate(now.sessions) if "*" in pops or session.pop in pops]
    found = [
        i
        for i in at
        if upstream in ("*", now.sessions[i].upstream.lower(), str(now.sessions[i].asn), f"as{now.sessions[i].asn}")
    ]
    if not found:
        there = sorted({f"{now.sessions[i].upstream} (AS{now.sessions[i].asn})" for i in at})
        raise ValueError(f"no upstream {upstream} there (they are: {', '.join(there)})")
    return found


def _added(now: Announcements, pops: Sequence[str], upstream: str) -> Announcements:
    number = upstream.removeprefix("as")
    if not (number.isascii() and number.isdigit() and len(number) <= 10 and 0 < int(number) <= 0xFFFFFFFF):
        raise ValueError(f"'{upstream}' is not an AS number")
    for pop in pops:
        if city_of_pop(pop) is None:
            raise ValueError(f"'{pop}' is no city code")
        if any((s.pop, s.asn) == (pop, int(number)) for s in now.sessions):
            raise ValueError(f"{pop} has AS{number} as an upstream already")
    more = tuple(Session(pop=CityCode(pop), upstream=f"as{number}", asn=int(number)) for pop in pops)
    return replace(now, sessions=(*now.sessions, *more))
