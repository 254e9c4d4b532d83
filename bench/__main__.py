"""`python -m bench NAME [--json FILE]`; `all` runs every benchmark and ends with the rows that miss their aim."""

import argparse
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path

from anypop.cli.failure import Failure
from bench.harness import Row, publish

NAMES = (
    "deploy", "rollout", "lab", "catchment", "agree", "explain", "isolation", "failover", "scale", "flows", "pmtu",
    "forward", "api", "portal", "logs", "metrics", "history", "truth", "doctor", "vm",
)  # fmt: skip


def _rows(name: str, part: str | None) -> Iterable[Row]:
    bench = import_module(f"bench.{name}")
    if part is None:
        return bench.rows()  # type: ignore[no-any-return]
    parts = getattr(bench, "PARTS", {})
    if part not in parts:
        raise SystemExit(f"{name} has no part {part}; its parts: {', '.join(parts) or 'none'}")
    return parts[part]()  # type: ignore[no-any-return]


def main() -> int:
    """Run one benchmark or all. A missed aim is told, and is not a failure of the program."""
    parser = argparse.ArgumentParser(
        prog="script/bench", description="Measure one thing against a floor or a peer in the same run."
    )
    parser.add_argument("name", choices=(*NAMES, "all"))
    parser.add_argument(
        "--only", metavar="PART", help="of a benchmark that has parts, this one alone (vm: boots, migration)"
    )
    parser.add_argument(
        "--json",
        type=Path,
        metavar="FILE",
        help="write the rows there (with 'all': one file for each, NAME before its name)",
    )
    options = parser.parse_args()
    missed = []
    for name in NAMES if options.name == "all" else (options.name,):
        target = options.json
        if target is not None and options.name == "all":
            target = target.with_name(f"{name}-{target.name}")
        try:
            rows = list(_rows(name, options.only))
        except Failure as failure:
            print("\n".join(failure.lines()))
            return 1
        missed += [(name, row) for row in publish(name, rows, target)]
    for name, row in missed:
        print(f"missed: {name} {row.name}: {row.median:g} {row.unit}, aim {row.aim}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
