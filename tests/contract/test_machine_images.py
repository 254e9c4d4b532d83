"""Images of virtual machines: brought in pieces or fetched, verified, resolved, let go; and given to hosts that need
them, and to nobody else.
"""

import asyncio
import hashlib
import json
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

import httpx
import pytest

from anypop.agent.act.instances.image_cache import ImageCache
from anypop.cli import vm_images
from anypop.control import machine_images
from anypop.control.refusals import NotFound
from anypop.control.roles import Role
from anypop.control.state import State
from anypop.model.confinement import InstanceRules
from anypop.model.errors import Invalid, WorldError
from anypop.model.machine import Board, DiskFormat, Firmware, ImagePart, Machine, MachineImage, machine_image
from anypop.model.streams import PasswordRequest
from anypop.model.table import with_entries
from tests.cli_calls import Caller
from tests.contract.test_api_predictions import command_line
from tests.control_world import World, a_network
from tests.people import somebody
from tests.qcow2 import qcow2

IMAGES = "/workload/v1/stacks/default/images"
DISK = qcow2()
KERNEL = bytes(0x202) + b"HdrS" + os.urandom(3000)
PIECE = 100_000


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Site(ThreadingHTTPServer):
    """A web server with one file. `cuts` times it ends the connection after `cut_after` bytes, once `held` is set."""

    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content, self.cuts, self.cut_after = content, 0, 0
        self.held: Event | None = None
        self.ranges: list[str] = []
        self.leads = ""
        Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Site
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        site, asked = self.server, self.headers.get("range", "")
        site.ranges.append(asked)
        if site.leads and self.path == "/leads":
            self.send_response(302)
            self.send_header("Location", site.leads)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        begin = int(asked.removeprefix("bytes=").rstrip("-") or 0) if asked else 0
        body = site.content[begin:]
        self.send_response(206 if begin else 200)
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(site.content) - 1}/{len(site.content)}")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"one"')
        self.end_headers()
        if site.cuts:
            site.cuts -= 1
            self.wfile.write(body[: site.cut_after])
            if site.held is not None:
                site.held.wait(20)
            self.close_connection = True
            self.connection.close()
            return
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site(DISK)
    yield made
    made.shutdown()
    made.server_close()


@pytest.fixture
def world(tmp_path: Path, site: Site) -> Iterator[World]:
    network = replace(a_network(), instances=InstanceRules(registries=(site.place,)))
    with World(tmp_path, network) as made:
        yield made
        made.platform.machine_images.stop()


def sent(name: str = "disk", data: bytes = DISK, **more: Any) -> dict[str, Any]:
    return {"image": {"parts": {name: {"size": str(len(data)), "sha256": sha(data)}}, **more}}


def parts_path(name: str = "debian/1", part: str = "disk", stack: str = "default") -> str:
    return f"/anypop/v1/stacks/{stack}/images/{name}/parts/{part}"


def put(world: World, data: bytes, offset: int, name: str = "debian/1", **request: Any) -> httpx.Response:
    """`stack` and `part`: of the path."""
    where = {key: request.pop(key) for key in ("stack", "part") if key in request}
    return world.call("PUT", f"{parts_path(name, **where)}?offset={offset}", content=data, **request)


def image(world: World, name: str = "debian/1") -> dict[str, Any]:
    found: dict[str, Any] = world.get(f"{IMAGES}/{name}")["image"]
    return found


def over(world: World, name: str = "debian/1") -> dict[str, Any]:
    """Once nothing happens to it any more by itself."""
    world.wait_until(lambda: not world.platform.machine_images.is_busy(), f"{name} is brought as far as it comes")
    return image(world, name)


def brought(world: World, name: str = "debian/1", data: bytes = DISK) -> dict[str, Any]:
    world.send("POST", f"{IMAGES}/{name}", sent(data=data))
    if not image(world, name)["parts"][0]["whole"]:
        assert put(world, data, 0, name).status_code == 200
    found = over(world, name)
    assert found["status"] == "READY", found
    return found


def files(world: World) -> list[str]:
    folder = world.folder / "machine-images"
    return sorted(f.name for f in folder.iterdir()) if folder.is_dir() else []


def later(world: World, seconds: float) -> None:
    """So long after everything; whoever asks has signed in again."""
    for name in files(world):
        os.utime(world.folder / "machine-images" / name, (world.clock.now, world.clock.now))
    world.clock.now += seconds
    world.headers = world.login(world.credential.client_id, world.credential.secret)


def test_an_image_that_is_sent_in_pieces_goes_on_where_it_was_cut(world: World) -> None:
    """A piece twice, one that leaves a gap and one beyond the end change nothing; control's death between two pieces
    neither.
    """
    world.send("POST", f"{IMAGES}/debian/1", sent(description="small"))
    assert put(world, DISK[:PIECE], 0).json()["part"]["received"] == str(PIECE)
    for offset in (0, PIECE + 1):
        refused = put(world, DISK[:PIECE], offset)
        assert refused.status_code == 400 and str(PIECE) in refused.json()["message"]
    world.restart()
    assert image(world)["parts"][0]["received"] == str(PIECE)
    assert put(world, DISK[PIECE:] + b"x", PIECE).status_code == 400
    assert put(world, DISK[PIECE:], PIECE).status_code == 200
    found = over(world)
    assert (found["status"], found["diskFormat"], found["diskBytes"]) == ("READY", "QCOW2", str(1 << 26))
    assert (found["reference"], found["firmware"], found["board"]) == ("default/debian:1", "BIOS", "Q35")
    assert files(world) == [sha(DISK)]
    assert put(world, b"more", 0).status_code == 400
    assert world.call("POST", f"{IMAGES}/debian/1", json=sent()).status_code == 409


def test_what_is_not_what_was_said_fails_with_the_reason_and_leaves_no_bytes(world: World) -> None:
    """Another checksum, and a disk that leads to another file; one that failed may be created anew."""
    world.send("POST", f"{IMAGES}/debian/1", sent())
    assert put(world, DISK[:-1] + b"x", 0).status_code == 200
    found = over(world)
    assert found["status"] == "FAILED" and "another checksum" in found["reason"]
    bad = qcow2(backing_at=512, backing_size=11)
    world.send("POST", f"{IMAGES}/debian/1", sent(data=bad))
    assert put(world, bad, 0).status_code == 200
    found = over(world)
    assert found["status"] == "FAILED" and "backing file" in found["reason"]
    assert files(world) == []
    assert brought(world)["status"] == "READY"


def test_what_an_image_consists_of_is_checked_with_every_problem(world: World) -> None:
    """Nothing is half accepted."""
    wrong: dict[str, Any] = {
        "firmware": "BIOS", "board": "MICROVM", "cmdline": "quiet", "parts": {"initrd": {"size": 3}},
    }  # fmt: skip
    answer = world.call("POST", f"{IMAGES}/-debian/1", json={"image": wrong})
    fields = {v["field"] for d in answer.json()["details"] for v in d.get("fieldViolations", ())}
    assert fields == {
        "family", "image.parts.disk", "image.parts.initrd", "image.parts.initrd.sha256", "image.cmdline", "image.board",
    }  # fmt: skip
    direct = {
        "cmdline": "console=hvc0", "board": "MICROVM",
        "parts": {n: {"size": len(d), "sha256": sha(d)} for n, d in (("kernel", KERNEL), ("initrd", b"cpio"))},
    }  # fmt: skip
    world.send("POST", f"{IMAGES}/tiny/1", {"image": direct})
    for part, data in (("kernel", KERNEL), ("initrd", b"cpio")):
        assert put(world, data, 0, "tiny/1", part=part).status_code == 200
    found = over(world, "tiny/1")
    assert (found["status"], found["firmware"], found["board"]) == ("READY", "KERNEL", "MICROVM")
    assert "diskBytes" not in found


def test_the_newest_that_is_ready_and_not_deprecated_is_meant_by_a_family_alone(world: World) -> None:
    """A tag means its image, deprecated or not; the same content has the same id under two tags."""
    stacks = [(world.stack.id, "default")]

    def means(reference: str) -> MachineImage:
        return world.platform.machine_images.resolve(reference, stacks, "image")

    def refusal(reference: str) -> str:
        with pytest.raises(Invalid) as refused:
            means(reference)
        return str(refused.value)

    assert "no image default/debian that you may use" in refusal("default/debian")
    brought(world)
    world.clock.now += 10
    brought(world, "debian/2")
    world.clock.now += 10
    world.send("POST", f"{IMAGES}/debian/3", sent(data=qcow2(1 << 27)))
    assert means("default/debian").reference == "default/debian:2"
    assert means("default/debian").id == means("default/debian:1").id
    assert means("default/debian:2").disk_bytes == 1 << 26
    assert "IMPORTING" in refusal("default/debian:3")
    change = world.send("PUT", f"{IMAGES}/debian/2/deprecation", {"deprecation": {"reason": "old kernel"}})["image"]
    assert change["deprecation"]["reason"] == "old kernel"
    assert means("default/debian").reference == "default/debian:1"
    assert means("default/debian:2").reference == "default/debian:2"
    world.send("PUT", f"{IMAGES}/debian/1/deprecation", {})
    assert "deprecated" in refusal("default/debian")
    world.send("PUT", f"{IMAGES}/debian/2/deprecation", {"deprecation": {"deprecated": False}})
    assert means("default/debian").reference == "default/debian:2"
    assert refusal("default/debian:9/x").startswith("image: must be")
    found = world.get(f"{IMAGES}/debian")
    assert [one["tag"] for one in found["results"]] == ["3", "2", "1"]
    assert world.send("PATCH", f"{IMAGES}/debian/1", {"image": {"description": "a"}})["image"]["description"] == "a"


def test_another_tenant_has_nothing_of_an_image(world: World) -> None:
    """Neither to see, nor to use by its reference, nor by its checksum: who knows that need not know the content."""
    brought(world)
    accounts = world.platform.accounts
    theirs = accounts.create_account("theirs").id
    stack = accounts.create_stack(theirs, "theirs", "theirs")
    eve = somebody(world, theirs, "eve", Role.OWNER)
    for method, path, body in (
        ("GET", IMAGES, None), ("GET", f"{IMAGES}/debian/1", None), ("DELETE", f"{IMAGES}/debian", None),
        ("POST", f"{IMAGES}/debian/2", sent()),
    ):  # fmt: skip
        assert world.call(method, path, headers=eve, json=body).status_code == 404
    assert put(world, DISK, 0, headers=eve).status_code == 404
    with pytest.raises(Invalid, match="that you may use"):
        world.platform.machine_images.resolve("default/debian", [(stack.id, "theirs")], "image")
    own = IMAGES.replace("default", "theirs")
    made = world.call("POST", f"{own}/stolen/1", headers=eve, json=sent()).json()["image"]
    assert (made["status"], made["parts"][0]["whole"]) == ("IMPORTING", False)
    assert made["parts"][0]["received"] == "0", "by its checksum alone it had another's bytes"
    viewer = somebody(world, theirs, "vic", Role.VIEWER)
    assert world.call("GET", own, headers=viewer).status_code == 200
    assert put(world, DISK, 0, "stolen/1", stack="theirs", headers=viewer).status_code == 403
    assert put(world, DISK, 0, "stolen/1", stack="theirs", headers=eve).status_code == 200
    over(world)
    assert files(world) == [sha(DISK)], "the same content is kept once"


def test_images_are_within_the_quota_and_each_content_counts_once(world: World) -> None:
    """As much as is said counts before it is here; what failed counts nothing."""
    account = world.platform.accounts.first_account().id
    world.send("PUT", f"/anypop/v1/accounts/{account}/quota", {"quota": {"image_bytes": 400_000}})
    brought(world)
    brought(world, "debian/2")
    assert world.get("/anypop/v1/quota")["used"]["image_bytes"] == len(DISK)
    refused = world.call("POST", f"{IMAGES}/big/1", json=sent(data=bytes(512 * 400)))
    assert refused.status_code == 429 and "images of virtual machines" in refused.json()["message"]


def test_control_fetches_an_image_and_goes_on_after_a_cut(world: World, site: Site) -> None:
    """From where it was, behind a redirect too; the query of a URL, which may be a secret, is not told."""
    site.cuts, site.cut_after, site.leads = 2, PIECE, f"http://{site.place}/disk?key=secret"
    world.send("POST", f"{IMAGES}/debian/1", {"image": {"parts": {"disk": {"url": f"http://{site.place}/leads?k=s"}}}})
    found = over(world)
    assert (found["status"], found["parts"][0]["sha256"]) == ("READY", sha(DISK)), found
    assert found["parts"][0]["url"] == f"http://{site.place}/leads"
    assert f"bytes={PIECE}-" in site.ranges and f"bytes={2 * PIECE}-" in site.ranges
    assert "secret" not in str(world.get("/anypop/v1/audit")) and "k=s" not in str(world.get("/anypop/v1/audit"))


def test_nothing_is_fetched_from_an_address_that_is_inside(world: World, site: Site) -> None:
    """Not by an address, nor by a name of one, nor by a redirect that leads there; and a wrong checksum counts here
    too.
    """
    inside = Site(DISK)
    try:
        site.leads = f"http://{inside.place}/disk"
        urls = [f"http://{inside.place}/disk", f"http://localhost:{inside.server_address[1]}/", f"http://{site.place}/leads",
                "http://169.254.169.254/latest", "http://[::ffff:127.0.0.1]:1/", "http://10.0.0.2/"]  # fmt: skip
        for number, url in enumerate(urls):
            world.send("POST", f"{IMAGES}/bad/{number}", {"image": {"parts": {"disk": {"url": url}}}})
            found = over(world, f"bad/{number}")
            assert found["status"] == "FAILED" and "nothing is fetched from there" in found["reason"], found
        assert not inside.ranges
    finally:
        inside.shutdown()
        inside.server_close()
    for url in ("ftp://example.net/x", "file:///etc/passwd", "http://user:word@example.net/"):
        answer = world.call("POST", f"{IMAGES}/bad/x", json={"image": {"parts": {"disk": {"url": url}}}})
        assert answer.status_code == 400
    body = {"image": {"parts": {"disk": {"url": f"http://{site.place}/", "sha256": sha(b"other")}}}}
    world.send("POST", f"{IMAGES}/bad/y", body)
    assert "another checksum" in over(world, "bad/y")["reason"]


def test_a_fetch_goes_on_with_the_next_life_of_control(world: World, site: Site) -> None:
    """What has come counts where the checksum is known beforehand."""
    site.cuts, site.cut_after, site.held = 1, PIECE, Event()
    part = {"url": f"http://{site.place}/", "sha256": sha(DISK)}
    world.send("POST", f"{IMAGES}/debian/1", {"image": {"parts": {"disk": part}}})
    world.wait_until(lambda: image(world)["parts"][0]["received"] == str(PIECE), "a part of it has come")
    former = world.platform.machine_images
    former.stop()
    site.held.set()
    world.wait_until(lambda: not former.is_busy(), "the former life has ended")
    world.restart()
    world.platform.machine_images.begin()
    assert over(world)["status"] == "READY"
    assert site.ranges == ["", f"bytes={PIECE}-"]


def with_machine(world: World, found: MachineImage, cities: tuple[str, ...] = ("LHR",)) -> None:
    """A workload whose only container is a virtual machine made of it."""
    world.create("vm", cities=cities, replicas=1)
    declared = next(d for d in world.state.workloads.values() if d.workload.slug == "vm")

    def alter(state: State, now: float) -> State:
        (container,) = declared.workload.containers
        made = replace(container, image=found.reference, machine=Machine(image=found))
        newest = replace(declared.newest, workload=replace(declared.workload, containers=(made,)))
        return replace(state, workloads=with_entries(state.workloads, {declared.id: replace(declared, newest=newest)}))

    world.run(world.platform.core.change(alter))


def test_an_image_in_use_is_not_deleted_and_its_files_are_for_the_hosts_that_need_them(world: World) -> None:
    """Said by whom. A host whose order does not name a file does not get it. What nobody needs goes after a rest."""
    brought(world)
    images = world.platform.machine_images
    with_machine(world, images.resolve("default/debian", [(world.stack.id, "default")], "image"))
    refused = world.call("DELETE", f"{IMAGES}/debian/1")
    assert refused.status_code == 400 and "in use by workload vm" in refused.json()["message"]
    assert world.call("DELETE", f"{IMAGES}/debian").status_code == 400
    london, amsterdam = (next(a for a in world.agents() if a.host == name) for name in ("LHR", "AMS"))
    path = f"/anypop/v1/agents/{{}}/machine-images/{sha(DISK)}"
    whole = world.call("GET", path.format("LHR"), headers=london.headers)
    assert (whole.status_code, whole.content) == (200, DISK)
    half = world.call("GET", path.format("LHR"), headers={**london.headers, "range": f"bytes={PIECE}-"})
    assert (half.status_code, half.content) == (206, DISK[PIECE:])
    assert world.call("GET", path.format("AMS"), headers=amsterdam.headers).status_code == 404
    assert world.call("GET", path.format("LHR"), headers=amsterdam.headers).status_code == 403
    assert world.call("GET", path.format("LHR")).status_code == 401
    assert world.call("GET", path.format("LHR")[:-1] + "%2e", headers=london.headers).status_code == 400

    brought(world, "other/1", qcow2(1 << 27))
    world.send("DELETE", f"{IMAGES}/other/1")
    assert len(files(world)) == 2 and images.collect() == 0
    later(world, machine_images.REST_S + 60)
    assert images.collect() == len(qcow2(1 << 27))
    assert files(world) == [sha(DISK)]
    world.send("DELETE", "/workload/v1/stacks/default/workloads/vm")
    world.settle()
    world.send("DELETE", f"{IMAGES}/debian")
    world.clock.now += 10
    assert world.get(IMAGES)["results"] == []


POWER = "/anypop/v1/stacks/default/workloads/vm/instances/vm-eu-lhr-0/power"


def test_a_machine_is_powered_off_mended_and_powered_on(world: World) -> None:
    """What its host is ordered, each once; the image that mends is kept and is for that host. One of containers is
    refused in words, and so is an image that is not there.
    """
    brought(world)
    brought(world, "mend/1", qcow2(1 << 27))
    images = world.platform.machine_images
    with_machine(world, images.resolve("default/debian", [(world.stack.id, "default")], "image"))
    world.create("web", cities=("LHR",), replicas=1)
    london = next(a for a in world.agents() if a.host == "LHR")

    def ordered() -> tuple[str, str]:
        london.obey()
        assert london.order is not None
        (one,) = (i for i in london.order.instances if i.name == "vm-eu-lhr-0")
        return one.power, one.rescue.reference if one.rescue is not None else ""

    assert ordered() == ("on", "")
    world.send("POST", f"{POWER}/off", {})
    world.send("POST", f"{POWER}/off", {})
    assert ordered() == ("off", "")
    refused = world.call("POST", f"{POWER.replace('/anypop/', '/workload/')}/restart")
    assert refused.status_code == 400 and "power it on" in refused.json()["message"]
    world.send("POST", f"{POWER}/rescue", {"image": "default/mend:1"})
    assert ordered() == ("on", "default/mend:1")
    file = f"/anypop/v1/agents/LHR/machine-images/{sha(qcow2(1 << 27))}"
    assert world.call("GET", file, headers=london.headers).status_code == 200
    refused = world.call("DELETE", f"{IMAGES}/mend/1")
    assert "vm-eu-lhr-0, which it mends" in refused.json()["message"]
    world.restart()
    assert next(p.incarnation.rescue for p in world.state.incarnations.values() if p.incarnation.name == "vm-eu-lhr-0")
    world.send("POST", f"{POWER}/on", {})
    assert ordered() == ("on", "")
    assert world.call("POST", f"{POWER}/rescue", json={"image": "default/none"}).status_code == 400
    refused = world.call("POST", f"{POWER.replace('vm', 'web')}/off")
    assert refused.status_code == 400 and "made of containers" in refused.json()["message"]
    noted = world.get("/anypop/v1/audit?operation=power_off")["results"]
    assert [one["after"] for one in noted] == [{"power": "off"}, None], "the second time changes nothing"


class Told:
    """Hosts' streams, on which a guest's password comes once."""

    def __init__(self, password: bytes) -> None:
        self.left, self.asked = [password], list[tuple[str, object]]()

    @asynccontextmanager
    async def ask(self, host: str, wanted: object, account: str) -> AsyncIterator["Told"]:
        self.asked.append((host, wanted))
        if not self.left:
            raise NotFound("its guest has told no password, or it was shown already")
        yield self

    async def receive(self) -> bytes | None:
        return self.left.pop() if self.left else None


def test_the_first_password_is_shown_once_and_that_is_noted(world: World) -> None:
    """Not the password itself. An instance of containers has none."""
    brought(world)
    with_machine(world, world.platform.machine_images.resolve("default/debian", [(world.stack.id, "default")], "image"))
    world.create("web", cities=("LHR",), replicas=1)
    told = world.platform.streams = Told(b"hush")  # type: ignore[assignment]
    path = "/workload/v1/stacks/default/workloads/{0}/instances/{0}-eu-lhr-0/passwords/initial"
    assert world.get(path.format("vm")) == {"password": "hush"}
    assert world.call("GET", path.format("vm")).status_code == 404
    assert world.call("GET", path.format("web")).status_code == 404
    uid = next(u for u, p in world.state.incarnations.items() if p.incarnation.name == "vm-eu-lhr-0")
    assert told.asked == [("LHR", PasswordRequest(uid=uid))] * 2
    (noted,) = world.get("/anypop/v1/audit?operation=get_initial_password")["results"]
    assert (noted["subject"], noted["after"]) == ("vm-eu-lhr-0", {"shown": True}) and "hush" not in str(noted)


def test_an_upload_that_nobody_goes_on_with_is_given_up(world: World) -> None:
    """After a day without a byte, with the reason."""
    world.send("POST", f"{IMAGES}/debian/1", sent())
    put(world, DISK[:PIECE], 0)
    world.platform.machine_images.collect()
    assert image(world)["status"] == "IMPORTING"
    later(world, machine_images.IDLE_S + 60)
    world.platform.machine_images.collect()
    assert image(world)["status"] == "FAILED" and "within a day" in image(world)["reason"]
    assert files(world) == []


@pytest.fixture
def call(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Caller:
    """The command line of the same operator."""
    folder = tmp_path / "client"
    folder.mkdir()
    return command_line(world, folder, monkeypatch)


def test_the_command_line_imports_goes_on_and_lets_go(
    world: World, call: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a file, and of a folder that describes itself; an import that was cut goes on when it is called again."""
    monkeypatch.setattr(vm_images, "PIECE", PIECE)
    file = tmp_path / "disk.qcow2"
    file.write_bytes(DISK)
    world.send("POST", f"{IMAGES}/debian/{sha(DISK)[:12]}", sent())
    put(world, DISK[:PIECE], 0, f"debian/{sha(DISK)[:12]}")
    ran = call("vm", "image", "import", str(file), "--family", "debian", "-o", "json")
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    assert (found["status"], found["parts"][0]["sha256"]) == ("READY", sha(DISK))
    folder = tmp_path / "made"
    folder.mkdir()
    (folder / "kernel").write_bytes(KERNEL)
    told = {
        "firmware": "KERNEL",
        "board": "MICROVM",
        "cmdline": "quiet",
        "parts": [{"name": "kernel", "file": "kernel"}],
    }
    (folder / "image.json").write_text(json.dumps(told))
    ran = call("vm", "image", "import", str(folder), "--family", "tiny", "--tag", "1")
    assert ran.code == 0 and "default/tiny:1 is ready" in ran.out, ran.err
    assert call("vm", "image", "import", str(file), "--family", "x", "--sha256", "0" * 64).code == 1
    file.write_bytes(DISK[:100])
    ran = call("vm", "image", "import", str(file), "--family", "bad", "--tag", "1")
    assert ran.code == 1 and "damaged" in ran.err
    ran = call("vm", "image", "deprecate", "tiny:1", "--reason", "old")
    assert ran.code == 0 and "old" in ran.out
    ran = call("vm", "image", "list", "--family", "tiny")
    assert "default/tiny:1" in ran.out and "READY" in ran.out
    assert sha(KERNEL) in call("vm", "image", "describe", "tiny:1").out
    assert call("vm", "image", "delete", "tiny", "--yes").code == 0
    assert call("vm", "image", "describe", "tiny:1").code == 5


class Source:
    """Control's files as a host gets them. `cut`: after so many bytes, once; `wrong`: other bytes come."""

    def __init__(self, data: bytes) -> None:
        self.data, self.cut, self.wrong, self.asked = data, 0, False, list[int]()
        self.gate, self.begun = asyncio.Event(), asyncio.Event()
        self.gate.set()

    @asynccontextmanager
    async def __call__(self, sha256: str, offset: int) -> AsyncIterator[tuple[int, AsyncIterator[bytes]]]:
        self.asked.append(offset)
        self.begun.set()
        cut, self.cut = self.cut, 0

        async def pieces() -> AsyncIterator[bytes]:
            await self.gate.wait()
            for at in range(offset, len(self.data), 1000):
                if cut and at >= cut:
                    raise WorldError("get it", "it was cut")
                piece = self.data[at : at + 1000]
                yield b"x" * len(piece) if self.wrong else piece

        yield offset, pieces()


def an_image(data: bytes) -> MachineImage:
    part = ImagePart(name="disk", sha256=sha(data), size=len(data))
    return machine_image(
        "a/b:1", parts=(part,), disk_format=DiskFormat.QCOW2, disk_bytes=512, firmware=Firmware.BIOS, board=Board.Q35
    )


def cached(tmp_path: Path, story: Callable[[ImageCache, Source, MachineImage], Any]) -> None:
    source = Source(DISK)
    cache = ImageCache(tmp_path / "images", source, wall=time.time)
    asyncio.run(story(cache, source, an_image(DISK)))


def test_a_host_fetches_an_image_once_for_all_who_wait_and_goes_on_after_a_cut(tmp_path: Path) -> None:
    """One who leaves takes it from nobody."""

    async def story(cache: ImageCache, source: Source, image: MachineImage) -> None:
        source.cut = 5000
        with pytest.raises(WorldError, match="cut"):
            await cache.have(image)
        assert cache.progress(image) == (5000, len(DISK)) and not cache.has(image)
        source.gate.clear()
        source.begun.clear()
        waiting = [asyncio.create_task(cache.have(image)) for _ in range(5)]
        await source.begun.wait()
        waiting[0].cancel()
        source.gate.set()
        found = await asyncio.gather(*waiting[1:])
        assert all(paths["disk"].read_bytes() == DISK for paths in found)
        assert source.asked == [0, 5000]
        assert cache.fetched() == {image.id}

    cached(tmp_path, story)


def test_a_host_keeps_nothing_of_what_has_another_checksum(tmp_path: Path) -> None:
    """It begins anew, since nobody knows which bytes were wrong."""

    async def story(cache: ImageCache, source: Source, image: MachineImage) -> None:
        source.wrong = True
        with pytest.raises(WorldError, match="another checksum"):
            await cache.have(image)
        assert not cache.has(image) and cache.progress(image) == (0, len(DISK))
        source.wrong = False
        assert (await cache.have(image))["disk"].read_bytes() == DISK
        assert source.asked == [0, 0]

    cached(tmp_path, story)


def test_a_host_looks_for_room_before_it_fetches(tmp_path: Path) -> None:
    """The reason says how much is missing."""

    async def story(cache: ImageCache, source: Source, image: MachineImage) -> None:
        huge = replace(image, parts=(replace(image.parts[0], size=1 << 60),))
        with pytest.raises(WorldError, match="are needed"):
            await cache.have(huge)
        assert source.asked == []

    cached(tmp_path, story)


def test_a_host_lets_an_image_go_and_keeps_what_another_has_of_it(tmp_path: Path) -> None:
    """By its id, also in a later life; what was begun and left goes too, but not at once."""

    async def story(cache: ImageCache, source: Source, image: MachineImage) -> None:
        path = (await cache.have(image))["disk"]
        other = replace(image, id="f" * 64, cmdline="quiet")
        await cache.have(other)
        assert source.asked == [0] and cache.fetched() == {image.id, other.id}
        left = path.with_name("e" * 64 + ".part")
        left.touch()
        later = ImageCache(tmp_path / "images", source, wall=time.time)
        await later.drop(image.id)
        assert path.exists() and left.exists() and later.fetched() == {other.id}
        os.utime(left, (1, 1))
        await later.drop(other.id)
        assert not list((tmp_path / "images").iterdir())
        await later.drop(other.id)

    cached(tmp_path, story)
