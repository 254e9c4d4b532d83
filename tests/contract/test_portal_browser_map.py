"""London's red arc in a real browser: seen, explained, repaired by a click, green; and what others may see of it.

One control with agents that only pretend, vantages that follow the rules which stand, and one Chromium for all of it.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from anypop.control.roles import Role
from tests.browsed import chromium, complaints, serving
from tests.contract.test_portal_browser import AXE, LOOKS, WAIT_MS
from tests.control_world import FakeAgent, World
from tests.london_world import PASTED, fun, go_on, london_world
from tests.people import PASSWORD, a_user, quick

STACK = "/portal/stacks/default"
MAP = f"{STACK}/map?workload=fun"


class Place:
    """The control, its address, a browser; `ada` owns the operator's account, `vic` may look."""

    def __init__(self, world: World, browser: Browser, url: str) -> None:
        self.world, self.browser, self.url = world, browser, url
        self.agents: list[FakeAgent] = world.agents()
        world.settle(self.agents)
        self.contexts: list[BrowserContext] = []
        self.ada, self.complaints = self.signed_in("ada")

    def signed_in(self, name: str, **options: Any) -> tuple[BrowserContext, list[str]]:
        made = self.browser.new_context(ignore_https_errors=True, viewport={"width": 1280, "height": 800}, **options)
        made.set_default_timeout(WAIT_MS)
        self.contexts.append(made)
        said = complaints(made)
        page = self.page(made, "/portal/")
        page.get_by_label("Name").fill(name)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url("**/workloads")
        page.close()
        return made, said

    def page(self, context: BrowserContext, path: str) -> Page:
        page = context.new_page()
        page.goto(f"{self.url}{path}")
        return page


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with ExitStack() as stack:
        world = stack.enter_context(london_world(tmp_path_factory.mktemp("map"), now=time.time()))
        quick(world)
        accounts = world.platform.accounts
        own, theirs = accounts.first_account().id, accounts.create_account("theirs").id
        accounts.create_stack(theirs, "theirs", "theirs")
        a_user(world, own, "ada", Role.OWNER, PASSWORD)
        a_user(world, own, "vic", Role.VIEWER, PASSWORD)
        a_user(world, theirs, "eve", Role.OWNER, PASSWORD)
        fun(world)
        browser = stack.enter_context(chromium())
        made = Place(world, browser, stack.enter_context(serving(world)))
        yield made
        for context in made.contexts:
            context.close()


def test_londons_red_arc_is_explained_repaired_and_green(place: Place) -> None:
    """Test, why, the doctor's repair, its effect before and after, wave by wave without a reload, home."""
    page = place.page(place.ada, MAP)
    expect(page.locator("#live")).to_contain_text("Nobody has asked yet")
    page.get_by_role("button", name="Test now").click()
    page.wait_for_url("**&done=tested")
    expect(page.locator("#v-london")).to_contain_text("Astray")
    expect(page.locator("#v-london")).to_contain_text("5,540 km")
    assert page.locator(".arc.astray").count() == 1 and page.locator(".place.astray").count() == 1
    expect(page.locator(".caption")).to_contain_text("a test of 15 requests each")
    page.get_by_role("link", name="Why does london land there?").click()
    expect(page.locator("#why .sentences")).to_contain_text("prefers the customer route")
    expect(page.locator("#why .candidates", has_text="local preference")).to_contain_text("209 33438")
    expect(page.locator("#repairs")).to_contain_text("keep it in North America by 209:7100 at JFK and LAX")
    page.get_by_role("button", name="The effect of: keep it in North America").click()
    expect(page.locator(".effects tr", has_text="london")).to_contain_text("moves home")
    assert [page.locator(".before-after section").nth(n).locator(".arc.astray").count() for n in (0, 1)] == [1, 0]
    page.get_by_role("button", name="Make this repair").click()
    page.wait_for_url("**&done=begun")
    page.evaluate("window.kept = 1")
    expect(page.locator(".waves li").first).to_contain_text("Watched")
    for _ in range(30):
        if all(r.phase.value != "running" for r in place.world.state.rollouts.values()):
            break
        go_on(place.world, place.agents)
    expect(page.locator("#progress")).to_contain_text("Done")
    assert page.locator(".waves li", has_text="As predicted").count() == 2
    expect(page.locator("#v-london")).to_contain_text("At home")
    expect(page.locator(".arc.astray")).to_have_count(0)
    assert page.evaluate("window.kept") == 1, "the page was never loaded again"
    assert not place.complaints, place.complaints
    page.close()


def test_a_plan_shows_where_networks_would_land_and_where_they_do_on_one_map(place: Place) -> None:
    """Of a change each network that would move has both its ways, and each PoP both its parts; of a new workload there
    is no now. A form that is changed after that takes the picture along.
    """
    page = place.page(place.ada, f"{STACK}/workloads/fun/change")
    page.get_by_label("Cities of eu").fill("AMS LHR LAX")
    page.get_by_role("button", name="Plan", exact=True).click()
    row = page.locator("#landings tr", has=page.get_by_role("cell", name="JFK", exact=True))
    expect(row.locator("[data-label=Now]")).not_to_have_text("0.0 %")
    expect(row.locator("[data-label='By this plan']")).to_have_text("0.0 %")
    ways = page.locator("#landings .arc.was").count(), page.locator("#landings .arc.moved").count()
    assert min(ways) > 0, ways
    expect(page.locator("#landings")).to_contain_text("withdraws JFK")
    page.get_by_label("Cities of eu").fill("AMS LAX")
    expect(page.locator("#landings")).to_be_hidden()
    page.goto(f"{place.url}{STACK}/create")
    page.get_by_label("Name", exact=True).fill("shop")
    page.get_by_label("Image", exact=True).fill("registry.example/shop:1")
    page.get_by_role("checkbox", name="Amsterdam").check()
    page.get_by_role("button", name="Plan", exact=True).click()
    expect(page.locator("#landings tbody tr").first).to_contain_text("AMS")
    assert page.locator("#landings .arc").count() > 0 and page.locator("#landings .arc.was").count() == 0
    assert not place.complaints, place.complaints
    page.close()


def test_two_tests_lie_beside_each_other(place: Place) -> None:
    """By the one button; London has moved home in between."""
    page = place.page(place.ada, f"{STACK}/map/tests?workload=fun")
    place.world.clock.now += 60
    page.get_by_role("button", name="Test now").click()
    page.wait_for_url("**&done=tested")
    expect(page.locator("#t-london")).to_contain_text("LHR")
    assert page.locator(".hits tr").count() == 8
    page.get_by_role("button", name="Compare").click()
    expect(page.locator(".compared tr", has_text="london")).to_contain_text("Moved")
    expect(page.locator(".compared tr", has_text="london")).to_contain_text("-5,540 km")
    expect(page.locator(".compared tr", has_text="seattle")).to_contain_text("the same")
    assert not place.complaints, place.complaints
    page.close()


def test_routing_shows_and_explains_and_drains(place: Place) -> None:
    """Sessions, what upstreams received, a drain begun and ended, a pasted route; a viewer has no button."""
    page = place.page(place.ada, f"{STACK}/routing")
    expect(page.locator(".announced tr", has_text="as209").first).to_contain_text("209:7100")
    assert page.locator(".hosts tbody tr").count() == 4 and page.locator(".sessions tbody tr").count() > 8
    page.get_by_label("Drain").select_option("AMS")
    page.get_by_role("button", name="Begin").click()
    page.wait_for_url("**?done=drained")
    page.get_by_role("button", name="Bring it back").click()
    page.wait_for_url("**?done=undrained")
    page.get_by_label("What a router printed").fill(PASTED)
    page.get_by_role("button", name="Explain").click()
    expect(page.locator(".explained")).to_contain_text("3356")
    page.get_by_label("Whose router it is").fill("AS3356-LHR")
    page.get_by_role("button", name="Explain").click()
    expect(page.locator(".explained")).to_contain_text("The model knows what AS33438 announces")
    page.get_by_label("What a router printed").fill("no route at all")
    page.get_by_role("button", name="Explain").click()
    expect(page.get_by_role("alert")).to_be_visible()
    page.get_by_label("Question").select_option("sessions")
    page.get_by_role("button", name="Ask").click()
    expect(page.get_by_role("alert")).to_contain_text("does not answer")
    place.complaints.clear()  # the browser tells of answers that are refusals
    page.close()
    vic, _ = place.signed_in("vic")
    page = place.page(vic, f"{STACK}/routing")
    assert page.get_by_role("button", name="Begin").count() == 0
    page.goto(f"{place.url}{MAP}&why=london")
    assert page.get_by_role("button", name="Make this repair").count() == 0
    page.close()


def test_the_model_draws_where_no_vantage_stands(place: Place) -> None:
    page = place.page(place.ada, f"{MAP}&by=model")
    expect(page.locator("#picture figcaption")).to_contain_text("as-rel.txt with cities.csv")
    assert page.locator("#picture .arc").count() > 2
    assert not place.complaints, place.complaints
    page.close()


def test_nothing_of_the_map_is_in_the_way_of_anybody(place: Place) -> None:
    """axe, light and dark, wide and narrow; no page is wider than the screen."""
    context, _ = place.signed_in("ada", bypass_csp=True)
    page = context.new_page()
    for path in (f"{MAP}&why=london", f"{STACK}/routing"):
        page.goto(f"{place.url}{path}")
        page.evaluate(AXE.read_text(encoding="utf-8"))
        for theme, width in LOOKS:
            page.emulate_media(color_scheme=theme, reduced_motion="reduce")
            page.set_viewport_size({"width": width, "height": 800})
            found = page.evaluate("axe.run()")["violations"]
            serious = [
                (v["id"], [node["html"][:200] for node in v["nodes"][:3]])
                for v in found
                if v["impact"] in ("serious", "critical")
            ]
            assert not serious, (path, theme, width, serious)
            wide = page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, (path, width, wide)
    page.close()
