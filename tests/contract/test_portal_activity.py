"""The portal's events and audit log, over the real API: each entry once, page after page; filters that say so; links to
what an entry is about; and nothing of anybody else.
"""

import html
import re
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest

from anypop.portal import activity
from tests.contract.test_portal import Visitor
from tests.control_world import World
from tests.people import session_of, two_accounts

EVENTS, AUDIT = activity.BASE, f"{activity.BASE}/audit"
WORKLOADS = "/workload/v1/stacks/theirs/workloads"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with two_accounts(tmp_path_factory.mktemp("activity")) as made:
        eve = {"authorization": f"Bearer {session_of(made, 'eve')}"}
        made.create("fun")
        agents = made.agents()
        made.settle(agents)
        assert made.call("POST", WORKLOADS, json=made.body("shop", anycast=False), headers=eve).status_code == 200
        for number in range(60):
            merge = {"workload": {"metadata": {"labels": {"n": str(number)}}}}
            assert made.call("PATCH", f"{WORKLOADS}/shop", json=merge, headers=eve).status_code == 200
        made.settle(agents)
        yield made


@pytest.fixture(scope="module")
def ada(world: World) -> Visitor:
    return Visitor(world).sign_in("ada")


@pytest.fixture(scope="module")
def eve(world: World) -> Visitor:
    return Visitor(world).sign_in("eve")


def rows(page: str) -> list[str]:
    """What each row says."""
    body = page.partition("<tbody>")[2].partition("</tbody>")[0]
    return [" ".join(html.unescape(re.sub(r"<[^>]+>", " ", row)).split()) for row in body.split("<tr>")[1:]]


def link(page: str, word: str) -> str:
    found = re.search(rf'href="([^"]+)"[^>]*>{word}</a>', page)
    return html.unescape(found[1]) if found else ""


@pytest.mark.parametrize("path", [EVENTS, AUDIT])
def test_each_entry_is_on_one_page_in_both_directions(world: World, ada: Visitor, path: str) -> None:
    """The newest first; what is added meanwhile moves nothing."""
    stored = world.get(f"/anypop/v1/{'audit' if path == AUDIT else 'events'}?limit=1000")["results"]
    pages = [ada.get(path)]
    while where := link(pages[-1], "Earlier"):
        pages.append(ada.get(path + where))
    there = [rows(page) for page in pages]
    assert len(pages) > 1 and all(len(found) == activity.PAGE for found in there[:-1])
    shown = [row for found in there for row in found]
    assert len(shown) == len(stored)
    assert all(entry["subject"] in row for entry, row in zip(reversed(stored), shown, strict=True))
    world.create(f"more-{path.rpartition('/')[2]}", anycast=False)
    back = ada.get(path + link(pages[-1], "Later"))
    assert rows(back) == there[-2]
    newest = ada.get(path + link(back, "Newest"))
    assert any("more-" in row for row in rows(newest)) and not link(newest, "Later") and not link(newest, "Newest")


def test_a_filter_of_events_says_that_it_filters(ada: Visitor) -> None:
    everything = ada.get(EVENTS)
    assert "Filtered" not in everything
    for query, said in (
        ({"kind": "workload-created"}, "of the kind <q>workload created</q>"),
        ({"text": "AMS"}, "with <q>AMS</q>"),
        ({"stack": "default", "kind": "instance"}, "of the stack <q>default</q>"),
    ):
        shown = ada.get(f"{EVENTS}?{urlencode(query)}")
        assert "Filtered" in shown and said in shown and 'href="?"' in shown and rows(shown)
    created = rows(ada.get(f"{EVENTS}?kind=workload-created"))
    assert all("Workload created" in row for row in created) and any(" shop" in row for row in created)
    assert all("ams" in row.lower() for row in rows(ada.get(f"{EVENTS}?text=ams")))
    none = ada.get(f"{EVENTS}?{urlencode({'text': 'no such text'})}")
    assert "No event fits" in none and "Filtered" in none and not rows(none)
    for odd in ("%", "_", "\\"):
        assert not rows(ada.get(f"{EVENTS}?{urlencode({'text': f'shop{odd}x'})}")), "it is a text, no pattern"
    assert "Filtered" not in ada.get(f"{EVENTS}?kind=nonsense&stack=nowhere&before=x&after=-1")


def test_pages_keep_the_filter(eve: Visitor) -> None:
    shown = eve.get(f"{EVENTS}?kind=workload-changed")
    earlier = eve.get(EVENTS + link(shown, "Earlier"))
    assert "Filtered" in earlier and len(rows(shown)) == 50
    assert len(rows(shown)) + len(rows(earlier)) == 60, "sixty changes"
    assert all("Workload changed" in row for row in rows(earlier))


def test_an_entry_leads_to_what_it_is_about(world: World, ada: Visitor) -> None:
    """An instance to its workload; a change of prices to the costs; what is gone nowhere."""
    shown = ada.get(f"{EVENTS}?stack=default&kind=instance")
    assert 'href="/portal/stacks/default/workloads/fun">fun-eu-ams-0</a>' in shown
    acts = ada.get(f"{AUDIT}?operation=create_workload")
    assert 'href="/portal/stacks/default/workloads/fun">fun</a>' in acts
    for page in (shown, acts):
        for path in set(re.findall(r'href="(/portal/stacks/[^"]+/workloads/[^"]+)"', page)):
            assert ada.ask("GET", path).status_code == 200, path


def test_the_audit_log_tells_what_differs(world: World, eve: Visitor) -> None:
    shown = eve.get(f"{AUDIT}?operation=merge_workload")
    assert "<q>merge workload</q>" in shown and "document.metadata.labels.n" in shown
    assert "<del>58</del>" in shown and "<ins>59</ins>" in shown
    stranger = Visitor(world)
    stranger.get("/portal/sign-in")
    stranger.ask("POST", "/portal/sign-in", name="eve", password="hunter2 hunter2")
    refused = eve.get(f"{AUDIT}?outcome=refused")
    assert "hunter2" not in refused and all("refused" in row for row in rows(refused))


def test_nobody_reads_of_another_account(eve: Visitor) -> None:
    """Not in events, not in the audit log; and its stack is no filter either."""
    for path in (EVENTS, f"{EVENTS}?text=fun", f"{EVENTS}?stack=default", AUDIT, f"{AUDIT}?text=fun"):
        shown = eve.get(path)
        assert "fun-eu" not in shown and "185.85.196" not in shown and not any(" fun " in row for row in rows(shown)), (
            path
        )
