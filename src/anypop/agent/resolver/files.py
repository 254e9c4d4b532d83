"""The files between the agent and the resolver: who may ask, and what the instances of each domain are called.

In: a folder. Out: `Around` in one file, each domain in a file of its own, so that a change costs its domain; and what
the resolver tells of itself. Every file is replaced as a whole, so a reader never meets half of one. What cannot be
read is nothing. All is plain text: the process that reads it loads little.
"""

import hashlib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from anypop.agent.resolver.wanted import Around, Asker, Called, CalledInstance, CalledWorkload
from anypop.agent.whole_file import read_object, replace_object, sign_of

_AROUND, _TOLD, _DOMAIN = "askers.json", "told.json", "domain-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the resolver says of itself."""

    troubles: tuple[str, ...] = ()


def write_around(folder: Path, around: Around) -> bool:
    """Whether that is something new."""
    return replace_object(folder / _AROUND, asdict(around))


def read_around(folder: Path) -> Around:
    found = read_object(folder / _AROUND)
    try:
        upstreams = found["upstreams"]
        return Around(
            askers={link: _asker(one) for link, one in found["askers"].items()},
            upstreams=None if upstreams is None else tuple(upstreams),
        )
    except (KeyError, TypeError, AttributeError):
        return Around()


def write_domains(folder: Path, all_: Iterable[Called]) -> bool:
    """Have exactly these; whether something is new."""
    wanted = {f"{_DOMAIN}{hashlib.sha256(one.domain.encode()).hexdigest()[:16]}.json": one for one in all_}
    changed = False
    for name, one in wanted.items():
        changed |= replace_object(folder / name, asdict(one))
    for file in folder.glob(f"{_DOMAIN}*.json"):
        if file.name not in wanted:
            file.unlink(missing_ok=True)
            changed = True
    return changed


def domain_files(folder: Path) -> dict[Path, tuple[int, int]]:
    """Those that are there, each with what changes when it is written."""
    found = {}
    for file in folder.glob(f"{_DOMAIN}*.json"):
        with suppress(OSError):  # gone meanwhile
            stat = file.stat()
            found[file] = stat.st_ino, stat.st_mtime_ns
    return found


def signs(folder: Path) -> dict[Path, tuple[int, int, int] | None]:
    """While they are the same, so is all that the agent has written."""
    return {file: sign_of(file) for file in (folder / _AROUND, *folder.glob(f"{_DOMAIN}*.json"))}


def read_domain(file: Path) -> Called | None:
    found = read_object(file)
    try:
        return Called(
            domain=found["domain"], suffix=found["suffix"], workloads=tuple(map(_workload, found["workloads"]))
        )
    except (KeyError, TypeError, ValueError):
        return None


def write_told(folder: Path, told: Told) -> None:
    with suppress(OSError):  # a full disk: it is told late, and nothing else
        replace_object(folder / _TOLD, asdict(told))


def sign_of_told(folder: Path) -> tuple[int, int, int] | None:
    """While it is the same, so is what the resolver tells."""
    return sign_of(folder / _TOLD)


def read_told(folder: Path) -> Told:
    found = read_object(folder / _TOLD)
    return Told(troubles=tuple(map(str, found.get("troubles", ()))))


def _asker(found: dict[str, Any]) -> Asker:
    return Asker(
        domain=found["domain"],
        name=found["name"],
        own=tuple(found["own"]),
        private=tuple(found["private"]),
        external=tuple(found["external"]),
        about=tuple((name, value) for name, value in found["about"]),
    )


def _workload(found: dict[str, Any]) -> CalledWorkload:
    return CalledWorkload(
        slug=found["slug"],
        ports=tuple((name, protocol, int(port)) for name, protocol, port in found["ports"]),
        instances=tuple(
            CalledInstance(
                name=one["name"],
                addresses=tuple(one["addresses"]),
                away=int(one["away"]),
                serves=bool(one["serves"]),
            )
            for one in found["instances"]
        ),
    )
