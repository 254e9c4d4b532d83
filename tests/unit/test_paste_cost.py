"""The cost of a pasted text follows its size: four times the lines are four times the work, and no line costs the
square of its length.
"""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from anypop.model.errors import Invalid
from anypop.routing.paste import sentences
from anypop.routing.paste.explained import explain
from anypop.routing.paste.read import LONGEST_LINE, read
from tests.counted import calls
from tests.recorded.routes import written

PASTES = {
    path.stem: path.read_text().rstrip("\n") + "\n"
    for path in sorted((Path(__file__).parents[1] / "golden" / "paste").glob("*.txt"))
}


def answered(text: str) -> int:
    """The number of routes of a text that is read, explained and told whole."""
    pasted = read(text)
    for found in explain(pasted):
        sentences.data(found)
    return len(pasted.routes)


def one_prefix(paste: str, times: int) -> str:
    return paste * times


def many_prefixes(paste: str, times: int) -> str:
    """Each copy is about prefixes of its own."""
    copies = (
        paste.replace("198.51.100.", f"10.{n // 256}.{n % 256}.").replace("203.0.113.", f"11.{n // 256}.{n % 256}.")
        for n in range(times)
    )
    return "".join(copies)


@pytest.mark.parametrize("shape", [one_prefix, many_prefixes])
@pytest.mark.parametrize("name", PASTES)
def test_four_times_the_lines_are_four_times_the_work(name: str, shape: Callable[[str, int], str]) -> None:
    """Counted in calls: equal routes by the hundred, and prefixes by the hundred."""
    times = 400 // PASTES[name].count("\n")
    texts = [shape(PASTES[name], times), shape(PASTES[name], 4 * times)]
    answered(texts[0])  # what is cached once is paid for here
    work = [calls(partial(answered, text)) for text in texts]
    assert work[1] < 4.4 * work[0]


def test_sixteen_thousand_lines_take_seconds_of_a_processor_at_most() -> None:
    """They took a minute; 8,000 equal routes are also more than Python may call itself deep."""
    began = time.process_time()
    assert answered(PASTES["junos-london"] * 2667) == 8001
    assert time.process_time() - began < 8


BLANKS = " " * (LONGEST_LINE - 200)
LONG_LINES = {
    "blanks before a word": BLANKS + "x",
    "blanks within a row of a table": f"*> 192.0.2.1 {BLANKS}x",
    "numbers that could each be a weight": "*> 192.0.2.1 " + "  9 9" * 700 + "x",
    "colons": ":" * (LONGEST_LINE - 200),
    "a title of colons": "BGP routing table entry for " + ":" * (LONGEST_LINE - 200),
    "a set of one endless number": "   AS path: {" + "1" * (LONGEST_LINE - 200) + " I",
    "sets that never end": "   AS path: " + "{1" * (LONGEST_LINE // 2 - 100) + " I",
    "blanks within a value": f"  Neighbor AS: 1{BLANKS}x",
}


@pytest.mark.parametrize("name", LONG_LINES)
@pytest.mark.parametrize("paste", ["bird", "ios-table", "ios-entry", "junos-table"])
def test_a_long_line_costs_its_length_and_not_its_square(paste: str, name: str) -> None:
    """Two hundred of the longest lines that are read, in texts of all makers; the square was ten seconds and more."""
    text = PASTES[paste] + ("u1 BGP x\n" if paste == "bird" else "") + (LONG_LINES[name] + "\n") * 200
    began = time.process_time()
    try:
        answered(text)
    except Invalid as error:
        assert error.problems
    assert time.process_time() - began < 3


def test_empty_lines_cost_no_more_than_others() -> None:
    """Also behind something that begins as a protocol of BIRD and goes on as none."""
    began = time.process_time()
    assert answered(PASTES["bird"] + "u1 BGP x\n" + "\n" * 16_000 + "  x\n") == 7
    assert time.process_time() - began < 3


WRITTEN = {name: text for name, (_, text, _) in written.texts().items() if name.endswith("v4") and "json" not in name}


@pytest.mark.parametrize("name", WRITTEN)
def test_no_maker_s_reader_costs_the_square_of_a_line(name: str) -> None:
    """Fifty of each long line, in a text of each form."""
    for line in LONG_LINES.values():
        began = time.process_time()
        try:
            answered(WRITTEN[name] + (line + "\n") * 50)
        except Invalid as error:
            assert error.problems
        assert time.process_time() - began < 2
