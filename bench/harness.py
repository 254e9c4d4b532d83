"""What every benchmark shares: a row, its table and its JSON.

A row compares a median with a floor or a peer that was measured in the same run. An aim is where we want to be; a
missed one is reported as missed, never tuned until it passes.
"""

import json
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """`median` and `worst` in `unit` over `runs`: the least, where the aim is to be above something. `ratio` = median /
    against_median. `met` is None where there is no aim.
    """

    name: str
    unit: str
    median: float
    worst: float
    runs: int
    against: str = ""
    against_median: float | None = None
    ratio: float | None = None
    aim: str = ""
    met: bool | None = None


def row(
    name: str,
    samples: Sequence[float],
    *,
    unit: str,
    against: str = "",
    floor: Sequence[float] = (),
    below: float | None = None,
    ratio_below: float | None = None,
    ratio_above: float | None = None,
    at_least: float | None = None,
) -> Row:
    """A row from samples. Aims: `below` (of the median), `ratio_below`, `ratio_above`, `at_least` (of the median)."""
    middle = median(samples)
    floor_middle = median(floor) if floor else None
    ratio = middle / floor_middle if floor_middle else None
    aims: list[tuple[str, bool]] = []
    if below is not None:
        aims.append((f"median < {below:g} {unit}", middle < below))
    if at_least is not None:
        aims.append((f"median >= {at_least:g} {unit}", middle >= at_least))
    if ratio_below is not None:
        aims.append((f"ratio < {ratio_below:g}", ratio is not None and ratio < ratio_below))
    if ratio_above is not None:
        aims.append((f"ratio > {ratio_above:g}", ratio is not None and ratio > ratio_above))
    return Row(
        name=name,
        unit=unit,
        median=round(middle, 6),
        worst=round(min(samples) if ratio_above is not None or at_least is not None else max(samples), 6),
        runs=len(samples),
        against=against,
        against_median=None if floor_middle is None else round(floor_middle, 6),
        ratio=None if ratio is None else round(ratio, 3),
        aim=" and ".join(text for text, _ in aims),
        met=all(met for _, met in aims) if aims else None,
    )


def publish(bench: str, rows: Iterable[Row], json_file: Path | None) -> list[Row]:
    """Print the table, write the JSON where asked, and give back the rows that miss their aim."""
    rows = list(rows)
    table = Table(title=bench, title_justify="left")
    for heading in ("row", "median", "worst", "runs", "against", "its median", "ratio", "aim", "met"):
        table.add_column(heading, justify="left" if heading in {"row", "against", "aim"} else "right")
    for r in rows:
        against = "" if r.against_median is None else f"{r.against_median:g} {r.unit}"
        met = {True: "yes", False: "NO", None: ""}[r.met]
        ratio = "" if r.ratio is None else f"{r.ratio:.2f}"
        table.add_row(
            r.name,
            f"{r.median:g} {r.unit}",
            f"{r.worst:g} {r.unit}",
            str(r.runs),
            r.against,
            against,
            ratio,
            r.aim,
            met,
        )
    Console(width=170).print(table)
    if json_file is not None:
        document = {"bench": bench, "machine": _machine(), "rows": [asdict(r) for r in rows]}
        json_file.write_text(json.dumps(document, indent=1) + "\n")
    return [r for r in rows if r.met is False]


def _machine() -> str:
    cpus = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in cpus if line.startswith("model name")), platform.machine())
    count = sum(line.startswith("processor") for line in cpus)
    return f"{count} x {model}, Linux {platform.release()}, Python {platform.python_version()}"
