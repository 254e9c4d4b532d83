"""Faults of the backbone: a tunnel between two hosts cut, one way or both; its device taken away or down; its rules,
tables and next hops deleted.

In: a platform, its lab, a `random.Random`. Out: the kinds of such faults, none where the network has no backbone.
Packets vanish where they arrive, so who sends them is told nothing.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

from anypop.agent.naming import (
    ROUTE_PROTOCOL,
    SERVED_TABLE,
    TARGETS_TABLE,
    TUNNEL,
    TUNNEL_PREFERENCE,
    TUNNEL_TABLE,
)
from anypop.host import ip, netns, process
from anypop.lab.address import HostSite
from anypop.lab.build import Lab
from anypop.model.backbone import BackboneRules
from anypop.model.errors import WorldError
from tests.lab.chaos.fault import HOLD_S, Fault, Maker

_CUT = "chaos_tunnel"
_HOPS = 3  # the highest digit of the numbers of next hops by the tunnel
_LAST_RULE = TUNNEL_PREFERENCE + 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Tunnels:
    """See the module."""

    lab: Lab
    dice: random.Random

    def kinds(self) -> Mapping[str, Maker]:
        rules = self.lab.plan.topology.own.backbone
        if rules is None or len(self._sites()) < 2:
            return {}
        return {
            "tunnel cut both ways": lambda: self._cut("tunnel cut both ways", rules),
            "tunnel cut one way": lambda: self._cut("tunnel cut one way", rules),
            "delete tunnel": self._device,
            "tunnel down": self._down,
            "delete tunnel rule": lambda: self._one("rule", _rules),
            "delete tunnel table": lambda: self._one("table", _tables),
            "delete tunnel hop": lambda: self._one("hop", _hops),
        }

    def _sites(self) -> list[HostSite]:
        return [host for site in self.lab.plan.sites for host in site.hosts]

    def _cut(self, kind: str, rules: BackboneRules) -> Fault:
        """Between two hosts, what the one sends to the other or both ways; everything else passes."""
        one, other = self.dice.choice(list(permutations(self._sites(), 2)))
        ways = [(one, other)] if "one way" in kind else [(one, other), (other, one)]
        made: list[tuple[str, str]] = []
        for sender, receiver in ways:
            table = f"{_CUT}_{sender.host.name}_{receiver.host.name}".replace("-", "_")
            empty = f"table inet {table}\ndelete table inet {table}\n"
            source = sender.host.tunnel_address
            drop = f"ip saddr {source} udp dport {rules.port} drop;"
            chain = f"chain pre {{ type filter hook prerouting priority -500; {drop} }}"
            _nft(receiver.netns, f"{empty}table inet {table} {{\n{chain}\n}}\n")
            made.append((receiver.netns, empty))

        def undo() -> None:
            for inside, text in made:
                _nft(inside, text)

        arrow = "to" if len(ways) == 1 else "and"
        return Fault(kind=kind, what=f"{one.host.name} {arrow} {other.host.name}", undo=undo, hold_s=HOLD_S)

    def _device(self) -> Fault | None:
        site = self.dice.choice(self._sites())
        return self._done("delete tunnel", site, TUNNEL, ["ip", "link", "del", TUNNEL], lambda: _is_up(site.netns))

    def _down(self) -> Fault | None:
        site = self.dice.choice(self._sites())
        words = ["ip", "link", "set", TUNNEL, "down"]
        return self._done("tunnel down", site, TUNNEL, words, lambda: _is_up(site.netns))

    def _one(self, what: str, listed: Callable[[str], Mapping[str, Sequence[str]]]) -> Fault | None:
        """One of those that there are on one host."""
        site = self.dice.choice(self._sites())
        found = listed(site.netns)
        if not found:
            return None
        name = self.dice.choice(sorted(found))
        return self._done(f"delete tunnel {what}", site, name, found[name], lambda: name in listed(site.netns))

    def _done(
        self, kind: str, site: HostSite, name: str, words: Sequence[str], back: Callable[[], bool]
    ) -> Fault | None:
        try:
            process.run(netns.command(site.netns, *words))
        except WorldError:  # the agent was quicker, or is at work on it
            return None
        return Fault(kind=kind, what=f"{name} of {site.host.name}", host=str(site.host.name), back=back)


def _is_up(inside: str) -> bool:
    found = [link for link in ip.query("link", "show", netns=inside) if link["ifname"] == TUNNEL]
    return bool(found) and "UP" in found[0]["flags"]


def _rules(inside: str) -> dict[str, list[str]]:
    found = {}
    for family in ("-4", "-6"):
        for rule in ip.query(family, "rule", "show", netns=inside):
            if TUNNEL_PREFERENCE <= int(rule["priority"]) <= _LAST_RULE:
                number = str(rule["priority"])
                found[f"rule {family} {number}"] = ["ip", family, "rule", "del", "pref", number]
    return found


def _tables(inside: str) -> dict[str, list[str]]:
    """By name, those that hold anything."""
    found = {}
    for family in ("-4", "-6"):
        for table in map(str, (TUNNEL_TABLE, SERVED_TABLE, TARGETS_TABLE)):
            try:
                full = ip.query(family, "route", "show", "table", table, netns=inside)
            except WorldError:  # there is no such table
                continue
            if full:
                found[f"table {family} {table}"] = ["ip", family, "route", "flush", "table", table]
    return found


def _hops(inside: str) -> dict[str, list[str]]:
    """Next hops to other hosts."""
    return {
        f"next hop {hop['id']}": ["ip", "nexthop", "del", "id", str(hop["id"])]
        for hop in ip.query("nexthop", "show", "proto", str(ROUTE_PROTOCOL), netns=inside)
        if int(hop["id"]) >> 28 == _HOPS and "group" not in hop
    }


def _nft(inside: str, text: str) -> None:
    process.run(netns.command(inside, "nft", "-f", "-"), stdin=text)
