"""The agent's small pure parts: names, back-off, BIRD's words, container bodies, reports, limits."""

from dataclasses import replace
from ipaddress import ip_network

from hypothesis import given
from hypothesis import strategies as st

from anypop.agent.backoff import BackOff
from anypop.agent.bgp.protocols import read_sessions
from anypop.agent.naming import container_of, link_of, namespace_of, short, short_of_link
from anypop.agent.network import netlink as nl
from anypop.agent.observed import Observed, Trouble
from anypop.agent.reporting import report_of
from anypop.agent.runtime.seam import Spec
from anypop.agent.runtime.specification import body_for
from anypop.agent.steps import image_lane
from anypop.model.order import Order
from anypop.model.reasons import Reason
from anypop.model.report import Phase, Report
from tests.agent_world import COVERS, HOST, POP, FakeHost, instance, order, web

_PROTOCOLS = """be9b38650779ecb5
Name       Proto      Table      State  Since         Info
device1    Device     ---        up     2026-11-23 07:15:42.766
u4_level3  BGP        ---        up     2026-11-23 07:15:43.123  Established
  BGP state:          Established
    Neighbor address: 10.99.0.1
  Channel ipv4
    State:          UP
    Routes:         17 imported, 0 filtered, 2 exported, 17 preferred
u6_level3  BGP        ---        start  2026-11-23 07:15:43.123  Active        Socket: Connection refused
  BGP state:          Active
    Last error:       Socket: Connection refused
"""


@given(st.text(min_size=1, max_size=40))
def test_names_fit_the_kernel_and_are_read_back(uid: str) -> None:
    """Whatever a uid is, its link has at most 15 characters and tells the ten digits that stand for it."""
    assert len(link_of(uid)) <= 15
    assert short_of_link(link_of(uid)) == short(uid)


def test_names_are_those_people_know() -> None:
    """A hexadecimal uid shows its own first ten digits everywhere."""
    uid = "0123ABCD-4567-89ab-cdef-0123456789ab"
    assert namespace_of("any", uid) == "any-i-0123abcd45"
    assert container_of("any", uid, "web") == "any-0123abcd45-web"
    assert short_of_link("ib0") is None
    assert short_of_link("i0123abcd4g") is None


def test_waiting_doubles_up_to_its_limit_and_a_success_starts_anew() -> None:
    """1, 2, 4, 4, and after a success 1 again; keys do not disturb each other."""
    rest = BackOff(first_s=1, longest_s=4)
    assert [rest.failed("a") for _ in range(4)] == [1, 2, 4, 4]
    assert rest.failed("b") == 1
    rest.succeeded("a")
    assert rest.failed("a") == 1


def test_sessions_are_read_from_birds_words() -> None:
    """State, counts and the last error of each of our sessions; other protocols are nobody's business."""
    names = {"u4_level3": ("level3", 4), "u6_level3": ("level3", 6), "u4_gone": ("gone", 4)}
    first, second = read_sessions(_PROTOCOLS, names)
    assert (first.upstream, first.family, first.state, first.imported, first.exported) == ("level3", 4, "established", 17, 2)
    assert (second.family, second.state, second.error) == (6, "active", "Socket: Connection refused")
    assert first.since is not None


@given(st.lists(st.tuples(st.integers(1, 60), st.binary(max_size=40)), max_size=8, unique_by=lambda pair: pair[0]))
def test_netlink_attributes_are_read_as_written(pairs: list[tuple[int, bytes]]) -> None:
    """Attributes of any length survive packing, padding and unpacking."""
    assert nl.attributes(b"".join(nl.attribute(kind, payload) for kind, payload in pairs)) == dict(pairs)


def test_a_container_gets_its_labels_limits_namespace_and_secrets() -> None:
    """Everything that a later agent needs to find it, no limit above ours, command as entry point, arguments as command."""
    container = replace(
        web(), command=("/run",), args=("--fast",), env=(("A", "1"),), secrets=(("PASSWORD", "hunter2"),), cpu_millis=1500,
        memory_bytes=64 << 20,
    )  # fmt: skip
    spec = Spec(pop=POP, generation=7, instance=replace(instance(0), hosts_domain="stack.edgeengine.internal"), container=container)
    body = body_for(spec, prefix="any", name="any-x-web", limits=(("nofile", 20000),))
    assert body["labels"]["anypop.uid"] == instance(0).uid
    assert body["labels"]["anypop.generation"] == "7"
    assert body["hostname"] == instance(0).name
    assert body["netns"] == {"nsmode": "path", "value": f"/run/netns/{namespace_of('any', instance(0).uid)}"}
    assert body["env"] == {"A": "1", "PASSWORD": "hunter2"}
    assert body["r_limits"] == [{"type": "nofile", "hard": 20000, "soft": 20000}]
    assert body["resource_limits"] == {"cpu": {"quota": 150_000, "period": 100_000}, "memory": {"limit": 64 << 20}}
    assert (body["entrypoint"], body["command"]) == (["/run"], ["--fast"])
    assert f"{instance(0).name}.stack.edgeengine.internal:10.64.0.1" in body["hostadd"]
    plain = body_for(replace(spec, container=web()), prefix="any", name="any-x-web", limits=())
    assert "entrypoint" not in plain
    assert "command" not in plain


def _report(one: Order | None, observed: Observed) -> Report:
    return report_of(one, observed, pop=POP, host=HOST, generation=1, at=50.0, refused=None, drift=(), errors=())


def test_a_report_says_why_an_image_is_missing_and_when_it_is_tried_again() -> None:
    """A failed pull shows as FAILED with the registry's words and the wait; the instance beside it starts."""
    host = FakeHost()
    both = order(1, instance(0), instance(1, workload=1, containers=(web("bad:1"),)))
    host.obey(both)
    trouble = {image_lane("bad:1"): Trouble(reason=Reason.PULL_FAILED, message="pull bad:1: no such host", until=54.0)}
    report = _report(both, replace(host.observe(), trouble=trouble))
    good, bad = report.instances
    assert good.phase is Phase.STARTING
    assert (bad.phase, bad.reason) == (Phase.FAILED, Reason.PULL_FAILED)
    assert bad.message == "pull bad:1: no such host; next try in 4 s"


def test_a_report_without_an_order_promises_nothing() -> None:
    """Before the first look there are no instances and no prefixes in the report, so nobody judges by them."""
    report = _report(None, Observed())
    assert report.instances == ()
    assert report.prefixes == ()


def test_what_no_order_explains_is_told_as_an_orphan() -> None:
    """A container of ours that is in no order is named, and nothing else happens to it (invariant 14)."""
    host = FakeHost()
    host.obey(order(1, instance(0)))
    seen = replace(host.observe(), links={"00000000ff": True})
    assert _report(order(1, instance(0)), seen).orphans == ("i00000000ff",)


def test_a_prefix_nobody_answers_for_asks_to_go() -> None:
    """Announced, no healthy instance, no grant: it wants to withdraw and says what it waits for."""
    host = FakeHost()
    one = order(1, instance(0))
    host.obey(one)
    prefix = ip_network(COVERS[0])
    idle = next(p for p in _report(one, host.observe()).prefixes if p.prefix == prefix)
    assert (idle.announced, idle.reason, idle.wants_withdraw) == (False, Reason.NO_HEALTHY_INSTANCE, False)
