"""Podman, over its REST API on a UNIX socket (libpod, API 4.0.0: Debian 12's 4.3 and everything later).

In: the steps of `runtime.InstanceRuntime`. Out: containers that outlive us and the service. Containers are found by
the labels `anypop.prefix` and `anypop.pop`, named by `naming.container_of`. Never logs or repeats an environment: it
holds secrets.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, assert_never
from urllib.parse import urlencode

import httpx

from anypop.agent.act.instances import adoption, kept_logs, own_files, usermaps
from anypop.agent.act.instances.command import API_PATH, Command, end_session
from anypop.agent.act.instances.labels import asked_in, confinement_in, is_init, message_in, past_in, template_in
from anypop.agent.act.instances.limits import allowed_limits
from anypop.agent.act.instances.messages import Messages, end_of_log
from anypop.agent.act.instances.puller import Puller
from anypop.agent.act.instances.runtime import STOP_GRACE_S
from anypop.agent.act.instances.shutting_in import first_user
from anypop.agent.act.instances.specification import body_for
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
from anypop.agent.kept_connection import KeptConnection
from anypop.agent.log_names import log_folder
from anypop.agent.naming import LABEL, container_of, short
from anypop.host import control_groups
from anypop.model.announce import Address
from anypop.model.confinement import Confinement
from anypop.model.errors import WorldError
from anypop.model.machine import Acceleration
from anypop.model.names import CityCode, InstanceName
from anypop.model.order import InstanceOrder, LinkAddress
from anypop.model.streams import CommandRequest
from anypop.model.workload import Container

_API = f"http://podman{API_PATH}"
_ANY = range(100, 600)
_NOT_FOUND = 404
_REMOVED = (200, 204, _NOT_FOUND)
# with whatever shares its processes, which cannot live on
_BY_FORCE = {"force": "true", "ignore": "true", "v": "true", "depend": "true"}
_KEPT_S = 60.0  # containers are listed twice as often at least, and anew when something happens
_LONGEST_LIST = 256 << 20
_PATIENCE_S = 120.0  # creating or starting one container on a machine under heavy load

_STATES = {
    "created": ContainerState.CREATED,
    "configured": ContainerState.CREATED,
    "initialized": ContainerState.CREATED,
    "running": ContainerState.RUNNING,
    "paused": ContainerState.RUNNING,
    "stopping": ContainerState.RUNNING,
}


class Podman:
    """One PoP's containers; with `pop` None those of all PoPs of the prefix. `socket`: of `podman system service`,
    which may be restarted at any time. `forbidden`: addresses that no image may come from, beside those that never may.
    `kept`: the folder for the logs of earlier lives; None: they are not kept. `volumes`: where volumes are mounted.
    """

    def __init__(
        self,
        socket: Path,
        *,
        prefix: str,
        pop: CityCode | None,
        forbidden: Collection[Address] = (),
        kept: Path | None = None,
        volumes: Path | None = None,
    ) -> None:
        self._socket = socket
        self._kept, self._volumes = kept, volumes
        self._prefix = prefix
        self._pop = pop
        limits = httpx.Limits(max_connections=64, max_keepalive_connections=16)
        transport = httpx.AsyncHTTPTransport(uds=str(socket), limits=limits)
        self._http = httpx.AsyncClient(transport=transport, timeout=_PATIENCE_S)
        self._listing = asyncio.Lock()
        self._lists = KeptConnection(None, silence_s=_PATIENCE_S, kept_s=_KEPT_S, socket=socket, longest=_LONGEST_LIST)
        self._out_of_memory: dict[str, bool] = {}  # of containers that have ended, by id: each is asked about once
        self._digests: dict[str, str] = {}  # of images, by id
        self._asked: set[str] = set()  # ids of containers that were asked for it
        self._born: Confinement | None = None
        self._fetched: set[str] = set()
        self._root = ""
        self._puller = Puller(socket, forbidden)
        self._messages = Messages()
        self._said: dict[str, str] = {}  # by containers that have ended, by id
        self._told: dict[Key, str] = {}  # where those that were made here say why they end

    async def close(self) -> None:
        self._messages.close()
        self._lists.close()
        await self._http.aclose()

    async def seen(self) -> Sequence[ContainerSeen]:
        rows = await self._rows()
        found = [_seen(row) for row in rows]
        ids = {c.id for c in found}
        for seen, row in zip(found, rows, strict=True):
            await self._listen(seen, row.get("Labels") or {})
        self._said = {id_: said for id_, said in self._said.items() if id_ in ids}
        self._messages.keep(ids)
        self._out_of_memory = {id_: value for id_, value in self._out_of_memory.items() if id_ in ids}
        self._asked &= ids
        return await asyncio.gather(*(self._completed(c) for c in found))

    async def _rows(self, **more: str) -> list[dict[str, Any]]:
        labels = [f"{LABEL}prefix={self._prefix}", *([f"{LABEL}pop={self._pop}"] if self._pop else [])]
        query = urlencode({"all": "true", "filters": json.dumps({"label": labels}), **more})
        what = "list containers"
        try:
            async with self._listing:
                status, told = await self._lists.ask("GET", f"{_API}/containers/json?{query}")
        except OSError as error:
            raise self._unreachable(what, error) from error
        if status != httpx.codes.OK:
            raise WorldError(what, _said(told))
        return json.loads(told) or []

    async def written(self) -> Mapping[str, int]:
        rows = await self._rows(size="true")
        return {str(row["Id"]): int((row.get("Size") or {}).get("rwSize") or 0) for row in rows}

    async def carry_out(self, step: PayloadStep) -> None:
        match step:
            case PullImage():
                await self._fetch(step)
            case DropImage():
                path = f"/images/{_quoted(step.image)}"
                await self._ask(f"remove image {step.image}", "DELETE", path, good=(200, 404))
                self._fetched.discard(step.image)  # the next look must not find that it came from a registry
            case CreateContainer():
                await self._create(step)
            case StartContainer():
                await self._start((step.uid, step.container))
            case RemoveContainer():
                await self._remove(step)
            case PowerOff():
                raise WorldError(f"power {step.container} off", "a container has no disks that it could go on with")
            case SendMachine():
                raise WorldError(f"move {step.instance.name}", "it is no virtual machine")
            case _:
                assert_never(step)

    async def is_made_of(self, seen: ContainerSeen, container: Container) -> bool:
        made = await self._inspect(seen)
        image = await self._ask(
            "look at an image", "GET", f"/images/{_quoted(container.image)}/json", good=(200, 404, 500)
        )
        return adoption.is_made_of(made, image.json() if image.status_code == 200 else {}, container)

    async def _completed(self, seen: ContainerSeen) -> ContainerSeen:
        """With what the list of containers does not tell: the image's digest, and whether one that ended wanted too
        much memory.
        """
        over = seen.state is ContainerState.EXITED
        asks = seen.image not in self._digests and seen.id not in self._asked
        if asks or (over and seen.id not in self._out_of_memory):
            told = await self._inspect(seen)
            self._asked.add(seen.id)
            if digest := str(told.get("ImageDigest") or ""):  # one that was built here has none until it is pushed
                self._digests[seen.image] = digest
            if over:
                self._out_of_memory[seen.id] = bool((told.get("State") or {}).get("OOMKilled"))
        killed = over and self._out_of_memory.get(seen.id, False)
        digest, said = self._digests.get(seen.image, ""), self._said.get(seen.id, "")
        return replace(seen, image_digest=digest, out_of_memory=killed, message=said)

    async def _listen(self, seen: ContainerSeen, labels: Mapping[str, str]) -> None:
        """Be there for what it says of its end, and read it once it has ended."""
        path, from_log = message_in(labels)
        if not path or seen.id in self._said:
            return
        if seen.state is ContainerState.EXITED:
            said = self._messages.read(seen.id)
            if not said and from_log and seen.exit_code != 0:
                said = end_of_log(log_folder(Path(await self._storage()), seen.id))
            self._said[seen.id] = said
        elif seen.state is ContainerState.CREATED:
            self._told[seen.key] = path
        elif seen.pid:
            self._messages.hold(seen.id, seen.pid, path, make=False)

    async def _inspect(self, seen: ContainerSeen) -> dict[str, Any]:
        """Empty for one that has just gone."""
        answer = await self._ask("look at a container", "GET", f"/containers/{seen.id}/json", good=(200, 404))
        return dict(answer.json()) if answer.status_code == 200 else {}

    async def _fetch(self, step: PullImage) -> None:
        path = f"/images/{_quoted(step.image)}/exists"
        if step.anew or (await self._ask("look for an image", "GET", path, good=(204, 404))).status_code == 404:
            await self._pull(step)

    async def _pull(self, step: PullImage) -> None:
        """May take any time as long as it makes progress."""
        before = await self._image_id(step.image)
        await self._puller.pull(step.image, step.registries, step.login)
        self._fetched.add(step.image)
        if before and before != await self._image_id(step.image):
            self._fetched.add(before)
        path = f"/images/{_quoted(step.image)}/exists"
        if (await self._ask("look for an image", "GET", path, good=(204, 404))).status_code == 404:
            why = f"it is not in the storage of the Podman at {self._socket}: does `podman` as root use another one?"
            raise WorldError(f"pull {step.image}", why)

    async def _image_id(self, image: str) -> str:
        """Empty where there is none."""
        answer = await self._ask("look at an image", "GET", f"/images/{_quoted(image)}/json", good=(200, 404, 500))
        return str(answer.json().get("Id") or "") if answer.status_code == 200 else ""

    def fetched(self) -> Collection[str]:
        return self._fetched

    async def _create(self, step: CreateContainer) -> None:
        name = container_of(self._prefix, step.instance.uid, step.container.name)
        limits = allowed_limits(self._socket)
        confinement = step.past.confinement or await self._confinement()
        self._write_files(step, confinement)
        what = f"create container {step.container.name} of {step.instance.name}"
        # the next life of a container is made from the very image of the one before, whatever its name stands for by
        # now
        images = [step.past.image, step.container.image] if step.past.image else [step.container.image]
        for image in images:
            if step.container.security.non_root and step.container.security.user is None:
                await self._refuse_root(what, image)
            body = body_for(
                step, prefix=self._prefix, pop=self._pop or "", name=name, limits=limits, confinement=confinement,
                volumes=self._volumes,
            ) | {"image": image}  # fmt: skip
            answer = await self._ask(what, "POST", "/containers/create", json=body, good=(201, 404, 409, 500))
            if answer.status_code == 201 or "already in use" in answer.text:
                if step.container.message_path:
                    self._told[step.instance.uid, step.container.name] = step.container.message_path
                return
        raise WorldError(what, _said(answer.content))

    async def first_user(self, instance: InstanceOrder, before: Confinement | None) -> int:
        born = before or await self._confinement()
        return first_user(instance) if born is Confinement.OWN_USERS else 0

    def _write_files(self, step: CreateContainer, confinement: Confinement) -> None:
        folder = own_files.folder_of(self._prefix, step.instance.uid, step.container.name)
        owner = first_user(step.instance) if confinement is Confinement.OWN_USERS else 0
        try:
            own_files.write(folder, step.instance, owner)
        except OSError as error:
            raise WorldError(f"write files of {step.instance.name}", error.strerror or str(error)) from error

    async def _confinement(self) -> Confinement:
        """How new incarnations are shut in here; tried once."""
        if self._born is None:
            able = await asyncio.to_thread(usermaps.can_map, Path(await self._storage()))
            self._born = Confinement.OWN_USERS if able else Confinement.HOST_USERS
        return self._born

    async def _refuse_root(self, what: str, image: str) -> None:
        """Raises where the image would run as root, or as a user whose number nobody knows."""
        answer = await self._ask("look at an image", "GET", f"/images/{_quoted(image)}/json", good=(200, 404, 500))
        if answer.status_code != 200:
            return  # then there is nothing to make a container of, and that is told
        user = str((answer.json().get("Config") or {}).get("User") or "root").partition(":")[0]
        if user in ("root", "0"):
            raise WorldError(what, "securityContext.runAsNonRoot is true and the image runs as root; give runAsUser")
        if not user.isdecimal():
            why = f"securityContext.runAsNonRoot is true and the number of the image's user {user!r} is not known"
            raise WorldError(what, f"{why}; give runAsUser")

    async def _start(self, key: Key) -> None:
        """A container that cannot be started is taken away: the next try begins with a fresh one, whatever state a
        Podman that was killed on its way has left this one in.
        """
        name = container_of(self._prefix, *key)
        what = f"start container {key[1]} of {short(key[0])}"
        if key in self._told:
            await self._prepare_message(what, name, key)
        answer = await self._ask(what, "POST", f"/containers/{name}/start", good=_ANY)
        if answer.status_code in (204, 304):
            return
        if answer.status_code != _NOT_FOUND:
            with suppress(WorldError):  # then whoever makes it anew is told
                await self._end_and_remove(what, name)
        raise WorldError(what, _said(answer.content))

    async def _prepare_message(self, what: str, name: str, key: Key) -> None:
        """The file for its last words is there before its first instruction."""
        await self._ask(what, "POST", f"/containers/{name}/init", good=_ANY)
        told = await self._ask(what, "GET", f"/containers/{name}/json", good=(200, _NOT_FOUND))
        if told.status_code == 200 and (pid := int((told.json().get("State") or {}).get("Pid") or 0)):
            self._messages.hold(str(told.json()["Id"]), pid, self._told[key], make=True)

    async def stop(self, key: Key, grace_s: int) -> None:
        what = f"stop container {key[1]} of {short(key[0])}"
        path, query = f"/containers/{container_of(self._prefix, *key)}/stop", {"timeout": str(grace_s)}
        # whatever cannot be stopped so is ended by force when it is removed
        await self._ask(what, "POST", path, params=query, good=_ANY, timeout=grace_s + _PATIENCE_S)

    async def _remove(self, step: RemoveContainer) -> None:
        key = step.uid, step.container
        self._told.pop(key, None)
        name = container_of(self._prefix, *key)
        what = f"remove container {key[1]} of {short(key[0])}"
        if step.again and self._kept is not None:
            await asyncio.to_thread(
                kept_logs.keep, self._kept, log_folder(Path(await self._storage()), step.again), *key
            )
        query = _BY_FORCE | {"timeout": str(STOP_GRACE_S)}
        answer = await self._ask(what, "DELETE", f"/containers/{name}", params=query, good=_ANY)
        if answer.status_code not in _REMOVED:
            # Podman waits in vain for word of a process whose monitor is dead
            await self._end_and_remove(what, name)
        own_files.remove(own_files.folder_of(self._prefix, *key))

    async def _end_and_remove(self, what: str, name: str) -> None:
        """Kill what lives of it, whatever Podman believes, and have Podman forget it."""
        told = await self._ask(what, "GET", f"/containers/{name}/json", good=_ANY)
        if told.status_code == 200:
            await asyncio.to_thread(control_groups.end, str(told.json()["Id"]))
        await self._ask(what, "DELETE", f"/containers/{name}", params=_BY_FORCE | {"timeout": "0"}, good=_REMOVED)

    async def run_inside(self, key: Key, command: tuple[str, ...], timeout_s: float) -> int:
        what = f"run {command[0] if command else 'nothing'} in {key[1]}"
        asked = {"Cmd": list(command), "AttachStdout": True, "AttachStderr": True}
        path = f"/containers/{container_of(self._prefix, *key)}/exec"
        session = str((await self._ask(what, "POST", path, json=asked, good=(201,))).json()["Id"])
        following = asyncio.create_task(self._follow(what, f"/exec/{session}/start"))
        try:
            if not (await asyncio.wait({following}, timeout=timeout_s))[0]:
                await end_session(self._ask, session)  # before nobody reads any more, which would end it alone
                raise WorldError(what, "took too long")
            following.result()
        finally:
            following.cancel()
        return int((await self._ask(what, "GET", f"/exec/{session}/json")).json()["ExitCode"])

    async def _follow(self, what: str, path: str) -> None:
        """To the end of what a command says, of which nothing is kept: it may say anything, for ever."""
        try:
            request = self._http.stream("POST", _API + path, json={"Detach": False}, timeout=_PATIENCE_S)
            async with request as answer:
                if answer.status_code != 200:
                    raise WorldError(what, _said(await answer.aread()))
                async for _ in answer.aiter_raw():
                    pass
        except httpx.HTTPError as error:
            raise self._unreachable(what, error) from error

    async def begin(self, key: Key, wanted: CommandRequest) -> Command:
        return await Command.begin(self._socket, self._ask, container_of(self._prefix, *key), wanted)

    def still(self, instance: InstanceName) -> AbstractAsyncContextManager[None]:
        """What containers write to is mounted here, and held still here."""
        return nullcontext()

    async def grown(self, uid: str, claim: str, size_bytes: int) -> None:
        """A container's file systems are made larger before it begins."""

    def known_to_guest(self, uid: str) -> Collection[LinkAddress]:
        """A container has its addresses from the link that it is given."""
        return ()

    async def machines(self) -> Acceleration:
        """It runs containers."""
        return Acceleration.NONE

    async def processor(self) -> str:
        """Containers see the host's."""
        return ""

    async def disk_bytes(self) -> int:
        root = await self._storage()
        try:
            disk = os.statvfs(root)
        except OSError as error:
            raise WorldError(f"look at the disk of {root}", error.strerror or str(error)) from error
        return disk.f_blocks * disk.f_frsize

    async def storage(self) -> Path | None:
        return Path(await self._storage())

    async def _storage(self) -> str:
        """Asked once: a service has one storage for ever, and on Debian every answer costs Podman some searches through
        the packages of the machine (0.2 s of a processor).
        """
        if not self._root:
            self._root = str((await self._ask("ask for Podman's storage", "GET", "/info")).json()["store"]["graphRoot"])
        return self._root

    async def changes(self) -> AsyncIterator[None]:
        filters = {
            "type": ["container"],
            "label": [f"{LABEL}prefix={self._prefix}"],
            "event": ["died", "remove", "pause", "unpause"],
        }
        query = {"stream": "true", "filters": json.dumps(filters)}
        try:
            async with self._http.stream(
                "GET", f"{_API}/events", params=query, timeout=httpx.Timeout(_PATIENCE_S, read=None)
            ) as answer:
                async for line in answer.aiter_lines():
                    if line.strip():
                        yield None
        except httpx.HTTPError as error:
            raise self._unreachable("watch events", error) from error

    async def _ask(
        self, what: str, method: str, path: str, *, good: Collection[int] = (200,), **more: Any
    ) -> httpx.Response:
        try:
            answer = await self._http.request(method, _API + path, **more)
        except httpx.HTTPError as error:
            raise self._unreachable(what, error) from error
        if answer.status_code not in good:
            raise WorldError(what, _said(answer.content))
        return answer

    def _unreachable(self, what: str, error: httpx.HTTPError | OSError) -> WorldError:
        why = (
            "took too long"
            if isinstance(error, httpx.TimeoutException | TimeoutError)
            else f"Podman does not answer ({error or type(error).__name__})"
        )
        return WorldError(what, f"{why} at {self._socket}")


def _seen(row: dict[str, Any]) -> ContainerSeen:
    labels = row.get("Labels") or {}
    state = _STATES.get(str(row.get("State", "")), ContainerState.EXITED)
    pid = int(row.get("Pid") or 0) if state is ContainerState.RUNNING else 0
    unwatched = state is ContainerState.RUNNING and not pid  # nobody could ever see its end: it has none left to see
    state = ContainerState.EXITED if unwatched else state
    started, exited = _time(row.get("StartedAt")), _time(row.get("ExitedAt"))
    over = state is ContainerState.EXITED
    return ContainerSeen(
        id=row["Id"], instance=InstanceName(labels.get(f"{LABEL}instance", "")), uid=labels.get(f"{LABEL}uid", ""),
        container=labels.get(f"{LABEL}container", ""), state=state, image=str(row.get("ImageID") or ""),
        pid=pid,
        exit_code=int(row.get("ExitCode", 0)) if over and not unwatched else None,
        started_at=started, finished_at=exited if over else None, past=past_in(labels),
        template=template_in(labels), confinement=confinement_in(labels), asked=asked_in(labels), init=is_init(labels),
    )  # fmt: skip


def _time(value: object) -> float | None:
    """Podman gives seconds since the epoch, or a date; years before 1970 stand for 'never'."""
    if isinstance(value, (int, float)):
        return float(value) if value > 0 else None
    if isinstance(value, str):
        moment = datetime.fromisoformat(value[:19]).timestamp()
        return moment if moment > 0 else None
    return None


def _said(content: bytes) -> str:
    """The message in an error answer, without the chain of the layers that passed it on."""
    try:
        told = json.loads(content)
        return str(told.get("message") or told.get("cause") or told)
    except (ValueError, AttributeError):
        return content.decode(errors="replace").strip() or "no reason given"


def _quoted(image: str) -> str:
    return image.replace("%", "%25").replace("?", "%3F").replace("#", "%23")
