"""Requests and sign-ins that are too many: 429 in the usual shape, to the one who makes them and to nobody else."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from anypop.cli.client import Client
from anypop.cli.failure import Failure
from anypop.cli.settings import Settings
from anypop.control.refusals import OverQuota
from tests.control_world import FakeAgent, World

STACKS = "/stack/v1/stacks"
TOKEN = "/identity/v1/oauth2/token"


@pytest.fixture
def world(tmp_path: Path) -> Any:
    with World(tmp_path) as found:
        yield found


def a_tenant(world: World) -> tuple[str, str, str, dict[str, str]]:
    """An account with a credential of its own: account, client id, secret, headers."""
    account = world.platform.accounts.create_account("tenant")
    made = world.platform.accounts.create_credential(account.id, "laptop")
    return account.id, made.client_id, made.secret, world.login(made.client_id, made.secret)


def again_in(response: httpx.Response) -> float:
    assert response.status_code == 429, response.text
    (delay,) = [d["retryDelay"] for d in response.json()["details"] if d["@type"] == "stackpath.rpc.RetryInfo"]
    assert int(response.headers["retry-after"]) >= float(delay.removesuffix("s")) > 0
    return float(delay.removesuffix("s"))


def test_a_credential_has_a_rate_and_others_are_not_narrowed_by_it(world: World) -> None:
    """429 with RetryInfo and Retry-After; the account's other credential, another tenant, the operator and agents go
    on.
    """
    account, _, _, headers = a_tenant(world)
    world.send("PUT", f"/anypop/v1/accounts/{account}/quota", {"quota": {"requests_per_second": 1}})
    assert world.get(f"/anypop/v1/accounts/{account}/quota")["quota"] == {
        "requests_per_second": 1,
        "local_only": 1,
        "image_bytes": 64 << 30,
    }
    answers = [world.call("GET", STACKS, headers=headers) for _ in range(8)]
    assert [a.status_code for a in answers[:4]] == [200] * 4
    assert again_in(answers[-1]) <= 1
    assert "1 requests in a second" in answers[-1].json()["message"]
    made = world.platform.accounts.create_credential(account, "phone")
    others = [world.login(made.client_id, made.secret), a_tenant(world)[3], world.headers]
    for other in others:
        assert world.call("GET", STACKS, headers=other).status_code == 200
    agent = FakeAgent(world, world.platform.hosts()[0])
    agent.obey()
    for _ in range(300):
        assert world.call("GET", "/anypop/v1/healthz").status_code == 200
    for _ in range(250):
        assert world.call("GET", STACKS).status_code == 200, "the operator's own road stays"


def test_more_credentials_are_not_more_requests_without_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of an account together have a rate too, a client gets so many tokens, and an account so many credentials."""
    account, _, _, headers = a_tenant(world)
    world.send("PUT", f"/anypop/v1/accounts/{account}/quota", {"quota": {"requests_per_second": 1}})
    made = [world.platform.accounts.create_credential(account, f"c{number}") for number in range(8)]
    tokens = [headers, *(world.login(c.client_id, c.secret) for c in made)]
    answers = [world.call("GET", STACKS, headers=h) for h in tokens for _ in range(4)]
    assert sum(a.status_code == 200 for a in answers) <= 24, "of 36, with as many credentials as one likes"
    assert any("all credentials" in a.text for a in answers if a.status_code == 429)
    who = {"client_id": made[0].client_id, "client_secret": made[0].secret}
    monkeypatch.setattr("anypop.api.identity.TOKENS_PER_S", 1)
    codes = [world.call("POST", TOKEN, json=who).status_code for _ in range(6)]
    assert codes[:4] == [200] * 4 and 429 in codes
    monkeypatch.setattr("anypop.control.accounts.MOST_CREDENTIALS", 9)
    refused = world.call("POST", "/identity/v1/users/me/credentials", json={"name": "x"}, headers=tokens[-1])
    assert refused.status_code == 429
    with pytest.raises(OverQuota, match="9 credentials"):
        world.platform.accounts.create_credential(account, "one more")


def test_failed_sign_ins_are_slowed_where_they_come_from(world: World) -> None:
    """401 and 404 as ever, then 429 before anything is looked up, for the right secret too; a restart forgives."""
    _, client_id, secret, _ = a_tenant(world)
    wrong = {"client_id": client_id, "client_secret": "0" * 64}
    codes = [world.call("POST", TOKEN, json=wrong).status_code for _ in range(5)]
    assert codes == [401, 401, 401, 429, 429]
    assert again_in(world.call("POST", TOKEN, json={"client_id": client_id, "client_secret": secret})) <= 2
    other = {"client_id": world.credential.client_id, "client_secret": world.credential.secret}
    assert world.call("POST", TOKEN, json=other).status_code == 200, "another credential is no worse for it"
    for number in range(30):
        found = world.call("POST", TOKEN, json={"client_id": f"{number:032x}", "client_secret": secret})
    assert again_in(found) > 0, "who guesses names is slowed as well"
    world.restart()
    answer = world.call("POST", TOKEN, json={"client_id": client_id, "client_secret": secret})
    assert answer.status_code == 200


def test_every_answer_has_the_request_id_and_errors_repeat_it(world: World) -> None:
    """Also those of the router itself and of our own bugs; no two are the same."""
    answers = [world.call("GET", path) for path in (STACKS, f"{STACKS}/nothing", "/nowhere", "/anypop/v1/healthz")]
    answers.append(world.call("POST", STACKS, content=b"{"))
    answers.append(world.call("GET", STACKS, headers={}))
    ids = [a.headers["x-request-id"] for a in answers]
    assert len(set(ids)) == len(ids) and all(len(found) == 32 for found in ids)
    for found in answers:
        if found.status_code >= 400:
            assert found.json()["details"][0]["requestId"] == found.headers["x-request-id"]


def test_the_command_line_waits_as_told_and_gives_up_when_that_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short waits are waited for; a long one is told to a person."""
    waits: list[float] = []
    monkeypatch.setattr("anypop.cli.client.time.sleep", waits.append)
    told = ["1.5s", "0.2s", None, "900s"]

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == TOKEN:
            return httpx.Response(200, json={"access_token": "t"})
        delay = told.pop(0)
        if delay is None:
            return httpx.Response(200, json={"results": []})
        details = [{"@type": "stackpath.rpc.RetryInfo", "retryDelay": delay}]
        return httpx.Response(429, json={"code": 8, "message": "too many", "details": details})

    here = Settings(url="https://control.test", ca="", client_id="a", client_secret="b", stack="default")
    client = Client(here, transport=httpx.MockTransport(answer))
    assert client.get(STACKS, what="list") == {"results": []} and waits == [1.5, 0.2]
    with pytest.raises(Failure, match="too many") as failure:
        client.get(STACKS, what="list")
    assert "Try again in 900s" in failure.value.advice and len(waits) == 2
    client.close()
