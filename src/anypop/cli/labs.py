"""`anypop up`, `down`, `demo` and `anypop lab ...`: the internet and the platform on this machine.

In: a topology file and a place (state folder, name prefix, ports). Out: thin calls of `anypop.lab`, which does the work, and of control for
what a running lab shows. The imports are inside the commands: most calls of this command line never need the lab's code.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

import anypop
from anypop.cli import views
from anypop.cli.door import Door, command
from anypop.cli.failure import usage
from anypop.cli.screen import Format
from anypop.cli.table import Cell, Column, Table

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="The lab's internet: status, routes, failures on purpose, topologies.")

# The article's internet stands beside the source; a platform of another shape names its own file.
ARTICLE = Path(anypop.__file__).resolve().parents[2] / "topologies" / "article.yaml"

TopologyFile = Annotated[Path | None, typer.Option("--topology", metavar="FILE", help="The internet to build (default: the article's).")]
Prefix = Annotated[str, typer.Option("--prefix", metavar="P", help="Names on this machine begin with it: 1 to 6 of a-z and 0-9.")]
ApiPort = Annotated[int, typer.Option("--port", metavar="N", help="Port of the API on 127.0.0.1; 0 takes a free one.", min=0, max=65535)]
RegistryPort = Annotated[
    int, typer.Option("--registry-port", metavar="N", help="Port of the image registry; 0 takes a free one.", min=0, max=65535)
]


def register(root: typer.Typer) -> None:
    @command(root, "up", stack=False, examples="sudo anypop up\nsudo anypop up --state /tmp/two --prefix two --port 0")
    def up(
        door: Door, *, topology: TopologyFile = None, prefix: Prefix = "any", port: ApiPort = 8443, registry_port: RegistryPort = 0
    ) -> None:
        """Start an internet and the platform on this machine (as root); what runs already is left alone."""
        from anypop.lab import platform  # noqa: PLC0415 - see above

        place = platform.up(
            _readable(topology or ARTICLE),
            state=door.folder,
            prefix=prefix,
            api_port=port,
            registry_port=registry_port,
            progress=lambda step: door.screen.note(f"starting: {step}"),
        )
        flag = f"--state {place.state} " if place.state != platform.DEFAULT_STATE else ""
        data = {key: str(value) if isinstance(value, Path) else value for key, value in asdict(place).items()} | {
            "api": place.api,
            "image": place.image,
        }
        door.screen.result(
            data,
            lambda: [
                f"up: {place.api}, state in {place.state}",
                f"try: anypop {flag}vantages",
                f"     anypop {flag}workload create web --image {place.image} --port 80 --target all={','.join(place.cities)} --anycast",
                f"     anypop {flag}down",
            ],
        )

    @command(root, "down", stack=False, examples="sudo anypop down\nsudo anypop down --purge")
    def down(
        door: Door,
        *,
        purge: Annotated[bool, typer.Option("--purge", help="Remove the state folder too: workloads, images, keys.")] = False,
    ) -> None:
        """Take the platform down: no process, namespace, container, mount or rule of it stays."""
        from anypop.lab import platform  # noqa: PLC0415 - see above

        was_up = platform.down(door.folder, progress=lambda step: door.screen.note(f"stopping: {step}"), purge=purge)
        door.screen.result(
            {"state": str(door.folder), "was_up": was_up, "purged": purge},
            lambda: [f"down: {door.folder}" if was_up else f"nothing was up in {door.folder}"],
        )

    @command(root, "demo", stack=False, examples="sudo anypop demo\nsudo anypop demo --exit --report demo.json")
    def demo(
        door: Door,
        *,
        leave: Annotated[bool, typer.Option("--exit", help="Take everything down at the end.")] = False,
        report: Annotated[Path | None, typer.Option("--report", metavar="FILE", help="Write what was measured as JSON.")] = None,
        topology: TopologyFile = None,
        prefix: Prefix = "any",
        port: ApiPort = 8443,
        registry_port: RegistryPort = 0,
    ) -> None:
        """The whole story on a terminal: an internet, a deployment, London in New York, and why, and home again."""
        from anypop.cli import demo as story  # noqa: PLC0415 - see above

        wish = story.Wish(
            topology=_readable(topology or ARTICLE),
            state=door.folder,
            prefix=prefix,
            api_port=port,
            registry_port=registry_port,
            leave=leave,
            report=report,
        )
        found = story.run(door, wish)
        if door.screen.output is Format.JSON:
            door.screen.result(found, tuple)


@command(app, "status", stack=False, examples="anypop lab status")
def status(door: Door) -> None:
    """Routers, links and what is cut."""
    found = door.client.get("/anypop/v1/lab", what="lab status")
    door.screen.result(found, lambda: [views.pairs([[str(key), views.text(value)] for key, value in found.items()])])


@command(app, "cut", stack=False, examples="anypop lab cut LHR")
def cut(door: Door, what: Annotated[str, typer.Argument(metavar="POP|LINK", help="A PoP by its city, or a link by its name.")]) -> None:
    """Cut a PoP or a link off, silently, as a broken fibre does."""
    door.client.call("POST", "/anypop/v1/lab/cut", what=f"cut {what}", body={"target": what})
    door.screen.result({"target": what, "cut": True}, lambda: [f"{what} is cut; 'anypop lab restore {what}' mends it"])


@command(app, "restore", stack=False, examples="anypop lab restore LHR")
def restore(door: Door, what: Annotated[str, typer.Argument(metavar="POP|LINK", help="What was cut.")]) -> None:
    """Mend what was cut."""
    door.client.call("POST", "/anypop/v1/lab/restore", what=f"restore {what}", body={"target": what})
    door.screen.result({"target": what, "cut": False}, lambda: [f"{what} is whole again"])


@command(app, "routes", stack=False, examples="anypop lab routes as3356-lhr\nanypop lab routes as3356-lhr --to 198.51.100.0/24")
def routes(
    door: Door,
    router: Annotated[str, typer.Argument(metavar="ROUTER", help="A router of the lab.")],
    *,
    to: Annotated[str, typer.Option("--to", metavar="PREFIX", help="Only routes to this prefix or address.", show_default=False)] = "",
) -> None:
    """The routes a router holds, read from its running BIRD."""
    query = {"router": router} | ({"to": to} if to else {})
    found = door.client.get("/anypop/v1/lab/routes", what=f"routes of {router}", **query).get("results") or []
    door.screen.result(found, lambda: [routes_table(found)])


def routes_table(found: list[views.Data]) -> Table:
    columns = [
        Column(head=""),
        Column(head="PREFIX"),
        Column(head="AS PATH"),
        Column(head="LOCAL PREF", right=True),
        Column(head="NEXT HOP", drop=1),
        Column(head="PROTOCOL", drop=2),
    ]
    rows: list[list[Cell]] = [
        [
            ("*", "bold green") if route.get("best") else " ",
            views.text(route.get("prefix")),
            " ".join(map(str, route.get("as_path") or [])) or "-",
            views.text(route.get("local_pref")),
            views.text(route.get("next_hop")),
            views.text(route.get("protocol")),
        ]
        for route in found
    ]
    return Table(columns=columns, rows=rows, empty="no such route")


@command(app, "validate", stack=False, examples="anypop lab validate topologies/article.yaml")
def validate(door: Door, file: Annotated[Path, typer.Argument(metavar="FILE", help="A topology.")]) -> None:
    """Check a topology file; every error at once, with its path."""
    from anypop.lab.topology import load  # noqa: PLC0415 - see above

    load(_readable(file).read_text(), name=str(file))
    door.screen.result({"file": str(file), "valid": True}, lambda: [f"{file} is right"])


@command(app, "generate", stack=False, examples="anypop lab generate --ases 100 --pops 10 --seed 7 > hundred.yaml")
def generate(
    door: Door,
    *,
    ases: Annotated[int, typer.Option("--ases", metavar="N", help="Autonomous systems.", min=3)] = 100,
    pops: Annotated[int, typer.Option("--pops", metavar="N", help="PoPs of ours.", min=1)] = 10,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="The same seed gives the same internet.")] = 1,
) -> None:
    """Write a made-up internet as a topology file to standard output."""
    from anypop.lab.generate import generate as make  # noqa: PLC0415 - see above

    text = make(ases=ases, pops=pops, seed=seed)
    door.screen.result({"ases": ases, "pops": pops, "seed": seed, "topology": text}, lambda: [text.rstrip("\n")])


def _readable(path: Path) -> Path:
    try:
        with path.open("rb"):
            return path
    except OSError as error:
        raise usage(f"{path} cannot be read: {error.strerror}", advice="Name a topology file.") from error
