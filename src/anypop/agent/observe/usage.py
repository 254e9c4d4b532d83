"""What instances use now: processor, memory, and bytes of their links, by the kernel's own counters.

In: which incarnations are asked about, and the main processes of their containers. Out: a `Used`. Nobody counts while
nobody asks. A rate is that since the last question where it came a moment ago, else that of one second after this one.
A group or a link that is gone, or that this machine does not count, tells nothing.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from anypop.agent.naming import link_of
from anypop.agent.observe import interfaces
from anypop.agent.observe.groups import Group
from anypop.agent.observe.processor import used_s
from anypop.model.streams import InstanceUse, Used
from anypop.model.subnets import MOST_INTERFACES

LEAST_S = 1.0  # what a rate is taken over, at least: control groups count their processor time in ticks of some ms
MOST_S = 30.0  # a rate over more is no news of now


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counters:
    """Of one incarnation at one moment. Link bytes as the host sees them: what it receives the instance has sent."""

    at: float
    cpu_s: float | None
    received: int | None
    sent: int | None


@dataclass(slots=True)
class Usage:
    """See the module. `processes`: pids of the containers that run, by uid; `monotonic`: seconds that only grow."""

    processes: Callable[[], Mapping[str, Collection[int]]]
    clock: Callable[[], float]
    monotonic: Callable[[], float]
    _last: dict[str, _Counters] = field(default_factory=dict)

    async def read(self, uids: Collection[str]) -> Used:
        """Of those that run here; it may take a second."""
        before = {uid: last for uid in uids if (last := self._recent(uid)) is not None}
        if fresh := [uid for uid in uids if uid not in before]:
            before |= self._counters(fresh)
            await asyncio.sleep(LEAST_S)
        now = self._counters(uids)
        running = self.processes()
        self._last = {uid: last for uid, last in (self._last | now).items() if uid in running}
        told = (_use(uid, before.get(uid), counted, running.get(uid, ())) for uid, counted in now.items())
        return Used(at=self.clock(), instances=tuple(told))

    def _recent(self, uid: str) -> _Counters | None:
        last = self._last.get(uid)
        return last if last is not None and LEAST_S <= self.monotonic() - last.at <= MOST_S else None

    def _counters(self, uids: Collection[str]) -> dict[str, _Counters]:
        running, links, at = self.processes(), link_bytes(), self.monotonic()
        found = {}
        for uid in uids:
            if pids := running.get(uid):
                spent = [used for pid in pids if (used := used_s(pid)) is not None]
                own = [links[name] for n in range(MOST_INTERFACES) if (name := link_of(uid, n)) in links]
                into_host, out_of_host = (sum(one) for one in zip(*own, strict=True)) if own else (None, None)
                found[uid] = _Counters(
                    at=at, cpu_s=sum(spent) if spent else None, received=out_of_host, sent=into_host
                )  # fmt: skip
        return found


def _use(uid: str, before: _Counters | None, now: _Counters, pids: Collection[int]) -> InstanceUse:
    held = [found for pid in pids if (found := memory_bytes(pid)) is not None]
    memory = sum(held) if held else None
    if before is None or now.at <= before.at:
        return InstanceUse(uid=uid, memory_bytes=memory)
    over = now.at - before.at
    cpu = _rate(before.cpu_s, now.cpu_s, over)
    received, sent = _rate(before.received, now.received, over), _rate(before.sent, now.sent, over)
    return InstanceUse(
        uid=uid,
        cpu_millis=None if cpu is None else round(1000 * cpu),
        memory_bytes=memory,
        received_per_s=None if received is None else round(received),
        sent_per_s=None if sent is None else round(sent),
    )


def _rate(before: float | None, now: float | None, over_s: float) -> float | None:
    """A counter that is lower than before has begun anew, with its container or its link."""
    if before is None or now is None:
        return None
    return (now - before if now >= before else now) / over_s


def link_bytes() -> dict[str, tuple[int, int]]:
    """What each interface of this network namespace has received and sent."""
    return {name: (passed.received, passed.sent) for name, passed in interfaces.read().items()}


def memory_bytes(pid: int) -> int | None:
    """What the control group of a process holds, less the part of its file cache that the kernel could take back at
    once; None where that is not counted.
    """
    return Group(pid).read().memory
