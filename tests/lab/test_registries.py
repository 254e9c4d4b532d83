"""Pulls by a real Podman from a hostile registry: by redirect, by a token's realm, by what a name resolves to, it
tries to lead the agent to a service of the host that nobody listed. Each zero stands beside the same with the place
listed, where the requests arrive.
"""

import asyncio
import hashlib
import io
import json
import tarfile
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from anypop.agent.act.instances.podman import Podman
from anypop.agent.decide.steps import DropImage, PullImage
from anypop.model.errors import WorldError
from tests.agent_lab import POP
from tests.podman_service import PodmanService

pytestmark = pytest.mark.lab
_KIND = "application/vnd.docker.distribution.manifest.v2+json"


class Server:
    """An HTTP server on loopback; `asked` has the path of every request."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.asked.append(self.path)
                status, headers, body = outer.answer(self.path)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

            def do_HEAD(self) -> None:
                self.do_GET()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        return 200, {}, b"a secret of the host"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Registry(Server):
    """One image under every name. `blobs_at`, `realm_at`: where it sends those who ask for a blob or a token."""

    def __init__(self) -> None:
        super().__init__()
        self.blobs_at = self.realm_at = ""
        self.make("")

    def make(self, label: str) -> None:
        """The image anew, with a label of its own."""
        layer = io.BytesIO()
        with tarfile.open(fileobj=layer, mode="w") as tar:
            tar.addfile(tarfile.TarInfo("empty"))
        diff = _digest(layer.getvalue())
        config = {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Labels": {"made": label}},
            "rootfs": {"type": "layers", "diff_ids": [diff]},
        }
        self._blobs = {_digest(blob): blob for blob in (layer.getvalue(), json.dumps(config).encode())}
        sizes = [{"digest": name, "size": len(blob)} for name, blob in self._blobs.items()]
        kinds = ("application/vnd.docker.image.rootfs.diff.tar", "application/vnd.docker.container.image.v1+json")
        first, second = ({"mediaType": kind, **size} for kind, size in zip(kinds, sizes, strict=True))
        told = {"schemaVersion": 2, "mediaType": _KIND, "config": second, "layers": [first]}
        self._manifest = json.dumps(told).encode()

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        if self.realm_at:
            realm = f'Bearer realm="http://{self.realm_at}/token",service="x"'
            return 401, {"WWW-Authenticate": realm}, b""
        if path == "/v2/":
            return 200, {}, b"{}"
        if "/missing/" in path:
            error = {"code": "MANIFEST_UNKNOWN", "message": "the manifest is not known here"}
            return 404, {"Content-Type": "application/json"}, json.dumps({"errors": [error]}).encode()
        if "/manifests/" in path:
            head = {"Content-Type": _KIND, "Docker-Content-Digest": _digest(self._manifest)}
            return 200, head, self._manifest
        name = path.rpartition("/")[2]
        if self.blobs_at:
            return 307, {"Location": f"http://{self.blobs_at}/blob"}, b""
        return (200, {}, self._blobs[name]) if name in self._blobs else (404, {}, b"")


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


class Place:
    """A registry that is listed, a service of the host that is not, and a Podman."""

    def __init__(self) -> None:
        self.registry, self.secret = Registry(), Server()
        folder = Path(tempfile.mkdtemp(prefix="rgs-", dir="/tmp"))
        hosts = [f"{name}:{server.port}" for server in (self.registry, self.secret) for name in ("127.0.0.1", "127.1")]
        told = "".join(f'[[registry]]\nlocation = "{host}"\ninsecure = true\n' for host in hosts)
        told += (
            f'[[registry]]\nlocation = "hub.invalid"\n[[registry.mirror]]\nlocation = "{hosts[0]}"\ninsecure = true\n'
        )
        (folder / "registries.conf").write_text(told)
        self.podman = PodmanService(folder, {"CONTAINERS_REGISTRIES_CONF": str(folder / "registries.conf")})
        self.podman.start()
        self._number = 0

    def close(self) -> None:
        self.podman.stop()
        self.registry.close()
        self.secret.close()

    def pull(self, *listed: str, host: str = "127.0.0.1", port: int = 0, whole: str = "") -> str:
        """What a tenant is told; empty where the image is here. Each pull asks for another name."""
        self._number += 1
        self.secret.asked.clear()
        image = whole or f"{host}:{port or self.registry.port}/team/web{self._number}:1"
        return asyncio.run(self._pull(image, listed)).replace(image.partition("/")[0], "HOST").replace(image, "IMAGE")

    def images(self) -> set[str]:
        """All names of images that are here."""
        rows = self.podman.ask("GET", "/images/json?all=true").json() or []
        return {name for row in rows for name in (row.get("Names") or [row["Id"]])}

    async def _pull(self, image: str, listed: tuple[str, ...]) -> str:
        runtime = Podman(self.podman.socket, prefix="rgs", pop=POP)
        try:
            await runtime.carry_out(PullImage(image=image, anew=True, registries=listed, lane=""))
        except WorldError as error:
            return error.why
        finally:
            await runtime.close()
        return ""


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    place = Place()
    try:
        yield place
    finally:
        place.close()


@contextmanager
def hostile(place: Place, **ways: str) -> Iterator[None]:
    for name, value in ways.items():
        setattr(place.registry, name, value)
    try:
        yield
    finally:
        place.registry.blobs_at = place.registry.realm_at = ""


def test_what_the_operator_lists_is_pulled_and_nothing_else_is_reached(place: Place) -> None:
    """An image comes from a listed registry on loopback, asked directly or by a name; the same registry may not send
    anybody on to a service that is not listed, by an address or by a name, with blobs or with tokens.
    """
    ours = (f"127.0.0.1:{place.registry.port}", f"127.1:{place.registry.port}")
    there = (f"127.0.0.1:{place.secret.port}", f"127.1:{place.secret.port}")
    assert [place.pull(*ours), place.pull(*ours, host="127.1")] == ["", ""]
    for to in there:
        with hostile(place, blobs_at=to):
            assert place.pull(*ours)
        assert place.secret.asked == []
    with hostile(place, realm_at=there[1]):
        assert place.pull(*ours)
    assert place.secret.asked == []
    # the control: listed, the same ways lead there
    with hostile(place, blobs_at=there[1]):
        assert place.pull(*ours, *there)
    assert "/blob" in place.secret.asked
    with hostile(place, realm_at=there[0]):
        assert place.pull(*ours, *there)
    assert any(path.startswith("/token") for path in place.secret.asked)


def test_a_tenant_cannot_find_out_what_listens_where(place: Place) -> None:
    """One answer for a closed port, an open one, a name of this machine and a name that there is not."""
    asked = place.registry.asked
    asked.clear()
    told = {
        place.pull(host="127.1", port=1),
        place.pull(host="127.1"),
        place.pull(host="127.1", port=place.secret.port),
        place.pull(whole="nowhere.invalid/team/web:1"),
    }
    assert told == {"no registry can be reached at HOST, or none that images may come from"}
    assert (asked, place.secret.asked) == ([], [])


def test_a_mirror_that_the_operator_sets_is_asked(place: Place) -> None:
    """In place of a registry that nobody could reach; without being listed it is not."""
    ours = f"127.0.0.1:{place.registry.port}"
    place.registry.asked.clear()
    assert place.pull(whole="hub.invalid/team/mirrored:1")
    assert place.registry.asked == []
    assert place.pull(ours, whole="hub.invalid/team/mirrored:1") == ""
    assert any("/team/mirrored/manifests/" in path for path in place.registry.asked)


def test_a_registrys_own_words_are_told(place: Place) -> None:
    """One that answers as a registry and has not got the image says so; what failed leaves no image."""
    before = place.images()
    told = place.pull(f"127.0.0.1:{place.registry.port}", whole=f"127.0.0.1:{place.registry.port}/missing/web:1")
    assert "the manifest is not known here" in told
    with hostile(place, blobs_at="127.0.0.1:1"):
        assert place.pull(f"127.0.0.1:{place.registry.port}")
    assert place.images() == before


def test_what_was_fetched_is_known_and_can_be_dropped(place: Place) -> None:
    """By its name; one that lost its name to a newer one by its id."""
    image, listed = f"127.0.0.1:{place.registry.port}/again/web:1", (f"127.0.0.1:{place.registry.port}",)

    async def test() -> None:
        runtime = Podman(place.podman.socket, prefix="rgs", pop=POP)
        try:
            for number in (1, 2):
                place.registry.make(f"build {number}")
                await runtime.carry_out(PullImage(image=image, anew=True, registries=listed, lane=""))
            first = [name for name in runtime.fetched() if name != image]
            assert len(first) == 1
            assert {image, *first} <= place.images()
            for name in (image, *first):
                await runtime.carry_out(DropImage(image=name, lane=""))
            assert not runtime.fetched(), "else it would be dropped for ever"
        finally:
            await runtime.close()

    before = place.images()
    asyncio.run(test())
    assert place.images() == before
