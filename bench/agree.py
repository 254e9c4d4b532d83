"""Agreement of the model with real routers: random topologies run by BIRD and by both engines, table by table.

In each topology four announcements with prepends and communities, in both families: all that every router holds and its
best route, and where a packet of every vantage arrives. The first disagreement is shrunk to the smallest topology that
shows it, and printed.
"""

from collections.abc import Iterable

from bench.agreement.judge import Judged, all_judged, smallest
from bench.agreement.worlds import world
from bench.harness import Row, row

TOPOLOGIES = 200


def rows() -> Iterable[Row]:
    """Rows `topologies_agreeing` (a count), `tables_compared`, `several_ends` (announcements that end as they were
    begun; see `agreement.compare.Verdict.led`) and `seconds_per_topology`.
    """
    found: list[Judged] = []
    for result in all_judged(world(seed) for seed in range(1, TOPOLOGIES + 1)):
        found.append(result)
        if not result.verdict.agree:
            print(
                f"seed {result.world.seed}: {len(result.verdict.differences)} differences, the first: "
                f"{result.verdict.differences[0]}"
            )
        if len(found) % 20 == 0:
            print(f"{len(found)} of {TOPOLOGIES} topologies, {sum(r.verdict.agree for r in found)} agree", flush=True)
    wrong = [result for result in found if not result.verdict.agree]
    if wrong:
        print(smallest(min(wrong, key=lambda result: len(result.world.topology.ases))))
    return [
        row(
            "topologies_agreeing",
            [len(found) - len(wrong)],
            unit="topologies",
            against="all that were run",
            floor=[TOPOLOGIES],
            at_least=200,
        ),
        row("tables_compared", [sum(r.verdict.compared for r in found)], unit="tables"),
        row("several_ends", [sum(r.verdict.led for r in found)], unit="announcements"),
        row("seconds_per_topology", [r.seconds for r in found], unit="s"),
    ]
