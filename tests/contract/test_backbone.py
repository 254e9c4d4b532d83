"""Hosts that carry traffic for each other, on the real control: who is announced where, who waits for whom, who may
change it. Agents only pretend: each serves what its own order says, and carries what another one serves.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any

import pytest

from anypop.api.landings import landings_of
from anypop.api.vantages import Answer, Probed, Vantage
from anypop.model import codec
from anypop.model.announce import Address, PrefixPolicy, ScopedBy
from anypop.model.backbone import BackboneRules
from anypop.model.names import CityCode, HostName
from anypop.model.network import Network
from anypop.routing.follow import End
from anypop.routing.why import Why
from tests.contract.test_tenants import RULES, THEIRS, WITHHELD, events, pass_time, prefixes, refused, tenant
from tests.control_world import FakeAgent, World, a_body, a_network

FIRST = "185.85.196.0/24"
ALL = {"AMS", "LHR", "JFK", "LAX"}


def joined(**more: Any) -> Network:
    one = replace(a_network(), anycast4=a_network().anycast4[:1], anycast6=a_network().anycast6[:1])
    return replace(one, backbone=BackboneRules(), **more)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path, joined()) as made:
        yield made


def put(world: World, network: Network, *, confirm: bool = False) -> Any:
    path = f"/anypop/v1/network{'?confirm=true' if confirm else ''}"
    return world.call("PUT", path, json=codec.to_data(network))


def out(agents: list[FakeAgent]) -> set[str]:
    """Where the prefix is announced, as the hosts say."""
    return {str(a.pop) for a in agents for p in a.seen().prefixes if str(p.prefix) == FIRST and p.announced}


def announcements(agents: list[FakeAgent]) -> dict[str, object]:
    return {a.host: a.order.announcements for a in agents if a.order is not None}


def rows(world: World, slug: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = world.get(f"/anypop/v1/stacks/default/workloads/{slug}/announcements")["results"]
    return found


def test_two_workloads_of_different_cities_share_one_prefix_that_is_announced_everywhere(world: World) -> None:
    world.create("fun", cities=("AMS", "LHR"))
    world.create("web", cities=("JFK",))
    agents = world.agents()
    world.settle(agents)
    pass_time(world, agents, 40)
    assert prefixes(world) == {"fun": FIRST, "web": FIRST}
    assert out(agents) == ALL
    assert {r["pop"] for r in rows(world, "fun") if r["announced"]} == ALL
    nearest = {"AMS": None, "LHR": None, "JFK": "LHR", "LAX": "LHR"}
    assert {r["pop"]: r["carried_to"] for r in rows(world, "fun")} == nearest
    assert {r["pop"]: r["carried_to"] for r in rows(world, "web")} == dict.fromkeys(ALL, "JFK") | {"JFK": None}
    assert {len(p.gates) for a in agents if a.order for p in a.order.announcements if str(p.prefix) == FIRST} == {2}


def test_one_that_dies_in_a_pop_is_carried_and_nothing_is_said_to_anybody(world: World) -> None:
    """No order changes, no announcement is touched, no leave is asked for; the neighbour's neither. Cut off from all
    others it can neither serve nor carry: then it may leave, and its owner is told why.
    """
    world.create("fun", cities=("AMS", "LHR"))
    world.create("web", cities=("LHR", "JFK"))
    agents = world.agents()
    world.settle(agents)
    pass_time(world, agents, 40)
    before = announcements(agents)
    generations = {h: i.order.generation for h, i in world.state.orders.items()}
    lhr = next(a for a in agents if a.host == "LHR")
    lhr.broken = frozenset(f"fun-eu-lhr-{n}" for n in range(2))
    pass_time(world, agents, 40)
    assert out(agents) == ALL
    assert announcements(agents) == before
    assert {h: i.order.generation for h, i in world.state.orders.items()} == generations
    assert not events(world, "withdrawal-granted", "withdrawal-refused", "withdrawn", "prefix-leaves", "alarm")
    lhr.cut = True
    pass_time(world, agents, 40)
    assert out(agents) == ALL - {"LHR"}
    said = {e["fields"]["failed"] for e in events(world, "withdrawal-granted")}
    assert said == {"default/fun"}
    because = {(e["subject"], e["fields"]["because"]) for e in events(world, "prefix-leaves")}
    assert because == {
        ("fun", "fun is neither served nor carried from here"),
        ("web", "fun is neither served nor carried from here"),
    }
    (row,) = {(r["announced"], r["reason"], r["says"]) for r in rows(world, "web") if r["pop"] == "LHR"}
    assert row == (
        False,
        "not-carried",
        "an address of it is neither served here nor carried from here: fun is neither served nor carried from here",
    )
    lhr.cut = False
    pass_time(world, agents, 40)
    assert out(agents) == ALL


def test_one_that_works_nowhere_takes_no_pop_from_its_neighbour(world: World) -> None:
    """All instances of one die: all hosts ask to leave, nobody may, and after a while nobody waits for it any more."""
    world.create("fun", cities=("AMS", "LHR"))
    world.create("web", cities=("JFK",))
    agents = world.agents()
    world.settle(agents)
    pass_time(world, agents, 40)
    jfk = next(a for a in agents if a.host == "JFK")
    jfk.broken = frozenset(f"web-eu-jfk-{n}" for n in range(2))
    for _ in range(8):
        pass_time(world, agents, 10)
        assert out(agents) == ALL
    assert not events(world, "withdrawal-granted")
    gates = {len(p.gates) for a in agents if a.order for p in a.order.announcements if str(p.prefix) == FIRST}
    assert gates == {1}, "nobody waits for it any more"
    assert not events(world, "dark"), "where it stands it has served"


def test_a_newcomer_counts_nowhere_until_it_has_served_once(world: World) -> None:
    """Its image does not come; then in one of its two PoPs it does, and all hosts wait for it; it is not in the dark in
    the other one, since it is carried there.
    """
    world.create("fun", cities=("AMS",))
    agents = world.agents()
    world.settle(agents)
    pass_time(world, agents, 40)
    for agent in agents:
        agent.missing = {"registry.example/slow:1"}
    world.create("late", cities=("JFK", "LHR"), image="registry.example/slow:1")

    def gates() -> set[int]:
        return {len(p.gates) for a in agents if a.order for p in a.order.announcements if str(p.prefix) == FIRST}

    for _ in range(5):
        pass_time(world, agents, 20)
        assert gates() == {1}
        assert out(agents) == ALL
    assert {e["fields"]["pop"] for e in events(world, "dark")} == {"JFK", "LHR"}
    next(a for a in agents if a.host == "JFK").missing = set()
    pass_time(world, agents, 40)
    assert gates() == {2}
    assert out(agents) == ALL
    assert not any(r["dark"] for r in rows(world, "late"))


def test_one_that_answers_in_ipv4_alone_keeps_no_ipv6_prefix_back(world: World) -> None:
    """From the first moment in all PoPs, those without an instance too; its owner is told that it is in the dark there,
    its neighbour notices nothing. Once it answers, all wait for it; and for half a minute after it has stopped.
    """
    silent = frozenset(f"four-eu-{city}-{n}" for city in ("ams", "lhr") for n in range(2))
    world.create("fun", cities=("AMS", "LHR"))
    world.create("four", cities=("AMS", "LHR"))
    agents = world.agents()
    for agent in agents:
        agent.four_only = silent
    world.settle(agents)
    pass_time(world, agents, 10)

    def told(slug: str, version: int) -> set[tuple[str, bool, bool, str]]:
        found = (r for r in rows(world, slug) if (":" in r["prefix"]) is (version == 6))
        return {(r["pop"], r["announced"], r["dark"], r["reason"]) for r in found}

    def gates() -> set[int]:
        seen = (p for a in agents if a.order for p in a.order.announcements if p.gates)
        return {len(p.gates) for p in seen if p.prefix.version == 6}

    assert gates() == {1}
    assert told("fun", 6) == told("fun", 4) == told("four", 4) == {(pop, True, False, "announced") for pop in ALL}
    assert told("four", 6) == {(pop, True, True, "family-silent") for pop in ALL}
    for agent in agents:
        agent.four_only = frozenset()
    pass_time(world, agents, 20)
    assert gates() == {2}
    assert told("four", 6) == told("fun", 6)
    for agent in agents:
        agent.four_only = silent
    pass_time(world, agents, 20)
    assert gates() == {2}
    pass_time(world, agents, 40)
    assert gates() == {1}
    assert told("four", 6) == {(pop, True, True, "family-silent") for pop in ALL}
    assert not events(world, "withdrawal-granted")


def test_two_accounts_in_one_prefix_neither_may_scope_it_and_the_operator_may(world: World) -> None:
    """By every road; and who had it alone could until then. A policy keeps it from the owner also while alone."""
    stranger = tenant(world)
    assert world.call("POST", THEIRS, json=a_body("newcomer"), headers=stranger).status_code == 200
    world.settle()
    assert world.call("PATCH", f"{RULES}/announcements", json=WITHHELD, headers=stranger).status_code == 200
    other = tenant(world, "third")
    third = "/workload/v1/stacks/third/workloads"
    words = refused(world.call("POST", third, json=a_body("late"), headers=other), 400)
    assert "has a free address that may be given to this account" in words, "nobody lives by a stranger's rules"
    assert world.call("DELETE", f"{RULES}/announcements", headers=stranger).status_code == 200
    assert world.call("POST", third, json=a_body("late"), headers=other).status_code == 200
    assert prefixes(world) == {"newcomer": FIRST, "late": FIRST}
    for path, who in ((RULES, stranger), ("/anypop/v1/stacks/third/workloads/late", other)):
        words = refused(world.call("PATCH", f"{path}/announcements", json=WITHHELD, headers=who), 403)
        assert f"{FIRST} and 2001:db8:a::/48: another account has addresses there too" in words
        assert "create the workload anew with local only" in words
    world.send("PATCH", f"{RULES}/announcements", WITHHELD)
    assert world.call("DELETE", f"{third}/late", headers=other).status_code == 204
    world.settle()
    world.settle()
    assert prefixes(world) == {"newcomer": FIRST}
    policy = PrefixPolicy(prefix=ip_network(FIRST), scoped_by=ScopedBy.OPERATOR)
    assert put(world, joined(policies=(policy,))).status_code == 200
    words = refused(world.call("DELETE", f"{RULES}/announcements", headers=stranger), 403)
    assert f"how far {FIRST} goes is the operator's to change, by the policy of the network document" in words
    world.send("DELETE", f"{RULES}/announcements")


def test_it_is_turned_on_under_what_stands_and_off_only_where_nobody_depends_on_it(tmp_path: Path) -> None:
    """On: addresses, places and announcements stay, and more PoPs announce. Off while a second workload in other cities
    shares the prefix: refused with their names; confirmed, the plan says what is dark. Off when nobody depends: fine.
    """
    network = replace(joined(), backbone=None)
    with World(tmp_path, network) as world:
        world.create("fun", cities=("AMS", "LHR"))
        agents = world.agents()
        world.settle(agents)
        held, places = dict(world.state.anycast), dict(world.state.incarnations)
        assert out(agents) == {"AMS", "LHR"}
        assert put(world, joined()).status_code == 200
        world.settle(agents)
        pass_time(world, agents, 20)
        assert out(agents) == ALL
        assert dict(world.state.anycast) == held
        assert dict(world.state.incarnations) == places
        assert not events(world, "withdrawn", "withdrawal-granted", "instance-gone")
        assert put(world, network).status_code == 200, "nobody depends on it"
        assert put(world, joined()).status_code == 200
        world.create("web", cities=("JFK",))
        words = refused(put(world, network), 400)
        assert "default/fun (AMS, LHR), default/web (JFK)" in words
        assert "would no longer be announced where they stand" in words
        assert world.state.network.backbone is not None
        assert put(world, network, confirm=True).status_code == 200
        notes = {e["subject"] for e in events(world, "not-planned")}
        assert {"fun", "web"} <= notes


def test_an_operator_names_the_pops_of_a_prefix(world: World) -> None:
    world.create("fun", cities=("AMS", "LHR"))
    agents = world.agents()
    world.settle(agents)
    policy = PrefixPolicy(prefix=ip_network(FIRST), pops=(CityCode("JFK"), CityCode("LAX")))
    assert put(world, joined(policies=(policy,))).status_code == 200
    world.settle(agents)
    pass_time(world, agents, 20)
    assert out(agents) == {"JFK", "LAX"}


def local(slug: str, **options: Any) -> dict[str, Any]:
    body = a_body(slug, **options)
    body["workload"]["metadata"]["annotations"]["anypop/local-only"] = "true"
    return body


def test_local_only_takes_a_prefix_of_its_own_for_life(tmp_path: Path) -> None:
    """Announced where it is and nowhere else, not among what is carried, priced; where none is unused it is refused in
    words; it cannot be changed afterwards.
    """
    network = replace(a_network(), backbone=BackboneRules())
    workloads = "/workload/v1/stacks/default/workloads"
    with World(tmp_path, network) as world:
        priced = world.send("POST", "/anypop/v1/quote", local("near", cities=("AMS",)))
        assert priced["lines"][-1]["item"] == "covering prefix of its own (local only)"
        world.send("POST", workloads, local("near", cities=("AMS",)))
        world.create("fun", cities=("LHR",))
        agents = world.agents()
        world.settle(agents)
        pass_time(world, agents, 40)
        assert prefixes(world) == {"near": FIRST, "fun": "185.85.197.0/24"}
        assert out(agents) == {"AMS"}
        assert {r["pop"] for r in rows(world, "fun") if r["announced"]} == ALL
        for agent in agents:
            assert agent.order is not None
            assert agent.order.backbone is not None
            assert FIRST not in map(str, agent.order.backbone.carried)
        world.send("PUT", f"/anypop/v1/accounts/{world.stack.account_id}/quota", {"local_only": 2})
        words = refused(world.call("POST", workloads, json=local("more", cities=("AMS",))), 400)
        assert "none of 2 IPv4 prefixes" in words
        assert "is unused" in words
        for slug, value in (("near", None), ("fun", "true")):
            change = {"workload": {"metadata": {"annotations": {"anypop/local-only": value}}}}
            words = refused(world.call("PATCH", f"{workloads}/{slug}", json=change), 400)
            assert "lasts for the workload's life" in words


class Vantages:
    """One in London, which always gets AMS's answers; the routers say that its packets come in at LHR."""

    def all(self) -> list[Vantage]:
        return [Vantage(name="london", city=CityCode("LHR"), asn=64511)]

    def probe(self, vantage: str, address: Address, port: int, requests: int) -> Probed:
        return Probed(answers=tuple(Answer(body="fun-eu-ams-0\n", seconds=0.01) for _ in range(requests)), seconds=1)

    def why(self, target: str, address: Address, pops: Sequence[CityCode]) -> Mapping[str, Any]:
        found = Why(
            vantage=target, start=target, end=End.LANDED, landed=CityCode("LHR"), nearest=CityCode("LHR"), hops=(),
            sentences=("It lands in LHR.",),
        )  # fmt: skip
        data: Mapping[str, Any] = codec.to_data(found)
        return data

    def entered(self, vantages: Sequence[str], address: Address) -> Mapping[str, CityCode | None]:
        return {name: CityCode("LHR") for name in vantages}


def test_a_way_is_told_to_its_end_and_an_answer_that_was_carried_as_that(world: World) -> None:
    """Why: in at LHR, then by tunnel to AMS, as LHR's host last reported; not known where it has not. Probes: LHR is
    where it came in, AMS answered all. Tunnels stand beside hosts and PoPs, and going down is an event.
    """
    world.create("fun", cities=("AMS",))
    agents = world.agents()
    world.settle(agents)
    pass_time(world, agents, 40)
    world.platform.vantages = world.platform.glass = Vantages()
    found = world.get("/anypop/v1/why?target=london&workload=fun&stack=default")
    assert found["landed"] == "LHR"
    assert found["onward"] == [
        {
            "host": "LHR",
            "known": True,
            "local": 0,
            "shares": [{"host": "AMS", "pop": "AMS", "share": 1, "up": True}],
            "kept": None,
        }
    ]
    assert found["sentences"][-1] == "In LHR: its host sends 100 % by tunnel to AMS."
    (row,) = world.send("POST", "/anypop/v1/probes", {"workload": "fun", "requests": 5})["results"]
    assert (row["pop"], row["nearest"], row["answered"]) == ("LHR", "LHR", 5)
    assert (row["served"], row["carried"]) == ({"AMS": 5}, 5)
    assert world.run(landings_of(world.platform, next(iter(world.state.workloads))))[0].pop == "LHR"
    lhr = next(a for a in agents if a.host == "LHR")
    lhr.sent = {HostName("AMS"): 1_500}
    lhr.report()
    host = next(h for h in world.get("/anypop/v1/hosts")["results"] if h["host"] == "LHR")
    assert {(t["host"], t["up"], t["sent_bytes"]) for t in host["tunnels"]} == {
        ("AMS", True, 1_500), ("JFK", True, 0), ("LAX", True, 0),
    }  # fmt: skip
    lhr.cut = True
    lhr.report()
    pop = next(p for p in world.get("/anypop/v1/pops")["results"] if p["pop"] == "LHR")
    assert {(t["from"], t["host"], t["up"]) for t in pop["tunnels"]} == {
        ("LHR", other, False) for other in ("AMS", "JFK", "LAX")
    }
    told = [e["message"] for e in events(world, "tunnels") if e["subject"] == "LHR"]
    assert told == ["up: AMS, JFK, LAX", "down: AMS, JFK, LAX"]
    found = world.get("/anypop/v1/why?target=london&workload=fun&stack=default")
    assert found["sentences"][-1] == "In LHR: its host neither serves the address nor carries it anywhere."
    world.clock.now += 30
    ams = next(a for a in agents if a.host == "AMS")
    ams.report()
    found = world.get("/anypop/v1/why?target=london&workload=fun&stack=default")
    assert "has not reported of late" in found["sentences"][-1]


def sent(world: World) -> dict[str, int]:
    """Of each month."""
    return {m["month"]: m["sent_bytes"] for m in world.get("/anypop/v1/backbone")["months"]}


def test_bytes_through_tunnels_are_counted_once_over_restarts_of_control_and_hosts(world: World) -> None:
    """A report twice, or one that comes late, adds nothing; what was sent while control was away comes with the next
    one; after a host's reboot its counter begins anew; a new month begins at nothing; and it has a price.
    """
    world.create("fun", cities=("AMS",))
    agents = world.agents()
    world.settle(agents)
    lhr, jfk = (next(a for a in agents if a.host == name) for name in ("LHR", "JFK"))

    def tell(agent: FakeAgent, count: int, *, late_s: float = 0) -> None:
        agent.sent = {HostName("AMS"): count}
        assert agent.report(at=world.clock.now - late_s).status_code == 204

    assert world.get("/anypop/v1/backbone")["months"] == []
    tell(lhr, 1_000)
    tell(lhr, 1_000)
    tell(jfk, 500)
    assert sent(world) == {"2023-11": 1_500}
    tell(lhr, 700, late_s=20)
    tell(lhr, 1_200)
    assert sent(world) == {"2023-11": 1_700}
    world.restart()
    assert sent(world) == {"2023-11": 1_700}
    tell(lhr, 5_000)
    assert sent(world) == {"2023-11": 5_500}
    tell(lhr, 40)  # the machine was rebooted
    tell(lhr, 100)
    assert sent(world) == {"2023-11": 5_600}
    world.clock.now += 40 * 86_400
    world.headers = world.login(world.credential.client_id, world.credential.secret)
    tell(lhr, 250)
    assert sent(world) == {"2023-12": 150, "2023-11": 5_600}
    tell(jfk, 10**12 + 500)
    found = world.get("/anypop/v1/backbone")
    assert found["months"][0]["sent_bytes"] == 10**12 + 150
    assert found["months"][0]["price"] == pytest.approx(20.0)
    assert found["months"][0]["tunnels"][0] == {"from": "JFK", "host": "AMS", "sent_bytes": 10**12, "price": 20.0}
    assert found["carried"] == [FIRST, "2001:db8:a::/48"]
    tunnel = next(t for t in found["tunnels"] if (t["from"], t["host"]) == ("LHR", "AMS"))
    assert (tunnel["up"], tunnel["distance_km"], tunnel["sent_bytes"]) == (True, 370, 250)
    assert world.call("GET", "/anypop/v1/backbone", headers=tenant(world)).status_code == 403


def test_an_account_without_a_quota_may_have_one_prefix_of_its_own(tmp_path: Path) -> None:
    """The next is refused in words, also while the first is being deleted and still holds its prefix; what shares a
    prefix, another account and a change of what stands are not; the operator sets another limit, for all or for a
    stack.
    """
    network = replace(a_network(), backbone=BackboneRules())
    network = replace(network, anycast4=(*network.anycast4, IPv4Network("185.85.198.0/24")))
    network = replace(network, anycast6=(*network.anycast6, IPv6Network("2001:db8:c::/48")))
    workloads, quota = "/workload/v1/stacks/default/workloads", "/anypop/v1/accounts/{}/quota"
    with World(tmp_path, network) as world:
        account = world.stack.account_id
        assert world.get("/anypop/v1/quota")["quota"] == {"local_only": 1, "image_bytes": 64 << 30}
        world.send("POST", workloads, local("near", cities=("AMS",)))
        words = refused(world.call("POST", workloads, json=local("more", cities=("AMS",))), 429)
        assert "2 workloads with a covering prefix of their own (local only) would be declared" in words
        assert f"the quota of account {account} is 1, 1 are used; declare it without local only" in words
        world.create("fun", cities=("LHR",))
        world.send("PATCH", f"{workloads}/near", {"workload": world.replicas(1)})

        world.settle()
        assert world.call("DELETE", f"{workloads}/near").status_code == 204
        refused(world.call("POST", workloads, json=local("more", cities=("AMS",))), 429)
        assert world.get("/anypop/v1/quota")["used"]["local_only"] == 1
        world.settle()
        world.send("POST", workloads, local("more", cities=("AMS",)))

        accounts = world.platform.accounts
        tenant = accounts.create_account("theirs")
        accounts.create_stack(tenant.id, "theirs", "theirs")
        secret = accounts.create_credential(tenant.id, "ci")
        headers, theirs = world.login(secret.client_id, secret.secret), "/workload/v1/stacks/theirs/workloads"
        world.send("PUT", quota.format(tenant.id), {"local_only": 0})
        refused(world.call("POST", theirs, json=local("own", cities=("AMS",)), headers=headers), 429)
        world.send("PUT", quota.format(tenant.id), {"local_only": 2})
        world.send("PUT", "/anypop/v1/stacks/theirs/quota", {"quota": {"local_only": 0}})
        refused(world.call("POST", theirs, json=local("own", cities=("AMS",)), headers=headers), 429)
        world.send("PUT", "/anypop/v1/stacks/theirs/quota", {"quota": {}})
        made = world.call("POST", theirs, json=local("own", cities=("AMS",)), headers=headers)
        assert made.status_code == 200, made.text
