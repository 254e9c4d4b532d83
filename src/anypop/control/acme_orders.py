"""A certificate from an authority that speaks ACME (RFC 8555): one order, from the account to the signed chain.

In: the authority, the names, and somebody who answers its questions over HTTP (`Answers`). Out: a chain with a new key;
or `WorldError` with what the authority says, name by name. The account's key is kept, 0600, and made where there is
none. Blocking, up to some minutes. It decides neither when to ask nor what to serve.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import requests
from acme import challenges, client, errors, messages
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from josepy.errors import DeserializationError
from josepy.jwa import ES256
from josepy.jwk import JWK, JWKEC

from anypop.control.ca import write_whole
from anypop.model.errors import WorldError

NONCES = 4  # times that a request is sent, and sent once more by the library, when its nonce is refused
PATIENCE_S = 180.0  # for the authority to look from several places and to sign
ACCOUNT_KEY = "account.key"


class RateLimitedError(WorldError):
    """The authority wants nothing more for a while."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """`directory`: its address. `email`: where it may write to; empty: nowhere. `ca`: who signed its own certificate,
    where that is nobody public.
    """

    directory: str
    email: str = ""
    ca: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """PEM both; the server's own certificate first."""

    chain: bytes
    key: bytes = field(repr=False)


class Answers(Protocol):
    """Who answers at port 80 of the names."""

    def put(self, path: str, content: str) -> None: ...

    def drop(self, path: str) -> None: ...


def obtain(authority: Authority, folder: Path, names: tuple[str, ...], answers: Answers) -> Signed:
    """A certificate for all `names`, signed now. Raises `WorldError`."""
    what = f"get a certificate for {', '.join(names)} from {authority.directory}"
    try:
        return _obtained(authority, folder, names, answers)
    except errors.ValidationError as error:
        raise WorldError(what, "; ".join(_refusals(error)) or "it refused without a reason") from error
    except errors.IssuanceError as error:
        raise WorldError(what, _words(error.error)) from error
    except messages.Error as error:
        kind = RateLimitedError if error.code == "rateLimited" else WorldError
        raise kind(what, _words(error)) from error
    except errors.TimeoutError as error:
        raise WorldError(what, f"it was not done within {PATIENCE_S:g} s") from error
    except (errors.Error, requests.RequestException, DeserializationError, ValueError, KeyError) as error:
        raise WorldError(what, str(error) or type(error).__name__) from error


def _obtained(authority: Authority, folder: Path, names: tuple[str, ...], answers: Answers) -> Signed:
    account = JWKEC(key=_account_key(folder / ACCOUNT_KEY))
    net = _Network(account, alg=ES256, user_agent=f"anypop/{version('anypop')}", timeout=30)
    if authority.ca is not None:
        net.verify_ssl = str(authority.ca)  # type: ignore[assignment]  # `requests` takes a file as well
    try:
        asking = client.ClientV2(client.ClientV2.get_directory(authority.directory, net), net)
        _sign_on(asking, authority.email)
        key = ec.generate_private_key(ec.SECP256R1())
        order = asking.new_order(_request(names, key))
        asked = list[str]()
        try:
            for place in order.authorizations:
                _answer(asking, place, account, answers, asked)
            done = asking.poll_and_finalize(order, datetime.now() + timedelta(seconds=PATIENCE_S))
        finally:
            for path in asked:
                answers.drop(path)
        return Signed(chain=done.fullchain_pem.encode(), key=_pem(key))
    finally:
        net.session.close()


class _Network(client.ClientNetwork):
    """An authority may forget a nonce at any time (RFC 8555, section 6.5): the library asks once more, this one a few
    times, since an order of many requests would otherwise be begun again minutes later.
    """

    def post(self, *args: Any, **kwargs: Any) -> requests.Response:
        for _ in range(NONCES - 1):
            try:
                return super().post(*args, **kwargs)
            except messages.Error as error:
                if error.code != "badNonce":
                    raise
        return super().post(*args, **kwargs)


def _sign_on(asking: client.ClientV2, email: str) -> None:
    """As the account of our key: a new one, or the one that it has. Who names an authority agrees to its terms."""
    wanted = messages.NewRegistration.from_data(email=email or None, terms_of_service_agreed=True)
    try:
        asking.new_account(wanted)
    except errors.ConflictError as known:
        standing = messages.RegistrationResource(body=messages.Registration(), uri=known.location)
        asking.net.account = standing


def _answer(
    asking: client.ClientV2,
    place: messages.AuthorizationResource,
    account: JWK,
    answers: Answers,
    asked: list[str],
) -> None:
    """Have the answer ready, then say that it is."""
    if place.body.status == messages.STATUS_VALID:
        return  # from an order before this one
    for challenge in place.body.challenges:
        if isinstance(challenge.chall, challenges.HTTP01):
            response, content = challenge.chall.response_and_validation(account)
            answers.put(challenge.chall.path, content)
            asked.append(challenge.chall.path)
            asking.answer_challenge(challenge, response)
            return
    raise ValueError(f"it does not ask {place.body.identifier.value} over HTTP (http-01)")


def _account_key(path: Path) -> ec.EllipticCurvePrivateKey:
    if path.exists():
        found = serialization.load_pem_private_key(path.read_bytes(), password=None)
        if not isinstance(found, ec.EllipticCurvePrivateKey):
            raise ValueError(f"{path} is not an elliptic curve key")
        return found
    made = ec.generate_private_key(ec.SECP256R1())
    write_whole(path, _pem(made), mode=0o600)
    return made


def _request(names: tuple[str, ...], key: ec.EllipticCurvePrivateKey) -> bytes:
    wanted = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).add_extension(wanted, critical=False)
    return request.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _refusals(error: errors.ValidationError) -> list[str]:
    """What the authority found at each name."""
    return [
        f"{place.body.identifier.value}: {_words(challenge.error)}"
        for place in error.failed_authzrs
        for challenge in place.body.challenges
        if challenge.error is not None
    ]


def _words(error: messages.Error) -> str:
    """The authority's own, shortened: they are somebody else's text."""
    return str(error.detail or error.typ)[:500]
