"""The portal's map without a browser: a repair that is under way is taken back, and PoPs are as large as their part of
the traffic.
"""

import re
import time
from pathlib import Path
from typing import Any

import pytest

from anypop.control.roles import Role
from anypop.portal import landing_map
from tests.contract.test_portal import Visitor
from tests.london_world import fun, go_on, london_world
from tests.people import PASSWORD, a_user, quick

MAP = "/portal/stacks/default/map"
FUN = "/anypop/v1/stacks/default/workloads/fun"
KEEP = [{"pop": pop, "upstream": "as209", "scope": {"communities": ["209:7100"]}} for pop in ("JFK", "LAX")]


def test_a_repair_is_aborted_by_a_button_and_discs_tell_traffic(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The button comes with the live part too, to the operator alone, and only while there is something to abort."""
    with london_world(tmp_path, now=time.time()) as world:
        quick(world)
        own = world.platform.accounts.first_account().id
        for name, role in (("ada", Role.OWNER), ("vic", Role.VIEWER)):
            a_user(world, own, name, role, PASSWORD)
        fun(world)
        agents = world.agents()
        world.settle(agents)
        ada, vic = Visitor(world).sign_in("ada"), Visitor(world).sign_in("vic")
        begun = world.send("POST", f"{FUN}/repairs", {"rules": KEEP, "title": "stay"})["rollout"]
        go_on(world, agents)
        assert world.state.rules
        topic = f"map:default:{next(iter(world.state.workloads))}"
        action = f'action="{MAP}/abort"'
        assert action in ada.get(MAP) and action in ada.hears(topic).replace("\\", "")
        assert action not in vic.get(MAP) and action not in vic.hears(topic).replace("\\", "")
        assert vic.ask("POST", f"{MAP}/abort", workload="fun", rollout=begun["id"]).status_code == 403
        ada.get(MAP)
        gone = ada.ask("POST", f"{MAP}/abort", workload="fun", rollout=begun["id"])
        assert gone.status_code == 303 and "done=aborted" in gone.headers["location"]
        shown = ada.get(f"{MAP}?workload=fun&done=aborted")
        assert action not in shown and "Aborted" in shown and not world.state.rules
        again = ada.ask("POST", f"{MAP}/abort", workload="fun", rollout=begun["id"])
        assert again.status_code == 400 or "alert" in again.text, "there is nothing left to abort"

        async def rates(*_: Any) -> dict[str, dict[str, float]]:
            return {"JFK": {"in": 6e6, "out": 3e6}, "AMS": {"in": 1e6, "out": 0.0}}

        monkeypatch.setattr(landing_map, "_rates", rates)
        told = dict(re.findall(r'data-flow-of="(\w+)" data-flow-r="([\d.]+)"', ada.get(f"{MAP}/pops?workload=fun")))
        assert told.keys() == {"JFK", "AMS"} and float(told["JFK"]) > 2 * float(told["AMS"])
        assert all(f'data-flow="{pop}"' in shown for pop in told), "the picture has a disc for each"
