"""A real name's certificate from a real ACME authority, Pebble: asked for, kept, renewed, and refused."""

import json
import os
import signal
import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests import pebble
from tests.contract.test_certificates import NAME, Certified
from tests.wait import wait_until

SECOND = "second.example"


class Signed(Certified):
    """A control that has its certificate from an authority."""

    def __init__(self, folder: Path, authority: pebble.Pebble) -> None:
        super().__init__(folder)
        self.authority = authority

    def argv(self) -> list[str]:
        argv = super().argv()
        at = argv.index("--certificate")
        acme = ["--acme", self.authority.directory, "--acme-ca", str(self.authority.ca)]
        acme += ["--acme-listen", f"127.0.0.1:{self.authority.http_port}", "--public-name", SECOND]
        return [*argv[:at], *acme, *argv[at + 4 :]]

    @property
    def kept(self) -> Path:
        return self.folder / "control" / "acme"

    def signed_one(self, trusted: bytes) -> int:
        """The serial number of what is shown for the name, once that is the authority's."""
        try:
            return self.serial(NAME, trusted)
        except ssl.SSLCertVerificationError:
            return 0  # the platform's own, so far


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Signed]:
    folder = tmp_path_factory.mktemp("acme")
    with pebble.running(folder / "pebble") as authority:
        process = Signed(folder, authority)
        try:
            process.start()
            yield process
        finally:
            process.child.kill()
            process.child.wait(20)
            process.client.close()


def test_a_certificate_is_got_kept_shown_and_got_anew_without_a_restart(control: Signed) -> None:
    """For all real names; the platform's own is shown beside it. A restart asks for nothing; what was removed is asked
    for anew, as the same account.
    """
    root = control.authority.root()
    first = wait_until(lambda: control.signed_one(root), timeout_s=60, reason=f"it is signed: {control.log()}")
    assert control.serial(SECOND, root) == first
    wait_until(lambda: len(control.events()) == 1, timeout_s=20, reason="it is told")
    for name in ("localhost", "gateway.stackpath.com"):
        control.serial(name, control.own_ca)
    files = {path.name: path.stat().st_mode & 0o777 for path in control.kept.iterdir()}
    assert files == {"account.key": 0o600, "certificate.json": 0o600}
    account = (control.kept / "account.key").read_bytes()

    outside = httpx.Client(base_url=f"http://127.0.0.1:{control.authority.http_port}", trust_env=False)
    with outside:
        for path in ("/", "/.well-known/acme-challenge/", "/.well-known/acme-challenge/x", "/anypop/v1/healthz"):
            assert outside.get(path).status_code == 404, path

    control.end()
    control.start(network=False)
    assert control.serial(NAME, root) == first, "what was signed outlives the process"
    os.kill(control.child.pid, signal.SIGHUP)
    (control.kept / "certificate.json").unlink()
    os.kill(control.child.pid, signal.SIGHUP)
    wait_until(lambda: control.serial(NAME, root) != first, timeout_s=60, reason=f"another is signed: {control.log()}")
    assert (control.kept / "account.key").read_bytes() == account
    wait_until(lambda: len(control.events()) == 2, timeout_s=20, reason="both are told")
    assert {event["kind"] for event in control.events()} == {"certificate-renewed"}
    assert "PRIVATE KEY" not in control.log() + json.dumps(control.events())


def test_a_refusal_is_told_with_what_the_authority_found_and_what_stands_is_shown_on(control: Signed) -> None:
    """The names lead elsewhere now. It is tried again later, also by the next process."""
    root = control.authority.root()
    standing = wait_until(lambda: control.signed_one(root), timeout_s=60, reason="it is signed")
    control.authority.lead_names_to("127.0.0.9")
    (control.kept / "certificate.json").unlink()
    os.kill(control.child.pid, signal.SIGHUP)

    def refused() -> list[dict[str, str]]:
        return [event for event in control.events() if event["kind"] == "certificate-not-renewed"]

    wait_until(refused, timeout_s=60, reason=f"the refusal is told: {control.log()}")
    message = refused()[0]["message"]
    assert NAME in message and SECOND in message and "127.0.0.9" in message and "tried again at" in message
    assert control.serial(NAME, root) == standing
    again = json.loads((control.kept / "failed.json").read_text())
    assert again["count"] == 1
