"""One account and the next: who is given which prefix, who may change how it is announced, with which communities.

A prefix that two accounts share cannot come to be any more; here it comes out of a store of before, in which a stack
was moved to another account while control did not run.
"""

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import update

from anypop.control import schema
from anypop.model import codec
from tests.control_world import FakeAgent, World, a_body, a_network

THEIRS = "/workload/v1/stacks/theirs/workloads"
RULES = "/anypop/v1/stacks/theirs/workloads/newcomer"
WITHHELD = {"rules": [{"pop": "AMS", "upstream": 3356, "scope": {"mode": "withhold"}}]}
WAVES = {"waves": [WITHHELD]}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path) as made:
        yield made


def tenant(world: World, name: str = "theirs") -> dict[str, str]:
    """The header of another account, which has a stack of that name."""
    accounts = world.platform.accounts
    account = accounts.create_account(name)
    accounts.create_stack(account.id, name, name)
    credential = accounts.create_credential(account.id, name)
    return world.login(credential.client_id, credential.secret)


def shared(world: World) -> dict[str, str]:
    """Two accounts in one covering prefix, `fun` of the operator and `newcomer` of a tenant, from a store of before."""
    accounts = world.platform.accounts
    accounts.create_stack(accounts.first_account().id, "theirs", "theirs")
    world.create()
    world.send("POST", THEIRS, a_body("newcomer"))
    world.settle()
    account = accounts.create_account("stranger")
    with world.platform.core.store.writing() as link:
        link.execute(update(schema.stacks).where(schema.stacks.c.slug == "theirs").values(account_id=account.id))
    world.restart()
    credential = world.platform.accounts.create_credential(account.id, "theirs")
    return world.login(credential.client_id, credential.secret)


def prefixes(world: World) -> dict[str, str]:
    return {world.state.workloads[w].workload.slug: str(held.prefix4) for w, held in world.state.anycast.items()}


def refused(response: httpx.Response, status: int) -> str:
    assert response.status_code == status, response.text
    return str(response.json())


def test_each_account_is_given_a_prefix_of_its_own_and_the_last_one_is_refused_in_words(world: World) -> None:
    """Same cities, two accounts: two prefixes. A third account is refused, told which prefixes there are and what can
    be done, and nothing of it stays; the first ones go on sharing with themselves; a new prefix helps.
    """
    one, two = tenant(world, "theirs"), tenant(world, "third")
    world.create()
    assert world.call("POST", THEIRS, json=a_body("newcomer"), headers=one).status_code == 200
    assert prefixes(world) == {"fun": "185.85.196.0/24", "newcomer": "185.85.197.0/24"}
    third = "/workload/v1/stacks/third/workloads"
    words = refused(world.call("POST", third, json=a_body("late"), headers=two), 400)
    assert "none of 2 IPv4 prefixes (185.85.196.0/24, 185.85.197.0/24) is free or used by just this account" in words
    assert "let the operator add a prefix to anycast4" in words
    assert not {"fun", "newcomer", "theirs", "default"} & set(words.replace("'", " ").split())
    assert {d.workload.slug for d in world.state.workloads.values()} == {"fun", "newcomer"}
    assert world.call("POST", THEIRS, json=a_body("second"), headers=one).status_code == 200
    assert prefixes(world)["second"] == "185.85.197.0/24"
    assert world.call("POST", third, json=a_body("plain", anycast=False), headers=two).status_code == 200
    grown = replace(
        a_network(),
        anycast4=(*a_network().anycast4, IPv4Network("185.85.198.0/24")),
        anycast6=(*a_network().anycast6, IPv6Network("2001:db8:c::/48")),
    )
    world.send("PUT", "/anypop/v1/network", codec.to_data(grown))
    assert world.call("POST", third, json=a_body("late"), headers=two).status_code == 200
    assert prefixes(world)["late"] == "185.85.198.0/24"


def test_what_two_accounts_share_already_stays_and_is_told_to_the_operator_and_given_to_nobody_more(
    world: World,
) -> None:
    """Addresses and announcements as before; an event at each start; listed with names for the operator alone."""
    stranger = shared(world)
    assert set(prefixes(world).values()) == {"185.85.196.0/24"}
    world.settle()
    events = world.get("/anypop/v1/events?limit=500")["results"]
    told = [e for e in events if e["kind"] == "prefix-shared"]
    assert {e["subject"] for e in told} == {"185.85.196.0/24", "2001:db8:a::/48"}
    assert told[0]["fields"]["workloads"] == "default/fun,theirs/newcomer"
    pops = {p["pop"]: p for p in world.get("/anypop/v1/pops")["results"]}
    assert [s["prefix"] for s in pops["AMS"]["shared"]] == ["185.85.196.0/24", "2001:db8:a::/48"]
    assert "shared" not in pops["JFK"]
    assert all("shared" not in p for p in world.get("/anypop/v1/pops", headers=stranger)["results"])
    seen = world.get(f"{RULES}/announcements")["shared"]
    assert {(w["account"], w["stack"], w["workload"]) for w in seen[0]["workloads"]} == {
        ("operator", "default", "fun"),
        ("stranger", "theirs", "newcomer"),
    }
    assert world.get(f"{RULES}/announcements", headers=stranger)["shared"] == [
        {"prefix": "185.85.196.0/24"},
        {"prefix": "2001:db8:a::/48"},
    ]
    assert world.call("POST", THEIRS, json=a_body("another"), headers=stranger).status_code == 200
    assert prefixes(world)["another"] == "185.85.197.0/24"
    assert all(e["kind"] != "prefix-shared" for e in world.get("/anypop/v1/events", headers=stranger)["results"])


def test_who_shares_a_prefix_may_not_scope_it_by_any_road_and_the_operator_may(world: World) -> None:
    """Rules put, merged and reset, and changes in waves: refused without a name of the other; nothing has changed. The
    operator changes a tenant's scope; and his change in waves is not the tenant's to pause, resume or abort.
    """
    stranger = shared(world)
    world.settle()
    before = {h: i.order.announcements for h, i in world.state.orders.items()}
    roads: list[tuple[str, str, Any]] = [
        ("PUT", f"{RULES}/announcements", WITHHELD),
        ("PATCH", f"{RULES}/announcements", WITHHELD),
        ("DELETE", f"{RULES}/announcements", None),
        ("POST", f"{RULES}/rollouts", WAVES),
    ]
    for method, path, body in roads:
        words = refused(world.call(method, path, json=body, headers=stranger), 403)
        assert "185.85.196.0/24 and 2001:db8:a::/48: another account has addresses there too" in words
        assert not any(name in words for name in ("fun", "default", "newcomer"))
    assert {h: i.order.announcements for h, i in world.state.orders.items()} == before
    assert not world.state.rules
    assert not world.state.rollouts
    rollout = world.send("POST", f"{RULES}/rollouts", WAVES)["rollout"]["id"]
    for verb in ("pause", "resume", "abort"):
        words = refused(world.call("POST", f"{RULES}/rollouts/{rollout}/{verb}", headers=stranger), 403)
        assert "another account" in words
    assert world.send("POST", f"{RULES}/rollouts/{rollout}/abort")["rollout"]["phase"] == "aborted"
    changed = world.send("PATCH", f"{RULES}/announcements", WITHHELD)
    assert [c["upstream"] for c in changed["changes"]] == ["as3356"]
    refused(world.call("DELETE", f"{RULES}/announcements", headers=stranger), 403)
    assert world.state.rules


def test_who_has_a_prefix_alone_may_scope_it(world: World) -> None:
    """The control of the test above: the same requests of the same account, with a prefix of its own."""
    stranger = tenant(world)
    world.create()
    assert world.call("POST", THEIRS, json=a_body("newcomer"), headers=stranger).status_code == 200
    world.settle()
    assert world.call("PATCH", f"{RULES}/announcements", json=WITHHELD, headers=stranger).status_code == 200
    assert world.call("DELETE", f"{RULES}/announcements", headers=stranger).status_code == 200
    assert world.call("POST", f"{RULES}/rollouts", json=WAVES, headers=stranger).status_code == 200


def test_the_operator_changes_a_tenants_scopes_and_nothing_else_of_it(world: World) -> None:
    """A stack of somebody else is there for the operator where announcements are asked for, and nowhere else."""
    stranger = tenant(world)
    assert world.call("POST", THEIRS, json=a_body("newcomer"), headers=stranger).status_code == 200
    world.settle()
    assert world.call("GET", f"{THEIRS}/newcomer").status_code == 404
    changed = {"workload": {"metadata": {"version": "1"}, "spec": {"containers": {"web": {"image": "web:2"}}}}}
    changing = world.call("PATCH", f"{THEIRS}/newcomer", json=changed, headers=stranger)
    assert changing.status_code == 200, changing.text
    (rollout,) = world.get(f"{RULES}/rollouts")["results"]
    refused(world.call("POST", f"{RULES}/rollouts/{rollout['id']}/abort"), 403)
    assert world.call("POST", f"{RULES}/rollback", json={}).status_code == 404


@pytest.mark.parametrize(
    "scope",
    [
        {"communities": ["65535:666"]},  # drops the traffic, and a neighbour's with it
        {"communities": ["65535:65281"]},
        {"communities": ["65535:0"]},
        {"communities": ["3356:9999"]},  # a blackhole of its own
        {"communities": ["3356:123"]},  # an information, nothing to act on
        {"communities": ["64999:1"]},  # nobody knows
        {"communities": ["3356:70", "65535:666"]},
        {"large_communities": ["3356:1:2"]},
    ],
)
def test_a_tenant_sends_only_what_acts_on_its_own_route(world: World, scope: dict[str, Any]) -> None:
    """By rules and by waves; with the path, the reason and where to look; the operator sends the same."""
    stranger = tenant(world)
    assert world.call("POST", THEIRS, json=a_body("newcomer"), headers=stranger).status_code == 200
    rules = {"rules": [{"pop": "AMS", "upstream": 3356, "scope": scope}]}
    field = next(iter(scope))
    for method, path, body, prefix in (
        ("PUT", f"{RULES}/announcements", rules, ""),
        ("POST", f"{RULES}/rollouts", {"waves": [rules]}, "waves[0]."),
    ):
        response = world.call(method, path, json=body, headers=stranger)
        assert f"'{prefix}rules[0].scope.{field}'" in refused(response, 400)
        assert "/anypop/v1/communities/3356" in response.text
    assert not world.state.rules
    assert world.call("PUT", f"{RULES}/announcements", json=rules).status_code == 200


def test_a_tenant_may_prepend_and_keep_its_route_from_neighbours(world: World) -> None:
    """What the dictionaries know as an action on the own route: outright, by pattern, by intent."""
    stranger = tenant(world)
    assert world.call("POST", THEIRS, json=a_body("newcomer"), headers=stranger).status_code == 200
    for scope in (
        {"prepend": 3},
        {"communities": ["65000:1299"]},
        {"communities": ["65002:1299", "3356:70"]},
        {"no_export_to": "peers"},
        {"mode": "withhold"},
    ):
        rules = {"rules": [{"pop": "AMS", "upstream": 3356, "scope": scope}]}
        response = world.call("PUT", f"{RULES}/announcements", json=rules, headers=stranger)
        assert response.status_code == 200, response.text


def test_the_operator_decides_the_list(world: World) -> None:
    """In the network document: more than the default, less, nothing; a wrong entry is refused with its path."""
    stranger = tenant(world)
    assert world.call("POST", THEIRS, json=a_body("newcomer"), headers=stranger).status_code == 200

    def sends(community: str) -> int:
        rules = {"rules": [{"pop": "AMS", "upstream": 3356, "scope": {"communities": [community]}}]}
        return world.call("PUT", f"{RULES}/announcements", json=rules, headers=stranger).status_code

    for listed, allowed in (
        (["harmless", "65535:65281"], {"3356:70", "65535:65281"}),
        (["64999:*"], {"64999:1"}),
        ([], set[str]()),
    ):
        world.send("PUT", "/anypop/v1/network", codec.to_data(a_network()) | {"tenant_communities": listed})
        assert {c for c in ("3356:70", "65535:65281", "64999:1", "65535:666") if sends(c) == 200} == allowed
    wrong = codec.to_data(a_network()) | {"tenant_communities": ["harmless", "no export"]}
    assert "tenant_communities[1]" in refused(world.call("PUT", "/anypop/v1/network", json=wrong), 400)


def events(world: World, *kinds: str, headers: dict[str, str] | None = None) -> list[dict[str, Any]]:
    found = world.get("/anypop/v1/events?limit=1000", headers=headers or world.headers)["results"]
    return [e for e in found if e["kind"] in kinds]


def pass_time(world: World, agents: list[FakeAgent], seconds: float) -> None:
    """Hosts report every ten seconds."""
    end = world.clock.now + seconds
    while world.clock.now < end:
        world.clock.now += 10
        for agent in agents:
            agent.obey()


def announced(world: World, agent: FakeAgent) -> bool:
    """Whether the shared prefix is out there, as the host itself says."""
    assert agent.order is not None
    return all(p.announced for p in agent.seen().prefixes if str(p.prefix) == "185.85.196.0/24")


def test_a_newcomer_that_never_answers_takes_nobody_out_of_a_city_and_its_owner_is_told(world: World) -> None:
    """In a prefix shared of old, `late` of the same account as `newcomer` and beside `fun` of another: its image does
    not come in LHR. The order there never waits for it; its owner alone is told, after its time to start; control's
    restart changes no order and forgets nothing; and when it answers the order counts it too.
    """
    stranger = shared(world)
    accounts = world.platform.accounts
    with world.platform.core.store.writing() as link:  # as if it had been created before the upgrade
        link.execute(update(schema.stacks).values(account_id=accounts.first_account().id))
    world.restart()
    world.send("POST", THEIRS, a_body("late", image="registry.example/slow:1"))
    owner = next(s for s in world.platform.accounts.stacks(accounts.first_account().id) if s.slug == "theirs")
    whose = next(a for a in world.platform.accounts._accounts.values() if not a.operator)
    with world.platform.core.store.writing() as link:
        link.execute(update(schema.stacks).where(schema.stacks.c.id == owner.id).values(account_id=whose.id))
    world.restart()
    assert set(prefixes(world).values()) == {"185.85.196.0/24"}
    agents = world.agents()
    ams, lhr = (next(a for a in agents if a.host == host) for host in ("AMS", "LHR"))
    lhr.missing = {"registry.example/slow:1"}

    def gates() -> int:
        order = world.state.orders[lhr.host].order
        return max(len(a.gates) for a in order.announcements if str(a.prefix) == "185.85.196.0/24")

    for _ in range(6):
        pass_time(world, agents, 20)
        assert announced(world, lhr) and announced(world, ams)
        assert gates() == 2
    assert not events(world, "withdrawal-granted", "withdrawal-refused", "prefix-leaves")
    told = events(world, "dark", headers=stranger)
    assert [(e["subject"], e["fields"]) for e in told] == [("late", {"pop": "LHR", "reason": "dark"})]
    assert told[0]["message"].startswith("dark in LHR")
    path = "/anypop/v1/stacks/theirs/workloads/late/announcements"
    rows = {(r["pop"], r["prefix"]): r for r in world.get(path, headers=stranger)["results"]}
    row = rows["LHR", "185.85.196.0/24"]
    assert (row["announced"], row["dark"], row["reason"]) == (True, True, "dark")
    assert not rows["AMS", "185.85.196.0/24"]["dark"]
    fun = world.get("/anypop/v1/stacks/default/workloads/fun/announcements")["results"]
    assert not any(r["dark"] for r in fun)

    generations = {h: i.order.generation for h, i in world.state.orders.items()}
    memory = world.state.history.whole()
    world.restart()
    assert {h: i.order.generation for h, i in world.state.orders.items()} == generations
    assert world.state.history.whole() == memory
    pass_time(world, agents, 60)
    assert announced(world, lhr)
    assert len(events(world, "dark")) == 1, "a restart tells nothing anew"
    lhr.missing = set()
    pass_time(world, agents, 20)
    assert gates() == 3
    assert [e["fields"]["pop"] for e in events(world, "dark-no-more", headers=stranger)] == ["LHR"]


def test_a_withdrawal_names_who_failed_to_the_owner_and_the_operator_alone(world: World) -> None:
    """`newcomer` has served in LHR and fails there: its prefix leaves. Its owner reads its name, the operator too; the
    other account reads that another workload failed, and is told of it all the same.
    """
    stranger = shared(world)
    agents = world.agents()
    for agent in agents:
        agent.obey()
    lhr = next(a for a in agents if a.host == "LHR")
    pass_time(world, agents, 20)
    lhr.broken = frozenset(f"newcomer-eu-lhr-{n}" for n in range(2))
    pass_time(world, agents, 20)
    assert not announced(world, lhr)
    for granted in events(world, "withdrawal-granted"):
        assert granted["fields"]["failed"] == "theirs/newcomer"
        assert "theirs/newcomer does not answer there" in granted["message"]
    mine = events(world, "prefix-leaves", headers=stranger)
    assert {(e["subject"], e["fields"]["because"]) for e in mine} == {("newcomer", "newcomer does not answer here")}
    others = [e for e in events(world, "prefix-leaves") if e["subject"] == "fun"]
    assert {e["fields"]["prefix"] for e in others} == {"185.85.196.0/24", "2001:db8:a::/48"}
    assert {e["fields"]["because"] for e in others} == {"another workload of the prefix does not answer here"}
    assert not any("newcomer" in str(e) for e in others)
    rows = world.get("/anypop/v1/stacks/default/workloads/fun/announcements")["results"]
    says = {r["says"] for r in rows if r["pop"] == "LHR"}
    assert {text.partition(": ")[2] for text in says} == {"another workload of the prefix does not answer here"}
    assert {text.partition(": ")[2] for text in says} == {"another workload of the prefix does not answer here"}
    path = f"{RULES}/announcements"
    assert any("newcomer does not answer here" in r["says"] for r in world.get(path, headers=stranger)["results"])
