"""The files between the agent and the process that stays with the virtual machines, in one folder for both.

In: a folder. Out: which guests there are, and what each one is told of itself: the agent's word. Every file is replaced
as a whole. Nothing of it is where QEMU may write: whoever breaks out of a guest into QEMU finds neither logs nor the
way to others' consoles. User data may hold secrets: the folder is the agent's alone.
"""

import contextlib
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path

from anypop.agent.guests.wanted import Guest
from anypop.agent.guests.word import Word
from anypop.agent.whole_file import read_object, replace_object

_GUESTS, _LIFE, _SEED = "guests.json", "life.json", "seed"
_PASSWORD, _SHOWN = "password", "password-shown"
ATTACH = "attach.sock"
"""In the folder of a guest: where consoles are attached. Bytes as they are, both ways."""


def folder_of(folder: Path, uid: str) -> Path:
    """Its own: its log in the form of conmon's, the socket for consoles, its seed."""
    return folder / uid


def write_guests(folder: Path, guests: Iterable[Guest]) -> bool:
    """Have exactly these; whether that is something new."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return replace_object(folder / _GUESTS, {one.uid: asdict(one) for one in guests})


def read_guests(folder: Path) -> tuple[Guest, ...]:
    """What cannot be read is none."""
    found = []
    for one in read_object(folder / _GUESTS).values():
        with contextlib.suppress(KeyError, TypeError, ValueError):
            guest = Guest(
                uid=str(one["uid"]), console=str(one["console"]), kept=str(one["kept"]),
                namespace=str(one["namespace"]), log_bytes=int(one["log_bytes"]),
                about={str(k): str(v) for k, v in one["about"].items()},
            )  # fmt: skip
            found.append(guest)
    return tuple(found)


def write_seed(folder: Path, uid: str, seed: Mapping[str, bytes]) -> None:
    """What its cloud-init may ask for, by name; in place of what was there."""
    place = folder_of(folder, uid) / _SEED
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name, content in seed.items():
        with contextlib.suppress(OSError):
            if (place / name).read_bytes() == content:
                continue
        new = place / f".{name}"
        new.write_bytes(content)
        new.chmod(0o600)
        new.rename(place / name)
    for file in place.iterdir():
        if file.name not in seed:
            file.unlink()


def read_seed(folder: Path, uid: str, name: str) -> bytes | None:
    """None: there is no such file, or it is empty."""
    with contextlib.suppress(OSError):
        return (folder_of(folder, uid) / _SEED / name).read_bytes() or None
    return None


def keep_password(folder: Path, uid: str, password: bytes) -> bool:
    """What the guest told first, and nothing after it; whether this was it."""
    place = folder_of(folder, uid)
    if (place / _SHOWN).exists():
        return False
    try:
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(place / f"{_PASSWORD}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "wb") as out:
            out.write(password)
        (place / _PASSWORD).hardlink_to(place / f"{_PASSWORD}.new")
    except FileExistsError:
        return False
    finally:
        (place / f"{_PASSWORD}.new").unlink(missing_ok=True)
    return True


def take_password(folder: Path, uid: str) -> bytes | None:
    """The password that the guest told, once: from now on it is nowhere here. None: it told none, or it was taken."""
    place = folder_of(folder, uid)
    with contextlib.suppress(FileNotFoundError):
        found = (place / _PASSWORD).read_bytes()
        (place / _SHOWN).touch(mode=0o600)
        (place / _PASSWORD).unlink()
        return found
    return None


def begins_life(folder: Path, guest: Guest) -> bool:
    """Whether its QEMU is another one than when this was asked before: each makes the socket of its console anew."""
    life = word_of(folder, guest.uid, guest.console).life()
    return replace_object(folder_of(folder, guest.uid) / _LIFE, {"life": life})


def word_of(folder: Path, uid: str, console: str) -> Word:
    """What is known of a guest by word."""
    return Word(folder_of(folder, uid), Path(console))


def forget(folder: Path, uid: str) -> None:
    """Its instance is gone."""
    shutil.rmtree(folder_of(folder, uid), ignore_errors=True)
