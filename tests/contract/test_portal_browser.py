"""The portal in a real browser, over a real control with agents that only pretend: what a person sees and does.

One control and one Chromium for all of it. Waits end with what is waited for. A page that breaks its own policy or has
an error in its script fails the test.
"""

import gzip
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect

from anypop.control.roles import Role
from anypop.model.machine import Acceleration
from anypop.portal import live
from tests.browsed import chromium, complaints, serving
from tests.contract.test_machine_images import brought
from tests.control_world import FakeAgent, World
from tests.people import PASSWORD, a_user, quick
from tests.wait import wait_until

ROOT = Path(__file__).parents[2]
SHOTS = ROOT / "build" / "portal"  # git ignores it; CI keeps it where it keeps such
AXE = ROOT / "assets" / "node_modules" / "axe-core" / "axe.min.js"
LIST, CREATE = "/portal/stacks/default/workloads", "/portal/stacks/default/create"
ONE = f"{LIST}/stackpath-anycast-fun"
NASTY = "<img src=x onerror=\"document.title='stolen'\">"
LOOKS: tuple[tuple[Literal["light", "dark"], int], ...] = (("light", 1280), ("dark", 390))
WAIT_MS = 60_000  # an event ends each wait; this is for a machine that does much else

expect.set_options(timeout=WAIT_MS)


class Place:
    """A control, its address, a browser; `ada` is signed in."""

    def __init__(self, world: World, folder: Path, browser: Browser) -> None:
        self.world = world
        self.browser = browser
        self.agents: list[FakeAgent] = world.agents()
        self._server = ExitStack()
        self.url = self._server.enter_context(serving(world))
        self.ada, self.complaints = self.context()
        page = self.page(self.ada, "/portal/")
        page.get_by_label("Name").fill("ada")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(f"**{LIST}")
        page.close()

    def context(self, **options: Any) -> tuple[BrowserContext, list[str]]:
        made = self.browser.new_context(ignore_https_errors=True, viewport={"width": 1280, "height": 800}, **options)
        made.set_default_timeout(WAIT_MS)
        return made, complaints(made)

    def page(self, context: BrowserContext, path: str) -> Page:
        page = context.new_page()
        page.goto(f"{self.url}{path}")
        return page

    def settle(self) -> None:
        self.world.settle(self.agents)

    def cut(self) -> None:
        """Control is gone."""
        self._server.close()

    def back(self) -> None:
        """It is there again, at the same address."""
        self._server.enter_context(serving(self.world, int(self.url.rpartition(":")[2])))

    def streams(self) -> int:
        return sum(live._open.values())


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[Place]:
    with World(tmp_path_factory.mktemp("browsed"), now=time.time()) as world:
        quick(world)
        account = world.platform.accounts.first_account().id
        a_user(world, account, "ada", Role.OWNER, PASSWORD)
        made = Place(world, tmp_path_factory.mktemp("shots"), browser)
        yield made
        made.ada.close()
        made.cut()
        world.platform.machine_images.stop()


@pytest.fixture(scope="module")
def assets() -> None:
    """What is committed is what would be made now; and axe is there."""
    made = subprocess.run([ROOT / "script" / "assets", "--check"], capture_output=True, text=True, check=False)
    assert made.returncode == 0, f"run script/assets, and look at what changed: {made.stdout}{made.stderr}"


def test_the_articles_workload_is_made_by_clicks_and_lives_on_the_screen(place: Place) -> None:
    """627.80 USD before the button; Starting to Running without a reload; scale, drain, delete with its name typed."""
    page = place.page(place.ada, CREATE)
    page.get_by_label("Name", exact=True).fill("stackpath-anycast-fun")
    page.get_by_label("Image", exact=True).fill("registry.example/fun:1")
    page.get_by_text("SP-2").click()
    page.locator('.mark[data-city="AMS"] .dot').click()
    expect(page.get_by_role("checkbox", name="Amsterdam")).to_be_checked()
    for city in ("London", "New York", "Los Angeles"):
        page.get_by_role("checkbox", name=city).check()
    for city in ("Amsterdam", "London", "New York", "Los Angeles"):
        page.get_by_label(f"Instances in {city}").fill("2")
    expect(page.locator("#monthly")).to_have_text("627.80")
    expect(page.locator("#hourly")).to_have_text("0.86")
    assert not page.get_by_role("button", name="Create stackpath-anycast-fun").is_visible()
    page.get_by_role("button", name="Plan", exact=True).click()
    expect(page.locator("#plan")).to_contain_text("8 instances would start")
    expect(page.locator("#plan")).to_contain_text("627.80")
    assert not place.world.state.workloads, "a plan makes nothing"
    page.get_by_role("button", name="Create stackpath-anycast-fun").click()
    page.wait_for_url(f"**{ONE}?done=created")
    expect(page.locator("#live")).to_contain_text("0 of 8 running")
    page.evaluate("window.kept = 1")
    place.settle()
    expect(page.locator("#live")).to_contain_text("8 of 8 running")
    expect(page.locator("#city-LHR")).to_contain_text("2 of 2 running")
    place.agents[1].broken = frozenset(place.agents[1].order.instances[0].name for _ in [0] if place.agents[1].order)
    place.settle()
    expect(page.locator("#events")).to_contain_text("stackpath-anycast-fun-eu1")
    expect(page.locator(".glance")).to_contain_text("Not healthy 8 of 8 running, 1 not healthy")
    expect(page.locator("#city-LHR")).to_contain_text("2 of 2 running, 1 not healthy")
    expect(page.locator(".instance .bad")).to_have_text(re.compile("Not healthy"))
    assert page.evaluate("window.kept") == 1, "the page was never loaded again"
    place.agents[1].broken = frozenset()

    page.get_by_role("spinbutton", name="na1").fill("1")
    page.get_by_role("button", name="Scale").click()
    page.wait_for_url("**?done=scaled&**")
    place.settle()
    expect(page.locator("#live")).to_contain_text("6 of 6 running")
    expect(page.locator("#revisions")).to_contain_text("Go back to 1")
    page.get_by_role("button", name="Actions for stackpath-anycast-fun-eu1-ams-0").click()
    expect(page.get_by_role("dialog")).to_contain_text("stackpath-anycast-fun-eu1-ams-0")
    page.get_by_role("dialog").get_by_role("button", name="Drain").click()
    page.wait_for_url("**?done=draining")
    expect(page.get_by_text("is drained", exact=False)).to_be_visible()
    page.get_by_role("button", name="Bring it back").click()
    page.wait_for_url("**?done=undrained")
    assert not place.complaints, place.complaints
    page.close()


def test_twelve_tabs_live_by_one_stream_that_ends_when_nobody_looks(place: Place) -> None:
    """On HTTP/1.1 a browser has six connections to one place: with one for each tab the seventh would hang."""
    if "fun" not in {d.workload.slug for d in place.world.state.workloads.values()}:
        place.world.create("fun", anycast=False)
    place.settle()
    pages = [place.page(place.ada, f"{LIST}/fun" if n % 2 else LIST) for n in range(12)]
    shown = [page.locator("#live, tr").filter(has_text=re.compile("fun|Running")).first for page in pages]
    wait_until(lambda: place.streams() == 1, timeout_s=60, reason="one stream for all")
    place.world.send("PATCH", "/workload/v1/stacks/default/workloads/fun", {"workload": place.world.replicas(3)})
    place.settle()
    for number, page in enumerate(pages):
        text = "6 of 6 running" if number % 2 else "6 / 6"
        expect(page.locator("main")).to_contain_text(text)
    assert place.streams() == 1 and len(shown) == 12
    # the tab that holds the stream goes: another one takes it
    pages.pop(0).close()
    place.world.send("PATCH", "/workload/v1/stacks/default/workloads/fun", {"workload": place.world.replicas(1)})
    place.settle()
    for page in pages:
        expect(page.locator("main")).to_contain_text(re.compile("2 of 2 running|2 / 2"))
    for page in pages[1:]:
        page.close()
    page = pages[0]
    page.evaluate(HIDE, True)
    wait_until(lambda: place.streams() == 0, timeout_s=60, reason="nobody looks, so nothing is open")
    place.world.send("PATCH", "/workload/v1/stacks/default/workloads/fun", {"workload": place.world.replicas(2)})
    place.settle()
    page.evaluate(HIDE, False)
    expect(page.locator("main")).to_contain_text(re.compile("4 of 4 running|4 / 4"))
    assert not place.complaints, place.complaints
    page.close()


HIDE = """hidden => {
  Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


def test_a_page_recovers_by_itself_when_control_was_gone(place: Place) -> None:
    """What is on the screen meanwhile is told as unknown, with its age."""
    place.settle()
    page = place.page(place.ada, f"{LIST}/fun")
    wait_until(lambda: place.streams() == 1, timeout_s=60, reason="the page is live")
    place.cut()
    try:
        page.evaluate("{ const now = Date.now; Date.now = () => now() + 60_000; }")
        expect(page.locator("html.stale")).to_have_count(1)
        expect(page.locator("[data-heard]")).to_contain_text("last heard of")
        word = page.locator("#live .state .word").first
        assert "unknown, was" in word.evaluate("e => getComputedStyle(e, '::before').content")
    finally:
        place.back()
    place.world.send("PATCH", "/workload/v1/stacks/default/workloads/fun", {"workload": place.world.replicas(3)})
    place.settle()
    expect(page.locator("#live")).to_contain_text("6 of 6 running")
    expect(page.locator("html.stale")).to_have_count(0)
    place.complaints.clear()  # the browser tells of connections that it could not make
    page.close()


def test_what_is_served_is_what_would_be_made_now(assets: None) -> None:
    """Of the sources and the libraries that are locked. That nothing is in anybody's way is asked of all pages
    together (test_portal_browser_whole).
    """


def test_no_text_of_anybody_runs_in_the_browser(place: Place) -> None:
    """A workload's name, and what comes by the stream, too."""
    body = place.world.body("nasty", anycast=False, env={"A": {"value": NASTY}})
    body["workload"]["name"] = NASTY
    place.world.send("POST", "/workload/v1/stacks/default/workloads", body)
    list_page, page = place.page(place.ada, LIST), place.page(place.ada, f"{LIST}/nasty")
    place.settle()
    expect(page.locator("#live")).to_contain_text("4 of 4 running")
    expect(page.get_by_role("heading", level=1)).to_have_text(NASTY)
    expect(list_page.locator("tr", has_text=NASTY)).to_contain_text("4 / 4")
    for each in (page, list_page):
        assert each.title() != "stolen" and each.locator("img").count() == 0
        each.close()
    assert not place.complaints, place.complaints


def test_a_virtual_machine_is_made_by_clicks_has_its_console_and_gets_a_city_more(place: Place) -> None:
    """Its image is one of the stack, user data is where a container has its environment, and its price is there before
    the button; its page leads to its console, and its change page says the same of it.
    """
    brought(place.world, "debian/12")
    for agent in place.agents:
        agent.machines = Acceleration.TCG
    place.settle()
    page = place.page(place.ada, CREATE)
    expect(page.get_by_label("Environment")).to_be_visible()
    page.get_by_label("Virtual machine").check()
    expect(page.get_by_label("Environment")).to_be_hidden()
    page.get_by_label("Name", exact=True).fill("vm")
    page.locator("select[name=machine-image]").select_option("default/debian:12")
    page.get_by_label("User data").fill("#cloud-config\n")
    page.get_by_role("checkbox", name="Amsterdam").check()
    expect(page.locator("#monthly")).not_to_have_text("0.00")
    page.get_by_text("Show as").click()
    page.get_by_text("CLI", exact=True).click()
    expect(page.locator("#as")).to_contain_text("--vm-image default/debian:12")

    def late(route: Route) -> None:
        page.wait_for_timeout(600)  # longer than a look at the price waits
        route.continue_()

    page.route("**/plan", late)
    page.get_by_role("button", name="Plan", exact=True).click()
    page.get_by_role("button", name="Create vm").click()
    page.wait_for_url("**/vm?done=created")
    place.settle()
    expect(page.locator("#live")).to_contain_text("1 of 1 running")
    page.get_by_role("button", name="Actions for vm-eu1-ams-0").click()
    expect(page.get_by_role("link", name="Open the console")).to_be_visible()
    page.get_by_role("button", name="Leave it as it is").click()
    page.get_by_role("link", name="Change").click()
    expect(page.get_by_label("User data")).to_have_value("#cloud-config\n")
    page.get_by_label("Its cities").fill("LHR")
    page.get_by_role("button", name="Plan", exact=True).click()
    expect(page.locator("#plan")).to_contain_text("1 more would start: vm-eu2-lhr-0")
    for theme, width in LOOKS:
        page.emulate_media(color_scheme=theme, reduced_motion="reduce")
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        SHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=SHOTS / f"change-of-a-virtual-machine-{width}-{theme}.png", full_page=True)
    page.get_by_role("button", name="Change vm").click()
    page.wait_for_url("**/vm?done=changed")
    place.settle()
    expect(page.locator("#live")).to_contain_text("2 of 2 running")
    assert not place.complaints, place.complaints
    page.close()


def test_a_workload_is_deleted_by_its_name_and_is_gone_on_the_screen(place: Place) -> None:
    if "fun" not in {d.workload.slug for d in place.world.state.workloads.values()}:
        place.world.create("fun", anycast=False)
    place.settle()
    page = place.page(place.ada, f"{LIST}/fun")
    page.get_by_label("Type fun").fill("fun")
    page.get_by_role("button", name="Delete").click()
    page.wait_for_url("**?done=deleting")
    expect(page.locator("#live")).to_contain_text("Deleting")
    place.settle()
    expect(page.locator("#live")).to_contain_text("nothing of it is left")
    assert not place.complaints, place.complaints
    page.close()


def test_a_session_that_ends_leads_to_the_sign_in(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """By itself, while a page is open; and the page comes back after it."""
    monkeypatch.setattr(live, "SIGN_OF_LIFE_S", 0.3)
    a_user(place.world, place.world.platform.accounts.first_account().id, "bob", Role.VIEWER, PASSWORD)
    context, _ = place.context()
    page = place.page(context, LIST)
    page.get_by_label("Name").fill("bob")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"**{LIST}")
    assert page.get_by_role("link", name="Create").count() == 0
    place.world.platform.accounts.users.set_role(
        place.world.platform.accounts.users.named("bob").id,  # type: ignore[union-attr]
        place.world.platform.accounts.first_account().id,
        Role.VIEWER,
    )
    place.world.clock.now += 12 * 3600
    page.wait_for_url("**/portal/sign-in?**")
    expect(page.get_by_role("alert")).to_contain_text("Your session is over")
    context.close()


def test_what_a_browser_loads_before_a_terminal_is_light(place: Place) -> None:
    """Compressed, as it travels: page, script, style, coastlines of the heaviest page below 120 kB."""
    folder = ROOT / "src" / "anypop" / "portal" / "assets"
    sizes = {file.name: len(gzip.compress(file.read_bytes(), 9)) for file in folder.iterdir()}
    page = len(gzip.compress(b"x" * 20_000))
    assert sizes["portal.js"] + sizes["portal.css"] + sizes["land.svg"] + page < 120_000, sizes
