"""Pasted routes: what is read, what is explained, and that nothing breaks the reader."""

import json
from dataclasses import replace
from io import BytesIO, TextIOWrapper
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anypop.model.announce import NO_EXPORT
from anypop.model.errors import Invalid
from anypop.model.route import Origin, Step
from anypop.routing.paste import sentences
from anypop.routing.paste.communities import communities
from anypop.routing.paste.explained import Explained, explain, through
from anypop.routing.paste.pasted import Style, age_s, asn
from anypop.routing.paste.read import read
from tests.cli_calls import Caller

PASTES = {
    path.stem: path.read_text() for path in sorted((Path(__file__).parents[1] / "golden" / "paste").glob("*.txt"))
}
LONDON = PASTES["junos-london"]


def only(text: str, *, ours: int | None = None) -> Explained:
    (found,) = explain(read(text), asn=ours)
    return found


def test_the_article_s_london_is_decided_by_the_oldest_route_among_three_of_one_length() -> None:
    """3356 209 33438 stays active; all traffic enters by 209; MED plays no part; one prepend to 209 would turn it."""
    found = only(LONDON)
    assert found.best is not None and found.best.as_path == (3356, 209, 33438)
    assert (found.style, found.asn, found.step, found.prefix) == (Style.JUNOS, 33438, Step.OLDEST, None)
    assert {v.eliminated_by for v in found.outcomes[1:]} == {Step.OLDEST}
    assert [v.upstream for v in found.outcomes] == [209, 1299, 1299]
    assert found.move is not None
    assert (found.move.upstream, found.move.prepends, found.move.instead_upstream) == (209, 1, 1299)
    text = "\n".join(sentences.sentences(found))
    assert "enters AS33438 by AS209 (CenturyLink)" in text
    assert "all 3 routes are equally long (3)" in text
    assert "MED (38020, 2011, 30) was not compared" in text


def test_an_older_route_beside_the_active_one_is_told() -> None:
    """In the article's table 3257's route is there for two weeks and 3356's for three days: age alone is not what
    decided.
    """
    (note,) = only(LONDON).disagrees
    assert "by age alone 3257 1299 33438 would win" in note and "14 d" in note and "3.6 d" in note
    assert only(LONDON.replace("2w0d 09", "0d 09")).disagrees == ()


def test_london_reads_with_every_number() -> None:
    """Ages in seconds, MED, origin, lines; external without a `from`."""
    routes = read(LONDON).routes
    assert [r.line for r in routes] == [1, 3, 5]
    assert [r.candidate.med for r in routes] == [38020, 2011, 30]
    assert [r.candidate.age_s for r in routes] == [
        3 * 86400 + 13 * 3600 + 19 * 60 + 37,
        23 * 3600 + 46 * 60 + 15,
        14 * 86400 + 34584,
    ]
    assert all(r.candidate.ebgp and r.candidate.origin is Origin.IGP and r.candidate.local_pref == 100 for r in routes)


@pytest.mark.parametrize(
    ("name", "style", "best", "step"),
    [
        ("junos-london", Style.JUNOS, (3356, 209, 33438), Step.OLDEST),
        ("junos-table", Style.JUNOS, (64501, 64501, 64512), Step.LOCAL_PREFERENCE),
        ("junos-detail", Style.JUNOS, (3356, 209, 64512, 64512), Step.EBGP_OVER_IBGP),
        ("bird", Style.BIRD, (4200000000, 64512), Step.ROUTER_ID),
        ("frr-entry", Style.FRR, (64503, 64511, 64520), Step.OLDEST),
        ("frr-table", Style.FRR, (64503, 64511, 64520), Step.OLDEST),
        ("ios-entry", Style.IOS, (64505, 3257, 64512), "weight"),
        ("ios-table", Style.IOS, (3257, 64512), Step.OLDEST),
    ],
)
def test_each_style_is_known_by_its_looks(name: str, style: Style, best: tuple[int, ...], step: str) -> None:
    """Nobody has to say whose text it is."""
    found = explain(read(PASTES[name]))[0]
    assert found.best is not None
    assert (found.style, found.best.as_path, found.step) == (style, best, step)


def test_a_row_of_a_table_is_read_by_its_columns() -> None:
    """An empty column is empty, not the next one's number; a wrapped network belongs to the row below it."""
    routes = read(PASTES["frr-table"]).routes
    first = routes[0].candidate
    assert (first.prefix, first.med, first.local_pref, first.as_path) == (
        ip_network("198.51.100.128/25"),
        30,
        100,
        (64504, 64511, 64520),
    )
    inner = next(r.candidate for r in routes if not r.candidate.ebgp)
    assert (inner.med, inner.local_pref, inner.next_hop) == (0, 90, "10.99.0.5")
    assert [r.precedence for r in read(PASTES["ios-table"]).routes] == [0, 0, 0, 0, 32768]


def test_an_entry_keeps_metric_communities_and_what_cannot_be_used() -> None:
    """The cost of the next hop, large communities, an unreachable next hop."""
    routes = read(PASTES["ios-entry"]).routes
    assert routes[0].candidate.communities == ((1299, 1000), (1299, 30000))
    assert (routes[1].candidate.igp_metric, routes[1].candidate.ebgp, routes[1].candidate.router_id) == (
        4100,
        False,
        "10.255.0.30",
    )
    assert routes[2].candidate.large_communities == ((64512, 1, 7),) and routes[2].precedence == 200
    assert routes[3].unusable
    detail = read(PASTES["junos-detail"]).routes[0].candidate
    assert NO_EXPORT in detail.communities and detail.large_communities == ((64512, 1, 7),)


def test_a_route_server_s_route_is_external_in_the_plain_form_of_junos() -> None:
    """Its `from` is another address of the exchange than the next hop; a loopback's is not."""
    text = PASTES["junos-table"]
    assert [r.candidate.ebgp for r in read(text).routes] == [False, True, True, True]
    exchange = text.replace("from 10.20.0.7", "from 192.0.2.7").replace("to 10.20.1.3", "to 192.0.2.200")
    assert read(exchange).routes[0].candidate.ebgp


def test_a_router_that_gives_another_reason_is_heard() -> None:
    """FRR names what decided; a text in which that cannot be is told."""
    text = PASTES["frr-entry"].replace("best (Older Path)", "best (MED)")
    assert any("names another reason" in note for note in only(text).disagrees)


def test_without_a_mark_the_rules_choose() -> None:
    """Among equal routes of Junos the oldest, here 3257's."""
    found = only(LONDON.replace("*[", " ["))
    assert found.best is not None and not found.marked
    assert (found.best.as_path, found.step) == ((3257, 1299, 33438), Step.OLDEST)


def test_a_local_preference_cannot_be_moved_by_prepends() -> None:
    """Said in the answer, since prepending is what people try first."""
    found = only(PASTES["junos-table"])
    assert found.move is not None and found.move.prepends is None
    assert "Prepending" in "\n".join(sentences.sentences(found))


def test_somebody_elses_prefix_is_told() -> None:
    """With --asn of a network that is at no path's end, or at one's only."""
    assert "no announcement of yours" in "\n".join(sentences.sentences(only(LONDON, ours=64500)))
    mixed = LONDON.replace("3257 1299 33438", "3257 1299 64666")
    assert only(mixed).asn is None
    assert "ends in AS64666" in "\n".join(sentences.sentences(only(mixed, ours=33438)))


def test_our_upstream_stands_before_all_our_prepends() -> None:
    """Nothing stands there where we are the router's own neighbour."""
    assert through((1, 2, 9, 9, 9), 9) == (2, 2)
    assert through((9,), 9) == (None, 0)
    assert through((1, 2), 9) == (None, 0)
    assert through((), 9) == (None, 0)


BROKEN = {
    "junos": LONDON.replace("3356 209", "3356 x209")
    .replace("MED 2011", "MED many")
    .replace("3257 1299 33438 I", "3257 99999999999 33438 I"),
    "no path": "*[BGP/170] 1d 00:00:00, localpref 100\n [BGP/170] 1d 00:00:00, localpref 100\n   AS path: 1 2 I\n",
    "bird": PASTES["bird"].replace("BGP.as_path: 64610", "BGP.as_path: AS64610"),
    "bird without all": "\n".join(line for line in PASTES["bird"].splitlines() if "BGP." not in line),
    "ios": PASTES["ios-entry"]
    .replace("Origin incomplete", "Origin unknown")
    .replace("2914 64512, (rec", "2914 -64512, (rec"),
    "ios without attributes": PASTES["ios-entry"].replace("Origin", "Source"),
    "moved columns": "   Network  Next Hop  Metric LocPrf Weight Path\n"
    "*> 198.51.100.0/24  192.0.2.1  0 100 0 3356 209 33438 i\n",
    "squeezed table": " ".join("x").join(" ".join(line.split()) + "\n" for line in PASTES["ios-table"].splitlines()),
    "frr": PASTES["frr-entry"].replace("localpref 90", "localpref -90"),
}


READ_IN_PART = ("no path", "bird", "ios", "frr")  # some of their routes are whole


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_wrong_is_told_at_once_with_its_lines(name: str) -> None:
    """Every problem names a line of the text; a text that has whole routes beside is read, and says them too."""
    if name in READ_IN_PART:
        problems = read(BROKEN[name]).problems
    else:
        with pytest.raises(Invalid) as caught:
            read(BROKEN[name])
        problems = tuple(caught.value.problems)
    count = len(BROKEN[name].splitlines())
    assert problems and all(1 <= int(problem.path.removeprefix("line ")) <= count for problem in problems)
    expected = {"junos": [2, 3, 6], "no path": [1], "frr": [7]}.get(name)
    if expected:
        assert [int(problem.path.removeprefix("line ")) for problem in problems] == expected


@pytest.mark.parametrize("name", READ_IN_PART)
def test_one_broken_route_does_not_refuse_the_rest(name: str) -> None:
    """It is set aside and said first; the best is still called so where it is whole, and nothing is advised."""
    found = only(BROKEN[name])
    broken = [v for v in found.outcomes if v.route.broken]
    assert broken and len(broken) < len(found.outcomes) and found.move is None and not found.whole
    assert all(v.eliminated_by == "it cannot be read" for v in broken)
    assert sentences.sentences(found)[0].startswith("First: ")
    assert not any(v.route.candidate is found.best for v in broken)


@pytest.mark.parametrize(
    "text",
    ["", "\n\n", "hello\nworld\n", "\x00" * 100, "inet.0: 5 destinations\n"],
)
def test_a_text_without_routes_says_what_could_be_pasted(text: str) -> None:
    """All four makers are named."""
    with pytest.raises(Invalid, match=r"Junos.*BIRD.*FRR.*IOS"):
        read(text)


def survives(text: str, style: Style | None = None) -> None:
    """An answer, or problems with their places; nothing else."""
    try:
        found = explain(read(text, style=style))
    except Invalid as error:
        assert error.problems
        return
    for one in found:
        json.dumps(sentences.data(one))


PIECES = [
    *"0123456789.:/ \n\t*>[]{}(),-iIe?aA",
    "AS path: ",
    "[BGP/170] ",
    " from ",
    "Origin IGP, ",
    "1.1.1.1",
    "BGP.as_path: ",
    "unicast [",
    "Path\n",
]
noise = st.lists(st.sampled_from(PIECES)).map("".join)


@given(st.one_of(st.text(), noise), st.sampled_from([None, *Style]))
def test_no_text_breaks_the_reader(text: str, style: Style | None) -> None:
    """Neither noise nor noise made of what routers print."""
    survives(text, style)


@st.composite
def mangled(draw: st.DrawFn) -> str:
    lines = PASTES[draw(st.sampled_from(sorted(PASTES)))].splitlines()
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(lines) - 1))
        line = lines[at]
        cut = draw(st.integers(0, len(line)))
        match draw(st.sampled_from(["drop", "double", "cut", "insert", "swap"])):
            case "drop" if len(lines) > 1:
                del lines[at]
            case "double":
                lines.insert(at, line)
            case "cut":
                lines[at] = line[:cut]
            case "insert":
                lines[at] = (
                    line[:cut]
                    + draw(st.sampled_from([" ", "99999999999", "x", "::", "-", "é", "/33", ","]))
                    + line[cut:]
                )
            case _:
                other = draw(st.integers(0, len(lines) - 1))
                lines[at], lines[other] = lines[other], line
    return "\n".join(lines)


@given(mangled(), st.sampled_from([None, *Style]))
def test_a_damaged_paste_is_read_or_refused(text: str, style: Style | None) -> None:
    """Lines lost, doubled, cut, swapped."""
    survives(text, style)


@given(st.permutations(range(3)), st.integers(0, 2))
def test_the_order_of_the_routes_decides_nothing(order: list[int], marked: int) -> None:
    """The marked route is the best wherever it stands, and the others lose by the same steps."""
    routes = [replace(r, candidate=replace(r.candidate, best=i == marked)) for i, r in enumerate(read(LONDON).routes)]
    pasted = replace(read(LONDON), routes=tuple(routes[i] for i in order))
    (found,) = explain(pasted)
    assert found.best == routes[marked].candidate
    assert {v.eliminated_by for v in found.outcomes} == {"", Step.OLDEST}


def test_ages_numbers_and_communities_of_all_spellings() -> None:
    """And None for what is none of them."""
    assert [age_s(text) for text in ("1:02", "00:00:05", "3d04h", "1y2w", "2w0d 09:36:24", "never", "")] == [
        3720.0,
        5.0,
        3 * 86400.0 + 4 * 3600,
        (365 + 14) * 86400.0,
        14 * 86400.0 + 34584,
        None,
        None,
    ]
    assert [asn(word) for word in ("33438", "1.10", "4294967296", "1.65536", "-1", "AS1", "٣")] == [
        33438,
        65546,
        None,
        None,
        None,
        None,
        None,
    ]
    found = communities("1:2 large:1:2:3 4:5:6 no-export 70000:1 x:y target:1:2 65538 12345")
    assert (found.pairs, found.triples, found.quads) == (
        ((1, 2), NO_EXPORT, (1, 2)),
        ((1, 2, 3), (4, 5, 6)),
        ((0, 2, 1, 2),),
    )
    assert found.doubts == ("not all of its communities are read: '70000:1 x:y 12345'",)


def test_the_command_reads_files_and_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """JSON is one document; a broken paste is exit code 2 with its lines; a file that is not there too."""
    caller = Caller(tmp_path, None, monkeypatch)
    (tmp_path / "london.txt").write_text(LONDON)
    ran = caller("route", "explain", "--file", str(tmp_path / "london.txt"))
    assert ran.code == 0 and "3356 209 33438" in ran.out and ran.err == ""
    (found,) = json.loads(caller("route", "explain", "--file", "-", "-o", "json", stdin=LONDON).out)
    assert (found["decided_by"], found["best"], found["asn"]) == ("oldest route", [3356, 209, 33438], 33438)
    broken = caller("route", "explain", "--file", "-", stdin=BROKEN["junos"])
    assert broken.code == 2 and broken.err.count("\n  - line ") == 3
    assert caller("route", "explain", "--file", str(tmp_path / "none")).code == 2
    assert caller("route", "explain", "--file", str(tmp_path)).code == 2
    assert caller("route", "explain", "--file", "-", "--style", "junos", stdin="x").code == 2


def test_a_line_that_no_router_prints_is_refused() -> None:
    """Five thousand digits are no AS number, and cost no time."""
    with pytest.raises(Invalid, match=r"line 2: has 50\d\d characters"):
        read(LONDON.replace("3356 209", "3" * 5000))


def test_octets_that_are_no_text_are_refused_as_no_route(monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard input may be anything."""
    from anypop.cli import routes  # noqa: PLC0415 - beside the only test of it

    monkeypatch.setattr("sys.stdin", TextIOWrapper(BytesIO(bytes(range(256)))))
    with pytest.raises(Invalid):
        read(routes.text_of("-"))
