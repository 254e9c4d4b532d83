"""A platform's life on a machine: beside another one, taken down after any accident, and refused with a clear word."""

import contextlib
import os
import signal
import socket
import ssl
from pathlib import Path

import pytest
from cryptography import x509

from anypop.host import inventory, netns, process
from anypop.lab import build, platform
from anypop.lab.generate import generate
from anypop.lab.leftovers import left_behind
from anypop.model.errors import Invalid, WorldError
from tests.authorities import Authority, new_key, pem_of, serial_shown
from tests.lab.conftest import ARTICLE
from tests.lab.story import Shell
from tests.wait import wait_until

pytestmark = pytest.mark.lab


def quiet(_: str) -> None:
    """No progress is shown."""


def test_a_second_platform_runs_beside_the_first_and_leaves_nothing_after_kills(
    place: platform.Platform, short_folder: Path
) -> None:
    """Another platform with its own workload comes up on the same machine; after kill -9 of its agents, control, wire,
    a BIRD, a Podman and a container, `down` leaves nothing of it, and the first one still answers.
    """
    state, prefix = short_folder / "second", f"u{os.getpid() % 46656:x}"
    try:
        second = platform.up(ARTICLE, state=state, prefix=prefix, api_port=0, registry_port=0, progress=quiet)
        made = Shell(place=second).create("beside")
        assert len(made["instances"]) == 8
        victims = [
            second.pid_file("control"),
            second.pid_file("agent-ams"),
            second.pid_file("podman-lhr"),
            state / "lab" / "wire.pid",
        ]
        for pid_file in (*victims, *sorted((state / "lab").glob("as3356-*/bird.pid"))):
            pid = process.alive(pid_file)
            assert pid is not None, pid_file
            os.kill(pid, signal.SIGKILL)
        kill_one_container(prefix)
    finally:
        platform.down(state, progress=quiet, purge=True)
    assert left_behind(state, prefix) == []
    assert not state.exists()
    assert Shell(place=place).try_("pops").code == 0


def test_an_internet_of_another_shape_serves_as_well(short_folder: Path) -> None:
    """On a generated internet with two PoPs a workload comes up in both, and every vantage is answered: nothing is
    wired to one file. With a certificate of a real name, which a client verifies whoever signed it, also when control
    has been started anew; its own clients and agents go on with the platform's.
    """
    state, prefix = short_folder / "other", f"o{os.getpid() % 46656:x}"
    topology = short_folder / "other.yaml"
    topology.write_text(generate(ases=8, pops=2, seed=3))
    root = Authority()
    files, serial = certificate(short_folder, Authority("Below", above=root), "control.example")
    try:
        made = platform.up(
            topology, state=state, prefix=prefix, api_port=0, registry_port=0, progress=quiet,
            public_names=("control.example",), certificate=files,
        )  # fmt: skip
        assert serial_shown(made.api_port, "control.example", root.pem) == serial
        with pytest.raises(ssl.SSLCertVerificationError):
            serial_shown(made.api_port, "control.example", Authority("Another").pem)
        own_ca = (state / "control" / "ca.pem").read_bytes()
        assert serial_shown(made.api_port, "localhost", own_ca) != serial
        control = process.alive(made.pid_file("control"))
        assert control is not None
        os.kill(control, signal.SIGKILL)
        wait_until(
            lambda: is_shown(made.api_port, root, serial), timeout_s=30, reason="control is there again, with it"
        )
        shell = Shell(place=made)
        cities = ",".join(made.cities)
        words = (
            "workload",
            "create",
            "web",
            "--image",
            made.image,
            "--port",
            "80",
            "--target",
            f"all={cities}",
            "--anycast",
            "--yes",
        )
        assert len(shell.json(*words)["instances"]) == 2
        vantages = build.attach(state / "lab").plan.vantages
        wait_until(
            lambda: set(shell.lands().values()) <= set(made.cities), timeout_s=20, reason="every vantage lands in a PoP"
        )
        assert len(shell.lands()) == len(vantages) > 2
    finally:
        platform.down(state, progress=quiet, purge=True)
    assert left_behind(state, prefix) == []


def certificate(folder: Path, by: Authority, name: str) -> tuple[tuple[Path, Path], int]:
    """Files of a certificate for a name, with those that signed it, and its number."""
    key, chain, keys = new_key(), folder / "chain.pem", folder / "key.pem"
    chain.write_bytes(by.issue([name], key))
    keys.touch(mode=0o600)
    keys.write_bytes(pem_of(key))
    return (chain, keys), x509.load_pem_x509_certificate(chain.read_bytes()).serial_number


def is_shown(port: int, by: Authority, serial: int) -> bool:
    with contextlib.suppress(OSError):
        return serial_shown(port, "control.example", by.pem) == serial
    return False


def test_down_is_harmless_where_nothing_is_up(short_folder: Path) -> None:
    """`down` on an unused folder says that nothing was up and changes nothing."""
    assert platform.down(short_folder / "unused", progress=quiet) is False


def test_a_second_up_is_refused_with_the_way_out(place: platform.Platform) -> None:
    """`up` on a platform that is whole says where it is and how to take it down."""
    with pytest.raises(WorldError, match=r"up already at https://127\.0\.0\.1:.*anypop down"):
        platform.up(ARTICLE, state=place.state, prefix=place.prefix, api_port=0, registry_port=0, progress=quiet)


def test_a_taken_port_and_a_taken_prefix_are_told_at_once(place: platform.Platform, short_folder: Path) -> None:
    """Both problems are reported together, each with the option that mends it, and nothing is started."""
    state = short_folder / "refused"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(Invalid) as caught:
            platform.up(ARTICLE, state=state, prefix=place.prefix, api_port=port, registry_port=0, progress=quiet)
    problems = {problem.path: problem.message for problem in caught.value.problems}
    assert set(problems) == {"port", "prefix"}
    assert f"port {port} is taken" in problems["port"]
    assert "--prefix" in problems["prefix"]
    assert platform.find(state) is None


def kill_one_container(prefix: str) -> None:
    """SIGKILL for a process that lives in an instance's namespace."""
    for pid in inventory.pids_inside(netns.names(f"{prefix}-i-")[:1]):
        os.kill(pid, signal.SIGKILL)
        return
    raise AssertionError("no process lives in the instance's namespace")
