"""`anypop logs` and `anypop exec` on a running platform: what real containers say, and commands in them, by way of
control and the agents.
"""

import contextlib
import fcntl
import json
import os
import pty
import select
import socket
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from anypop.host import netns, process
from anypop.lab.address import host_netns
from anypop.lab.platform import Platform
from tests.lab.story import Shell
from tests.wait import wait_until

pytestmark = pytest.mark.lab
SAYS = 'for n in 1 2 3; do echo "$HOSTNAME says $n"; done; printf "\\033[31mred\\n"; exec sleep 100000'


@pytest.fixture(scope="module")
def shell(place: Platform) -> Iterator[Shell]:
    """With a workload of two instances that say a little, far from what else is on the platform."""
    shell = Shell(place=place)
    words = (
        "workload",
        "create",
        "talker",
        "--image",
        place.image,
        "--target",
        "eu1=AMS,LHR",
        "--yes",
        "--timeout",
        "60",
    )
    shell.json(*words, "--command", f"sh -c '{SAYS}'")
    try:
        yield shell
    finally:
        shell.json("workload", "delete", "talker", "--yes")


def anypop(place: Platform, *words: str, given: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    argv = [sys.executable, "-m", "anypop.cli.main", "--state", str(place.state), *words]
    return subprocess.run(argv, input=given, capture_output=True, timeout=60, check=False)


def test_logs_are_those_of_the_container_and_tell_instances_apart(shell: Shell) -> None:
    one = shell.try_("logs", "talker-eu1-ams-0")
    assert one.code == 0, one.err
    expected = [f"talker-eu1-ams-0 says {n}" for n in (1, 2, 3)]
    assert one.out.splitlines() == [*expected, "\x1b[31mred"]
    assert shell.try_("logs", "talker-eu1-ams-0", "--tail", "2").out.splitlines() == [expected[2], "\x1b[31mred"]
    both = shell.try_("logs", "talker", "--tail", "1").out.splitlines()
    assert both == ["talker-eu1-ams-0 \x1b[31mred", "talker-eu1-lhr-0 \x1b[31mred"]
    rows = [json.loads(line) for line in shell.try_("logs", "talker-eu1-lhr-0", "-o", "json").out.splitlines()]
    assert rows[0] == {"instance": "talker-eu1-lhr-0", "line": "talker-eu1-lhr-0 says 1"}
    stamped = shell.try_("logs", "talker-eu1-ams-0", "--timestamps", "--since", "1h").out.splitlines()
    assert len(stamped) == 4
    assert all(line.startswith("20") for line in stamped)
    assert "there is no workload or instance nobody" in shell.try_("logs", "nobody").err


def test_a_log_is_followed_as_it_grows(shell: Shell, place: Platform) -> None:
    """A line that is written now comes now, through agent, control and command line."""
    argv = [
        sys.executable,
        "-m",
        "anypop.cli.main",
        "--state",
        str(place.state),
        "logs",
        "talker-eu1-ams-0",
        "-f",
        "--tail",
        "0",
    ]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as reader:
        try:
            assert reader.stdout is not None
            for attempt in range(40):  # nothing tells when it is listened to
                said = anypop(place, "exec", "talker-eu1-ams-0", "sh", "-c", f"echo news {attempt} > /proc/1/fd/1")
                assert said.returncode == 0, said.stderr
                if select.select([reader.stdout], [], [], 0.5)[0]:
                    break
            assert reader.stdout.readline().startswith(b"news ")
        finally:
            reader.kill()


def test_logs_of_all_instances_are_searched_at_their_hosts(shell: Shell, place: Platform) -> None:
    """Real logs of real containers, among many other lines: JSON is understood, one list comes of both."""
    flood = "for n in $(seq 40); do seq 500; done > /proc/1/fd/1; "
    for name, more in (("talker-eu1-ams-0", ""), ("talker-eu1-lhr-0", flood)):
        line = json.dumps({"level": "error", "msg": "the needle", "of": name})
        said = anypop(place, "exec", name, "sh", "-c", f"{more}echo '{line}' > /proc/1/fd/1")
        assert said.returncode == 0, said.stderr

    def found() -> list[dict[str, Any]]:
        words = ("logs", "talker", "--grep", "NEEDLE", "--level", "warning", "-o", "json")
        return [json.loads(line) for line in shell.try_(*words).out.splitlines()]

    def both() -> list[dict[str, Any]]:
        return seen if len(seen := found()) == 2 else []

    rows = wait_until(both, timeout_s=20, reason="both are written down")
    assert [row["instance"] for row in rows] == ["talker-eu1-ams-0", "talker-eu1-lhr-0"], "the oldest first"
    assert [row["fields"] for row in rows] == [{"of": row["instance"]} for row in rows]
    many = shell.try_("logs", "talker-eu1-lhr-0", "--until", "0s", "--most", "20000").out.splitlines()
    assert len(many) == 20_000 and many[-2] == "500"


def test_a_command_runs_in_the_instance_and_gives_its_code(shell: Shell, place: Platform) -> None:
    told = anypop(place, "exec", "talker-eu1-lhr-0", "sh", "-c", "echo $HOSTNAME; echo no >&2; exit 7")
    assert (told.returncode, told.stdout, told.stderr) == (7, b"talker-eu1-lhr-0\n", b"no\n")
    big = os.urandom(300_000).hex().encode()
    back = anypop(
        place,
        "exec",
        "-i",
        "talker-eu1-lhr-0",
        "sh",
        "-c",
        "while read -r line; do echo $line; done",
        given=big + b"\n",
    )
    assert back.stdout.strip() == big
    whole = anypop(place, "exec", "talker", "id")
    assert whole.returncode == 2
    assert b"Name one of its instances: talker-eu1-ams-0, talker-eu1-lhr-0" in whole.stderr
    rows = shell.json("audit", "--operation", "run_command")
    assert rows[-1]["after"]["command"][0] == "sh"


def test_a_terminal_is_the_instances_own(shell: Shell, place: Platform) -> None:
    """Keys go there, what it draws comes back, and its size is that of the terminal here."""
    here, there = pty.openpty()
    os.set_blocking(here, False)
    fcntl.ioctl(there, termios.TIOCSWINSZ, struct.pack("HHHH", 31, 97, 0, 0))
    argv = [
        sys.executable,
        "-m",
        "anypop.cli.main",
        "--state",
        str(place.state),
        "exec",
        "-t",
        "talker-eu1-ams-0",
        "sh",
    ]
    with subprocess.Popen(argv, stdin=there, stdout=there, stderr=there) as program:
        os.close(there)
        seen = bytearray()

        def shows(text: bytes) -> bool:
            with contextlib.suppress(OSError):
                seen.extend(os.read(here, 4096))
            return text in seen

        try:
            wait_until(lambda: bool(seen) or shows(b"#") or shows(b"$"), timeout_s=20, reason="a prompt")
            os.write(here, b"stty size; echo in $HOSTNAME\n")
            wait_until(lambda: shows(b"31 97"), timeout_s=20, reason="the size")
            wait_until(lambda: shows(b"in talker-eu1-ams-0"), timeout_s=20, reason="the command's output")
            os.write(here, b"exit 5\n")
            assert program.wait(20) == 5
        finally:
            program.kill()
            os.close(here)


def test_what_an_instance_uses_is_counted_by_its_host(shell: Shell) -> None:
    """By its control group and its link: the one that is busy and sends is told from the one that is idle."""
    busy, idle = "talker-eu1-ams-0", "talker-eu1-lhr-0"
    loops = "(while :; do :; done) >/dev/null 2>&1 & echo $! > /dev/shm/loops; "
    sends = "(while :; do nc -w 1 192.0.2.1 9 </dev/null; done) >/dev/null 2>&1 & echo $! >> /dev/shm/loops"
    assert shell.try_("exec", busy, "sh", "-c", loops + sends).code == 0

    def told() -> bool:
        rows = {row["instance"]: row for row in shell.json("top", "talker")}
        assert set(rows) == {busy, idle}
        assert all(row["memory_bytes"] > 0 and row["in_bits_per_s"] >= 0 for row in rows.values())
        works = rows[busy]["cpu_cores"] > 0.05 > rows[idle]["cpu_cores"]
        return bool(works and rows[busy]["out_bits_per_s"] > 0)

    try:
        wait_until(told, timeout_s=40, reason="the busy one is told as that")
    finally:
        shell.try_("exec", busy, "sh", "-c", "kill $(cat /dev/shm/loops)")


def _give(here: socket.socket, content: bytes) -> None:
    here.sendall(content)
    here.shutdown(socket.SHUT_WR)


def test_a_port_is_reached_from_here_through_control(shell: Shell, place: Platform) -> None:
    """Real TCP to a server whose port is open to nobody: both directions, half-closed, two at once; a port without a
    listener fails alone and is told. Each stands in the audit log.
    """
    name = "talker-eu1-lhr-0"
    serve = "nc -ll -p 7777 -e cat >/dev/null 2>&1 &"
    assert shell.try_("exec", name, "sh", "-c", serve).code == 0
    argv = [sys.executable, "-m", "anypop.cli.main", "--state", str(place.state)]
    argv += ["port-forward", name, ":7777", ":7778", "-o", "json"]
    content = os.urandom(300_000)
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as program:
        try:
            assert program.stdout is not None and program.stderr is not None
            told = [json.loads(program.stdout.readline()) for _ in range(2)]

            def connected() -> socket.socket:
                return socket.create_connection(("127.0.0.1", told[0]["local"]), timeout=30)

            def echoes(here: socket.socket) -> bool:
                with here, here.makefile("rwb", buffering=0) as both, contextlib.suppress(OSError):
                    both.write(b"hello")
                    return both.read(5) == b"hello"
                return False

            wait_until(lambda: echoes(connected()), timeout_s=30, reason="the server listens")
            with connected() as first, connected() as second:
                giving = [threading.Thread(target=_give, args=(one, content)) for one in (first, second)]
                for thread in giving:
                    thread.start()
                for one in (first, second):
                    with one.makefile("rb") as back:
                        assert back.read() == content
                for thread in giving:
                    thread.join()
            with socket.create_connection(("127.0.0.1", told[1]["local"]), timeout=30) as here:
                assert here.recv(1) == b""
            assert b"reach port 7778" in program.stderr.readline()
        finally:
            program.kill()
    ports = [row["after"]["port"] for row in shell.json("audit", "--operation", "forward_port")]
    assert 7777 in ports and 7778 in ports


def test_files_are_copied_to_an_instance_and_back(shell: Shell, tmp_path: Path) -> None:
    """Whole, with their folders; into a folder that is there, or under the name given. Links are left out and told."""
    name, content = "talker-eu1-ams-0", os.urandom(700_000)
    (tmp_path / "site" / "deep").mkdir(parents=True)
    (tmp_path / "site" / "deep" / "data").write_bytes(content)
    assert shell.json("cp", str(tmp_path / "site"), f"{name}:/bin")["files"] == 1
    assert shell.json("cp", f"{name}:/bin/site", str(tmp_path / "back"))["files"] == 1
    assert (tmp_path / "back" / "deep" / "data").read_bytes() == content
    assert shell.json("cp", f"{name}:/bin/site/deep/data", str(tmp_path))["files"] == 1
    assert (tmp_path / "data").read_bytes() == content
    assert shell.try_("exec", name, "busybox", "ln", "-s", "/etc/passwd", "/bin/site/link").code == 0
    again = shell.try_("cp", f"{name}:/bin/site", str(tmp_path / "again"))
    assert again.code == 1 and "site/link: it is a link" in again.err
    assert not (tmp_path / "again" / "link").exists()
    missing = shell.try_("cp", f"{name}:/nothing", str(tmp_path))
    assert missing.code == 1 and "nothing" in missing.err


def test_a_restart_makes_new_processes_of_one_instance_and_keeps_the_log_before(shell: Shell) -> None:
    """In its place: the same id and addresses; the other one's process is untouched. Asked twice, it happens twice."""
    before = {name: shell.instance(name) for name in ("talker-eu1-ams-0", "talker-eu1-lhr-0")}
    assert "has had no life before" in shell.try_("logs", "talker-eu1-ams-0", "--previous").err
    shell.json("restart", "talker-eu1-ams-0", "--yes")

    def again() -> bool:
        now = shell.instance("talker-eu1-ams-0")
        (status,) = now["containerStatuses"]
        (earlier,) = before["talker-eu1-ams-0"]["containerStatuses"]
        return bool(now["phase"] == "RUNNING" and status.get("containerId", "") not in ("", earlier["containerId"]))

    wait_until(again, timeout_s=30, reason="it runs anew")
    now = shell.instance("talker-eu1-ams-0")
    for field in ("id", "ipAddress", "externalIpAddress", "ipv6Address"):
        assert now[field] == before["talker-eu1-ams-0"][field]
    assert now["containerStatuses"][0]["restartCount"] == 1
    other = shell.instance("talker-eu1-lhr-0")["containerStatuses"][0]
    assert other["containerId"] == before["talker-eu1-lhr-0"]["containerStatuses"][0]["containerId"]
    earlier = shell.try_("logs", "talker-eu1-ams-0", "--previous").out.splitlines()
    assert earlier[0] == "talker-eu1-ams-0 says 1"
    assert any(line.startswith("news ") for line in earlier)
    assert not any(line.startswith("news ") for line in shell.try_("logs", "talker-eu1-ams-0").out.splitlines())
    assert shell.json("audit", "--operation", "restart_instance")[-1]["after"] == {"restarts": 1}


def test_an_instance_finds_its_sibling_in_another_city_by_name(shell: Shell, place: Platform) -> None:
    """By the names that control told both hosts; the bare one leads there through the backbone."""
    private = {i["name"]: i["ipAddress"] for i in shell.json("workload", "show", "talker")["instances"]}
    near, far = "talker-eu1-lhr-0", "talker-eu1-ams-0"

    def found(*words: str) -> str:
        return anypop(place, "exec", near, *words).stdout.decode()

    wait_until(
        lambda: private[far] in found("nslookup", f"{far}.default.edgeengine.internal"),
        timeout_s=20, reason="the sibling has a name",
    )  # fmt: skip
    assert f"({private[far]})" in found("ping", "-c", "1", "-W", "5", far)
    wait_until(
        lambda: _in_turn(found("nslookup", "talker"), private) == [private[near], private[far]],
        timeout_s=20, reason="both serve, the near one first",
    )  # fmt: skip


def _in_turn(said: str, private: dict[str, str]) -> list[str]:
    return [
        line.split()[-1] for line in said.splitlines() if line.split()[-1:] and line.split()[-1] in private.values()
    ]


def test_lines_are_sent_to_a_receiver_by_the_host_itself(shell: Shell, place: Platform) -> None:
    """By a process of its own, which is there as long as there is a receiver; real lines of a real container."""
    with netns.inside(host_netns(place.prefix, "AMS")):
        receiver = socket.create_server(("127.0.0.1", 0))
    port = receiver.getsockname()[1]
    pid = place.home("AMS") / "shipping" / "shipping.pid"
    connected: list[socket.socket] = []
    try:
        receiver.settimeout(30)
        shell.json("log-sink", "set", "near", f"tcp://127.0.0.1:{port}", "--platform")
        wait_until(lambda: process.alive(pid), timeout_s=20, reason="the process is there")

        def arrives() -> bytes:
            assert anypop(place, "exec", "talker-eu1-ams-0", "sh", "-c", "echo sent on > /proc/1/fd/1").returncode == 0
            if not connected:
                receiver.settimeout(2)
                with contextlib.suppress(TimeoutError):
                    connected.append(receiver.accept()[0])
            return connected[0].recv(1 << 16) if connected else b""

        said = wait_until(arrives, timeout_s=40, reason="a line came").decode()
        assert "talker-eu1-ams-0" in said and 'workload="talker"' in said and said.rstrip().endswith("sent on")

        def counted() -> bool:
            (sink,) = shell.json("log-sink", "list", "--platform")
            return any(row["sent"] >= 1 for row in sink["hosts"] if row["host"] == "AMS")

        wait_until(counted, timeout_s=20, reason="it is counted")
    finally:
        shell.json("log-sink", "remove", "near", "--platform", "--yes")
        for one in (*connected, receiver):
            one.close()
    wait_until(lambda: process.alive(pid) is None, timeout_s=20, reason="nothing is left of it")
