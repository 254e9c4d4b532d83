"""What can be done to a workload: scale, restart, power, mend and capture one of its machines, go back, steer a
rollout, drain, delete.

In: forms of its page. Out: for each the API's own operation, and the page again, with the way back where there is one.
What cannot be undone needs the workload's name, typed.
"""

from collections.abc import Mapping

from starlette.responses import Response

from anypop.portal import summary
from anypop.portal.acting import did
from anypop.portal.calls import Refused
from anypop.portal.visit import Page, Visit
from anypop.portal.workload import NUMBER, declared_of, done, page, place, way_back, workload

POWERED = {"off": "powered-off", "on": "powered-on"}
ROLLOUTS = {"pause": "paused", "resume": "resumed", "abort": "aborted"}


async def scale(visit: Visit) -> Response:
    """So many instances in each city of each target."""
    wanted, problems, now = {}, [], await declared_of(visit)
    declared = {target.name: target for target in summary.targets(now)}
    for name, target in declared.items():
        text = visit.form.get(f"replicas-{name}", str(target.least)).strip()
        if not text.isdecimal() or len(text) > 4:
            problems.append(f"{name}: a whole number")
        elif int(text) != target.least:
            wanted[name] = {"spec": {"deployments": {"minReplicas": int(text)}}}
    if problems:
        return await page(visit, refused=Refused(400, "; ".join(problems)))
    if not wanted:
        return done(visit)
    body = {"workload": {"targets": wanted, "metadata": {"version": visit.form.get("version", "")}}}
    back = way_back(now, content=False, numbers=True)
    return await _did(visit, "scaled", "PATCH", "workload/v1/stacks", *workload(visit), body=body, back=back)


async def restart(visit: Visit) -> Response:
    return await _did(visit, "restarting", "POST", "anypop/v1/stacks", *workload(visit), "restart")


async def restart_instance(visit: Visit) -> Response:
    path = (*workload(visit), "instances", visit.form.get("instance", ""), "power", "restart")
    return await _did(visit, "restarted", "POST", "workload/v1/stacks", *path)


async def power(visit: Visit) -> Response:
    """`act`: off, or on."""
    act = visit.form.get("act", "")
    if act not in POWERED:
        return await page(visit, refused=Refused(400, "A virtual machine is powered off or on."))
    path = (*workload(visit), "instances", visit.form.get("instance", ""), "power", act)
    return await _did(visit, POWERED[act], "POST", "anypop/v1/stacks", *path)


async def rescue(visit: Visit) -> Response:
    """Start a virtual machine with another image, to mend it."""
    path = (*workload(visit), "instances", visit.form.get("instance", ""), "power", "rescue")
    body = {"image": visit.form.get("image", "")}
    return await _did(visit, "mending", "POST", "anypop/v1/stacks", *path, body=body)


async def capture(visit: Visit) -> Response:
    """Make an image of a disk of a virtual machine: `disk` is a claim, or empty for the root disk."""
    family, tag = (visit.form.get(name, "").strip() for name in ("family", "tag"))
    if not family or not tag:
        return await page(visit, refused=Refused(400, "An image has a family and a tag."))
    body = {"capture": {"instance": visit.form.get("instance", ""), "volume": visit.form.get("disk", "")}}
    path = ("anypop/v1/stacks", place(visit)[0], "images", family, tag, "capture")
    return await _did(visit, "captured", "POST", *path, body=body)


async def roll_back(visit: Visit) -> Response:
    text = visit.form.get("revision", "")
    body = {"revision": int(text)} if text.isdecimal() and len(text) < 10 else {}
    back = way_back(await declared_of(visit), content=True, numbers=False)
    path = ("anypop/v1/stacks", *workload(visit), "rollback")
    return await _did(visit, "rolled-back", "POST", *path, body=body, back=back)


async def undo(visit: Visit) -> Response:
    """What was done just now, by the way back that its page had: a revision's content, numbers of instances, or both.
    The numbers come first: what starts by them need not start twice.
    """
    now = await declared_of(visit)
    pairs = [pair.partition(":") for pair in visit.form.get("replicas", "").split(",") if pair]
    if not all(NUMBER.fullmatch(count) for _, _, count in pairs):
        return await page(visit, refused=Refused(400, "There is no such way back."))
    targets = {name: {"spec": {"deployments": {"minReplicas": int(count)}}} for name, _, count in pairs}
    if not set(targets) <= set(now.get("targets", {})):
        return await page(visit, refused=Refused(400, "There is no such way back: a target is not there any more."))
    try:
        if targets:
            await visit.api.send(
                "PATCH", "workload/v1/stacks", *workload(visit), body={"workload": {"targets": targets}}
            )  # fmt: skip
        if NUMBER.fullmatch(revision := visit.form.get("revision", "")):
            path = ("anypop/v1/stacks", *workload(visit), "rollback")
            await visit.api.send("POST", *path, body={"revision": int(revision)})
    except Refused as refused:
        return await page(visit, refused=refused)
    return done(visit, "undone")


async def drain(visit: Visit) -> Response:
    stack, _ = place(visit)
    body = {"drain": {"target": visit.form.get("instance", ""), "stack": stack}}
    return await _did(visit, "draining", "POST", "anypop/v1/drains", body=body)


async def undrain(visit: Visit) -> Response:
    return await _did(visit, "undrained", "POST", "anypop/v1/drains", visit.form.get("drain", ""), "undrain")


async def delete(visit: Visit) -> Response:
    declared = await declared_of(visit)
    if visit.form.get("confirm", "").strip() != declared["slug"]:
        return await page(visit, refused=Refused(400, f"To delete it, type its name: {declared['slug']}"))
    return await _did(visit, "deleting", "DELETE", "workload/v1/stacks", *workload(visit))


async def rollout(visit: Visit) -> Response:
    """`act`: what to do with a rollout, and its id."""
    act, _, identity = visit.form.get("act", "").partition(":")
    if act not in ROLLOUTS:
        return await page(visit, refused=Refused(400, "A rollout can be paused, resumed or aborted."))
    return await _did(visit, ROLLOUTS[act], "POST", "anypop/v1/stacks", *workload(visit), "rollouts", identity, act)


async def _did(
    visit: Visit, word: str, method: str, *call: str, body: object = None, back: Mapping[str, str] | None = None
) -> Response:
    """The page of the workload again; `back`: the way back, where there is one."""
    return await did(visit, page, done(visit, word, way_back=back), method, *call, body=body)


_AT = "/portal/stacks/{stack}/workloads/{workload}"
PAGES: tuple[tuple[str, str, Page], ...] = (
    ("POST", f"{_AT}/scale", scale),
    ("POST", f"{_AT}/restart", restart),
    ("POST", f"{_AT}/restart-instance", restart_instance),
    ("POST", f"{_AT}/power", power),
    ("POST", f"{_AT}/rescue", rescue),
    ("POST", f"{_AT}/capture", capture),
    ("POST", f"{_AT}/rollback", roll_back),
    ("POST", f"{_AT}/undo", undo),
    ("POST", f"{_AT}/rollout", rollout),
    ("POST", f"{_AT}/drain", drain),
    ("POST", f"{_AT}/undrain", undrain),
    ("POST", f"{_AT}/delete", delete),
)
