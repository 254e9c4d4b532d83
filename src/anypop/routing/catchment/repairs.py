"""What a repair is: changes of single sessions, what they do to everybody, and what we announce once they are made.

The words between those who think of changes (`candidates`, `pairs`), who scores them (`scorer`) and who tells people
(`advice.proposals`). Nothing here applies anything. Pure.
"""

from dataclasses import dataclass, replace

from anypop.model.announce import Mode, Scope
from anypop.model.names import CityCode
from anypop.model.network import UpstreamKind
from anypop.model.scopes import community_text
from anypop.model.sessions import Announcements, Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One session with its new scope. `added`: the session does not exist yet. `bought`: it is one of peers, and
    becomes one with a transit. `back`: nothing is heard there, and will be again.
    """

    pop: CityCode
    upstream: str
    asn: int
    scope: Scope
    added: bool = False
    bought: bool = False
    back: bool = False

    @property
    def needs(self) -> str:
        """What it takes beyond configuration, in words; empty: nothing."""
        if self.added or self.bought:
            return f"takes a contract with AS{self.asn}"
        return "what keeps it silent has to be mended there" if self.back else ""

    @property
    def says(self) -> str:
        """The exact change, as the command line takes it, or what people have to do."""
        if self.back:
            return f"bring back what {self.pop} announces to {self.upstream}"
        if self.added or self.bought:
            return f"buy transit from AS{self.asn} in {self.pop}"
        place = f"anypop announce scope {self.pop} {self.upstream}"
        if self.scope.mode is Mode.WITHHOLD:
            return f"{place} --withhold"
        parts = [f"--prepend {self.scope.prepend}"] if self.scope.prepend else []
        parts += [f"--community {community_text(c)}" for c in self.scope.every_community]
        return " ".join([place, *parts])


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """Changes that somebody thought of, before they are scored. `kind`: one of `EASE`."""

    kind: str
    title: str
    changes: tuple[Change, ...]
    note: str = ""

    @property
    def needs(self) -> str:
        """What it takes beyond configuration."""
        return "; ".join(dict.fromkeys(change.needs for change in self.changes if change.needs))


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """What is mended less what is harmed, as a part of the weight of everybody: its mean over ways in which what the
    model does not know may be, and what it is above in nine of ten (`low`) and in one of ten (`high`) of them.
    """

    expected: float
    low: float
    high: float

    @property
    def value(self) -> float:
        """By this repairs are ranked: a wide interval costs a quarter of its width."""
        return self.expected - (self.high - self.low) / 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """A proposal with its effect on the whole graph, in networks and in weight.

    `cured`: strays of the cause at hand that come home. `mended`: strays that land near home afterwards. `harmed`:
    networks that become strays, or strays that go further still. `gain_km`: how much shorter the mean way beyond the
    nearest PoP becomes. All these are of the model's one answer. `gain`: with its doubts; None where the repair was not
    among the best. `unsure`: networks that are mended or harmed as ties happen to be broken.
    """

    kind: str
    title: str
    changes: tuple[Change, ...]
    cured: int
    mended: int
    harmed: int
    mended_weight: float
    harmed_weight: float
    gain_km: float
    unsure: int = 0
    gain: Gain | None = None
    note: str = ""
    needs: str = ""

    @property
    def score(self) -> float:
        """What it mends less what it harms, by weight, by the model's one answer."""
        return self.mended_weight - self.harmed_weight


# Among repairs of equal gain: first what is quickly made and quickly taken back.
EASE = {
    "scope": 0,
    "announce": 0,
    "withhold": 1,
    "prepend": 2,
    "two changes": 3,
    "bring back": 4,
    "peer to transit": 5,
    "add upstream": 6,
    "add PoP": 7,
}


def ranked(repairs: list[Repair], weight: float) -> tuple[Repair, ...]:
    """The best first: by gain with its doubts, those without one by score. A contract costs money and weeks, so it has
    to gain twice as much. What differs by less than a hundredth of `weight`, that of the cause, is equal: then
    configuration before what takes people, the smaller and the easier change.
    """
    step = max(weight / 100, 1e-12)

    def key(repair: Repair) -> tuple[object, ...]:
        value = repair.gain.value if repair.gain is not None else repair.score
        if value > 0 and any(change.added or change.bought for change in repair.changes):
            value /= 2
        doubtful = repair.gain is None
        same = (bool(repair.needs), len(repair.changes), repair.harmed, EASE[repair.kind], repair.unsure)
        return doubtful, -round(value / step), *same, -value

    return tuple(sorted(repairs, key=key))


def applied(now: Announcements, changes: tuple[Change, ...]) -> Announcements:
    """What is announced once these changes are made."""
    for change in changes:
        index = now.find(change.pop, change.upstream)
        if index is None:
            added = Session(pop=change.pop, upstream=change.upstream, asn=change.asn, scope=change.scope)
            now = replace(now, sessions=(*now.sessions, added))
            continue
        session = replace(now.sessions[index], scope=change.scope)
        if change.bought:
            session = replace(session, kind=UpstreamKind.TRANSIT)
        if change.back:
            session = replace(session, silent="")
        now = replace(now, sessions=(*now.sessions[:index], session, *now.sessions[index + 1 :]))
    return now
