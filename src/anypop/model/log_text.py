"""What a line of a log says of itself: its level, its own time, its message and its fields. Pure.

In: the text of one line, whatever a program has written. Out: what could be understood of it: JSON objects by the names
that the usual libraries give their fields, `level=...` of logfmt, a level in capitals or brackets near the beginning.
Nothing here raises: what is not understood is a message without a level.
"""

import json
import math
import re
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any, NamedTuple

_NO_FIELDS: Mapping[str, Any] = MappingProxyType({})


class Level(StrEnum):
    """How bad it is, the least first."""

    TRACE = "trace"
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    FATAL = "fatal"


LEVELS = tuple(Level)
RANKS: Mapping[Level | None, int] = {None: -1} | {level: rank for rank, level in enumerate(LEVELS)}

_WORDS: Mapping[str, Level] = {
    "trace": Level.TRACE, "verbose": Level.TRACE, "finest": Level.TRACE, "trc": Level.TRACE,
    "debug": Level.DEBUG, "dbg": Level.DEBUG, "fine": Level.DEBUG,
    "info": Level.INFO, "information": Level.INFO, "informational": Level.INFO, "notice": Level.INFO, "inf": Level.INFO,
    "warning": Level.WARNING, "warn": Level.WARNING, "wrn": Level.WARNING,
    "error": Level.ERROR, "err": Level.ERROR, "severe": Level.ERROR,
    "fatal": Level.FATAL, "critical": Level.FATAL, "crit": Level.FATAL, "panic": Level.FATAL, "alert": Level.FATAL,
    "emergency": Level.FATAL, "emerg": Level.FATAL, "ftl": Level.FATAL,
}  # fmt: skip
# Numbers: those of syslog (RFC 5424, section 6.2.1) are 0 to 7, those of pino and bunyan 10 to 60.
_SYSLOG = (Level.FATAL, Level.FATAL, Level.FATAL, Level.ERROR, Level.WARNING, Level.INFO, Level.INFO, Level.DEBUG)
_TENS = (Level.TRACE, Level.DEBUG, Level.INFO, Level.WARNING, Level.ERROR, Level.FATAL)


_SIMPLE = (str, int, float)
_NAMES = (
    ("level", "severity", "lvl", "loglevel", "log.level", "levelname", "severity_text", "priority"),
    ("time", "timestamp", "@timestamp", "ts", "t", "datetime", "date"),
    ("message", "msg", "body", "event", "text"),
)
# of a field's name what it means (level, time or message), and how many names for that come before it
_MEANINGS = {name: (part, rank) for part, names in enumerate(_NAMES) for rank, name in enumerate(names)}

_HEAD = 96  # so many characters of a line are looked at for a level: what comes later is the message's own
_LOGFMT = re.compile(r'(?:^|\s)(?:level|lvl|severity)="?([A-Za-z]{3,13})"?(?=\s|$)')
_PLAIN = re.compile(
    r"(?<![A-Za-z0-9_])(?:\[(?P<b>[A-Za-z]{3,13})\]|(?P<c>TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERR|ERROR|SEVERE|CRIT"
    r"|CRITICAL|FATAL|PANIC|ALERT|EMERG))(?![A-Za-z0-9_])"
)
DEEPEST = 2000  # brackets: a document made of them would cost the reader's stack


class Understood(NamedTuple):
    """`time`: as the line has it. `fields`: of a JSON line, what is neither level, time nor message."""

    level: Level | None = None
    time: str = ""
    message: str = ""
    fields: Mapping[str, Any] = _NO_FIELDS


def understood(text: str) -> Understood:
    """What one line says."""
    if (found := _json(text)) is not None:
        return found
    return Understood(level=_level_of(text[:_HEAD]), message=text)


def level_of(text: str) -> Level | None:
    """The level alone."""
    return understood(text).level


def level_named(word: str) -> Level | None:
    """The level that people call so, in any case."""
    return _WORDS.get(word.strip().lower())


def _json(text: str) -> Understood | None:
    text = text.strip(_BLANKS)
    if text[:1] != "{" or text[-1:] != "}" or text.count("{") + text.count("[") > DEEPEST:
        return None
    try:
        document, end = _read(text)
    except (ValueError, RecursionError):
        return None
    if end != len(text):
        return None
    level, time, message = _taken(document)
    return Understood(level=_level_in(level), time=_text(time), message=_text(message), fields=document)


def _number(text: str) -> float | str:
    found = float(text)
    return found if math.isfinite(found) else text  # JSON has no word for what is none


_BLANKS = " \t\n\r"  # of JSON; what they are stripped from is read in half the time
_read = json.JSONDecoder(parse_constant=str, parse_float=_number).raw_decode


def _taken(rest: dict[str, Any]) -> list[Any]:
    """Level, time and message, which are no longer among the fields then."""
    found: list[tuple[int, str] | None] = [None, None, None]
    for name, value in rest.items():  # the line's few fields are looked at, not the many names that there are
        if name in _MEANINGS and isinstance(value, _SIMPLE):
            part, rank = _MEANINGS[name]
            best = found[part]
            if best is None or rank < best[0]:
                found[part] = rank, name
    return [rest.pop(one[1]) if one is not None else None for one in found]


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _level_in(value: Any) -> Level | None:
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, str):
        return level_named(value) or (_level_in(int(value)) if value.isdecimal() and len(value) < 4 else None)
    number = int(value) if abs(value) < 1000 else -1
    if 0 <= number < len(_SYSLOG):
        return _SYSLOG[number]
    return _TENS[number // 10 - 1] if 10 <= number < 70 else None


def _level_of(head: str) -> Level | None:
    if (found := _LOGFMT.search(head)) is not None and (level := level_named(found[1])) is not None:
        return level
    for one in _PLAIN.finditer(head):
        if (level := level_named(one["b"] or one["c"])) is not None:
            return level
    return None
