"""The form for a new workload, as a document of the API, and as others would write the same. Pure.

In: the form's fields, the sizes of the price book, the cities. Out: the document, with what is wrong in the form by its
field; and the same as a call of the API, as a line of the command line, and as YAML. What is right the API says: here
is only what cannot be put into a document at all.
"""

import base64
import json
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from anypop.portal.visit import Form

ANYCAST = "anycast.platform.stackpath.net"
# in the place of a secret: no text, so that nobody makes a workload with it by mistake
HIDDEN = ["write the secret here"]
CONTAINER, MACHINE = "container", "machine"
SUGGESTED = "SP-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the form says. `machine`: a virtual machine, with `user_data` and `ssh_keys`; else a container, with `env`
    and `secrets`. `replicas`: of each city that is wanted. `wrong`: words for each field that says nothing.
    """

    name: str
    image: str
    machine: bool = False
    user_data: str = field(default="", repr=False)
    ssh_keys: tuple[str, ...] = ()
    ports: tuple[tuple[int, str], ...]
    env: Mapping[str, str]
    secrets: Mapping[str, str]
    size: str
    replicas: Mapping[str, int]
    anycast: bool
    wrong: Mapping[str, str]


def wish(form: Form) -> Wish:
    wrong: dict[str, str] = {}
    machine = form.get("kind", "") == MACHINE
    return Wish(
        name=form.get("name", "").strip(),
        image=form.get("machine-image" if machine else "image", "").strip(),
        machine=machine,
        user_data=typed(form.get("user-data", "")) if machine else "",
        ssh_keys=lines(form.get("ssh-keys", "")) if machine else (),
        ports=ports(form.get("ports", ""), wrong),
        env={} if machine else pairs(form.get("env", ""), "env", wrong),
        secrets={} if machine else pairs(form.get("secrets", ""), "secrets", wrong),
        size=form.get("size", ""),
        replicas=_replicas(form, wrong),
        anycast=form.get("anycast", "") == "on",
        wrong=wrong,
    )


def typed(text: str) -> str:
    """What was typed: browsers send CR LF, and a script that begins with #! runs with neither."""
    return text.replace("\r\n", "\n")


def lines(text: str) -> tuple[str, ...]:
    return tuple(filter(None, map(str.strip, text.splitlines())))


def encoded(text: str) -> str:
    """User data as the API takes it."""
    return base64.b64encode(text.encode()).decode()


def ports(text: str, wrong: dict[str, str]) -> tuple[tuple[int, str], ...]:
    """`80, 443, 53/udp`; words for the field `ports` where one is none."""
    found: dict[tuple[int, str], None] = {}
    for word in re.split(r"[\s,;]+", text.strip()):
        match = re.fullmatch(r"(\d{1,5})(?:/(tcp|udp))?", word.lower())
        if match is not None and 0 < int(match[1]) < 65536:
            found[int(match[1]), (match[2] or "tcp").upper()] = None
        elif word:
            wrong["ports"] = f"{word}: write a number from 1 to 65535, with /udp where it is one of UDP"
    return tuple(found)


def pairs(text: str, field: str, wrong: dict[str, str]) -> dict[str, str]:
    """`NAME=value`, one on each line; words for the field where a line is none."""
    found = {}
    for line in filter(None, (line.strip() for line in text.splitlines())):
        name, equals, value = line.partition("=")
        if not equals or not name.strip():
            # a line without a sign may be a secret in itself: it is not repeated
            wrong[field] = "write NAME=value, one on each line"
        else:
            found[name.strip()] = value.strip()
    return found


def _replicas(form: Form, wrong: dict[str, str]) -> dict[str, int]:
    found = {}
    for city in form.getlist("city"):
        text = form.get(f"replicas-{city}", "1").strip()
        if text.isdecimal() and len(text) <= 4 and int(text) > 0:
            found[city] = int(text)
        else:
            wrong["city"] = f"{city}: write how many instances, at least 1"
    return found


def document(wish: Wish, sizes: Sequence[Mapping[str, Any]], continents: Mapping[str, str]) -> dict[str, Any]:
    """The workload as the API takes it. `continents`: the code of each city's."""
    size = next((one for one in sizes if one["name"] == wish.size), sizes[0])
    container: dict[str, Any] = {
        "image": wish.image,
        "resources": {"requests": requests(size)},
    }
    if wish.ports:
        container["ports"] = {
            f"port-{number}-{protocol.lower()}": {
                "port": number, "protocol": protocol, "enableImplicitNetworkPolicy": True,
            }
            for number, protocol in wish.ports
        }  # fmt: skip
    env: dict[str, Any] = {name: {"value": value} for name, value in wish.env.items()}
    env |= {name: {"secretValue": value} for name, value in wish.secrets.items()}
    if env:
        container["env"] = env
    if wish.user_data:
        container["userData"] = encoded(wish.user_data)
    if wish.ssh_keys:
        container["sshKeys"] = list(wish.ssh_keys)
    made: dict[str, Any] = {"name": wish.name, "slug": wish.name}
    if wish.anycast:
        made["metadata"] = {"annotations": {ANYCAST: "true"}}
    made["spec"] = {
        "virtualMachines" if wish.machine else "containers": {"app": container},
        "networkInterfaces": [{"network": "default", "ipFamilies": ["IPv4", "IPv6"]}],
    }
    made["targets"] = {name: target(cities, count) for name, cities, count in targets(wish, continents)}
    return made


def targets(wish: Wish, continents: Mapping[str, str]) -> list[tuple[str, list[str], int]]:
    """Cities of one continent with one number of replicas are a target: `eu1`, `eu2`, `na1`."""
    groups: dict[tuple[str, int], list[str]] = {}
    for city, count in wish.replicas.items():
        groups.setdefault((continents.get(city, "any").lower(), count), []).append(city)
    numbers: dict[str, int] = {}
    found = []
    for (continent, count), cities in groups.items():
        numbers[continent] = numbers.get(continent, 0) + 1
        found.append((f"{continent}{numbers[continent]}", cities, count))
    return found


def target(cities: Iterable[str], count: int) -> dict[str, Any]:
    selectors = [{"key": "cityCode", "operator": "in", "values": list(cities)}]
    return {"spec": {"deploymentScope": "cityCode", "deployments": {"minReplicas": count, "selectors": selectors}}}


def requests(size: Mapping[str, Any]) -> dict[str, str]:
    """What a container of a size of the price book asks for."""
    return {"cpu": _cpu(size["cpuMillis"]), "memory": _memory(size["memoryBytes"])}


def _cpu(millis: int) -> str:
    return str(millis // 1000) if millis % 1000 == 0 else f"{millis}m"


def _memory(size: int) -> str:
    return f"{size >> 30}Gi" if size % (1 << 30) == 0 else f"{size >> 20}Mi"


# the same, as others would write it


def without_secrets(made: dict[str, Any]) -> dict[str, Any]:
    """To be shown: no secret goes back to a page."""
    copy: dict[str, Any] = json.loads(json.dumps(made))
    for container in units(copy).values():
        for value in container.get("env", {}).values():
            if "secretValue" in value:
                value["secretValue"] = HIDDEN
    return copy


def units(made: Mapping[str, Any]) -> dict[str, Any]:
    """Its containers, or its virtual machine, by name."""
    found: dict[str, Any] = made["spec"].get("containers") or made["spec"].get("virtualMachines") or {}
    return found


def as_yaml(made: dict[str, Any]) -> str:
    text: str = yaml.safe_dump(without_secrets(made), sort_keys=False, allow_unicode=True, width=100)
    return text


def as_call(made: dict[str, Any], *, host: str, stack: str) -> str:
    body = json.dumps({"workload": without_secrets(made)}, indent=2, ensure_ascii=False)
    address = shlex.quote(f"https://{host}/workload/v1/stacks/{stack}/workloads")
    return (
        f'curl {address} \\\n  -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" \\\n'
        f"  -d {shlex.quote(body)}\n"
    )


def as_command(wish: Wish, continents: Mapping[str, str]) -> str:
    """A line for a shell. Where cities have different numbers of instances, one line cannot say it: a file does."""
    groups = targets(wish, continents)
    counts = {count for *_, count in groups}
    if len(counts) > 1:
        return f"# cities with different numbers of instances: save the YAML as {wish.name or 'workload'}.yaml\n" + (
            f"anypop apply -f {shlex.quote((wish.name or 'workload') + '.yaml')}\n"
        )
    parts = [
        f"anypop workload create {shlex.quote(wish.name or 'NAME')}",
        f"--{'vm-image' if wish.machine else 'image'} {shlex.quote(wish.image or 'IMAGE')}",
    ]
    # files: the fields of the form hold what stands in them
    parts += ["--user-data user-data"] if wish.user_data else []
    parts += [f"--ssh-key key-{number}.pub" for number, _ in enumerate(wish.ssh_keys, 1)]
    parts += [f"--port {number}{'/udp' if protocol == 'UDP' else ''}" for number, protocol in wish.ports]
    parts.append(f"--size {shlex.quote(wish.size)}")
    parts += [f"--target {shlex.quote(name + '=' + ','.join(cities))}" for name, cities, _ in groups]
    parts += [f"--replicas {count}" for count in counts]
    parts += ["--anycast"] if wish.anycast else []
    parts += [f"--env {shlex.quote(f'{name}={value}')}" for name, value in wish.env.items()]
    parts += [f"--secret {shlex.quote(name)}" for name in wish.secrets]
    return " \\\n  ".join(parts) + "\n"
