"""`anypop log-sink`: where lines of logs are sent, of a stack or, for operators, of the whole platform.

In: a receiver's name, kind and address; files for what is secret or long. Out: requests of the API, and a table of what
each host has sent. A secret is read from a file or standard input, never from the command line, and never shown.
"""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from anypop.cli import views
from anypop.cli.call import Call, command
from anypop.cli.failure import Exit, Failure, usage
from anypop.cli.options import Yes
from anypop.cli.table import Column, Table

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Where lines of logs are sent.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="What it is called.")]
Platform = Annotated[bool, typer.Option("--platform", help="Of the whole platform, in place of the stack (operators).")]


@command(app, "list", examples="anypop log-sink list\nanypop log-sink list --platform -o json")
def list_sinks(call: Call, *, platform: Platform = False) -> None:
    """The receivers, and what each host has sent, lost and holds back."""
    found = call.client.get(_path(call, platform=platform), what="list log sinks")["sinks"]
    call.screen.result(found, lambda: [_table(found)])


@command(
    app,
    "set",
    examples="""
    anypop log-sink set central tls://logs.example.net:6514
    anypop log-sink set loki https://loki.example.net/loki/api/v1/push --kind loki --tenant me --authorization-file -
    anypop log-sink set all http://10.0.0.9:4318/v1/logs --kind otlp --level warning --platform
    anypop log-sink set traces https://otel.example.net/v1/traces --kind otlp-traces
    """,
)
def set_sink(
    call: Call,
    name: Name,
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="tls://, tcp://, udp://, or a URL.")],
    *,
    kind: Annotated[str, typer.Option("--kind", metavar="KIND", help="syslog, loki, otlp, or otlp-traces.")] = "syslog",
    level: Annotated[
        str, typer.Option("--level", metavar="warning", help="At least; lines that tell none go too.")
    ] = "",
    tenant: Annotated[str, typer.Option("--tenant", metavar="ID", help="Of Loki.")] = "",
    authorization_file: Annotated[
        str, typer.Option("--authorization-file", metavar="FILE", help="Holds the value of that header; -: from here.")
    ] = "",
    ca: Annotated[
        Path | None, typer.Option("--ca", metavar="FILE", help="Whose certificates count, as PEM.", dir_okay=False)
    ] = None,
    platform: Platform = False,
) -> None:
    """Send lines there from now on; one of that name is replaced, and keeps its authorization at the same address."""
    sink: dict[str, Any] = {"name": name, "kind": kind, "address": address, "tenant": tenant}
    if level:
        sink["level"] = level
    if authorization_file:
        sink["authorization"] = _read(authorization_file).strip()
    if ca is not None:
        sink["ca"] = _read(str(ca))
    path = _path(call, platform=platform)
    others = [one for one in _known(call, path) if one["name"] != name]
    found = call.client.call("PUT", path, what=f"set log sink {name}", body={"sinks": [*others, sink]})["sinks"]
    call.screen.result(found, lambda: [_table(found)])


@command(app, "remove", examples="anypop log-sink remove central --yes")
def remove_sink(call: Call, name: Name, *, platform: Platform = False, yes: Yes = False) -> None:
    """Send nothing there any more."""
    path = _path(call, platform=platform)
    known = _known(call, path)
    left = [one for one in known if one["name"] != name]
    if len(left) == len(known):
        raise Failure(f"there is no log sink {name}", code=Exit.NOT_FOUND, advice="See: anypop log-sink list")
    call.screen.agree(f"Send no more lines to {name}?", yes=yes)
    call.client.call("PUT", path, what=f"remove log sink {name}", body={"sinks": left})
    call.screen.result({"name": name, "removed": True}, lambda: [f"nothing is sent to {name} any more"])


def _path(call: Call, *, platform: bool) -> str:
    return "/anypop/v1/log-sinks" if platform else f"{call.stack_path('anypop')}/log-sinks"


def _known(call: Call, path: str) -> list[dict[str, Any]]:
    """As they are sent back: their authorizations stay, since none is given."""
    kept = ("name", "kind", "address", "level", "tenant", "ca")
    found = call.client.get(path, what="list log sinks")["sinks"]
    return [{key: one[key] for key in kept if key in one} for one in found]


def _read(file: str) -> str:
    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        raise usage(f"{file} cannot be read: {error}") from error


def _table(sinks: list[views.Data]) -> Table:
    rows = [
        [
            views.text(sink.get("name")), views.text(sink.get("kind")), views.text(sink.get("address")),
            views.text(host.get("host")), views.text(host.get("sent")), views.text(host.get("lost")),
            views.text(host.get("behind_bytes")), views.text(host.get("message")),
        ]
        for sink in sinks
        for host in sink.get("hosts") or [{}]
    ]  # fmt: skip
    columns = [Column(head="NAME"), Column(head="KIND"), Column(head="ADDRESS"), Column(head="HOST")]
    columns += [Column(head=head, right=True) for head in ("SENT", "LOST", "BEHIND")]
    return Table(columns=[*columns, Column(head="WHY")], rows=rows, empty="lines are sent nowhere")
