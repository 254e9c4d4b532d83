"""Scopes on the command line: which announcements an option means, and what it makes of them. Pure.

In: sessions as control has them, the options, a network's dictionary as data. Out: sessions before and after, the
communities that an option stands for, the difference as lines. Which community does what is the dictionary's word
(`routing.intents`); nothing here knows one by heart.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from anypop.cli.failure import Failure, usage
from anypop.cli.table import Piece
from anypop.model.announce import AnyCommunity, Scope
from anypop.model.scopes import community_text, scope_data, scope_says
from anypop.model.sessions import Session

if TYPE_CHECKING:
    from anypop.routing.entries import Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """A community that an option stands for, and what the dictionary says of it."""

    community: AnyCommunity
    meaning: str
    invented: bool = False
    unverified: bool = False

    @property
    def says(self) -> str:
        mark = (
            " (invented: labs honour it, the real network does not)"
            if self.invented
            else " (unverified)"
            if self.unverified
            else ""
        )
        return f"{community_text(self.community)}: {self.meaning}{mark}"


def rules(altered: Iterable[Session], *, note: str) -> list[dict[str, Any]]:
    """The rules that make control know of `altered`; one that says "announce plainly" takes the earlier rule away."""
    return [{"pop": s.pop, "upstream": s.upstream, "scope": scope_data(s.scope), "note": note} for s in altered]


def chosen(sessions: Sequence[Session], pops: Sequence[str], upstreams: Sequence[str]) -> list[Session]:
    """Those at `pops` towards `upstreams` (by name or AS number); nothing given means all. `Failure` for a name that
    fits nothing.
    """
    known_pops = {s.pop for s in sessions}
    problems = [
        f"--pop {pop}: not announced there (PoPs: {', '.join(sorted(known_pops))})"
        for pop in pops
        if pop not in known_pops
    ]
    here = [s for s in sessions if not pops or s.pop in pops]
    problems += [
        f"--upstream {wanted}: no such upstream there (they are: "
        f"{', '.join(sorted({f'{s.upstream} AS{s.asn}' for s in here}))})"
        for wanted in upstreams
        if here and not any(_is(s, wanted) for s in here)
    ]
    if problems:
        raise usage("no announcement fits", problems=problems, advice="'anypop announce list' shows them all.")
    return [s for s in here if not upstreams or any(_is(s, wanted) for wanted in upstreams)]


def _is(session: Session, wanted: str) -> bool:
    return wanted.lower() in (session.upstream.lower(), str(session.asn), f"as{session.asn}")


def changed(sessions: Sequence[Session], change: Callable[[Session], Scope]) -> list[tuple[Session, Session]]:
    """(before, after) of those that `change` really alters."""
    pairs = [(session, replace(session, scope=change(session))) for session in sessions]
    return [(before, after) for before, after in pairs if before != after]


def diff(pairs: Iterable[tuple[Session, Session]]) -> list[list[Piece]]:
    lines: list[list[Piece]] = []
    for before, after in pairs:
        name = f"{before.pop} -> {before.upstream} (AS{before.asn})"
        lines += [
            [(name, "bold")],
            [(f"- {scope_says(before.scope)}", "red")],
            [(f"+ {scope_says(after.scope)}", "green")],
        ]
    return lines


def keep_in(dictionary: Mapping[str, Any], region: str, *, there: str) -> Meaning:
    """The community of this network that keeps a route inside `region`. `Failure` that says what else can be done where
    it has none.

    `there`: the workload and PoPs meant, as on the command line.
    """
    return _found(dictionary, "keep_in", region, f"that keeps a route in {region}", there=there, longer=True)


def no_export_to(dictionary: Mapping[str, Any], neighbour: str, *, there: str) -> Meaning:
    """The community that stops this network from passing a route on to `neighbour`: an AS number, or peers, providers,
    customers.
    """
    return _found(dictionary, "no_export_to", neighbour, f"against passing a route on to {neighbour}", there=there)


def lower_preference(dictionary: Mapping[str, Any], relation: str, *, there: str) -> Meaning:
    """The community that makes this network prefer a route less."""
    return _found(
        dictionary,
        "lower_preference",
        relation,
        f"that makes it prefer a route less ({relation})",
        there=there,
        longer=True,
    )


def _found(
    dictionary: Mapping[str, Any], intent: str, value: str, purpose: str, *, there: str, longer: bool = False
) -> Meaning:
    """`longer`: whether to be the longer way may do the same."""
    from anypop.routing import intents  # noqa: PLC0415 - dictionaries are YAML, and --help needs none of them
    from anypop.routing.dictionary import of_data  # noqa: PLC0415

    book = of_data(dictionary)
    try:
        return _meaning(intents.community_for(book, intents.wanted(intent, value)))
    except (intents.NoCommunity, ValueError) as error:
        instead = [
            f"do not announce to it there:  anypop announce withhold {there} --upstream {book.asn}",
            *(
                [f"be the longer way there:      anypop announce prepend {there} --upstream {book.asn} --count 3"]
                if longer
                else []
            ),
            f"see what it does understand:  anypop communities show {book.asn}",
        ]
        advice = "One of these may do instead."
        raise Failure(f"AS{book.asn} has no community {purpose}", problems=instead, advice=advice) from error


def meanings_of(dictionary: Mapping[str, Any], communities: Iterable[AnyCommunity]) -> list[Meaning]:
    """What the dictionary says of communities that were named outright."""
    from anypop.routing.dictionary import of_data  # noqa: PLC0415 - see `_found`

    book = of_data(dictionary)
    found = {community: book.lookup(community) for community in communities}
    unknown = f"not in the dictionary of AS{book.asn}"
    return [
        _meaning(entry) if entry is not None else Meaning(community=c, meaning=unknown) for c, entry in found.items()
    ]


def _meaning(entry: "Entry") -> Meaning:
    return Meaning(community=entry.value, meaning=entry.meaning, invented=entry.invented, unverified=not entry.verified)
