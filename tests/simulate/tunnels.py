"""The tunnels between simulated hosts: links that can be cut, in one direction too, and what hosts tell each other.

In: which hosts are there, what each has in its kernel, cuts. Out: what each hears of the others (`offers`, where its
speaker would write it), how its sessions stand, and the way of a packet. A session needs both directions: BFD notices
a host that is not heard, and tells it. Nothing here knows what control thinks.
"""

from typing import TYPE_CHECKING

from anypop.model.announce import Address
from anypop.model.names import HostName
from anypop.model.network import Network
from anypop.model.report import TunnelReport
from tests.simulate.speaker import DETECTED_S, KEPT_S
from tests.simulate.world import World

if TYPE_CHECKING:
    from tests.simulate.host import Host

LATE_S = 6.0  # so long a host may go by what was

Pair = tuple[HostName, HostName]


class Tunnels:
    """See the module. `cut`: from whom to whom nothing arrives; `troubled_at`: when a host's tunnels last changed."""

    def __init__(self, world: World, network: Network, hosts: dict[HostName, "Host"]) -> None:
        self._world, self._hosts = world, hosts
        self.used = network.backbone is not None
        self.ends = {host.name: host.tunnel_address for _, host in network.hosts()}
        self.names = {address: name for name, address in self.ends.items()}
        self.cut: set[Pair] = set()
        self.troubled_at = dict.fromkeys(hosts, 0.0)
        self._up: dict[Pair, float] = {}
        self._silent: dict[HostName, float] = {}

    # what happens to them

    def cuts(self, pairs: set[Pair]) -> None:
        """Nothing arrives on these ways from now on."""
        self.cut |= pairs
        self._troubled({name for pair in pairs for name in pair})

    def heals(self, pairs: set[Pair]) -> None:
        if self.cut & pairs:
            self.cut -= pairs
            self._troubled({name for pair in pairs for name in pair})

    def _troubled(self, names: set[HostName]) -> None:
        for name in sorted(names):
            self.troubled_at[name] = self._world.now
            self.changed(name)

    def changed(self, name: HostName) -> None:
        """Something of this host that its sessions need is otherwise now: power, the device, the speaker, a cut."""
        if not self.used:
            return
        host = self._hosts[name]
        if host.speaker is None and host.powered:  # its neighbours keep what it said, for a while
            self._silent.setdefault(name, self._world.now)
            self._world.after(KEPT_S + 0.01, lambda: self._settle(name))
        else:
            self._silent.pop(name, None)
        self._world.after(self._world.between(DETECTED_S, 2 * DETECTED_S), lambda: self._settle(name))

    def told(self, name: HostName) -> None:
        """The host serves something else than before."""
        if self.used:
            self._world.after(self._world.between(0.005, 0.05), lambda: self._settle(name))

    def _settle(self, name: HostName) -> None:
        for other in self._hosts:
            if other != name:
                self._hear(name, other)
                self._hear(other, name)

    def _hear(self, here: HostName, there: HostName) -> None:
        """What `here` knows of `there` from now on."""
        pair, host, end = (here, there), self._hosts[here], self.ends[there]
        if not self.is_up(here, there):
            changed = self._up.pop(pair, None) is not None
            changed = (host.offers.pop(end, None) is not None) or changed
        else:
            changed = pair not in self._up
            self._up.setdefault(pair, host.clock())
            if here not in self._silent and there not in self._silent:
                offers = dict(self._hosts[there].served)
                changed = changed or host.offers.get(end) != offers
                host.offers[end] = offers
        if changed:
            host.agent.wake()

    # how they are

    def host(self, name: HostName) -> "Host":
        return self._hosts[name]

    def is_up(self, here: HostName, there: HostName) -> bool:
        """Whether the session of two hosts can stand."""
        return (
            not self.cut & {(here, there), (there, here)}
            and self._has_end(here, there)
            and self._has_end(there, here)
            and all(self._world.now - self._silent.get(name, self._world.now) <= KEPT_S for name in (here, there))
        )

    def _has_end(self, here: HostName, there: HostName) -> bool:
        host = self._hosts[here]
        if not host.powered or host.tunnel is None:
            return False
        return any(end == self.ends[there] for end, _ in host.tunnel.targets)

    def reports(self, name: HostName) -> tuple[TunnelReport, ...]:
        """As its speaker tells them."""
        host = self._hosts[name]
        if host.tunnel is None or host.speaker is None:
            return ()
        return tuple(
            TunnelReport(host=other, up=(since := self._up.get((name, other))) is not None, since=since)
            for other in sorted(self._hosts)
            if other != name
        )

    def is_calm(self, name: HostName, seconds: float) -> bool:
        """Whether no tunnel of this host is cut, nor was lately."""
        return not any(name in pair for pair in self.cut) and self._world.now - self.troubled_at[name] > seconds

    def is_apart(self, name: HostName, seconds: float) -> bool:
        """Whether nothing by tunnel has reached this host, nor left it, for so long."""
        others = [other for other in self._hosts if other != name]
        return all({(name, o), (o, name)} & self.cut for o in others) and (
            self._world.now - self.troubled_at[name] > seconds
        )

    # packets

    def is_lied_to(self, name: HostName) -> bool:
        """Whether the probes of a host lie, or did a moment ago: it tells what they say."""
        host = self._hosts[name]
        return host.probes_lie is True or self._world.now - host.lied_at < LATE_S

    def answered(self, name: HostName, address: Address) -> list[float]:
        """When each instance of an address there last answered, or was known to; and one that is to go, as long as it
        had what came by tunnels.
        """
        host = self._hosts[name]
        stay = [host.answered.get(i.uid, -1e9) for i in host.ordered() if address in i.anycast]
        return [*stay, host.let_in.get(address, -1e9)]

    def carries(self, here: HostName, there: HostName, address: Address) -> bool:
        """Whether a packet that `here` sends by the tunnel is answered: it goes to instances of `there` alone."""
        host = self._hosts[there]
        if (here, there) in self.cut or not host.powered or host.tunnel is None or host.guard is None:
            return False
        if self.ends[here] not in host.guard.peers:
            return False
        return any(host.answers_at(member.short, address) for member in host.inbound.get(address, ()))
