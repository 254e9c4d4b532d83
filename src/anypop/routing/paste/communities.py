"""The communities of a pasted route, in the words of all makers: what stands behind `Community:` in, numbers out.

Standard ones, large ones and extended ones (RFC 1997, 8092, 4360), which a maker prints in one list or in three. What a
form does not print whole (a kind without a name loses its value in some of them) is never made up: it is `unread`, and
said. Pure.
"""

import re
from dataclasses import dataclass, replace

from anypop.model.announce import AnyCommunity, Community, ExtendedCommunity, LargeCommunity
from anypop.model.extended_communities import four_octets, of_words
from anypop.model.route import Candidate
from anypop.model.scopes import read_community
from anypop.routing.paste.pasted import Reading, asn

_LARGEST_SAID = 60  # characters of what is not read
# `RT:64496:1` (Cisco, FRR), `rt 64496:1` (OpenBGPD), `target:64496L:1` (Junos), `Route-Target-AS4:1:1` (EOS),
# `RT <64496 : 1>` (VRP)
_EXTENDED = re.compile(
    r"(?i)(?<![\w.:-])(?P<name>rt|ro|soo|target|origin|route-target|route-origin|site-of-origin)(?:-(?:as4?|ip))?"
    r"(?::\s*|\s+)<?\s*(?P<head>\d{1,3}(?:\.\d{1,3}){3}|\d{1,5}\.\d{1,5}|\d{1,10}L?)\s*:\s*(?P<value>\d{1,10})\s*>?"
    r"(?![\w.:])"
)
_NAMES = {"target": "rt", "route-target": "rt", "soo": "ro", "origin": "ro", "route-origin": "ro"}
_NAMES |= {"rt": "rt", "ro": "ro", "site-of-origin": "ro"}
_BIG = re.compile(r"\d{5,10}")  # a standard one as one number, as IOS prints without "new-format"
_NAMED: dict[str, Community] = {
    "internet": (0, 0),
    "graceful-shutdown": (65535, 0),
    "gshut": (65535, 0),
    "accept-own": (65535, 1),
    "llgr-stale": (65535, 6),
    "no-llgr": (65535, 7),
    "blackhole": (65535, 666),
    "no-export": (65535, 65281),
    "no-advertise": (65535, 65282),
    "local-as": (65535, 65283),
    "no-export-subconfed": (65535, 65283),
    "no-peer": (65535, 65284),
    "nopeer": (65535, 65284),
}
_ONE = rf"(?:large:)?\d{{1,10}}:\d{{1,10}}(?::\d{{1,10}})?|{'|'.join(_NAMED)}"
_GOES_ON = re.compile(rf"(?i)^\s+(?:{_ONE})(?:[\s,]+(?:{_ONE}))*[\s,]*$")
_NUMBERS_GO_ON = re.compile(r"^\s+[1-9]\d{4,9}(?:\s+[1-9]\d{4,9})*$")
_LONGEST_LIST = 100  # lines


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """What a list of communities holds. `unread`: its words that are none that we know. `cut`: its line may go on."""

    pairs: tuple[Community, ...] = ()
    triples: tuple[LargeCommunity, ...] = ()
    quads: tuple[ExtendedCommunity, ...] = ()
    unread: str = ""
    cut: bool = False

    def on(self, candidate: Candidate) -> Candidate:
        """The route with these beside those that it has."""
        return replace(
            candidate,
            communities=candidate.communities + self.pairs,
            large_communities=candidate.large_communities + self.triples,
            extended_communities=candidate.extended_communities + self.quads,
        )

    @property
    def doubts(self) -> tuple[str, ...]:
        short = self.unread if len(self.unread) <= _LARGEST_SAID else self.unread[: _LARGEST_SAID - 1] + "…"
        found = [f"not all of its communities are read: '{short}'"] if short else []
        found += ["its communities may be cut: their line is as long as the longest ones"] if self.cut else []
        return tuple(found)


def communities(text: str) -> Carried:
    """All communities in a text, of any kind. Well-known names count."""
    quads: list[ExtendedCommunity] = []
    unread: list[str] = []
    for found in _EXTENDED.finditer(text) if ":" in text else ():
        quad = _extended(found)
        if quad is None:
            unread.append(found[0].strip())
        else:
            quads.append(quad)
    pairs: list[Community] = []
    triples: list[LargeCommunity] = []
    for word in _words(_EXTENDED.sub(" ", text) if quads or unread else text):
        try:
            one = _standard(word)
        except ValueError:
            unread.append(word)
            continue
        if len(one) == 2:
            pairs.append(one)
        elif len(one) == 3:
            triples.append(one)
        else:
            quads.append(one)
    return Carried(pairs=tuple(pairs), triples=tuple(triples), quads=tuple(quads), unread=" ".join(unread))


def listed(reading: Reading, number: int, value: str) -> Carried:
    """A list that begins in a line, with the lines behind that hold nothing but more of it."""
    last = number
    more = _GOES_ON if ":" in value or not value.strip() else _NUMBERS_GO_ON
    while last < min(len(reading.lines), number + _LONGEST_LIST) and _is_more(reading.lines[last], more):
        last += 1
    found = communities(" ".join((value, *reading.lines[number:last])))
    return replace(found, cut=bool(value.strip()) and reading.is_cut(last))


def _is_more(line: str, more: re.Pattern[str]) -> bool:
    return len(line) < 500 and (
        more.match(line) is not None or (bool(line) and not _EXTENDED.sub("", line).strip(" ,"))
    )


def _words(text: str) -> list[str]:
    return [word for word in re.split(r"[\s,;]+", text) if word]


def _standard(word: str) -> AnyCommunity:
    plain = word.removeprefix("large:").strip("<>").lower().replace("_", "-")
    if plain in _NAMED:
        return _NAMED[plain]
    if _BIG.fullmatch(plain) and 1 << 16 <= int(plain) < 1 << 32:
        return int(plain) >> 16, int(plain) & 0xFFFF
    return read_community(plain)


def _extended(found: re.Match[str]) -> ExtendedCommunity | None:
    name, head, value = _NAMES[found["name"].lower()], found["head"], int(found["value"])
    try:
        if head.count(".") == 3:
            return of_words(name, head, value)
        number = asn(head.removesuffix("L"))
        if number is None:
            return None
        return four_octets(name, number, value) if not head.isdecimal() else of_words(name, str(number), value)
    except ValueError:
        return None
