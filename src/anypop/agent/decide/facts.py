"""Order and observation, joined once for a pass: every question that `converge`, speaker, firewall and report ask is
a look-up here.

In: the order, `Observed`. Out: `Facts`: indexes, each worked out when first asked for and then kept, so that a pass
costs work in proportion to the number of instances. Pure. It says what there is and who is fit to serve; who then
gets traffic is said in `traffic`.
"""

from collections import defaultdict
from collections.abc import Mapping
from functools import cached_property, lru_cache

from anypop.agent.decide.backbone import Carriers, Sibling, Tunnel, error_ways_away, guard_for, tunnel_for
from anypop.agent.decide.elements import ContainerSeen, ContainerState, Export, Firewall, Leaving, TunnelGuard
from anypop.agent.decide.error_ways import ErrorWay, error_table
from anypop.agent.decide.firewall import firewall_for
from anypop.agent.decide.gateways import GatewayWay, ways
from anypop.agent.decide.observed import Observed
from anypop.agent.decide.siblings import elsewhere, network_of, told_of
from anypop.agent.decide.steps import instance_lane
from anypop.agent.naming import short
from anypop.model.announce import Address, Announcement, Mode, Prefix
from anypop.model.names import HostName
from anypop.model.order import Grant, InstanceOrder, Order
from anypop.model.peering import UpstreamKind

PIN_TRIES = 5  # some six seconds: a host on which nft does not work any more must still be able to remove an instance


@lru_cache(maxsize=1 << 16)  # by it all external routes and announcements are sorted in each pass
def text_of(prefix: Prefix) -> str:
    return str(prefix)


_NO_GATES = frozenset[Address]()


class _Firewalls:
    """The rules follow from the order and from who leaves alone, and both stay the same for most passes."""

    def __init__(self) -> None:
        # of a host: an agent's process has one, and one that simulates many lets them take turns
        self._last: dict[HostName, tuple[Order, tuple[InstanceOrder, ...], Firewall]] = {}

    def of(self, order: Order, leaving: tuple[InstanceOrder, ...]) -> Firewall:
        """Those of the host's last pass where nothing that they follow from is another object."""
        if (last := self._last.get(order.host)) is not None:
            known, left, rules = last
            if known is order and len(left) == len(leaving) and all(a is b for a, b in zip(left, leaving, strict=True)):
                return rules
        rules = firewall_for(order, {i.uid: i for i in (*leaving, *order.instances)}.values())
        self._last[order.host] = order, leaving, rules
        return rules


_FIREWALLS = _Firewalls()


class Facts:
    """See the module. An instance is known here by its uid, or by `short(uid)` where the kernel's names are meant."""

    def __init__(self, order: Order, observed: Observed) -> None:
        self.order = order
        self.observed = observed

    @cached_property
    def going(self) -> Mapping[str, Leaving]:
        """Incarnations under removal."""
        return {leaving.removal.uid: leaving for leaving in self.observed.leaving}

    @cached_property
    def going_shorts(self) -> frozenset[str]:
        """The same by the names of their links."""
        return frozenset(short(uid) for uid in self.going)

    @cached_property
    def staying(self) -> tuple[InstanceOrder, ...]:
        """The instances of the order that nobody asked to remove."""
        return tuple(i for i in self.order.instances if i.uid not in self.going)

    @cached_property
    def known(self) -> Mapping[str, InstanceOrder]:
        """Every incarnation whose order is known, by `short(uid)`: those under removal too."""
        leaving = (x.instance for x in self.observed.leaving if x.instance is not None)
        return {short(i.uid): i for i in (*leaving, *self.order.instances)}

    @cached_property
    def containers(self) -> Mapping[str, Mapping[str, ContainerSeen]]:
        """What is there of each uid, by the container's name in the workload."""
        found: defaultdict[str, dict[str, ContainerSeen]] = defaultdict(dict)
        for seen in self.observed.containers:
            found[seen.uid][seen.container] = seen
        return dict(found)

    def containers_of(self, uid: str) -> Mapping[str, ContainerSeen]:
        return self.containers.get(uid, {})

    def has_process(self, uid: str) -> bool:
        """Whether any container of it runs."""
        return any(c.state is ContainerState.RUNNING for c in self.containers_of(uid).values())

    @cached_property
    def memberships(self) -> Mapping[str, frozenset[Address]]:
        """The anycast addresses whose traffic comes to a link, by its short name."""
        found: defaultdict[str, set[Address]] = defaultdict(set)
        for address, members in self.observed.balanced.items():
            for member in members:
                if member.peer is None:
                    found[member.short].add(address)
        return {key: frozenset(addresses) for key, addresses in found.items()}

    def is_member(self, uid: str, address: Address) -> bool:
        return address in self.memberships.get(short(uid), ())

    @cached_property
    def external(self) -> Mapping[str, tuple[Prefix, ...]]:
        """External routes that lead to a link, by its short name; sorted."""
        found: defaultdict[str, list[Prefix]] = defaultdict(list)
        for prefix, owner in sorted(self.observed.external.items(), key=lambda item: text_of(item[0])):
            found[owner].append(prefix)
        return {key: tuple(prefixes) for key, prefixes in found.items()}

    @cached_property
    def misled(self) -> Mapping[str, tuple[Prefix, ...]]:
        """The external addresses of staying incarnations that do not lead to them, by uid; mostly nobody has any. By
        numbers: prefixes are compared far more slowly.
        """
        owners = {
            (prefix.version, int(prefix.network_address)): owner
            for prefix, owner in self.observed.external.items()
            if prefix.prefixlen == prefix.max_prefixlen
        }
        found = dict[str, tuple[Prefix, ...]]()
        for instance in self.staying:
            key = short(instance.uid)
            lacking = [a for a in instance.externals() if owners.get((a.version, int(a))) != key]
            if lacking:
                found[instance.uid] = tuple(network_of(a) for a in lacking)
        return found

    @cached_property
    def behind(self) -> Mapping[Address, tuple[InstanceOrder, ...]]:
        """The staying instances that have an anycast address, by that address."""
        found: defaultdict[Address, list[InstanceOrder]] = defaultdict(list)
        for instance in self.staying:
            for address in instance.anycast:
                found[address].append(instance)
        return {address: tuple(instances) for address, instances in found.items()}

    @cached_property
    def running(self) -> frozenset[str]:
        """Uids of the staying instances of which every container runs; of those alone that are to serve."""
        return frozenset(i.uid for i in self.staying if i.may_serve and self._runs(i))

    def _runs(self, instance: InstanceOrder) -> bool:
        there = self.containers_of(instance.uid)
        return all((seen := there.get(c.name)) and seen.state is ContainerState.RUNNING for c in instance.containers)

    def is_wired(self, uid: str) -> bool:
        """Whether its link is complete."""
        return self.observed.links.get(short(uid), False)

    def is_serving(self, instance: InstanceOrder, address: Address) -> bool:
        """Whether a staying instance should get the traffic of `address`: it runs and is healthy.

        Health that is not known yet changes nothing: a member stays one (the agent has just restarted), a newcomer
        waits.
        """
        if instance.uid not in self.running or not self.is_wired(instance.uid):
            return False
        verdict = self.observed.health.get(instance.uid)
        if verdict is None or (healthy := verdict.of(address.version).healthy) is None:
            return self.is_member(instance.uid, address)
        return healthy

    @cached_property
    def open_gates(self) -> frozenset[Address]:
        """The anycast addresses whose route is in the kernel with an instance behind it that serves and stays, or with
        another host that serves.
        """
        local = frozenset(
            address
            for address, instances in self.behind.items()
            if any(self.is_member(i.uid, address) and self.is_serving(i, address) for i in instances)
        )
        return local | self.carried

    @cached_property
    def tunnel(self) -> Tunnel | None:
        """The tunnel that the order asks for."""
        return tunnel_for(self.order)

    @cached_property
    def is_tunnelled(self) -> bool:
        """Whether the kernel has the tunnel that is asked for, or none where none is."""
        memory = self.observed.memory
        return (
            memory.tunnel_ready
            and memory.tunnel == self.tunnel
            and (self.tunnel is None or self.observed.tunnel is True)
        )

    @cached_property
    def guard(self) -> TunnelGuard | None:
        """What is to guard the tunnel."""
        there = self.observed.siblings
        return guard_for(
            self.order,
            self.observed.balanced,
            (s for s in self.siblings.values() if there.get(s.address) == s.peer),
            self.observed.away,
            firewall=self.firewall,
        )

    @cached_property
    def siblings(self) -> Mapping[Address, Sibling]:
        """Instances at other hosts whose stacks have some here, by each of their own addresses."""
        return elsewhere(self.known.values(), self.carriers, self.firewall.kin) if self.has_tunnel else {}

    @cached_property
    def own_told(self) -> Mapping[Address, int]:
        """What other hosts are told of the own addresses of instances here, and of gateways among them."""
        return told_of(self.known, self.observed, self.external, self.serves) if self.has_tunnel else {}

    @cached_property
    def gateway_ways(self) -> frozenset[GatewayWay]:
        """The ways of networks whose routes lead through gateways."""
        if not self.firewall.routed:
            return frozenset()
        return ways(self.known.values(), self.serves, self.carriers.gateways, tunnel=self.has_tunnel)

    @cached_property
    def is_tunnel_guarded(self) -> bool:
        """Whether some rules for this tunnel are loaded, perhaps not yet the newest: no device is there without."""
        guard, loaded = self.guard, self.observed.memory.guard
        return guard is not None and loaded is not None and (loaded.own, loaded.port) == (guard.own, guard.port)

    @cached_property
    def has_tunnel(self) -> bool:
        """Whether packets can be sent by it now."""
        return self.tunnel is not None and self.is_tunnelled

    @cached_property
    def carriers(self) -> Carriers:
        """Who serves what elsewhere; nobody while there is no tunnel."""
        names = {p.host: p.address for p in self.order.backbone.peers} if self.order.backbone else {}
        down = {names[t.host] for t in self.observed.tunnels if not t.up and t.host in names}
        return Carriers(self.order, self.observed.offers if self.has_tunnel else {}, down)

    @cached_property
    def carried(self) -> frozenset[Address]:
        """The anycast addresses for which another host that serves is in the kernel's group."""
        return frozenset(
            address
            for address, members in self.observed.balanced.items()
            if any(m.peer is not None for m in members) and self.carriers.serving(address)
        )

    def has_remains(self, uid: str) -> bool:
        """Whether anything of this incarnation is still in the world."""
        key, seen = short(uid), self.observed
        in_kernel = key in seen.namespaces or key in seen.links or key in seen.pins
        in_kernel = in_kernel or key in seen.volumes.mounted
        return uid in self.containers or in_kernel or key in self.external or key in self.memberships

    @cached_property
    def remains(self) -> tuple[Leaving, ...]:
        """The incarnations under removal of which something is left."""
        return tuple(x for x in self.observed.leaving if self.has_remains(x.removal.uid))

    @cached_property
    def _held(self) -> frozenset[Address]:
        """Private addresses that incarnations under removal still hold."""
        leaving = (x.instance for x in self.remains if x.instance is not None)
        return frozenset(a.private for i in leaving for a in i.addresses())

    @cached_property
    def _held_volumes(self) -> frozenset[str]:
        """Volumes that incarnations under removal still hold."""
        mounted = self.observed.volumes.mounted
        return frozenset(id_ for x in self.remains for id_ in mounted.get(short(x.removal.uid), ()))

    def is_blocked(self, instance: InstanceOrder) -> bool:
        """Whether one that leaves still holds a private address that this one needs."""
        held = self._held
        return bool(held) and any(a.private in held for a in instance.addresses())  # mostly nobody leaves

    def waits_for_volume(self, instance: InstanceOrder) -> bool:
        """Whether one that leaves still holds a volume that this one needs, which cannot begin before."""
        held = self._held_volumes
        return bool(held) and not held.isdisjoint(instance.volumes)

    @cached_property
    def lives(self) -> Mapping[str, tuple[InstanceOrder, ...]]:
        """The staying incarnations of each slot, by its name; the newest first."""
        found: defaultdict[str, list[InstanceOrder]] = defaultdict(list)
        for instance in self.staying:
            found[instance.name].append(instance)
        return {
            name: tuple(all_) if len(all_) == 1 else tuple(sorted(all_, key=lambda i: -i.life))
            for name, all_ in found.items()
        }

    def serves(self, instance: InstanceOrder) -> bool:
        """Whether a staying incarnation is fit for its slot: it runs and is healthy. Health that is not known yet
        changes nothing: who holds addresses keeps them.
        """
        if instance.uid not in self.running or not self.is_wired(instance.uid):
            return False
        verdict = self.observed.health.get(instance.uid)
        if verdict is None or verdict.healthy is None:
            return self.has_addresses(instance.uid)
        return verdict.healthy and not self.loses_family(instance)

    def loses_family(self, instance: InstanceOrder) -> bool:
        """Whether an older incarnation of its slot answers in a family in which this one never has: it is not yet what
        it is to replace.
        """
        lives, verdict = self.lives.get(instance.name, ()), self.observed.health.get(instance.uid)
        if verdict is None or len(lives) < 2:
            return False
        older = [i for i in lives if i.life < instance.life]
        silent = [a.version for a in instance.anycast if verdict.never_answered(a.version)]
        known = [v for i in older if i.uid in self.running and (v := self.observed.health.get(i.uid)) is not None]
        return any(v.of(version).healthy is True for version in silent for v in known)

    def has_addresses(self, uid: str) -> bool:
        """Whether any external or anycast address leads to it."""
        key = short(uid)
        return key in self.external or key in self.memberships

    @cached_property
    def fronts(self) -> Mapping[str, InstanceOrder]:
        """Who of each slot's staying incarnations is to have its traffic: the newest that serves; while none does,
        the one that has it now, or the oldest: nothing changes for one that is not there yet.
        """
        return {name: lives[0] if len(lives) == 1 else self._front(lives) for name, lives in self.lives.items()}

    def _front(self, lives: tuple[InstanceOrder, ...]) -> InstanceOrder:
        fit = (i for i in lives if self.serves(i))
        holding = (i for i in lives if short(i.uid) in self.external)
        return next(fit, None) or next(holding, None) or lives[-1]

    def is_front(self, instance: InstanceOrder) -> bool:
        return self.fronts[instance.name].uid == instance.uid

    @cached_property
    def superseded(self) -> frozenset[str]:
        """Uids of staying incarnations in whose place a newer or better one serves."""
        double = (lives for lives in self.lives.values() if len(lives) > 1)
        return frozenset(
            i.uid for lives in double for i in lives if not self.is_front(i) and self.serves(self.fronts[i.name])
        )

    @cached_property
    def resumed(self) -> frozenset[str]:
        """Uids of staying incarnations that drained and have their traffic again."""
        draining = self.observed.memory.draining_since
        return frozenset(i.uid for i in self.staying if i.uid in draining and i.uid not in self.superseded)

    def is_pinned(self, uid: str) -> bool:
        """Whether the live flows of an incarnation would stay with it when its addresses lead elsewhere. True as well
        when there is nothing to pin, since it has none but private addresses, and when there is no hope for that: its
        addresses are not known, or pinning has failed again and again.
        """
        memory = self.observed.memory
        if self.observed.pins.get(short(uid), False):
            return True
        if uid not in memory.draining_since:
            return False
        instance = self.known.get(short(uid))
        if instance is None or not (instance.anycast or any(True for _ in instance.externals())):
            return True
        return memory.failures.get(instance_lane(instance.name, uid), 0) >= PIN_TRIES

    @cached_property
    def external_owners(self) -> Mapping[Prefix, InstanceOrder]:
        """Where each external route is to lead: to the front of the slot that has the address."""
        return {network_of(a): i for i in self.fronts.values() for a in i.externals()}

    @cached_property
    def wanted(self) -> Mapping[tuple[Prefix, str], Announcement]:
        """The announcements that the order asks for, by prefix and upstream."""
        known = {u.name for u in self.order.upstreams}
        asked = (a for a in self.order.announcements if a.scope.mode is Mode.ANNOUNCE and a.upstream in known)
        return {(a.prefix, a.upstream): a for a in asked}

    @cached_property
    def ways_of(self) -> Mapping[Prefix, tuple[str, ...]]:
        """The upstreams to which each prefix is to be announced."""
        found: defaultdict[Prefix, list[str]] = defaultdict(list)
        for prefix, upstream in self.wanted:
            found[prefix].append(upstream)
        return {prefix: tuple(upstreams) for prefix, upstreams in found.items()}

    @cached_property
    def has_flaps(self) -> bool:
        """Whether any session has flapped lately; mostly none has."""
        return any(uplink.hold_s for uplink in self.observed.memory.uplinks.values())

    @cached_property
    def edges(self) -> frozenset[str]:
        """Sessions with the PoP's own edge router, by name."""
        return frozenset(u.name for u in self.order.upstreams if u.kind is UpstreamKind.EDGE)

    @cached_property
    def drained_prefixes(self) -> frozenset[Prefix]:
        """Prefixes over which a drain stands."""
        return frozenset(a.prefix for a in self.order.announcements if a.drains)

    @cached_property
    def wanted_prefixes(self) -> frozenset[Prefix]:
        return frozenset(self.ways_of)

    @cached_property
    def _gates(self) -> Mapping[Prefix, frozenset[Address]]:
        found: defaultdict[Prefix, set[Address]] = defaultdict(set)
        for announcement in self.order.announcements:
            found[announcement.prefix].update(announcement.gates)
        return {prefix: frozenset(gates - self.mute or gates) for prefix, gates in found.items()}

    def gates(self, prefix: Prefix) -> frozenset[Address]:
        """The anycast addresses that must work here for `prefix` to be announced.

        Whose instances answer in the other family and have never answered in this one keeps nobody else's prefix back:
        such an address counts only where it is alone.
        """
        return self._gates.get(prefix, _NO_GATES)

    @cached_property
    def mute(self) -> frozenset[Address]:
        """The anycast addresses whose instances here all answer in the other family, and never have in theirs."""
        return frozenset(
            address
            for address, instances in self.behind.items()
            if any(self._never_answered(i, address) for i in instances)
            and not any(self.is_serving(i, address) or self.is_member(i.uid, address) for i in instances)
        )

    def _never_answered(self, instance: InstanceOrder, address: Address) -> bool:
        verdict = self.observed.health.get(instance.uid)
        return verdict is not None and verdict.never_answered(address.version)

    @cached_property
    def ready_prefixes(self) -> frozenset[Prefix]:
        """Prefixes that the order asks for and for whose traffic kernel and instances are fit."""
        return frozenset(
            p for p in self.wanted_prefixes if p in self.observed.covers and self.gates(p) <= self.open_gates
        )

    @cached_property
    def able(self) -> frozenset[Address]:
        """Anycast addresses of instances that stay and that nothing keeps from coming up."""
        coming = (i for i in self.staying if not self.is_blocked(i) and not self.waits_for_volume(i))
        return frozenset(a for i in coming for a in i.anycast)

    def is_proven(self, prefix: Prefix) -> bool:
        """Whether every gate is carried, or has an instance of which this agent knows that it answers. What an earlier
        agent left running, and has not been asked yet, keeps what is announced, and announces nothing anew: perhaps it
        was withdrawn since nobody answered.
        """
        return all(
            gate in self.carried or any(self._answers(i, gate) for i in self.behind.get(gate, ()))
            for gate in self.gates(prefix)
        )

    def _answers(self, instance: InstanceOrder, address: Address) -> bool:
        verdict = self.observed.health.get(instance.uid)
        return (
            self.is_member(instance.uid, address)
            and verdict is not None
            and verdict.of(address.version).healthy is True
        )

    def is_abandoned(self, prefix: Prefix) -> bool:
        """Whether a gate has no instance left that could ever open it, other than those under removal: the prefix
        goes on purpose. Other hosts may open it wherever its addresses are carried.
        """
        return not all(gate in self.able or self.carriers.carries(gate) for gate in self.gates(prefix))

    @cached_property
    def grants(self) -> Mapping[Prefix, Grant]:
        return {g.prefix: g for g in reversed(self.order.grants)}

    @cached_property
    def exports(self) -> Mapping[tuple[Prefix, str], Export]:
        """What the speaker that runs is configured to announce. One that died and is about to be started anew goes on
        where it was: its death must not withdraw what only the governor may.
        """
        speaker = self.observed.speaker or self.observed.fallen
        return {(e.prefix, e.upstream): e for e in speaker.exports} if speaker else {}

    @cached_property
    def exported_prefixes(self) -> frozenset[Prefix]:
        return frozenset(prefix for prefix, _ in self.exports)

    @cached_property
    def sent_prefixes(self) -> frozenset[Prefix]:
        """Prefixes that are really sent to some upstream now."""
        return frozenset(prefix for prefix, _ in self.observed.exported)

    @cached_property
    def _coverage(self) -> Mapping[tuple[int, int], Mapping[int, Prefix]]:
        """Exported prefixes by family and length, then by their leading bits: the covers of an address are a few
        look-ups.
        """
        found: defaultdict[tuple[int, int], dict[int, Prefix]] = defaultdict(dict)
        for prefix in self.exported_prefixes:
            bits = int(prefix.network_address) >> (prefix.max_prefixlen - prefix.prefixlen)
            found[prefix.version, prefix.prefixlen][bits] = prefix
        return dict(found)

    def covers_of(self, address: Address) -> list[Prefix]:
        """The exported prefixes that an address lies in."""
        number, width, found = int(address), address.max_prefixlen, list[Prefix]()
        for (version, length), prefixes in self._coverage.items():
            if version == address.version and (prefix := prefixes.get(number >> (width - length))) is not None:
                found.append(prefix)
        return found

    @cached_property
    def firewall(self) -> Firewall:
        """The rules as they should be: for all that runs, and for those that go on answering while they leave."""
        return _FIREWALLS.of(self.order, tuple(x.instance for x in self.remains if x.instance is not None))

    @cached_property
    def error_ways(self) -> tuple[ErrorWay, ...]:
        """Where ICMP errors should be led: to every instance with anycast addresses whose link is complete, also while
        it leaves; and to the other hosts that serve an address, since a flow of theirs may be what an error is about.
        """
        seen = self.observed
        return (*self._error_ways_here, *error_ways_away(self.carriers, seen.tunnel_number))

    @cached_property
    def _error_ways_here(self) -> tuple[ErrorWay, ...]:
        seen = self.observed
        return tuple(
            ErrorWay(
                short=key,
                number=seen.numbers[key],
                privates=tuple(a.private for a in instance.links[0].addresses),
                anycast=instance.anycast,
            )
            for key, instance in sorted(self.known.items())
            if instance.anycast and seen.links.get(key) and key in seen.numbers
        )

    @cached_property
    def leads_errors(self) -> bool:
        """Whether that is so in the kernel. Where it cannot be, nobody tries."""
        there = self.observed.error_tables
        if there is None:
            return True
        should = {version: error_table(self.error_ways, version) for version in there}
        return all(there[v] == table or (there[v] is None and not table.anycast) for v, table in should.items())

    @cached_property
    def is_guarded(self) -> bool:
        """Whether those rules are loaded."""
        return self.observed.memory.firewall == self.firewall
