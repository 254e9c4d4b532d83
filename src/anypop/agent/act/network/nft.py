"""The `nft` program: loads rules written as text, in one transaction.

In: words and a script. Out: what it printed, or `WorldError` with its own words. It is needed where rules are
compiled; looking at tables and deleting them goes without a process, in `nftables`.
"""

import asyncio
from collections import deque

from anypop.host import netns
from anypop.model.errors import WorldError

started: deque[int] = deque(maxlen=64)
"""The last processes that were started here: changes of rules by them are our own."""


async def nft(what: str, *words: str, stdin: str | None = None, namespace: str = "") -> str:
    """What `nft WORDS` printed. `what`: what is tried, for the error; `namespace`: by name, else our own."""
    argv = netns.command(namespace, "nft", *words) if namespace else ["nft", *words]
    try:
        run = await asyncio.create_subprocess_exec(
            *argv, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
    except FileNotFoundError as error:
        raise WorldError(what, "nft is not installed; run script/setup") from error
    started.append(run.pid)
    out, err = await run.communicate(stdin.encode() if stdin else None)
    if run.returncode != 0:
        raise WorldError(what, err.decode(errors="replace").strip() or f"nft ended with {run.returncode}")
    return out.decode()
