"""`anypop port-forward`: ports of this machine that lead to ports inside an instance.

In: an instance, pairs of ports. Out: sockets that listen here; for each connection a WebSocket to control, at whose end
the instance's host opens a connection inside the instance. It goes on until Ctrl-C, or until the instance is gone or
may be reached no longer. Of a workload the first instance that runs is taken.
"""

import contextlib
import json
import math
import selectors
import socket
import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from anypop.cli import attaching, watch
from anypop.cli.call import Call, command
from anypop.cli.failure import Exit, Failure, usage

if TYPE_CHECKING:
    from anypop.cli.websocket import WebSocket

LAST_PORT = 65535


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """`local` 0: any that is free."""

    local: int
    remote: int


def register(root: typer.Typer) -> None:
    """The command of this file, at the top level."""
    examples = """
    anypop port-forward web-eu1-lhr-0 8080:80
    anypop port-forward web 5432 :9090
    """
    command(root, "port-forward", examples=examples)(forward)


def forward(
    call: Call,
    name: Annotated[str, typer.Argument(metavar="INSTANCE", help="Its name; of a workload the first that runs.")],
    ports: Annotated[
        list[str],
        typer.Argument(
            metavar="[LOCAL:]PORT...", help="8080:80, or 80 for the same on both sides, or :80 for a free one."
        ),
    ],
    *,
    address: Annotated[str, typer.Option("--address", metavar="ADDRESS", help="Where to listen.")] = "127.0.0.1",
    container: Annotated[
        str, typer.Option("--container", "-c", metavar="NAME", help="One that has to run.", show_default=False)
    ] = "",
) -> None:
    """Reach a TCP port inside an instance from here, whatever is open to the world: each connection goes by control, is
    opened at the instance's loopback address, and stands in the audit log.
    """
    pairs = [pair_of(text) for text in ports]
    workload, instance = _instance(call, name)
    path = attaching.path_of(call, workload, instance, "port-forward")
    end = _End(call, workload, instance)
    with contextlib.ExitStack() as open_ones, selectors.DefaultSelector() as waiting:
        open_ones.callback(end.close)
        waiting.register(end.told, selectors.EVENT_READ, None)
        threading.Thread(target=end.watch, daemon=True).start()
        for pair in pairs:
            server = open_ones.enter_context(_listening(address, pair))
            waiting.register(server, selectors.EVENT_READ, pair)
            _say(call, server, instance, pair)
        while True:
            for key, _ in waiting.select():
                if key.data is None:
                    raise end.failure
                assert isinstance(key.fileobj, socket.socket), "registered above"
                here, _ = key.fileobj.accept()
                way = _Way(call, path, instance, key.data.remote, container)
                threading.Thread(target=way.carry, args=(here,), daemon=True).start()


def pair_of(text: str) -> Pair:
    """`8080:80`, `80`, `:80`. Raises a usage `Failure`."""
    first, colon, second = text.partition(":")
    numbers = [first or "0", second] if colon else [first, first]
    if not all(n.isascii() and n.isdigit() and len(n) < 6 and int(n) <= LAST_PORT for n in numbers) or not int(
        numbers[1]
    ):
        raise usage(f"'{text}' is no pair of ports", advice="Write 8080:80, 80, or :80 for a free one here.")
    return Pair(local=int(numbers[0]), remote=int(numbers[1]))


def _instance(call: Call, name: str) -> tuple[str, str]:
    workload, found = attaching.meant(call, name)
    if found == [name]:
        return workload, name
    rows = call.client.every(f"{call.workload_path(workload)}/instances", what=f"look for {name}")
    running = sorted(str(row.get("name")) for row in rows if row.get("phase") == "RUNNING")
    if not running:
        raise Failure(
            f"no instance of {name} runs", code=Exit.NOT_FOUND, advice=f"'anypop describe workload {name}' tells why."
        )
    return workload, running[0]


def _listening(address: str, pair: Pair) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        return socket.create_server((address, pair.local), family=family)
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or error
        raise usage(
            f"cannot listen at {address} port {pair.local}: {why}",
            advice=f"':{pair.remote}' takes a port that is free.",
        ) from error


def _say(call: Call, server: socket.socket, instance: str, pair: Pair) -> None:
    address, port = server.getsockname()[:2]
    told = {"address": address, "local": port, "instance": instance, "port": pair.remote}
    if call.screen.for_programs:
        sys.stdout.write(json.dumps(told) + "\n")
    else:
        call.screen.result(told, lambda: [f"{address} port {port} -> {instance} port {pair.remote}"])
    sys.stdout.flush()


class _End:
    """Control is asked all the while whether the instance is there and whoever asked may reach it. `told` can be read
    once it is over, and `failure` says why.
    """

    def __init__(self, call: Call, workload: str, instance: str) -> None:
        self._call, self._workload, self._instance = call, workload, instance
        self.told, self._tells = socket.socketpair()
        self.failure = Failure("")

    def close(self) -> None:
        self.told.close()
        self._tells.close()

    def watch(self) -> None:
        try:
            for rows in watch.states(self._call, self._workload, math.inf):
                if not any(row.get("name") == self._instance and not row.get("deletedAt") for row in rows):
                    raise Failure(f"{self._instance} is gone", code=Exit.NOT_FOUND)
        except Failure as failure:
            self.failure = failure
            self._tells.close()


@dataclass(frozen=True, slots=True)
class _Way:
    """From here to one port of one instance."""

    call: Call
    path: str
    instance: str
    port: int
    container: str

    def carry(self, here: socket.socket) -> None:
        """One connection, to its end. What goes wrong is told, and ends this one alone."""
        query = [("port", str(self.port))] + ([("container_name", self.container)] if self.container else [])
        what = f"reach port {self.port} of {self.instance}"
        with here:
            try:
                with self.call.client.socket(self.path, query, what=what) as there:
                    giving = threading.Thread(target=attaching.give, args=(there, here.recv), daemon=True)
                    giving.start()
                    _take(there, here)
            except Failure as failure:
                self.call.screen.note(*failure.lines())


def _take(there: "WebSocket", here: socket.socket) -> None:
    from websockets.exceptions import ConnectionClosed  # noqa: PLC0415 - see `Client.socket`

    with contextlib.suppress(ConnectionClosed, OSError):
        for frame in there:
            match frame[:1]:
                case b"\x01":
                    here.sendall(bytes(frame[1:]))  # type: ignore[arg-type]
                case b"\x05":
                    here.shutdown(socket.SHUT_WR)
