"""The text of a host's metrics, as control hands it on: every line is the host's own to tell.

In: OpenMetrics text as the host's agent sent it, and what may be on that host. Out: the same text without the lines
that name another host, another PoP, or an instance that is not there under these labels. Moments and exemplars are not
taken from a host: whoever scrapes has a clock of its own. Pure.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from anypop.control.metrics.lives import OF_HOSTS, Labels, may_tell

END = "# EOF"
_LINE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\.)*)"')
_ABOUT = re.compile(r"# (?:TYPE|UNIT|HELP) ([a-zA-Z_:][a-zA-Z0-9_:]*)(?: |$)")
_NUMBER = re.compile(r"[+-]?(?:[0-9.]+(?:[eE][+-]?[0-9]+)?|Inf|NaN)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """`dropped`: lines that were not the host's to tell."""

    text: str
    dropped: int


def checked(text: str, place: Labels, lives: Mapping[str, Labels]) -> Checked:
    """`place`: the labels `pop` and `host` of the host; `lives`: the labels of each incarnation that may be on it."""
    kept: list[str] = []
    dropped = 0
    seen: dict[str, dict[str, str] | None] = {}  # instances have the same labels in all their lines
    for line in text.split("\n"):
        if line in ("", END):
            continue
        if line.startswith("#"):
            about = _ABOUT.match(line)
            fine = about is not None and about[1].startswith(OF_HOSTS)
        else:
            fine = _is_sample(line, place, lives, seen)
        if fine:
            kept.append(line)
        else:
            dropped += 1
    return Checked(text="\n".join([*kept, END, ""]), dropped=dropped)


def _is_sample(line: str, place: Labels, lives: Mapping[str, Labels], seen: dict[str, dict[str, str] | None]) -> bool:
    found = _LINE.fullmatch(line)
    if found is None or _NUMBER.fullmatch(found[3]) is None:
        return False
    block = found[2] or ""
    if block not in seen:
        seen[block] = labels_in(block)
    labels = seen[block]
    return labels is not None and may_tell(found[1], labels, place, lives)


def labels_in(block: str) -> dict[str, str] | None:
    """What stands between the braces; None where it is not written as it has to be, or names a label twice."""
    pairs = _LABEL.findall(block)
    labels = {name: _plain(value) for name, value in pairs}
    if len(labels) != len(pairs) or ",".join(f'{name}="{value}"' for name, value in pairs) != block:
        return None
    return labels


def _plain(value: str) -> str:
    if "\\" not in value:
        return value
    return re.sub(r"\\(.)", lambda found: "\n" if found[1] == "n" else found[1], value)
