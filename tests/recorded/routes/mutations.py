"""Damage as it comes to a text on its way into a paste: lines lost, swapped, doubled, indented, wrapped, cut.

In: a text and a source of chance. Out: the damaged text. What a maker leaves out where there is none (a MED, a cluster
list) is not seen to be missing by anybody: such a line is never the one that is lost or cut.
"""

import re
from collections.abc import Callable, Iterator
from random import Random

# Lines that a route may lack.
OPTIONAL = re.compile(
    r"(?i)bgp[._-]?med|\bmed=|communit|originator|cluster|Metric: |Inactive reason|Metric2|IGP Cost|inet\.0:|"
    r"Table master|Route Source|distance=|VRF|^ +(?:RT|SoO):"
)


_NAMES = re.compile(r"(?i)(?:^|[\s=*>iN])[0-9a-f]+[.:][0-9a-f.:]*/\d+")  # a prefix


def _chosen(lines: list[str], chance: Random) -> int:
    """A line that says something and cannot be left out."""
    while True:
        at = chance.randrange(len(lines))
        if lines[at].strip() and not OPTIONAL.search(lines[at]):
            return at


def remove(lines: list[str], chance: Random) -> list[str]:
    at = _chosen(lines, chance)
    return lines[:at] + lines[at + 1 :]


def remove_several(lines: list[str], chance: Random) -> list[str]:
    """Some that follow one another, of one prefix: what is left of one does not become another's."""
    at, count = _chosen(lines, chance), chance.randint(2, 12)
    names = next((n for n in range(at + 1, len(lines)) if _NAMES.search(lines[n])), len(lines))
    return lines[:at] + lines[min(at + count, names) :]


def swap(lines: list[str], chance: Random) -> list[str]:
    """A line and the next one."""
    at = _chosen(lines[:-1], chance)
    return [*lines[:at], lines[at + 1], lines[at], *lines[at + 2 :]]


def double(lines: list[str], chance: Random) -> list[str]:
    at = _chosen(lines, chance)
    return [*lines[: at + 1], lines[at], *lines[at + 1 :]]


def end(lines: list[str], chance: Random) -> list[str]:
    return lines[: _chosen(lines, chance)]


def begin(lines: list[str], chance: Random) -> list[str]:
    return lines[_chosen(lines, chance) :]


def indent(lines: list[str], chance: Random) -> list[str]:
    margin = " " * chance.randint(1, 9)
    return [margin + line for line in lines]


def flatten(lines: list[str], _: Random) -> list[str]:
    """Every line without its blanks in front, as some mail programs send it."""
    return [line.strip() for line in lines]


def squeeze(lines: list[str], _: Random) -> list[str]:
    """Every run of blanks is one, as some web pages show it."""
    return [re.sub(r"[ \t]+", " ", line) for line in lines]


def wrap(lines: list[str], chance: Random) -> list[str]:
    """At the width of a terminal, in the middle of a word too."""
    width = chance.choice([60, 72, 79, 80])
    wide = [line.expandtabs(8) for line in lines]
    return [line[i : i + width] for line in wide for i in range(0, max(1, len(line)), width)]


def cut(lines: list[str], chance: Random) -> list[str]:
    """Every line at the width of a terminal."""
    width = chance.choice([40, 60, 72, 79])
    return [line.expandtabs(8)[:width] for line in lines]


MUTATIONS: tuple[Callable[[list[str], Random], list[str]], ...] = (
    remove,
    remove_several,
    swap,
    double,
    end,
    begin,
    indent,
    flatten,
    squeeze,
    wrap,
    cut,
)

# What leaves no trace in a form: rows of a table that says nowhere how many it has, where the one that names the
# network is lost or moved; and values of RouterOS that are cut at their comma.
_ROWS = ("ios-table", "nx-os-table", "frr-table", "frr-wide", "vrp-table", "junos-brief", "junos-terse")
_VALUES = ("routeros6-detail", "routeros7-detail")


def leaves_trace(name: str, mutation: Callable[[list[str], Random], list[str]]) -> bool:
    """Whether damage of this kind can be seen in a form at all."""
    form = name.rpartition("-")[0]
    lost = form in _ROWS and mutation in (remove, remove_several, swap, double)
    return not lost and not (form in _VALUES and mutation in (wrap, cut))


def damaged(name: str, text: str, seed: int) -> Iterator[tuple[Callable[[list[str], Random], list[str]], str]]:
    """The text under each mutation, the same for the same seed."""
    for mutation in MUTATIONS:
        chance = Random(f"{name} {mutation.__name__} {seed}")
        yield mutation, "\n".join(mutation(text.splitlines(), chance)) + "\n"
