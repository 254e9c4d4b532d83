"""Pastes that are easy to misread: each was read wrongly once, or says less than it seems to."""

import pytest

from anypop.model.errors import Invalid
from anypop.model.route import Step
from anypop.routing.paste import sentences
from anypop.routing.paste.explained import Explained, explain, upstreams
from anypop.routing.paste.pasted import Style
from anypop.routing.paste.read import read
from anypop.routing.paste.steps import CLUSTERS, WEIGHT


def only(text: str) -> Explained:
    (found,) = explain(read(text))
    return found


IOS = """BGP routing table entry for {title}, version 7
Paths: ({total} available, {best}, table default)
  Not advertised to any peer
  Refresh Epoch 1
  64501 64510
    {a} from {a} (192.0.2.1)
      Origin IGP, localpref 100, valid, external
  Refresh Epoch 1
  64502 64510
    {b} from {b} (192.0.2.2)
      Origin IGP, localpref 150, valid, external{mark}
"""
V4 = {"title": "203.0.113.0/24", "a": "192.0.2.1", "b": "192.0.2.2"}
V6 = {"title": "2001:db8:c::/48", "a": "2001:db8:1::1", "b": "2001:db8:2::1"}


@pytest.mark.parametrize("family", [V4, V6], ids=["IPv4", "IPv6"])
def test_a_title_of_either_family_is_read(family: dict[str, str]) -> None:
    """The colons of an IPv6 prefix are not those of a route distinguisher."""
    found = only(IOS.format(total=2, best="best #2", mark=", best", **family))
    assert str(found.prefix) == family["title"] and found.table == ""
    assert found.best is not None and found.best.as_path == (64502, 64510) and found.step == Step.LOCAL_PREFERENCE


def test_a_text_that_lacks_routes_says_so_first_and_crowns_none() -> None:
    """Two of twenty-two, the best not among them: nothing is advised."""
    found = only(IOS.format(total=22, best="best #20", mark="", **V4))
    said = sentences.sentences(found)
    assert said[0] == "First: the text has 2 of 22 routes." and "number 20, is not among them" in said[1]
    assert found.best is None and found.step == "" and found.move is None and not found.whole
    assert not any("repend" in line or "Without the announcement" in line for line in said)
    assert sentences.data(found)["decided_by"] is None


def test_a_text_that_lacks_routes_but_has_the_best_explains_it_and_advises_nothing() -> None:
    """The reason is about the routes that are here."""
    found = only(IOS.format(total=22, best="best #20", mark=", best", **V4))
    assert found.best is not None and found.move is None and not found.whole
    assert "Among the routes that are here" in "\n".join(sentences.sentences(found))


def test_the_number_of_the_best_counts_where_its_mark_is_lost() -> None:
    """And where number and mark disagree, none is believed; where the router has no best path, there is none."""
    assert only(IOS.format(total=2, best="best #2", mark="", **V4)).best is not None
    assert only(IOS.format(total=2, best="best #1", mark=", best", **V4)).best is None
    found = only(IOS.format(total=2, best="no best path", mark="", **V4))
    assert found.best is None and "none of them is the best" in found.notes[0]


def test_copies_as_received_are_no_routes_of_an_upstream() -> None:
    """IOS shows beside each route what came before its import policy."""
    text = IOS.format(total=2, best="best #2", mark=", best", **V4).replace(
        "64501 64510\n", "64501 64510, (received-only)\n"
    )
    assert dict(upstreams(only(text))) == {64502: 1}


def test_a_prefix_behind_two_distinguishers_is_two_decisions() -> None:
    """And what is no plain prefix, as in EVPN, joins none of them."""
    one = IOS.format(total=2, best="best #2", mark=", best", **V4)
    text = (
        one.replace("203.0.113.0/24", "64500:1:203.0.113.0/24")
        + one.replace("203.0.113.0/24", "64500:2:203.0.113.0/24")
        + one.replace("203.0.113.0/24", "[2][64500:1][0][48][0242AC110002][0][*]/20")
    )
    found = explain(read(text))
    assert [(str(f.prefix), f.table, f.subject[:9]) for f in found] == [
        ("203.0.113.0/24", "64500:1", ""),
        ("203.0.113.0/24", "64500:2", ""),
        ("None", "", "[2][64500"),
    ]
    assert all(len(f.outcomes) == 2 and f.best is not None for f in found)


JUNOS = """{table}203.0.113.0/24 (3 entries, 1 announced)
        *BGP    Preference: 170/-101
                Source: 192.0.2.1
                Next hop: 192.0.2.1 via ge-0/0/1.0, selected
                State: <Active Ext>
                Age: 4:10
                AS path: 64501 64510 I
                Localpref: 100
                Router ID: 192.0.2.1
         BGP    Preference: 170/-101
                Source: 203.0.113.129
                Next hop: 203.0.113.129 via ge-0/0/2.0, selected
                State: <NotBest Ext>
                Inactive reason: {reason}
                Age: 2:05:07
                AS path: 64502 64510 I
                Localpref: 100
                Router ID: 192.0.2.2
         BGP    Preference: 170/-101
                Source: 203.0.113.130
                Next hop: 203.0.113.130 via ge-0/0/2.0, selected
                State: <NotBest Ext>
                Inactive reason: {reason}
                Age: 51
                AS path: 64503 64510 I
                Localpref: 100
                Router ID: 192.0.2.3
"""


def test_ages_of_junos_are_minutes_and_seconds() -> None:
    """The detailed form leaves out what is nought in front."""
    found = only(JUNOS.format(table="", reason="Not Best in its group - Active preferred"))
    assert [v.route.candidate.age_s for v in found.outcomes] == [250.0, 7507.0, 51.0]
    assert found.step == Step.OLDEST and found.best is not None and found.best.as_path[0] == 64501


def test_the_router_s_own_reason_is_taken_where_it_leaves_out_a_step() -> None:
    """Routers that compare ids of external routes do not look at ages."""
    found = only(JUNOS.format(table="", reason="Not Best in its group - Router ID"))
    assert found.step == Step.ROUTER_ID and any("does not compare by oldest" in note for note in found.disagrees)
    other = only(JUNOS.format(table="", reason="Not Best in its group - AS path"))
    assert other.step == Step.OLDEST and sum("names another reason" in note for note in other.disagrees) == 2


def test_one_prefix_in_two_tables_is_two_decisions() -> None:
    """Each with its own best."""
    head = "{}: 60 destinations, 66 routes (60 active, 1 holddown, 0 hidden)\n"
    text = "".join(JUNOS.format(table=head.format(name), reason="Router ID") for name in ("inet.0", "blue.inet.0"))
    found = explain(read(text))
    assert [(f.table, len(f.outcomes)) for f in found] == [("inet.0", 3), ("blue.inet.0", 3)]


def test_routes_of_evpn_join_no_prefix_of_junos() -> None:
    """Their headings are no prefixes, and say more than one word."""
    one = JUNOS.format(table="", reason="Router ID")
    mac = one.replace("203.0.113.0/24", "2:192.0.2.1:1::0::02:42:ac:11:00:02::203.0.113.9/304 MAC/IP")
    found = explain(read(one + "\n" + mac))
    assert [(f.prefix is None, len(f.outcomes)) for f in found] == [(False, 3), (True, 3)]
    assert found[1].subject.startswith("2:192.0.2.1:1::0") and found[1].best is not None


def test_a_path_of_many_that_is_shown_alone_is_explained_as_a_part() -> None:
    """IOS-XR shows the best path alone where it is asked for it, with its own number."""
    lines = XR.splitlines()
    text = "\n".join([*lines[:1], "Paths: (3 available, best #2)", "  Path #2: Received by speaker 0", *lines[3:7]])
    found = only(text)
    assert found.best is not None and not found.whole and found.notes[0] == "the text has 1 of 3 routes"


def test_a_line_that_is_missing_between_two_routes_breaks_the_route_it_left() -> None:
    """Lines of two routes run together are told from one."""
    lines = JUNOS.format(table="", reason="Router ID").splitlines()
    text = "\n".join(line for i, line in enumerate(lines) if i != 9)  # the first line of the second route
    found = only(text)
    assert found.best is None and not found.whole and any(v.route.broken for v in found.outcomes)


REFLECTED = """203.0.113.0/24 (1 entry, 1 announced)
        *BGP    Preference: 170/-201
                Source: 192.0.2.10
                Next hop: 192.0.2.10 via ge-0/0/1.0, selected
                State: <Active Int Ext>
                Age: 1:02       Metric2: 3
                AS path: 64501 64510 I{flags}
                {more}
                Localpref: 200
                Router ID: 192.0.2.10
"""


@pytest.mark.parametrize(
    ("flags", "more"),
    [
        ("  (Originator)", "Cluster list:  192.0.2.20 192.0.2.21\n                Originator ID: 192.0.2.5"),
        (" (Originator) Cluster list:  192.0.2.20 192.0.2.21", "AS path:  Originator ID: 192.0.2.5"),
        (
            " Aggregator: 64510 192.0.2.77 (Originator)",
            "Cluster list: 192.0.2.20 192.0.2.21\n   Originator ID: 192.0.2.5",
        ),
    ],
)
def test_a_reflected_route_of_junos_is_read(flags: str, more: str) -> None:
    """What stands behind the origin is no part of the path."""
    (outcome,) = only(REFLECTED.format(flags=flags, more=more)).outcomes
    route = outcome.route
    assert route.candidate.as_path == (64501, 64510) and not route.candidate.ebgp and route.candidate.igp_metric == 3
    assert (route.originator, route.cluster_list) == ("192.0.2.5", ("192.0.2.20", "192.0.2.21"))


def test_multipath_of_junos_is_external() -> None:
    """`from` is one of the next hops, though not the chosen one."""
    found = only(
        "203.0.113.0/24     *[BGP/170] 00:02:00, localpref 100, from 10.1.1.2\n"
        "                      AS path: 64501 64510 I, validation-state: unverified\n"
        "                      to 10.1.1.2 via xe-0/0/0.0\n"
        "                    > to 10.1.1.6 via xe-0/0/1.0\n"
        "                    [BGP/170] 00:02:00, localpref 100\n"
        "                      AS path: 64501 64510 I, validation-state: unverified\n"
        "                    > to 10.1.1.6 via xe-0/0/1.0\n"
    )
    assert all(v.route.candidate.ebgp for v in found.outcomes) and found.outcomes[0].route.multipath


TERSE = """inet.0: 60 destinations, 66 routes (60 active, 1 holddown, 0 hidden)
+ = Active Route, - = Last Active, * = Both

A V Destination        P Prf   Metric 1   Metric 2  Next hop        AS path
* ? 203.0.113.0/24     B 170        200          7 >192.0.2.1       64501 64510 I
  ?                    B 170        100            >192.0.2.2       64502 64510 I
"""


def test_the_terse_form_of_junos_is_read_by_its_columns() -> None:
    """Its first metric is the local preference, its second MED."""
    found = only(TERSE)
    assert [(v.route.candidate.local_pref, v.route.candidate.med) for v in found.outcomes] == [(200, 7), (100, 0)]
    assert found.step == Step.LOCAL_PREFERENCE and found.table == "inet.0"


WIDE = """   Network          Next Hop            Metric LocPrf Weight Path
*> 203.0.113.0/24   192.0.2.1                0 300000  32768 64501 i
*                   192.0.2.2                0 400000      2 64502 64501 i
"""


@pytest.mark.parametrize("margin", [0, 4, 12])
def test_wide_numbers_of_a_table_are_told_apart_by_their_ends(margin: int) -> None:
    """Also where the whole table is indented, or the heading alone has lost its blanks."""
    for text in (WIDE, WIDE.lstrip()):
        found = only("".join(" " * margin + line + "\n" for line in text.splitlines()))
        routes = [(v.route.precedence, v.route.candidate.local_pref) for v in found.outcomes]
        assert routes == [(32768, 300000), (2, 400000)] and found.step == WEIGHT


EOS = """       Network             Next Hop         Metric  LocPref Weight Path
 * >   203.0.113.0/24      192.0.2.1        0       450     0       64501 64502 64510 i
 *     203.0.113.0/24      192.0.2.2        0       450     0       64503 64504 64502 64510 i
 *     203.0.113.0/24      192.0.2.3        -       250     7       64505 64510 ?
"""


def test_a_table_of_eos_has_no_empty_columns() -> None:
    """And the network before each route."""
    found = only(EOS.replace(" 7  ", " 0  "))
    assert found.style is Style.EOS and found.step == Step.AS_PATH_LENGTH
    assert [v.route.candidate.local_pref for v in found.outcomes] == [450, 450, 250]
    assert only(EOS).disagrees == ("by weight another route would win",)


XR = """BGP routing table entry for 203.0.113.0/24
Paths: (2 available, best #1)
  Path #1: Received by speaker 0
  64510
    192.0.2.5 (metric 10) from 192.0.2.9 (192.0.2.33)
      Origin IGP, metric 0, localpref 100, valid, internal, best, group-best
      Originator: 192.0.2.33, Cluster list: 192.0.2.9
  Path #2: Received by speaker 0
  64510
    192.0.2.5 (metric 10) from 192.0.2.6 (192.0.2.33)
      Origin IGP, metric 0, localpref 100, valid, internal
      Originator: 192.0.2.33, Cluster list: 192.0.2.6, 192.0.2.13
"""


def test_the_shorter_cluster_list_wins_between_routes_of_one_originator() -> None:
    """A step that the decision process of every maker but GoBGP has."""
    found = only(XR)
    assert (found.style, found.step) == (Style.XR, CLUSTERS)
    assert "1 against 2" in "\n".join(sentences.sentences(found))


def test_a_quoted_and_an_indented_paste_are_read() -> None:
    """As mail and web pages make them."""
    for text in (XR, JUNOS.format(table="", reason="Router ID"), EOS):
        for changed in ("> ", "    ", "\t", "| "):
            assert only("".join(changed + line + "\n" for line in text.splitlines())).best == only(text).best


def test_a_document_without_its_end_is_refused() -> None:
    """JSON that is cut off has lost its other routes with it."""
    with pytest.raises(Invalid, match="has no end"):
        read('{"vrfs": {"default": {"bgpRouteEntries": {"203.0.113.0/24": {"bgpRoutePaths": [')
