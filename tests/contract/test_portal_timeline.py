"""The portal's waterfall of a deployment: each step of each instance, with figures beside the bars."""

import re
from pathlib import Path

from anypop.control.roles import Role
from tests.contract.test_portal import Visitor
from tests.control_world import World
from tests.people import PASSWORD, a_user, quick


def test_each_step_has_its_milliseconds_and_a_bar_inside_of_the_picture(tmp_path: Path) -> None:
    with World(tmp_path) as world:
        quick(world)
        a_user(world, world.platform.accounts.first_account().id, "ada", Role.OWNER, PASSWORD)
        world.create()
        world.settle(world.agents())
        ada = Visitor(world).sign_in("ada")
        told = world.get("/anypop/v1/stacks/default/workloads/fun/timeline")
        page = ada.get("/portal/stacks/default/workloads/fun/timeline")
        assert len(told["instances"]) > 1
        for one in told["instances"]:
            assert one["name"] in page
        count = sum(len(one["steps"]) - 1 for one in told["instances"])
        bars = [(float(x), float(w)) for x, w in re.findall(r'<rect x="([\d.]+)" width="([\d.]+)"', page)]
        assert len(bars) == count > 0
        assert all(x >= 0 and x + w <= 402 for x, w in bars)
        assert "/portal/stacks/default/workloads/fun/timeline" in ada.get("/portal/stacks/default/workloads/fun")
