"""What it costs: this month so far and at its end, by workload and PoP; and the price book, which the operator changes.

In: a month; a form. Out: the pages, of the API's own figures: nothing is reckoned here but shares for bars. A book that
is changed holds from now on; what is past keeps its price.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from starlette.responses import Response

from anypop.portal import price_form
from anypop.portal.access.asked import is_operator
from anypop.portal.calls import Refused
from anypop.portal.visit import Page, Visit

BASE = "/portal/costs"
PRICES = f"{BASE}/prices"
API = "anypop/v1/costs"
MOST_ROWS = 50  # of workloads, the dearest; what the others cost is in the sums


async def page(visit: Visit) -> Response:
    month = visit.request.query_params.get("month", "")
    found = await visit.api.get(API, dearest=MOST_ROWS, **({"month": month} if month else {}))
    locations = await visit.api.get("workload/v1/locations", **{"page_request.first": 1000})
    cities = {one["cityCode"]: one.get("city", one["cityCode"]) for one in locations["results"]}
    book = await visit.api.get("anypop/v1/prices")
    total = found["total"]["forecast"]
    currency = max(total, key=lambda c: total[c], default=book["currency"])
    rows = sorted(found["results"], key=lambda one: -one["forecast"].get(currency, 0))
    begin = datetime.fromisoformat(found["since"])
    over = found["until"] == found["ends"]
    return visit.page(
        "costs.html",
        costs=found,
        begin=begin,
        over=over,
        rows=rows,
        left=found["count"] - len(rows),
        most=max((one["forecast"].get(currency, 0) for one in rows), default=0),
        most_pop=max((one["forecast"].get(currency, 0) for one in found["pops"]), default=0),
        currency=currency,
        cities=cities,
        days_left=_days(found),
        earlier=f"{(begin - timedelta(days=1)):%Y-%m}",
        later=f"{(begin + timedelta(days=32)):%Y-%m}" if over else "",
        book=book,
        plain=price_form.PLAIN,
        operator=is_operator(visit),
        done="changed" if visit.request.query_params.get("done") == "changed" else "",
    )


def _days(found: Mapping[str, Any]) -> float:
    left = datetime.fromisoformat(found["ends"]) - datetime.fromisoformat(found["until"])
    return left / timedelta(days=1)


async def prices(visit: Visit) -> Response:
    """The form, of the operator alone."""
    if not is_operator(visit):
        raise Refused(403, "The price book is the operator's to change")
    book = await visit.api.get("anypop/v1/prices")
    return _form(visit, price_form.fields(book), known=book["version"])


def _form(visit: Visit, shown: Mapping[str, Any], *, known: str, refused: Refused | None = None) -> Response:
    return visit.page(
        "prices.html",
        status=refused.status if refused is not None else 200,
        refused=refused,
        shown=shown,
        plain=price_form.PLAIN,
        known=known,
    )


async def change(visit: Visit) -> Response:
    """Put another book in force, from now on."""
    shown = price_form.read(visit.form)
    book = await visit.api.get("anypop/v1/prices")
    if visit.form.get("known", "") != book["version"]:
        said = Refused(
            409, "Somebody has changed the prices since this page was loaded. Look at them, and send it again"
        )
        return _form(visit, shown, known=book["version"], refused=said)
    try:
        await visit.api.send("PUT", "anypop/v1/prices", body=price_form.document(shown))
    except Refused as refused:
        return _form(visit, shown, known=book["version"], refused=refused)
    return visit.to(BASE, done="changed")


PAGES: tuple[tuple[str, str, Page], ...] = (
    ("GET", BASE, page),
    ("GET", PRICES, prices),
    ("POST", PRICES, change),
)
