"""What control asks a host for that is no order: the log of a container, a command run in one, a connection to a port
of an instance, a console, what instances use now, the host's metrics and its samples of them, what its router knows,
and pings from an anycast address, to see where the answers arrive.

In: nothing; these are words. Out: a request that control sends to the agent of a host, which answers over a stream of
its own: first an `Opened`, then frames. Nothing of it is desired state: it is gone with the connection.

A log is the bytes themselves. The frames of a command and of a connection begin with a byte that says what the rest is
(`Frame`). What is used
comes as one `Used` after the other. Lines that are searched for or watched come as rows of JSON (`agent/log_streams`),
cut into frames anywhere. Metrics are the OpenMetrics text itself, as bytes; samples come as one `Samples`
after the other, and a long series is in several of them, in order.
"""

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from ipaddress import IPv4Network, IPv6Network
from typing import Literal

from anypop.model.announce import Address
from anypop.model.log_sinks import LogSink, Shipped
from anypop.model.log_text import Level

LARGEST_FRAME = 32 << 10
"""Bytes of one frame at most, its first byte not counted: who reads slowly holds back so much and no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRequest:
    """Of one container of the incarnation `uid`. `previous`: of its life before this one. `tail`: the last so many
    lines; None: all that is kept. `since`: seconds since the epoch, lines before are left out. `most_bytes`: then it
    ends.
    """

    kind: Literal["log"] = "log"
    uid: str
    container: str
    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    tail: int | None = None
    since: float | None = None
    most_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandRequest:
    """`terminal`: with a terminal of so many rows and columns; its output is then one stream."""

    kind: Literal["command"] = "command"
    uid: str
    container: str
    command: tuple[str, ...]
    terminal: bool = False
    rows: int = 24
    columns: int = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class PortRequest:
    """A TCP connection to a port of the incarnation `uid`, opened inside it; `container`: one that has to run."""

    kind: Literal["port"] = "port"
    uid: str
    container: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleRequest:
    """The console of a virtual machine, the incarnation `uid`: what it says from a few lines back on, and what is
    typed.
    """

    kind: Literal["console"] = "console"
    uid: str
    container: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordRequest:
    """The first password of a virtual machine, the incarnation `uid`, which its guest has told its host. Its bytes come
    once, and are nowhere afterwards.
    """

    kind: Literal["password"] = "password"
    uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureRequest:
    """A disk of a virtual machine, the incarnation `uid`, as it is now: a qcow2 file that stands for itself. `claim`:
    of a volume; empty: its root disk. The host makes the file once for each `id` and keeps it until a
    `CaptureOverRequest`: asked again it goes on at `offset`, where its checksum still is `sha256`. The answer is
    `Captured` as text, now and then while it is made and once more when it is; then its bytes. `part`: `variables` are
    those of UEFI at the moment of the copy, which must have been made before.
    """

    kind: Literal["capture"] = "capture"
    id: str
    uid: str
    claim: str = ""
    part: Literal["disk", "variables"] = "disk"
    sha256: str = ""
    offset: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureOverRequest:
    """Nobody needs the file of this capture any more."""

    kind: Literal["capture-over"] = "capture-over"
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Captured:
    """`percent`: of the disk that is copied. With a checksum the file is made: `size` bytes of `part`, of which those
    from `begins` on follow. `anew`: how often the copy was begun anew, since it was cut off before it was whole.
    `why`: it cannot be made, and asking again will not help.
    """

    percent: int = 0
    anew: int = 0
    part: Literal["disk", "variables"] = "disk"
    size: int = 0
    sha256: str = ""
    begins: int = 0
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class UseRequest:
    """What these incarnations use now."""

    kind: Literal["use"] = "use"
    uids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceUse:
    """One incarnation, all its containers together; what its host cannot count is None. `cpu_millis`: thousandths of a
    core; `memory_bytes`: what it holds and the kernel could not take back at once; bytes of its link in a second, as
    the instance sees them.
    """

    uid: str
    cpu_millis: int | None = None
    memory_bytes: int | None = None
    received_per_s: int | None = None
    sent_per_s: int | None = None


USED_IN_FRAME = 100
"""Instances in one `Used`: 200 bytes each, so that it fits into a frame whatever the figures are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """`at`: when it was read, by the host's own clock. What is no amount but a rate is that of the time just before."""

    at: float
    instances: tuple[InstanceUse, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FindRequest:
    """The newest lines of these incarnations that fit. `text`: stands in the line, capitals or not; `level`: at least;
    `since`, `until`: nanoseconds since the epoch, the second one not within. `most`: lines; those of one moment are
    never parted, so there may be some more.
    """

    kind: Literal["find"] = "find"
    uids: tuple[str, ...]
    container: str = ""
    text: str = ""
    level: Level | None = None
    since: int | None = None
    until: int | None = None
    most: int = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchLogsRequest:
    """Lines of these incarnations from `since` on (nanoseconds; None: from now) as they are written down."""

    kind: Literal["watch-logs"] = "watch-logs"
    uids: tuple[str, ...]
    container: str = ""
    text: str = ""
    level: Level | None = None
    since: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsRequest:
    """All metrics of the host, of this moment, as OpenMetrics text."""

    kind: Literal["metrics"] = "metrics"


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplesRequest:
    """What the host has kept of its metrics from `since` to `until` (seconds since the epoch, by the host's clock), a
    sample each `step_s` at most. `names`: of samples, as in the text (`anypop_instance_cpu_seconds_total`), and
    `uids`: of incarnations; none: all.
    """

    kind: Literal["samples"] = "samples"
    since: float
    until: float
    step_s: float
    names: tuple[str, ...] = ()
    uids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """`labels`: in the order of their names, without the one that is the name. `points`: times in seconds since the
    epoch, and values, oldest first.
    """

    name: str
    labels: tuple[tuple[str, str], ...]
    points: tuple[tuple[float, float], ...]


POINTS_IN_FRAME = 500
"""Points in one `Samples`: 35 bytes each at most, and the labels beside them fit into a frame."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """A part of the answer."""

    series: tuple[Series, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShippingRequest:
    """The receivers of logs that this host has to know from now on, in place of those that it knew; it answers with a
    `ShippingTold`. `forbidden`: networks of the platform, where no receiver of a stack may be.
    """

    kind: Literal["shipping"] = "shipping"
    sinks: tuple[LogSink, ...]
    forbidden: tuple[IPv4Network | IPv6Network, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ShippingTold:
    """Cut into frames anywhere."""

    sinks: tuple[Shipped, ...]


class RoutesQuestion(StrEnum):
    """What a host's speaker can be asked: how its sessions stand, which routes it has for an address, what it tells an
    upstream, what it hears from one.
    """

    SESSIONS = "sessions"
    ROUTE = "route"
    TOLD = "told"
    HEARD = "heard"


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutesRequest:
    """A question to the speaker, which is answered as text, in its own words. `address`: for `ROUTE`; `upstream`, by
    its name here, and `family`: for `TOLD` and `HEARD`.
    """

    kind: Literal["routes"] = "routes"
    question: RoutesQuestion
    address: Address | None = None
    upstream: str = ""
    family: int = 4


MOST_PINGED, MOST_PINGS_PER_S, LONGEST_LISTEN_S = 1000, 1000, 120.0
"""Of one request to a host: addresses, echoes in a second, and how long it listens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EchoesRequest:
    """Listen at the upstreams for answers to the echoes of one measurement, as long as `listen_s`; the host answers
    with `Heard` when that is over. `key`: of the measurement, in hexadecimal digits; `source`: where answers go.
    """

    kind: Literal["echoes"] = "echoes"
    key: str
    source: Address
    listen_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """Who answered; in as many frames as it needs."""

    addresses: tuple[Address, ...]


HEARD_IN_FRAME = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class PingsRequest:
    """Send one echo to each of `targets` from `source`, an address of a prefix that this host announces, at most
    `per_s` in a second; it answers with `Pinged` when all are out.
    """

    kind: Literal["pings"] = "pings"
    key: str
    source: Address
    targets: tuple[Address, ...]
    per_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pinged:
    """`unsent`: to so many there is no way from here."""

    sent: int
    unsent: int


Wanted = (
    LogRequest
    | CommandRequest
    | PortRequest
    | ConsoleRequest
    | PasswordRequest
    | CaptureRequest
    | CaptureOverRequest
    | UseRequest
    | FindRequest
    | WatchLogsRequest
    | MetricsRequest
    | SamplesRequest
    | ShippingRequest
    | RoutesRequest
    | EchoesRequest
    | PingsRequest
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamRequest:
    """`id`: names the stream on which the agent answers."""

    id: str
    wanted: Wanted


class Refusal(StrEnum):
    """Why a host opens no stream."""

    NOT_THERE = "not there"
    NOT_YET = "not yet"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """The first frame, as text: the stream begins, or why it does not."""

    refusal: Refusal | None = None
    message: str = ""


class Frame(IntEnum):
    """The first byte of a frame. INPUT, END (of input) and SIZE (`{"rows": 24, "columns": 80}`) go to a command;
    OUTPUT, ERRORS and EXIT (`{"code": 0}`, the last one) come from it. To a port go INPUT and END; OUTPUT and END come
    from it. To a console goes INPUT; OUTPUT comes from it, and END where it is over.
    """

    INPUT = 0
    OUTPUT = 1
    ERRORS = 2
    EXIT = 3
    SIZE = 4
    END = 5
