"""A world run by real routers, quickly: namespaces, one BIRD for each router with the lab's own configuration, and one
for each PoP. Some routers of some worlds are FRR's or GoBGP's (`many`).

Differs from `lab.build` in this alone: no latency (every link is a plain veth pair; costs inside ASes stay those of the
distances), so no wire, and our PoPs announce without an agent. Goes out: what each router holds for each of our
prefixes, and where packets really arrive.
"""

import errno
import re
import select
import shutil
import socket
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from anypop.host import birdc, ip, netns, process
from anypop.lab import address as addressing
from anypop.lab import build, daemons, machine, routers
from anypop.lab.address import LabPlan, PopSite, VantageHost
from anypop.lab.settle import settle
from anypop.lab.until import until
from anypop.model.announce import Mode, Prefix, Scope
from anypop.model.extended_communities import spelled
from anypop.model.route import Candidate
from anypop.routing.bird_text import parse_routes
from bench.agreement import many
from bench.agreement.many import Implementation
from bench.agreement.worlds import PREFIXES, World

SETTLE_TIMEOUT_S = 120.0  # two cores with other work on them; an idle machine needs 4 s
_PORT = 7777
_ESTABLISHED = re.compile(r" (\d+):(\d+):(\d+\.\d+) +Established")
_ANSWER_S = 2.0  # a packet between namespaces takes microseconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A world whose routers have found each other."""

    world: World
    plan: LabPlan
    folder: Path
    others: Mapping[str, Implementation]

    def prefixes(self, k: int) -> tuple[Prefix, Prefix]:
        announced = covering(self.plan)
        return announced[4][k], announced[6][k]

    def prefix(self, k: int, family: int) -> Prefix:
        return covering(self.plan)[family][k]

    def held(self, router: str) -> dict[Prefix, tuple[Candidate, ...]]:
        """The routes that a router holds for each of our covering prefixes, in both families."""
        announced = covering(self.plan)
        if router in self.others:
            return self._held_elsewhere(router)
        asked = [
            f"show route table master{family} where net ~ [{', '.join(map(str, prefixes))}] all"
            for family, prefixes in announced.items()
        ]
        found: dict[Prefix, list[Candidate]] = {prefix: [] for prefixes in announced.values() for prefix in prefixes}
        for route in parse_routes(birdc.ask(daemons.control_socket(self.folder, router), *asked)):
            found[route.prefix].append(route)
        return {prefix: tuple(routes) for prefix, routes in found.items()}

    def _held_elsewhere(self, name: str) -> dict[Prefix, tuple[Candidate, ...]]:
        router = next(r for r in self.plan.routers if r.name == name)
        prefixes = [prefix for prefixes in covering(self.plan).values() for prefix in prefixes]
        known = routers.sessions(self.plan, router)
        routes = list(self.others[name].held(router, known, prefixes, self.folder / name))
        return {prefix: tuple(route for route in routes if route.prefix == prefix) for prefix in prefixes}

    def since(self) -> dict[tuple[str, str], float]:
        """Since when the sessions between the networks' BIRDs stand, in seconds of the day; -1: it does not. BIRD works
        it out anew each time, to a millisecond or two.
        """
        ours = f"as{self.plan.topology.own.asn}_"
        names = [router.name for router in self.plan.routers if router.name not in self.others]
        told = {name: birdc.ask(daemons.control_socket(self.folder, name), "show protocols") for name in names}
        found = {}
        for name, text in told.items():
            for line in text.splitlines():
                if " BGP " in line and not line.startswith(ours):
                    at = _ESTABLISHED.search(line)
                    moment = 3600 * int(at[1]) + 60 * int(at[2]) + float(at[3]) if at else -1.0
                    found[name, line.split()[0]] = moment
        return found

    def announce(self, k: int, sessions: Collection[tuple[str, str]]) -> None:
        """From now on announce the k-th prefix over these sessions alone, (PoP, upstream) each, with their scopes."""
        for site in self.plan.sites:
            silent = {u.name for u in site.pop.upstreams if (str(site.pop.city), u.name) not in sessions}
            home = self.folder / f"pop-{site.pop.city.lower()}"
            (home / "bird.conf").write_text(_configuration(self.world, self.plan, site, {k: silent}))
            birdc.ask(home / "bird.ctl", "configure")

    def landings(self, vantages: Sequence[VantageHost]) -> dict[tuple[str, Prefix], str]:
        """The PoP where a packet from each vantage to each prefix's first address arrives; "" where none does. It
        needs no answer.
        """
        prefixes = [prefix for k in range(PREFIXES) for prefix in self.prefixes(k)]
        found = {(vantage.name, prefix): "" for vantage in vantages for prefix in prefixes}
        with ExitStack() as stack:
            doors = {stack.enter_context(_bound(site.netns)): str(site.pop.city) for site in self.plan.sites}
            for vantage in vantages:
                for k, prefix in enumerate(prefixes):
                    _send(vantage.netns, str(prefix[1]), f"{vantage.name} {k}".encode())
            while "" in found.values() and (ready := select.select(list(doors), [], [], _ANSWER_S)[0]):
                for door in ready:
                    name, _, number = door.recv(100).decode().partition(" ")
                    found[name, prefixes[int(number)]] = doors[door]
        return found


def covering(plan: LabPlan) -> dict[int, tuple[Prefix, ...]]:
    """Our covering prefixes by family."""
    own = plan.topology.own
    return {4: own.anycast4, 6: own.anycast6}


@contextmanager
def running(world: World, *, prefix: str, several: bool = False) -> Iterator[Running]:
    """`world` on this machine under a name prefix; everything of it is taken away at the end. `several`: networks of
    one city are run by FRR and GoBGP in turn.
    """
    folder = Path(tempfile.mkdtemp(prefix="anyp-", dir="/tmp"))
    folder.chmod(0o711)  # FRR's daemons have a user of their own
    whole = addressing.plan(world.topology, prefix)
    plan = replace(whole, links=tuple(replace(link, wired=False, one_way_ms=0.0) for link in whole.links))
    try:
        machine.make(plan)
        others = many.implementations(plan) if several else {}
        daemons.start_birds(plan, folder, but=others)
        for router in plan.routers:
            if router.name in others:
                habits = next(system.habits for system in world.topology.ases if system.asn == router.asn)
                others[router.name].start(router, routers.sessions(plan, router), habits, folder / router.name)
        # sessions alone: packets of vantages go one way
        settle(replace(plan, vantages=()), folder, timeout_s=SETTLE_TIMEOUT_S, but=others)
        for site in plan.sites:
            _announce(world, plan, site, folder / f"pop-{site.pop.city.lower()}")
        for site in plan.sites:
            control = folder / f"pop-{site.pop.city.lower()}" / "bird.ctl"
            until(control.exists, timeout_s=10, what=f"the BIRD of {site.pop.city}")
        yield Running(world=world, plan=plan, folder=folder, others=others)
    finally:
        for pid_file in folder.glob("*/*.pid"):
            process.end(pid_file, grace_s=0, group=True)
        build.down(prefix=prefix, state_dir=folder)
        shutil.rmtree(folder, ignore_errors=True)


def _announce(world: World, plan: LabPlan, site: PopSite, home: Path) -> None:
    """Start the BIRD of a PoP: a static route and a filter for each prefix, no more."""
    home.mkdir()
    announced = covering(plan)
    addresses = [f"{prefix[1]}/{prefix.max_prefixlen}" for prefixes in announced.values() for prefix in prefixes]
    ip.batch([f"addr replace {address} dev lo" for address in addresses], netns=site.netns)
    (home / "bird.conf").write_text(_configuration(world, plan, site, {}))
    with netns.inside(site.netns):
        argv = ["bird", "-f", "-c", str(home / "bird.conf"), "-s", str(home / "bird.ctl")]
        process.spawn(argv, pid_file=home / "bird.pid", log=home / "bird.log")


def _configuration(world: World, plan: LabPlan, site: PopSite, silent: Mapping[int, Collection[str]]) -> str:
    """bird.conf of a PoP. `silent`: for the k-th prefix, the upstreams that do not get it although its scope says
    so.
    """
    asn, announced = plan.topology.own.asn, covering(plan)
    lines = [f"router id {site.pop.hosts[0].router_id};", "log stderr all;", "protocol device {}"]
    for family, prefixes in announced.items():
        lines.append(f"protocol static {{ ipv{family}; {' '.join(f'route {p} unreachable;' for p in prefixes)} }}")
        for upstream in site.pop.upstreams:
            scopes = [
                Scope(mode=Mode.WITHHOLD)
                if upstream.name in silent.get(k, ())
                else world.scope(k).get((site.pop.city, upstream.name), Scope())
                for k in range(PREFIXES)
            ]
            said = [_said(asn, *words) for words in zip(prefixes, scopes, strict=True)]
            here, there = (
                (upstream.local4, upstream.neighbor4) if family == 4 else (upstream.local6, upstream.neighbor6)
            )
            lines.append(
                f"protocol bgp {upstream.name}_{family} {{ local {here} as {asn}; neighbor {there} as {upstream.asn};"
                " connect delay time 1; connect retry time 1; error wait time 1, 2;"
                f" ipv{family} {{ import none; export filter {{ {' '.join(said)} reject; }}; }}; }}"
            )
    return "\n".join(lines) + "\n"


def _said(asn: int, prefix: Prefix, scope: Scope) -> str:
    if scope.mode is Mode.WITHHOLD:
        return f"if net = {prefix} then reject;"
    steps = [f"bgp_path.prepend({asn});"] * scope.prepend
    steps += [f"bgp_community.add({c});" for c in scope.communities] + [
        f"bgp_large_community.add({c});" for c in scope.large_communities
    ]
    steps += [f"bgp_ext_community.add(({', '.join(spelled(c))}));" for c in scope.extended_communities]
    return f"if net = {prefix} then {{ {' '.join(steps)} accept; }}"


@contextmanager
def _bound(namespace: str) -> Iterator[socket.socket]:
    with netns.inside(namespace):
        door = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    with door:
        door.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        door.bind(("::", _PORT))
        yield door


def _send(namespace: str, to: str, words: bytes) -> None:
    with (
        netns.inside(namespace),
        socket.socket(socket.AF_INET6 if ":" in to else socket.AF_INET, socket.SOCK_DGRAM) as link,
    ):
        try:
            link.sendto(words, (to, _PORT))
        except OSError as error:  # no route to there is an answer
            if error.errno not in (errno.ENETUNREACH, errno.EHOSTUNREACH):
                raise
