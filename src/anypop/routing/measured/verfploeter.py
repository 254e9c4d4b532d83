"""Catchments measured with pings from the anycast address, as the programs that do so write them: CSV in, observations
out. Pure.

Two forms, told apart by their heading: that of Verfploeter (de Vries et al. 2017: `client_id` is the site where the
answer arrived, `source_address` who answered) and that of its successor MAnycastR (`rx`, `addr`). Millions of addresses
become one observation for each network: the PoP where most of its addresses landed. The caller knows the AS of an
address, and `identify` which PoP a site's name means.
"""

import csv
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from ipaddress import ip_address

from anypop.model.errors import Invalid, Problem
from anypop.routing.catchment.observations import Observation, Told, moment

_ADDRESSES = "{} of {} addresses"
_MOST = 50
_FORMS = (("client_id", "source_address", "receive_time"), ("rx", "addr", "rx_time"))


def form_of(heading: str) -> tuple[str, str, str] | None:
    """The columns of site, address and time of a table with this heading; None: it is none of these."""
    columns = {cell.strip().strip('"') for cell in heading.split(",")}
    return next((form for form in _FORMS if {form[0], form[1]} <= columns), None)


def read(
    text: str,
    file: str,
    *,
    identify: Callable[[str], str | None],
    asn_of_address: Callable[[str], int | None],
) -> Told:
    """Raises `Invalid` with every wrong row, up to some dozens."""
    lines = ((n, line) for n, line in enumerate(text.splitlines(), start=1) if line.strip() and line[0] != "#")
    _, heading = next(lines, (1, ""))
    form = form_of(heading)
    if form is None:
        raise Invalid.one(f"{file}:1", "has no columns client_id and source_address, or rx and addr: no catchments")
    names = [cell.strip() for cell in next(csv.reader([heading]))]
    if "trace_dst" in names:
        raise Invalid.one(f"{file}:1", "is a table of traceroutes: who answers is a router on the way, and no network")
    site, address, time = form
    problems: list[Problem] = []
    landed: defaultdict[int, Counter[str]] = defaultdict(Counter)
    latest: defaultdict[int, float] = defaultdict(float)
    left_out, nameless = Counter[str](), Counter[str]()
    for number, line in lines:
        cells = next(csv.reader([line]))
        row = dict(zip(names, cells, strict=False))
        seen = _address(row.get(address, ""))
        if len(cells) < len(names):
            problems.append(Problem(path=f"{file}:{number}", message=f"is cut: {len(cells)} of {len(names)} columns"))
            continue
        if seen is None:
            problems.append(Problem(path=f"{file}:{number}", message=f"'{row.get(address, '')}' is no address"))
            continue
        if not _whole(row):
            left_out["answer something that was not asked"] += 1
            continue
        pop = identify(row[site])
        if pop is None:
            nameless[row[site]] += 1
            continue
        told = row.get("source_address_asn", "")
        asn = int(told) if told.isascii() and told.isdigit() and int(told) else asn_of_address(seen)
        if asn is None:
            left_out["are of addresses whose network is not known (--prefixes FILE tells it)"] += 1
            continue
        landed[asn][pop] += 1
        latest[asn] = max(latest[asn], _seconds(row.get(time, "")))
    if problems:
        raise Invalid(problems[:_MOST])
    return Told(
        observations=tuple(_observation(asn, pops, latest[asn]) for asn, pops in sorted(landed.items())),
        notes=tuple(_notes(left_out, nameless, sum(len(pops) > 1 for pops in landed.values()))),
    )


def observations(
    landed: Mapping[int, Counter[str]], *, at: float, vantage: str = _ADDRESSES
) -> tuple[Observation, ...]:
    """One for each network, from how many of its addresses landed in each PoP. `vantage`: how many of how many, in
    words.
    """
    return tuple(_observation(asn, pops, at, vantage) for asn, pops in sorted(landed.items()))


def _observation(asn: int, pops: Counter[str], at: float, vantage: str = _ADDRESSES) -> Observation:
    pop, number = max(pops.items(), key=lambda one: (one[1], one[0]))
    return Observation(asn=asn, pop=pop, vantage=vantage.format(number, pops.total()), at=at)


def _notes(left_out: Counter[str], nameless: Counter[str], split: int) -> Iterator[str]:
    yield from (f"{number:,} rows {why}" for why, number in left_out.items())
    if nameless:
        common = ", ".join(f"{name[:40]} ({number:,})" for name, number in nameless.most_common(3))
        yield f"{nameless.total():,} rows are of sites that name no PoP: {common}; --map SITE=POP says what one means"
    if split:
        yield f"{split:,} networks landed in several PoPs: each counts where most of its addresses did"


def _whole(row: Mapping[str, str]) -> bool:
    """Whether an answer came from whom the packet had been sent to, where the table tells."""
    asked = row.get("meta_destination_address"), row.get("meta_source_address")
    return None in asked or asked == (row.get("source_address"), row.get("destination_address"))


def _address(text: str) -> str | None:
    """In the usual form; some tables have the number."""
    try:
        return str(ip_address(int(text) if text.isascii() and text.isdigit() else text))
    except ValueError:
        return None


def _seconds(text: str) -> float:
    """Since the epoch; 0 where it is no time."""
    try:
        return moment(float(text)) or 0.0
    except ValueError:
        return 0.0
