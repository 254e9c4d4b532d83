"""Which part of a log that only grows is asked for, out of a query: for events and for the audit log.

In: the parameters of a request. Out: an `Excerpt` for the store.
"""

from typing import Annotated

from fastapi import Depends, Query

from anypop.api.parameters import whole
from anypop.control.excerpt import Excerpt
from anypop.model.limits import LONGEST_NAME

DEFAULT, MOST = 100, 1000


async def excerpt_of(
    *,
    limit: Annotated[int, whole(15, default=DEFAULT), Query(description=f"how many; at most {MOST}", ge=0)] = DEFAULT,
    after: Annotated[int, whole(15), Query(description="only those with a higher id", ge=0)] = 0,
    before: Annotated[int, whole(15), Query(description="only those with a lower id", ge=0)] = 0,
    first: Annotated[bool, Query(description="the oldest of those that fit, not the newest")] = False,
    text: Annotated[
        str, Query(description="only those with this text, in any case of its letters", max_length=LONGEST_NAME)
    ] = "",
) -> Excerpt:
    return Excerpt(after=after, before=before, limit=min(limit, MOST), first=first, text=text)


ExcerptDep = Annotated[Excerpt, Depends(excerpt_of)]
