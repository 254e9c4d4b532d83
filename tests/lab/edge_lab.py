"""A small internet with a PoP of two hosts, and what its tests ask: hosts without agents, counters and routes of
running BIRDs.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from anypop.agent.act.bgp.config import render
from anypop.agent.decide.elements import Export, SpeakerConfig
from anypop.host import birdc, netns, process
from anypop.lab import build
from anypop.lab.build import Lab
from anypop.model.errors import WorldError
from anypop.model.route import Candidate
from anypop.routing.bird_text import parse_routes

TOPOLOGY = """
name: hosts
ases:
  - {asn: 1299, cities: [LHR, JFK], internal: [LHR-JFK]}
  - {asn: 3356, cities: [LHR]}
  - {asn: 64497, cities: [LHR]}
links:
  - {a: 64497, b: 1299, relationship: customer-provider, at: [LHR]}
  - {a: 64497, b: 3356, relationship: customer-provider, at: [LHR]}
  - {a: 1299, b: 3356, relationship: peer, at: [LHR]}
vantages:
  - {name: london, city: LHR, asn: 64497}
anypop:
  asn: 33438
  anycast4: [198.18.0.0/24, 198.18.1.0/24]
  anycast6: ["2001:db8:a0::/48", "2001:db8:a1::/48"]
  pops:
    - city: LHR
      hosts: 2
      external4: 198.18.16.0/24
      external6: "2001:db8:b0::/48"
      upstreams: [{name: arelion, asn: 1299}, {name: level3, asn: 3356}]
    - city: JFK
      external4: 198.18.17.0/24
      external6: "2001:db8:b1::/48"
      upstreams: [{name: arelion, asn: 1299}]
"""
COVERS = ("198.18.0.0/24", "2001:db8:a0::/48")
ANYCAST = ("198.18.0.1/32", "2001:db8:a0::1/128")
UPSTREAMS = ("as1299-lhr", "as3356-lhr")

Updates = dict[tuple[str, int], tuple[int, int]]


@dataclass(kw_only=True)
class BareHost:
    """A host with a speaker, as an agent would configure it, and nothing else."""

    lab: Lab
    number: int

    @property
    def folder(self) -> Path:
        return self.lab.folder.parent / f"host{self.number}"

    def say(self, more: Sequence[str] = (), fades: bool = False, **scope: Any) -> None:
        """Tell the edge router the covering prefixes with this scope, the anycast addresses, its own first addresses,
        and `more`, all of it fading if so; start the speaker if need be.
        """
        place = self.lab.plan.sites[0].hosts[self.number - 1]
        single = (*ANYCAST, f"{place.host.external4[1]}/32", f"{place.host.external6[1]}/128", *more)
        exports = [Export(prefix=ip_network(p), upstream="edge", graceful=fades, **scope) for p in COVERS]
        exports += [Export(prefix=ip_network(p), upstream="edge", graceful=fades) for p in single]
        config = SpeakerConfig(
            asn=33438, router_id=place.host.router_id, upstreams=place.host.upstreams, exports=tuple(exports)
        )
        self.folder.mkdir(exist_ok=True)
        file, pid_file, control = (self.folder / f"bird.{suffix}" for suffix in ("conf", "pid", "ctl"))
        file.write_text(render(config, log=self.folder / "bird.log"))
        if process.alive(pid_file):
            birdc.ask(control, "configure")
            return
        with netns.inside(place.netns):
            process.spawn(
                ["bird", "-f", "-c", str(file), "-s", str(control)], pid_file=pid_file, log=self.folder / "bird.out"
            )

    def stop(self) -> None:
        """End it in good order, as a host does that is shut down: of one that dies the routes are kept for a while."""
        process.end(self.folder / "bird.pid", grace_s=5)

    def hears(self) -> list[str]:
        """What the edge router tells it."""
        return networks(birdc.ask(self.folder / "bird.ctl", "show route where source = RTS_BGP"))


def networks(text: str) -> list[str]:
    """The networks of BIRD's `show route`, each once."""
    return sorted(set(re.findall(r"^([0-9a-f.:]+/\d+) ", text, flags=re.MULTILINE)))


def updates(folder: Path) -> Updates:
    """How many updates and withdrawals each upstream's router has had from the PoP in London, by router and family.
    Raises `WorldError` where a session is down.
    """
    found: Updates = {}
    for router in UPSTREAMS:
        for family in (4, 6):
            text = birdc.ask(build.attach(folder).control_socket(router), f"show protocols all as33438_lhr_v{family}")
            if "Established" not in text:
                raise WorldError("count updates", f"the session of {router} with the PoP is down")
            told, gone = (re.findall(rf"Import {kind}:\s+(\d+)", text)[0] for kind in ("updates", "withdraws"))
            found[router, family] = int(told), int(gone)
    return found


def told(lab: Lab, router: str, prefix: str) -> Candidate | None:
    """The PoP's own route for a prefix in an upstream's router; None: it has none from there."""
    try:
        text = birdc.ask(
            lab.control_socket(router), f"show route {prefix} protocol as33438_lhr_v{ip_network(prefix).version} all"
        )
    except WorldError:  # "Network not found"
        return None
    found = parse_routes(text)
    return found[0] if found else None


def watched(lab: Lab) -> int:
    """How many of the edge router's sessions with hosts BFD holds to be up. Before that a silent loss is seen by the
    hold time alone.
    """
    return len(re.findall(r" h\d\s+Up ", birdc.ask(lab.control_socket("pop-lhr"), "show bfd sessions")))


def nexthops(lab: Lab, prefix: str) -> int:
    """Over how many hosts the edge router's kernel spreads a prefix."""
    plan = lab.plan
    option = "-6" if ":" in prefix else "-4"
    text = process.run(netns.command(plan.sites[0].netns, "ip", option, "route", "show", prefix))
    return len(re.findall(r" dev h\d", text))
