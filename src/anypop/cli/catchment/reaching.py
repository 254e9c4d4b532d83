"""A repair's way through control: its announcements are changed, and its vantages asked, over the ordinary HTTP API.

In: the scopes of a repair, the graph. Out: waves with what every vantage should see after each, and the two seams of `repairing` over
control. The model is asked here what to expect; whether that came true is `repairing`'s business.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isnan
from typing import TYPE_CHECKING, Any

from anypop.cli.catchment import asking
from anypop.cli.catchment.graphs import Ground
from anypop.cli.catchment.repairing import Key, Look, Wave
from anypop.model.announce import Mode, Scope
from anypop.model.cities import distance_km, find_city
from anypop.model.scopes import scope_data, scope_of
from anypop.model.sessions import Announcements

if TYPE_CHECKING:
    from anypop.cli.door import Door

REQUESTS = 3  # of each vantage in each round: one lost answer shows, and a round stays short


def waves(ground: Ground, now: Announcements, scopes: Mapping[Key, Scope], eyes: "VantageEyes") -> list[Wave]:
    """One wave for each PoP, in the order that takes nobody further than needed, with what every vantage should see after each."""
    eyes.learn(ground, now)
    found = []
    done: dict[Key, Scope] = {}
    left = list(dict.fromkeys(key[0] for key in scopes))
    while left:
        # First what hurts least while the others are still to come: everybody passes through every state on the way.
        tried = {pop: {key: scope for key, scope in scopes.items() if key[0] == pop} for pop in left}
        pop = min(left, key=lambda one: _suffering(ground, now, done | tried[one]))
        left.remove(pop)
        done |= tried[pop]
        found.append(Wave(pop=pop, scopes=tried[pop], expected=eyes.expected(ground, now.with_scopes(done))))
    return found


def _suffering(ground: Ground, now: Announcements, scopes: Mapping[Key, Scope]) -> float:
    mean = asking.answer(ground, now.with_scopes(scopes), now.pops).mean_extra_km
    return 0.0 if isnan(mean) else mean


@dataclass(slots=True)
class VantageEyes:
    """Probes through control. A vantage whose present place the model gets wrong is only watched for not landing further from home."""

    door: "Door"
    workload: str
    doubts: list[str] = field(default_factory=list)
    places: dict[str, tuple[int, str]] = field(default_factory=dict)
    doubted: dict[str, str] = field(default_factory=dict)

    def look(self) -> Mapping[str, Look]:
        if not self.places:
            listed = self.door.client.get("/anypop/v1/vantages", what="list vantages").get("results") or []
            self.places = {str(v["name"]): (int(v.get("asn") or 0), str(v.get("city") or "")) for v in listed}
        if not self.places:
            return {}
        body = {"workload": self.workload, "stack": self.door.client.settings.stack, "requests": REQUESTS}
        rows = self.door.client.call("POST", "/anypop/v1/probes", what="probe", body=body, patience_s=600).get("results") or []
        return {
            str(row["vantage"]): Look(pop=row.get("pop") or None, whole=row.get("answered") == row.get("requests") and _alone(row))
            for row in rows
        }

    def learn(self, ground: Ground, now: Announcements) -> None:
        """Compare the model with what is seen before anything changes."""
        seen = self.look()
        for vantage, wanted in self._predicted(ground, now).items():
            pop = seen[vantage].pop if vantage in seen else None
            if pop not in wanted:
                self.doubted[vantage] = pop or ""
                self.doubts.append(
                    f"the model is wrong about {vantage} ({' or '.join(sorted(wanted))}, but it lands in {pop or 'no PoP'}): "
                    "it is only watched for not landing further away"
                )

    def expected(self, ground: Ground, announcements: Announcements) -> dict[str, frozenset[str]]:
        """Per vantage where it may land. One that the graph does not have is left out."""
        found = self._predicted(ground, announcements)
        pops = sorted({session.pop for session in announcements.sessions})
        for vantage, seen in self.doubted.items():
            home = self.places[vantage][1]
            found[vantage] = frozenset(pop for pop in pops if _km(home, pop) <= _km(home, seen))
        return found

    def _predicted(self, ground: Ground, announcements: Announcements) -> dict[str, frozenset[str]]:
        prediction = asking.answer(ground, announcements, announcements.pops)
        found: dict[str, frozenset[str]] = {}
        for vantage, (asn, city) in self.places.items():
            site = site_of(ground, asn, city)
            if site is not None:
                row = prediction.row(site)
                found[vantage] = frozenset(row.ties or ([row.pop] if row.pop else []))
        return found


def site_of(ground: Ground, asn: int, city: str) -> int | None:
    """The site of a network in a city, or its nearest one; None when the graph does not have the network."""
    sites = ground.internet.sites_of(asn)
    exact = [site for site in sites if ground.internet.city[site] == city]
    if exact or not sites:
        return exact[0] if exact else None
    return min(sites, key=lambda site: _km(city, ground.internet.city[site]))


def _km(a: str, b: str) -> float:
    here, there = find_city(a), find_city(b)
    return distance_km(here, there) if here is not None and there is not None else float("inf")


def _alone(row: Mapping[str, Any]) -> bool:
    """Whether all answers came from one PoP: half here and half there is a change under way."""
    pops = {str(name).rsplit("-", 2)[-2] for name in row.get("hits") or {}}
    return len(pops) <= 1


@dataclass(slots=True)
class ControlAnnouncing:
    """The announcements of one workload behind control's API, and the rules that held at first."""

    door: "Door"
    workload: str
    note: str
    _rules: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)

    def set(self, scopes: Mapping[Key, Scope]) -> None:
        for row in self._rows():
            rule = {"pop": row["pop"], "upstream": row["upstream"], "scope": row["scope"], "note": row.get("note") or ""}
            self._rules.setdefault((str(row["pop"]), str(row["upstream"])), rule)
        self._patch([{"pop": pop, "upstream": up, "scope": scope_data(scope), "note": self.note} for (pop, up), scope in scopes.items()])

    def restore(self, keys: Sequence[Key]) -> None:
        if rules := [self._rules[key] for key in dict.fromkeys(keys) if key in self._rules]:
            self._patch(rules)

    def wrong(self, scopes: Mapping[Key, Scope]) -> list[str]:
        found = []
        for row in self._rows():
            wanted = scopes.get((str(row["pop"]), str(row["upstream"])))
            if wanted is None:
                continue
            effective = scope_of(row.get("effective") or row.get("scope") or {})
            out = wanted.mode is Mode.ANNOUNCE
            if _plain(effective) != _plain(wanted) or bool(row.get("announced")) is not out:
                says = row.get("says") or row.get("reason") or "not as ordered"
                found.append(f"{row.get('prefix')} at {row['pop']} to {row['upstream']}: {says}")
        return found

    def _rows(self) -> list[Any]:
        path = f"{self.door.workload_path(self.workload, 'anypop')}/announcements"
        return list(self.door.client.get(path, what=f"announcements of {self.workload}").get("results") or [])

    def _patch(self, rules: list[dict[str, Any]]) -> None:
        path = f"{self.door.workload_path(self.workload, 'anypop')}/announcements"
        self.door.client.call("PATCH", path, what=f"change announcements of {self.workload}", body={"rules": rules})


def _plain(scope: Scope) -> tuple[Any, ...]:
    return scope.mode, scope.prepend, sorted(scope.communities), sorted(scope.large_communities)
