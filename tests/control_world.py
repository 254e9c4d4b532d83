"""Control in this process, with a clock of its own and agents that only pretend: for tests of control and of the API.

`World` runs the real store, core and application on an event loop in a thread; requests go through the real HTTP stack
of the framework, without sockets. `FakeAgent` obeys an order as a host without processes would: it reports everything
running and announced.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from functools import cache, partial
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeVar

import httpx
from sqlalchemy import event

from anypop.agent.decide.backbone import Carriers
from anypop.control.accounts import Accounts
from anypop.control.core import Core
from anypop.control.network import change_network
from anypop.control.state import State
from anypop.control.store import Store, open_store
from anypop.model import codec
from anypop.model.announce import Address, Announcement, Mode, Prefix
from anypop.model.machine import Acceleration
from anypop.model.names import CityCode, HostName
from anypop.model.network import Capacity, Host, Network, Pop, Upstream
from anypop.model.order import InstanceOrder, Order
from anypop.model.order_since import VERSION
from anypop.model.reasons import Reason
from anypop.model.report import (
    Arrived,
    CarriedReport,
    ContainerReport,
    Exported,
    FamilyReport,
    InstanceReport,
    Phase,
    PrefixReport,
    Report,
    SessionReport,
    TunnelReport,
)
from anypop.model.volume import SnapshotReport, VolumeReport
from anypop.plan.price import default_price_book
from tests import databases
from tests.wait import wait_until

if TYPE_CHECKING:
    from anypop.api.context import Platform

T = TypeVar("T")

NOW = 1_700_000_000.0
UPSTREAMS = {"AMS": (1299, 3356), "LHR": (1299, 3257), "JFK": (209, 2914), "LAX": (209, 1299)}


def a_network(cities: dict[str, tuple[int, ...]] | None = None) -> Network:
    """The PoPs of the article, or others."""
    chosen = cities if cities is not None else UPSTREAMS
    return Network(
        asn=33438,
        anycast4=(IPv4Network("185.85.196.0/24"), IPv4Network("185.85.197.0/24")),
        anycast6=(IPv6Network("2001:db8:a::/48"), IPv6Network("2001:db8:b::/48")),
        pops=tuple(_pop(number, city, asns) for number, (city, asns) in enumerate(chosen.items())),
    )


def _pop(number: int, city: str, asns: tuple[int, ...]) -> Pop:
    host = Host(
        name=HostName(city),
        router_id=IPv4Address(f"10.255.0.{number + 1}"),
        private4=IPv4Network(f"10.{number}.0.0/20"),
        private6=IPv6Network(f"fd00:{number:x}::/64"),
        external4=IPv4Network(f"198.18.{number}.0/24"),
        external6=IPv6Network(f"2001:db8:e{number:x}::/48"),
        upstreams=tuple(
            Upstream(
                name=f"as{asn}",
                asn=asn,
                interface=f"up-as{asn}",
                neighbor4=IPv4Address(f"172.16.{number}.{2 * i}"),
                local4=IPv4Address(f"172.16.{number}.{2 * i + 1}"),
                neighbor6=IPv6Address(f"2001:db8:f{number:x}::{2 * i:x}"),
                local6=IPv6Address(f"2001:db8:f{number:x}::{2 * i + 1:x}"),
            )
            for i, asn in enumerate(asns)
        ),
    )
    return Pop(city=CityCode(city), hosts=(host,))


def a_body(
    slug: str = "fun", *, cities: tuple[str, ...] = ("AMS", "LHR"), replicas: int = 2, anycast: bool = True, **spec: Any
) -> dict[str, Any]:
    """A request that creates a workload. `spec`: more members of its container."""
    metadata = {"metadata": {"annotations": {"anycast.platform.stackpath.net": "true"}}} if anycast else {}
    return {
        "workload": {
            "name": slug,
            "slug": slug,
            **metadata,
            "spec": {
                "containers": {
                    "web": {
                        "image": "registry.example/web:1",
                        "ports": {"http": {"port": 80, "protocol": "TCP"}},
                        "resources": {"requests": {"cpu": "2", "memory": "4Gi"}},
                        **spec,
                    }
                },
                "networkInterfaces": [{"network": "default", "ipFamilies": ["IPv4", "IPv6"]}],
            },
            "targets": {
                "eu": {
                    "spec": {
                        "deploymentScope": "cityCode",
                        "deployments": {
                            "minReplicas": replicas,
                            "selectors": [{"key": "cityCode", "operator": "in", "values": list(cities)}],
                        },
                    }
                }
            },
        }
    }


class Clock:
    """Time that moves when a test says so."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@cache
def _migrated() -> bytes:
    """An empty database of the newest schema."""
    with TemporaryDirectory() as folder:
        open_store(Path(folder)).close()
        return (Path(folder) / "anypop.db").read_bytes()


def _quick_store(folder: Path) -> Store:
    """The real store without its slow parts: migrations are run and statements compiled once for all tests, and nothing
    waits for the disk.
    """
    if databases.ON_POSTGRESQL:
        store = open_store(folder, databases.address_of(folder))
        databases.share_statements(store)

        def is_active() -> bool:
            if store.lease is not None and not store.lease.epoch:
                store.prepare(folder)
            return store.lease is None or store.lease.epoch > 0

        # the server notices a moment later that whoever held the lease has ended
        wait_until(is_active, timeout_s=20, reason="the lease of the control before is free")
        return store
    if not (folder / "anypop.db").exists():
        (folder / "anypop.db").write_bytes(_migrated())
    store = open_store(folder)
    event.listen(store._engine, "connect", lambda link, _: link.execute("PRAGMA synchronous=OFF"))
    store.close()  # its connections; the next ones are quick
    databases.share_statements(store)
    return store


class World:
    """A control in this process. Use as a context manager; `restart` is a crash and a new start over the same store."""

    platform: "Platform"

    def __init__(self, folder: Path, network: Network | None = None, *, now: float = NOW) -> None:
        from tests import documented  # noqa: PLC0415 - see `_open`

        self.folder = folder
        self.network = network or a_network()
        self.clock = Clock(now)
        self.serving: dict[HostName, set[Address]] = {}
        self.check: Callable[[httpx.Response], None] = documented.check_read
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._open()
        account = self.platform.accounts.first_account()
        stacks = self.platform.accounts.stacks(account.id)
        self.stack = stacks[0] if stacks else self.platform.accounts.create_stack(account.id, "default", "default")
        self.credential = self.platform.accounts.create_credential(account.id, "test")
        self.headers = self.login(self.credential.client_id, self.credential.secret)

    def _open(self) -> None:
        # Half of what this module would load, and processes that simulate want its network and its bodies alone.
        from anypop.api.app import make_app  # noqa: PLC0415
        from anypop.api.context import Platform  # noqa: PLC0415

        store = _quick_store(self.folder)
        accounts = Accounts(store, self.clock)
        core = Core(store, store.load(), self.clock)
        self.run(core.start())
        if not core.state.network.pops:
            self.run(core.change(change_network(self.network)))
        on_network = partial(accounts.agents.ensure_agents, self.folder / "agents")
        self.platform = Platform(
            core=core,
            accounts=accounts,
            clock=self.clock,
            prices=default_price_book(),
            on_network=on_network,
            authority=self.folder,
        )
        on_network(self.platform.hosts())
        self._http = httpx.AsyncClient(
            transport=httpx.ASGITransport(make_app(self.platform), raise_app_exceptions=False),
            base_url="https://control",
        )

    def restart(self) -> None:
        """All that was in memory is lost."""
        self.run(self.platform.core.stop())
        self.platform.core.store.close()
        self._open()

    def __enter__(self) -> "World":
        return self

    def __exit__(self, *_: object) -> None:
        self.run(self._http.aclose())
        self._loop.call_soon_threadsafe(self.platform.workers.close)
        self.run(self.platform.core.stop())
        self.platform.core.store.close()
        if databases.ON_POSTGRESQL:
            databases.is_closed(self.folder)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def login(self, client_id: str, secret: str) -> dict[str, str]:
        """The header of a fresh token."""
        token = self.platform.accounts.issue_token(client_id, secret).text
        return {"authorization": f"Bearer {token}"}

    def call(self, method: str, path: str, **request: Any) -> httpx.Response:
        """A request by the first account, unless `headers` say otherwise."""
        request.setdefault("headers", self.headers)
        return self.run(self.request(method, path, **request))

    async def request(self, method: str, path: str, **request: Any) -> httpx.Response:
        """The same on the loop itself, for stories in which two things go on at once."""
        response = await self._http.request(method, path, **request)
        self.check(response)
        return response

    def body(self, *arguments: Any, **options: Any) -> dict[str, Any]:
        return a_body(*arguments, **options)

    def replicas(self, count: int) -> dict[str, Any]:
        """A merge patch that sets the replicas of `a_body`'s target."""
        return {"targets": {"eu": {"spec": {"deployments": {"minReplicas": count}}}}}

    def wait_until(self, predicate: Callable[[], object], reason: str, timeout_s: float = 10) -> None:
        wait_until(predicate, timeout_s=timeout_s, reason=reason)

    def get(self, path: str, **request: Any) -> Any:
        """The answer's data; AssertionError with the answer when it is not 200."""
        return self._data(self.call("GET", path, **request))

    def send(self, method: str, path: str, body: object = None) -> Any:
        return self._data(self.call(method, path, json=body))

    def _data(self, response: httpx.Response) -> Any:
        assert response.status_code in (200, 204), response.text
        return response.json() if response.content else None

    def create(self, *arguments: Any, **options: Any) -> dict[str, Any]:
        """Create a workload; its answer."""
        made: dict[str, Any] = self.send(
            "POST", "/workload/v1/stacks/default/workloads", a_body(*arguments, **options)
        )["workload"]
        return made

    def instances(self, slug: str = "fun") -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get(
            f"/workload/v1/stacks/default/workloads/{slug}/instances?page_request.first=999"
        )["results"]
        return found

    @property
    def state(self) -> State:
        return self.platform.core.state

    def agents(self) -> "list[FakeAgent]":
        return [FakeAgent(self, host) for host in self.platform.hosts()]

    def settle(self, agents: "list[FakeAgent] | None" = None) -> None:
        """Let every agent obey and report until no order is new to any."""
        agents = agents if agents is not None else self.agents()
        for _ in range(10):
            newer = [agent.obey() for agent in agents]
            if not any(newer):
                return
        raise AssertionError("orders never come to rest")


def _done(name: str, at: float) -> ContainerReport:
    """An init container that has done its work."""
    return ContainerReport(
        name=name, phase=Phase.STOPPED, reason=Reason.COMPLETED, exit_code=0, ready=True, started_at=at, finished_at=at
    )


class FakeAgent:
    """A host's agent without a host. What it reports can be bent: `broken` names instances whose probe fails, `ill`
    does so by uid, `four_only` names those that do not answer in IPv6; `missing` images cannot be pulled, instances of
    `crashing` ones end and are started again, of `sick` ones never answer. By uid too: `restarts` that are counted, and
    `made_from`, a template that is not the order's. While it `drains`, nothing that was to go is gone. Where there is a
    backbone it carries what another host said it serves when it last reported, unless one of the two is `cut` off the
    others. `packets`: what has arrived for each prefix (None: not counted). `cpu`: what instances use by name, told of
    those that are to be measured; `flows`: their connections, by name too. `machines`: with
    what it runs virtual machines; `understands`: how much of an order it knows.
    """

    def __init__(self, world: World, host: HostName) -> None:
        self.world = world
        self.host = host
        self.pop = next(pop.city for pop, one in world.platform.core.state.network.hosts() if one.name == host)
        self.token = (world.folder / "agents" / f"{host}.token").read_text().strip()
        self.order: Order | None = None
        self.gone: tuple[str, ...] = ()
        self.broken: frozenset[str] = frozenset()
        self.ill: set[str] = set()
        self.four_only: frozenset[str] = frozenset()
        self.missing: set[str] = set()
        self.crashing: set[str] = set()
        self.sick: set[str] = set()
        self.drains = False
        self.cut = False
        self.was_out: set[Prefix] = set()
        self.sent: dict[HostName, int] = {}
        self.capacity: Capacity | None = None
        self.packets: int | None = 0
        self.used_millis: int | None = None
        self.restarts: dict[str, int] = {}
        self.made_from: dict[str, str] = {}
        self.volumes: set[str] = set()
        self.cpu: dict[str, int] = {}
        self.flows: dict[str, int] = {}
        self.machines: Acceleration | None = None
        self.understands = VERSION

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.token}"}

    def fetch(self, *, wait: int = 0) -> Order | None:
        after = self.order.generation if self.order is not None else 0
        path = f"/anypop/v1/agents/{self.host}/order?after={after}&wait={wait}"
        response = self.world.call("GET", path, headers=self.headers)
        assert response.status_code in (200, 204), response.text
        return codec.from_json(Order, response.content) if response.status_code == 200 else None

    def obey(self) -> bool:
        """Take a newer order if there is one, and report. True when there was one."""
        newer = self.fetch()
        if newer is not None:
            self.order = newer
            self.gone = tuple(r.uid for r in newer.removed)
        self.report()
        return newer is not None

    def report(self, **changes: Any) -> httpx.Response:
        body = codec.to_json(replace(self.seen(), **changes))
        return self.world.call("POST", f"/anypop/v1/agents/{self.host}/report", content=body, headers=self.headers)

    def seen(self) -> Report:
        order = self.order
        if order is None:
            return Report(
                pop=self.pop, host=self.host, at=self.world.clock(), generation=0, understands=self.understands
            )
        return Report(
            pop=self.pop,
            host=self.host,
            at=self.world.clock(),
            generation=order.generation,
            instances=tuple(self._instance(i) for i in order.instances),
            sessions=tuple(
                SessionReport(upstream=u.name, family=family, state="established")
                for u in order.upstreams
                for family in (4, 6)
            ),
            prefixes=tuple(self._prefixes(order)),
            gone=() if self.drains else self.gone,
            capacity=self.capacity,
            used_millis=self.used_millis,
            machines=self.machines,
            understands=self.understands,
            measured=tuple(
                (i.uid, self.cpu[i.name])
                for i in order.instances
                if i.workload_id in order.measured and i.name in self.cpu
            ),
            flows=tuple((i.uid, self.flows[i.name]) for i in order.instances if i.name in self.flows),
            volumes=self._volumes(order),
            volumes_gone=tuple(token.id for token in order.volumes_removed),
            **self._backbone(order),
        )

    def _volumes(self, order: Order) -> tuple[VolumeReport, ...]:
        """Made when an instance first has them, and kept until a token takes them away."""
        mounted = {id_ for i in order.instances for id_ in i.volumes}
        self.volumes = (self.volumes | mounted) - {token.id for token in order.volumes_removed}
        return tuple(
            VolumeReport(
                id=v.id,
                size_bytes=v.size_bytes,
                mounted=v.id in mounted,
                snapshots=tuple(SnapshotReport(name=n, at=self.world.clock(), size_bytes=1) for n in v.snapshots),
                restored=v.restore.count,
            )
            for v in order.volumes
            if v.id in self.volumes
        )

    def _backbone(self, order: Order) -> dict[str, Any]:
        """Tunnels, and what goes through them: of an address that nobody here serves all, to the nearest who does."""
        if order.backbone is None:
            return {}
        prefixes, peers = order.backbone.carried, order.backbone.peers
        own = self._answering(order)
        nearest: dict[Address, HostName] = {}
        for peer in reversed(peers if not self.cut else ()):
            nearest |= {a: peer.host for a in self.world.serving.get(peer.host, ()) if any(a in p for p in prefixes)}
        return {
            "carried": tuple(
                CarriedReport(address=a, local=0, shares=((host, 1),))
                for a, host in sorted(nearest.items(), key=lambda item: int(item[0]))
                if a not in own
            )
            + tuple(self._dialled(order, own)),
            "tunnels": tuple(
                TunnelReport(host=peer.host, up=not self.cut, sent_bytes=self.sent.get(peer.host, 0), received_bytes=0)
                for peer in peers
            ),
        }

    def _dialled(self, order: Order, own: set[Address]) -> Iterator[CarriedReport]:
        """What leaves by dials, of what is served here: as the agent decides it by who serves elsewhere."""
        assert order.backbone is not None
        offers = {} if self.cut else {
            p.address: dict.fromkeys(self.world.serving.get(p.host, ()), 1) for p in order.backbone.peers
        }  # fmt: skip
        carriers = Carriers(order, offers)
        for address in sorted(carriers.dialled(own), key=lambda a: (a.version, int(a))):
            if takers := carriers.takers(address):
                kept = carriers.kept(order.pop, address)
                yield CarriedReport(address=address, local=kept, shares=((takers[0][0].host, 100 - kept),), kept=kept)

    def _instance(self, ordered: InstanceOrder) -> InstanceReport:
        template = self.made_from.get(ordered.uid, ordered.template)
        images = {c.image for c in ordered.containers}
        if missing := images & self.missing:
            return InstanceReport(
                name=ordered.name, uid=ordered.uid, phase=Phase.FAILED, healthy=False, reason=Reason.PULL_FAILED,
                template=template,
                message=f"pull {min(missing)}: no such image",
            )  # fmt: skip
        healthy = self._is_healthy(ordered)
        reason = Reason.PROBE_PASSED if healthy else Reason.PROBE_FAILED
        started = self.world.clock() - 1
        container = ContainerReport(name="web", phase=Phase.RUNNING, reason=reason, ready=healthy, started_at=started)
        if restarts := self.restarts.get(ordered.uid, len(images & self.crashing)):
            container = replace(container, restarts=restarts, last_exit_code=1, last_reason=Reason.EXITED)
        return InstanceReport(
            name=ordered.name,
            uid=ordered.uid,
            phase=Phase.RUNNING,
            healthy=healthy,
            reason=reason,
            template=template,
            started_at=started,
            containers=(container,),
            init=tuple(_done(c.name, started) for c in ordered.init),
            families=tuple(
                FamilyReport(version=v, healthy=healthy and v == 4, reason=reason)
                for v in ((4, 6) if ordered.name in self.four_only else ())
            ),
        )

    def _answering(self, order: Order) -> set[Address]:
        """The anycast addresses at which somebody here answers."""
        return {
            a
            for i in order.instances
            if self._is_healthy(i)
            for a in i.anycast
            if a.version == 4 or i.name not in self.four_only
        }

    def _is_healthy(self, ordered: InstanceOrder) -> bool:
        bad = self.missing | self.crashing | self.sick
        return (
            ordered.name not in self.broken
            and ordered.uid not in self.ill
            and bad.isdisjoint(c.image for c in ordered.containers)
        )

    def _prefixes(self, order: Order) -> list[PrefixReport]:
        found = []
        healthy = self._answering(order)
        self.world.serving[self.host] = set() if self.cut else healthy
        granted = {g.prefix for g in order.grants if g.allowed}
        for prefix in dict.fromkeys(a.prefix for a in order.announcements):
            told = [a for a in order.announcements if a.prefix == prefix and a.scope.mode is Mode.ANNOUNCE]
            ways = healthy | self._carried(order, prefix)
            shut = {gate for a in told for gate in a.gates} - ways
            open_gates = not shut
            # as a host does it: with a backbone new prefixes come all the time, and wait until each address has a way
            may_stay = order.backbone is None or prefix in self.was_out
            out = bool(told) and (open_gates or (may_stay and prefix not in granted))
            (self.was_out.add if out else self.was_out.discard)(prefix)
            found.append(
                PrefixReport(
                    prefix=prefix,
                    announced=out,
                    upstreams=tuple(a.upstream for a in told) if out else (),
                    reason=Reason.ANNOUNCED
                    if out and open_gates
                    else Reason.AWAITING_GRANT
                    if out
                    else Reason.NO_HEALTHY_INSTANCE,
                    wants_withdraw=out and not open_gates,
                    shut=tuple(sorted(shut, key=int)) if order.backbone is not None else (),
                    exported=tuple(_exported(a) for a in told if a.drains) if out else (),
                    arrived=tuple(Arrived(upstream=u.name, packets=self.packets, octets=0) for u in order.upstreams)
                    if self.packets is not None and any(a.drains for a in order.announcements if a.prefix == prefix)
                    else None,
                )
            )
        return found

    def _carried(self, order: Order, prefix: Prefix) -> set[Address]:
        """What it leads to other hosts."""
        if order.backbone is None or prefix not in order.backbone.carried or self.cut:
            return set()
        return {a for peer in order.backbone.peers for a in self.world.serving.get(peer.host, ()) if a in prefix}


def _exported(told: Announcement) -> Exported:
    scope = told.scope
    return Exported(
        upstream=told.upstream,
        prepend=scope.prepend,
        communities=scope.communities,
        large_communities=scope.large_communities,
        extended_communities=scope.extended_communities,
    )
