"""/anypop/v1/communities: the dictionaries of action communities that come with Anypop.

In: an AS number, or none. Out: its entries, or the networks that have a dictionary.
"""

from typing import Any

from fastapi import APIRouter

from anypop.api.context import CallerAccount
from anypop.model.errors import Invalid
from anypop.routing import dictionary
from anypop.routing.dictionary import for_asn, known_asns

router = APIRouter(prefix="/anypop/v1")


@router.get("/communities")
async def all_communities(_: CallerAccount) -> dict[str, Any]:
    return {"results": [{"asn": asn, "name": for_asn(asn).name, "entries": len(for_asn(asn).entries)} for asn in known_asns()]}


@router.get("/communities/{asn}")
async def communities(asn: str, _: CallerAccount) -> dict[str, Any]:
    if not asn.isascii() or not asn.isdigit() or len(asn) > 10 or not 0 < int(asn) < 1 << 32:
        raise Invalid.one("asn", "must be an AS number, 1 to 4294967295")
    return dictionary.as_data(for_asn(int(asn)))
