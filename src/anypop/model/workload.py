"""What the user declares: a workload, its containers, its targets. Made by `plan.parse`, read by the planner."""

from dataclasses import dataclass, field
from enum import StrEnum

from anypop.model.allocation import Assignment
from anypop.model.confinement import PLAIN, Security
from anypop.model.machine import Machine
from anypop.model.names import CityCode, StackId, WorkloadId
from anypop.model.scaling import Scale
from anypop.model.stack_network import DEFAULT_NETWORK
from anypop.model.subnets import NO_VPC, Interface, Vpc
from anypop.model.surroundings import NO_SURROUNDINGS, Surroundings
from anypop.model.volume import Claim, Mount


class Protocol(StrEnum):
    TCP = "TCP"
    UDP = "UDP"


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """A port the application listens on. `open_to_all`: every address may reach it (the API's
    enableImplicitNetworkPolicy).
    """

    name: str
    port: int
    protocol: Protocol = Protocol.TCP
    open_to_all: bool = False


class ProbeKind(StrEnum):
    HTTP = "http"
    TCP = "tcp"
    EXEC = "exec"
    UDP = "udp"
    DNS = "dns"
    PING = "ping"


DNS_TYPES = ("A", "AAAA", "CNAME", "HTTPS", "MX", "NS", "PTR", "SOA", "SRV", "TXT")
"""The types of records that a DNS probe can ask for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """How an instance's health is asked. Times in seconds. HTTP succeeds on 200 to 399, TCP on a connection, exec on
    exit 0, UDP on an answer that has `expect` in it, DNS on one without an error, PING on an echo (nobody declares it).

    `request`: of UDP the bytes that are sent, as hex digits; of DNS the name that is asked for, and `record` its type.
    """

    kind: ProbeKind
    port: int = 0
    path: str = "/"
    scheme: str = "HTTP"
    headers: tuple[tuple[str, str], ...] = ()
    command: tuple[str, ...] = ()
    initial_delay_s: float = 0
    timeout_s: float = 1
    period_s: float = 10
    success_threshold: int = 1
    failure_threshold: int = 3
    request: str = ""
    expect: str = ""
    record: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """One container of every instance, or its virtual machine where `machine` is there. `cpu_millis` in thousandths of
    a core, `memory_bytes` in bytes: what it is sure of; `cpu_limit_millis`, `memory_limit_bytes`: up to what it may go
    while nobody else wants it (0: no further). Secret values are in `secrets`, apart from `env`. `working_dir` "": as
    the image says. `mounts`: volumes that it sees.

    `startup`: holds the other probes back until it is answered once. `post_start`, `pre_stop`: hooks; what is asked of
    a container once, when its process has begun and before it is ended. `message_path`: the file in which its process
    says why it ends ("": nobody reads one), `message_from_log`: and where it is empty and the end no good one, the end
    of its log.
    """

    name: str
    image: str
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    env_from_instance: tuple[tuple[str, str], ...] = ()
    secrets: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    ports: tuple[Port, ...] = ()
    readiness: Probe | None = None
    liveness: Probe | None = None
    startup: Probe | None = None
    post_start: Probe | None = None
    pre_stop: Probe | None = None
    message_path: str = ""
    message_from_log: bool = False
    cpu_millis: int = 1000
    memory_bytes: int = 2 << 30
    always_pull: bool = False
    security: Security = PLAIN
    mounts: tuple[Mount, ...] = ()
    working_dir: str = ""
    cpu_limit_millis: int = 0
    memory_limit_bytes: int = 0
    machine: Machine | None = None

    @property
    def image_key(self) -> str:
        """What a host knows its image by: as it is written, or, of a virtual machine, the id of the content."""
        image = self.machine.image if self.machine is not None else None
        return self.image if image is None else image.id

    @property
    def most_cpu_millis(self) -> int:
        return self.cpu_limit_millis or self.cpu_millis

    @property
    def most_memory_bytes(self) -> int:
        return self.memory_limit_bytes or self.memory_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A named group of cities with replicas per city. `scale`: how far their number follows the load, from `replicas`
    on; None: it does not.
    """

    name: str
    cities: tuple[CityCode, ...]
    replicas: int
    scale: Scale | None = None

    @property
    def most(self) -> int:
        """In each city."""
        return self.replicas if self.scale is None else max(self.replicas, self.scale.most)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A declared workload. `deleting` is set once its deletion was asked for. Instances inherit its `labels` and
    `annotations`.

    `revision` counts its declared versions; `template` is the hash of all that an instance's processes are made from
    (`plan.template`), so two revisions with one template need no new process. `account_id`: whose stack it is.
    `local_only`: its anycast address is served where it has instances and carried nowhere, in a prefix of its own.
    `volumes`: what every instance keeps. `init`: containers that end, one after the other, before the others begin.
    `grace_s`: how long a process may take to end (None: not declared). `shared_processes`: its containers see each
    other's processes. `external`: each instance has public addresses of its own. `network`: of its
    stack, by slug; `vpc`: its subnets there; `families`: of its instances' own
    addresses. `assignments`: the addresses that its slots claim; what none says goes with the slot. `restarts`: how
    often all its instances were to be made anew although nothing else changed. `further`: the interfaces of its
    instances beside the first one, which is what `network`, `vpc`, `families` and `external` say.
    """

    id: WorkloadId
    stack_id: StackId
    stack_slug: str
    slug: str
    name: str
    containers: tuple[Container, ...]
    targets: tuple[Target, ...]
    anycast: bool = False
    dual_stack: bool = True
    deleting: bool = False
    revision: int = 1
    template: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    annotations: tuple[tuple[str, str], ...] = ()
    account_id: str = ""
    local_only: bool = False
    volumes: tuple[Claim, ...] = ()
    around: Surroundings = NO_SURROUNDINGS
    init: tuple[Container, ...] = ()
    grace_s: int | None = None
    shared_processes: bool = False
    external: bool = True
    network: str = DEFAULT_NETWORK
    assignments: tuple[Assignment, ...] = ()
    restarts: int = 0
    vpc: Vpc = NO_VPC
    families: tuple[int, ...] = (4, 6)
    further: tuple[Interface, ...] = ()

    @property
    def is_machine(self) -> bool:
        """Whether its instances are virtual machines."""
        return any(container.machine is not None for container in self.containers)

    @property
    def interfaces(self) -> tuple[Interface, ...]:
        """All of them, the first one first."""
        return (Interface(network=self.network, vpc=self.vpc, families=self.families), *self.further)

    def is_in(self, network: str) -> bool:
        """Whether its instances have an interface in a network of its stack."""
        return network == self.network or any(one.network == network for one in self.further)
