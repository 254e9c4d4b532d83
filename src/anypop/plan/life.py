"""The life of containers as a workload declares it: init containers, hooks, startup probes, the end and its message.

In: a checked body. Out: hooks as the model has them, a problem for each thing that cannot be done, and a word about the
order of init containers, which an object of JSON does not carry. Pure.
"""

from collections.abc import Iterator
from dataclasses import replace

from anypop.model.errors import Problem
from anypop.model.report_limits import MOST_CONTAINERS
from anypop.model.workload import Container, Probe, ProbeKind, Workload
from anypop.plan import schema

MESSAGE_PATH = "/dev/termination-log"  # where Kubernetes looks where nothing is said
_RUNTIME = "spec.runtime.containers"


def hook(declared: schema.Hook | None) -> Probe | None:
    """Asked once: in this it is like a probe."""
    if declared is None:
        return None
    if declared.http_get is not None:
        return http(Probe(kind=ProbeKind.HTTP), declared.http_get)
    if declared.exec_ is not None:
        return Probe(kind=ProbeKind.EXEC, command=tuple(declared.exec_.command))
    assert declared.tcp_socket is not None, "the schema lets exactly one through"
    return Probe(kind=ProbeKind.TCP, port=declared.tcp_socket.port)


def http(plain: Probe, asked: schema.HttpGet) -> Probe:
    """With what is asked by HTTP."""
    path = asked.path or plain.path
    return replace(
        plain,
        kind=ProbeKind.HTTP,
        port=asked.port,
        path=path if path.startswith("/") else f"/{path}",
        scheme=asked.scheme or plain.scheme,
        headers=tuple((asked.http_headers or {}).items()),
    )


def message_path(declared: schema.Container) -> str:
    """Nobody looks for a message of a container that says nothing of it."""
    return declared.termination_message_path or (MESSAGE_PATH if declared.termination_message_policy else "")


def taken(workload: Workload) -> tuple[int, int]:
    """Processor (in thousandths of a core) and bytes of memory that an instance takes: all that runs at once, or the
    largest that runs before.
    """
    return (
        max([sum(c.cpu_millis for c in workload.containers), *(c.cpu_millis for c in workload.init)]),
        max([sum(c.memory_bytes for c in workload.containers), *(c.memory_bytes for c in workload.init)]),
    )


def at_most(workload: Workload) -> tuple[int, int]:
    """As `taken`, by limits: up to what an instance may go while nobody else wants it."""
    return (
        max([sum(c.most_cpu_millis for c in workload.containers), *(c.most_cpu_millis for c in workload.init)]),
        max([sum(c.most_memory_bytes for c in workload.containers), *(c.most_memory_bytes for c in workload.init)]),
    )


def starts_within_s(workload: Workload) -> float:
    """How long its startup probes let a process take at most; 0: it declares none."""
    probes = [c.startup for c in workload.containers if c.startup is not None]
    return max((p.initial_delay_s + p.failure_threshold * p.period_s for p in probes), default=0.0)


def in_order(declared: dict[str, schema.Container]) -> list[tuple[str, schema.Container]]:
    """Init containers in the order in which they run: that of their names."""
    return sorted(declared.items())


def refusals(body: schema.WorkloadBody) -> Iterator[Problem]:
    """One problem for each thing that cannot be done."""
    init, main = body.spec.init_containers or {}, body.spec.containers or {}
    if (count := len(init) + len(main)) > MOST_CONTAINERS:
        yield Problem(path="spec.containers", message=f"an instance has {count}; {MOST_CONTAINERS} are allowed")
    for name, container in init.items():
        path = f"spec.initContainers.{name}"
        if name in main:
            yield Problem(path=path, message="a container has that name too; give it another one")
        for field, value in (
            ("ports", container.ports),
            ("livenessProbe", container.liveness_probe),
            ("readinessProbe", container.readiness_probe),
            ("startupProbe", container.startup_probe),
            ("lifecycle", _hooks(container)),
        ):
            if value:
                message = "an init container ends before the instance serves: leave it out"
                yield Problem(path=f"{path}.{field}", message=message)
        yield from _message(path, container)
    for name, container in main.items():
        path = f"spec.containers.{name}"
        for field, probe in (("livenessProbe", container.liveness_probe), ("startupProbe", container.startup_probe)):
            if probe is not None and (probe.success_threshold or 1) != 1:
                yield Problem(path=f"{path}.{field}.successThreshold", message="must be 1: the first answer counts")
        yield from _message(path, container)
        if container.lifecycle is not None and container.lifecycle.pre_stop is not None and grace_of(body) == 0:
            message = "would never run: with terminationGracePeriodSeconds 0 a process is killed at once"
            yield Problem(path=f"{path}.lifecycle.preStop", message=message)


def notes(body: schema.WorkloadBody) -> Iterator[Problem]:
    """What is done otherwise than it may have been meant."""
    init = body.spec.init_containers or {}
    names = [name for name, _ in in_order(init)]
    if names != list(init):
        message = f"they run in the order of their names, since an object has none: {', '.join(names)}"
        yield Problem(path="spec.initContainers", message=message)


def grace_of(body: schema.WorkloadBody) -> int | None:
    """In seconds; None: not declared."""
    both = body.spec.runtime or schema.Runtime()
    runtime = both.virtual_machines if body.spec.virtual_machines else both.containers
    return runtime.termination_grace_period_seconds if runtime is not None else None


def shares_processes(body: schema.WorkloadBody) -> bool:
    runtime = body.spec.runtime.containers if body.spec.runtime is not None else None
    return bool(runtime is not None and runtime.share_process_namespace)


def with_life(container: Container, declared: schema.Container) -> Container:
    """The container with what is declared of its life."""
    lifecycle = declared.lifecycle or schema.Lifecycle()
    return replace(
        container,
        post_start=hook(lifecycle.post_start),
        pre_stop=hook(lifecycle.pre_stop),
        message_path=message_path(declared),
        message_from_log=declared.termination_message_policy == "FALLBACK_TO_LOGS_ON_ERROR",
    )


def _hooks(container: schema.Container) -> bool:
    lifecycle = container.lifecycle
    return lifecycle is not None and (lifecycle.post_start is not None or lifecycle.pre_stop is not None)


def _message(path: str, container: schema.Container) -> Iterator[Problem]:
    told = container.termination_message_path or ""
    parts = told.split("/")
    if told and (not told.startswith("/") or not parts[-1] or ".." in parts or "\n" in told):
        message = f"must be the whole path of a file in the container, such as {MESSAGE_PATH}"
        yield Problem(path=f"{path}.terminationMessagePath", message=message)
