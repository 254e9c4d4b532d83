"""Podman, over its REST API on a UNIX socket (libpod, API 4.0.0: Debian 12's 4.3 and everything later).

In: the verbs of `seam.Runtime`. Out: containers that outlive us and the service. Containers are found by the labels `anypop.prefix` and
`anypop.pop`, named by `naming.container_of`. Never logs or repeats an environment: it holds secrets.
"""

import json
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from anypop.agent.naming import LABEL, container_of, short
from anypop.agent.observed import ContainerSeen, ContainerState
from anypop.agent.runtime.limits import allowed_limits
from anypop.agent.runtime.seam import STOP_GRACE_S, Spec
from anypop.agent.runtime.specification import body_for
from anypop.model.errors import WorldError
from anypop.model.names import CityCode, InstanceName

_API = "http://podman/v4.0.0/libpod"
_PATIENCE_S = 120.0  # creating or starting one container on a machine under heavy load
_PULL_SILENCE_S = 300.0  # a pull that says nothing for so long is given up and tried again later

_STATES = {
    "created": ContainerState.CREATED,
    "configured": ContainerState.CREATED,
    "initialized": ContainerState.CREATED,
    "running": ContainerState.RUNNING,
    "paused": ContainerState.RUNNING,
    "stopping": ContainerState.RUNNING,
}


class Podman:
    """One PoP's containers; with `pop` None those of all PoPs of the prefix. `socket`: of `podman system service`, which may be
    restarted at any time.
    """

    def __init__(self, socket: Path, *, prefix: str, pop: CityCode | None) -> None:
        self._socket = socket
        self._prefix = prefix
        self._pop = pop
        limits = httpx.Limits(max_connections=64, max_keepalive_connections=16)
        self._http = httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(socket), limits=limits), timeout=_PATIENCE_S)

    async def close(self) -> None:
        await self._http.aclose()

    async def containers(self) -> list[ContainerSeen]:
        """All our containers here, whatever their state."""
        labels = [f"{LABEL}prefix={self._prefix}", *([f"{LABEL}pop={self._pop}"] if self._pop else [])]
        query = {"all": "true", "filters": json.dumps({"label": labels})}
        rows = (await self._ask("list containers", "GET", "/containers/json", params=query)).json()
        return [_seen(row) for row in rows or []]

    async def has_image(self, image: str) -> bool:
        answer = await self._ask("look for an image", "GET", f"/images/{_quoted(image)}/exists", good=(204, 404))
        return answer.status_code == 204

    async def pull(self, image: str) -> None:
        """Pull, with the registry's own words when it fails. May take any time as long as it makes progress."""
        what, patience = f"pull {image}", httpx.Timeout(_PATIENCE_S, read=_PULL_SILENCE_S)
        try:
            request = self._http.stream("POST", f"{_API}/images/pull", params={"reference": image, "policy": "always"}, timeout=patience)
            async with request as answer:
                if answer.status_code != 200:
                    raise WorldError(what, _said(await answer.aread()))
                async for line in answer.aiter_lines():
                    told = json.loads(line) if line.strip() else {}
                    if told.get("error"):
                        raise WorldError(what, str(told["error"]))
        except httpx.ReadTimeout as error:
            raise WorldError(what, f"no progress for {_PULL_SILENCE_S:g} s") from error
        except httpx.HTTPError as error:
            raise self._unreachable(what, error) from error

    async def create(self, spec: Spec) -> None:
        name = container_of(self._prefix, spec.instance.uid, spec.container.name)
        body = body_for(spec, prefix=self._prefix, name=name, limits=allowed_limits(self._socket))
        what = f"create container {spec.container.name} of {spec.instance.name}"
        answer = await self._ask(what, "POST", "/containers/create", json=body, good=(201, 409, 500))
        if answer.status_code != 201 and "already in use" not in answer.text:
            raise WorldError(what, _said(answer.content))

    async def start(self, uid: str, container: str) -> None:
        await self._act("start", uid, container, good=(204, 304))

    async def stop(self, uid: str, container: str) -> None:
        await self._act("stop", uid, container, good=(204, 304, 404), query={"timeout": str(STOP_GRACE_S)})

    async def remove(self, uid: str, container: str) -> None:
        path = f"/containers/{container_of(self._prefix, uid, container)}"
        query = {"force": "true", "timeout": "0", "ignore": "true", "v": "true"}
        await self._ask(f"remove container {container} of {short(uid)}", "DELETE", path, params=query, good=(200, 204, 404))

    async def run_inside(self, uid: str, container: str, command: tuple[str, ...], timeout_s: float) -> int:
        """The exit code of a command run inside a container. Raises `WorldError` when it does not end in time."""
        what = f"run {command[0] if command else 'nothing'} in {container}"
        name = container_of(self._prefix, uid, container)
        asked = {"Cmd": list(command), "AttachStdout": True, "AttachStderr": True}
        made = await self._ask(what, "POST", f"/containers/{name}/exec", json=asked, good=(201,))
        session = made.json()["Id"]
        await self._ask(what, "POST", f"/exec/{session}/start", json={"Detach": False}, timeout=timeout_s)
        return int((await self._ask(what, "GET", f"/exec/{session}/json")).json()["ExitCode"])

    async def changes(self) -> AsyncIterator[None]:
        """One item for each event of one of our containers that we may not have caused. Ends when the service ends."""
        filters = {"type": ["container"], "label": [f"{LABEL}prefix={self._prefix}"], "event": ["died", "remove", "pause", "unpause"]}
        query = {"stream": "true", "filters": json.dumps(filters)}
        try:
            async with self._http.stream("GET", f"{_API}/events", params=query, timeout=httpx.Timeout(_PATIENCE_S, read=None)) as answer:
                async for line in answer.aiter_lines():
                    if line.strip():
                        yield None
        except httpx.HTTPError as error:
            raise self._unreachable("watch events", error) from error

    async def _act(self, verb: str, uid: str, container: str, *, good: tuple[int, ...], query: dict[str, str] | None = None) -> None:
        path = f"/containers/{container_of(self._prefix, uid, container)}/{verb}"
        await self._ask(f"{verb} container {container} of {short(uid)}", "POST", path, params=query, good=good)

    async def _ask(self, what: str, method: str, path: str, *, good: tuple[int, ...] = (200,), **more: Any) -> httpx.Response:
        try:
            answer = await self._http.request(method, _API + path, **more)
        except httpx.HTTPError as error:
            raise self._unreachable(what, error) from error
        if answer.status_code not in good:
            raise WorldError(what, _said(answer.content))
        return answer

    def _unreachable(self, what: str, error: httpx.HTTPError) -> WorldError:
        why = "took too long" if isinstance(error, httpx.TimeoutException) else f"Podman does not answer ({error or type(error).__name__})"
        return WorldError(what, f"{why} at {self._socket}")


def _seen(row: dict[str, Any]) -> ContainerSeen:
    labels = row.get("Labels") or {}
    state = _STATES.get(str(row.get("State", "")), ContainerState.EXITED)
    started, exited = _time(row.get("StartedAt")), _time(row.get("ExitedAt"))
    over = state is ContainerState.EXITED
    return ContainerSeen(
        id=row["Id"], instance=InstanceName(labels.get(f"{LABEL}instance", "")), uid=labels.get(f"{LABEL}uid", ""),
        container=labels.get(f"{LABEL}container", ""), state=state, pid=int(row.get("Pid") or 0) if state is ContainerState.RUNNING else 0,
        exit_code=int(row.get("ExitCode", 0)) if over else None, started_at=started, finished_at=exited if over else None,
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
