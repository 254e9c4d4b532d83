"""BGP sessions before they reach a speaker: documents that are refused, passwords, and the one session that BIRD does
not take.
"""

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_network
from pathlib import Path
from typing import Any

import pytest

from anypop.agent.act.bgp.accepted import refused
from anypop.agent.act.bgp.config import digest, render, sessions_of
from anypop.agent.act.bgp.loading import kept
from anypop.agent.act.bgp.passwords import read_passwords
from anypop.agent.act.bgp.protocols import is_shut, read_sessions
from anypop.agent.act.bgp.session import without_restart
from anypop.agent.decide.elements import Export, SpeakerConfig
from anypop.control.network import change_network
from anypop.model import codec
from anypop.model.errors import Invalid, WorldError
from anypop.model.network import Network, Upstream, network_from
from anypop.model.peering import GracefulRestart, UpstreamKind
from tests.worlds import network as a_network
from tests.worlds import upstream


def document() -> dict[str, Any]:
    data: dict[str, Any] = codec.to_data(a_network())
    return data


def told(data: dict[str, Any]) -> dict[str, str]:
    """What is wrong with a document, by path, as its author hears it."""
    try:
        change_network(network_from(data))
    except Invalid as error:
        return {problem.path: problem.message for problem in error.problems}
    return {}


FIRST = "pops[0].hosts[0].upstreams[0]"


def with_session(**values: Any) -> dict[str, Any]:
    data = document()
    data["pops"][0]["hosts"][0]["upstreams"][0].update(values)
    return data


def test_a_document_comes_back_as_it_is() -> None:
    assert told(document()) == {}
    assert codec.to_data(network_from(document())) == document()


@pytest.mark.parametrize(
    ("change", "path", "words"),
    [
        ({"password": "secret"}, f"{FIRST}.password", "password_file"),
        ({"imports": {"max_prefix4": 5}}, f"{FIRST}.imports.max_prefix4", "max_prefixes4"),
        ({"neighbour4": "192.0.2.9"}, f"{FIRST}.neighbour4", "neighbor4"),
    ],
)
def test_an_unknown_field_is_told_with_the_nearest_name(change: dict[str, Any], path: str, words: str) -> None:
    """Also inside a session, where a password that was passed over left the session unprotected."""
    found = told(with_session(**change))
    assert set(found) == {path}
    assert words in found[path]
    assert "secret" not in str(found)


def test_all_problems_are_told_at_once_with_their_paths() -> None:
    """Unknown fields beside wrong values, at every depth."""
    data = with_session(asn="many", colour="red")
    data["managment"] = []
    assert set(told(data)) == {"managment", f"{FIRST}.asn", f"{FIRST}.colour"}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"asn": 0}, "asn"),
        ({"asn": 1 << 32}, "asn"),
        ({"interface": 'x"; }'}, "interface"),
        ({"interface": ""}, "interface"),
        ({"name": "two\nlines"}, "name"),
        ({"neighbor6": "fe80::1"}, "local6"),
        ({"local4": None}, "local4"),
        ({"neighbor4": "224.0.0.1"}, "neighbor4"),
        ({"neighbor6": "fe80::1", "local6": None, "multihop": 2}, "multihop"),
        ({"multihop": 0}, "multihop"),
        ({"hold_s": 2}, "hold_s"),
        ({"hold_s": 9, "keepalive_s": 9}, "keepalive_s"),
        ({"bfd_interval_ms": 1}, "bfd_interval_ms"),
        ({"role": "provider"}, "role"),
        ({"password_file": "relative"}, "password_file"),
        ({"imports": {"max_path": 0}}, "imports.max_path"),
        ({"imports": {"restart_after_s": 0}}, "imports.restart_after_s"),
        ({"imports": {"allow": ["0.0.0.0/0"]}}, "imports.allow[0]"),
    ],
)
def test_a_session_that_a_speaker_would_refuse_is_refused_with_its_document(change: dict[str, Any], field: str) -> None:
    assert f"{FIRST}.{field}" in told(with_session(**change))


@pytest.mark.parametrize(
    "change",
    [
        {"neighbor4": None, "local4": None},
        {"neighbor4": None, "local4": None, "neighbor6": "fe80::1", "local6": None},
        {"asn": 4_200_000_000, "role": "customer", "ttl_security": True, "password_file": "/etc/anypop/level3"},
        {"hold_s": 9, "keepalive_s": 3, "connect_s": 5, "multihop": 3, "passive": True, "graceful_restart": "aware"},
    ],
)
def test_sessions_of_every_kind_are_taken(change: dict[str, Any]) -> None:
    """IPv6 alone, a link-local neighbour, numbers of four bytes, every parameter."""
    assert told(with_session(**change)) == {}


def test_a_session_that_stands_without_graceful_restart_is_not_reset_to_get_it() -> None:
    """An older version began it so. What is ordered by name counts all the same, and the digest, which is asked whether
    all is as ordered, is that of the whole.
    """
    edge = replace(upstream("edge", 33438), kind=UpstreamKind.EDGE)
    plain = replace(upstream("other", 33438), kind=UpstreamKind.EDGE)
    asked = replace(upstream("asked", 33438), kind=UpstreamKind.EDGE, graceful_restart=GracefulRestart.ON)
    config = SpeakerConfig(asn=33438, router_id=IPv4Address("10.0.0.1"), upstreams=(edge, plain, asked))
    log = Path("bird.log")
    assert without_restart(render(config, log=log)) == frozenset()
    standing = {"u4_edge", "u6_edge", "u4_asked"}
    text = render(config, log=log, as_before=standing)
    assert without_restart(text) == {"u4_edge", "u6_edge"}
    assert digest(config, log=log) in text


def test_what_a_change_must_leave_standing_is_what_it_does_not_touch() -> None:
    """Sessions with the same parameters, and what both configurations tell there; BFD's times are another process's. A
    new router id resets all of them.
    """
    here, there = upstream("a", 209), upstream("b", 3356)
    one, two = (Export(prefix=ip_network(p), upstream="a") for p in ("192.0.2.0/24", "198.51.100.0/24"))
    before = SpeakerConfig(
        asn=33438, router_id=IPv4Address("10.0.0.1"), upstreams=(here, there), exports=(one, replace(two, upstream="b"))
    )
    after = replace(
        before,
        upstreams=(replace(here, bfd_interval_ms=10), replace(there, hold_s=9)),
        exports=(replace(one, prepend=2), two),
    )
    assert kept(before, after, but=()) == {"u4_a": 1, "u6_a": 0}
    assert kept(before, after, but={"u4_a"}) == {"u6_a": 0}
    assert kept(before, replace(before, router_id=IPv4Address("10.0.0.2")), but=()) == {}
    assert kept(None, after, but=()) == {}


def test_one_neighbour_may_have_several_sessions_but_not_between_the_same_addresses() -> None:
    data = document()
    sessions = data["pops"][0]["hosts"][0]["upstreams"]
    twin = {**sessions[0], "name": "twin"}
    sessions.append(twin)
    assert len(told(data)) == 2  # one for each family
    twin |= {"neighbor4": "10.9.9.1", "local4": "10.9.9.0", "neighbor6": "fd00:9::1", "local6": "fd00:9::"}
    assert told(data) == {}


def test_what_is_ours_is_told_in_as_few_prefixes_as_can_say_it() -> None:
    network = a_network()
    ours = network.ours()
    for _, host in network.hosts():
        for own in (host.external4, host.external6, host.private4, host.private6):
            assert any(own.version == p.version and own.subnet_of(p) for p in ours)  # type: ignore[arg-type]
    parts = network.anycast4 + network.anycast6
    assert all(any(p.version == own.version and p.supernet_of(own) for p in ours) for own in parts)  # type: ignore[arg-type]


def _config(*upstreams: Upstream) -> SpeakerConfig:
    return SpeakerConfig(asn=65000, router_id=IPv4Address("10.0.0.1"), upstreams=upstreams)


def test_a_password_comes_from_its_file_and_a_session_never_stands_without(tmp_path: Path) -> None:
    good, open_to_all, strange = (tmp_path / name for name in ("good", "open", "strange"))
    for file, text in ((good, "s3cret pass\nmore\n"), (open_to_all, "x"), (strange, 'a"; }')):
        file.write_text(text)
        file.chmod(0o600)
    open_to_all.chmod(0o644)
    sessions = [
        replace(upstream(name, 100 + n, six=False), password_file=str(tmp_path / name))
        for n, name in enumerate(("good", "open", "strange", "absent"))
    ]
    found, missing = read_passwords(_config(*sessions, upstream("plain", 99)))
    assert found == {"u4_good": "s3cret pass"}
    assert set(missing) == {"u4_open", "u4_strange", "u4_absent"}
    assert 'a"' not in str(missing)


def test_the_bad_session_is_left_out_and_the_others_stand() -> None:
    """One that is wrong alone, and one that is wrong beside another; the rest is right."""
    config = _config(*(upstream(name, 100 + n, six=False) for n, name in enumerate("abcd")))
    every = set(sessions_of(config))

    def check(out: set[str]) -> None:
        present = every - out
        if "u4_b" in present:
            raise WorldError("check", "line 7: syntax error")
        if {"u4_c", "u4_d"} <= present:
            raise WorldError("check", "two of a kind")

    bad = refused(config, {}, check)
    assert set(bad) == {"u4_b", "u4_d"}
    assert bad["u4_b"] == "line 7: syntax error"
    assert "beside" in bad["u4_d"]
    check(set(bad))


def test_what_is_wrong_without_any_session_is_nobodys_fault() -> None:
    def check(_: set[str]) -> None:
        raise WorldError("check", "no router id")

    with pytest.raises(WorldError):
        refused(_config(upstream("a", 100)), {}, check)


TOLD = """BIRD 2.0.12 ready.
u4_a       BGP        ---        up     2026-11-25 21:36:28.764  Established
  BGP state:          Established
    Routes:         2 imported, 1 exported, 2 preferred
u4_b       BGP        ---        down   2026-11-25 21:38:42.023  Automatic shutdown: Route limit exceeded
  BGP state:          Down
    Last error:       Automatic shutdown: Route limit exceeded
"""


def test_sessions_that_were_left_out_or_shut_are_told() -> None:
    names = {f"u4_{name}": (name, 4) for name in "abc"}
    a, b, c = read_sessions(TOLD, names, {"u4_c": "hold time must be at least 3"})
    assert (a.state, b.state, c.state) == ("established", "down", "refused")
    assert "limit" in b.error
    assert "hold time" in c.error
    assert not is_shut(TOLD, "u4_a")
    assert is_shut(TOLD, "u4_b")


def test_a_link_local_neighbour_needs_no_address_of_ours() -> None:
    plain = upstream("a", 100, six=False)
    assert replace(plain, neighbor6=IPv6Address("fe80::1")).has_session(6)
    assert not replace(plain, neighbor6=IPv6Address("2001:db8::1")).has_session(6)


def test_the_document_says_where_management_is() -> None:
    network: Network = network_from({**document(), "management": ["100.64.0.0/16"], "rpki": [{"host": "rpki.example"}]})
    assert network.management == (ip_network("100.64.0.0/16"),)
    assert network.rpki[0].port == 3323
