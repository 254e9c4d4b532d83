"""The lab's image registry: a real OCI registry on loopback, and the small web image that answers with its host name.

Comes in: a port and a folder. Goes out: an image reference that every PoP can pull. A user's own machine pulls from
Docker Hub or anywhere else in the same way; the lab has its own so that it needs no Internet.
"""

import shutil
from pathlib import Path

from anypop.host import process
from anypop.lab.podman import PodmanHome
from anypop.model.errors import WorldError

IMAGE = "anypop/hello:1"
MANIFESTS = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"

# The page is written before the server starts: an instance that answers at all answers with its own name. A server of
# static pages has nothing to finish, and as the first process of its namespace it would never see SIGTERM: it is ended
# at once.
_SERVE = """\
busybox=/bin/busybox
$busybox mkdir -p /www
$busybox hostname > /www/index.html
exec $busybox httpd -f -p "${PORT:-80}" -h /www
"""
_CONTAINERFILE = """\
FROM scratch
COPY bin /bin
STOPSIGNAL SIGKILL
ENTRYPOINT ["/bin/busybox", "sh", "/bin/serve"]
"""


def start(folder: Path, port: int, *, pid_file: Path, log: Path) -> None:
    """Start the registry on 127.0.0.1:`port` unless it runs; its blobs are kept in `folder`."""
    if process.alive(pid_file):
        return
    program = shutil.which("docker-registry") or shutil.which("registry")
    if program is None:
        raise WorldError("start the registry", "docker-registry is not installed; run script/setup")
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "config.yml"
    config.write_text(
        f"version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n"
        f"storage: {{filesystem: {{rootdirectory: {folder}/blobs}}, delete: {{enabled: true}}}}\nhttp: {{addr: "
        f"'127.0.0.1:{port}'}}\n"
    )
    process.spawn(
        [program, "serve", str(config)],
        pid_file=pid_file,
        log=log,
        env={"PATH": "/usr/bin:/bin", "OTEL_TRACES_EXPORTER": "none"},
    )


def publish_hello(home: PodmanHome, port: int, scratch: Path) -> str:
    """Build the web image from this machine's static busybox and push it. Returns its reference."""
    busybox = shutil.which("busybox")
    if busybox is None:
        raise WorldError("build the web image", "busybox is not installed; run script/setup")
    reference = f"127.0.0.1:{port}/{IMAGE}"
    shutil.rmtree(scratch, ignore_errors=True)
    programs = scratch / "bin"
    programs.mkdir(parents=True)
    shutil.copy(busybox, programs / "busybox")
    for name in (
        "sh",
        "cat",
        "env",
        "id",
        "ip",
        "ls",
        "nc",
        "netstat",
        "nslookup",
        "ping",
        "ps",
        "sleep",
        "stty",
        "tar",
        "test",
        "wget",
    ):
        (programs / name).symlink_to("busybox")  # for whoever looks around inside
    (programs / "serve").write_text(_SERVE)
    (scratch / "Containerfile").write_text(_CONTAINERFILE)
    build = [
        "build",
        "--quiet",
        "--isolation",
        "chroot",
        "--tag",
        reference,
        "--file",
        str(scratch / "Containerfile"),
        str(scratch),
    ]
    process.run(home.command(*build), env=home.environment())
    process.run(home.command("push", "--quiet", reference), env=home.environment())
    shutil.rmtree(scratch)
    return reference
