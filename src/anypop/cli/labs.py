"""`anypop up`, `down`, `demo` and `anypop lab ...`: the internet and the platform on this machine.

In: a topology file and a place (state folder, name prefix, ports). Out: thin calls of `anypop.lab`, which does the
work. The imports are inside the commands: most calls of this command line never need the lab's code.
"""

import difflib
import ipaddress
import os
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import anypop
from anypop.cli import views
from anypop.cli.call import Call, called, command
from anypop.cli.failure import Exit, Failure, usage
from anypop.cli.table import Cell, Column, Table

if TYPE_CHECKING:
    from anypop.lab.build import Lab

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="The lab's internet: status, routes, failures on purpose, topologies.",
)

TopologyFile = Annotated[
    Path | None, typer.Option("--topology", metavar="FILE", help="The internet to build (default: the article's).")
]
Prefix = Annotated[
    str, typer.Option("--prefix", metavar="P", help="Names on this machine begin with it: 1 to 6 of a-z and 0-9.")
]
ApiPort = Annotated[
    int, typer.Option("--port", metavar="N", help="Port of the API on 127.0.0.1; 0 takes a free one.", min=0, max=65535)
]
RegistryPort = Annotated[
    int,
    typer.Option(
        "--registry-port", metavar="N", help="Port of the image registry; 0 takes a free one.", min=0, max=65535
    ),
]


def article() -> Path:
    """The internet that is built when no topology is named: a file of the installed package, or of the checkout that
    it runs from.
    """
    package = Path(anypop.__file__).resolve().parent
    shipped = package / "lab" / "article.yaml"
    return shipped if shipped.exists() else package.parents[1] / "topologies" / "article.yaml"


def register(root: typer.Typer) -> None:
    @command(root, "up", stack=False, examples="sudo anypop up\nsudo anypop up --state /tmp/two --prefix two --port 0")
    def up(
        call: Call,
        *,
        topology: TopologyFile = None,
        prefix: Prefix = "any",
        port: ApiPort = 8443,
        registry_port: RegistryPort = 0,
        unsupervised: Annotated[
            bool, typer.Option("--unsupervised", help="Of a new platform: what dies stays dead until the next `up`.")
        ] = False,
        public_name: Annotated[
            list[str] | None,
            typer.Option(
                "--public-name",
                metavar="NAME",
                help="Of a new platform: a further name that clients know it by, for its certificate. Repeatable.",
            ),
        ] = None,
        certificate: Annotated[
            Path | None,
            typer.Option(
                "--certificate",
                metavar="FILE",
                help="Of a new platform: the certificate of each --public-name, then those that signed it.",
            ),
        ] = None,
        key: Annotated[
            Path | None,
            typer.Option("--key", metavar="FILE", help="Of a new platform: the private key of --certificate."),
        ] = None,
        no_store: Annotated[
            bool, typer.Option("--no-store", help="Of a new platform: without a store of metrics (Prometheus).")
        ] = False,
    ) -> None:
        """Start an internet and the platform on this machine (as root); what runs already is left alone."""
        from anypop.control import public_certificate  # noqa: PLC0415 - see above
        from anypop.lab import metrics, platform  # noqa: PLC0415

        is_new = not (call.folder / "client.json").exists()
        names = tuple(public_name or ())
        files = public_certificate.files_of(certificate, key, names)
        if files is not None:
            wanted = public_certificate.real(names)
            public_certificate.read(files.certificate, files.key, wanted, now=datetime.now(UTC))
        place = platform.up(
            _readable(topology or article()),
            state=call.folder,
            prefix=prefix,
            api_port=port,
            registry_port=registry_port,
            supervised=not unsupervised,
            public_names=names,
            certificate=(files.certificate, files.key) if files is not None else None,
            store=not no_store,
            progress=lambda step: call.screen.note(f"starting: {step}"),
        )
        if not place.metrics_port and not no_store:
            call.screen.note(metrics.NONE)
        again = called() + (f" --state {place.state}" if place.state != platform.DEFAULT_STATE else "")
        targets = f"--target all={','.join(place.cities)}"
        data = {key: str(value) if isinstance(value, Path) else value for key, value in asdict(place).items()} | {
            "api": place.api,
            "image": place.image,
        }
        # of a new platform nobody knows the way in yet
        link = portal_link(call) if is_new else f"{again} portal"
        call.screen.result(
            data,
            lambda: [
                f"up: {place.api}, state in {place.state}",
                f"portal: {link}" + (" (signs in once, within ten minutes)" if is_new else " shows a link to sign in"),
                f"try: {again} vantages",
                f"     {again} workload create web --image {place.image} --port 80 {targets} --anycast",
                f"     {again} down",
            ],
        )

    @command(root, "down", stack=False, examples="sudo anypop down\nsudo anypop down --purge")
    def down(
        call: Call,
        *,
        purge: Annotated[
            bool, typer.Option("--purge", help="Remove the state folder too: workloads, images, keys.")
        ] = False,
    ) -> None:
        """Take the platform down: no process, namespace, container, mount or rule of it stays."""
        from anypop.lab import platform  # noqa: PLC0415 - see above

        was_up = platform.down(call.folder, progress=lambda step: call.screen.note(f"stopping: {step}"), purge=purge)
        call.screen.result(
            {"state": str(call.folder), "was_up": was_up, "purged": purge},
            lambda: [f"down: {call.folder}" if was_up else f"nothing was up in {call.folder}"],
        )

    @command(root, "demo", stack=False, examples="sudo anypop demo\nsudo anypop demo --exit --report demo.json")
    def demo(
        call: Call,
        *,
        leave: Annotated[bool, typer.Option("--exit", help="Take everything down at the end.")] = False,
        report: Annotated[
            Path | None, typer.Option("--report", metavar="FILE", help="Write what was measured as JSON.")
        ] = None,
        vm_image: Annotated[
            Path | None,
            typer.Option(
                "--vm-image", metavar="FOLDER", help="An image for its virtual machine, of script/make-test-image."
            ),
        ] = None,
        topology: TopologyFile = None,
        prefix: Prefix = "any",
        port: ApiPort = 8443,
        registry_port: RegistryPort = 0,
    ) -> None:
        """Show on a terminal what Anypop does: an internet, a deployment, why London lands in New York, and the
        repair.
        """
        from anypop.cli import demo as story  # noqa: PLC0415 - see above

        wish = story.Wish(
            topology=_readable(topology or article()),
            state=call.folder,
            prefix=prefix,
            api_port=port,
            registry_port=registry_port,
            leave=leave,
            report=report,
            vm_image=vm_image,
        )
        found = story.run(call, wish)
        if call.screen.for_programs:
            call.screen.result(found, tuple)


@command(app, "status", stack=False, examples="anypop lab status")
def status(call: Call) -> None:
    """Whether everything of the lab runs, and which PoPs and hosts are cut off."""
    lab = _lab(call)
    data: views.Data = {
        "prefix": lab.plan.prefix,
        "whole": lab.whole(),
        "routers": [router.name for router in lab.plan.routers],
        "links": len(lab.plan.links),
        "vantages": [host.name for host in lab.plan.vantages],
        "pops": [
            {
                "pop": site.pop.city,
                "cut": lab.is_cut(site.pop.city),
                # behind an edge router; an only host is cut off with its PoP
                "hosts": [{"host": h.name, "cut": lab.is_cut(h.name)} for h in site.pop.hosts]
                if site.edge is not None
                else [],
            }
            for site in lab.plan.sites
        ],
    }
    rows: list[list[Cell]] = [
        ["lab", ("whole", "green") if data["whole"] else ("incomplete: 'anypop up' repairs it", "bold yellow")],
        ["names begin with", f"{lab.plan.prefix}-"],
        ["routers", str(len(lab.plan.routers))],
        ["links", str(len(lab.plan.links))],
        ["vantages", ", ".join(host.name for host in lab.plan.vantages) or "-"],
    ]
    for pop in data["pops"]:
        rows.append([f"PoP {pop['pop']}", _connected(pop)])
        rows += [[f"host {host['host']}", _connected(host)] for host in pop["hosts"]]
    call.screen.result(data, lambda: [views.pairs(rows)])


def _connected(found: views.Data) -> Cell:
    return ("cut off", "bold yellow") if found["cut"] else ("connected", "green")


Place = Annotated[
    str, typer.Argument(metavar="NAME", help="A PoP by its city, such as LHR, or a host behind its edge router: LHR-2.")
]


@command(app, "cut", stack=False, examples="sudo anypop lab cut LHR\nsudo anypop lab cut LHR-2")
def cut(call: Call, place: Place) -> None:
    """Cut a PoP off from its upstreams, or a host from its PoP's edge router, silently, as a broken fibre does."""
    name = place.upper()
    _lab(call).cut(name)
    call.screen.result({"pop": name, "cut": True}, lambda: [f"{name} is cut off; 'anypop lab restore {name}' mends it"])


@command(app, "restore", stack=False, examples="sudo anypop lab restore LHR")
def restore(call: Call, place: Place) -> None:
    """Connect a PoP or a host again."""
    name = place.upper()
    _lab(call).restore(name)
    call.screen.result({"pop": name, "cut": False}, lambda: [f"{name} is connected"])


@command(
    app,
    "routes",
    stack=False,
    examples="sudo anypop lab routes as3356-lhr\nsudo anypop lab routes as3356-lhr --to 198.51.100.1",
)
def routes(
    call: Call,
    router: Annotated[
        str,
        typer.Argument(
            metavar="ROUTER", help="A router of the lab: as<number>-<city>, or a PoP's edge router: pop-<city>."
        ),
    ],
    *,
    to: Annotated[
        str, typer.Option("--to", metavar="ADDRESS", help="Only routes to this address or prefix.", show_default=False)
    ] = "",
) -> None:
    """The routes a router holds, read from its running BIRD."""
    from anypop.host import birdc  # noqa: PLC0415 - see above
    from anypop.lab import daemons  # noqa: PLC0415
    from anypop.model import codec  # noqa: PLC0415
    from anypop.routing import bird_text  # noqa: PLC0415

    lab = _lab(call)
    names = list(daemons.birds(lab.plan))
    if router not in names:
        close = difflib.get_close_matches(router, names, n=3, cutoff=0.4) or names[:8]
        raise usage(
            f"no router is named {router}",
            advice=f"Perhaps {' or '.join(close)}; 'anypop lab status -o json' lists them all.",
        )
    socket = lab.control_socket(router)
    sessions = bird_text.parse_sessions(birdc.ask(socket, "show protocols all"))
    found = [
        codec.to_data(route) for route in bird_text.parse_routes(birdc.ask(socket, _show_route(to)), sessions=sessions)
    ]
    call.screen.result(found, lambda: [routes_table(found)])


def _show_route(to: str) -> str:
    """BIRD's command; only an address or a prefix goes into it, so that no text of the user's is a command of its
    own.
    """
    if not to:
        return "show route all"
    try:
        network = ipaddress.ip_network(to, strict=False)
    except ValueError:
        raise usage(
            f"--to {to}: neither an address nor a prefix", advice="Write 198.51.100.1 or 198.51.100.0/24."
        ) from None
    return f"show route for {network if '/' in to else network.network_address} all"


def _lab(call: Call) -> "Lab":
    """The lab of the platform meant. Its files and namespaces are root's."""
    from anypop.lab import build  # noqa: PLC0415 - see above

    if os.geteuid() != 0:
        raise Failure("a lab is root's", code=Exit.DENIED, advice="Run the same command with sudo.")
    return build.attach(call.folder / "lab")


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
def validate(call: Call, file: Annotated[Path, typer.Argument(metavar="FILE", help="A topology.")]) -> None:
    """Check a topology file; every error at once, with its path."""
    from anypop.lab.topology_read import load  # noqa: PLC0415 - see above

    load(_readable(file).read_text(encoding="utf-8"), name=str(file))
    call.screen.result({"file": str(file), "valid": True}, lambda: [f"{file} is right"])


@command(app, "generate", stack=False, examples="anypop lab generate --ases 100 --pops 10 --seed 7 > hundred.yaml")
def generate(
    call: Call,
    *,
    ases: Annotated[int, typer.Option("--ases", metavar="N", help="Autonomous systems.", min=3)] = 100,
    pops: Annotated[int, typer.Option("--pops", metavar="N", help="PoPs of ours.", min=1)] = 10,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="The same seed gives the same internet.")] = 1,
) -> None:
    """Write a made-up internet as a topology file to standard output."""
    from anypop.lab.generate import generate as make  # noqa: PLC0415 - see above

    text = make(ases=ases, pops=pops, seed=seed)
    call.screen.result({"ases": ases, "pops": pops, "seed": seed, "topology": text}, lambda: [text.rstrip("\n")])


def portal_link(call: Call) -> str:
    """A link that signs in once at the platform of the state folder."""
    from anypop.cli import portal, settings  # noqa: PLC0415 - see above

    client = call.client_of(settings.load(call.folder, os.environ))
    try:
        return str(portal.link(client)["url"])
    finally:
        client.close()


def _readable(path: Path) -> Path:
    try:
        path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        advice = "Name a topology file, or write one: 'anypop lab generate > FILE'."
        raise usage(f"{path} cannot be read: {why}", advice=advice) from error
    return path
