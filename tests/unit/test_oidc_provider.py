"""What an ID token must be to be believed, against providers that lie, err and are attacked."""

import hmac
import json
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, RSAKey
from joserfc.jws import JWSRegistry

from anypop.control import oidc_identity
from anypop.control.oidc_identity import WrongIdentityError
from anypop.model.errors import WorldError
from tests.fake_provider import BEGUN, CLIENT, ISSUER, KEY, Fake, claims, signed

OTHER = RSAKey.generate_key(2048, {"kid": "one", "alg": "RS256", "use": "sig"}, private=True)
NEXT = ECKey.generate_key("P-256", {"kid": "two", "alg": "ES256", "use": "sig"}, private=True)


@pytest.fixture
def fake() -> Fake:
    return Fake()


def test_an_honest_token_says_who_somebody_is(fake: Fake) -> None:
    """The code goes to the provider with the verifier and the client's secret, in the header alone."""
    fake.token = signed(email="ada@example.net")
    found = fake.identity()
    assert (found.issuer, found.subject, found.claims["email"]) == (ISSUER, "ada-1", "ada@example.net")
    (asked,) = [request for request in fake.asked if request.method == "POST"]
    form = dict(part.split("=", 1) for part in asked.content.decode().split("&"))
    assert form["code_verifier"] == BEGUN.verifier and form["code"] == "the-code"
    assert "secret" not in asked.content.decode() and asked.headers["authorization"].startswith("Basic ")
    assert "secret" not in repr(fake.provider.settings) and BEGUN.nonce not in repr(BEGUN)


NOW = int(time.time())


@pytest.mark.parametrize(
    "other",
    [
        {"iss": "https://evil.example"}, {"iss": ISSUER + "/"}, {"iss": None},
        {"aud": "another-client"}, {"aud": ["another-client"]}, {"aud": None}, {"aud": []},
        {"aud": [CLIENT, "another-client"]}, {"aud": [CLIENT, "another-client"], "azp": "another-client"},
        {"azp": "another-client"},
        {"exp": NOW - 3600}, {"exp": None}, {"exp": "never"}, {"iat": NOW + 3600}, {"iat": None}, {"nbf": NOW + 3600},
        {"nonce": "another"}, {"nonce": None}, {"nonce": ""},
        {"sub": None}, {"sub": ""}, {"sub": 7}, {"sub": "x" * 256},
    ],
    ids=str,
)  # fmt: skip
def test_a_token_that_is_not_for_this_sign_in_is_refused(fake: Fake, other: dict[str, Any]) -> None:
    fake.token = signed(**other)
    with pytest.raises(WrongIdentityError):
        fake.identity()


def test_several_audiences_are_fine_where_the_token_was_given_to_us(fake: Fake) -> None:
    fake.token = signed(aud=[CLIENT, "another"], azp=CLIENT)
    assert fake.identity().subject == "ada-1"


def unsigned() -> str:
    registry = JWSRegistry(algorithms=["none"])
    return jwt.encode({"alg": "none"}, claims(), OctKey.import_key("x" * 32), registry=registry)


def by_the_public_key() -> str:
    """By hand: the library makes no such thing."""
    head, body = (urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in ({"alg": "HS256"}, claims()))
    signature = hmac.digest(KEY.as_pem(private=False), head + b"." + body, "sha256")
    return b".".join([head, body, urlsafe_b64encode(signature).rstrip(b"=")]).decode()


def by_the_clients_secret() -> str:
    return jwt.encode({"alg": "HS256"}, claims(), OctKey.import_key("a secret/of: ours" * 4), algorithms=["HS256"])


def changed() -> str:
    head, body, signature = signed().split(".")
    other = signed(OTHER, sub="eve-1").split(".")[1]
    assert body != other
    return f"{head}.{other}.{signature}"


@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
@pytest.mark.parametrize(
    "token",
    [
        pytest.param(unsigned, id="alg none"), pytest.param(by_the_public_key, id="HS256 by the public key"),
        pytest.param(by_the_clients_secret, id="HS256 by the client's secret"), pytest.param(changed, id="changed"),
        pytest.param(lambda: signed(OTHER), id="another key of the same id"),
        pytest.param(lambda: signed(NEXT, "ES256", "two"), id="a key that is not the provider's"),
        pytest.param(lambda: signed().rpartition(".")[0] + ".", id="no signature"),
        pytest.param(lambda: "not.a.token", id="no token"), pytest.param(lambda: "", id="empty"),
    ],
)  # fmt: skip
def test_a_token_that_the_provider_did_not_sign_is_refused(fake: Fake, token: Callable[[], str]) -> None:
    fake.token = token()
    with pytest.raises(WrongIdentityError):
        fake.identity()


def test_keys_are_read_again_when_one_is_not_known_and_old_ones_count_no_more(fake: Fake) -> None:
    fake.token = signed()
    fake.identity()
    fake.identity()
    assert fake.paths().count("/realm/keys") == 1
    fake.keys, fake.token = [NEXT], signed(NEXT, "ES256", "two")
    assert fake.identity().subject == "ada-1" and fake.paths().count("/realm/keys") == 2
    fake.token = signed()
    with pytest.raises(WrongIdentityError):
        fake.identity()


def test_a_key_of_a_kind_that_nobody_knows_is_in_nobodys_way(fake: Fake) -> None:
    """So is one for encryption; a token that names no key is taken where there is one alone."""
    published = [
        {"kty": "AKP", "kid": "three"}, KEY.as_dict(private=False), OTHER.as_dict(private=False) | {"use": "enc"},
    ]  # fmt: skip
    fake.instead = lambda r: httpx.Response(200, json={"keys": published}) if r.url.path.endswith("keys") else None
    fake.token = signed(kid=None)
    assert fake.identity().subject == "ada-1"


def test_the_answer_of_another_provider_is_refused_before_the_code_goes_anywhere() -> None:
    """RFC 9207: where a provider promises to say who it is, silence is refused too."""
    for promises, issuer, good in (
        (True, ISSUER, True), (True, None, False), (True, "https://evil.example", False),
        (False, ISSUER, True), (False, None, True), (False, "https://evil.example", False),
    ):  # fmt: skip
        fake = Fake(authorization_response_iss_parameter_supported=promises)
        fake.token = signed()
        if good:
            fake.identity(issuer)
        else:
            with pytest.raises(WrongIdentityError):
                fake.identity(issuer)
            assert "/realm/token" not in fake.paths()


@pytest.mark.parametrize(
    ("about", "words"),
    [
        ({"issuer": "https://evil.example"}, "of another issuer"),
        ({"issuer": None}, "of another issuer"),
        ({"token_endpoint": "http://id.example/token"}, "no token_endpoint by HTTPS"),
        ({"jwks_uri": None}, "no jwks_uri by HTTPS"),
    ],
)
def test_a_provider_whose_description_cannot_be_trusted_signs_in_nobody(about: dict[str, Any], words: str) -> None:
    fake = Fake(**about)
    fake.token = signed()
    with pytest.raises(WorldError, match=words):
        fake.identity()


@pytest.mark.parametrize(
    ("path", "answer", "words"),
    [
        ("token", httpx.Response(302, headers={"location": "https://evil.example"}, json={}), "answers 302"),
        ("token", httpx.Response(500, json={}), "answers 500"),
        ("keys", httpx.Response(200, content=b"<html>"), "without JSON"),
        ("keys", httpx.Response(200, json=[]), "no object"),
        ("openid-configuration", httpx.Response(200, content=b" " * (2 << 20)), "too large"),
    ],
)
def test_an_answer_that_is_none_is_the_providers_failure_and_nobody_is_led_elsewhere(
    fake: Fake, path: str, answer: httpx.Response, words: str
) -> None:
    fake.token = signed()
    fake.instead = lambda r: answer if r.url.path.endswith(path) else None
    with pytest.raises(WorldError, match=words):
        fake.identity()
    assert all(request.url.host == "id.example" for request in fake.asked)


def test_a_code_that_the_provider_refuses_shows_nobody(fake: Fake) -> None:
    refusal = httpx.Response(400, json={"error": "invalid_grant"})
    fake.instead = lambda r: refusal if r.url.path.endswith("token") else None
    with pytest.raises(WrongIdentityError, match="invalid_grant"):
        fake.identity()


def test_a_client_that_may_not_use_the_header_says_its_secret_in_the_form() -> None:
    fake = Fake(token_endpoint_auth_methods_supported=["client_secret_post"])
    fake.token = signed()
    fake.identity()
    (asked,) = [request for request in fake.asked if request.method == "POST"]
    assert b"client_secret=a+secret" in asked.content and "authorization" not in asked.headers


def test_where_a_browser_is_sent_has_what_ties_the_answer_to_it(fake: Fake) -> None:
    """State, nonce, and the challenge of the verifier, never itself; a query of the provider's own stays."""
    fake = Fake(authorization_endpoint=f"{ISSUER}/auth?tenant=7")
    found = httpx.URL(fake.provider.address(BEGUN))
    sent = dict(found.params)
    assert sent["tenant"] == "7" and sent["state"] == BEGUN.state and sent["nonce"] == BEGUN.nonce
    assert sent["code_challenge_method"] == "S256" and sent["code_challenge"] == oidc_identity.challenge_of(
        BEGUN.verifier
    )
    assert BEGUN.verifier not in str(found) and sent["scope"] == "openid email"
    assert sent["redirect_uri"] == "https://control.example/anypop/v1/sign-in/oidc/callback"
    assert json.dumps(sent)
