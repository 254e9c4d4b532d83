"""What the way through a host costs: client to instance, beside the same way by plain routing, and beside HAProxy.

In: a running platform without distances (`bench.flat`) with one instance near and one that is carried to. Out: ratios
to `bench.ways`: the same client, the same routers before the host, the same server program. Nothing waits for a wire,
so what is measured is work. The ways are measured in turns, one after the other.
"""

import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from statistics import median

from bench.flat import compiled, flat
from bench.harness import Row, row
from bench.rules_scene import with_rules_of
from bench.ways import Twins, Way, p99, speed

RUNS = 15
UNIT, PLAIN = "MB/CPU s", "the same way by plain routing"

Samples = dict[str, list[float]]


def rows() -> Iterable[Row]:
    """Rows `throughput`, `p99`, `throughput_vs_haproxy`, `between_vs_haproxy`, `carried_throughput` and
    `rules_1000_instances`.
    """
    prefix = f"b{os.getpid() % 46656:x}"
    with tempfile.TemporaryDirectory(prefix="anyp-", dir="/tmp") as name:
        program = compiled(Path(name), "pour")
        with flat(prefix, Path(name), backbone=True) as it, Twins(it, f"{prefix}t", program) as twins:
            yield from near(twins, program, twins.ours("near", "LHR"))
            carried = in_turns(
                {"ours": twins.ours("far", "AMS"), "plain": twins.plain_far()},
                lambda way: speed(program, way),
            )
        yield row(
            "carried_throughput", carried["ours"], unit=UNIT, against=PLAIN, floor=carried["plain"], ratio_above=0.85
        )
        few, many = with_rules_of(f"{prefix}r", program, counts=(1, 1000), runs=RUNS)
        against = "the rules of one instance"
        yield row("rules_1000_instances", many, unit=UNIT, against=against, floor=few, ratio_above=0.95)


def near(twins: Twins, program: Path, ours: Way) -> Iterable[Row]:
    """What is served by the host that the client comes to."""
    ways = {"ours": ours, "plain": twins.plain(), "proxied": twins.proxied(), "direct": twins.direct()}
    fast = in_turns(ways, lambda way: speed(program, way))
    yield row("throughput", fast["ours"], unit=UNIT, against=PLAIN, floor=fast["plain"], ratio_above=0.97)
    against = "HAProxy in its place; work of client and server counted in both"
    yield row("throughput_vs_haproxy", fast["ours"], unit=UNIT, against=against, floor=fast["proxied"], ratio_above=3)
    # Most of that is the client's and the server's own work, which no forwarding changes. So once more without it: less
    # what a transfer costs with nothing between. What is left of ours is little, so its figure is a rough one; what
    # would be less than a hundredth of the ends' work counts as that.
    ends = 1 / median(fast["direct"])
    ours_alone, theirs = ([1 / max(1 / s - ends, ends / 100) for s in fast[name]] for name in ("ours", "proxied"))
    against = "HAProxy in its place; work of client and server (the same with nothing between) taken off both"
    yield row("between_vs_haproxy", ours_alone, unit=UNIT, against=against, floor=theirs, ratio_above=3)
    late = in_turns({name: ways[name] for name in ("ours", "plain")}, lambda way: p99(program, way))
    yield row("p99", late["ours"], unit="us", against=PLAIN, floor=late["plain"], ratio_below=1.1)


def in_turns(ways: Mapping[str, Way], measured: Callable[[Way], float]) -> Samples:
    """Of each way `RUNS` samples; the first round only warms up."""
    found: Samples = {name: [] for name in ways}
    for number in range(RUNS + 1):
        for name, way in ways.items():
            sample = measured(way)
            if number:
                found[name].append(sample)
    print(*(f"{name}: {median(samples):.1f}" for name, samples in found.items()), sep=", ")
    return found
