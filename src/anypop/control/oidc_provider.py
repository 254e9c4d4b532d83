"""A provider of sign-ins (OpenID Connect Core 1.0): where it sends people, and who it says they are.

In: a sign-in that began here, and the code that came back. Out: an `Identity`, whose ID token was signed by the
provider's key, for this client, for this very sign-in, and counts still; or `WrongIdentityError`, `WorldError`.
Blocking. It knows no user and keeps nothing of anybody; endpoints and keys are those of the provider's description.
"""

import ssl
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import httpx
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from anypop.control.oidc_identity import Begun, Identity, WrongIdentityError, challenge_of
from anypop.control.oidc_settings import OidcSettings
from anypop.model.errors import WorldError

# Signatures by a key that the provider alone has. `none` signs nothing, and of HS256 whoever knows the client's secret
# could make one, or whoever gets the public key taken for a secret.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519", "EdDSA")
LARGEST = 1 << 20
LEEWAY_S = 60
KEPT_S = 3600.0  # the provider's description; keys are read again whenever one is not known


class Provider:
    """One provider, as its own description says; that and its keys are kept for a while. `now`: the wall's time.
    `transport` replaces the network in tests.
    """

    def __init__(
        self,
        settings: OidcSettings,
        *,
        now: Callable[[], float],
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.settings = settings
        self._now = now
        self._lock = threading.Lock()
        self._described: tuple[float, dict[str, Any]] | None = None
        self._keys: KeySet | None = None
        context = ssl.create_default_context(cafile=str(settings.ca) if settings.ca is not None else None)
        self._http = httpx.Client(verify=context, transport=transport, follow_redirects=False, timeout=10)

    def close(self) -> None:
        self._http.close()

    def address(self, begun: Begun) -> str:
        """Where a person's browser is sent. Raises `WorldError`."""
        query = {
            "response_type": "code",
            "client_id": self.settings.client_id,
            "redirect_uri": self.settings.callback,
            "scope": " ".join(self.settings.scopes),
            "state": begun.state,
            "nonce": begun.nonce,
            "code_challenge": challenge_of(begun.verifier),
            "code_challenge_method": "S256",
        }
        where = self._endpoint("authorization_endpoint")
        return f"{where}{'&' if '?' in where else '?'}{urlencode(query)}"

    def identity(self, begun: Begun, code: str, *, issuer: str | None) -> Identity:
        """Who has come back with `code`. `issuer`: what the answer says of itself (RFC 9207). Raises
        `WrongIdentityError` and `WorldError`.
        """
        promised = self._description().get("authorization_response_iss_parameter_supported") is True
        if issuer != self.settings.issuer and (issuer is not None or promised):
            raise WrongIdentityError(f"the answer is from another provider: {issuer}")
        answer = self._exchange(begun, code)
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise WrongIdentityError("the provider gave no ID token")
        claims = self._verified(token)
        self._check(claims, begun)
        return Identity(issuer=self.settings.issuer, subject=claims["sub"], claims=claims)

    def _exchange(self, begun: Begun, code: str) -> dict[str, Any]:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.settings.callback,
            "code_verifier": begun.verifier,
        }
        where, who = self._endpoint("token_endpoint"), (self.settings.client_id, self.settings.client_secret)
        methods = self._description().get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        if "client_secret_basic" in methods:
            # RFC 6749, section 2.3.1: both are written as in a form first
            request = self._http.build_request("POST", where, data=form)
            auth = httpx.BasicAuth(*(quote(part, safe="") for part in who))
        else:
            form |= {"client_id": who[0], "client_secret": who[1]}
            request, auth = self._http.build_request("POST", where, data=form), None
        status, found = self._asked(request, auth)
        if status in (400, 401, 403):  # the standard has 400; Glewlwyd, for one, answers 403
            raise WrongIdentityError(f"the provider refuses the code: {str(found.get('error'))[:100]}")
        if status != httpx.codes.OK:
            raise WorldError(f"sign in by {self.settings.issuer}", f"it answers {status}")
        return found

    def _verified(self, token: str) -> dict[str, Any]:
        """The claims, if a key of the provider signed them; one that is not known may be new."""
        try:
            if self._keys is not None:
                return jwt.decode(token, self._keys, algorithms=ALGORITHMS).claims
        except (JoseError, ValueError):
            self._keys = None
        try:
            self._keys = self._read_keys()
            return jwt.decode(token, self._keys, algorithms=ALGORITHMS).claims
        except (JoseError, ValueError) as error:
            raise WrongIdentityError(f"the ID token is not signed by the provider: {error}") from error

    def _read_keys(self) -> KeySet:
        found = self._get(self._endpoint("jwks_uri"))
        keys = [key for key in found.get("keys") or [] if isinstance(key, dict) and key.get("use", "sig") == "sig"]
        return KeySet.import_key_set({"keys": keys})

    def _check(self, claims: dict[str, Any], begun: Begun) -> None:
        """OpenID Connect Core 1.0, section 3.1.3.7."""
        own = self.settings.client_id
        wanted: dict[str, Any] = {
            "iss": {"essential": True, "value": self.settings.issuer},
            "aud": {"essential": True, "value": own},
            "nonce": {"essential": True, "value": begun.nonce},
            "exp": {"essential": True},
            "iat": {"essential": True},
            "sub": {"essential": True},
        }
        try:
            jwt.JWTClaimsRegistry(now=lambda: int(self._now()), leeway=LEEWAY_S, **wanted).validate(claims)
        except (JoseError, ValueError, TypeError) as error:
            raise WrongIdentityError(f"the ID token is not for this sign-in: {error}") from error
        audience, party = claims["aud"], claims.get("azp")
        if (isinstance(audience, list) and len(audience) > 1 and party != own) or (party is not None and party != own):
            raise WrongIdentityError("the ID token was given to another client")
        subject = claims["sub"]
        if not isinstance(subject, str) or not 0 < len(subject) <= 255:
            raise WrongIdentityError("the ID token has a subject that is none")

    # what the provider says of itself

    def _description(self) -> dict[str, Any]:
        with self._lock:
            kept = self._described
        if kept is not None and self._now() - kept[0] < KEPT_S:
            return kept[1]
        what = f"sign in by {self.settings.issuer}"
        found = self._get(f"{self.settings.issuer.rstrip('/')}/.well-known/openid-configuration")
        if found.get("issuer") != self.settings.issuer:
            raise WorldError(what, f"its description is of another issuer: {str(found.get('issuer'))[:200]}")
        with self._lock:
            self._described = (self._now(), found)
        return found

    def _endpoint(self, name: str) -> str:
        found = self._description().get(name)
        if not isinstance(found, str) or urlsplit(found).scheme != "https" or not urlsplit(found).hostname:
            raise WorldError(f"sign in by {self.settings.issuer}", f"its description has no {name} by HTTPS")
        return found

    def _get(self, where: str) -> dict[str, Any]:
        status, found = self._asked(self._http.build_request("GET", where))
        if status != httpx.codes.OK:
            raise WorldError(f"sign in by {self.settings.issuer}", f"{where} answers {status}")
        return found

    def _asked(self, request: httpx.Request, auth: httpx.Auth | None = None) -> tuple[int, dict[str, Any]]:
        """Status and object of an answer that has an end. Raises `WorldError`."""
        what = f"sign in by {self.settings.issuer}"
        request.headers["accept"] = "application/json"
        try:
            answer = self._http.send(request, auth=auth, stream=True)
            try:
                content = bytearray()
                for part in answer.iter_bytes():
                    content += part
                    if len(content) > LARGEST:
                        raise WorldError(what, "its answer is too large")
            finally:
                answer.close()
            found = httpx.Response(answer.status_code, content=bytes(content)).json()
        except httpx.HTTPError as error:
            raise WorldError(what, f"it is not reached: {str(error) or type(error).__name__}") from error
        except ValueError as error:
            raise WorldError(what, f"it answers {answer.status_code} without JSON") from error
        if not isinstance(found, dict):
            raise WorldError(what, "its answer is no object")
        return answer.status_code, found
