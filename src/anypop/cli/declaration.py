"""The body of a workload's POST, from options or from a file: two spellings of one thing.

In: the command line's words, or YAML or JSON text. Out: the object that stands under "workload" in the Workload API. It
checks what only the command line knows (the form of `na1=JFK,LAX`); everything else is checked by control, which knows
the cities, the slugs and the limits.
"""

import json
import os
import shlex
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from anypop.cli import bounds
from anypop.cli.failure import usage
from anypop.cli.sizes import requests_of

ANYCAST = "anycast.platform.stackpath.net"
LOCAL_ONLY = "anypop/local-only"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The options of `quote` and `workload create`, as typed."""

    slug: str = ""
    name: str = ""
    image: str = ""
    ports: Sequence[str] = ()
    size: str = "SP-1"
    targets: Sequence[str] = ()
    replicas: int = 1
    most: int = 0
    cpu: str = ""
    anycast: bool = False
    local_only: bool = False
    env: Sequence[str] = ()
    secrets: Sequence[str] = ()
    command: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class More:
    """What further options say of the container and of what is around it. `requests`: in place of the size's;
    `machine`: what only a virtual machine has, where it is one. `problems`: of options that cannot be understood.
    """

    container: dict[str, Any] = field(default_factory=dict)
    requests: dict[str, str] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=dict)
    runtime: dict[str, Any] = field(default_factory=dict)
    interface: dict[str, Any] = field(default_factory=dict)
    spec: dict[str, Any] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    problems: Sequence[str] = ()


NOTHING_MORE = More()


def of_options(wanted: Wanted, more: More = NOTHING_MORE) -> dict[str, Any]:
    """A workload with one container, or one virtual machine, called `app`. `Failure` with every option that cannot be
    understood.
    """
    problems: list[str] = [*more.problems]
    ports = _collect(wanted.ports, _port, problems)
    env = _collect(wanted.env, lambda text: _variable(text, "--env", "value"), problems)
    secrets = _collect(wanted.secrets, lambda text: _variable(text, "--secret", "secretValue"), problems)
    targets = _collect(wanted.targets, _target, problems)
    for option, names in (("--port", ports), ("--target", targets), ("--env or --secret", [*env, *secrets])):
        problems += [f"{option} {name}: given twice" for name in _repeated(name for name, _ in names)]
    if wanted.local_only and not wanted.anycast:
        problems.append("--local-only: is about an anycast address; add --anycast")
    if not wanted.targets:
        problems.append("--target: say where, for example --target eu1=AMS,LHR")
    follows: dict[str, Any] = {}
    try:
        follows = bounds.deployments(wanted.most, wanted.cpu)
    except ValueError as error:
        problems.append(str(error))
    if wanted.most and not wanted.cpu:
        problems.append("--max: says how far their number follows the load; add --cpu 50%")
    command: list[str] = []
    for text in wanted.command:
        try:
            command += shlex.split(text)
        except ValueError as error:
            problems.append(f"--command '{text}': {str(error).lower()}")
    problems += _not_of_machines(wanted, more)
    # alone it is for control to say, together with all that control finds
    if problems and wanted.slug and not wanted.image and not more.machine:
        problems.append("--image: say what to run, for example --image registry.example/web:1")
    if problems:
        raise usage(
            "this workload cannot be understood",
            problems=problems,
            advice="'anypop workload create --help' has examples.",
        )
    resources = {"requests": requests_of(wanted.size) | more.requests, **more.container.get("resources", {})}
    container: dict[str, Any] = {"image": wanted.image} | more.container | {"resources": resources}
    if command:
        container["command"] = command
    if variables := {name: {"value": value} for name, value in more.env.items()} | dict([*env, *secrets]):
        container["env"] = variables
    if ports:
        container["ports"] = dict(ports)
    body: dict[str, Any] = {"name": wanted.name or wanted.slug}
    if wanted.slug:
        body["slug"] = wanted.slug
    asked = {ANYCAST: wanted.anycast, LOCAL_ONLY: wanted.local_only}
    annotations = more.annotations | {name: "true" for name, wish in asked.items() if wish}
    metadata = {"annotations": annotations, "labels": more.labels}
    if metadata := {key: pairs for key, pairs in metadata.items() if pairs}:
        body["metadata"] = metadata
    interface = {"network": "default", "enableOneToOneNat": True, "ipFamilies": ["IPv4", "IPv6"]} | more.interface
    kind = "virtualMachines" if more.machine else "containers"
    body["spec"] = {kind: {"app": container | more.machine}, "networkInterfaces": [interface]} | more.spec
    if more.runtime:
        body["spec"]["runtime"] = {kind: more.runtime}
    body["targets"] = {
        name: _target_spec(cities, {"minReplicas": wanted.replicas} | follows) for name, cities in targets
    }
    return body


def _not_of_machines(wanted: Wanted, more: More) -> Iterable[str]:
    """What control would call an unknown field, in the words of the command line."""
    if not more.machine:
        return
    if wanted.image:
        yield "--image and --vm-image exclude each other: a workload is of containers or of a virtual machine"
    if wanted.env or wanted.secrets or more.env or wanted.command or more.container.get("args"):
        yield "--env, --secret, --command: a virtual machine has none; write it into the file for --user-data"


def of_file(path: Path) -> dict[str, Any]:
    """The workload in a YAML or JSON file (`-` is standard input), with or without the outer "workload"."""
    documents = documents_of(path)
    if len(documents) > 1:
        raise usage(f"{named(path)} holds {len(documents)} documents", advice="'anypop apply -f' takes several.")
    return unwrapped(documents[0] if documents else None, named(path))


def named(path: Path) -> str:
    """How a file is called in a message."""
    return "standard input" if str(path) == "-" else str(path)


def documents_of(path: Path) -> list[Any]:
    """What a file holds: one JSON document, or YAML documents; empty ones are left out."""
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise usage(f"{named(path)} cannot be read: {why}") from error
    return [found for found in parsed(text, named(path)) if found is not None]


def unwrapped(found: Any, name: str) -> dict[str, Any]:
    """A workload without the outer "workload"."""
    if isinstance(found, dict) and isinstance(found.get("workload"), dict):
        found = found["workload"]
    if not isinstance(found, dict):
        raise usage(
            f"{name} holds no workload", advice="It is an object with name, spec and targets, as in docs/cli.md."
        )
    return found


def parsed(text: str, name: str) -> list[Any]:
    """The documents of a text: one of JSON, or those of YAML. `name`: whose, for a message."""
    try:
        return [json.loads(text)]
    except RecursionError as error:
        raise usage(f"{name} is nested too deep for a workload") from error
    except ValueError as error:
        if text.lstrip().startswith("{") and name.endswith(".json"):
            raise usage(f"{name} is not JSON: {error}") from error
    import yaml  # noqa: PLC0415 - most calls need none

    try:
        return list(yaml.safe_load_all(text))
    except RecursionError as error:
        raise usage(f"{name} is nested too deep for a workload") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise usage(f"{name}{place}: not YAML: {getattr(error, 'problem', None) or error}") from error


def _collect(
    texts: Iterable[str], parse: Callable[[str], tuple[str, Any]], problems: list[str]
) -> list[tuple[str, Any]]:
    found = []
    for text in texts:
        try:
            found.append(parse(text))
        except ValueError as error:
            problems.append(str(error))
    return found


def _repeated(names: Iterable[str]) -> list[str]:
    seen: set[str] = set()
    return sorted({name for name in names if name in seen or seen.add(name)})  # type: ignore[func-returns-value]


def _port(text: str) -> tuple[str, dict[str, Any]]:
    number, _, protocol = text.partition("/")
    kind = (protocol or "tcp").upper()
    if not number.isdigit() or kind not in ("TCP", "UDP"):
        raise ValueError(f"--port {text}: write 80, 80/tcp or 53/udp")
    # Out-of-range numbers go on to control, whose answer has the path of the field like every other problem of a
    # workload.
    return f"{kind.lower()}-{number}", {"port": int(number), "protocol": kind, "enableImplicitNetworkPolicy": True}


def _variable(text: str, option: str, field: str) -> tuple[str, dict[str, str]]:
    name, equals, value = text.partition("=")
    if not name:
        raise ValueError(f"{option} {text}: write NAME=VALUE, or NAME alone to take it from the environment")
    if not equals:
        if name not in os.environ:
            raise ValueError(f"{option} {name}: not set in the environment; write {name}=VALUE")
        value = os.environ[name]
    return name, {field: value}


def _target(text: str) -> tuple[str, list[str]]:
    name, _, cities = text.partition("=")
    codes = [code.strip().upper() for code in cities.split(",") if code.strip()]
    if not name or not codes:
        raise ValueError(f"--target {text}: write NAME=CITY,CITY, for example eu1=AMS,LHR")
    return name, codes


def _target_spec(cities: list[str], deployments: dict[str, Any]) -> dict[str, Any]:
    return {
        "spec": {
            "deploymentScope": "cityCode",
            "deployments": {
                **deployments,
                "selectors": [{"key": "cityCode", "operator": "in", "values": cities}],
            },
        }
    }
