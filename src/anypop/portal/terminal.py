"""A terminal into a container, or the console of a virtual machine: its page, and the way from a browser's WebSocket to
the API's.

In: an instance; a WebSocket with the session's cookie. Out: a page; frames that go to and fro untouched. The API sees
the session's own token, and does with it what it does for the command line: role, tenant, audit, and the end with the
session. A browser lets any site open a WebSocket with our cookie, so one that does not say that it comes from here is
refused before anything is asked of the API.
"""

from urllib.parse import urlencode, urlsplit

from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from anypop.portal import cookies
from anypop.portal.calls import Api, Refused
from anypop.portal.visit import Page, Visit, asker
from anypop.portal.workload import declared_of, place

# bash where the image has it
SHELL = ("sh", "-c", "command -v bash >/dev/null 2>&1 && exec bash || exec sh")
PATH = "/portal/terminal"
SIDES = ("rows", "columns")
# what a server can do that answers with more than that there is none; and the code for those that cannot
DENIAL, NOT_ALLOWED = "websocket.http.response", 1008
CONSOLE = "console"
PLACE = ("stack", "workload", "instance")


async def page(visit: Visit) -> Response:
    """Raises `Refused` where there is no such instance, or whoever asks may only look."""
    stack, ref = place(visit)
    name = visit.request.path_params["instance"]
    if not visit.may_edit:
        raise Refused(403, "a terminal or a console needs the role of an editor")
    declared = await declared_of(visit)
    found = await visit.api.get("workload/v1/stacks", stack, "workloads", ref, "instances", name)
    instance = found["instance"]
    machines = instance.get("virtualMachines") or {}
    names = list(machines or instance.get("containers", {}))
    wanted = visit.request.query_params.get("container", "")
    container = wanted if wanted in names else next(iter(names), "")
    query = {"stack": stack, "workload": declared["id"], "instance": instance["name"], "container": container}
    query |= {CONSOLE: "true"} if machines else {}
    return visit.page(
        "terminal.html",
        own_styles=True,
        stack=stack,
        workload=declared,
        instance=instance,
        containers=names,
        container=container,
        console=bool(machines),
        query=urlencode(query),
    )


class Terminal:
    """The WebSocket."""

    def __init__(self, api: ASGIApp) -> None:
        self._api = api

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        socket = WebSocket(scope, receive, send)
        try:
            inner = _asked(socket, self._api)
        except Refused as refused:
            await receive()  # the question for a connection, which is answered as a request is
            if DENIAL in scope.get("extensions", {}):
                await socket.send_denial_response(PlainTextResponse(refused.message, status_code=refused.status))
            else:
                await socket.close(NOT_ALLOWED, refused.message)
            return
        await self._api(inner, receive, send)


def _asked(socket: WebSocket, api: ASGIApp) -> Scope:
    """The question as the API takes it. Raises `Refused`."""
    token = socket.cookies.get(cookies.SESSION, "")
    if not is_from_here(socket):
        raise Refused(403, "this was opened by a page of another site, and is refused")
    if not token:
        raise Refused(401, "sign in first")
    query = socket.query_params
    stack, workload, instance = (query.get(name, "") for name in PLACE)
    what, asked = "exec", {"command": SHELL, "tty": "true"} | {name: query[name] for name in SIDES if name in query}
    if query.get(CONSOLE) == "true":  # it has no size: a serial port knows none
        what, asked = "console", {}
    asked["container_name"] = query.get("container", "")
    own = Api(app=api, asker=asker(socket, token))
    path = ("anypop/v1/stacks", stack, "workloads", workload, "instances", instance, what)
    return own.socket(*path, query=asked, extensions=socket.scope.get("extensions", {}))


def is_from_here(socket: HTTPConnection) -> bool:
    """A browser says of each WebSocket where the page is from that opens it (RFC 6455, section 4.1)."""
    if socket.headers.get("sec-fetch-site", "same-origin") != "same-origin":
        return False
    origin = urlsplit(socket.headers.get("origin", ""))
    return origin.scheme == "https" and bool(origin.netloc) and origin.netloc == socket.headers.get("host")


PAGES: tuple[tuple[str, str, Page], ...] = (
    ("GET", "/portal/stacks/{stack}/workloads/{workload}/terminal/{instance}", page),
)
