"""What a server that joins gets of the new connections while every bucket is busy, of what is due to it.

In: the compiled program of `connections.c`. Out: for our platform and, as the control, for a resilient next-hop group
alone: the newcomer's part of the new connections ten seconds after it joined, as a part of its fair share, and how many
connections were broken meanwhile. The load is some 20,000 new connections a minute, each of which lives for a second or
two and talks: so many have used every one of the 1,021 buckets long before the newcomer comes.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from anypop.host import ip
from bench.connections import Connections
from bench.multipath_scene import ADDRESS, Multipath

AT_ONCE, LIFE_S = 500, 2.0  # each lives 1.5 s on average: 333 new ones a second
BUSY_S = 30.0  # in it each bucket has been used ten times
AFTER_S = 10.0
MEMBERS = 5  # with the newcomer
RUNS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """`share`: of what is due to the newcomer, 1 is all of it; `broken`: connections of all."""

    share: float
    broken: int


def measured(load: Connections, name: str, join: Callable[[], object], leave: Callable[[], object]) -> Iterator[Joined]:
    """Under a load that is there. `name`: of who joins; `join` returns when it has, `leave` when it is gone."""
    time.sleep(BUSY_S)
    for _ in range(RUNS):
        before = load.told().lost
        join()
        time.sleep(AFTER_S)  # those that are open then were opened in the last two seconds of these
        told = load.told()
        all_ = sum(told.whole.values())
        yield Joined(share=told.whole.get(name, 0) / all_ * MEMBERS, broken=told.lost - before)
        leave()


def alone(prefix: str, program: Path) -> list[Joined]:
    """A resilient group with the same buckets and the same timer, and nothing else."""
    with _Resilient(prefix, program, servers=MEMBERS - 1) as scene:
        scene.members(MEMBERS - 1)
        with scene.connections(AT_ONCE, LIFE_S) as load:
            return list(
                measured(
                    load, f"s{MEMBERS - 1}", lambda: scene.members(MEMBERS), lambda: scene.members(MEMBERS - 1)
                )
            )  # fmt: skip


class _Resilient(Multipath):
    def members(self, count: int) -> None:
        """The first so many servers."""
        hops = [f"nexthop replace id {100 + n} via 10.91.{n}.2 dev s{n}" for n in range(count)]
        ids = "/".join(str(100 + n) for n in range(count))
        group = f"nexthop replace id 1000 group {ids} type resilient buckets 1021 idle_timer 60 unbalanced_timer 0"
        ip.batch([*hops, group, f"route replace {ADDRESS}/32 nhid 1000"], netns=self.router)
