"""The local certificate authority: HTTPS from the first start, with no one to ask.

In: a folder and the names under which control is reached. Out: `ca.pem` (given to clients), `server.pem` and
`server.key` (given to the HTTPS server). The authority lasts, the server's certificate is made anew when the names
change or its end is near. It must not overwrite an authority that exists: every client and agent holds its certificate.
"""

import contextlib
import os
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from anypop.model.errors import WorldError

AUTHORITY_LIFE = timedelta(days=3650)
SERVER_LIFE = timedelta(days=397)  # browsers refuse server certificates that live longer (CA/Browser Forum, 2020)
RENEW_BEFORE = timedelta(days=30)
_BACKDATE = timedelta(hours=1)  # a client whose clock is a little behind still accepts it


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Paths of the authority's certificate and of the server's chain and key. `renewed`: the server's were made in
    this call.
    """

    ca: Path
    certificate: Path
    key: Path
    renewed: bool


def ensure(folder: Path, names: Iterable[str], *, now: datetime) -> Credentials:
    """The authority and a server certificate for `names` (host names or addresses), made where they are missing or no
    longer fit.

    `now` is timezone-aware. Raises `WorldError` when files of the folder cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    ca_certificate, ca_key = authority(folder, now)
    wanted = _alternative_names(names)
    certificate, key = folder / "server.pem", folder / "server.key"
    renewed = not _still_fits(certificate, key, ca_certificate, wanted, now)
    if renewed:
        server_key = ec.generate_private_key(ec.SECP256R1())
        server = _sign_server(ca_certificate, ca_key, server_key, wanted, now)
        write_whole(key, _private_pem(server_key), mode=0o600)
        write_whole(certificate, _pem(server) + _pem(ca_certificate), mode=0o644)
    return Credentials(ca=folder / "ca.pem", certificate=certificate, key=key, renewed=renewed)


def local_names() -> list[str]:
    """Names under which this machine always answers itself."""
    return ["localhost", "127.0.0.1", "::1", socket.gethostname()]


def authority(folder: Path, now: datetime) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """The authority's certificate and key, made where there are none. Raises `WorldError`."""
    certificate_path, key_path = folder / "ca.pem", folder / "ca.key"
    if key_path.exists() and certificate_path.exists():
        try:
            key = serialization.load_pem_private_key(key_path.read_bytes(), password=None)
            certificate = x509.load_pem_x509_certificate(certificate_path.read_bytes())
        except (ValueError, OSError) as error:
            raise WorldError(f"read the certificate authority in {folder}", str(error)) from error
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise WorldError(f"read the certificate authority in {folder}", "ca.key is not an elliptic curve key")
        return certificate, key
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Anypop local authority {os.urandom(4).hex()}")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATE)
        .not_valid_after(now + AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    # The key first: a certificate without its key (killed in between) would be handed out and never be usable.
    write_whole(key_path, _private_pem(key), mode=0o600)
    write_whole(certificate_path, _pem(certificate), mode=0o644)
    return certificate, key


def _sign_server(
    ca: x509.Certificate,
    ca_key: ec.EllipticCurvePrivateKey,
    key: ec.EllipticCurvePrivateKey,
    names: list[x509.GeneralName],
    now: datetime,
) -> x509.Certificate:
    """RFC 5280 to the letter (both key identifiers, critical key usage): Python 3.13 verifies strictly by default."""
    authority_id = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Anypop control")]))
        .issuer_name(ca.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATE)
        .not_valid_after(min(now + SERVER_LIFE, ca.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(authority_id), critical=False)
        .sign(ca_key, hashes.SHA256())
    )


def _still_fits(path: Path, key: Path, ca: x509.Certificate, wanted: list[x509.GeneralName], now: datetime) -> bool:
    if not path.exists() or not key.exists():
        return False
    with contextlib.suppress(ValueError, x509.ExtensionNotFound):
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        private = serialization.load_pem_private_key(key.read_bytes(), password=None)
        return (
            set(names) == set(wanted)
            and certificate.not_valid_after_utc > now + RENEW_BEFORE
            and certificate.issuer == ca.subject
            and private.public_key() == certificate.public_key()
        )
    return False


def _alternative_names(names: Iterable[str]) -> list[x509.GeneralName]:
    """Addresses as IP names, the rest as DNS names; unspecified addresses (0.0.0.0, ::) are no name of anybody."""
    found: dict[x509.GeneralName, None] = {}
    for name in names:
        address: IPv4Address | IPv6Address | None = None
        with contextlib.suppress(ValueError):
            address = ip_address(name)
        if address is None:
            found[x509.DNSName(name)] = None
        elif not address.is_unspecified:
            found[x509.IPAddress(address)] = None
    return list(found)


def key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def write_whole(path: Path, content: bytes, *, mode: int) -> None:
    """A whole file or none, never readable by more than `mode` allows in between: temporary file, fsync, rename."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(path.name + ".tmp")
    temporary.unlink(missing_ok=True)
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(handle, "wb") as out:
        os.fchmod(out.fileno(), mode)  # whatever the umask took away
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    temporary.rename(path)
