"""What is known by word of one guest: that all of it has started, and what it answers on its link.

In: what it said to its metadata service, what a probe has heard, and the socket of its console, by which one life of
its QEMU is told from the next. Out: files that outlive the agent, and hold for that life alone. It decides nothing, and
imports little: the process that stays with virtual machines has it too.
"""

import contextlib
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from anypop.agent.log_names import LOG
from anypop.agent.whole_file import read_object, replace_object, sign_of


class Known(StrEnum):
    READY = "ready"  # it has said so
    ECHOES = "echoes"  # it has answered one, so its silence means something
    NEAR = "near"  # it has answered ARP: the same


@dataclass(frozen=True, slots=True)
class Word:
    """`folder`: of this guest's files; `console`: the socket of its QEMU, which each one makes anew."""

    folder: Path
    console: Path

    def keep(self, what: Known) -> None:
        """Until another QEMU begins. On a full disk nothing is kept, and the guest is none the worse for it."""
        with contextlib.suppress(OSError):
            if (life := self.life()) is not None:
                self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                replace_object(self.folder / what, {"life": life})

    def holds(self, what: Known) -> bool:
        life = self.life()
        return life is not None and read_object(self.folder / what).get("life") == life

    def stands(self) -> bool:
        """Whether it is all that is known of the guest: it is ready, and answers no echo so far."""
        return self.holds(Known.READY) and not self.holds(Known.ECHOES)

    def spoke_at(self) -> float | None:
        """When its console said something last, in seconds since the epoch; None: that is not known."""
        with contextlib.suppress(OSError):
            return (self.folder / LOG).stat().st_mtime
        return None

    def life(self) -> list[int] | None:
        """The same as long as its QEMU is; None: there is none."""
        sign = sign_of(self.console)
        return None if sign is None else list(sign[:2])
