"""What an agent keeps of its metrics: rows come back as they were, from files that are cut, damaged, on a full disk or
left by an agent that was killed; and who asks for a span gets it from the tiers that have it.
"""

import asyncio
import errno
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from itertools import chain, pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anypop.agent.samples import answer, segments
from anypop.agent.samples.rows import Kind, Layout, Row, Wanted, Writer, block, read
from anypop.agent.samples.segments import Segments, Shape
from anypop.agent.samples.tiers import SHAPES, Points, Tiers, TooMuch
from anypop.model.codec import from_json
from anypop.model.metrics import CPU, MEMORY, MICROS, PROBE, SeriesKey
from anypop.model.streams import LARGEST_FRAME, Samples

START_MS = 1_700_000_000_000


def key(name: str, uid: str) -> SeriesKey:
    return SeriesKey(name, (("host", "LHR"), ("incarnation", uid)))


A, B, C = (key(CPU, "a"), key(MEMORY, "a")), (key(CPU, "b"),), (key(PROBE, "c"), key(CPU, "a"))
LAYOUTS: tuple[Layout, ...] = ((), A, B, A + B, C, B + C)
VALUE = st.one_of(st.none(), st.integers(0, 2**62), st.integers(0, 1000))


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[Layout, Row]]:
    """Rows of layouts that change now and then; times only grow."""
    rows, at_ms = [], START_MS
    for layout in draw(st.lists(st.sampled_from(LAYOUTS), min_size=1, max_size=6)):
        for _ in range(draw(st.integers(1, 5))):
            at_ms += draw(st.integers(1, 5000))
            rows.append((layout, Row(at_ms, draw(st.tuples(*[VALUE] * len(layout))))))
    return rows


def written(history: Sequence[tuple[Layout, Row]], together: int) -> list[bytes]:
    """Block by block, with the layouts that go before them."""
    writer, pieces, at = Writer(), [], 0
    while at < len(history):
        layout = history[at][0]
        end = at + 1
        while end < len(history) and history[end][0] is layout and end - at < together:
            end += 1
        pieces.append(writer.write(layout, [row for _, row in history[at:end]]))
        at = end
    return pieces


def whole(data: bytes) -> list[tuple[int, dict[SeriesKey, int | None]]]:
    return [
        (at_ms, {k: column[n] for k, column in part.columns.items()})
        for part in read(data)
        for n, at_ms in enumerate(part.times_ms)
    ]


def as_dicts(history: Sequence[tuple[Layout, Row]]) -> list[tuple[int, dict[SeriesKey, int | None]]]:
    return [(row.at_ms, dict(zip(layout, row.values, strict=True))) for layout, row in history]


@given(histories(), st.integers(1, 7))
def test_what_is_read_is_what_was_written(history: list[tuple[Layout, Row]], together: int) -> None:
    assert whole(b"".join(written(history, together))) == as_dicts(history)


@given(histories(), st.integers(1, 7), st.data())
def test_a_file_that_is_cut_or_damaged_is_right_as_far_as_it_is_read(
    history: list[tuple[Layout, Row]], together: int, data: st.DataObject
) -> None:
    """Nothing else than what was written ever comes out, and what stands before the damage does."""
    pieces = written(history, together)
    file, right = b"".join(pieces), as_dicts(history)
    at = data.draw(st.integers(0, len(file) - 1))
    untouched = 0
    for n in range(len(pieces)):
        if sum(map(len, pieces[: n + 1])) <= at:
            untouched = len(whole(b"".join(pieces[: n + 1])))
    for bad in (file[:at], file[:at] + bytes([file[at] ^ data.draw(st.integers(1, 255))]) + file[at + 1 :]):
        found = whole(bad)
        assert found == right[: len(found)] and len(found) >= untouched


@given(st.binary(max_size=200))
def test_a_block_that_is_whole_and_means_nothing_ends_the_file(payload: bytes) -> None:
    """Such as a later version may write."""
    first = written([(B, Row(START_MS, (7,)))], 1)[0]
    for kind in Kind:
        assert whole(first + block(kind, payload))[:1] == [(START_MS, {B[0]: 7})]


def shape(*, kept_ms: int = 60_000, span_ms: int = 10_000, most_bytes: int = 1 << 20) -> Shape:
    return Shape("t", 1000, kept_ms, span_ms, 5, most_bytes)


def rows_of(tier: Segments) -> list[int]:
    return [row.at_ms for _, row in tier.rows(0)]


def test_rows_are_seen_before_they_are_written_and_after_a_new_beginning(tmp_path: Path) -> None:
    tier = Segments(tmp_path, shape())
    for n in range(7):
        tier.add(A, Row(START_MS + 1000 * n, (n, None)))
    assert rows_of(tier) == [START_MS + 1000 * n for n in range(7)]
    another = Segments(tmp_path, shape())
    assert rows_of(another) == [START_MS + 1000 * n for n in range(5)], "the last two were with the one that died"
    assert another.newest_ms == START_MS + 4000
    another.add(A, Row(START_MS + 3000, (1, 1)))  # its clock was set back
    another.flush()
    assert sorted(rows_of(another)) == sorted([START_MS + 1000 * n for n in range(5)] + [START_MS + 3000])


def test_a_tier_forgets_what_is_old_and_never_grows_over_its_size(tmp_path: Path) -> None:
    """By time; and where there is more than fits, the oldest goes before its time."""
    tier = Segments(tmp_path, shape())
    for n in range(200):
        tier.add(A, Row(START_MS + 1000 * n, (n, n)))
    assert 120 <= (rows_of(tier)[0] - START_MS) / 1000 <= 140 and rows_of(tier)[-1] == START_MS + 199_000
    rest = random.Random(1)
    small = Segments(tmp_path / "small", shape(most_bytes=4000, span_ms=10**9, kept_ms=10**10))
    for n in range(3000):
        small.add(A, Row(START_MS + 1000 * n, (rest.getrandbits(60), rest.getrandbits(60))))
        assert n % 50 or small.bytes() <= 4000
    assert rows_of(small)[-1] == START_MS + 2_999_000


@pytest.mark.parametrize("takes", [0, 10], ids=["nothing", "a part"])
def test_a_full_disk_loses_what_waits_too_long_and_harms_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, takes: int
) -> None:
    """What stands stays whole; when there is room again, rows go on; how many are missing is told."""
    tier, real, full = Segments(tmp_path, shape(span_ms=10**9, kept_ms=10**10)), os.write, [False]

    def write(handle: int, data: bytes) -> int:
        if not full[0]:
            return real(handle, data)
        if takes and len(data) > takes:
            full[0:1] = [True]
            return real(handle, data[:takes])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("anypop.agent.samples.segments.os.write", write)
    at = iter(range(START_MS, 10**15, 1000))
    for _ in range(10):
        tier.add(A, Row(next(at), (1, 1)))
    full[0] = True
    for _ in range(segments._WAITING + 30):
        tier.add(A, Row(next(at), (2, 2)))
    assert tier.lost == 30 and tier.bytes() == sum(len(f.read_bytes()) for f in tmp_path.rglob("*.rows"))
    assert len(rows_of(tier)) == 10 + segments._WAITING
    full[0] = False
    for _ in range(10):
        tier.add(A, Row(next(at), (3, 3)))
    tier.flush()
    after = Segments(tmp_path, shape(span_ms=10**9, kept_ms=10**10))
    assert len(rows_of(after)) == 10 + segments._WAITING + 10
    assert rows_of(after) == sorted(rows_of(after))


def fed(tiers: Tiers, seconds: range, layout: Layout = A) -> None:
    for n in seconds:
        tiers.add(layout, Row(START_MS + 1000 * n, (n * MICROS, 100 + n % 10)))


def told(found: list[Points], name: str) -> list[tuple[float, float]]:
    (points,) = (p for p in found if p.key.name == name)
    return list(zip((ms / 1000 - START_MS / 1000 for ms in points.times_ms), points.values, strict=True))


def test_counters_are_told_as_they_were_and_gauges_by_their_mean(tmp_path: Path) -> None:
    """From the coarsest tier that is fine enough, and from finer ones what that does not have yet."""
    tiers = Tiers(tmp_path)
    fed(tiers, range(600))
    every = tiers.ask(START_MS, START_MS + 10**6, 1000, Wanted())
    assert told(every, CPU) == [(n, n) for n in range(600)]
    tens = tiers.ask(START_MS, START_MS + 10**6, 10_000, Wanted(names=(CPU, MEMORY)))
    assert told(tens, CPU) == [(10 * n + 9, 10 * n + 9) for n in range(60)]
    assert {value for _, value in told(tens, MEMORY)} == {104.0, 104.5}, "whole numbers, but of the newest ten"
    one = tiers.ask(START_MS + 100_000, START_MS + 300_000, 60_000, Wanted(names=(CPU,), uids=("a",)))
    assert [n for n, _ in told(one, CPU)] == [159, 219, 279]
    assert tiers.ask(START_MS, START_MS + 10**6, 1000, Wanted(uids=("b",))) == []


def test_what_one_tier_has_forgotten_comes_from_the_next(tmp_path: Path) -> None:
    shapes = (SHAPES[0]._replace(kept_ms=60_000, span_ms=30_000), SHAPES[1]._replace(kept_ms=400_000, span_ms=100_000), SHAPES[2])  # fmt: skip  # noqa: E501
    tiers = Tiers(tmp_path, shapes)
    fed(tiers, range(3000))
    seconds = [n for n, _ in told(tiers.ask(START_MS, START_MS + 10**7, 1000, Wanted(names=(CPU,))), CPU)]
    assert seconds == sorted(set(seconds)) and seconds[-1] == 2999
    steps = [b - a for a, b in pairwise(seconds)]
    assert steps[0] == 60 and 10 in steps and steps[-1] == 1 and max(steps) <= 60, "no hole from a tier to the next"


def test_coarser_tiers_are_made_up_from_the_finer_ones_after_a_death(tmp_path: Path) -> None:
    """Nothing was flushed but by its number: what the coarser ones lack of it is made again."""
    fed(Tiers(tmp_path), range(205))
    tiers = Tiers(tmp_path)
    fed(tiers, range(230, 400))
    tens = [n for n, _ in told(tiers.ask(START_MS, START_MS + 10**6, 10_000, Wanted(names=(CPU,))), CPU)]
    assert tens == [*range(9, 200, 10), 204, *range(239, 400, 10)], "a hole where there was no agent, and nowhere else"
    minutes = [n for n, _ in told(tiers.ask(START_MS, START_MS + 10**6, 60_000, Wanted(names=(CPU,))), CPU)]
    assert minutes[0] == 39 and minutes[-1] == 399  # the epoch's minutes begin in between


def test_who_asks_for_too_much_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anypop.agent.samples.tiers.MOST_POINTS", 100)
    tiers = Tiers(tmp_path)
    fed(tiers, range(200))
    assert len(told(tiers.ask(START_MS, START_MS + 10**6, 10_000, Wanted()), CPU)) == 20
    with pytest.raises(TooMuch, match="100 points"):
        tiers.ask(START_MS, START_MS + 10**6, 1000, Wanted())


def test_an_answer_is_whole_in_frames_that_control_takes(tmp_path: Path) -> None:
    """Many series of one point, and one of many points."""
    tiers = Tiers(tmp_path)
    many = tuple(SeriesKey(CPU, (("incarnation", f"{n:032x}"), ("name", '"\\' * 40))) for n in range(400))
    for n in range(1300):
        layout = A + many if n == 1299 else A
        tiers.add(layout, Row(START_MS + 1000 * n, [2**60 + n] * len(layout)))
    found = tiers.ask(START_MS, START_MS + 10**7, 1000, Wanted())

    async def frames() -> list[bytes]:
        return [frame async for frame in answer.frames(found)]

    made = asyncio.run(frames())
    assert len(made) > 3 and all(len(frame) <= LARGEST_FRAME for frame in made)
    got: dict[tuple[str, tuple[tuple[str, str], ...]], list[tuple[float, float]]] = {}
    for frame in made:
        for series in from_json(Samples, frame).series:
            got.setdefault((series.name, series.labels), []).extend(series.points)
    assert {k: len(v) for k, v in got.items()} == {tuple(p.key): len(p.times_ms) for p in found}
    assert len(got[CPU, A[0].labels]) == 1300 and got[CPU, A[0].labels][5][0] == START_MS / 1000 + 5


ENDLESS = """
import sys
from pathlib import Path
from anypop.agent.samples.rows import Row
from anypop.agent.samples.tiers import Tiers
from anypop.model.metrics import CPU, SeriesKey
tiers, layout, n = Tiers(Path(sys.argv[1])), (SeriesKey(CPU, ()),), 0
while True:
    tiers.add(layout, Row(1_700_000_000_000 + 1000 * n, (n,)))
    print(n, flush=True)
    n += 1
"""


def test_kill_9_loses_the_last_seconds_at_most(tmp_path: Path) -> None:
    """Wherever it strikes: what was on disk is whole, in all tiers."""
    with subprocess.Popen([sys.executable, "-c", ENDLESS, str(tmp_path)], stdout=subprocess.PIPE) as writer:
        last = _wait_for(writer, 1500)
        writer.send_signal(signal.SIGKILL)
        assert writer.stdout is not None
        last = max([last, *(int(line) for line in writer.stdout if line.strip().isdigit())])
    tiers = Tiers(tmp_path)
    for step_ms in (1000, 10_000, 60_000):
        (points,) = tiers.ask(0, 10**15, step_ms, Wanted())
        seconds = [(ms - START_MS) // 1000 for ms in points.times_ms]
        assert list(points.values) == [n / MICROS for n in seconds]
        assert seconds == sorted(seconds) and last - seconds[-1] <= SHAPES[0].together


def _wait_for(writer: "subprocess.Popen[bytes]", number: int) -> int:
    assert writer.stdout is not None
    numbers: Iterator[int] = (int(line) for line in writer.stdout)
    return next(n for n in numbers if n >= number)


def test_the_tiers_take_a_few_bytes_a_sample(tmp_path: Path) -> None:
    """Of ten busy instances: counters and gauges that move each second by what nobody can guess."""
    rest, layout = random.Random(7), tuple(key(name, f"{n}") for n in range(10) for name in (CPU, MEMORY, PROBE))
    tiers, values = Tiers(tmp_path), [10**9] * len(layout)
    for n in range(1200):
        moved = zip(*[iter(values)] * 3, strict=True)
        steps = (
            (cpu + rest.randrange(100_000), rest.randrange(4000, 5000) * 4096, rest.randrange(500)) for cpu, *_ in moved
        )
        values = list(chain.from_iterable(steps))
        tiers.add(layout, Row(START_MS + 1000 * n, values))
    tiers.flush()
    assert tiers.bytes()["1s"] / (1200 * len(layout)) < 4
