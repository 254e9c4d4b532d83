"""What a workload asks for around its processes: aliases of hosts, how names are resolved, who pulls its images, how
much more it may take than it is sure of. Understood whole, or refused with the path.

In: a checked body. Out: `Surroundings`, and a problem for each thing that could not be done as it is written. Nothing
is accepted without effect: what no resolver knows, or what would break a line of a file, is refused.
"""

import re
from collections.abc import Iterator
from ipaddress import ip_address

from anypop.model.errors import Problem
from anypop.model.surroundings import HostAlias, Login, Resolving, Surroundings, server_of
from anypop.plan import schema
from anypop.plan.quantity import cpu_millis, memory_bytes

# RFC 1123 and RFC 952, with the underscore that people use inside
_HOST_NAME = re.compile(r"(?=.{1,253}$)([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.?)+")
_SERVER = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?(/[a-z0-9._/-]+)?|\[[0-9a-f:.]+\](:[0-9]{1,5})?")
# resolv.conf(5): glibc reads three servers, and 256 letters of search on older systems
_MOST_SERVERS, _MOST_SEARCHES = 3, 32
_COUNTED = {"ndots": 15, "timeout": 30, "attempts": 5}  # the highest that glibc does not cut
_PLAIN = frozenset({
    "debug", "rotate", "no-check-names", "inet6", "edns0", "single-request", "single-request-reopen", "no-tld-query",
    "use-vc", "no-reload", "trust-ad", "no-aaaa",
})  # fmt: skip


def surroundings_of(body: schema.WorkloadBody) -> Surroundings:
    """All of it; `refusals` has nothing against it."""
    _, runtime = _runtime(body)
    dns = runtime.dns_config or schema.DnsConfig()
    registries = (pull.docker_registry for pull in body.spec.image_pull_credentials or ())
    return Surroundings(
        aliases=tuple(
            HostAlias(address=ip_address(one.ip), names=tuple(one.hostnames or ()))
            for one in runtime.host_aliases or ()
        ),
        resolving=Resolving(
            nameservers=tuple(ip_address(one) for one in dns.nameservers or ()),
            searches=tuple(dns.searches or ()),
            options=tuple((one.name, one.value or "") for one in dns.options or ()),
        ),
        logins=tuple(
            Login(server=server_of(one.server or ""), username=one.username or "", password=one.password or "")
            for one in registries
        ),
    )


def refusals(body: schema.WorkloadBody) -> Iterator[Problem]:
    """One problem for each thing that cannot be done."""
    path, runtime = _runtime(body)
    for n, alias in enumerate(runtime.host_aliases or ()):
        yield from _alias(f"{path}.hostAliases[{n}]", alias)
    if runtime.dns_config is not None:
        yield from _resolving(f"{path}.dnsConfig", runtime.dns_config)
    for n, pull in enumerate(body.spec.image_pull_credentials or ()):
        yield from _login(f"spec.imagePullCredentials[{n}].dockerRegistry", pull.docker_registry)
    for path, unit in schema.every_unit(body):
        yield from _limits(f"{path}.resources.limits", unit.resources or schema.Resources())
    for path, container in schema.every_container(body):
        if container.working_dir and not container.working_dir.startswith("/"):
            yield Problem(path=f"{path}.workingDir", message="must be a whole path, as /srv/app")


def _runtime(body: schema.WorkloadBody) -> tuple[str, schema.ContainersRuntime | schema.MachinesRuntime]:
    """What holds for its instances, and where it is written."""
    runtime = body.spec.runtime or schema.Runtime()
    if body.spec.virtual_machines:
        return "spec.runtime.virtualMachines", runtime.virtual_machines or schema.MachinesRuntime()
    return "spec.runtime.containers", runtime.containers or schema.ContainersRuntime()


def _limits(path: str, asked: schema.Resources) -> Iterator[Problem]:
    least, most = asked.requests or schema.Amounts(), asked.limits or schema.Amounts()
    if least.cpu and most.cpu and cpu_millis(most.cpu) < cpu_millis(least.cpu):
        yield Problem(path=f"{path}.cpu", message=f"is {most.cpu}, less than the request, {least.cpu}")
    if least.memory and most.memory and memory_bytes(most.memory) < memory_bytes(least.memory):
        yield Problem(path=f"{path}.memory", message=f"is {most.memory}, less than the request, {least.memory}")


def _alias(path: str, alias: schema.HostAlias) -> Iterator[Problem]:
    yield from _address(f"{path}.ip", alias.ip)
    if not alias.hostnames:
        yield Problem(path=f"{path}.hostnames", message="is required: at least one name")
    for n, name in enumerate(alias.hostnames or ()):
        yield from _name(f"{path}.hostnames[{n}]", name)


def _resolving(path: str, dns: schema.DnsConfig) -> Iterator[Problem]:
    for n, server in enumerate(dns.nameservers or ()):
        yield from _address(f"{path}.nameservers[{n}]", server)
    if len(dns.nameservers or ()) > _MOST_SERVERS:
        message = f"has more than {_MOST_SERVERS}; resolvers ask the first {_MOST_SERVERS} alone"
        yield Problem(path=f"{path}.nameservers", message=message)
    for n, search in enumerate(dns.searches or ()):
        yield from _name(f"{path}.searches[{n}]", search)
    if len(dns.searches or ()) > _MOST_SEARCHES:
        yield Problem(path=f"{path}.searches", message=f"has more than {_MOST_SEARCHES}")
    for n, option in enumerate(dns.options or ()):
        yield from _option(f"{path}.options[{n}]", option.name, option.value or "")


def _option(path: str, name: str, value: str) -> Iterator[Problem]:
    if name in _COUNTED:
        if not re.fullmatch("[0-9]{1,3}", value) or int(value) > _COUNTED[name]:
            yield Problem(path=f"{path}.value", message=f"must be a number, {_COUNTED[name]} at most")
    elif name not in _PLAIN:
        there = ", ".join([*_COUNTED, *sorted(_PLAIN)])
        yield Problem(path=f"{path}.name", message=f"{name[:80]!r} is no option of resolvers; there are {there}")
    elif value:
        yield Problem(path=f"{path}.value", message=f"{name} has no value")


def _login(path: str, registry: schema.DockerRegistry) -> Iterator[Problem]:
    if registry.server and not _SERVER.fullmatch(server_of(registry.server)):
        message = f"{registry.server[:80]!r} is no registry; write HOST or HOST:PORT, as registry.example:5000"
        yield Problem(path=f"{path}.server", message=message)
    if ":" in (registry.username or "") or not (registry.username or "x").isprintable():
        yield Problem(path=f"{path}.username", message="must be one line without a colon")


def _address(path: str, told: str) -> Iterator[Problem]:
    try:
        if "%" in told:
            raise ValueError
        ip_address(told)
    except ValueError:
        yield Problem(path=path, message=f"{told[:80]!r} is no IP address")


def _name(path: str, told: str) -> Iterator[Problem]:
    if not _HOST_NAME.fullmatch(told):
        yield Problem(path=path, message=f"{told[:80]!r} is no name of a host")
