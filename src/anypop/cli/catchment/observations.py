"""Measurements taken in on the command line: files and standard input in, observations and shares out, kept.

What is in a file is the business of `advice.measurement_files`. The only files written are those that are asked for.
"""

import io
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import BinaryIO

from anypop.advice import history, plans
from anypop.advice.measurement_files import Beside, Found, read
from anypop.advice.measurement_formats import Format
from anypop.advice.measurements import as_csv, networks_of_prefixes, networks_of_probes
from anypop.cli.catchment.inputs import text_of
from anypop.cli.failure import usage
from anypop.model.cities import city_of_pop
from anypop.routing.catchment.observations import Observation, read_csv


def imported(
    source: str,
    *,
    form: Format | None = None,
    pops: str = "",
    meaning: Sequence[str] = (),
    probes: Path | None = None,
    prefixes: Path | None = None,
    prefix: str = "",
    announced: Path | None = None,
) -> Found:
    """What is in a file ('-': standard input)."""
    known = tuple(code.strip().upper() for code in pops.split(",") if code.strip())
    if unknown := [code for code in known if city_of_pop(code) is None]:
        raise usage(f"--pops: no such city: {', '.join(unknown)}", advice="Cities are IATA codes, such as LHR.")
    try:
        ours = ip_network(prefix) if prefix else None
    except ValueError as error:
        raise usage(f"--prefix {prefix}: {error}", advice="Write --prefix 198.51.100.0/24.") from error
    # Without these files no probe's or prefix's network is known, and its observations pin nothing.
    of_probes: Mapping[int, int] = (
        networks_of_probes(text_of(probes, "the probes' networks"), str(probes)) if probes is not None else {}
    )
    of_prefixes = networks_of_prefixes(text_of(prefixes, "prefixes"), str(prefixes)) if prefixes is not None else None
    beside = Beside(
        pops=known,
        meanings=_meanings(meaning),
        asn_of_probe=of_probes.get,
        asn_of_prefix=of_prefixes or (lambda _: None),
        prefix=ours,
        announced=plans.read(text_of(announced, "a plan"), str(announced)) if announced is not None else None,
        now=round(time.time(), 3),
    )
    if source == "-":
        return read(_standard_input(), "standard input", beside, form)
    try:
        with Path(source).open("rb") as stream:
            return read(stream, source, beside, form)
    except OSError as error:
        raise usage(f"{source} cannot be read: {error.strerror}", advice="Name measurements.") from error


def _standard_input() -> BinaryIO:
    raw = getattr(sys.stdin, "buffer", None)
    return io.BytesIO(raw.read() if raw is not None else sys.stdin.read().encode())


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


def keep_with(announced: Path, folder: Path, found: Found) -> tuple[Path, int]:
    """Add what was found to the history, beside what was announced. Returns its plan file, and how many observations it
    holds.
    """
    plan = plans.read(text_of(announced, "a plan"), str(announced))
    seen = [one for one in found.observations if one.asn]
    try:
        return history.keep(folder, plan, seen, now=time.time(), shares=found.shares)
    except OSError as error:
        raise usage(f"{folder} cannot be written: {error.strerror}", advice="Name a folder with --history.") from error


def _meanings(given: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in given:
        answer, equals, pop = text.rpartition("=")
        if not equals or not answer or city_of_pop(pop.upper()) is None:
            raise usage(f"--map {text}: not an answer and a PoP", advice="Write --map 192.0.2.1=LHR.")
        found[answer] = pop.upper()
    return found
