"""A pasted text: whose it is, and its routes. The entry to the readers of all styles.

Comes in text, goes out a `Pasted`, or `Invalid` with every problem and the line of each. Never anything else, whatever
the text is. Pure.
"""

from datetime import datetime

from anypop.model.errors import Invalid
from anypop.routing.paste import bird, columns, frr, ios, junos
from anypop.routing.paste.pasted import Pasted, Reading, Style

LONGEST = 4_000_000  # characters; a table of a hundred prefixes has some 20,000
LONGEST_LINE = 4_000  # an AS path of 250 hops, the longest that routers take, has 2,750

_NOTHING = (
    "no route of Junos (show route PREFIX), BIRD (show route for PREFIX all), FRR (show bgp ipv4 unicast PREFIX)"
    " or IOS (show ip bgp PREFIX) is in it"
)


def read(text: str, *, style: Style | None = None, now: datetime | None = None) -> Pasted:
    """The routes in `text`. `style`: whose it is, where it cannot be told from the text. `now`: when it was printed, in
    the router's own time zone. Raises `Invalid` with every problem.
    """
    if len(text) > LONGEST:
        raise Invalid.one(
            "", f"{len(text)} characters are more than the {LONGEST} that are read; paste the routes of one prefix"
        )
    reading = Reading.of(text)
    for number, line in reading.numbered():
        if len(line) > LONGEST_LINE:
            reading.wrong(number, f"has {len(line)} characters; no router prints more than {LONGEST_LINE} in a line")
    if reading.problems:
        raise Invalid(reading.problems)
    whose = style or detect(reading)
    if whose is None:
        raise Invalid.one("line 1", _NOTHING)
    match whose:
        case Style.JUNOS:
            found = junos.read(reading)
        case Style.BIRD:
            found = bird.read(reading, now)
        case Style.FRR | Style.IOS:
            table = any(columns.looks(line) for line in reading.lines) or not any(
                ios.looks(line) for line in reading.lines
            )
            found = (
                columns.read(reading, whose)
                if table
                else frr.read(reading, now)
                if whose is Style.FRR
                else ios.read(reading)
            )
    if not found.routes and not reading.problems:
        raise Invalid.one("line 1", f"no route of {whose.says} is in it")
    if reading.problems:
        raise Invalid(reading.problems)
    return found


def detect(reading: Reading) -> Style | None:
    """Whose text it is, by the first line that only one of them writes."""
    if any(junos.looks(line) for line in reading.lines):
        return Style.JUNOS
    if any(bird.looks(line) for line in reading.lines):
        return Style.BIRD
    if any(ios.looks(line) or columns.looks(line) for line in reading.lines):
        return Style.FRR if any(frr.looks(line) for line in reading.lines) else Style.IOS
    return None
