"""What was measured: our own CSV in, observations out; observations and a graph in, pins for a prediction out.

A row of the CSV is `network,vantage,pop,time[,city]`: an AS number or a prefix, a name, a PoP, ISO 8601 or seconds, a
city code. Every wrong row is reported with its line. The caller reads the file and knows the AS of prefixes. The forms
in which others keep measurements are read by `routing.measured`.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_network
from math import isfinite

from anypop.model.cities import city_of_pop, find_city
from anypop.model.errors import Invalid, Problem
from anypop.routing.internet.sites import Internet

_MOST = 50
_LATEST = 1e11  # seconds until the year 5138
_MAX_ASN = (1 << 32) - 1  # RFC 6793


HEAD = "network,vantage,pop,time"


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a file of measurements tells. `notes`: what of it says nothing, and why, for people."""

    observations: tuple[Observation, ...]
    notes: tuple[str, ...] = ()


def read_csv(
    text: str, file: str, *, asn_of_prefix: Callable[[str], int | None] = lambda _: None
) -> tuple[Observation, ...]:
    """Observations of a CSV with the heading `network,vantage,pop,time[,city]`. Raises `Invalid` with every problem."""
    problems: list[Problem] = []
    found: list[Observation] = []
    if text.lstrip().startswith(("[", "{")):
        raise Invalid.one(file, "is JSON: 'anypop catchment observe --import' reads it, and writes CSV with --out")
    told = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if told and not any("," in line for line in told):
        raise Invalid.one(file, f"is no CSV with the heading {HEAD}, and no other form that is read here")
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
        asn = int(number) if len(number) < 11 else 0
        if not 0 < asn <= _MAX_ASN:
            return f"'{network}' is no number of an AS"
    else:
        try:
            asn = asn_of_prefix(str(ip_network(network, strict=False)))
        except ValueError:
            return f"'{network}' is neither an AS number nor a prefix"
        if asn is None:
            return f"the AS of {network} is not known (--prefixes FILE tells it)"
    if city_of_pop(pop.upper()) is None:
        return f"'{pop}' is no city code, nor one with a label behind it (AMS-2)"
    if city and find_city(city) is None:
        return f"'{city}' is no city code"
    at = _time(time)
    if at is None:
        return f"'{time}' is neither ISO 8601 nor seconds since the epoch"
    return Observation(asn=asn, pop=pop.upper(), vantage=vantage, city=city, at=at)


def moment(value: float) -> float | None:
    """Seconds since the epoch; programs write them, or thousandths, millionths or billionths of them: which, shows in
    the size. None for what is no moment.
    """
    if not isfinite(value) or value < 0:
        return None
    while value > _LATEST:
        value /= 1000
    return value


def _time(text: str) -> float | None:
    try:
        return moment(float(text))
    except ValueError:
        pass
    try:
        told = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment((told if told.tzinfo else told.replace(tzinfo=UTC)).timestamp())


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
