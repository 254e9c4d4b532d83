"""The local authority: what it makes is accepted by a strict client, and made anew only when it must be."""

import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from anypop.control import ca
from anypop.model.errors import WorldError

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def _handshake(made: ca.Credentials, name: str) -> None:
    """A TLS handshake in memory, verified as strictly as Python 3.13 does by default."""
    client_context = ssl.create_default_context(cafile=str(made.ca))
    client_context.verify_flags |= ssl.VERIFY_X509_STRICT
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(made.certificate, made.key)
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server, server_hostname=name)
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    finished: set[ssl.SSLObject] = set()
    for _ in range(10):
        for side in (client, server):
            try:
                side.do_handshake()
                finished.add(side)
            except ssl.SSLWantReadError:
                pass
        if len(finished) == 2:
            return
    raise AssertionError("the handshake does not end")


def test_a_strict_client_accepts_every_name_and_address(tmp_path: Path) -> None:
    """The certificate verifies under RFC 5280 checks for host names, IPv4 and IPv6 addresses alike."""
    made = ca.ensure(tmp_path, ["localhost", "127.0.0.1", "::1", "100.64.0.1"], now=datetime.now(UTC))
    for name in ("localhost", "127.0.0.1", "::1", "100.64.0.1"):
        _handshake(made, name)


def test_a_name_that_is_not_in_it_is_refused(tmp_path: Path) -> None:
    """The certificate is good for its names alone."""
    made = ca.ensure(tmp_path, ["localhost"], now=datetime.now(UTC))
    with pytest.raises(ssl.SSLCertVerificationError):
        _handshake(made, "192.0.2.1")


def test_nothing_changes_while_it_fits(tmp_path: Path) -> None:
    """A second call with the same names leaves every file as it is."""
    first = ca.ensure(tmp_path, ["localhost", "127.0.0.1"], now=NOW)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    second = ca.ensure(tmp_path, ["127.0.0.1", "localhost"], now=NOW)
    assert first.renewed and not second.renewed
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}


@pytest.mark.parametrize("why", ["names", "age", "key"])
def test_the_server_certificate_is_renewed_and_the_authority_stays(tmp_path: Path, why: str) -> None:
    """New names, a near end or a lost key give a new server certificate under the same authority, which clients
    hold.
    """
    made = ca.ensure(tmp_path, ["localhost"], now=NOW)
    authority = made.ca.read_bytes()
    names, now = ["localhost"], NOW
    match why:
        case "names":
            names = ["localhost", "10.0.0.1"]
        case "age":
            now = NOW + ca.SERVER_LIFE - ca.RENEW_BEFORE + timedelta(hours=1)
        case _:
            made.key.unlink()
    again = ca.ensure(tmp_path, names, now=now)
    assert again.renewed
    assert again.ca.read_bytes() == authority


def test_keys_are_for_root_alone_and_the_certificate_for_everybody(tmp_path: Path) -> None:
    """Private keys have mode 0600, the authority's certificate can be handed out."""
    ca.ensure(tmp_path, ["localhost"], now=NOW)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"ca.key": 0o600, "server.key": 0o600, "ca.pem": 0o644, "server.pem": 0o644}


def test_unspecified_addresses_are_no_names(tmp_path: Path) -> None:
    """Listening on 0.0.0.0 puts no 0.0.0.0 into the certificate."""
    made = ca.ensure(tmp_path, ["0.0.0.0", "::", "localhost"], now=NOW)
    certificate = x509.load_pem_x509_certificate(made.certificate.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [n.value for n in names] == ["localhost"]


def test_a_damaged_authority_is_reported_and_not_replaced(tmp_path: Path) -> None:
    """An unreadable ca.key is an error that names the folder: a new authority would lock out every client without a
    word.
    """
    ca.ensure(tmp_path, ["localhost"], now=NOW)
    (tmp_path / "ca.key").write_text("nonsense")
    with pytest.raises(WorldError, match=str(tmp_path)):
        ca.ensure(tmp_path, ["localhost"], now=NOW)
    assert (tmp_path / "ca.key").read_text() == "nonsense"
