"""A command or a port in an instance, for other commands: who is meant, the stream to it, and what goes into it.

In: an instance's name, words. Out: an open WebSocket with the frames of `model.streams`, or, for a command that is over
soon, its exit code. It shows nothing.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING
from urllib.parse import quote

from anypop.cli.call import Call
from anypop.cli.failure import Exit, Failure, usage
from anypop.model.streams import LARGEST_FRAME, Frame

if TYPE_CHECKING:
    from anypop.cli.websocket import WebSocket


def meant(call: Call, name: str) -> tuple[str, list[str]]:
    """The workload, and the names of the instances meant: all of a workload, or one."""
    workloads = call.client.every(f"{call.stack_path('workload')}/workloads", what=f"look for {name}")
    slugs = [str(w.get("slug")) for w in workloads]
    for slug in sorted((s for s in slugs if name == s or name.startswith(f"{s}-")), key=len, reverse=True):
        rows = call.client.every(f"{call.workload_path(slug)}/instances", what=f"look for {name}")
        found = [str(row.get("name")) for row in rows]
        if name == slug or name in found:
            return slug, sorted(found) if name == slug else [name]
    raise Failure(f"there is no workload or instance {name}", code=Exit.NOT_FOUND, advice="See: anypop workload list")


def one(call: Call, name: str) -> str:
    """The workload of the instance of that name. `Failure` where it is none."""
    workload, found = meant(call, name)
    if found != [name]:
        raise usage(f"{name} is a workload", advice=f"Name one of its instances: {', '.join(found)}")
    return workload


def path_of(call: Call, workload: str, instance: str, what: str) -> str:
    """`what`: exec, or port-forward."""
    return f"{call.workload_path(workload, 'anypop')}/instances/{quote(instance, safe='')}/{what}"


@contextmanager
def command(
    call: Call, workload: str, instance: str, words: Sequence[str], *, container: str = ""
) -> "Iterator[WebSocket]":
    """A command without a terminal."""
    query = [("command", word) for word in words] + ([("container_name", container)] if container else [])
    path = path_of(call, workload, instance, "exec")
    with call.client.socket(path, query, what=f"run '{words[0]}' in {instance}") as there:
        yield there


def give(there: "WebSocket", read: Callable[[int], bytes]) -> None:
    """What is read here goes there, piece by piece, and then its end. `read`: at most so many bytes; none: it is over,
    as it is where it can be read no more.
    """
    from websockets.exceptions import ConnectionClosed  # noqa: PLC0415 - see `Client.socket`

    with suppress(ConnectionClosed):
        with suppress(OSError):
            while piece := read(LARGEST_FRAME):
                there.send(bytes([Frame.INPUT]) + piece)
        there.send(bytes([Frame.END]))


def code_of(call: Call, workload: str, instance: str, words: Sequence[str], *, container: str = "") -> int:
    """The exit code of a command whose output is of no interest; -1 where it did not end by itself."""
    with command(call, workload, instance, words, container=container) as there:
        for frame in there:
            if isinstance(frame, bytes) and frame[:1] == bytes([Frame.EXIT]):
                return int(json.loads(frame[1:])["code"])
    return -1
