"""What a guest's metadata service answers, and to whom it does not; and requests that are none."""

import asyncio
from pathlib import Path

import pytest

from anypop.agent.guests import files
from anypop.agent.guests.metadata import LIFETIME_HEADER, TOKEN_HEADER, Answer, Asked, Metadata, Tokens
from anypop.agent.guests.service import LARGEST_BODY, LARGEST_HEAD, serve
from anypop.agent.guests.wanted import Guest
from anypop.agent.guests.word import Known

ABOUT = {
    "instance-id": "i-1", "local-hostname": "web-eu1-lhr-0", "placement/availability-zone": "LHR",
    "public-keys/0/openssh-key": "ssh-ed25519 AAAA a", "public-keys/1/openssh-key": "ssh-ed25519 BBBB b",
}  # fmt: skip
SEED = {"meta-data": b"instance-id: i-1\n", "user-data": b"#cloud-config\n", "vendor-data": b""}


class World:
    def __init__(self, seed: dict[str, bytes] = SEED) -> None:
        self.now = 0.0
        self.kept: list[bytes] = []
        self.ready: list[float] = []
        self.metadata = Metadata(
            about=ABOUT, seed=lambda name: seed.get(name) or None, tokens=Tokens(lambda: self.now),
            keep_password=self._keep, keep_ready=lambda: self.ready.append(self.now),
        )  # fmt: skip

    def _keep(self, password: bytes) -> bool:
        self.kept.append(password)
        return len(self.kept) == 1

    def ask(self, method: str, path: str, **headers: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.metadata.answer(Asked(method=method, path=path, headers=named))

    def token(self, life: str = "60") -> str:
        return self.metadata.answer(
            Asked(method="PUT", path="/latest/api/token", headers={LIFETIME_HEADER: life})
        ).body.decode()

    def get(self, path: str, token: str) -> tuple[int, str]:
        given = self.metadata.answer(Asked(method="GET", path=path, headers={TOKEN_HEADER: token}))
        return given.status, given.body.decode()


def test_what_a_guest_is_told_is_read_with_a_token() -> None:
    """Paths and lists as EC2 has them, of any version."""
    world = World()
    token = world.token()
    assert world.get("/latest/", token) == (200, "meta-data\nuser-data")
    assert world.get("/2009-04-04/meta-data/", token)[1].split() == [
        "instance-id", "local-hostname", "placement/", "public-keys/",
    ]  # fmt: skip
    assert world.get("/latest/meta-data/public-keys/", token)[1] == "0=key-0\n1=key-1"
    assert world.get("/latest/meta-data/public-keys/1/", token)[1] == "openssh-key"
    assert world.get("/latest/meta-data/public-keys/1/openssh-key", token)[1] == "ssh-ed25519 BBBB b"
    assert world.get("/latest/meta-data/placement/availability-zone", token)[1] == "LHR"
    assert world.get("/latest/user-data", token) == (200, "#cloud-config\n")
    assert [world.get(f"/latest/{path}", token)[0] for path in ("meta-data/none", "none", "meta-data/../x")] == [
        404
    ] * 3
    assert World({}).get("/latest/user-data", World({}).token())[0] == 401, "another's token"


def test_without_a_token_nothing_is_told() -> None:
    """Neither with one that is over, was made up, or would be asked for by somebody's proxy."""
    world = World()
    token = world.token("60")
    assert world.ask("GET", "/latest/user-data").status == 401
    made_up = f"9999999999.{token.partition('.')[2]}"
    assert [world.get("/latest/user-data", one)[0] for one in (made_up, "x", "\u00fc.\u00fc", ".")] == [401] * 4
    world.now = 61
    assert world.get("/latest/user-data", token)[0] == 401
    assert [
        world.ask("PUT", "/latest/api/token", **{LIFETIME_HEADER: life}).status for life in ("0", "21601", "x", "")
    ] == [400] * 4
    forwarded = {LIFETIME_HEADER: "60", "x-forwarded-for": "192.0.2.1"}
    assert world.ask("PUT", "/latest/api/token", **forwarded).status == 403
    assert world.ask("GET", "/latest/api/token").status == 405


def test_cloud_init_finds_its_seed_and_others_do_not() -> None:
    world = World()
    assert world.ask("GET", "/nocloud/user-data", user_agent="Cloud-Init/22.4").body == b"#cloud-config\n"
    assert world.ask("GET", "/nocloud/vendor-data", user_agent="Cloud-Init/22.4") == Answer(), "empty, and there"
    assert world.ask("GET", "/nocloud/network-config", user_agent="Cloud-Init/22.4").status == 404
    assert world.ask("GET", "/nocloud/../guests.json", user_agent="Cloud-Init/22.4").status == 404
    assert world.ask("GET", "/nocloud/user-data", user_agent="curl/8").status == 403


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /latest/meta-data/ HTTP/1.0\r\n\r\n", b"401"),
        (b"POST /latest/ HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\na=b", b"405"),
        (b"POST /latest/ HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n\r\n" + b"x" * (LARGEST_BODY + 1), b"413"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * (LARGEST_HEAD * 2), b"431"),
        (b"nonsense\r\n\r\n", b"400"),
    ],
)
def test_each_request_has_an_answer_and_none_is_large(sent: bytes, status: bytes) -> None:
    world = World()

    async def ask() -> bytes:
        async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await serve(reader, writer, world.metadata.answer)
            writer.close()

        server = await asyncio.start_server(serve_one, "127.0.0.1", 0)
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(sent)
            given = b"".join([piece async for piece in reader])
            writer.close()
            return given

    lines = asyncio.run(ask()).split(b"\r\n")
    assert status in [line.split()[1] for line in lines if line.startswith(b"HTTP/1.1 ")]


def test_a_password_is_told_once_and_never_given_back() -> None:
    """As OpenStack has it, of any version; nothing and too much are none."""
    world, path = World(), "/openstack/2013-04-04/password"

    def told(body: bytes, method: str = "POST") -> int:
        return world.metadata.answer(Asked(method=method, path=path, body=body)).status

    assert [told(b""), told(b"x" * 1025), told(b"", "GET")] == [400, 400, 405]
    assert [told(b"hush"), told(b"another")] == [200, 409]
    assert "hush" not in repr(Asked(method="POST", path=path, body=b"hush"))


def test_a_guest_says_that_it_is_ready_and_it_holds_for_that_life_of_it(tmp_path: Path) -> None:
    """As the boot hook and the test image say it; said twice it is said once, and another QEMU has not said it, nor
    answered what the one before it did.
    """
    world = World()
    assert [world.ask("POST", "/ready").status, world.ask("GET", "/ready").status] == [200, 405]
    assert len(world.ready) == 1
    console = tmp_path / "console.sock"
    guest = Guest(uid="u1", console=str(console), kept="", log_bytes=1)
    files.folder_of(tmp_path, guest.uid).mkdir()
    word = files.word_of(tmp_path, guest.uid, guest.console)
    word.keep(Known.READY)
    assert not word.holds(Known.READY), "there is no guest that could have said it"
    console.touch()
    assert files.begins_life(tmp_path, guest)
    for _ in range(2):
        word.keep(Known.READY)
    assert not files.begins_life(tmp_path, guest), "the same QEMU, and another of our processes"
    assert word.stands()
    assert not files.word_of(tmp_path, "u2", guest.console).holds(Known.READY)
    word.keep(Known.ECHOES)
    assert word.holds(Known.READY) and not word.stands()
    later = console.with_name("later")
    later.touch()
    later.rename(console)
    assert not word.holds(Known.READY) and not word.holds(Known.ECHOES)
    assert files.begins_life(tmp_path, guest)


def test_the_first_password_lies_there_for_the_agent_alone_until_it_is_taken(tmp_path: Path) -> None:
    """Then it is nowhere, and its guest cannot tell another one."""
    assert files.take_password(tmp_path, "u1") is None
    assert files.keep_password(tmp_path, "u1", b"hush")
    assert not files.keep_password(tmp_path, "u1", b"another")
    assert [f.stat().st_mode & 0o777 for f in (tmp_path / "u1").iterdir()] == [0o600]
    assert files.take_password(tmp_path, "u1") == b"hush"
    assert not files.keep_password(tmp_path, "u1", b"another")
    assert files.take_password(tmp_path, "u1") is None
    assert not [f for f in (tmp_path / "u1").iterdir() if f.stat().st_size]
