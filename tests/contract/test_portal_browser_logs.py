"""The portal's page of logs in a real browser: lines of others are text, live while somebody looks, and many.

A control whose hosts' agents are played by threads that read real files with the agent's own code; one Chromium.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from anypop.control.roles import Role
from tests.browsed import chromium, complaints, serving
from tests.contract.test_log_search import Place
from tests.contract.test_portal_browser import AXE, HIDE, LOOKS, WAIT_MS
from tests.control_world import World
from tests.people import PASSWORD, a_user, quick
from tests.served import served
from tests.unit.test_log_search import entry
from tests.wait import wait_until

LOGS = "/portal/stacks/default/logs"
NASTY = "<img src=x onerror=\"document.title='stolen'\">"
TURNED = "\u202egnirts a"
MANY = 20_000
NS = 1_000_000_000


class Shown:
    """A browser that is signed in, and the hosts' files."""

    def __init__(self, page: Page, place: Place, url: str) -> None:
        self.page, self.place, self.url = page, place, url
        self.first, *_, self.last = sorted(place.mine)

    def write(self, instance: str, *texts: str) -> None:
        now = time.time_ns()
        with self.place.mine[instance].open("ab") as file:
            file.write(b"".join(entry(text, now + n) for n, text in enumerate(texts)))

    def open(self, query: str = "") -> Page:
        self.page.goto(f"{self.url}{LOGS}?{query}")
        return self.page

    def watched(self) -> int:
        return sum(self.place.world.platform.log_search._open.values())


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    with World(tmp_path_factory.mktemp("logs_browsed"), now=time.time()) as world, chromium() as browser:
        quick(world)
        a_user(world, world.platform.accounts.first_account().id, "ada", Role.OWNER, PASSWORD)
        world.create()
        with served(world) as there, serving(world) as url:
            place = Place(world, there, tmp_path_factory.mktemp("files"))
            context = browser.new_context(ignore_https_errors=True, viewport={"width": 1280, "height": 800})
            context.set_default_timeout(WAIT_MS)
            said = complaints(context)
            page = context.new_page()
            page.goto(f"{url}/portal/")
            page.get_by_label("Name").fill("ada")
            page.get_by_label("Password").fill(PASSWORD)
            page.get_by_role("button", name="Sign in").click()
            page.wait_for_url("**/workloads")
            yield Shown(page, place, url)
            context.close()
            assert said == []
            for agent in place.agents.values():
                agent.close()


def test_lines_of_all_instances_come_as_they_are_written_and_are_never_markup(shown: Shown) -> None:
    shown.write(shown.first, "the first line", NASTY, TURNED)
    page = shown.open("workload=fun")
    expect(page.locator("#log-state")).to_have_text("Live")
    rows = page.locator("#log-rows")
    expect(rows).to_contain_text(NASTY)
    expect(rows).to_contain_text("\\u202egnirts a")
    shown.write(
        shown.last,
        '{"level":"error","msg":"it is broken ' + NASTY.replace('"', '\\"') + '","<b>":"' + "x" * 3000 + '"}',
    )
    line = rows.locator("li[data-level=error]")
    expect(line).to_contain_text(f"it is broken {NASTY}")
    expect(line).to_contain_text(shown.last)
    line.click()
    expect(page.locator("#log-one")).to_contain_text("<b>")
    expect(page.locator("#log-one")).to_contain_text(shown.last)
    assert page.title().startswith("Logs of fun") and page.locator("#log-rows img, #log-one b").count() == 0
    page.get_by_role("button", name="Pause").click()
    shown.write(shown.last, "while it is paused")
    expect(page.locator("#log-count")).to_contain_text("1 more wait")
    assert "while it is paused" not in rows.inner_text()
    page.get_by_role("button", name="Go on").click()
    expect(rows).to_contain_text("while it is paused")


def test_a_hidden_tab_has_no_stream_and_misses_nothing_when_it_is_seen_again(shown: Shown) -> None:
    page = shown.open("workload=fun")
    expect(page.locator("#log-state")).to_have_text("Live")
    page.evaluate(HIDE, True)
    wait_until(lambda: shown.watched() == 0, timeout_s=60, reason="its stream has ended")
    shown.write(shown.first, "while nobody looked")
    page.evaluate(HIDE, False)
    expect(page.locator("#log-rows")).to_contain_text("while nobody looked")


def test_a_search_says_that_it_narrows_and_is_an_address(shown: Shown) -> None:
    page = shown.open()
    page.get_by_label("Workload").select_option("fun")
    page.get_by_label("Level").select_option("error")
    page.get_by_label("Contains").fill("BROKEN")
    page.get_by_role("button", name="Search").click()
    page.wait_for_url("**level=error**")
    expect(page.locator("#log-count")).to_have_text("1 lines")
    expect(page.locator(".filters")).to_contain_text("Filtered: only lines of level error and worse with BROKEN")
    page.goto(f"{shown.url}{LOGS}?text=nothing-has-this")
    expect(page.get_by_role("heading", name="No lines")).to_be_visible()
    assert page.request.get(f"{shown.url}{LOGS}?workload=nobody").status == 404
    with page.expect_download() as file:
        page.evaluate(f"location.href = '{LOGS}/download?workload=fun'")
    assert "while nobody looked" in Path(file.value.path()).read_text()
    assert file.value.suggested_filename == "fun-logs.txt"


def test_many_lines_are_few_elements_and_the_first_is_reached(shown: Shown) -> None:
    """Elements are counted, not time: as many as can be seen, whatever is above and below."""
    begin = time.time_ns() - 3600 * NS
    file = shown.place.mine[shown.first]
    file.write_bytes(b"".join(entry(f"line {n} of many", begin + n * 1000) for n in range(MANY)) + file.read_bytes())
    page = shown.open(f"workload=fun&instance={shown.first}")
    expect(page.locator("#log-count")).to_contain_text("older ones are there")
    page.evaluate("document.getElementById('logs').dispatchEvent(new Event('load-all'))")
    expect(page.locator("#log-count")).to_contain_text(f"{MANY + 4:,} lines")
    page.locator("#log-view").evaluate("view => { view.scrollTop = 0 }")
    expect(page.locator("#log-rows")).to_contain_text("line 0 of many")
    assert page.locator("#log-rows li").count() < 100
    page.get_by_role("button", name="To the newest").click()
    expect(page.locator("#log-rows")).to_contain_text("while nobody looked")


def test_the_page_fits_and_axe_finds_nothing_serious(shown: Shown) -> None:
    for scheme, width in LOOKS:
        shown.page.set_viewport_size({"width": width, "height": 800})
        shown.page.emulate_media(color_scheme=scheme)
        page = shown.open("workload=fun")
        expect(page.locator("#log-state")).to_have_text("Live")
        page.evaluate(AXE.read_text())
        found = page.evaluate("axe.run()")["violations"]
        serious = [
            f"{one['id']}: {one['nodes'][0]['html'][:200]}" for one in found if one["impact"] in ("serious", "critical")
        ]
        assert serious == [], scheme
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"no sideways scroll at {width}"
