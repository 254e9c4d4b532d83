"""What the agent knows of its world, and how fresh that is: containers, the speaker, images, times; put together as `Observed`.

In: the runtime, the kernel, the speaker. Out: `Observed` for one pass. The kernel is read anew for every pass (under a millisecond);
containers and the speaker when something told of a change, and in every full pass. Nothing known is ever forgotten because somebody
does not answer.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable

from anypop.agent.backoff import BackOff
from anypop.agent.bgp.bird import SpeakerSeen
from anypop.agent.lanes import Lanes
from anypop.agent.ledger import Page
from anypop.agent.naming import namespace_of, short
from anypop.agent.network.namespaces import is_namespace
from anypop.agent.observe import Prober, Target
from anypop.agent.observed import ContainerSeen, ContainerState, Observed
from anypop.agent.performing import Performer
from anypop.agent.runtime.deaths import DeathWatch, Key
from anypop.agent.runtime.seam import Runtime
from anypop.agent.steps import image_lane
from anypop.host import netns
from anypop.model.announce import Prefix
from anypop.model.errors import WorldError
from anypop.model.order import InstanceOrder

STEADY_S = 60.0  # a container that ran this long starts its restart back-off anew


class Eyes:
    """Everything seen and remembered. `wake`: something new is known; `died`: a container's process has ended just now."""

    def __init__(self, *, prefix: str, runtime: Runtime, hands: Performer, lanes: Lanes, prober: Prober, wake: Callable[[], None]) -> None:
        self._prefix, self._runtime, self._hands, self._lanes, self._prober, self._wake = prefix, runtime, hands, lanes, prober, wake
        self._deaths = DeathWatch(self._died)
        self._containers: list[ContainerSeen] | None = None
        self._dead: set[tuple[str, int]] = set()
        self._found: set[tuple[Key, int]] = set()
        self._back_off = BackOff(first_s=0.1, longest_s=60)
        self._restart_at: dict[Key, float] = {}
        self._restarts: dict[Key, int] = {}
        self._ordered_at: dict[str, float] = {}
        self._graceful_since: dict[tuple[Prefix, str], float] = {}
        self._stale = asyncio.Event()
        self._looked = asyncio.Event()
        self._asked = self._answered = 0
        self._looks_begun = self._look_kept = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self.runtime_error = ""
        self.is_open = False

    def knows_health(self, page: Page) -> bool:
        """Whether every instance that was found running has been asked at least once."""
        found = {key[0] for key, _ in self._found}
        return all(
            self._prober.verdict(i.uid, tuple(c.name for c in i.containers)).healthy is not None
            for i in page.order.instances
            if i.uid in found
        )

    async def open(self) -> None:
        """The first look. Returns when containers and speaker are known: nothing may be done before, or it would be done twice."""
        rest = BackOff(first_s=0.05, longest_s=2)
        await asyncio.gather(self._hands.look_at_speaker(), self.look_at_containers())
        while self._containers is None:
            self._wake()
            await asyncio.sleep(rest.failed("runtime"))
            await self.look_at_containers()
        self._found = {((c.uid, c.container), c.pid) for c in self._containers if c.state is ContainerState.RUNNING}
        self.is_open = True

    async def watch(self) -> None:
        """Look at the containers again whenever that was asked for."""
        while True:
            await self._stale.wait()
            self._stale.clear()
            begun = self._asked
            await self.look_at_containers()
            self._answered = begun
            self._looked.set()
            self._looked = asyncio.Event()
            if self.runtime_error:
                await asyncio.sleep(0.5)  # a service that is being restarted
                self._stale.set()

    def containers_changed(self) -> None:
        self._stale.set()

    async def containers_seen(self) -> None:
        """Wait for a look at the containers that begins after now. A runtime that does not answer is not waited for."""
        self._asked += 1
        mine = self._asked
        self._stale.set()
        while self._answered < mine:
            await self._looked.wait()

    async def look_at_containers(self, *, quietly: bool = False) -> None:
        """`quietly`: without waking a pass. Of two looks at once the one that began later counts, whichever is answered first."""
        self._looks_begun += 1
        mine = self._looks_begun
        try:
            seen = await self._runtime.containers()
            if mine > self._look_kept:  # an older list would take running instances out of traffic
                self._containers, self._look_kept = seen, mine
            self.runtime_error = ""
        except WorldError as error:
            self.runtime_error = str(error)
        if not quietly:
            self._wake()

    def look_for_images(self, images: set[str]) -> None:
        """Find out which of these are here already. Until that is known their lanes count as busy, so none is pulled in vain."""
        for image in images - self._hands.images:
            lane = image_lane(image)
            if lane in self._lanes.busy:
                continue
            self._lanes.busy.add(lane)
            task = asyncio.create_task(self._look_for_image(image, lane))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _look_for_image(self, image: str, lane: str) -> None:
        try:
            with contextlib.suppress(WorldError):
                if await self._runtime.has_image(image):
                    self._hands.images.add(image)
        finally:
            self._lanes.busy.discard(lane)
            self._wake()

    def observe(self, page: Page) -> Observed:
        """Everything, for one pass. Reads the kernel; keeps probes and death watch in step with the containers that run."""
        now = time.time()
        kernel = self._hands.router.look()
        containers = tuple(self._alive(c) for c in self._containers or ())
        instances = {i.uid: i for i in page.order.instances}
        self._follow(containers, instances)
        uids = {*instances, *(x.removal.uid for x in page.leaving)}
        for uid in uids:
            self._ordered_at.setdefault(uid, now)
        speaker = self._hands.speaker or SpeakerSeen(config=None)
        self._note_graceful(speaker, now)
        health = {uid: self._prober.verdict(uid, tuple(c.name for c in i.containers)) for uid, i in instances.items()}
        return Observed(
            router_ready=self._hands.router_ready, containers=containers,
            namespaces=frozenset(short(u) for u in uids if is_namespace(netns.path_of(namespace_of(self._prefix, u)))),
            links=kernel.links, external=kernel.external, covers=kernel.covers, balanced=kernel.balanced, firewall=self._hands.firewall,
            speaker=speaker.config, fallen=speaker.fallen, speaker_answers=speaker.answers, sessions=speaker.sessions,
            exported=speaker.exported,
            health=health, liveness_failed=frozenset(self._prober.liveness_failed), images=frozenset(self._hands.images),
            stale_images=frozenset(self._stale_images(page)), leaving=page.leaving, busy=frozenset(self._lanes.busy),
            trouble=dict(self._lanes.trouble), restart_at=dict(self._restart_at), restarts=dict(self._restarts),
            graceful_since=dict(self._graceful_since), draining_since=dict(self._hands.draining_since),
        )  # fmt: skip

    def forget(self, uid: str) -> None:
        """An incarnation is gone for good."""
        self._prober.forget(uid)
        self._hands.draining_since.pop(uid, None)
        self._ordered_at.pop(uid, None)
        for table in (self._restart_at, self._restarts):
            for key in [k for k in table if k[0] == uid]:
                del table[key]

    def close(self) -> None:
        self._deaths.close()

    def _alive(self, seen: ContainerSeen) -> ContainerSeen:
        """Podman learns of a death some time after we do."""
        if seen.state is not ContainerState.RUNNING or (seen.id, seen.pid) not in self._dead:
            return seen
        return ContainerSeen(
            id=seen.id,
            instance=seen.instance,
            uid=seen.uid,
            container=seen.container,
            state=ContainerState.EXITED,
            started_at=seen.started_at,
        )

    def _follow(self, containers: tuple[ContainerSeen, ...], instances: dict[str, InstanceOrder]) -> None:
        running = {(c.uid, c.container): c.pid for c in containers if c.state is ContainerState.RUNNING and c.pid}
        self._deaths.set(running)
        targets = {}
        for key, pid in running.items():
            instance = instances.get(key[0])
            container = next((c for c in instance.containers if c.name == key[1]), None) if instance else None
            if instance is not None and container is not None and ((_id(containers, key), pid) not in self._dead):
                address = next(instance.addresses()).private
                targets[key] = Target(container=container, address=address, pid=pid, found=(key, pid) in self._found)
        self._prober.set(targets)

    def _died(self, key: Key, pid: int) -> None:
        """A container's process is gone: its next hop goes this very moment, everything else follows from the pass that is woken."""
        with contextlib.suppress(WorldError):  # the pass tries again and tells
            self._hands.router.drop_member(short(key[0]))
        self._prober.died(key)
        now = time.time()
        seen = next((c for c in self._containers or () if (c.uid, c.container) == key), None)
        if seen is not None:
            self._dead.add((seen.id, pid))
            if seen.started_at is not None and now - seen.started_at > STEADY_S:
                self._back_off.succeeded(key)
        self._restarts[key] = self._restarts.get(key, 0) + 1
        self._restart_at[key] = now + self._back_off.failed(key)
        self._stale.set()
        self._wake()

    def _stale_images(self, page: Page) -> set[tuple[str, str]]:
        """(uid, image) that are to be pulled for this incarnation although some version of them is here."""
        return {
            (i.uid, c.image)
            for i in page.order.instances
            for c in i.containers
            if c.always_pull and self._hands.pulled_at.get(c.image, 0) < self._ordered_at.get(i.uid, 0)
        }

    def _note_graceful(self, speaker: SpeakerSeen, now: float) -> None:
        fading = {(e.prefix, e.upstream) for e in speaker.config.exports if e.graceful} if speaker.config else set()
        self._graceful_since = {key: self._graceful_since.get(key, now) for key in fading}


def _id(containers: tuple[ContainerSeen, ...], key: Key) -> str:
    return next((c.id for c in containers if (c.uid, c.container) == key), "")
