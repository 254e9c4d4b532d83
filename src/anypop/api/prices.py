"""/anypop/v1/quote and prices: what a workload would cost, and the book that says so.

In: a workload as for its creation, or a price book. Out: the price line by line, or the book. A quote creates nothing.
"""

import asyncio
from typing import Any

from fastapi import APIRouter, Request

from anypop.api.bodies import Body, member, raw_body
from anypop.api.context import CallerAccount, OperatorAccount, PlatformDep
from anypop.control import declare
from anypop.model import codec
from anypop.model.names import StackId
from anypop.plan.parse import parse
from anypop.plan.price import as_data, quote, read_price_book

router = APIRouter(prefix="/anypop/v1")


@router.post("/quote")
async def quoted(_: CallerAccount, platform: PlatformDep, body: Body) -> Any:
    """The price of a workload that need not exist: parsed like a creation, and nothing is created. With it, what would have no effect."""
    made = parse(
        member(body, "workload"), workload_id=declare.new_id(), stack_id=StackId("quote"), stack_slug="quote", cities=platform.cities()
    )
    idle = [{"field": problem.path, "description": problem.message} for problem in made.unacted]
    return codec.to_data(quote(made.workload, platform.prices)) | ({"without_effect": idle} if idle else {})


@router.get("/prices")
async def prices(_: CallerAccount, platform: PlatformDep) -> dict[str, Any]:
    return as_data(platform.prices)


@router.put("/prices")
async def put_prices(request: Request, _: OperatorAccount, platform: PlatformDep) -> dict[str, Any]:
    """Replace the price book. The body is YAML, as `plan/pricebook.yaml`."""
    text = (await raw_body(request)).decode("utf-8", "replace")
    book = read_price_book(text)
    await asyncio.to_thread(platform.core.store.put_setting, "price_book", text)
    platform.prices = book
    return as_data(book)
