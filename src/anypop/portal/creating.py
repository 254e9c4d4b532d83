"""The page that makes a workload: four steps, all to be seen at once, with the price beside them.

In: the form, again after each click. Out: the page; its price and the same as a call, a command and YAML; the plan,
with the button behind it; and at last the workload. Prices, plans and refusals are the API's: quote, plan, create.
"""

from typing import Any

from starlette.responses import Response

from anypop.portal import declaring, planned_landings, world
from anypop.portal.calls import Problem, Refused
from anypop.portal.declaring import Wish
from anypop.portal.terraform import as_terraform
from anypop.portal.visit import Form, Visit

# which field of the form a problem of the API belongs to, by the beginning or the end of its path
_FIELDS = (
    ("image", "image"),
    ("userData", "user-data"),
    ("sshKeys", "ssh-keys"),
    ("ports", "ports"),
    ("env", "env"),
    ("targets", "city"),
    ("slug", "name"),
    ("name", "name"),
)


async def empty(visit: Visit) -> Response:
    return await _page(visit)


async def look(visit: Visit) -> Response:
    """The price, and the same in other words, after each change. What is not there yet is no mistake: it is asked for
    where a price needs it.
    """
    _, cities, book = await _world(visit)
    made = declaring.wish(visit.form)
    shown = _shown(visit, made, cities, book)
    quote, problems = await _quote(visit, made, shown["document"])
    return visit.page("look.html", wish=made, book=book, quote=quote, problems=problems, **shown)


async def _quote(visit: Visit, wish: Wish, document: Any) -> tuple[Any, tuple[Problem, ...]]:
    """The price as far as there can be one: a workload without a name or an image costs what it costs with them."""
    if not wish.replicas:
        return None, ()
    priced = {**document, "name": wish.name or "workload", "slug": "workload"}
    # a virtual machine costs what a container of its size does, and its image may not be there yet
    (unit,) = declaring.units(document).values()
    plain = {key: unit[key] for key in ("resources", "ports", "env") if key in unit}
    spec = {key: value for key, value in document["spec"].items() if key != "virtualMachines"}
    priced["spec"] = {
        **spec,
        "containers": {"app": {**plain, "image": "image" if wish.machine else wish.image or "image"}},
    }
    try:
        return await visit.api.send("POST", "anypop/v1/quote", body={"workload": priced}), ()
    except Refused as refused:
        return None, refused.problems or (Problem(field="", says=refused.message),)


async def plan(visit: Visit) -> Response:
    """What would happen, and the button that makes it happen; with the price of the same form, since a look that was on
    its way makes room for it.
    """
    _, cities, book = await _world(visit)
    made = declaring.wish(visit.form)
    shown = _shown(visit, made, cities, book)
    refused = _unsaid(made)
    planned = None
    if refused is None:
        try:
            stack = visit.request.path_params["stack"]
            body = {"workload": shown["document"]}
            planned = await visit.api.send("POST", "anypop/v1/stacks", stack, "plan", body=body)
            if planned["action"] != "create":
                taken = Problem(field="slug", says=f"{made.name} is there already: choose another name")
                planned, refused = None, Refused(409, "The name is taken.", (taken,))
        except Refused as error:
            refused = error
    places = {one["cityCode"]: one for one in cities}
    quote, problems = await _quote(visit, made, shown["document"])
    return visit.page(
        "plan.html",
        wish=made,
        book=book,
        quote=quote,
        problems=problems,
        planned=planned,
        refused=_by_field(refused),
        places=places,
        cities=_cities(planned),
        **shown,
    )


async def plan_landings(visit: Visit) -> Response:
    """Where every network would land if it were created."""
    _, cities, book = await _world(visit)
    shown = _shown(visit, declaring.wish(visit.form), cities, book)
    return await planned_landings.part(visit, {"workload": shown["document"]})


def _cities(planned: Any) -> dict[str, int]:
    """How many instances each city would get; the names end with the city and the number."""
    found: dict[str, int] = {}
    for name in planned["created"] if planned else ():
        code = str(name).rsplit("-", 2)[1].upper()
        found[code] = found.get(code, 0) + 1
    return found


async def create(visit: Visit) -> Response:
    _, cities, book = await _world(visit)
    made = declaring.wish(visit.form)
    refused = _unsaid(made)
    if refused is None:
        stack = visit.request.path_params["stack"]
        body = {"workload": _shown(visit, made, cities, book)["document"]}
        try:
            answer = await visit.api.send("POST", "workload/v1/stacks", stack, "workloads", body=body)
            return visit.to(f"/portal/stacks/{stack}/workloads/{answer['workload']['slug']}", done="created")
        except Refused as error:
            refused = error
    return await _page(visit, refused=refused)


async def _page(visit: Visit, *, refused: Refused | None = None) -> Response:
    continents, cities, book = await _world(visit)
    form = visit.form if refused is not None else _suggested(book)
    made = declaring.wish(form)
    shown = _shown(visit, made, cities, book)
    quote, _ = await _quote(visit, made, shown["document"]) if refused is not None else (None, ())
    return visit.page(
        "create.html",
        status=refused.status if refused is not None else 200,
        form=form,
        wish=made,
        refused=_by_field(refused),
        continents=continents,
        images=await images(visit),
        marks=world.marks(cities),
        book=book,
        quote=quote,
        problems=(),
        planned=None,
        places={},
        cities={},
        **shown,
    )


async def images(visit: Visit) -> list[str]:
    """What a virtual machine of this stack may be made from: each family, which means its newest, and each tag."""
    stack = visit.request.path_params["stack"]
    found = await visit.api.get("workload/v1/stacks", stack, "images", **{"page_request.first": 1000})
    ready = [str(one["reference"]) for one in found["results"] if one.get("status") == "READY"]
    return [*dict.fromkeys(one.partition(":")[0] for one in ready), *ready]


def _suggested(book: Any) -> Any:
    names = [size["name"] for size in book["sizes"]]
    size = declaring.SUGGESTED if declaring.SUGGESTED in names else names[0]
    return Form([("size", size), ("ports", "80"), ("anycast", "on")])


async def _world(visit: Visit) -> tuple[dict[str, list[Any]], list[Any], Any]:
    """Cities by continent, all of them, and the prices."""
    found = await visit.api.get("workload/v1/locations", **{"page_request.first": 10_000})
    book = await visit.api.get("anypop/v1/prices")
    cities = sorted(found["results"], key=lambda one: str(one.get("city", "")))
    continents: dict[str, list[Any]] = {}
    for one in cities:
        continents.setdefault(str(one.get("continent", "Elsewhere")), []).append(one)
    return dict(sorted(continents.items())), cities, book


def _shown(visit: Visit, wish: Wish, cities: list[Any], book: Any) -> dict[str, Any]:
    stack = visit.request.path_params["stack"]
    codes = {one["cityCode"]: str(one.get("continentCode", "any")) for one in cities}
    made = declaring.document(wish, book["sizes"], codes)
    host = visit.request.headers.get("host", "control")
    return {
        "stack": stack,
        "document": made,
        "as_call": declaring.as_call(made, host=host, stack=stack),
        "as_command": declaring.as_command(wish, codes),
        "as_yaml": declaring.as_yaml(made),
        "as_terraform": as_terraform(made),
    }


def _unsaid(wish: Wish) -> Refused | None:
    """What the form does not say, all of it at once."""
    missing = {
        "name": "" if wish.name else "give it a name",
        "image": "" if wish.image else "say which image it runs",
        "city": "" if wish.replicas else "choose at least one city",
        **wish.wrong,
    }
    problems = tuple(Problem(field=field, says=says) for field, says in missing.items() if says)
    return Refused(400, "Something is missing, or cannot be read.", problems) if problems else None


def _by_field(refused: Refused | None) -> dict[str, Any] | None:
    """The message, and each problem with the field of the form that it is about (empty: none of them)."""
    if refused is None:
        return None
    return {
        "message": refused.message,
        "status": refused.status,
        "problems": [(_field(problem.field), problem.field, problem.says) for problem in refused.problems],
    }


def _field(path: str) -> str:
    parts = path.replace("[", ".").split(".")
    return next((field for word, field in _FIELDS if word in parts), path if path in ("city", "env", "secrets") else "")
