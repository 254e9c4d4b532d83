"""Joining: the one request by which a host's agent gets its first certificate. Done by a person, once, on the host.

In: control's address, the authority that is trusted, and a token. Out: the agent's key and certificate in its folder.
It starts no agent and touches nothing else of the host.
"""

import asyncio
import ssl
from pathlib import Path

import httpx

from anypop.agent import identity
from anypop.agent.control_client import ControlClient
from anypop.model.errors import WorldError
from anypop.model.names import HostName


def join(*, host: HostName, control: str, ca: Path, state: Path, token: str, token_file: Path | None) -> Path:
    """The file that was written. `token`: or else `token_file` holds it. Raises `WorldError`."""
    what = f"join {control} as {host}"

    async def ask() -> None:
        client = ControlClient(host=host, control=control, ca=ca, token_file=token_file, token=token, state=state)
        try:
            await client.join()
        finally:
            await client.close()

    if identity.has_joined(state):
        raise WorldError(what, f"{state / identity.FILE} is there already; remove it first where it was revoked")
    try:
        asyncio.run(ask())
    except (httpx.HTTPError, ssl.SSLError, OSError, LookupError, ValueError) as error:
        raise WorldError(what, str(error) or type(error).__name__) from error
    return state / identity.FILE
