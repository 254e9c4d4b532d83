"""What every reader of a pasted text gives back, and the words and numbers that routers of all makes write alike.

Between the text and `explained`: a `Pasted` holds the routes of one or more prefixes with the line where each began. A
reader goes on after an error; `Reading` collects them all. Pure.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from heapq import nlargest
from ipaddress import ip_address, ip_network

from anypop.model.announce import Prefix
from anypop.model.errors import Problem
from anypop.model.route import Candidate
from anypop.routing.paste.plain import lines_of

ANYWHERE = ip_network("0.0.0.0/0")  # stands for the prefix of a paste that does not say which one it is about
MAX_ASN = (1 << 32) - 1  # RFC 6793
_MAX_NUMBER = (1 << 32) - 1  # local preference, MED: four octets (RFC 4271)
_NARROW = 40  # characters: no terminal is narrower
_LONGEST_AGE_S = 100 * 365 * 86400.0
_TIME = re.compile(
    r"(?:(?P<y>\d{1,4})y)?(?:(?P<w>\d{1,4})w)?(?:(?P<d>\d{1,5})d)?\s*(?:(?P<h>\d{1,3}):(?P<m>\d\d)(?::(?P<s>\d\d))?)?"
    r"(?:(?P<h2>\d\d)h)?"
)


class Style(StrEnum):
    """Whose text it is. A collector holds the choices of other routers, and makes none."""

    JUNOS = "junos"
    BIRD = "bird"
    FRR = "frr"
    IOS = "ios"
    XR = "ios-xr"
    NXOS = "nx-os"
    EOS = "eos"
    OPENBGPD = "openbgpd"
    GOBGP = "gobgp"
    SROS = "sros"
    VRP = "vrp"
    ROUTEROS = "routeros"
    COLLECTOR = "collector"

    @property
    def says(self) -> str:
        return _MAKERS[self]


_MAKERS: Mapping[Style, str] = {
    Style.JUNOS: "Junos",
    Style.BIRD: "BIRD",
    Style.FRR: "FRR",
    Style.IOS: "IOS",
    Style.XR: "IOS-XR",
    Style.NXOS: "NX-OS",
    Style.EOS: "EOS",
    Style.OPENBGPD: "OpenBGPD",
    Style.GOBGP: "GoBGP",
    Style.SROS: "SR OS",
    Style.VRP: "VRP",
    Style.ROUTEROS: "RouterOS",
    Style.COLLECTOR: "a route collector",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PastedRoute:
    """One route. `line`: where it begins, from 1. `precedence`: what the router compares before everything of BGP, the
    higher the better (weight; preference of Junos and BIRD with its sign turned). `unusable`: why it takes no part, if
    it does not. `reason`: the router's own word on what decided for or against it. `block`: the decision that it
    belongs to, counted in the text. `since`: when it came, in seconds on a
    scale of the text's own, where its age is not known. `copy`: as received, beside the one that is used.
    `doubts`: what of it is not certain.
    """

    candidate: Candidate
    line: int
    precedence: int = 0
    unusable: str = ""
    reason: str = ""
    protocol: str = "BGP"
    block: int = 0
    cluster_list: tuple[str, ...] = ()
    originator: str = ""
    since: float | None = None
    own: bool = False
    multipath: bool = False
    copy: bool = False
    broken: bool = False
    doubts: tuple[str, ...] = ()

    @property
    def clusters(self) -> int:
        return len(self.cluster_list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One decision as the text announces it: the routes of one prefix in one table. `total`: how many routes the router
    says it has; `best`: which of them, from 1, is the best; 0: it says that none is. None: it says nothing. `subject`:
    the words of the text for what is no plain prefix.
    """

    line: int = 1
    table: str = ""
    subject: str = ""
    total: int | None = None
    best: int | None = None
    notes: tuple[str, ...] = ()


# How a doubt begins that plays no part where an earlier step decides.
INTERNAL = "whether it is internal"

# What a form of a style does not show. A step that would need it decides nothing that we can see.
Unseen = frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pasted:
    """All routes of a text, in its order. `prefix_known` False: the text does not say which prefix it is about.
    `blocks`: by the number that routes have. `problems`: what could not be read, beside routes that could.
    `unseen`: values that this form never shows.
    """

    style: Style
    routes: tuple[PastedRoute, ...]
    prefix_known: bool = True
    blocks: tuple[Block, ...] = (Block(),)
    problems: tuple[Problem, ...] = ()
    unseen: Unseen = frozenset()


@dataclass(slots=True, kw_only=True)
class Reading:
    """A text while it is read: its lines without what terminals add, the problems so far, and when it was printed, in
    the router's own time zone, where that is known.
    """

    lines: list[str]
    problems: list[Problem] = field(default_factory=list)
    broken: list[int] = field(default_factory=list)
    now: datetime | None = None
    _cut_at: int | None = None

    @classmethod
    def of(cls, text: str, now: datetime | None = None) -> "Reading":
        return cls(lines=lines_of(text), now=now)

    @property
    def cut_at(self) -> int:
        """Where lines seem to be cut or wrapped: several of them reach the same width. 0: nowhere."""
        if self._cut_at is None:
            lengths = nlargest(2, map(len, self.lines))
            same = len(lengths) > 1 and lengths[0] >= _NARROW and lengths[0] - lengths[1] < 2
            self._cut_at = lengths[0] - 1 if same else 0
        return self._cut_at

    def is_cut(self, line: int) -> bool:
        """Whether a line, counted from 1, is as long as those that seem to be cut or wrapped."""
        return 0 < self.cut_at <= len(self.lines[line - 1])

    def numbered(self) -> Iterator[tuple[int, str]]:
        return enumerate(self.lines, start=1)

    def wrong(self, line: int, message: str) -> None:
        """What cannot be read; the route it belongs to is left out, not guessed."""
        self.problems.append(Problem(path=f"line {line}", message=message))
        self.broken.append(line)

    def path(self, line: int, text: str) -> tuple[int, ...] | None:
        """The numbers of an AS path; None, and a problem, where it is none. A set counts by its first member, as one
        hop (RFC 4271,
        9.1.2.2); confederation members do not count in a path's length and are left out (RFC 5065). Nothing is the
        empty path.
        """
        plain = text.split()
        if all(map(str.isdecimal, plain)) and text.isascii() and all(len(word) < 10 for word in plain):
            return tuple(map(int, plain))
        flat = re.sub(r"\([\d\s.]*\)", " ", text)
        flat = re.sub(r"[{\[]\s*([\d.]+)(?![\d.])[^{}\[\]]*[}\]]", r" \1 ", flat)
        found = []
        for word in flat.split():
            number = asn(word)
            if number is None:
                self.wrong(line, f"'{_short(word)}' is not an AS number, in the AS path '{_short(text.strip())}'")
                return None
            found.append(number)
        return tuple(found)

    def number(self, line: int, word: str, what: str) -> int:
        if not (word.isascii() and word.isdigit() and len(word) < 11 and int(word) <= _MAX_NUMBER):
            self.wrong(line, f"{what} '{_short(word)}' is not a number from 0 to {_MAX_NUMBER}")
            return 0
        return int(word)

    def prefix(self, line: int, text: str) -> Prefix | None:
        try:
            return ip_network(text, strict=False)
        except ValueError:
            self.wrong(line, f"'{_short(text)}' is not a prefix")
            return None


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:59] + "…"


def asn(word: str) -> int | None:
    """An AS number as `33438` or `1.10` (RFC 5396); None for anything else."""
    high, dot, low = word.partition(".")
    if not all(part.isascii() and part.isdigit() and len(part) <= 10 for part in ([high, low] if dot else [high])):
        return None
    number = int(high) if not dot else (int(high) << 16) + int(low) if int(low) < 1 << 16 else -1
    return number if 0 <= number <= MAX_ASN else None


def address(word: str) -> str:
    """`192.0.2.1` of `r1(192.0.2.1)` or `192.0.2.1(r1)`; the word itself, without a zone, where there is no address
    in it.
    """
    for part in re.split(r"[()]", word):
        try:
            return str(ip_address(part.partition("%")[0]))
        except ValueError:
            continue
    return word


@lru_cache(maxsize=4096)
def is_address(word: str) -> bool:
    try:
        ip_address(word.partition("%")[0])
    except ValueError:
        return False
    return True


def age_s(text: str) -> float | None:
    """Seconds of `3d 13:19:37`, `2w0d 09:36:24`, `23:46:15`, `1y2w`; None for anything else."""
    found = _TIME.fullmatch(text.strip())
    if found is None or not text.strip():
        return None
    y, w, d, h, m, s, h2 = (int(part or 0) for part in found.group("y", "w", "d", "h", "m", "s", "h2"))
    return min(_LONGEST_AGE_S, ((y * 365 + w * 7 + d) * 24 + h + h2) * 3600.0 + m * 60 + s)
