"""Lines of logs over all instances of a workload, for `anypop logs`: searched, or followed with what narrows them.

In: what is searched for. Out: lines, the oldest first, as `logs` prints them; on standard error what is not among them:
older ones, and hosts that do not answer. Hosts search; here pages are put into order.
"""

import json
import sys
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from anypop.cli.call import Call
from anypop.cli.failure import usage
from anypop.model.log_text import level_named
from anypop.model.visible import visible, visible_json

PAGE = 2000
SILENCE_S = 30.0  # three signs of life that did not come: the connection is dead
AGAIN_S = 0.5
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_STYLES = {"warning": "yellow", "error": "red", "fatal": "bold red", "debug": "dim", "trace": "dim"}


def seconds(text: str, option: str) -> int:
    """Of `30s`, `10m`, `2h`, `1d`."""
    unit = _UNITS.get(text[-1:], 0)
    if not unit or not text[:-1].isascii() or not text[:-1].isdigit() or len(text) > 9:
        raise usage(f"{option} {text}: must be like 30s, 10m, 2h or 1d")
    return int(text[:-1]) * unit


def moment(text: str, option: str) -> str:
    """RFC 3339, of a time or of how long ago it is."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        try:
            found = datetime.now(UTC) - timedelta(seconds=seconds(text, option))
        except OverflowError as error:
            raise usage(f"{option} {text}: is longer ago than there are logs") from error
    return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).isoformat()


def narrowed(*, text: str, level: str, since: str, until: str, container: str) -> dict[str, str]:
    """The query for it."""
    if level and level_named(level) is None:
        raise usage(f"--level {level}: must be trace, debug, info, warning, error or fatal")
    query = {"text": text, "level": level, "container": container}
    query |= {name: moment(value, f"--{name}") for name, value in (("since", since), ("until", until)) if value}
    return {name: value for name, value in query.items() if value}


def search(call: Call, workload: str, query: dict[str, str], *, most: int) -> tuple[list[Any], dict[str, str], bool]:
    """The newest `most` lines, the oldest first; what hosts do not tell, by host; whether there are older ones."""
    found: list[Any] = []
    silent: dict[str, str] = {}
    query = {"workload": workload, **query}
    while True:
        page = call.client.get(
            f"{call.stack_path('anypop')}/logs", what=f"search the logs of {workload}",
            **query, limit=min(PAGE, most - len(found)),
        )  # fmt: skip
        found += page["lines"]
        silent |= {one["host"]: one["message"] for one in page["silent"]}
        if not page["cut"] or len(found) >= most or "back_to" not in page:
            # those of one moment come together: there may be some more
            return list(reversed(found[:most])), silent, bool(page["cut"]) or len(found) > most
        query["until"] = page["back_to"]


def follow(call: Call, workload: str, query: dict[str, str]) -> Iterator[Mapping[str, Any]]:
    """What control tells, piece by piece, for ever; a stream that breaks is opened anew where it ended."""
    query = {"workload": workload, **query}
    what = f"follow the logs of {workload}"
    while True:
        path = f"{call.stack_path('anypop')}/logs/watch?{urlencode(query)}"
        for event, data in call.client.events(path, what=what, silence_s=SILENCE_S):
            if event == "lines":
                if data["lines"]:
                    query["since"] = _after(data["lines"][-1]["at"])
                yield data
        time.sleep(AGAIN_S)


def _after(at: str) -> str:
    """A nanosecond later."""
    second, _, rest = at.partition(".")
    ns = int(rest.rstrip("Z")) + 1
    if ns < 1_000_000_000:
        return f"{second}.{ns:09d}Z"
    return (datetime.fromisoformat(f"{second}+00:00") + timedelta(seconds=1)).strftime("%Y-%m-%dT%H:%M:%SZ")


class Printer:
    """Lines on one screen; their instance is told where there is more than one."""

    def __init__(self, call: Call, *, alone: bool, timestamps: bool) -> None:
        self._json, self._alone, self._timestamps = call.screen.for_programs, alone, timestamps
        self._call = call
        self._tame = sys.stdout.isatty()
        self._console = call.screen.console("stdout") if self._tame else None

    def show(self, line: Mapping[str, Any]) -> None:
        if self._json:
            row = {key if key != "text" else "line": value for key, value in line.items()}
            sys.stdout.write(f"{visible_json(json.dumps(row, ensure_ascii=False))}\n")
            return
        begin = f"{line['at']} " if self._timestamps else ""
        begin += "" if self._alone else f"{line['instance']} "
        text = str(line["text"])
        if self._console is not None:
            self._console.print(begin, style="cyan", end="", markup=False, highlight=False)
            style = _STYLES.get(str(line.get("level")))
            self._console.print(visible(text), style=style, markup=False, highlight=False, soft_wrap=True)
        else:
            sys.stdout.write(f"{begin}{text}\n")

    def told(self, data: Mapping[str, Any]) -> None:
        """Of a stream: its lines, and on standard error what is missing."""
        for one in data["silent"]:
            self._call.screen.note(f"host {one['host']}: {one['message'] or 'tells its lines again'}")
        for one in data["skipped"]:
            self._call.screen.note(f"{one['instance']}: {one['bytes']} bytes were passed over, more than can be shown")
        for line in data["lines"]:
            self.show(line)
        sys.stdout.flush()
