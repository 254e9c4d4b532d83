"""Measurements taken in: files of three kinds in, observations out, kept in one CSV.

Our own CSV (`network,vantage,pop,time,city`), RIPE Atlas results, and the document of `anypop probe -o json`; which one it is shows in the
text. A row that is wrong is told with its line. The only file written is the one that is asked for.
"""

import csv
import io
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any

from anypop.cli.catchment.announced import text_of
from anypop.cli.failure import usage
from anypop.model.cities import find_city
from anypop.model.errors import Invalid, Problem
from anypop.routing.catchment.observations import Observation, read_atlas, read_csv

_HEAD = "network,vantage,pop,time,city"
_WORDS = re.compile(r"[a-z]+")


def imported(
    source: str, *, pops: str = "", meaning: Sequence[str] = (), probes: Path | None = None, prefixes: Path | None = None
) -> tuple[Observation, ...]:
    """The observations in a file ('-': standard input)."""
    name = "standard input" if source == "-" else source
    text = sys.stdin.read() if source == "-" else text_of(Path(source), "measurements")
    known = [code.strip().upper() for code in pops.split(",") if code.strip()]
    if unknown := [code for code in known if find_city(code) is None]:
        raise usage(f"--pops: no such city: {', '.join(unknown)}", advice="Cities are IATA codes, such as LHR.")
    if not text.lstrip().startswith(("[", "{")):
        return read_csv(text, name, asn_of_prefix=_prefix_reader(prefixes))
    if (rows := _probe_rows(text)) is not None:
        return _of_probe(rows, name)
    meanings = _meanings(meaning)
    if not known and not meanings:
        raise usage("say which answers mean which PoP", advice="--pops AMS,LHR (their codes stand in the answer) or --map TEXT=CITY.")
    return read_atlas(text, name, identify=identifier(known, meanings), asn_of_probe=_probe_reader(probes))


def identifier(pops: Sequence[str], meanings: Mapping[str, str]) -> Callable[[str], str | None]:
    """Which PoP an answer means: by a text that was said to mean one, or a PoP's code as a word of its own (`web-eu1-lhr-0`, `lhr1.x`)."""

    def identify(answer: str) -> str | None:
        for text, pop in meanings.items():
            if text.lower() in answer.lower():
                return pop
        return next((word.upper() for word in _WORDS.findall(answer.lower()) if word.upper() in pops), None)

    return identify


def keep(target: Path, found: Iterable[Observation]) -> tuple[int, int]:
    """Add observations to a CSV. Returns how many were new, and how many it holds now."""
    try:
        there = target.exists()
    except PermissionError as error:
        raise usage(f"{target} cannot be read: {error.strerror}", advice="Name a file with --out.") from error
    old = list(read_csv(text_of(target, "observations"), str(target))) if there else []
    every = list(dict.fromkeys([*old, *(seen for seen in found if seen.asn)]))
    out = io.StringIO()
    out.write(_HEAD + "\n")
    writer = csv.writer(out, lineterminator="\n")
    for seen in every:
        at = datetime.fromtimestamp(seen.at, UTC).isoformat()
        writer.writerow([seen.asn, seen.vantage, seen.pop, at, *([seen.city] if seen.city else [])])
    try:
        temporary = target.with_name(target.name + ".new")
        temporary.write_text(out.getvalue())
        temporary.rename(target)
    except OSError as error:
        raise usage(f"{target} cannot be written: {error.strerror}", advice="Name a file with --out.") from error
    return len(every) - len(set(old)), len(every)


def by_pop(found: Iterable[Observation]) -> dict[str, int]:
    return dict(Counter(seen.pop for seen in found).most_common())


def _probe_rows(text: str) -> list[Any] | None:
    """The rows of `probe -o json`; None for anything else."""
    try:
        rows = json.loads(text)
    except json.JSONDecodeError:
        return None
    if isinstance(rows, list) and rows and all(isinstance(row, dict) and "vantage" in row and "answered" in row for row in rows):
        return rows
    return None


def _of_probe(rows: list[Any], name: str) -> tuple[Observation, ...]:
    """A vantage that got no answer saw nothing, which is no error."""
    now = round(time.time(), 3)
    problems = [
        Problem(path=f"{name}[{i}]", message=f"the network of vantage {row['vantage']} is not told: this control is too old")
        for i, row in enumerate(rows)
        if row.get("pop") and not row.get("asn")
    ]
    if problems:
        raise Invalid(problems)
    return tuple(
        Observation(asn=int(row["asn"]), pop=str(row["pop"]), vantage=str(row["vantage"]), city=str(row.get("city") or ""), at=now)
        for row in rows
        if row.get("pop")
    )


def _meanings(given: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in given:
        answer, equals, pop = text.rpartition("=")
        if not equals or not answer or find_city(pop.upper()) is None:
            raise usage(f"--map {text}: not an answer and a city", advice="Write --map 192.0.2.1=LHR.")
        found[answer] = pop.upper()
    return found


def _probe_reader(path: Path | None) -> Callable[[int], int | None]:
    """AS numbers of Atlas probes. Without a file none is known, and such observations pin nothing."""
    if path is None:
        return lambda _: None
    text = text_of(path, "the probes' networks")
    if text.lstrip().startswith(("{", "[")):
        try:
            data = json.loads(text)
        except json.JSONDecodeError as error:
            raise Invalid.one(f"{path}:{error.lineno}", f"is not JSON: {error.msg}") from error
        objects = data.get("objects", data.get("results", [])) if isinstance(data, dict) else data
        known = {o.get("id"): o.get("asn_v4") or o.get("asn_v6") for o in objects or () if isinstance(o, dict)}
        return known.get
    numbers = _numbers(text, str(path), "a probe and its AS number: 6087,3356", str.isdigit)
    return lambda probe: numbers.get(str(probe))


def _prefix_reader(path: Path | None) -> Callable[[str], int | None]:
    """The AS of the longest prefix around one. Without a file none is known."""
    if path is None:
        return lambda _: None
    rows = _numbers(text_of(path, "prefixes"), str(path), "a prefix and its AS number: 198.51.100.0/24,64500", _is_prefix)
    known = {ip_network(text, strict=False): asn for text, asn in rows.items()}

    def asn_of(text: str) -> int | None:
        network: IPv4Network | IPv6Network = ip_network(text)
        for length in range(network.prefixlen, -1, -1):
            if (found := known.get(network.supernet(new_prefix=length))) is not None:
                return found
        return None

    return asn_of


def _is_prefix(text: str) -> bool:
    try:
        ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def _numbers(text: str, file: str, form: str, is_key: Callable[[str], bool]) -> dict[str, int]:
    found: dict[str, int] = {}
    problems: list[Problem] = []
    for number, line in enumerate(text.splitlines(), start=1):
        key, _, asn = (part.strip() for part in line.partition(","))
        if not key or key.startswith("#") or (number == 1 and not is_key(key)):
            continue
        digits = asn.upper().removeprefix("AS")
        if is_key(key) and digits.isascii() and digits.isdigit():
            found[key] = int(digits)
        else:
            problems.append(Problem(path=f"{file}:{number}", message=f"must be {form}"))
    if problems:
        raise Invalid(problems[:50])
    return found
