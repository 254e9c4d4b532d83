"""How far each log has been sent, and what comes next: from the files in which the lines are kept anyway.

In: containers with their folders, positions. Out: lines, with the position behind them. A position is a file's inode
and a place in it; it moves when the receiver has taken the lines, never before, so what was being sent when anything
ended is sent again. What was thrown away unsent, since a log was full twice meanwhile, is counted line by line.
"""

import contextlib
import os
from dataclasses import dataclass, field
from pathlib import Path

from anypop.agent.decide.log_choice import Choice, Forward
from anypop.agent.log_names import BEFORE, LOG
from anypop.agent.shipping.formats import Sent, Source

PIECE = 128 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    inode: int
    at: int


@dataclass(slots=True)
class Reader:
    """One container's log, for one receiver. `lost`: lines that went unsent since it was asked last."""

    source: Source
    position: Position | None
    lost: int = 0
    _files: dict[int, int] = field(default_factory=dict)  # inode: open file; one that is gone by name is held

    def close(self) -> None:
        for file in self._files.values():
            os.close(file)
        self._files.clear()

    def follow(self) -> None:
        """See which files there are now: one that neither name leads to any more is lost but for what is counted."""
        present = []
        for name in (BEFORE, LOG):
            with contextlib.suppress(OSError):
                file = os.open(Path(self.source.folder) / name, os.O_RDONLY | os.O_CLOEXEC)
                inode = os.fstat(file).st_ino
                if inode in self._files:
                    os.close(file)
                else:
                    self._files[inode] = file
                if inode not in present:
                    present.append(inode)
        if not present:  # the container is gone: what is held is read to its end
            return
        order = [*[inode for inode in self._files if inode not in present], *present]
        self._files = {inode: self._files[inode] for inode in order}
        for inode in order[: len(order) - len(present)]:
            at = self.position.at if self.position is not None and self.position.inode == inode else 0
            if self.position is None or inode == self.position.inode:
                self.lost += _lines_after(self._files[inode], at)
                self.position = Position(inode=present[0], at=0)
            os.close(self._files.pop(inode))

    def begin_at_end(self) -> None:
        """What is there already is not sent."""
        self.follow()
        for inode, file in self._files.items():
            self.position = Position(inode=inode, at=os.fstat(file).st_size)

    def goes_back(self, position: Position | None) -> bool:
        """To where it was; whether what stands there is kept still."""
        if position is not None and position.inode not in self._files:
            return False
        self.position = position
        return True

    def behind(self) -> int:
        """Bytes that wait."""
        inodes = list(self._files)
        if self.position is None:
            return sum(os.fstat(file).st_size for file in self._files.values())
        if self.position.inode not in inodes:
            return 0
        later = inodes[inodes.index(self.position.inode) + 1 :]
        here = os.fstat(self._files[self.position.inode]).st_size - self.position.at
        return here + sum(os.fstat(self._files[inode]).st_size for inode in later)

    def next(self, choice: Choice) -> tuple[list[Sent], Position | None]:
        """Some lines, and the position behind them; none where the position has nothing behind it."""
        position = self.position
        inodes = list(self._files)
        if not inodes:
            return [], None
        if position is None or position.inode not in self._files:
            position = Position(inode=inodes[0], at=0)
        while True:
            piece = os.pread(self._files[position.inode], PIECE, position.at)
            whole = _whole(piece)
            if whole:
                found = Forward(choice).take(piece[:whole])
                lines = [Sent(source=self.source, at=one.at, errors=one.errors, text=one.text or "") for one in found]
                return lines, Position(inode=position.inode, at=position.at + whole)
            later = inodes[inodes.index(position.inode) + 1 :]
            if not later:
                return [], None
            position = Position(inode=later[0], at=0)


def _whole(piece: bytes) -> int:
    """How much of it is whole lines; of a line that is longer than a piece, whole entries."""
    end = piece.rfind(b"\n") + 1
    whole = end
    while whole:
        begin = piece.rfind(b"\n", 0, whole - 1) + 1
        if b" P " not in piece[begin : begin + 64]:
            return whole
        whole = begin
    return end if len(piece) == PIECE else 0


def _lines_after(file: int, at: int) -> int:
    count = 0
    while piece := os.pread(file, PIECE, at):
        count += piece.count(b"\n")
        at += len(piece)
    return count
