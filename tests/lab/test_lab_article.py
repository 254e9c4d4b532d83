"""The article's internet with plain speakers in our PoPs: latency, policy, communities, cuts. No agents, no control."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from anypop.host import birdc, netns, process
from anypop.lab import build, vantage
from anypop.lab.build import Lab
from anypop.lab.leftovers import left_behind
from anypop.lab.looking_glass import look, router_of
from anypop.lab.machine import in_parallel
from anypop.lab.topology_read import load
from anypop.model.cities import city, distance_km, one_way_ms
from anypop.model.route import Relationship
from anypop.routing.explain import explain
from tests.lab.speaker import STOLEN, Speaker, speaking
from tests.wait import wait_until

pytestmark = pytest.mark.lab
ARTICLE = Path(__file__).parents[2] / "topologies" / "article.yaml"
NEAREST = {"amsterdam": "AMS", "london": "LHR", "new-york": "JFK", "seattle": "LAX", "vancouver": "LAX"}
SAID = NEAREST | {"london": "JFK"}

Pops = dict[str, Speaker]


@pytest.fixture(scope="module")
def home(short_folder: Path) -> Path:
    return short_folder / "article"


@pytest.fixture(scope="module")
def lab(home: Path) -> Iterator[Lab]:
    prefix = f"l{os.getpid() % 46656:x}"
    try:
        yield build.up(load(ARTICLE.read_text()), prefix=prefix, state_dir=home / "lab")
    finally:
        build.down(prefix=prefix, state_dir=home / "lab")
        assert left_behind(home, prefix) == []


@pytest.fixture(scope="module")
def pops(lab: Lab, home: Path) -> Iterator[Pops]:
    with speaking(lab, home / "pops") as found:
        wait_until(lambda: landings(lab) == SAID, timeout_s=20, reason="every PoP announces to all its upstreams")
        yield found


@pytest.fixture
def saying(lab: Lab, pops: Pops) -> Callable[..., AbstractContextManager[None]]:
    """`with saying("(209, 7100)", "JFK", "LAX"):` those PoPs announce to AS209 with that community."""

    @contextmanager
    def context(community: str, *cities: str) -> Iterator[None]:
        for code in cities:
            pops[code].say(community, to="centurylink")
        try:
            yield
        finally:
            for code in cities:
                pops[code].say()
            wait_until(lambda: landings(lab) == SAID, timeout_s=10, reason="all is as before")

    return context


def anycast(lab: Lab, family: int = 4) -> str:
    network = lab.network()
    return str(network.anycast4[0][1] if family == 4 else network.anycast6[0][1])


def landings(lab: Lab, family: int = 4) -> dict[str, str]:
    """Which PoP answers each vantage."""
    answers = {
        host.name: vantage.probe(host, anycast(lab, family), requests=1, timeout_s=1)[0] for host in lab.plan.vantages
    }
    return {name: answer.body or answer.error for name, answer in answers.items()}


def paths(lab: Lab, router: str, family: int = 4) -> list[tuple[int, ...]]:
    """The AS paths a router holds, the best first."""
    return [route.as_path for route in look(lab, anycast(lab, family))[router].candidates]


@pytest.mark.parametrize("family", [4, 6])
def test_an_echo_takes_as_long_as_light_does(lab: Lab, family: int) -> None:
    """London - New York: 69 ms for the ocean and 7.5 ms for the two access lines, there and back, and little more."""
    here, there = lab.vantage("london"), lab.vantage("new-york")
    address = there.address4 if family == 4 else there.address6
    expected = 2 * (one_way_ms(distance_km(city("LHR"), city("JFK"))) + 2 * one_way_ms(300))
    echoes = [vantage.ping(here, address) for _ in range(5)]
    shortest = min(ms for ms in echoes if ms is not None)
    assert expected <= shortest < expected + 5


def test_every_vantage_reaches_every_other_one(lab: Lab) -> None:
    """The lab is ready when it says so."""
    pairs = [(a, b) for a in lab.plan.vantages for b in lab.plan.vantages]
    echoes = in_parallel(lambda pair: vantage.ping(pair[0], pair[1].address4), pairs)
    assert [(a.name, b.name) for (a, b), ms in zip(pairs, echoes, strict=True) if ms is None] == []


@pytest.mark.parametrize("family", [4, 6])
def test_london_holds_the_three_paths_of_the_article(lab: Lab, pops: Pops, family: int) -> None:
    """The best by AS3356 and AS209, the others by AS2914 and AS3257 over AS1299; all three routes are from
    providers.
    """
    wait_until(lambda: landings(lab, family) == SAID, timeout_s=10, reason="announced in this family too")
    found = paths(lab, "as64497-lhr", family)
    assert found[0] == (3356, 209, 33438)
    assert sorted(found[1:]) == [(2914, 1299, 33438), (3257, 1299, 33438)]
    held = look(lab, anycast(lab, family))["as64497-lhr"].candidates
    assert {(route.relationship, route.learnt_at, route.ebgp) for route in held} == {
        (Relationship.PROVIDER, "LHR", True)
    }


@pytest.mark.parametrize("family", [4, 6])
def test_clients_land_where_the_article_says(lab: Lab, pops: Pops, family: int) -> None:
    """London in New York, everyone else in the nearest PoP."""
    wait_until(lambda: landings(lab, family) == SAID, timeout_s=10, reason="announced in this family too")


def test_the_looking_glass_gives_the_reason(lab: Lab, pops: Pops) -> None:
    """AS3356 decided by local preference, for a route that its router in New York learnt from a customer."""
    why = explain(look(lab, anycast(lab)), router_of(lab, "london"), vantage="london", network=lab.network())
    assert (why.landed, why.nearest, why.decided_at_as, str(why.decided_by)) == ("JFK", "LHR", 3356, "local preference")
    assert why.chosen is not None
    assert (why.chosen.relationship, why.chosen.learnt_at) == (Relationship.CUSTOMER, "JFK")


@pytest.mark.parametrize("family", [4, 6])
def test_kept_in_north_america_london_goes_home_and_nobody_else_moves(
    lab: Lab, saying: Callable[..., AbstractContextManager[None]], family: int
) -> None:
    """AS209's community on the announcements of JFK and LAX; one of the two alone changes nothing."""
    with saying("(209, 7100)", "LAX"):
        assert landings(lab, family) == SAID
    with saying("(209, 7100)", "JFK", "LAX"):
        wait_until(lambda: landings(lab, family) == NEAREST, timeout_s=10, reason="London goes home")
        assert paths(lab, "as64497-lhr", family)[0] == (3356, 1299, 33438)


@pytest.mark.parametrize(
    ("community", "router", "held"),
    [
        pytest.param("(209, 7003)", "as3356-lhr", (209, 209, 209, 209, 33438), id="prepend"),
        pytest.param("(209, 7031)", "as3356-lhr", (1299, 33438), id="no-export-to providers"),
        pytest.param("(65535, 65281)", "as3356-lhr", (1299, 33438), id="NO_EXPORT"),
        pytest.param("(3356, 70)", "as3356-lhr", (1299, 33438), id="local-preference below peers"),
        pytest.param("(65535, 0)", "as3356-lhr", (1299, 33438), id="graceful shutdown"),
        pytest.param("(65000, 64497)", "as64497-lhr", (2914, 1299, 33438), id="no-export-to one AS"),
    ],
)
def test_action_communities_do_what_their_dictionary_says(
    lab: Lab, saying: Callable[..., AbstractContextManager[None]], community: str, router: str, held: tuple[int, ...]
) -> None:
    """Sent by JFK and LAX to AS209, which passes on those that are not its own; seen in the best path of a router
    further on.
    """
    with saying(community, "JFK", "LAX"):
        wait_until(lambda: paths(lab, router)[:1] == [held], timeout_s=10, reason=f"{community} is obeyed")


def test_an_upstream_takes_nothing_but_our_own_prefixes(lab: Lab, pops: Pops) -> None:
    """Each speaker announces somebody else's prefix too; not even the neighbour has it."""
    for router in lab.plan.routers:
        text = birdc.ask(lab.control_socket(router.name), f"show route where net = {STOLEN}")
        assert STOLEN not in text, router.name


def test_every_pops_own_prefix_is_reached_from_everywhere(lab: Lab, pops: Pops) -> None:
    """In both families."""
    asked = [
        (client, pop, a)
        for client in lab.plan.vantages
        for pop, host in lab.network().hosts()
        for a in (host.external4[1], host.external6[1])
    ]
    answers = in_parallel(lambda row: vantage.probe(row[0], row[2], requests=1)[0].body, asked)
    wrong = [
        (host.name, pop.city, body) for (host, pop, _), body in zip(asked, answers, strict=True) if body != pop.city
    ]
    assert wrong == []


def test_a_vantage_that_cannot_ask_is_told_apart_from_one_that_gets_no_answer(lab: Lab, pops: Pops) -> None:
    """Its own link loses everything, in both families; beside addresses that nobody announces, which it does ask."""
    host = lab.vantage("amsterdam")
    (link,) = [one for one in lab.plan.links if one.a.netns == host.netns]

    def asked(*addresses: str) -> list[bool]:
        answers = in_parallel(lambda address: vantage.probe(host, address, requests=1, timeout_s=0.5)[0], addresses)
        assert not any(answer.ok for answer in answers)
        assert all(answer.error.startswith("could not ask: ") is not answer.asked for answer in answers)
        return [answer.asked for answer in answers]

    assert asked("192.0.2.1", "2001:db8:dead::1") == [True, True]
    nft = netns.command(link.b.netns, "nft")
    drops = f"chain in {{ type filter hook prerouting priority -500; iifname {link.b.interface} drop; }}"
    process.run((*nft, "-f", "-"), stdin=f"table inet loses_all {{\n{drops}\n}}\n")
    try:
        assert asked(anycast(lab), anycast(lab, 6)) == [False, False]
    finally:
        process.run((*nft, "delete", "table", "inet", "loses_all"))
    wait_until(lambda: landings(lab) == SAID, timeout_s=20, reason="all is as before")


def test_clients_of_a_pop_that_is_cut_off_land_in_the_next_one_and_return(lab: Lab, pops: Pops) -> None:
    """Amsterdam lands in London within a second of silence; whoever attaches sees the cut; after the repair it is
    back in Amsterdam.
    """
    host = lab.vantage("amsterdam")
    with vantage.Stream(host, anycast(lab), interval_s=0.02, timeout_s=0.5) as stream:
        wait_until(lambda: len(stream.answers) > 5, timeout_s=20, reason="some answers before the cut")
        lab.cut("AMS")
        try:
            assert build.attach(lab.folder).is_cut("AMS")
            wait_until(lambda: stream.answers[-1].body == "LHR", timeout_s=10, reason="Amsterdam lands in London")
        finally:
            restored = time.time()
            lab.restore("AMS")
        wait_until(lambda: landings(lab) == SAID, timeout_s=15, reason="Amsterdam is back in Amsterdam")
        answers = stream.stop()
    failed = [answer for answer in answers if not answer.ok and answer.at < restored]
    assert failed, "a cut that loses nothing was none"
    assert failed[-1].at - failed[0].at < 2
    assert not lab.is_cut("AMS")
