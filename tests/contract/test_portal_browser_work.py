"""A workload's page in a real browser: changed by a form and steered from two browsers, a terminal, charts.

One control, with a host whose commands a test plays, and one Chromium for all of it.
"""

import json
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from playwright.sync_api import Browser, expect

from anypop.control.metrics.charts import CHARTS
from anypop.control.roles import Role
from anypop.model.streams import Frame, SamplesRequest, Series
from tests.browsed import chromium
from tests.contract.test_portal_browser import LIST, Place
from tests.control_world import World
from tests.measured import labels_on, measuring
from tests.people import PASSWORD, a_user, quick
from tests.served import PlayedAgent, served
from tests.wait import wait_until

INSTANCE = "fun-eu-ams-0"
STEALING = (
    b"\x1b]0;stolen\x07\x1b]2;stolen\x07\x1b]52;c;c3RvbGVu\x07\x1b]8;;https://evil.example/\x07link\x1b]8;;\x07"
    b"\x1b[22;0t\x1b[5t\x1b]11;#ff0000\x07\x1b]1337;File=inline=1:AAAA\x07\x1b]9;stolen\x07<img src=x onerror=alert(1)>"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[Place]:
    with World(tmp_path_factory.mktemp("work"), now=time.time()) as world, ExitStack() as left:
        quick(world)
        a_user(world, world.platform.accounts.first_account().id, "ada", Role.OWNER, PASSWORD)
        world.create("fun")
        made = Place(world, tmp_path_factory.mktemp("shots"), browser)
        left.callback(made.cut)
        left.callback(made.ada.close)
        made.settle()
        yield made


def test_a_change_by_a_form_is_seen_and_steered_in_two_browsers(place: Place) -> None:
    """Plan and price before the button; waves, pause, resume, and the way back, without a reload in the other one."""
    other, complaints = place.context(storage_state=place.ada.storage_state())
    watching = place.page(other, f"{LIST}/fun")
    expect(watching.locator("#live")).to_contain_text("4 of 4 running")
    watching.evaluate("window.kept = 1")
    page = place.page(place.ada, f"{LIST}/fun")
    page.get_by_role("link", name="Change").click()
    page.get_by_label("Image").fill("registry.example/web:2")
    page.get_by_role("button", name="Plan", exact=True).click()
    expect(page.locator("#plan")).to_contain_text("4 instances made anew, city by city: AMS, then LHR")
    expect(page.locator("#plan")).to_contain_text("As much as now.")
    page.get_by_label("Instances in each city of eu").fill("3")
    expect(page.locator("#plan")).to_be_empty()  # a plan is of what the form said then
    page.get_by_label("Instances in each city of eu").fill("2")
    page.get_by_role("button", name="Plan", exact=True).click()
    page.get_by_role("button", name="Change fun").click()
    page.wait_for_url("**?done=changed&revision=1")
    expect(watching.locator(".rollout")).to_contain_text("of 4 on revision 2")
    expect(watching.locator(".waves [aria-current=step]")).to_contain_text("AMS")
    watching.get_by_role("button", name="Pause").click()
    watching.wait_for_url("**?done=paused")
    expect(page.locator(".rollout")).to_contain_text("paused")
    page.get_by_role("button", name="Resume").click()
    page.wait_for_url("**?done=resumed")
    expect(watching.locator(".rollout")).to_contain_text("running")
    page.goto(f"{place.url}{LIST}/fun?done=changed&revision=1")
    page.get_by_role("button", name="Undo").click()
    page.wait_for_url("**?done=undone")
    expect(watching.locator("[data-revision]")).to_have_text("3")
    place.settle()
    for one in (page, watching):
        expect(one.locator("#live")).to_contain_text("4 of 4 running")
        details = one.locator("#revisions details").first
        details.locator("summary").click()
        expect(details).to_contain_text("registry.example/web:2")
        one.close()
    assert not place.complaints and not complaints, (place.complaints, complaints)
    other.close()


def test_a_terminal_obeys_who_types_and_steers_nothing_else(place: Place) -> None:
    """What a container writes changes neither title, clipboard, address nor page; a key leaves it; its end is told."""
    with served(place.world) as there:
        agent = PlayedAgent(there, "AMS")
        place.ada.grant_permissions(["clipboard-read", "clipboard-write"], origin=place.url)
        page = place.page(place.ada, f"{LIST}/fun")
        page.get_by_role("button", name=f"Actions for {INSTANCE}").click()
        page.get_by_role("link", name="Open a terminal").click()
        expect(page.locator("#terminal-status")).to_have_text("Connected")
        page.evaluate("navigator.clipboard.writeText('mine')")
        title, address = page.title(), page.url
        page.keyboard.type("hello")
        expect(page.locator(".xterm-rows")).to_contain_text("HELLO")
        (told,) = agent.commands
        told.send(bytes([Frame.OUTPUT]) + STEALING + b"\r\nafter that\r\n")
        expect(page.locator(".xterm-rows")).to_contain_text("after that")
        expect(page.locator(".xterm-rows")).to_contain_text("<img src=x onerror=alert(1)>")
        assert (page.title(), page.url) == (title, address)
        assert page.evaluate("navigator.clipboard.readText()") == "mine"
        assert page.locator("#terminal a, #terminal img").count() == 0 and len(place.ada.pages) == 1
        page.keyboard.press("Shift+Escape")
        expect(page.locator("#terminal-leave")).to_be_focused()
        told.send(bytes([Frame.EXIT]) + json.dumps({"code": 3}).encode())
        told.close()
        expect(page.locator("#terminal-status")).to_contain_text("ended with code 3")
        page.get_by_role("button", name="Connect again").click()
        expect(page.locator("#terminal-status")).to_have_text("Connected")
        wait_until(lambda: len(agent.commands) == 2, timeout_s=60, reason="a second shell")
        page.close()
        agent.close()
    assert not place.complaints, place.complaints


# the points of one chart, answer by answer
COUNTED = """
window.points = [];
const whole = window.fetch;
window.fetch = async (...asked) => {
  const answer = await whole(...asked);
  if (String(asked[0]).includes("chart=cpu")) {
    const data = await answer.clone().json();
    window.points.push(data.series.reduce((sum, one) => sum + one.points.length, 0));
  }
  return answer;
};
"""


def test_a_chart_moves_under_load_and_is_read_by_keyboard_and_as_a_table(place: Place) -> None:
    """What is new of it is asked for alone. What is old says how old it is, and what no host tells is told."""
    world, cpu = place.world, CHARTS["cpu"].name
    load = [(0.0, 0.25)]  # since when each instance of Amsterdam uses how much

    def used(at: float) -> float:
        ends = [*(since for since, _ in load[1:]), float("inf")]
        return sum(rate * max(0.0, min(at, end) - since) for (since, rate), end in zip(load, ends, strict=True))

    def kept(wanted: SamplesRequest) -> Iterator[Series]:
        count = int((wanted.until - wanted.since) / wanted.step_s)
        moments = [wanted.since + wanted.step_s * n for n in range(count + 1)]
        for labels in labels_on(world, "AMS"):
            yield Series(name=cpu, labels=tuple(sorted(labels.items())), points=tuple((at, used(at)) for at in moments))

    with served(world) as there, measuring(there, "AMS", kept=kept):
        page = place.page(place.ada, f"{LIST}/fun")
        page.add_init_script(COUNTED)
        page.reload()
        chart = page.locator("figure[data-chart=cpu]")
        expect(chart.locator(".legend")).to_contain_text("AMS0.5 cores")
        expect(chart.locator("canvas")).to_be_visible()
        expect(page.locator(".chart-missing")).to_contain_text("Not in it: host LHR: its agent does not answer now")
        load.append((world.clock.now, 1.0))
        world.clock.now += 60
        expect(chart.locator(".legend")).to_contain_text("AMS2 cores")  # by itself
        points = page.evaluate("points")
        assert points[0] > 100 and len(points) > 1 and all(0 < more < 20 for more in points[1:]), points
        assert chart.get_by_role("table").locator("tbody tr").count() > 20, "what was there before is kept"
        page.locator(".chart-choice").get_by_text("Instance").click()
        expect(chart.locator(".legend")).to_contain_text("fun-eu-ams-11 core")
        expect(chart.get_by_role("table")).to_contain_text("fun-eu-ams-0")
        chart.locator(".plot").focus()
        page.keyboard.press("Home")
        page.keyboard.press("End")
        expect(chart.locator("[aria-live]")).to_contain_text("fun-eu-ams-0 1 core, fun-eu-ams-1 1 core")
        expect(chart.get_by_role("img")).to_have_attribute("aria-label", re.compile("CPU: fun-eu-ams-0 1 core"))
        page.evaluate("{ const now = Date.now; Date.now = () => now() + 600_000; }")
        expect(chart.locator(".chart-note")).to_contain_text("old: how it is now is unknown")
        page.close()
    assert not place.complaints, place.complaints
