"""What a workload with a virtual machine may ask for, and what of it could not be done: told with the path.

In: a checked body. Out: a problem for each thing that cannot be done. An instance has containers or one virtual
machine: a guest is a host of its own, in which nothing is started from outside, so what concerns a container's process
is refused with what to do instead. Pure.
"""

from collections.abc import Collection, Iterator

from anypop.model.errors import Problem
from anypop.plan import schema
from anypop.plan.quantity import memory_bytes

_MACHINES = "spec.virtualMachines"
_NO_EXEC = "nothing can be run in a virtual machine from outside: ask by httpGet, tcpSocket, udp or dns"
LEAST_MEMORY_BYTES = 64 << 20  # a kernel with its initial RAM disk starts in no less


def refusals(body: schema.WorkloadBody) -> Iterator[Problem]:
    """One problem for each thing that cannot be done."""
    spec, runtime = body.spec, body.spec.runtime or schema.Runtime()
    machines = spec.virtual_machines or {}
    if not machines:
        if _says(runtime.virtual_machines):
            message = "is about virtual machines, and there is none in spec.virtualMachines"
            yield Problem(path="spec.runtime.virtualMachines", message=message)
        return
    if spec.init_containers:
        message = "no container runs beside a virtual machine: let cloud-init do it, in userData"
        yield Problem(path="spec.initContainers", message=message)
    if spec.image_pull_credentials:
        message = "images of virtual machines come from no registry: leave it out"
        yield Problem(path="spec.imagePullCredentials", message=message)
    if _says(runtime.containers):
        message = "is about containers: write it in spec.runtime.virtualMachines"
        yield Problem(path="spec.runtime.containers", message=message)
    for name, machine in machines.items():
        yield from _machine(f"{_MACHINES}.{name}", machine)


def mixed(containers: Collection[str], machines: Collection[str]) -> Iterator[Problem]:
    """Of the names alone, so that it is told beside whatever else is wrong with them."""
    if len(machines) > 1:
        message = f"an instance has one virtual machine, these are {len(machines)} ({', '.join(sorted(machines))[:80]})"
        yield Problem(path=_MACHINES, message=f"{message}: declare a workload for each")
    if machines and containers:
        message = "an instance has containers or a virtual machine, not both: declare a workload for each"
        yield Problem(path=_MACHINES, message=f"{message} (each has an anycast address of its own)")


def _machine(path: str, machine: schema.VirtualMachine) -> Iterator[Problem]:
    for field, probe in (("livenessProbe", machine.liveness_probe), ("readinessProbe", machine.readiness_probe)):
        if probe is not None and probe.exec_ is not None:
            yield Problem(path=f"{path}.{field}.exec", message=_NO_EXEC)
    if machine.liveness_probe is not None and (machine.liveness_probe.success_threshold or 1) != 1:
        yield Problem(path=f"{path}.livenessProbe.successThreshold", message="must be 1: the first answer counts")
    asked = machine.resources or schema.Resources()
    least, most = asked.requests or schema.Amounts(), asked.limits or schema.Amounts()
    memory = least.memory or most.memory
    if memory and memory_bytes(memory) < LEAST_MEMORY_BYTES:
        message = f"is {memory}; a guest needs {LEAST_MEMORY_BYTES >> 20}Mi at least"
        side = "requests" if least.memory else "limits"
        yield Problem(path=f"{path}.resources.{side}.memory", message=message)
    if least.memory and most.memory and memory_bytes(most.memory) > memory_bytes(least.memory):
        message = f"is {most.memory}, more than the request, {least.memory}: a guest has its memory from the beginning"
        yield Problem(path=f"{path}.resources.limits.memory", message=message)


def _says(runtime: schema.ContainersRuntime | schema.MachinesRuntime | None) -> bool:
    return runtime is not None and bool(runtime.model_dump(exclude_none=True, exclude_defaults=True))
