"""A dozen random topologies, run by real BIRDs and by the model: the same tables in every router, the same PoP at every
vantage.

All two hundred are in `script/bench agree`.
"""

import os
from contextlib import nullcontext, suppress
from dataclasses import replace

import pytest
from bench.agreement import compare
from bench.agreement.judge import all_judged, judged, smallest
from bench.agreement.many import fitted, implementations
from bench.agreement.running import Running, running
from bench.agreement.worlds import World, world

from anypop.host import birdc, netns
from anypop.lab import address, daemons, routers
from anypop.model.announce import Prefix
from anypop.model.errors import WorldError

pytestmark = pytest.mark.lab
SEVERAL = 3002
SIZES = (5, 6, 8, 9, 11, 12, 14, 16, 18, 20, 24, 30)


def test_a_dozen_topologies_agree_with_the_model() -> None:
    """Everything that each router holds, its best route, the landing of every vantage; a disagreement shows its
    smallest topology.
    """
    found = list(all_judged(world(1000 + size, ases=size) for size in SIZES))
    assert all(result.verdict.compared >= 8 * size for result, size in zip(found, SIZES, strict=True))
    wrong = [result for result in found if not result.verdict.agree]
    assert not wrong, smallest(wrong[0], patience_s=120)
    assert netns.names(f"g{os.getpid() % 46656:x}") == []


def test_bird_frr_gobgp_and_openbgpd_agree_with_each_other_and_with_the_model() -> None:
    """One small topology of which each runs a part."""
    asked = fitted(world(SEVERAL, ases=8))
    programs = {found.name for found in implementations(address.plan(asked.topology, "any")).values()}
    assert programs == {"FRR", "GoBGP", "OpenBGPD"}
    prefix = f"i{os.getpid() % 46656:x}"
    verdict = judged(asked, prefix=prefix, several=True).verdict
    assert verdict.agree, verdict.differences
    assert netns.names(prefix) == []


def test_routers_that_hear_something_else_than_the_model_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Our PoPs prepend and add communities, the model is told that they do not; and where a session was lost meanwhile,
    nothing is said of either.
    """
    monkeypatch.setattr(compare, "QUIET_S", 2.0)
    asked = world(1016, ases=10)

    def plain(some: World) -> World:
        return replace(some, scopes=({},) * len(some.scopes))

    with running(asked, prefix=f"h{os.getpid() % 46656:x}") as lab:
        for last in (False, False, True):  # a busy machine may lose a session by itself
            with nullcontext() if last else suppress(WorldError):
                verdict = compare.compare(replace(lab, world=plain(asked)))
                break
        assert not verdict.agree
        assert any("only BIRD holds" in line for line in verdict.differences)
        watch = compare._watch

        def unsteady(some: Running, told: compare.Told) -> dict[str, dict[Prefix, compare.Table]]:
            found = watch(some, told)
            router = next(r for r in some.plan.routers if any(not s.pop for s in routers.sessions(some.plan, r)))
            session = next(s for s in routers.sessions(some.plan, router) if not s.pop)
            name = f"{session.name}_v{session.families[0]}"
            birdc.ask(daemons.control_socket(some.folder, router.name), f"restart {name}")
            return found

        monkeypatch.setattr(compare, "_watch", unsteady)
        with pytest.raises(WorldError, match="lost a session by themselves"):
            compare.compare(replace(lab, world=plain(asked)))
