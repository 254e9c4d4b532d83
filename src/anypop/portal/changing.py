"""The page that changes a workload: images, environment and secrets (of a virtual machine: user data and SSH keys),
ports, sizes, cities and instances in each, and one target more; the plan and the price before the button.

In: the form. Out: the page; what would change, with the instances that would be made anew and in which order; and the
change itself. The form begins with what is declared, and what it does not show stays as it is. Two who change at once:
the second is refused, since the form says which version it was made from.
"""

import base64
import copy
import re
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

from starlette.responses import Response

from anypop.portal import planned_landings, summary
from anypop.portal.calls import Problem, Refused
from anypop.portal.creating import images
from anypop.portal.declaring import encoded, lines, pairs, ports, requests, target, typed
from anypop.portal.visit import Form, Page, Visit
from anypop.portal.workload import declared_of, done, place, way_back

Data = Mapping[str, Any]
MOST_CITIES = 10_000
NO_NUMBER, NO_CITY = "write how many instances each city has", "name at least one city"


async def form(visit: Visit) -> Response:
    return await _page(visit)


async def plan(visit: Visit) -> Response:
    """What would happen, and the button that makes it happen."""
    stack, _ = place(visit)
    planned, refused, declared = None, None, await declared_of(visit)
    try:
        body = {"workload": _wanted(visit.form, declared, await _sizes(visit), await _cities(visit))}
        planned = await visit.api.send("POST", "anypop/v1/stacks", stack, "plan", body=body)
    except Refused as error:
        refused = error
    return visit.page(
        "change_plan.html",
        planned=planned,
        refused=refused,
        name=declared["name"],
        anycast=summary.anycast(declared),
        at=f"/portal/stacks/{stack}/workloads/{declared['slug']}",
    )


async def plan_landings(visit: Visit) -> Response:
    """Where every network would land if it were changed so."""
    declared = await declared_of(visit)
    wanted = _wanted(visit.form, declared, await _sizes(visit), await _cities(visit))
    return await planned_landings.part(visit, {"workload": wanted})


async def change(visit: Visit) -> Response:
    stack, _ = place(visit)
    declared = await declared_of(visit)
    try:
        wanted = _wanted(visit.form, declared, await _sizes(visit), await _cities(visit))
        await visit.api.send(
            "PUT", "workload/v1/stacks", stack, "workloads", declared["id"], body={"workload": wanted}
        )  # fmt: skip
    except Refused as refused:
        return await _page(visit, refused=refused)
    before, after = ({**one, "metadata": {}, "targets": {}} for one in (declared, wanted))
    back = way_back(declared, content=before != after, numbers=declared["targets"] != wanted["targets"])
    if [one.cities for one in summary.targets(declared)] != [one.cities for one in summary.targets(wanted)]:
        back = {}  # no button brings cities back
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
        simple=[name for name, one in declared.get("targets", {}).items() if _selector(one) is not None],
        codes=sorted(await _cities(visit)),
        images=await images(visit) if _is_machine(declared) else [],
        machine=_is_machine(declared),
        sizes=await _sizes(visit),
        form=visit.form,
        refused=refused,
        planned=None,
    )


async def _sizes(visit: Visit) -> list[Data]:
    book = await visit.api.get("anypop/v1/prices")
    return list(book["sizes"])


async def _cities(visit: Visit) -> dict[str, str]:
    """Each city that there is, with its continent, by their codes."""
    found = await visit.api.get("workload/v1/locations", **{"page_request.first": MOST_CITIES})
    return {str(one["cityCode"]): str(one.get("continentCode", "any")) for one in found["results"]}


def _is_machine(declared: Data) -> bool:
    return bool(declared.get("spec", {}).get("virtualMachines"))


def _containers(declared: Data) -> dict[str, Any]:
    """Or the virtual machine."""
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
        "ports": form.get(f"ports:{name}", ", ".join(_port(one) for one in declared.get("ports", {}).values())),
        "size": form.get(f"size:{name}", ""),
        "requests": declared.get("resources", {}).get("requests", {}),
        "user_data": form.get(f"user-data:{name}", _user_data(declared)),
        "ssh_keys": form.get(f"ssh-keys:{name}", "\n".join(declared.get("sshKeys", ()))),
    }


def _user_data(declared: Data) -> str | None:
    """As text; None where it is none, and then the form leaves it as it is."""
    try:
        return base64.b64decode(declared.get("userData", "")).decode()
    except ValueError:
        return None


def _port(declared: Data) -> str:
    """As it is typed."""
    udp = str(declared.get("protocol", "TCP")).upper() == "UDP"
    return f"{declared.get('port', '')}{'/udp' if udp else ''}"


def _selector(target: Data) -> Any:
    """The one list of cities that a target has; None: it chooses them in another way, which the form leaves alone."""
    spec = target.get("spec", {})
    selectors = spec.get("deployments", {}).get("selectors", [])
    if spec.get("deploymentScope") != "cityCode" or len(selectors) != 1:
        return None
    one = selectors[0]
    return one if one.get("key") == "cityCode" and one.get("operator") == "in" else None


def _is_shown(value: Data) -> bool:
    """Whether a value stands in a line of the form: no secret, none of the instance's own, none of several lines."""
    text = str(value.get("value", ""))
    return "value" in value and text == text.strip() and len(text.splitlines()) < 2


def _wanted(form: Form, declared: Data, sizes: Sequence[Data], cities: Mapping[str, str]) -> dict[str, Any]:
    """The document with what the form says. `cities`: with the continent of each. Raises `Refused` with all that says
    nothing.
    """
    wrong: list[Problem] = []
    made: dict[str, Any] = copy.deepcopy(dict(declared))
    made["metadata"] = {**made["metadata"], "version": form.get("version", "")}
    for name, container in _containers(made).items():
        if f"image:{name}" not in form:
            continue  # it came while the form was open
        container["image"] = form.get(f"image:{name}", "").strip()
        if _is_machine(made):
            _tell(form, name, container)
        else:
            _set(container, "env", _env(form, name, container.get("env", {}), wrong))
        _open(form, name, container, wrong)
        _resize(form, name, container, sizes, wrong)
    for name, one in made.get("targets", {}).items():
        text = form.get(f"replicas:{name}", "").strip()
        if text.isdecimal() and len(text) <= 4:
            one["spec"]["deployments"]["minReplicas"] = int(text)
        elif f"replicas:{name}" in form:
            wrong.append(Problem(field=f"targets.{name}", says=NO_NUMBER))
        selector, said = _selector(one), form.get(f"cities:{name}")
        if selector is not None and said is not None:
            selector["values"] = _codes(said)
            if not selector["values"]:
                wrong.append(Problem(field=f"targets.{name}", says=NO_CITY))
    _add_target(form, made, cities, wrong)
    if wrong:
        raise Refused(400, "Something cannot be read.", tuple(wrong))
    return made


def _codes(text: str) -> list[str]:
    """Of cities, each once."""
    return list(dict.fromkeys(filter(None, re.split(r"[\s,;]+", text.strip().upper()))))


def _add_target(form: Form, made: dict[str, Any], cities: Mapping[str, str], wrong: list[Problem]) -> None:
    """One more, where its cities are named. Without a name of its own it is called as the page that creates would:
    after the continent of its first city, with a number.
    """
    name, codes, text = (
        form.get("new-name", "").strip(),
        _codes(form.get("new-cities", "")),
        form.get("new-replicas", ""),
    )
    if not codes:
        if name:
            wrong.append(Problem(field=f"targets.{name}", says=NO_CITY))
        return
    there = made.setdefault("targets", {})
    if not name:
        continent = cities.get(codes[0], "any").lower()
        name = next(one for n in count(1) if (one := f"{continent}{n}") not in there)
    if name in there:
        wrong.append(
            Problem(field=f"targets.{name}", says="is there already: choose another name, or change its cities")
        )
    elif not text.strip().isdecimal() or len(text) > 4:
        wrong.append(Problem(field=f"targets.{name}", says=NO_NUMBER))
    else:
        there[name] = target(codes, int(text))


def _tell(form: Form, name: str, machine: dict[str, Any]) -> None:
    """Of a virtual machine: user data and keys. What says the same stays as it was written."""
    text = typed(form.get(f"user-data:{name}", ""))
    if f"user-data:{name}" in form and text != _user_data(machine):
        _set(machine, "userData", encoded(text) if text else "")
    if f"ssh-keys:{name}" in form:
        _set(machine, "sshKeys", list(lines(form.get(f"ssh-keys:{name}", ""))))


def _set(there: dict[str, Any], key: str, value: Any) -> None:
    """What is empty is not declared."""
    there.pop(key, None)
    if value:
        there[key] = value


def _open(form: Form, name: str, container: dict[str, Any], wrong: list[Problem]) -> None:
    """Ports as the form has them. One that stays keeps its name and all that the form does not show."""
    if f"ports:{name}" not in form:
        return
    said: dict[str, str] = {}
    wanted = ports(form.get(f"ports:{name}", ""), said)
    wrong += [Problem(field=f"containers.{name}.ports", says=says) for says in said.values()]
    before = {_port(one): (key, one) for key, one in container.get("ports", {}).items()}
    made = {}
    for number, protocol in wanted:
        new = {"port": number, "protocol": protocol, "enableImplicitNetworkPolicy": True}
        key, one = before.get(_port(new), (f"port-{number}-{protocol.lower()}", new))
        made[key] = one
    _set(container, "ports", made)


def _resize(form: Form, name: str, container: dict[str, Any], sizes: Sequence[Data], wrong: list[Problem]) -> None:
    """To a size of the price book, where one is chosen; limits that there are go along."""
    if not (chosen := form.get(f"size:{name}", "")):
        return
    size = next((one for one in sizes if one["name"] == chosen), None)
    if size is None:
        wrong.append(Problem(field=f"containers.{name}.resources", says="there is no such size any more"))
        return
    resources = container.get("resources", {})
    container["resources"] = {**resources, "requests": requests(size)}
    if "limits" in resources:
        container["resources"]["limits"] = {**resources["limits"], **requests(size)}


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
    ("POST", "/portal/stacks/{stack}/workloads/{workload}/change/plan/landings", plan_landings),
    ("POST", "/portal/stacks/{stack}/workloads/{workload}/change", change),
)
