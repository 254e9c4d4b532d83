"""The article's case over a `World`: London lands in New York for a customer route, until AS209's announcements are
kept at home.

Vantages that follow the rules which stand, the article's routers as looking glass, and a graph in which the doctor
finds cause and cure. Nothing of it needs a network.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from anypop.api.graphs import Graphs
from anypop.api.landings import look
from anypop.api.vantages import Answer, Probed, Vantage
from anypop.model import codec
from anypop.model.announce import Address
from anypop.model.names import CityCode
from anypop.routing.explain import explain
from tests.contract.test_api_predictions import CITIES, NETWORK, graph_in
from tests.control_world import FakeAgent, World, a_network
from tests.unit.test_routing_explain import article

# what a router prints
PASTED = (
    "BIRD 2.0.12 ready.\n198.51.100.0/24      unicast [up 10:00:00] * (100) [AS64500i]\n\tBGP.as_path: 3356 64500\n"
)
HOMES = {"amsterdam": ("AMS", 64496), "london": ("LHR", 3356), "new-york": ("JFK", 64498), "seattle": ("SEA", 64499)}
LANDS = {"amsterdam": "AMS", "new-york": "JFK", "seattle": "LAX"}


class Vantages:
    """Each answers from its PoP's first instance. London's path follows what AS209 hears."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.asked = 0

    def all(self) -> list[Vantage]:
        return [Vantage(name=name, city=CityCode(city), asn=asn) for name, (city, asn) in HOMES.items()]

    def probe(self, vantage: str, address: Address, port: int, requests: int) -> Probed:
        self.asked += requests
        pop = LANDS.get(vantage) or self.london()
        answers = tuple(Answer(body=f"fun-eu-{pop.lower()}-{n % 2}\n", seconds=0.002) for n in range(requests))
        return Probed(answers=answers, seconds=0.002 * requests)

    def london(self) -> str:
        kept = {rule.pop for rule in self.world.state.rules.values() if rule.upstream == "as209"}
        return next((pop for pop in ("JFK", "LAX") if pop not in kept), "LHR")


class Glass:
    """A looking glass over the article's routers."""

    def why(self, target: str, address: Address, pops: Sequence[CityCode]) -> Mapping[str, Any]:
        found: Mapping[str, Any] = codec.to_data(explain(article(), target, vantage=target, nearest=CityCode("LHR")))
        return found

    def entered(self, vantages: Sequence[str], address: Address) -> Mapping[str, CityCode | None]:
        return {}


def london_world(folder: Path, *, now: float) -> World:
    """A control with the article's four PoPs, its vantages and its graph; nothing is declared yet."""
    made = World(folder, a_network(NETWORK), now=now)
    made.platform.vantages, made.platform.glass = Vantages(made), Glass()
    made.platform.streams.patience_s = 0.1  # agents that only pretend answer no stream
    made.platform.graphs = Graphs(folder=graph_in(folder / "graph"))
    return made


def fun(world: World) -> None:
    """The workload, in all four cities."""
    world.create("fun", cities=CITIES)


def go_on(world: World, agents: list[FakeAgent]) -> None:
    """A second passes: hosts report, control looks where the vantages land."""
    world.clock.now += 1
    world.settle(agents)
    world.run(look(world.platform))
    world.settle(agents)
