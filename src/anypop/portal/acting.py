"""A form that becomes one operation of the API, and the page after it.

In: a visit with its form, and the operation that it means. Out: the page with what was done; or the page again with the
API's words, where it refused. What nobody may undo unawares was asked before.
"""

from collections.abc import Awaitable, Callable

from starlette.responses import Response

from anypop.portal.calls import Refused
from anypop.portal.visit import Visit

# shows the page again, with `refused` or with what is told this once
Shown = Callable[..., Awaitable[Response]]


async def did(visit: Visit, page: Shown, after: Response, method: str, *call: str, body: object = None) -> Response:
    """One operation, then `after`, which says what was done."""
    try:
        await visit.api.send(method, *call, body=body)
    except Refused as refused:
        return await page(visit, refused=refused)
    return after
