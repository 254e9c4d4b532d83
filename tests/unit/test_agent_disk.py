"""A disk that is nearly full: who wrote more than it may goes, and nobody else."""

from dataclasses import replace

from anypop.agent.decide.converge import converge
from anypop.agent.decide.disk import is_short, overfull
from anypop.agent.decide.facts import Facts
from anypop.agent.decide.steps import RemoveContainer
from anypop.model.reasons import Reason
from tests.agent_world import FakeHost, instance, order, settle


def test_nobody_is_asked_while_there_is_room() -> None:
    """A tenth of the disk is room enough; an empty figure is no shortage."""
    assert not is_short(10, 100)
    assert is_short(9, 100)
    assert not is_short(0, 0)


def test_only_who_wrote_more_than_it_may_goes() -> None:
    """Exactly the limit is within it."""
    assert overfull({"a": 10, "b": 11, "c": 0}, 10) == {"b"}
    assert overfull({"a": 10}, 10) == frozenset()


def test_a_container_that_filled_the_disk_is_made_anew_and_the_others_stay() -> None:
    """Its disk is ephemeral: with it goes what it wrote."""
    host = FakeHost()
    host.obey(order(1, instance(0), instance(1)))
    settle(host)
    fat = host.containers[instance(0).uid, "web"]
    facts = host.facts()
    pressed = Facts(facts.order, replace(facts.observed, overfull=frozenset({fat.id})))
    assert [s.uid for s in converge(pressed, host.now) if isinstance(s, RemoveContainer)] == [instance(0).uid]
    assert not [s for s in converge(facts, host.now) if isinstance(s, RemoveContainer)]
    assert Reason.OUT_OF_DISK.says
