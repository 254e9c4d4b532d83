"""Virtual machines behind `runtime.InstanceRuntime`: QEMU's processes, found again by what lies in their folders.

In: the steps that make, start and end a machine. Out: a process that outlives us, in the namespace that was made for
its instance; what is there, as `ContainerSeen`. A machine that has ended is made anew from its image, as a container
is. Every step may be repeated, also by another agent, after a kill at any point. Never logs what a guest is given.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol, assert_never
from uuid import uuid4

from anypop.agent.act.instances.labels import asked_in, confinement_in, labels_for, past_in, template_in
from anypop.agent.act.instances.machines import capture, launch, leaving, monitor, resting
from anypop.agent.act.instances.machines.ability import Ability, can, processor
from anypop.agent.act.instances.machines.arguments import (
    TRANSLATED_MB,
    Handed,
    arguments,
    has_root,
    vcpus,
    volume_node,
)
from anypop.agent.act.instances.machines.furnish import forget_rescue, furnish, furnish_rescue
from anypop.agent.act.instances.machines.move_words import Stream
from anypop.agent.act.instances.machines.place import (
    ARRIVING,
    HANDED,
    KEEPER,
    OFF,
    Place,
    Spec,
    places,
)
from anypop.agent.act.instances.machines.variables import variables_of
from anypop.agent.act.instances.machines.watch import Ends
from anypop.agent.act.instances.runtime import STOP_GRACE_S, Running
from anypop.agent.act.instances.shutting_in import first_user
from anypop.agent.act.network import adopted, guests
from anypop.agent.act.network.adopted import Identity
from anypop.agent.act.volumes.mounts import place as volume_place
from anypop.agent.decide.elements import ContainerSeen, ContainerState, Key
from anypop.agent.decide.steps import (
    CreateContainer,
    DropImage,
    PayloadStep,
    PowerOff,
    PullImage,
    RemoveContainer,
    SendMachine,
    StartContainer,
)
from anypop.agent.guests.word import Word
from anypop.agent.naming import inside_mac, namespace_of, short
from anypop.host import limited_groups, process
from anypop.host.limited_groups import Limits
from anypop.model.confinement import Confinement
from anypop.model.errors import WorldError
from anypop.model.machine import OVERHEAD_BYTES, Acceleration, Firmware, MachineImage
from anypop.model.names import CityCode, HostName, InstanceName
from anypop.model.order import InstanceOrder, LinkAddress
from anypop.model.streams import CommandRequest
from anypop.model.volume import volume_id
from anypop.model.workload import Container

_log = logging.getLogger(__name__)
_THREADS = 128  # of QEMU beside the guest's processors: its disks and console


Ways = Callable[[HostName, str, int], Awaitable[Stream]]
"""How a host is reached: by its name, an address and a port. Raises `WorldError`."""


class Images(Protocol):
    """Files of images that are on this host."""

    async def have(self, image: MachineImage) -> Mapping[str, Path]:
        """Each part's file, complete; fetched where it was not. Raises `WorldError`."""
        ...

    def fetched(self) -> Collection[str]:
        """The ids of those that came since it began."""
        ...

    async def drop(self, image: str) -> None:
        """Take away one that nobody needs any more, by its id; parts that others have stay."""
        ...


class Machines:
    """One host's. `folder`: where they lie, a folder each, by the uid of the instance. `volumes`: where volumes are
    lent to instances; `ways`: how other hosts are reached, None: not at all.
    """

    def __init__(
        self, folder: Path, *, prefix: str, pop: CityCode, images: Images, volumes: Path | None = None,
        ways: Ways | None = None,
    ) -> None:  # fmt: skip
        self._ways = ways
        self._folder, self._prefix, self._pop, self._images = folder, prefix, pop, images
        self._volumes = volumes
        self.word_of: Callable[[str], Word | None] = lambda _: None  # what is known by word of an instance's guest
        self._thawed = False
        self._warned = False
        self._ended = asyncio.Event()
        self._keepers = Ends(self._ended.set)

    def close(self) -> None:
        self._keepers.watch(())

    def knows(self, uid: str) -> bool:
        """Whether this is the instance of a machine that was made here."""
        return Place(self._folder / uid).file("spec.json").exists()

    async def seen(self) -> Sequence[ContainerSeen]:
        if not self._thawed:  # after the death of whoever held guests still
            self._thawed = True
            await asyncio.gather(*(monitor.thaw(place) for place in places(self._folder).values()))
            with contextlib.suppress(WorldError):  # the next copy of it begins with this
                await asyncio.gather(*(capture.forget(place) for place in places(self._folder).values()))
        there = {uid: (place, spec) for uid, place in places(self._folder).items() if (spec := place.spec())}
        keepers = (process.alive(place.file(KEEPER)) for place, _ in there.values())
        self._keepers.watch({pid for pid in keepers if pid is not None})
        for place, _ in there.values():
            place.bound_said()
        return [_seen(place, spec) for place, spec in there.values()]

    async def carry_out(self, step: PayloadStep) -> None:
        match step:
            case CreateContainer():
                await self._create(step)
            case StartContainer():
                await self._start(step)
            case PowerOff():
                await self._power_off(step)
            case RemoveContainer():
                await self._remove(step.uid)
            case SendMachine():
                await self._send(step)
            case PullImage():
                if step.machine is not None:
                    await self._images.have(step.machine)
            case DropImage():
                await self._images.drop(step.image)
            case _:
                assert_never(step)

    def place_of(self, uid: str) -> Place:
        return Place(self._folder / uid)

    def look_again(self) -> None:
        """Something of them has changed that was not asked for by a step."""
        self._ended.set()

    async def _send(self, step: SendMachine) -> None:
        place = self.place_of(step.uid)
        spec, ways = place.spec(), self._ways
        what = f"move the virtual machine {step.instance.name} to {step.move.host}"
        if spec is None or ways is None:
            raise WorldError(what, "it is not there" if spec is None else "this host reaches no other one")
        born = spec.born or Identity(
            uid=step.uid, addresses=step.instance.links[0].addresses, system=spec.system
        )  # fmt: skip
        journey = leaving.Journey(
            to=step.move.host, uid=step.move.uid, guest=born,
            reach=lambda: ways(step.move.host, str(step.address), step.port), ready=lambda: self._by_word(step.uid),
        )  # fmt: skip
        leave = resting.leave if step.move.rests else partial(leaving.leave, within_s=leaving.WITHIN_S)
        try:
            await leaving.settle(place, journey)
            if place.marked(HANDED) is None:
                await capture.forget(place)
                await leave(place, journey)
        finally:
            self.look_again()

    def _by_word(self, uid: str) -> bool:
        word = self.word_of(uid)
        return word is not None and word.stands()

    async def make_for_arrival(self, step: CreateContainer, guest: Identity, *, rests: bool = False) -> Place:
        """QEMU for a guest that comes from another host; it waits for it. Whatever was left of an earlier try goes.
        `rests`: it is off, so no QEMU.
        """
        place = self.place_of(step.instance.uid)
        if place.spec() is not None and place.marked(ARRIVING) is None:
            raise WorldError(f"take in the virtual machine {step.instance.name}", "it is here already")
        await self._remove(place.uid, grace=False)
        await self._create(step, guest=guest)
        if not rests:
            await self._run(place, f"take in the virtual machine {step.instance.name}", arriving=True)
        return place

    async def give_up_arrival(self, uid: str) -> None:
        """One that has not come, and never ran here."""
        if self.place_of(uid).marked(ARRIVING) is not None:
            await self._remove(uid, grace=False)

    async def _create(self, step: CreateContainer, *, guest: Identity | None = None) -> None:
        container, instance = step.container, step.instance
        what = f"make the virtual machine {instance.name}"
        image = container.machine.image if container.machine is not None else None
        if image is None:
            raise WorldError(what, "its order has no image")
        place = Place(self._folder / instance.uid)
        if place.spec() is not None:
            return
        can()
        parts = await self._images.have(image)
        as_whom = guest.uid if guest is not None else instance.uid
        labels = labels_for(step, prefix=self._prefix, pop=self._pop, confinement=Confinement.OWN_USERS)
        spec = Spec(
            id=str(uuid4()), uid=instance.uid, container=container.name, labels=labels, image=image,
            namespace=namespace_of(self._prefix, instance.uid), mac=inside_mac(as_whom).hex(":"),
            user=first_user(instance), cpu_millis=container.most_cpu_millis, share_millis=container.cpu_millis,
            memory_bytes=container.most_memory_bytes,
            volumes=tuple((m.claim, volume_id(instance.workload_id, instance.name, m.claim)) for m in container.mounts),
            further_macs=tuple(inside_mac(as_whom, n).hex(":") for n in range(1, len(instance.links))),
            born=guest, link=instance.links[0] if guest is not None else None,
        )  # fmt: skip
        try:
            await asyncio.to_thread(furnish, place, spec, parts, instance, container, pop=self._pop)
        except OSError as error:
            raise WorldError(what, f"{error.strerror or error} in {self._folder}") from error
        if guest is not None:
            place.mark(ARRIVING)
        place.write(spec)

    async def _start(self, step: StartContainer) -> None:
        place = Place(self._folder / step.uid)
        what = f"start the virtual machine {short(step.uid)}"
        if (to := place.marked(HANDED)) is not None:
            raise WorldError(what, f"it has moved to {to}")
        if place.marked(ARRIVING) is not None:
            raise WorldError(what, "it runs elsewhere, and has not come yet")
        await self._run(place, what, mended=step.rescue)

    async def _run(
        self, place: Place, what: str, *, arriving: bool = False, mended: InstanceOrder | None = None
    ) -> None:
        spec = place.spec()
        if spec is None:
            raise WorldError(what, "it is not there")
        if place.pid() is not None:
            place.unmark(OFF)
            return
        ability = self._can()
        if spec.born is not None and spec.link is not None:  # its network may be another one than when it came
            await adopted.adopt(self._prefix, spec.uid, spec.link, spec.born)
        other = await self._rescued(what, place, spec, mended)
        groups = limited_groups.make(spec.id, _limits(spec, ability.accelerator))
        with contextlib.ExitStack() as opened:
            taps = guests.open_taps(spec.namespace, 1 + len(spec.further_macs))
            for tap in taps:
                opened.callback(os.close, tap)
            disks = []
            for name, id_ in spec.volumes:
                disks.append((name, self._open_volume(what, spec.uid, id_)))
                opened.callback(os.close, disks[-1][1])
            handed = Handed(taps=tuple(taps), disks=tuple(disks))
            argv = arguments(spec, accelerator=ability.accelerator, handed=handed, arriving=arriving, rescue=other)
            argv = launch.as_nobody(spec.namespace, spec.user, ability.group, argv)
            await launch.begin(place, argv, groups, [*taps, *(file for _, file in disks)])
        try:
            await answers(place, lambda: place.pid() is not None)
        except WorldError as error:
            if place.pid() is None:  # it is not the first to go so: whoever looks tells how it ended
                raise WorldError(what, place.said() or "QEMU ended at once and said nothing") from error
            raise
        place.unmark(OFF)

    async def _rescued(
        self, what: str, place: Place, spec: Spec, instance: InstanceOrder | None
    ) -> MachineImage | None:
        """The image that it starts with in place of its own, furnished; None: its own."""
        if instance is None or instance.rescue is None:
            await asyncio.to_thread(forget_rescue, place)
            return None
        parts = await self._images.have(instance.rescue)
        try:
            await asyncio.to_thread(furnish_rescue, place, spec, instance.rescue, parts, instance, pop=self._pop)
        except OSError as error:
            raise WorldError(what, f"{error.strerror or error} in {self._folder}") from error
        return instance.rescue

    def _can(self) -> Ability:
        """How machines run here; once in the life of an agent its operator is told what he should know of that."""
        ability = can()
        if ability.warning and not self._warned:
            self._warned = True
            _log.warning(ability.warning)
        return ability

    def _open_volume(self, what: str, uid: str, id_: str) -> int:
        """As root opens it: its user has no way to the file itself."""
        if self._volumes is None:
            raise WorldError(what, "there are no volumes here")
        try:
            return os.open(volume_place(self._volumes, uid, id_), os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise WorldError(what, f"volume {id_}: {error.strerror}") from error

    @contextlib.asynccontextmanager
    async def still(self, instance: InstanceName) -> AsyncIterator[None]:
        held = [
            place
            for place in places(self._folder).values()
            if (spec := place.spec()) and spec.label("instance") == instance and place.pid() is not None
        ]
        try:
            for place in held:
                await monitor.freeze(place)
            yield
        finally:
            for place in held:
                await monitor.thaw(place)

    async def capture(self, uid: str, claim: str, file: Path, variables: Path, told: capture.Told) -> None:
        """Make `file`: a copy of the disk of a claim, or of the root disk, as it is now; of a root disk that begins by
        UEFI, `variables` too. Raises `WorldError`.
        """
        place, what = self.place_of(uid), "capture a disk"
        spec = place.spec()
        if spec is None:
            raise WorldError(what, "its machine is not there")
        with contextlib.ExitStack() as opened:
            if claim:
                named = [name for name, _ in spec.volumes]
                if claim not in named:
                    raise WorldError(what, f"its machine has no volume {claim}")
                number = named.index(claim)
                volume = self._open_volume(what, uid, spec.volumes[number][1])
                opened.callback(os.close, volume)
                disk = capture.Disk(number=number, size=os.fstat(volume).st_size, file=volume)
            elif has_root(spec.image):
                disk = capture.Disk(number=None, size=spec.image.disk_bytes)
            else:
                raise WorldError(what, "its machine has no root disk")
            make = ["qemu-img", "create", "-q", "-f", "qcow2", str(file), str(disk.size)]
            await asyncio.to_thread(process.run, make)
            target = os.open(file, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            opened.callback(os.close, target)
            has_variables = not claim and spec.image.firmware is Firmware.UEFI
            kept = list[bytes]()
            begins = (lambda: kept.append(variables_of(place))) if has_variables else lambda: None
            await capture.copy(place, spec, disk, target, told, begins=begins)
            for content in kept:
                await asyncio.to_thread(variables.write_bytes, content)

    async def grown(self, uid: str, claim: str, size_bytes: int) -> None:
        place = Place(self._folder / uid)
        spec = place.spec()
        number = next((n for n, (name, _) in enumerate(spec.volumes) if name == claim), None) if spec else None
        if number is not None and place.pid() is not None:
            asked: dict[str, Any] = {"node-name": volume_node(number), "size": size_bytes}
            await monitor.ask(place, "block_resize", **asked)

    def known_to_guest(self, uid: str) -> Collection[LinkAddress]:
        spec = self.place_of(uid).spec()
        return spec.born.addresses if spec is not None and spec.born is not None else ()

    async def _remove(self, uid: str, *, grace: bool = True) -> None:
        place = Place(self._folder / uid)
        spec = place.spec()
        if place.pid() is not None and grace:
            with contextlib.suppress(WorldError):
                await monitor.ask_to_end(place)
            await launch.end(place, STOP_GRACE_S)
        await launch.end(place)
        if spec is not None and spec.born is not None:
            with contextlib.suppress(WorldError):  # its namespace is gone
                await adopted.forget(spec.namespace)
        if spec is not None and not await asyncio.to_thread(limited_groups.remove, spec.id, limited_groups.LEAVES_S):
            # what is on record of it stays too, so that this is tried again
            raise WorldError(f"remove the machine {short(uid)}", "a process is left in its control group")
        await asyncio.to_thread(place.remove)

    async def stop(self, key: Key, grace_s: int) -> None:
        place = Place(self._folder / key[0])
        if place.pid() is None:
            return
        if grace_s:
            with contextlib.suppress(WorldError):  # one that does not answer is ended without it
                await monitor.ask_to_end(place)
        await launch.end(place, grace_s)

    async def _power_off(self, step: PowerOff) -> None:
        place = Place(self._folder / step.uid)
        if place.spec() is None:
            return
        if (to := place.marked(HANDED)) is not None:
            raise WorldError(f"power {short(step.uid)} off", f"it has moved to {to}")
        # first: whoever goes on after a kill must not take it for one that has failed, and make it anew
        place.mark(OFF)
        await self.stop((step.uid, step.container), step.grace_s)

    async def run_inside(self, key: Key, command: tuple[str, ...], timeout_s: float) -> int:
        return await monitor.run_in_guest(Place(self._folder / key[0]), command, timeout_s)

    async def begin(self, key: Key, wanted: CommandRequest) -> Running:
        why = "a virtual machine has a console instead: `anypop console`"
        raise WorldError(f"run a command in {short(key[0])}", why)

    async def is_made_of(self, seen: ContainerSeen, container: Container) -> bool:
        """Every machine knows its template, so nobody has to compare."""
        return False

    async def first_user(self, instance: InstanceOrder, before: Confinement | None) -> int:
        """A guest has users of its own: whoever writes to its disks there is nobody here."""
        return 0

    def fetched(self) -> Collection[str]:
        return self._images.fetched()

    async def machines(self) -> Acceleration:
        try:
            return (await asyncio.to_thread(can)).accelerator
        except WorldError:
            return Acceleration.NONE

    async def processor(self) -> str:
        with contextlib.suppress(WorldError):
            return await asyncio.to_thread(processor)
        return ""

    async def disk_bytes(self) -> int:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        disk = os.statvfs(self._folder)
        return disk.f_blocks * disk.f_frsize

    async def written(self) -> Mapping[str, int]:
        return {spec.id: place.written() for place in places(self._folder).values() if (spec := place.spec())}

    async def storage(self) -> Path | None:
        return None

    async def changes(self) -> AsyncIterator[None]:
        """The end of a machine is written just after the death of its process."""
        while True:
            await self._ended.wait()
            self._ended.clear()
            yield None


def _seen(place: Place, spec: Spec) -> ContainerSeen:
    pid, state = place.pid(), ContainerState.CREATED
    moves = place.marked(ARRIVING) is not None or place.marked(HANDED) is not None
    if moves:  # its guest is not here, or not ours
        # of one that was off the mark of that is the last to go: see `resting`
        over = pid is None and place.marked(HANDED) is not None and not place.is_off()
        state = ContainerState.EXITED if over else ContainerState.CREATED
        pid = None
    elif pid is not None:
        state = ContainerState.RUNNING
    elif place.was_started() and not place.is_beginning() and not place.is_off():
        state = ContainerState.EXITED
    over = state is ContainerState.EXITED
    end = place.end() if over else None
    code = end.code if end is not None else None
    return ContainerSeen(
        id=spec.id, instance=InstanceName(spec.label("instance")), uid=spec.uid, container=spec.container, state=state,
        pid=pid or 0, image=spec.image.id, image_digest=f"sha256:{spec.image.id}",
        template=template_in(spec.labels), confinement=confinement_in(spec.labels),
        started_at=place.started_at() if place.was_started() else None,
        finished_at=(end.at or None) if end is not None else None, exit_code=code,
        asked=asked_in(spec.labels), past=past_in(spec.labels), message=place.said() if over and code else "",
        rescue=place.rescued_by(),
        moves=moves,
    )  # fmt: skip


async def answers(place: Place, lives: Callable[[], bool]) -> None:
    """Wait until QEMU does: it has read its command line then, and opened all files. Raises `WorldError` where it has
    ended, or takes too long.
    """
    try:
        async with asyncio.timeout(launch.SEEN_S):
            while True:
                try:
                    await monitor.ask(place, "query-status")
                    return
                except WorldError:
                    if not lives():
                        raise
                await asyncio.sleep(launch.LOOK_S)
    except TimeoutError as error:
        raise WorldError(f"begin the machine {place.uid}", f"no answer within {launch.SEEN_S:g} s") from error


def _limits(spec: Spec, accelerator: Acceleration) -> Limits:
    own = OVERHEAD_BYTES + (TRANSLATED_MB << 20 if accelerator is Acceleration.TCG else 0)
    return Limits(
        cpu_millis=spec.cpu_millis, share_millis=spec.share_millis, memory_bytes=spec.memory_bytes + own,
        processes=vcpus(spec.cpu_millis) + _THREADS,
    )  # fmt: skip
