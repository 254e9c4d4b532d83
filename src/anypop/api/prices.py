"""/anypop/v1/quote and prices: what a workload would cost, and the book that says so.

In: a workload as for its creation, or a price book. Out: the price line by line, or the book. A quote creates nothing.
"""

import asyncio
import hashlib
import json
from typing import Annotated, Any

from fastapi import APIRouter, Depends

from anypop.api import shapes
from anypop.api.bodies import JsonObject, RawBody
from anypop.api.context import CallerAccount, OperatorAccount, PlatformDep
from anypop.api.documentation import answers
from anypop.api.models.prices import PriceBook, Quote
from anypop.api.models.workloads import WorkloadRequest
from anypop.control import declare
from anypop.model import limits
from anypop.model.names import StackId
from anypop.plan.parse import parse
from anypop.plan.price import BookText, as_data, quote, read_price_book
from anypop.plan.price import PriceBook as Book

router = APIRouter(prefix="/anypop/v1", tags=["prices"])


@router.post("/quote")
@answers(Quote)
async def quote_workload(
    _: CallerAccount,
    platform: PlatformDep,
    body: Annotated[dict[str, Any], Depends(JsonObject(WorkloadRequest, member="workload"))],
) -> Any:
    """Get the price of a workload that need not exist.

    It is parsed like a creation, and nothing is created. The answer also names what would have no effect.
    """
    made = parse(
        body,
        workload_id=declare.new_id(),
        stack_id=StackId("quote"),
        stack_slug="quote",
        cities=platform.cities(),
        rules=platform.rules(),
    )
    idle = [{"field": problem.path, "description": problem.message} for problem in made.unacted]
    return shapes.quoted(quote(made.workload, platform.prices)) | ({"without_effect": idle} if idle else {})


@router.get("/prices")
@answers(PriceBook)
async def get_prices(_: CallerAccount, platform: PlatformDep) -> dict[str, Any]:
    """Get the price book."""
    return _shown(platform.prices)


@router.put("/prices")
@answers(PriceBook)
async def replace_prices(
    _: OperatorAccount, platform: PlatformDep, body: Annotated[bytes, Depends(RawBody({"application/yaml": BookText}))]
) -> dict[str, Any]:
    """Replace the price book, for quotes from now on, and for what runs from now on."""
    text = body.decode("utf-8", "replace")
    book = read_price_book(text)
    limits.check(as_data(book))
    async with platform.pricing:  # of two at once the later one is in force, for quotes as for what runs
        await asyncio.to_thread(platform.metering.put_book, text, platform.clock())
        platform.prices = book
    return _shown(book)


def _shown(book: Book) -> dict[str, Any]:
    """With what tells it from any other."""
    data = as_data(book)
    return {"version": hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16], **data}
