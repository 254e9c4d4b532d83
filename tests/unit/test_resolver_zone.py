"""What a name means to whom: of one domain, without a socket."""

import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import pytest

from anypop.agent.resolver import files
from anypop.agent.resolver.answers import answer_of, question_of, room, trouble_with
from anypop.agent.resolver.limits import CONNECTIONS, PER_SECOND, WAITING, WAITING_ALTOGETHER, Limits
from anypop.agent.resolver.serving import Serving
from anypop.agent.resolver.sockets import Sockets
from anypop.agent.resolver.upstream import addresses_in
from anypop.agent.resolver.wanted import Around, Asker, Called, CalledInstance, CalledWorkload
from anypop.agent.resolver.zone import ELSEWHERE, UNKNOWN, Found, Zone
from anypop.model.names import host_label

HERE = CalledInstance(name="web-eu-lhr-0", addresses=("10.64.0.1", "fd00:64::1"))
ILL = CalledInstance(name="web-eu-lhr-1", addresses=("10.64.0.3", "fd00:64::3"), serves=False)
NEAR = CalledInstance(name="web-eu-lhr-2", addresses=("10.65.0.1", "fd00:65::1"), away=1)
FAR = CalledInstance(name="web-na-jfk-0", addresses=("10.66.0.1",), away=5500)
PLAIN = CalledInstance(name="old-eu-lhr-0", addresses=("10.64.0.5",), serves=False)
ZONE = Zone(
    Called(
        domain="s", suffix="fun.edgeengine.internal",
        workloads=(
            CalledWorkload(
                slug="web", ports=(("http", "tcp", 80), ("dns", "udp", 53)), instances=(FAR, NEAR, ILL, HERE)
            ),
            CalledWorkload(slug="old", instances=(PLAIN,)),
        ),
    )
)  # fmt: skip
ASKER = Asker(
    domain="s", name="web-eu-lhr-0", own=("10.64.0.1",), private=("10.64.0.1", "fd00:64::1"),
    external=("198.51.100.1",), about=(("name", "web-eu-lhr-0"), ("ip", "10.64.0.1")),
)  # fmt: skip


def said(name: str, kind: str = "A") -> list[str]:
    meaning = ZONE.meaning(name, kind, ASKER)
    assert isinstance(meaning, Found), f"{name} {kind}: {meaning}"
    return [" ".join(map(str, record.value)) for record in meaning.records]


@pytest.mark.parametrize("suffix", ["", ".fun.edgeengine.internal"])
def test_names_are_of_instances_workloads_targets_and_cities(suffix: str) -> None:
    """The nearest first; who does not serve has a name of its own alone."""
    assert said(f"web-eu-lhr-1{suffix}") == ["10.64.0.3"]
    assert said(f"web{suffix}") == ["10.64.0.1", "10.65.0.1", "10.66.0.1"]
    assert said(f"web-eu{suffix}") == said(f"web-eu-lhr{suffix}") == ["10.64.0.1", "10.65.0.1"]
    assert said(f"web-na-jfk{suffix}", "AAAA") == []  # one family alone: no address, and no NXDOMAIN
    assert said(f"_http._tcp.web-na{suffix}", "SRV") == ["5500 1 80 web-na-jfk-0.fun.edgeengine.internal"]
    assert said(f"_53._udp.web-eu-lhr-0{suffix}", "SRV") == ["0 1 53 web-eu-lhr-0.fun.edgeengine.internal"]


def test_where_nobody_serves_all_are_told() -> None:
    """Who asks decides: what we think of them may be wrong."""
    assert said("old") == ["10.64.0.5"]


def test_a_service_comes_with_the_addresses_of_its_targets() -> None:
    meaning = ZONE.meaning("_http._tcp.web.fun.edgeengine.internal", "SRV", ASKER)
    assert isinstance(meaning, Found)
    assert {(name, record.value[0]) for name, record in meaning.more} >= {
        ("web-na-jfk-0.fun.edgeengine.internal", "10.66.0.1"), ("web-eu-lhr-0.fun.edgeengine.internal", "fd00:64::1"),
    }  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [
        "web-eu-lhr-9", "web-eu-lhr-9.fun.edgeengine.internal", "web.other.edgeengine.internal",
        "other.edgeengine.internal",
        "_smtp._tcp.web.fun.edgeengine.internal", "_x.web.fun.edgeengine.internal", "a.web.fun.edgeengine.internal",
        "secret.self.metadata.edgeengine.internal", "9.0.64.10.in-addr.arpa", "1.1.168.192.in-addr.arpa",
        "64.10.in-addr.arpa", "254.169.in-addr.arpa", "x.metadata.compute.edgeengine.io",
    ],
)  # fmt: skip
def test_what_is_ours_and_is_not_there_goes_to_nobody_else(name: str) -> None:
    assert ZONE.meaning(name, "A", ASKER) is UNKNOWN


@pytest.mark.parametrize(
    "name",
    ["edgeengine.internal", "fun.edgeengine.internal", "metadata.edgeengine.internal", "_tcp.web", "_udp.web-eu"],
)
def test_what_stands_above_names_is_there(name: str) -> None:
    """NXDOMAIN would say that nothing is below it (RFC 8020)."""
    whole = f"{name}.fun.edgeengine.internal" if name.startswith("_") else name
    assert said(whole) == []


@pytest.mark.parametrize(
    "name",
    ["www.example", "metadata.google.internal", "edgeengine.io", "4.4.8.8.in-addr.arpa", "_http._tcp.example.com"],
)
def test_all_else_is_somebody_elses(name: str) -> None:
    assert ZONE.meaning(name, "A", ASKER) is ELSEWHERE


def test_an_instance_is_told_of_itself() -> None:
    """Its private address by one name, its public one by another, and what else it is in words."""
    assert said("self.metadata.edgeengine.internal", "AAAA") == ["fd00:64::1"]
    assert said("self.metadata.compute.edgeengine.io") == ["198.51.100.1"]
    assert said("self.metadata", "TXT") == ["name=web-eu-lhr-0", "ip=10.64.0.1"]
    assert said("ip.self.metadata.edgeengine.internal") == ["10.64.0.1"]
    assert said("name.self.metadata.edgeengine.internal") == []
    assert said("localhost", "AAAA") == ["::1"]


def test_long_names_are_found_by_their_labels() -> None:
    """And back: what an address is called fits into a label."""
    long = f"{'a' * 60}-eu-lhr-0"
    one = CalledInstance(name=long, addresses=("10.64.0.9",))
    zone = Zone(
        Called(domain="s", suffix="f.edgeengine.internal", workloads=(CalledWorkload(slug="a" * 60, instances=(one,)),))
    )
    assert isinstance(zone.meaning(f"{host_label(long)}.f.edgeengine.internal", "A", ASKER), Found)
    pointer = zone.meaning("9.0.64.10.in-addr.arpa", "PTR", ASKER)
    assert isinstance(pointer, Found) and pointer.records[0].value == (f"{host_label(long)}.f.edgeengine.internal",)


def asked(name: str = "web.", kind: str = "A", **more: Any) -> dns.message.Message:
    return dns.message.make_query(name, kind, **more)


def test_an_answer_fits_or_says_that_it_does_not() -> None:
    """To who says nothing 512 bytes, by EDNS at most 1,232; by TCP all."""
    many = tuple(CalledInstance(name=f"web-eu-lhr-{n}", addresses=(f"10.64.1.{n}",)) for n in range(250))
    zone = Zone(Called(domain="s", suffix="f", workloads=(CalledWorkload(slug="web", instances=many),)))
    meaning = zone.meaning("web", "A", ASKER)
    assert isinstance(meaning, Found)
    for query, tcp, most in (
        (asked(), False, 512),
        (asked(use_edns=0, payload=4096), False, 1232),
        (asked(), True, 65535),
    ):
        assert room(query, tcp=tcp) == most
        wire = answer_of(query, meaning, most)
        answer = dns.message.from_wire(wire)
        assert len(wire) <= most and answer.answer
        assert bool(answer.flags & dns.flags.TC) is not tcp
        assert tcp is (len(answer.answer[0]) == 250)


def test_equals_come_in_turn_and_the_near_before_the_far() -> None:
    near = tuple(CalledInstance(name=f"web-eu-lhr-{n}", addresses=(f"10.64.1.{n}",)) for n in range(4))
    zone = Zone(Called(domain="s", suffix="f", workloads=(CalledWorkload(slug="web", instances=(FAR, *near)),)))
    meaning = zone.meaning("web", "A", ASKER)
    assert isinstance(meaning, Found)
    firsts = set()
    for _ in range(200):
        records = [r.to_text() for r in dns.message.from_wire(answer_of(asked(), meaning, 512)).answer[0]]
        assert records[-1] == "10.66.0.1"
        firsts.add(records[0])
    assert len(firsts) == 4


def test_what_is_no_question_is_not_answered_and_what_is_odd_is_refused() -> None:
    """An answer to an answer would go round between two resolvers."""
    answer = dns.message.make_response(asked())
    assert question_of(answer.to_wire()) is None and question_of(b"short") is None
    broken = question_of(asked().to_wire()[:-3])
    assert broken is not None and trouble_with(broken) == dns.rcode.FORMERR
    for query, code in (
        (asked(kind="AXFR"), dns.rcode.REFUSED), (asked(use_edns=1), dns.rcode.BADVERS),
        (dns.message.make_query("web.", "A", rdclass="CH"), dns.rcode.REFUSED),
    ):  # fmt: skip
        assert trouble_with(query) == code


def test_an_instance_takes_its_own_share_of_what_goes_elsewhere() -> None:
    """So many at once, so many a second; what it takes too much is nobody else's."""
    limits = Limits()
    assert [limits.begin("a", 0.0) for _ in range(WAITING + 1)] == [True] * WAITING + [False]
    assert limits.begin("b", 0.0)
    for _ in range(1000):
        limits.end("a")
        if not limits.begin("a", 0.0):
            break
    else:
        raise AssertionError("no end")
    assert limits.begin("a", 2 / PER_SECOND)
    assert sum(limits.begin(f"l{n % 100}", 9.0) for n in range(9_000)) <= WAITING_ALTOGETHER
    assert [limits.connect("c", 0.0) for _ in range(CONNECTIONS + 1)] == [True] * CONNECTIONS + [False]
    limits.disconnect("c")
    assert limits.connect("c", 0.0)


def test_the_link_alone_says_who_asks(tmp_path: Path) -> None:
    """Not the source: one that is not the link's own is nobody's, whoever has it on another link."""
    here, there = replace(ASKER, own=("127.0.0.1",)), replace(ASKER, own=("10.64.0.1",), domain="t")
    files.write_around(tmp_path, Around(askers={"lo": here, "i0123456789": there}))
    serving = Serving(tmp_path, Sockets([], []))
    serving.read()
    lo = socket.if_nametoindex("lo")
    assert serving.who(lo, "127.0.0.1") == ("lo", here)
    assert serving.who(lo, "10.64.0.1") is None
    assert serving.who(0, "127.0.0.1") is None and serving.who(1 << 20, "10.64.0.1") is None


def test_the_hosts_own_servers_are_asked_but_never_ourselves() -> None:
    text = "# x\nsearch a\nnameserver 127.0.0.53\nnameserver 169.254.158.53\nnameserver fe80::1%eth0\nnameserver no\n"
    assert addresses_in(text) == ["127.0.0.53", "fe80::1%eth0"]
