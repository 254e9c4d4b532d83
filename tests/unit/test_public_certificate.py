"""The operator's certificate of a real name: what is taken, and each thing that is wrong with one, in words."""

from datetime import timedelta
from pathlib import Path

import pytest

from anypop.control import public_certificate
from anypop.model.errors import Invalid
from tests.authorities import NOW, Authority, new_key, pem_of

NAME = "control.example"
ROOT = Authority()
BELOW = Authority("Test Intermediate", above=ROOT)
KEY = new_key()


def told(chain: bytes, key: bytes = pem_of(KEY), names: tuple[str, ...] = (NAME,)) -> list[str]:
    """What is wrong."""
    try:
        public_certificate.check(chain, key, names, now=NOW)
    except Invalid as error:
        return [str(problem) for problem in error.problems]
    return []


def test_a_chain_that_fits_is_taken_with_its_names_and_its_times() -> None:
    """Renewed at two thirds of its life; a star stands for one label, in any case of letters."""
    found = public_certificate.check(BELOW.issue([NAME, "*.edge.example"], KEY), pem_of(KEY), (NAME,), now=NOW)
    assert found.names == (NAME, "*.edge.example") and "Test Intermediate" in found.issuer
    assert found.due == found.begins + (found.ends - found.begins) * 2 / 3
    for name, good in (
        ("ams.edge.example", True),
        ("AMS.Edge.Example", True),
        ("edge.example", False),
        ("a.b.edge.example", False),
    ):
        assert bool(told(BELOW.issue(["*.edge.example"], KEY), names=(name,))) is not good, name


@pytest.mark.parametrize(
    ("chain", "key", "words"),
    [
        (ROOT.issue(["other.example"], KEY), pem_of(KEY), "does not cover control.example: it is for other.example"),
        (ROOT.issue([NAME], new_key()), pem_of(KEY), "--key: this key does not fit"),
        (ROOT.issue([NAME], KEY, begins=NOW - timedelta(9), ends=NOW - timedelta(1)), pem_of(KEY), "it has ended at"),
        (ROOT.issue([NAME], KEY, begins=NOW + timedelta(1)), pem_of(KEY), "clock"),
        (ROOT.issue([NAME], KEY, for_servers=False), pem_of(KEY), "not for servers"),
        (ROOT.issue([NAME], KEY) + BELOW.pem, pem_of(KEY), "certificate 2 of the file did not sign number 1"),
        (BELOW.pem + BELOW.issue([NAME], KEY), pem_of(KEY), "must be the first; it is number 2"),
        (ROOT.issue([NAME], KEY), pem_of(KEY, b"secret"), "--key: it has a password"),
        (ROOT.issue([NAME], KEY), b"nothing", "--key: it holds no private key"),
        (b"nothing", pem_of(KEY), "--certificate: it holds no certificates"),
    ],
    ids=["name", "key", "ended", "begins", "purpose", "chain", "order", "password", "no key", "no certificate"],
)  # fmt: skip
def test_what_is_wrong_is_said_in_words(chain: bytes, key: bytes, words: str) -> None:
    assert any(words in line for line in told(chain, key)), told(chain, key)


def test_all_that_is_wrong_is_said_at_once() -> None:
    chain = ROOT.issue(["other.example"], new_key(), begins=NOW - timedelta(9), ends=NOW - timedelta(1))
    assert len(told(chain)) == 3, told(chain)


def test_a_key_that_others_can_use_is_refused_and_one_of_a_group_is_not(tmp_path: Path) -> None:
    """Debian gives keys to the group `ssl-cert`."""
    certificate, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    certificate.write_bytes(BELOW.issue([NAME], KEY))
    key.write_bytes(pem_of(KEY))
    for mode, good in ((0o600, True), (0o400, True), (0o640, True), (0o644, False), (0o660, False), (0o604, False)):
        key.chmod(mode)
        try:
            public_certificate.read(certificate, key, (NAME,), now=NOW)
            assert good, oct(mode)
        except Invalid as error:
            assert not good, error
            assert str(error) == f"--key: others can use {key} (mode {mode:04o}): chmod 600 {key}"


def test_files_that_are_not_there_are_both_told(tmp_path: Path) -> None:
    with pytest.raises(Invalid) as raised:
        public_certificate.read(tmp_path / "chain.pem", tmp_path / "key.pem", (NAME,), now=NOW)
    assert [problem.path for problem in raised.value.problems] == ["--certificate", "--key"]
