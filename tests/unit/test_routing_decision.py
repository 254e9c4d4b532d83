"""The decision process, as sentences that hold for any set of routes."""

from dataclasses import replace
from ipaddress import ip_network

from hypothesis import given
from hypothesis import strategies as st

from anypop.model.route import Candidate, Origin, Step
from anypop.routing.decision import BIRD, VENDOR, Rules, decide, decide_as_marked

PREFIX = ip_network("203.0.113.0/24")
BASE = Candidate(prefix=PREFIX, as_path=(1, 9), local_pref=100, ebgp=True, router_id="10.0.0.1", neighbor="10.1.0.1")

candidates = st.builds(
    Candidate,
    prefix=st.just(PREFIX),
    as_path=st.lists(st.integers(1, 3), min_size=1, max_size=3).map(tuple),
    local_pref=st.sampled_from([100, 200, 300]),
    origin=st.sampled_from(list(Origin)),
    med=st.integers(0, 2),
    ebgp=st.booleans(),
    igp_metric=st.integers(0, 2),
    age_s=st.sampled_from([None, 1.0, 60.0]),
    router_id=st.sampled_from(["10.0.0.2", "10.0.0.10", "9.0.0.1"]),
    neighbor=st.sampled_from(["10.1.0.1", "10.1.0.2", "fd00::1"]),
)
rules = st.builds(
    Rules, compare_path_length=st.booleans(), always_compare_med=st.booleans(), prefer_oldest=st.booleans()
)
routes = st.lists(candidates, max_size=6, unique=True)


@given(routes, rules)
def test_exactly_one_wins_and_every_other_has_its_step(some: list[Candidate], by: Rules) -> None:
    """Nothing is lost on the way: best and eliminated together are the candidates."""
    decision = decide(some, rules=by)
    told = [lost.candidate for lost in decision.eliminated] + ([decision.best] if decision.best else [])
    assert sorted(map(repr, told)) == sorted(map(repr, some))


@given(routes, rules, st.randoms())
def test_the_order_of_arrival_decides_nothing(some: list[Candidate], by: Rules, random: object) -> None:
    """Shuffled, the same route wins, as long as addresses tell all apart."""
    named = [replace(c, router_id=f"10.0.{i}.1", neighbor=f"10.1.{i}.1") for i, c in enumerate(some)]
    shuffled = list(named)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert decide(shuffled, rules=by).best == decide(named, rules=by).best


@given(routes, rules)
def test_a_loser_may_leave_without_consequence_unless_it_had_a_med(some: list[Candidate], by: Rules) -> None:
    """Without MED the choice does not depend on routes that lost (RFC 3345 is about the case with MED)."""
    level = [replace(c, med=0, router_id=f"10.0.{i}.1") for i, c in enumerate(some)]
    decision = decide(level, rules=replace(by, prefer_oldest=False))
    for lost in decision.eliminated:
        left = [c for c in level if c != lost.candidate]
        assert decide(left, rules=replace(by, prefer_oldest=False)).best == decision.best


@given(routes, rules)
def test_nothing_that_won_has_a_lower_preference(some: list[Candidate], by: Rules) -> None:
    """Local preference is above all else."""
    best = decide(some, rules=by).best
    assert best is None or best.local_pref == max(c.local_pref for c in some)


@given(st.lists(candidates, min_size=1, max_size=5, unique=True), rules, st.integers(0, 4))
def test_the_routers_own_choice_always_wins_and_disagreement_is_noted(
    some: list[Candidate], by: Rules, index: int
) -> None:
    """An explanation is of the router as it is."""
    chosen = some[index % len(some)]
    decision = decide(some, rules=by, chosen=chosen)
    assert decision.best == chosen
    if decide(some, rules=by).best == chosen:
        assert decision.against == ()


def test_each_step_decides_in_its_place() -> None:
    """From local preference down to the neighbour's address, one difference at a time."""
    cases = [
        (replace(BASE, local_pref=300, as_path=(1, 1, 1)), BASE, BIRD, Step.LOCAL_PREFERENCE),
        (BASE, replace(BASE, as_path=(1, 2, 9)), BIRD, Step.AS_PATH_LENGTH),
        (replace(BASE, med=5), replace(BASE, origin=Origin.INCOMPLETE), BIRD, Step.ORIGIN),
        (BASE, replace(BASE, med=5), BIRD, Step.MED),
        (replace(BASE, as_path=(2, 9), med=9), replace(BASE, ebgp=False), BIRD, Step.EBGP_OVER_IBGP),
        (replace(BASE, ebgp=False), replace(BASE, ebgp=False, igp_metric=7), BIRD, Step.NEAREST_EXIT),
        (replace(BASE, age_s=60.0, router_id="10.9.9.9"), replace(BASE, age_s=1.0), VENDOR, Step.OLDEST),
        (replace(BASE, router_id="9.255.255.255"), BASE, BIRD, Step.ROUTER_ID),
        (BASE, replace(BASE, neighbor="10.1.0.20"), BIRD, Step.NEIGHBOR_ADDRESS),
    ]
    for winner, loser, by, step in cases:
        decision = decide([loser, winner], rules=by)
        assert (decision.best, decision.step, decision.runner_up) == (winner, step, loser)


def test_med_of_different_neighbours_counts_only_when_told() -> None:
    """RFC 4271 compares MED among routes of one neighbour AS."""
    low, high = replace(BASE, as_path=(7, 9), med=1, router_id="10.0.0.9"), replace(BASE, as_path=(8, 9), med=2)
    assert decide([low, high], rules=BIRD).step is Step.ROUTER_ID
    assert decide([low, high], rules=Rules(always_compare_med=True)).best == low


def test_no_routes_and_one_route_are_answers() -> None:
    """An empty table and a single route need no step."""
    assert decide([]).best is None
    assert decide([BASE]).step is Step.ONLY_ROUTE
    marked = replace(BASE, local_pref=1, best=True)
    assert decide_as_marked([BASE, marked]).best == marked
