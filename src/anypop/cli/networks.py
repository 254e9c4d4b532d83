"""`anypop network`, `subnet`, `gateway`: which instances of a stack are among themselves, where they have their
addresses, and where gateways among them lead.

In: names and prefixes. Out: requests of the Workload API, and tables. Whether something can be given is control's
answer.
"""

from typing import Annotated, Any
from urllib.parse import quote

import typer

from anypop.cli import views
from anypop.cli.call import Call, command
from anypop.cli.failure import usage
from anypop.cli.options import Yes
from anypop.cli.table import Cell, Column, Table

network = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Which instances of the stack are among themselves."
)
subnet = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Where instances of a network have addresses.")
gateway = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Where gateways among its instances lead those of a network."
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="By slug or id.")]
New = Annotated[str, typer.Argument(metavar="NAME", help="What it is called; its slug is made from it.")]
Network = Annotated[str, typer.Option("--network", "-n", metavar="NETWORK", help="By slug or id.")]
Rows = list[views.Data]


@command(network, "list", examples="anypop network list\nanypop network list -o json")
def list_networks(call: Call) -> None:
    """The networks of the stack."""
    found = call.client.every(_networks(call), what="list networks")
    call.screen.result(found, lambda: [_network_table(found)])


@command(network, "show", examples="anypop network show blue")
def show_network(call: Call, name: Name) -> None:
    """One network, with its subnets and its routes through gateways."""
    what = f"show network {name}"
    found = call.client.get(_networks(call, name), what=what)["network"]
    subnets = call.client.every(_inside(call, name, "subnets"), what=what)
    routes = call.client.every(_inside(call, name, "routes"), what=what)
    shown = {**found, "subnets": subnets, "routes": routes}
    call.screen.result(shown, lambda: [_network_table([found]), "", _subnet_table(subnets), "", _route_table(routes)])


@command(
    network,
    "create",
    examples="anypop network create blue --subnet 10.64.0.0/12 --subnet fd00:b::/64\nanypop network create plain",
)
def create_network(
    call: Call,
    name: New,
    *,
    own: Annotated[
        list[str] | None,
        typer.Option("--subnet", metavar="PREFIX", help="Its own subnet, one of each family at most."),
    ] = None,
    families: Annotated[
        list[str] | None, typer.Option("--family", metavar="FAMILY", help="IPv4 or IPv6 alone; left out: both.")
    ] = None,
) -> None:
    """Create a network; workloads are in it whose interface names it."""
    body: dict[str, Any] = {"name": name}
    for prefix in own or ():
        key = "ipv6Subnet" if ":" in prefix else "rootSubnet"
        if key in body:
            raise usage(
                "two subnets of one family", advice="'anypop subnet create' gives a network more than one of each."
            )
        body[key] = prefix
    if families:
        body["ipFamilies"] = families
    found = call.client.call("POST", _networks(call), what=f"create network {name}", body=body)["network"]
    call.screen.result(found, lambda: [_network_table([found])])


@command(network, "delete", examples="anypop network delete blue --yes")
def delete_network(call: Call, name: Name, *, yes: Yes = False) -> None:
    """Delete a network that no workload is in."""
    _delete(call, _networks(call, name), "network", name, yes=yes)


@command(subnet, "list", examples="anypop subnet list --network blue")
def list_subnets(call: Call, *, network: Network = "default") -> None:
    """The subnets of a network beside its own."""
    found = call.client.every(_inside(call, network, "subnets"), what=f"list subnets of {network}")
    call.screen.result(found, lambda: [_subnet_table(found)])


@command(subnet, "show", examples="anypop subnet show db --network blue -o json")
def show_subnet(call: Call, name: Name, *, network: Network = "default") -> None:
    """One subnet."""
    found = call.client.get(_inside(call, network, "subnets", name), what=f"show subnet {name}")["subnet"]
    call.screen.result(found, lambda: [_subnet_table([found])])


@command(subnet, "create", examples="anypop subnet create db 11.0.0.0/9 --network blue")
def create_subnet(
    call: Call,
    name: New,
    prefix: Annotated[str, typer.Argument(metavar="PREFIX", help="Such as 11.0.0.0/9 or fd00:9::/64.")],
    *,
    network: Network = "default",
) -> None:
    """Give a network a further subnet, which interfaces can name."""
    body = {"subnet": {"name": name, "prefix": prefix}}
    path = _inside(call, network, "subnets")
    found = call.client.call("POST", path, what=f"create subnet {name}", body=body)["subnet"]
    call.screen.result(found, lambda: [_subnet_table([found])])


@command(subnet, "delete", examples="anypop subnet delete db --network blue --yes")
def delete_subnet(call: Call, name: Name, *, network: Network = "default", yes: Yes = False) -> None:
    """Delete a subnet that no instance has an address in."""
    _delete(call, _inside(call, network, "subnets", name), "subnet", name, yes=yes)


@command(gateway, "list", examples="anypop gateway list --network blue")
def list_routes(call: Call, *, network: Network = "default") -> None:
    """The routes of a network through gateways, and at which hosts a gateway serves."""
    found = call.client.every(_inside(call, network, "routes"), what=f"list routes of {network}")
    call.screen.result(found, lambda: [_route_table(found)])


@command(gateway, "show", examples="anypop gateway show out --network blue")
def show_route(call: Call, name: Name, *, network: Network = "default") -> None:
    """One route."""
    found = call.client.get(_inside(call, network, "routes", name), what=f"show route {name}")["route"]
    call.screen.result(found, lambda: [_route_table([found])])


@command(
    gateway,
    "create",
    examples="anypop gateway create out --network blue --to red --gateway role=gateway\n"
    "anypop gateway create lab --network blue --to 192.0.2.0/24 --gateway role=gateway",
)
def create_route(
    call: Call,
    name: New,
    *,
    network: Network = "default",
    to: Annotated[
        list[str] | None, typer.Option("--to", metavar="PREFIX|NETWORK", help="A prefix, or all of another network.")
    ] = None,
    by: Annotated[
        list[str] | None,
        typer.Option("--gateway", metavar="KEY=VALUE", help="A label of the gateways; of several all must hold."),
    ] = None,
) -> None:
    """Lead instances of a network to prefixes or to another network, by those of them that have these labels."""
    pairs = [label.partition("=") for label in by or ()]
    if not to or not pairs or any(not key or not value for key, _, value in pairs):
        raise usage("--to and --gateway KEY=VALUE are required", advice="'--to red --gateway role=gateway'.")
    selectors = [{"key": key, "operator": "In", "values": [value]} for key, _, value in pairs]
    body: dict[str, Any] = {"name": name, "gatewaySelectors": [{"interfaceSelectors": selectors}]}
    body["destinationPrefixes"] = [one for one in to if "/" in one]
    body["destinationNetworks"] = [{"networkId": one} for one in to if "/" not in one]
    path = _inside(call, network, "routes")
    found = call.client.call("POST", path, what=f"create route {name}", body={"route": body})["route"]
    call.screen.result(found, lambda: [_route_table([found])])


@command(gateway, "delete", examples="anypop gateway delete out --network blue --yes")
def delete_route(call: Call, name: Name, *, network: Network = "default", yes: Yes = False) -> None:
    """Delete a route: what went by it goes to nobody else."""
    _delete(call, _inside(call, network, "routes", name), "route", name, yes=yes)


def _networks(call: Call, name: str = "") -> str:
    return f"{call.stack_path('ipam')}/networks" + (f"/{quote(name, safe='')}" if name else "")


def _inside(call: Call, network: str, what: str, name: str = "") -> str:
    below = f"{call.stack_path('ipam', version='v1alpha')}/networks/{quote(network, safe='')}/{what}"
    return below + (f"/{quote(name, safe='')}" if name else "")


def _delete(call: Call, path: str, what: str, name: str, *, yes: bool) -> None:
    call.screen.agree(f"Delete {what} {name}?", yes=yes)
    call.client.call("DELETE", path, what=f"delete {what} {name}")
    call.screen.result({what: name, "gone": True}, lambda: [f"{what} {name} is gone"])


def _network_table(found: Rows) -> Table:
    rows: list[list[Cell]] = [
        [
            (views.text(one.get("slug")), "bold"),
            ", ".join(str(one[key]) for key in ("rootSubnet", "ipv6Subnet") if one.get(key)) or "-",
            ", ".join(one.get("ipFamilies") or ()),
            views.text(one.get("name")),
        ]
        for one in found
    ]
    columns = [Column(head="NETWORK"), Column(head="SUBNETS"), Column(head="FAMILIES"), Column(head="NAME", drop=1)]
    return Table(columns=columns, rows=rows, empty="no network")


def _subnet_table(found: Rows) -> Table:
    rows: list[list[Cell]] = [
        [(views.text(one.get("slug")), "bold"), views.text(one.get("prefix")), views.text(one.get("name"))]
        for one in found
    ]
    columns = [Column(head="SUBNET"), Column(head="PREFIX"), Column(head="NAME", drop=1)]
    return Table(columns=columns, rows=rows, empty="no further subnet")


def _route_table(found: Rows) -> Table:
    rows: list[list[Cell]] = [
        [
            (views.text(one.get("slug")), "bold"),
            ", ".join(
                [
                    *(one.get("destinationPrefixes") or ()),
                    *(f"network {n.get('networkId')}" for n in one.get("destinationNetworks") or ()),
                ]
            ),
            " or ".join(_chosen(selector) for selector in one.get("gatewaySelectors") or ()),
            ", ".join(_status(status) for status in one.get("statuses") or ()) or "nobody is in the network",
        ]
        for one in found
    ]
    columns = [Column(head="ROUTE"), Column(head="TO"), Column(head="GATEWAYS"), Column(head="AT")]
    return Table(columns=columns, rows=rows, empty="no route through gateways")


def _chosen(selector: views.Data) -> str:
    return " and ".join(
        f"{s.get('key')} {s.get('operator')} {', '.join(map(str, s.get('values') or ()))}".strip()
        for s in selector.get("interfaceSelectors") or ()
    )


def _status(status: views.Data) -> str:
    there = ", ".join(map(str, status.get("gatewayIps") or ()))
    return f"{status.get('region')}: {there or 'no gateway'}"
