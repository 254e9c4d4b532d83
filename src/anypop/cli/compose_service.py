"""One service of a Compose file as a workload with one container.

In: the service's object, the file's volumes, and where problems go. Out: a `Made`, from which the body of a workload is
made once the cities are known. The fields that are taken stand in `_TAKERS`, one function each; a field that is in none
of the tables is refused. It reads no environment and no file but by `compose_values`.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from anypop.cli import compose_values as values
from anypop.cli.compose_values import Problems
from anypop.cli.declaration import ANYCAST

TARGET = "edge"
VOLUME_SIZE = "1Gi"


@dataclass(slots=True, kw_only=True)
class Made:
    """`cities`: those of the service alone."""

    name: str
    container: dict[str, Any] = field(default_factory=dict)
    runtime: dict[str, Any] = field(default_factory=dict)
    claims: list[dict[str, Any]] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    cities: tuple[str, ...] = ()
    anycast: bool | None = None
    replicas: int = 1

    @property
    def slug(self) -> str:
        return self.name.lower().replace("_", "-").replace(".", "-")

    def workload(self, cities: tuple[str, ...], *, anycast: bool) -> dict[str, Any]:
        """The body. `anycast`: for what publishes ports, unless the service says otherwise."""
        published = any(p.get("enableImplicitNetworkPolicy") for p in self.container.get("ports", {}).values())
        metadata: dict[str, Any] = {"labels": self.labels} if self.labels else {}
        if self.anycast if self.anycast is not None else anycast and published:
            metadata["annotations"] = {ANYCAST: "true"}
        spec: dict[str, Any] = {
            "containers": {"app": self.container},
            "networkInterfaces": [{"network": "default", "enableOneToOneNat": True, "ipFamilies": ["IPv4", "IPv6"]}],
        }
        if self.claims:
            spec["volumeClaimTemplates"] = self.claims
        if self.runtime:
            spec["runtime"] = {"containers": self.runtime}
        selectors = [{"key": "cityCode", "operator": "in", "values": list(self.cities or cities)}]
        deployments = {"minReplicas": self.replicas, "selectors": selectors}
        return {
            "name": self.name,
            "slug": self.slug,
            **({"metadata": metadata} if metadata else {}),
            "spec": spec,
            "targets": {TARGET: {"spec": {"deploymentScope": "cityCode", "deployments": deployments}}},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
    made: Made
    volumes: dict[str, Any]
    problems: Problems

    @property
    def security(self) -> dict[str, Any]:
        """The container's security context, made when it is first needed."""
        found: dict[str, Any] = self.made.container.setdefault("securityContext", {})
        return found

    @property
    def shared_security(self) -> dict[str, Any]:
        """That of all containers."""
        found: dict[str, Any] = self.made.runtime.setdefault("securityContext", {})
        return found

    def amount(self, kind: str, name: str, amount: str | None) -> None:
        if amount is not None:
            self.made.container.setdefault("resources", {}).setdefault(kind, {})[name] = amount


def made_of(name: str, service: dict[str, Any], *, volumes: dict[str, Any], folder: Path, problems: Problems) -> Made:
    """The service as a workload; what is wrong goes to `problems`."""
    path = f"services.{name}"
    reading = _Reading(made=Made(name=name), volumes=volumes, problems=problems)
    made = reading.made
    if not service.get("image"):
        problems.add(f"{path}.image", "is required: images are not built here; build and push one, and name it")
    made.container["image"] = str(service.get("image") or "")
    if env := values.environment(service, path, folder, problems):
        made.container["env"] = {key: {"value": value} for key, value in env.items()}
    for key, value in service.items():
        here = f"{path}.{key}"
        if key in _TAKERS:
            if value is not None:
                _TAKERS[key](reading, value, here)
        elif key in _NOTED:
            made.notes.append(f"{here}: {_NOTED[key]}")
        elif key not in _DONE and not str(key).startswith("x-"):
            problems.add(here, _REFUSED.get(key, "is not taken"))
    return made


def taken(named: Mapping[str, tuple[str, Any]], problems: Problems) -> Made:
    """What options say that are fields of a service: by field how the option is called, and its value."""
    reading = _Reading(made=Made(name=""), volumes={}, problems=problems)
    for key, (option, value) in named.items():
        if value:
            _TAKERS[key](reading, value, option)
    return reading.made


def _command(reading: _Reading, value: Any, path: str) -> None:
    reading.made.container["args"] = values.words(value, path, reading.problems)


def _entrypoint(reading: _Reading, value: Any, path: str) -> None:
    reading.made.container["command"] = values.words(value, path, reading.problems)


def _ports(reading: _Reading, value: Any, path: str) -> None:
    reading.made.container.setdefault("ports", {}).update(values.ports(value, path, reading.problems))


def _expose(reading: _Reading, value: Any, path: str) -> None:
    there = reading.made.container.setdefault("ports", {})
    there.update({k: v for k, v in values.exposed(value, path, reading.problems).items() if k not in there})


def _healthcheck(reading: _Reading, value: Any, path: str) -> None:
    problems = reading.problems
    if not isinstance(value, dict):
        problems.add(path, "must be an object")
        return
    for key in set(value) - {"test", "interval", "timeout", "retries", "start_period", "disable"}:
        problems.add(f"{path}.{key}", "is not taken")
    test = value.get("test")
    if value.get("disable") or test in (["NONE"], "NONE"):
        reading.made.notes.append(f"{path}: none, so an open port that takes a connection is healthy")
        return
    if isinstance(test, list) and len(test) > 1 and test[0] in ("CMD", "CMD-SHELL"):
        asked = [str(word) for word in test[1:]] if test[0] == "CMD" else ["/bin/sh", "-c", str(test[1])]
    elif isinstance(test, str) and test:
        asked = ["/bin/sh", "-c", test]
    else:
        problems.add(f"{path}.test", "must be a text, or a list that begins with CMD, CMD-SHELL or NONE")
        return
    retries = value.get("retries", 3)
    if not isinstance(retries, int) or retries < 1:
        problems.add(f"{path}.retries", "must be a whole number, 1 or more")
    reading.made.container["readinessProbe"] = {
        "exec": {"command": asked},
        "initialDelaySeconds": values.seconds(value.get("start_period", "0s"), f"{path}.start_period", problems),
        "periodSeconds": values.seconds(value.get("interval", "30s"), f"{path}.interval", problems),
        "timeoutSeconds": values.seconds(value.get("timeout", "30s"), f"{path}.timeout", problems),
        "failureThreshold": retries,
    }


def _deploy(reading: _Reading, value: Any, path: str) -> None:
    problems = reading.problems
    if not isinstance(value, dict):
        problems.add(path, "must be an object")
        return
    for key in set(value) - {"replicas", "resources", "mode"}:
        problems.add(f"{path}.{key}", "is not taken")
    if value.get("mode", "replicated") != "replicated":
        problems.add(f"{path}.mode", "must be replicated: so many in each city")
    if "replicas" in value:
        _scale(reading, value["replicas"], f"{path}.replicas")
    for group, kind in (("limits", "limits"), ("reservations", "requests")):
        amounts = (value.get("resources") or {}).get(group) or {}
        for key in set(amounts) - {"cpus", "memory"}:
            problems.add(f"{path}.resources.{group}.{key}", "is not taken")
        if "cpus" in amounts:
            here = f"{path}.resources.{group}.cpus"
            reading.amount(kind, "cpu", values.cpus(amounts["cpus"], here, problems))
        if "memory" in amounts:
            here = f"{path}.resources.{group}.memory"
            reading.amount(kind, "memory", values.memory(amounts["memory"], here, problems))


def _scale(reading: _Reading, value: Any, path: str) -> None:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        reading.made.replicas = value
    else:
        reading.problems.add(path, "must be a whole number, 0 or more: so many in each city")


def _cpus(reading: _Reading, value: Any, path: str) -> None:
    reading.amount("limits", "cpu", values.cpus(value, path, reading.problems))


def _mem_limit(reading: _Reading, value: Any, path: str) -> None:
    reading.amount("limits", "memory", values.memory(value, path, reading.problems))


def _mem_reservation(reading: _Reading, value: Any, path: str) -> None:
    reading.amount("requests", "memory", values.memory(value, path, reading.problems))


def _user(reading: _Reading, value: Any, path: str) -> None:
    user, colon, group = str(value).partition(":")
    if not user.isdigit() or (colon and not group.isdigit()):
        reading.problems.add(path, "must be numbers, as in 1000 or 1000:1000: names are known to the image alone")
        return
    reading.security["runAsUser"] = user
    if group:
        reading.security["runAsGroup"] = group


def _working_dir(reading: _Reading, value: Any, path: str) -> None:
    reading.made.container["workingDir"] = str(value)


def _read_only(reading: _Reading, value: Any, path: str) -> None:
    reading.security["readOnlyRootFilesystem"] = bool(value)


def _capabilities(which: str) -> Callable[[_Reading, Any, str], None]:
    def take(reading: _Reading, value: Any, path: str) -> None:
        names = [name.upper().removeprefix("CAP_") for name in values.texts(value)]
        reading.security.setdefault("capabilities", {})[which] = names

    return take


def _security_opt(reading: _Reading, value: Any, path: str) -> None:
    for number, text in enumerate(values.texts(value)):
        match text.replace("=", ":").split(":"):
            case ["no-new-privileges"] | ["no-new-privileges", "true"]:
                reading.security["allowPrivilegeEscalation"] = False
            case ["no-new-privileges", "false"]:
                pass
            case _:
                reading.problems.add(f"{path}[{number}]", f"'{text}' is not taken; only no-new-privileges is")


def _privileged(reading: _Reading, value: Any, path: str) -> None:
    if value:
        reading.problems.add(
            path, "is not taken: an instance shares its host with others; name what it needs in cap_add"
        )


def _sysctls(reading: _Reading, value: Any, path: str) -> None:
    pairs = values.mapping(value, path, reading.problems)
    reading.shared_security["sysctls"] = [{"name": name, "value": text or ""} for name, text in pairs.items()]


def _group_add(reading: _Reading, value: Any, path: str) -> None:
    groups = values.texts(value)
    if not all(group.isdigit() for group in groups):
        reading.problems.add(path, "must be numbers: names are known to the image alone")
    reading.shared_security["supplementalGroups"] = groups


def _volumes(reading: _Reading, value: Any, path: str) -> None:
    mounts = reading.made.container.setdefault("volumeMounts", [])
    for number, one in enumerate(value if isinstance(value, list) else [value]):
        here = f"{path}[{number}]"
        if isinstance(one, dict):
            parts = [str(one.get("source") or ""), str(one.get("target") or "")]
            plain = one.get("type", "volume") == "volume" and not set(one) - {"type", "source", "target"}
        else:
            parts = str(one).split(":")
            plain = len(parts) == 2 or (len(parts) == 3 and parts[2] == "rw")
        if not plain or not parts[0] or parts[0].startswith((".", "/", "~")):
            reading.problems.add(
                here, "is not taken: only named volumes, as in data:/var/lib/data; put files into the image"
            )
            continue
        name, target = parts[:2]
        if name not in reading.volumes:
            reading.problems.add(here, f"names volume {name}, which the file does not declare under volumes")
            continue
        mounts.append({"slug": name, "mountPath": target})
        if all(claim["slug"] != name for claim in reading.made.claims):
            reading.made.claims.append(_claim(reading, name))


def _claim(reading: _Reading, name: str) -> dict[str, Any]:
    declared, path = reading.volumes[name] or {}, f"volumes.{name}"
    for key in set(declared) - {"name", "x-anypop"}:
        reading.problems.add(f"{path}.{key}", "is not taken: a volume is made on the instance's host")
    size = (declared.get("x-anypop") or {}).get("size")
    if not size:
        reading.made.notes.append(f"{path}: {VOLUME_SIZE} for each instance; 'x-anypop: {{size: 5Gi}}' says another")
    amount = {"requests": {"storage": str(size or VOLUME_SIZE)}}
    return {"name": name, "slug": name, "spec": {"resources": amount}}


def _restart(reading: _Reading, value: Any, path: str) -> None:
    if value not in ("always", "unless-stopped"):
        reading.problems.add(path, "must be always or unless-stopped: what ends is started anew here")


def _stop_grace_period(reading: _Reading, value: Any, path: str) -> None:
    if (found := values.seconds(value, path, reading.problems)) is not None:
        reading.made.runtime["terminationGracePeriodSeconds"] = str(found)


def _labels(reading: _Reading, value: Any, path: str) -> None:
    pairs = values.mapping(value, path, reading.problems)
    reading.made.labels.update({name: text or "" for name, text in pairs.items()})


def _extra_hosts(reading: _Reading, value: Any, path: str) -> None:
    pairs = value.items() if isinstance(value, dict) else [_host(text) for text in values.texts(value)]
    aliases: dict[str, list[str]] = {}
    for name, address in pairs:
        aliases.setdefault(str(address), []).append(str(name))
    reading.made.runtime["hostAliases"] = [{"ip": ip, "hostnames": names} for ip, names in aliases.items()]


def _host(text: str) -> tuple[str, str]:
    name, _, address = text.partition("=") if "=" in text else text.partition(":")
    return name, address.strip("[]")


def _dns(which: str) -> Callable[[_Reading, Any, str], None]:
    def take(reading: _Reading, value: Any, path: str) -> None:
        found: Any = values.texts(value)
        if which == "options":
            found = [{"name": name, "value": text} for name, _, text in (one.partition(":") for one in found)]
        reading.made.runtime.setdefault("dnsConfig", {})[which] = found

    return take


def _pull_policy(reading: _Reading, value: Any, path: str) -> None:
    known = {"always": "ALWAYS", "missing": "IF_NOT_PRESENT", "if_not_present": "IF_NOT_PRESENT"}
    if value in known:
        reading.made.container["imagePullPolicy"] = known[value]
    else:
        reading.problems.add(path, "must be always, missing or if_not_present")


def _networks(reading: _Reading, value: Any, path: str) -> None:
    if list(value) != ["default"] or (isinstance(value, dict) and value["default"]):
        reading.problems.add(path, "is not taken: services of one stack are in one network, 'default'")


def _ours(reading: _Reading, value: Any, path: str) -> None:
    if not isinstance(value, dict) or set(value) - {"cities", "anycast", "secrets"}:
        reading.problems.add(path, "may have cities, anycast and secrets")
        return
    reading.made.cities = tuple(city.strip().upper() for city in values.texts(value.get("cities") or []))
    reading.made.anycast = value.get("anycast")
    for name in values.texts(value.get("secrets") or []):
        if name not in os.environ:
            reading.problems.add(f"{path}.secrets", f"{name} is not in the environment here")
        else:
            reading.made.container.setdefault("env", {})[name] = {"secretValue": os.environ[name]}


_TAKERS: dict[str, Callable[[_Reading, Any, str], None]] = {
    "command": _command, "entrypoint": _entrypoint, "ports": _ports, "expose": _expose,
    "healthcheck": _healthcheck, "deploy": _deploy, "scale": _scale, "cpus": _cpus, "mem_limit": _mem_limit,
    "mem_reservation": _mem_reservation, "user": _user, "working_dir": _working_dir, "read_only": _read_only,
    "cap_add": _capabilities("add"), "cap_drop": _capabilities("drop"), "security_opt": _security_opt,
    "privileged": _privileged, "sysctls": _sysctls, "group_add": _group_add, "volumes": _volumes,
    "restart": _restart, "stop_grace_period": _stop_grace_period, "labels": _labels, "extra_hosts": _extra_hosts,
    "dns": _dns("nameservers"), "dns_search": _dns("searches"), "dns_opt": _dns("options"),
    "pull_policy": _pull_policy, "networks": _networks, "x-anypop": _ours,
}  # fmt: skip
_DONE = {"image", "environment", "env_file"}
_NOTED = {
    "depends_on": "the order is not kept: all start at once, and each is started anew until it is well",
    "container_name": "instances have names of their own, SERVICE-edge-CITY-N",
}
_REFUSED = {
    "build": "is not taken: build and push the image, and name it",
    "secrets": "is not taken: 'x-anypop: {secrets: [NAME]}' takes one from the environment",
    "configs": "is not taken: put files into the image, or values into the environment",
    "hostname": "is not taken: an instance's host name is its own name",
    "network_mode": "is not taken: an instance has a network and addresses of its own",
    "tmpfs": "is not taken",
    "devices": "is not taken: an instance shares its host with others",
    "extends": "is not taken: write the service out",
    "profiles": "is not taken: put the services into files of their own",
    "init": "is not taken: put an init into the image",
}
