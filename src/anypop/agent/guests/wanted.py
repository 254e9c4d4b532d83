"""What the process that stays with virtual machines is to know of a guest. Plain text.

In: made by `decide.guests`. Out: what `files` writes down and reads again. It imports nothing: the agent's decisions
know it, and so does a process that loads little.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """`console`: the socket of QEMU's serial port. `kept`: the folder for the log of the life before this one.
    `namespace`: where its metadata service listens; empty: it has none. `log_bytes`: of its log, which is then begun
    anew. `about`: what it is told of itself, by path below `meta-data/`.
    """

    uid: str
    console: str
    kept: str
    namespace: str = ""
    log_bytes: int
    about: Mapping[str, str] = field(default_factory=dict, repr=False)
