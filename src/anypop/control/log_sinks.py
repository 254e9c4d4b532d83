"""Receivers of logs and traces: the platform's own and each stack's, kept sealed in the store; hosts are told those of
logs.

In: lists of them, from the operator and from tenants. Out: the same, kept; what each host has to know; and what hosts
have counted. Hosts send by themselves, so neither control's absence nor its line is in the way; they are told when
something changes, when they come, with an order, and whenever somebody looks. A host knows those of stacks that it has.
"""

import asyncio
import json
from collections.abc import Callable, Iterable
from ipaddress import IPv4Network, IPv6Network

from anypop.control.refusals import Refused
from anypop.control.state import State
from anypop.control.store import Store
from anypop.control.streams import Streams
from anypop.model.codec import from_json, to_data
from anypop.model.errors import Invalid, WorldError
from anypop.model.log_sinks import TRACES, Kind, LogSink, Shipped
from anypop.model.names import HostName
from anypop.model.network import Network
from anypop.model.streams import ShippingRequest, ShippingTold

SETTING = "log_sinks"
PLATFORM = ""  # in place of a stack
PATIENCE_S = 5.0
AT_ONCE = 16
MOST_BYTES = 1 << 20


_NOTHING = ShippingRequest(sinks=())


class LogSinks:
    """`state`: what control knows now."""

    def __init__(self, store: Store, streams: Streams, state: Callable[[], State]) -> None:
        self._store, self._streams, self._state = store, streams, state
        saved = store.sealed_setting(SETTING)
        rows = json.loads(saved) if saved else []
        self._ever = saved is not None  # else no host knows any
        self._sinks = tuple(from_json(LogSink, json.dumps(row)) for row in rows)
        self._told: dict[HostName, ShippingRequest] = {}
        self._telling: set[asyncio.Task[object]] = set()

    def news(self, host: HostName, *, came: bool = False) -> None:
        """Tell a host, where it does not know yet what it has to. `came`: it has just come, and may know nothing."""
        if not self._ever:
            return
        if came:
            self._told.pop(host, None)
        if not came and self._told.get(host, _NOTHING) == self.request(host):
            return
        task: asyncio.Task[object] = asyncio.create_task(self.tell([host]))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    def of(self, stack: str) -> tuple[LogSink, ...]:
        return tuple(sink for sink in self._sinks if sink.stack == stack)

    def of_kind(self, kind: Kind) -> tuple[LogSink, ...]:
        return tuple(sink for sink in self._sinks if sink.kind == kind)

    def put(self, stack: str, sinks: Iterable[LogSink]) -> None:
        """In place of those that it had. Blocking."""
        after = (*(one for one in self._sinks if one.stack != stack), *sinks)
        self._store.put_sealed_setting(SETTING, json.dumps([to_data(one) for one in after]))
        self._sinks, self._ever = after, True

    def request(self, host: HostName) -> ShippingRequest:
        """What a host has to know: the platform's, and those of stacks that have something there. Traces are none of
        its business.
        """
        if not self._sinks:
            return _NOTHING
        state = self._state()
        here = {placed.incarnation.workload_id for placed in state.incarnations_on(host).values()}
        stacks = {declared.stack_id for one in here if (declared := state.workloads.get(one)) is not None}
        known = (one for one in self._sinks if one.kind != TRACES)
        sinks = tuple(one for one in known if one.stack == PLATFORM or one.stack in stacks)
        return ShippingRequest(sinks=sinks, forbidden=inside(state.network) if sinks else ())

    async def tell(self, hosts: Iterable[HostName]) -> tuple[dict[HostName, tuple[Shipped, ...]], dict[HostName, str]]:
        """Tell hosts; what they have counted, and why some do not hear."""
        places = asyncio.Semaphore(AT_ONCE)
        counted: dict[HostName, tuple[Shipped, ...]] = {}
        deaf: dict[HostName, str] = {}

        async def one(host: HostName) -> None:
            try:
                async with places, asyncio.timeout(PATIENCE_S):
                    wanted = self.request(host)
                    async with self._streams.ask(host, wanted, "", one_of_many=True) as there:
                        told = b""
                        while (frame := await there.receive()) is not None and len(told) < MOST_BYTES:
                            told += frame if isinstance(frame, bytes) else b""
                    counted[host] = from_json(ShippingTold, told).sinks
                    self._told[host] = wanted
            except (Refused, WorldError, Invalid, TimeoutError) as error:
                deaf[host] = str(error) or "it is too slow"

        await asyncio.gather(*(one(host) for host in hosts))
        return counted, deaf


def inside(network: Network) -> tuple[IPv4Network | IPv6Network, ...]:
    """Where nobody's receiver may be but the operator's."""
    found: list[IPv4Network | IPv6Network] = [*network.anycast4, *network.anycast6, *network.management]
    for _, host in network.hosts():
        found += [host.external4, host.external6, host.private4, host.private6]
    return tuple(dict.fromkeys(found))
