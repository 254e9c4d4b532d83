"""What real daemons printed about routes that were made for it: read whole, with the best and the reason that the maker
of the routes knows.
"""

import re

import pytest

from anypop.model.extended_communities import text as text_of
from anypop.routing.paste.explained import explain
from anypop.routing.paste.read import read
from tests.recorded.routes import written
from tests.recorded.routes.judged import Verdict, judged, texts, wrong_without_mark
from tests.recorded.routes.mutations import damaged, leaves_trace
from tests.recorded.routes.scenes import EXTENDED, SCENES, prefix
from tests.recorded.routes.scenes import NAMELESS as NAMELESS_ONE

# Tables have no communities, and GoBGP's not of which kind they are.
NAMELESS = re.compile(r"table|wide|brief|terse|routeros6|openbgpd-json-v|frr-json-v|gobgp-(?:table|one)")
TEXTS = texts()
WRITTEN = written.texts()
# Forms that do not say which routes are internal: marked so, and right in all else.
SILENT = ("junos-terse", "eos-table", "sros-table", "bird-all", "bird-whole")
# FRR prints a MED and a local preference of ten digits without a blank between: nobody can part them.
TOGETHER = {("frr-table-v4", "wide"), ("frr-table-v6", "wide"), ("frr-wide-v4", "wide"), ("frr-wide-v6", "wide")}


@pytest.mark.parametrize("name", TEXTS)
def test_a_recorded_text_is_read_as_its_routes_were_made(name: str) -> None:
    """Best and reason in every form; fields too, where the form shows them, and marked where it does not."""
    verdicts = list(judged(name, TEXTS[name]))
    assert len(verdicts) == 12
    wrong = [v for v in verdicts if v.wrong and (v.text, v.name) not in TOGETHER]
    assert all(v.read and v.best and v.reason for v in wrong), wrong
    assert all(v.marked for v in verdicts if v.wrong), wrong
    if not name.startswith(SILENT):
        assert not wrong


@pytest.mark.parametrize("name", WRITTEN)
def test_a_form_of_a_maker_s_documentation_is_read_as_its_routes_were_made(name: str) -> None:
    """The same scenes, as Junos, IOS, IOS-XR, NX-OS, EOS, BIRD 3, SR OS, VRP and RouterOS print them."""
    maker, text, without = WRITTEN[name]
    verdicts = list(judged(name, text, maker, without))
    assert len(verdicts) == 12 - len(without)
    wrong = [v for v in verdicts if v.wrong]
    assert all(v.read and v.best and v.reason and v.marked for v in wrong), wrong
    if not name.startswith(SILENT):
        assert not wrong


@pytest.mark.parametrize("name", [name for name in (*TEXTS, *WRITTEN) if "json" not in name])
def test_no_damage_makes_an_answer_wrong_without_a_mark(name: str) -> None:
    """Lines lost, swapped, doubled, indented, wrapped and cut: refused, marked, or right."""
    maker, text, without = WRITTEN[name] if name in WRITTEN else ("", TEXTS[name], ())
    for mutation, broken in damaged(name, text, 1):
        if leaves_trace(name, mutation):
            found = [v for v in judged(name, broken, maker, without) if wrong_without_mark(v)]
            assert not found, (mutation.__name__, found)


@pytest.mark.parametrize("name", [name for name in (*TEXTS, *WRITTEN) if not NAMELESS.search(name)])
def test_extended_communities_are_read_of_every_form_that_names_them(name: str) -> None:
    """In the order of the form; the one whose value FRR and OpenBGPD lose is said not to be read, and never made up."""
    (scene,) = [scene for scene in SCENES if scene.name == "med"]
    text = WRITTEN[name][1] if name in WRITTEN else TEXTS[name]
    parts = text.splitlines() if "json-entry" in name else [text]
    told = [one for part in parts for one in explain(read(part))]
    (found,) = [one for one in told if str(one.prefix) == str(prefix(scene, int(name[-1])))]
    routes = {o.route.candidate.med: o.route for o in found.outcomes}
    assert sorted(map(text_of, routes[10].candidate.extended_communities)) == sorted(EXTENDED)
    other = tuple(map(text_of, routes[50].candidate.extended_communities))
    if name.startswith(("frr", "openbgpd")):
        assert not other and any("communities" in doubt for doubt in routes[50].doubts)
    else:
        assert other == (NAMELESS_ONE if name in TEXTS or name.startswith("bird") else ())


def test_gobgp_s_table_says_that_it_does_not_tell_of_which_kind_they_are() -> None:
    """It prints a route target and a route origin alike."""
    (found,) = [r for r in read(TEXTS["gobgp-one-v4"]).routes if r.candidate.med == 10]
    assert not found.candidate.extended_communities and any("64502:80" in doubt for doubt in found.doubts)


def test_the_judge_sees_an_answer_that_is_wrong_without_a_mark() -> None:
    """A changed number of a text that is whole is no damage that anybody could see."""
    name = "frr-entry-v4"
    text = TEXTS[name].replace("localpref 200", "localpref 80")
    (found,) = [v for v in judged(name, text) if v.wrong]
    assert found.name == "preference" and any("local preference" in w for w in found.wrong)


def test_two_numbers_that_run_together_are_not_read() -> None:
    """And as the best is among them, none is called so."""
    found: list[Verdict] = [v for name, _ in TOGETHER for v in judged(name, TEXTS[name]) if v.name == "wide"]
    assert len(found) == 4 and all(v.read and v.marked and not v.best for v in found)
