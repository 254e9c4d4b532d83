"""The options of `workload create` and `run` that say how a container runs, named as Docker's and Podman's are.

In: options as typed. Out: parts of a workload's document, and what of them cannot be understood. What has a field of
its own in Compose is read by the same code as there; whether a value is allowed is control's to say.
"""

import os
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import typer

from anypop.cli import compose_service
from anypop.cli import compose_values as values
from anypop.cli.compose_values import Problems
from anypop.cli.declaration import More

Texts = list[str] | None
DEFAULT_SIZE = "1Gi"
PASSWORD = "ANYPOP_REGISTRY_PASSWORD"


def _one(name: str, metavar: str, text: str) -> Any:
    return typer.Option(name, metavar=metavar, help=text, show_default=False)


def _many(name: str, metavar: str, text: str) -> Any:
    return _one(name, metavar, f"{text} Repeatable.")


@dataclass(frozen=True, slots=True, kw_only=True)
class PricedOptions:
    """Those on which the price depends. Of each an empty value is: not given."""

    requests: Annotated[str, _one("--requests", "cpu=N,memory=N", "What it asks for, in place of --size's.")] = ""
    volume: Annotated[
        Texts,
        _many(
            "--volume", "NAME:/PATH[:SIZE[:CLASS]]", f"A volume of each instance's own ({DEFAULT_SIZE} unless said)."
        ),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerOptions(PricedOptions):
    """As typed."""

    args: Annotated[Texts, _many("--args", "TEXT", "Arguments of the command, as in a shell.")] = None
    env_file: Annotated[Texts, _many("--env-file", "FILE", "Environment, NAME=VALUE in each line.")] = None
    workdir: Annotated[str, _one("--workdir", "DIR", "Working directory.")] = ""
    user: Annotated[str, _one("--user", "UID[:GID]", "As whom it runs, in numbers.")] = ""
    group_add: Annotated[Texts, _many("--group-add", "GID", "A further group.")] = None
    non_root: Annotated[bool, typer.Option("--non-root", help="Refuse to run it as root.")] = False
    read_only: Annotated[bool, typer.Option("--read-only", help="Its root file system cannot be written.")] = False
    cap_add: Annotated[Texts, _many("--cap-add", "CAP", "A Linux capability more.")] = None
    cap_drop: Annotated[Texts, _many("--cap-drop", "CAP", "A Linux capability less, or ALL.")] = None
    no_new_privileges: Annotated[
        bool, typer.Option("--no-new-privileges", help="No program in it gains rights that it did not begin with.")
    ] = False
    sysctl: Annotated[Texts, _many("--sysctl", "NAME=VALUE", "A kernel parameter of the instance.")] = None
    limits: Annotated[str, _one("--limits", "cpu=N,memory=N", "What it may use at most.")] = ""
    readiness: Annotated[
        str,
        _one(
            "--readiness", "PROBE", "Serves while it is well: http:80/path, https:443/, tcp:80, udp:53, exec:COMMAND."
        ),
    ] = ""
    liveness: Annotated[str, _one("--liveness", "PROBE", "Is started anew when it is not well.")] = ""
    startup: Annotated[str, _one("--startup", "PROBE", "Comes before the other two, until it is well once.")] = ""
    probe_interval: Annotated[
        int | None, _one("--probe-interval", "SECONDS", "Of the probes given here: between two (10).")
    ] = None
    probe_timeout: Annotated[
        int | None, _one("--probe-timeout", "SECONDS", "Of the probes given here: how long one may take (1).")
    ] = None
    probe_retries: Annotated[
        int | None, _one("--probe-retries", "N", "Of the probes given here: so many failures count (3).")
    ] = None
    probe_delay: Annotated[
        int | None, _one("--probe-delay", "SECONDS", "Of the probes given here: before the first one (0).")
    ] = None
    post_start: Annotated[str, _one("--post-start", "COMMAND", "Runs in it when it has begun.")] = ""
    pre_stop: Annotated[str, _one("--pre-stop", "COMMAND", "Runs in it before it is ended.")] = ""
    stop_timeout: Annotated[int | None, _one("--stop-timeout", "SECONDS", "So long it may take to end by itself.")] = (
        None
    )
    pull: Annotated[str, _one("--pull", "always|missing", "When its image is fetched.")] = ""
    registry_user: Annotated[
        str, _one("--registry-user", "USER@SERVER", f"Who fetches the image; the password is ${PASSWORD}.")
    ] = ""
    network: Annotated[str, _one("--network", "NAME", "The stack's network that it is in (default).")] = ""
    family: Annotated[str, _one("--family", "IPv4|IPv6", "Addresses of this family alone.")] = ""
    private: Annotated[bool, typer.Option("--private", help="No public addresses of its instances' own.")] = False
    add_host: Annotated[Texts, _many("--add-host", "NAME:IP", "A line of its /etc/hosts.")] = None
    dns: Annotated[Texts, _many("--dns", "IP", "A resolver.")] = None
    dns_search: Annotated[Texts, _many("--dns-search", "DOMAIN", "A search domain.")] = None
    dns_option: Annotated[Texts, _many("--dns-option", "NAME[:VALUE]", "An option of resolv.conf.")] = None
    vm_image: Annotated[str, _one("--vm-image", "STACK/FAMILY[:TAG]", "A virtual machine of this image.")] = ""
    user_data: Annotated[str, _one("--user-data", "FILE", "What cloud-init in the virtual machine reads.")] = ""
    ssh_key: Annotated[Texts, _many("--ssh-key", "FILE", "A public key that may log in to it.")] = None
    label: Annotated[Texts, _many("--label", "KEY=VALUE", "A label of the workload.")] = None
    annotation: Annotated[Texts, _many("--annotation", "KEY=VALUE", "An annotation of the workload.")] = None


NONE, NOT_PRICED = ContainerOptions(), PricedOptions()


def given(options: PricedOptions) -> list[str]:
    """The options that were typed, as they are written."""
    return [
        f"--{f.name.replace('_', '-')}" for f in fields(options) if getattr(options, f.name) not in (f.default, [], "")
    ]


def read(options: PricedOptions) -> More:
    """The parts of a document."""
    problems = Problems()
    if not isinstance(options, ContainerOptions):
        options = ContainerOptions(requests=options.requests, volume=options.volume)
    shared = compose_service.taken(
        {
            "working_dir": ("--workdir", options.workdir),
            "user": ("--user", options.user),
            "group_add": ("--group-add", options.group_add),
            "read_only": ("--read-only", options.read_only),
            "cap_add": ("--cap-add", options.cap_add),
            "cap_drop": ("--cap-drop", options.cap_drop),
            "security_opt": ("--no-new-privileges", ["no-new-privileges"] if options.no_new_privileges else None),
            "sysctls": ("--sysctl", _pairs(options.sysctl, "--sysctl", problems)),
            "pull_policy": ("--pull", options.pull),
            "extra_hosts": ("--add-host", options.add_host),
            "dns": ("--dns", options.dns),
            "dns_search": ("--dns-search", options.dns_search),
            "dns_opt": ("--dns-option", options.dns_option),
        },
        problems,
    )
    container, runtime, spec = shared.container, shared.runtime, dict[str, Any]()
    if options.non_root:
        container.setdefault("securityContext", {})["runAsNonRoot"] = True
    if options.stop_timeout is not None:
        runtime["terminationGracePeriodSeconds"] = str(options.stop_timeout)
    container |= dict(_probes(options, problems))
    hooks = (("postStart", "--post-start", options.post_start), ("preStop", "--pre-stop", options.pre_stop))
    if found := {
        key: {"exec": {"command": values.words(text, option, problems)}} for key, option, text in hooks if text
    }:
        container["lifecycle"] = found
    if args := [word for text in options.args or () for word in values.words(text, "--args", problems)]:
        container["args"] = args
    if limits := _amounts(options.limits, "--limits", problems):
        container["resources"] = {"limits": limits}
    mounts, claims = _volumes(options.volume or (), problems)
    if mounts:
        container["volumeMounts"], spec["volumeClaimTemplates"] = mounts, claims
    if options.registry_user:
        spec["imagePullCredentials"] = [{"dockerRegistry": _registry(options.registry_user, problems)}]
    env: dict[str, str] = {}
    for file in options.env_file or ():
        env |= values.of_env_file(Path(file), "--env-file", problems)
    return More(
        container=container,
        requests=_amounts(options.requests, "--requests", problems),
        env=env,
        machine=_machine(options, problems),
        runtime=runtime,
        interface=_interface(options),
        spec=spec,
        labels=_pairs(options.label, "--label", problems),
        annotations=_pairs(options.annotation, "--annotation", problems),
        problems=problems.found,
    )


def _pairs(texts: Sequence[str] | None, option: str, problems: Problems) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not name or not equals:
            problems.add(f"{option} {text}", "write NAME=VALUE")
        elif name in found:
            problems.add(f"{option} {name}", "given twice")
        found[name] = value
    return found


def _amounts(text: str, option: str, problems: Problems) -> dict[str, str]:
    return _pairs([part.strip() for part in text.split(",") if part.strip()], option, problems)


def _machine(options: ContainerOptions, problems: Problems) -> dict[str, Any]:
    """What only a virtual machine has."""
    others = [("--user-data", options.user_data), ("--ssh-key", options.ssh_key)]
    if not options.vm_image:
        for option, given_ in others:
            if given_:
                problems.add(option, "is about a virtual machine; add --vm-image")
        return {}
    found: dict[str, Any] = {"image": options.vm_image}
    if options.user_data and (told := _file(options.user_data, "--user-data", problems)):
        found["userData"] = b64encode(told).decode()
    keys = [_file(file, "--ssh-key", problems).decode(errors="replace") for file in options.ssh_key or ()]
    if lines := [line for text in keys for line in map(str.strip, text.splitlines()) if line]:
        found["sshKeys"] = lines
    return found


def _file(name: str, option: str, problems: Problems) -> bytes:
    try:
        return Path(name).read_bytes()
    except OSError as error:
        problems.add(f"{option} {name}", f"cannot be read: {error.strerror}")
        return b""


def _interface(options: ContainerOptions) -> dict[str, Any]:
    found: dict[str, Any] = {"network": options.network} if options.network else {}
    if options.family:
        found["ipFamilies"] = [options.family]
    if options.private:
        found["enableOneToOneNat"] = False
    return found


def _volumes(texts: Sequence[str], problems: Problems) -> tuple[list[dict[str, str]], list[dict[str, Any]]]:
    """Mounts, and a claim for each name."""
    mounts: list[dict[str, str]] = []
    claims: dict[str, dict[str, Any]] = {}
    for text in texts:
        name, path, *more = text.split(":") if ":" in text else ("", "")
        if not name or not path.startswith("/") or len(more) > 2:
            problems.add(f"--volume {text}", "write NAME:/PATH, NAME:/PATH:10Gi or NAME:/PATH:10Gi:CLASS")
            continue
        if more and name in claims:
            problems.add(f"--volume {text}", f"the size of {name} is said twice, or after its first use")
        mounts.append({"slug": name, "mountPath": path})
        spec: dict[str, Any] = {"resources": {"requests": {"storage": more[0] if more and more[0] else DEFAULT_SIZE}}}
        if len(more) > 1:
            spec["storageClass"] = more[1]
        claims.setdefault(name, {"name": name, "slug": name, "spec": spec})
    return mounts, list(claims.values())


def _registry(text: str, problems: Problems) -> dict[str, str]:
    user, at, server = text.rpartition("@")
    if not at or not user or not server:
        problems.add(f"--registry-user {text}", "write USER@SERVER, for example ci@registry.example")
    if not os.environ.get(PASSWORD):
        problems.add("--registry-user", f"its password is not in the environment ({PASSWORD})")
    return {"server": server, "username": user, "password": os.environ.get(PASSWORD, "")}


def _probes(options: ContainerOptions, problems: Problems) -> Iterator[tuple[str, dict[str, Any]]]:
    times = {
        "initialDelaySeconds": options.probe_delay,
        "timeoutSeconds": options.probe_timeout,
        "periodSeconds": options.probe_interval,
        "failureThreshold": options.probe_retries,
    }
    said = {key: value for key, value in times.items() if value is not None}
    texts = (
        ("readinessProbe", "--readiness", options.readiness),
        ("livenessProbe", "--liveness", options.liveness),
        ("startupProbe", "--startup", options.startup),
    )
    for key, option, text in texts:
        if text and (asked := probe_of(text, option, problems)) is not None:
            yield key, asked | said
    if said and not any(text for _, _, text in texts):
        problems.add("--probe-interval, --probe-timeout, --probe-retries, --probe-delay", "no probe is given here")


def probe_of(text: str, option: str, problems: Problems) -> dict[str, Any] | None:
    """`http:80/path` as a probe; None where it is none."""
    kind, colon, rest = text.partition(":")
    if not colon or kind not in _KINDS or (found := _KINDS[kind](rest, option, problems)) is None:
        problems.add(f"{option} {text}", "write http:80/path, https:443/, tcp:80, udp:53 or exec:COMMAND")
        return None
    return found


def _http(scheme: str) -> Callable[[str, str, Problems], dict[str, Any] | None]:
    def read_one(rest: str, _: str, __: Problems) -> dict[str, Any] | None:
        port, _, path = rest.partition("/")
        more = {"scheme": scheme} if scheme != "HTTP" else {}
        return {"httpGet": {"path": f"/{path}", "port": int(port), **more}} if port.isdecimal() else None

    return read_one


def _socket(member: str) -> Callable[[str, str, Problems], dict[str, Any] | None]:
    def read_one(rest: str, _: str, __: Problems) -> dict[str, Any] | None:
        return {member: {"port": int(rest)}} if rest.isdecimal() else None

    return read_one


def _exec(rest: str, option: str, problems: Problems) -> dict[str, Any] | None:
    words = values.words(rest, option, problems)
    return {"exec": {"command": words}} if words else None


_KINDS: dict[str, Callable[[str, str, Problems], dict[str, Any] | None]] = {
    "http": _http("HTTP"),
    "https": _http("HTTPS"),
    "tcp": _socket("tcpSocket"),
    "udp": _socket("udp"),
    "exec": _exec,
}
