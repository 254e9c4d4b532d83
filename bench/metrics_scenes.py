"""What metrics cost control, and what a partition leaves of them: the rows of `bench metrics` that are control's.

A host with 1,000 instances is scraped by way of control, and what it takes is held against the official client's
parser, which reads the same text once. And a host is cut off while a real Prometheus scrapes, and comes back.
"""

import tempfile
import time
from collections.abc import Iterable
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path

from prometheus_client.openmetrics.parser import text_string_to_metric_families
from tests.control_world import World, a_network
from tests.measured import labels_on, line, measuring, text_of
from tests.partition import Partition
from tests.served import served

from anypop.model.network import Network
from bench.harness import Row, row

INSTANCES, AT_ONCE, RUNS = 1000, 100, 9
NAMES = (
    "anypop_instance_memory_bytes",  # first, as in the text that tests make
    "anypop_instance_cpu_seconds_total", "anypop_instance_cpu_throttled_seconds_total",
    "anypop_instance_network_receive_bytes_total", "anypop_instance_network_transmit_bytes_total",
    "anypop_instance_network_receive_packets_total", "anypop_instance_network_transmit_packets_total",
    "anypop_instance_restarts_total", "anypop_instance_probe_seconds",
)  # fmt: skip
FAILED = 20  # scrapes, one a second


def scraped() -> Iterable[Row]:
    """One scrape of a host with 1,000 instances: the way from its agent, the check of each line, the answer."""
    took, read = list[float](), list[float]()
    with tempfile.TemporaryDirectory() as folder, World(Path(folder), _roomy()) as world:
        for number in range(INSTANCES // AT_ONCE):
            world.create(f"w{number}", cities=("AMS",), replicas=AT_ONCE, anycast=False)
        labels = labels_on(world, "AMS")
        assert len(labels) == INSTANCES
        text = text_of(line(name, 1.5, **one) for name in NAMES for one in labels)
        with served(world) as there, measuring(there, "AMS", text=text):
            for _ in range(RUNS):
                began = time.perf_counter()
                answer = there.http.get("/anypop/v1/hosts/AMS/metrics", headers=world.headers)
                took.append(1000 * (time.perf_counter() - began))
                assert answer.text.count("\nanypop_instance_") == INSTANCES * len(NAMES), answer.text[:200]
                began = time.perf_counter()
                for _ in text_string_to_metric_families(answer.text):  # type: ignore[no-untyped-call]
                    pass
                read.append(1000 * (time.perf_counter() - began))
    against = "the official client's parser reads it once"
    yield row("scrape_1000_instances_ms", took, unit="ms", against=against, floor=read, ratio_below=1)


def _roomy() -> Network:
    """A network whose first host has addresses for all of them."""
    found = a_network({"AMS": (1299,)})
    (pop,) = found.pops
    (host,) = pop.hosts
    wide = replace(host, private4=IPv4Network("10.0.0.0/18"), external4=IPv4Network("198.18.0.0/20"))
    return replace(found, pops=(replace(pop, hosts=(wide,)),))


def holes() -> Iterable[Row]:
    """What is missing in the store after a host was cut off; beside it what was missing before it came back."""
    with tempfile.TemporaryDirectory() as folder, Partition(Path(folder)) as scene:
        last = scene.cut_off(scrapes=FAILED)
        before = scene.missing(until=scene.now())
        began = time.perf_counter()
        scene.returns(last)
        took = time.perf_counter() - began
        left = scene.missing()
    yield row("hole_while_cut_off_s", [before], unit="s", at_least=FAILED - 2)
    yield row("hole_after_partition_s", [left], unit="s", below=0.001)
    yield row("filled_after_return_s", [took], unit="s")
