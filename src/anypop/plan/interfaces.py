"""The interfaces that a workload's instances have: the first one, which is in the workload itself, and further ones.

In: a checked body. Out: the further interfaces with the subnets that they name, or a problem for each thing that only
the first one can have. Which subnets these are is the stack's to say (`control.subnets`). Pure.
"""

from collections.abc import Iterator

from anypop.model.errors import Problem
from anypop.model.stack_network import DEFAULT_NETWORK
from anypop.model.subnets import Interface, Vpc
from anypop.plan import schema

_PATH = "spec.networkInterfaces"


def first(body: schema.WorkloadBody) -> schema.Interface:
    """The one with the default route, the public address and the anycast address; nothing declared is one in the
    default network.
    """
    return next(iter(body.spec.network_interfaces or ()), schema.Interface())


def further(body: schema.WorkloadBody) -> tuple[Interface, ...]:
    """The others, in their order."""
    return tuple(
        Interface(
            network=one.network or DEFAULT_NETWORK,
            vpc=Vpc(named=(one.subnet or "", one.ipv6_subnet or "")),
            families=(6,) if one.ip_families == ["IPv6"] else (4, 6),
        )
        for one in (body.spec.network_interfaces or ())[1:]
    )


def refusals(body: schema.WorkloadBody) -> Iterator[Problem]:
    """What a further interface cannot have."""
    met: dict[str, int] = {}
    for n, one in enumerate(body.spec.network_interfaces or ()):
        network = one.network or DEFAULT_NETWORK
        if network in met:
            message = (
                f"networkInterfaces[{met[network]}] is in network {network} already: one interface reaches all subnets "
                "of its network"
            )
            yield Problem(path=f"{_PATH}[{n}].network", message=message)
        met.setdefault(network, n)
        if n and one.enable_one_to_one_nat:
            message = "the public address is the first interface's; leave it out, or say false"
            yield Problem(path=f"{_PATH}[{n}].enableOneToOneNat", message=message)
