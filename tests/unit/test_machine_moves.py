"""Virtual machines that change hosts while they run: who is told to, and what either host makes of it."""

from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any

from anypop.agent.act.network.adopted import Identity, rules
from anypop.agent.decide import moves
from anypop.agent.decide.converge import converge
from anypop.agent.decide.elements import ContainerState
from anypop.agent.decide.report import report_of
from anypop.agent.decide.steps import CreateContainer, RemoveContainer, SendMachine, StartContainer
from anypop.agent.naming import inside_mac, router_mac
from anypop.model.backbone import Backbone, BackbonePeer, BackboneRules
from anypop.model.drain import Drain, DrainKind, DrainStage
from anypop.model.machine import MachineImage, Power
from anypop.model.names import HostName
from anypop.model.network import Capacity
from anypop.model.order import InstanceOrder, Move, Order
from anypop.model.plan import Plan, World
from anypop.model.reasons import Reason
from anypop.model.report import InstanceReport, Phase
from anypop.model.workload import Workload
from anypop.plan.planner import plan
from tests.agent_world import HOST, POP, FakeHost, instance, order, settle
from tests.unit.test_machine import a_machine, an_image
from tests.unit.test_plan_following import ONE, TWO, two_hosts
from tests.worlds import LHR, after, host, workload

OTHER = HostName("LHR-2")


def eased(
    wanted: Workload, *, off: bool = False, rescue: MachineImage | None = None, **more: Any
) -> tuple[Plan, World]:
    """What is planned when the host of its one instance, which may be off, is drained and lets it go."""
    world = World(
        network=two_hosts(), workloads=(wanted,), machines=frozenset({ONE, TWO}),
        capacities={h: Capacity(cpu_millis=64_000, memory_bytes=64 << 30, disk_bytes=64 << 30) for h in (ONE, TWO)},
    )  # fmt: skip
    first = plan(world)
    (life,) = first.incarnations
    drain = Drain(
        id="d", kind=DrainKind.HOST, pop=LHR, host=life.host, stage=DrainStage.EMPTYING, created_at=0, began_at=0,
        stage_at=0,
    )  # fmt: skip
    if off:
        first = replace(first, incarnations=(replace(life, power=Power.OFF, rescue=rescue),))
    found = after(world, first, **{"eases": frozenset({life.uid}), "drains": (drain,), **more})
    return plan(found), found


def told(planned: Plan) -> list[Move | None]:
    return [one.move for host in planned.hosts.values() for one in host.instances]


def test_a_drained_host_sends_its_machine_and_the_other_takes_it_in() -> None:
    """Each half names the other one. Once that one serves nobody moves any more, and the old one goes."""
    planned, world = eased(workload(cities=[LHR], replicas=1, containers=(a_machine(an_image()),)))
    old, new = sorted(planned.incarnations, key=lambda i: i.life)
    assert old.host != new.host
    assert planned.hosts[old.host].instances[0].move == Move(uid=new.uid, host=new.host, arrives=False)
    assert planned.hosts[new.host].instances[0].move == Move(uid=old.uid, host=old.host, arrives=True)
    over = plan(after(world, planned, ready=frozenset({new.uid})))
    assert [i.uid for i in over.incarnations] == [new.uid]
    assert told(over) == [None]


def test_what_cannot_move_begins_anew_as_ever() -> None:
    """Containers; and nobody waits for a guest of a host that is lost."""
    planned, _ = eased(workload(cities=[LHR], replicas=1))
    assert told(planned) == [None, None]
    machine = workload(cities=[LHR], replicas=1, containers=(a_machine(an_image()),))
    planned, _ = eased(machine, lost=frozenset({ONE, TWO}))
    assert set(told(planned)) == {None}


def test_a_machine_goes_where_the_processor_is_its_own_and_begins_anew_where_none_is() -> None:
    """A host with another processor gets it only where there is no other one; nobody waits for a guest there."""
    machine, three = workload(cities=[LHR], replicas=1, containers=(a_machine(an_image()),)), HostName("LHR-3")
    for processor, moves_it in (("kvm a", True), ("", True), ("kvm b", False)):
        planned, _ = eased(machine, processors={ONE: "kvm a", TWO: processor})
        assert [move is not None for move in told(planned)] == [moves_it] * 2, processor
    (pop,) = two_hosts().pops
    more = replace(pop, hosts=(*pop.hosts, replace(host(three, 3), upstreams=pop.hosts[0].upstreams)))
    planned, _ = eased(
        machine, processors={ONE: "kvm a", TWO: "kvm b", three: "kvm a"}, machines=frozenset({ONE, TWO, three}),
        network=replace(two_hosts(), pops=(more,)),
    )  # fmt: skip
    assert {one.host for one in planned.incarnations} == {ONE, three}


def guest(n: int, move: Move) -> InstanceOrder:
    return replace(instance(n, containers=(a_machine(an_image()),)), move=move)


def given(*instances: InstanceOrder) -> Order:
    peer = BackbonePeer(
        host=OTHER, pop=POP, router_id=IPv4Address("10.64.255.2"), address=IPv4Address("10.77.0.2"), distance_km=0,
        external4=order(1).external4, external6=order(1).external6,
    )  # fmt: skip
    backbone = Backbone(rules=BackboneRules(), address=IPv4Address("10.77.0.1"), peers=(peer,))
    return replace(order(1, *instances), backbone=backbone)


def reported(host: FakeHost) -> InstanceReport:
    report = report_of(host.facts(), pop=POP, host=HOST, generation=1, at=host.now, refused=None, drift=(), errors=())
    return report.instances[0]


def test_a_guest_that_is_to_come_is_waited_for_and_begun_where_nobody_sends_it() -> None:
    """It is let in from the host of the order alone, once its network is there."""
    host, one = FakeHost(), guest(0, Move(uid="old", host=OTHER, arrives=True))
    host.obey(given(one))
    began = host.now
    assert moves.expected(host.facts(), one.uid, OTHER) is None, "nothing is ready for it"
    while steps := converge(host.facts(), host.now):
        for step in steps:
            host.apply(step)
    assert (reported(host).phase, reported(host).reason) == (Phase.STARTING, Reason.MOVING)
    found = moves.expected(host.facts(), one.uid, OTHER)
    assert found is not None and found[0] == one
    assert moves.expected(host.facts(), one.uid, HostName("LHR-3")) is None
    assert not any(isinstance(s, CreateContainer) for s in host.applied)
    settle(host)
    assert host.now >= began + moves.ASKED_S
    assert any(isinstance(s, StartContainer) for s in host.applied)
    assert moves.expected(host.facts(), one.uid, OTHER) is None, "it runs here"


def test_one_that_goes_is_sent_and_is_not_begun_again_here() -> None:
    """Also where the move is not settled yet. When its order does not say so any more, what is left of it goes, and it
    begins anew.
    """
    host, one = FakeHost(), guest(0, Move(uid="new", host=OTHER, arrives=False))
    host.obey(given(replace(one, move=None)))
    settle(host)
    host.obey(replace(given(one), generation=2))
    (sent,) = [s for s in converge(host.facts(), host.now) if isinstance(s, SendMachine)]
    assert (sent.move, sent.address, sent.port) == (one.move, IPv4Address("10.77.0.2"), BackboneRules().port)
    assert (reported(host).phase, reported(host).reason) == (Phase.RUNNING, Reason.MOVING)
    (key,) = host.containers
    for state, steps in ((ContainerState.CREATED, [SendMachine]), (ContainerState.EXITED, [])):
        host.containers[key] = replace(host.containers[key], state=state, pid=0, moves=True)
        found = [type(s) for s in converge(host.facts(), host.now) if s.lane == sent.lane]
        assert found == steps, state
    assert (reported(host).phase, reported(host).message) == (Phase.STOPPED, "it runs on LHR-2 now")
    host.obey(replace(given(replace(one, move=None)), generation=3))
    found = [type(s) for s in converge(host.facts(), host.now) if s.lane == sent.lane]
    assert found[:2] == [RemoveContainer, CreateContainer]


def test_a_guest_that_moved_is_reached_by_what_it_knows_as_its_own() -> None:
    """Each address it began with and the one that it has here, both ways; its anycast addresses are left alone."""
    here, there = instance(1), instance(0)
    born = Identity(uid=there.uid, addresses=there.links[0].addresses, system="s")
    text = rules(here.uid, here.links[0], born)
    pairs = [
        (a, b)
        for old, new in zip(there.links[0].addresses, here.links[0].addresses, strict=True)
        for a, b in ((old.private, new.private), (old.external, new.external))
    ]
    for old, new in pairs:
        ip = "ip" if isinstance(old, IPv4Address) else "ip6"
        assert f'iifname "tap0" {ip} saddr {old} {ip} saddr set {new}' in text
        assert f'oifname "tap0" {ip} daddr {new} {ip} daddr set {old}' in text
    assert f"ether daddr {router_mac(there.uid).hex(':')} ether daddr set {router_mac(here.uid).hex(':')}" in text
    assert f"ether daddr {inside_mac(here.uid).hex(':')} ether daddr set {inside_mac(there.uid).hex(':')}" in text
    assert not any(str(address) in text.split() for address in here.anycast)


def at_rest(**more: Any) -> tuple[Plan, World]:
    """The same of one that is off, where hosts reach each other."""
    more.setdefault("network", replace(two_hosts(), backbone=BackboneRules()))
    return eased(workload(cities=[LHR], replicas=1, containers=(a_machine(an_image()),)), off=True, **more)


def test_the_disk_of_one_that_is_off_goes_and_its_successor_is_off_until_it_has_it() -> None:
    """Both live until it is known where the disk is, also when it is powered on meanwhile or the drain is over."""
    planned, world = at_rest()
    old, new = sorted(planned.incarnations, key=lambda i: i.life)
    assert (old.host != new.host, new.power) == (True, Power.OFF)
    assert planned.hosts[old.host].instances[0].move == Move(uid=new.uid, host=new.host, arrives=False, rests=True)
    assert planned.hosts[new.host].instances[0].move == Move(uid=old.uid, host=old.host, arrives=True, rests=True)
    stands = after(world, planned, drains=(), eases=frozenset())
    on = replace(stands, incarnations=tuple(replace(i, power=Power.ON) if i == old else i for i in stands.incarnations))
    for left in (stands, on):
        again = plan(left)
        assert {i.uid for i in again.incarnations} == {old.uid, new.uid}
        assert [move.rests for move in told(again) if move is not None] == [True, True]
        over = plan(after(left, again, ready=frozenset({new.uid})))
        (kept,) = over.incarnations
        assert (kept.uid, kept.power) == (new.uid, Power.ON if left is on else Power.OFF), "as it was asked meanwhile"
    back = plan(after(on, plan(on), ready=frozenset({old.uid})))
    assert [i.uid for i in back.incarnations] == [old.uid], "it runs where it was, and goes as one that runs"


def test_what_is_mended_or_has_no_way_stays_with_its_disk() -> None:
    """It is told why."""
    for more in ({"network": two_hosts()}, {"rescue": an_image()}):
        planned, _ = at_rest(**more)
        assert [n.reason for n in planned.notes] == [Reason.DISK_STAYS]
        assert told(planned) == [None]


def test_nobody_begins_a_disk_of_his_own_while_he_waits_for_one() -> None:
    """However long it takes; it is let in from the other host alone, and then begun as it is powered on."""
    host = FakeHost()
    one = replace(guest(0, Move(uid="old", host=OTHER, arrives=True, rests=True)), power=Power.OFF)
    host.obey(given(one))
    settle(host)
    host.now += 10 * moves.COMES_S
    settle(host)
    assert not host.containers
    assert (reported(host).phase, reported(host).reason, reported(host).template) == (Phase.STOPPED, Reason.MOVING, "")
    assert moves.expected(host.facts(), one.uid, OTHER) is not None
    host.apply(CreateContainer(instance=one, container=one.containers[0], generation=1, lane=""))
    assert reported(host).reason is Reason.POWERED_OFF, "it is here"
    assert reported(host).template == one.template
    host.obey(replace(given(replace(one, move=None, power=Power.ON)), generation=2))
    assert [type(step) for step in converge(host.facts(), host.now) if isinstance(step, CreateContainer)] == []
    settle(host)
    assert all(seen.state is ContainerState.RUNNING for seen in host.containers.values())


def test_a_disk_that_was_handed_over_is_not_begun_here_again() -> None:
    """It is asked for until it is known to have come; powered on before it goes it is begun here."""
    host = FakeHost()
    one = replace(guest(0, Move(uid="new", host=OTHER, arrives=False, rests=True)), power=Power.OFF)
    host.obey(given(one))
    settle(host)
    host.apply(CreateContainer(instance=one, container=one.containers[0], generation=1, lane=""))
    (step,) = [s for s in converge(host.facts(), host.now) if isinstance(s, SendMachine)]
    assert (step.move, reported(host).reason) == (one.move, Reason.MOVING)
    on = replace(given(replace(one, power=Power.ON)), generation=2)
    host.obey(on)
    assert [s for s in converge(host.facts(), host.now) if isinstance(s, StartContainer)]
    (key,) = host.containers
    for state, steps in ((ContainerState.CREATED, [SendMachine]), (ContainerState.EXITED, [])):
        host.containers[key] = replace(host.containers[key], moves=True, state=state)
        found = [type(s) for s in converge(host.facts(), host.now)]
        assert [s for s in found if s in (SendMachine, StartContainer, RemoveContainer, CreateContainer)] == steps
