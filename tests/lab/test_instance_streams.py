"""`anypop logs` and `anypop exec` on a running platform: what real containers say, and commands in them, by way of
control and the agents.
"""

import contextlib
import fcntl
import json
import os
import pty
import select
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator

import pytest

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
