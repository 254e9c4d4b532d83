"""Words around measurements: what an answer means, whose a probe or a prefix is, and observations as our own CSV.

In: texts that people give beside a file of measurements (`measurement_files`), and the document of `anypop probe -o
json`. Out: functions that know them. A row that is wrong is told with its line. Pure.
"""

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from anypop.model.errors import Invalid, Problem
from anypop.routing.catchment.observations import Observation

# CAIDA's pfx2as: 1.0.0.0, 24, 13335; origins of several announcements stand with "_", those of a set with ","
_TABS = re.compile(r"^([0-9a-fA-F.:]+)\t(\d+)\t(\d+)(?:[_,]\S*)?$", re.MULTILINE)
_HEAD = "network,vantage,pop,time,city"


def identifier(pops: Sequence[str], meanings: Mapping[str, str]) -> Callable[[str], str | None]:
    """Which PoP an answer means: by an address or a prefix that was said to mean one, by a text that was, or by a PoP's
    name as a word of its own (`web-eu1-lhr-0`, `lhr1.x`; of `AMS-2` also `ams2`).
    """
    networks: list[tuple[IPv4Network | IPv6Network, str]] = []
    texts: list[tuple[str, str]] = []
    for text, pop in meanings.items():
        try:
            networks.append((ip_network(text), pop))
        except ValueError:
            texts.append((text.lower(), pop))
    networks.sort(key=lambda one: -one[0].prefixlen)
    words = _words(pops)

    def identify(answer: str) -> str | None:
        if networks and (address := _address(answer)) is not None:
            return next((pop for network, pop in networks if address in network), None)
        plain = answer.lower()
        for text, pop in texts:
            if text in plain:
                return pop
        found = words.search(plain) if words is not None else None
        return by_name[found[0].replace("-", "")] if found is not None else None

    by_name = {pop.replace("-", "").lower(): pop for pop in pops}
    return identify


def _words(pops: Sequence[str]) -> "re.Pattern[str] | None":
    """The names of all PoPs, the longest first: `AMS-2` is no `AMS`."""
    every = []
    for pop in sorted((pop.lower() for pop in pops), key=len, reverse=True):
        code, dash, label = pop.partition("-")
        every.append(f"{code}-?{label}(?![a-z0-9])" if dash else f"{code}(?![a-z])")
    return re.compile(f"(?<![a-z])(?:{'|'.join(every)})") if every else None


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def as_csv(observations: Iterable[Observation]) -> str:
    """The text that is read again as the same observations."""
    out = io.StringIO()
    out.write(_HEAD + "\n")
    writer = csv.writer(out, lineterminator="\n")
    for seen in observations:
        at = datetime.fromtimestamp(seen.at, UTC).isoformat()
        writer.writerow([seen.asn, seen.vantage, seen.pop, at, *([seen.city] if seen.city else [])])
    return out.getvalue()


def by_pop(found: Iterable[Observation]) -> dict[str, int]:
    return dict(Counter(seen.pop for seen in found).most_common())


def probe_rows(text: str) -> list[Any] | None:
    """The rows of `probe -o json`; None for anything else."""
    try:
        rows = json.loads(text)
    except json.JSONDecodeError:
        return None
    if (
        isinstance(rows, list)
        and rows
        and all(isinstance(row, dict) and "vantage" in row and "answered" in row for row in rows)
    ):
        return rows
    return None


def of_probe(rows: Sequence[Any], name: str, *, now: float) -> tuple[Observation, ...]:
    """The observations in rows of `probe -o json`, made at `now`. A vantage that got no answer saw nothing, which is no
    error.
    """
    problems = [
        Problem(
            path=f"{name}[{i}]", message=f"the network of vantage {row['vantage']} is not told: this control is too old"
        )
        for i, row in enumerate(rows)
        if row.get("pop") and not row.get("asn")
    ]
    if problems:
        raise Invalid(problems)
    return tuple(
        Observation(
            asn=int(row["asn"]),
            pop=str(row["pop"]),
            vantage=str(row["vantage"]),
            city=str(row.get("city") or ""),
            at=now,
        )
        for row in rows
        if row.get("pop")
    )


def networks_of_probes(text: str, file: str) -> dict[int, int]:
    """AS numbers of Atlas probes: `probe,asn` rows, or Atlas' own JSON archive."""
    if text.lstrip().startswith(("{", "[")):
        try:
            data = json.loads(text)
        except json.JSONDecodeError as error:
            raise Invalid.one(f"{file}:{error.lineno}", f"is not JSON: {error.msg}") from error
        objects = data.get("objects", data.get("results", [])) if isinstance(data, dict) else data
        known = {o.get("id"): o.get("asn_v4") or o.get("asn_v6") for o in objects or () if isinstance(o, dict)}
        return {probe: asn for probe, asn in known.items() if isinstance(probe, int) and isinstance(asn, int)}
    numbers = _numbers(text, file, "a probe and its AS number: 6087,3356", str.isdigit)
    return {int(probe): asn for probe, asn in numbers.items()}


def networks_of_prefixes(text: str, file: str) -> Callable[[str], int | None]:
    """The AS of the longest prefix around an address or a prefix: `prefix,asn` rows, or CAIDA's RouteViews table
    (`address length asn`, with tabs; of several origins the first).
    """
    rows = _numbers(_TABS.sub(r"\1/\2,\3", text), file, "a prefix and its AS number: 198.51.100.0/24,64500", _is_prefix)
    known: dict[tuple[int, int], dict[int, int]] = {}
    for prefix, asn in rows.items():
        network = ip_network(prefix, strict=False)
        shift = network.max_prefixlen - network.prefixlen
        known.setdefault((network.version, shift), {})[int(network.network_address) >> shift] = asn
    lengths = {v: sorted(shift for version, shift in known if version == v) for v in (4, 6)}

    def asn_of(text: str) -> int | None:
        try:
            network = ip_network(text, strict=False)
        except ValueError:
            return None
        number, inside = int(network.network_address), network.max_prefixlen - network.prefixlen
        for shift in lengths[network.version]:
            if shift >= inside and (found := known[network.version, shift].get(number >> shift)) is not None:
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
