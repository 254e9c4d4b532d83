"""Receivers of logs and traces, of a stack and of the whole platform: which there are, how they fare, and forms to add,
change and remove one.

In: forms. Out: the page, and the API's own list with one entry put in, changed or taken out. Hosts are asked how they
fare in a part of its own, so that a silent one keeps no page waiting. A secret goes to the API and never comes back. A
receiver that somebody else changed meanwhile is not overwritten.
"""

from collections.abc import Callable, Mapping
from typing import Any

from starlette.responses import Response

from anypop.portal.access.asked import is_operator, typed
from anypop.portal.acting import did
from anypop.portal.calls import Refused
from anypop.portal.logs import LEVELS
from anypop.portal.look import mark
from anypop.portal.visit import Form, Page, Visit

OF_STACK, OF_PLATFORM = "/portal/stacks/{stack}/logs/receivers", "/portal/receivers"
KINDS = {"syslog": "syslog", "loki": "Loki", "otlp": "OTLP, lines", "otlp-traces": "OTLP, traces of deployments"}
SENT_BACK = ("name", "kind", "address", "level", "tenant", "ca")
MOST_HOSTS = 50
DONE = {
    "added": "Lines go there from now on.",
    "changed": "It is changed.",
    "removed": "Nothing is sent there any more.",
}

Sink = Mapping[str, Any]


async def page(visit: Visit, *, refused: Refused | None = None) -> Response:
    """Without the receivers themselves: these are a part of it."""
    _call(visit)
    return visit.page(
        "log_sinks.html",
        status=refused.status if refused is not None else 200,
        refused=refused,
        done=DONE.get(visit.request.query_params.get("done", ""), ""),
        at=_here(visit),
        of=visit.request.path_params.get("stack", ""),
        may=visit.may_edit,
        operator=is_operator(visit),
        kinds=KINDS,
        levels=LEVELS,
        kept=visit.form if refused is not None and visit.request.url.path == _here(visit) else {},
    )


async def part(visit: Visit) -> Response:
    """Each receiver with what was sent and lost, and its forms."""
    found = await visit.api.get(*_call(visit))
    return visit.page(
        "log_sinks_part.html",
        sinks=[{**one, **_fares(one), "mark": _mark(one)} for one in found["sinks"]],
        at=_here(visit),
        may=visit.may_edit,
        kinds=KINDS,
        levels=LEVELS,
    )


def _fares(sink: Sink) -> dict[str, Any]:
    """Sums of all who send, and those of them who say something is amiss, or nothing at all."""
    rows = sink["hosts"]
    troubled = [one for one in rows if one["message"]]
    return {
        **{name: sum(one.get(name, 0) for one in rows) for name in ("sent", "lost", "behind_bytes")},
        "senders": len(rows),
        "silent": sum("sent" not in one for one in rows),
        "troubled": troubled[:MOST_HOSTS],
        "more": len(troubled[MOST_HOSTS:]),
    }


async def add(visit: Visit) -> Response:
    name = visit.form.get("name", "").strip()

    def added(sinks: list[Sink]) -> list[Sink]:
        if any(one["name"] == name for one in sinks):
            raise Refused(409, f"There is a receiver {name} already: change that one, or take another name")
        return [*sinks, _read(visit.form, name)]

    return await _replaced(visit, added, "added")


async def change(visit: Visit) -> Response:
    name = visit.form.get("name", "")

    def changed(sinks: list[Sink]) -> list[Sink]:
        _same(visit, sinks, name)
        return [_read(visit.form, name) if one["name"] == name else one for one in sinks]

    return await _replaced(visit, changed, "changed")


async def remove(visit: Visit) -> Response:
    name = visit.form.get("name", "")
    if wrong := typed(visit, name, what="send nothing there any more"):
        return await page(visit, refused=wrong)

    def removed(sinks: list[Sink]) -> list[Sink]:
        _same(visit, sinks, name)
        return [one for one in sinks if one["name"] != name]

    return await _replaced(visit, removed, "removed")


async def _replaced(visit: Visit, made: Callable[[list[Sink]], list[Sink]], word: str) -> Response:
    """The list as it is now, with one thing done to it."""
    found = await visit.api.get(*_call(visit))
    try:
        sinks = made(found["sinks"])
    except Refused as refused:
        return await page(visit, refused=refused)
    body = {"sinks": [{name: one[name] for name in (*SENT_BACK, "authorization") if name in one} for one in sinks]}
    return await did(visit, page, visit.to(_here(visit), done=word), "PUT", *_call(visit), body=body)


def _same(visit: Visit, sinks: list[Sink], name: str) -> None:
    """Raises `Refused` where it is another by now than the form was made from."""
    if visit.form.get("known", "") not in [_mark(one) for one in sinks if one["name"] == name]:
        raise Refused(409, f"Somebody has changed {name} since this page was loaded. Look at it, and do it once more")


def _mark(sink: Sink) -> str:
    return mark([sink.get(name) for name in (*SENT_BACK, "authorized")])


def _read(form: Form, name: str) -> Sink:
    """A receiver as the API takes it. An authorization that is left empty is kept, unless it is to go."""
    sink: dict[str, Any] = {
        "name": name,
        "kind": form.get("kind", ""),
        "address": form.get("address", "").strip(),
        "tenant": form.get("tenant", "").strip(),
        "ca": form.get("ca", "").strip(),
    }
    if level := form.get("level", ""):
        sink["level"] = level
    if secret := form.get("authorization", "").strip():
        sink["authorization"] = secret
    elif form.get("drop", ""):
        sink["authorization"] = ""
    return sink


def _call(visit: Visit) -> tuple[str, ...]:
    """The list of the API. Raises `Refused` where it is not for whoever looks."""
    stack = visit.request.path_params.get("stack", "")
    if not stack and not visit.who.get("operator"):
        raise Refused(403, "The platform's own receivers are for the operator")
    return ("anypop/v1/stacks", stack, "log-sinks") if stack else ("anypop/v1/log-sinks",)


def _here(visit: Visit) -> str:
    stack = visit.request.path_params.get("stack", "")
    return OF_STACK.format(stack=stack) if stack else OF_PLATFORM


PAGES: tuple[tuple[str, str, Page], ...] = tuple(
    (method, f"{at}{rest}", endpoint)
    for at in (OF_STACK, OF_PLATFORM)
    for method, rest, endpoint in (
        ("GET", "", page), ("GET", "/state", part), ("POST", "", add), ("POST", "/change", change),
        ("POST", "/remove", remove),
    )
)  # fmt: skip
