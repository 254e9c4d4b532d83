"""A PoP of two hosts behind an edge router, with the whole platform: placement over hosts, and what clients notice
when one host goes.
"""

import json
import os
import re
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from anypop.host import birdc, netns, process
from anypop.lab import build, platform, vantage
from anypop.lab.build import Lab
from anypop.lab.leftovers import left_behind
from anypop.lab.looking_glass import look
from anypop.lab.vantage import Stream
from tests.lab.edge_lab import TOPOLOGY, nexthops, told, updates, watched
from tests.lab.story import Shell
from tests.wait import wait_until

pytestmark = pytest.mark.lab
EVERY_S = 0.005
# BFD sees a silent loss within 0.3 s (3 x 100 ms); half of the flows go to the host that is lost, and what hangs is
# given up after 0.5 s.
BLIND_S = 0.45
OPEN = 10  # requests that may be under way at one moment: each takes some milliseconds, and one begins every 5 ms


@pytest.fixture(scope="module")
def shell(short_folder: Path) -> Iterator[Shell]:
    state, prefix = short_folder / "hosts", f"h{os.getpid() % 46656:x}"
    topology = short_folder / "hosts.yaml"
    topology.write_text(TOPOLOGY)
    try:
        made = Shell(
            place=platform.up(
                topology,
                state=state,
                prefix=prefix,
                api_port=0,
                registry_port=0,
                progress=lambda _: None,
                supervised=False,
            )
        )
        words = ("workload", "create", "web", "--image", made.place.image, "--port", "80", "--replicas", "4")
        made.json(*words, "--target", "eu1=LHR", "--anycast", "--yes", "--timeout", "60")
        yield made
    finally:
        platform.down(state, progress=lambda _: None, purge=True)
        assert left_behind(state, prefix) == []


@pytest.fixture(scope="module")
def lab(shell: Shell) -> Lab:
    return build.attach(shell.place.state / "lab")


@pytest.fixture(scope="module")
def addresses(shell: Shell, lab: Lab) -> tuple[str, str]:
    """The workload's anycast addresses, once everybody serves them."""
    data = shell.json("workload", "show", "web")
    found = re.findall(r'"(198\.18\.0\.\d+|2001:db8:a0:[0-9a-f:]*)"', str(data).replace("'", '"'))
    four, six = (next(a for a in found if (":" in a) == wants) for wants in (False, True))
    until_both_serve(lab, (four, six))
    return four, six


def until_both_serve(lab: Lab, addresses: tuple[str, str]) -> None:
    wait_until(
        lambda: all(nexthops(lab, a) == 2 for a in addresses),
        timeout_s=15,
        reason="the edge router spreads over both hosts",
    )
    wait_until(lambda: watched(lab) == 4, timeout_s=10, reason="BFD watches both hosts in both families")
    london = lab.vantage("london")
    wait_until(
        lambda: all(a.ok for address in addresses for a in vantage.probe(london, address, requests=5, timeout_s=1)),
        timeout_s=10,
        reason="London is answered in both families",
    )


def hosts_of(shell: Shell) -> dict[str, list[str]]:
    """The instances of each host, by the external addresses: LHR-1 has the lower half of the PoP's."""
    found: dict[str, list[str]] = {"LHR-1": [], "LHR-2": []}
    for instance in shell.json("instances", "web"):
        last = int(str(instance["externalIpAddress"]).rpartition(".")[2])
        found["LHR-1" if last < 128 else "LHR-2"].append(str(instance["name"]))
    return found


def test_four_instances_are_spread_over_two_hosts_and_all_answer(
    shell: Shell, lab: Lab, addresses: tuple[str, str]
) -> None:
    """Two on each; from London every one of the four answers at the anycast address in both families, and each at its
    own address; `pops` and `host list` tell the hosts, and the routers' own view of the address is told as for any PoP.
    """
    assert {host: len(names) for host, names in hosts_of(shell).items()} == {"LHR-1": 2, "LHR-2": 2}
    london = lab.vantage("london")
    names = {f"web-eu1-lhr-{n}" for n in range(4)}
    for address in addresses:
        hits = Counter(answer.body.strip() for answer in vantage.probe(london, address, requests=60))
        assert set(hits) == names, hits
    for instance in shell.json("instances", "web"):
        for field in ("externalIpAddress", "externalIpv6Address"):
            (answer,) = vantage.probe(london, instance[field], requests=1)
            assert answer.body.strip() == instance["name"]
    pop = next(p for p in shell.json("pops") if p["pop"] == "LHR")
    assert [(h["host"], h["instances"]["healthy"]) for h in pop["hosts"]] == [("LHR-1", 2), ("LHR-2", 2)]
    assert look(lab, addresses[0])["pop-lhr"].pop == "LHR"
    assert "london lands in LHR" in shell.try_("why", "london").out


def test_an_upstream_beyond_the_edge_router_is_scoped_like_any_other(
    shell: Shell, lab: Lab, addresses: tuple[str, str]
) -> None:
    """Withheld from one of the PoP's two upstreams: that one forgets the prefixes, the other goes on; the list of
    announcements names both, and a prediction can be made.
    """
    covers = {row["prefix"] for row in shell.json("announce", "list", "web")}
    assert len(covers) == len(addresses)
    shell.json("announce", "withhold", "web", "--pop", "LHR", "--upstream", "level3", "--yes", "--no-predict")
    try:
        wait_until(
            lambda: not any(told(lab, "as3356-lhr", p) for p in covers), timeout_s=10, reason="AS3356 is told no longer"
        )
        assert all(told(lab, "as1299-lhr", p) for p in covers)
        rows = [(r["prefix"], r["pop"], r["upstream"], r["announced"]) for r in shell.json("announce", "list", "web")]
        assert sorted(rows) == sorted(
            (p, "LHR", name, name == "arelion") for p in covers for name in ("arelion", "level3")
        )
        predicted = shell.try_("catchment", "predict")
        assert (predicted.code, "LHR" in predicted.out) == (0, True), predicted.err
    finally:
        shell.json("announce", "reset", "web", "--yes")
    wait_until(lambda: all(told(lab, "as3356-lhr", p) for p in covers), timeout_s=10, reason="AS3356 is told again")


def test_a_host_that_is_cut_off_costs_its_flows_a_third_of_a_second_and_nobody_else_anything(
    shell: Shell, lab: Lab, addresses: tuple[str, str]
) -> None:
    """Its link goes dark under load: what fails began before BFD saw it, everything later is answered by the other
    host. The PoP stays announced without one word to its upstreams, also when the host returns; then only connections
    that are open at that moment can fail, since the kernel spreads flows anew.
    """
    before = updates(lab.folder)
    with Stream(lab.vantage("london"), addresses[0], interval_s=EVERY_S, timeout_s=0.5, most=4000) as stream:
        wait_until(lambda: len(stream.answers) > 50, timeout_s=20, reason="requests run")
        lab.cut("LHR-2")
        assert lab.is_cut("LHR-2")
        assert not lab.is_cut("LHR-1")
        wait_until(
            lambda: all(nexthops(lab, a) == 1 for a in addresses),
            timeout_s=3,
            reason="the edge router turns to the other host",
        )
        later = len(stream.answers) + 200
        wait_until(lambda: len(stream.answers) > later, timeout_s=10, reason="requests go on for a while")
        returned = time.time()
        lab.restore("LHR-2")
        until_both_serve(lab, addresses)
        answers = stream.stop()
    failed = [answer for answer in answers if not answer.ok]
    lost = [answer for answer in failed if answer.at + answer.seconds < returned]
    assert len(lost) <= BLIND_S / EVERY_S, f"{len(lost)} of {len(answers)} failed"
    assert not lost or lost[-1].at - lost[0].at <= BLIND_S
    assert len(failed) - len(lost) <= OPEN, f"{len(failed) - len(lost)} of {len(answers)} failed when the host returned"
    assert {answer.body.strip().rpartition("-")[0] for answer in answers if answer.ok} == {"web-eu1-lhr"}
    assert updates(lab.folder) == before


def test_a_host_whose_programs_are_killed_goes_on(shell: Shell, lab: Lab, addresses: tuple[str, str]) -> None:
    """Agent and speaker of one host get SIGKILL under load: host and instances are well, so its flows stay, those that
    are open too (with them, the edge router would spread anew). Its upstreams hear nothing, and the next `up` brings
    the agent back, which brings the speaker back.
    """
    before = updates(lab.folder)
    place = shell.place
    with netns.inside(lab.vantage("london").netns):
        flows = [socket.create_connection((addresses[1], 80), timeout=3) for _ in range(16)]
    with Stream(lab.vantage("london"), addresses[1], interval_s=EVERY_S, timeout_s=0.5, most=4000) as stream:
        wait_until(lambda: len(stream.answers) > 50, timeout_s=20, reason="requests run")
        for pid_file in (place.pid_file("agent-lhr-1"), place.home("LHR-1") / "bird" / "bird.pid"):
            pid = process.alive(pid_file)
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: "Established" not in _session(lab), timeout_s=3, reason="the edge router has noticed")
        later = len(stream.answers) + 100
        wait_until(lambda: len(stream.answers) > later, timeout_s=10, reason="requests go on for a while")
        assert all(nexthops(lab, a) == 2 for a in addresses)
        platform.up(
            place.topology, state=place.state, prefix=place.prefix, api_port=0, registry_port=0, progress=lambda _: None
        )
        wait_until(lambda: "Established" in _session(lab), timeout_s=15, reason="its speaker is back")
        until_both_serve(lab, addresses)
        answers = stream.stop()
    failed = [answer for answer in answers if not answer.ok]
    assert not failed, f"{len(failed)} of {len(answers)} failed"
    names = {_page(flow) for flow in flows}
    assert all(names & set(here) for here in hosts_of(shell).values()), f"open connections were answered by {names}"
    assert names <= {f"web-eu1-lhr-{n}" for n in range(4)}
    assert updates(lab.folder) == before


def _page(flow: socket.socket) -> str:
    """What comes by a connection that has been open for a while; nothing where it was reset."""
    with flow, suppress(OSError):
        flow.sendall(b"GET / HTTP/1.0\r\n\r\n")
        with flow.makefile() as told:
            return told.read().splitlines()[-1].strip()
    return ""


def test_a_host_on_which_nothing_runs_any_more_leaves_its_share_to_the_other(
    shell: Shell, lab: Lab, addresses: tuple[str, str], tmp_path: Path
) -> None:
    """Both of its processes get SIGKILL: the edge router turns to the other host, in both families, without a word to
    its upstreams, and back when they have been started anew.
    """
    before, edge = updates(lab.folder), lab.plan.sites[0].netns
    speaker = shell.place.home("LHR-1") / "bird" / "bird.ctl"
    # a speaker that has been started just now tells nothing until it knows what its neighbours tell
    wait_until(
        lambda: "raceful restart" not in birdc.ask(speaker, "show status"),
        timeout_s=30,
        reason="the speaker tells what changes",
    )
    with (
        (tmp_path / "routes").open("w+") as heard,
        subprocess.Popen(netns.command(edge, "ip", "monitor", "route"), stdout=heard) as monitor,
    ):
        try:
            wait_until(lambda: _listens(monitor.pid), timeout_s=20, reason="the kernel's changes are heard")
            for pid in _pids(shell, "LHR-1"):
                os.kill(pid, signal.SIGKILL)
            for address in addresses:
                turned = re.compile(rf"^{re.escape(address)} via \S+ dev h2 ", re.MULTILINE)
                wait_until(
                    lambda turned=turned: turned.search((tmp_path / "routes").read_text()),  # type: ignore[misc]
                    timeout_s=9,
                    reason="the edge router turns to the other host",
                )
        finally:
            monitor.kill()
    until_both_serve(lab, addresses)
    assert updates(lab.folder) == before


def _listens(pid: int) -> bool:
    """Whether it has its netlink socket."""
    with suppress(OSError):  # a file is closed meanwhile
        return any(str(fd.readlink()).startswith("socket:") for fd in Path(f"/proc/{pid}/fd").iterdir())
    return False


def _pids(shell: Shell, host: str) -> list[int]:
    """Main processes of a host's containers."""
    transport = httpx.HTTPTransport(uds=str(shell.place.podman(host).socket))
    with httpx.Client(transport=transport, base_url="http://podman/v4.0.0/libpod") as http:
        return [int(row["Pid"]) for row in http.get("/containers/json").raise_for_status().json()]


def _session(lab: Lab) -> str:
    return birdc.ask(lab.control_socket("pop-lhr"), "show protocols host_lhr_1_v6")


def test_a_pop_without_any_host_is_withdrawn(shell: Shell, lab: Lab, addresses: tuple[str, str]) -> None:
    """Both hosts are cut off: the covering prefixes leave, and only those. It is what the counts of the other tests
    are held against.
    """
    before = updates(lab.folder)
    for name in ("LHR-1", "LHR-2"):
        lab.cut(name)
    try:
        wait_until(
            lambda: updates(lab.folder) == {key: (told, gone + 1) for key, (told, gone) in before.items()},
            timeout_s=9,
            reason="each upstream is told of one withdrawal in each family",
        )
        own = lab.network().pops[0].hosts[0].external4.supernet()
        assert str(own) in birdc.ask(lab.control_socket("as3356-lhr"), f"show route {own}")
    finally:
        for name in ("LHR-1", "LHR-2"):
            lab.restore(name)
    until_both_serve(lab, addresses)


KEEP = {"action": "RETAIN"}


def keeping(place: platform.Platform, slug: str) -> dict[str, object]:
    """A workload of one instance in London, whose external addresses stay when it goes: one of each family, and one of
    each beside them.
    """

    def assigned(version: int, mode: str = "ONE_TO_ONE_NAT") -> dict[str, object]:
        own = {"allocationClass": "stackpath-edge/unicast", "ipFamily": f"IPv{version}", "reclaimPolicy": KEEP}
        spec = {"ipFamily": f"IPv{version}", "reclaimPolicy": KEEP, "allocation": {"template": {"spec": own}}}
        slug = f"{'front' if mode == 'ONE_TO_ONE_NAT' else 'more'}{version}"
        return {"mode": mode, "slug": slug, "allocationClaimTemplate": {"slug": slug, "spec": spec}}

    selectors = [{"key": "cityCode", "operator": "in", "values": ["LHR"]}]
    app = {
        "image": place.image,
        "ports": {"web": {"port": 80, "enableImplicitNetworkPolicy": True}},
        "resources": {"requests": {"cpu": "1", "memory": "2Gi"}},
    }
    assignments = [assigned(version, mode) for mode in ("ONE_TO_ONE_NAT", "ADDITIONAL") for version in (4, 6)]
    interface = {"network": "default", "ipFamilies": ["IPv4", "IPv6"], "assignments": assignments}
    return {
        "name": slug,
        "slug": slug,
        "spec": {"networkInterfaces": [interface], "containers": {"app": app}},
        "targets": {
            "t": {
                "spec": {"deploymentScope": "cityCode", "deployments": {"minReplicas": 1, "selectors": selectors}},
            }
        },
    }


def test_a_kept_address_comes_back_to_the_next_workload_and_follows_it_to_another_host(
    shell: Shell, lab: Lab, tmp_path: Path
) -> None:
    """A client in London reaches the instance of one workload at its kept addresses; that workload is deleted, and the
    instance of the next one, which claims them, answers there; its host is cut off and given up, and the slot's other
    life, on the other host, answers there. In both families, by packets; so do the addresses that it has beside.
    """

    def create(slug: str) -> None:
        file = tmp_path / f"{slug}.json"
        file.write_text(json.dumps(keeping(shell.place, slug)))
        said = shell.try_("workload", "apply", "-f", str(file), "--yes", "--timeout", "60", "-o", "json")
        assert said.code == 0, said.err

    def own(slug: str) -> tuple[str, ...]:
        (instance,) = shell.json("instances", slug)
        (interface,) = instance["networkInterfaces"]
        beside = (*interface["ipAddressAliases"], *interface["ipv6AddressAliases"])
        assert len(beside) == 2
        return (instance["externalIpAddress"], instance["externalIpv6Address"], *beside)

    def answers(kept: tuple[str, ...]) -> set[str]:
        london = lab.vantage("london")
        return {a.body.strip() for at in kept for a in vantage.probe(london, at, requests=1, timeout_s=1)}

    create("first")
    kept = own("first")
    wait_until(lambda: answers(kept) == {"first-t-lhr-0"}, timeout_s=20, reason="the first one answers")
    shell.json("workload", "delete", "first", "--yes", "--timeout", "60")
    assert answers(kept) == {""}, "nobody has them"
    create("second")
    assert own("second") == kept
    wait_until(lambda: answers(kept) == {"second-t-lhr-0"}, timeout_s=20, reason="the second one answers")
    home = "LHR-1" if int(kept[0].rpartition(".")[2]) < 128 else "LHR-2"
    lab.cut(home)
    try:
        wait_until(lambda: answers(kept) == {""}, timeout_s=20, reason="its host is gone")
        shell.json("host", "evict", home, "--yes")
        wait_until(lambda: answers(kept) == {"second-t-lhr-0"}, timeout_s=60, reason="it answers on the other host")
        assert {name for _, name in _owners(shell, kept)} == {"second-t-lhr-0"}
        assert {host for host, _ in _owners(shell, kept)} == {"LHR-1", "LHR-2"} - {home}
    finally:
        lab.restore(home)
        shell.json("host", "readmit", home)
    wait_until(lambda: watched(lab) == 4, timeout_s=20, reason="the edge router hears both hosts again")
    assert answers(kept) == {"second-t-lhr-0"}
    shell.json("workload", "delete", "second", "--yes", "--timeout", "60")


def _owners(shell: Shell, kept: tuple[str, ...]) -> set[tuple[str, str]]:
    """Host and instance that have each, as `why` tells."""
    found = [shell.json("why", address) for address in kept]
    return {(str(one["host"]), str(one["instance"])) for one in found}
