"""`anypop catchment observe --ping`: a list of addresses pinged from an anycast address, by way of control.

In: a file of addresses, the PoP that sends, the address. Out: observations, one for each network, where most of its
addresses landed. Asks control in pieces of some seconds, at the rate that the network document allows.
"""

import time
from collections import Counter, defaultdict
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from anypop.advice.measurement_files import Found
from anypop.advice.measurement_formats import Format
from anypop.advice.measurements import networks_of_prefixes
from anypop.cli.catchment.inputs import text_of
from anypop.cli.failure import usage
from anypop.model.announce import Address
from anypop.model.streams import MOST_PINGED
from anypop.routing.measured.verfploeter import observations

if TYPE_CHECKING:
    from anypop.cli.call import Call

PIECE_S, PATIENCE_S = 10, 120


def pinged(call: "Call", hitlist: Path, *, pop: str, address: str, prefixes: Path | None) -> Found:
    """What answered, where. Networks that `prefixes` does not know have the number 0, and are not kept."""
    try:
        source = ip_address(address)
    except ValueError:
        raise usage("--ping needs an anycast address", advice="Write --address 198.51.100.1.") from None
    if not pop:
        raise usage("--ping needs a PoP that sends", advice="Write --from LHR.")
    targets, left_out = _targets(text_of(hitlist, "addresses"), source)
    asn_of = networks_of_prefixes(text_of(prefixes, "prefixes"), str(prefixes)) if prefixes else lambda _: None
    rate = int(call.client.get("/anypop/v1/network", what="read the network").get("pings_per_s") or 0)
    piece = min(MOST_PINGED, max(rate, 1) * PIECE_S)
    landed: defaultdict[int, Counter[str]] = defaultdict(Counter)
    answered, deaf, unsent = 0, set[str](), 0
    for first in range(0, len(targets), piece):
        body = {"pop": pop, "address": str(source), "targets": list(map(str, targets[first : first + piece]))}
        told = call.client.call(
            "POST", "/anypop/v1/catchments", what="measure the catchment", body=body, patience_s=PATIENCE_S
        )
        deaf |= set(told["deaf"])
        unsent += int(told["unsent"])
        answered += len({row["target"] for row in told["results"]})
        for row in told["results"]:
            landed[asn_of(row["target"]) or 0][row["pop"]] += 1
        if len(targets) > piece:
            call.screen.note(f"{min(first + piece, len(targets)):,} of {len(targets):,} asked, {answered:,} answered")
    notes = [f"{answered:,} of {len(targets):,} addresses answered"]
    notes += [f"{left_out:,} lines are no addresses of IPv{source.version}"] if left_out else []
    notes += [f"{pop} has no way to {unsent:,} addresses"] if unsent else []
    notes += [f"not known is what came in at {', '.join(sorted(deaf))}: their agents did not listen"] if deaf else []
    return Found(
        format=Format.VERFPLOETER, observations=observations(landed, at=round(time.time())), notes=tuple(notes)
    )


def _targets(text: str, source: Address) -> tuple[list[Address], int]:
    """The last word of each line, as hitlists have it, and how many are none of this family."""
    found: dict[Address, None] = {}
    left_out = 0
    for line in text.splitlines():
        words = line.replace(",", " ").split()
        if not words or line.startswith("#"):
            continue
        try:
            one = ip_address(words[-1])
        except ValueError:
            left_out += 1
            continue
        if one.version == source.version:
            found[one] = None
        else:
            left_out += 1
    if not found:
        raise usage(f"no address of IPv{source.version} is in it", advice="Write one address in a line.")
    return list(found), left_out
