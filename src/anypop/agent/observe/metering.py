"""The parts of a row of metrics: instances, anycast addresses, sessions, tunnels, the agent itself.

In: what the agent knows at this moment (`Known`), and the kernel's counters. Out: of each part its series, the same
object as long as they are the same, and a value for each of them in that order. Values are whole numbers
(`Metric.per_unit` of them are one unit); None: not measured. It keeps nothing on disk and decides nothing.
"""

import os
import resource
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from itertools import chain
from typing import Any

from anypop.agent.act.network import guard, traffic
from anypop.agent.act.network.guard import Carried
from anypop.agent.act.network.netlink import NETFILTER, Netlink
from anypop.agent.decide.elements import ContainerSeen, ContainerState
from anypop.agent.naming import TUNNEL, link_of
from anypop.agent.observe.groups import Figures, Groups
from anypop.agent.observe.interfaces import Interfaces, Passed
from anypop.model.errors import WorldError
from anypop.model.metrics import (
    AGENT_CPU,
    AGENT_LOST,
    AGENT_MEMORY,
    AGENT_TIERS,
    ANYCAST,
    CPU,
    INSTANCE,
    MICROS,
    SESSION_BFD,
    SESSION_FLAPS,
    SESSION_PREFIXES,
    SESSION_UP,
    THROTTLED,
    SeriesKey,
)
from anypop.model.metrics import (
    TUNNEL as OF_TUNNEL,
)
from anypop.model.order import InstanceOrder, Order
from anypop.model.report import SessionReport

Series = tuple[SeriesKey, ...]
Values = Sequence[int | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What the agent's event loop knows. `instances`: those ordered and those that leave; `took_us`: the longest of an
    incarnation's last answers; `bfd`: whether it hears the neighbour, by upstream and family; `lost`, `tiers`: of what
    is kept.
    """

    order: Order | None
    instances: Sequence[InstanceOrder] = ()
    containers: Sequence[ContainerSeen] = ()
    took_us: Mapping[str, int] = field(default_factory=dict)
    sessions: Sequence[SessionReport] = ()
    bfd: Mapping[tuple[str, int], bool] = field(default_factory=dict)
    lost: int = 0
    tiers: Mapping[str, int] = field(default_factory=dict)


class Labels:
    """Those that every series of a host has, and series made with them."""

    def __init__(self, pop: str, host: str) -> None:
        self._of_host = {"pop": pop, "host": host}

    def series(self, names: Iterable[str], **labels: str) -> Series:
        row = tuple(sorted((self._of_host | labels).items()))
        return tuple(SeriesKey(name, row) for name in names)

    def of_instance(self, names: Iterable[str], order: InstanceOrder | None, **more: str) -> Series:
        """None: of none of this host."""
        return self.series(
            names,
            stack=order.stack_id if order else "",
            workload=order.workload_id if order else "",
            instance=order.name if order else "",
            incarnation=order.uid if order else "",
            **more,
        )


class Instances:
    """Those that have a container that runs, or a link. A container that was started anew has a control group that
    begins at nothing: what those before it have used is kept in `used`, by uid.
    """

    def __init__(self, labels: Labels) -> None:
        self._labels, self._groups = labels, Groups()
        self.used: dict[str, tuple[int, int]] = {}
        self._last: dict[str, dict[tuple[str, int], Figures]] = {}
        self._there: list[InstanceOrder] = []
        self._of: dict[str, tuple[InstanceOrder, Series]] = {}
        self._series: Series = ()
        self._before: dict[str, tuple[frozenset[tuple[str, int]], int, int]] = {}
        self._changed = False
        self._containers: Sequence[ContainerSeen] | None = None
        self._running: dict[str, list[tuple[str, int]]] = {}
        self._restarts: dict[str, int] = {}

    def restore(self, lives: Mapping[str, Any], last: Mapping[SeriesKey, int]) -> None:
        """What `news` of an agent before this one said, and the last row that it kept."""
        told = {
            (dict(key.labels).get("incarnation"), key.name): value
            for key, value in last.items()
            if key.name in (CPU, THROTTLED)
        }
        for uid, life in lives.items():
            with suppress(LookupError, TypeError, ValueError):
                cpu, throttled = life["used"]
                places = frozenset((str(id_), int(pid)) for id_, pid in life["places"])
                if cpu or throttled:
                    self.used[uid] = int(cpu), int(throttled)
                self._before[uid] = places, told.get((uid, CPU), 0), told.get((uid, THROTTLED), 0)

    def news(self) -> dict[str, Any] | None:
        """What an agent after this one has to know; None: the same as the last time."""
        if not self._changed:
            return None
        self._changed = False
        uids = self.used.keys() | self._last.keys()
        return {
            uid: {"used": self.used.get(uid, (0, 0)), "places": sorted(self._last.get(uid, ()))} for uid in sorted(uids)
        }

    def read(self, known: Known, links: Mapping[str, Passed]) -> tuple[Series, list[int | None]]:
        if known.containers is not self._containers:  # else nobody has looked at them since
            self._containers = known.containers
            self._running, self._restarts = _running(known.containers), _restarts(known.containers)
        running, restarts = self._running, self._restarts
        figures = self._groups.read([place for places in running.values() for place in places])
        there, values = list[InstanceOrder](), list[int | None]()
        for order in known.instances:
            own = [links[name] for n in range(len(order.links)) if (name := link_of(order.uid, n)) in links]
            places = running.get(order.uid, ())
            if not own and not places:
                continue
            there.append(order)
            values += self._processor(order.uid, {p: figures[p] for p in places})
            values += _passed(own)
            values.append(restarts.get(order.uid))
            values.append(known.took_us.get(order.uid))
        uids = {order.uid for order in known.instances}
        if not self.used.keys() | self._last.keys() <= uids:
            self.used, self._changed = {u: used for u, used in self.used.items() if u in uids}, True
            self._last = {u: last for u, last in self._last.items() if u in uids}
        return self._series_of(there), values

    def _processor(self, uid: str, now: Mapping[tuple[str, int], Figures]) -> list[int | None]:
        """Processor time, waiting, memory; sums over containers, those that are gone too."""
        before = self._last.get(uid, {})
        if len(now) == 1 and before.keys() == now.keys() and uid not in self.used and uid not in self._before:
            (figures,) = now.values()  # the same container as a second ago, its first one: nothing is to be added up
            if figures.cpu_us is not None:
                self._last[uid] = dict(now)
                return list(figures)
        self._changed |= before.keys() != now.keys()
        if uid in self._before:
            self._make_up(uid, now)
        gone = [figures for place, figures in before.items() if place not in now]
        cpu, throttled = self.used.get(uid, (0, 0))
        if gone:
            cpu += sum(f.cpu_us or 0 for f in gone)
            throttled += sum(f.throttled_us or 0 for f in gone)
            self.used[uid] = cpu, throttled
        # one that was read for the last time just before its end tells nothing more
        self._last[uid] = {p: f if f.cpu_us is not None else before.get(p, f) for p, f in now.items()}
        told = [f for f in self._last[uid].values() if f.cpu_us is not None]
        counted = bool(told) or uid in self.used
        memory = [f.memory for f in now.values() if f.memory is not None]
        return [
            cpu + sum(f.cpu_us or 0 for f in told) if counted else None,
            throttled + sum(f.throttled_us or 0 for f in told)
            if any(f.throttled_us is not None for f in told) or (counted and throttled) else None,
            sum(memory) if memory else None,
        ]  # fmt: skip

    def _make_up(self, uid: str, now: Mapping[tuple[str, int], Figures]) -> None:
        """Where a container has ended while no agent was here, the sum goes on from the last one that was kept."""
        places, cpu, throttled = self._before.pop(uid)
        if places <= now.keys():
            return
        stay = [figures for place, figures in now.items() if place in places]
        used = self.used.get(uid, (0, 0))
        self.used[uid] = (
            max(used[0], cpu - sum(f.cpu_us or 0 for f in stay)),
            max(used[1], throttled - sum(f.throttled_us or 0 for f in stay)),
        )
        self._changed = True

    def _series_of(self, there: list[InstanceOrder]) -> Series:
        if there == self._there:
            return self._series
        self._there = there
        self._of = {
            o.uid: known if (known := self._of.get(o.uid)) is not None and known[0] is o else (
                o, self._labels.of_instance(INSTANCE, o)
            )
            for o in there
        }  # fmt: skip
        series = tuple(chain.from_iterable(rows for _, rows in self._of.values()))
        if series != self._series:
            self._series = series
        return self._series

    def close(self) -> None:
        self._groups.close()


def _running(containers: Iterable[ContainerSeen]) -> dict[str, list[tuple[str, int]]]:
    found: dict[str, list[tuple[str, int]]] = {}
    for seen in containers:
        if seen.state is ContainerState.RUNNING and seen.pid and seen.id:
            found.setdefault(seen.uid, []).append((seen.id, seen.pid))
    return found


def _restarts(containers: Iterable[ContainerSeen]) -> dict[str, int]:
    found: dict[str, int] = {}
    for seen in containers:
        found[seen.uid] = found.get(seen.uid, 0) + seen.past.restarts
    return found


def _passed(own: Sequence[Passed]) -> list[int | None]:
    """As the instance sees it, of all its links."""
    if not own:
        return [None] * 4
    if len(own) == 1:
        return [own[0].sent, own[0].received, own[0].sent_packets, own[0].received_packets]
    return [
        sum(p.sent for p in own),
        sum(p.received for p in own),
        sum(p.sent_packets for p in own),
        sum(p.received_packets for p in own),
    ]


class Anycast:
    """What this host led to the members of each anycast address."""

    def __init__(self, labels: Labels, prefix: str) -> None:
        self._labels, self._prefix = labels, prefix
        self._net: Netlink | None = None
        self._of: dict[traffic.Place, tuple[InstanceOrder | None, Series]] = {}
        self._series: Series = ()
        self._follows: tuple[object, ...] = (None, (), ())  # what the last values follow from
        self._values: list[int | None] = []
        self._passed: int | None = None
        self._counted: Mapping[traffic.Place, traffic.Led] = {}

    def read(self, known: Known, links: Collection[str]) -> tuple[Series, list[int | None]]:
        """A host whose kernel does not count tells nothing."""
        backbone = known.order.backbone if known.order is not None else None
        carried = backbone.carried if backbone is not None else ()
        members = {link_of(order.uid): order for order in known.instances}
        try:
            self._net = self._net or Netlink(NETFILTER)
            counted = self._newest(self._net)
            gone = [p for p in counted if p[0] != TUNNEL and p[0] not in links]
            if gone:
                self._passed = None
                traffic.forget(self._net, self._prefix, gone)
        except (WorldError, OSError):
            counted = {}
        follows = counted, known.instances, carried
        if follows[0] is self._follows[0] and follows[1:] == self._follows[1:]:
            return self._series, self._values
        of, values = dict[traffic.Place, tuple[InstanceOrder | None, Series]](), list[int | None]()
        for place, led in sorted(counted.items(), key=lambda item: (item[0][0], item[0][1].version, item[0][1])):
            link, address = place
            member = members.get(link)
            if link == TUNNEL:
                if not any(address in prefix for prefix in carried):
                    continue  # an instance's own address at another host
            elif member is None or address not in member.anycast:
                continue
            was = self._of.get(place)
            of[place] = was if was is not None and was[0] is member else (
                member,
                self._labels.of_instance(ANYCAST, member, address=str(address), member=_name(member)),
            )  # fmt: skip
            values += (led.octets, led.packets, led.flows)
        self._of = of
        series = tuple(chain.from_iterable(rows for _, rows in of.values()))
        if series != self._series:
            self._series = series
        self._follows, self._values = follows, values
        return self._series, values

    def _newest(self, net: Netlink) -> Mapping[traffic.Place, traffic.Led]:
        """What was counted so far, which is asked for when a packet has passed since the last time."""
        passed = traffic.passed(net, self._prefix)
        if passed is None or passed != self._passed:
            self._passed, self._counted = None, traffic.read(net, self._prefix)
            self._passed = passed
        return self._counted

    def close(self) -> None:
        if self._net is not None:
            self._net.close()


def _name(member: InstanceOrder | None) -> str:
    return member.name if member is not None else "tunnel"


class Sessions:
    """BGP sessions, and how often each was lost since the agent began."""

    def __init__(self, labels: Labels) -> None:
        self._labels = labels
        self._stood: dict[tuple[str, int], tuple[bool, float | None]] = {}
        self._lost: dict[tuple[str, int], int] = {}
        self._keys: tuple[tuple[str, int, bool], ...] | None = None
        self._series: Series = ()

    def read(self, known: Known) -> tuple[Series, list[int | None]]:
        values = list[int | None]()
        keys = tuple((s.upstream, s.family, (s.upstream, s.family) in known.bfd) for s in known.sessions)
        for session in known.sessions:
            way = session.upstream, session.family
            up = session.state == "established"
            was_up, since = self._stood.get(way, (False, None))
            if was_up and (not up or session.since != since):
                self._lost[way] = self._lost.get(way, 0) + 1
            self._stood[way] = up, session.since
            values += (int(up), session.imported, session.exported, self._lost.get(way, 0))
            if way in known.bfd:
                values.append(int(known.bfd[way]))
        if keys != self._keys:
            self._keys, self._series = keys, tuple(chain.from_iterable(self._of(*key) for key in keys))
        return self._series, values

    def _of(self, upstream: str, family: int, bfd: bool) -> Series:
        labels = {"upstream": upstream, "family": str(family)}
        series = self._labels.series
        return (
            *series((SESSION_UP,), **labels),
            *series((SESSION_PREFIXES,), direction="in", **labels),
            *series((SESSION_PREFIXES,), direction="out", **labels),
            *series((SESSION_FLAPS,), **labels),
            *(series((SESSION_BFD,), **labels) if bfd else ()),
        )


class Tunnels:
    """What went by the tunnels to and from each other host."""

    def __init__(self, labels: Labels, prefix: str) -> None:
        self._labels, self._prefix = labels, prefix
        self._keys: tuple[str, ...] = ()
        self._series: Series = ()

    def read(self, known: Known) -> tuple[Series, list[int | None]]:
        backbone = known.order.backbone if known.order is not None else None
        counted: Mapping[IPv4Address, Carried] = {}
        if backbone is not None and backbone.peers:
            with suppress(WorldError, OSError):
                counted = guard.counted(self._prefix)
        there = [(p.host, counted[p.address]) for p in backbone.peers if p.address in counted] if backbone else []
        keys = tuple(host for host, _ in there)
        if keys != self._keys:
            self._keys = keys
            self._series = tuple(chain.from_iterable(self._labels.series(OF_TUNNEL, peer=host) for host in keys))
        rows = [(c.received, c.sent, c.received_packets, c.sent_packets) for _, c in there]
        return self._series, list(chain.from_iterable(rows))


class Own:
    """Of the agent's own process."""

    def __init__(self, labels: Labels) -> None:
        self._labels = labels
        self._tiers: tuple[str, ...] | None = None
        self._series: Series = ()
        self._page = resource.getpagesize()
        self._file = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)

    def read(self, known: Known) -> tuple[Series, list[int | None]]:
        if tuple(known.tiers) != self._tiers:
            self._tiers, series = tuple(known.tiers), self._labels.series
            tiers = chain.from_iterable(series((AGENT_TIERS,), tier=tier) for tier in self._tiers)
            self._series = (*series((AGENT_CPU, AGENT_MEMORY, AGENT_LOST)), *tiers)
        resident = int(os.pread(self._file, 100, 0).split()[1]) * self._page
        return self._series, [int(time.process_time() * MICROS), resident, known.lost, *known.tiers.values()]

    def close(self) -> None:
        os.close(self._file)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """All of a host."""

    instances: Instances
    anycast: Anycast
    sessions: Sessions
    tunnels: Tunnels
    own: Own
    links: Interfaces

    @classmethod
    def of(cls, *, pop: str, host: str, prefix: str) -> "Parts":
        labels = Labels(pop, host)
        return cls(
            instances=Instances(labels), anycast=Anycast(labels, prefix), sessions=Sessions(labels),
            tunnels=Tunnels(labels, prefix), own=Own(labels), links=Interfaces(),
        )  # fmt: skip

    def read(self, known: Known) -> list[tuple[Series, list[int | None]]]:
        """Everything once. Blocking, for a millisecond and some ten microseconds for each instance."""
        links = self.links.read()
        return [
            self.instances.read(known, links),
            self.anycast.read(known, links.keys()),
            self.sessions.read(known),
            self.tunnels.read(known),
            self.own.read(known),
        ]

    def close(self) -> None:
        self.instances.close()
        self.anycast.close()
        self.own.close()
        self.links.close()
