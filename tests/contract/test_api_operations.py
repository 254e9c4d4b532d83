"""The operator's side of the API: prices, PoPs, announcements, the network, dictionaries, probes and reasons."""

import asyncio
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from anypop.api.vantages import Answer, Probed, Vantage
from anypop.model import codec
from anypop.model.announce import Address
from anypop.model.errors import WorldError
from anypop.model.names import CityCode
from anypop.model.order_since import VERSION
from tests.control_world import World, a_body, a_network

RULES = "/anypop/v1/stacks/default/workloads/fun/announcements"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path) as made:
        yield made


def _fields(response: Any) -> list[str]:
    assert response.status_code == 400, response.text
    return [v["field"] for d in response.json()["details"] for v in d.get("fieldViolations", ())]


# prices


def test_the_price_comes_before_anything_starts(world: World) -> None:
    """Eight instances in four PoPs and anycast: 0.86 USD an hour, 627.80 a month, line by line, and nothing is
    created.
    """
    body = a_body(cities=("AMS", "LHR", "JFK", "LAX"), replicas=2)
    found = world.send("POST", "/anypop/v1/quote", body)
    assert (found["currency"], found["hourly"], found["monthly"]) == ("USD", 0.86, 627.8)
    assert [(line["quantity"], line["unit_hourly"]) for line in found["lines"]] == [(8, 0.09), (1, 0.14)]
    assert not world.platform.core.state.workloads


def test_a_quote_for_a_wrong_workload_has_the_same_problems_as_its_creation(world: World) -> None:
    """One parser for both."""
    body = a_body(cities=("XXX",), replicas=-1)
    created = world.call("POST", "/workload/v1/stacks/default/workloads", json=body)
    assert _fields(world.call("POST", "/anypop/v1/quote", json=body)) == _fields(created)


def test_the_operator_replaces_the_price_book(world: World) -> None:
    """The new prices count at once and after a restart; a broken book changes nothing."""
    text = (
        "currency: EUR\nhours_per_month: 730\nanycast_hourly: 1\nsizes: [{name: S, cpu: 4, memory: 8Gi, hourly: 0.5}]\n"
    )
    before = world.get("/anypop/v1/prices")
    put = world.call("PUT", "/anypop/v1/prices", content=text).json()
    assert put["currency"] == "EUR" and put == world.get("/anypop/v1/prices") and put["version"] != before["version"]
    assert world.send("POST", "/anypop/v1/quote", a_body(replicas=1))["hourly"] == 2.0
    assert world.call("PUT", "/anypop/v1/prices", content="currency: [").status_code == 400
    assert world.get("/anypop/v1/prices")["currency"] == "EUR"
    assert world.platform.core.store.setting("price_book") == text


# PoPs


def test_pops_show_what_they_reported_and_how_sure_we_are(world: World) -> None:
    """Unknown before the first report; then sessions, prefixes with upstreams, generations and instances by phase."""
    assert {p["reason"] for p in world.get("/anypop/v1/pops")["results"]} == {"no-report"}
    world.create()
    world.settle()
    lhr = next(p for p in world.get("/anypop/v1/pops")["results"] if p["pop"] == "LHR")
    assert (lhr["verdict"], lhr["city"], lhr["trusted"]) == ("trusted", "London", True)
    assert lhr["instances"] == {"total": 2, "healthy": 2, "phases": {"RUNNING": 2}}
    assert lhr["generation"] == lhr["obeyed"] > 1
    assert [s["asn"] for s in lhr["sessions"]] == [1299, 1299, 3257, 3257]
    out = {p["prefix"]: p["upstreams"] for p in lhr["prefixes"] if p["announced"]}
    assert out["185.85.196.0/24"] == ["as1299", "as3257"]


def test_events_tell_the_story_in_order(world: World) -> None:
    """From the creation to the announcement, oldest first; `after` gives only what is newer."""
    world.create()
    world.settle()
    found = world.get("/anypop/v1/events?limit=1000")["results"]
    kinds = [e["kind"] for e in found]
    assert kinds.index("workload-created") < kinds.index("instance") < len(kinds)
    assert {"order-issued", "session", "announced", "pop-trusted"} <= set(kinds)
    assert [e["id"] for e in found] == sorted(e["id"] for e in found)
    assert world.get(f"/anypop/v1/events?after={found[-3]['id']}")["results"] == found[-2:]
    assert _fields(world.call("GET", "/anypop/v1/events?limit=x")) == ["limit"]


def test_a_tenant_sees_the_events_of_its_own_stacks_alone(world: World) -> None:
    """Another account's workloads do not show."""
    world.create()
    world.settle()
    accounts = world.platform.accounts
    stranger = accounts.create_account("stranger")
    secret = accounts.create_credential(stranger.id, "theirs")
    accounts.create_stack(stranger.id, "theirs", "theirs")
    world.headers = world.login(secret.client_id, secret.secret)
    assert world.get("/anypop/v1/events?limit=1000")["results"] == []
    world.send("POST", "/workload/v1/stacks/theirs/workloads", a_body("mine"))
    kinds = {(e["kind"], e["subject"]) for e in world.get("/anypop/v1/events?limit=1000")["results"]}
    assert kinds == {("workload-created", "mine")}


# announcements


def test_every_prefix_towards_every_upstream_is_listed_with_its_effect(world: World) -> None:
    """Two families, two PoPs, two upstreams each: eight rows, announced once the PoPs say so."""
    world.create()
    before = world.get(RULES)["results"]
    assert len(before) == 8 and {r["reason"] for r in before} == {"no-report"}
    world.settle()
    after = world.get(RULES)["results"]
    assert all(r["announced"] and r["asn"] for r in after)


def test_rules_change_orders_and_answer_with_the_difference(world: World) -> None:
    """By name or AS number; PUT replaces all, PATCH adds, DELETE resets; each answer says what changed."""
    world.create()
    world.settle()
    scope = {
        "mode": "announce",
        "prepend": 2,
        "communities": ["209:7100", [65535, 0]],
        "large_communities": ["209:71:3356"],
        "extended_communities": ["rt:209:70"],
    }
    rules = [{"pop": "LHR", "upstream": "1299", "scope": scope, "note": "stay"}]
    put = world.send("PUT", RULES, {"rules": rules})
    plain = {"mode": "announce", "prepend": 0, "communities": [], "large_communities": [], "extended_communities": []}
    full = {
        "mode": "announce",
        "prepend": 2,
        "communities": ["209:7100", "65535:0"],
        "large_communities": ["209:71:3356"],
        "extended_communities": ["rt:209:70"],
    }
    assert put["changes"] == [{"pop": "LHR", "upstream": "as1299", "before": plain, "after": full}]
    patch = {"rules": [{"pop": "LHR", "upstream": "AS3257", "scope": {"mode": "withhold"}}]}
    assert [c["upstream"] for c in world.send("PATCH", RULES, patch)["changes"]] == ["as3257"]
    agents = {agent.pop: agent for agent in world.agents()}
    world.settle(list(agents.values()))
    order = agents[CityCode("LHR")].order
    assert order is not None
    scopes = {(a.upstream, str(a.prefix)): a.scope for a in order.announcements}
    assert scopes["as1299", "185.85.196.0/24"].prepend == 2
    assert scopes["as3257", "185.85.196.0/24"].mode.value == "withhold"
    rows = {(r["pop"], r["upstream"], r["prefix"]): r for r in world.get(RULES)["results"]}
    assert rows["LHR", "as3257", "185.85.196.0/24"]["reason"] == "withheld"
    assert rows["LHR", "as1299", "185.85.196.0/24"]["note"] == "stay"
    world.restart()
    assert len(world.get(RULES)["rules"]) == 2
    assert len(world.send("DELETE", RULES)["changes"]) == 2
    assert world.get(RULES)["rules"] == []


def test_an_older_agent_announces_nothing_further_than_it_was_asked_to(world: World) -> None:
    """It never heard of extended communities: a new scope with one is refused, one that stands is held back there, and
    the rows, the host and the events say why.
    """
    world.create()
    world.settle()
    rules = {"rules": [{"pop": "LHR", "upstream": "as1299", "scope": {"extended_communities": ["rt:1299:70"]}}]}
    world.send("PUT", RULES, rules)
    agents = {agent.pop: agent for agent in world.agents()}
    world.settle(list(agents.values()))
    assert all(r["announced"] for r in world.get(RULES)["results"])
    older = agents[CityCode("LHR")]
    older.understands = 0
    older.report()
    world.settle(list(agents.values()))
    rows = {(r["pop"], r["upstream"]): r for r in world.get(RULES)["results"]}
    held = rows["LHR", "as1299"]
    assert (held["announced"], held["reason"]) == (False, "older-agent")
    assert "LHR: its agent is of an older version and does not know extended communities" in held["says"]
    assert rows["LHR", "as3257"]["announced"], "what it knows goes on"
    host = next(h for h in world.get("/anypop/v1/hosts")["results"] if h["host"] == "LHR")
    assert host["reason"] == "older-agent"
    told = [e for e in world.get("/anypop/v1/events?limit=1000")["results"] if e["kind"] == "error"]
    assert [e["subject"] for e in told] == ["LHR"] and "extended communities" in told[0]["message"]
    other = {"rules": [{"pop": "LHR", "upstream": "as3257", "scope": {"extended_communities": ["rt:3257:1"]}}]}
    refused = world.call("PATCH", RULES, json=other)
    assert refused.status_code == 400 and "does not know extended communities" in refused.json()["message"]
    older.understands = VERSION
    older.report()
    world.settle(list(agents.values()))
    assert all(r["announced"] for r in world.get(RULES)["results"])


def test_the_same_rules_again_change_nothing(world: World) -> None:
    """No difference, no new order."""
    world.create()
    rules = {"rules": [{"pop": "LHR", "upstream": "as1299", "scope": {"prepend": 1}}]}
    world.send("PUT", RULES, rules)
    before = world.platform.core.state
    assert world.send("PUT", RULES, rules)["changes"] == []
    assert world.platform.core.state.orders is before.orders


def test_everything_wrong_with_rules_is_said_at_once(world: World) -> None:
    """Unknown PoP and upstream, prepends, communities, unknown fields, the same twice; and nothing changes."""
    world.create()
    rules = [
        {"pop": "XXX", "upstream": "as1299", "scope": {}},
        {"pop": "LHR", "upstream": "as1", "scope": {"mode": "shout"}},
        {
            "pop": "LHR",
            "upstream": "as1299",
            "scope": {"prepend": 9, "communities": ["70000:1", "x", [1], "1:2:3:4"], "colour": 1},
        },
        {"pop": "LHR", "upstream": "as1299", "scope": {}, "colour": 1},
        {"upstream": 5, "scope": {"communities": "209:7100"}},
        7,
    ]
    assert sorted(_fields(world.call("PUT", RULES, json={"rules": rules}))) == sorted(
        [
            "rules[0].pop",
            "rules[1].scope.mode",
            "rules[1].upstream",
            "rules[2].scope.colour",
            "rules[2].scope.communities[0]",
            "rules[2].scope.communities[1]",
            "rules[2].scope.communities[2]",
            "rules[2].scope.communities[3]",
            "rules[2].scope.prepend",
            "rules[3].colour",
            "rules[3]",
            "rules[4].pop",
            "rules[4].scope.communities",
            "rules[5]",
        ]
    )
    assert _fields(world.call("PUT", RULES, json={})) == ["rules"]
    assert world.get(RULES)["rules"] == []


# the network


def test_a_new_pop_gets_an_order_and_a_token(world: World) -> None:
    """The operator adds a city; it is a location, its agent can log in."""
    cities = {"AMS": (1299, 3356), "LHR": (1299, 3257), "JFK": (209, 2914), "LAX": (209, 1299), "SEA": (209,)}
    world.send("PUT", "/anypop/v1/network", codec.to_data(a_network(cities)))
    assert "SEA" in world.platform.core.state.orders
    assert (world.folder / "agents" / "SEA.token").stat().st_mode & 0o777 == 0o600
    world.create(cities=("SEA",))
    world.settle()
    assert {i["phase"] for i in world.instances()} == {"RUNNING"}


def test_a_pop_that_has_instances_does_not_vanish(world: World) -> None:
    """Taking a city out of the network is refused while a workload has instances there."""
    world.create()
    cities = {"AMS": (1299, 3356), "JFK": (209,)}
    response = world.call("PUT", "/anypop/v1/network", json=codec.to_data(a_network(cities)))
    assert response.status_code == 400 and "LHR (2 instances)" in response.json()["message"]
    assert len(world.platform.cities()) == 4


def test_a_wrong_network_is_refused_with_all_its_problems(world: World) -> None:
    """The same city twice and prefixes that overlap."""
    good = a_network()
    bad = replace(good, asn=0, pops=(*good.pops, good.pops[0]))
    assert _fields(world.call("PUT", "/anypop/v1/network", json=codec.to_data(bad))) == [
        "asn",
        "pops[4].city",
        "pops[4].hosts[0].external4",
        "pops[4].hosts[0].external6",
    ]


# communities


def test_the_dictionary_of_a_network_marks_what_is_invented(world: World) -> None:
    """209's set is invented and says so; a network without a file has the well-known ones; a bad number is a bad
    request.
    """
    found = world.get("/anypop/v1/communities/209")
    keep = next(e for e in found["entries"] if e["action"] == {"kind": "keep-in-region", "region": "NA"})
    assert keep["invented"] and keep["community"] == "209:7100"
    assert "65535:0" in {e["community"] for e in world.get("/anypop/v1/communities/64999")["entries"]}
    assert _fields(world.call("GET", "/anypop/v1/communities/x")) == ["asn"]


# probes


class FakeVantages:
    """London answers, by turns from two instances; Berlin is broken."""

    def all(self) -> list[Vantage]:
        return [
            Vantage(name="london", city=CityCode("LHR"), asn=64511),
            Vantage(name="berlin", city=CityCode("BER"), asn=64512),
        ]

    def probe(self, vantage: str, address: Address, port: int, requests: int) -> Probed:
        if vantage == "berlin":
            raise WorldError("probe from berlin", "its namespace is gone")
        assert (str(address), port) == ("185.85.196.1", 80)
        answers = [Answer(body=f"fun-eu-ams-{n % 2}\n", seconds=0.01) for n in range(requests - 1)]
        return Probed(answers=(*answers, Answer(error="timed out", seconds=1)), seconds=2.5)


class FakeGlass:
    def why(self, target: str, address: Address, pops: Sequence[CityCode]) -> Mapping[str, Any]:
        if target != "london":
            raise KeyError(target)
        return {"vantage": target, "address": str(address), "pops": list(pops)}

    def entered(self, vantages: Sequence[str], address: Address) -> Mapping[str, CityCode | None]:
        return {}


def test_without_a_vantage_the_api_says_so(world: World) -> None:
    """An empty list with a note, and a clear refusal of probes and reasons."""
    world.create()
    assert world.get("/anypop/v1/vantages")["results"] == []
    for method, path in (("POST", "/anypop/v1/probes"), ("GET", "/anypop/v1/why?target=london&workload=fun")):
        response = world.call(method, path, **({"json": {"workload": "fun"}} if method == "POST" else {}))
        assert response.status_code == 400 and "no vantage is attached" in response.json()["message"]


def test_probes_tell_where_each_vantage_lands(world: World) -> None:
    """PoP reached, hits for each instance, failures, time, and where it should have landed; a broken vantage is a
    row too.
    """
    world.create()
    world.platform.vantages = FakeVantages()
    london, berlin = world.send("POST", "/anypop/v1/probes", {"workload": "fun", "stack": "default", "requests": 15})[
        "results"
    ]
    assert (london["pop"], london["nearest"], london["answered"], london["requests"]) == ("AMS", "LHR", 14, 15)
    assert london["hits"] == {"fun-eu-ams-0": 7, "fun-eu-ams-1": 7} and london["errors"] == ["timed out"]
    assert (berlin["answered"], berlin["pop"], berlin["nearest"]) == (0, None, "AMS")
    assert "namespace is gone" in berlin["errors"][0]
    only = world.send("POST", "/anypop/v1/probes", {"address": "185.85.196.1", "vantages": ["london"], "requests": 2})[
        "results"
    ]
    assert [(row["vantage"], row["nearest"]) for row in only] == [("london", "LHR")]


def test_slow_probes_keep_nobody_waiting(world: World) -> None:
    """While more vantages hang than the usual pool has threads, a login and a creation are answered."""
    go_on = threading.Event()

    class Slow(FakeVantages):
        def all(self) -> list[Vantage]:
            return [Vantage(name=f"v{n}", city=CityCode("LHR"), asn=64511) for n in range(50)]

        def probe(self, vantage: str, address: Address, port: int, requests: int) -> Probed:
            assert go_on.wait(30)
            return Probed()

    world.create()
    world.platform.vantages = Slow()

    async def story() -> int:
        probe = asyncio.create_task(
            world.request("POST", "/anypop/v1/probes", json={"workload": "fun"}, headers=world.headers)
        )
        who = {"client_id": world.credential.client_id, "client_secret": world.credential.secret}
        async with asyncio.timeout(10):
            for _ in range(3):
                assert (await world.request("POST", "/identity/v1/oauth2/token", json=who)).status_code == 200
            await world.request(
                "POST", "/workload/v1/stacks/default/workloads", json=a_body("other"), headers=world.headers
            )
        assert not probe.done()
        go_on.set()
        return len((await probe).json()["results"])

    assert world.run(story()) == 50


def test_a_probe_on_its_way_is_refused_when_control_stops(world: World) -> None:
    """503 in words, at once, however long the vantage still takes."""
    began, go_on = threading.Event(), threading.Event()

    class Slow(FakeVantages):
        def probe(self, vantage: str, address: Address, port: int, requests: int) -> Probed:
            began.set()
            assert go_on.wait(30)
            return Probed()

    world.create()
    world.platform.vantages = Slow()

    async def story() -> httpx.Response:
        probe = asyncio.create_task(
            world.request("POST", "/anypop/v1/probes", json={"workload": "fun"}, headers=world.headers)
        )
        assert await asyncio.to_thread(began.wait, 10)
        world.platform.core.bell.close()
        async with asyncio.timeout(60):
            return await probe

    response = world.run(story())
    go_on.set()
    assert response.status_code == 503 and "being stopped" in response.json()["message"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"workload": "fun", "vantages": ["paris"]}, 404),
        ({"workload": "other"}, 404),
        ({}, 400),
        ({"workload": "fun", "requests": 0}, 400),
        ({"workload": "fun", "requests": True}, 400),
        ({"address": "999.1.1.1"}, 400),
        ({"workload": "fun", "port": 70000}, 400),
    ],
)
def test_a_wrong_probe_is_refused(world: World, body: dict[str, Any], status: int) -> None:
    """Unknown vantages and workloads are 404, bad numbers and addresses 400."""
    world.create()
    world.platform.vantages = FakeVantages()
    assert world.call("POST", "/anypop/v1/probes", json=body).status_code == status


def test_why_asks_the_looking_glass(world: World) -> None:
    """With the workload's address and the PoPs that serve it; an unknown target is 404, a missing one 400."""
    world.create()
    world.platform.glass = FakeGlass()
    world.check = lambda _: None  # the fake answers what it was asked, which no real explanation has
    found = world.get("/anypop/v1/why?target=london&workload=fun&stack=default")
    assert found == {"vantage": "london", "address": "185.85.196.1", "pops": ["AMS", "LHR"]}
    assert world.call("GET", "/anypop/v1/why?target=paris&workload=fun").status_code == 404
    assert world.call("GET", "/anypop/v1/why?workload=fun").status_code == 400


def test_health_needs_no_token(world: World) -> None:
    """A monitor may ask, and learns how old the plan is."""
    ready = {"status": "ok", "store": "writable", "lease": "held"}
    assert world.call("GET", "/anypop/v1/healthz", headers={}).json() == {**ready, "plan_age_s": 0.0}
    world.clock.now += 40
    assert world.call("GET", "/anypop/v1/healthz", headers={}).json() == {**ready, "plan_age_s": 40.0}
