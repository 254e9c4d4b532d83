"""Measurements taken in on the command line: files and standard input in, observations out, kept in one CSV.

What is in a text is the business of `advice.measurements`. The only file written is the one that is asked for.
"""

import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from anypop.advice import history, plans
from anypop.advice.measurements import (
    as_csv,
    identifier,
    networks_of_prefixes,
    networks_of_probes,
    of_probe,
    probe_rows,
)
from anypop.cli.catchment.inputs import text_of
from anypop.cli.failure import usage
from anypop.model.cities import find_city
from anypop.routing.catchment.observations import Observation, read_atlas, read_csv


def imported(
    source: str,
    *,
    pops: str = "",
    meaning: Sequence[str] = (),
    probes: Path | None = None,
    prefixes: Path | None = None,
) -> tuple[Observation, ...]:
    """The observations in a file ('-': standard input)."""
    name = "standard input" if source == "-" else source
    text = sys.stdin.read() if source == "-" else text_of(Path(source), "measurements")
    known = [code.strip().upper() for code in pops.split(",") if code.strip()]
    if unknown := [code for code in known if find_city(code) is None]:
        raise usage(f"--pops: no such city: {', '.join(unknown)}", advice="Cities are IATA codes, such as LHR.")
    if not text.lstrip().startswith(("[", "{")):
        # Without such a file no prefix is known.
        networks = (
            networks_of_prefixes(text_of(prefixes, "prefixes"), str(prefixes))
            if prefixes is not None
            else lambda _: None
        )
        return read_csv(text, name, asn_of_prefix=networks)
    if (rows := probe_rows(text)) is not None:
        return of_probe(rows, name, now=round(time.time(), 3))
    meanings = _meanings(meaning)
    if not known and not meanings:
        raise usage(
            "say which answers mean which PoP",
            advice="--pops AMS,LHR (their codes stand in the answer) or --map TEXT=CITY.",
        )
    # Without such a file no probe's network is known, and its observations pin nothing.
    of_probes = (
        networks_of_probes(text_of(probes, "the probes' networks"), str(probes))
        if probes is not None
        else lambda _: None
    )
    return read_atlas(text, name, identify=identifier(known, meanings), asn_of_probe=of_probes)


def keep(target: Path, found: Iterable[Observation]) -> tuple[int, int]:
    """Add observations to a CSV. Returns how many were new, and how many it holds now."""
    try:
        there = target.exists()
    except PermissionError as error:
        raise usage(f"{target} cannot be read: {error.strerror}", advice="Name a file with --out.") from error
    old = list(read_csv(text_of(target, "observations"), str(target))) if there else []
    every = list(dict.fromkeys([*old, *(seen for seen in found if seen.asn)]))
    try:
        temporary = target.with_name(target.name + ".new")
        temporary.write_text(as_csv(every))
        temporary.rename(target)
    except OSError as error:
        raise usage(f"{target} cannot be written: {error.strerror}", advice="Name a file with --out.") from error
    return len(every) - len(set(old)), len(every)


def keep_with(announced: Path, folder: Path, found: Iterable[Observation]) -> tuple[Path, int]:
    """Add observations to the history, beside what was announced. Returns its plan file, and how many it holds."""
    plan = plans.read(text_of(announced, "a plan"), str(announced))
    try:
        return history.keep(folder, plan, [seen for seen in found if seen.asn], now=time.time())
    except OSError as error:
        raise usage(f"{folder} cannot be written: {error.strerror}", advice="Name a folder with --history.") from error


def _meanings(given: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in given:
        answer, equals, pop = text.rpartition("=")
        if not equals or not answer or find_city(pop.upper()) is None:
            raise usage(f"--map {text}: not an answer and a city", advice="Write --map 192.0.2.1=LHR.")
        found[answer] = pop.upper()
    return found
