"""One tier on disk: files of rows, each of a span of time, the oldest of which go.

In: rows, as they come. Out: files in the tier's folder, and what is in them. A file is only ever added to, and by the
agent that began it; one that a dead agent left is read as far as it is whole. Where the disk takes no more, the file is
cut back to its last whole block, and the rows wait for the next try; those that waited too long are lost, and counted.
Its size is bounded: the oldest files go before their time.
"""

import contextlib
import os
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from anypop.agent.samples.rows import Layout, Part, Row, Wanted, Writer, read

_ENDING = ".rows"
_TIMES = Wanted(names=("",))  # no series has this name
_FOR_EVER = 1 << 62
_PARTS = 8  # a file is no larger than such a part of what the tier may have, so little goes at once
_WAITING = 120  # rows that wait for a disk that takes nothing; the others are lost


class Shape(NamedTuple):
    """Of a tier. `step_ms`: from row to row; `kept_ms`: how long; `span_ms`: of one file; `together`: rows in a block;
    `most_bytes`: on disk.
    """

    name: str
    step_ms: int
    kept_ms: int
    span_ms: int
    together: int
    most_bytes: int


class Segments:
    """One tier in `folder`. Blocking. One thread adds; any may read."""

    def __init__(self, folder: Path, shape: Shape) -> None:
        self.shape, self._folder = shape, folder / shape.name
        self._waiting: deque[tuple[Layout, Row]] = deque()
        self._file: int | None = None
        self._name = ""
        self._writer = Writer()
        self._began_ms = self._written = self._last_ms = 0
        self._lock = threading.Lock()
        self.lost = 0
        self.newest_ms = self._found_ms()

    def _found_ms(self) -> int:
        """The time of the newest row that was there before us; 0: there is none."""
        for file in reversed(self._files()):
            with contextlib.suppress(OSError):
                times = [part.times_ms[-1] for part in read(file.read_bytes(), _TIMES) if part.times_ms]
                if times:
                    return times[-1]
        return 0

    @property
    def oldest_ms(self) -> int | None:
        """The time of the oldest row; None: there is none."""
        with self._lock:
            files, waiting = self._files(), self._waiting
            return int(files[0].stem) if files else waiting[0][1].at_ms if waiting else None

    def rows(self, since_ms: int) -> Iterator[tuple[Layout, Row]]:
        """Those from a time on."""
        layout: Layout = ()
        for part in self.parts(since_ms, _FOR_EVER, Wanted()):
            if tuple(part.columns) != layout:
                layout = tuple(part.columns)
            for at_ms, *values in zip(part.times_ms, *part.columns.values(), strict=True):
                if at_ms is not None and at_ms >= since_ms:
                    yield layout, Row(at_ms, values)

    @property
    def is_almost_full(self) -> bool:
        """Whether one more row is a block."""
        return len(self._waiting) >= self.shape.together - 1

    def add(self, layout: Layout, row: Row) -> None:
        """Keep a row. It is on disk with the others of its block."""
        with self._lock:
            self.newest_ms = row.at_ms
            self._waiting.append((layout, row))
            if len(self._waiting) >= self.shape.together:
                self._flush()

    def flush(self) -> None:
        """Write down what waits."""
        with self._lock:
            self._flush()

    def _flush(self) -> None:
        while self._waiting:
            layout, rows = self._waiting[0][0], list[Row]()
            for one, row in self._waiting:
                if one is not layout or (rows and row.at_ms <= rows[-1].at_ms):
                    break
                rows.append(row)
            try:
                self._append(layout, rows)
            except OSError:
                self._end()
                while len(self._waiting) > _WAITING:
                    self._waiting.popleft()
                    self.lost += 1
                return
            for _ in rows:
                self._waiting.popleft()

    def _append(self, layout: Layout, rows: list[Row]) -> None:
        first_ms = rows[0].at_ms
        full = first_ms >= self._began_ms + self.shape.span_ms or self._written >= self.shape.most_bytes // _PARTS
        if self._file is None or full or first_ms <= self._last_ms:
            self._begin(first_ms)
        assert self._file is not None
        data = memoryview(self._writer.write(layout, rows))
        done = 0
        try:
            while done < len(data):
                done += os.write(self._file, data[done:])
        except OSError:
            with contextlib.suppress(OSError):  # else a reader stops before what is cut
                os.ftruncate(self._file, self._written)
            raise
        self._written += len(data)
        self._last_ms = rows[-1].at_ms

    def _begin(self, first_ms: int) -> None:
        self._end()
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._prune(first_ms)
        for number in range(first_ms, first_ms + 1000):  # a clock that was set back may have left one of this name
            name = f"{number:015d}{_ENDING}"
            with contextlib.suppress(FileExistsError):
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
                self._file = os.open(self._folder / name, flags, 0o600)
                break
        else:
            raise FileExistsError(f"{self._folder} is full of files of this second")
        self._name, self._writer, self._began_ms, self._written, self._last_ms = name, Writer(), first_ms, 0, 0

    def _end(self) -> None:
        if self._file is not None:
            os.close(self._file)
            if not self._written:
                with contextlib.suppress(OSError):
                    (self._folder / self._name).unlink()
        self._file = None

    def _prune(self, now_ms: int) -> None:
        """Take away what is older than it is kept for or of a time to come, and the oldest of what is too much."""
        left = self.shape.most_bytes - self.shape.most_bytes // _PARTS  # room for the one that begins
        for file in reversed(self._files()):
            began_ms = int(file.stem)
            with contextlib.suppress(OSError):
                left -= file.stat().st_size
                old = began_ms + self.shape.span_ms < now_ms - self.shape.kept_ms
                if old or left < 0 or began_ms > now_ms + self.shape.kept_ms:
                    file.unlink()

    def _files(self) -> list[Path]:
        """Oldest first."""
        with contextlib.suppress(OSError):
            return sorted(f for f in self._folder.iterdir() if f.suffix == _ENDING and f.stem.isdecimal())
        return []

    def bytes(self) -> int:
        """On disk."""
        return sum(map(_size, self._files()))

    def parts(self, since_ms: int, until_ms: int, wanted: Wanted) -> Iterator[Part]:
        """The rows of a span and perhaps some around it, in order, also those that are not written yet."""
        with self._lock:
            files = [(file, int(file.stem), _size(file)) for file in self._files()]
            waiting = list(self._waiting)
        for n, (file, began_ms, size) in enumerate(files):
            ends_ms = files[n + 1][1] if n + 1 < len(files) else until_ms
            if began_ms > until_ms or ends_ms < since_ms:
                continue
            with contextlib.suppress(OSError), file.open("rb") as opened:  # it may have just been taken away
                yield from read(opened.read(size), wanted)
        for layout, row in waiting:
            columns = {k: [v] for k, v in zip(layout, row.values, strict=True) if wanted.has(k)}
            yield Part([row.at_ms], columns)

    def close(self) -> None:
        self.flush()
        self._end()


def _size(file: Path) -> int:
    with contextlib.suppress(OSError):
        return file.stat().st_size
    return 0
