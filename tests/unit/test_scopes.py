"""One spelling of scopes and communities, and one choice of a community, whoever asks for it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anypop.advice.known import known_of
from anypop.api.scopes import scope_from
from anypop.cli import scopes
from anypop.cli.failure import Failure
from anypop.model.announce import Mode, Scope
from anypop.model.errors import Invalid, Problem
from anypop.model.names import CityCode
from anypop.model.scopes import (
    community_text,
    read_community,
    read_scope,
    scope_data,
    scope_of,
    scope_says,
    with_communities,
)
from anypop.model.sessions import Session, of_rows, ruled
from anypop.routing import intents
from anypop.routing.actions import KeepInRegion, LocalPreference, Neighbours, NoExportTo, Region, Relation, Where
from anypop.routing.dictionary import as_data, for_asn, known_asns, of_data
from anypop.routing.engine.seeds import Policies
from tests.control_world import a_network

PAIRS = st.tuples(st.integers(0, 0xFFFF), st.integers(0, 0xFFFF))
TRIPLES = st.tuples(*[st.integers(0, 0xFFFFFFFF)] * 3)
NAMED = st.sampled_from(
    [
        (0, 2, 6939, 70),
        (0, 3, 1, 0xFFFFFFFF),
        (2, 2, 70000, 7),
        (1, 3, 0xC000, 0x2010007),
        (3, 6, 0, 1),
        (0x80, 9, 9, 9),
    ]
)
SCOPES = st.builds(
    Scope,
    mode=st.sampled_from(Mode),
    prepend=st.integers(0, 8),
    communities=st.lists(PAIRS, max_size=3, unique=True).map(sorted).map(tuple),
    large_communities=st.lists(TRIPLES, max_size=2, unique=True).map(sorted).map(tuple),
    extended_communities=st.lists(NAMED, max_size=2, unique=True).map(sorted).map(tuple),
)


@given(SCOPES)
def test_a_scope_reads_back_as_it_was_written(scope: Scope) -> None:
    """Through JSON, by the strict reader of requests and by the reader of control's own rows."""
    data = json.loads(json.dumps(scope_data(scope)))
    problems: list[Problem] = []
    assert read_scope(data, "scope", problems) == scope_of(data | {"colour": "of a newer version"}) == scope
    assert problems == []


@given(PAIRS | TRIPLES)
def test_a_community_reads_back_as_text_and_as_numbers(community: Any) -> None:
    """`209:7100` and `[209, 7100]` are one community."""
    assert read_community(community_text(community)) == read_community(list(community)) == community


@pytest.mark.parametrize(
    "value",
    ["", "1", "1:2:3:4", "70000:1", "-1:2", "1:x", "٣:1", " 1:2", 5, None, [1], [1, 65536], [True, 1], ["1", 2]],
)
def test_what_is_no_community_is_said_in_words(value: object) -> None:
    """With the form that would be one."""
    with pytest.raises(ValueError, match=r"209:7100 .* 209:71:3356"):
        read_community(value)


def test_a_community_is_added_once_and_announces_again() -> None:
    """Whichever kind it is; the order in which they were added stays."""
    given = ((1, 2, 3), (1, 1), (0, 2, 1, 1), (9, 9), (1, 1))
    scope = with_communities(Scope(mode=Mode.WITHHOLD, prepend=2, communities=((9, 9),)), given)
    assert scope == Scope(
        prepend=2, communities=((9, 9), (1, 1)), large_communities=((1, 2, 3),), extended_communities=((0, 2, 1, 1),)
    )
    assert scope_says(scope) == "announce, prepend 2, communities 9:9 1:1 1:2:3 rt:1:1"
    assert scope_says(Scope(mode=Mode.WITHHOLD, prepend=2)) == "withhold"


def test_rows_tell_the_own_rule_and_what_is_in_effect() -> None:
    """Another workload's rule in the same prefix counts for a prediction and not as one's own; both families are one
    session.
    """
    plain, longer = scope_data(Scope()), scope_data(Scope(prepend=2))
    rows: list[dict[str, Any]] = [
        {"prefix": prefix, "pop": "LHR", "upstream": "as1299", "asn": 1299, "scope": plain, "effective": longer}
        for prefix in ("192.0.2.0/24", "2001:db8::/48")
    ]
    assert [session.scope for session in ruled(rows)] == [Scope()]
    (session,) = of_rows(a_network(), rows).sessions
    assert (session.key, session.asn, session.scope) == (("LHR", "as1299"), 1299, Scope(prepend=2))
    with pytest.raises(Invalid):
        ruled([rows[0] | {"scope": {"prepend": 99}}])


def row(pop: str, reason: str, *, prefix: str = "192.0.2.0/24") -> dict[str, Any]:
    out = reason == "announced"
    told = {"prefix": prefix, "pop": pop, "upstream": "as1299", "asn": 1299, "scope": scope_data(Scope())}
    return told | {"announced": out, "reason": reason, "says": f"says {reason}", "dark": False}


def test_what_is_surely_not_out_is_heard_by_nobody() -> None:
    """A session that is down, a PoP where nothing serves; not one of which nobody knows, nor one that is out in one
    family.
    """
    rows = [row("AMS", "announced"), row("LHR", "session-down"), row("JFK", "no-report"), row("LAX", "announced")]
    rows.append(row("LAX", "session-down", prefix="192.0.3.0/24"))
    found = {str(session.pop): session for session in of_rows(a_network(), rows).sessions}
    assert found["LHR"].silent == "says session-down" and not found["LHR"].hears
    assert [pop for pop, session in found.items() if session.hears] == ["AMS", "JFK", "LAX"]
    doubts = known_of(a_network(), "web", rows).doubts
    assert doubts == (
        "JFK may not be announcing: says no-report; it counts as if it were",
        "192.0.3.0/24 is not out from LAX to as1299: says session-down; it counts as if it were",
    )


def test_ipv4_is_predicted_and_who_hears_ipv6_alone_draws_none_of_it() -> None:
    """An upstream without IPv4, or one whose IPv4 session is down, counted as if it drew everybody."""
    rows = [row("AMS", "announced"), row("LHR", "session-down")]
    rows += [row(pop, "announced", prefix="2001:db8::/48") for pop in ("AMS", "LHR", "JFK")]
    found = {str(session.pop): session for session in of_rows(a_network(), rows).sessions}
    assert found.keys() == {"AMS", "LHR"} and [pop for pop in found if found[pop].hears] == ["AMS"]
    assert known_of(a_network(), "web", rows).doubts == (
        "JFK tells as1299 2001:db8::/48 alone: IPv4 is predicted, and hears nothing there",
    )
    six = [one for one in rows if ":" in one["prefix"]]
    assert len(of_rows(a_network(), six).sessions) == 3, "of what is announced in IPv6 alone, that is predicted"


A, B, C = (1299, 1), (1299, 2), (65535, 0)


@pytest.mark.parametrize(
    ("own", "effective", "wanted", "rule"),
    [
        # a drain has lowered it: what the doctor asks for goes beside the own rule, and the drain's marks stay its own
        (Scope(communities=(A,)), Scope(prepend=3, communities=(A, C)), Scope(prepend=3, communities=(A, C, B)),
         Scope(communities=(A, B))),
        (Scope(), Scope(prepend=3, communities=(C,)), Scope(mode=Mode.WITHHOLD, prepend=3, communities=(C,)),
         Scope(mode=Mode.WITHHOLD)),
        (Scope(), Scope(prepend=1), Scope(prepend=4), Scope(prepend=4)),
        # what others ask for cannot be taken back by an own rule
        (Scope(), Scope(prepend=3, communities=(C,)), Scope(), None),
        (Scope(prepend=1), Scope(prepend=3), Scope(prepend=2), None),
        (Scope(), Scope(mode=Mode.WITHHOLD), Scope(), None),
        # what is all one's own can
        (None, Scope(mode=Mode.WITHHOLD, prepend=2), Scope(), Scope()),
        (Scope(prepend=3), Scope(prepend=3, communities=(C,)), Scope(prepend=1, communities=(C,)), Scope(prepend=1)),
    ],
)  # fmt: skip
def test_a_repair_changes_the_own_rule_alone(
    own: Scope | None, effective: Scope, wanted: Scope, rule: Scope | None
) -> None:
    """What was in effect, a drain's or a neighbour's in the prefix, became a rule of the workload's for ever."""
    session = Session(pop=CityCode("LHR"), upstream="as1299", asn=1299, scope=effective, own=own)
    assert session.rule_for(wanted) == rule
    if rule is not None:
        after = session.ruled_by(rule)
        assert {*after.scope.every_community} == {*wanted.every_community}
        assert (after.scope.mode, after.scope.prepend) == (wanted.mode, wanted.prepend)


def test_a_prediction_of_another_own_rule_keeps_what_others_ask_for() -> None:
    """A preview of `announce reset` beside a neighbour's prepends showed everything plain."""
    told = {"prefix": "192.0.2.0/24", "pop": "LHR", "upstream": "as1299", "asn": 1299}
    told |= {
        "scope": scope_data(Scope(communities=(A,))),
        "effective": scope_data(Scope(prepend=2, communities=(A, B))),
    }
    (session,) = of_rows(a_network(), [told]).with_scopes({("LHR", "as1299"): Scope()}).sessions
    assert (session.scope, session.own) == (Scope(prepend=2, communities=(B,)), Scope())


def test_before_anything_is_out_it_is_what_will_be() -> None:
    """A prediction is for before the first announcement, when no instance is healthy yet."""
    rows = [row("AMS", "no-healthy-instance"), row("LHR", "session-down")]
    assert all(session.hears for session in of_rows(a_network(), rows).sessions)
    assert known_of(a_network(), "web", rows).doubts == ()


def test_what_lands_where_nothing_answers_is_told() -> None:
    """It is announced for others of its prefix: who lands there is not served."""
    (told,) = known_of(a_network(), "web", [row("AMS", "announced") | {"dark": True}]).doubts
    assert told == "what lands in AMS is not answered there: says announced"


@given(st.builds(Where, regions=st.frozensets(st.sampled_from(Region)), outside=st.booleans(), announced=st.booleans()))
def test_a_place_reads_back_from_its_words(where: Where) -> None:
    """So that a dictionary can come over the network; a place without regions is everywhere."""
    assert Where.of(where.says).says == where.says
    if where.says:
        assert Where.of(where.says) == where


@pytest.mark.parametrize("text", ["in", "in Mars", "beside Europe", "in Europe and Mars", "inEurope"])
def test_words_that_are_no_place_are_refused(text: str) -> None:
    """A newer version may know more of them."""
    with pytest.raises(ValueError):
        Where.of(text)


@pytest.mark.parametrize("asn", [*known_asns(), 64512])
def test_a_dictionary_comes_over_the_network_whole(asn: int) -> None:
    """What the API answers is the dictionary; an entry of a kind that is not known here is left out, and nothing
    else.
    """
    data = json.loads(json.dumps(as_data(for_asn(asn))))
    assert of_data(data) == for_asn(asn)
    data["entries"].insert(0, {**data["entries"][0], "action": {"kind": "teleport"}})
    assert of_data(data) == for_asn(asn)


REGIONS = [("keep_in", region.value) for region in Region]
GROUPS = [("no_export_to", group) for group in ("peers", "providers", "customers")]
NETWORKS = [("no_export_to", asn) for asn in (174, 701, 1299, 3356, 7018, 4200000000)]
LESS = [("lower_preference", relation.value) for relation in intents.LOWER]


def of_doctor(asn: int, intent: str, value: Any) -> str | None:
    """As the doctor asks: by the action that it needs, of the policies that its engine has."""
    match intent:
        case "keep_in":
            entry = Policies().dictionary(asn).find(KeepInRegion(region=Region(value)))
        case "no_export_to":
            neighbour = value if isinstance(value, int) else Neighbours(value)
            entry = Policies().dictionary(asn).find(NoExportTo(neighbour=neighbour))
        case _:
            entry = Policies().dictionary(asn).find(LocalPreference(relation=Relation(value)))
    return entry.text if entry is not None else None


def of_command_line(asn: int, intent: str, value: Any) -> str | None:
    """As `announce scope` asks: of the dictionary that control sent as JSON."""
    ask = {"keep_in": scopes.keep_in, "no_export_to": scopes.no_export_to, "lower_preference": scopes.lower_preference}[
        intent
    ]
    try:
        return community_text(ask(json.loads(json.dumps(as_data(for_asn(asn)))), str(value), there="web").community)
    except Failure as failure:
        assert failure.message.startswith(f"AS{asn} has no community ")
        return None


def of_api(asn: int, intent: str, value: Any) -> str | None:
    """As control resolves a rule."""
    problems: list[Problem] = []
    found = scope_from({intent: value}, "rules[0].scope", asn, problems)
    assert [problem.path for problem in problems] == ([] if found.every_community else [f"rules[0].scope.{intent}"])
    return " ".join(map(community_text, found.every_community)) or None


@pytest.mark.parametrize("asn", known_asns())
def test_doctor_command_line_and_api_choose_the_same_community(asn: int) -> None:
    """Every AS of the dictionary, every intent: 135 questions about where a route goes, and those about preference."""
    asked = [*REGIONS, *GROUPS, *NETWORKS]
    assert len(asked) * len(known_asns()) == 135
    found = {
        question: (of_doctor(asn, *question), of_command_line(asn, *question), of_api(asn, *question))
        for question in [*asked, *LESS]
    }
    assert {question: told for question, told in found.items() if len(set(told)) != 1} == {}


def test_the_own_community_comes_before_a_well_known_one_and_an_invented_one_last() -> None:
    """NOPEER says what the RFC says: Cogent's own is the better; where the own set is invented, NOPEER is what a real
    network may know.
    """
    assert [of_doctor(asn, "no_export_to", "peers") for asn in (174, 209, 64512)] == [
        "174:991",
        "65535:65284",
        "65535:65284",
    ]
    assert all(of_doctor(asn, "lower_preference", "lowest") != "65535:0" for asn in (*known_asns(), 64512))


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"keep_in": "Mars"}, "keep_in"),
        ({"keep_in": 5}, "keep_in"),
        ({"no_export_to": 0}, "no_export_to"),
        ({"no_export_to": True}, "no_export_to"),
        ({"no_export_to": "friends"}, "no_export_to"),
        ({"lower_preference": "above-customer"}, "lower_preference"),
        ({"lower_preference": []}, "lower_preference"),
        ({"keep_in": "NA", "mode": "withhold"}, "keep_in"),
    ],
)
def test_an_intent_that_makes_no_sense_is_refused_by_its_field(given: dict[str, Any], field: str) -> None:
    """Whatever the upstream may have."""
    problems: list[Problem] = []
    scope_from(given, "scope", 209, problems)
    assert [problem.path for problem in problems] == [f"scope.{field}"]


def test_intents_stand_beside_communities() -> None:
    """Each once, in order of their numbers; nothing is resolved for a rule without an upstream."""
    problems: list[Problem] = []
    given = {"prepend": 1, "communities": ["209:7100", "9:9"], "keep_in": "na", "no_export_to": "AS3356"}
    assert scope_from(given | {"no_export_to": "peers"}, "scope", 3257, problems) == Scope(
        prepend=1, communities=((9, 9), (209, 7100), (3257, 7100), (65535, 65284))
    )
    assert scope_from(given, "scope", None, problems) == Scope(prepend=1, communities=((9, 9), (209, 7100)))
    assert problems == []
    scope_from({"keep_in": "EU"}, "scope", 1299, problems)
    assert "AS1299 has no community that keeps a route in EU: withhold it there" in problems[0].message
