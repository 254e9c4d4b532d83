"""The command line on a real lab and a real platform: status, routes from a running BIRD, a cut and its end,
vantages.
"""

import json
from pathlib import Path

import pytest

from anypop.lab.platform import Platform
from tests.cli_calls import Caller
from tests.wait import wait_until

pytestmark = pytest.mark.lab


def test_a_lab_is_shown_cut_and_mended_from_the_command_line(
    place: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each command does what it says to the real thing; a wrong name is one clear line."""
    caller = Caller(tmp_path, None, monkeypatch)

    def cut(*argv: str) -> dict[str, bool]:
        assert caller("--state", str(place.state), "lab", *argv).code == 0
        found = json.loads(caller("--state", str(place.state), "lab", "status", "-o", "json").out)
        assert found["whole"] is True
        return {row["pop"]: row["cut"] for row in found["pops"]}

    try:
        assert cut("cut", "lhr") == {city: city == "LHR" for city in place.cities}
    finally:
        restored = cut("restore", "LHR")
    assert not any(restored.values())
    assert "there are AMS" in caller("--state", str(place.state), "lab", "cut", "SIN").err

    routes = caller("--state", str(place.state), "lab", "routes", "as3356-lhr", "-o", "json")
    assert any(route["best"] and route["as_path"] for route in json.loads(routes.out))
    wrong = caller("--state", str(place.state), "lab", "routes", "as3356-lhx")
    assert (wrong.code, "as3356-lhr" in wrong.err) == (2, True)
    assert caller("--state", str(place.state), "lab", "routes", "as3356-lhr", "--to", "all; down").code == 2

    names = [row["name"] for row in json.loads(caller("--state", str(place.state), "vantages", "-o", "json").out)]
    assert "london" in names

    def whole() -> bool:
        pops = json.loads(caller("--state", str(place.state), "pops", "-o", "json").out)
        return all(pop["trusted"] and all(s["state"] == "established" for s in pop["sessions"]) for pop in pops)

    wait_until(whole, timeout_s=30, reason="every session is up again after the short cut")
