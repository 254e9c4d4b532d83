"""The `nft` program: loads rules written as text, in one transaction.

In: words and a script. Out: what it printed, or `WorldError` with its own words. It is needed where rules are compiled
or read back; what `nftables` can tell or delete goes without a process.
"""

import asyncio
import time

from anypop.agent.act.network import nftables
from anypop.agent.act.network.netlink import NETFILTER, Netlink
from anypop.host import netns
from anypop.model.errors import WorldError

Ruleset = tuple[int | None, int]
"""Whose it is (`Netlink.namespace`), and its number there."""

started: dict[int, float | None] = {}
"""The last processes that were started here, and when each ended (monotonic; None: it runs)."""
OWN_FOR_S = 2.0  # what a process changed is told before it ends; on a busy host its number is soon another's
_listed: dict[tuple[str, str], tuple[Ruleset, str]] = {}


async def nft(what: str, *words: str, stdin: str | None = None, namespace: str = "") -> str:
    """What `nft WORDS` printed. `what`: what is tried, for the error; `namespace`: by name, else our own."""
    argv = netns.command(namespace, "nft", *words) if namespace else ["nft", *words]
    try:
        run = await asyncio.create_subprocess_exec(
            *argv, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
    except FileNotFoundError as error:
        raise WorldError(what, "nft is not installed; run script/setup") from error
    for pid in [pid for pid in started if not is_own(pid)]:
        del started[pid]
    started[run.pid] = None
    try:
        out, err = await run.communicate(stdin.encode() if stdin else None)
    finally:
        started[run.pid] = time.monotonic()
    if run.returncode != 0:
        raise WorldError(what, err.decode(errors="replace").strip() or f"nft ended with {run.returncode}")
    return out.decode()


def is_own(pid: int) -> bool:
    """Whether a change of rules that is told now, made by this process, is our own."""
    return pid in started and ((ended := started[pid]) is None or time.monotonic() - ended < OWN_FOR_S)


async def listed(what: str, table: str, *, family: str = "inet") -> str:
    """One table of our own namespace without counters and elements; empty when it is not there. While nobody changes
    any rule the kernel's number of the ruleset stays, and nothing is started to read the same once more.
    """
    before, place = _ruleset(), (family, table)
    known = _listed.get(place)
    if known is not None and known[0] == before and before[0] is not None:
        return known[1]
    try:
        text = await nft(what, "-s", "-t", "list", "table", family, table)
    except WorldError:
        text = ""
    _listed.pop(place, None)
    if _ruleset() == before:
        _listed[place] = before, text
    return text


def _ruleset() -> Ruleset:
    with Netlink(NETFILTER) as net:
        return net.namespace(), nftables.generation(net)
