"""The faults: each breaks one real thing on a running platform.

In: a platform, its lab, a `random.Random`. Out: `Fault`s: what was broken, and how whoever broke it takes that back (a
cut link is joined, a stopped program goes on), where nobody else can. What the platform has to mend by itself has no
such way back. Nothing here waits.
"""

import json
import os
import random
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from anypop.agent.act.network.namespaces import is_namespace
from anypop.agent.naming import ROUTE_PROTOCOL
from anypop.host import birdc, netns, process
from anypop.lab import daemons, routers
from anypop.lab.address import Role, host_netns
from anypop.lab.build import Lab
from anypop.lab.platform import Platform
from anypop.model.errors import Invalid, WorldError
from tests.lab.chaos import victims
from tests.lab.chaos.fault import HOLD_S, Fault, Maker, sent
from tests.lab.chaos.tunnels import Tunnels
from tests.lab.chaos.whole import repair

UP_AGAIN_S = 60.0
_CUT, _MUTE = "chaos_cut", "chaos_probes"


@dataclass(slots=True)
class Breaker:
    """Breaks things of one platform. `disk`: the mount point of the file system that holds its state, where that has a
    size limit of its own.
    """

    place: Platform
    lab: Lab
    dice: random.Random
    disk: Path | None = None
    more: Mapping[str, Maker] = field(default_factory=dict)

    def kinds(self) -> Mapping[str, Maker]:
        """Every kind of fault, by name."""
        killed = (
            "control", "agent", "bird", "bfd", "bfd worker", "podman", "conmon", "instance", "wire", "supervisor",
        )  # fmt: skip
        stopped = ("control", "agent", "bird", "bfd", "bfd worker", "podman", "conmon", "instance")
        found: dict[str, Maker] = {f"kill {kind}": self._maker(self._kill, kind) for kind in killed}
        found |= {f"stop {kind}": self._maker(self._stop, kind) for kind in stopped}
        found |= {f"cut {way}": self._maker(self._cut, way) for way in ("both ways", "towards the PoP", "from the PoP")}
        gone = ("route", "group", "rule", "table", "link", "namespace")
        found |= {f"delete {what}": self._maker(self._delete, what) for what in gone}
        found |= {"reset upstream": self._reset, "all probes fail": self._mute, "nothing": _nothing}
        if self.disk is not None:
            found["full disk"] = self._fill
        return {**found, **Tunnels(lab=self.lab, dice=self.dice).kinds(), **self.more}

    def _maker(self, make: Callable[[str], Fault | None], which: str) -> Maker:
        return lambda: make(which)

    def _one(self, kind: str) -> tuple[str, int] | None:
        found = victims.of_kind(self.place, kind)
        return self.dice.choice(sorted(found.items())) if found else None

    def _kill(self, kind: str) -> Fault | None:
        """-9, now. None where there is none, or it has just gone."""
        victim = self._one(kind)
        host = "" if victim is None else victims.host_of(self.place, *victim)
        if victim is None or not sent(victim[1], signal.SIGKILL):
            return None
        name, pid = victim
        if kind == "supervisor":  # nobody looks after it: a person says `up`
            return Fault(kind=f"kill {kind}", what=name, undo=self._repaired, hold_s=HOLD_S)
        return Fault(kind=f"kill {kind}", what=name, host=host, back=lambda: self._runs_again(name, pid))

    def _repaired(self) -> None:
        """`up`, said again while something else keeps it from its end."""
        deadline = time.monotonic() + UP_AGAIN_S
        while True:
            try:
                repair(self.place)
                return
            except (WorldError, Invalid):
                if time.monotonic() > deadline:
                    raise
                time.sleep(1)

    def _runs_again(self, name: str, pid: int) -> bool:
        """Another process in its place; what has no pid file is counted at the end."""
        found = victims.daemons(self.place)
        return name in found and found[name] != pid if "/" in name else True

    def _stop(self, kind: str) -> Fault | None:
        """SIGSTOP. BIRD is the agent's to notice; the others cannot be told from a slow machine, and go on later."""
        victim = self._one(kind)
        host = "" if victim is None else victims.host_of(self.place, *victim)
        if victim is None or not sent(victim[1], signal.SIGSTOP):
            return None
        name, pid = victim
        if kind in ("bird", "bfd", "bfd worker"):
            return Fault(kind=f"stop {kind}", what=name, host=host, back=lambda: self._runs_again(name, pid))
        started = process.start_time(pid)

        def goes_on() -> None:
            if process.start_time(pid) == started:
                sent(pid, signal.SIGCONT)

        return Fault(kind=f"stop {kind}", what=name, host=host, undo=goes_on, hold_s=HOLD_S)

    def _cut(self, way: str) -> Fault | None:
        """One link of one host to an upstream or to its edge router: packets vanish, both ends stay up."""
        links = [link for link in self.lab.plan.links if link.role in (Role.UPSTREAM, Role.EDGE)]
        far = self.dice.choice(links).b
        chains = {
            "from the PoP": f"type filter hook prerouting priority -500; iifname {far.interface} drop;",
            "towards the PoP": f"type filter hook postrouting priority 500; oifname {far.interface} drop;",
        }
        ways = [chain for name, chain in chains.items() if way in (name, "both ways")]
        chosen = "\n".join(f"chain c{n} {{ {chain} }}" for n, chain in enumerate(ways))
        table = f"{_CUT}_{far.interface}".replace("-", "_").replace(".", "_")
        self._nft(far.netns, f"table inet {table}\ndelete table inet {table}\ntable inet {table} {{\n{chosen}\n}}\n")
        return Fault(
            kind=f"cut {way}",
            what=f"{far.interface} of {far.netns}",
            undo=lambda: self._nft(far.netns, f"table inet {table}\ndelete table inet {table}\n"),
            hold_s=HOLD_S,
        )

    def _mute(self) -> Fault:
        """Every probe of every host fails at once; clients' packets pass."""
        names = [host_netns(self.place.prefix, host) for host in self.place.hosts]
        rules = (
            f"table inet {_MUTE}\ndelete table inet {_MUTE}\ntable inet {_MUTE} {{\n"
            'chain out { type filter hook output priority -500; oifname "i*" meta l4proto { tcp, udp } drop; }\n}\n'
        )
        for name in names:
            self._nft(name, rules)

        def undo() -> None:
            for name in names:
                self._nft(name, f"table inet {_MUTE}\ndelete table inet {_MUTE}\n")

        return Fault(kind="all probes fail", what=f"{len(names)} hosts", undo=undo, hold_s=2 * HOLD_S)

    def _reset(self) -> Fault | None:
        """An upstream's router restarts its sessions with one of our hosts."""
        plan = self.lab.plan
        ours = [
            (router.name, session.name)
            for router in plan.routers
            for session in routers.sessions(plan, router)
            if session.asn == plan.topology.own.asn
        ]
        router, name = self.dice.choice(ours)
        with suppress(WorldError):
            birdc.ask(daemons.control_socket(self.lab.folder, router), f"restart {name}_v4", f"restart {name}_v6")
        return Fault(kind="reset upstream", what=f"{name} of {router}")

    def _fill(self) -> Fault | None:
        """Not one more page for the whole state folder: control's store, the agents' ledgers, Podman's storage."""
        assert self.disk is not None
        mount, found = self.disk, os.statvfs(self.disk)
        size, used = found.f_blocks * found.f_frsize, (found.f_blocks - found.f_bfree) * found.f_frsize
        process.run(["mount", "-o", f"remount,size={used + found.f_frsize}", str(mount)])
        return Fault(
            kind="full disk",
            what=str(mount),
            undo=lambda: void(process.run(["mount", "-o", f"remount,size={size}", str(mount)])),
            hold_s=HOLD_S,
        )

    def _delete(self, what: str) -> Fault | None:
        """Something of the agent's in the kernel, behind its back."""
        if what == "namespace":
            names = netns.names(f"{self.place.prefix}-i-")
            chosen = self.dice.choice(names) if names else ""
            path = netns.path_of(chosen)
            fault = Fault(kind=f"delete {what}", what=chosen, back=lambda: is_namespace(path))
            return _deleted(fault, ["ip", "netns", "del", chosen]) if names else None
        host = self.dice.choice(self.place.hosts)
        inside = host_netns(self.place.prefix, host)
        found: Sequence[tuple[str, Sequence[str]]] = getattr(self, f"_{what}s")(inside)
        if not found:
            return None
        name, words = self.dice.choice(found)

        def back() -> bool:
            there = dict(getattr(self, f"_{what}s")(inside))
            return bool(there.get(name) == words)

        fault = Fault(kind=f"delete {what}", what=f"{name} of {host}", host=host, back=back)
        return _deleted(fault, netns.command(inside, *words))

    def _routes(self, inside: str) -> list[tuple[str, list[str]]]:
        found = []
        for family in ("-4", "-6"):
            for route in _ask(inside, family, "route", "show", "proto", str(ROUTE_PROTOCOL)):
                words = ["ip", family, "route", "del", str(route["dst"]), "proto", str(ROUTE_PROTOCOL)]
                found.append((str(route["dst"]), words))
        return found

    def _groups(self, inside: str) -> list[tuple[str, list[str]]]:
        hops = _ask(inside, "nexthop", "show", "proto", str(ROUTE_PROTOCOL))
        return [(f"group {h['id']}", ["ip", "nexthop", "del", "id", str(h["id"])]) for h in hops if h.get("group")]

    def _rules(self, inside: str) -> list[tuple[str, list[str]]]:
        found = []
        for family in ("-4", "-6"):
            for rule in _ask(inside, family, "rule", "show"):
                if str(rule.get("protocol")) == str(ROUTE_PROTOCOL):
                    number = str(rule["priority"])
                    found.append((f"rule {family} {number}", ["ip", family, "rule", "del", "pref", number]))
        return found

    def _tables(self, inside: str) -> list[tuple[str, list[str]]]:
        told = process.run(netns.command(inside, "nft", "list", "tables")).splitlines()
        ours = [line.split()[1:] for line in told if f"anypop_{self.place.prefix}" in line]
        return [(name, ["nft", "delete", "table", family, name]) for family, name in ours]

    def _links(self, inside: str) -> list[tuple[str, list[str]]]:
        names = [str(link["ifname"]) for link in _ask(inside, "link", "show", "type", "veth")]
        ours = [name for name in names if len(name) == 11 and name.startswith("i")]
        return [(name, ["ip", "link", "del", name]) for name in ours]

    def _nft(self, inside: str, text: str) -> None:
        process.run(netns.command(inside, "nft", "-f", "-"), stdin=text)


def _nothing() -> Fault:
    """The control of the others: what fails by it is no fault of the platform's."""
    return Fault(kind="nothing", what="nothing is broken", hold_s=HOLD_S)


def _deleted(fault: Fault, words: Sequence[str]) -> Fault | None:
    """None where the agent was quicker, or is at work on it."""
    try:
        process.run(words)
    except WorldError:
        return None
    return fault


def void(_: object) -> None:
    return


def _ask(inside: str, *words: str) -> list[dict[str, Any]]:
    told = process.run(netns.command(inside, "ip", "-json", *words)).strip()
    found: list[dict[str, Any]] = json.loads(told or "[]")
    return found
