"""`anypop workload apply|set-image|scale|rollback`: change a workload, see the difference and the price first, and
watch it come about.

In: a file or a few words. Out: one request to control, which rolls the change out by itself; the command only asks and
watches, and may be interrupted at any time without harm.
"""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from anypop.cli import bounds, rollouts, scaling, views, watch
from anypop.cli.call import Call, command
from anypop.cli.declaration import of_file
from anypop.cli.failure import Exit, Failure, usage
from anypop.cli.options import KnownWorkload, Timeout, Wait, Yes
from anypop.cli.screen import Shown
from anypop.cli.table import Cell, Column, Table
from anypop.cli.workloads import File, app, summary, without_effect


@command(
    app,
    "apply",
    examples="""
    anypop workload apply -f workload.yaml
    anypop workload apply -f workload.yaml --yes --no-wait -o json
    """,
)
def apply(call: Call, *, file: File = None, yes: Yes = False, wait: Wait = True, timeout: Timeout = 300) -> None:
    """Create the workload of a file, or bring the one that is there to it: first the difference and the price, then
    the change.
    """
    if file is None:
        raise usage("--file is required", advice="'anypop workload apply -f workload.yaml'; '-' reads standard input.")
    document = of_file(file)
    slug = str(document.get("slug") or document.get("name") or "")
    if not slug:
        raise usage("the workload has neither a name nor a slug", advice="Give it a name.")
    current = there(call, slug)
    if current is None:
        _create(call, document, slug, yes=yes, wait=wait, timeout=timeout)
        return
    replace(call, current, document, yes=yes, wait=wait, timeout=timeout)


def replace(
    call: Call, current: views.Data, document: dict[str, Any], *, yes: bool, wait: bool, timeout: float
) -> None:
    """Put a document in place of the workload that is there, and watch it come about."""
    body = at_version(document, current)
    _change(call, str(current.get("slug")), "PUT", body, yes=yes, wait=wait, timeout=timeout)


def at_version(document: dict[str, Any], current: views.Data) -> dict[str, Any]:
    """A document that replaces the version that was looked at, and no other."""
    version = (current.get("metadata") or {}).get("version")
    return document | {"metadata": {**(document.get("metadata") or {}), "version": version}}


def preview(call: Call, slug: str, body: dict[str, Any], *, merge: bool = False) -> views.Data:
    """What a change would do."""
    path = f"{call.workload_path(slug, 'anypop')}/preview"
    query: dict[str, str | int] = {"merge": "true"} if merge else {}
    found: views.Data = call.client.call(
        "POST", path, what=f"change workload {slug}", body={"workload": body}, query=query
    )
    return found


@command(
    app,
    "set-image",
    examples="""
    anypop workload set-image web registry.example/web:2
    anypop workload set-image web registry.example/proxy:7 --container proxy
    """,
)
def set_image(
    call: Call,
    workload: KnownWorkload,
    image: Annotated[
        str,
        typer.Argument(metavar="IMAGE", help="registry/name:tag; of a virtual machine stack/family:tag."),
    ],
    *,
    container: Annotated[
        str,
        typer.Option(
            "--container", metavar="NAME", help="Which of its containers (default: its only one).", show_default=False
        ),
    ] = "",
    yes: Yes = False,
    wait: Wait = True,
    timeout: Timeout = 300,
) -> None:
    """Give a container another image, PoP by PoP; a bad one is taken back by itself."""
    found = call.client.get(call.workload_path(workload), what=f"change {workload}")["workload"]
    spec = found.get("spec") or {}
    machines, before = list(spec.get("virtualMachines") or {}), list(spec.get("initContainers") or {})
    names = machines or list(spec.get("containers") or {})
    if container and container not in (*names, *before):
        raise usage(f"{workload} has no container {container}", advice=f"It has {', '.join((*names, *before))}.")
    if not container and len(names) != 1:
        raise usage(
            f"{workload} has {len(names)} containers", advice=f"Say which with --container: {', '.join(names)}."
        )
    kind = "initContainers" if container in before else "virtualMachines" if machines else "containers"
    body = {"spec": {kind: {container or names[0]: {"image": image}}}}
    _change(call, str(found.get("slug")), "PATCH", body, yes=yes, wait=wait, timeout=timeout)


@command(
    app,
    "scale",
    examples="""
    anypop workload scale web 4
    anypop workload scale web 1 --target na1
    anypop workload scale web --min 2 --max 6 --cpu 50%
    anypop workload scale web 3 --fixed
    """,
)
def scale(
    call: Call,
    workload: KnownWorkload,
    replicas: Annotated[
        int | None, typer.Argument(metavar="N", help="Instances in each city.", min=0, show_default=False)
    ] = None,
    *,
    least: Annotated[
        int | None, typer.Option("--min", metavar="N", help="The same as N.", min=0, show_default=False)
    ] = None,
    most: bounds.Most = 0,
    cpu: bounds.Cpu = "",
    fixed: Annotated[bool, typer.Option("--fixed", help="Their number follows no load any more.")] = False,
    target: Annotated[
        str, typer.Option("--target", metavar="NAME", help="Only this target (default: all).", show_default=False)
    ] = "",
    yes: Yes = False,
    wait: Wait = True,
    timeout: Timeout = 300,
) -> None:
    """Run more or fewer instances in each city, or let their number follow their load. None that stays is touched.

    Where the number follows the load already, N is the least that there are.
    """
    if replicas is not None and least is not None:
        raise usage("N and --min say the same", advice="Give one of them.")
    if fixed and (most or cpu):
        raise usage("--fixed excludes --max and --cpu", advice="Give a number, or bounds and a threshold.")
    asked: dict[str, Any] = {"maxReplicas": None, "scaleSettings": None} if fixed else _bounds(most, cpu)
    wanted = replicas if replicas is not None else least
    if wanted is not None:
        asked["minReplicas"] = wanted
    if not asked:
        raise usage("say how many", advice="'anypop workload scale web 4', or --min 2 --max 6 --cpu 50%.")
    found = call.client.get(call.workload_path(workload), what=f"scale {workload}")["workload"]
    names = list(found.get("targets") or {})
    if target and target not in names:
        raise usage(f"{workload} has no target {target}", advice=f"It has {', '.join(names)}.")
    chosen = [target] if target else names
    if wanted is not None and not fixed:
        for name in chosen:
            if scaling.follows((found.get("targets") or {})[name]):
                call.screen.note(f"target {name} follows its load: {wanted} is the least in each of its cities")
    body = {"targets": {name: {"spec": {"deployments": asked}} for name in chosen}}
    _change(call, str(found.get("slug")), "PATCH", body, yes=yes, wait=wait, timeout=timeout)


def _bounds(most: int, cpu: str) -> dict[str, Any]:
    try:
        return bounds.deployments(most, cpu)
    except ValueError as error:
        raise usage(str(error)) from error


@command(app, "rollback", examples="anypop workload rollback web\nanypop workload rollback web --revision 3 --yes")
def rollback(
    call: Call,
    workload: KnownWorkload,
    *,
    revision: Annotated[
        int | None,
        typer.Option("--revision", metavar="N", help="Which one (default: the last that ran everywhere).", min=1),
    ] = None,
    yes: Yes = False,
    wait: Wait = True,
    timeout: Timeout = 300,
) -> None:
    """Go back to an earlier revision: it is declared anew and rolled out like any other change."""
    kept = (
        call.client.get(f"{call.workload_path(workload, 'anypop')}/revisions", what=f"revisions of {workload}").get(
            "results"
        )
        or []
    )
    call.screen.note(revisions(kept), "")
    call.screen.agree(
        f"Take {workload} back to " + (f"revision {revision}?" if revision else "the last good revision?"), yes=yes
    )
    body = {"revision": revision} if revision else {}
    path = f"{call.workload_path(workload, 'anypop')}/rollback"
    answer = call.client.call("POST", path, what=f"roll back {workload}", body=body)
    ended(call, answer["workload"], wait=wait, timeout=timeout)


def revisions(kept: list[views.Data]) -> Table:
    columns = [
        Column(head="REVISION", right=True),
        Column(head="CREATED"),
        Column(head="IMAGES"),
        Column(head="NOTE", maybe=True),
    ]
    rows: list[list[Cell]] = [
        [
            str(r.get("revision")) + (" (newest)" if r.get("newest") else ""),
            views.moment(r.get("createdAt")),
            ", ".join(r.get("images") or []),
            views.text(r.get("note")),
        ]
        for r in kept
    ]
    return Table(columns=columns, rows=rows, empty="no revisions")


def there(call: Call, slug: str) -> views.Data | None:
    """The workload of that name, if there is one."""
    try:
        found: views.Data = call.client.get(call.workload_path(slug), what=f"look for {slug}")["workload"]
    except Failure as failure:
        if failure.code is Exit.NOT_FOUND:
            return None
        raise
    return found


def _create(call: Call, document: dict[str, Any], slug: str, *, yes: bool, wait: bool, timeout: float) -> None:
    what = f"create workload {slug}"
    price = call.client.call("POST", "/anypop/v1/quote", what=what, body={"workload": document})
    call.screen.note(views.quote(price), *without_effect(price), "")
    call.screen.agree("Create it?", yes=yes)
    made = call.client.call("POST", f"{call.stack_path('workload')}/workloads", what=what, body={"workload": document})[
        "workload"
    ]
    known = str(made.get("slug"))
    found: list[views.Data] = []
    if wait:
        found = list(views.by_name(watch.until_running(call, known, views.expected(made), timeout_s=timeout)))
    call.screen.result({"workload": made, "quote": price, "instances": found}, lambda: summary(made, found))


def _change(call: Call, slug: str, method: str, body: dict[str, Any], *, yes: bool, wait: bool, timeout: float) -> None:
    what = f"change workload {slug}"
    told = preview(call, slug, body, merge=method == "PATCH")
    if not told.get("changes"):
        found = call.client.get(call.workload_path(slug), what=what)["workload"]
        call.screen.result({"workload": found, "changes": []}, lambda: [f"{slug} is so already: nothing changes"])
        return
    call.screen.note(*difference(told), "")
    call.screen.agree("Change it?", yes=yes)
    made = call.client.call(method, call.workload_path(slug), what=what, body={"workload": body})["workload"]
    ended(call, made, wait=wait, timeout=timeout, changes=told["changes"])


def ended(call: Call, made: views.Data, *, wait: bool, timeout: float, changes: Any = None) -> None:
    """Watch the change to its end and say what came of it."""
    slug, revision = str(made.get("slug")), int((made.get("metadata") or {}).get("version") or 0)
    rollout = None
    found: list[views.Data] = []
    if wait:
        rollout = rollouts.until_ended(call, slug, revision, timeout_s=timeout)
        found = list(views.by_name(watch.until_running(call, slug, views.expected(made), timeout_s=timeout)))
    data = {"workload": made, "changes": changes or [], "rollout": rollout, "instances": found}
    call.screen.result(data, lambda: [*([rollouts.sentence(rollout)] if rollout else []), *summary(made, found)])


def difference(told: views.Data) -> list[Shown]:
    """What changes, whether processes are made anew for it, and the price if that changes."""
    shown: list[Shown] = [fields(told.get("changes") or [])]
    count = told.get("instances") or {}
    if told.get("new_processes"):
        waves = ", then ".join(" ".join(wave) for wave in told.get("waves") or [])
        shown.append(f"instances are made anew, wave by wave: {waves}")
    else:
        shown.append("no process is touched")
    if count.get("before") != count.get("after"):
        shown.append(f"instances: {count.get('before')} now, {count.get('after')} then")
    before, after = ((told.get("quote") or {}).get(key) or {} for key in ("before", "after"))
    if views.months(before) != views.months(after):
        shown.append(f"price: {views.months(before)} {after.get('currency')} a month now, {views.months(after)} then")
    return [*shown, *without_effect(told)]


def fields(changed: Sequence[views.Data]) -> Table:
    """Each field that changes, as it is and as it will be; of a secret only that it does."""
    rows: list[list[Cell]] = [
        [str(c.get("path")), ("(secret)" if c.get("secret") else views.text(c.get("before")), "red"),
         ("(another)" if c.get("secret") else views.text(c.get("after")), "green")]
        for c in changed
    ]  # fmt: skip
    return Table(columns=[Column(head="FIELD"), Column(head="NOW"), Column(head="THEN")], rows=rows)
