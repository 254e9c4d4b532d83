"""What each kind of fault may cost, and which losses nobody allowed. Pure.

In: faults with their moments, requests that failed with theirs. Out: each failed request, given to one fault: expected
(it was under way while that fault was allowed to hurt) or unexpected. A fault may hurt for its bound, counted from
the moment it is made, and once more after it is taken back. What has to mend it may be away itself (its
agent has just been killed): then for so much longer. One unexpected loss is a failure of the story.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """`ms`: a request that is under way until so long after the fault may fail. `back_ms`: within `RETURN_S` after it
    was taken back, or after it was made where nobody but the platform mends it, no outage may last longer. `at_once`
    False: `ms` is such a length as well, since the moments at which it hurts are nobody's to know. `healer_ms`: what
    mends other faults of this host is away for so long after this one (and while it lasts).
    """

    ms: int
    why: str
    back_ms: int = 0
    healer_ms: int = 0
    at_once: bool = True


RETURN_S = 8.0  # a session tries each second, and is told of what it missed
CALM_S = 0.5

_UNDER_WAY = 10  # the aim for a death that the kernel tells: out of the group in under 10 ms
_LOST = 700  # BFD (50 ms x 3), what ten networks of real distances need to agree on other ways, and then tunnels
_BACK = 700  # ways change once more, and an upstream's session may be back before those of the tunnels
_TUNNEL = 1000  # sessions inside begin anew: BFD at its slow rate at first, and BGP
_AGENT_BACK = 5000  # the supervisor's second, and an agent that loads and reads everything anew

BOUNDS: Mapping[str, Bound] = {
    "kill control": Bound(ms=0, why="nobody's packets pass it"),
    "kill agent": Bound(ms=0, why="nobody's packets pass it", healer_ms=_AGENT_BACK),
    "kill bird": Bound(ms=0, why="neighbours keep its routes (RFC 4724), and BFD is another process"),
    "kill bfd": Bound(ms=0, why="its worker goes on until the next one is ready"),
    "kill bfd worker": Bound(ms=0, why="its parent begins another within a millisecond"),
    "kill podman": Bound(ms=0, why="containers outlive it"),
    "kill conmon": Bound(ms=0, why="a container outlives its monitor"),
    "kill instance": Bound(ms=_UNDER_WAY, why="its own connections, and new ones until the group is changed"),
    "kill wire": Bound(ms=8000, why="the lab's long links themselves: a second without any, then all sessions anew"),
    "kill supervisor": Bound(ms=0, why="nobody's packets pass it"),
    "stop control": Bound(ms=0, why="nobody's packets pass it"),
    "stop agent": Bound(ms=0, why="nobody's packets pass it", healer_ms=_AGENT_BACK),
    "stop bird": Bound(ms=0, why="found by two looks and ended; then as if killed"),
    "stop bfd": Bound(ms=0, why="its worker goes on"),
    "stop bfd worker": Bound(ms=_LOST, why="neighbours take the host for lost", back_ms=_BACK),
    "stop podman": Bound(ms=0, why="containers need it for nothing"),
    "stop conmon": Bound(ms=0, why="a container needs it for nothing"),
    "stop instance": Bound(ms=2000, why="what hangs is found within 2 s"),
    "cut both ways": Bound(ms=_LOST, why="BFD, 50 ms x 3, and the upstreams' own agreement", back_ms=_BACK),
    "cut towards the PoP": Bound(ms=_LOST, why="BFD, 50 ms x 3, and the upstreams' own agreement", back_ms=_BACK),
    "cut from the PoP": Bound(ms=_LOST, why="BFD, 50 ms x 3, and the upstreams' own agreement", back_ms=_BACK),
    "tunnel cut both ways": Bound(ms=_LOST, why="BFD inside the tunnel, 50 ms x 3"),
    "tunnel cut one way": Bound(ms=_LOST, why="BFD inside the tunnel, 50 ms x 3"),
    "delete tunnel": Bound(ms=_TUNNEL, why="the device is made anew within 50 ms; sessions inside begin anew"),
    "tunnel down": Bound(ms=_TUNNEL, why="the same"),
    "delete tunnel rule": Bound(ms=50, why="netlink tells"),
    "delete tunnel table": Bound(ms=50, why="netlink tells"),
    "delete tunnel hop": Bound(ms=50, why="netlink tells"),
    "delete route": Bound(ms=50, why="netlink tells"),
    "delete group": Bound(ms=50, why="netlink tells; the group's routes go with it"),
    "delete rule": Bound(ms=50, why="netlink tells"),
    "delete table": Bound(ms=50, why="netlink tells; no address is reached by these"),
    "delete link": Bound(ms=50, why="netlink tells; an instance without a link is dead"),
    "delete namespace": Bound(ms=0, why="only a name: who lives in it goes on"),
    "reset upstream": Bound(ms=_LOST, why="the upstream drops its routes at once", back_ms=_BACK),
    "all probes fail": Bound(
        ms=300, back_ms=300, at_once=False, why="hosts fail one after the other: flows move, and then move back"
    ),
    "nothing": Bound(ms=0, why="the control: what fails here is the machine's fault"),
    "full disk": Bound(ms=0, why="no packet needs it"),
    "hang registry": Bound(ms=0, why="what runs has its image"),
    "slow registry": Bound(ms=0, why="what runs has its image"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """One fault in time, seconds since the epoch: it was made between `begun` and `made`; taken back between
    `undone[0]` and `undone[1]`, if ever. `host`: whose; empty: not one host's alone.
    """

    number: int
    kind: str
    begun: float
    made: float
    host: str = ""
    undone: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """A request that failed: where it was asked, when it began and when it had failed."""

    vantage: str
    address: str
    begun: float
    ended: float
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A loss, and the fault that it is given to."""

    loss: Loss
    number: int
    expected: bool


Late = Callable[[float, float], float]
"""How long, between two moments, the machine itself did not run a program that wanted to (seconds)."""


def given(faults: Sequence[Moments], losses: Iterable[Loss], late: Late = lambda _since, _until: 0.0) -> list[Given]:
    """Each loss with its fault: the last of those that were allowed to hurt it, else the last that was there."""
    all_ = sorted(losses, key=lambda loss: loss.begun)
    by: dict[Loss, list[Moments]] = {loss: [] for loss in all_}
    for fault in faults:
        for begin, end in _at_once(fault, faults, late):
            for loss in all_:
                if begin <= loss.ended and loss.begun <= end:
                    by[loss].append(fault)
        for begin, end, longest_s in _somewhen(fault):
            for loss in _short(all_, begin, end, longest_s, late):
                by[loss].append(fault)
    found = []
    for loss in all_:
        before = [f for f in faults if f.begun <= loss.ended]
        if by[loss] or before:
            one = max(by[loss] or before, key=lambda f: f.begun)
            found.append(Given(loss=loss, number=one.number, expected=bool(by[loss])))
    return found


def _at_once(fault: Moments, faults: Sequence[Moments], late: Late) -> list[tuple[float, float]]:
    """When requests that are under way may fail since this fault was made."""
    bound = BOUNDS[fault.kind]
    if not bound.ms or not bound.at_once:
        return []
    return [_longer((fault.begun, fault.made + bound.ms / 1000), fault, faults, late)]


def _somewhen(fault: Moments) -> list[tuple[float, float, float]]:
    """Between which moments it may hurt, at a moment that nobody knows, and then for how long (seconds)."""
    bound = BOUNDS[fault.kind]
    found = []
    if bound.ms and not bound.at_once:
        until = fault.undone[1] if fault.undone is not None else fault.made
        found.append((fault.begun, until + RETURN_S, bound.ms / 1000))
    if bound.back_ms:
        since, until = fault.undone if fault.undone is not None else (fault.made, fault.made)
        found.append((since, until + RETURN_S, bound.back_ms / 1000))
    return found


def _short(losses: Sequence[Loss], begin: float, end: float, longest_s: float, late: Late) -> list[Loss]:
    """Of each vantage and address those of outages in between that are not longer than that. What is lost within
    `CALM_S` after another one is the same outage.
    """
    first: dict[tuple[str, str], float] = {}
    last: dict[tuple[str, str], float] = {}
    found = []
    for loss in losses:
        if begin <= loss.ended and loss.begun <= end + late(begin, end):
            one = (loss.vantage, loss.address)
            if loss.begun > last.get(one, 0.0) + CALM_S:
                first[one] = loss.begun
            last[one] = loss.begun
            if loss.begun <= first[one] + longest_s + late(first[one], first[one] + longest_s):
                found.append(loss)
    return found


def _longer(span: tuple[float, float], fault: Moments, faults: Sequence[Moments], late: Late) -> tuple[float, float]:
    begin, end = span
    for other, gone, back in sorted(_away(faults), key=lambda row: row[1]):
        if other.number != fault.number and _same(other.host, fault.host) and gone <= end and begin < back:
            end += back - max(gone, begin)
    return begin, end + late(begin, end)


def _away(faults: Sequence[Moments]) -> list[tuple[Moments, float, float]]:
    """When what mends was away: the fault behind that, from, until."""
    found = []
    for fault in faults:
        bound = BOUNDS[fault.kind]
        if bound.healer_ms:
            until = fault.undone[1] if fault.undone is not None else fault.made
            found.append((fault, fault.begun, until + bound.healer_ms / 1000))
    return found


def _same(one: str, other: str) -> bool:
    return not one or not other or one == other


def longest_gap(answered: Sequence[tuple[float, bool]]) -> float:
    """The longest time without an answer in a row of requests (when each was begun, whether it was answered): from the
    last one before that was to the first one after. Zero where none failed; up to the last where none was again.
    """
    worst, since, lost = 0.0, answered[0][0] if answered else 0.0, False
    for at, ok in answered:
        if ok:
            worst = max(worst, at - since) if lost else worst
            since, lost = at, False
        else:
            lost = True
    return max(worst, answered[-1][0] - since) if lost else worst
