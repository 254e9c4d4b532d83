"""`anypop host ...` and `anypop quota ...`: the machines of the platform and their room, and how much an account may
declare.

In: a host's name, or limits. Out: control's answer as a table. Control decides what moves where, and when.
"""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from anypop.cli import views
from anypop.cli.call import Call, command
from anypop.cli.failure import usage
from anypop.cli.options import Yes
from anypop.cli.table import Cell, Column, Table
from anypop.model.names import HostName

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="List hosts and their room; let one join, revoke, evict, readmit or reset it.",
)
quotas = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Show what is declared against its limits, and set limits."
)

Host = Annotated[str, typer.Argument(metavar="HOST", help="Its name in the network document: LHR, or LHR-2.")]
_STYLES = {"in use": "green", "drained": "cyan", "lost": "bold red", "evicted": "yellow"}
# the limit's name in the API, the option's name, the unit on the command line
_LIMITS = {
    "instances": ("instances", 1.0),
    "cpu_millis": ("cpu", 1000.0),
    "memory_bytes": ("memory-gib", float(1 << 30)),
    "cpu_limit_millis": ("cpu-limits", 1000.0),
    "memory_limit_bytes": ("memory-limits-gib", float(1 << 30)),
    "instance_cpu_limit_millis": ("cpu-of-one", 1000.0),
    "instance_memory_limit_bytes": ("memory-of-one-gib", float(1 << 30)),
    "anycast": ("anycast", 1.0),
    "local_only": ("local-only", 1.0),
    "volume_bytes": ("volumes-gib", float(1 << 30)),
    "image_bytes": ("images-gib", float(1 << 30)),
    "addresses": ("addresses", 1.0),
    "workloads": ("workloads", 1.0),
    "stacks": ("stacks", 1.0),
    "requests_per_second": ("requests/s", 1.0),
}


@command(
    app,
    "list",
    stack=False,
    examples="anypop host list\nanypop host list -o json | jq -r '.[] | select(.state != \"in use\")'",
)
def list_hosts(call: Call) -> None:
    """Every host: its PoP, its state, its instances, and how much of it is taken."""
    found = call.client.get("/anypop/v1/hosts", what="list hosts").get("results") or []
    call.screen.result(found, lambda: [table(found)])


@command(app, "evict", stack=False, examples="anypop host evict LHR-2 --yes")
def evict(call: Call, host: Host, *, yes: Yes = False) -> None:
    """Give a host up: its instances are placed on the other hosts of its PoP, one after the other.

    What it may still run stays there until it returns; then it is told to remove it. New instances get other addresses
    of their own.
    """
    call.screen.agree(f"Place what runs on {host} elsewhere?", yes=yes)
    found = call.client.call("POST", f"/anypop/v1/hosts/{host}/evict", what=f"evict {host}", body={})
    call.screen.result(found, lambda: [table([found])])


@command(app, "readmit", stack=False, examples="anypop host readmit LHR-2")
def readmit(call: Call, host: Host) -> None:
    """Take an evicted host back into use. What was placed elsewhere stays there."""
    found = call.client.call("POST", f"/anypop/v1/hosts/{host}/readmit", what=f"readmit {host}", body={})
    call.screen.result(found, lambda: [table([found])])


@command(app, "token", stack=False, examples="anypop host token LHR\nanypop host token LHR -o json | jq -r .token")
def token(call: Call, host: Host) -> None:
    """Get a token with which the host's agent joins: once, and within an hour."""
    found = call.client.call("POST", f"/anypop/v1/hosts/{host}/token", what=f"give {host} a token", body={})
    shown = [
        f"{found.get('token')}",
        f"on the host: anypop host join {found.get('host')} --control URL --ca ca.pem --dir DIR",
    ]
    call.screen.result(found, lambda: shown)


@command(
    app,
    "join",
    stack=False,
    examples="ANYPOP_JOIN_TOKEN=... sudo -E anypop host join LHR --control https://control.example:8443 --ca ca.pem "
    "--dir /var/lib/anypop/pops/lhr",
)
def join(
    call: Call,
    host: Host,
    *,
    control: Annotated[str, typer.Option("--control", metavar="URL", help="Control's address.")],
    ca: Annotated[Path, typer.Option("--ca", metavar="FILE", help="The authority that signed control's certificate.")],
    folder: Annotated[Path, typer.Option("--dir", metavar="DIR", help="The agent's folder (its --state).")],
    token_file: Annotated[
        Path | None,
        typer.Option(
            "--token-file", metavar="FILE", help="Holds the token (default: $ANYPOP_JOIN_TOKEN).", show_default=False
        ),
    ] = None,
) -> None:
    """On the host itself: get its agent a certificate of its own, which it renews by itself from then on.

    The key is made here and never leaves the host. An agent that runs takes it at its next start.
    """
    from anypop.agent.join import join as get  # noqa: PLC0415 - most commands need no agent

    given = os.environ.get("ANYPOP_JOIN_TOKEN", "") if token_file is None else ""
    if token_file is None and not given:
        raise usage("say the token: --token-file FILE, or ANYPOP_JOIN_TOKEN in the environment")
    path = get(host=HostName(host), control=control, ca=ca, state=folder, token=given, token_file=token_file)
    call.screen.result({"host": host, "certificate": str(path)}, lambda: [f"{host} has joined: {path}"])


@command(app, "revoke", stack=False, examples="anypop host revoke LHR --yes")
def revoke(call: Call, host: Host, *, yes: Yes = False) -> None:
    """Let no certificate and no token that a host's agent has got so far count any more.

    What runs there goes on. 'anypop host token' lets it join anew.
    """
    call.screen.agree(f"Shut the agent of {host} out until it joins anew?", yes=yes)
    found = call.client.call("POST", f"/anypop/v1/hosts/{host}/revoke", what=f"revoke {host}", body={})
    call.screen.result(found, lambda: [table([found])])


@command(app, "reset", stack=False, examples="anypop host reset LHR --yes")
def reset(call: Call, host: Host, *, yes: Yes = False) -> None:
    """Let a host go on that control has forgotten, after its store was lost or an older copy of it was restored.

    The next generation that its agent claims within ten minutes is believed, whatever it is. What it runs and control
    knows nothing of is taken down, where the host refuses its order for that.
    """
    call.screen.agree(f"Believe {host}, and take down what control knows nothing of there?", yes=yes)
    found = call.client.call("POST", f"/anypop/v1/hosts/{host}/reset", what=f"reset {host}", body={})
    call.screen.result(found, lambda: [table([found])])


@command(
    quotas,
    "show",
    stack=False,
    examples="anypop quota show\nanypop quota show --account 6129025b-bbb4-4218-a912-484c990e1c55",
)
def show(
    call: Call,
    *,
    account: Annotated[
        str, typer.Option("--account", metavar="ID", help="Another account (operator).", show_default=False)
    ] = "",
) -> None:
    """What an account and its stacks have declared, and how much they may."""
    path = f"/anypop/v1/accounts/{account}/quota" if account else "/anypop/v1/quota"
    found = call.client.get(path, what="show the quota")
    call.screen.result(found, lambda: [usage_table(found)])


@command(
    quotas,
    "set",
    stack=False,
    examples="anypop quota set --account ID --instances 20 --cpu 40\nanypop quota set --of-stack shop --workloads 5",
)
def set_quota(
    call: Call,
    *,
    account: Annotated[str, typer.Option("--account", metavar="ID", help="Of this account.", show_default=False)] = "",
    of_stack: Annotated[
        str, typer.Option("--of-stack", metavar="STACK", help="Of this stack.", show_default=False)
    ] = "",
    instances: Annotated[int | None, typer.Option("--instances", metavar="N", help="Instances in all.", min=0)] = None,
    cpu: Annotated[
        float | None, typer.Option("--cpu", metavar="CORES", help="CPU cores that all instances request.", min=0)
    ] = None,
    memory_gib: Annotated[
        float | None, typer.Option("--memory-gib", metavar="GIB", help="Memory that all instances request.", min=0)
    ] = None,
    cpu_limits: Annotated[
        float | None, typer.Option("--cpu-limits", metavar="CORES", help="CPU limits of all instances.", min=0)
    ] = None,
    memory_limits_gib: Annotated[
        float | None, typer.Option("--memory-limits-gib", metavar="GIB", help="Memory limits of all.", min=0)
    ] = None,
    cpu_of_one: Annotated[
        float | None, typer.Option("--cpu-of-one", metavar="CORES", help="CPU limit of one instance.", min=0)
    ] = None,
    memory_of_one_gib: Annotated[
        float | None, typer.Option("--memory-of-one-gib", metavar="GIB", help="Memory limit of one instance.", min=0)
    ] = None,
    anycast: Annotated[int | None, typer.Option("--anycast", metavar="N", help="Anycast addresses.", min=0)] = None,
    local_only: Annotated[
        int | None,
        typer.Option(
            "--local-only",
            metavar="N",
            help="Workloads with a covering prefix of their own. An account without this limit may have one.",
            min=0,
        ),
    ] = None,
    volumes_gib: Annotated[
        float | None, typer.Option("--volumes-gib", metavar="GIB", help="Volumes of all instances.", min=0)
    ] = None,
    addresses: Annotated[
        int | None, typer.Option("--addresses", metavar="N", help="Addresses that last (allocations).", min=0)
    ] = None,
    workloads: Annotated[int | None, typer.Option("--workloads", metavar="N", help="Workloads.", min=0)] = None,
    stacks: Annotated[int | None, typer.Option("--stacks", metavar="N", help="Stacks of the account.", min=0)] = None,
    requests_per_second: Annotated[
        int | None,
        typer.Option("--requests-per-second", metavar="N", help="Requests of each credential of the account.", min=1),
    ] = None,
) -> None:
    """Set all limits of an account or a stack; what is left out has none, or its default. Lowering a limit takes
    nothing away that runs.
    """
    if bool(account) == bool(of_stack):
        raise usage("say whose limits: --account ID or --of-stack STACK")
    given = dict(
        zip(
            _LIMITS,
            (
                instances,
                cpu,
                memory_gib,
                cpu_limits,
                memory_limits_gib,
                cpu_of_one,
                memory_of_one_gib,
                anycast,
                local_only,
                volumes_gib,
                addresses,
                workloads,
                stacks,
                requests_per_second,
            ),
            strict=True,
        )
    )
    limits = {name: int(value * _LIMITS[name][1]) for name, value in given.items() if value is not None}
    path = f"/anypop/v1/accounts/{account}/quota" if account else f"/anypop/v1/stacks/{of_stack}/quota"
    found = call.client.call("PUT", path, what="set the quota", body={"quota": limits})
    call.screen.result(found, lambda: [usage_table(found)])


def table(found: list[views.Data]) -> Table:
    columns = [
        Column(head="HOST"),
        Column(head="POP"),
        Column(head="STATE"),
        Column(head="INSTANCES", right=True),
        Column(head="CPUS", right=True),
        Column(head="MEMORY GIB", right=True, drop=2),
        Column(head="DISK GIB", right=True, drop=3),
        Column(head="TUNNELS", right=True, maybe=True),
        Column(head="SENT GB", right=True, drop=4, maybe=True),
        Column(head="WHY", prose=True, maybe=True),
    ]
    rows: list[list[Cell]] = [
        [
            str(row.get("host")),
            str(row.get("pop")),
            (str(row.get("state")), _STYLES.get(str(row.get("state")), "")),
            str((row.get("instances") or {}).get("total", 0)),
            _of(row, "cpu_millis", 1000),
            _of(row, "memory_bytes", 1 << 30),
            _of(row, "disk_bytes", 1 << 30),
            *views.tunnels(row),
            views.text(row.get("drain") or "-") if row.get("trusted") else views.text(row.get("says")),
        ]
        for row in found
    ]
    return Table(columns=columns, rows=rows, empty="no hosts: the network document has none")


def _of(row: views.Data, name: str, unit: float) -> str:
    """`3.5 of 4`: taken, and what there is."""
    taken, total = (row.get("taken") or {}).get(name, 0) / unit, (row.get("capacity") or {}).get(name)
    return f"{taken:g} of {total / unit:g}" if total is not None else f"{taken:g}"


def usage_table(found: views.Data) -> Table:
    columns = [Column(head="WHOSE"), *(Column(head=option.upper(), right=True) for option, _ in _LIMITS.values())]
    subjects: list[tuple[str, Any]] = [(f"account {found['account']}", found)] if found.get("account") else []
    subjects += [
        (f"stack {s.get('slug')}", s) for s in (found.get("stacks") or [] if found.get("account") else [found])
    ]
    rows: list[list[Cell]] = [
        [name, *(_limit(subject, key, unit) for key, (_, unit) in _LIMITS.items())] for name, subject in subjects
    ]
    return Table(columns=columns, rows=rows)


def _limit(subject: views.Data, name: str, unit: float) -> str:
    used, limit = (subject.get("used") or {}).get(name), (subject.get("quota") or {}).get(name)
    if used is None:
        return f"{limit / unit:g}" if limit is not None else "-"
    return f"{used / unit:g} of {limit / unit:g}" if limit is not None else f"{used / unit:g}"
