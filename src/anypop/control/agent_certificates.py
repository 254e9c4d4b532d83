"""Client certificates of agents: signed by the local authority, and read back from a TLS connection.

In: a request for one host, or what TLS has verified of a peer. Out: the certificate; or which host it names and when it
was issued. A certificate is for one host (a URI of its own kind as its alternative name): for a client of control, and
for either side of a connection between hosts. It names no address, so nobody takes its host for control. Whether one
still counts is not decided here.
"""

import ssl
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from anypop.control import ca
from anypop.model.certificate import KIND, host_named_by
from anypop.model.errors import Invalid
from anypop.model.names import HostName

_USES = (ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH)
_BACKDATE = timedelta(hours=1)  # two controls whose clocks differ a little


def sign(folder: Path, request: str, host: HostName, *, issued_at: datetime, life: timedelta) -> str:
    """PEM. Whatever names the request has are not looked at. Raises `Invalid` for one that is none."""
    try:
        asked = x509.load_pem_x509_csr(request.encode())
        key = asked.public_key()
        fits = asked.is_signature_valid and isinstance(key, ec.EllipticCurvePublicKey)
    except ValueError as error:
        raise Invalid.one("csr", "is no certificate request in PEM") from error
    if not fits or not isinstance(key, ec.EllipticCurvePublicKey):
        raise Invalid.one("csr", "must be of an elliptic curve key, and signed with it")
    authority, authority_key = ca.authority(folder, issued_at)
    authority_id = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Anypop agent {host}"[:64])]))
        .issuer_name(authority.subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(issued_at - _BACKDATE)
        .not_valid_after(min(issued_at + life, authority.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(ca.key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(list(_USES)), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"{KIND}{host}")]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(authority_id), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM).decode()


def named_by(peer: dict[str, Any]) -> tuple[HostName, float] | None:
    """Host and moment of issue of a certificate that TLS has verified, as `ssl` tells it. None: it is no agent's."""
    if (host := host_named_by(peer)) is None:
        return None
    issued_at = ssl.cert_time_to_seconds(peer["notBefore"]) + _BACKDATE.total_seconds()
    return host, issued_at
