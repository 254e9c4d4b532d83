"""What a repair needs of control: its announcements are changed, and its vantages asked, over the ordinary HTTP API.

In: a workload. Out: the two seams of `repair` over control. What to expect after each wave is `advice.waves`' business;
whether that came true is `repair`'s.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from anypop.advice.waves import Key, Viewpoint
from anypop.cli.catchment.repair import Look
from anypop.model.announce import Mode, Scope
from anypop.model.scopes import scope_data, scope_of

if TYPE_CHECKING:
    from anypop.cli.door import Door

REQUESTS = 3  # of each vantage in each round: one lost answer shows, and a round stays short


@dataclass(slots=True)
class VantageEyes:
    """Probes through control. `places`: its vantages, once they were asked."""

    door: "Door"
    workload: str
    places: tuple[Viewpoint, ...] = ()

    def look(self) -> Mapping[str, Look]:
        if not self.places:
            listed = self.door.client.get("/anypop/v1/vantages", what="list vantages").get("results") or []
            self.places = tuple(Viewpoint(name=str(v["name"]), asn=int(v.get("asn") or 0), city=str(v.get("city") or "")) for v in listed)
        if not self.places:
            return {}
        body = {"workload": self.workload, "stack": self.door.client.settings.stack, "requests": REQUESTS}
        rows = self.door.client.call("POST", "/anypop/v1/probes", what="probe", body=body, patience_s=600).get("results") or []
        return {
            str(row["vantage"]): Look(pop=row.get("pop") or None, whole=row.get("answered") == row.get("requests") and _alone(row))
            for row in rows
        }


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
