"""Scopes and communities as people and programs write them, and back, for every face, file and prediction.

In: `209:7100`, `[209, 7100]`, `rt:6939:70`, or a scope as data: `{"mode", "prepend", "communities",
"large_communities", "extended_communities"}`. Out: numbers and `Scope`s, or what is wrong, in words and with the path
of each field. Which communities exist is not its business: dictionaries know that. Pure.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from anypop.model.announce import AnyCommunity, Community, ExtendedCommunity, LargeCommunity, Mode, Scope
from anypop.model.errors import Invalid, Problem
from anypop.model.extended_communities import is_extended
from anypop.model.extended_communities import read as read_extended
from anypop.model.extended_communities import text as extended_text

# Longer paths than this gain nothing (most networks are 3 to 6 ASes away) and some networks filter them.
MOST_PREPENDS = 8
FIELDS = ("mode", "prepend", "communities", "large_communities", "extended_communities")
_WRITTEN = re.compile(r"\d{1,10}(:\d{1,10}){1,2}", re.ASCII)
_FORM = "209:7100 (two numbers up to 65535), 209:71:3356 (a large one) or rt:6939:70 (an extended one)"
_NAMED = ("rt:", "ro:", "generic:")


def community_text(community: tuple[int, ...]) -> str:
    """`209:7100`, `209:71:3356`, `rt:6939:70`."""
    if is_extended(community):
        return extended_text(community)
    return ":".join(map(str, community))


def read_community(value: object) -> AnyCommunity:
    """A community from `"209:7100"` or `[209, 7100]`: the number of parts says which kind it is; an extended one from
    `"rt:6939:70"`. ValueError in words for anything else.
    """
    if isinstance(value, str) and value.startswith(_NAMED):
        return read_extended(value)
    numbers: tuple[int, ...] = ()
    if isinstance(value, str) and _WRITTEN.fullmatch(value):
        numbers = tuple(int(part) for part in value.split(":"))
    elif isinstance(value, list | tuple) and all(type(part) is int and part >= 0 for part in value):
        numbers = tuple(value)
    match numbers:
        case (a, b) if max(a, b) <= 0xFFFF:
            return a, b
        case (a, b, c) if max(a, b, c) <= 0xFFFFFFFF:
            return a, b, c
        case _:
            raise ValueError(f"{value}: write {_FORM}")


def with_communities(scope: Scope, communities: Iterable[AnyCommunity]) -> Scope:
    """Announced, with these communities behind those that are there, each once."""
    pairs: dict[Community, None] = dict.fromkeys(scope.communities)
    triples: dict[LargeCommunity, None] = dict.fromkeys(scope.large_communities)
    quads: dict[ExtendedCommunity, None] = dict.fromkeys(scope.extended_communities)
    for community in communities:
        if len(community) == 2:
            pairs[community] = None
        elif len(community) == 3:
            triples[community] = None
        else:
            quads[community] = None
    return replace(
        scope,
        mode=Mode.ANNOUNCE,
        communities=tuple(pairs),
        large_communities=tuple(triples),
        extended_communities=tuple(quads),
    )


def without_communities(scope: Scope) -> Scope:
    """As far as it goes without any."""
    return replace(scope, communities=(), large_communities=(), extended_communities=())


def scope_says(scope: Scope) -> str:
    """`withhold`, or `announce, prepend 2, communities 209:7100`."""
    if scope.mode is Mode.WITHHOLD:
        return "withhold"
    prepends = [f"prepend {scope.prepend}"] if scope.prepend else []
    told = " ".join(map(community_text, scope.every_community))
    return ", ".join(["announce", *prepends, *([f"communities {told}"] if told else [])])


def scope_data(scope: Scope) -> dict[str, Any]:
    """The scope as plain data, communities as people write them."""
    return {
        "mode": scope.mode.value,
        "prepend": scope.prepend,
        "communities": [community_text(c) for c in scope.communities],
        "large_communities": [community_text(c) for c in scope.large_communities],
        "extended_communities": [community_text(c) for c in scope.extended_communities],
    }


def scope_of(data: Mapping[str, Any]) -> Scope:
    """The scope in data of control's own. Fields that this version does not know are passed over. Raises `Invalid`."""
    problems: list[Problem] = []
    found = read_scope({name: data[name] for name in FIELDS if data.get(name) is not None}, "scope", problems)
    if problems:
        raise Invalid(problems)
    return found


def read_scope(given: object, path: str, problems: list[Problem], *, beside: Iterable[str] = ()) -> Scope:
    """The scope in data that somebody wrote, its communities in order of their numbers. Everything wrong goes into
    `problems`.

    `beside`: names of fields that the caller reads itself.
    """
    if not isinstance(given, dict):
        problems.append(Problem(path=path, message=f"is required: an object with {', '.join(FIELDS)}"))
        return Scope()
    known = (*FIELDS, *beside)
    problems += [
        Problem(path=f"{path}.{key}", message="is not a field of a scope") for key in given if key not in known
    ]
    mode, prepend = given.get("mode", Mode.ANNOUNCE.value), given.get("prepend", 0)
    if mode not in (Mode.ANNOUNCE.value, Mode.WITHHOLD.value):
        problems.append(Problem(path=f"{path}.mode", message="must be announce or withhold"))
        mode = Mode.ANNOUNCE.value
    if isinstance(prepend, bool) or not isinstance(prepend, int) or not 0 <= prepend <= MOST_PREPENDS:
        problems.append(Problem(path=f"{path}.prepend", message=f"must be a whole number, 0 to {MOST_PREPENDS}"))
        prepend = 0
    told = [community for name in FIELDS[2:] for community in _listed(given.get(name), f"{path}.{name}", problems)]
    return replace(with_communities(Scope(), sorted(told)), mode=Mode(mode), prepend=prepend)


def _listed(given: object, path: str, problems: list[Problem]) -> list[AnyCommunity]:
    """Each list takes every kind of community."""
    if given is not None and not isinstance(given, list):
        problems.append(Problem(path=path, message="must be a list"))
    found: list[AnyCommunity] = []
    for index, community in enumerate(given if isinstance(given, list) else ()):
        try:
            found.append(read_community(community))
        except ValueError as error:
            named = isinstance(community, str) and community.startswith(_NAMED)
            problems.append(Problem(path=f"{path}[{index}]", message=str(error) if named else f"must be like {_FORM}"))
    return found
