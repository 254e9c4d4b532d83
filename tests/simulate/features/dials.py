"""Dials and shedding: how much of its new connections a PoP keeps, and what becomes of the rest.

In: acts that turn dials and load machines. Out: invariants: what leaves by a dial is answered by an instance where it
comes to, never carried on; a dial is in force where somebody can take what leaves, and nowhere else; nobody sheds to
those that have no room.
"""

from random import Random
from typing import TYPE_CHECKING, Any

from anypop.agent.decide.backbone import FULL, LINGER
from anypop.agent.decide.elements import Entry, Member
from anypop.agent.decide.steps import SetNextHops, SetSteering, Step
from anypop.control.dials import dial
from anypop.control.state import State
from anypop.judge.shedding import LEAST
from anypop.model.announce import Address
from anypop.model.names import CityCode, WorkloadId
from anypop.model.table import differing
from tests.simulate import scenes
from tests.simulate.features.feature import Feature
from tests.simulate.invariants.broken import broken
from tests.simulate.invariants.carried import has_steady, is_calm
from tests.simulate.mutation import Mutation, always, of
from tests.simulate.networks import HOSTS_CARRY_FROM

if TYPE_CHECKING:
    from tests.simulate.agent import Agent
    from tests.simulate.host import Host
    from tests.simulate.lives import Platform

FOUND_S = 12.0  # until one that takes and died is known for dead
BUSY, LIMIT, ROOM = 95, 60, 51  # of a hundred: a load above a limit, that limit, and what is well below it

# what people do


def dials(platform: "Platform", dice: Random) -> None:
    workload = dice.choice(("", *sorted(platform.control.state.workloads)))
    turns(platform, dice.choice(platform.cities), dice.choice((0, 20, 50, 100)), workload)


def turns(platform: "Platform", city: str, percent: int, workload: str = "") -> None:
    asked = dial(
        city, WorkloadId(workload), percent=percent, shed_above=None, sheds=False, note="", version=None, by="a person",
        operator=True,
    )  # fmt: skip
    platform.control.ask(f"dial {workload[-2:] or 'all'} {city} {percent}", asked)


def lets_a_pop_shed(platform: "Platform", dice: Random) -> None:
    sheds(platform, dice.choice(platform.cities))
    is_busy(platform, dice)


def sheds(platform: "Platform", city: str) -> None:
    asked = dial(
        city, WorkloadId(""), percent=None, shed_above=LIMIT, sheds=True, note="", version=None, by="a person",
        operator=True,
    )  # fmt: skip
    platform.control.ask(f"{city} sheds above {LIMIT}", asked)


def is_busy(platform: "Platform", dice: Random, cities: tuple[str, ...] = ()) -> None:
    """Some PoPs' instances use nearly all that their hosts have, for a while."""
    for city in cities or dice.sample(platform.cities, dice.choice((1, 1, 2, 3))):
        those = [host for host in platform.hosts.values() if host.pop == city]
        platform.world.tell(city, f"its load is {BUSY} %")
        for host in those:
            host.load = BUSY
            platform.world.after(dice.uniform(10.0, 70.0), host.rests)


# what may never happen


def what_leaves_has_somewhere_to_go(agent: "Agent", step: Step) -> None:
    """7: New flows leave by a dial only to a host that answers, or did a moment ago."""
    host, leaving = agent.host, dict[Address, tuple[Member, ...]]()
    if isinstance(step, SetSteering):
        leaving = {s.address: host.away.get(s.address, ()) for s in step.steers if s.keep < FULL}
    elif isinstance(step, SetNextHops) and step.entry is Entry.AWAY and kept(host, step.address) < FULL:
        leaving = {step.address: step.members}
    for address, members in leaving.items():
        if not _some_take(host, address, members):
            raise broken(7, what_leaves_has_somewhere_to_go, f"{host.name} sends {address} to those that do not answer")


def kept(host: "Host", address: Address) -> int:
    """How much of an address's new flows its kernel keeps here."""
    return next((s.keep for s in host.steers if s.address == address), FULL)


def _some_take(host: "Host", address: Address, members: tuple[Member, ...]) -> bool:
    return any(m.peer is not None and m.weight > LINGER and host._offers(address, m.peer) for m in members)


def what_left_is_answered(platform: "Platform", seconds: float) -> None:
    """7: What leaves a PoP by its dial gets an answer: a dial never makes an address that nobody serves."""
    now, marks = platform.world.now, platform.marks
    for host in platform.hosts.values():
        for steer in host.steers if host.powered else ():
            key = "left", host.name, steer.address
            takes = [m for m in host.away.get(steer.address, ()) if m.weight > LINGER]
            if (
                steer.keep == FULL
                or any(host.leads(m, steer.address) for m in takes)
                or not is_calm(platform, host, seconds)
            ):
                marks[key] = now
            elif now - marks.get(key, now) > FOUND_S:
                text = f"{host.name} keeps {steer.keep} % of {steer.address}, and the rest gets no answer"
                raise broken(7, what_left_is_answered, text)


def dials_are_in_force(platform: "Platform", seconds: float) -> None:
    """12: Where a host is told to keep a part of an address that it serves, and another PoP that is dialled higher
    serves it too, its kernel keeps that part; where it is told nothing, all.
    """
    for host in platform.hosts.values():
        if not is_calm(platform, host, seconds) or host.page is None:
            continue
        for steer in host.steers:
            if steer.keep < FULL and steer.keep != asked_of(host, steer.address):
                text = f"{host.name} keeps {steer.keep} % of {steer.address}, and was not told to"
                raise broken(12, dials_are_in_force, text)
        for address in {a for i in host.ordered() for a in i.anycast}:
            wanted = asked_of(host, address)
            if wanted == FULL or not host.is_to_carry(address) or not has_steady(platform, host, address, seconds):
                continue
            takers = [
                there.name
                for there in platform.hosts.values()
                if there.pop != host.pop
                and asked_of(host, address, there.pop) > wanted
                and is_calm(platform, there, seconds)
                and has_steady(platform, there, address, seconds)
                and not platform.settles(there)
            ]
            if takers and kept(host, address) != wanted:
                text = f"{host.name} keeps {kept(host, address)} % of {address} instead of {wanted}; {takers} take it"
                raise broken(12, dials_are_in_force, text)


def asked_of(host: "Host", address: Address, pop: CityCode | None = None) -> int:
    """What a PoP is to keep of an address, by the order that a host has."""
    backbone = host.page.order.backbone if host.page is not None else None
    told = backbone.dials if backbone is not None else ()
    return min((d.percent for d in told if d.pop == (pop or host.pop) and address in (d.addresses or (address,))),
               default=FULL)  # fmt: skip


def every_host_knows_every_dial(platform: "Platform") -> None:
    """12: In the end each host has been told what each PoP keeps of what."""
    state = platform.control.state
    for host in platform.hosts.values():
        for one in state.dials.values():
            held = state.anycast.get(one.workload_id) if one.workload_id else next(iter(state.anycast.values()), None)
            if held is not None and asked_of(host, held.address4, one.pop) > one.keeps:
                raise broken(12, every_host_knows_every_dial, f"{host.name} does not know that {one.pop} is dialled")


def nobody_sheds_to_the_full(platform: "Platform", before: State, after: State) -> None:
    """19: A PoP sheds more only while it is above its limit by what its hosts reported, and another one has room."""
    if after.dials is before.dials:
        return
    for key in differing(before.dials, after.dials):
        was, now = before.dials.get(key), after.dials.get(key)
        if was is None or now is None or now.shed_to >= was.shed_to:
            continue
        loads = {city: _load(after, city) for city in platform.cities}
        if now.shed_to < LEAST or loads[now.pop] <= (now.shed_above or 0):
            raise broken(19, nobody_sheds_to_the_full, f"{now.pop} sheds to {now.shed_to} % at {loads[now.pop]:.0f} %")
        if not any(load < 85 for city, load in loads.items() if city != now.pop):
            raise broken(19, nobody_sheds_to_the_full, f"{now.pop} sheds, and all others are full: {loads}")


def _load(state: State, city: CityCode) -> float:
    """In percent, of all its hosts that are trusted, by their last reports; 100 where nobody tells."""
    used = there = 0
    for pop, machine in state.network.hosts():
        received, verdict = state.reports.get(machine.name), state.verdict.hosts.get(machine.name)
        if pop.city != city or received is None or verdict is None or not verdict.trusted:
            continue
        room = machine.capacity or received.report.capacity
        if received.report.used_millis is not None and room is not None:
            used, there = used + received.report.used_millis, there + room.cpu_millis
    return 100 * used / there if there else 100.0


# what they notice


def _to_anybody(right: Any) -> Any:
    """Whether they serve or not."""

    def takers(self: Any, address: Any) -> Any:
        own = self.kept(self._order.pop, address)
        return self.nearest(
            address, [(p, 1) for p in self.peers if p.pop != self._order.pop and self.kept(p.pop, address) > own]
        )

    return takers


def _goes_on(right: Any) -> Any:
    """To whom it once led, for ever."""
    return lambda address, facts, now: facts.observed.away.get(address) or right(address, facts, now)


def _without_limits(right: Any) -> Any:
    return lambda keeps, *, load, limit, room, since_s: right(keeps, load=load, limit=limit, room=True, since_s=since_s)


def _turn(city: str, percent: int) -> scenes.Act:
    return lambda platform, dice: turns(platform, city, percent)


MUTATIONS = {
    "a dial sends to those that do not serve": Mutation(
        where="anypop.agent.decide.backbone.Carriers.takers",
        change=_to_anybody,
        caught_by=of(7),
        script=((5.0, scenes.change(0, "cities", ["AMS", "JFK"])), (20.0, _turn("AMS", 0)), (40.0, scenes.nothing)),
        first=HOSTS_CARRY_FROM,
        only=scenes.has_plain_backbone,
    ),
    "a dial goes on when who takes is gone": Mutation(
        where="anypop.agent.decide.dials.away_for",
        change=_goes_on,
        also=("anypop.agent.decide.dials.is_in_force", always(True)),
        caught_by=of(7),
        script=(
            (5.0, scenes.not_in_new_york),
            (20.0, _turn("AMS", 0)),
            (36.0, scenes.london_is_dark),
            (75.0, scenes.nothing),
        ),
        first=HOSTS_CARRY_FROM,
        only=scenes.has_plain_backbone,
    ),
    "hosts are not told of dials": Mutation(
        where="anypop.control.state.dialled",
        change=always(()),
        caught_by=of(12),
        script=((12.0, _turn("AMS", 20)), (14.0, scenes.nothing)),
        first=HOSTS_CARRY_FROM,
        only=scenes.has_plain_backbone,
    ),
    "a dial that was taken back goes on": Mutation(
        where="anypop.agent.decide.converge.dials.steers_for",
        change=lambda right: lambda facts, now: facts.observed.memory.steers or right(facts, now),
        caught_by=of(7, 12),
        script=((12.0, _turn("AMS", 20)), (14.0, _turn("AMS", 100)), (16.0, scenes.nothing)),
        first=HOSTS_CARRY_FROM,
        only=scenes.has_plain_backbone,
    ),
    "a PoP sheds although all others are full": Mutation(
        where="anypop.control.shedding.keeps_now",
        change=_without_limits,
        caught_by=of(19),
        script=(
            (6.0, lambda platform, dice: is_busy(platform, dice, platform.cities)),
            (7.0, lambda platform, dice: sheds(platform, "AMS")),
            (12.0, scenes.nothing),
        ),
        first=HOSTS_CARRY_FROM,
        only=scenes.has_backbone,
    ),
}

FEATURE = Feature(
    where_hosts_carry=((8, dials), (3, lets_a_pop_shed)),
    at_step=(what_leaves_has_somewhere_to_go,),
    at_control=(nobody_sheds_to_the_full,),
    now_and_then=(what_left_is_answered, dials_are_in_force),
    at_the_end=(every_host_knows_every_dial,),
    mutations=MUTATIONS,
)
