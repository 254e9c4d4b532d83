"""How many instances a target has in a PoP, by their load: more at once, fewer late and carefully.

In: one look at a target in a PoP (who is ready, what they use, what stands in the way) and what was decided before.
Out: how many there are to be, with the reason. Loads are told in thresholds: 2.4 is what 2.4 instances use that are
exactly at theirs. Pure. Who goes when there are fewer is who drains cheapest, as far as hosts tell: who has the fewest
connections; of those that are alike the highest ordinals, which are the youngest.

Constant load ends in a constant number: there are more only where the load is above the threshold, and fewer only where
those that stay would be a tenth below it.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from math import ceil

from anypop.model.reasons import Reason
from anypop.model.scaling import Scaled
from anypop.model.workload import Target

BELOW = 0.9  # of the threshold: what those that stay may use at most when others go
LOOKS = 4  # all of the last ones must agree that fewer will do
STARTS_S = 120.0  # so long one that was just made counts as if it served, and nobody is added beside it
WAITS = "fewer would do, and go when the load has stayed low for long enough"
ALIKE_FLOWS, ALIKE = 8, 0.25  # so many connections more, or such a part of them, are no difference
_ROUNDING = 1e-6  # a load that is the threshold to the last digit is not above it

Seen = tuple[float, float]
"""A load, and when it was measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One target in one PoP at one moment. `load`: in thresholds, of all that are ready (None: of none of them anything
    is known). `starting`: just made and not ready yet; `unwell`: not ready for longer, or on a host that says nothing;
    `unplaced`: no host has room for them. `blind`: instances of whose use nothing is known, by name; `not_ready`: by
    ordinal, those that do not serve. `held`: why nobody may be taken away now; `frozen`: why nobody may be added
    either ("": nothing stands in the way). `allowed`: how many more the quotas leave (None: any number). `flows`: open
    connections, by ordinal, of those whose hosts tell.
    """

    at: float
    least: int
    most: int
    load: float | None
    starting: int = 0
    unwell: int = 0
    unplaced: int = 0
    blind: tuple[str, ...] = ()
    not_ready: frozenset[int] = frozenset()
    held: str = ""
    frozen: str = ""
    allowed: int | None = None
    flows: tuple[tuple[int, int], ...] = ()


def replicas_of(target: Target, scaled: Scaled | None) -> int:
    """How many instances a target has in a PoP."""
    if target.scale is None or scaled is None:
        return target.replicas
    return min(max(scaled.replicas, target.replicas), max(target.scale.most, target.replicas))


def ordinals_of(target: Target, scaled: Scaled | None) -> Sequence[int]:
    """Which instances a target has in a PoP."""
    return ordinals(replicas_of(target, scaled), scaled.left_out if scaled is not None else ())


def ordinals(count: int, left_out: Collection[int] = ()) -> Sequence[int]:
    """So many, the lowest that are not left out."""
    if not left_out:
        return range(count)
    return [n for n in range(count + len(left_out)) if n not in left_out][:count]


def left_out_of(was: Scaled, count: int, flows: Iterable[tuple[int, int]] = ()) -> tuple[int, ...]:
    """What is left out where there are to be `count`: who is added fills gaps first."""
    stay, told = [*ordinals(was.replicas, was.left_out)], dict(flows)
    known = all(n in told for n in stay)
    while len(stay) > count:
        cheapest = min(told[n] for n in stay) if known else 0
        alike = [n for n in stay if not known or told[n] <= cheapest + max(ALIKE_FLOWS, cheapest * ALIKE)]
        stay.remove(max(alike))
    absent = (n for n in range(count) if n not in stay)
    stay += islice(absent, count - len(stay))
    return tuple(n for n in range(max(stay, default=0)) if n not in stay)


def seen_with(seen: tuple[Seen, ...], look: Look) -> tuple[Seen, ...]:
    """What of the last looks counts. A look at which something was not known begins them anew."""
    if look.load is None or look.blind:
        return ()
    return (*seen[-(LOOKS - 1) :], (look.at, look.load))


def scaled(was: Scaled, look: Look, seen: tuple[Seen, ...], down_after_s: float) -> Scaled:
    """What there is to be after a look. `seen`: the last loads, this one included. `was` itself where nothing is to be
    said anew.
    """
    reason, message, count = _decided(was, look, seen, down_after_s)
    if count != was.replicas:
        return replace(
            was, replicas=count, left_out=left_out_of(was, count, look.flows), acted_at=look.at, last=reason,
            reason=reason, message=message, since=look.at,
        )  # fmt: skip
    if (reason, message) == (was.reason, was.message):
        return was
    return replace(was, reason=reason, message=message, since=look.at if reason is not was.reason else was.since)


def _decided(was: Scaled, look: Look, seen: tuple[Seen, ...], down_after_s: float) -> tuple[Reason, str, int]:
    count = was.replicas
    if look.frozen:
        return Reason.SCALING_HELD, look.frozen, count
    if look.load is None:
        return Reason.LOAD_UNKNOWN, _blind(look), count
    needs = max(look.least, ceil(look.load - _ROUNDING))
    if needs > count - look.unwell:
        return _more(was, look, needs)
    if was.reason is Reason.AT_MOST_REPLICAS and count >= look.most and look.load > BELOW * count:
        return was.reason, was.message, count  # around the threshold: the same is said until it is well below
    return _fewer(was, look, seen, down_after_s)


def _more(was: Scaled, look: Look, needs: int) -> tuple[Reason, str, int]:
    """Enough at once. What does not serve is made up for, but never by more than the load needs."""
    count = was.replicas
    wanted = min(needs + min(look.unwell, needs), look.most)
    if wanted <= count:
        if look.load is not None and look.load > count >= look.most:
            return Reason.AT_MOST_REPLICAS, f"maxReplicas is {look.most}", count
        return Reason.LOAD_STEADY, "", count
    if look.unplaced:
        return Reason.NO_ROOM, f"{count} are wanted, and {count - look.unplaced} fit", count
    if look.starting:
        return Reason.LOAD_STEADY, "those that were added are starting", count
    if look.allowed is not None and wanted > count + look.allowed:
        wanted = count + max(0, look.allowed)
        if wanted == count:
            return Reason.OVER_QUOTA, "the quota leaves room for no more", count
    return Reason.LOAD_ROSE, "", wanted


def _fewer(was: Scaled, look: Look, seen: tuple[Seen, ...], down_after_s: float) -> tuple[Reason, str, int]:
    """As many as the busiest of the last looks needs, where nothing stands in the way."""
    count = was.replicas
    busiest = max((load for _, load in seen), default=look.load or 0.0)
    enough = max(look.least, ceil(busiest / BELOW - _ROUNDING), 1)
    if enough >= count:
        if look.unplaced:
            return Reason.NO_ROOM, f"{count} are wanted, and {count - look.unplaced} fit", count
        return Reason.LOAD_STEADY, "", count
    if look.blind:
        return Reason.LOAD_UNKNOWN, _blind(look), count
    if look.held:
        return Reason.SCALING_HELD, look.held, count
    stay = ordinals(enough, left_out_of(was, enough, look.flows))
    if ill := sorted(look.not_ready.intersection(stay)):
        return Reason.SCALING_HELD, f"of those that would stay, number {ill[0]} does not answer", count
    if look.at < was.acted_at + down_after_s or len(seen) < LOOKS:
        return Reason.LOAD_STEADY, WAITS, count
    return Reason.LOAD_FELL, "", enough


def _blind(look: Look) -> str:
    return f"nothing is known of the use of {', '.join(look.blind[:3])}" if look.blind else "none of them serves yet"
