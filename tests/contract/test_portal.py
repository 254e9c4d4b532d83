"""The portal's pages over the real API, without a browser: who gets in, what a form needs, what nobody may see.

What a browser makes of them is in test_portal_browser.
"""

import asyncio
import html
import json
import re
import shlex
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from anypop.control.oidc_settings import Rule
from anypop.control.rates import Buckets
from anypop.control.roles import Role, Scope
from anypop.portal import declaring
from anypop.portal.app import OPEN as OPENED
from anypop.portal.app import PAGES
from anypop.portal.cookies import SESSION, UNDER_WAY, VISITOR
from tests.control_world import World
from tests.fake_provider import Fake, signed
from tests.people import PASSWORD, a_user, account_of, quick, session, two_accounts
from tests.wait import wait_until

HOST = "control"
STACK = "/portal/stacks/default"
ONE = f"{STACK}/workloads/fun"
NASTY = "\"><script>alert(1)</script><img src=x onerror=alert(1)>'"


class Visitor:
    """Somebody with a browser: cookies of its own, and the sign of the last page."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.cookies: dict[str, str] = {}
        self.sign = ""

    def ask(self, method: str, path: str, *, headers: dict[str, str] | None = None, **form: Any) -> httpx.Response:
        sent = {"cookie": "; ".join(f"{k}={v}" for k, v in self.cookies.items())} | (headers or {})
        body: dict[str, Any] = {}
        if method == "POST":
            body = {"content": urlencode({"sign": self.sign, **form})}
            sent = {"content-type": "application/x-www-form-urlencoded"} | sent
        answer = self.world.call(method, path, headers=sent, **body)
        self.world._http.cookies.clear()
        for cookie in answer.headers.get_list("set-cookie"):
            name, _, rest = cookie.partition("=")
            value = rest.partition(";")[0].strip('"')
            assert all(part in cookie for part in ("HttpOnly", "Secure", "Path=/", "SameSite=lax")), cookie
            if value:
                self.cookies[name] = value
            else:
                self.cookies.pop(name, None)
        if found := re.search(r'name="sign" value="([^"]+)"', answer.text):
            self.sign = found[1]
        return answer

    def get(self, path: str) -> str:
        answer = self.ask("GET", path)
        assert answer.status_code == 200, (path, answer.status_code, answer.text)
        return answer.text

    def hears(self, *topics: str) -> str:
        """What the stream says first of each topic."""

        async def listen() -> str:
            said, over = b"", asyncio.Event()

            async def receive() -> dict[str, Any]:
                await over.wait()
                return {"type": "http.disconnect"}

            async def send(message: MutableMapping[str, Any]) -> None:
                nonlocal said
                said += message.get("body", b"")
                if said.count(b"data: ") == len(topics):
                    over.set()

            scope = {
                "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1",
                "method": "GET", "scheme": "https", "path": "/portal/stream", "raw_path": b"/portal/stream",
                "query_string": urlencode([("topic", topic) for topic in topics]).encode(), "root_path": "",
                "headers": [(b"cookie", "; ".join(f"{k}={v}" for k, v in self.cookies.items()).encode())],
                "client": ("127.0.0.1", 1), "server": (HOST, 443),
            }  # fmt: skip
            transport = self.world._http._transport
            assert isinstance(transport, httpx.ASGITransport)
            async with asyncio.timeout(20):
                await transport.app(scope, receive, send)
            return said.decode()

        return self.world.run(listen())

    def sign_in(self, name: str) -> "Visitor":
        self.get("/portal/sign-in")
        answer = self.ask("POST", "/portal/sign-in", name=name, password=PASSWORD)
        assert answer.status_code == 303, answer.text
        self.get("/portal/stacks/" + self.stack() + "/workloads")
        return self

    def stack(self) -> str:
        return self.ask("GET", "/portal/").headers["location"].split("/")[3]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with two_accounts(tmp_path_factory.mktemp("portal")) as made:
        # the clock stands still, and some tests ask for every page
        made.send("PUT", f"/anypop/v1/accounts/{account_of(made, 'eve')}/quota", {"requests_per_second": 10_000})
        made.create()
        made.settle()
        yield made


@pytest.fixture(scope="module")
def ada(world: World) -> Visitor:
    return Visitor(world).sign_in("ada")


def paths(method: str) -> list[str]:
    """All pages of those who have signed in, of a workload that is there."""
    return [p.replace("{stack}", "default").replace("{workload}", "fun") for m, p, _ in PAGES if m == method]


# who gets in


def test_without_a_session_every_page_leads_to_the_sign_in_and_back(world: World) -> None:
    """Also with a made-up one; a form is not even looked at, and the stream says nothing. Nothing changes."""
    before = world.state.workloads
    assert Visitor(world).ask("GET", "/").headers["location"] == "/portal/"
    for made_up in ("", "x" * 43):
        for method in ("GET", "POST"):
            for path in paths(method):
                visitor = Visitor(world)
                visitor.cookies = {SESSION: made_up} if made_up else {}
                answer = visitor.ask(method, f"{path}?q=1&topic=row:default:fun" if method == "GET" else path)
                if method == "POST" and made_up:
                    assert answer.status_code == 403, (path, answer.text)
                    continue
                assert answer.status_code == 303, (path, answer.text)
                where = httpx.URL(answer.headers["location"])
                assert where.path == "/portal/sign-in"
                if method == "GET":
                    assert httpx.URL(where.params["return"]).path == path
                part = visitor.ask(method, path, headers={"hx-request": "true"})
                assert part.status_code == 401 and part.headers["hx-redirect"].startswith("/portal/sign-in?")
    assert world.state.workloads == before


def test_a_sign_in_leads_back_where_one_was_and_nowhere_else(world: World) -> None:
    for wanted, led in (
        (ONE, ONE), (f"{STACK}/workloads?q=a", f"{STACK}/workloads?q=a"),
        ("https://evil.example/portal/", "/portal/"), ("//evil.example/", "/portal/"),
        ("/portal//evil.example", "/portal/"),
        ("/portal/\\evil.example", "/portal/"), ("/anypop/v1/healthz", "/portal/"), ("/portal/sign-in", "/portal/"),
        ("javascript:alert(1)", "/portal/"),
    ):  # fmt: skip
        visitor = Visitor(world)
        visitor.get("/portal/sign-in")
        answer = visitor.ask(
            "POST", "/portal/sign-in", name="ada", password=PASSWORD, **dict[str, Any]({"return": wanted})
        )
        assert (answer.status_code, answer.headers["location"]) == (303, led), wanted


def test_a_wrong_password_is_told_in_the_words_of_the_api_and_never_shown(world: World) -> None:
    visitor = Visitor(world)
    visitor.get("/portal/sign-in")
    answer = visitor.ask("POST", "/portal/sign-in", name="nobody", password="hunter2 hunter2")
    assert answer.status_code == 401 and "The name or the password is wrong." in answer.text
    assert "hunter2" not in answer.text and SESSION not in visitor.cookies


def test_a_session_ends_with_its_hours_and_with_the_sign_out(tmp_path: Path) -> None:
    """Afterwards its cookie opens nothing, and is taken away; the page says what happened."""
    with World(tmp_path) as world:
        quick(world)
        a_user(world, world.platform.accounts.first_account().id, "ada", Role.OWNER, PASSWORD)
        first, second = Visitor(world).sign_in("ada"), Visitor(world).sign_in("ada")
        kept = dict(first.cookies)
        assert first.ask("POST", "/portal/sign-out").headers["location"] == "/portal/sign-in"
        assert SESSION not in first.cookies
        first.cookies = kept
        assert first.ask("GET", f"{STACK}/workloads").status_code == 303
        assert second.ask("GET", f"{STACK}/workloads").status_code == 200
        world.clock.now += 12 * 3600
        # what a page's script asks does not sign it out: the page has yet to be told why it leaves
        asked = second.ask("GET", "/portal/session", headers={"sec-fetch-dest": "empty"})
        assert asked.status_code == 303 and SESSION in second.cookies
        led = second.ask("GET", f"{STACK}/create")
        assert led.status_code == 303 and SESSION not in second.cookies
        said = second.get(led.headers["location"])
        assert "Your session is over" in said and f'value="{STACK}/create"' in said


def test_a_link_signs_in_once_within_its_time_and_not_by_being_looked_at(tmp_path: Path) -> None:
    """With the rights of who made it: of a credential for reading no more than that. It stands in no log."""
    with World(tmp_path) as world:
        quick(world)

        def link(headers: dict[str, str]) -> str:
            made = world.call("POST", "/anypop/v1/sign-in/links", headers=headers).json()
            assert made["expires_in"] == 600
            return str(made["path"])

        def follow(path: str) -> Visitor:
            visitor = Visitor(world)
            visitor.get(path)
            visitor.get(path)
            visitor.answer = visitor.ask(  # type: ignore[attr-defined]
                "POST", "/portal/sign-in/link", code=httpx.URL(path).params["code"]
            )
            return visitor

        path = link(world.headers)
        assert f"{STACK}/create" in follow(path).get(f"{STACK}/workloads")
        again = follow(path)
        assert SESSION not in again.cookies and "was used already" in again.answer.text  # type: ignore[attr-defined]
        late = link(world.headers)
        world.clock.now += 601
        assert SESSION not in follow(late).cookies
        account = world.platform.accounts.first_account().id
        reading = world.platform.accounts.create_credential(account, "reads", scope=Scope.READ)
        reader = follow(link(world.login(reading.client_id, reading.secret)))
        assert f"{STACK}/create" not in reader.get(f"{STACK}/workloads")
        dead = link(world.login(reading.client_id, reading.secret))
        world.platform.accounts.delete_credential(account, reading.client_id)
        assert SESSION not in follow(dead).cookies
        user = a_user(world, account, "ada", Role.VIEWER)
        assert "ada" in follow(link(session(world, user, account))).get(f"{STACK}/workloads")
        code = httpx.URL(path).params["code"]
        log = json.dumps(world.get("/anypop/v1/audit?limit=100"))
        assert "make_sign_in_link" in log and "use_sign_in_link" in log and code not in log


def test_people_sign_in_by_a_provider_in_the_browser_in_which_they_began(tmp_path: Path) -> None:
    """What comes back counts there alone, once; who is refused is told so, in words of ours."""
    with World(tmp_path) as world:
        account = world.platform.accounts.first_account().id
        assert "your provider" not in Visitor(world).get("/portal/sign-in")
        fake = Fake(Rule(claim="email", value="eve@example.net", account=account, role=Role.VIEWER))
        world.platform.provider = fake.provider

        def begin() -> tuple[Visitor, str]:
            visitor = Visitor(world)
            assert "your provider" in visitor.get("/portal/sign-in")
            led = visitor.ask("GET", f"/portal/sign-in/oidc?{urlencode({'return': ONE})}")
            assert led.status_code == 303 and UNDER_WAY in visitor.cookies
            sent = httpx.URL(led.headers["location"]).params
            fake.token = signed(nonce=sent["nonce"], email="eve@example.net")
            return visitor, sent["state"]

        visitor, state = begin()
        back = visitor.ask("GET", f"/anypop/v1/sign-in/oidc/callback?state={state}&code=x").headers["location"]
        assert back.startswith("/portal/sign-in/back?code=")
        other = Visitor(world)
        other.ask("GET", back)
        assert SESSION not in other.cookies, "another browser has not what collects it"
        visitor, state = begin()
        back = visitor.ask("GET", f"/anypop/v1/sign-in/oidc/callback?state={state}&code=x").headers["location"]
        assert visitor.ask("GET", back).headers["location"] == ONE
        assert "eve@example.net" in visitor.get("/portal/stacks/default/workloads")
        visitor, state = begin()
        fake.token = signed(nonce="another", email="eve@example.net")
        back = visitor.ask("GET", f"/anypop/v1/sign-in/oidc/callback?state={state}&code=x").headers["location"]
        assert "did not let you in" in visitor.get(back) and SESSION not in visitor.cookies
        fake.provider.close()


# forms


def test_a_form_counts_from_a_page_of_ours_alone(world: World, ada: Visitor) -> None:
    """Of another site, of another session, without a sign, with an old one: 403, and nothing is asked of the API."""
    before = world.state.workloads
    eve = Visitor(world).sign_in("eve")
    right = ada.sign
    for path in paths("POST"):
        for headers, sign in (
            ({"sec-fetch-site": "cross-site"}, right), ({"sec-fetch-site": "same-site"}, right),
            ({"origin": "https://evil.example"}, right), ({"origin": "null"}, right),
            ({}, ""), ({}, "x.y"), ({}, eve.sign), ({}, right[:-1] + ("0" if right[-1] != "0" else "1")),
        ):  # fmt: skip
            ada.sign = sign
            answer = ada.ask("POST", path, headers=headers, name="csrf", image="x", city="AMS", confirm="fun")
            assert answer.status_code == 403, (path, headers, sign, answer.text)
    ada.sign = right
    for headers in ({"content-type": "application/json"}, {"content-type": "text/plain"}):
        assert ada.ask("POST", f"{ONE}/delete", headers=headers, confirm="fun").status_code == 400
    assert world.state.workloads == before
    for _, path, _ in [page for page in OPENED if page[0] == "POST"]:
        stranger = Visitor(world)
        assert stranger.ask("POST", path, name="ada", password=PASSWORD).status_code == 403
        stranger.get("/portal/sign-in")
        own = stranger.sign
        stranger.cookies = {VISITOR: "another"}
        stranger.sign = own
        assert stranger.ask("POST", path, name="ada", password=PASSWORD).status_code == 403


def test_signs_differ_from_page_to_page(ada: Visitor) -> None:
    """What is compressed with them must tell nothing of the secret behind."""
    first = ada.sign
    ada.get(ONE)
    assert ada.sign != first


def test_what_a_viewer_sends_is_refused_by_the_api(world: World) -> None:
    """No button is there; and a form that is sent all the same changes nothing."""
    vic = Visitor(world).sign_in("vic")
    shown = vic.get(ONE)
    assert not re.search(r'action="[^"]*/(scale|delete|restart|drain)', shown)
    before = world.state.workloads
    wishes: tuple[tuple[str, dict[str, Any]], ...] = (
        ("scale", {"replicas-eu": "3"}), ("restart", {}), ("rollback", {"revision": "1"}),
        ("delete", {"confirm": "fun"}),
        ("restart-instance", {"instance": "fun-eu-ams-0"}), ("drain", {"instance": "fun-eu-ams-0"}),
        ("undrain", {"drain": "x"}),
    )  # fmt: skip
    for act, form in wishes:
        answer = vic.ask("POST", f"{ONE}/{act}", **form)
        assert answer.status_code == 403 and "needs the role editor" in answer.text, (act, answer.text)
    made = vic.ask("POST", f"{STACK}/create", name="new", image="x", city="AMS", size="SP-1")
    assert made.status_code == 403 and "needs the role editor" in made.text
    assert world.state.workloads == before


def test_nothing_is_deleted_without_its_name(world: World, ada: Visitor) -> None:
    for typed in ("", "FUN", "other"):
        answer = ada.ask("POST", f"{ONE}/delete", confirm=typed)
        assert answer.status_code == 400 and "type its name: fun" in answer.text
    assert (
        world.get("/workload/v1/stacks/default/workloads/fun")["workload"]["metadata"].get("deleteRequestedAt") is None
    )


# what is of others


def test_what_is_of_another_account_is_on_no_page_and_in_no_stream(world: World) -> None:
    """By name and by id: 404 as for what is not there, forms too; nothing of it stands in the answer."""
    eve = Visitor(world).sign_in("eve")
    found = world.get("/workload/v1/stacks/default/workloads/fun")["workload"]
    before = world.state.workloads
    for stack in ("default", found["stackId"]):
        for ref in ("fun", found["id"]):
            world.platform.buckets = Buckets()  # so many pages at once are more than anybody may ask for
            for method, path, _ in PAGES:
                if "{stack}" not in path:
                    continue
                at = path.replace("{stack}", stack).replace("{workload}", ref)
                answer = (
                    eve.ask(method, at, confirm="fun", name="x", image="x", city="AMS")
                    if method == "POST"
                    else (eve.ask(method, at))
                )
                assert answer.status_code == 404, (at, answer.status_code, answer.text)
                assert "registry.example" not in answer.text and "185.85.196.1" not in answer.text
            said = eve.hears(f"workload:{stack}:{ref}", f"row:{stack}:{ref}", f"map:{stack}:{ref}")
            assert "registry.example" not in said and "fun-eu" not in said and said.count("delete") == 3, said
    # by another's workload in a stack of one's own
    for ref in ("fun", found["id"]):
        world.platform.buckets = Buckets()
        for method, path, _ in PAGES:
            if path.startswith("/portal/stacks/{stack}/map"):
                at = path.replace("{stack}", "theirs")
                rules = '[{"pop": "AMS", "upstream": "as1299", "scope": {}}]'
                form: dict[str, Any] = {"workload": ref, "rules": rules, "rollout": "-", "title": "x"}
                sent = eve.ask("POST", at, **form) if method == "POST" else eve.ask("GET", f"{at}?workload={ref}&why=x")
                # the list of PoPs is everybody's, and tells nothing of anybody's workload
                assert sent.status_code == 404 or path.endswith("/map/pops"), (at, sent.status_code)
                assert "fun-eu" not in sent.text and "185.85.196.1" not in sent.text
    assert world.state.workloads == before


def test_a_stream_that_is_closed_leaves_nothing_behind(world: World, ada: Visitor) -> None:
    """No task goes on for it, also where more was to be told than was read."""

    def tasks() -> int:
        return len(asyncio.all_tasks(world._loop))

    before = tasks()
    for _ in range(3):
        said = ada.hears("workload:default:fun", "row:default:fun")
        assert "fun-eu-ams-0" in said and said.count("id: ") == 2
        for agent in world.agents():
            agent.obey()
    wait_until(lambda: tasks() <= before, timeout_s=20, reason="all that was begun for a stream has ended")


def test_no_path_leads_elsewhere(world: World, ada: Visitor) -> None:
    """A name in a form or an address never becomes another path of the API, and no file but ours is served."""
    before = world.state.workloads
    for name in ("../fun", "..", "a/b", "fun/../../x", "%2e%2e", ""):
        answer = ada.ask("POST", f"{ONE}/restart-instance", instance=name)
        assert answer.status_code == 404, (name, answer.text)
    for path in ("..%2fapp.py", "../app.py", "%2e%2e/%2e%2e/door.py", "portal.js/..", "base.html"):
        assert ada.ask("GET", f"/portal/files/{path}").status_code == 404
    assert ada.ask("GET", "/portal/stacks/default/workloads/..%2f..%2fanypop").status_code == 404
    assert world.state.workloads == before


# texts of others


def test_no_text_of_anybody_becomes_markup(tmp_path: Path) -> None:
    """Names, images, env, error words, filters, notes: each is shown as it is."""
    with World(tmp_path) as world:
        quick(world)
        a_user(world, world.platform.accounts.first_account().id, "ada", Role.OWNER, PASSWORD)
        body = world.body("fun", env={"A": {"value": NASTY}})
        body["workload"]["name"] = NASTY
        world.send("POST", "/workload/v1/stacks/default/workloads", body)
        agents = world.agents()
        world.settle(agents)
        for agent in agents:
            agent.report(errors=(NASTY,))
        world.send("PATCH", "/stack/v1/stacks/default", {"name": NASTY})
        ada = Visitor(world).sign_in("ada")
        for path in (*paths("GET"), f"{STACK}/workloads?{urlencode({'q': NASTY})}", f"/portal/sign-in?return={NASTY}",
                     f"/portal/sign-in/link?code={NASTY}", f"/portal/{NASTY}"):  # fmt: skip
            if path.endswith("/stream"):
                continue
            shown = ada.ask("GET", path).text
            assert "<script>alert" not in shown and "<img" not in shown, path
        assert html.escape(NASTY, quote=False).split("alert")[0] in ada.get(f"{STACK}/workloads").replace("&#34;", '"')
        for path in (f"{STACK}/create", f"{STACK}/create/look", f"{STACK}/create/plan", f"{ONE}/scale"):
            wish: dict[str, Any] = {
                "name": NASTY,
                "image": NASTY,
                "ports": NASTY,
                "env": f"A={NASTY}\n{NASTY}",
                "city": NASTY,
            }
            wish |= {"size": NASTY, f"replicas-{NASTY}": NASTY, "replicas-eu": NASTY}
            shown = ada.ask("POST", path, **wish).text
            assert "<script>alert" not in shown and "<img" not in shown, path


def test_a_page_is_shut_in(world: World, ada: Visitor) -> None:
    """No script but by a nonce of this answer, no frame, nothing kept; no page has a script or a style inline."""
    nonces = set()
    for path in (*paths("GET"), "/portal/sign-in", "/portal/sign-in/link?code=x", "/portal/nowhere"):
        if path.endswith("/stream"):
            continue
        answer = ada.ask("GET", path)
        policy = answer.headers["content-security-policy"]
        nonce = re.search(r"script-src 'nonce-([^']+)';", policy)
        assert nonce is not None and nonce[1] not in nonces
        nonces.add(nonce[1])
        assert "unsafe" not in policy and "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
        assert answer.headers["x-frame-options"] == "DENY" and answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert not re.search(r"<script(?![^>]* src=)|<style|\son\w+=|\sstyle=|javascript:", answer.text), path
    style = ada.ask("GET", re.search(r'href="([^"]+portal\.css[^"]*)"', ada.get("/portal/sign-in"))[1])  # type: ignore[index]
    assert "immutable" in style.headers["cache-control"] and style.headers["content-type"].startswith("text/css")


# what a page shows


def test_a_filter_says_that_it_filters(tmp_path: Path) -> None:
    """And page after page, each workload is there once."""
    with World(tmp_path) as world:
        quick(world)
        a_user(world, world.platform.accounts.first_account().id, "ada", Role.OWNER, PASSWORD)
        ada = Visitor(world).sign_in("ada")
        assert "Nothing runs here yet" in ada.get(f"{STACK}/workloads")
        for number in range(30):
            world.create(f"{'shop' if number % 3 == 0 else 'blog'}-{number}", anycast=False, replicas=1)
        first, second = ada.get(f"{STACK}/workloads"), ada.get(f"{STACK}/workloads?from=25")
        rows = re.findall(r'data-topic="row:default:([^"]+)"', first + second)
        assert len(rows) == len(set(rows)) == 30 and "1 to 25 of 30" in first and "26 to 30 of 30" in second
        shown = ada.get(f"{STACK}/workloads?q=SHOP")
        assert "Filtered: 10 of 30" in shown and "blog-" not in shown and "Show all" in shown
        nothing = ada.get(f"{STACK}/workloads?q=none+such")
        assert "Filtered: 0 of 30" in nothing and "Nothing runs" not in nothing


def test_the_articles_workload_costs_what_it_costs_before_the_button(world: World, ada: Visitor) -> None:
    """The price comes from the API's quote, the plan from its plan; "show as" is what the form would send; a secret
    comes back in nothing.
    """
    ada.get(ONE)
    wish = [
        ("sign", ada.sign),
        ("name", "stackpath-anycast-fun"),
        ("image", "registry.example/fun:1"),
        ("ports", "80 53/udp"),
    ]
    wish += [("size", "SP-2"), ("anycast", "on"), ("env", "MODE=live"), ("secrets", "TOKEN=hunter2")]
    wish += [pair for city in ("AMS", "LHR", "JFK", "LAX") for pair in (("city", city), (f"replicas-{city}", "2"))]
    before = world.state.workloads
    seen = []
    for part in ("look", "plan"):
        content = urlencode(wish)
        cookie = "; ".join(f"{k}={v}" for k, v in ada.cookies.items())
        headers = {"content-type": "application/x-www-form-urlencoded", "cookie": cookie}
        answer = world.call("POST", f"{STACK}/create/{part}", content=content, headers=headers)
        assert answer.status_code == 200 and "hunter2" not in answer.text, answer.text
        seen.append(html.unescape(answer.text))
    look, plan = seen
    assert "627.80" in look and "0.86" in look and "4 × SP-2 instance, target eu1 (AMS, LHR)" in look
    for said in (
        "--target eu1=AMS,LHR",
        "--replicas 2",
        "--port 53/udp",
        "--secret TOKEN",
        "slug: stackpath-anycast-fun",
    ):
        assert said in look, said
    body = json.loads(shlex.split(look.partition("curl ")[2].partition("</pre>")[0])[-1])
    refused = world.call("POST", "/workload/v1/stacks/default/workloads", json=body)
    assert refused.status_code == 400 and "env.TOKEN.secretValue" in refused.text, (
        "not with a text in the secret's place"
    )
    assert 'id="look"' in plan and "0.86" in plan and "--secret TOKEN" in plan, "the price beside it is of this form"
    assert "8 instances would start" in plan and "627.80" in plan and "Create stackpath-anycast-fun" in plan
    assert world.state.workloads == before


def test_a_fault_of_ours_in_a_part_of_a_page_leaves_the_page(ada: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """The part says so; it holds no second page with a way to sign in."""
    ada.get(ONE)

    def fails(_: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(declaring, "wish", fails)
    for headers, whole in (({"hx-request": "true"}, False), ({}, True)):
        answer = ada.ask("POST", f"{STACK}/create/look", headers=headers)
        assert answer.status_code == 500 and "a fault of ours" in answer.text and "broken" not in answer.text
        assert ("<!doctype" in answer.text) is whole


def test_everything_that_is_missing_is_said_at_once_and_what_was_typed_stays(ada: Visitor) -> None:
    ada.get(ONE)
    answer = ada.ask("POST", f"{STACK}/create", name="", image="kept:1", ports="80, x", env="no sign")
    assert answer.status_code == 400
    for said in (
        "give it a name",
        "choose at least one city",
        "x: write a number",
        "write NAME=value",
        'value="kept:1"',
    ):
        assert said in answer.text, said
    bad = ada.ask("POST", f"{STACK}/create", name="Not A Slug", image="x y", city="AMS", size="SP-1")
    assert bad.status_code == 400 and 'class="wrong"' in bad.text


def test_a_part_that_a_page_asks_for_while_its_workload_goes_is_no_error_of_the_page(ada: Visitor) -> None:
    """The stream tells that it is gone. Whoever asks for such a page by its address hears that there is none."""
    for part in ("events", "revisions"):
        gone = f"{STACK}/workloads/gone/{part}"
        asked = ada.ask("GET", gone, headers={"hx-request": "true"})
        assert (asked.status_code, asked.content) == (204, b""), part
        assert ada.ask("GET", gone).status_code == 404, part
