"""The portal over 1,000 workloads with 10,000 instances on 100 hosts: pages of a real control in a real browser.

Rows: how soon something is seen and how much travels for it (a browser that has nothing yet, and loads nothing for its
own address bar meanwhile; each page of the navigation and a workload's, the worst of them); what a page costs the
server, with all PoPs and with one that is dead; what a hundred live pages cost it while agents report and a workload is
scaled each second; how many of twelve tabs show a change; what axe finds; and a hundred thousand lines of logs
(`logs.showing`). Agents only pretend, and everything is one process: `live_pages_100_cores` is the difference between
the same ten seconds with the pages and without. Processor time stands beside time where the machine may do something
else: `page_server_cpu_ms_10k` is of this process alone.
"""

import asyncio
import re
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, MutableMapping
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlencode

from playwright.sync_api import Browser, BrowserContext, Page, expect
from tests.browsed import chromium, serving
from tests.control_world import FakeAgent, World
from tests.people import a_user, quick

from anypop.control import collector
from anypop.control.roles import Role
from anypop.control.state import Declaration
from anypop.portal.cookies import SESSION
from bench import logs, scale
from bench.harness import Row, row

HOSTS, WORKLOADS = 100, 1000
AT_ONCE = 100  # workloads in one call
RUNS = 9
PAINTS = 5
LIVE_PAGES, SESSIONS = 100, 25
WATCHED_S = 10.0
HEARTBEAT_S = 5.0  # of agents
RAN_S = 1800.0  # for so long everything has run, so that it costs something; a token lives for an hour
TABS = 12
WAIT_MS = 60_000
STACK = "/portal/stacks/default"
AXE = Path(__file__).parents[1] / "assets" / "node_modules" / "axe-core" / "axe.min.js"

Messages = MutableMapping[str, Any]


def rows() -> Iterable[Row]:
    collector.seldom()
    with tempfile.TemporaryDirectory() as folder, _platform(Path(folder)) as (world, agents):
        cookie = _session(world, "ada")
        pages = _pages(world, cookie)
        for path in pages:
            _served(world, cookie, path)  # templates are read once
        measured = {path: [_served(world, cookie, path) for _ in range(RUNS)] for path in pages}
        served = {path: [wall for wall, _ in found] for path, found in measured.items()}
        used = {path: [processor for _, processor in found] for path, found in measured.items()}
        yield row("page_server_ms_10k", max(served.values(), key=median), unit="ms", below=50)
        yield row("page_server_cpu_ms_10k", max(used.values(), key=median), unit="ms")
        for path, found in served.items():
            yield row(
                f"page_server_ms_10k {_short(path)}", found, unit="ms", against="its processor time", floor=used[path]
            )
        yield from _dead(world, agents, cookie, pages, served)
        with _reports(world, agents):
            idle = _processor(world)
            with _live(world, _topics(world)):
                live = _processor(world)
        yield row("live_pages_100_cores", [max(0.0, live - idle)], unit="cores", below=0.5)
        with serving(world) as url, chromium() as browser:
            context = _context(browser, url, cookie)
            seen = {path: [_painted(browser, url, cookie, path) for _ in range(PAINTS)] for path in pages}
            paints = max(([paint for paint, _ in found] for found in seen.values()), key=median)
            weights = max(([weight for _, weight in found] for found in seen.values()), key=median)
            bare = [_painted(browser, url, cookie, "/anypop/v1/healthz")[0] for _ in range(PAINTS)]
            yield row("first_paint_ms", paints, unit="ms", against="a line of text", floor=bare, below=300)
            yield row("page_weight_kb", weights, unit="kB", below=120)
            yield row("tabs_live_of_12", [_tabs(world, agents, context, url)], unit="tabs", at_least=TABS)
            yield row("axe_serious", [_serious(context, url, pages)], unit="findings", below=0.5)
            context.close()
    yield from logs.showing()


@contextmanager
def _platform(folder: Path) -> Iterator[tuple[World, list[FakeAgent]]]:
    with World(folder, scale.a_network(HOSTS), now=time.time()) as world:
        quick(world)
        bodies = [scale.a_body(number, HOSTS) for number in range(WORKLOADS)]
        for at in range(0, WORKLOADS, AT_ONCE):
            world.send("POST", "/anypop/v1/stacks/default/apply", {"workloads": bodies[at : at + AT_ONCE]})
        agents = world.agents()
        world.settle(agents)
        world.clock.now += RAN_S
        world.settle(agents)
        yield world, agents


def _session(world: World, name: str) -> str:
    account = world.platform.accounts.first_account().id
    user = a_user(world, account, name, Role.OWNER)
    return world.platform.accounts.tokens.begin_session(user, account, via="bench").text


def _pages(world: World, cookie: str) -> list[str]:
    """What the navigation leads to, page by page, and one workload."""
    first = world.call("GET", f"{STACK}/workloads", headers={"cookie": f"{SESSION}={cookie}"}).text
    nav = first.partition('<nav aria-label="Main">')[2].partition("</nav>")[0]
    slug = _first(world).workload.slug
    return [*re.findall(r'href="([^"]+)"', nav), f"{STACK}/workloads?from=500", f"{STACK}/workloads/{slug}"]


def _first(world: World) -> Declaration:
    """The first workload of the list, which is by name."""
    return min(world.state.in_stack(world.stack.id), key=lambda one: (one.workload.name, one.id))


def _short(path: str) -> str:
    return path.removeprefix(STACK).removeprefix("/portal")


def _served(world: World, cookie: str, path: str) -> tuple[float, float]:
    """Milliseconds, and those of a processor."""
    began, used = time.perf_counter(), time.process_time()
    answer = world.call("GET", path, headers={"cookie": f"{SESSION}={cookie}"})
    assert answer.status_code == 200, (path, answer.text)
    return 1000 * (time.perf_counter() - began), 1000 * (time.process_time() - used)


# a PoP that is dead


class _Deaf:
    """A connection to a host's agent that answers nothing."""

    said_all = False

    async def receive(self) -> bytes | str | None:
        await asyncio.Event().wait()
        return None

    async def send(self, message: bytes | str) -> None:
        """Is lost."""


def _dead(
    world: World, agents: list[FakeAgent], cookie: str, pages: list[str], served: dict[str, list[float]]
) -> Iterable[Row]:
    """Pages, and the parts that ask hosts, with the PoP of a workload's instance connected and silent."""
    declared = _first(world)
    life = next(iter(world.state.incarnations_of(declared.id).values())).incarnation
    listening = asyncio.run_coroutine_threadsafe(world.platform.streams.listen(life.host, _Deaf()), world._loop)
    world.clock.now += 60
    for agent in agents:
        if agent.host != life.host:
            agent.obey()
    for path in pages:
        _served(world, cookie, path)
    found = {path: [_served(world, cookie, path)[0] for _ in range(RUNS)] for path in pages}
    worst = max(found, key=lambda path: median(found[path]))
    yield row("dead_pop_page_ms", found[worst], unit="ms", against="all PoPs alive", floor=served[worst], ratio_below=2)
    slug = declared.workload.slug
    parts = [f"{STACK}/map/pops?workload={slug}", f"{STACK}/logs/lines?workload={slug}"]
    first = _served(world, cookie, parts[0])[0]
    again = [_served(world, cookie, path)[0] for path in parts for _ in range(RUNS)]
    yield row("dead_pop_part_ms", again, unit="ms", against="the first, which waits", floor=[first], below=1000)
    listening.cancel()
    for agent in agents:
        agent.obey()


# pages that nobody closes


@contextmanager
def _reports(world: World, agents: list[FakeAgent]) -> Iterator[None]:
    """Agents as they are: each says how it is every five seconds, and obeys what is new."""
    over = threading.Event()

    def go_on() -> None:
        while not over.is_set():
            for agent in agents:
                agent.obey()
                if over.wait(HEARTBEAT_S / len(agents)):
                    return

    reporting = threading.Thread(target=go_on)
    reporting.start()
    try:
        yield
    finally:
        over.set()
        reporting.join()


def _processor(world: World) -> float:
    """Cores in use while one workload is scaled each second."""
    slug = _first(world).workload.slug
    path = f"/workload/v1/stacks/default/workloads/{slug}"
    began, used = time.monotonic(), time.process_time()
    for number in range(int(WATCHED_S)):
        targets = {name: _deployed(2 + number % 2) for name in world.get(path)["workload"]["targets"]}
        world.send("PATCH", path, {"workload": {"targets": targets}})
        time.sleep(max(0.0, began + number + 1 - time.monotonic()))
    return (time.process_time() - used) / (time.monotonic() - began)


def _deployed(replicas: int) -> dict[str, Any]:
    return {"spec": {"deployments": {"minReplicas": replicas}}}


def _topics(world: World) -> list[list[str]]:
    """Of each page what it shows: half are a list of 25, half a workload."""
    ids = [one.id for one in world.state.in_stack(world.stack.id)]
    lists = [[f"row:default:{one}" for one in ids[25 * (n % 40) : 25 * (n % 40) + 25]] for n in range(LIVE_PAGES // 2)]
    return [*lists, *([f"workload:default:{ids[n]}"] for n in range(LIVE_PAGES // 2))]


@contextmanager
def _live(world: World, pages: list[list[str]]) -> Iterator[None]:
    cookies = [_session(world, f"live-{number}") for number in range(SESSIONS)]
    apps = world._http._transport.app  # type: ignore[attr-defined]
    heard = [0] * len(pages)

    async def hear(number: int, topics: list[str]) -> None:
        async def receive() -> Messages:
            await asyncio.Event().wait()
            return {"type": "http.disconnect"}

        async def send(message: Messages) -> None:
            heard[number] += bytes(message.get("body", b"")).count(b"data: ")

        cookie = f"{SESSION}={cookies[number % SESSIONS]}"
        scope = {
            "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "method": "GET",
            "scheme": "https", "path": "/portal/stream", "raw_path": b"/portal/stream", "root_path": "",
            "query_string": urlencode([("topic", topic) for topic in topics]).encode(),
            "headers": [(b"cookie", cookie.encode())], "client": ("127.0.0.1", 1), "server": ("control", 443),
        }  # fmt: skip
        await apps(scope, receive, send)

    async def begin() -> list[asyncio.Task[None]]:
        return [asyncio.create_task(hear(number, topics)) for number, topics in enumerate(pages)]

    async def end(tasks: list[asyncio.Task[None]]) -> None:
        for task in tasks:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)

    tasks = world.run(begin())
    world.wait_until(
        lambda: all(count >= len(page) for count, page in zip(heard, pages, strict=True)), "every page shows all", 60
    )
    try:
        yield
    finally:
        world.run(end(tasks))


# what a browser sees


def _context(browser: Browser, url: str, cookie: str) -> BrowserContext:
    made = browser.new_context(ignore_https_errors=True, bypass_csp=True, viewport={"width": 1280, "height": 800})
    made.set_default_timeout(WAIT_MS)
    made.add_cookies(
        [{"name": SESSION, "value": cookie, "url": url, "secure": True, "httpOnly": True, "sameSite": "Lax"}]
    )
    return made


def _painted(browser: Browser, url: str, cookie: str, path: str) -> tuple[float, float]:
    """Milliseconds to the first content, and the kilobytes that came for the page, by a browser that has nothing."""
    context = _context(browser, url, cookie)
    page = context.new_page()
    session = context.new_cdp_session(page)
    session.send("Network.enable")
    came: list[float] = []
    session.on("Network.loadingFinished", lambda told: came.append(told["encodedDataLength"]))
    page.goto(f"{url}{path}", wait_until="load")
    paint = page.evaluate(
        """() => new Promise(end => new PerformanceObserver((list, observer) => {
          const found = list.getEntriesByName("first-contentful-paint")[0];
          if (found) { observer.disconnect(); end(found.startTime); }
        }).observe({ type: "paint", buffered: true }))"""
    )
    weight = sum(came) / 1000
    context.close()
    return float(paint), weight


def _tabs(world: World, agents: list[FakeAgent], context: BrowserContext, url: str) -> int:
    """How many of twelve tabs, all open, show a change that comes when they are."""
    declared = _first(world)
    slug, before = declared.workload.slug, world.state.count_of(declared.workload)
    tabs = [context.new_page() for _ in range(TABS)]
    for number, tab in enumerate(tabs):
        tab.goto(f"{url}{STACK}/workloads" + (f"/{slug}" if number % 2 else ""))
    path = f"/workload/v1/stacks/default/workloads/{slug}"
    targets = {name: _deployed(4) for name in world.get(path)["workload"]["targets"]}
    world.send("PATCH", path, {"workload": {"targets": targets}})
    world.settle(agents)
    after = world.state.count_of(world.state.workloads[declared.id].workload)
    assert before != after
    shown = sum(_shows(tab, rf"{after} of {after} running|{after} / {after}") for tab in tabs)
    for tab in tabs:
        tab.close()
    return shown


def _shows(tab: Page, text: str) -> bool:
    try:
        expect(tab.locator("main")).to_contain_text(re.compile(text), timeout=20_000)
    except AssertionError:
        return False
    return True


def _serious(context: BrowserContext, url: str, pages: list[str]) -> int:
    """What axe finds serious on each page, in both themes and widths."""
    found = 0
    page = context.new_page()
    for path in pages:
        page.goto(f"{url}{path}")
        page.evaluate(AXE.read_text(encoding="utf-8"))
        for theme, width in (("light", 1280), ("dark", 390)):
            page.emulate_media(color_scheme=theme, reduced_motion="reduce")  # type: ignore[arg-type]
            page.set_viewport_size({"width": width, "height": 800})
            violations = page.evaluate("axe.run()")["violations"]
            found += sum(one["impact"] in ("serious", "critical") for one in violations)
    page.close()
    return found
