"""Where one decision ends and the next begins: headings of a text in, `Block`s with their tables out.

A reader tells each heading and each table that it meets; routes take the number of the block that is open. What is no
plain prefix (a VPN's with its distinguisher, one of EVPN) gets a block of its own, so that it never joins another.
Pure.
"""

import re
from dataclasses import replace
from ipaddress import ip_address, ip_network

from anypop.model.announce import Prefix
from anypop.routing.paste.pasted import Block, Reading

_DISTINGUISHED = re.compile(r"^(?P<rd>(?:\d{1,10}|[\d.]{7,15}):\d{1,10}):(?P<prefix>[0-9a-fA-F.:]+/\d{1,3})$")


class Blocks:
    """The blocks of a text, in its order. `table`: of the headings that follow."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._done: list[Block] = []
        self.table = ""
        self.prefix: Prefix | None = None
        self.known = True

    def begin(
        self,
        line: int,
        what: str,
        *,
        total: int | None = None,
        best: int | None = None,
        table: str | None = None,
        notes: tuple[str, ...] = (),
    ) -> None:
        """A heading: a prefix, one behind a route distinguisher, or words that are neither."""
        subject, rd = "", ""
        found = _DISTINGUISHED.match(what)
        text = found["prefix"] if found is not None else what
        rd = found["rd"] if found is not None else ""
        self.prefix = _prefix(text)
        if self.prefix is None:
            subject = what[:80]
            # Twice "::" is in no address of IPv6, but in Junos's routes of EVPN.
            if re.fullmatch(r"[0-9a-fA-F.:]+/\d+", text) and text.count("::") < 2:
                self._reading.wrong(line, f"'{what[:60]}' is not a prefix")
        name = " ".join(part for part in (self.table if table is None else table, rd) if part)
        self._done.append(Block(line=line, table=name, subject=subject, total=total, best=best, notes=notes))

    def here(self) -> int:
        """The number of the open block, for a route. Without a heading before it, a block without a name."""
        if not self._done:
            self._done.append(Block(table=self.table))
        if self.prefix is None and not self._done[-1].subject:
            self.known = False
        return len(self._done) - 1

    def note(self, text: str) -> None:
        """Something to say first about the open block."""
        if not self._done:
            self._done.append(Block(table=self.table))
        self._done[-1] = replace(self._done[-1], notes=(*self._done[-1].notes, text))

    def counted(self, total: int, best: int | None, table: str = "") -> None:
        """What a line behind the heading says about the number of routes; without a heading, of a block without a
        name.
        """
        if not self._done:
            self._done.append(Block(table=self.table))
        last = self._done[-1]
        self._done[-1] = replace(last, total=total, best=best, table=last.table or table)

    def counted_whole(self, pattern: re.Pattern[str], here: int) -> tuple[Block, ...]:
        """As `done`, where a line of the text says how many routes the whole of it has, and fewer or more are here."""
        totals = [int(found["total"]) for line in self._reading.lines if (found := pattern.match(line)) is not None]
        if not totals or sum(totals) == here:
            return self.done()
        note = f"the router printed {sum(totals)} routes, and the text has {here}"
        return tuple(replace(block, notes=(*block.notes, note)) for block in self._done)

    def done(self) -> tuple[Block, ...]:
        return tuple(self._done)


def _prefix(text: str) -> Prefix | None:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None


def classful(text: str) -> str:
    """With its length by its class, as old tables leave it out (RFC 791)."""
    try:
        here = ip_address(text)
    except ValueError:
        return text
    first = int(here) >> 24
    length = 0 if int(here) == 0 else 8 if first < 128 else 16 if first < 192 else 24
    return str(ip_network(f"{text}/{length}", strict=False))
