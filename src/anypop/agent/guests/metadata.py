"""What a guest may ask its metadata service, and the answer. Pure but for tokens, which end with this process.

In: a request. Out: a status and a text. Two ways, as cloud-init knows them: EC2's (`/latest/meta-data/`,
`/latest/user-data`), where a token has to be fetched by PUT first, and NoCloud's (`/nocloud/`), whose client sends no
token and is known by its name. Both keep out who makes a program in the guest fetch an address that he names: such a
program sends neither.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

TOKEN_HEADER, LIFETIME_HEADER = "x-aws-ec2-metadata-token", "x-aws-ec2-metadata-token-ttl-seconds"
LONGEST_LIFE_S = 21600  # six hours, as there
SEED = ("meta-data", "user-data", "vendor-data", "network-config")
_VERSION = re.compile(r"(latest|\d{4}-\d{2}-\d{2})")
_PASSWORD = re.compile(r"/openstack/(latest|\d{4}-\d{2}-\d{2})/password")
LONGEST_PASSWORD = 1024  # sealed for a key of 4096 bits, in base64, it has 684
_DIGITS = re.compile(r"[0-9]{1,5}")
_KEY = re.compile(r"public-keys/(\d+)/openssh-key")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """`headers`: their names in small letters."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


NOT_FOUND = Answer(status=404, body=b"there is nothing of that name\n")
NOT_ALLOWED = Answer(status=405, body=b"this is asked in another way\n")


class Tokens:
    """Tokens that say themselves until when they are good."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock, self._key = clock, secrets.token_bytes(32)

    def new(self, life_s: int) -> str:
        until = str(int(self._clock()) + life_s)
        return f"{until}.{self._sign(until)}"

    def holds(self, token: str) -> bool:
        until, _, sign = token.partition(".")
        if not hmac.compare_digest(self._sign(until).encode(), sign.encode(errors="replace")):
            return False
        return self._clock() < int(until)

    def _sign(self, until: str) -> str:
        return hmac.new(self._key, until.encode(errors="replace"), hashlib.sha256).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """One guest's. `about`: by path below `meta-data/`. `seed`: a file by its name. `keep_password`: whether
    it was the first that this guest told. `keep_ready`: it says that all of it has started.
    """

    about: Mapping[str, str]
    seed: Callable[[str], bytes | None]
    tokens: Tokens
    keep_password: Callable[[bytes], bool]
    keep_ready: Callable[[], None]

    def answer(self, asked: Asked) -> Answer:
        path = asked.path.partition("?")[0]
        if _PASSWORD.fullmatch(path):
            return self._password(asked)
        if path == "/ready":
            if asked.method != "POST":
                return NOT_ALLOWED
            self.keep_ready()
            return Answer()
        if path.startswith("/nocloud/"):
            return self._seed(asked, path.removeprefix("/nocloud/"))
        version, _, rest = path.lstrip("/").partition("/")
        if not version:
            return Answer(body=b"latest") if asked.method == "GET" else NOT_ALLOWED
        if not _VERSION.fullmatch(version):
            return NOT_FOUND
        if rest == "api/token":
            return self._token(asked)
        if asked.method != "GET":
            return NOT_ALLOWED
        if not self.tokens.holds(asked.headers.get(TOKEN_HEADER, "")):
            advice = f"fetch a token by PUT /latest/api/token, and send it as {TOKEN_HEADER}\n"
            return Answer(status=401, body=advice.encode())
        return self._data(rest)

    def _password(self, asked: Asked) -> Answer:
        """As OpenStack has it, whose clients (cloudbase-init) send it once; it is never given back here."""
        if asked.method != "POST":
            return NOT_ALLOWED
        if not 0 < len(asked.body) <= LONGEST_PASSWORD:
            return Answer(status=400, body=f"a password has 1 to {LONGEST_PASSWORD} bytes\n".encode())
        if not self.keep_password(asked.body):
            return Answer(status=409, body=b"this instance has told its password already\n")
        return Answer()

    def _token(self, asked: Asked) -> Answer:
        if asked.method != "PUT":
            return NOT_ALLOWED
        if "x-forwarded-for" in asked.headers:  # somebody's proxy, which would fetch it for anybody
            return Answer(status=403, body=b"no token for who comes by a proxy\n")
        life = asked.headers.get(LIFETIME_HEADER, "")
        if not _DIGITS.fullmatch(life) or not 0 < int(life) <= LONGEST_LIFE_S:
            return Answer(status=400, body=f"{LIFETIME_HEADER} has to be from 1 to {LONGEST_LIFE_S}\n".encode())
        return Answer(body=self.tokens.new(int(life)).encode(), headers={LIFETIME_HEADER: life})

    def _seed(self, asked: Asked, name: str) -> Answer:
        if asked.method != "GET":
            return NOT_ALLOWED
        if not asked.headers.get("user-agent", "").startswith("Cloud-Init/"):
            return Answer(status=403, body=b"for cloud-init alone; /latest/ is for everybody who has a token\n")
        if name not in SEED:
            return NOT_FOUND
        found = self.seed(name)
        # cloud-init takes a source for lacking where one of the first three is not there, and an empty one for empty
        return Answer(body=found or b"") if found is not None or name != SEED[-1] else NOT_FOUND

    def _data(self, path: str) -> Answer:
        user_data = self.seed("user-data")
        if path == "":
            return Answer(body=b"meta-data" + (b"\nuser-data" if user_data else b""))
        if path == "user-data":
            return Answer(body=user_data) if user_data else NOT_FOUND
        name, _, below = path.partition("/")
        if name != "meta-data":
            return NOT_FOUND
        if below in self.about:
            return Answer(body=self.about[below].encode())
        within = below if not below or below.endswith("/") else f"{below}/"
        found = sorted({self._listed(path, within) for path in self.about if path.startswith(within)})
        return Answer(body="\n".join(found).encode()) if found else NOT_FOUND

    @staticmethod
    def _listed(path: str, within: str) -> str:
        """How a list tells of it: a folder ends with a slash, a key has a name behind its number."""
        if within == "public-keys/" and (key := _KEY.fullmatch(path)):
            return f"{key[1]}=key-{key[1]}"
        first, slash, _ = path.removeprefix(within).partition("/")
        return first + slash
