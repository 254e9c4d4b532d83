"""How an instance is shut in, read from inside a real container: users, capabilities, privileges, limits, and what a
workload asked for. Each absence stands beside a container that an older version would have made, which can.
"""

import asyncio
import http.client
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from anypop.agent.act.instances.limits import allowed_limits
from anypop.agent.act.instances.podman import Podman
from anypop.agent.act.instances.shutting_in import first_user
from anypop.agent.act.network.namespaces import make_namespace, remove_name, settle_sysctls
from anypop.agent.decide.elements import NO_PAST, ContainerState
from anypop.agent.decide.steps import CreateContainer, RemoveContainer, StartContainer
from anypop.agent.naming import namespace_of
from anypop.host import ip, netns
from anypop.model.confinement import GIVEN, MOST_USERS, Confinement, InstanceRules, Security
from anypop.model.errors import WorldError
from anypop.model.order import Containers
from anypop.model.workload import Container
from tests.agent_lab import POP, instance, web
from tests.podman_service import PodmanService
from tests.wait import wait_until

pytestmark = pytest.mark.lab
PREFIX = "cfn"
_PYTHON = "/usr/bin/python3"  # the distribution's, which every user may run
ONE = instance(0)
_BITS = {"CHOWN": 0, "DAC_OVERRIDE": 1, "FOWNER": 3, "FSETID": 4, "KILL": 5, "SETGID": 6, "SETUID": 7,
         "NET_BIND_SERVICE": 10, "SYS_CHROOT": 18}  # fmt: skip
# what a program finds out about itself, and what it may do; the end is the file `done`
_LOOK = """
cd /dev/shm; b=/bin/busybox
$b grep -E '^(Uid|Gid|Groups|Cap[A-Z][a-z]+|NoNewPrivs|Seccomp):' /proc/1/status > status
$b cat /proc/1/uid_map > uid_map; $b cat /proc/1/limits > limits; $b cat /proc/1/cgroup > cgroup
try() { name=$1; shift; "$@" > /dev/null 2>&1 && echo yes > $name || echo no > $name; }
try chroot $b chroot / /bin/true
try mknod $b mknod /dev/shm/device b 1 1
try raw $b traceroute -I -m 1 -w 1 -q 1 127.0.0.1
try root $b touch /made
echo > done; trap 'exit 0' TERM; while true; do sleep 1000 & wait $!; done
"""


def bits(*names: str) -> int:
    return sum(1 << _BITS[name] for name in names)


class Inside:
    """What one container found out; `text` reads a file of its own, `status` a line of /proc/1/status."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._root = Path(f"/proc/{pid}/root/dev/shm")
        wait_until((self._root / "done").exists, timeout_s=15, reason="the container has looked around")

    def text(self, name: str) -> str:
        return (self._root / name).read_text().strip()

    def may(self, name: str) -> bool:
        return self.text(name) == "yes"

    def status(self, field: str) -> list[str]:
        return next(line.split()[1:] for line in self.text("status").splitlines() if line.startswith(f"{field}:"))

    def capabilities(self, kind: str) -> int:
        return int(self.status(kind)[0], 16)


class Host:
    """A Podman with one instance's namespace, as an agent would use it."""

    def __init__(self) -> None:
        self.service = PodmanService(Path(tempfile.mkdtemp(prefix="cfn-", dir="/tmp")))

    def open(self) -> None:
        self.service.start()
        self.service.import_web_image()
        make_namespace(PREFIX, ONE.uid)
        ip.batch(["link set lo up"], netns=namespace_of(PREFIX, ONE.uid))

    def close(self) -> None:
        self.service.stop()
        remove_name(netns.path_of(namespace_of(PREFIX, ONE.uid)))

    def run(self, container: Container, confinement: Confinement | None = None) -> int:
        """The process id of a fresh container."""
        return asyncio.run(self._run(container, confinement))

    async def _run(self, container: Container, confinement: Confinement | None) -> int:
        runtime = Podman(self.service.socket, prefix=PREFIX, pop=POP)
        one = replace(ONE, payload=Containers(containers=(container,)))
        key: dict[str, Any] = {"uid": one.uid, "container": container.name, "lane": ""}
        past = replace(NO_PAST, confinement=confinement)
        rules = InstanceRules(processes=77)
        try:
            await runtime.carry_out(RemoveContainer(**key))
            settle_sysctls(PREFIX, one.uid, container.security.sysctls)
            await runtime.carry_out(CreateContainer(instance=one, container=container, past=past, rules=rules, lane=""))
            await runtime.carry_out(StartContainer(**key))
            (seen,) = await runtime.seen()
            assert seen.state is ContainerState.RUNNING
            assert seen.confinement is (confinement or Confinement.OWN_USERS)
            return seen.pid
        finally:
            await runtime.close()

    def looks(self, security: Security | None = None, confinement: Confinement | None = None) -> Inside:
        container = web(command=("/bin/sh", "-c", _LOOK), security=security or Security())
        return Inside(self.run(container, confinement))


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    host = Host()
    try:
        host.open()
        yield host
    finally:
        host.close()


def test_root_inside_is_nobody_outside_and_may_little(host: Host) -> None:
    """Users of its own, eight capabilities over them, no new privileges, a filter of system calls, control groups of
    its own with a limit of processes, files within ours; no raw socket, no device, no other root; ping works.
    """
    one = host.looks()
    assert one.text("uid_map").split() == ["0", str(first_user(ONE)), str(MOST_USERS)]
    assert f"\nUid:\t{first_user(ONE)}\t" in Path(f"/proc/{one.pid}/status").read_text()
    for kind in ("CapEff", "CapPrm", "CapBnd"):
        assert one.capabilities(kind) == bits(*GIVEN), kind
    assert (one.status("CapAmb"), one.status("NoNewPrivs"), one.status("Seccomp")) == (["0" * 16], ["1"], ["2"])
    assert {line.rpartition(":")[2] for line in one.text("cgroup").splitlines()} == {"/"}
    files = next(line.split() for line in one.text("limits").splitlines() if line.startswith("Max open files"))
    assert int(files[4]) == dict(allowed_limits(host.service.socket))["nofile"]
    assert _most_processes(one.pid) == 77
    can = {name: one.may(name) for name in ("chroot", "mknod", "raw", "root")}
    assert can == {"chroot": False, "mknod": False, "raw": False, "root": True}
    assert _opens(one.pid, "SOCK_DGRAM"), "ping has a socket of its own kind"
    assert not _opens(one.pid, "SOCK_RAW"), "with all capabilities over its own users raw sockets stay closed"


def test_one_that_an_older_version_made_is_made_again_as_it_was(host: Host) -> None:
    """The control of the test above: all of it is there without the confinement."""
    one = host.looks(confinement=Confinement.OLDER)
    assert one.text("uid_map").split()[:2] == ["0", "0"]
    assert one.status("NoNewPrivs") == ["0"]
    assert one.capabilities("CapEff") & ~bits(*GIVEN)
    assert (one.may("chroot"), one.may("raw")) == (True, True)


def test_what_a_workload_asks_for_is_what_it_gets(host: Host) -> None:
    """User, groups, a root that cannot be written, capabilities, privileges and settings of the network."""
    asked = Security(user=33, group=44, groups=(55,), drop=("ALL",), sysctls=(("net.core.somaxconn", "777"),))
    one = host.looks(asked)
    assert (one.status("Uid")[0], one.status("Gid")[0]) == ("33", "44")
    assert {"44", "55"} >= set(one.status("Groups")) >= {"55"}
    assert one.capabilities("CapBnd") == 0
    assert not one.may("root")
    with netns.inside(namespace_of(PREFIX, ONE.uid)):
        assert Path("/proc/sys/net/core/somaxconn").read_text().strip() == "777"
    one = host.looks(Security(add=("SYS_CHROOT",), drop=("KILL",), escalation=True))
    assert one.capabilities("CapEff") == bits(*GIVEN - {"KILL"}, "SYS_CHROOT")
    assert one.status("NoNewPrivs") == ["0"]
    assert one.may("chroot")
    script = "/bin/busybox touch /made && exit 1; exec /bin/busybox sleep 1000"
    assert host.run(web(command=("/bin/sh", "-c", script), security=Security(read_only=True)))
    with pytest.raises(WorldError, match="runAsNonRoot is true and the image runs as root"):
        host.run(web(security=Security(non_root=True)))


def test_servers_that_start_as_root_run_unchanged(host: Host) -> None:
    """A web server opens port 80 as root and becomes www-data, as nginx and Apache do; a database takes its directory
    as root, becomes another user and refuses root, as PostgreSQL's image does; a user who was never root opens port
    80.
    """
    passwd = "echo root:x:0:0::/:/bin/sh > /etc/passwd; echo www-data:x:33:33::/:/bin/sh >> /etc/passwd; "
    page = "echo here > /www/index.html; "
    server = web(command=("/bin/sh", "-c", f"{passwd}{page}exec /bin/busybox httpd -f -u www-data -p 80 -h /www"))
    pid = host.run(server)
    wait_until(lambda: _page() == "here", timeout_s=10, reason="the web server answers")
    assert f"\nUid:\t{first_user(ONE) + 33}\t" in Path(f"/proc/{pid}/status").read_text()

    become = "exec /bin/busybox su -s /bin/sh www-data -c"
    refuses_root = "[ $(/bin/busybox id -u) != 0 ] && echo > /data/file && exec /bin/busybox sleep 1000"
    database = f"{passwd}/bin/busybox mkdir -m 700 /data; /bin/busybox chown 33:33 /data; {become} '{refuses_root}'"
    pid = host.run(web(command=("/bin/sh", "-c", database)))
    made = Path(f"/proc/{pid}/root/data/file")
    wait_until(made.exists, timeout_s=10, reason="the database has taken its directory")
    assert made.stat().st_uid == first_user(ONE) + 33

    never_root = web(command=("/bin/busybox", "httpd", "-f", "-p", "80", "-h", "/etc"), security=Security(user=1000))
    assert host.run(never_root)
    wait_until(lambda: _page() is not None, timeout_s=10, reason="port 80 is open to everybody inside")


def _page() -> str | None:
    """The page on port 80; None where nobody answers."""
    try:
        with netns.inside(namespace_of(PREFIX, ONE.uid)):
            connection = http.client.HTTPConnection("127.0.0.1", 80, timeout=1)
            connection.request("GET", "/")
        return connection.getresponse().read().decode().strip()
    except (OSError, http.client.HTTPException):
        return None


def _opens(pid: int, kind: str) -> bool:
    """Whether root of the container's users, with every capability over them, may open such a socket for ICMP."""
    asks = f"import socket; socket.socket(socket.AF_INET, socket.{kind}, socket.IPPROTO_ICMP)"
    argv = ["nsenter", "--target", str(pid), "--user", "--net", _PYTHON, "-I", "-S", "-c", asks]
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0


def _most_processes(pid: int) -> int:
    """The limit of the control group that the process is in, of version 1 or 2."""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, kinds, path = line.split(":", 2)
        for file in (Path(f"/sys/fs/cgroup/pids{path}/pids.max"), Path(f"/sys/fs/cgroup{path}/pids.max")):
            if kinds in ("pids", "") and file.exists():
                return int(file.read_text())
    raise AssertionError("no limit of processes was found")
