"""Which losses of a story of faults were allowed, and which are its failure."""

from pathlib import Path

import pytest

from tests.lab.chaos.bounds import BOUNDS, Loss, Moments, given, longest_gap

T = 1000.0


def fault(number: int, kind: str, at: float, *, host: str = "LHR", undone: float | None = None) -> Moments:
    taken_back = None if undone is None else (undone, undone)
    return Moments(number=number, kind=kind, begun=at, made=at, host=host, undone=taken_back)


def loss(begun: float, ended: float | None = None) -> Loss:
    return Loss(vantage="london", address="198.18.0.1", begun=begun, ended=begun if ended is None else ended)


def test_what_is_lost_within_the_bound_is_expected_and_a_moment_later_it_is_not() -> None:
    hang = fault(1, "stop instance", T, undone=T + 3)
    found = given([hang], [loss(T + 1.9), loss(T + 2.1), loss(T + 3.1)])
    assert [(g.number, g.expected) for g in found] == [(1, True), (1, False), (1, False)]


def test_who_was_under_way_when_it_happened_is_expected() -> None:
    killed = fault(1, "kill instance", T)
    (under_way, before) = given([killed], [loss(T - 0.05, T + 0.02), loss(T - 1.5, T + 0.001)])
    assert under_way.expected
    assert before.expected
    assert not given([killed], [loss(T + 0.5)])[0].expected


def test_what_nobody_may_notice_has_no_time_at_all() -> None:
    (found,) = given([fault(1, "kill control", T)], [loss(T, T + 0.1)])
    assert not found.expected


def test_taking_a_cut_back_may_hurt_once_more_for_a_moment() -> None:
    cut = fault(1, "cut both ways", T, undone=T + 3)
    found = given([cut], [loss(T + 2), *(loss(T + 5 + 0.2 * n) for n in range(5)), loss(T + 8), loss(T + 30)])
    assert [g.expected for g in found] == [False, True, True, True, True, False, True, False]


def test_a_loss_belongs_to_the_last_fault_that_was_allowed_to_hurt_it() -> None:
    hang, away = fault(1, "stop instance", T), fault(2, "kill control", T + 0.5)
    assert [(g.number, g.expected) for g in given([hang, away], [loss(T + 1), loss(T + 9)])] == [(1, True), (2, False)]


@pytest.mark.parametrize(("host", "expected"), [("LHR", True), ("JFK", False), ("", True)])
def test_without_the_agent_of_the_same_host_nothing_is_mended(host: str, *, expected: bool) -> None:
    gone = fault(1, "delete route", T)
    (found,) = given([fault(2, "kill agent", T - 0.5, host=host), gone], [loss(T + 1.5)])
    assert found.expected is expected


def test_what_the_machine_did_not_run_does_not_count() -> None:
    killed = fault(1, "kill instance", T)
    assert given([killed], [loss(T + 0.3)], lambda _since, _until: 0.5)[0].expected


def test_a_loss_before_every_fault_is_nobodys() -> None:
    assert given([fault(1, "kill instance", T)], [loss(T - 5)]) == []


def test_the_longest_gap_is_from_the_last_answer_before_to_the_first_after() -> None:
    rows = [(0.0, True), (0.1, False), (0.2, False), (0.3, True), (0.4, False), (0.5, True)]
    assert longest_gap(rows) == pytest.approx(0.3)
    assert longest_gap([(0.0, True), (5.0, True)]) == 0
    assert longest_gap([(0.0, True), (1.0, False), (3.0, False)]) == pytest.approx(3.0)


def test_each_kind_of_fault_stands_in_the_documentation_with_its_bound() -> None:
    text = (Path(__file__).parents[2] / "docs" / "chaos.md").read_text()
    for kind, bound in BOUNDS.items():
        cost = f"{bound.ms:,} ms" if bound.ms else "nothing"
        assert f"| {kind} | {cost} |" in text, kind
