"""Three hosts with a backbone for all tests of this folder, two in London and one in Amsterdam; and instances with
interfaces in the networks blue and red of a stack.
"""

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_network

import pytest

from anypop.model.announce import Address, Prefix
from anypop.model.order import InstanceLink, InstanceOrder, LinkAddress
from anypop.model.subnets import address_in
from tests.agent_lab import tokens
from tests.backbone_lab import BackboneLab, Host

BLUE: tuple[Prefix, ...] = (ip_network("10.0.0.0/9"), ip_network("fd00:b::/32"))
RED: tuple[Prefix, ...] = (ip_network("10.128.0.0/9"), ip_network("fd00:c::/32"))
SUBNETS = {"blue": BLUE, "red": RED}


@pytest.fixture(scope="package")
def lab() -> Iterator[BackboneLab]:
    made = BackboneLab("nw", [("LHR", 0), ("LHR", 0), ("AMS", 357)])
    try:
        yield made
    finally:
        made.close()


def emptied(lab: BackboneLab) -> None:
    """No instance is left at any host, nor anything announced, for which the last one would stay."""
    for host in lab.hosts:
        if host.control.order is not None:
            there = {i.uid: i for i in host.control.order.instances}
            gone = (*host.control.order.removed, *tokens(*there.values()))
            host.give(removed=tuple({r.uid: r for r in gone}.values()), drain_s=0.0, announcements=())
    for host in lab.hosts:
        if host.control.order is not None:
            lab.wait(lambda h=host: is_empty(h), f"{host.name} is empty again", 60)  # type: ignore[misc]


def is_empty(host: Host) -> bool:
    report = host.report
    return report is not None and report.generation == host.ordered and not report.instances


def link(host: Host, network: str, number: int, first: InstanceOrder | None) -> InstanceLink:
    """An interface by the numbers of its host. `first`: whose external addresses it has."""
    four, six = host.private4, host.private6
    plain = (
        LinkAddress(gateway=four[2 * number], private=four[2 * number + 1], external=None),
        LinkAddress(gateway=six[2 * number], private=six[2 * number + 1], external=None),
    )
    found = tuple(first.addresses()) if first is not None else plain
    return InstanceLink(
        network=network,
        addresses=tuple(
            replace(a, vpc=address_in(s, host.n, number)) for a, s in zip(found, SUBNETS[network], strict=True)
        ),
        reach=SUBNETS[network],
    )


def inside(instance: InstanceOrder, network: str, version: int) -> Address:
    """Its address in a network's subnet."""
    (mine,) = [one for one in instance.links if one.network == network]
    address = mine.of(version)
    assert address is not None and address.vpc is not None
    return address.vpc
