"""/anypop/v1/communities: the dictionaries of action communities that come with Anypop.

In: an AS number, or none. Out: its entries, or the networks that have a dictionary.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import BeforeValidator

from anypop.api.context import CallerAccount
from anypop.api.documentation import answers
from anypop.api.models.platform import CommunityDictionary, Dictionaries
from anypop.routing import dictionary
from anypop.routing.dictionary import for_asn, known_asns

router = APIRouter(prefix="/anypop/v1", tags=["communities"])


def _asn(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 10 or not 0 < int(text) < 1 << 32:
        raise ValueError("must be an AS number, 1 to 4294967295")
    return int(text)


@router.get("/communities")
@answers(Dictionaries)
async def list_dictionaries(_: CallerAccount) -> dict[str, Any]:
    """List the networks that have a dictionary of action communities."""
    known = [for_asn(asn) for asn in known_asns()]
    return {"results": [{"asn": d.asn, "name": d.name, "entries": len(d.entries)} for d in known]}


@router.get("/communities/{asn}")
@answers(CommunityDictionary)
async def get_dictionary(
    _: CallerAccount, asn: Annotated[int, BeforeValidator(_asn), Path(description="an AS number")]
) -> dict[str, Any]:
    """Get the communities that a network acts on; of a network without a dictionary, the well-known ones."""
    return dictionary.as_data(for_asn(asn))
