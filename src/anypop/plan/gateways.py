"""Which interfaces are gateways of their networks' routes, and where the others are led by them.

In: a workload, one of its interfaces, and the routes that its network has. Out: the prefixes that the network's
gateways lead to, and those that this interface passes on. An interface has the labels of its instance and of its
network. Pure.
"""

from typing import TypedDict

from anypop.model.announce import Prefix
from anypop.model.gateway_route import in_turn
from anypop.model.stack_network import NETWORK_LABEL
from anypop.model.subnets import Vpc
from anypop.model.workload import Workload
from anypop.plan.fields import instance_labels
from anypop.plan.policies import selects


class Led(TypedDict):
    """See `InstanceLink`."""

    ways: tuple[Prefix, ...]
    passes: tuple[Prefix, ...]


_NOWHERE = Led(ways=(), passes=())


def led(workload: Workload, target: str, network: str, vpc: Vpc) -> Led:
    """Of one interface."""
    if not vpc.ways:
        return _NOWHERE
    labels = {**instance_labels(target, workload), NETWORK_LABEL: network}
    passes = in_turn(
        prefix for way in vpc.ways if any(selects(one, labels) for one in way.gateways) for prefix in way.prefixes
    )
    return Led(ways=in_turn(prefix for way in vpc.ways for prefix in way.prefixes), passes=passes)
