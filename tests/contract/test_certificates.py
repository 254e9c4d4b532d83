"""A real name's own certificate, served by the control process beside the platform's own, and changed under it."""

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from cryptography import x509

from tests.authorities import Authority, new_key, pem_of, serial_shown
from tests.contract.test_api_process import Process
from tests.wait import wait_until

NAME = "control.example"
ROOT = Authority()
BELOW = Authority("Test Intermediate", above=ROOT)


class Certified(Process):
    """A control with a certificate of its operator's for `NAME`, and a second address where the platform's own is
    shown.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.own_port = free.getsockname()[1]
        self.give(new := new_key(), BELOW.issue([NAME], new))

    def give(self, key: object, chain: bytes) -> None:
        """Each file whole, one after the other."""
        for name, content in (("chain.pem", chain), ("key.pem", pem_of(key))):  # type: ignore[arg-type]
            (self.folder / "new").write_bytes(content)
            (self.folder / "new").chmod(0o600)
            (self.folder / "new").rename(self.folder / name)

    def argv(self) -> list[str]:
        files = ["--certificate", str(self.folder / "chain.pem"), "--key", str(self.folder / "key.pem")]
        names = ["--public-name", NAME, "--public-name", "own-ca,gateway.stackpath.com"]
        return [*super().argv(), *names, *files, "--listen", f"own-ca,127.0.0.1:{self.own_port}"]

    @property
    def own_ca(self) -> bytes:
        return (self.folder / "control" / "ca.pem").read_bytes()

    def serial(self, name: str | None, trusted: bytes, *, port: int = 0) -> int:
        """Of the certificate that a client gets who asks for `name` and trusts one authority; verified."""
        return serial_shown(port or self.port, name, trusted)

    def events(self) -> list[dict[str, str]]:
        found: list[dict[str, str]] = self.client.get("/anypop/v1/events", params={"limit": 100}).json()["results"]
        return [event for event in found if event["kind"].startswith("certificate-")]


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Certified]:
    process = Certified(tmp_path_factory.mktemp("certificates"))
    try:
        process.start()
        yield process
    finally:
        process.child.kill()
        process.child.wait(20)
        process.client.close()


def test_the_name_gets_its_certificate_and_everybody_else_the_platforms_own(control: Certified) -> None:
    """By address, by names of the platform's authority, and at an address that is for the platform's own alone, where
    agents come in that know control by the same name.
    """
    public = x509.load_pem_x509_certificate((control.folder / "chain.pem").read_bytes()).serial_number
    own = x509.load_pem_x509_certificate((control.folder / "control" / "server.pem").read_bytes()).serial_number
    assert control.serial(NAME, ROOT.pem) == control.serial(NAME.upper(), ROOT.pem) == public
    for name in ("127.0.0.1", "localhost", "gateway.stackpath.com"):
        assert control.serial(name, control.own_ca) == own
    assert control.serial(NAME, control.own_ca, port=control.own_port) == own
    with pytest.raises(ssl.SSLCertVerificationError):
        control.serial(NAME, control.own_ca)


def test_new_files_are_served_without_a_restart_and_open_connections_go_on(control: Certified) -> None:
    """At SIGHUP at once. What cannot be served changes nothing and is told, once."""
    context = ssl.create_default_context(cadata=control.own_ca.decode())
    kept = httpx.Limits(keepalive_expiry=300)
    with httpx.Client(
        base_url=f"https://localhost:{control.port}", verify=context, trust_env=False, limits=kept
    ) as standing:
        opened: list[object] = []
        note = {"trace": lambda name, _: opened.append(name) if name == "connection.connect_tcp.started" else None}
        assert standing.get("/anypop/v1/healthz", extensions=note).status_code == 200
        before = control.serial(NAME, ROOT.pem)
        key = new_key()
        control.give(key, BELOW.issue([NAME], key))
        os.kill(control.child.pid, signal.SIGHUP)
        wait_until(lambda: control.serial(NAME, ROOT.pem) != before, timeout_s=20, reason="the new one is served")
        assert standing.get("/anypop/v1/healthz", extensions=note).status_code == 200
        assert len(opened) == 1, "the connection that stood goes on"
    wait_until(lambda: len(control.events()) == 1, timeout_s=20, reason="it is told")
    served = control.serial(NAME, ROOT.pem)
    control.give(new_key(), BELOW.issue(["other.example"], new_key()))
    os.kill(control.child.pid, signal.SIGHUP)
    wait_until(lambda: len(control.events()) == 2, timeout_s=20, reason="what is wrong is told")
    os.kill(control.child.pid, signal.SIGHUP)
    assert control.serial(NAME, ROOT.pem) == served
    told = control.events()
    assert [event["kind"] for event in told] == ["certificate-renewed", "certificate-not-renewed"]
    assert "does not cover control.example" in told[-1]["message"] and "does not fit" in told[-1]["message"]
    assert "PRIVATE KEY" not in control.log() + json.dumps(told)


def test_files_that_cannot_be_served_end_the_start_in_words(control: Certified, tmp_path: Path) -> None:
    """With all that is wrong in one line, before anything is opened."""
    (tmp_path / "chain.pem").write_bytes(ROOT.issue(["other.example"], new_key()))
    (tmp_path / "key.pem").write_bytes(pem_of(new_key()))
    (tmp_path / "key.pem").chmod(0o644)
    argv = [sys.executable, "-m", "anypop.api", "--state", str(tmp_path / "state"), "--listen", "127.0.0.1:0"]
    argv += ["--public-name", NAME, "--certificate", str(tmp_path / "chain.pem")]
    for more, words in (
        (["--key", str(tmp_path / "key.pem")], ("does not fit", "does not cover control.example", "others can use")),
        ([], ("--key: --certificate needs it",)),
    ):
        done = subprocess.run([*argv, *more], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 1 and done.stderr.startswith("anypop.api: ")
        assert all(word in done.stderr for word in words) and done.stderr.count("\n") == 1, done.stderr
        assert not (tmp_path / "state").exists()
