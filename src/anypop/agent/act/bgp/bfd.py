"""The BFD of this host as the agent sees it: a process of its own (`anypop.agent.bfd`), started, told and looked at.

In: the sessions of the speaker. Out: the process in the caller's network namespace, with exactly these; its troubles.
It is not BIRD's own BFD, which dies with BIRD: a neighbour would take that for the end of the way here, and drop the
routes that it keeps while BIRD starts anew. It outlives this process too.
"""

import contextlib
import os
import signal
import sys
from collections.abc import Collection
from pathlib import Path

from anypop.agent.act.bgp.config import sessions_of
from anypop.agent.act.bgp.tunnels import tunnel_name
from anypop.agent.act.bgp.words import ends
from anypop.agent.bfd import files, orphans
from anypop.agent.bfd.session import Wanted
from anypop.agent.decide.elements import SpeakerConfig
from anypop.agent.naming import TUNNEL, tunnel_end
from anypop.host import process
from anypop.host.recorded import Recorded

INTERVAL_MS, MULTIPLIER = 100, 3  # a silent loss is seen in 0.3 s


def wanted_of(config: SpeakerConfig, left_out: Collection[str] = ()) -> list[Wanted]:
    """The BFD sessions that go with the BGP sessions of `config`."""
    found = []
    for name, (upstream, family) in sessions_of(config).items():
        if upstream.bfd and name not in left_out:
            local, neighbor = ends(upstream, family)
            found.append(
                Wanted(
                    name=name,
                    neighbor=str(neighbor),
                    local=str(local) if local is not None else "",
                    interface=upstream.interface if upstream.multihop is None else "",
                    multihop=upstream.multihop is not None,
                    interval_us=(upstream.bfd_interval_ms or INTERVAL_MS) * 1000,
                    multiplier=upstream.bfd_multiplier or MULTIPLIER,
                )
            )
    backbone = config.backbone
    if backbone is None:
        return found
    found += [
        Wanted(
            name=tunnel_name(peer),
            neighbor=str(tunnel_end(peer.router_id)),
            local=str(tunnel_end(config.router_id)),
            interface=TUNNEL,
            interval_us=backbone.rules.bfd_interval_ms * 1000,
            multiplier=backbone.rules.bfd_multiplier,
        )
        for peer in backbone.peers
    ]
    return found


class Bfd:
    """One process in `folder`. `control`: BIRD's socket, to which it tells what is lost. Blocking, for milliseconds."""

    def __init__(self, folder: Path, control: Path) -> None:
        self._folder, self._control = folder, control
        self._pid = folder / "bfd.pid"
        self._process, self._worker = Recorded(self._pid), (0, process.StoppedOrNot(0))
        self._told = files.Kept(folder)

    def set(self, wanted: Collection[Wanted]) -> None:
        """Have exactly these. Where there are none, there is no process."""
        if not wanted:
            self.end()
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        if files.write_wanted(self._folder, self._control, wanted):
            pid = self.pid()
            if pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGHUP)
        self.keep()

    def keep(self) -> None:
        """Start it anew if it has died."""
        if self.pid() is None and self._told.wanted():
            argv = [sys.executable, "-m", "anypop.agent.bfd", str(self._folder)]
            with contextlib.suppress(OSError):  # a full disk: what stands goes on, and nobody else can take its place
                process.spawn(argv, pid_file=self._pid, log=self._folder / "bfd.out")

    def end_stopped(self) -> None:
        """End it where a signal has stopped it, so that it can be started anew."""
        worker = self._told.told().worker
        if worker != self._worker[0]:
            self._worker[1].close()
            self._worker = worker, process.StoppedOrNot(worker)
        pid = self._process.stopped_pid()
        if pid is None and self._worker[1].is_stopped():
            pid = self.pid()
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)  # the next one ends its worker

    def look(self) -> tuple[dict[str, bool], str]:
        """Whether each session is up, by its name in BIRD, none while the process does not run; and why neighbours may
        not be watched, empty where nothing is wrong.
        """
        if self.pid() is None:
            return {}, "BFD does not run" if self._told.wanted() else ""
        told = self._told.told()
        troubles = "; ".join(f"BFD: {each}" for each in told.troubles) if told.troubles and self._told.wanted() else ""
        return {name: state == "up" for name, state in told.states.items()}, troubles

    def pid(self) -> int | None:
        return self._process.pid()

    def end(self) -> None:
        """Neighbours are told that this is no failure."""
        if self._pid.exists():
            files.write_wanted(self._folder, self._control, ())
            process.end(self._pid)
            orphans.end(self._folder)
