"""What was measured: files in, observations out; observations and a graph in, pins for a prediction out.

Reads our CSV (`network,vantage,pop,time`: an AS number or a prefix, a name, a city code, ISO 8601 or seconds) and
results of RIPE Atlas measurements (JSON: DNS with a CHAOS answer, HTTP, traceroute), where `identify` says which PoP
an answer, a header or a last hop means. Every wrong row is reported with its line. The caller reads the file and, for
probes and prefixes, knows their AS.
"""

import base64
import binascii
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_network
from math import isfinite
from typing import Any

from anypop.model.cities import find_city
from anypop.model.errors import Invalid, Problem
from anypop.routing.internet.sites import Internet

_MOST = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """A network was seen to land in a PoP. `asn` 0: unknown. `city`: where the vantage stands, where known. `at`:
    seconds since the epoch.
    """

    asn: int
    pop: str
    vantage: str = ""
    city: str = ""
    at: float = 0.0


def read_csv(
    text: str, file: str, *, asn_of_prefix: Callable[[str], int | None] = lambda _: None
) -> tuple[Observation, ...]:
    """Observations of a CSV with the heading `network,vantage,pop,time[,city]`. Raises `Invalid` with every problem."""
    problems: list[Problem] = []
    found: list[Observation] = []
    for number, line in enumerate(text.splitlines(), start=1):
        row = [cell.strip().strip('"') for cell in line.split(",")]
        if not line.strip() or row[0].startswith("#") or row[0].lower() == "network":
            continue
        seen = _row(row, asn_of_prefix)
        if isinstance(seen, str):
            problems.append(Problem(path=f"{file}:{number}", message=seen))
        else:
            found.append(seen)
    if problems:
        raise Invalid(problems[:_MOST])
    return tuple(found)


def _row(cells: list[str], asn_of_prefix: Callable[[str], int | None]) -> Observation | str:
    if len(cells) not in (4, 5):
        return f"{len(cells)} columns, not network, vantage, pop, time and perhaps city"
    network, vantage, pop, time = cells[:4]
    city = cells[4].upper() if len(cells) == 5 else ""
    number = network.upper().removeprefix("AS")
    asn: int | None
    if number.isascii() and number.isdigit():
        asn = int(number)
    else:
        try:
            asn = asn_of_prefix(str(ip_network(network, strict=False)))
        except ValueError:
            return f"'{network}' is neither an AS number nor a prefix"
        if asn is None:
            return f"the AS of {network} is not known"
    if find_city(pop.upper()) is None:
        return f"'{pop}' is no city code"
    if city and find_city(city) is None:
        return f"'{city}' is no city code"
    at = _time(time)
    if at is None:
        return f"'{time}' is neither ISO 8601 nor seconds since the epoch"
    return Observation(asn=asn, pop=pop.upper(), vantage=vantage, city=city, at=at)


def _time(text: str) -> float | None:
    try:
        seconds = float(text)
    except ValueError:
        pass
    else:
        return seconds if isfinite(seconds) else None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def read_atlas(
    text: str,
    file: str,
    *,
    identify: Callable[[str], str | None],
    asn_of_probe: Callable[[int], int | None] = lambda _: None,
) -> tuple[Observation, ...]:
    """Observations of RIPE Atlas results: a JSON list, or one result per line. `identify` turns an answer (a CHAOS
    text, an HTTP header value, a hop's address) into a city code. Results without an answer are no error: they saw
    nothing. Raises `Invalid` for what is no result.
    """
    problems: list[Problem] = []
    found: list[Observation] = []
    for where, result in _results(text, file, problems):
        if not isinstance(result, dict) or not isinstance(result.get("prb_id"), int):
            problems.append(Problem(path=where, message="is no Atlas result: it has no prb_id"))
            continue
        pop = next((city for answer in _answers(result) if (city := identify(answer)) is not None), None)
        if pop is None:
            continue
        probe = result["prb_id"]
        time = result.get("timestamp", 0)
        found.append(
            Observation(
                asn=asn_of_probe(probe) or 0,
                pop=pop,
                vantage=f"atlas {probe}",
                at=float(time) if isinstance(time, int | float) else 0.0,
            )
        )
    if problems:
        raise Invalid(problems[:_MOST])
    return tuple(found)


def _results(text: str, file: str, problems: list[Problem]) -> Iterable[tuple[str, Any]]:
    stripped = text.strip()
    if stripped.startswith("["):
        try:
            rows = json.loads(stripped)
        except json.JSONDecodeError as error:
            problems.append(Problem(path=f"{file}:{error.lineno}", message=f"is not JSON: {error.msg}"))
            return
        yield from ((f"{file}[{i}]", row) for i, row in enumerate(rows))
        return
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            try:
                yield f"{file}:{number}", json.loads(line)
            except json.JSONDecodeError as error:
                problems.append(Problem(path=f"{file}:{number}", message=f"is not JSON: {error.msg}"))


def _answers(result: Mapping[str, Any]) -> Iterable[str]:
    """What an Atlas result tells about who answered, the most telling first."""
    kind = result.get("type")
    if kind == "dns":
        for reply in [result.get("result"), *(_list(result.get("resultset")))]:
            body = reply.get("result", reply) if isinstance(reply, dict) else {}
            for answer in _list(body.get("answers")):
                data = answer.get("RDATA") if isinstance(answer, dict) else None
                yield from (str(part) for part in (data if isinstance(data, list) else [data] if data else []))
            yield from _chaos_text(body.get("abuf"))
    elif kind == "http":
        for reply in _list(result.get("result")):
            if isinstance(reply, dict):
                yield from (str(header) for header in _list(reply.get("header")))
    elif kind == "traceroute":
        for hop in reversed(_list(result.get("result"))):
            for reply in _list(hop.get("result")) if isinstance(hop, dict) else []:
                if isinstance(reply, dict) and "from" in reply:
                    yield str(reply["from"])


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _chaos_text(abuf: object) -> Iterable[str]:
    """TXT strings of a DNS message (RFC 1035 section 4) in base64. A message that is cut short tells what it still
    holds.
    """
    if not isinstance(abuf, str):
        return
    try:
        message = base64.b64decode(abuf, validate=True)
    except (binascii.Error, ValueError):
        return
    if len(message) < 12:
        return
    questions, answers = int.from_bytes(message[4:6]), int.from_bytes(message[6:8])
    at = 12
    for _ in range(questions):
        at = _after_name(message, at) + 4
    for _ in range(answers):
        at = _after_name(message, at)
        if at + 10 > len(message):
            return
        kind, length = int.from_bytes(message[at : at + 2]), int.from_bytes(message[at + 8 : at + 10])
        data = message[at + 10 : at + 10 + length]
        at += 10 + length
        if kind == 16 and data:  # TXT: strings, each with its length before it
            yield data[1 : 1 + data[0]].decode("ascii", errors="replace")


def _after_name(message: bytes, at: int) -> int:
    while at < len(message):
        length = message[at]
        if length == 0:
            return at + 1
        if length >= 0xC0:  # a pointer of two bytes ends the name
            return at + 2
        at += 1 + length
    return at


def pins_of(internet: Internet, observations: Iterable[Observation]) -> dict[int, str]:
    """Per site the PoP that it was seen in. Of several observations of one site the commonest counts, then the
    newest. In an AS of several sites an observation with a city pins the site there, one without pins those that no
    other says anything about. Unknown ASes are passed over.
    """
    seen: dict[int, list[Observation]] = {}
    loose: dict[int, list[Observation]] = {}
    for observation in observations:
        sites = internet.sites_of(observation.asn)
        exact = [
            site for site in sites if len(sites) == 1 or (observation.city and internet.city[site] == observation.city)
        ]
        for site in exact:
            seen.setdefault(site, []).append(observation)
        if not exact:
            for site in sites:
                loose.setdefault(site, []).append(observation)
    return {site: _agreed(rows) for site, rows in {**loose, **seen}.items()}


def _agreed(rows: list[Observation]) -> str:
    counts = Counter(row.pop for row in rows)
    newest = {row.pop: row.at for row in sorted(rows, key=lambda row: row.at)}
    return max(counts, key=lambda pop: (counts[pop], newest[pop], pop))
