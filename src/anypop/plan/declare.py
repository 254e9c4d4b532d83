"""A checked body, part by part, as the model's nouns: containers, ports, probes, targets.

In: what `plan.schema` let through. Out: frozen nouns with the API's defaults filled in (for us; clients never see
them). Zero counts as absent, as in protobuf's JSON.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from anypop.model.errors import Problem
from anypop.model.machine import Machine
from anypop.model.names import CityCode, HostName, InstanceName
from anypop.model.order import Containers, InstanceLink, InstanceOrder, LinkAddress
from anypop.model.plan import Incarnation
from anypop.model.scaling import Scale
from anypop.model.stack_network import DEFAULT_NETWORK
from anypop.model.subnets import Vpc
from anypop.model.workload import Container, Port, Probe, ProbeKind, Protocol, Target, Workload
from anypop.plan import interfaces, life, schema, target_schema
from anypop.plan.claims import mounts
from anypop.plan.fields import instance_fields
from anypop.plan.jsonpath import steps_of, value_at
from anypop.plan.quantity import cpu_millis, memory_bytes
from anypop.plan.security import security_of

DNS_PORT = 53


def containers(body: schema.WorkloadBody) -> tuple[Container, ...]:
    return tuple(
        replace(_container(name, c), security=security_of(c, body), mounts=mounts(c))
        for name, c in (body.spec.containers or {}).items()
    )


def machines(body: schema.WorkloadBody) -> tuple[Container, ...]:
    """Its virtual machine; its image is still to be looked up."""
    return tuple(
        replace(
            _unit(name, declared),
            mounts=mounts(declared),
            machine=Machine(user_data=declared.user_data or "", ssh_keys=tuple(declared.ssh_keys or ())),
        )
        for name, declared in (body.spec.virtual_machines or {}).items()
    )


def init_containers(body: schema.WorkloadBody) -> tuple[Container, ...]:
    """In the order in which they run. One that asks for nothing may have what the others have together afterwards."""
    main = containers(body)
    cpu, memory = sum(c.cpu_millis for c in main), sum(c.memory_bytes for c in main)
    found = []
    for name, declared in life.in_order(body.spec.init_containers or {}):
        one = replace(_container(name, declared), security=security_of(declared, body), mounts=mounts(declared))
        asked = declared.resources or schema.Resources()
        least, most = asked.requests or schema.Amounts(), asked.limits or schema.Amounts()
        found.append(
            replace(
                one,
                cpu_millis=one.cpu_millis if least.cpu or most.cpu else cpu,
                memory_bytes=one.memory_bytes if least.memory or most.memory else memory,
            )
        )
    return tuple(found)


def targets(body: schema.WorkloadBody, known: Collection[CityCode]) -> tuple[Target, ...]:
    return tuple(
        Target(
            name=name,
            cities=cities(t.spec.deployments, known),
            replicas=t.spec.deployments.replicas,
            scale=scale_of(t.spec.deployments),
        )
        for name, t in body.targets.items()
    )


def scale_of(deployments: target_schema.Deployments) -> Scale | None:
    """How the number of instances follows their load; None: it does not."""
    if not deployments.metrics:
        return None
    percents = [m.average_utilization for m in deployments.metrics if m.average_utilization]
    values = [cpu_millis(m.average_value) for m in deployments.metrics if m.average_value]
    return Scale(
        most=deployments.max_replicas or 0, percent=min(percents, default=None), millis=min(values, default=None)
    )


def cities(deployments: target_schema.Deployments, known: Collection[CityCode]) -> tuple[CityCode, ...]:
    """Each city once; several selectors must all fit, as label selectors do. In the order of the first that names them,
    else by their codes. `known`: those that have a PoP.
    """
    named = next((s.values for s in deployments.selectors if s.operator.lower() == "in"), None)
    found = dict.fromkeys(named or sorted(known))
    return tuple(CityCode(c) for c in found if all(_selects(s, c) for s in deployments.selectors))


def _selects(selector: target_schema.Selector, city: str) -> bool:
    match selector.operator.lower():
        case "in":
            return city in (selector.values or ())
        case "notin":
            return city not in (selector.values or ())
        case "exists":
            return True
        case _:
            return False  # there is no city without a code


def dual_stack(body: schema.WorkloadBody) -> bool:
    return "IPv6" in (interfaces.first(body).ip_families or ())


def families(body: schema.WorkloadBody) -> tuple[int, ...]:
    """Of instances' own addresses, as far as the workload says it: IPv6 alone, or both. That there is IPv4 alone its
    network says, since a client that says nothing reads IPv4 back.
    """
    return (6,) if interfaces.first(body).ip_families == ["IPv6"] else (4, 6)


def has_external(body: schema.WorkloadBody) -> bool:
    """Whether instances have public addresses: unless their first interface says that they have not."""
    return interfaces.first(body).enable_one_to_one_nat is not False


def network(body: schema.WorkloadBody) -> str:
    """That its instances are in by their first interface, by slug."""
    return interfaces.first(body).network or DEFAULT_NETWORK


def vpc(body: schema.WorkloadBody) -> Vpc:
    """The subnets that its first interface names; which these are is the stack's to say."""
    one = interfaces.first(body)
    return Vpc(named=(one.subnet or "", one.ipv6_subnet or ""))


def protocol(text: str) -> Protocol:
    """UDP where that is written; TCP where it is absent or unknown, as the API has it."""
    return Protocol.UDP if text.upper() == "UDP" else Protocol.TCP


def with_provable_fields(workload: Workload, body: schema.WorkloadBody) -> tuple[Workload, list[Problem]]:
    """`workload` less the optional variables that no instance could fill, and a problem for each required one. All
    instances of a workload have the same fields, so one made-up instance proves it for all.
    """
    if workload.is_machine:
        return workload, []  # a guest has no variables
    main, problems = _proved("spec.containers", body.spec.containers or {}, workload.containers, workload)
    init, more = _proved("spec.initContainers", body.spec.init_containers or {}, workload.init, workload)
    return replace(workload, containers=main, init=init), [*problems, *more]


def unfilled(workload: Workload, document: Mapping[str, Any]) -> list[Problem]:
    """The required variables that no instance could fill, once it is known which addresses instances have."""
    found = []
    for kind, all_ in (("containers", workload.containers), ("initContainers", workload.init)):
        for container in all_:
            for variable, path in container.env_from_instance:
                declared = document["spec"][kind][container.name]["env"][variable]["valueFrom"]["instanceFieldRef"]
                filled = any(value_at(steps_of(path), _specimen(workload, t)) is not None for t in workload.targets)
                if not filled and not declared.get("optional"):
                    where = f"spec.{kind}.{container.name}.env.{variable}.valueFrom.instanceFieldRef.fieldPath"
                    found.append(Problem(path=where, message=f"an instance in this network has nothing at {path}"))
    return found


def _proved(
    parent: str, all_: Mapping[str, schema.Container], containers: Iterable[Container], workload: Workload
) -> tuple[tuple[Container, ...], list[Problem]]:
    problems: list[Problem] = []
    proved = []
    for container in containers:
        declared = all_[container.name].env or {}
        kept = []
        for variable, path in container.env_from_instance:
            if any(value_at(steps_of(path), _specimen(workload, t)) is not None for t in workload.targets):
                kept.append((variable, path))
                continue
            wanted = declared[variable].value_from
            if wanted is not None and not wanted.instance_field_ref.optional:
                where = f"{parent}.{container.name}.env.{variable}.valueFrom.instanceFieldRef.fieldPath"
                problems.append(Problem(path=where, message=f"an instance has nothing at {path}"))
        proved.append(replace(container, env_from_instance=tuple(kept)))
    return tuple(proved), problems


def _specimen(workload: Workload, target: Target) -> dict[str, object]:
    city = target.cities[0]
    name = InstanceName("specimen")
    four, six = IPv4Address("192.0.2.1"), IPv6Address("2001:db8::1")  # documentation addresses (RFC 5737, RFC 3849)
    order = InstanceOrder(
        name=name,
        uid="specimen",
        workload_id=workload.id,
        links=tuple(
            InstanceLink(
                network=one.network,
                addresses=tuple(
                    LinkAddress(private=a, gateway=a, external=None if n else a)
                    for a in (four, six)
                    if a.version in one.families
                ),
            )
            for n, one in enumerate(workload.interfaces)
        ),
        anycast=((four, six) if workload.dual_stack else (four,)) if workload.anycast else (),
        payload=Containers(containers=()),
    )
    slot = Incarnation(
        workload_id=workload.id,
        target=target.name,
        pop=city,
        host=HostName(city),
        ordinal=0,
        name=name,
        index=0,
        uid="specimen",
        link=0,
    )
    return instance_fields(order, slot, workload)


def _container(name: str, declared: schema.Container) -> Container:
    env = declared.env or {}
    full = replace(
        _unit(name, declared),
        command=tuple(declared.command or ()),
        args=tuple(declared.args or ()),
        env=tuple((key, v.value or "") for key, v in env.items() if not v.secret_value and not v.value_from),
        env_from_instance=tuple(
            (key, v.value_from.instance_field_ref.field_path) for key, v in env.items() if v.value_from
        ),
        secrets=tuple((key, v.secret_value) for key, v in env.items() if v.secret_value),
        startup=_probe(declared.startup_probe),
        always_pull=declared.image_pull_policy == "ALWAYS",
        working_dir=declared.working_dir or "",
    )
    return life.with_life(full, declared)


def _unit(name: str, declared: schema.Unit) -> Container:
    """With what containers and virtual machines have in common."""
    return replace(
        _sized(Container(name=name, image=declared.image), declared.resources or schema.Resources()),
        ports=tuple(
            Port(
                name=key,
                port=p.port,
                protocol=protocol(p.protocol or ""),
                open_to_all=bool(p.enable_implicit_network_policy),
            )
            for key, p in (declared.ports or {}).items()
        ),
        readiness=_probe(declared.readiness_probe),
        liveness=_probe(declared.liveness_probe),
    )


def _sized(plain: Container, asked: schema.Resources) -> Container:
    """With what it is sure of and its limits. A limit alone is the request as well, and a request alone the limit."""
    least, most = asked.requests or schema.Amounts(), asked.limits or schema.Amounts()
    cpu, memory = least.cpu or most.cpu, least.memory or most.memory
    sure = replace(
        plain,
        cpu_millis=cpu_millis(cpu) if cpu else plain.cpu_millis,
        memory_bytes=memory_bytes(memory) if memory else plain.memory_bytes,
    )
    cpu_limit = cpu_millis(most.cpu) if most.cpu else 0
    memory_limit = memory_bytes(most.memory) if most.memory else 0
    return replace(
        sure,
        cpu_limit_millis=cpu_limit if cpu_limit > sure.cpu_millis else 0,
        memory_limit_bytes=memory_limit if memory_limit > sure.memory_bytes else 0,
    )


def _probe(declared: schema.Probe | None) -> Probe | None:
    if declared is None:
        return None
    plain = Probe(kind=ProbeKind.TCP)
    timed = replace(
        plain,
        initial_delay_s=declared.initial_delay_seconds or plain.initial_delay_s,
        timeout_s=declared.timeout_seconds or plain.timeout_s,
        period_s=declared.period_seconds or plain.period_s,
        success_threshold=declared.success_threshold or plain.success_threshold,
        failure_threshold=declared.failure_threshold or plain.failure_threshold,
    )
    if declared.http_get is not None:
        return life.http(timed, declared.http_get)
    if declared.exec_ is not None:
        return replace(timed, kind=ProbeKind.EXEC, command=tuple(declared.exec_.command))
    if declared.udp is not None:
        sent = declared.udp.request_hex or (declared.udp.request or "").encode().hex()
        expect = declared.udp.expect or ""
        return replace(timed, kind=ProbeKind.UDP, port=declared.udp.port, request=sent.lower(), expect=expect)
    if declared.dns is not None:
        asked_for = declared.dns
        record = asked_for.type or "A"
        port = asked_for.port or DNS_PORT
        return replace(timed, kind=ProbeKind.DNS, port=port, request=asked_for.name, record=record)
    assert declared.tcp_socket is not None, "the schema lets exactly one through"
    return replace(timed, port=declared.tcp_socket.port)
