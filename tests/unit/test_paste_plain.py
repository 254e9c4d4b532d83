"""What terminals, pagers, mail, chat and web pages put around a router's text changes nothing of what is read."""

import html
import time
from collections.abc import Callable

import pytest

from anypop.model.errors import Invalid
from anypop.routing.paste.explained import explain
from anypop.routing.paste.pasted import Style
from anypop.routing.paste.plain import lines_of
from anypop.routing.paste.read import LONGEST, read

JUNOS = """inet.0: 9 destinations, 12 routes (9 active, 0 holddown, 0 hidden)
+ = Active Route, - = Last Active, * = Both

203.0.113.0/24     *[BGP/170] 3d 13:19:37, MED 38020, localpref 100
                      AS path: 64496 64497 64499 I, validation-state: valid
                    > to 192.0.2.1 via ae0.0
                    [BGP/170] 23:46:15, MED 2011, localpref 100
                      AS path: 64500 64498 64499 I, validation-state: unverified
                    > to 192.0.2.5 via ae1.0
"""
IOS = """BGP table version is 123, local router ID is 192.0.2.100
Origin codes: i - IGP, e - EGP, ? - incomplete

     Network          Next Hop            Metric LocPrf Weight Path
 *>  203.0.113.0/24   192.0.2.1                0             0 64496 64499 i
 *                    192.0.2.5                              0 64500 64498 64499 i
 * i                  198.51.100.9            10     90      0 64510 64499 i
"""


def _each(change: Callable[[str], str]) -> Callable[[str], str]:
    return lambda text: "\n".join(map(change, text.splitlines()))


def _at(line: int, change: Callable[[str], str]) -> Callable[[str], str]:
    """One line of the text, which a pager stood before."""

    def changed(text: str) -> str:
        lines = text.splitlines()
        lines[line] = change(lines[line])
        return "\n".join(lines)

    return changed


def _numbered(form: str) -> Callable[[str], str]:
    return lambda text: "\n".join(form.format(n, line) for n, line in enumerate(text.splitlines(), start=1))


AROUND: dict[str, Callable[[str], str]] = {
    "quoted": _each(lambda line: f"> {line}"),
    "quoted, without blanks at ends": _each(lambda line: f"> {line}".rstrip()),
    "quoted twice": _each(lambda line: f">> {line}"),
    "quoted twice, apart": _each(lambda line: f"> > {line}"),
    "quoted without a blank": _each(lambda line: f">{line}"),
    "quoted in a mail": lambda text: "Hello,\n\n" + _each(lambda line: f"> {line}")(text) + "\n\nno idea.\n",
    "with a bar": _each(lambda line: f"| {line}"),
    "in a fence": lambda text: f"Here:\n```\n{text}```\n",
    "indented below words": lambda text: "Here:\n\n" + _each(lambda line: f"    {line}")(text),
    "numbered": _numbered("{}  {}"),
    "numbered, with colons": _numbered("{:>4}: {}"),
    "numbered as by cat -n": _numbered("{:>6}\t{}"),
    "line ends of Windows": lambda text: text.replace("\n", "\r\n"),
    "line ends of a terminal": lambda text: text.replace("\n", "\r\r\n"),
    "old line ends": lambda text: text.replace("\n", "\r"),
    "a pager's line": _at(5, lambda line: f"--More--\n{line}"),
    "a pager's line, with a part": _at(5, lambda line: f"---(more 45%)---\n{line}"),
    "a pager and backspaces": _at(5, lambda line: " --More-- " + "\b" * 10 + " " * 10 + "\b" * 10 + line),
    "a pager and blanks": _at(5, lambda line: f"---(more)---\r{' ' * 60}\r{line}"),
    "a pager and an erased line": _at(5, lambda line: f"---(more 45%)---\r\x1b[K{line}"),
    "a pager and a whole line erased": _at(5, lambda line: f"<--- More --->\x1b[2K{line}"),
    "colours": lambda text: text.replace("203.0.113.0/24", "\x1b[1;32m203.0.113.0/24\x1b[0m"),
    "a title of the window": lambda text: f"\x1b]0;ops@r1\x07{text}",
    "a web page": lambda text: f"<pre>{html.escape(text)}</pre>",
    "blanks of a web page": lambda text: text.replace("  ", " \xa0"),
    "a mark at its beginning": lambda text: f"\ufeff{text}",
    "invisible marks": lambda text: text.replace("64499", "644\u200b99"),
}


@pytest.mark.parametrize("plain", [JUNOS, IOS], ids=["junos", "ios"])
@pytest.mark.parametrize("name", AROUND)
def test_what_stands_around_a_text_changes_nothing(name: str, plain: str) -> None:
    """The same routes with all fields, the same best, the same reason."""

    def told(text: str) -> list[object]:
        (found,) = explain(read(text))
        routes = [(o.route.candidate, o.eliminated_by, o.route.doubts) for o in found.outcomes]
        return [found.style, found.best, found.step, found.notes, found.whole, routes]

    assert told(AROUND[name](plain)) == told(plain)


def test_lines_keep_their_numbers() -> None:
    """What is told of a line is told of the line that was pasted."""
    text = "\n\n> a\n> b\n>\n> c\n"
    assert lines_of(text) == ["", "", "a", "b", "", "c", ""]
    assert lines_of("1 a\n2 b\n4 c") == ["1 a", "2 b", "4 c"], "these numbers are not of lines"
    assert lines_of("x\n> to 192.0.2.1\n> to 192.0.2.2\ny")[1] == "> to 192.0.2.1", "two lines are no quote"


def test_one_row_without_its_heading_is_read_and_says_so() -> None:
    """Its numbers are told from their usual places; where blanks are lost, nothing is told."""
    row = "*> 203.0.113.0/24   192.0.2.1               20             7 64496 64499 i"
    (route,) = read(row).routes
    assert (route.candidate.as_path, route.candidate.med, route.precedence) == ((64496, 64499), 20, 7)
    assert any("heading" in doubt for doubt in route.doubts)
    with pytest.raises(Invalid):
        read(" ".join(row.split()))


def test_a_route_of_bird_without_its_way_may_be_two_that_have_run_together() -> None:
    """Its first line is one route's, its attributes are another's: the answer says that it may be so."""
    text = (
        "198.51.100.0/24      unicast [up 10:00:00] * (100) [AS64500i]\n\tvia 192.0.2.1 on eth0\n\tBGP.as_path: 64500\n"
    )
    (whole,), (cut,) = (read(t).routes for t in (text, text.replace("\tvia 192.0.2.1 on eth0\n", "")))
    assert any("run together" in doubt for doubt in cut.doubts)
    assert not any("run together" in doubt for doubt in whole.doubts)


def test_a_router_that_has_no_route_is_quoted() -> None:
    """And an empty document of JSON is the same."""
    for text in (
        "r1#show ip bgp 203.0.113.0\n% Network not in table\n",
        "BIRD 2.0 ready.\nNetwork not found\n",
        "{\n}\n",
    ):
        with pytest.raises(Invalid, match="has no route to it"):
            read(text)


@pytest.mark.parametrize("sign", ["\b", "\r", "\x1b[K", "\x1b]", "<pre", "> ", "&lt;", "1 "])
def test_marks_without_end_cost_no_more_than_text(sign: str) -> None:
    """Somebody may paste them on purpose: twice as much takes about twice as long, never four times."""

    def seconds(times: int) -> float:
        text = ("a" * 1000 + sign * 1000) * times
        least = 1e9
        for _ in range(3):
            began = time.process_time()
            lines_of(text)
            least = min(least, time.process_time() - began)
        return least

    size = LONGEST // 100 // (1000 + 1000 * len(sign))
    assert seconds(2 * size) < 3.5 * seconds(size) + 0.05


OF_MAKERS = {
    "a set of ASes with a comma": (
        Style.IOS,
        "BGP routing table entry for 203.0.113.0/24, version 5\nPaths: (1 available, best #1, table default)\n"
        "  64500 {64499,64498}, (aggregated by 64500 192.0.2.1)\n    192.0.2.1 from 192.0.2.1 (192.0.2.1)\n"
        "      Origin IGP, localpref 100, valid, external, best\n",
        (64500, 64499), "only route",
    ),
    "EVPN of EOS, whose validity stands behind the origin": (
        Style.EOS,
        "BGP routing table information for VRF default\nRouter identifier 192.0.2.1, local AS number 64501\n"
        "BGP routing table entry for mac-ip 5254.0012.3456, Route Distinguisher: 192.0.2.1:10\n Paths: 1 available\n"
        "  64496\n    192.0.2.1 from 192.0.2.1 (192.0.2.1)\n"
        "      Origin IGP, metric -, localpref 100, weight 0, tag 0, valid, external, best\n",
        (64496,), "only route",
    ),
    "a route of Junos that cannot be used": (
        Style.JUNOS,
        "203.0.113.0/24      [BGP/170] 00:10:00, localpref 100, from 192.0.2.1\n"
        "                      AS path: 64496 64499 I, validation-state: unverified\n                      Unusable\n",
        None, "",
    ),
    "EVPN of Junos": (
        Style.JUNOS,
        "5:192.0.2.1:100::0::203.0.113.0::24/248\n"
        "                   *[BGP/170] 00:10:00, localpref 100, from 192.0.2.9\n"
        "                      AS path: 64499 I, validation-state: unverified\n"
        "                    >  to 198.51.100.1 via ae0.0\n",
        (64499,), "only route",
    ),
    "a route of BIRD that the kernel refused": (
        Style.BIRD,
        "203.0.113.0/24       unicast [UP1 2026-11-20] ! (100) [AS64499i]\n\tvia 192.0.2.1 on eth0\n"
        "\tBGP.origin: IGP\n\tBGP.as_path: 64496 64499\n\tBGP.local_pref: 100\n",
        (64496, 64499), "only route",
    ),
    "the table of IOS-XR": (
        Style.XR,
        "BGP generic scan interval 60 secs\n   Network            Next Hop            Metric LocPrf Weight Path\n"
        "*> 203.0.113.0/24     192.0.2.1               10             0 64496 64499 i\n\n"
        "Processed 1 prefixes, 1 paths\n",
        (64496, 64499), "only route",
    ),
    "what is heard within a confederation": (
        Style.FRR,
        "BGP routing table entry for 203.0.113.0/24, version 5\nPaths: (2 available, best #2, table default)\n"
        "  (65001) 64496 64499\n    192.0.2.1 from 192.0.2.1 (192.0.2.1)\n"
        "      Origin IGP, localpref 100, valid, confed-external\n      Last update: Mon Nov 23 06:57:50 2026\n"
        "  64500 64499\n    192.0.2.5 from 192.0.2.5 (192.0.2.5)\n"
        "      Origin IGP, localpref 100, valid, external, best (Peer Type)\n"
        "      Last update: Mon Nov 23 06:57:51 2026\n",
        (64500, 64499), "eBGP over iBGP",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OF_MAKERS)
def test_forms_that_real_routers_print_are_read(name: str) -> None:
    """Each of them was refused, or misread, before."""
    style, text, best, step = OF_MAKERS[name]
    (found,) = explain(read(text))
    assert found.style is style and (found.best.as_path if found.best is not None else None) == best
    assert found.step == step and not [o for o in found.outcomes if o.route.broken]
    assert not any("another route would win" in note or "itself names" in note for note in found.disagrees)


def test_missing_rows_of_a_table_of_ios_xr_are_seen() -> None:
    """It says at its end how many there are."""
    text = OF_MAKERS["the table of IOS-XR"][1].replace("1 paths", "3 paths")
    (found,) = explain(read(text))
    assert any("3 routes" in note and "has 1" in note for note in found.notes)
