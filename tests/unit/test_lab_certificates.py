"""`anypop up` with a real name's certificate: looked at before the start, handed to control, remembered."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from anypop.lab import place, programs
from tests.authorities import Authority, new_key, pem_of
from tests.cli_calls import Caller


@pytest.fixture
def stands(tmp_path: Path) -> place.Platform:
    return place.Platform(
        state=tmp_path, prefix="any", topology=tmp_path / "t.yaml", api_port=443, registry_port=5000, cities=("AMS",),
        hosts=("AMS",), public_names=("control.example", "own-ca,gateway.example"),
        certificate="/etc/chain.pem", key="/etc/key.pem",
    )  # fmt: skip


def test_control_is_started_with_the_files_and_without_them_as_before(stands: place.Platform) -> None:
    argv = programs._control(stands)
    assert argv[argv.index("--certificate") + 1] == "/etc/chain.pem" and argv[argv.index("--key") + 1] == "/etc/key.pem"
    assert [argv[at + 1] for at, word in enumerate(argv) if word == "--public-name"] == list(stands.public_names)
    assert "--certificate" not in programs._control(replace(stands, certificate="", key=""))


def test_a_platform_of_before_is_found_again(stands: place.Platform) -> None:
    """Its record knows nothing of certificates."""
    record = asdict(stands) | {"state": str(stands.state), "topology": str(stands.topology)}
    for older in (False, True):
        kept = {k: v for k, v in record.items() if not (older and k in ("certificate", "key"))}
        (stands.state / place.RECORD).write_text(json.dumps(kept))
        found = place.find(stands.state)
        assert found is not None and found.certificate == ("" if older else "/etc/chain.pem")


def test_files_that_cannot_be_served_start_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In words, with all that is wrong."""
    call = Caller(tmp_path, None, monkeypatch)
    (tmp_path / "chain.pem").write_bytes(Authority().issue(["other.example"], new_key()))
    (tmp_path / "key.pem").write_bytes(pem_of(new_key()))
    (tmp_path / "key.pem").chmod(0o600)
    files = ("--certificate", str(tmp_path / "chain.pem"), "--key", str(tmp_path / "key.pem"))
    ran = call("up", "--public-name", "control.example", *files)
    assert ran.code == 2 and "does not cover control.example" in ran.err and "does not fit" in ran.err
    assert call("up", *files).code == 2 and call("up", *files[:2]).code == 2
