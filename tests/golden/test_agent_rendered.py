"""What the agent renders for other programs: bird.conf and the nft table, as recorded in `agent/`, all accepted by the
real programs.

To record anew after a wanted change: ANYPOP_RECORD=1 pytest tests/golden/test_agent_rendered.py, then read the
difference.
"""

import os
import re
import subprocess
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anypop.agent.act.bgp.accepted import flaws
from anypop.agent.act.bgp.config import render as render_bird
from anypop.agent.act.bgp.config import sessions_of
from anypop.agent.act.bgp.words import session_name
from anypop.agent.act.network.drain_rules import render as render_drain
from anypop.agent.act.network.error_rules import render as render_errors
from anypop.agent.act.network.firewall_rules import render as render_nft
from anypop.agent.act.network.guard_rules import render as render_guard
from anypop.agent.act.network.newcomer_rules import render as render_newcomers
from anypop.agent.act.network.pins import Pin
from anypop.agent.act.network.steering_rules import name_of
from anypop.agent.act.network.steering_rules import render as render_dials
from anypop.agent.decide.elements import (
    Entry,
    Export,
    Firewall,
    GuardedLink,
    Joining,
    Opening,
    RuledLinks,
    SpeakerConfig,
    Steer,
    TunnelGuard,
)
from anypop.agent.decide.error_ways import ErrorWay, error_table
from anypop.agent.decide.firewall import RESOLVER
from anypop.agent.decide.gateways import Passing, Routed
from anypop.agent.naming import tunnel_end
from anypop.model.backbone import Backbone, BackbonePeer, BackboneRules
from anypop.model.names import CityCode, HostName
from anypop.model.network import Upstream, UpstreamKind
from anypop.model.peering import GracefulRestart, Imports, Role, RpkiCache, Take
from anypop.model.policy import Action, HostPolicy, HostRule
from anypop.model.workload import Protocol

HERE = Path(__file__).parent / "agent"
LOG = Path("/var/lib/anypop/pops/lhr/bird/bird.log")


def upstream(name: str, asn: int, n: int, **more: object) -> Upstream:
    plain = Upstream(
        name=name, asn=asn, interface=f"up-{name}", neighbor4=IPv4Address(f"10.9.{n}.1"),
        local4=IPv4Address(f"10.9.{n}.2"),
        neighbor6=IPv6Address(f"fd00:9:{n}::1"), local6=IPv6Address(f"fd00:9:{n}::2"),
    )  # fmt: skip
    return replace(plain, **more)  # type: ignore[arg-type]


ANYCAST4, ANYCAST6 = ip_network("192.0.2.0/24"), ip_network("2001:db8:a::/48")
SPEAKERS = {
    "quiet": SpeakerConfig(asn=33438, router_id=IPv4Address("10.64.255.1"), upstreams=(upstream("level3", 3356, 0),)),
    "scoped": SpeakerConfig(
        asn=33438, router_id=IPv4Address("10.64.255.1"),
        upstreams=(
            upstream("centurylink", 209, 0),
            upstream("arelion", 1299, 1, bfd=False),
            upstream("LINX rs-1", 8714, 2, kind=UpstreamKind.IXP, neighbor6=None, local6=None),
        ),
        exports=(
            Export(prefix=ANYCAST4, upstream="centurylink", prepend=2, communities=((209, 5009), (65535, 65281))),
            Export(
                prefix=ANYCAST4,
                upstream="arelion",
                large_communities=((33438, 1, 2),),
                extended_communities=((0, 2, 1299, 50), (1, 3, 0xC000, 0x2010007), (3, 6, 0, 1)),
            ),
            Export(prefix=ANYCAST4, upstream="LINX rs-1"),
            Export(prefix=ANYCAST6, upstream="centurylink", graceful=True),
            Export(prefix=ANYCAST6, upstream="arelion", communities=((65535, 0),), graceful=True),
        ),
    ),
    "behind-edge": SpeakerConfig(
        asn=33438, router_id=IPv4Address("10.64.255.1"),
        upstreams=(upstream("edge", 33438, 0, kind=UpstreamKind.EDGE),
        upstream("other-edge", 65000, 1, kind=UpstreamKind.EDGE)),
        exports=(
            Export(prefix=ANYCAST4, upstream="edge", prepend=1, communities=((209, 5009),)),
            Export(prefix=ip_network("192.0.2.1/32"), upstream="edge"),
            Export(prefix=ip_network("2001:db8:a::1/128"), upstream="other-edge", graceful=True),
        ),
    ),
    "parameters": SpeakerConfig(
        asn=4_200_000_001, router_id=IPv4Address("10.64.255.1"),
        upstreams=(
            upstream("careful", 4_200_000_002, 0, ttl_security=True, role=Role.CUSTOMER, hold_s=30, keepalive_s=10,
                     connect_s=5, bfd_interval_ms=50, bfd_multiplier=5, restart_s=60,
                     imports=Imports(take=Take.DEFAULT)),
            upstream("far", 3356, 1, multihop=4, passive=True, bfd=False, graceful_restart=GracefulRestart.AWARE,
                     imports=Imports(max_prefixes4=100, max_prefixes6=50, max_path=20)),
            upstream("far-again", 3356, 2, kind=UpstreamKind.PEER, role=Role.PEER, imports=Imports(first_as=False)),
            upstream("link-local", 64512, 3, neighbor4=None, local4=None, neighbor6=IPv6Address("fe80::1"), local6=None,
                     imports=Imports(allow=(ip_network("10.0.0.0/8"), ip_network("fd00::/8")), reserved_as=True)),
            upstream("mute", 174, 4, neighbor6=None, local6=None, imports=Imports(take=Take.NONE)),
        ),
        exports=(Export(prefix=ANYCAST4, upstream="far"), Export(prefix=ANYCAST6, upstream="link-local")),
        ours=(ANYCAST4, ANYCAST6), management=(ip_network("100.64.0.0/16"),),
        rpki=(RpkiCache(host="192.0.2.8"), RpkiCache(host="rpki.example.net", port=323)),
    ),
    "alone": SpeakerConfig(asn=4_200_000_001, router_id=IPv4Address("10.64.255.1"), upstreams=()),
}  # fmt: skip


BACKBONE = Backbone(
    rules=BackboneRules(), address=IPv4Address("198.51.100.1"), carried=(ANYCAST4, ANYCAST6),
    peers=tuple(
        BackbonePeer(
            host=HostName(name), pop=CityCode(name[:3]), router_id=IPv4Address(f"10.64.255.{n}"),
            address=IPv4Address(f"203.0.113.{n}"), distance_km=km, external4=IPv4Network("198.51.100.128/25"),
            external6=IPv6Network("2001:db8:e::/48"), private4=IPv4Network(f"10.{64 + n}.0.0/16"),
            private6=IPv6Network(f"fd00:{64 + n}::/64"),
        )
        for n, name, km in ((2, "LHR-2", 0), (3, "AMS", 358))
    ),
)  # fmt: skip
OWN = (ip_network("10.64.0.0/16"), ip_network("fd00:64::/64"), ip_network("198.51.100.0/25"))
TUNNELLED = replace(
    SPEAKERS["quiet"], backbone=BACKBONE, exports=(Export(prefix=ANYCAST4, upstream="level3"),), own=OWN
)
GUARD = TunnelGuard(
    own=BACKBONE.address, end=tunnel_end(TUNNELLED.router_id), port=4790, mtu=1464,
    peers=tuple(p.address for p in BACKBONE.peers), ends=tuple(tunnel_end(p.router_id) for p in BACKBONE.peers),
    inside=OWN, forged=OWN,
    here=(ip_address("198.51.100.3"),), carried=BACKBONE.carried,
    halves=(ip_address("192.0.2.1"), ip_address("2001:db8:a::1")),
    siblings=tuple((0x5123_4567, ip_address(a)) for a in ("10.66.0.1", "198.51.100.130", "fd00:66::1")),
)  # fmt: skip


LED = tuple(
    Routed(slot=slot, group=group, prefixes=(ip_network("10.128.0.0/9"), ip_network("fd00:c::/32")))
    for slot, group in ((0xF0, 0x5123_4567), (0xF7, 0x5000_0002))
)
GUARDS = {
    "tunnels": GUARD,
    "tunnels_gateways": replace(
        GUARD, led=LED, passed=LED[:1], gateways=("i00000000aa",),
        members=((0xF0, ip_address("10.64.0.1")), (0xF0, ip_address("fd00:64::1")), (0xF7, ip_address("10.64.0.3"))),
    ),
}  # fmt: skip


def openings(*addresses: str) -> tuple[Opening, ...]:
    return tuple(
        Opening(address=ip_address(a), protocol=p, port=n)
        for a in addresses
        for p, n in ((Protocol.TCP, 80), (Protocol.UDP, 53))
    )


FIREWALLS = {
    "empty": Firewall(),
    "two": Firewall(
        links=tuple(
            GuardedLink(
                name=f"i012345678{n}",
                own=tuple(
                    ip_address(a)
                    for a in (
                        f"10.64.0.{2 * n + 1}",
                        f"198.51.100.{10 + n}",
                        "192.0.2.1",
                        f"fd00:64::{2 * n + 1:x}",
                        "2001:db8:a::1",
                    )
                ),
                mac=bytes.fromhex(f"02012345678{n}"),
            )
            for n in (0, 9)
        ),
        openings=openings("192.0.2.1", "198.51.100.10", "2001:db8:a::1"),
        inside=openings("10.64.0.1", "192.0.2.1", "fd00:64::1"),
        kin=(0x5123_4567,),
        uplinks=("up-level3", "up-arelion"),
        neighbors=(
            ("up-level3", ip_address("10.9.0.1")),
            ("up-level3", ip_address("fd00:9::1")),
            ("", ip_address("203.0.113.9")),
        ),
        ours=(ANYCAST4, ANYCAST6, ip_network("198.51.100.0/24"), ip_network("198.51.100.128/25")),
        hidden=(ip_network("10.64.0.0/16"), ip_network("fd00:64::/64")),
    ),
    "carries": Firewall(uplinks=("up-level3",), neighbors=(("anypop-vx", ip_address("fe80::a40:ff02")),), carries=True),
    "resolver": Firewall(services=RESOLVER),
    "gateways": Firewall(
        links=(
            GuardedLink(name="i00000000aa", own=(IPv4Address("10.64.0.1"), IPv6Address("fd00:64::1")), mac=bytes(6)),
            GuardedLink(name="i00000000bbx1", own=(IPv4Address("10.64.0.3"),), mac=bytes(6), inward=True),
        ),
        kin=(0x50000001, 0x50000002),
        uplinks=("up-a",),
        hidden=(ip_network("10.64.0.0/20"), ip_network("fd00:64::/64")),
        carries=True,
        policies=(HostPolicy(id="p", ingress=(HostRule(action=Action.ALLOW, everybody=True),)),),
        rulings=(RuledLinks(policies=("p",), links=("i00000000bbx1",)),),
        routed=(
            Routed(slot=0xF0, group=0x50000001, prefixes=(ip_network("10.128.0.0/9"), ip_network("fd00:c::/32"))),
            Routed(slot=0xF7, group=0x50000002, prefixes=(ip_network("10.128.0.0/9"),)),
        ),
        passing=(Passing(link="i00000000bbx1", prefixes=(ip_network("10.128.0.0/9"), ip_network("fd00:c::/32"))),),
    ),
}


def _recorded(name: str, text: str) -> str:
    file = HERE / name
    if os.environ.get("ANYPOP_RECORD"):
        file.write_text(text)
    return file.read_text()


def bird_accepts(text: str, folder: Path) -> bool:
    file = folder / "bird.conf"
    file.write_text(text)
    return subprocess.run(["bird", "-p", "-c", str(file)], capture_output=True, check=False).returncode == 0


def nft_accepts(text: str) -> bool:
    return (
        subprocess.run(["nft", "-c", "-f", "-"], input=text, text=True, capture_output=True, check=False).returncode
        == 0
    )


@pytest.mark.parametrize("name", SPEAKERS)
def test_the_speakers_configuration_is_the_recorded_one_and_bird_takes_it(name: str, tmp_path: Path) -> None:
    """A speaker that announces nothing, one with scopes of every kind, one behind edge routers of its own AS and of
    another, and one without neighbours.
    """
    text = render_bird(SPEAKERS[name], log=LOG)
    assert text == _recorded(f"{name}.conf", text)
    assert bird_accepts(text.replace(str(LOG), str(tmp_path / "bird.log")), tmp_path)


def test_the_sessions_with_other_hosts_are_the_recorded_ones_and_bird_takes_them(tmp_path: Path) -> None:
    """Two other hosts, one in the same PoP; the rest of the file is what it is without them."""
    text = render_bird(TUNNELLED, log=LOG)
    assert text == _recorded("backbone.conf", text)
    assert bird_accepts(text.replace(str(LOG), str(tmp_path / "bird.log")), tmp_path)
    without = render_bird(replace(TUNNELLED, backbone=None), log=LOG)
    digest = re.compile(r'anypop_digest = "\w+"')
    assert digest.sub("", text).startswith(digest.sub("", without).rstrip("\n"))
    assert digest.sub("", text) != digest.sub("", without)


def test_nothing_of_other_hosts_can_reach_an_upstream() -> None:
    """By construction: their routes stand in tables of their own, from which one pipe leads to each host's own table,
    and no session of an upstream, nor the kernel table of what was learnt, has any of these. What is exported to an
    upstream is made by the static protocols alone.
    """
    text = render_bird(TUNNELLED, log=LOG)
    blocks = [block.split("\n}")[0] for block in re.split(r"^protocol ", text, flags=re.MULTILINE)[1:]]
    ours = ("t_", "served4", "served6")
    apart = [b for b in blocks if b.split()[1].startswith(ours)]
    rest = [b for b in blocks if b not in apart]
    assert len(apart) == 2 + 5 * len(BACKBONE.peers)
    assert not any(word in block for block in rest for word in ("carried", "t_LHR_2", "t_AMS"))
    for block in apart:
        tables = set(re.findall(r"(?<!kernel )\btable (\w+)", block))
        assert tables
        assert all(t.startswith("t_") or t in ("carried4", "carried6") for t in tables), block
    exports = re.findall(r"filter to_u\w+ \{\n\t(.*)", text)
    assert set(exports) == {'if proto != "own4" then reject;', 'if proto != "own6" then reject;'}


@pytest.mark.lab
@pytest.mark.parametrize("name", GUARDS)
def test_the_guard_of_the_tunnels_is_the_recorded_one_and_nft_takes_it(name: str) -> None:
    text = render_guard(GUARDS[name], "any")
    assert text == _recorded(f"{name}.nft", text)
    assert nft_accepts(text)
    assert not nft_accepts(text.replace("set ends", "set end"))


def test_no_session_stands_without_an_import_and_an_export_of_its_own() -> None:
    """RFC 8212, by construction: whatever is ordered, every session has both, and neither is "all"."""
    for config in SPEAKERS.values():
        blocks = render_bird(config, log=LOG).split("protocol bgp ")[1:]
        assert len(blocks) == len(sessions_of(config))
        for block in blocks:
            name = block.split()[0]
            assert f"import filter from_{name};" in block or "import none;" in block
            assert f"export filter to_{name};" in block


@pytest.mark.parametrize(
    "value", ['x"; }; protocol static { ipv4; route 8.8.8.0/24 blackhole; } #', "a\nb", "*", "", "up 0"]
)
def test_no_value_of_an_order_writes_configuration_of_its_own(value: str, tmp_path: Path) -> None:
    """Names only ever become a checksummed name; an interface that is none is a flaw, and so is left out."""
    bad = upstream(value or "x", 3356, 0, interface=value, neighbor6=IPv6Address("fe80::1"), local6=None)
    config = replace(SPEAKERS["quiet"], upstreams=(bad, upstream("good", 1299, 1)))
    left = flaws(config)
    assert set(left) == {session_name(bad, family) for family in (4, 6)}
    text = render_bird(config, log=LOG, left_out=left)
    assert "8.8.8.0" not in text
    assert "u4_good" in text
    assert bird_accepts(text.replace(str(LOG), str(tmp_path / "bird.log")), tmp_path)


def test_the_next_version_of_the_configuration_resets_no_session_by_itself() -> None:
    """What is not asked for is not written: a plain session has the parameters that it always had."""
    plain = render_bird(SPEAKERS["quiet"], log=LOG)
    words = ("ttl security", "password", "local role", "hold time", "keepalive time", "multihop", "passive", "enforce")
    assert not any(word in plain for word in words)


def test_bird_refuses_a_broken_configuration(tmp_path: Path) -> None:
    """The check can fail: one missing semicolon is enough."""
    text = render_bird(SPEAKERS["scoped"], log=tmp_path / "bird.log")
    assert not bird_accepts(text.replace("then reject;", "then reject", 1), tmp_path)


@pytest.mark.lab
@pytest.mark.parametrize("name", FIREWALLS)
def test_the_firewall_is_the_recorded_one_and_nft_takes_it(name: str) -> None:
    """The table of a PoP without instances, and of one with two."""
    text = render_nft(FIREWALLS[name], "any")
    assert text == _recorded(f"{name}.nft", text)
    assert nft_accepts(text)


@pytest.mark.lab
def test_nft_refuses_a_broken_table() -> None:
    """The check can fail: an unknown chain is enough."""
    assert not nft_accepts(render_nft(FIREWALLS["two"], "any").replace("jump arriving", "jump elsewhere"))


def _pin(slot: int, *addresses: str) -> Pin:
    return Pin(slot=slot, key=f"012345678{slot}", addresses=tuple(ip_address(a) for a in addresses))


DRAINS = {
    "one": [_pin(3, "2001:db8:a::1")],
    "two": [
        _pin(3, "192.0.2.1", "198.51.100.10", "2001:db8:a::1", "2001:db8:e::10"),
        _pin(5, "192.0.2.1", "198.51.100.11"),
    ],
}


@pytest.mark.lab
@pytest.mark.parametrize("name", DRAINS)
def test_the_table_of_drains_is_the_recorded_one_and_nft_takes_it(name: str) -> None:
    """One incarnation with a single address, and two that share an anycast address."""
    text = render_drain("anypop_any_drain", DRAINS[name])
    assert text == _recorded(f"drain_{name}.nft", text)
    assert nft_accepts(text)


@pytest.mark.lab
def test_nft_refuses_a_broken_table_of_drains() -> None:
    """The check can fail: a set that is not declared is enough."""
    assert not nft_accepts(render_drain("anypop_any_drain", DRAINS["two"]).replace("set closed4_3", "set close4_3"))


DIALLED = [
    Steer(address=ip_address("192.0.2.1"), keep=50, learns=True),
    Steer(address=ip_address("192.0.2.2"), keep=0),
    Steer(address=ip_address("192.0.2.3"), keep=100),
    Steer(address=ip_address("2001:db8:a::1"), keep=50),
]


@pytest.mark.lab
def test_the_table_of_dials_is_the_recorded_one_and_nft_takes_it() -> None:
    """A half, nothing, and one whose dial is over; made anew in the place of another."""
    text = render_dials("anypop_any_dials", DIALLED)
    assert text == _recorded("dials.nft", text)
    assert nft_accepts(text)
    there = ("dials", name_of(DIALLED), "kept4", "kept6", "keep50_4_learns", "keep0_4", "keep100_4", "keep50_6")
    assert nft_accepts(text + render_dials("anypop_any_dials", DIALLED[:1], there))


@pytest.mark.lab
def test_nft_refuses_a_broken_table_of_dials() -> None:
    """The check can fail: a set that is not declared is enough."""
    assert not nft_accepts(render_dials("anypop_any_dials", DIALLED).replace("set tcp4 {", "set tcp {"))


JOINED = (
    Joining(address=ip_address("192.0.2.1"), entry=Entry.CLIENTS, slots=(0xC0, 0xC1), parts=((0xC0, 2500), (0xC1, 50))),
    Joining(address=ip_address("192.0.2.1"), entry=Entry.TUNNEL, slots=(0xC0,), parts=((0xC0, 3333),)),
    Joining(address=ip_address("192.0.2.1"), entry=Entry.AWAY, slots=(0xC1,), parts=((0xC1, 6667),)),
    Joining(address=ip_address("192.0.2.2"), entry=Entry.CLIENTS, slots=(0xC0,)),
    Joining(
        address=ip_address("2001:db8:a::1"), entry=Entry.CLIENTS, slots=(0xC0,), parts=((0xC0, 3333),), learns=True
    ),
)


@pytest.mark.lab
def test_the_table_of_newcomers_is_the_recorded_one_and_nft_takes_it() -> None:
    """Two of an address, one of them another host, which takes what leaves by a dial as well; one that clients reach by
    the tunnel, too; one that has its buckets; made anew in the place of another.
    """
    text = render_newcomers("anypop_any_newcomers", JOINED)
    assert text == _recorded("newcomers.nft", text)
    assert nft_accepts(text)
    own = {
        kind: [line.split()[1] for line in text.splitlines() if line.startswith(f"\t{kind} ")]
        for kind in ("chain", "set")
    }
    assert nft_accepts(text + render_newcomers("anypop_any_newcomers", JOINED[4:], own["chain"], own["set"]))


@pytest.mark.lab
def test_nft_refuses_a_broken_table_of_newcomers() -> None:
    """The check can fail: a set that is not declared is enough."""
    assert not nft_accepts(render_newcomers("anypop_any_newcomers", JOINED).replace("set begun4 {", "set begun {"))


def _way(number: int, *anycast: str) -> ErrorWay:
    privates = (ip_address(f"10.64.0.{2 * number + 1}"), ip_address(f"fd00:64::{2 * number + 1:x}"))
    return ErrorWay(
        short=f"012345678{number}", number=number, privates=privates, anycast=tuple(ip_address(a) for a in anycast)
    )


WAYS = (_way(7, "192.0.2.1", "2001:db8:a::1"), _way(8, "192.0.2.1", "2001:db8:a::1"), _way(9, "192.0.2.2"))


@pytest.mark.lab
@pytest.mark.parametrize("version", [4, 6])
def test_the_tables_of_icmp_errors_are_the_recorded_ones_and_nft_takes_them(version: int) -> None:
    """Two that share an anycast address, and one alone; made anew, and then what differs when one of them goes."""
    text = render_errors("anypop_any_errors", version, WAYS, None)
    assert text == _recorded(f"errors{version}.nft", text)
    assert nft_accepts(text)
    there = error_table(WAYS, version)
    assert render_errors("anypop_any_errors", version, WAYS, there) == ""
    less = render_errors("anypop_any_errors", version, WAYS[1:], there)
    assert less == _recorded(f"errors{version}_less.nft", less)
    assert nft_accepts(text + less)
    assert nft_accepts(text + render_errors("anypop_any_errors", version, (), there))


@pytest.mark.lab
@pytest.mark.parametrize("version", [4, 6])
def test_errors_are_copied_to_other_hosts_last_and_never_back_into_the_tunnel(version: int) -> None:
    """An address that two other hosts serve beside two instances, and one that they serve alone."""
    ends = tuple((p.address, tunnel_end(p.router_id)) for p in BACKBONE.peers)
    addresses = tuple(ip_address(a) for a in ("192.0.2.1", "192.0.2.7", "2001:db8:a::1", "2001:db8:a::7"))
    away = tuple(ErrorWay(short=str(e[0]), number=5, privates=e, anycast=addresses, away=True) for e in ends)
    text = render_errors("anypop_any_errors", version, (*WAYS, *away), None)
    assert text == _recorded(f"errors{version}_away.nft", text)
    assert nft_accepts(text)
    there = error_table((*WAYS, *away), version)
    assert render_errors("anypop_any_errors", version, (*WAYS, *away), there) == ""
    assert nft_accepts(text + render_errors("anypop_any_errors", version, WAYS, there))
    chains = [c for c in text.split("add chain")[1:] if "away" in c or 'iifname "anypop-vx"' in c]
    assert len(chains) == 2
    for chain in chains:
        before, after = chain.split('iifname "anypop-vx" drop')
        assert str(ends[0][version == 6]) in after
        assert str(ends[0][version == 6]) not in before


@pytest.mark.lab
def test_nft_refuses_a_broken_table_of_icmp_errors() -> None:
    """The check can fail: a map that is not declared is enough."""
    assert not nft_accepts(render_errors("anypop_any_errors", 4, WAYS, None).replace("map gateways", "map gateway"))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=45), min_size=1, max_size=4, unique=True))
def test_any_name_of_an_upstream_becomes_a_name_that_is_its_own(names: list[str]) -> None:
    """Whatever operators call their upstreams, sessions get distinct names of letters, digits and underscores."""
    found = {session_name(upstream(name, 65000, 0), family) for name in names for family in (4, 6)}
    assert len(found) == 2 * len(names)
    assert all(name.replace("_", "a").isalnum() and name.isascii() for name in found)
