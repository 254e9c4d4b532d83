"""The order in which each maker compares routes: one table, each row with its source. Pure data and the comparisons.

In: routes that are left and the name of a step. Out: those that stay. A step whose values the text does not show is
told as unseen: it decides nothing that we could know. A step of a maker that no text ever shows (AIGP, cost
communities, stale marks) is not in its row.
"""

from collections.abc import Callable, Mapping
from math import inf
from typing import Any

from anypop.model.route import Origin, Step
from anypop.routing.decision import rank
from anypop.routing.paste.pasted import PastedRoute, Style, Unseen

WEIGHT = "weight"
PREFERENCE = "preference"
OWN = "originated here"
CLUSTERS = "cluster list length"

_USUAL = (Step.LOCAL_PREFERENCE, Step.AS_PATH_LENGTH, Step.ORIGIN, Step.MED, Step.EBGP_OVER_IBGP, Step.NEAREST_EXIT)
_CISCO = (WEIGHT, Step.LOCAL_PREFERENCE, OWN, *_USUAL[1:])

ORDER: Mapping[Style, tuple[str, ...]] = {
    # Juniper, "BGP User Guide", Understanding BGP Path Selection. The active external route stays (steps 9 to 12).
    Style.JUNOS: (PREFERENCE, *_USUAL, Step.OLDEST, Step.ROUTER_ID, CLUSTERS, Step.NEIGHBOR_ADDRESS),
    # BIRD User's Guide, BGP, Route selection rules; `prefer older` is off unless asked for.
    Style.BIRD: (PREFERENCE, *_USUAL, Step.ROUTER_ID, CLUSTERS, Step.NEIGHBOR_ADDRESS),
    # FRR documentation, BGP, Route Selection.
    Style.FRR: (*_CISCO, Step.OLDEST, Step.ROUTER_ID, CLUSTERS, Step.NEIGHBOR_ADDRESS),
    # Cisco document 13753, BGP Best Path Selection Algorithm.
    Style.IOS: (*_CISCO, Step.OLDEST, Step.ROUTER_ID, CLUSTERS, Step.NEIGHBOR_ADDRESS),
    # Cisco IOS XR Routing Configuration Guide, Comparing Pairs of Paths; an external best route stays where nothing
    # before router ids speaks for another (Best Path Change Suppression).
    Style.XR: (*_CISCO, Step.OLDEST, Step.ROUTER_ID, CLUSTERS, Step.NEIGHBOR_ADDRESS),
    # Cisco Nexus 9000 Unicast Routing Configuration Guide, BGP Path Selection: Comparing Pairs of Paths.
    Style.NXOS: (*_CISCO, Step.OLDEST, Step.ROUTER_ID, CLUSTERS, Step.NEIGHBOR_ADDRESS),
    # Arista User Manual, Border Gateway Protocol, Best-Path Selection; age only where a tie-break by age is configured.
    Style.EOS: (*_CISCO, Step.ROUTER_ID, CLUSTERS, Step.NEIGHBOR_ADDRESS),
    # bgpd.conf(5), and the comment above prefix_cmp() in rde_decide.c: its weight comes late, no costs of next hops are
    # compared, and `route-age` is off.
    Style.OPENBGPD: (*_USUAL[:-1], WEIGHT, Step.ROUTER_ID, CLUSTERS, Step.NEIGHBOR_ADDRESS),
    # GoBGP, internal/pkg/table/destination.go, the comparisons in their order; it knows no costs of next hops.
    Style.GOBGP: (
        Step.LOCAL_PREFERENCE,
        OWN,
        *_USUAL[1:-1],
        Step.OLDEST,
        Step.ROUTER_ID,
        Step.NEIGHBOR_ADDRESS,
    ),
    # Nokia SR OS Unicast Routing Protocols Guide, BGP decision process.
    Style.SROS: (*_USUAL, Step.ROUTER_ID, CLUSTERS, Step.NEIGHBOR_ADDRESS),
    # Huawei NetEngine Configuration Guide, BGP Route Selection Rules: PrefVal first, cluster lists before router ids.
    Style.VRP: (*_CISCO, CLUSTERS, Step.ROUTER_ID, Step.NEIGHBOR_ADDRESS),
    # MikroTik manual, BGP Best Path Selection Algorithm: no step by the cost to the next hop.
    Style.ROUTEROS: (
        WEIGHT,
        Step.LOCAL_PREFERENCE,
        Step.AS_PATH_LENGTH,
        OWN,
        Step.ORIGIN,
        Step.MED,
        Step.EBGP_OVER_IBGP,
        Step.ROUTER_ID,
        CLUSTERS,
        Step.NEIGHBOR_ADDRESS,
    ),
    Style.COLLECTOR: (),
}

# Words of routers for a reason: FRR and EOS beside routes, Junos beside those that lost, VRP too, GoBGP and OpenBGPD in
# their JSON.
_WORDS: Mapping[str, str] = {
    "weight": WEIGHT,
    "prefval": WEIGHT,
    "path weight": WEIGHT,
    "route preference": PREFERENCE,
    "local pref": Step.LOCAL_PREFERENCE,
    "local preference": Step.LOCAL_PREFERENCE,
    "local_pref": Step.LOCAL_PREFERENCE,
    "local route": OWN,
    "redistributed route exists": OWN,
    "local origin": OWN,
    "as path": Step.AS_PATH_LENGTH,
    "as-path": Step.AS_PATH_LENGTH,
    "as path length": Step.AS_PATH_LENGTH,
    "origin": Step.ORIGIN,
    "med": Step.MED,
    "path med": Step.MED,
    "route metric or med comparison": Step.MED,
    "always compare med": Step.MED,
    "peer type": Step.EBGP_OVER_IBGP,
    "peertype": Step.EBGP_OVER_IBGP,
    "interior > exterior > exterior via interior": Step.EBGP_OVER_IBGP,
    "ebgp path preferred": Step.EBGP_OVER_IBGP,
    "internal path": Step.EBGP_OVER_IBGP,
    "igp metric": Step.NEAREST_EXIT,
    "igp cost": Step.NEAREST_EXIT,
    "next hop igp metric": Step.NEAREST_EXIT,
    "nh metric": Step.NEAREST_EXIT,
    "newer ebgp path": Step.OLDEST,
    "locally originated": OWN,
    "older path": Step.OLDEST,
    "older": Step.OLDEST,
    "active preferred": Step.OLDEST,
    "ecmp-fast configured": Step.OLDEST,
    "path age": Step.OLDEST,
    "router id": Step.ROUTER_ID,
    "router-id": Step.ROUTER_ID,
    "routerid": Step.ROUTER_ID,
    "originator id": Step.ROUTER_ID,
    "cluster length": CLUSTERS,
    "rr cluster length": CLUSTERS,
    "cluster list": CLUSTERS,
    "clusterlist": CLUSTERS,
    "cluster list length": CLUSTERS,
    "neighbor ip": Step.NEIGHBOR_ADDRESS,
    "neighbor address": Step.NEIGHBOR_ADDRESS,
    "peer address": Step.NEIGHBOR_ADDRESS,
    "peer ip address": Step.NEIGHBOR_ADDRESS,
    "update source": Step.NEIGHBOR_ADDRESS,
}


def step_of(word: str) -> str | None:
    """The step that a router's word for its reason means; None for a word that is none of ours."""
    return _WORDS.get(word.rpartition(" - ")[2].strip().lower())


class NotShown(Exception):  # noqa: N818 - no error of anybody: the text is short of a value
    """The text does not show what this step compares."""


def staying(step: str, left: list[PastedRoute], unseen: Unseen, kept: PastedRoute | None) -> list[PastedRoute]:
    """Those of `left` that a step leaves. `kept`: the route that is active already, which the step by age keeps.
    `NotShown` where the text is short of a value.
    """
    if step == Step.MED:
        return _med(left)
    if step == Step.OLDEST:
        return _oldest(left, kept)
    if step in unseen:
        if step == WEIGHT:
            return left  # it is nought unless somebody has set it
        if step == Step.EBGP_OVER_IBGP or any(not route.candidate.ebgp and not route.own for route in left):
            raise NotShown
    if step in _ADDRESSES and not all(map(_ADDRESSES[step], left)):
        raise NotShown
    keys = list(map(_KEYS[step], left))
    bound = min(keys)
    if keys.count(bound) == len(keys):
        return left
    return [route for route, key in zip(left, keys, strict=True) if key == bound]


_ORIGIN_RANK = {Origin.IGP: 0, Origin.EGP: 1, Origin.INCOMPLETE: 2}
_ADDRESSES: Mapping[str, Callable[[PastedRoute], str]] = {
    Step.ROUTER_ID: lambda r: r.originator or r.candidate.router_id,
    Step.NEIGHBOR_ADDRESS: lambda r: r.candidate.neighbor,
}
_KEYS: Mapping[str, Callable[[PastedRoute], Any]] = {
    WEIGHT: lambda r: -r.precedence,
    PREFERENCE: lambda r: -r.precedence,
    OWN: lambda r: not r.own,
    CLUSTERS: lambda r: r.clusters,
    Step.LOCAL_PREFERENCE: lambda r: -r.candidate.local_pref,
    Step.AS_PATH_LENGTH: lambda r: len(r.candidate.as_path),
    Step.ORIGIN: lambda r: _ORIGIN_RANK[r.candidate.origin],
    Step.EBGP_OVER_IBGP: lambda r: not r.candidate.ebgp and not r.own,
    Step.NEAREST_EXIT: lambda r: r.candidate.igp_metric,
    Step.ROUTER_ID: lambda r: rank(_ADDRESSES[Step.ROUTER_ID](r)),
    Step.NEIGHBOR_ADDRESS: lambda r: rank(r.candidate.neighbor),
}


def _med(left: list[PastedRoute]) -> list[PastedRoute]:
    """RFC 4271 9.1.2.2 c: only among routes of one neighbour AS."""
    bounds: dict[int | None, int] = {}
    for route in left:
        bounds[_first(route)] = min(route.candidate.med, bounds.get(_first(route), route.candidate.med))
    return [route for route in left if route.candidate.med == bounds[_first(route)]]


def _first(route: PastedRoute) -> int | None:
    return route.candidate.as_path[0] if route.candidate.as_path else None


def _oldest(left: list[PastedRoute], kept: PastedRoute | None) -> list[PastedRoute]:
    """Among external routes alone. The active one stays, whatever ages say; without a mark the ages decide."""
    if not all(route.candidate.ebgp for route in left):
        return left
    if kept is not None and any(route is kept for route in left):
        return [kept]
    ages = list(map(age_of, left))
    if any(age is None for age in ages):
        raise NotShown
    oldest = max(age if age is not None else -inf for age in ages)
    return [route for route, age in zip(left, ages, strict=True) if age == oldest]


def age_of(route: PastedRoute) -> float | None:
    """A number that is greater the longer the route is there, on one scale in one text."""
    if route.candidate.age_s is not None:
        return route.candidate.age_s
    return None if route.since is None else -route.since
