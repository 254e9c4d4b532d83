"""`anypop quote`, `run`, `workload ...`, `instances`: declare a workload, see its price, wait for it, look at
it, take it away.

In: options or a file. Out: requests of the Workload API and what became of them. The command line decides nothing:
whether a workload is right and what it costs is control's answer.
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from anypop.cli import announcements, bounds, container_options, declaration, scaling, views, watch
from anypop.cli.call import Call, command
from anypop.cli.container_options import ContainerOptions, PricedOptions
from anypop.cli.failure import usage
from anypop.cli.options import KnownWorkload, Timeout, Wait, Yes
from anypop.cli.screen import Shown

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Create, list, show, delete and wait for workloads."
)

Slug = Annotated[
    str,
    typer.Argument(
        metavar="[NAME]", help="Name of the workload: a DNS label, unique in its stack.", show_default=False
    ),
]
File = Annotated[
    Path | None,
    typer.Option("--file", "-f", metavar="FILE", help="A workload as YAML or JSON; '-' reads standard input."),
]
Image = Annotated[
    str, typer.Option("--image", metavar="IMAGE", help="OCI image: registry/name:tag.", show_default=False)
]
Ports = Annotated[
    list[str] | None,
    typer.Option("--port", metavar="N[/udp]", help="Port the application listens on, open to all. Repeatable."),
]
Size = Annotated[
    str,
    typer.Option("--size", metavar="SP-N", help="What an instance asks for: SP-1 (1 vCPU, 2 GiB) to SP-8 (48, 256)."),
]
Targets = Annotated[
    list[str] | None,
    typer.Option("--target", metavar="NAME=CITY,CITY", help="A named group of cities (IATA codes). Repeatable."),
]
Replicas = Annotated[int, typer.Option("--replicas", "--min", metavar="N", help="Instances in each city.")]
Anycast = Annotated[bool, typer.Option("--anycast", help="One address, the same in every city.")]
LocalOnly = Annotated[
    bool,
    typer.Option(
        "--local-only", help="Announced where it has instances alone, and carried nowhere: a prefix of its own, priced."
    ),
]


class Goal(StrEnum):
    RUNNING = "running"
    GONE = "gone"


_OPTIONS = {"most": "max"}


def wanted(
    file: Path | None, options: declaration.Wanted, container: PricedOptions = container_options.NONE
) -> dict[str, Any]:
    """The workload that the options or the file describe; `Failure` where both or neither do."""
    if file is None:
        return declaration.of_options(options, container_options.read(container))
    mixed = [
        f"--{_OPTIONS.get(name, name.replace('_', '-'))}"
        for name in (
            "image",
            "ports",
            "targets",
            "most",
            "cpu",
            "anycast",
            "local_only",
            "env",
            "secrets",
            "command",
            "name",
        )
        if getattr(options, name)
    ] + container_options.given(container)
    if mixed:
        raise usage(
            f"--file and {', '.join(mixed)} exclude each other",
            advice="Write it into the file, or leave the file away.",
        )
    found = declaration.of_file(file)
    return found | {"slug": options.slug} if options.slug else found


@command(
    app,
    "create",
    examples="""
    anypop workload create web --image registry.example/web:1 --port 80 --target eu1=AMS,LHR --replicas 2 --anycast
    anypop workload create web --image registry.example/web:1 --target eu1=AMS --min 2 --max 6 --cpu 50%
    anypop workload create web --image registry.example/web:1 --target na1=JFK,LAX --env MODE=live --secret TOKEN
    anypop workload create db --image registry.example/db:9 --target eu1=AMS --volume data:/db:20Gi --user 999 --private
    anypop workload create web --image registry.example/web:1 --target eu1=AMS --readiness http:80/ok --stop-timeout 60
    anypop workload create vm --vm-image my-stack/debian:12 --user-data cloud.yaml --ssh-key id.pub --target eu1=AMS
    anypop workload create -f workload.yaml --yes -o json
    """,
)
def create(
    call: Call,
    slug: Slug = "",
    *,
    file: File = None,
    name: Annotated[
        str, typer.Option("--name", metavar="TEXT", help="A name for people (default: NAME).", show_default=False)
    ] = "",
    image: Image = "",
    port: Ports = None,
    size: Size = "SP-1",
    target: Targets = None,
    replicas: Replicas = 1,
    most: bounds.Most = 0,
    cpu: bounds.Cpu = "",
    anycast: Anycast = False,
    local_only: LocalOnly = False,
    env: Annotated[
        list[str] | None,
        typer.Option("--env", metavar="K[=V]", help="Environment; without =V taken from here. Repeatable."),
    ] = None,
    secret: Annotated[
        list[str] | None,
        typer.Option("--secret", metavar="K[=V]", help="Like --env, but never shown again. Repeatable."),
    ] = None,
    run: Annotated[
        list[str] | None,
        typer.Option(
            "--command", metavar="TEXT", help="Command in place of the image's own, as in a shell. Repeatable."
        ),
    ] = None,
    container: ContainerOptions = container_options.NONE,
    yes: Yes = False,
    wait: Wait = True,
    timeout: Timeout = 300,
) -> None:
    """Deploy a workload everywhere with one operation: first its price, then its instances as they start."""
    options = declaration.Wanted(
        slug=slug,
        name=name,
        image=image,
        ports=port or (),
        size=size,
        targets=target or (),
        replicas=replicas,
        most=most,
        cpu=cpu,
        anycast=anycast,
        local_only=local_only,
        env=env or (),
        secrets=secret or (),
        command=run or (),
    )
    document = wanted(file, options, container)
    what = f"create workload {document.get('slug') or document.get('name') or ''}".strip()
    price = call.client.call("POST", "/anypop/v1/quote", what=what, body={"workload": document})
    call.screen.note(views.quote(price), *without_effect(price), "")
    call.screen.agree("Create it?", yes=yes)
    made = call.client.call("POST", f"{call.stack_path('workload')}/workloads", what=what, body={"workload": document})[
        "workload"
    ]
    known = str(made.get("slug") or made.get("id"))
    if not wait:
        found = call.client.every(f"{call.workload_path(known)}/instances", what=what)
    else:
        found = watch.until_running(call, known, views.expected(made), timeout_s=timeout)
    found = list(views.by_name(found))
    call.screen.result({"workload": made, "quote": price, "instances": found}, lambda: summary(made, found))


def without_effect(price: views.Data) -> list[Shown]:
    """What control would accept and not act on, so that nobody takes it for done."""
    return [
        f"without effect here: {row.get('field')}: {row.get('description')}"
        for row in price.get("without_effect") or []
    ]


def summary(made: views.Data, found: list[views.Data]) -> list[Shown]:
    """What there is now: the common address, then each instance with its own."""
    running = sum(1 for i in found if i.get("phase") == "RUNNING")
    anycast = views.anycast_of(made)
    head = f"{made.get('slug')}: {running} of {max(views.expected(made), len(found))} instances run"
    return [
        f"{head}, anycast address {', '.join(anycast)}" if anycast else head,
        "",
        views.instances(found),
    ]


@command(app, "list", examples="anypop workload list\nanypop workload list -o json | jq -r '.[].slug'")
def list_workloads(call: Call) -> None:
    """All workloads of the stack."""
    found = call.client.every(f"{call.stack_path('workload')}/workloads", what="list workloads")
    call.screen.result(found, lambda: [views.workloads(found)])


@command(app, "show", examples="anypop workload show web")
def show(call: Call, workload: KnownWorkload) -> None:
    """One workload and its instances."""
    what = f"show workload {workload}"
    answer = call.client.get(call.workload_path(workload), what=what)
    found, warnings = answer["workload"], list(answer.get("warnings") or [])
    parts = list(views.by_name(call.client.every(f"{call.workload_path(workload)}/instances", what=what)))
    status = call.client.get(f"{call.workload_path(workload, 'anypop')}/rollouts", what=what)
    under_way = [r for r in status.get("results") or [] if r.get("phase") in ("running", "paused")]
    data = {
        "workload": found,
        "instances": parts,
        **{key: status.get(key) for key in ("revision", "instances_on_it")},
        "rollouts": under_way,
        "warnings": warnings,
    }
    if any(scaling.follows(target) for target in (found.get("targets") or {}).values()):
        path = f"{call.workload_path(workload, 'anypop')}/scaling"
        data["scaling"] = call.client.get(path, what=what).get("results") or []
    idle: list[Shown] = [f"without effect here: {warning}" for warning in warnings]
    call.screen.result(
        data,
        lambda: [
            views.workload(found),
            *views.revision(status, under_way),
            *idle,
            *scaling.part(data.get("scaling") or []),
            "",
            views.instances(parts),
        ],
    )


@command(app, "delete", examples="anypop workload delete web --yes")
def delete(call: Call, workload: KnownWorkload, *, yes: Yes = False, wait: Wait = True, timeout: Timeout = 120) -> None:
    """Take a workload away: announcements first, instances last. Its anycast address goes with it."""
    what = f"delete workload {workload}"
    found = call.client.get(call.workload_path(workload), what=what)["workload"]
    slug = str(found.get("slug") or workload)
    anycast = views.anycast_of(found)
    lost = f" and its anycast address {', '.join(anycast)}" if anycast else ""
    if anycast:
        call.screen.preview(*announcements.withdrawn_with(call, slug))
    call.screen.agree(f"Delete {slug}, its {views.expected(found)} instances{lost}?", yes=yes)
    call.client.call("DELETE", call.workload_path(workload), what=what)
    if wait:
        watch.until_gone(call, str(found.get("id") or slug), timeout_s=timeout)
    done = "is gone" if wait else "is being taken down"
    call.screen.result({"workload": slug, "id": found.get("id"), "gone": wait}, lambda: [f"{slug} {done}"])


@command(app, "wait", examples="anypop workload wait web --timeout 60\nanypop workload wait web --for gone")
def wait_for(
    call: Call,
    workload: KnownWorkload,
    *,
    goal: Annotated[Goal, typer.Option("--for", metavar="running|gone", help="What to wait for.")] = Goal.RUNNING,
    timeout: Timeout = 300,
) -> None:
    """Wait until every instance runs, or until the workload is gone."""
    if goal is Goal.GONE:
        watch.until_gone(call, workload, timeout_s=timeout)
        call.screen.result({"workload": workload, "gone": True}, lambda: [f"{workload} is gone"])
        return
    found = call.client.get(call.workload_path(workload), what=f"wait for {workload}")["workload"]
    parts = list(views.by_name(watch.until_running(call, workload, views.expected(found), timeout_s=timeout)))
    call.screen.result({"workload": found, "instances": parts}, lambda: summary(found, parts))


def register(root: typer.Typer) -> None:
    """The commands of this file that stand at the top level."""
    examples = """
    anypop run web --image registry.example/web:1 --port 80 --target eu1=AMS,LHR --anycast
    anypop run db --image registry.example/db:9 --target eu1=AMS --volume data:/db:20Gi --readiness tcp:5432
    """
    command(root, "run", examples=examples)(create)

    @command(
        root,
        "quote",
        examples="""
        anypop quote --target na1=JFK,LAX --target eu1=AMS,LHR --replicas 2 --size SP-2 --anycast
        anypop quote --target eu1=AMS --requests cpu=500m,memory=1Gi --volume data:/db:20Gi
        anypop quote -f workload.yaml -o json
        """,
    )
    def quote(
        call: Call,
        *,
        file: File = None,
        size: Size = "SP-1",
        target: Targets = None,
        replicas: Replicas = 1,
        most: bounds.Most = 0,
        cpu: bounds.Cpu = "",
        anycast: Anycast = False,
        local_only: LocalOnly = False,
        container: PricedOptions = container_options.NOT_PRICED,
    ) -> None:
        """The price of a workload, line by line, before anything starts."""
        options = declaration.Wanted(
            size=size,
            targets=target or (),
            replicas=replicas,
            most=most,
            cpu=cpu,
            anycast=anycast,
            local_only=local_only,
        )
        document = wanted(file, options, container)
        if file is None:
            # A price needs no image and no name, the check that control runs on every workload does.
            document |= {"name": "quote", "slug": "quote"}
            document["spec"]["containers"]["app"]["image"] = "quote"
        found = call.client.call("POST", "/anypop/v1/quote", what="quote", body={"workload": document})
        call.screen.result(found, lambda: [views.quote(found)])
        call.screen.note(*without_effect(found))

    @command(root, "instances", examples="anypop instances\nanypop instances web -o json")
    def instances(
        call: Call,
        workload: Annotated[
            str, typer.Argument(metavar="[WORKLOAD]", help="Only those of one workload.", show_default=False)
        ] = "",
    ) -> None:
        """Instances with their place, phase and addresses."""
        what = "list instances"
        slugs = (
            [workload]
            if workload
            else [
                str(w.get("slug") or w.get("id"))
                for w in call.client.every(f"{call.stack_path('workload')}/workloads", what=what)
            ]
        )
        found = [
            i
            for slug in slugs
            for i in views.by_name(call.client.every(f"{call.workload_path(slug)}/instances", what=what))
        ]
        call.screen.result(found, lambda: [views.instances(found)])
