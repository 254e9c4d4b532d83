"""Virtual machines in the agent's decisions: the same code as for containers, with what differs of them."""

from dataclasses import replace

from anypop.agent.decide import images, lives
from anypop.agent.decide.converge import idle_images
from anypop.agent.decide.report import report_of
from anypop.agent.decide.steps import (
    BeginDrain,
    CreateContainer,
    DropImage,
    GrowVolume,
    PullImage,
    StartContainer,
    StopContainers,
    image_lane,
)
from anypop.agent.observe.probes import readiness_of
from anypop.model.machine import MachineImage
from anypop.model.order import InstanceOrder
from anypop.model.reasons import Reason
from anypop.model.report import InstanceReport, Phase
from anypop.model.volume import LEAST_BYTES, Mount, VolumeOrder
from anypop.model.workload import Container, Port, Probe, ProbeKind, Protocol
from tests.agent_world import HOST, POP, FakeHost, instance, order, settle, web
from tests.unit.test_machine import a_machine, an_image


def guest(n: int, image: MachineImage, **more: object) -> InstanceOrder:
    return instance(n, containers=(replace(a_machine(image), **more),))  # type: ignore[arg-type]


def told(host: FakeHost, **seen: object) -> InstanceReport:
    report = report_of(
        host.facts(**seen), pop=POP, host=HOST, generation=1, at=host.now, refused=None, drift=(), errors=()
    )  # fmt: skip
    return report.instances[0]


def test_a_machine_is_brought_up_by_the_id_of_its_image_and_shares_it_with_its_siblings() -> None:
    """What it is called elsewhere is no reason to fetch it again; it goes when the last of them is gone."""
    host, image = FakeHost(), an_image()
    other = an_image("my-stack/debian:newest")
    assert other.id == image.id
    one, two = guest(0, image), guest(1, other)
    host.obey(order(1, one, two))
    settle(host)
    pulls = [s for s in host.applied if isinstance(s, PullImage)]
    assert {(s.image, s.lane, s.whose) for s in pulls} == {(image.id, image_lane(image.id), "")}
    assert [s.machine for s in pulls] == [image, other], "one after the other, and the second finds it there"
    assert [s.uid for s in host.applied if isinstance(s, StartContainer)] == [one.uid, two.uid]
    assert all(s.container.machine is not None for s in host.applied if isinstance(s, CreateContainer))
    report = told(host)
    assert (report.phase, report.healthy, report.containers[0].name) == (Phase.RUNNING, True, "vm")
    host.memory = replace(host.memory, book=images.fetched(host.memory.book, [image.id]))
    host.obey(order(2, removed=(one, two)))
    settle(host)
    host.memory = replace(host.memory, idle_images={image.id: host.now})
    host.now += 10 * 86_400
    assert image.id in idle_images(host.facts())
    settle(host)
    assert [s.image for s in host.applied if isinstance(s, DropImage)] == [image.id]


def test_a_guest_has_time_to_shut_down_where_nobody_has_said_how_much() -> None:
    """Its disks are written by itself: a container that says nothing of it is ended at once."""
    host, one = FakeHost(), guest(0, an_image())
    host.obey(order(1, one))
    settle(host)
    seen = host.containers[one.uid, "vm"]
    stop = lives.ended([seen], one.name, one.uid, one, again=False)[0]
    assert isinstance(stop, StopContainers) and stop.grace_s == lives.GUEST_GRACE_S
    quick = replace(one, payload=replace(one.payload, grace_s=0))
    stop = lives.ended([seen], one.name, one.uid, quick, again=False)[0]
    assert isinstance(stop, StopContainers) and stop.grace_s == 0


def test_a_guest_that_does_not_come_up_is_told_with_the_end_of_its_console() -> None:
    """Who looks at the instance need not look for its log."""
    host, one = FakeHost(), guest(0, an_image())
    host.obey(order(1, one))
    host.sick.add(one.uid)
    settle(host)
    panic = "Kernel panic - not syncing: VFS: Unable to mount root fs"
    report = told(host, consoles={one.uid: panic})
    assert not report.healthy and report.reason is Reason.PROBE_FAILED
    assert report.message.endswith(f"its console ends: {panic}")
    assert "console" not in told(host).message
    said = told(host, consoles={one.uid: panic}, started_up=frozenset({one.uid})).message
    assert said.endswith(f"its guest has told that all of it has started; its console ends: {panic}")


def test_a_change_of_a_guest_pins_what_the_router_tracks_of_it() -> None:
    """Nobody outside sees its sockets, so who pins is told."""
    old, new = guest(0, an_image()), guest(0, an_image())
    host = FakeHost()
    host.obey(order(1, old))
    settle(host)
    new = replace(instance(0, life=1, link=9, containers=new.containers), uid="uid-new")
    host.obey(order(2, old, new))
    settle(host)
    begun = [s for s in host.applied if isinstance(s, BeginDrain)]
    assert begun and all(s.guest for s in begun)


def asked(**more: object) -> Probe | None:
    return readiness_of(replace(a_machine(an_image()), **more))  # type: ignore[arg-type]


def test_a_machine_is_asked_at_its_ports_or_for_an_echo() -> None:
    """That its process runs says nothing of its guest."""
    echo, at_port = asked(), asked(ports=(Port(name="ssh", port=22),))
    assert echo is not None and echo.kind is ProbeKind.PING
    assert at_port is not None and (at_port.kind, at_port.port) == (ProbeKind.TCP, 22)
    udp = asked(ports=(Port(name="dns", port=53, protocol=Protocol.UDP),))
    assert udp is not None and udp.kind is ProbeKind.PING
    own = Probe(kind=ProbeKind.HTTP, port=80)
    assert asked(readiness=own) is own
    assert readiness_of(Container(name="web", image="a.example/web")) is None, "a container's process is what serves"


def test_the_disk_of_a_guest_that_runs_grows_and_that_of_containers_waits_for_their_next_start() -> None:
    """Once: then whoever has it knows. One that is off finds it as it is when it is powered on."""

    def host_with(made: Container) -> tuple[FakeHost, list[GrowVolume]]:
        container = replace(made, mounts=(Mount(claim="data", path="/data"),))
        one, host = instance(0, containers=(container,)), FakeHost()
        (id_,) = one.volumes
        volume = VolumeOrder(
            id=id_, workload_id=one.workload_id, instance=one.name, claim="data", size_bytes=LEAST_BYTES
        )
        host.obey(replace(order(1, one), volumes=(volume,)))
        settle(host)
        host.obey(replace(order(2, one), volumes=(replace(volume, size_bytes=2 * LEAST_BYTES),)))
        settle(host)
        return host, [s for s in host.applied if isinstance(s, GrowVolume)]

    host, grown = host_with(a_machine(an_image()))
    assert [s.volume.size_bytes for s in grown] == [2 * LEAST_BYTES]
    assert told(host).healthy and not [s for s in host.applied if isinstance(s, StopContainers)]
    assert host_with(web())[1] == []
