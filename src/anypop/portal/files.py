"""The files that pages need: scripts, styles, coastlines; read once, compressed once.

In: the package's folder. Out: an address for each that changes with its content, so that a browser may keep it for
ever. Nothing else on disk can be reached by it.
"""

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response

from anypop.portal import shields
from anypop.portal.calls import Refused

TYPES = {
    "portal.js": "text/javascript",
    "portal.css": "text/css",
    "logs.js": "text/javascript",
    "logs.css": "text/css",
    "charts.js": "text/javascript",
    "charts.css": "text/css",
    "terminal.js": "text/javascript",
    "terminal.css": "text/css",
    "land.svg": "image/svg+xml",
    "mark.svg": "image/svg+xml",
    "licenses.txt": "text/plain",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    address: str
    content: bytes
    packed: bytes


@cache
def file(name: str) -> File:
    content = files("anypop.portal").joinpath("assets", name).read_bytes()
    digest = hashlib.sha256(content).hexdigest()[:12]
    return File(address=f"/portal/files/{name}?v={digest}", content=content, packed=gzip.compress(content, 9, mtime=0))


def address(name: str) -> str:
    return file(name).address


async def serve(request: Request) -> Response:
    """Raises `Refused`."""
    name = request.path_params["name"]
    if name not in TYPES:
        raise Refused(404, "there is no such file")
    found = file(name)
    headers = {**shields.of_file(), "vary": "accept-encoding"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(found.packed, media_type=TYPES[name], headers={**headers, "content-encoding": "gzip"})
    return Response(found.content, media_type=TYPES[name], headers=headers)
