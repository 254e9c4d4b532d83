"""The process that stays with this host's virtual machines, as the agent sees it (`anypop.agent.guests`).

In: facts of each pass. Out: its files, written where something of them differs; its process, kept as long as there are
machines; where their logs and consoles are. It outlives the agent, as do the files and the machines.
"""

from collections.abc import Callable
from pathlib import Path

from anypop.agent.act.instances.machines.seed import seed_files
from anypop.agent.decide.facts import Facts
from anypop.agent.decide.guests import guests_for, serial_port
from anypop.agent.guests import files
from anypop.agent.guests.wanted import Guest
from anypop.agent.guests.word import Word
from anypop.agent.kept_process import KeptProcess
from anypop.agent.naming import inside_mac
from anypop.model.order import InstanceOrder

NAME = "guests"


class Guesting:
    """One process in `folder`. `machines`: the folder of the machines themselves; `kept`: that of logs of earlier
    lives. `set` is called in each pass and waits for nothing.
    """

    def __init__(self, folder: Path, *, prefix: str, machines: Path, kept: Path) -> None:
        self._folder, self._prefix, self._machines, self._kept = folder, prefix, machines, kept
        self._pop = ""
        self._instances: tuple[InstanceOrder, ...] = ()
        self._uids: frozenset[str] = frozenset()
        self._guests: tuple[Guest, ...] | None = None
        self._process = KeptProcess(folder, NAME, "anypop.agent.guests", needed=self._needed, write=self._write)

    def set(self, facts: Facts) -> None:
        """Tell it what follows from these facts."""
        instances = tuple(i for i in facts.known.values() if any(c.machine is not None for c in i.containers))
        if self._guests is not None and instances == self._instances:
            return
        order = facts.order
        self._instances, self._uids = instances, frozenset(i.uid for i in instances)
        self._pop = order.pop
        self._guests = guests_for(
            instances, prefix=self._prefix, pop=order.pop, machines=str(self._machines), kept=str(self._kept),
            log_bytes=order.rules.log_bytes,
        )  # fmt: skip
        self._process.due()

    def log_of(self, uid: str) -> Path | None:
        """The folder of a machine's log; None: there is no machine of that instance."""
        return files.folder_of(self._folder, uid) if uid in self._uids else None

    def word_of(self, uid: str) -> Word:
        """What is known of a machine's guest by word."""
        return files.word_of(self._folder, uid, serial_port(str(self._machines), uid))

    def take_password(self, uid: str) -> bytes | None:
        """The first password of a guest, once; None: it told none, or it was taken already."""
        return files.take_password(self._folder, uid) if uid in self._uids else None

    def console_of(self, uid: str) -> Path | None:
        """The socket at which a console is attached; None: it is no machine."""
        folder = self.log_of(uid)
        return folder / files.ATTACH if folder is not None else None

    def forget(self, uid: str) -> None:
        """Its instance is gone."""
        files.forget(self._folder, uid)

    def troubles(self) -> str:
        """Why consoles may not answer; empty where nothing is wrong, or there are no machines."""
        return f"consoles of virtual machines: {self._process.error}" if self._instances and self._process.error else ""

    async def run(self, changed: Callable[[], None]) -> None:
        """Until cancelled. `changed`: there may be another trouble."""
        await self._process.run(changed)

    def _needed(self) -> bool | None:
        return None if self._guests is None else bool(self._guests)

    def _write(self) -> bool:
        for instance in self._instances:
            for container in instance.containers:
                mac = inside_mac(instance.uid).hex(":")
                files.write_seed(self._folder, instance.uid, seed_files(instance, container, pop=self._pop, mac=mac))
        return files.write_guests(self._folder, self._guests or ())
