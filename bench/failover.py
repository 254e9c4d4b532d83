"""What clients lose when something dies, goes, or comes back: ten faults of each kind.

Three platforms on the article's networks, one after the other (`failover_scene`): with BFD at 50 ms x 3, the lab's
default; at 10 ms x 3; and with a backbone. Questions by UDP (`udp_load`) come from every vantage each 2 ms. `nothing`
is the control: what fails while nothing is done, on a machine that is too busy for so many questions. Beside it, in
`plain_pops`, what a person would otherwise use. It takes about half an hour.
"""

import contextlib
import io
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from anypop.host import process
from anypop.lab import platform
from bench.failover_scene import INTERVAL_S, PORT, Fault, Scene
from bench.harness import Row, row
from bench.plain_pops import plain
from bench.udp_load import Seen

TOPOLOGY = Path(__file__).parents[1] / "topologies" / "article.yaml"
ROUNDS = 10
_TWICE = 3  # a second death within seconds costs what it costs (docs/decisions/bfd.md): it is shown, and has no aim
_CITIES = ("AMS", "LAX", "JFK", "LHR")
_VICTIMS = [(city, n) for n in (0, 1) for city in _CITIES]
_AIMS_MS = {
    "instance_killed": 10, "host_killed": 200, "pop_cut": 200, "upstream_lost": 200, "host_killed_10ms": 80,
    "pop_cut_10ms": 80, "upstream_lost_10ms": 80, "carried_failover": 50,
}  # fmt: skip
_WITHOUT_AIM = {"nothing", "bird_killed_twice"}


def rows() -> Iterable[Row]:
    """For each kind of fault `NAME_ms` (the outage) and `NAME_failed` (questions without an answer), and
    `plain_NAME_...`, `checked_NAME_...` of the baselines.
    """
    with tempfile.TemporaryDirectory(prefix="anyp-", dir="/tmp") as temporary:
        folder = Path(temporary)
        server = folder / "server"
        process.run(["cc", "-O1", "-static", "-o", str(server), str(Path(__file__).with_name("udp_server.c"))])
        measured: dict[str, list[Seen]] = {}
        with _scene(folder / "a", server) as scene:
            measured |= scene.measured(ROUNDS, partial(usual, scene))
        with _scene(folder / "b", server, bfd_ms=10) as scene:
            measured |= scene.measured(ROUNDS, partial(silent, scene))
        with _scene(folder / "c", server, replicas=1, backbone={}) as scene:
            measured |= scene.measured(ROUNDS, partial(carried, scene))
        yield from _rows(measured)
        prefix = f"b{os.getpid() % 46656:x}p"
        yield from _baselines(plain(TOPOLOGY, folder / "p", prefix, server, port=PORT), measured)


@contextmanager
def _scene(folder: Path, server: Path, *, replicas: int = 2, **own: Any) -> Iterator[Scene]:
    """`own`: fields of our network in the topology."""
    folder.mkdir()
    topology = folder / "failover.yaml"
    written = yaml.safe_load(TOPOLOGY.read_text())
    written["anypop"].pop("backbone", None)
    written["anypop"] |= own
    next(p for p in written["anypop"]["pops"] if p["city"] == "JFK")["hosts"] = 2
    topology.write_text(yaml.safe_dump(written))
    prefix = f"b{os.getpid() % 46656:x}{folder.name}"
    state = folder / "s"
    try:
        place = platform.up(topology, state=state, prefix=prefix, api_port=0, registry_port=0, progress=print)
        with contextlib.redirect_stderr(io.StringIO()):  # progress is for people
            (folder / "server").write_bytes(server.read_bytes())
            yield Scene(place, folder / "server", replicas=replicas)
    finally:
        platform.down(state, progress=print, purge=True)


def usual(scene: Scene, number: int) -> Mapping[str, Fault]:
    """In the order of a round; those of one city are far apart."""
    bird = ("AMS", "LAX", "JFK-1", "JFK-2")[number % 4]
    twice = {"bird_killed_twice": partial(scene.bird_killed_twice, ("LAX", "AMS")[number % 2])}
    return {
        "nothing": scene.nothing,
        "pop_cut": partial(scene.pop_cut, ("AMS", "LAX")[number % 2], back="pop_returns"),
        "agent_restart": partial(scene.agent_killed, ("LAX", "AMS", "JFK-1")[number % 3]),
        "instance_killed": partial(scene.instance_killed, *_VICTIMS[number % len(_VICTIMS)]),
        "host_killed": partial(scene.host_killed, ("JFK-1", "JFK-2")[number % 2]),
        "control_killed": scene.control_killed,
        "scale_in": scene.scaled_in,
        "upstream_lost": scene.upstream_lost,
        "pop_drain": partial(scene.pop_drained, ("LAX", "AMS")[number % 2]),
        "bird_killed": partial(scene.bird_killed, bird),
        **(twice if number < _TWICE else {}),
    }


def silent(scene: Scene, number: int) -> Mapping[str, Fault]:
    """What BFD alone sees."""
    return {
        "pop_cut_10ms": partial(scene.pop_cut, ("AMS", "LAX")[number % 2], back="pop_returns_10ms"),
        "host_killed_10ms": partial(scene.host_killed, ("JFK-1", "JFK-2")[number % 2]),
        "upstream_lost_10ms": scene.upstream_lost,
    }


def carried(scene: Scene, number: int) -> Mapping[str, Fault]:
    """Each PoP has one instance: when it dies, the PoP's traffic goes on by the tunnels."""
    return {"carried_failover": partial(scene.instance_killed, _CITIES[number % len(_CITIES)], 0)}


def _rows(measured: Mapping[str, list[Seen]]) -> Iterable[Row]:
    for name, seen in measured.items():
        aim_ms = _AIMS_MS.get(name)
        below = None if name in _WITHOUT_AIM else aim_ms or INTERVAL_S * 500
        yield row(f"{name}_ms", [s.outage_ms for s in seen], unit="ms", below=below)
        below = None if aim_ms or name in _WITHOUT_AIM else 0.5
        yield row(f"{name}_failed", [float(s.failed) for s in seen], unit="requests", below=below)


def _baselines(found: dict[str, list[Seen]], measured: Mapping[str, list[Seen]]) -> Iterable[Row]:
    for name, seen in found.items():
        ours = measured[name.partition("_")[2]]
        floor = [s.outage_ms for s in ours]
        yield row(f"{name}_ms", [s.outage_ms for s in seen], unit="ms", against="this platform", floor=floor)
        yield row(f"{name}_failed", [float(s.failed) for s in seen], unit="requests")
