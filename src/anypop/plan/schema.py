"""The Workload API's JSON as it may be sent: every field and its kind.

In: plain JSON data, with the cities that exist as validation context. Out: a checked `WorkloadBody`, or Pydantic's
errors for `plan.parse` to put into words. What we could only pretend to do is refused here; what is kept without effect
yet is listed by `plan.parse`. No defaults are filled in.
"""

from typing import Annotated, Any

from pydantic import Field, model_validator

from anypop.model.limits import MOST_ENTRIES
from anypop.model.subnets import MOST_INTERFACES
from anypop.model.workload import DNS_TYPES
from anypop.plan import allocation_schema
from anypop.plan.allocation_schema import Assignments
from anypop.plan.kinds import (
    Count,
    Cpu,
    EnvName,
    Few,
    FieldPath,
    Given,
    GraceSeconds,
    Image,
    Int64,
    Key,
    LineText,
    MachineImage,
    Memory,
    Name,
    Password,
    PortNumber,
    ShortText,
    Slug,
    SshKey,
    Text,
    Title,
    UserData,
    Word,
    one_of,
    refused,
)
from anypop.plan.part import Part as _Part
from anypop.plan.quantity import memory_bytes
from anypop.plan.target_schema import Target

MOST_SSH_KEYS = 64


class FieldRef(_Part):
    field_path: FieldPath
    optional: bool | None = None


class ValueFrom(_Part):
    instance_field_ref: FieldRef


class EnvValue(_Part):
    """A variable: `value`, `secretValue` (never answered) or `valueFrom`, one of them."""

    value: Text | None = None
    secret_value: Text | None = None
    value_from: ValueFrom | None = None

    @model_validator(mode="after")
    def _only_one(self) -> "EnvValue":
        given = [
            n
            for n, v in (("value", self.value), ("secretValue", self.secret_value), ("valueFrom", self.value_from))
            if v
        ]
        if len(given) > 1:
            raise ValueError(f"has {' and '.join(given)}; give one of them")
        return self


class Port(_Part):
    """A port that the application listens on. An absent or unknown protocol counts as TCP."""

    port: PortNumber
    protocol: Word | None = None
    enable_implicit_network_policy: bool | None = None


class HttpGet(_Part):
    path: LineText | None = None
    port: PortNumber
    scheme: Annotated[str, one_of("HTTP", "HTTPS", enum=True)] | None = None
    http_headers: Annotated[dict[Word, LineText], Few] | None = None


class TcpSocket(_Part):
    port: PortNumber


class Exec(_Part):
    command: Annotated[list[Text], Field(min_length=1, max_length=MOST_ENTRIES)]


class Hook(_Part):
    """What is done once: `exec` in the container, or `httpGet` or `tcpSocket` at its private address."""

    http_get: HttpGet | None = None
    tcp_socket: TcpSocket | None = None
    exec_: Annotated[Exec | None, Field(alias="exec")] = None

    @model_validator(mode="after")
    def _one_way(self) -> "Hook":
        if sum(way is not None for way in (self.http_get, self.tcp_socket, self.exec_)) != 1:
            raise ValueError("needs exactly one of exec, httpGet and tcpSocket")
        return self


class Lifecycle(_Part):
    """`postStart`: when the process has begun; one that fails ends the container. `preStop`: before it is ended."""

    post_start: Hook | None = None
    pre_stop: Hook | None = None


class UdpRequest(_Part):
    """What is sent, as text or as hex digits (nothing: an empty datagram), and a text that the answer has in it."""

    port: PortNumber
    request: LineText | None = None
    request_hex: Annotated[str, Field(pattern="^([0-9a-fA-F]{2})*$", max_length=1024)] | None = None
    expect: LineText | None = None

    @model_validator(mode="after")
    def _one_request(self) -> "UdpRequest":
        if self.request and self.request_hex:
            raise ValueError("needs only one of request and requestHex")
        return self


class DnsQuestion(_Part):
    """A name for which the server answers without an error."""

    port: PortNumber | None = None
    name: Annotated[str, Field(pattern=r"^(\.|([A-Za-z0-9_-]{1,63}\.){0,16}[A-Za-z0-9_-]{1,63}\.?)$", max_length=253)]
    type: Annotated[str, one_of(*DNS_TYPES)] | None = None


class Probe(_Part):
    """How health is asked: one of `httpGet`, `tcpSocket`, `exec`, `udp` and `dns`. Times in seconds."""

    http_get: HttpGet | None = None
    tcp_socket: TcpSocket | None = None
    exec_: Annotated[Exec | None, Field(alias="exec")] = None
    udp: UdpRequest | None = None
    dns: DnsQuestion | None = None
    initial_delay_seconds: Count | None = None
    timeout_seconds: Count | None = None
    period_seconds: Count | None = None
    success_threshold: Count | None = None
    failure_threshold: Count | None = None

    @model_validator(mode="after")
    def _one_way_to_ask(self) -> "Probe":
        if sum(way is not None for way in (self.http_get, self.tcp_socket, self.exec_, self.udp, self.dns)) != 1:
            raise ValueError("needs exactly one of httpGet, tcpSocket, exec, udp and dns")
        return self


class Amounts(_Part):
    cpu: Cpu | None = None
    memory: Memory | None = None
    # deprecated in the API, without effect
    ephemeral_storage: Annotated[ShortText | None, Field(alias="ephemeral-storage")] = None
    gpu: Annotated[Any, refused("there are no GPUs here yet"), Field(alias="nvidia-a2")] = None


class Resources(_Part):
    requests: Amounts | None = None
    limits: Amounts | None = None


class Capabilities(_Part):
    add: Annotated[list[Word], Few] | None = None
    drop: Annotated[list[Word], Few] | None = None


class SecurityContext(_Part):
    run_as_user: Int64 | None = None
    run_as_group: Int64 | None = None
    run_as_non_root: bool | None = None
    read_only_root_filesystem: bool | None = None
    allow_privilege_escalation: bool | None = None
    capabilities: Capabilities | None = None


class VolumeMount(_Part):
    """Where a container sees the volume of a claim."""

    slug: Given
    mount_path: Annotated[LineText, Field(min_length=1)]


class Storage(_Part):
    storage: Memory | None = None


class StorageResources(_Part):
    """A limit may say the same as the request, as some clients send it."""

    requests: Storage | None = None
    limits: Storage | None = None

    @model_validator(mode="after")
    def _as_large_as_requested(self) -> "StorageResources":
        limit = self.limits.storage if self.limits is not None else None
        request = self.requests.storage if self.requests is not None else None
        if limit and (not request or memory_bytes(limit) != memory_bytes(request)):
            raise ValueError("limits: a volume is as large as it is requested; leave it out, or say the same")
        return self


class VolumeSpec(_Part):
    """How large a volume is, and of which of the operator's storage classes."""

    resources: StorageResources | None = None
    storage_class: Word | None = None


class Metadata(_Part):
    """Labels and annotations. A workload's annotation `anycast.platform.stackpath.net` asks for an anycast address;
    those of a volume claim are kept as they were sent.
    """

    annotations: Annotated[dict[Key, Text], Few] | None = None
    labels: Annotated[dict[Key, ShortText], Few] | None = None
    # the server's own: accepted, since clients send back what they read, and never looked at
    version: Any = None
    created_at: Any = None
    updated_at: Any = None
    delete_requested_at: Any = None
    resource_name: Any = None


class VolumeClaim(_Part):
    """A volume that every instance has: one for each name of an instance, for the workload's whole life."""

    name: Title | None = None
    slug: Slug | None = None
    metadata: Metadata | None = None
    spec: VolumeSpec | None = None
    # the server's own
    phase: Word | None = None


class Container(_Part):
    """One container of every instance."""

    image: Image
    command: Annotated[list[Text], Few] | None = None
    args: Annotated[list[Text], Few] | None = None
    working_dir: LineText | None = None
    env: Annotated[dict[EnvName, EnvValue], Few] | None = None
    ports: Annotated[dict[Given, Port], Few] | None = None
    liveness_probe: Probe | None = None
    readiness_probe: Probe | None = None
    startup_probe: Probe | None = None
    resources: Resources | None = None
    volume_mounts: Annotated[list[VolumeMount], Few] | None = None
    lifecycle: Lifecycle | None = None
    termination_message_path: LineText | None = None
    termination_message_policy: Annotated[str, one_of("FILE", "FALLBACK_TO_LOGS_ON_ERROR", enum=True)] | None = None
    image_pull_policy: Annotated[str, one_of("ALWAYS", "IF_NOT_PRESENT", enum=True)] | None = None
    security_context: SecurityContext | None = None


_NO_ENV = "a virtual machine has no environment: write what it is to know into userData"


class VirtualMachine(_Part):
    """The virtual machine of every instance. `userData`: base64, for cloud-init; `sshKeys`: who may log in. An image
    that is named without a tag is the newest one of its family at this moment, and stays that one.
    """

    image: MachineImage
    user_data: UserData | None = None
    ssh_keys: Annotated[list[SshKey], Field(max_length=MOST_SSH_KEYS)] | None = None
    ports: Annotated[dict[Given, Port], Few] | None = None
    liveness_probe: Probe | None = None
    readiness_probe: Probe | None = None
    resources: Resources | None = None
    volume_mounts: Annotated[list[VolumeMount], Few] | None = None
    env: Annotated[Any, refused(_NO_ENV)] = None


class Interface(_Part):
    """A network interface. `subnet`, `ipv6Subnet`: subnets of the network, by slug, in which instances have their
    addresses; left out: `rootSubnet` and `ipv6Subnet` of the network, where it has them. Of the first one: `ipFamilies`
    with IPv6 gives the anycast address both families, IPv6 alone leaves instances without IPv4; `enableOneToOneNat`
    false: they have no public addresses of their own. A further one has addresses in subnets alone.
    """

    network: Slug | None = None
    ip_families: Annotated[list[Annotated[str, one_of("IPv4", "IPv6", enum=True, required=True)]], Few] | None = None
    subnet: Slug | None = None
    ipv6_subnet: Annotated[Slug | None, Field(alias="ipv6Subnet")] = None
    enable_one_to_one_nat: bool | None = None
    assignments: Assignments | None = None


class DockerRegistry(_Part):
    server: Word | None = None
    username: Word | None = None
    password: Password | None = None
    email: Word | None = None


class PullCredentials(_Part):
    """Who may pull images. The password is never answered."""

    docker_registry: DockerRegistry

    @model_validator(mode="after")
    def _of_somebody(self) -> "PullCredentials":
        if not self.docker_registry.username:
            raise ValueError("dockerRegistry needs a username (and its password)")
        return self


class NameValue(_Part):
    name: Given
    value: LineText | None = None


class HostAlias(_Part):
    ip: Given
    hostnames: Annotated[list[Word], Few] | None = None


class DnsConfig(_Part):
    nameservers: Annotated[list[Word], Few] | None = None
    searches: Annotated[list[Word], Few] | None = None
    options: Annotated[list[NameValue], Few] | None = None


class PodSecurityContext(_Part):
    run_as_user: Int64 | None = None
    run_as_group: Int64 | None = None
    run_as_non_root: bool | None = None
    supplemental_groups: Annotated[list[Int64], Few] | None = None
    sysctls: Annotated[list[NameValue], Few] | None = None


class ContainersRuntime(_Part):
    """What holds for all containers of an instance."""

    termination_grace_period_seconds: GraceSeconds | None = None
    share_process_namespace: bool | None = None
    security_context: PodSecurityContext | None = None
    host_aliases: Annotated[list[HostAlias], Few] | None = None
    dns_config: DnsConfig | None = None


class MachinesRuntime(_Part):
    """What holds for the virtual machine of an instance. Its guest may take the grace period to shut down."""

    termination_grace_period_seconds: GraceSeconds | None = None
    host_aliases: Annotated[list[HostAlias], Few] | None = None
    dns_config: DnsConfig | None = None


class Runtime(_Part):
    containers: ContainersRuntime | None = None
    virtual_machines: MachinesRuntime | None = None


class Spec(_Part):
    """What an instance is made from: containers, or one virtual machine."""

    network_interfaces: Annotated[list[Interface], Field(max_length=MOST_INTERFACES)] | None = None
    containers: Annotated[dict[Name, Container], Few] | None = None
    init_containers: Annotated[dict[Name, Container], Few] | None = None
    virtual_machines: Annotated[dict[Name, VirtualMachine], Few] | None = None
    volume_claim_templates: Annotated[list[VolumeClaim], Few] | None = None
    image_pull_credentials: Annotated[list[PullCredentials], Few] | None = None
    runtime: Runtime | None = None


class WorkloadBody(_Part):
    """A workload as it is declared. What the server adds itself may be sent back, and is not looked at."""

    name: Title | None = None
    slug: Slug | None = None
    metadata: Metadata | None = None
    spec: Spec
    targets: Annotated[dict[Name, Target], Field(min_length=1, max_length=MOST_ENTRIES)]
    # the server's own, as above
    id: Any = None
    stack_id: Any = None
    status: Any = None


def every_container(body: WorkloadBody) -> list[tuple[str, Container]]:
    """All that are declared, each with its path: those that run first, and those that run on."""
    spec = body.spec
    return [
        (f"spec.{kind}.{name}", container)
        for kind, all_ in (("containers", spec.containers), ("initContainers", spec.init_containers))
        for name, container in (all_ or {}).items()
    ]


Unit = Container | VirtualMachine


def every_unit(body: WorkloadBody) -> list[tuple[str, Unit]]:
    """All of those, and virtual machines."""
    machines = (body.spec.virtual_machines or {}).items()
    return [*every_container(body), *((f"spec.virtualMachines.{name}", machine) for name, machine in machines)]


FIELD_NAMES = allocation_schema.FIELD_NAMES | {
    info.alias or name for part in _Part.__subclasses__() for name, info in part.model_fields.items()
}
