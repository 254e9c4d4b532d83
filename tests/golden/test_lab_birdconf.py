"""The configurations of lab routers: some as recorded in `lab/`, all accepted by BIRD itself.

To record anew after a wanted change: ANYPOP_RECORD=1 pytest tests/golden/test_lab_birdconf.py, then read the
difference.
"""

import os
import subprocess
from pathlib import Path

import pytest

from anypop.lab import edge
from anypop.lab.address import LabPlan, plan
from anypop.lab.generate import generate
from anypop.lab.routers import render
from anypop.lab.topology_read import load

HERE = Path(__file__).parent
ARTICLE = (HERE.parents[1] / "topologies" / "article.yaml").read_text()


TWO_HOSTS = ARTICLE.replace("    - city: JFK\n", "    - city: JFK\n      hosts: 2\n")


def lab(text: str) -> LabPlan:
    return plan(load(text), "golden")


def edge_of(found: LabPlan, city: str) -> str:
    return edge.render(edge.config_of(found, next(site for site in found.sites if site.pop.city == city)))


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


def test_an_edge_routers_configuration_is_the_recorded_one_and_bird_takes_it(tmp_path: Path) -> None:
    """New York with two hosts and two upstreams: what docs/hosts.md shows."""
    text = edge_of(lab(TWO_HOSTS), "JFK")
    recorded = HERE / "lab" / "pop-jfk.conf"
    if os.environ.get("ANYPOP_RECORD"):
        recorded.write_text(text)
    assert text == recorded.read_text()
    assert accepted(text, tmp_path)


def test_hosts_change_nothing_for_the_routers_of_other_networks() -> None:
    """Whether a PoP has one host or two behind an edge router: every other router is configured in the same words."""
    plain, with_hosts = lab(ARTICLE), lab(TWO_HOSTS)
    assert [render(with_hosts, router) for router in with_hosts.routers] == [
        render(plain, router) for router in plain.routers
    ]


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
    found = lab(TWO_HOSTS)
    for text in (render(found, found.routers[0]), edge_of(found, "JFK")):
        assert not accepted(text.replace("then reject;", "then reject", 1), tmp_path)
