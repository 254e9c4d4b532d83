"""Who this agent is to control: a key of its own, which never leaves the host, and a certificate for it.

In: the agent's folder, and what control signs. Out: one file with both (`agent.pem`, mode 0600), and when it is to be
renewed. A renewal makes a new key. It speaks to nobody itself.
"""

import contextlib
import os
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from anypop.model.errors import WorldError
from anypop.model.names import HostName

FILE = "agent.pem"
RENEWED_AT = 2 / 3  # of its life: a third is left for a control that is away


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A key and the request to sign it, both PEM."""

    key: str
    request: str


def ask(host: HostName) -> Asked:
    """A new key and its request."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Anypop agent {host}"[:64])])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Asked(key=private.decode(), request=request.public_bytes(serialization.Encoding.PEM).decode())


def keep(folder: Path, asked: Asked, certificate: str) -> None:
    """Key and certificate, both or neither, on the disk before they are used. Raises `WorldError`."""
    path = folder / FILE
    temporary = path.with_suffix(".tmp")
    try:
        x509.load_pem_x509_certificate(certificate.encode())
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "w") as out:
            out.write(asked.key + certificate)
            out.flush()
            os.fsync(out.fileno())
        temporary.rename(path)
    except ValueError as error:
        raise WorldError(f"keep this agent's certificate in {path}", "control sent none") from error
    except OSError as error:
        raise WorldError(f"keep this agent's certificate in {path}", error.strerror or str(error)) from error


def has_joined(folder: Path) -> bool:
    return os.path.exists(folder / FILE)  # noqa: PTH110 - asked with each report, and half as dear


def show(context: ssl.SSLContext, folder: Path) -> None:
    """Let connections of `context` show the certificate. Raises `WorldError`."""
    path = folder / FILE
    try:
        context.load_cert_chain(path)
    except (OSError, ssl.SSLError) as error:
        raise WorldError(f"use this agent's certificate in {path}", str(error)) from error


def seconds_to_renewal(folder: Path, now: float) -> float:
    """By the wall's time, as certificates have it; negative: it is due. 0 for a certificate that cannot be read."""
    path = folder / FILE
    try:
        end = x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc.timestamp()
        begun = path.stat().st_mtime
    except (OSError, ValueError):
        return 0.0
    return begun + RENEWED_AT * (end - begun) - now
