"""`anypop catchment observe --from-traffic`: what the PoPs' own traffic has told control, into a history.

In: control's catchments, a table of whose each prefix is. Out: for each announcement the observations, in place of
those of the last time.
"""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from anypop.advice import history, plans
from anypop.advice.measurements import by_pop, networks_of_prefixes
from anypop.cli.catchment.inputs import text_of
from anypop.cli.failure import usage
from anypop.routing.catchment.observations import Observation
from anypop.routing.measured import traffic

if TYPE_CHECKING:
    from anypop.cli.call import Call

_PATH, _WHAT = "/anypop/v1/catchments", "read what traffic told"


def kept_traffic(call: "Call", folder: Path, prefixes: Path | None) -> None:
    """Keep it, and say how much it is."""
    if prefixes is None:
        raise usage("--from-traffic tells prefixes", advice="--prefixes pfx2as.txt says whose each is.")
    asn_of = networks_of_prefixes(text_of(prefixes, "prefixes"), str(prefixes))
    listed = call.client.get(_PATH, what=_WHAT)["results"]
    together: dict[str, list[dict[str, object]]] = {}  # prefixes that are announced alike, IPv4 and IPv6
    for row in sorted(listed, key=lambda row: str(row["begun_at"])):
        if row["sources"]:
            together.setdefault(str(row["plan"]), []).append(row)
    if not together:
        call.screen.note("no traffic was looked at: sampled_flows of the network document has hosts do so")
    rows = []
    for plan, those in together.items():
        landed: dict[str, list[str]] = {}
        for row in those:
            for part in call.client.get(f"{_PATH}/{row['id']}", what=_WHAT)["landed"]:
                landed.setdefault(str(part["pop"]), []).extend(map(str, part["sources"]))
        begun = datetime.fromisoformat(min(str(row["first_at"]) for row in those)).timestamp()
        told = traffic.read(landed, asn_of_prefix=asn_of, at=begun)
        for line in told.notes:
            call.screen.note(line)
        rows.append(_kept(folder, plan, those, told.observations, begun))
    call.screen.result(rows, lambda: [_line(row) for row in rows])


def _kept(
    folder: Path, plan: str, those: list[dict[str, object]], seen: tuple[Observation, ...], begun: float
) -> dict[str, object]:
    announced = plans.read(plan, "a plan of control's")
    try:
        file, number = history.keep_traffic(folder, announced, seen, begun=begun)
    except OSError as error:
        raise usage(f"{folder} cannot be written: {error.strerror}", advice="Name a folder with --history.") from error
    prefixes = [str(row["prefix"]) for row in those]
    return {"file": str(file), "prefixes": prefixes, "read": len(seen), "kept": number, "pops": by_pop(seen)}


def _line(row: dict[str, object]) -> str:
    return f"{row['read']:,} networks under one announcement; {row['kept']:,} observations in {row['file']}"
