"""Lasting tokens of hosts' agents, one for each host, in files that only root can read.

In: the hosts of the network, a token that somebody shows. Out: the files, and whose agent it is. What is stored is a
hash. A host that has joined has a certificate in place of it (`joins`). Blocking, but for what reads memory: `host_of`
and `has_agent`.
"""

import secrets
from collections.abc import Iterable
from pathlib import Path

from sqlalchemy import delete, insert, select

from anypop.control import schema
from anypop.control.ca import write_whole
from anypop.control.refusals import Unauthenticated
from anypop.control.store import Store
from anypop.control.tokens import hash_of
from anypop.model.names import HostName


class AgentTokens:
    """All of them, in memory too. `read` comes first."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._agents: dict[str, HostName] = {}

    def read(self) -> None:
        """Everything anew from the store."""
        with self._store.reading() as link:
            found = link.execute(select(schema.agent_tokens)).mappings()
            self._agents = {r["hash"]: HostName(r["host"]) for r in found}

    def host_of(self, token: str) -> HostName:
        """Which host's agent holds this token. Raises `Unauthenticated`."""
        host = self._agents.get(hash_of(token))
        if host is None:
            raise Unauthenticated("the agent token is unknown")
        return host

    def has_agent(self, host: HostName) -> bool:
        """Whether the host has a lasting token."""
        return host in self._agents.values()

    def drop_agent(self, host: HostName) -> None:
        """The lasting token of a host counts no more."""
        if not self.has_agent(host):
            return
        with self._store.writing() as link:
            link.execute(delete(schema.agent_tokens).where(schema.agent_tokens.c.host == host))
        self._agents = {h: other for h, other in self._agents.items() if other != host}

    def ensure_agents(self, folder: Path, hosts: Iterable[HostName]) -> None:
        """A token file (0600) for each host. A file that is there and known stays as it is: an agent may be using
        it. Where several controls share a store, the file of a known token may lie with another of them.
        """
        known = set(self._agents.values()) if self._store.lease is not None else set[HostName]()
        for host in hosts:
            path = folder / f"{host}.token"
            token = path.read_text().strip() if path.exists() else ""
            if (token and self._agents.get(hash_of(token)) == host) or (not token and host in known):
                continue
            token = secrets.token_urlsafe(32)
            # The store first: a file with a token that control does not know would look valid and be refused.
            with self._store.writing() as link:
                link.execute(delete(schema.agent_tokens).where(schema.agent_tokens.c.host == host))
                link.execute(insert(schema.agent_tokens), {"host": host, "hash": hash_of(token)})
            write_whole(path, token.encode() + b"\n", mode=0o600)
            self._agents = {**{h: other for h, other in self._agents.items() if other != host}, hash_of(token): host}
