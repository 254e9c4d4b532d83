"""Where networks were seen to land, told by others: texts of three kinds in, observations out, and their own CSV.

Our CSV (`network,vantage,pop,time,city`), RIPE Atlas results, and the document of `anypop probe -o json`; which one it
is shows in the text. With them tables of the networks of probes and prefixes. A row that is wrong is told with its
line. Pure.
"""

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

from anypop.model.errors import Invalid, Problem
from anypop.routing.catchment.observations import Observation

_HEAD = "network,vantage,pop,time,city"
_WORDS = re.compile(r"[a-z]+")


def identifier(pops: Sequence[str], meanings: Mapping[str, str]) -> Callable[[str], str | None]:
    """Which PoP an answer means: by a text that was said to mean one, or a PoP's code as a word of its own
    (`web-eu1-lhr-0`, `lhr1.x`).
    """

    def identify(answer: str) -> str | None:
        for text, pop in meanings.items():
            if text.lower() in answer.lower():
                return pop
        return next((word.upper() for word in _WORDS.findall(answer.lower()) if word.upper() in pops), None)

    return identify


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


def networks_of_probes(text: str, file: str) -> Callable[[int], int | None]:
    """AS numbers of Atlas probes: `probe,asn` rows, or Atlas' own JSON archive."""
    if text.lstrip().startswith(("{", "[")):
        try:
            data = json.loads(text)
        except json.JSONDecodeError as error:
            raise Invalid.one(f"{file}:{error.lineno}", f"is not JSON: {error.msg}") from error
        objects = data.get("objects", data.get("results", [])) if isinstance(data, dict) else data
        known = {o.get("id"): o.get("asn_v4") or o.get("asn_v6") for o in objects or () if isinstance(o, dict)}
        return known.get
    numbers = _numbers(text, file, "a probe and its AS number: 6087,3356", str.isdigit)
    return lambda probe: numbers.get(str(probe))


def networks_of_prefixes(text: str, file: str) -> Callable[[str], int | None]:
    """The AS of the longest prefix around one: `prefix,asn` rows."""
    rows = _numbers(text, file, "a prefix and its AS number: 198.51.100.0/24,64500", _is_prefix)
    known = {ip_network(prefix, strict=False): asn for prefix, asn in rows.items()}

    def asn_of(prefix: str) -> int | None:
        network: IPv4Network | IPv6Network = ip_network(prefix)
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
