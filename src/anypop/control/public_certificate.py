"""The certificate of a real name, by an authority that everybody trusts: read, and looked at before it is served.

In: two files, or the text of both; the names that it is for. Out: the certificate with its key, or every problem at
once, in words that say what to do. It serves nothing and asks nobody: whether a client trusts the authority is the
client's to know.
"""

import os
import ssl
import stat
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from ipaddress import ip_address
from itertools import pairwise
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID

from anypop.model.errors import Invalid, Problem
from anypop.model.names import OWN_CA

LARGEST = 1 << 20  # a chain has some kB; a file of another kind, named by mistake, must not be read whole

CERTIFICATE, KEY, NAME = "--certificate", "--key", "--public-name"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicCertificate:
    """`chain` and `key` are PEM, the server's own certificate first. `names`: what stands in it, lower case."""

    chain: bytes
    key: bytes = field(repr=False)
    names: tuple[str, ...]
    issuer: str
    begins: datetime
    ends: datetime

    @property
    def digest(self) -> str:
        return sha256(self.chain).hexdigest()

    @property
    def due(self) -> datetime:
        """When it is to be renewed: at two thirds of its life, so that a third is left for whatever is in the way."""
        return self.begins + (self.ends - self.begins) * 2 / 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """Where the certificate (then those that signed it) and its key are."""

    certificate: Path
    key: Path


def files_of(certificate: Path | None, key: Path | None, names: tuple[str, ...]) -> Files | None:
    """What the options of a command line mean; None without them. Raises `Invalid`."""
    if certificate is None and key is None:
        return None
    problems = list[Problem]()
    if certificate is None:
        problems.append(
            Problem(path="--certificate", message="--key needs it: the certificate, with those that signed it")
        )
    if key is None:
        problems.append(Problem(path="--key", message="--certificate needs it: the file of its private key"))
    if not real(names):
        problems.append(Problem(path="--public-name", message="name what --certificate is for; repeatable"))
    if certificate is None or key is None or problems:
        raise Invalid(problems)
    return Files(certificate=certificate, key=key)


def real(names: tuple[str, ...]) -> tuple[str, ...]:
    """Without those that are for the platform's own authority."""
    return tuple(name for name in names if not name.startswith(OWN_CA))


def read(certificate: Path, key: Path, names: tuple[str, ...], *, now: datetime) -> PublicCertificate:
    """What the two files hold. Raises `Invalid` with all that is wrong."""
    problems = list[Problem]()
    chain = _content(CERTIFICATE, certificate, problems)
    secret = _content(KEY, key, problems)
    if secret is not None:
        problems += _guarded(key)
    if chain is None or secret is None:
        raise Invalid(problems)
    try:
        found = check(chain, secret, names, now=now)
    except Invalid as error:
        raise Invalid([*problems, *error.problems]) from error
    if problems:
        raise Invalid(problems)
    return found


def check(chain: bytes, key: bytes, names: tuple[str, ...], *, now: datetime) -> PublicCertificate:
    """The certificate, if it can be served for `names` now. Raises `Invalid` with all that is wrong."""
    problems = list[Problem]()
    certificates, private = _certificates(chain, problems), _private(key, problems)
    if not certificates:
        raise Invalid(problems)
    own = certificates[0]
    if private is not None and own.public_key() != private.public_key():
        others = [n for n, c in enumerate(certificates, 1) if c.public_key() == private.public_key()]
        problems.append(
            Problem(
                path=CERTIFICATE, message=f"the server's own certificate must be the first; it is number {others[0]}"
            )
            if others
            else Problem(
                path=KEY, message="this key does not fit the certificate; give the one that it was asked for with"
            )
        )
    else:
        problems += _order(certificates)
    problems += _dates(own, now)
    named = _names(own)
    missing = [name for name in names if not any(_covers(one, name) for one in named)]
    if missing:
        has = f"it is for {', '.join(named)}" if named else "it names none"
        message = f"the certificate does not cover {', '.join(missing)}: {has}"
        problems.append(
            Problem(path=NAME, message=f"{message}. For a name of the platform's own authority: own-ca,NAME")
        )
    problems += _purpose(own)
    if problems:
        raise Invalid(problems)
    found = PublicCertificate(
        chain=chain, key=key, names=tuple(named), issuer=own.issuer.rfc4514_string(),
        begins=own.not_valid_before_utc, ends=own.not_valid_after_utc,
    )  # fmt: skip
    try:
        context_of(found)
    except (ssl.SSLError, OSError) as error:
        raise Invalid.one(CERTIFICATE, f"OpenSSL does not take it: {error}") from error
    return found


def context_of(found: PublicCertificate) -> ssl.SSLContext:
    """For connections that are shown this certificate. Raises `ssl.SSLError` where OpenSSL does not take it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # `ssl` reads files alone. One in memory: of a file on the disk another version may be there by now, and no copy of
    # the key is left anywhere.
    handle = os.memfd_create("certificate", os.MFD_CLOEXEC)
    with os.fdopen(handle, "wb") as out:
        out.write(found.key.rstrip() + b"\n" + found.chain)
        out.flush()
        context.load_cert_chain(f"/proc/self/fd/{handle}")
    return context


def _content(option: str, path: Path, problems: list[Problem]) -> bytes | None:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        problems.append(Problem(path=option, message=f"{path} cannot be read: {error.strerror or error}"))
        return None
    if len(content) > LARGEST:
        problems.append(Problem(path=option, message=f"{path} is too large to be one"))
        return None
    return content


def _guarded(path: Path) -> list[Problem]:
    """A group may read it (Debian's `ssl-cert`), others may not, and nobody but its owner may write it."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return []  # gone since: the next look tells
    if mode & (stat.S_IRWXO | stat.S_IWGRP):
        return [Problem(path=KEY, message=f"others can use {path} (mode {mode:04o}): chmod 600 {path}")]
    return []


def _certificates(chain: bytes, problems: list[Problem]) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(chain)
    except ValueError:
        problems.append(Problem(path=CERTIFICATE, message="it holds no certificates in PEM, or one that is damaged"))
        return []


def _private(key: bytes, problems: list[Problem]) -> PrivateKeyTypes | None:
    try:
        return serialization.load_pem_private_key(key, password=None)
    except TypeError:
        problems.append(
            Problem(path=KEY, message="it has a password; control must be able to read it alone: remove it")
        )
    except (ValueError, ssl.SSLError):
        problems.append(Problem(path=KEY, message="it holds no private key in PEM, or one that is damaged"))
    return None


def _order(certificates: list[x509.Certificate]) -> list[Problem]:
    for number, (below, above) in enumerate(pairwise(certificates), 1):
        try:
            below.verify_directly_issued_by(above)
        except (ValueError, TypeError, InvalidSignature):
            message = f"certificate {number + 1} of the file did not sign number {number}: the chain must be in order"
            return [Problem(path=CERTIFICATE, message=message)]
    return []


def _dates(own: x509.Certificate, now: datetime) -> list[Problem]:
    if own.not_valid_after_utc <= now:
        return [
            Problem(path=CERTIFICATE, message=f"it has ended at {own.not_valid_after_utc:%Y-%m-%d %H:%M} UTC: renew it")
        ]
    if own.not_valid_before_utc > now:
        begins = f"{own.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
        return [Problem(path=CERTIFICATE, message=f"it begins at {begins} only; is this machine's clock right?")]
    return []


def _purpose(own: x509.Certificate) -> list[Problem]:
    try:
        uses = own.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return []
    if ExtendedKeyUsageOID.SERVER_AUTH in uses:
        return []
    return [Problem(path=CERTIFICATE, message="it is not for servers (extended key usage): ask for one that is")]


def _names(own: x509.Certificate) -> list[str]:
    """As clients look at them: alternative names alone, never the subject."""
    try:
        found = own.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return []
    addresses = [str(address) for address in found.get_values_for_type(x509.IPAddress)]
    return [name.lower() for name in found.get_values_for_type(x509.DNSName)] + addresses


def _covers(one: str, name: str) -> bool:
    """RFC 6125, section 6.4: a star is one whole label, the leftmost."""
    name = name.lower()
    try:
        return str(ip_address(name)) == one
    except ValueError:
        pass
    if one.startswith("*."):
        label, _, rest = name.partition(".")
        return bool(label) and rest == one[2:]
    return name == one
