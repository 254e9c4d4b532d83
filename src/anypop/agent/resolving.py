"""The resolver of this host as the agent sees it: a process of its own (`anypop.agent.resolver`).

In: facts of each pass. Out: its files, written where something of them differs; its address on `lo`; its process, kept
as long as there are instances. It outlives the agent, as do the files: an agent that begins finds both.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from anypop.agent.act.network import loopback
from anypop.agent.act.network.netlink import Netlink
from anypop.agent.decide.facts import Facts
from anypop.agent.decide.names import Names, Seen, names_for, seen_by
from anypop.agent.kept_process import KeptProcess
from anypop.agent.resolver import files

NAME = "resolver"


class Resolving:
    """One process in `folder`. `set` is called in each pass and waits for nothing."""

    def __init__(self, folder: Path, net: Netlink) -> None:
        self._folder, self._net = folder, net
        self._seen: Seen | None = None
        self._wanted: Names | None = None
        self._told: tuple[object, files.Told] = (None, files.Told())
        self._written: tuple[Names, Mapping[Path, object]] | None = None
        self._process = KeptProcess(folder, NAME, "anypop.agent.resolver", needed=self._needed, write=self._write)

    def set(self, facts: Facts) -> None:
        """Tell it what follows from these facts."""
        seen = seen_by(facts)
        if seen == self._seen:
            return
        self._seen, self._wanted = seen, names_for(facts, seen)
        self._process.due()

    def troubles(self) -> str:
        """Why names may not be resolved; empty where nothing is wrong, or nobody is here who asks."""
        if not self._needed():
            return ""
        if self._process.error:
            return f"the resolver cannot be told: {self._process.error}"
        sign = files.sign_of_told(self._folder)
        if sign is None or sign != self._told[0]:
            self._told = sign, files.read_told(self._folder)
        return "; ".join(self._told[1].troubles)

    async def run(self, changed: Callable[[], None]) -> None:
        """Until cancelled. `changed`: there may be another trouble."""
        await self._process.run(changed)

    def _needed(self) -> bool | None:
        return None if self._wanted is None else bool(self._wanted.around.askers)

    def _write(self) -> bool:
        if self._wanted is None:
            return False
        loopback.prepare(self._net)
        written = self._written
        if written is not None and written[0] is self._wanted and written[1] == files.signs(self._folder):
            return False  # looked at every few seconds: to put all of it into words to compare takes far longer
        news = files.write_domains(self._folder, self._wanted.domains)
        news |= files.write_around(self._folder, self._wanted.around)
        self._written = self._wanted, files.signs(self._folder)
        return news
