"""A real kernel is asked by ARP over one link: it answers for its own address, and not where it is told not to."""

import asyncio
import os
from collections.abc import Iterator
from ipaddress import IPv4Address

import pytest

from anypop.agent.act.network.namespaces import make_namespace, remove_name
from anypop.agent.naming import namespace_of
from anypop.agent.observe import arp
from anypop.host import ip, netns
from anypop.model.errors import WorldError
from tests.wait import wait_until

pytestmark = pytest.mark.lab
PREFIX = f"arp{os.getpid()}"
HERE, THERE = namespace_of(PREFIX, "here"), namespace_of(PREFIX, "there")
GUEST, NOBODY = IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2")


@pytest.fixture
def link() -> Iterator[str]:
    """From one namespace to another, which has an address there."""
    for uid in ("here", "there"):
        make_namespace(PREFIX, uid)
    try:
        ip.batch([f"link add near type veth peer name far netns {THERE}"], netns=HERE)
        ip.batch(["address add 192.0.2.0/30 dev near", "link set near up"], netns=HERE)
        ip.batch(["address add 192.0.2.1/30 dev far", "link set far up"], netns=THERE)
        yield "near"
    finally:
        for name in (HERE, THERE):
            remove_name(netns.path_of(name))


def answers(link: str, address: IPv4Address, within_s: float = 0.3) -> bool:
    with netns.inside(HERE):
        return asyncio.run(arp.answers(link, address, within_s))


def test_a_kernel_answers_for_its_own_address_alone(link: str) -> None:
    """One that answers no more is known as such; a link that is not there says nothing about anybody."""
    # what is sent in the moment before both ends carry is lost, and a question is asked once
    wait_until(lambda: answers(link, GUEST, 1), timeout_s=20, reason="both ends of the link carry")
    assert not answers(link, NOBODY)
    ip.batch(["link set far arp off"], netns=THERE)
    assert not answers(link, GUEST)
    ip.batch(["link set far arp on"], netns=THERE)
    wait_until(lambda: answers(link, GUEST, 1), timeout_s=20, reason="it answers again")
    with pytest.raises(WorldError, match="ask for"):
        answers("none", GUEST)
