"""What a credential for one stack may do where no path names a stack: on what is in its own all, elsewhere nothing.

Each operation that the table calls narrowed is asked for something of its own and for the same thing of another stack
of the same account; what is of hosts and PoPs stays the operator's.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import httpx
import pytest

from anypop.api.entitlements import OPERATIONS, Reach
from anypop.api.vantages import Answer, Probed, Vantage
from anypop.control.roles import Scope
from anypop.model.announce import Address
from anypop.model.names import CityCode
from tests.contract.test_backbone import joined
from tests.control_world import World, a_body

STACKS = ("mine", "other")
Asked = tuple[str, str, dict[str, Any] | None]


class Vantages:
    """London answers; and a looking glass that tells what it was asked."""

    def all(self) -> list[Vantage]:
        return [Vantage(name="london", city=CityCode("LHR"), asn=64511)]

    def probe(self, vantage: str, address: Address, port: int, requests: int) -> Probed:
        return Probed(answers=(Answer(body="x", seconds=0.01),) * requests, seconds=0.01)

    def why(self, target: str, address: Address, pops: Sequence[CityCode]) -> Mapping[str, Any]:
        return {"vantage": target, "address": str(address)}

    def entered(self, vantages: Sequence[str], address: Address) -> Mapping[str, CityCode | None]:
        return {}


class Place:
    """A tenant with two stacks of one workload each, and credentials for the first of them."""

    def __init__(self, world: World) -> None:
        self.world = world
        accounts = world.platform.accounts
        account = accounts.create_account("tenant")
        self.stacks = {slug: accounts.create_stack(account.id, slug, slug) for slug in STACKS}
        whole = accounts.create_credential(account.id, "whole")
        self.whole = world.login(whole.client_id, whole.secret)
        self.mine, self.reads = (
            world.login(made.client_id, made.secret)
            for scope in (Scope.WRITE, Scope.READ)
            for made in [
                accounts.create_credential(account.id, scope.value, stack_id=self.stacks["mine"].id, scope=scope)
            ]
        )
        for slug in STACKS:
            path = f"/workload/v1/stacks/{slug}/workloads"
            answer = world.call("POST", path, json=a_body(f"of-{slug}"), headers=self.whole)
            assert answer.status_code == 200, answer.text
        world.settle()
        world.platform.vantages = world.platform.glass = Vantages()
        world.check = lambda _: None  # the glass answers what no real explanation has
        held = {world.state.workloads[w].workload.slug: one.address4 for w, one in world.state.anycast.items()}
        self.addresses = {slug: str(held[f"of-{slug}"]) for slug in STACKS}
        self.drains = {slug: self.drained(slug) for slug in STACKS}

    def drained(self, slug: str) -> str:
        answer = self.asks(("POST", "/anypop/v1/drains", drain(slug)), self.whole)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["drain"]["id"])

    def asks(self, asked: Asked, headers: Mapping[str, str] | None = None) -> httpx.Response:
        method, path, body = asked
        return self.world.call(method, path, headers=headers or self.mine, **({"json": body} if body else {}))

    def asked(self, operation: str, slug: str) -> list[Asked]:
        """Requests for something of that stack."""
        workload, address, identity = f"of-{slug}", self.addresses[slug], self.drains[slug]
        root, dial = "/anypop/v1", {"pop": "AMS", "percent": 90}
        goals = [{"workload": workload}, {"workload": workload, "stack": slug}, {"address": address}]
        advice = [{"workload": workload, "graph": "lab"}, {"workload": workload, "stack": slug, "graph": "lab"}]
        found: dict[str, list[Asked]] = {
            "get_drain": [("GET", f"{root}/drains/{identity}", None)],
            "watch_drain": [("GET", f"{root}/drains/{identity}/watch?longest_s=1", None)],
            "begin_drain": [
                ("POST", f"{root}/drains", drain(slug, at="lhr-0")),
                ("POST", f"{root}/drains", drain(slug, slug, "lhr-1")),
            ],
            "undrain": [("POST", f"{root}/drains/{identity}/undrain", None)],
            "set_dial": [
                ("PUT", f"{root}/dials", {"dial": dial | {"workload": workload} | more})
                for more in ({}, {"stack": slug})
            ],
            "probe": [("POST", f"{root}/probes", {"requests": 1} | goal) for goal in goals],
            "explain_landing": [
                ("GET", f"{root}/why?target=london&" + "&".join(f"{k}={v}" for k, v in goal.items()), None)
                for goal in goals
            ],
            "predict_landings": [("POST", f"{root}/predictions", body) for body in advice],
            "propose_repairs": [("POST", f"{root}/proposals", body) for body in advice],
            "explain_routes": [
                ("POST", f"{root}/routes/explain", body | {"text": "x", "at": "AS3356-LHR"}) for body in advice
            ],
            "query_metrics": [
                ("GET", f"{root}/metrics/query?chart=cpu&workload={workload}", None),
                ("GET", f"{root}/metrics/query?chart=cpu&stack={slug}", None),
            ],
            "get_objectives": [
                ("GET", f"{root}/metrics/slo?workload={workload}", None),
                ("GET", f"{root}/metrics/slo?stack={slug}", None),
            ],
            "get_address_owner": [("GET", f"{root}/addresses/{address}", None)],
        }  # fmt: skip
        return found[operation]


def drain(slug: str, stack: str = "", at: str = "ams-0") -> dict[str, Any]:
    return {"drain": {"target": f"of-{slug}-eu-{at}", **({"stack": stack} if stack else {})}}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with World(tmp_path_factory.mktemp("stack_credentials"), joined()) as world:
        yield Place(world)


# what has nothing to name: these answer a list
LISTS = {
    "list_stacks",
    "list_events",
    "watch_events",
    "list_drains",
    "list_dials",
    "watch_dials",
    "get_usage",
    "get_costs",
}
NAMED = sorted(name for name, rule in OPERATIONS.items() if rule.reach is Reach.NARROWED and name not in LISTS)


@pytest.mark.parametrize("operation", NAMED)
def test_its_own_is_there_and_what_is_of_another_stack_is_not(place: Place, operation: str) -> None:
    """As if there were none: 404, also where the account itself may."""
    for asked in place.asked(operation, "mine"):
        answer = place.asks(asked)
        # of a graph that is not there: but the workload was found
        assert answer.status_code == 200 or "graph" in answer.text, (asked, answer.text)
    for asked in place.asked(operation, "other"):
        answer = place.asks(asked)
        assert answer.status_code == 404, (asked, answer.text)
        assert place.asks(asked, place.whole).status_code != 404, asked


@pytest.mark.parametrize("operation", sorted({"begin_drain", "undrain", "set_dial"}))
def test_one_for_reading_changes_nothing(place: Place, operation: str) -> None:
    for asked in place.asked(operation, "mine"):
        answer = place.asks(asked, place.reads)
        assert answer.status_code == 403
        assert "this credential is for reading" in answer.text


def test_lists_have_its_own_alone(place: Place) -> None:
    def listed(what: str, headers: Mapping[str, str]) -> list[dict[str, Any]]:
        answer = place.asks(("GET", f"/anypop/v1/{what}", None), headers)
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["results"]
        return found

    for slug in STACKS:
        place.asks(("PUT", "/anypop/v1/dials", {"dial": {"pop": "LHR", "percent": 50, "workload": f"of-{slug}"}}),
                   place.whole)  # fmt: skip
    place.world.clock.now += 60
    for who, slugs in ((place.whole, set(STACKS)), (place.mine, {"mine"}), (place.reads, {"mine"})):
        assert {d["workload"] for d in listed("dials", who)} == {f"of-{slug}" for slug in slugs}
        drained = {d["target"].rpartition("-eu-")[0] for d in listed("drains?ended=true", who)}
        assert drained == {f"of-{slug}" for slug in slugs}
        assert {u["stack"] for u in listed("usage", who)} == slugs


def test_what_is_of_hosts_and_pops_stays_the_operators(place: Place) -> None:
    for target in ("AMS", "host:AMS", "AMS/as1299"):
        answer = place.asks(("POST", "/anypop/v1/drains", {"drain": {"target": target}}))
        assert answer.status_code == 403
        assert "are the operator's to drain" in answer.text
    answer = place.asks(("PUT", "/anypop/v1/dials", {"dial": {"pop": "AMS", "percent": 50}}))
    assert answer.status_code == 403
    assert "the operator's to dial" in answer.text
    for address in ("192.0.2.1", place.addresses["other"], "185.85.197.9"):
        answer = place.asks(("POST", "/anypop/v1/probes", {"address": address}))
        assert answer.status_code == 404, "what is nobody's is not its own either"
    made = place.world.platform.accounts
    operator = made.first_account()
    default = made.stacks(operator.id)[0]
    theirs = made.create_credential(operator.id, "of the operator's stack", stack_id=default.id)
    headers = place.world.login(theirs.client_id, theirs.secret)
    assert place.asks(("POST", "/anypop/v1/drains", {"drain": {"target": "AMS"}}), headers).status_code == 403
    assert place.asks(("GET", f"/anypop/v1/drains/{place.drains['mine']}", None), headers).status_code == 404
