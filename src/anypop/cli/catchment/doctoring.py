"""`anypop doctor`: who lands far from home, because of whom, and what mends it; `--apply` makes a repair through control.

In: the graph, what we announce, weights. Out: causes with their repairs; with `--apply` the repair in waves, seen through the lab's
vantages. The thinking is `routing.catchment.doctor`'s, the care is `repairing`'s; here both meet control's HTTP API.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anypop.cli.catchment import graphs
from anypop.cli.catchment.commands import Plan, Workload
from anypop.cli.catchment.graphs import Footprint, GraphFile, Overrides, Weights
from anypop.cli.door import Door, command
from anypop.cli.failure import Failure, usage
from anypop.cli.workloads import Yes
from anypop.model.announce import Scope

if TYPE_CHECKING:
    from anypop.cli.catchment.announced import Known
    from anypop.cli.catchment.graphs import Ground
    from anypop.cli.catchment.repairing import Course, Key, Look, Wave
    from anypop.routing.catchment.doctor import Repair
    from anypop.routing.catchment.sessions import Announcements

REQUESTS = 3  # of each vantage in each round: one lost answer shows, and a round stays short


def register(root: typer.Typer) -> None:
    @command(
        root,
        "doctor",
        examples="""
        anypop doctor
        anypop doctor --weights users.csv --causes 3 -o json
        anypop doctor --apply 1.1
        anypop doctor --graph as-rel.txt.bz2 --footprint cities.csv --plan plan.yaml
        """,
    )
    def doctor(
        door: Door,
        *,
        graph: GraphFile = None,
        overrides: Overrides = None,
        footprint: Footprint = None,
        weights: Weights = None,
        plan: Plan = None,
        workload: Workload = "",
        causes: Annotated[int, typer.Option("--causes", metavar="N", help="So many causes, the worst first.", min=1, max=50)] = 5,
        repairs: Annotated[int, typer.Option("--repairs", metavar="N", help="So many repairs of each.", min=1, max=50)] = 5,
        far_km: Annotated[
            float, typer.Option("--far-km", metavar="KM", help="Further than this beyond the nearest PoP is astray.", min=1)
        ] = 1500.0,
        make: Annotated[
            str, typer.Option("--apply", metavar="N", help="Make this repair: 1.2, or 1 for the best of cause 1.", show_default=False)
        ] = "",
        patience: Annotated[
            float, typer.Option("--patience", metavar="SECONDS", help="How long a PoP may take to come out as predicted.", min=0.1)
        ] = 60.0,
        yes: Yes = False,
    ) -> None:
        """Find networks that land far from home, name the cause, propose repairs scored on the whole graph, and make one."""
        from anypop.cli.catchment import asking, proposals  # noqa: PLC0415 - numpy, and the model of the Internet
        from anypop.routing.catchment.doctor import diagnose  # noqa: PLC0415

        if make and plan is not None:
            raise usage("--apply changes what control announces, not a plan file", advice="Leave --plan out.")
        ground = graphs.ground(door, graphs.given(graph, overrides, footprint, weights))
        asked = asking.question(door, plan, workload)
        asking.refuse_unknown(ground, asked.now)
        found = diagnose(ground.engine, asked.now, weights=ground.weights, far_km=far_km, most_causes=causes)
        known = asked.known
        place = proposals.Place()
        if known is not None:
            place = proposals.Place(workload=known.workload, network=known.network, prefixes=known.prefixes)
        if not make:
            door.screen.result(
                proposals.data(found, place, most=repairs, graph=ground.sources.says),
                lambda: proposals.report(found, place, most=repairs, graph=ground.sources.says, far_km=far_km),
            )
            return
        repair = proposals.chosen(found, make, repairs)
        if repair is None:
            raise usage(f"--apply {make}: there is no such repair", advice="'anypop doctor' shows their numbers.")
        assert known is not None
        _made(door, ground, known, repair, proposals.repair_data(repair, asked.now, place), patience_s=patience, yes=yes)


def _made(
    door: Door, ground: "Ground", known: "Known", repair: "Repair", shown: Mapping[str, Any], *, patience_s: float, yes: bool
) -> None:
    """Show, ask, apply, and end badly when it was taken back."""
    from anypop.cli.catchment import preview, repairing, tables  # noqa: PLC0415 - see above

    if not known.workload:
        raise usage("no workload announces anything that could be changed", advice="Create one with --anycast.")
    if any(change.added for change in repair.changes):
        raise usage(f"'{repair.title}' is a contract with a network, no configuration", advice="Choose another repair.")
    scopes: dict[Key, Scope] = {(change.pop, change.upstream): change.scope for change in repair.changes}
    change = preview.compared(ground, known.announcements, with_scopes(known.announcements, scopes))
    door.screen.preview([(repair.title, "bold")], *(f"  {line}" for line in shown["commands"]))
    door.screen.preview(*(f"  {pop} bird.conf {line}" for pop, lines in shown["bird_conf"].items() for line in lines))
    door.screen.preview([(change.sentence, "bold")])
    door.screen.agree("Make it?", yes=yes)
    eyes = VantageEyes(door, known.workload)
    plan = waves(ground, known.announcements, scopes, eyes)
    for line in eyes.doubts:
        door.screen.note(line)
    course = repairing.apply(
        plan,
        ControlAnnouncing(door, known.workload, note=f"doctor: {repair.title}"),
        eyes,
        say=door.screen.note,
        patience=repairing.Patience(patience_s=patience_s, hold_s=min(repairing.HOLD_S, patience_s / 4)),
    )
    data = {"repair": dict(shown), "predicted": tables.difference_data(change), **course_data(course)}
    door.screen.result(data, lambda: [_ending(course, repair)])
    if course.rolled_back:
        raise Failure(
            "the repair was taken back: the outcome differs from the prediction",
            problems=course.differs,
            advice="'anypop why VANTAGE' shows what the routers do instead; 'anypop catchment observe' teaches the model what was seen.",
        )


def _ending(course: "Course", repair: "Repair") -> str:
    if course.rolled_back:
        return f"taken back: {repair.title}"
    return f"made: {repair.title}; {len(course.waves)} PoP{'s' if len(course.waves) > 1 else ''}, each as predicted"


def with_scopes(now: "Announcements", scopes: "Mapping[Key, Scope]") -> "Announcements":
    return replace(now, sessions=tuple(replace(s, scope=scopes.get((s.pop, s.upstream), s.scope)) for s in now.sessions))


def waves(ground: "Ground", now: "Announcements", scopes: "Mapping[Key, Scope]", eyes: "VantageEyes") -> "list[Wave]":
    """One wave for each PoP, in the order that takes nobody further than needed, with what every vantage should see after each."""
    from anypop.cli.catchment.repairing import Wave  # noqa: PLC0415 - see above

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
        found.append(Wave(pop=pop, scopes=tried[pop], expected=eyes.expected(ground, with_scopes(now, done))))
    return found


def _suffering(ground: "Ground", now: "Announcements", scopes: "Mapping[Key, Scope]") -> float:
    from anypop.cli.catchment import asking  # noqa: PLC0415 - see above

    return asking.answer(ground, with_scopes(now, scopes), now.pops).mean_extra_km


@dataclass(slots=True)
class VantageEyes:
    """Probes through control. A vantage whose present place the model gets wrong is only watched for not landing further from home."""

    door: Door
    workload: str
    doubts: list[str] = field(default_factory=list)
    _places: dict[str, tuple[int, str]] = field(default_factory=dict)
    _doubted: dict[str, str] = field(default_factory=dict)

    def look(self) -> "Mapping[str, Look]":
        from anypop.cli.catchment.repairing import Look  # noqa: PLC0415 - see above

        if not self._places:
            listed = self.door.client.get("/anypop/v1/vantages", what="list vantages").get("results") or []
            self._places = {str(v["name"]): (int(v.get("asn") or 0), str(v.get("city") or "")) for v in listed}
        if not self._places:
            return {}
        body = {"workload": self.workload, "stack": self.door.client.settings.stack, "requests": REQUESTS}
        rows = self.door.client.call("POST", "/anypop/v1/probes", what="probe", body=body, patience_s=600).get("results") or []
        return {
            str(row["vantage"]): Look(pop=row.get("pop") or None, whole=row.get("answered") == row.get("requests") and _alone(row))
            for row in rows
        }

    def learn(self, ground: "Ground", now: "Announcements") -> None:
        """Compare the model with what is seen before anything changes."""
        for vantage, wanted in self._predicted(ground, now).items():
            seen = self._seen[vantage].pop if vantage in self._seen else None
            if seen not in wanted:
                self._doubted[vantage] = seen or ""
                self.doubts.append(
                    f"the model is wrong about {vantage} ({' or '.join(sorted(wanted))}, but it lands in {seen or 'no PoP'}): "
                    "it is only watched for not landing further away"
                )

    def expected(self, ground: "Ground", announcements: "Announcements") -> dict[str, frozenset[str]]:
        """Per vantage where it may land. One that the graph does not have is left out."""
        found = self._predicted(ground, announcements)
        pops = sorted({session.pop for session in announcements.sessions})
        for vantage, seen in self._doubted.items():
            found[vantage] = frozenset(pop for pop in pops if _km(self._places[vantage][1], pop) <= _km(self._places[vantage][1], seen))
        return found

    @property
    def _seen(self) -> "Mapping[str, Look]":
        if not self._first:
            self._first = dict(self.look())
        return self._first

    _first: "dict[str, Look]" = field(default_factory=dict)

    def _predicted(self, ground: "Ground", announcements: "Announcements") -> dict[str, frozenset[str]]:
        from anypop.cli.catchment import asking  # noqa: PLC0415 - see above

        prediction = asking.answer(ground, announcements, announcements.pops)
        found: dict[str, frozenset[str]] = {}
        _ = self._seen
        for vantage, (asn, city) in self._places.items():
            site = site_of(ground, asn, city)
            if site is None:
                continue
            row = prediction.row(site)
            found[vantage] = frozenset(row.ties or ([row.pop] if row.pop else []))
        return found


def site_of(ground: "Ground", asn: int, city: str) -> int | None:
    """The site of a network in a city, or its nearest one; None when the graph does not have the network."""
    sites = ground.internet.sites_of(asn)
    exact = [site for site in sites if ground.internet.city[site] == city]
    if exact or not sites:
        return exact[0] if exact else None
    return min(sites, key=lambda site: _km(city, ground.internet.city[site]))


def _km(a: str, b: str) -> float:
    from anypop.model.cities import distance_km, find_city  # noqa: PLC0415 - its data take a while to load

    here, there = find_city(a), find_city(b)
    return distance_km(here, there) if here is not None and there is not None else float("inf")


def _alone(row: Mapping[str, Any]) -> bool:
    """Whether all answers came from one PoP: half here and half there is a change under way."""
    pops = {str(name).rsplit("-", 2)[-2] for name in row.get("hits") or {}}
    return len(pops) <= 1


@dataclass(slots=True)
class ControlAnnouncing:
    """The announcements of one workload behind control's API, and the rules that held at first."""

    door: Door
    workload: str
    note: str
    _rules: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)

    def set(self, scopes: "Mapping[Key, Scope]") -> None:
        from anypop.cli.catchment.announced import scope_data  # noqa: PLC0415 - see above

        for row in self._rows():
            rule = {"pop": row["pop"], "upstream": row["upstream"], "scope": row["scope"], "note": row.get("note") or ""}
            self._rules.setdefault((str(row["pop"]), str(row["upstream"])), rule)
        self._patch([{"pop": pop, "upstream": up, "scope": scope_data(scope), "note": self.note} for (pop, up), scope in scopes.items()])

    def restore(self, keys: "Sequence[Key]") -> None:
        if rules := [self._rules[key] for key in dict.fromkeys(keys) if key in self._rules]:
            self._patch(rules)

    def wrong(self, scopes: "Mapping[Key, Scope]") -> list[str]:
        from anypop.cli.catchment.announced import scope_of  # noqa: PLC0415 - see above
        from anypop.model.announce import Mode  # noqa: PLC0415

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


def course_data(course: "Course") -> dict[str, Any]:
    return {
        "applied": not course.rolled_back,
        "rolled_back": course.rolled_back,
        "restored": course.restored,
        "waves": [
            {
                "pop": wave.pop,
                "seconds": round(wave.seconds, 3),
                "seen": {vantage: look.pop for vantage, look in wave.seen.items()},
                "differs": wave.differs,
            }
            for wave in course.waves
        ],
    }
