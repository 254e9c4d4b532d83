"""What the agent remembers between two looks at the world: times, tries, deaths. One frozen value, moved by pure
functions.

In: events (a process died, a step was done or failed, a look was taken), each with its time. Out: the next `Memory`.
It may be lost at any moment: all that must outlive the agent stands in the world itself, on disk, in labels or in
names.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address
from types import MappingProxyType
from typing import TypeVar

from anypop.agent.decide import flaps
from anypop.agent.decide.back_off import BackOff
from anypop.agent.decide.backbone import LINGER, Tunnel
from anypop.agent.decide.elements import (
    ContainerSeen,
    ContainerState,
    Ending,
    Firewall,
    Joining,
    Key,
    Member,
    Past,
    SpeakerConfig,
    Steer,
    TunnelGuard,
)
from anypop.agent.decide.flaps import Uplink, Way
from anypop.agent.decide.images import EMPTY, ImageBook, dropped, proved
from anypop.agent.decide.inside import Inside
from anypop.agent.decide.repeats import Asked, asked_for
from anypop.agent.decide.steps import (
    BeginDrain,
    CreateContainer,
    DropImage,
    EndDrain,
    FitLink,
    MakeNamespace,
    PrepareRouter,
    PullImage,
    RunHook,
    SetFirewall,
    SetGuard,
    SetInside,
    SetJoinings,
    SetSteering,
    SetTunnel,
    StartContainer,
    Step,
)
from anypop.agent.naming import short
from anypop.model.announce import Address, Prefix
from anypop.model.reasons import Reason
from anypop.model.report import Milestone, SessionReport

V = TypeVar("V")
NO_GROUPS: Mapping[Address, Collection[Member]] = MappingProxyType({})

STEADY_S = 60.0  # a container that ran this long starts its restart back-off anew
RESTART = BackOff(first_s=0.1, longest_s=60)
RETRY = BackOff(first_s=0.2, longest_s=60)
PULL = BackOff(first_s=1, longest_s=120)  # registries limit how often one may ask


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """A lane that failed: why, and when it may be tried again."""

    reason: Reason
    message: str
    until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Restarts:
    """Deaths of one container in a row, and when it may be started again."""

    failures: int
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """See the module.

    `router_ready`: the kernel settings were right when last looked at; `firewall`: the rules that nft was last known
    to have loaded; `tunnel`: the tunnel that was last made, and `tunnel_ready` whether all of it was right when last
    looked at; `guard`, `guard_known`: the same of the rules that guard it; `unfit`: incarnations whose link lacked
    something; `inside`: what the namespace of each incarnation was last known to hold. `images`: those that are here,
    with the time of the last pull that an instance asked for (0: none); `book`: which of them may go one day;
    `idle_images`: those that nobody needs, and since when.

    `found`: containers that ran before this agent did, with their pids; `dead`: ids and pids of processes whose end we
    know. `pasts`: what the next life of a container will carry. `hooked`: ids of containers whose hook has been run
    well, `hook_failed` those where it was not, and why; `started`: those whose startup probe was answered. `trouble`
    holds the lanes that rest; `failures` counts in a row, also of those that a new order let off their rest. `asked`:
    what each lane was last asked for.
    `steers`: what becomes of flows by dials, as it was last loaded (None: not known); `steered_since`: since when
    there is a way for those that leave. `joinings`, `joined_since`: the same of flows that go to newcomers, or are
    learnt for one that is to come.
    `lingering`: other hosts that are needed no more for an address and keep the flows that they have, and since when.
    `returned_at`: when this host came back after its machine was dead (None: it did not); since then `well_since` tells
    of prefixes since when all of their instances here serve. `milestones`: the first time of each, of incarnations
    whose namespace this agent has made.
    """

    router_ready: bool = False
    firewall: Firewall | None = None
    tunnel: Tunnel | None = None
    tunnel_ready: bool = True
    guard: TunnelGuard | None = None
    guard_known: bool = True
    inside: Mapping[str, Inside] = field(default_factory=dict)
    unfit: frozenset[str] = frozenset()
    images: Mapping[str, float] = field(default_factory=dict)
    book: ImageBook = EMPTY
    idle_images: Mapping[str, float] = field(default_factory=dict)
    ordered_at: Mapping[str, float] = field(default_factory=dict)
    found: frozenset[tuple[Key, int]] = frozenset()
    dead: frozenset[tuple[str, int]] = frozenset()
    restarts: Mapping[Key, Restarts] = field(default_factory=dict)
    pasts: Mapping[Key, Past] = field(default_factory=dict)
    hooked: frozenset[str] = frozenset()
    hook_failed: Mapping[str, str] = field(default_factory=dict)
    started: frozenset[str] = frozenset()
    graceful_since: Mapping[tuple[Prefix, str], float] = field(default_factory=dict)
    draining_since: Mapping[str, float] = field(default_factory=dict)
    drained: frozenset[str] = frozenset()
    lingering: Mapping[tuple[Address, IPv4Address], float] = field(default_factory=dict)
    steers: tuple[Steer, ...] | None = ()
    steered_since: Mapping[Address, float] = field(default_factory=dict)
    joinings: tuple[Joining, ...] | None = ()
    joined_since: Mapping[Address, float] = field(default_factory=dict)
    returned_at: float | None = None
    well_since: Mapping[Prefix, float] = field(default_factory=dict)
    uplinks: Mapping[Way, Uplink] = field(default_factory=dict)
    trouble: Mapping[str, Trouble] = field(default_factory=dict)
    failures: Mapping[str, int] = field(default_factory=dict)
    asked: Mapping[str, Asked] = field(default_factory=dict)
    milestones: Mapping[str, Mapping[Milestone, float]] = field(default_factory=dict)

    def restart_at(self, key: Key) -> float:
        """When a container may be started (again); 0: at once."""
        restarts = self.restarts.get(key)
        return restarts.at if restarts else 0.0


NOTHING = Memory()


def began(containers: Iterable[ContainerSeen], memory: Memory) -> Memory:
    """The agent has just started and found these."""
    return replace(memory, found=frozenset((c.key, c.pid) for c in containers if c.state is ContainerState.RUNNING))


def looked(
    memory: Memory, *, containers: Collection[ContainerSeen], speaker: SpeakerConfig | None, pins: Collection[str],
    uids: Iterable[str], now: float, started: Collection[str] = (),
) -> Memory:  # fmt: skip
    """A look was taken. `pins`: what is pinned, by short uid; `uids`: all incarnations that the ledger knows;
    `started`: ids of containers whose startup probe has been answered since the last look.
    """
    fading = {(e.prefix, e.upstream) for e in speaker.exports if e.graceful} if speaker else set()
    graceful = {key: memory.graceful_since.get(key, now) for key in fading}
    ordered = {uid: memory.ordered_at.get(uid, now) for uid in uids}
    draining = {uid: now for uid in ordered if short(uid) in pins} | dict(memory.draining_since)
    ids, buried = {c.id for c in containers}, {id_ for id_, _ in memory.dead}
    done = {c.key: c for c in containers if c.has_completed}
    if done:  # what has completed has not died, whatever its process looked like at first
        memory = replace(memory, restarts={key: r for key, r in memory.restarts.items() if key not in done})
    over = [c for c in containers if c.state is ContainerState.EXITED and c.key not in done]
    for container in over:
        if container.id not in buried:  # it ended before anybody saw it run: that counts as a death all the same
            reason = Reason.OUT_OF_MEMORY if container.out_of_memory else Reason.EXITED
            memory = process_died(container, reason, memory, now)
    pasts = dict(memory.pasts)
    for container in over:
        pasts[container.key] = _ended(container, pasts.get(container.key))
    for container in done.values():
        pasts[container.key] = _ended(container, None)
    dead = frozenset(d for d in memory.dead if d[0] in ids)
    return replace(
        memory, graceful_since=graceful, ordered_at=ordered, draining_since=draining, pasts=pasts, dead=dead,
        hooked=memory.hooked & ids, started=(memory.started | frozenset(started)) & ids,
        hook_failed={id_: why for id_, why in memory.hook_failed.items() if id_ in ids},
    )  # fmt: skip


def groups_seen(
    memory: Memory, balanced: Mapping[Address, Collection[Member]], now: float, *,
    away: Mapping[Address, Collection[Member]] = NO_GROUPS, newcomers: Collection[Address] = (),
) -> Memory:  # fmt: skip
    """The groups as they are: other hosts in them that linger. `away`: for what leaves by dials; `newcomers`: addresses
    with ways to some.
    """
    groups = (*balanced.items(), *away.items())
    those = {(a, m.peer) for a, members in groups for m in members if m.peer and m.weight == LINGER}
    found = {key: memory.lingering.get(key, now) for key in those}
    if found or memory.lingering:
        memory = replace(memory, lingering=found)
    if away or memory.steered_since:
        memory = replace(memory, steered_since={a: memory.steered_since.get(a, now) for a in away})
    joined = {*newcomers, *(j.address for j in memory.joinings or ())}
    if joined or memory.joined_since:
        memory = replace(memory, joined_since={a: memory.joined_since.get(a, now) for a in joined})
    return memory


def wellness_seen(memory: Memory, well: Collection[Prefix], now: float) -> Memory:
    """Which prefixes are well; asked of a host that came back."""
    found = {prefix: memory.well_since.get(prefix, now) for prefix in well}
    return replace(memory, well_since=found) if found != memory.well_since else memory


def sessions_seen(
    memory: Memory, sessions: Collection[SessionReport], *, speaks: bool, now: float
) -> Memory:  # fmt: skip
    """The sessions as they were last told. `speaks`: a speaker runs."""
    uplinks = flaps.looked(memory.uplinks, sessions, now) if speaks else flaps.speaker_gone(memory.uplinks)
    return replace(memory, uplinks=uplinks) if uplinks != memory.uplinks else memory


def undrained(uids: Collection[str], memory: Memory) -> Memory:
    """These have their traffic again: should they drain once more, their time begins anew."""
    if not uids:
        return memory
    return replace(
        memory, draining_since=_without(memory.draining_since, uids), drained=memory.drained.difference(uids)
    )


def _ended(seen: ContainerSeen, known: Past | None) -> Past:
    """What the successor of an ended container carries; the runtime learns of an end later than we do, and knows more
    about it.
    """
    restarts = seen.past.restarts + 1
    before = known.last if known is not None and known.restarts == restarts else None
    usual = Reason.COMPLETED if seen.has_completed else Reason.EXITED
    reason = Reason.OUT_OF_MEMORY if seen.out_of_memory else before.reason if before else usual
    at = seen.finished_at if seen.finished_at is not None else before.at if before else None
    message = seen.message or (before.message if before is not None else "")
    last = Ending(reason=reason, code=seen.exit_code, at=at, message=message)
    return Past(restarts=restarts, last=last, image=seen.image, confinement=seen.confinement)


def process_died(seen: ContainerSeen, reason: Reason, memory: Memory, now: float) -> Memory:
    """The process of a container that ran is gone just now. `reason`: EXITED, or why we ended it."""
    if reason is Reason.POWERED_OFF:  # no failure, and no life is over: it goes on with the same disks
        return replace(memory, dead=memory.dead | {(seen.id, seen.pid)})
    before = memory.restarts.get(seen.key)
    # Since it might be started, by our own clock: the runtime's times follow the wall, which may have been set.
    steady = before is not None and now - before.at > STEADY_S
    failures = before.failures if before and not steady else 0
    last = Ending(reason=reason, at=now, message=memory.hook_failed.get(seen.id, ""))
    past = Past(restarts=seen.past.restarts + 1, last=last, image=seen.image, confinement=seen.confinement)
    return replace(
        memory,
        dead=memory.dead | {(seen.id, seen.pid)},
        restarts={**memory.restarts, seen.key: Restarts(failures=failures + 1, at=now + RESTART.wait_s(failures))},
        pasts={**memory.pasts, seen.key: past},
    )


def as_known(seen: ContainerSeen, memory: Memory) -> ContainerSeen:
    """The container as it is by all that we know: the runtime learns of a death some time after we do."""
    if seen.state is ContainerState.RUNNING and (seen.id, seen.pid) in memory.dead:
        return replace(seen, state=ContainerState.EXITED, pid=0, exit_code=None, finished_at=None)
    return seen


def taken(steps: Iterable[Step], memory: Memory, busy: Collection[str], now: float) -> Memory:
    """A pass takes these steps; the lanes in `busy` still have theirs from before."""
    asked = asked_for(steps, memory.asked, busy, now)
    return memory if asked is memory.asked else replace(memory, asked=asked)


def step_done(step: Step, memory: Memory, now: float) -> Memory:
    """A step has had its effect; remembers what no later look can find out by itself."""
    match step:
        case MakeNamespace():
            begun = {Milestone.ORDERED: memory.ordered_at.get(step.uid, now), Milestone.NAMESPACE: now}
            return replace(memory, milestones={step.uid: begun, **memory.milestones})
        case CreateContainer():
            return _passed(step.instance.uid, Milestone.CREATED, memory, now)
        case RunHook():
            return replace(memory, hooked=memory.hooked | {step.id})
        case StartContainer():
            return _passed(step.uid, Milestone.STARTED, memory, now)
        case PrepareRouter():
            return replace(memory, router_ready=True)
        case SetFirewall():
            return replace(memory, firewall=step.rules)
        case SetTunnel():
            return replace(memory, tunnel=step.tunnel, tunnel_ready=True)
        case SetGuard():
            return replace(memory, guard=step.rules, guard_known=True)
        case SetSteering():
            return replace(memory, steers=step.steers)
        case SetJoinings():
            return replace(memory, joinings=step.joinings)
        case SetInside():
            return replace(memory, inside={**memory.inside, step.uid: step.inside})
        case FitLink():
            return replace(memory, unfit=memory.unfit - {step.instance.uid})
        case PullImage():
            at = now if step.anew else memory.images.get(step.image, 0.0)
            book = proved(memory.book, step.image, step.whose) if step.anew else memory.book
            return replace(memory, images={**memory.images, step.image: at}, book=book)
        case DropImage():
            kept = {image: at for image, at in memory.images.items() if image != step.image}
            return replace(memory, images=kept, book=dropped(memory.book, step.image))
        case BeginDrain():
            return replace(memory, draining_since={step.uid: now, **memory.draining_since})
        case EndDrain(drained=True):
            return replace(memory, drained=memory.drained | {step.uid})
        case _:
            return memory


def _passed(uid: str, milestone: Milestone, memory: Memory, now: float) -> Memory:
    """The first time counts, of containers the last of the first lives."""
    times = memory.milestones.get(uid)
    if times is None or Milestone.HEALTHY in times:
        return memory
    kept = {**times, milestone: now}
    kept.pop(Milestone.PROBED, None)  # another process is asked anew
    return replace(memory, milestones={**memory.milestones, uid: kept})


def step_failed(step: Step, message: str, memory: Memory, now: float) -> Memory:
    """A step failed, and with it its lane, which now rests; longer each time."""
    pull, payload = isinstance(step, PullImage), isinstance(step, CreateContainer | StartContainer)
    reason = Reason.PULL_FAILED if pull else Reason.CREATE_FAILED if payload else Reason.BACK_OFF
    count = memory.failures.get(step.lane, 0)
    until = now + (PULL if pull else RETRY).wait_s(count)
    draining, images = memory.draining_since, memory.images
    if isinstance(step, RunHook):
        return replace(memory, hook_failed={**memory.hook_failed, step.id: message})
    if isinstance(step, BeginDrain):  # its time runs all the same: nobody waits for ever
        draining = {step.uid: now, **draining}
    if isinstance(step, CreateContainer):  # perhaps somebody removed its image: ask for it again
        images = {image: at for image, at in images.items() if image != step.container.image_key}
    return replace(
        memory,
        draining_since=draining,
        images=images,
        asked=_without(memory.asked, {step.lane}),  # it rests as one that failed
        failures={**memory.failures, step.lane: count + 1},
        trouble={**memory.trouble, step.lane: Trouble(reason=reason, message=message, until=until)},
    )


def lane_succeeded(lane: str, memory: Memory) -> Memory:
    if lane not in memory.failures and lane not in memory.trouble:
        return memory
    return replace(memory, failures=_without(memory.failures, {lane}), trouble=_without(memory.trouble, {lane}))


def order_changed(lanes: Collection[str], memory: Memory, *, dropped: Collection[str] = ()) -> Memory:
    """What failed in lanes that a new order has changed deserves a try at once; the others rest on: an order for
    somebody else's sake is no reason to ask a registry again. `dropped`: lanes that let go of steps they had not done.
    """
    asked = _without(memory.asked, {*lanes, *dropped})
    return replace(memory, trouble=_without(memory.trouble, lanes), asked=asked)


def checked(*, router_ready: bool, unfit: frozenset[str], wrong: Collection[str], memory: Memory) -> Memory:
    """What a full look found: whether the kernel's settings are right, which links lack something, and uids whose
    namespace has not what it should.
    """
    return replace(memory, router_ready=router_ready, unfit=unfit, inside=_without(memory.inside, wrong))


def tunnel_checked(memory: Memory, tunnel: Tunnel | None, *, ready: bool) -> Memory:
    """Whether the tunnel was found in the kernel as it must be."""
    return replace(memory, tunnel=tunnel, tunnel_ready=ready)


def guard_doubted(memory: Memory) -> Memory:
    """The rules that guard the tunnels are not those that we loaded."""
    return replace(memory, guard=None, guard_known=False)


def steering_doubted(memory: Memory) -> Memory:
    """The rules of dials are not those that we loaded."""
    return replace(memory, steers=None)


def joinings_doubted(memory: Memory) -> Memory:
    """The rules for newcomers are not those that we loaded."""
    return replace(memory, joinings=None)


def firewall_doubted(memory: Memory) -> Memory:
    """The firewall is not what we loaded."""
    return replace(memory, firewall=None)


def forgotten(uid: str, memory: Memory) -> Memory:
    """An incarnation is gone for good."""
    return replace(
        memory,
        inside=_without(memory.inside, {uid}),
        ordered_at=_without(memory.ordered_at, {uid}),
        milestones=_without(memory.milestones, {uid}),
        draining_since=_without(memory.draining_since, {uid}),
        drained=memory.drained - {uid},
        restarts={key: value for key, value in memory.restarts.items() if key[0] != uid},
        pasts={key: value for key, value in memory.pasts.items() if key[0] != uid},
        found=frozenset(f for f in memory.found if f[0][0] != uid),
    )


def _without(table: Mapping[str, V], keys: Collection[str]) -> dict[str, V]:
    return {key: value for key, value in table.items() if key not in keys}
