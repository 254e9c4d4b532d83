"""Runs a scenario: a text of `> command` lines, comments, and the answers recorded below each command.

In: the text. Out: the same text with the answers as they are now; a test compares the two. `python -m
tests.scenarios.runner` writes the answers anew: read the difference before you keep it. Nothing but the pure functions
runs here; time passes by `> rested`.
"""

import shlex
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from anypop.model.announce import Mode, Scope, ScopeRule
from anypop.model.names import CityCode, HostName, WorkloadId
from anypop.model.plan import Plan, World
from anypop.model.workload import Target, Workload
from anypop.plan.check import Unsafe, check
from anypop.plan.planner import plan
from tests.worlds import network, workload

HERE = Path(__file__).parent


class Scenario:
    """A platform of four cities at most, driven by words. Each command that changes something plans, checks and
    stores, as control does.
    """

    def __init__(self) -> None:
        self.world = World(network=network(), workloads=())
        self.plan = plan(self.world)
        self.commands: dict[str, Callable[..., Iterator[str]]] = {
            "network": self.network,
            "deploy": self.deploy,
            "delete": self.delete,
            "forget": self.forget,
            "scope": self.scope,
            "gone": self.gone,
            "rested": self.rested,
            "instances": self.instances,
            "anycast": self.anycast,
            "announcements": self.announcements,
        }

    def network(self, *cities: str, bits: str = "26", prefixes: str = "2") -> Iterator[str]:
        """These PoPs, each with an external /bits, and so many covering prefixes."""
        changed = network([CityCode(c) for c in cities], external_bits=int(bits), prefixes=int(prefixes))
        yield from self._go(replace(self.world, network=changed))

    def deploy(self, slug: str, *targets: str, replicas: str = "1", anycast: str = "yes") -> Iterator[str]:
        """Create or change a workload: `eu1=AMS,LHR na1=JFK replicas=2`."""
        found = tuple(
            Target(name=name, cities=tuple(CityCode(c) for c in cities.split(",")), replicas=int(replicas))
            for name, _, cities in (t.partition("=") for t in targets)
        )
        wanted = workload(slug, targets=found, anycast=anycast == "yes", dual_stack=False)
        others = self.world.workloads
        known = any(w.slug == slug for w in others)
        changed = tuple(wanted if w.slug == slug else w for w in others) if known else (*others, wanted)
        yield from self._go(replace(self.world, workloads=changed), asked=wanted.id)

    def delete(self, slug: str) -> Iterator[str]:
        changed = tuple(replace(w, deleting=True) if w.slug == slug else w for w in self.world.workloads)
        yield from self._go(replace(self.world, workloads=changed), asked=workload(slug).id)

    def forget(self, slug: str) -> Iterator[str]:
        """The workload vanishes from the store, and nobody asked for it."""
        yield from self._go(replace(self.world, workloads=self._without(slug)))

    def scope(self, slug: str, city: str, upstream: str, what: str) -> Iterator[str]:
        """`withhold`, `prepend:2` or `community:209,888`."""
        verb, _, value = what.partition(":")
        scope = (
            Scope(mode=Mode.WITHHOLD)
            if verb == "withhold"
            else Scope(prepend=int(value))
            if verb == "prepend"
            else Scope(communities=((int(value.split(",")[0]), int(value.split(",")[1])),))
        )
        ruled = ScopeRule(workload_id=workload(slug).id, pop=CityCode(city), upstream=upstream, scope=scope)
        yield from self._go(replace(self.world, rules=(*self.world.rules, ruled)))

    def gone(self, city: str) -> Iterator[str]:
        """A PoP reports its removals complete; their places begin to rest."""
        done = {r.uid: (h, r) for h, r in self.world.removals if h == city}
        left = tuple((h, r) for h, r in self.world.removals if r.uid not in done)
        busy = {s.workload_id for s in self.world.incarnations} | {r.workload_id for _, r in left}
        ended = {w.id for w in self.world.workloads if w.deleting and w.id not in busy}
        freed = {a.address4 for a in self.world.anycast if a.workload_id in ended}
        yield from self._go(
            replace(
                self.world,
                removals=left,
                workloads=tuple(w for w in self.world.workloads if w.id not in ended),
                resting_indexes=self.world.resting_indexes | {(h, r.index) for h, r in done.values()},
                resting_links=self.world.resting_links | {(h, r.link) for h, r in done.values()},
                resting_addresses=self.world.resting_addresses | freed,
            )
        )

    def rested(self) -> Iterator[str]:
        """Long enough has passed for everything that was released."""
        yield from self._go(
            replace(self.world, resting_indexes=frozenset(), resting_links=frozenset(), resting_addresses=frozenset())
        )

    def instances(self, city: str) -> Iterator[str]:
        part = self.plan.hosts[HostName(city)]
        for i in part.instances:
            four = next(i.addresses())
            yield f"{i.name}  private {four.private}  external {four.external}" + (
                f"  anycast {i.anycast[0]}" if i.anycast else ""
            )
        for r in part.removed:
            yield f"{r.name}  to be removed: {r.reason.says}" + (f" ({r.detail})" if r.detail else "")

    def anycast(self) -> Iterator[str]:
        slugs = {w.id: w.slug for w in self.world.workloads}
        for a in self.plan.anycast:
            yield f"{slugs.get(a.workload_id, 'a forgotten workload')}  {a.address4} in {a.prefix4}"

    def announcements(self, city: str) -> Iterator[str]:
        for a in self.plan.hosts[HostName(city)].announcements:
            if a.gates:
                scope = (
                    a.scope.mode.value
                    if a.scope.mode is Mode.WITHHOLD
                    else f"prepend {a.scope.prepend}"
                    if a.scope.prepend
                    else ""
                )
                scope = scope or " ".join(f"({x},{y})" for x, y in a.scope.communities) or "plainly"
                yield f"{a.prefix} to {a.upstream} {scope}, while {' and '.join(map(str, a.gates))} can be served"

    def _go(self, changed: World, asked: WorkloadId | None = None) -> Iterator[str]:
        planned = plan(changed)
        leaving = {w.id for w in changed.workloads if w.deleting} | ({asked} if asked else set())
        try:
            check(planned, self.world.incarnations, confirmed=frozenset(leaving))
        except Unsafe as unsafe:
            for problem in unsafe.problems:
                yield f"refused: {problem}"
            return
        yield from self._differences(planned)
        self.plan = planned
        self.world = replace(
            changed,
            incarnations=planned.incarnations,
            anycast=planned.anycast,
            removals=planned.removals,
            serial=changed.serial + 1,
        )

    def _differences(self, planned: Plan) -> Iterator[str]:
        old, new = {s.uid: s for s in self.plan.incarnations}, {s.uid: s for s in planned.incarnations}
        for uid, slot in new.items():
            if uid not in old:
                yield f"+ {slot.name} at {slot.pop}, place {slot.index}"
        for uid, slot in old.items():
            if uid not in new:
                yield f"- {slot.name} at {slot.pop}, place {slot.index}"
        for note in planned.notes:
            if note not in self.plan.notes:
                yield f"! {note.subject}: {note.reason.says} ({note.detail})"

    def _without(self, slug: str) -> tuple[Workload, ...]:
        return tuple(w for w in self.world.workloads if w.slug != slug)


def run(text: str) -> str:
    """The scenario with the answers it gets now. What is written below a command and is no comment is an old answer."""
    scenario = Scenario()
    lines: list[str] = []
    in_answer = False
    for line in text.splitlines():
        if line.startswith("> "):
            lines.append(line)
            verb, *words = shlex.split(line[2:])
            plain = [w for w in words if w.partition("=")[0] not in ("replicas", "anycast", "bits", "prefixes")]
            named = dict(w.split("=", 1) for w in words if w not in plain)
            lines += list(scenario.commands[verb](*plain, **named)) or [
                "none" if verb in ("instances", "anycast", "announcements") else "done; no instance comes or goes"
            ]
            in_answer = True
        elif not line or line.startswith("#"):
            lines.append(line)
            in_answer = False
        elif not in_answer:
            raise ValueError(f"neither a command nor a comment: {line!r}")
    return "\n".join(lines) + "\n"


def scenarios() -> list[Path]:
    return sorted(HERE.glob("*.txt"))


if __name__ == "__main__":
    for path in scenarios():
        path.write_text(run(path.read_text()))
        sys.stdout.write(f"recorded {path.name}\n")
