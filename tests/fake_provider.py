"""A provider of OpenID Connect in memory, which signs whatever a test says."""

import time
from collections.abc import Callable
from typing import Any

import httpx
from joserfc import jwt
from joserfc.jwk import RSAKey

from anypop.control.oidc_identity import Begun, Identity
from anypop.control.oidc_provider import Provider
from anypop.control.oidc_settings import OidcSettings, Rule

ISSUER = "https://id.example/realm"
CLIENT = "anypop"
BEGUN = Begun(state="s" * 43, nonce="n" * 43, verifier="v" * 64)
KEY = RSAKey.generate_key(2048, {"kid": "one", "alg": "RS256", "use": "sig"}, private=True)


class Fake:
    """A provider over no network. `rules`: our operator's; `about`: its description; `token`: what it gives for any
    code.
    """

    def __init__(self, *rules: Rule, **about: Any) -> None:
        self.about = {
            "issuer": ISSUER,
            "authorization_endpoint": f"{ISSUER}/auth",
            "token_endpoint": f"{ISSUER}/token",
            "jwks_uri": f"{ISSUER}/keys",
        } | about
        self.keys: list[Any] = [KEY]
        self.token = ""
        self.asked: list[httpx.Request] = []
        self.instead: Callable[[httpx.Request], httpx.Response | None] = lambda _: None
        settings = OidcSettings(
            issuer=ISSUER, client_id=CLIENT, client_secret="a secret/of: ours", url="https://control.example",
            scopes=("openid", "email"), names=("email",), rules=rules,
        )  # fmt: skip
        self.provider = Provider(settings, now=time.time, transport=httpx.MockTransport(self.answer))

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        if (other := self.instead(request)) is not None:
            return other
        match request.url.path.rpartition("/")[2]:
            case "openid-configuration":
                return httpx.Response(200, json=self.about)
            case "keys":
                return httpx.Response(200, json={"keys": [key.as_dict(private=False) for key in self.keys]})
            case "token":
                return httpx.Response(200, json={"access_token": "x", "token_type": "bearer", "id_token": self.token})
        return httpx.Response(404, json={})

    def paths(self) -> list[str]:
        return [request.url.path for request in self.asked]

    def identity(self, issuer: str | None = None) -> Identity:
        return self.provider.identity(BEGUN, "the-code", issuer=issuer)


def claims(**other: Any) -> dict[str, Any]:
    """Of an honest token; a claim that is None is left out."""
    now = int(time.time())
    honest = {"iss": ISSUER, "sub": "ada-1", "aud": CLIENT, "exp": now + 300, "iat": now, "nonce": BEGUN.nonce}
    return {name: value for name, value in (honest | other).items() if value is not None}


def signed(key: Any = KEY, algorithm: str = "RS256", kid: str | None = "one", **other: Any) -> str:
    header = {"alg": algorithm} | ({"kid": kid} if kid else {})
    return jwt.encode(header, claims(**other), key, algorithms=[algorithm])
