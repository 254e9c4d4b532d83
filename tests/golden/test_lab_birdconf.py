"""The configurations of lab routers: some as recorded in `lab/`, all accepted by BIRD itself.

To record anew after a wanted change: ANYPOP_RECORD=1 pytest tests/golden/test_lab_birdconf.py, then read the difference.
"""

import os
import subprocess
from pathlib import Path

import pytest

from anypop.lab.address import LabPlan, plan
from anypop.lab.generate import generate
from anypop.lab.routers import render
from anypop.lab.topology_read import load

HERE = Path(__file__).parent
ARTICLE = (HERE.parents[1] / "topologies" / "article.yaml").read_text()


def lab(text: str) -> LabPlan:
    return plan(load(text), "golden")


def accepted(conf: str, folder: Path) -> bool:
    file = folder / "bird.conf"
    file.write_text(conf)
    return subprocess.run(["bird", "-p", "-c", str(file)], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("name", ["as3356-lhr", "as209-jfk", "as1299-ams", "as64497-lhr"])
def test_a_routers_configuration_is_the_recorded_one(name: str) -> None:
    """A backbone, the network of the story, an upstream of ours with a large dictionary, and an access network."""
    found = lab(ARTICLE)
    text = render(found, next(router for router in found.routers if router.name == name))
    recorded = HERE / "lab" / f"{name}.conf"
    if os.environ.get("ANYPOP_RECORD"):
        recorded.write_text(text)
    assert text == recorded.read_text()


def test_bird_accepts_every_router_of_the_article(tmp_path: Path) -> None:
    """`bird -p` on each."""
    found = lab(ARTICLE)
    assert [router.name for router in found.routers if not accepted(render(found, router), tmp_path)] == []


def test_bird_accepts_every_router_of_a_generated_internet(tmp_path: Path) -> None:
    """Backbones with the dictionaries of seven real networks are among them."""
    found = lab(generate(ases=24, pops=3, seed=11))
    assert [router.name for router in found.routers if not accepted(render(found, router), tmp_path)] == []


def test_bird_refuses_a_broken_configuration(tmp_path: Path) -> None:
    """The check can fail: one missing bracket is enough."""
    found = lab(ARTICLE)
    assert not accepted(render(found, found.routers[0]).replace("then reject;", "then reject", 1), tmp_path)
