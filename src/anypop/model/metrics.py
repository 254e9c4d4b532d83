"""The metrics of a host: their names, kinds, units, and what each of them says. docs/metrics.md is the same for people.

In: nothing; these are words. Out: `METRICS`, by the name of a sample. Agents count, keep and tell these; control asks
for them by name. Values are whole numbers inside the agent: `per_unit` says how many of them are one of the unit.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class Kind(StrEnum):
    """Of a metric, in OpenMetrics' words."""

    COUNTER = "counter"
    GAUGE = "gauge"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """`name`: of its samples; a counter's ends with `_total`."""

    name: str
    kind: Kind
    says: str
    per_unit: int = 1

    @property
    def family(self) -> str:
        return self.name.removesuffix("_total")


class SeriesKey(NamedTuple):
    """Which series: the name, and the labels in the order of their names."""

    name: str
    labels: tuple[tuple[str, str], ...]


MICROS = 1_000_000

CPU = "anypop_instance_cpu_seconds_total"
THROTTLED = "anypop_instance_cpu_throttled_seconds_total"
MEMORY = "anypop_instance_memory_bytes"
RECEIVED_BYTES, SENT_BYTES, RECEIVED_PACKETS, SENT_PACKETS = (
    f"anypop_instance_network_{way}_{what}_total" for what in ("bytes", "packets") for way in ("receive", "transmit")
)
RESTARTS = "anypop_instance_restarts_total"
PROBE = "anypop_instance_probe_seconds"
INSTANCE = (
    CPU, THROTTLED, MEMORY, RECEIVED_BYTES, SENT_BYTES, RECEIVED_PACKETS, SENT_PACKETS, RESTARTS, PROBE,
)  # fmt: skip
"""Those of an incarnation, in the order in which an agent counts them."""

ANYCAST = ("anypop_anycast_bytes_total", "anypop_anycast_packets_total", "anypop_anycast_new_flows_total")
SESSION_UP, SESSION_PREFIXES = "anypop_session_up", "anypop_session_prefixes"
SESSION_BFD, SESSION_FLAPS = "anypop_session_bfd_up", "anypop_session_flaps_total"
TUNNEL = tuple(f"anypop_tunnel_{way}_{what}_total" for what in ("bytes", "packets") for way in ("receive", "transmit"))
AGENT_CPU, AGENT_MEMORY = "anypop_agent_cpu_seconds_total", "anypop_agent_memory_bytes"
AGENT_PASS = "anypop_agent_pass_seconds"
IMAGE_BYTES = "anypop_image_bytes_total"
AGENT_LOST, AGENT_TIERS = "anypop_agent_samples_lost_total", "anypop_agent_tier_bytes"


def _metrics(*rows: tuple[str, str, int]) -> dict[str, Metric]:
    return {
        name: Metric(
            name=name, kind=Kind.COUNTER if name.endswith("_total") else Kind.GAUGE, says=says, per_unit=per_unit
        )
        for name, says, per_unit in rows
    }


METRICS = _metrics(
    (CPU, "Processor time of an instance", MICROS),
    (THROTTLED, "Time for which an instance had to wait for its limit of processor time", MICROS),
    (MEMORY, "Memory of an instance without the file cache that the kernel could take back at once", 1),
    (RECEIVED_BYTES, "What an instance received over its links", 1),
    (SENT_BYTES, "What an instance sent over its links", 1),
    (RECEIVED_PACKETS, "Packets that an instance received over its links", 1),
    (SENT_PACKETS, "Packets that an instance sent over its links", 1),
    (RESTARTS, "How often containers of an instance were started anew", 1),
    (PROBE, "How long the last answers to an instance's probes took, the longest of them", MICROS),
    (ANYCAST[0], "What this host led to a member of an anycast address", 1),
    (ANYCAST[1], "Packets that this host led to a member of an anycast address", 1),
    (ANYCAST[2], "Flows that began at a member of an anycast address", 1),
    (SESSION_UP, "Whether a BGP session is established", 1),
    (SESSION_PREFIXES, "Routes of a BGP session that came in and are told", 1),
    (SESSION_BFD, "Whether BFD hears the neighbour of a BGP session", 1),
    (SESSION_FLAPS, "How often a BGP session was lost", 1),
    (TUNNEL[0], "What came by the tunnel from another host", 1),
    (TUNNEL[1], "What went by the tunnel to another host", 1),
    (TUNNEL[2], "Packets that came by the tunnel from another host", 1),
    (TUNNEL[3], "Packets that went by the tunnel to another host", 1),
    (AGENT_CPU, "Processor time of the agent's process", MICROS),
    (AGENT_MEMORY, "Resident memory of the agent's process", 1),
    (AGENT_LOST, "Rows of samples that could not be kept", 1),
    (AGENT_TIERS, "Size of the samples that the agent keeps", 1),
)
"""All that are sampled, in the order in which they are told."""


def is_counter(name: str) -> bool:
    return name.endswith("_total")
