"""Pings as probes, on a real kernel: an echo that comes over the link that was named is an answer, and nothing else."""

import asyncio
from collections.abc import Iterator

import pytest

from anypop.agent.naming import link_of
from anypop.agent.observe.ask import ask
from anypop.host import netns, process
from anypop.model.workload import Probe, ProbeKind
from tests.drain_lab import BOTH, ROUTER, wired

SILENT = """table inet t {
	chain c {
		type filter hook input priority filter;
		meta l4proto icmp drop
		icmpv6 type echo-request drop
	}
}
"""
PING = Probe(kind=ProbeKind.PING, timeout_s=1)


@pytest.fixture(scope="module")
def place() -> Iterator[None]:
    with wired():
        yield


async def nothing(*_: object) -> int:
    raise AssertionError("nothing is run")


def asked(version: int, probe: Probe = PING, *, link: str = link_of(BOTH[0].uid)) -> str | None:
    with netns.inside(ROUTER):
        return asyncio.run(ask(probe, BOTH[0].private(version), nothing, link))


@pytest.mark.parametrize("version", [4, 6])
def test_a_guest_whose_network_is_up_answers_and_one_that_says_nothing_does_not(place: None, version: int) -> None:
    """In each family; who answers by another link is somebody else."""
    assert asked(version) is None
    quick = Probe(kind=ProbeKind.PING, timeout_s=0.2)
    silent = netns.command(BOTH[0].space, "nft", "-f", "-")
    process.run(silent, stdin=SILENT)
    try:
        assert asked(version, quick) == "no answer within 0.2 s"
    finally:
        process.run(netns.command(BOTH[0].space, "nft", "delete", "table", "inet", "t"))
    assert asked(version) is None
    assert asked(version, quick, link=link_of(BOTH[1].uid)) is not None


def test_many_ask_at_once_and_each_hears_its_own_answer(place: None) -> None:
    """A raw socket hears the answers to all others too."""

    async def all_() -> list[str | None]:
        both = [(one, v) for one in BOTH for v in (4, 6)] * 10
        return await asyncio.gather(*(ask(PING, one.private(v), nothing, link_of(one.uid)) for one, v in both))

    with netns.inside(ROUTER):
        assert set(asyncio.run(all_())) == {None}
