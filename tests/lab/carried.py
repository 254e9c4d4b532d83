"""Workloads that hosts carry for each other, on one platform: where they are served, and what is said about them.

In: a running platform and its lab. Out: questions to vantages, to upstreams' routers, to Podman and to the kernel.
Nothing is changed from here.
"""

import re
from dataclasses import dataclass
from typing import Any

import httpx

from anypop.host import birdc, netns
from anypop.lab.address import Role
from anypop.lab.build import Lab
from anypop.lab.vantage import probe
from tests.lab.story import Shell


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A platform with workloads that all vantages reach. `addresses`: IPv4 and IPv6 of each."""

    shell: Shell
    lab: Lab
    addresses: dict[str, tuple[str, str]]

    def served(self, workload: str, version: int = 4) -> dict[str, str]:
        """The city that answers, by vantage; empty where nobody does."""
        address = self.addresses[workload][version == 6]
        return {
            source.name: city_of(probe(source, address, requests=1, timeout_s=1)[0].body)
            for source in self.lab.plan.vantages
        }

    def space(self, instance: str) -> str:
        """An instance's namespace."""
        uid = str(self.container(instance)["Labels"]["anypop.uid"])
        (found,) = [n for n in netns.names(f"{self.shell.place.prefix}-i-") if uid.replace("-", "").startswith(n[-10:])]
        return found

    def container(self, instance: str) -> dict[str, Any]:
        """Podman's word for its container."""
        for host in self.shell.place.hosts:
            transport = httpx.HTTPTransport(uds=str(self.shell.place.podman(host).socket))
            with httpx.Client(transport=transport, base_url="http://podman/v4.0.0/libpod") as http:
                for row in http.get("/containers/json").raise_for_status().json() or []:
                    if row["Labels"]["anypop.instance"] == instance:
                        return dict(row)
        raise AssertionError(f"{instance} has no container")

    def updates(self) -> dict[tuple[str, str], list[str]]:
        """What each upstream's router has had from each PoP: updates and withdrawals so far, by session."""
        found = {}
        sockets = {r.netns: self.lab.control_socket(r.name) for r in self.lab.plan.routers}
        for link in self.lab.plan.links:
            if link.role is not Role.UPSTREAM:
                continue
            city = link.a.netns.rpartition("-")[2]
            for v in (4, 6):
                said = birdc.ask(sockets[link.b.netns], f"show protocols all as33438_{city}_v{v}")
                assert "Established" in said, said
                counts = re.findall(r"Import (?:updates|withdraws):\s+(\d+)", said)
                found[link.b.netns, f"{city} IPv{v}"] = counts
        return found


def city_of(instance: str) -> str:
    """Of `both-t-lhr-0`."""
    parts = instance.strip().rsplit("-", 2)
    return parts[1].upper() if len(parts) == 3 else ""
