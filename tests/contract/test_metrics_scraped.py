"""What a store of metrics scrapes: control's own text, hosts' by way of control, the list of targets; and who may.

A real control behind a socket; the hosts' agents are played by threads.
"""

import re
from collections.abc import Iterator, Mapping

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from anypop.api.entitlements import FOR_SCRAPING, OPERATIONS
from anypop.control.metrics.hosts import MeasuredHosts
from anypop.control.metrics.lives import Lives
from anypop.control.roles import Role, Scope
from anypop.model.names import HostName
from tests import documented
from tests.control_world import FakeAgent, World
from tests.measured import MeasuringHost, labels_on, line, measuring, text_of
from tests.people import somebody
from tests.served import Served, served
from tests.wait import wait_until

OWN, TARGETS = "/anypop/v1/metrics", "/anypop/v1/metrics/targets"
OF_AMS = "/anypop/v1/hosts/AMS/metrics"


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with World(tmp_path_factory.mktemp("scraped")) as world:
        world.create()
        world.settle()
        with served(world) as made:
            yield made


@pytest.fixture(scope="module")
def scraper(there: Served) -> Mapping[str, str]:
    """A credential that is for this alone."""
    accounts = there.world.platform.accounts
    made = accounts.create_credential(accounts.first_account().id, "scraper", scope=Scope.METRICS)
    return there.world.login(made.client_id, made.secret)


def samples(text: str) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """By name and labels; the text is read by the official library, which refuses what is no OpenMetrics."""
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(text):  # type: ignore[no-untyped-call]
        for one in family.samples:
            found.setdefault(one.name, {})[tuple(sorted(one.labels.items()))] = one.value
    return found


def own(there: Served, headers: Mapping[str, str]) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    answer = there.http.get(OWN, headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    return samples(answer.text)


def test_control_tells_what_it_did_and_how_long_it_took(there: Served, scraper: Mapping[str, str]) -> None:
    """Steps, orders and their way to obedience, requests by operation: each by something that was done for it."""
    world = there.world
    before = own(there, scraper)
    lhr = FakeAgent(world, HostName("LHR"))
    world.create("second", cities=("LHR",), replicas=1)
    waiting = own(there, scraper)
    steps = [(("result", "done"),)]
    assert waiting["anypop_control_steps_total"][steps[0]] > before["anypop_control_steps_total"][steps[0]]
    world.clock.now += 7
    late = own(there, scraper)
    at_lhr = (("host", "LHR"), ("pop", "LHR"))
    assert late["anypop_control_order_age_seconds"][at_lhr] == pytest.approx(7)
    assert late["anypop_control_report_age_seconds"][at_lhr] == pytest.approx(7)
    world.settle([lhr])
    after = own(there, scraper)
    assert after["anypop_control_order_age_seconds"][at_lhr] == 0
    count, total = "anypop_control_order_seconds_count", "anypop_control_order_seconds_sum"
    assert after[count][()] > before[count][()]
    assert after[total][()] - before[total][()] == pytest.approx(7, abs=1)
    created = (("code", "2xx"), ("operation", "create_workload"))
    assert after["anypop_control_requests_total"][created] == before["anypop_control_requests_total"][created] + 1
    took = after["anypop_control_request_seconds_bucket"]
    assert took[("le", "+Inf"), ("operation", "create_workload")] == 2
    assert after["anypop_control_steps_waiting"][()] == 0
    (named,) = [dict(labels) for labels in after["anypop_workload_info"] if ("workload_slug", "second") in labels]
    assert named["stack_slug"] == "default" and named["stack"] == world.stack.id
    assert after["anypop_control_process_resident_memory_bytes"][()] > 1 << 20


def test_targets_are_control_and_each_host_and_each_answers(there: Served, scraper: Mapping[str, str]) -> None:
    """At the address by which it was asked; what is not connected answers 503 at once: down, for a scraper."""
    found = there.http.get(TARGETS, headers=scraper)
    assert found.status_code == 200 and found.headers["content-type"] == "application/json"
    groups = found.json()
    assert groups[0]["labels"] == {"__metrics_path__": OWN}
    assert {group["labels"].get("host") for group in groups[1:]} == set(there.world.platform.hosts())
    assert {target for group in groups for target in group["targets"]} == {there.http.base_url.netloc.decode()}
    told = text_of(line("anypop_agent_memory_bytes", 5, pop="AMS", host="AMS") for _ in range(1))
    with measuring(there, "AMS", text=told) as host:
        codes = {
            g["labels"].get("host", ""): there.http.get(g["labels"]["__metrics_path__"], headers=scraper).status_code
            for g in groups
        }
        assert codes == {"": 200, "AMS": 200, "LHR": 503, "JFK": 503, "LAX": 503}
        assert len(host.asked) == 1
    wait_until(
        lambda: there.http.get(OF_AMS, headers=scraper).status_code == 503, timeout_s=10, reason="it has gone away"
    )
    assert there.http.get("/anypop/v1/hosts/XXX/metrics", headers=scraper).status_code == 404


def hand_on(there: Served, scraper: Mapping[str, str], lines: list[str]) -> list[str]:
    """The samples that are left of what AMS tells."""
    with measuring(there, "AMS", text=text_of(lines)):
        answer = there.http.get(OF_AMS, headers=scraper)
    assert answer.status_code == 200, answer.text
    assert answer.text.endswith("# EOF\n")
    return [one for one in answer.text.splitlines() if not one.startswith("#")]


def test_a_host_tells_of_itself_and_of_what_is_on_it_and_of_nothing_else(
    there: Served, scraper: Mapping[str, str]
) -> None:
    """Whatever it writes: another host, another one's instance, another stack, a label twice, a name of control's."""
    mine, theirs = labels_on(there.world, "AMS")[0], labels_on(there.world, "LHR")[0]
    memory, place = "anypop_instance_memory_bytes", {"pop": "AMS", "host": "AMS"}
    good = [
        line(memory, 17, **mine),
        line("anypop_session_up", 1, **place, upstream="as1299", family="4"),
        line("anypop_anycast_bytes_total", 9, **place, address="185.85.196.1", member="tunnel"),
    ]
    inside = line(memory, 1, **mine).partition("{")[2].rpartition("}")[0]
    bad = [
        line(memory, 1, **theirs),
        line(memory, 1, **{**mine, "stack": theirs["workload"]}),
        line(memory, 1, **{**mine, "instance": theirs["instance"]}),
        line(memory, 1, **{**mine, "incarnation": "0" * 10}),
        line(memory, 1, **{**mine, "host": "LHR", "pop": "LHR"}),
        line(memory, 1, **place),
        line("anypop_anycast_bytes_total", 1, **place, stack=theirs["stack"]),
        line("anypop_agent_memory_bytes", 1, pop="AMS"),
        line("anypop_control_host_trusted", 1, **place),
        f'{memory}{{{inside},stack="x"}} 1',
        f"{memory}{{{inside}}} 1 1700000000",
        f'{memory}{{{inside}}} 1 # {{trace="x"}} 1',
        f"{memory}{{{inside}}} many",
        "nonsense",
    ]
    assert hand_on(there, scraper, [*bad, *good]) == good
    dropped = own(there, scraper)["anypop_control_host_dropped_total"][(("host", "AMS"),)]
    assert dropped == len(bad)


def test_what_breaks_off_or_has_no_end_is_no_text(
    there: Served, scraper: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a text would be read as instances that have gone; an endless one would fill control's memory."""
    half = line("anypop_agent_memory_bytes", 1, pop="AMS", host="AMS") + "\n"
    with measuring(there, "AMS", text=half):
        assert there.http.get(OF_AMS, headers=scraper).status_code == 503
    monkeypatch.setattr("anypop.control.metrics.hosts.MOST_BYTES", 100_000)
    with measuring(there, "AMS", text=half * 10_000 + "# EOF\n"):
        answer = there.http.get(OF_AMS, headers=scraper)
        assert answer.status_code == 503 and "100000 bytes" in answer.json()["message"]


def test_a_credential_for_scraping_does_nothing_else_and_a_tenant_scrapes_nothing(
    there: Served, scraper: Mapping[str, str]
) -> None:
    """Asked of every operation that needs a token; the first refusal of each is for this reason."""
    world = there.world
    for route in documented.routes():
        rule = OPERATIONS[route.name]
        if rule.role is None or route.name in FOR_SCRAPING:
            continue
        path = re.sub(r"\{\w+\}", "x", route.path)
        (method,) = sorted(route.methods or ())
        answer = world.call(method, path, headers=scraper)
        assert answer.status_code == 403, (route.name, answer.text)
        assert "scraping" in answer.json()["message"], (route.name, answer.text)
    accounts = world.platform.accounts
    tenant = accounts.create_account("tenant")
    made = accounts.create_credential(tenant.id, "theirs", scope=Scope.METRICS)
    for headers in (world.login(made.client_id, made.secret), somebody(world, tenant.id, "owner", Role.OWNER)):
        for path in (OWN, TARGETS, OF_AMS):
            assert there.http.get(path, headers=headers).status_code == 403
    for path in (OWN, TARGETS, OF_AMS):
        assert there.http.get(path).status_code == 401


def test_labels_of_an_incarnation_that_went_are_remembered_but_not_for_ever(
    there: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What its agent kept of it may still be asked for; another host never gets it."""
    world = there.world
    world.create("short", cities=("AMS",), replicas=1, anycast=False)
    (short,) = [one for one in labels_on(world, "AMS") if one["instance"].startswith("short-")]
    world.send("DELETE", "/workload/v1/stacks/default/workloads/short")
    world.settle()
    measured: MeasuredHosts = world.platform.measured
    assert short["incarnation"] not in world.state.incarnations
    assert measured.lives.on(world.state, HostName("AMS"))[short["incarnation"]] == short
    assert short["incarnation"] not in measured.lives.on(world.state, HostName("LHR"))
    monkeypatch.setattr("anypop.control.metrics.lives.MOST_GONE", 0)
    world.create("shorter", cities=("AMS",), replicas=1, anycast=False)
    world.send("DELETE", "/workload/v1/stacks/default/workloads/shorter")
    world.settle()
    assert short["incarnation"] not in measured.lives.on(world.state, HostName("AMS"))


def test_who_is_told_to_go_may_be_told_of_by_a_control_that_has_just_started(there: Served) -> None:
    """Its instance runs on until it is drained: what its host measures of it is its own to tell, and no alarm."""
    world = there.world
    agents = world.agents()
    world.create("going", cities=("AMS",), replicas=2, anycast=False)
    world.settle(agents)
    before = {one["incarnation"]: one for one in labels_on(world, "AMS") if one["instance"].startswith("going-")}
    world.send("PATCH", "/workload/v1/stacks/default/workloads/going", {"workload": world.replicas(1)})
    gone = before.keys() - world.state.incarnations.keys()
    assert len(gone) == 1 and gone <= world.state.tombstones.keys()
    known = Lives().on(world.state, HostName("AMS"))
    assert {uid: known.get(uid) for uid in gone} == {uid: before[uid] for uid in gone}
    assert not gone & Lives().on(world.state, HostName("LHR")).keys()
    world.send("DELETE", "/workload/v1/stacks/default/workloads/going")
    world.settle(agents)


def test_an_agent_that_connects_is_told_to_who_asked_for_that(there: Served) -> None:
    """By which control knows that a host is back."""
    arrived: list[str] = []
    there.world.platform.streams.on_arrival.append(arrived.append)
    host = MeasuringHost(there, "JFK")
    host.close()
    assert arrived == ["JFK"]
