"""Glewlwyd, a real OpenID provider for tests (Debian's package), set up over its own API without a browser."""

import gzip
import json
import sqlite3
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
from joserfc.jwk import ECKey

from anypop.lab.preflight import free_port
from tests.authorities import Authority, new_key, pem_of
from tests.wait import wait_until

SQL = Path("/usr/share/doc/glewlwyd/database/init.sqlite3.sql.gz")
LIBRARIES = Path("/usr/lib/glewlwyd")
CLIENT, SECRET = "anypop", "the-secret-of-a-client"
PASSWORD = "correct horse battery"


@dataclass
class Glewlwyd:
    """`issuer`: its address. `people`: browsers in which somebody is signed in there."""

    folder: Path
    port: int
    callback: str
    people: dict[str, httpx.Client] = field(default_factory=dict)

    @property
    def issuer(self) -> str:
        return f"https://localhost:{self.port}/api/oidc"

    @property
    def ca(self) -> Path:
        return self.folder / "ca.pem"

    def _browser(self) -> httpx.Client:
        trust = ssl.create_default_context(cafile=str(self.ca))
        return httpx.Client(base_url=f"https://localhost:{self.port}/api/", verify=trust, trust_env=False, timeout=20)

    def set_up(self) -> None:
        """The provider's plug-in, and a client that is ours."""
        self.admin = self._browser()
        self.admin.post("auth/", json={"username": "admin", "password": "password"}).raise_for_status()
        self.keys = [ECKey.generate_key("P-256", {"kid": "first", "alg": "ES256", "use": "sig"}, private=True)]
        plugin = {"module": "oidc", "name": "oidc", "display_name": "OIDC", "parameters": self._parameters()}
        self.admin.post("mod/plugin/", json=plugin).raise_for_status()
        self.add_client(CLIENT)

    def add_client(self, client_id: str, callback: str = "") -> None:
        client = {
            "client_id": client_id, "name": client_id, "confidential": True, "enabled": True, "client_secret": SECRET,
            "redirect_uri": [callback or self.callback], "authorization_type": ["code"], "scope": [],
            "token_endpoint_auth_method": ["client_secret_basic"],
        }  # fmt: skip
        self.admin.post("client/", params={"source": "database"}, json=client).raise_for_status()

    def _parameters(self) -> dict[str, Any]:
        return {
            "iss": self.issuer,
            "jwks-private": json.dumps({"keys": [key.as_dict(private=True) for key in self.keys]}),
            "default-kid": self.keys[0].as_dict()["kid"],
            "jwt-type": "ecdsa", "jwt-key-size": "256", "access-token-duration": 3600, "refresh-token-duration": 3600,
            "code-duration": 600, "refresh-token-rolling": True, "allow-non-oidc": False,
            "auth-type-code-enabled": True, "auth-type-token-enabled": False, "auth-type-id-token-enabled": True,
            "auth-type-none-enabled": True, "auth-type-password-enabled": False, "auth-type-client-enabled": False,
            "auth-type-device-enabled": False, "auth-type-refresh-enabled": True, "jwks-show": True,
            "pkce-allowed": True, "pkce-method-plain-allowed": False, "pkce-required": True, "subject-type": "public",
            "name-claim": "mandatory", "email-claim": "mandatory", "request-parameter-allow": False,
            "claims": [
                {"name": "group", "user-property": "email", "type": "string", "on-demand": False, "mandatory": True}
            ],
            "oauth-as-iss-id": True,
        }  # fmt: skip

    def rotate(self) -> None:
        """Another key signs from now on; the former one is there no more."""
        self.keys = [ECKey.generate_key("P-256", {"kid": "second", "alg": "ES256", "use": "sig"}, private=True)]
        known = self.admin.get("mod/plugin/oidc").raise_for_status().json()
        self.admin.put("mod/plugin/oidc", json=known | {"parameters": self._parameters()}).raise_for_status()
        self.admin.put("mod/plugin/oidc/reset").raise_for_status()

    def add_user(self, name: str, *, email: str) -> None:
        """Somebody who has signed in there and lets our client know. `email` is told as the claim `group` too."""
        user = {
            "username": name, "name": name.title(), "email": email, "enabled": True, "password": PASSWORD,
            "scope": ["openid", "g_profile"],
        }  # fmt: skip
        self.admin.post("user/", params={"source": "database"}, json=user).raise_for_status()
        browser = self.people[name] = self._browser()
        browser.post("auth/", json={"username": name, "password": PASSWORD}).raise_for_status()
        self.grant(name, CLIENT)

    def grant(self, name: str, client_id: str) -> None:
        self.people[name].put(f"auth/grant/{client_id}", json={"scope": "openid"}).raise_for_status()

    def sign_in(self, name: str, where: str) -> dict[str, str]:
        """What the provider sends back by the browser of `name`, which was led to `where`."""
        answer = self.people[name].get(f"{where}&g_continue=1")
        assert answer.status_code == 302, answer.text
        back = answer.headers["location"]
        assert back.partition("?")[0].endswith(urlsplit(self.callback).path), back
        return {key: values[0] for key, values in parse_qs(urlsplit(back).query).items()}

    def close(self) -> None:
        for browser in (self.admin, *self.people.values()):
            browser.close()


@contextmanager
def running(folder: Path, *, callback: str) -> Iterator[Glewlwyd]:
    """`callback`: where our client is sent back to."""
    assert SQL.exists(), "Glewlwyd is not installed: run script/setup --dev"
    folder.mkdir()
    authority, key = Authority("Glewlwyd's own"), new_key()
    (folder / "ca.pem").write_bytes(authority.pem)
    (folder / "chain.pem").write_bytes(authority.issue(["localhost"], key))
    (folder / "key.pem").write_bytes(pem_of(key))
    database = sqlite3.connect(folder / "glewlwyd.db")
    with gzip.open(SQL, "rt") as script:
        database.executescript(script.read())
    database.close()
    found = Glewlwyd(folder, free_port(), callback)
    (folder / "glewlwyd.conf").write_text(_configuration(found))
    with (folder / "log").open("wb") as log:
        child = subprocess.Popen(["glewlwyd", f"--config-file={folder / 'glewlwyd.conf'}"], stdout=log, stderr=log)
    try:
        wait_until(
            lambda: b"Glewlwyd started on port" in (folder / "log").read_bytes() or child.poll() is not None,
            timeout_s=20,
            reason="Glewlwyd has started",
        )
        assert child.poll() is None, (folder / "log").read_text()
        found.set_up()
        yield found
        found.close()
    finally:
        child.kill()
        child.wait(20)


def _configuration(own: Glewlwyd) -> str:
    values: dict[str, str | int | bool] = {
        "port": own.port, "bind_address": "127.0.0.1", "external_url": f"https://localhost:{own.port}",
        "login_url": "login.html", "api_prefix": "api", "static_files_path": "/usr/share/glewlwyd/webapp/",
        "allow_origin": "*", "log_mode": "console", "log_level": "INFO", "cookie_secure": True,
        "session_expiration": 3600, "session_key": "GLEWLWYD2_SESSION_ID", "admin_session_authentication": "cookie",
        "profile_session_authentication": "cookie", "login_api_enabled": True, "admin_scope": "g_admin",
        "profile_scope": "g_profile", "user_module_path": f"{LIBRARIES}/user",
        "client_module_path": f"{LIBRARIES}/client",
        "user_auth_scheme_module_path": f"{LIBRARIES}/scheme", "plugin_module_path": f"{LIBRARIES}/plugin",
        "use_secure_connection": True, "secure_connection_key_file": f"{own.folder}/key.pem",
        "secure_connection_pem_file": f"{own.folder}/chain.pem", "hash_algorithm": "SHA512",
    }  # fmt: skip
    lines = [f"{name}={json.dumps(value)}" for name, value in values.items()]
    database = f'database = {{ type="sqlite3"; path="{own.folder}/glewlwyd.db"; }};'
    return "\n".join([*lines, database]) + "\n"
