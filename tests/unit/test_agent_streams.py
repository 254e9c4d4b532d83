"""What an agent answers over a stream of its own: here the host's metrics, in frames that control takes."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from anypop.agent.decide.elements import ContainerSeen, ContainerState
from anypop.agent.streams import Streams
from anypop.model.codec import from_json, to_json
from anypop.model.names import InstanceName
from anypop.model.streams import (
    LARGEST_FRAME,
    ConsoleRequest,
    Frame,
    MetricsRequest,
    Opened,
    PasswordRequest,
    Refusal,
    StreamRequest,
    Wanted,
)


class Channel:
    """A connection to control: it says what is asked, or keeps what is answered."""

    def __init__(self, *says: bytes) -> None:
        self.says, self.frames, self.over = says, list[Any](), asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for one in self.says:
            yield one
        await asyncio.Event().wait()

    async def send(self, frame: bytes, *, text: bool = False) -> None:
        self.frames.append(frame.decode() if text else frame)

    async def close(self, code: int = 1000) -> None:
        self.frames.append(code)

    async def wait_closed(self) -> None:
        await asyncio.Event().wait()


class Control:
    """Asks one thing."""

    def __init__(self, wanted: Wanted, says: Sequence[bytes] = ()) -> None:
        self.channel, self.stream = Channel(to_json(StreamRequest(id="s1", wanted=wanted))), Channel(*says)

    @asynccontextmanager
    async def connect(self, what: str) -> AsyncIterator[Any]:
        yield {"streams": self.channel, "streams/s1": self.stream}[what]
        if what != "streams":
            self.stream.over.set()


async def answered(wanted: Wanted, says: Sequence[bytes] = (), **more: Any) -> list[Any]:
    control = Control(wanted, says)
    plain: dict[str, Any] = {
        "containers": tuple, "logs_in": lambda _: None, "kept": Path("/nowhere"), "usage": None, "prefix": "t",
        "metrics": None, "samples": None, "shipping": None, "console_of": lambda _: None, "routes": None,
        "take_password": lambda _: None, "catchments": None,
    }  # fmt: skip
    running = asyncio.create_task(Streams(control, None, **(plain | more)).run())  # type: ignore[arg-type]
    async with asyncio.timeout(10):
        await control.stream.over.wait()
    running.cancel()
    return control.stream.frames


def test_a_console_is_attached_and_what_the_guest_says_comes_back(tmp_path: Path) -> None:
    """Until the guest's side ends it; what is no machine has none, and one that nobody holds yet is told as such."""
    seen = ContainerSeen(
        id="c", instance=InstanceName("db-eu-ams-0"), uid="u1", container="db", state=ContainerState.RUNNING, pid=1,
        image="i", image_digest="d",
    )  # fmt: skip
    path, wanted = tmp_path / "attach.sock", ConsoleRequest(uid="u1", container="db")

    async def guest(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"login: " + await reader.readexactly(4))
        writer.close()

    async def run() -> list[Any]:
        server = await asyncio.start_unix_server(guest, path)
        async with server:
            return await answered(
                wanted, says=[bytes([Frame.INPUT]) + b"root"], containers=lambda: (seen,), console_of=lambda _: path
            )

    opened, *frames, code = asyncio.run(run())
    assert (from_json(Opened, opened).refusal, code) == (None, 1000)
    assert b"".join(frame[1:] for frame in frames) == b"login: root"
    assert [frame[0] for frame in frames][-1] == Frame.END
    for where, refusal in ((None, Refusal.NOT_THERE), (tmp_path / "none", Refusal.NOT_YET)):
        told, _ = asyncio.run(answered(wanted, containers=lambda: (seen,), console_of=lambda _, to=where: to))
        assert from_json(Opened, told).refusal is refusal


def test_a_password_comes_in_one_answer_or_is_told_as_not_there() -> None:
    wanted = PasswordRequest(uid="u1")
    opened, frame, code = asyncio.run(answered(wanted, take_password=lambda uid: b"hush" if uid == "u1" else None))
    assert (from_json(Opened, opened).refusal, frame, code) == (None, b"hush", 1000)
    told, _ = asyncio.run(answered(wanted))
    assert from_json(Opened, told).refusal is Refusal.NOT_THERE


@pytest.mark.parametrize("size", [0, 10, LARGEST_FRAME, 3 * LARGEST_FRAME + 1])
def test_the_metrics_come_whole_in_frames_that_control_takes(size: int) -> None:
    text = bytes(range(256)) * (size // 256) + bytes(size % 256)

    async def metrics() -> bytes:
        return text

    opened, *frames, code = asyncio.run(answered(MetricsRequest(), metrics=metrics))
    assert code == 1000, "control is told that it is whole"
    assert from_json(Opened, opened).refusal is None
    assert b"".join(frames) == text and all(0 < len(frame) <= LARGEST_FRAME for frame in frames)
