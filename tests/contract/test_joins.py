"""Agents with certificates of their own: joined by a token that counts once, renewed by themselves, revocable.

The real control process with real TLS, and the agent's own client; certificates here live for some seconds.
"""

import asyncio
import json
import os
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from cryptography import x509

from anypop.agent.control_client import ControlClient
from anypop.cli.main import run
from anypop.control import agent_certificates
from anypop.model.names import CityCode, HostName
from anypop.model.order import Order
from anypop.model.report import Report
from tests.contract.test_api_process import Process
from tests.wait import wait_until

LHR = HostName("LHR")
LIFE_S = 8.0


class ShortLived(Process):
    def argv(self) -> list[str]:
        return [*super().argv(), "--certificate-days", f"{LIFE_S / 86_400:.9f}"]


@pytest.fixture
def control(tmp_path: Path) -> Iterator[Process]:
    process = ShortLived(tmp_path)
    try:
        process.start()
        yield process
    finally:
        process.child.kill()
        process.child.wait(20)
        process.client.close()


def shows(control: Process, certificate: Path | None) -> httpx.Client:
    context = ssl.create_default_context(cafile=control.folder / "control" / "ca.pem")
    if certificate is not None:
        context.load_cert_chain(certificate)
    return httpx.Client(base_url=control.client.base_url, verify=context, timeout=20, trust_env=False)


def joins(control: Process, host: str, folder: Path, token: str) -> int:
    ca = control.folder / "control" / "ca.pem"
    os.environ["ANYPOP_JOIN_TOKEN"] = token
    try:
        return run(
            ["host", "join", host, "--control", str(control.client.base_url), "--ca", str(ca), "--dir", str(folder)]
        )
    finally:
        del os.environ["ANYPOP_JOIN_TOKEN"]


def serial(path: Path) -> int:
    return x509.load_pem_x509_certificate(path.read_bytes()).serial_number


def test_a_host_joins_renews_and_is_shut_out(control: Process, tmp_path: Path) -> None:
    """One story over one process; see the module."""
    path = "/anypop/v1/agents/LHR/order?after=0"
    lasting = control.agent("LHR")
    assert control.client.get(path, headers=lasting).status_code == 200
    given = control.client.post("/anypop/v1/hosts/lhr/token", json={}).json()
    agent = tmp_path / "agent"
    assert joins(control, "JFK", tmp_path / "other", given["token"]) != 0
    assert joins(control, "LHR", agent, given["token"]) == 0
    certificate = agent / "agent.pem"
    assert certificate.stat().st_mode & 0o777 == 0o600
    assert joins(control, "LHR", tmp_path / "again", given["token"]) != 0, "a token counts once"
    # the token of an earlier version counts until the certificate is used, and no longer
    assert control.client.get(path, headers=lasting).status_code == 200
    with shows(control, certificate) as client:
        assert client.get(path).status_code == 200
        assert client.get(path.replace("LHR", "JFK")).status_code == 403
        assert client.get("/anypop/v1/pops").status_code == 401
    assert control.client.get(path, headers=lasting).status_code == 401
    with shows(control, None) as client:
        assert client.get(path).status_code == 401

    first = serial(certificate)
    taken = asyncio.run(_obeyed_until_renewed(control, agent, first))
    assert taken and serial(certificate) != first
    _is_shut_out(control, certificate)
    assert _joins_by_itself(control, tmp_path / "by-itself")
    text = (control.folder / "log").read_text() + json.dumps(control.client.get("/anypop/v1/events").json())
    assert given["token"] not in text


async def _obeyed_until_renewed(control: Process, agent: Path, first: int) -> list[int]:
    """The agent's own client, until its certificate is another one and control has taken a report over it."""
    client = ControlClient(
        host=LHR, control=str(control.client.base_url), ca=control.folder / "control" / "ca.pem", token_file=None,
        state=agent,
    )  # fmt: skip
    taken: list[int] = []
    reported = asyncio.Event()

    def take(order: Order) -> None:
        taken.append(order.generation)

    def report() -> Report:
        if serial(agent / "agent.pem") != first:
            reported.set()
        return Report(pop=CityCode("LHR"), host=LHR, at=1.0, generation=taken[-1] if taken else 0)

    loops = [
        asyncio.create_task(client.fetch(lambda: taken[-1] if taken else 0, take)),
        asyncio.create_task(client.deliver(report)),
        asyncio.create_task(client.keep_certificate(lambda: datetime.now(UTC).timestamp())),
    ]
    async with asyncio.timeout(4 * LIFE_S):
        await reported.wait()
        reported.clear()
        client.changed()
        await reported.wait()  # the one before was answered, or this one were not made
    assert client.error == ""
    for loop in loops:
        loop.cancel()
    await asyncio.gather(*loops, return_exceptions=True)
    await client.close()
    return taken


def _joins_by_itself(control: Process, agent: Path) -> bool:
    """Whether control takes the certificate that an agent gets with the token in its file, once it is told to."""
    agent.mkdir()
    (agent / "token").write_text(control.client.post("/anypop/v1/hosts/LHR/token", json={}).json()["token"])
    asyncio.run(_kept(control, agent, joins=False))
    assert not (agent / "agent.pem").exists()
    asyncio.run(_kept(control, agent, joins=True))
    with shows(control, agent / "agent.pem") as shown:
        return shown.get("/anypop/v1/agents/LHR/order?after=0").status_code == 200


async def _kept(control: Process, agent: Path, *, joins: bool) -> None:
    """The agent's own client looks after its certificate until there is one, or nothing is to be done."""
    client = ControlClient(
        host=LHR, control=str(control.client.base_url), ca=control.folder / "control" / "ca.pem",
        token_file=agent / "token", state=agent, joins=joins,
    )  # fmt: skip
    keeping = asyncio.create_task(client.keep_certificate(lambda: datetime.now(UTC).timestamp()))
    if joins:
        there = (agent / "agent.pem").exists
        await asyncio.to_thread(wait_until, there, timeout_s=20, reason="it has got a certificate")
        keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    await client.close()


def _is_shut_out(control: Process, certificate: Path) -> None:
    """At once, also a question that waits; and until it joins anew."""
    with shows(control, certificate) as client:
        generation = client.get("/anypop/v1/agents/LHR/order?after=0").json()["generation"]
        answers: list[int] = []

        def wait() -> None:
            answers.append(client.get(f"/anypop/v1/agents/LHR/order?after={generation}&wait=2").status_code)

        waiting = threading.Thread(target=wait, daemon=True)
        waiting.start()
        control.client.post("/anypop/v1/hosts/LHR/revoke", json={}).raise_for_status()
        wait_until(lambda: answers, timeout_s=10, reason="the question that waited is answered")
        assert answers == [401]
        answer = client.get("/anypop/v1/agents/LHR/order?after=0")
        assert answer.status_code == 401 and "was revoked" in answer.json()["message"]
    given = control.client.post("/anypop/v1/hosts/LHR/token", json={}).json()
    assert joins(control, "LHR", certificate.parent / "anew", given["token"]) == 0
    with shows(control, certificate.parent / "anew" / "agent.pem") as client:
        assert client.get("/anypop/v1/agents/LHR/order?after=0").status_code == 200


def test_what_names_no_host_or_is_no_request_gets_nothing() -> None:
    """A server's certificate is no agent's, nor is one with two hosts' names."""
    peer = {"notBefore": "Nov 25 22:00:00 2026 GMT"}
    assert agent_certificates.named_by({**peer, "subjectAltName": (("DNS", "localhost"),)}) is None
    two = (("URI", "anypop:host:LHR"), ("URI", "anypop:host:JFK"))
    assert agent_certificates.named_by({**peer, "subjectAltName": two}) is None
    found = agent_certificates.named_by({**peer, "subjectAltName": two[:1]})
    assert found is not None and found[0] == "LHR"
