"""The two files between the agent and this process: the sessions as ordered, and how they are.

In: a folder. Out: `Wanted`, and what is told of each. Both files are replaced as a whole, so a reader never meets half
of one. What cannot be read is nothing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from anypop.agent.bfd.session import Wanted
from anypop.agent.whole_file import read_object, replace_object, sign_of

_WANTED, _TOLD = "sessions.json", "told.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the process says of itself. `worker`: the one that has the sessions. `states`: by the session's name in
    BIRD.
    """

    worker: int
    states: Mapping[str, str] = field(default_factory=dict)
    troubles: tuple[str, ...] = ()

    def up(self) -> list[str]:
        return [name for name, state in self.states.items() if state == "up"]


def write_wanted(folder: Path, control: Path, wanted: Iterable[Wanted]) -> bool:
    """What shall be; whether that is something new. `control`: BIRD's socket."""
    rows = [asdict(each) for each in sorted(wanted, key=lambda each: each.name)]
    return replace_object(folder / _WANTED, {"control": str(control), "sessions": rows})


def read_wanted(folder: Path) -> tuple[Path, list[Wanted]]:
    found = read_object(folder / _WANTED)
    return Path(found.get("control", "")), [Wanted(**row) for row in found.get("sessions", ())]


class Kept:
    """Both files of a folder, for who looks at them again and again: each is read anew when it is another one. Any
    thread may ask.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._wanted_file, self._told_file = folder, folder / _WANTED, folder / _TOLD
        self._wanted: tuple[object, bool] = (None, False)
        self._told: tuple[object, Told] = (None, Told(worker=0))

    def wanted(self) -> bool:
        """Whether there shall be any session."""
        sign = sign_of(self._wanted_file)
        if sign is None or sign != self._wanted[0]:
            self._wanted = sign, bool(read_wanted(self._folder)[1])
        return self._wanted[1]

    def told(self) -> Told:
        sign = sign_of(self._told_file)
        if sign is None or sign != self._told[0]:
            self._told = sign, read_told(self._folder)
        return self._told[1]


def write_told(folder: Path, told: Told) -> None:
    replace_object(folder / _TOLD, asdict(told))


def read_told(folder: Path) -> Told:
    found = read_object(folder / _TOLD)
    try:
        return Told(worker=found["worker"], states=found["states"], troubles=tuple(found["troubles"]))
    except KeyError:
        return Told(worker=0)
