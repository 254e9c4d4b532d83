"""Scale: what one change, one report, one lost host and a first plan cost, on a large platform and on one of a tenth of
its size.

The shape: 1,000 hosts in 1,000 PoPs, 10,000 workloads of 10 instances over 5 cities each, one workload in ten with
an anycast address. All goes through the real core and the real store: from what a request hands to the core until
the step is on disk and everyone who waits can hear of it. A report is handed over parsed, with the JSON as which it
came. The agent's rows are processor time of one decision over so many instances.
"""

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Any

from tests import agent_world

from anypop.agent.decide.converge import converge
from anypop.agent.decide.facts import Facts
from anypop.agent.decide.report import report_of
from anypop.control import collector, declare
from anypop.control.accounts import Accounts, Stack
from anypop.control.core import Core
from anypop.control.network import change_network
from anypop.control.state import State
from anypop.control.store import open_store
from anypop.model import codec
from anypop.model.names import CityCode, HostName, WorkloadId
from anypop.model.network import Host, Network, Pop, Upstream
from anypop.model.order import Order
from anypop.model.order_since import VERSION
from anypop.model.reasons import Reason
from anypop.model.report import ContainerReport, InstanceReport, Phase, PrefixReport, Report, SessionReport
from bench.harness import Row, row

HOSTS = 1000
PER_CITY = 2  # instances of a workload in each of its five cities
CITIES = 5
WORKLOADS_PER_HOST = 50  # with two instances of each: a hundred instances on every host
ANYCAST_EVERY = 10
RUNS = 30
LOST = 12


def rows() -> Iterable[Row]:
    """Rows `change_10k`, `change_100k`, `report_100k`, `lost_host_100k`, `first_plan_100k`, `converge_100` and
    `converge_400`.
    """
    collector.seldom()
    tiny, small, large = (asyncio.run(_measured(hosts)) for hosts in (HOSTS // 100, HOSTS // 10, HOSTS))
    return [
        row("change_10k", small.change, unit="ms", against="1,000 instances", floor=tiny.change),
        row(
            "change_100k",
            large.change,
            unit="ms",
            against="10,000 instances",
            floor=small.change,
            below=10,
            ratio_below=1.5,
        ),
        row(
            "report_100k",
            large.report,
            unit="ms",
            against="10,000 instances",
            floor=small.report,
            below=1,
            ratio_below=1.5,
        ),
        row("lost_host_100k", large.lost, unit="ms", against="10,000 instances", floor=small.lost, ratio_below=1.5),
        row("first_plan_100k", large.first, unit="s", against="10,000 instances", floor=small.first, below=4),
        row("converge_100", _passes(100), unit="ms", against="10 instances", floor=_passes(10), below=20),
        row("converge_400", _passes(400), unit="ms", against="40 instances", floor=_passes(40), below=20),
    ]


def _passes(count: int) -> list[float]:
    """Processor time of an agent's pass that has nothing to do, over so many instances of two workloads."""
    host = agent_world.FakeHost()
    host.obey(agent_world.order(1, *(agent_world.instance(n, workload=n % 2) for n in range(count))))
    agent_world.settle(host)
    found = []
    for _ in range(9):
        observed = host.observe()
        began = time.process_time()
        assert host.page is not None
        facts = Facts(host.page.order, observed)
        assert not converge(facts, host.now)
        report_of(
            facts,
            pop=agent_world.POP,
            host=agent_world.HOST,
            generation=1,
            at=host.now,
            refused=None,
            drift=(),
            errors=(),
        )
        found.append(1000 * (time.process_time() - began))
    return found


@dataclass(slots=True)
class Figures:
    """Samples of one size: milliseconds, and for the first plan seconds."""

    change: list[float]
    report: list[float]
    lost: list[float]
    first: list[float]


class _Clock:
    """Time that moves when the benchmark says so: nobody is lost because a machine is slow."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


async def _measured(hosts: int) -> Figures:
    with tempfile.TemporaryDirectory(prefix="anypop-bench-") as folder:
        clock = _Clock()
        store = open_store(Path(folder))
        accounts = Accounts(store, clock)
        stack = accounts.create_stack(accounts.first_account().id, "bench", "bench")
        core = Core(store, store.load(), clock)
        await core.start()
        try:
            await core.change(change_network(a_network(hosts)))
            bodies = [a_body(number, hosts) for number in range(hosts * WORKLOADS_PER_HOST // CITIES)]
            cities = [pop.city for pop in core.state.network.pops]
            made = [
                declare.create(declare.parsed(body, stack, WorkloadId(_id(n)), cities)) for n, body in enumerate(bodies)
            ]

            def all_of_them(state: State, now: float) -> State:
                for alter in made:
                    state = alter(state, now)
                return state

            first = await _seconds(lambda: core.change(all_of_them))
            assert len(core.state.incarnations) == hosts * WORKLOADS_PER_HOST * PER_CITY
            await _report_all(core, clock)
            return Figures(
                first=[first],
                change=[1000 * s for s in await _changes(core, stack, bodies, cities)],
                report=[1000 * s for s in await _reports(core, clock)],
                lost=[1000 * s for s in await _losses(core, clock)],
            )
        finally:
            await core.stop()
            store.close()


async def _changes(core: Core, stack: Stack, bodies: list[dict[str, Any]], cities: list[CityCode]) -> list[float]:
    """One workload is scaled from two instances in each of its cities to three: parsed, declared, planned, checked,
    judged, ordered, stored.
    """
    found = []
    for number in range(RUNS + 3):
        chosen = number * 7 % len(bodies)
        wanted = a_body(chosen, len(cities), replicas=PER_CITY + 1)

        async def change(chosen: int = chosen, wanted: dict[str, Any] = wanted) -> None:
            current = core.state.workloads[WorkloadId(_id(chosen))]
            await core.change(declare.replace_with(current, declare.redeclared(wanted, current, stack, cities)))

        found.append(await _seconds(change))
    return found[3:]


async def _reports(core: Core, clock: _Clock) -> list[float]:
    """One host reports that one of its instances fails its probes."""
    found = []
    for number, host in enumerate(list(core.state.orders)[: RUNS + 3]):
        clock.now += 0.01
        report = a_report(core.state.orders[host].order, clock.now)
        ill = replace(report.instances[number], healthy=False, reason=Reason.PROBE_FAILED)
        report = replace(report, instances=(*report.instances[:number], ill, *report.instances[number + 1 :]))
        body = codec.to_json(report)
        found.append(await _seconds(lambda report=report, body=body: core.take(report, body)))  # type: ignore[misc]
    return found[3:]


async def _losses(core: Core, clock: _Clock) -> list[float]:
    """One host is not heard of for too long, and comes back: both steps together."""
    hosts = sorted(core.state.orders)
    count = min(LOST, len(hosts) // 2)
    chosen, others = hosts[:count], hosts[count:]
    began = clock.now
    for number, host in enumerate(chosen):
        clock.now = began + 0.1 * number
        await core.take(a_report(core.state.orders[host].order, clock.now))
    clock.now = began + 10
    await asyncio.gather(*(core.take(a_report(core.state.orders[host].order, clock.now)) for host in others))
    found = []
    for number, host in enumerate(chosen):
        clock.now = began + 0.1 * number + 15.05
        took = await _seconds(lambda: core.change(lambda state, now: state))
        assert not core.state.verdict.hosts[host].trusted
        report = a_report(core.state.orders[host].order, clock.now)
        body = codec.to_json(report)
        took += await _seconds(lambda report=report, body=body: core.take(report, body))  # type: ignore[misc]
        await asyncio.sleep(0)
        found.append(took)
    return found[2:]


async def _report_all(core: Core, clock: _Clock) -> None:
    clock.now += 1
    await asyncio.gather(*(core.take(a_report(issued.order, clock.now)) for issued in core.state.orders.values()))
    clock.now += 1
    await asyncio.gather(*(core.take(a_report(issued.order, clock.now)) for issued in core.state.orders.values()))


async def _seconds(work: Callable[[], Awaitable[object]]) -> float:
    began = time.perf_counter()
    await work()
    return time.perf_counter() - began


def _id(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012d}"


def _city(number: int) -> CityCode:
    return CityCode(f"P{number:04d}")


def a_network(hosts: int) -> Network:
    """As many PoPs of one host as hosts; a covering prefix for each group of five."""
    groups = hosts // CITIES
    return Network(
        asn=33438,
        anycast4=tuple(IPv4Network((f"185.{n // 256}.{n % 256}.0", 24)) for n in range(groups)),
        anycast6=tuple(IPv6Network(f"2001:db8:{0xA000 + n:x}::/48") for n in range(groups)),
        pops=tuple(Pop(city=_city(number), hosts=(a_host(number),)) for number in range(hosts)),
    )


def a_host(number: int) -> Host:
    v4, v6 = int(IPv4Address("172.16.0.0")) + 8 * number, int(IPv6Address("fd01::")) + (number << 64)
    return Host(
        name=HostName(_city(number)),
        router_id=IPv4Address(int(IPv4Address("10.255.0.0")) + number),
        private4=IPv4Network((int(IPv4Address("10.0.0.0")) + 1024 * number, 22)),
        private6=IPv6Network((int(IPv6Address("fd00::")) + (number << 64), 64)),
        external4=IPv4Network((int(IPv4Address("100.64.0.0")) + 256 * number, 24)),
        external6=IPv6Network((int(IPv6Address("2001:db9::")) + (number << 64), 64)),
        upstreams=tuple(
            Upstream(
                name=f"as{asn}",
                asn=asn,
                interface=f"up-{asn}",
                neighbor4=IPv4Address(v4 + 2 * i),
                local4=IPv4Address(v4 + 2 * i + 1),
                neighbor6=IPv6Address(v6 + 2 * i),
                local6=IPv6Address(v6 + 2 * i + 1),
            )
            for i, asn in enumerate((1299, 3356))
        ),
    )


def a_body(number: int, hosts: int, *, replicas: int = PER_CITY) -> dict[str, Any]:
    """A workload in the five cities of its group."""
    groups = hosts // CITIES
    group = number % groups
    annotations = {"anycast.platform.stackpath.net": "true"} if number // groups % ANYCAST_EVERY == 0 else {}
    container = {
        "image": "registry.example/web:1",
        "env": {"MODE": {"value": "bench"}, "TOKEN": {"secretValue": f"hush-{number}"}},
        "ports": {"http": {"port": 80, "protocol": "TCP"}},
        "readinessProbe": {"httpGet": {"path": "/", "port": 80}, "periodSeconds": 2},
        "resources": {"requests": {"cpu": "1", "memory": "2Gi"}},
    }
    selector = {"key": "cityCode", "operator": "in", "values": [_city(CITIES * group + i) for i in range(CITIES)]}
    return {
        "name": f"w{number}",
        "slug": f"w{number}",
        "metadata": {"annotations": annotations},
        "spec": {"containers": {"web": container}},
        "targets": {
            "all": {
                "spec": {
                    "deploymentScope": "cityCode",
                    "deployments": {"minReplicas": replicas, "selectors": [selector]},
                }
            }
        },
    }


def a_report(order: Order, at: float) -> Report:
    """A host that has obeyed, with everything well."""
    container = ContainerReport(
        name="web", phase=Phase.RUNNING, reason=Reason.RUNNING, container_id="c" * 64, started_at=at, ready=True
    )
    return Report(
        pop=order.pop,
        host=order.host,
        at=at,
        generation=order.generation,
        understands=VERSION,
        instances=tuple(
            InstanceReport(
                name=i.name,
                uid=i.uid,
                phase=Phase.RUNNING,
                healthy=True,
                reason=Reason.PROBE_PASSED,
                template=i.template,
                serving=True,
                started_at=at,
                containers=(container,),
            )
            for i in order.instances
        ),
        sessions=tuple(
            SessionReport(upstream=u.name, family=f, state="established", since=at)
            for u in order.upstreams
            for f in (4, 6)
        ),
        prefixes=tuple(
            PrefixReport(
                prefix=prefix,
                announced=True,
                upstreams=tuple(a.upstream for a in order.announcements if a.prefix == prefix),
                reason=Reason.ANNOUNCED,
            )
            for prefix in dict.fromkeys(a.prefix for a in order.announcements)
        ),
    )
