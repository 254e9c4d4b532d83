"""A story as text for people: a line for each fault, and how it ended."""

from tests.lab.chaos.story import Row, Told


def line(row: Row) -> str:
    where = ", ".join(f"{name} {count}" for name, count in sorted(row.failed.items())) or "-"
    back = "" if row.back_s is None else f"back {row.back_s:5.2f} s"
    head = f"{row.number:>4} {row.at_s:7.1f} s  {row.kind:<20} {row.what[:44]:<44} {back:<12}"
    return f"{head} {row.total:>4}/{row.asked:<5} dark {row.dark_s:5.1f} s  {where}"


def summary(told: Told) -> str:
    percent = 100 * told.failed / max(told.asked, 1)
    head = f"seed {told.seed}: {len(told.rows)} faults, {told.failed} of {told.asked} requests failed ({percent:.2f} %)"
    if bad := {name: count for name, count in told.after.items() if count}:
        head += f"\nafter the last fault: {bad}, {dict(told.after_why)}"
    if told.lacks:
        return "\n".join(
            [f"{head}; NOT as declared after {told.limit_s:.0f} s:", *(f"  {text}" for text in told.lacks)]
        )
    return f"{head}; as declared {told.converged_s:.1f} s after the last one (limit {told.limit_s:.0f} s)"
