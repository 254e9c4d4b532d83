"""One guest's console: who does not keep up holds up nobody."""

import asyncio
import time
from pathlib import Path

from anypop.agent.guests import files
from anypop.agent.guests.console import MOST_ATTACHED, MOST_BEHIND, SHOWN, Console
from anypop.agent.guests.wanted import Guest
from anypop.agent.log_names import LOG
from tests.wait import wait_until

LINE = b"x" * 99 + b"\n"


def test_a_console_that_does_not_keep_up_is_cut_off(tmp_path: Path) -> None:
    """The guest is read to its end all the same, and the others see all that it says."""
    many = 20 * MOST_BEHIND // len(LINE)

    async def run() -> tuple[int, int, int]:
        begin, whole = asyncio.Event(), asyncio.Event()

        async def qemu(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await begin.wait()
            for _ in range(many):
                writer.write(LINE)
                await writer.drain()
            await whole.wait()
            writer.close()

        guest = Guest(uid="u", console=str(tmp_path / "console.sock"), kept=str(tmp_path), log_bytes=1 << 30)
        console = Console(tmp_path, guest, time.time)
        server = await asyncio.start_unix_server(qemu, guest.console)
        running = asyncio.create_task(console.run())
        path = files.folder_of(tmp_path, "u") / files.ATTACH
        async with asyncio.timeout(30):
            await asyncio.to_thread(wait_until, path.exists, timeout_s=30, reason="consoles can be attached")
            (slow, kept), (quick, also_kept) = [await asyncio.open_unix_connection(path, limit=1024) for _ in range(2)]
            begin.set()
            seen = 0
            while seen < many * len(LINE):
                seen += len(await quick.read(1 << 16))
            shown = len(await slow.read())
            others = [await asyncio.open_unix_connection(path) for _ in range(MOST_ATTACHED)]
            again = len(await others[0][0].readexactly(SHOWN))
            assert await others[-1][0].read() == b"", "there are enough"
        whole.set()
        for writer in (kept, also_kept, *(writer for _, writer in others)):
            writer.close()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        server.close()
        return seen, shown, again

    seen, shown, again = asyncio.run(run())
    assert seen == many * len(LINE) and shown < seen / 2 and again == SHOWN
    assert (files.folder_of(tmp_path, "u") / LOG).read_bytes().count(LINE) == many
