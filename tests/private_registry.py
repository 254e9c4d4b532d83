"""A registry that wants a password and speaks TLS by an authority of its own: Debian's docker-registry on loopback,
with one image in it.

`environment` is what a Podman needs to trust it; it is listed for pulls by `host`. `close` ends it.
"""

import datetime
import shutil
from base64 import urlsafe_b64encode
from ipaddress import IPv4Address
from json import dumps
from pathlib import Path
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from anypop.host import process
from anypop.lab.preflight import free_port
from anypop.model.surroundings import Login
from tests.podman_service import WEB, PodmanService
from tests.wait import wait_until

USER, PASSWORD = "somebody", "open sesame"
# bcrypt of it, since that is all that docker-registry takes
_HTPASSWD = f"{USER}:$2b$04$Wnqz12Lf1g5bxkLLl4GoSuyyT.wcjr7XzTv3GoD.rWZDtZeEFrvBO\n"
_ADDRESS = IPv4Address("127.0.0.1")


class PrivateRegistry:
    """Its folder may be shared with others; its port is its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.host = f"{_ADDRESS}:{free_port()}"
        self.image = f"{self.host}/team/web:1"
        self.login = Login(server=self.host, username=USER, password=PASSWORD)
        self.environment = {"SSL_CERT_FILE": str(folder / "authority.pem")}
        self._pid = folder / "registry.pid"

    def open(self) -> None:
        """Start it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        _certify(self.folder)
        (self.folder / "htpasswd").write_text(_HTPASSWD)
        told = {
            "version": "0.1",
            "log": {"level": "error", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(self.folder / "blobs")}},
            "http": {
                "addr": self.host,
                "tls": {"certificate": str(self.folder / "own.pem"), "key": str(self.folder / "own.key")},
            },
            "auth": {"htpasswd": {"realm": "here", "path": str(self.folder / "htpasswd")}},
        }
        (self.folder / "config.yml").write_text(dumps(told))  # JSON is YAML
        program = shutil.which("docker-registry") or shutil.which("registry")
        assert program is not None, "docker-registry is not installed; run script/setup"
        env = {"PATH": "/usr/bin:/bin", "OTEL_TRACES_EXPORTER": "none"}
        argv = [program, "serve", str(self.folder / "config.yml")]
        process.spawn(argv, pid_file=self._pid, log=self.folder / "registry.log", env=env)

    def publish(self, podman: PodmanService, source: str = WEB) -> None:
        """An image of a Podman that trusts this registry."""
        login = {"username": USER, "password": PASSWORD, "serveraddress": self.host}
        head = {"X-Registry-Auth": urlsafe_b64encode(dumps(login).encode()).decode()}
        to = quote(self.image, safe="")

        def pushed() -> bool:
            answer = podman.ask("POST", f"/images/{source}/push?quiet=true&destination={to}", headers=head)
            return answer.status_code == 200 and '"error"' not in answer.text

        wait_until(pushed, timeout_s=20, reason="the registry has taken the image")

    def close(self) -> None:
        process.end(self._pid, grace_s=1)


def _certify(folder: Path) -> None:
    """A certificate for the address, signed by an authority that nobody else knows."""
    now = datetime.datetime.now(datetime.UTC)
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)]) for text in ("an authority", str(_ADDRESS))]
    for key, name, is_authority, file in ((keys[0], names[0], True, "authority"), (keys[1], names[1], False, "own")):
        made = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(names[0])
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(_ADDRESS)]), critical=False)
            .sign(keys[0], hashes.SHA256())
        )
        (folder / f"{file}.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "own.key").write_bytes(
        keys[1].private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
