"""A story as text for people: a line for each fault, how it ended, the worst faults, and which bounds were broken."""

from collections import defaultdict
from collections.abc import Iterable

from tests.lab.chaos.story import Row, Told

WORST = 10


def line(row: Row) -> str:
    where = ", ".join(
        f"{name} {seen.failed}" + (f" ({seen.unexpected} too many)" if seen.unexpected else "")
        for name, seen in row.seen.items()
    )
    back = "" if row.back_s is None else f"back {row.back_s:5.2f} s"
    head = f"{row.number:>4} {row.at_s:7.1f} s  {row.kind:<20} {row.what[:44]:<44} {back:<12}"
    return f"{head} {row.failed:>4}/{row.asked:<5} gap {row.gap_s:4.1f} s  late {row.late_ms:>4} ms  {where or '-'}"


def summary(told: Told) -> str:
    lost = told.failed / max(told.asked, 1)
    over = told.unexpected / max(told.asked, 1)
    head = (
        f"seed {told.seed}: {len(told.rows)} faults, {told.failed} of {told.asked} requests failed ({lost:.2%}), "
        f"{told.unexpected} of them beyond every bound ({over:.2%})"
    )
    if told.lacks:
        ended = "\n".join([f"NOT as declared after {told.limit_s:.0f} s:", *(f"  {text}" for text in told.lacks)])
    else:
        ended = f"as declared {told.converged_s:.1f} s after the last one (limit {told.limit_s:.0f} s)"
    return "\n".join([*_kinds(told.rows), *_worst(told.rows), *_grown(told), head, ended])


def _kinds(rows: Iterable[Row]) -> list[str]:
    """By kind: how often, what it may cost, what it cost."""
    found: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[row.kind].append(row)
    head = f"{'kind':<22} {'times':>5} {'bound ms':>9} {'failed':>7} {'too many':>9} {'worst gap ms':>13} {'back s':>7}"
    text = [head]
    for kind, all_ in sorted(found.items(), key=lambda item: -sum(row.failed for row in item[1])):
        backs = [row.back_s for row in all_ if row.back_s is not None]
        text.append(
            f"{kind:<22} {len(all_):>5} {all_[0].bound_ms:>9} {sum(r.failed for r in all_):>7} "
            f"{sum(r.unexpected for r in all_):>9} {max(r.gap_s for r in all_) * 1000:>13.0f} "
            f"{max(backs) if backs else 0:>7.2f}"
        )
    return text


def _worst(rows: Iterable[Row]) -> list[str]:
    bad = sorted((row for row in rows if row.failed), key=lambda row: (-row.unexpected, -row.failed))[:WORST]
    return ["the worst faults:", *map(line, bad)] if bad else []


def _grown(told: Told) -> list[str]:
    return [f"{name}: {before:g} at the start, {after:g} at the end" for name, (before, after) in told.grown.items()]
