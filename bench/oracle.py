"""BGPy (PyPI `bgpy_pkg`) as an oracle: the same announcements over the same graph, by somebody else's engine.

One pseudo-AS per PoP, customer of its upstreams; ties go to the lowest neighbour number in both engines. For tests
and benchmarks only.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bgpy.as_graphs import CAIDAASGraph, CAIDAASGraphConstructor
from bgpy.simulation_engine import BGP, Announcement, SimulationEngine

from anypop.model.names import CityCode
from anypop.routing.engine.seeds import Seed
from anypop.routing.internet.relationships import Relationships
from anypop.routing.internet.sites import Internet

# Private numbers (RFC 6996): above every real AS, so a PoP wins no tie against a network by its number.
FIRST_POP = 4_200_000_000
PREFIX = "192.0.2.0/24"


@dataclass(frozen=True, slots=True, kw_only=True)
class Uplinks:
    """Who buys from whom: PoP i (named `P00` and on) is a customer of the ASes `upstreams[i]`."""

    upstreams: tuple[tuple[int, ...], ...]

    def seeds(self, internet: Internet) -> tuple[Seed, ...]:
        """For our engines: each PoP with a number of its own as origin and as tie key, at the first site of its
        upstream.
        """
        return tuple(
            Seed(
                pop=CityCode(f"P{i:02}"),
                upstream=f"AS{asn}",
                site=internet.sites_of(asn)[0],
                origin=FIRST_POP + i,
                key=FIRST_POP + i,
            )
            for i, row in enumerate(self.upstreams)
            for asn in row
        )


class Oracle:
    """BGPy with one graph loaded."""

    def __init__(self, links: Relationships, uplinks: Uplinks) -> None:
        rows = [
            f"{a}|{b}|{k}|bgp" for a, b, k in zip(links.a.tolist(), links.b.tolist(), links.kind.tolist(), strict=True)
        ]
        rows += [f"{asn}|{FIRST_POP + i}|-1|bgp" for i, row in enumerate(uplinks.upstreams) for asn in row]
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
            file.write("\n".join(rows) + "\n")
            file.flush()
            info = CAIDAASGraphConstructor()._get_as_graph_info(Path(file.name))
        self._graph = CAIDAASGraph(info, store_customer_cone_size=False)
        self._scenario = _Scenario([FIRST_POP + i for i in range(len(uplinks.upstreams))])
        self._engine: Any = SimulationEngine(self._graph)  # it asks for more of a scenario than it uses

    def setup(self) -> None:
        """Forget the last propagation."""
        self._engine.setup(self._scenario)

    def run(self) -> None:
        """Propagate once."""
        self._engine.run(0, self._scenario)

    def paths(self) -> dict[int, tuple[int, ...]]:
        """The AS path of every AS that has a route, its own number first."""
        found = {}
        for asn, node in self._graph.as_dict.items():
            announcement = node.policy.local_rib.get(PREFIX)
            if announcement is not None:
                found[int(asn)] = tuple(map(int, announcement.as_path))
        return found


class _Scenario:
    """What BGPy needs of a scenario: who announces, and one policy for all."""

    def __init__(self, origins: Sequence[int]) -> None:
        self.announcements = tuple(Announcement(prefix=PREFIX, as_path=(asn,)) for asn in origins)

    def get_policy_cls(self, _: Any) -> type[BGP]:
        return BGP
