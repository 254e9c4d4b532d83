"""Two control processes on one PostgreSQL: one is active, the other stands by, and nothing that was acknowledged is
lost when the active one is killed or frozen.

One story, since a server and two processes take seconds to start. The agent here speaks to whichever control answers,
as the real one does, and notes every generation that it is given.
"""

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from anypop.control.store import open_store
from anypop.model import codec
from anypop.model.errors import WorldError
from tests import postgres_server
from tests.control_world import a_body, a_network
from tests.wait import wait_until

BASE = "/workload/v1/stacks/default/workloads"
PUT_OUT = "put out"  # what a standby says of an active one that beats no more


class Control:
    """One control process with a state folder of its own."""

    def __init__(self, folder: Path, name: str, url: str) -> None:
        self.state = folder / name
        self.folder = folder
        self.log_file = folder / f"{name}.log"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"https://127.0.0.1:{self.port}"
        self.environment = {**os.environ, "ANYPOP_DATABASE_URL": url, "ANYPOP_SECRET_KEY": "5a" * 32}
        self.start()

    def start(self) -> None:
        argv = [sys.executable, "-m", "anypop.api", "--state", str(self.state), "--listen", f"127.0.0.1:{self.port}"]
        argv += ["--network", str(self.folder / "network.yaml"), "--client-file", str(self.state / "client.json")]
        with self.log_file.open("ab") as log:
            self.child = subprocess.Popen(argv, stdout=log, stderr=log, env=self.environment)
        wait_until(lambda: self.health()[0], timeout_s=60, reason=f"control answers: {self.log()}")

    def log(self) -> str:
        return self.log_file.read_text()

    def client(self) -> httpx.Client:
        context = ssl.create_default_context(cafile=self.state / "ca.pem")
        return httpx.Client(base_url=self.url, verify=context, timeout=5, trust_env=False)

    def health(self) -> tuple[int, str]:
        """Status and words; (0, "") where nobody answers."""
        assert self.child.poll() is None, self.log()
        try:
            with self.client() as client:
                answer = client.get("/anypop/v1/healthz")
        except (httpx.HTTPError, OSError):
            return 0, ""
        return answer.status_code, answer.text

    def is_active(self) -> bool:
        return self.health()[0] == 200

    def kill(self) -> None:
        self.child.kill()
        self.child.wait(20)


class Load:
    """A user that creates workloads, and an agent, both at whichever control is active. What was acknowledged is kept,
    with each generation that the agent got.
    """

    def __init__(self, controls: list[Control], token: str) -> None:
        self.controls = controls
        self.token = token
        self.client_id = json.loads((controls[0].state / "client.json").read_text())
        self.acknowledged: list[str] = []
        self.acknowledged_at: list[float] = []
        self.generations: list[int] = []
        self.refused: list[httpx.Response] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._create, self._obey)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(20)

    def _create(self) -> None:
        number = 0
        while not self._stop.is_set():
            for control in self.controls:
                try:
                    with control.client() as client:
                        token = bearer(client, self.client_id)
                        while not self._stop.is_set():
                            number += 1
                            body = a_body(f"w{number}", cities=("LHR",), replicas=1, anycast=False)
                            answer = client.post(BASE, json=body, headers=token)
                            if answer.status_code != 200:
                                self.refused.append(answer)
                                break
                            self.acknowledged_at.append(time.monotonic())
                            self.acknowledged.append(f"w{number}")
                except (httpx.HTTPError, OSError, KeyError):
                    continue
            time.sleep(0.05)  # a pause between rounds of tries, no wait for anything

    def _obey(self) -> None:
        headers = {"authorization": f"Bearer {self.token}"}
        while not self._stop.is_set():
            for control in self.controls:
                try:
                    with control.client() as client:
                        while not self._stop.is_set():
                            after = self.generations[-1] if self.generations else 0
                            path = f"/anypop/v1/agents/LHR/order?after={after}&wait=1"
                            answer = client.get(path, headers=headers)
                            if answer.status_code == 204:
                                continue
                            if answer.status_code != 200:
                                break
                            self.generations.append(answer.json()["generation"])
                except (httpx.HTTPError, OSError):
                    continue
            time.sleep(0.05)  # as above


def bearer(client: httpx.Client, who: dict[str, Any]) -> dict[str, str]:
    pair = {key: who[key] for key in ("client_id", "client_secret")}
    return {"authorization": f"Bearer {client.post('/identity/v1/oauth2/token', json=pair).json()['access_token']}"}


@pytest.fixture
def controls(tmp_path: Path) -> Iterator[list[Control]]:
    (tmp_path / "network.yaml").write_text(yaml.safe_dump(codec.to_data(a_network())))
    started: list[Control] = []
    with postgres_server.running() as url:
        try:
            for name in ("one", "two"):
                started.append(Control(tmp_path, name, url))
            yield started
        finally:
            for control in started:
                control.child.kill()
                control.child.wait(20)


def test_the_standby_takes_over_and_nothing_acknowledged_is_lost(controls: list[Control]) -> None:
    """It serves reads and says who is active; kill -9 under load; then the one that was active comes back as the
    standby; and a frozen active one is put out, and writes nothing when it thaws.
    """
    one, two = controls
    assert one.is_active(), (one.health(), one.log())
    status, words = two.health()
    assert status == 503 and "stands by" in words
    who = json.loads((one.state / "client.json").read_text())
    with one.client() as client:
        token = bearer(client, who)
        client.post(BASE, json=a_body("first", cities=("LHR",), replicas=1), headers=token).raise_for_status()
    _reads_of_a_standby(two, token, one.url)

    load = Load(controls, (one.state / "agents" / "LHR.token").read_text().strip())
    wait_until(lambda: len(load.acknowledged) > 10, timeout_s=20, reason="some creations were acknowledged")
    one.kill()
    killed, before = time.monotonic(), len(load.acknowledged)
    wait_until(lambda: len(load.acknowledged) > before + 10, timeout_s=40, reason="the other took over")
    # by the lock, which is free at once, and not since it had been silent for long; on a busy machine all is slower
    assert PUT_OUT not in two.log()
    ten = load.acknowledged_at[before - 1] - load.acknowledged_at[before - 11]
    assert load.acknowledged_at[before] - killed < 8 + ten, two.log()
    one.start()
    wait_until(lambda: "stands by" in one.health()[1], timeout_s=20, reason="the killed one stands by now")

    two.child.send_signal(signal.SIGSTOP)
    before = len(load.acknowledged)
    wait_until(
        lambda: len(load.acknowledged) > before + 10, timeout_s=40, reason=f"a frozen one is put out: {one.log()}"
    )
    assert PUT_OUT in one.log()
    two.child.send_signal(signal.SIGCONT)
    wait_until(lambda: "stands by" in two.health()[1], timeout_s=30, reason=f"the thawed one stands by: {two.log()}")
    load.stop()

    with one.client() as client:
        found = client.get(f"{BASE}?page_request.first=9999", headers=bearer(client, who)).json()["results"]
    assert {w["slug"] for w in found} >= {"first", *load.acknowledged}
    assert load.generations == sorted(set(load.generations)) and len(load.generations) > 10
    assert all(answer.status_code in (409, 503) for answer in load.refused)


def _reads_of_a_standby(standby: Control, token: dict[str, str], active: str) -> None:
    def sees() -> bool:
        with standby.client() as client:
            answer = client.get(f"{BASE}/first/instances", headers=token)
            return answer.status_code == 200 and len(answer.json()["results"]) == 1

    wait_until(sees, timeout_s=30, reason=f"the standby shows what the active one stored: {standby.log()}")
    with standby.client() as client:
        answer = client.post(BASE, json=a_body("no"), headers=token)
        assert answer.status_code == 503 and active in answer.json()["message"]
        assert answer.json()["details"][-1] == {"@type": "stackpath.rpc.RetryInfo", "retryDelay": "2s"}
        assert client.get("/anypop/v1/agents/LHR/order?after=0", headers=token).status_code == 503


def test_one_that_was_overtaken_writes_nothing(tmp_path: Path) -> None:
    """Its lock is lost without its noticing, another takes over: from then on each of its transactions is refused, and
    it learns that it is not the active one.
    """
    with postgres_server.running() as url:
        first, second = open_store(tmp_path / "a", url, answers_at="https://a"), open_store(tmp_path / "b", url)
        try:
            assert first.lease is not None and second.lease is not None
            with pytest.raises(WorldError, match="another control is the active one"):
                second.put_setting("who", "b")
            holder = second.lease.holder()
            assert holder is not None and holder.address == "https://a"
            first.put_setting("who", "a")
            first.lease._drop()
            lease = second.lease

            def overtakes() -> bool:
                second.prepare(tmp_path / "b")
                return lease.epoch > 0

            wait_until(overtakes, timeout_s=20, reason="the server has seen that the lock's connection has ended")
            second.put_setting("who", "b")
            with pytest.raises(WorldError, match="another control is the active one"):
                first.put_setting("who", "a")
            assert (first.lease.epoch, second.lease.epoch) == (1, 2)
            assert not first.lease.holds() and second.lease.holds()
            assert first.setting("who") == "b"
        finally:
            first.close()
            second.close()
