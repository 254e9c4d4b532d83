"""A lab's life: side by side, killed, repaired, taken down. On a small generated internet: nothing is wired to one
file.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from anypop.host import ip, netns, process
from anypop.lab import build, vantage
from anypop.lab.build import Lab
from anypop.lab.generate import generate
from anypop.lab.leftovers import left_behind
from anypop.lab.machine import in_parallel
from anypop.lab.settle import reach
from anypop.lab.topology_read import load
from anypop.model.errors import Invalid, WorldError
from tests.wait import wait_until

pytestmark = pytest.mark.lab
SMALL = generate(ases=8, pops=2, seed=5)
UP = "import sys; from pathlib import Path; from anypop.lab import build, topology_read; "
UP += "build.up(topology_read.load(Path(sys.argv[1]).read_text()), prefix=sys.argv[2], state_dir=Path(sys.argv[3]))"


@pytest.fixture(scope="module")
def home(short_folder: Path) -> Path:
    return short_folder / "life"


@pytest.fixture(scope="module")
def prefix() -> str:
    return f"m{os.getpid() % 46656:x}"


@pytest.fixture
def lab(home: Path, prefix: str) -> Iterator[Lab]:
    """A running lab; kept between the tests of this module, which leave it whole."""
    yield build.up(load(SMALL), prefix=prefix, state_dir=home / "one")


@pytest.fixture(scope="module", autouse=True)
def tidy(home: Path, prefix: str) -> Iterator[None]:
    yield
    for name, folder in ((prefix, "one"), (other(prefix), "two")):
        build.down(prefix=name, state_dir=home / folder)
        assert left_behind(home, name) == []


def other(prefix: str) -> str:
    return "n" + prefix[1:]


def broken(lab: Lab) -> list[tuple[str, str]]:
    """Pairs of vantages that do not reach each other although policy lets them, asked again where an echo was lost."""
    known = reach(lab.plan.topology)
    hosts = lab.plan.vantages
    pairs = [(a, b) for a in hosts for b in hosts if b.asn in known[a.asn] and a.asn in known[b.asn]]
    for _ in range(2):
        echoes = in_parallel(lambda pair: vantage.ping(pair[0], pair[1].address6), pairs)
        pairs = [pair for pair, ms in zip(pairs, echoes, strict=True) if ms is None]
    return [(a.name, b.name) for a, b in pairs]


def kill(pid_file: Path) -> None:
    pid = process.alive(pid_file)
    assert pid is not None, pid_file
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: process.start_time(pid) is None, timeout_s=20, reason=f"{pid_file} is killed")


def test_a_generated_internet_comes_up_and_converges(lab: Lab) -> None:
    """Everybody whom policy lets reach each other does."""
    assert len(lab.plan.vantages) > 2
    assert lab.whole()
    assert broken(lab) == []


def test_a_second_up_of_a_whole_lab_starts_nothing(lab: Lab, home: Path, prefix: str) -> None:
    """Every daemon keeps its process."""
    files = sorted(lab.folder.glob("**/*.pid"))
    before = [file.read_text() for file in files]
    build.up(load(SMALL), prefix=prefix, state_dir=home / "one")
    assert [file.read_text() for file in files] == before


def test_a_lab_is_found_again_by_its_folder(lab: Lab) -> None:
    """`attach` gives the same plan."""
    assert build.attach(lab.folder) == lab


def test_two_labs_run_side_by_side(lab: Lab, home: Path, prefix: str) -> None:
    """The same topology under another prefix; taking that one down leaves the first whole."""
    second = build.up(load(SMALL), prefix=other(prefix), state_dir=home / "two")
    assert broken(second) == []
    build.down(prefix=other(prefix), state_dir=home / "two")
    assert left_behind(home / "two", other(prefix)) == []
    assert lab.whole()
    assert broken(lab) == []


def test_what_was_killed_or_taken_away_is_repaired_by_up(lab: Lab, home: Path, prefix: str) -> None:
    """The wire, two BIRDs and a whole namespace; every vantage is reached again, and what was untouched was not
    started anew.
    """
    victims, gone, kept = lab.plan.routers[:2], lab.plan.routers[2], lab.plan.routers[-1]
    untouched = (lab.folder / kept.name / "bird.pid").read_text()
    kill(lab.folder / "wire.pid")
    for router in victims:
        kill(lab.folder / router.name / "bird.pid")
    ip.batch([f"netns del {gone.netns}"])
    assert not lab.whole()
    repaired = build.up(load(SMALL), prefix=prefix, state_dir=home / "one")
    assert repaired.whole()
    wait_until(lambda: broken(repaired) == [], timeout_s=30, reason="routes settle again")
    assert (lab.folder / kept.name / "bird.pid").read_text() == untouched


def test_one_folder_holds_one_lab_and_one_prefix_belongs_to_one(lab: Lab, home: Path, prefix: str) -> None:
    """Another topology in the same folder, and the same prefix from another folder, are refused with what to do."""
    different = load(generate(ases=8, pops=2, seed=6))
    with pytest.raises(WorldError, match="another topology or prefix"):
        build.up(different, prefix=prefix, state_dir=home / "one")
    with pytest.raises(WorldError, match="belongs to another lab"):
        build.up(load(SMALL), prefix=prefix, state_dir=home / "two")
    assert lab.whole()


def test_a_lab_that_stands_takes_another_mtu_over(lab: Lab, home: Path, prefix: str) -> None:
    """Both ends of the link have it, nothing was started anew, and the way back is the same."""
    wire = (lab.folder / "wire.pid").read_text()
    vantage, link = next((v, link) for v in lab.plan.vantages for link in lab.plan.links if link.a.netns == v.netns)
    topology = load(SMALL)
    smaller = replace(
        topology,
        vantages=tuple(replace(v, mtu=1400) if v.name == vantage.name else v for v in topology.vantages),
    )
    for wanted, mtu in ((smaller, 1400), (topology, 1500)):
        build.up(wanted, prefix=prefix, state_dir=home / "one")
        for end in (link.a, link.b):
            assert ip.query("link", "show", end.interface, netns=end.netns)[0]["mtu"] == mtu
    assert (lab.folder / "wire.pid").read_text() == wire
    assert build.attach(home / "one").plan == lab.plan


def test_a_prefix_that_cannot_be_in_a_name_is_refused(home: Path) -> None:
    """At most six small letters and digits."""
    with pytest.raises(Invalid, match="prefix"):
        build.up(load(SMALL), prefix="Too-long", state_dir=home / "x")


def test_names_that_do_not_exist_are_told_with_those_that_do(lab: Lab, home: Path) -> None:
    """A vantage, a PoP, a lab."""
    with pytest.raises(Invalid, match=lab.plan.vantages[0].name):
        lab.vantage("nowhere")
    with pytest.raises(Invalid, match=lab.plan.sites[0].pop.city):
        lab.cut("XXX")
    with pytest.raises(WorldError, match="there is none"):
        build.attach(home / "nothing")


def test_down_after_everything_was_killed_leaves_nothing(lab: Lab, home: Path, prefix: str) -> None:
    """All daemons killed, the pid files lost, one namespace's name gone while its BIRD lives on."""
    orphan = lab.plan.routers[0]
    for file in lab.folder.glob("**/*.pid"):
        if file.parent.name != orphan.name:
            kill(file)
        file.unlink()
    ip.batch([f"netns del {orphan.netns}"])
    build.down(prefix=prefix, state_dir=home / "one")
    assert left_behind(home, prefix) == []
    assert not (home / "one").exists()
    build.down(prefix=prefix, state_dir=home / "one")


@pytest.mark.parametrize("sign", ["lab.json", "namespaces", "wire.json"])
def test_an_up_that_is_killed_half_way_can_be_finished_or_taken_down(home: Path, prefix: str, sign: str) -> None:
    """Killed just after it wrote its plan, while it makes namespaces, or when it starts the wire: `down` leaves
    nothing.
    """
    folder, name = home / "two", other(prefix)
    (home / "small.yaml").parent.mkdir(exist_ok=True)
    (home / "small.yaml").write_text(SMALL)
    with subprocess.Popen([sys.executable, "-c", UP, str(home / "small.yaml"), name, str(folder)]) as starting:
        half = {"namespaces": lambda: len(netns.names(f"{name}-")) > 3}.get(sign, (folder / sign).exists)
        wait_until(half, timeout_s=20, reason=f"it got as far as {sign}", every_s=0.001)
        starting.kill()
    if sign == "wire.json":
        lab = build.up(load(SMALL), prefix=name, state_dir=folder)
        assert lab.whole()
        assert broken(lab) == []
    build.down(prefix=name, state_dir=folder)
    wait_until(
        lambda: left_behind(folder, name) == [], timeout_s=20, reason="what the killed one had under way has ended"
    )


TWO_CITIES = """
name: two cities
ases:
  - {asn: 64496, name: wide, cities: [AMS, LHR], internal: [AMS-LHR]}
  - {asn: 64497, name: far, cities: [LHR]}
links:
  - {a: 64496, b: 64497, relationship: peer, at: [LHR]}
vantages:
  - {name: near, city: AMS, asn: 64496}
  - {name: far, city: LHR, asn: 64497}
anypop:
  asn: 64500
  anycast4: [198.18.0.0/24]
  anycast6: ["2001:db8:a0::/48"]
  pops:
    - {city: AMS, external4: 198.18.16.0/24, external6: "2001:db8:b0::/48", upstreams: [{name: wide, asn: 64496}]}
"""


def test_a_networks_own_addresses_are_told_by_all_its_routers(home: Path, prefix: str) -> None:
    """A vantage in Amsterdam is reached by a peer that its network meets in London alone."""
    try:
        lab = build.up(load(TWO_CITIES), prefix=other(prefix), state_dir=home / "two")
        echo = vantage.ping(lab.vantage("far"), lab.vantage("near").address4)
        assert echo is not None
        assert echo > 4  # there and back between London and Amsterdam
    finally:
        build.down(prefix=other(prefix), state_dir=home / "two")
