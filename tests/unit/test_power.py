"""Virtual machines that their owner powers off and on, or starts with another image: what their host does, and what
control makes of it.
"""

from dataclasses import replace
from typing import Any

import pytest

from anypop.agent.decide.elements import ContainerSeen, ContainerState
from anypop.agent.decide.report import report_of
from anypop.agent.decide.restarts import waits_for
from anypop.agent.decide.steps import CreateContainer, PowerOff, PullImage, RemoveContainer, StartContainer
from anypop.control import rows
from anypop.control.audit import changes_between
from anypop.control.declare import power, restart
from anypop.control.refusals import Precondition
from anypop.model import codec
from anypop.model.machine import Power
from anypop.model.order import InstanceOrder, Order
from anypop.model.order_read import OrderReader
from anypop.model.order_text import OrderWriter
from anypop.model.reasons import Reason
from anypop.model.report import InstanceReport, Phase
from tests.agent_world import HOST, POP, FakeHost, instance, order, settle
from tests.drained_worlds import HOSTS, WEB, Platform
from tests.unit.test_machine import a_machine, an_image

AMS_HOST, LHR_1, LHR_2 = HOSTS
OTHER = replace(an_image("my-stack/mend:1"), id="f" * 64)


def guest(n: int = 0, **what: object) -> InstanceOrder:
    return replace(instance(n, containers=(a_machine(an_image()),)), **what)  # type: ignore[arg-type]


def told(host: FakeHost) -> InstanceReport:
    facts = host.facts()
    report = report_of(facts, pop=POP, host=HOST, generation=1, at=host.now, refused=None, drift=(), errors=())
    return report.instances[0]


def seen(host: FakeHost, n: int = 0) -> ContainerSeen:
    return host.containers[guest(n).uid, "vm"]


@pytest.fixture
def host() -> FakeHost:
    """Two machines of one workload serve."""
    made = FakeHost()
    made.obey(order(1, guest(0), guest(1)))
    settle(made)
    return made


def members(host: FakeHost) -> set[str]:
    return {m.short for group in host.groups.values() for m in group}


def test_one_that_is_powered_off_stays_off_with_its_disks_and_is_told_as_such(host: FakeHost) -> None:
    """No traffic goes there, nobody starts it anew however long it takes, an agent's death changes nothing; powered on
    it is the same machine, and that it was off is no failure of it.
    """
    before, both = seen(host), members(host)
    host.obey(order(2, guest(0, power=Power.OFF), guest(1)))
    settle(host)
    host.kill()
    host.now += 3600
    settle(host)
    assert (seen(host).state, seen(host).id) == (ContainerState.CREATED, before.id)
    assert len(members(host)) == len(both) - 1
    report = told(host)
    assert (report.phase, report.reason, report.healthy) == (Phase.STOPPED, Reason.POWERED_OFF, False)
    assert [(c.phase, c.reason, c.restarts) for c in report.containers] == [(Phase.STOPPED, Reason.POWERED_OFF, 0)]
    host.applied.clear()
    host.obey(order(3, guest(0), guest(1)))
    settle(host)
    assert not [s for s in host.applied if isinstance(s, CreateContainer | RemoveContainer)]
    assert (seen(host).state, seen(host).id, members(host)) == (ContainerState.RUNNING, before.id, both)
    assert (told(host).healthy, told(host).containers[0].restarts) == (True, 0)


def test_one_that_was_off_when_it_was_made_begins_when_it_is_powered_on() -> None:
    """An update of one that is off leaves it off."""
    host = FakeHost()
    host.obey(order(1, guest(0, power=Power.OFF)))
    settle(host)
    assert not host.containers and told(host).phase is Phase.STOPPED
    host.obey(order(2, guest(0)))
    settle(host)
    assert told(host).healthy


def _is_dead_for_a_while(host: FakeHost) -> None:
    """Its machine: what was in memory is gone, what was on disks is not."""
    for lost in (host.namespaces, host.links, host.device_groups, host.external, host.covers, host.groups, host.routed):
        lost.clear()
    host.firewall = host.speaker = None
    for key, one in host.containers.items():
        if one.state is ContainerState.RUNNING:
            host.containers[key] = replace(one, state=ContainerState.EXITED, pid=0, exit_code=None)
    host.kill()


def test_one_that_is_off_or_mended_has_its_disk_still_when_its_host_was_dead(host: FakeHost) -> None:
    """Its namespace is made anew, and what is on its disk is not. One that ran begins anew, as ever."""
    before = [seen(host, n).id for n in range(2)]
    changes: list[dict[str, Any]] = [{"power": Power.OFF}, {"rescue": OTHER}]
    for n, what in enumerate(changes, 1):
        host.obey(order(2 * n, guest(0, **what), guest(1)))
        settle(host)
        _is_dead_for_a_while(host)
        settle(host)
        assert seen(host).id == before[0]
        assert (seen(host).state, seen(host).rescue) == (
            (ContainerState.CREATED, "") if n == 1 else (ContainerState.RUNNING, OTHER.id)
        )
        host.obey(order(2 * n + 1, guest(0), guest(1)))
        settle(host)
        assert (seen(host).id, seen(host).state) == (before[0], ContainerState.RUNNING)
    assert seen(host, 1).id != before[1]


def test_nobody_waits_for_one_that_is_off(host: FakeHost) -> None:
    """A restart of the other one goes on, although the first was restarted once."""
    host.obey(order(2, guest(0, restarts=1), guest(1)))
    settle(host)
    host.obey(order(3, guest(0, restarts=1, power=Power.OFF), guest(1)))
    settle(host)
    asked = guest(1, restarts=1)
    host.obey(order(4, guest(0, restarts=1, power=Power.OFF), asked))
    assert waits_for(asked, host.facts(), host.now) is None
    settle(host)
    assert seen(host, 1).asked == 1


def test_one_that_is_mended_runs_the_other_image_without_traffic_and_then_its_own(host: FakeHost) -> None:
    """Its own root disk is the same all the while, also where the mending guest ends by itself; that one has its image
    here before the machine is taken down.
    """
    before = seen(host).id
    host.applied.clear()
    host.obey(order(2, guest(0, rescue=OTHER), guest(1)))
    settle(host)
    kinds = [type(s) for s in host.applied if isinstance(s, PullImage | PowerOff | StartContainer)]
    assert kinds == [PullImage, PowerOff, StartContainer]
    assert (seen(host).rescue, seen(host).id, len(members(host))) == (OTHER.id, before, 1)
    report = told(host)
    assert (report.phase, report.reason, report.healthy) == (Phase.RUNNING, Reason.RESCUED, False)
    host.sick.add(guest().uid)
    host.die(guest().uid)
    settle(host)
    assert (seen(host).state, seen(host).rescue, seen(host).id) == (ContainerState.RUNNING, OTHER.id, before)
    host.sick.clear()
    host.obey(order(3, guest(0), guest(1)))
    settle(host)
    assert (seen(host).rescue, seen(host).id, told(host).healthy) == ("", before, True)
    assert not [s for s in host.applied if isinstance(s, CreateContainer | RemoveContainer)]


def on(platform: Platform, name: str) -> str:
    return next(u for u, p in platform.state.incarnations.items() if p.incarnation.host == name)


@pytest.fixture
def platform() -> Platform:
    made = Platform()
    made.deploy()
    made.settle()
    return made


def announcing(platform: Platform) -> set[str]:
    """The hosts that are to announce the covering prefix."""
    return {name for name in HOSTS if any(a.gates for a in platform.state.orders[name].order.announcements)}


def test_where_all_are_off_nothing_is_announced_and_they_keep_their_places(platform: Platform) -> None:
    """Each has its host, its uid and its addresses; the audit log says who did it, and the store gives it back."""
    first = platform.state
    london = next(n for n in (LHR_1, LHR_2) if any(p.incarnation.host == n for p in first.incarnations.values()))
    assert announcing(platform) == {AMS_HOST, london}
    platform.change(power(on(platform, AMS_HOST), Power.OFF))
    assert announcing(platform) == {london}
    (noted,) = [n for n in changes_between(first, platform.state) if n.subject.startswith("web-all-ams")]
    assert (noted.was, noted.became) == ({"power": "on"}, {"power": "off"})
    platform.change(power(on(platform, london), Power.OFF))
    assert announcing(platform) == set()
    assert platform.state.incarnations.keys() == first.incarnations.keys()
    assert platform.state.plan is not None
    placed = platform.state.incarnations[on(platform, london)]
    assert rows.to_placed(rows.of_placed(placed)) == placed  # type: ignore[arg-type]
    mended = replace(placed, incarnation=replace(placed.incarnation, rescue=OTHER))
    assert rows.to_placed(rows.of_placed(mended)) == mended  # type: ignore[arg-type]
    with pytest.raises(Precondition, match="power it on"):
        platform.change(restart(on(platform, london)))
    platform.change(power(on(platform, london), Power.ON))
    assert announcing(platform) == {london}


def test_an_update_goes_through_and_leaves_what_is_off_off(platform: Platform) -> None:
    """Its successor is as ready as it will be; one that was off and is powered on in the midst of it is waited for."""
    platform.change(power(on(platform, AMS_HOST), Power.OFF))
    platform.settle()
    platform.deploy(image=2)
    platform.until_settled(lambda: all(r.phase.ended for r in platform.state.rollouts.values()))
    lives = [p.incarnation for p in platform.state.incarnations.values()]
    newest = platform.state.workloads[WEB].workload.template
    assert {(i.pop, i.power) for i in lives} == {("AMS", Power.OFF), ("LHR", Power.ON)}
    assert {i.template for i in lives} == {newest}


def test_a_mended_machine_that_is_changed_starts_with_its_own_new_disk(platform: Platform) -> None:
    """What it was mended for is gone with the old one."""
    platform.change(power(on(platform, AMS_HOST), Power.ON, OTHER))
    platform.deploy(image=2)
    platform.until_settled(lambda: all(r.phase.ended for r in platform.state.rollouts.values()))
    assert {p.incarnation.rescue for p in platform.state.incarnations.values()} == {None}


def test_the_image_that_mends_is_told_whole() -> None:
    """By the order's own quick writing and reading, as by the codec."""
    one = order(1, guest(0, power=Power.OFF), guest(1, rescue=OTHER))
    text = OrderWriter().order(one)
    assert OrderReader().order(text) == one == codec.from_json(Order, text)
