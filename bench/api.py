"""What a call of the API costs its client, over HTTPS on one connection, on SQLite and on PostgreSQL.

Rows: a workload is created, one is read, a thousand are listed in one page, and a change is on its way to a host (from
the sending of the request to the moment at which the host's agent holds the new order). Median is the 50th percentile,
worst the 99th. Beside each: as many requests to a bare FastAPI application that gives back the JSON it got, served by
the same server with the same certificate. PostgreSQL waits for its disk, as SQLite does.
"""

import json
import os
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import yaml
from tests import postgres_server
from tests.contract.test_api_process import BASE, Process
from tests.control_world import a_body, a_network
from tests.wait import wait_until

from anypop.model import codec
from bench.harness import Row, row

WORKLOADS = 1000
READS = 1000
PAGES = 30
CHANGES = 200
CITIES = ("AMS", "LHR", "FRA", "MAD", "JFK", "LAX", "SIN", "NRT")  # so that a host has room for its part
GET_BELOW_MS, ORDER_BELOW_MS = 5, 50

ECHO = """
import sys, uvicorn
from fastapi import FastAPI, Request
app = FastAPI()
@app.post("/echo")
async def echo(request: Request):
    return await request.json()
port, certificate, key = sys.argv[1:]
tls = {"ssl_certfile": certificate, "ssl_keyfile": key}
uvicorn.run(app, port=int(port), log_level="error", http="h11", timeout_keep_alive=75, **tls)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Milliseconds of each request; `echo_small` and `echo_large`: of the bare application, with a workload and with a
    page of them.
    """

    create: list[float]
    get: list[float]
    page: list[float]
    order: list[float]
    echo_small: list[float]
    echo_large: list[float]


def rows() -> Iterable[Row]:
    with tempfile.TemporaryDirectory() as folder:
        yield from _rows("sqlite", _measured(Path(folder), {}))
    with tempfile.TemporaryDirectory() as folder, postgres_server.running(durable=True) as url:
        yield from _rows("postgresql", _measured(Path(folder), {"ANYPOP_DATABASE_URL": url}))


def _rows(database: str, found: Measured) -> Iterator[Row]:
    echo = "bare FastAPI echo"
    for name, samples, floor, below in (
        ("create", found.create, found.echo_small, None),
        ("get", found.get, found.echo_small, GET_BELOW_MS),
        ("list_1000", found.page, found.echo_large, None),
        ("write_to_order", found.order, found.echo_small, ORDER_BELOW_MS),
    ):
        made = row(f"{name}_{database}", samples, unit="ms", against=echo, floor=floor, below=below)
        yield replace(made, worst=round(_p99(samples), 6))


def _p99(samples: Sequence[float]) -> float:
    return sorted(samples)[min(len(samples) - 1, len(samples) * 99 // 100)]


def _measured(folder: Path, environment: dict[str, str]) -> Measured:
    with _control(folder, environment) as control:
        slugs = iter(range(WORKLOADS))
        create = _timed(WORKLOADS, lambda: _post(control, next(slugs)))
        get = _timed(READS, lambda: _ok(control.client.get(f"{BASE}/w0")))
        page = _timed(PAGES, lambda: _ok(control.client.get(BASE, params={"page_request.first": str(WORKLOADS)})))
        order = _changes(control)
        small = control.client.get(f"{BASE}/w0").json()
        large = control.client.get(BASE, params={"page_request.first": str(WORKLOADS)}).json()
        assert len(large["results"]) == WORKLOADS
        with _echo(control) as bare:
            echo_small = _timed(READS, lambda: _ok(bare.post("/echo", json=small)))
            echo_large = _timed(PAGES, lambda: _ok(bare.post("/echo", json=large)))
    return Measured(create=create, get=get, page=page, order=order, echo_small=echo_small, echo_large=echo_large)


def _timed(count: int, once: Callable[[], Any]) -> list[float]:
    found = []
    for _ in range(count):
        began = time.perf_counter()
        once()
        found.append(1000 * (time.perf_counter() - began))
    return found


def _ok(answer: httpx.Response) -> None:
    assert answer.status_code == 200, answer.text


def _post(control: Process, number: int) -> None:
    city = CITIES[number % len(CITIES)]
    _ok(control.client.post(BASE, json=a_body(f"w{number}", cities=(city,), replicas=1, anycast=False)))


def _changes(control: Process) -> list[float]:
    """A value of one workload's environment changes again and again; an agent waits for each order as agents do."""
    host = CITIES[0]
    headers = control.agent(host)
    found: list[float] = []
    with httpx.Client(base_url=control.client.base_url, verify=_trust(control), timeout=60, trust_env=False) as agent:
        generation = control.order(host)["generation"]
        for number in range(CHANGES):
            arrived: list[float] = []
            asked = threading.Event()

            def wait(after: int = generation, told: list[float] = arrived, begun: threading.Event = asked) -> None:
                begun.set()
                answer = agent.get(f"/anypop/v1/agents/{host}/order?after={after}&wait=30", headers=headers)
                told += [time.perf_counter(), answer.json()["generation"]]

            waiting = threading.Thread(target=wait)
            waiting.start()
            asked.wait()
            # its question is at control before the change is: the same way, a moment earlier
            _ok(control.client.get(f"{BASE}/w0"))
            began = time.perf_counter()
            labels = {"labels": {"n": str(number)}}
            ports = {"http": {"port": 1000 + number, "protocol": "TCP"}}
            spec = {"containers": {"web": {"ports": ports}}}
            _ok(control.client.patch(f"{BASE}/w0", json={"workload": {"metadata": labels, "spec": spec}}))
            waiting.join()
            found.append(1000 * (arrived[0] - began))
            generation = int(arrived[1])
    return found


def _trust(control: Process) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=json.loads((control.folder / "client.json").read_text())["ca"])


class _Bench(Process):
    """Without the checks of each answer that tests make."""

    def start(self, *, network: bool = True) -> None:
        (self.folder / "network.yaml").write_text(
            yaml.safe_dump(codec.to_data(a_network(dict.fromkeys(CITIES, (1299, 3356)))))
        )
        super().start(network=network)
        self.client.event_hooks = {}


@contextmanager
def _control(folder: Path, environment: dict[str, str]) -> Iterator[Process]:
    kept = dict(os.environ)
    os.environ.update(environment)
    control = _Bench(folder)
    try:
        control.start()
        yield control
    finally:
        os.environ.clear()
        os.environ.update(kept)
        control.child.kill()
        control.child.wait(20)
        control.client.close()


@contextmanager
def _echo(control: Process) -> Iterator[httpx.Client]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    state = control.folder / "control"
    argv = [sys.executable, "-c", ECHO, str(port), str(state / "server.pem"), str(state / "server.key")]
    child = subprocess.Popen(argv)
    try:
        wait_until(lambda: _listens(port), timeout_s=30, reason="the bare application listens")
        with httpx.Client(
            base_url=f"https://127.0.0.1:{port}", verify=_trust(control), timeout=60, trust_env=False
        ) as client:
            yield client
    finally:
        child.kill()
        child.wait(20)


def _listens(port: int) -> bool:
    with socket.socket() as link:
        return link.connect_ex(("127.0.0.1", port)) == 0
