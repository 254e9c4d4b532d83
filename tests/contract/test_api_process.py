"""The control process itself: HTTPS, streams, signals, kill -9, taken ports, memory."""

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from sqlalchemy import insert

from anypop.api.__main__ import main
from anypop.api.models.rollouts import WatchedInstances
from anypop.control import schema
from anypop.control.store import open_store
from anypop.model import codec
from anypop.model.errors import WorldError
from tests import documented
from tests.control_world import a_body, a_network
from tests.wait import wait_until

BASE = "/workload/v1/stacks/default/workloads"


class Process:
    """A control process of its own; `client` speaks to it as strictly as Python 3.13 does by default."""

    def __init__(self, folder: Path, *, program: Sequence[str] = ("-m", "anypop.api")) -> None:
        self.folder = folder
        self.program = program
        (folder / "network.yaml").write_text(yaml.safe_dump(codec.to_data(a_network())))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]

    def argv(self) -> list[str]:
        state = self.folder / "control"
        argv = [sys.executable, *self.program, "--state", str(state), "--listen", f"127.0.0.1:{self.port}"]
        return [
            *argv,
            "--network",
            str(self.folder / "network.yaml"),
            "--client-file",
            str(self.folder / "client.json"),
        ]

    def start(self, *, network: bool = True) -> None:
        argv = self.argv()
        if not network:
            at = argv.index("--network")
            del argv[at : at + 2]
        with (self.folder / "log").open("ab") as log:
            self.child = subprocess.Popen(argv, stdout=log, stderr=log)
        wait_until(self.answers, timeout_s=120, reason=f"control answers: {self.log()}")
        client = json.loads((self.folder / "client.json").read_text())
        context = ssl.create_default_context(cafile=client["ca"])
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        self.client = httpx.Client(base_url=client["url"], verify=context, timeout=20, trust_env=False)
        self.client.event_hooks = {"response": [documented.check]}
        who = {key: client[key] for key in ("client_id", "client_secret")}
        token = self.client.post("/identity/v1/oauth2/token", json=who, timeout=120).json()["access_token"]
        self.client.headers["authorization"] = f"Bearer {token}"

    def answers(self) -> bool:
        """One connection alone is made: those of many looks wait in the kernel for a control that is slow to start, and
        would take all the places of this address.
        """
        assert self.child.poll() is None, self.log()
        if not (self.folder / "client.json").exists():
            return False
        with socket.socket() as link:
            link.settimeout(1)
            return link.connect_ex(("127.0.0.1", self.port)) == 0

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def agent(self, pop: str) -> dict[str, str]:
        return {"authorization": f"Bearer {(self.folder / 'control' / 'agents' / f'{pop}.token').read_text().strip()}"}

    def order(self, pop: str, **query: Any) -> dict[str, Any]:
        response = self.client.get(
            f"/anypop/v1/agents/{pop}/order", params={"after": 0, **query}, headers=self.agent(pop)
        )
        assert response.status_code == 200, response.text
        found: dict[str, Any] = response.json()
        return found

    def end(self, number: int = signal.SIGTERM) -> float:
        """Seconds until it was gone."""
        self.client.close()
        began = time.monotonic()
        self.child.send_signal(number)
        self.child.wait(20)
        return time.monotonic() - began


@contextmanager
def running(folder: Path, *, program: Sequence[str] = ("-m", "anypop.api")) -> Iterator[Process]:
    process = Process(folder, program=program)
    try:
        process.start()
        yield process
    finally:
        process.child.kill()
        process.child.wait(20)
        process.client.close()


def test_the_process_serves_and_ends_within_a_second_although_others_wait(tmp_path: Path) -> None:
    """A waiting agent gets its 204 and a watcher the end of its stream; the exit code is 0; secrets stand in no log;
    memory is small. A log that had grown long is short.
    """
    (tmp_path / "log").write_bytes(b"x" * ((10 << 20) + 1))
    with running(tmp_path) as process:
        wait_until((tmp_path / "log.old").exists, timeout_s=20, reason="the long log was put aside")
        assert (tmp_path / "log").stat().st_size < 1 << 20
        process.client.post(BASE, json=a_body(env={"TOKEN": {"secretValue": "hush-hush"}})).raise_for_status()
        answered: list[int] = []
        streams: list[str] = []

        def wait_for_order() -> None:
            path = f"/anypop/v1/agents/JFK/order?after={process.order('JFK')['generation']}&wait=25"
            with httpx.Client(base_url=process.client.base_url, verify=False, timeout=30, trust_env=False) as own:
                answered.append(own.get(path, headers=process.agent("JFK")).status_code)

        def watch() -> None:
            with process.client.stream("GET", "/anypop/v1/stacks/default/workloads/fun/watch") as response:
                for line in response.iter_lines():
                    streams.append(line)
            streams.append("END")

        threads = [threading.Thread(target=work, daemon=True) for work in (wait_for_order, watch)]
        for thread in threads:
            thread.start()
        wait_until(
            lambda: any(line.startswith("data: ") for line in streams),
            timeout_s=10,
            reason="the watcher sees instances",
        )
        first = json.loads(next(line for line in streams if line.startswith("data: ")).removeprefix("data: "))
        assert [i["phase"] for i in first["instances"]] == ["SCHEDULING"] * 4
        documented.same(WatchedInstances, json.dumps(first), "an event of the watch")
        process.client.delete(f"{BASE}/fun")
        wait_until(
            lambda: any("DELETING" in line for line in streams), timeout_s=10, reason="the watcher sees the deletion"
        )
        status = Path(f"/proc/{process.child.pid}/status").read_text()
        resident_kb = int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])
        assert resident_kb < 150_000
        loaded = Path(f"/proc/{process.child.pid}/maps").read_text()
        assert "numpy" not in loaded and "llvmlite" not in loaded
        began = time.monotonic()
        process.child.send_signal(signal.SIGTERM)
        process.child.wait(20)
        seconds = time.monotonic() - began
        for thread in threads:
            thread.join(10)
        assert process.child.returncode == 0
        assert seconds < 2, seconds  # a second and the slack of a machine that does other things too
        assert answered == [204]
        assert streams[-1] == "END"
        text = process.log()
        assert "hush-hush" not in text and "Traceback" not in text
        assert "exceeded" not in text, "idle connections were waited for"
        assert json.loads((tmp_path / "client.json").read_text())["client_secret"] not in text


def test_a_kill_in_the_middle_loses_nothing_that_was_answered(tmp_path: Path) -> None:
    """Control is killed while creations pour in. After the restart each workload is there wholly or not at all, each
    that was answered is there, its orders hold it, generations only grew, and the client's token still counts.
    """
    with running(tmp_path) as process:
        answered: list[str] = []

        def pour() -> None:
            for number in range(500):
                try:
                    response = process.client.post(
                        BASE, json=a_body(f"w{number}", cities=("LHR",), replicas=1, anycast=False)
                    )
                except httpx.HTTPError:
                    return
                if response.status_code == 200:
                    answered.append(response.json()["workload"]["slug"])

        thread = threading.Thread(target=pour, daemon=True)
        thread.start()
        wait_until(lambda: len(answered) >= 5, timeout_s=30, reason="some creations were answered")
        generation = process.order("LHR")["generation"]
        process.child.kill()
        process.child.wait(20)
        thread.join(20)
        token = process.client.headers["authorization"]
        process.client.close()
        process.start()
        process.client.headers["authorization"] = token
        found = process.client.get(BASE, params={"page_request.first": 9999}).json()["results"]
        slugs = {w["slug"] for w in found}
        assert set(answered) <= slugs and len(slugs) <= len(answered) + 1
        order = process.order("LHR")
        assert {i["name"] for i in order["instances"]} == {f"{slug}-eu-lhr-0" for slug in slugs}
        assert order["generation"] >= generation
        process.client.post(BASE, json=a_body("last", cities=("LHR",), replicas=1)).raise_for_status()
        assert process.order("LHR")["generation"] == order["generation"] + 1


@pytest.fixture
def quick_umask() -> Iterator[None]:
    """`main` sets the umask of its process, which here is the tests' own."""
    before = os.umask(0)
    yield
    os.umask(before)


def _refused(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What a control process that cannot start says: exit code 1 and one line."""
    assert main(argv) == 1
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1, told
    return told[0]


def test_a_taken_port_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], quick_umask: None) -> None:
    """Exit code 1, one line with the port and what to do, and nothing was written."""
    process = Process(tmp_path)
    with socket.socket() as other:
        other.bind(("127.0.0.1", process.port))
        other.listen()
        said = _refused(process.argv()[3:], capsys)
    assert str(process.port) in said and "taken" in said
    assert not (tmp_path / "client.json").exists()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (["--listen", "nonsense"], "HOST:PORT"),
        (["--listen", "netns=no-such-namespace,127.0.0.1:0"], "no such namespace"),
        (["--network", "/nothing/here.yaml"], "/nothing/here.yaml"),
        (["--prices", "/nothing/here.yaml"], "/nothing/here.yaml"),
    ],
)
def test_what_is_in_the_way_at_start_is_one_line(
    tmp_path: Path, change: list[str], says: str, capsys: pytest.CaptureFixture[str], quick_umask: None
) -> None:
    """A wrong address, a missing namespace, a missing file: exit code 1 and one line that names it."""
    assert says in _refused([*Process(tmp_path).argv()[3:], *change], capsys)


def test_its_files_and_its_restart(tmp_path: Path, capsys: pytest.CaptureFixture[str], quick_umask: None) -> None:
    """Everything private is for its owner alone, whatever the umask was; a second control on the same state is refused;
    a restart keeps the client's credential; a network file that lacks a PoP with instances is refused in one line.
    """
    with running(tmp_path) as process:
        first = json.loads((tmp_path / "client.json").read_text())
        control = tmp_path / "control"
        assert control.stat().st_mode & 0o777 == 0o700
        private = [
            *control.glob("*.key"),
            *control.glob("anypop.db*"),
            *(control / "agents").iterdir(),
            tmp_path / "client.json",
        ]
        assert len(private) >= 8
        assert {path.stat().st_mode & 0o777 for path in private} == {0o600}
        argv = ["127.0.0.1:0" if word == f"127.0.0.1:{process.port}" else word for word in process.argv()[3:]]
        assert "another control process" in _refused(argv, capsys)
        process.client.post(BASE, json=a_body(replicas=1)).raise_for_status()
        process.end()
        (tmp_path / "network.yaml").write_text(yaml.safe_dump(codec.to_data(a_network({"AMS": (1299,)}))))
        assert "LHR (1 instances)" in _refused(process.argv()[3:], capsys)
        (tmp_path / "network.yaml").unlink()
        process.start(network=False)
        assert json.loads((tmp_path / "client.json").read_text()) == first
        assert len(process.order("LHR")["instances"]) == 1


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--state", "/proc/nothing"], "use the folder /proc/nothing"),
        (["--network", "{here}/binary"], "it is not text"),
        (["--network", "{here}/nowhere"], "No such file or directory"),
        (["--network", "{here}/deep"], "it is not YAML"),
        (["--prices", "{here}/binary"], "it is not text"),
        (["--prices", "{here}/deep"], "no YAML"),
        (["--client-file", "/proc/nothing/client.json"], "write /proc/nothing/client.json"),
    ],
)
def test_a_file_or_folder_that_cannot_be_used_is_one_line(
    options: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], quick_umask: None
) -> None:
    """With exit code 1 and no traceback, whatever was named."""
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "deep").write_text("[" * 3000)
    state = [] if "--state" in options else ["--state", str(tmp_path / "control")]
    given = [option.format(here=tmp_path) for option in options]
    assert main([*state, "--listen", "127.0.0.1:0", *given]) == 1
    (line,) = [text for text in capsys.readouterr().err.splitlines() if text.startswith("anypop.api: ")]
    assert says in line


def test_an_error_of_the_database_shows_no_secret(tmp_path: Path) -> None:
    """Neither in its words nor in the traceback that a log would hold."""
    store = open_store(tmp_path)
    secret = "-".join(["hush"] * 2)  # a traceback shows lines of source too
    try:
        with pytest.raises(WorldError) as raised, store.writing() as link:
            link.execute(
                insert(schema.workload_secrets), {"workload_id": "nobody", "revision": 1, "path": "p", "value": secret}
            )
        assert secret not in "".join(traceback.format_exception(raised.value))
    finally:
        store.close()
