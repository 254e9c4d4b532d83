"""Pulls: Podman's own `pull`, in a network namespace whose only way out is our gate.

In: an image's name, the operator's list of registries. Out: the image in Podman's storage, or `WorldError`. It is the
very Podman, with the options, the environment and the mounts, that serves the socket, so registries, mirrors,
credentials and certificates are as its configuration says. A pull lives no longer than the agent, and one that fails
leaves neither a process nor files of its own. What a tenant is told is the same whether nothing listens there, nothing
answers, or the place is none that images may come from.
"""

import asyncio
import contextlib
import json
import logging
import os
import re
import shutil
import signal
import socket
import tempfile
import time
from base64 import b64encode
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from anypop.agent.act.instances.gate import Gate, Outside
from anypop.agent.act.instances.limits import pid_behind
from anypop.agent.act.network import rtnl
from anypop.agent.act.network.netlink import Netlink
from anypop.host import netns
from anypop.model.errors import WorldError
from anypop.model.registries import Address, domain_of
from anypop.model.surroundings import Login

_LOG = logging.getLogger(__name__)
_SILENCE_S = 300.0  # a pull to which nobody has sent a byte for so long is given up and tried again later
_END_S = 5.0
_MOST_SAID = 4096
_KEPT = re.compile(r"(CONTAINERS_|STORAGE_|REGISTRY_|SSL_CERT_|XDG_)\w+|HOME|PATH|LANG|DOCKER_CONFIG")
# what containers/image says before a registry has said anything as a registry
_NOT_REACHED = re.compile(r"pinging container registry|proxyconnect|Bad Gateway|connection refused|i/o timeout|EOF\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The process behind Podman's socket; where it is systemd, which listens for it, Podman as it is installed."""

    pid: int
    command: tuple[str, ...] = ("podman",)
    environment: tuple[tuple[str, str], ...] = ()

    @property
    def network(self) -> Path:
        return Path(f"/proc/{self.pid}/ns/net")

    @property
    def mounts(self) -> Path:
        return Path(f"/proc/{self.pid}/ns/mnt")


def service_behind(socket_path: Path) -> Service:
    """Raises `WorldError` where nobody listens."""
    pid = pid_behind(socket_path)
    if not pid:
        raise WorldError("find Podman's service", f"nobody listens at {socket_path}")
    try:
        words = [os.fsdecode(word) for word in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0") if word]
        rows = [os.fsdecode(row) for row in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0") if row]
    except OSError as error:
        raise WorldError("look at Podman's service", error.strerror or str(error)) from error
    if not words or Path(words[0]).name != "podman" or "system" not in words:
        return Service(pid=pid)
    environment = tuple(
        (name, value) for name, _, value in (row.partition("=") for row in rows) if _KEPT.fullmatch(name)
    )
    return Service(pid=pid, command=tuple(words[: words.index("system")]), environment=environment)


class Puller:
    """Pulls for one Podman. `forbidden`: addresses of the platform's own that nobody may be led to."""

    def __init__(self, socket_path: Path, forbidden: Collection[Address] = ()) -> None:
        self._socket, self._forbidden = socket_path, tuple(forbidden)

    async def pull(self, image: str, registries: Collection[str], login: Login | None = None) -> None:
        """`login`: as whom; None: as Podman's configuration says. Raises `WorldError`."""
        service = service_behind(self._socket)
        outside = Outside(service.network, self._forbidden)
        gate = Gate(outside, registries, time.monotonic)
        scratch = tempfile.mkdtemp(prefix="anypop-pull-", dir="/var/tmp")  # layers may be large
        try:
            with netns.fresh() as space:
                path = Path(f"/proc/{os.getpid()}/fd/{space}")
                with netns.inside_path(path), Netlink() as net:
                    rtnl.set_up(net, next(link.index for link in rtnl.links(net) if link.name == "lo"))
                proxy = await gate.open(lambda host, port: _listening(path, host, port))
                await self._run(image, service, gate, proxy, login, space=space, scratch=scratch)
        finally:
            gate.close()
            outside.close()
            shutil.rmtree(scratch, ignore_errors=True)

    async def _run(
        self, image: str, service: Service, gate: Gate, proxy: str, login: Login | None, *, space: int, scratch: str
    ) -> None:
        what = f"pull {image}"
        with _kept_in_memory(login) as (passed, options):
            environment = _environment(service.environment, proxy, scratch)
            child = await _started(what, service, [*options, "--", image], environment, (space, *passed))
        try:
            said = await self._until_ended(child, gate)
        finally:
            await _end(child)
        if said is None:
            raise WorldError(what, f"no progress for {_SILENCE_S:g} s")
        if child.returncode != 0:
            raise WorldError(what, self._told(image, said, gate))

    async def _until_ended(self, child: asyncio.subprocess.Process, gate: Gate) -> str | None:
        """What it said; None where nobody has sent anything for too long."""
        assert child.stderr is not None
        reading = asyncio.ensure_future(_read(child.stderr))
        while not reading.done():
            left = gate.heard + _SILENCE_S - time.monotonic()
            if left <= 0:
                reading.cancel()
                return None
            await asyncio.wait({reading}, timeout=left)
        await child.wait()
        return reading.result()

    def _told(self, image: str, said: str, gate: Gate) -> str:
        """Why it failed, in words for the tenant: the registry's own where one has spoken."""
        for line in gate.failures:
            _LOG.warning("pull %s: %s", image, line)
        if gate.failures or _NOT_REACHED.search(said):
            return f"no registry can be reached at {domain_of(image)}, or none that images may come from"
        return said.strip().removeprefix("Error: ") or "no reason given"


async def _started(
    what: str, service: Service, words: Collection[str], environment: Mapping[str, str], passed: tuple[int, ...]
) -> asyncio.subprocess.Process:
    """Podman's pull. `passed`: the network namespace, and what else it is to have."""
    argv = [
        *("setpriv", "--pdeathsig", "TERM", "nsenter", f"--mount={service.mounts}", f"--net=/proc/self/fd/{passed[0]}"),
        *("--", *service.command, "pull", "--quiet", *words),
    ]
    try:
        return await asyncio.create_subprocess_exec(
            *argv, env=environment, pass_fds=passed,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise WorldError(what, f"{error.filename}: {error.strerror}") from error


@contextlib.contextmanager
def _kept_in_memory(login: Login | None) -> Iterator[tuple[tuple[int, ...], tuple[str, ...]]]:
    """A password as Podman reads one, in a file that no disk ever holds: its handle, and the options that name it."""
    if login is None:
        yield (), ()
        return
    word = b64encode(f"{login.username}:{login.password}".encode()).decode()
    file = os.memfd_create("anypop-login", os.MFD_CLOEXEC)
    try:
        os.write(file, json.dumps({"auths": {login.server: {"auth": word}}}).encode())
        yield (file,), ("--authfile", f"/proc/self/fd/{file}")
    finally:
        os.close(file)


async def _read(stream: asyncio.StreamReader) -> str:
    """All of it, kept within a few lines."""
    kept = b""
    while piece := await stream.read(_MOST_SAID):
        kept = (kept + piece)[-_MOST_SAID:]
    lines = [line for line in kept.decode(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else ""


async def _end(child: asyncio.subprocess.Process) -> None:
    """Podman cleans up at SIGTERM; whatever is left of its session goes with it."""
    if child.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            child.terminate()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(child.wait()), _END_S)
    if child.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        await child.wait()


def _environment(kept: Collection[tuple[str, str]], proxy: str, scratch: str) -> Mapping[str, str]:
    ours = {name: proxy for one in ("HTTP_PROXY", "HTTPS_PROXY") for name in (one, one.lower())}
    return {"PATH": os.environ.get("PATH", os.defpath), "HOME": "/root", **dict(kept), **ours, "TMPDIR": scratch}


def _listening(path: Path, host: str, port: int) -> socket.socket:
    family = socket.AF_INET if ip_address(host).version == 4 else socket.AF_INET6
    with netns.inside_path(path):
        one = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        one.bind((host, port))
        one.listen(64)
        one.setblocking(False)
    except OSError:
        one.close()
        raise
    return one
