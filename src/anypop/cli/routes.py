"""`anypop route explain`: what a pasted `show route` says, why the best is best, and what that means for us.

In: text of a file or of standard input. Out: the routes with what removed each, and sentences; with `--at` also what
the model expects of that router. The text stays on this machine; control is asked for what is announced alone, and only
where `--at` has no plan. The reading and the words are `routing.paste`'s and `advice.expected`'s.
"""

import bz2
import gzip
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, cast

import typer

from anypop.advice.graph import Sources
from anypop.cli.call import Call, command
from anypop.cli.catchment import graph_options
from anypop.cli.catchment.commands import Plan
from anypop.cli.catchment.graph_options import Footprint, GraphFile, Overrides
from anypop.cli.failure import Exit, Failure, usage
from anypop.cli.probes import Workload
from anypop.cli.screen import Shown
from anypop.cli.table import Cell, Column, Table
from anypop.routing.paste.pasted import Style

if TYPE_CHECKING:
    from anypop.routing.paste.explained import Explained

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Routes as other people's routers show them.")

_EXAMPLES = (
    "anypop route explain --file london.txt\nssh router 'show route 198.51.100.0/24' | anypop route explain --file - "
    "--asn 64500\nanypop route explain --file london.txt --at AS64497-LHR --graph as-rel.txt --plan plan.yaml"
)


def lines(found: list[dict[str, Any]]) -> list[Shown]:
    """For each prefix a table, then what it means."""
    shown: list[Shown] = []
    for prefix in found:
        shown += [""] if shown else []
        shown += [_table(prefix), "", *prefix["sentences"]]
    return shown


def _table(prefix: dict[str, Any]) -> Table:
    columns = [
        Column(head="LINE", right=True, drop=3),
        Column(head=""),
        Column(head="AS PATH"),
        Column(head="LOCPREF", right=True, drop=1),
        Column(head="MED", right=True, drop=2),
        Column(head="AGE", right=True, drop=4, maybe=True),
        Column(head="LOST BY"),
    ]
    rows: list[list[Cell]] = []
    for row in prefix["candidates"]:
        style = "green" if row["best"] else ""
        path = " ".join(map(str, row["as_path"])) or row["protocol"]
        rows.append(
            [
                str(row["line"]),
                ("*" if row["best"] else "", style),
                (path, style),
                str(row["local_pref"]),
                str(row["med"]),
                row["lasts"] or "-",
                row["eliminated_by"] or "",
            ]
        )
    return Table(columns=columns, rows=rows, title=prefix["prefix"] or prefix["subject"] or "")


def _expect(
    call: Call,
    told: "Sequence[Explained]",
    found: Sequence[dict[str, Any]],
    at: str,
    *,
    sources: Sources,
    plan: Path | None,
    workload: str,
) -> None:
    """Add to each prefix what the model expects of this router."""
    from anypop.advice import expected  # noqa: PLC0415 - numpy, and the model of the Internet
    from anypop.cli.catchment import inputs, why  # noqa: PLC0415

    loaded = graph_options.loaded(call, sources)
    question = inputs.question(call, plan, workload)
    row = expected.at(
        loaded.graph, question, why.site_of(loaded.graph.internet, *why.network_of(call, loaded, at), named=why.AT)
    )
    for one, data in zip(told, found, strict=True):
        expected.add(data, expected.beside(one, row, question, loaded.graph))


@contextmanager
def table_of(file: str) -> Iterator[BinaryIO | None]:
    """A file that holds MRT, plain or compressed, open at its beginning; None for any other, and for standard input."""
    if file == "-" or not Path(file).is_file():
        yield None
        return
    with ExitStack() as opened:
        stream: BinaryIO = opened.enter_context(Path(file).open("rb"))
        magic = stream.read(3)
        stream.seek(0)
        if magic[:2] == b"\x1f\x8b":
            stream = cast(BinaryIO, opened.enter_context(gzip.open(stream)))
        elif magic == b"BZh":
            stream = cast(BinaryIO, opened.enter_context(bz2.open(stream)))
        try:
            head = stream.read(12)
            stream.seek(0)
        except (OSError, EOFError):  # it begins as if it were compressed, and is not
            head = b""
        from anypop.routing.paste import mrt  # noqa: PLC0415 - only here, and its parser is nobody's else

        yield stream if mrt.looks(head) else None


def text_of(file: str) -> str:
    """What is in a file, or on standard input for `-`. Octets that are no UTF-8 stay visible as replacement
    characters.
    """
    if file == "-":
        raw = getattr(sys.stdin, "buffer", None)
        return raw.read().decode(errors="replace") if raw is not None else sys.stdin.read()
    try:
        return Path(file).read_bytes().decode(errors="replace")
    except OSError as error:
        raise Failure(f"{file}: {error.strerror}", code=Exit.USAGE, advice="--file - reads standard input.") from error


@command(app, "explain", stack=False, examples=_EXAMPLES)
def explain(
    call: Call,
    *,
    file: Annotated[str, typer.Option("--file", "-f", metavar="FILE", help="The pasted text; - reads standard input.")],
    asn: Annotated[
        int | None,
        typer.Option(
            "--asn", metavar="N", help="Your AS (default: the origin that all paths share).", min=1, max=(1 << 32) - 1
        ),
    ] = None,
    prefix: Annotated[
        str, typer.Option("--prefix", metavar="PREFIX", help="Only this prefix, of a text or table that has several.")
    ] = "",
    style: Annotated[
        Style | None,
        typer.Option(
            "--style",
            metavar="junos|bird|frr|...",
            help=f"Whose text it is (default: seen from the text): {', '.join(Style)}.",
            show_default=False,
        ),
    ] = None,
    at: Annotated[
        str,
        typer.Option(
            "--at",
            metavar="NETWORK",
            help="Whose router it is (AS64497, AS64497-LHR): say what the model expects there, too.",
            show_default=False,
        ),
    ] = "",
    graph: GraphFile = None,
    overrides: Overrides = None,
    footprint: Footprint = None,
    plan: Plan = None,
    workload: Workload = "",
) -> None:
    """Paste what a router prints about a prefix: why its best route is best, and by which of your upstreams it comes to
    you.

    Reads Junos (show route PREFIX, also terse, detail and extensive), BIRD (show route for PREFIX all), FRR, IOS,
    IOS-XR, NX-OS and EOS (show bgp PREFIX, and the table), OpenBGPD (bgpctl show rib), GoBGP (gobgp global rib), SR OS,
    VRP and RouterOS; the JSON of Junos, FRR, EOS, OpenBGPD, GoBGP and RIPEstat's looking glass; bgpdump. What is
    missing from the text is said first. A file may also be MRT, as collectors give it. Asks no router; control only for
    what is announced, for --at without --plan.
    """
    from anypop.routing.paste import mrt, sentences  # noqa: PLC0415 - dictionaries are YAML, and --help needs none
    from anypop.routing.paste.explained import explain as judged  # noqa: PLC0415
    from anypop.routing.paste.read import read  # noqa: PLC0415

    try:
        only = ip_network(prefix) if prefix else None
    except ValueError as error:
        raise Failure(f"--prefix {prefix}: {error}", code=Exit.USAGE) from error
    with table_of(file) as table:
        pasted = mrt.read(table, only) if table is not None else read(text_of(file), style=style)
    told = [one for one in judged(pasted, asn=asn) if only is None or one.prefix == only]
    if not told:
        raise Failure(f"no route to {prefix} is in it", code=Exit.USAGE)
    found = [sentences.data(one) for one in told]
    sources = Sources(graph=graph, overrides=overrides, footprint=footprint)
    if at:
        _expect(call, told, found, at, sources=sources, plan=plan, workload=workload)
    elif plan or workload or sources != Sources():
        raise usage(
            "a graph or a plan is for what the model expects", advice="Say whose router it is: --at AS64497-LHR."
        )
    call.screen.result(found, lambda: lines(found))
