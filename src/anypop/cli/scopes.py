"""Scopes on the command line: what is announced where, and how an option changes it. Pure.

In: rows of `GET .../announcements`, the options, a network's dictionary. Out: `Session`s before and after, the communities that an option
stands for, and the difference as lines. Which communities exist is the dictionary's word; nothing here knows one by heart.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from anypop.cli.failure import Failure, usage
from anypop.cli.table import Piece


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """As `model.announce.Scope`, with communities as people write them (`209:7100`, `64500:1:2`)."""

    mode: str = "announce"
    prepend: int = 0
    communities: tuple[str, ...] = ()

    @property
    def says(self) -> str:
        if self.mode == "withhold":
            return "withhold"
        parts = ["announce"]
        if self.prepend:
            parts.append(f"prepend {self.prepend}")
        if self.communities:
            parts.append("communities " + " ".join(self.communities))
        return ", ".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A workload's announcements at one PoP towards one upstream: IPv4 and IPv6 share the scope."""

    pop: str
    upstream: str
    asn: int
    scope: Scope

    @property
    def name(self) -> str:
        return f"{self.pop} -> {self.upstream} (AS{self.asn})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """A community that an option stands for, and what the dictionary says of it."""

    community: str
    meaning: str
    invented: bool = False
    unverified: bool = False

    @property
    def says(self) -> str:
        mark = " (invented: labs honour it, the real network does not)" if self.invented else " (unverified)" if self.unverified else ""
        return f"{self.community}: {self.meaning}{mark}"


def scope_of(data: Mapping[str, Any]) -> Scope:
    written = [*(data.get("communities") or []), *(data.get("large_communities") or [])]
    return Scope(mode=str(data.get("mode") or "announce"), prepend=int(data.get("prepend") or 0), communities=tuple(map(spelled, written)))


def scope_data(scope: Scope) -> dict[str, Any]:
    """The scope as the API takes it: pairs and triples apart."""
    large = [c for c in scope.communities if c.count(":") == 2]
    return {
        "mode": scope.mode,
        "prepend": scope.prepend,
        "communities": [c for c in scope.communities if c not in large],
        "large_communities": large,
    }


def spelled(community: object) -> str:
    """`209:7100` from itself or from `[209, 7100]`."""
    return ":".join(map(str, community)) if isinstance(community, list | tuple) else str(community)


def sessions_of(rows: Iterable[Mapping[str, Any]]) -> list[Session]:
    """One session for each PoP and upstream, in the order of the rows."""
    found: dict[tuple[str, str], Session] = {}
    for row in rows:
        pop, upstream = str(row["pop"]), str(row["upstream"])
        scope = scope_of(row.get("scope") or {})
        session = Session(pop=pop, upstream=upstream, asn=int(row.get("asn") or 0), scope=scope)
        found.setdefault((pop, upstream), session)
    return list(found.values())


def rules(altered: Iterable[Session], *, note: str) -> list[dict[str, Any]]:
    """The rules that make control know of `altered`; one that says "announce plainly" takes the earlier rule away."""
    return [{"pop": s.pop, "upstream": s.upstream, "scope": scope_data(s.scope), "note": note} for s in altered]


def chosen(sessions: Sequence[Session], pops: Sequence[str], upstreams: Sequence[str]) -> list[Session]:
    """Those at `pops` towards `upstreams` (by name or AS number); nothing given means all. `Failure` for a name that fits nothing."""
    known_pops = {s.pop for s in sessions}
    problems = [f"--pop {pop}: not announced there (PoPs: {', '.join(sorted(known_pops))})" for pop in pops if pop not in known_pops]
    here = [s for s in sessions if not pops or s.pop in pops]
    problems += [
        f"--upstream {wanted}: no such upstream there (they are: {', '.join(sorted({f'{s.upstream} AS{s.asn}' for s in here}))})"
        for wanted in upstreams
        if here and not any(_is(s, wanted) for s in here)
    ]
    if problems:
        raise usage("no announcement fits", problems=problems, advice="'anypop announce list' shows them all.")
    return [s for s in here if not upstreams or any(_is(s, wanted) for wanted in upstreams)]


def _is(session: Session, wanted: str) -> bool:
    return wanted.lower() in (session.upstream.lower(), str(session.asn), f"as{session.asn}")


def with_communities(scope: Scope, communities: Iterable[str]) -> Scope:
    """Announced, with these communities beside those that are there."""
    return replace(scope, mode="announce", communities=tuple(dict.fromkeys([*scope.communities, *communities])))


def changed(sessions: Sequence[Session], change: Callable[[Session], Scope]) -> list[tuple[Session, Session]]:
    """(before, after) of those that `change` really alters."""
    pairs = [(session, replace(session, scope=change(session))) for session in sessions]
    return [(before, after) for before, after in pairs if before != after]


def diff(pairs: Iterable[tuple[Session, Session]]) -> list[list[Piece]]:
    lines: list[list[Piece]] = []
    for before, after in pairs:
        lines += [[(before.name, "bold")], [(f"- {before.scope.says}", "red")], [(f"+ {after.scope.says}", "green")]]
    return lines


def keep_in(dictionary: Mapping[str, Any], region: str, *, there: str) -> Meaning:
    """The community of this network that keeps a route inside `region`. `Failure` that says what else can be done where it has none.

    `there`: the workload and PoPs meant, as on the command line."""
    for entry in dictionary.get("entries") or []:
        action = _action(entry)
        if action.get("kind") == "keep-in-region" and action.get("region") == region:
            return _meaning(entry, spelled(entry["community"]))
    asn = dictionary.get("asn")
    raise Failure(
        f"AS{asn} has no community that keeps a route in {region}",
        problems=[
            f"do not announce to it there:  anypop announce withhold {there} --upstream {asn}",
            f"be the longer way there:      anypop announce prepend {there} --upstream {asn} --count 3",
            f"see what it does understand:  anypop communities show {asn}",
        ],
        advice="One of these may do instead.",
    )


def no_export_to(dictionary: Mapping[str, Any], neighbour: str, *, there: str) -> Meaning:
    """The community that stops this network from passing a route on to `neighbour`: an AS number, or peers, providers, customers."""
    wanted = neighbour.lower().removeprefix("as")
    for entry in dictionary.get("entries") or []:
        action = _action(entry)
        if action.get("kind") != "no-export-to" or action.get("where"):
            continue
        community = spelled(entry["community"])
        if str(action.get("neighbour")).lower() == wanted:
            return _meaning(entry, community)
        # A pattern stands for one community for each neighbour; a pair holds 16 bits, so it reaches no 32-bit AS number.
        if wanted.isdigit() and "<asn>" in community and (int(wanted) <= 65535 or community.count(":") == 2):
            return _meaning(entry, community.replace("<asn>", wanted))
    asn = dictionary.get("asn")
    raise Failure(
        f"AS{asn} has no community against passing a route on to {neighbour}",
        problems=[
            f"do not announce to it there:  anypop announce withhold {there} --upstream {asn}",
            f"see what it does understand:  anypop communities show {asn}",
        ],
        advice="One of these may do instead.",
    )


def meanings_of(dictionary: Mapping[str, Any], communities: Iterable[str]) -> list[Meaning]:
    """What the dictionary says of communities that were named outright."""
    known = {spelled(entry["community"]): entry for entry in dictionary.get("entries") or []}
    return [
        _meaning(known[c], c) if c in known else Meaning(community=c, meaning=f"not in the dictionary of AS{dictionary.get('asn')}")
        for c in communities
    ]


def _meaning(entry: Mapping[str, Any], community: str) -> Meaning:
    text = str(entry.get("meaning") or "").replace("<asn>", community.rpartition(":")[2])
    return Meaning(community=community, meaning=text, invented=bool(entry.get("invented")), unverified=entry.get("verified") is False)


def _action(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """`{"kind": ..., "region": ...}`, also where the kind is the action itself and the rest stands beside it."""
    action = entry.get("action")
    return action if isinstance(action, Mapping) else {**entry, "kind": action}


def check_community(text: str) -> str:
    """The community when it is a pair or a triple of numbers that fit. ValueError in words otherwise."""
    parts = text.split(":")
    limit = {2: 65535, 3: 4294967295}.get(len(parts))
    if limit is None or not all(part.isascii() and part.isdigit() and int(part) <= limit for part in parts):
        raise ValueError(f"--community {text}: write 209:7100 (two numbers up to 65535) or 209:71:3356 (a large one)")
    return ":".join(str(int(part)) for part in parts)
