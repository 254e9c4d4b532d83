"""Shares of each PoP and nothing about single networks, as operators of name servers publish them: CSV in, shares out;
and chances in, chances that agree with such shares out. Pure.

A row is `pop,share`: a part, a percentage or a count (of queries, say); what counts is the proportion. Shares calibrate
a mixture: each PoP's chances are multiplied by one factor for all networks, the one with which the means are the shares
(Saerens, Latinne and Decaestecker 2002).
"""

from collections.abc import Mapping, Sequence

import numpy as np

from anypop.model.cities import city_of_pop
from anypop.model.errors import Invalid, Problem
from anypop.routing.internet.sites import Bool, Float

_HEADS = ("pop", "site", "city")
_LEAST = 1e-6  # no share is taken to be smaller: somebody may land there
_ROUNDS, _CLOSE = 500, 1e-6


def is_heading(line: str) -> bool:
    cells = [cell.strip().strip('"').lower() for cell in line.split(",")]
    return len(cells) == 2 and cells[0] in _HEADS


def read(text: str, file: str, meanings: Mapping[str, str]) -> dict[str, float]:
    """By PoP, 1 in all; two names of one PoP are added up. `meanings`: the PoPs that other names mean. Raises `Invalid`
    with every problem.
    """
    found: dict[str, float] = {}
    signs: set[bool] = set()
    problems: list[Problem] = []
    for number, line in enumerate(text.splitlines(), start=1):
        cells = [cell.strip().strip('"') for cell in line.split(",")]
        if not line.strip() or line.startswith("#") or is_heading(line):
            continue
        name = meanings.get(cells[0], cells[0].upper())
        value = _number(cells[1]) if len(cells) == 2 else None
        if value is None or city_of_pop(name) is None:
            problems.append(Problem(path=f"{file}:{number}", message="must be a PoP and its share or count: AMS,0.42"))
        else:
            found[name] = found.get(name, 0.0) + value
            signs.add(cells[1].endswith("%"))
    if len(signs) > 1:
        problems.append(
            Problem(path=file, message="has some shares with '%' and some without: write all of them alike")
        )
    total = sum(found.values())
    if not problems and not total:
        problems.append(Problem(path=file, message="has no share above 0"))
    if problems:
        raise Invalid(problems)
    return {pop: value / total for pop, value in found.items()}


def write(shares: Mapping[str, float]) -> str:
    """The text that is read again as the same shares."""
    return "pop,share\n" + "".join(f"{pop},{share!r}\n" for pop, share in shares.items())


def _number(text: str) -> float | None:
    try:
        value = float(text.removesuffix("%").strip())
    except ValueError:
        return None
    return value if 0 <= value < float("inf") else None


def calibrated(chance: Float, *, pops: Sequence[str], weight: Float, shares: Mapping[str, float], known: Bool) -> Float:
    """Chances whose means by weight are the shares, those of `known` rows as they are. What of a share is of PoPs that
    are not announced is left out. Where what is known contradicts the shares, as near as it goes.
    """
    asked = np.array([max(shares.get(pop, 0.0), _LEAST) for pop in pops])
    heavy = weight * ~known
    total = float(heavy.sum())
    if not total or len(pops) < 2:
        return chance
    left = asked / asked.sum() * float(weight.sum()) - (weight[known, None] * chance[known]).sum(axis=0)
    wanted = np.maximum(left, _LEAST * total)
    wanted *= total / wanted.sum()
    factor = np.ones(len(pops))
    free = chance[~known]
    for _ in range(_ROUNDS):
        scaled = free * factor
        scaled /= scaled.sum(axis=1, keepdims=True)
        step = wanted / np.maximum((heavy[~known, None] * scaled).sum(axis=0), _LEAST * total)
        factor *= step
        factor /= factor.sum()
        if np.abs(step - 1).max() < _CLOSE:
            break
    scaled = free * factor
    result = chance.copy()
    result[~known] = scaled / scaled.sum(axis=1, keepdims=True)
    return result
