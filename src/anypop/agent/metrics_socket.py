"""The host's metrics on a UNIX socket, for a collector that runs on the host itself.

In: connections, each with one HTTP request; of whom the file's mode lets in, which is root. Out: the text of this
moment, whatever the path. Nothing else is answered, nothing is changed, and no more than a few are served at once.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

from anypop.agent.observe.exposition import CONTENT_TYPE

log = logging.getLogger("anypop.agent")
AT_ONCE = 8
PATIENCE_S = 5.0  # with who does not say what is wanted


async def serve(file: Path, text: Callable[[], Awaitable[bytes]]) -> None:
    """Until cancelled. A path that is too long for a socket is no obstacle here; who connects needs a shorter one."""
    places = asyncio.Semaphore(AT_ONCE)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            async with places, asyncio.timeout(PATIENCE_S):
                await reader.readuntil(b"\r\n\r\n")
                body = await text()
                head = (
                    f"HTTP/1.1 200 OK\r\nContent-Type: {CONTENT_TYPE}\r\nContent-Length: {len(body)}\r\n"
                    "Connection: close\r\n\r\n"
                )
                writer.write(head.encode() + body)
                await writer.drain()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        file.unlink(missing_ok=True)  # noqa: ASYNC240 - a moment; of an agent before this one; two never run on one folder
        server = await asyncio.start_unix_server(answer, f"/proc/self/fd/{folder}/{file.name}")
        file.chmod(0o600)  # noqa: ASYNC240 - as above
        async with server:
            await server.serve_forever()
    except OSError as error:
        log.warning("no metrics on %s: %s", file, error.strerror or error)
    finally:
        os.close(folder)
