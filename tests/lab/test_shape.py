"""What a process is started with, read from inside running containers of one PoP: where it stands, what it may take,
whom it knows by name. An agent, Podman and the kernel are real; the order is what control would give.
"""

import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from anypop.agent.naming import RESOLVER4, RESOLVER6, namespace_of, own_files_of
from anypop.host import netns
from anypop.model.confinement import InstanceRules
from anypop.model.names import StackId, WorkloadId, host_label
from anypop.model.order import InstanceOrder
from anypop.model.reasons import Reason
from anypop.model.surroundings import HostAlias, Resolving, Surroundings
from anypop.model.workload import Container
from tests.agent_lab import PopLab, container_pids, instance, tokens, web
from tests.podman_service import STAY
from tests.private_registry import PASSWORD, PrivateRegistry
from tests.wait import wait_until

pytestmark = pytest.mark.lab
# as a slug of 63 letters gives it
LONG = f"{'a' * 63}-eu-lhr-0"
_LOOK = "cd /dev/shm; echo $OLDPWD > from; hostname > host; cat /etc/hosts > hosts; echo > done; "
RULES = InstanceRules(nameservers=(ip_address("127.0.0.8"),))


def looking(**more: Any) -> Container:
    """One that looks around and stays; ready at once."""
    return replace(web(command=("/bin/sh", "-c", _LOOK + STAY), **more), ports=())


SHAPED = replace(
    instance(0, anycast=False, name=LONG, containers=(
        looking(working_dir="/srv/made", cpu_millis=500, cpu_limit_millis=1500, memory_bytes=32 << 20,
                memory_limit_bytes=64 << 20),
    )), hosts_domain="stack.edgeengine.internal",
)  # fmt: skip
SHAPED = replace(
    SHAPED,
    payload=replace(
        SHAPED.payload,
        around=Surroundings(
            aliases=(HostAlias(address=ip_address("127.0.0.7"), names=("db", "db.example")),),
            resolving=Resolving(nameservers=(ip_address("127.0.0.9"),), searches=("example",)),
        ),
    ),
)
PLAIN = instance(1, anycast=False, containers=(looking(cpu_millis=250, memory_bytes=48 << 20),))


@dataclass
class Inside:
    """One container, by its process."""

    pid: int
    space: str

    def text(self, name: str) -> str:
        """A file that it sees."""
        return Path(f"/proc/{self.pid}/root/{name.lstrip('/')}").read_text()

    def found(self, name: str) -> str:
        """What it found out."""
        return self.text(f"/dev/shm/{name}").strip()

    def run(self, *words: str) -> "subprocess.Popen[bytes]":
        """A program of its image, with its files and in its network."""
        argv = ["nsenter", "--target", str(self.pid), "--mount", "--net", "/bin/busybox", *words]
        return subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def limit(self, kind: str, old: str, new: str) -> str:
        """A file of its control group, of version 1 or 2."""
        for line in Path(f"/proc/{self.pid}/cgroup").read_text().splitlines():
            _, kinds, path = line.split(":", 2)
            older, newer = Path(f"/sys/fs/cgroup/{kind}{path}/{old}"), Path(f"/sys/fs/cgroup{path}/{new}")
            for file, is_it in ((older, kind in kinds.split(",")), (newer, kinds == "")):
                if is_it and file.exists():
                    return file.read_text().strip()
        raise AssertionError(f"no {old} or {new} was found")

    def asked_at(self, server: str) -> bytes:
        """What reaches a name server of its own when it looks up a name."""
        with netns.inside(self.space), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.bind((server, 53))
            one.settimeout(10)
            asks = self.run("nslookup", "thing.invalid")
            try:
                return one.recv(512)
            finally:
                asks.kill()
                asks.wait()


@pytest.fixture(scope="module")
def registry() -> Iterator[PrivateRegistry]:
    registry = PrivateRegistry(Path(tempfile.mkdtemp(prefix="shr-", dir="/tmp")))
    try:
        registry.open()
        yield registry
    finally:
        registry.close()
        shutil.rmtree(registry.folder, ignore_errors=True)


@pytest.fixture(scope="module")
def lab(registry: PrivateRegistry) -> Iterator[PopLab]:
    lab = PopLab("shp", podman_env=registry.environment)
    try:
        published(lab, registry, "localhost/guarded:1")
        lab.start_agent()
        lab.give(SHAPED, PLAIN, rules=RULES)
        lab.wait_running(SHAPED.name, PLAIN.name)
        yield lab
    finally:
        lab.close()


def published(lab: PopLab, registry: PrivateRegistry, name: str) -> None:
    """An image of its own, that is in the registry alone."""
    lab.podman.import_web_image(name)
    registry.publish(lab.podman, name)
    assert lab.podman.ask("DELETE", f"/images/{name}").status_code == 200


def inside(lab: PopLab, order: InstanceOrder) -> Inside:
    one = Inside(container_pids(lab)[order.name], namespace_of(lab.prefix, order.uid))
    wait_until(lambda: Path(f"/proc/{one.pid}/root/dev/shm/done").exists(), timeout_s=10, reason="it has looked around")
    return one


def test_it_stands_where_it_was_told_and_has_a_host_name(lab: PopLab) -> None:
    """Also where the image has no such folder; a name of 82 letters is a host name of 63, and whole for us."""
    one = inside(lab, SHAPED)
    assert one.found("from") == "/srv/made"
    assert one.found("host") == host_label(LONG)
    assert len(host_label(LONG)) == 63
    assert f"HOSTNAME={host_label(LONG)}\0" in Path(f"/proc/{one.pid}/environ").read_text()
    assert (report := lab.reported(LONG)) is not None
    assert report.name == LONG


def test_what_it_may_take_stands_in_its_control_group(lab: PopLab) -> None:
    """A share by what it is sure of, an end by its limit; without a limit both are one."""
    one, two = inside(lab, SHAPED), inside(lab, PLAIN)
    assert one.limit("cpu", "cpu.cfs_quota_us", "cpu.max").split()[0] == "150000"
    assert two.limit("cpu", "cpu.cfs_quota_us", "cpu.max").split()[0] == "25000"
    shares, half = (int(x.limit("cpu", "cpu.shares", "cpu.weight")) for x in (one, two))
    assert (shares, half) in ((512, 256), (20, 10))
    for x, sure, most in ((one, 32 << 20, 64 << 20), (two, 48 << 20, 48 << 20)):
        assert int(x.limit("memory", "memory.limit_in_bytes", "memory.max")) == most
        assert int(x.limit("memory", "memory.soft_limit_in_bytes", "memory.low")) == sure
    adjusted = [int(Path(f"/proc/{x.pid}/oom_score_adj").read_text()) for x in (one, two)]
    assert adjusted[0] > adjusted[1], "who may go beyond what it is sure of goes first"


def test_it_knows_itself_and_its_aliases_and_nothing_of_the_host(lab: PopLab) -> None:
    """A program that asks for a name gets the address of the instance or of the alias."""
    one = inside(lab, SHAPED)
    assert one.found("hosts").splitlines() == [
        "127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback",
        *(f"{a.private}\t{host_label(LONG)}.stack.edgeengine.internal {host_label(LONG)} {LONG}"
          for a in SHAPED.addresses()),
        "127.0.0.7\tdb db.example",
    ]  # fmt: skip
    for name in ("db.example", host_label(LONG)):
        assert one.run("ping", "-c", "1", "-W", "5", name).wait(10) == 0, name
    assert inside(lab, PLAIN).run("ping", "-c", "1", "-W", "5", "db.example").wait(30) != 0


def test_it_asks_its_own_servers_for_names(lab: PopLab) -> None:
    """The workload's, or else the platform's, and never those of the host's file."""
    one, two = inside(lab, SHAPED), inside(lab, PLAIN)
    assert one.text("/etc/resolv.conf") == "nameserver 127.0.0.9\nsearch example\n"
    assert two.text("/etc/resolv.conf") == f"nameserver {RESOLVER4}\nnameserver {RESOLVER6}\n"
    assert b"\x05thing\x07invalid" in one.asked_at("127.0.0.9")


def test_its_files_go_with_it(lab: PopLab) -> None:
    """Nothing of it stays on the host; its neighbour's do."""
    files = Path(own_files_of(lab.prefix, SHAPED.uid))
    assert files.is_dir()
    lab.give(PLAIN, removed=tokens(SHAPED), rules=RULES)
    wait_until(lambda: LONG not in container_pids(lab), timeout_s=20, reason="it is gone")
    wait_until(lambda: not files.exists(), timeout_s=10, reason="its files are gone")
    assert inside(lab, PLAIN).text("/etc/hosts")


def guarded(
    registry: PrivateRegistry, n: int, *, stack: str = "a", password: bool = True, always: bool = False
) -> InstanceOrder:
    """Instance `n` of a stack, with the image of the registry."""
    one = instance(n, anycast=False, containers=(replace(web(registry.image), ports=(), always_pull=always),))
    around = Surroundings(logins=(registry.login,) if password else ())
    mine = replace(one, stack_id=StackId(stack), workload_id=WorkloadId(f"of {stack}"))
    return replace(mine, payload=replace(one.payload, around=around))


def digest(lab: PopLab, one: InstanceOrder) -> str:
    """Of the image that it was made from, as it is reported."""

    def told() -> str:
        report = lab.reported(one.name)
        return report.containers[0].image_digest if report is not None and report.containers else ""

    return wait_until(told, timeout_s=40, reason="the runtime was asked for the image's digest")


def test_a_guarded_image_runs_for_whoever_has_its_password_and_for_nobody_else(
    lab: PopLab, registry: PrivateRegistry
) -> None:
    """Not for a neighbour on the host where it lies already. The password is nowhere to be read."""
    rules = replace(RULES, registries=(registry.host,))
    ours, theirs = guarded(registry, 2), guarded(registry, 3, stack="b", password=False)
    lab.give(PLAIN, ours, theirs, rules=rules)
    lab.wait_running(ours.name)
    assert digest(lab, ours).startswith("sha256:")  # as its registry knows it

    def refused() -> str:
        report = lab.reported(theirs.name)
        return report.message if report is not None and report.reason is Reason.PULL_FAILED else ""

    wait_until(refused, timeout_s=20, reason="the neighbour is refused")
    assert "authentication required" in refused()
    lab.give(PLAIN, ours, removed=tokens(theirs), rules=rules)
    files = [file for file in (*lab.state.rglob("*"), lab.folder / "agent.log") if file.is_file()]
    assert lab.state / "images.json" in files, "the search looks where things are kept"
    assert [file for file in files if PASSWORD.encode() in file.read_bytes()] == []
    assert PASSWORD not in str(lab.control.reports)


def test_an_image_is_pulled_again_where_that_is_asked_for(lab: PopLab, registry: PrivateRegistry) -> None:
    """The tag stands for another image by now: who does not ask gets the one that is here, who runs keeps his."""
    rules = replace(RULES, registries=(registry.host,))
    ours, same, fresh = guarded(registry, 2), guarded(registry, 4), guarded(registry, 5, always=True)
    published(lab, registry, "localhost/guarded:2")
    lab.give(PLAIN, ours, same, rules=rules)
    lab.wait_running(ours.name, same.name)
    lab.give(PLAIN, ours, same, fresh, rules=rules)
    lab.wait_running(fresh.name)
    assert digest(lab, same) == digest(lab, ours) != digest(lab, fresh)


def test_an_image_stays_for_a_redeploy_and_then_goes(lab: PopLab, registry: PrivateRegistry) -> None:
    """With its last instance gone and its registry dead, it runs again; once nobody keeps it, it is off the disk."""
    rules = replace(RULES, registries=(registry.host,))
    before, again = [guarded(registry, n) for n in (2, 4, 5)], guarded(registry, 6)
    lab.give(PLAIN, removed=tokens(*before), rules=rules)
    wait_until(lambda: len(container_pids(lab)) == 1, timeout_s=20, reason="all but one are gone")
    registry.close()
    lab.give(PLAIN, again, rules=rules)
    lab.wait_running(again.name)
    lab.give(PLAIN, removed=tokens(again), rules=rules)
    wait_until(lambda: len(container_pids(lab)) == 1, timeout_s=20, reason="that one is gone as well")
    lab.give(PLAIN, rules=replace(rules, images_kept_s=0))  # control has heard of it
    gone = f"/images/{registry.image}/exists"
    wait_until(lambda: lab.podman.ask("GET", gone).status_code == 404, timeout_s=20, reason="the image is off the disk")
