"""Values as the Compose specification writes them: ports, durations, environments, sizes, lists that may be one text.

In: a value and its path. Out: plain data; what cannot be understood goes to `Problems` with its path, and reading goes
on, so that everything is told at once. Only `env_file` reads files.
"""

import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_DURATION = re.compile(r"(?:(?P<h>\d+)h)?(?:(?P<m>\d+)m)?(?:(?P<s>\d+)s)?")
_SIZE = re.compile(r"(?P<number>\d+)\s*(?P<unit>b|k|kb|m|mb|g|gb)?", re.IGNORECASE)
_UNITS = {"": "", "b": "", "k": "Ki", "kb": "Ki", "m": "Mi", "mb": "Mi", "g": "Gi", "gb": "Gi"}


@dataclass(slots=True)
class Problems:
    """What is wrong, each with its path."""

    found: list[str] = field(default_factory=list)

    def add(self, path: str, message: str) -> None:
        self.found.append(f"{path}: {message}")


def words(value: Any, path: str, problems: Problems) -> list[str]:
    """A command: a text as in a shell, or a list of words."""
    if isinstance(value, list):
        return [str(word) for word in value]
    try:
        return shlex.split(str(value))
    except ValueError as error:
        problems.add(path, str(error).lower())
        return []


def texts(value: Any) -> list[str]:
    """One text, or a list of them."""
    return [str(one) for one in value] if isinstance(value, list) else [str(value)]


def mapping(value: Any, path: str, problems: Problems) -> dict[str, str | None]:
    """`{NAME: VALUE}`, or a list of `NAME=VALUE`. None: the name alone."""
    if isinstance(value, dict):
        return {str(name): None if given is None else _scalar(given) for name, given in value.items()}
    if not isinstance(value, list):
        problems.add(path, "must be an object, or a list of NAME=VALUE")
        return {}
    pairs = [str(line).partition("=") for line in value]
    return {name: text if equals else None for name, equals, text in pairs}


def _scalar(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def environment(service: dict[str, Any], path: str, folder: Path, problems: Problems) -> dict[str, str]:
    """`env_file` and above it `environment`; a name alone is taken from the environment of this command."""
    found: dict[str, str] = {}
    for name, where in _env_files(service.get("env_file"), f"{path}.env_file", problems):
        found |= of_env_file(folder / name, where, problems)
    for name, value in mapping(service.get("environment") or {}, f"{path}.environment", problems).items():
        if value is not None:
            found[name] = value
        elif name in os.environ:
            found[name] = os.environ[name]
        else:
            problems.add(f"{path}.environment.{name}", "has no value, and is not in the environment here")
    return found


def _env_files(value: Any, path: str, problems: Problems) -> Iterator[tuple[str, str]]:
    several = value if isinstance(value, list) else [] if value is None else [value]
    for number, one in enumerate(several):
        where = f"{path}[{number}]" if isinstance(value, list) else path
        if isinstance(one, dict) and (set(one) - {"path", "required"} or one.get("required", True) is not True):
            problems.add(where, "may have 'path' alone: a file that is named has to be there")
        yield str(one.get("path", "") if isinstance(one, dict) else one), where


def of_env_file(file: Path, path: str, problems: Problems) -> dict[str, str]:
    """`NAME=VALUE`, one a line; of a name alone the value that it has here."""
    try:
        lines = file.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        problems.add(path, f"{file} cannot be read: {getattr(error, 'strerror', None) or 'it is not text'}")
        return {}
    found = {}
    for line in lines:
        name, equals, value = line.strip().removeprefix("export ").partition("=")
        if not name or name.startswith("#"):
            continue
        value = value.strip()
        if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
            value = value[1:-1]
        found[name.strip()] = value if equals else os.environ.get(name.strip(), "")
    return found


def seconds(value: Any, path: str, problems: Problems) -> int | None:
    """`1m30s` as 90. Whole seconds alone."""
    text = str(value)
    matched = _DURATION.fullmatch(text)
    if not text or matched is None or not any(matched.groups()):
        problems.add(path, f"'{text}' is no whole number of seconds, as in 90s or 1m30s")
        return None
    hours, minutes, rest = (int(matched[unit] or 0) for unit in "hms")
    return hours * 3600 + minutes * 60 + rest


def memory(value: Any, path: str, problems: Problems) -> str | None:
    """`512m` as `512Mi`: Compose counts in powers of 1024."""
    matched = _SIZE.fullmatch(str(value).strip())
    if matched is None:
        problems.add(path, f"'{value}' is no amount of memory, as in 512m or 2g")
        return None
    return matched["number"] + _UNITS[(matched["unit"] or "").lower()]


def cpus(value: Any, path: str, problems: Problems) -> str | None:
    """`0.5` as `500m`."""
    if not re.fullmatch(r"\d+(\.\d{1,3})?|\.\d{1,3}", str(value)):
        problems.add(path, f"'{value}' is no number of CPUs, as in 0.5 or 2")
        return None
    return f"{round(float(value) * 1000)}m"


def ports(value: Any, path: str, problems: Problems) -> dict[str, dict[str, Any]]:
    """Published ports, by name: open to all, at the number at which the application listens."""
    found: dict[str, dict[str, Any]] = {}
    for number, one in enumerate(value if isinstance(value, list) else [value]):
        where = f"{path}[{number}]"
        for published, target, protocol in _ports_of(one, where, problems):
            if published not in (None, target):
                problems.add(
                    where,
                    f"publishes {target} as {published}: an instance has addresses of its own, so a port keeps its "
                    f"number; write '{target}:{target}'",
                )
                continue
            found[f"{protocol.lower()}-{target}"] = {
                "port": target, "protocol": protocol, "enableImplicitNetworkPolicy": True,
            }  # fmt: skip
    return found


def exposed(value: Any, path: str, problems: Problems) -> dict[str, dict[str, Any]]:
    """Ports that are known and closed to the outside."""
    found = {}
    for number, one in enumerate(value if isinstance(value, list) else [value]):
        for _, target, protocol in _ports_of(str(one), f"{path}[{number}]", problems):
            found[f"{protocol.lower()}-{target}"] = {"port": target, "protocol": protocol}
    return found


def _ports_of(one: Any, path: str, problems: Problems) -> Iterator[tuple[int | None, int, str]]:
    """(published, target, protocol) of an entry, which may be a range."""
    if isinstance(one, dict):
        for key in set(one) - {"target", "published", "protocol", "name", "mode", "app_protocol"}:
            problems.add(f"{path}.{key}", "is not taken: a port is open at all addresses of an instance")
        text = f"{one['published']}:{one.get('target')}" if "published" in one else str(one.get("target"))
        text += f"/{one.get('protocol', 'tcp')}"
    else:
        text = str(one)
    numbers, _, kind = text.partition("/")
    *before, target = numbers.split(":")
    if len(before) > 1:
        problems.add(path, f"'{text}' names an address of the machine: an instance has its own; leave it away")
        return
    ranges = [_range(part) for part in (*before, target)]
    if (kind or "tcp").lower() not in ("tcp", "udp") or None in ranges:
        problems.add(path, f"'{text}' is no port, as in 80, 80:80, 53/udp or 8000-8003")
        return
    last = ranges[-1] or []
    first = (ranges[0] or []) if before else [None] * len(last)
    if len(first) != len(last):
        problems.add(path, f"'{text}' has two ranges that are not of one length")
        return
    yield from ((p, t, (kind or "tcp").upper()) for p, t in zip(first, last, strict=True))


def _range(text: str) -> list[int] | None:
    matched = re.fullmatch(r"(\d{1,5})(?:-(\d{1,5}))?", text)
    if matched is None:
        return None
    first = int(matched[1])
    last = int(matched[2] or first)
    return list(range(first, last + 1)) if 0 < first <= last <= 65535 else None
