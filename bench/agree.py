"""Agreement of the model with real routers: random topologies run by BIRD and by both engines, table by table.

In each topology four announcements with prepends and communities, in both families: all that every router holds and its
best route, and where a packet of every vantage arrives. The first disagreement is shrunk to the smallest topology that
shows it, and printed. Then each rule of the model is broken on purpose: it must show in the worlds that agreed.
"""

from collections.abc import Iterable

from bench.agreement.judge import Judged, all_judged, smallest
from bench.agreement.many import fitted
from bench.agreement.rules import ENOUGH, RULES, worlds_changed
from bench.agreement.worlds import World, world
from bench.harness import Row, row

TOPOLOGIES = 200
SEVERAL = range(3001, 3013)  # seeds of the worlds that FRR, GoBGP and OpenBGPD run too


def rows() -> Iterable[Row]:
    """Rows `topologies_agreeing` (a count), `rules_that_matter` (those that change at least five worlds when they are
    broken), `implementations_agreeing` (a dozen topologies that BIRD, FRR, GoBGP and OpenBGPD run together),
    `sessions_renewed` (in these, for the known fault that `agreement.gobgp` tells of), `tables_compared`,
    `several_ends` (announcements that end as they were begun; see `agreement.compare.Verdict.led`) and
    `seconds_per_topology`.
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
    several = list(all_judged((fitted(world(seed, ases=8)) for seed in SEVERAL), several=True))
    for result in several:
        if not result.verdict.agree:
            print(f"several implementations, seed {result.world.seed}: {result.verdict.differences[0]}")
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
        *rules(result.world for result in found),
        row(
            "implementations_agreeing",
            [sum(result.verdict.agree for result in several)],
            unit="topologies",
            against="all that BIRD, FRR, GoBGP and OpenBGPD ran together",
            floor=[len(several)],
            at_least=len(several),
        ),
        row("sessions_renewed", [sum(result.verdict.renewed for result in several)], unit="sessions"),
        row("tables_compared", [sum(r.verdict.compared for r in found)], unit="tables"),
        row("several_ends", [sum(r.verdict.led for r in found)], unit="announcements"),
        row("seconds_per_topology", [r.seconds for r in found], unit="s"),
    ]


def rules(worlds: Iterable[World] = ()) -> Iterable[Row]:
    """The row `rules_that_matter` alone, of these worlds or of all. No router runs for it: some minutes."""
    asked = tuple(worlds) or tuple(world(seed) for seed in range(1, TOPOLOGIES + 1))
    changed = worlds_changed(sorted(asked, key=lambda w: len(w.topology.ases)))  # the quick ones first
    for rule in [rule for rule, count in changed.items() if count < ENOUGH]:
        print(f"matters too seldom: {rule} ({changed[rule]} of {len(asked)} worlds)")
    yield row(
        "rules_that_matter",
        [sum(count >= ENOUGH for count in changed.values())],
        unit="rules",
        against="all rules of the model",
        floor=[len(RULES)],
        at_least=len(RULES),
    )


PARTS = {"rules": rules}
