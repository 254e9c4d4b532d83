"""Pebble, a real ACME authority for tests (Debian's package), with a name server that leads every name to us."""

import json
import os
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from anypop.lab.preflight import free_port
from tests.authorities import Authority, new_key, pem_of
from tests.wait import wait_until


@dataclass(frozen=True, kw_only=True)
class Pebble:
    """`directory`: its address; `ca`: who signed its own certificate; `http_port`: where it asks names."""

    directory: str
    ca: Path
    http_port: int
    management: str
    names: str

    @property
    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.ca))

    def root(self) -> bytes:
        """Who has signed what it gives away."""
        answer = httpx.get(f"{self.management}/roots/0", verify=self.trust, trust_env=False, timeout=20)
        return answer.raise_for_status().content

    def lead_names_to(self, address: str) -> None:
        answer = httpx.post(f"{self.names}/set-default-ipv4", json={"ip": address}, trust_env=False, timeout=20)
        answer.raise_for_status()


@contextmanager
def running(folder: Path) -> Iterator[Pebble]:
    folder.mkdir()
    ports = {name: free_port() for name in ("directory", "management", "http", "tls", "dns", "names")}
    authority, key = Authority("Pebble's own"), new_key()
    (folder / "ca.pem").write_bytes(authority.pem)
    (folder / "chain.pem").write_bytes(authority.issue(["localhost"], key))
    (folder / "key.pem").write_bytes(pem_of(key))
    config = {
        "listenAddress": f"127.0.0.1:{ports['directory']}",
        "managementListenAddress": f"127.0.0.1:{ports['management']}",
        "certificate": str(folder / "chain.pem"),
        "privateKey": str(folder / "key.pem"),
        "httpPort": ports["http"],
        "tlsPort": ports["tls"],
        "ocspResponderURL": "",
        "externalAccountBindingRequired": False,
    }
    (folder / "config.json").write_text(json.dumps({"pebble": config}))
    names = ["pebble-challtestsrv", "-management", f"127.0.0.1:{ports['names']}", "-dns01", f"127.0.0.1:{ports['dns']}"]
    names += ["-defaultIPv6", "", "-http01", "", "-https01", "", "-tlsalpn01", ""]
    own = ["pebble", "-config", str(folder / "config.json"), "-dnsserver", f"127.0.0.1:{ports['dns']}"]
    # without a rest of seconds before each look; every order is looked at, also where one before was good; and every
    # fifth good nonce is refused, so that each run sees what real authorities do seldom
    environment = {"PATH": os.environ["PATH"], "PEBBLE_VA_NOSLEEP": "1", "PEBBLE_AUTHZREUSE": "0"}
    environment["PEBBLE_WFE_NONCEREJECT"] = "20"
    found = Pebble(
        directory=f"https://localhost:{ports['directory']}/dir",
        ca=folder / "ca.pem",
        http_port=ports["http"],
        management=f"https://localhost:{ports['management']}",
        names=f"http://127.0.0.1:{ports['names']}",
    )
    with (folder / "log").open("wb") as log, ExitStack() as ends:
        for argv in (names, own):
            child = subprocess.Popen(argv, env=environment, stdout=log, stderr=log)
            ends.callback(child.wait, 20)
            ends.callback(child.kill)
        wait_until(lambda: _answers(found), timeout_s=20, reason=f"Pebble answers: {(folder / 'log').read_text()}")
        yield found


def _answers(pebble: Pebble) -> bool:
    try:
        pebble.root()
        return httpx.get(pebble.directory, verify=pebble.trust, trust_env=False).is_success
    except httpx.TransportError:
        return False
