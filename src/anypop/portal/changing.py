"""The page that changes a workload: images, environment, secrets, instances in each city; the plan and the price before
the button.

In: the form. Out: the page; what would change, with the instances that would be made anew and in which order; and the
change itself. The form begins with what is declared, and what it does not show stays as it is. Two who change at once:
the second is refused, since the form says which version it was made from.
"""

import copy
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from anypop.portal import summary
from anypop.portal.calls import Problem, Refused
from anypop.portal.declaring import pairs
from anypop.portal.visit import Form, Page, Visit
from anypop.portal.workload import declared_of, done, place, way_back

Data = Mapping[str, Any]


async def form(visit: Visit) -> Response:
    return await _page(visit)


async def plan(visit: Visit) -> Response:
    """What would happen, and the button that makes it happen."""
    stack, _ = place(visit)
    planned, refused, declared = None, None, await declared_of(visit)
    try:
        body = {"workload": _wanted(visit.form, declared)}
        planned = await visit.api.send("POST", "anypop/v1/stacks", stack, "plan", body=body)
    except Refused as error:
        refused = error
    return visit.page("change_plan.html", planned=planned, refused=refused, name=declared["name"])


async def change(visit: Visit) -> Response:
    stack, _ = place(visit)
    declared = await declared_of(visit)
    try:
        wanted = _wanted(visit.form, declared)
        await visit.api.send(
            "PUT", "workload/v1/stacks", stack, "workloads", declared["id"], body={"workload": wanted}
        )  # fmt: skip
    except Refused as refused:
        return await _page(visit, refused=refused)
    before, after = ({**one, "metadata": {}, "targets": {}} for one in (declared, wanted))
    back = way_back(declared, content=before != after, numbers=declared["targets"] != wanted["targets"])
    return done(visit, "changed", way_back=back)


async def _page(visit: Visit, *, refused: Refused | None = None) -> Response:
    stack, _ = place(visit)
    declared = await declared_of(visit)
    return visit.page(
        "change.html",
        status=refused.status if refused is not None else 200,
        stack=stack,
        workload=declared,
        # of a form that was refused: the version it was made from, since what it says is about that one
        version=visit.form.get("version", declared["metadata"]["version"]),
        containers=[_shown(name, one, visit.form) for name, one in _containers(declared).items()],
        targets=summary.targets(declared),
        form=visit.form,
        refused=refused,
        planned=None,
    )


def _containers(declared: Data) -> dict[str, Any]:
    spec = declared.get("spec", {})
    found: dict[str, Any] = spec.get("containers") or spec.get("virtualMachines") or {}
    return found


def _shown(name: str, declared: Data, form: Form) -> dict[str, Any]:
    """Fields of one container: of the form where it was sent, else as declared."""
    env = declared.get("env", {})
    plain = "\n".join(f"{key}={value['value']}" for key, value in env.items() if _is_shown(value))
    return {
        "name": name,
        "image": form.get(f"image:{name}", declared.get("image", "")),
        "env": form.get(f"env:{name}", plain),
        "kept": [key for key, value in env.items() if not _is_shown(value)],
        "dropped": form.getlist(f"drop:{name}"),
    }


def _is_shown(value: Data) -> bool:
    """Whether a value stands in a line of the form: no secret, none of the instance's own, none of several lines."""
    text = str(value.get("value", ""))
    return "value" in value and text == text.strip() and len(text.splitlines()) < 2


def _wanted(form: Form, declared: Data) -> dict[str, Any]:
    """The document with what the form says. Raises `Refused` with all that says nothing."""
    wrong: list[Problem] = []
    made: dict[str, Any] = copy.deepcopy(dict(declared))
    made["metadata"] = {**made["metadata"], "version": form.get("version", "")}
    for name, container in _containers(made).items():
        if f"image:{name}" not in form:
            continue  # it came while the form was open
        container["image"] = form.get(f"image:{name}", "").strip()
        env = _env(form, name, container.get("env", {}), wrong)
        container.pop("env", None)
        if env:
            container["env"] = env
    for name, target in made.get("targets", {}).items():
        text = form.get(f"replicas:{name}", "").strip()
        if text.isdecimal() and len(text) <= 4:
            target["spec"]["deployments"]["minReplicas"] = int(text)
        elif f"replicas:{name}" in form:
            wrong.append(Problem(field=f"targets.{name}", says="write how many instances each city has"))
    if wrong:
        raise Refused(400, "Something cannot be read.", tuple(wrong))
    return made


def _env(form: Form, name: str, declared: Data, wrong: list[Problem]) -> dict[str, Any]:
    """Values as the form has them; what it does not show stays, but for what is dropped or given anew."""
    said: dict[str, str] = {}
    values = pairs(form.get(f"env:{name}", ""), "values", said)
    secrets = pairs(form.get(f"secrets:{name}", ""), "secrets", said)
    wrong += [Problem(field=f"containers.{name}.env", says=f"{field}: {says}") for field, says in said.items()]
    dropped = set(form.getlist(f"drop:{name}"))
    wanted = {key: value for key, value in declared.items() if not _is_shown(value) and key not in dropped}
    wanted |= {key: {"value": value} for key, value in values.items()}
    wanted |= {key: {"secretValue": value} for key, value in secrets.items()}
    return {key: wanted[key] for key in dict.fromkeys((*declared, *wanted)) if key in wanted}


PAGES: tuple[tuple[str, str, Page], ...] = (
    ("GET", "/portal/stacks/{stack}/workloads/{workload}/change", form),
    ("POST", "/portal/stacks/{stack}/workloads/{workload}/change/plan", plan),
    ("POST", "/portal/stacks/{stack}/workloads/{workload}/change", change),
)
