"""The end of an account: refused while anything stands, and then complete; what it used and did stays known."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from anypop.control import account_end
from anypop.control.account_end import emptied
from anypop.control.refusals import Precondition
from anypop.control.roles import Role
from tests.control_world import World, a_body
from tests.people import a_user, session

ACCOUNTS = "/anypop/v1/accounts"
WHO = "/anypop/v1/who-am-i"
POLICY = {"networkPolicy": {"name": "one", "spec": {"priority": 7, "policyTypes": ["EGRESS"]}}}
WISH = {"name": "kept", "spec": {"allocationClass": "stackpath-edge/unicast", "ipFamily": "IPv4"}}
Headers = Mapping[str, str]


class Shop:
    """An account with a stack, an owner, and somebody who is in another account too."""

    def __init__(self, world: World) -> None:
        self.world, accounts = world, world.platform.accounts
        self.id, self.other = accounts.create_account("shop").id, accounts.create_account("press").id
        self.stack = accounts.create_stack(self.id, "shop", "shop")
        self.owner = session(world, a_user(world, self.id, "ada", Role.OWNER), self.id)
        bob = a_user(world, self.id, "bob", Role.EDITOR)
        accounts.users.join(bob, self.other, Role.VIEWER)
        self.bob, self.bob_there = session(world, bob, self.id), session(world, bob, self.other)
        made = accounts.create_credential(self.id, "ci")
        self.program = world.login(made.client_id, made.secret)

    def does(self, method: str, path: str, body: object = None, headers: Headers | None = None) -> httpx.Response:
        return self.world.call(method, path, headers=headers or self.owner, **({"json": body} if body else {}))

    def makes(self, path: str, body: object) -> None:
        answer = self.does("POST", path, body)
        assert answer.status_code == 200, answer.text

    def ends(self, headers: Headers | None = None, confirm: str = "shop") -> httpx.Response:
        return self.does("DELETE", f"{ACCOUNTS}/{self.id}?confirm={confirm}", headers=headers)

    def status(self, headers: Headers) -> int:
        return self.does("GET", WHO, headers=headers).status_code


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with World(tmp_path) as world:
        yield Shop(world)


def why(answer: httpx.Response, status: int = 400) -> str:
    assert answer.status_code == status, answer.text
    return str(answer.json()["message"])


def test_it_is_refused_while_anything_runs_keeps_data_or_keeps_an_address(shop: Shop) -> None:
    """With what stands there by name; nothing of it is touched, and who is in it goes on working."""
    workloads = "/workload/v1/stacks/shop/workloads"
    shop.makes(workloads, a_body("web"))
    shop.makes("/ipam/v1/stacks/shop/allocations", {"allocation": WISH})
    shop.makes("/ipam/v1/stacks/shop/network_policies", POLICY)
    said = why(shop.ends())
    assert "workloads (web)" in said and "allocations (kept)" in said
    assert shop.status(shop.program) == 200
    shop.world.settle()
    assert shop.does("DELETE", f"{workloads}/web").status_code == 204
    assert "workloads that are being deleted (web)" in why(shop.ends())
    assert len(shop.world.state.policies) == 1, "nothing goes before all can"
    shop.world.settle()
    assert why(shop.ends()).startswith("this account still has allocations (kept):")
    shop.does("DELETE", "/ipam/v1/stacks/shop/allocations/kept")
    assert shop.ends().status_code == 204


def test_it_takes_all_who_could_get_in_and_frees_all_names(shop: Shop) -> None:
    """Who is in another account too stays there."""
    world, accounts = shop.world, shop.world.platform.accounts
    shop.makes("/ipam/v1/stacks/shop/network_policies", POLICY)
    shop.makes("/ipam/v1/stacks/shop/networks", {"name": "Blue"})
    world.send("PUT", f"{ACCOUNTS}/{shop.id}/quota", {"quota": {"instances": 4}})
    shop.makes(f"{ACCOUNTS}/{shop.id}/invitations", {"role": "viewer"})
    assert shop.ends().status_code == 204
    for headers in (shop.owner, shop.bob, shop.program):
        assert shop.status(headers) == 401
    assert shop.status(shop.bob_there) == 200
    assert world.call("GET", f"{ACCOUNTS}/{shop.id}").status_code == 404
    assert not world.state.policies and not world.state.networks
    assert world.platform.quotas.of(shop.id).instances is None
    assert accounts.users.named("ada") is None and accounts.users.named("bob") is not None
    again_id = world.send("POST", ACCOUNTS, {"name": "shop"})["account"]["id"]
    assert accounts.create_stack(again_id, "shop", "shop").slug == "shop"
    assert a_user(world, again_id, "ada", Role.OWNER)
    world.restart()
    assert [a.id for a in world.platform.accounts.accounts() if a.name == "shop"] == [again_id]


def test_what_was_metered_and_audited_stays(shop: Shop) -> None:
    """By the account's id, for the operator."""
    world = shop.world
    shop.makes("/workload/v1/stacks/shop/workloads", a_body("web"))
    world.settle()
    world.clock.now += 3000
    before = world.get(f"{ACCOUNTS}/{shop.id}/usage")
    assert shop.does("DELETE", "/workload/v1/stacks/shop/workloads/web").status_code == 204
    world.settle()
    assert shop.ends(world.headers).status_code == 204
    after = world.get(f"{ACCOUNTS}/{shop.id}/usage")
    assert after["total"] == before["total"] and after["total"]["instance_hours"] > 3
    assert [(one["slug"], one["stack"], one["gone"]) for one in after["results"]] == [("web", shop.stack.id, True)]
    rows: list[dict[str, Any]] = world.get(f"/anypop/v1/audit?account_id={shop.id}&limit=1000")["results"]
    assert {"create_workload", "delete_workload", "delete_account"} <= {row["operation"] for row in rows}
    told = next(row["before"] for row in rows if row["operation"] == "delete_account" and row["subject"] == shop.id)
    assert told["name"] == "shop" and told["stacks"] == {shop.stack.id: "shop"}
    assert sorted(told["users"].values()) == ["ada", "bob (also elsewhere)"]
    assert world.call("GET", f"{ACCOUNTS}/00000000-0000-0000-0000-000000000000/usage").status_code == 404


def test_who_may_and_how_it_is_confirmed(shop: Shop) -> None:
    """Its owner, or the operator's; by its name; never the operator's own account."""
    assert "confirm" in why(shop.ends(confirm="press"))
    assert "confirm" in why(shop.does("DELETE", f"{ACCOUNTS}/{shop.id}"))
    assert shop.ends(shop.bob).status_code == 403
    assert shop.ends(shop.bob_there).status_code == 403
    owner = session(shop.world, a_user(shop.world, shop.other, "eve", Role.OWNER), shop.other)
    assert shop.ends(owner).status_code == 404, "another account is not there"
    operator = shop.world.platform.accounts.first_account()
    path = f"{ACCOUNTS}/{operator.id}?confirm={operator.name}"
    assert "the operator's own account stays" in why(shop.does("DELETE", path, headers=shop.world.headers))
    assert shop.ends(shop.program).status_code == 204


def test_what_is_declared_at_the_same_moment_keeps_it(shop: Shop) -> None:
    """Between the look at what stands and the end itself."""
    world, accounts = shop.world, shop.world.platform.accounts
    world.run(world.platform.core.change(emptied(accounts.stacks(shop.id))))
    shop.makes("/workload/v1/stacks/shop/workloads", a_body("late"))
    with pytest.raises(Precondition, match="meanwhile"):
        account_end.delete_account(accounts, world.platform.core.store, accounts.account(shop.id))
    assert shop.status(shop.owner) == 200 and shop.status(shop.program) == 200
    world.create()
    assert world.platform.core.store.trouble == ""


def test_a_suspended_account_lets_nobody_in_and_what_runs_goes_on(shop: Shop) -> None:
    world = shop.world
    shop.makes("/workload/v1/stacks/shop/workloads", a_body("web"))
    world.settle()
    running = dict(world.state.incarnations)
    assert shop.does("POST", f"{ACCOUNTS}/{shop.id}/suspend").status_code == 403, "the operator's to do"
    first = world.send("POST", f"{ACCOUNTS}/{shop.id}/suspend")["account"]["suspended_at"]
    world.clock.now += 5
    assert world.send("POST", f"{ACCOUNTS}/{shop.id}/suspend")["account"]["suspended_at"] == first
    for headers in (shop.owner, shop.bob, shop.program):
        assert "suspended" in why(shop.does("GET", WHO, headers=headers), 403)
    assert shop.status(shop.bob_there) == 200
    world.restart()
    shop.world.settle()
    assert shop.status(shop.program) == 403, "also after a new start"
    assert dict(world.state.incarnations).keys() == running.keys()
    assert "suspended_at" not in world.send("POST", f"{ACCOUNTS}/{shop.id}/resume")["account"]
    assert shop.status(shop.program) == 200
    operator = world.platform.accounts.first_account().id
    assert "stays open" in why(world.call("POST", f"{ACCOUNTS}/{operator}/suspend"))
