"""Where the flow begins: what the Workload API's clients send, what is wrong with it, and what they get back."""

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anypop.model.errors import Invalid
from anypop.model.names import CityCode, StackId, WorkloadId
from anypop.model.plan import World
from anypop.model.workload import ProbeKind, Protocol
from anypop.plan.parse import Parsed, document_with_anycast, parse
from anypop.plan.planner import plan
from tests.worlds import network

CITIES = [CityCode(c) for c in ("AMS", "LHR", "JFK", "LAX")]

CLAIM = "spec.volumeClaimTemplates[0]"


def claim(size: str = "1Gi", kind: str = "") -> dict[str, Any]:
    """A volume claim as clients send it."""
    return {"slug": "data", "spec": {"resources": {"requests": {"storage": size}}, "storageClass": kind}}


def terraform() -> dict[str, Any]:
    """A body with everything that Terraform's provider sends, empty parts included."""
    return {
        "metadata": {"annotations": {"anycast.platform.stackpath.net": "true"}},
        "name": "My anycast workload",
        "slug": "my-anycast-workload",
        "spec": {
            "containers": {
                "app": {
                    "args": [],
                    "command": [],
                    "env": {"PYTHONUNBUFFERED": {"value": "1"}, "TOKEN": {"secretValue": "hush"}},
                    "image": "example/pythonweb:latest",
                    "ports": {"web": {"enableImplicitNetworkPolicy": True, "port": 8000, "protocol": "TCP"}},
                    "resources": {"requests": {"cpu": "1", "memory": "2Gi"}},
                    "volumeMounts": [],
                }
            },
            "networkInterfaces": [
                {"assignments": [], "enableOneToOneNat": True, "ipFamilies": [], "network": "default"}
            ],
            "runtime": {},
            "volumeClaimTemplates": [],
        },
        "targets": {
            "global": {
                "spec": {
                    "deploymentScope": "cityCode",
                    "deployments": {
                        "maxReplicas": 4,
                        "minReplicas": 3,
                        "scaleSettings": {"metrics": [{"averageUtilization": "50", "metric": "cpu"}]},
                        "selectors": [{"key": "cityCode", "operator": "in", "values": ["JFK", "LHR"]}],
                    },
                }
            }
        },
    }


def read(body: Any) -> Parsed:
    return parse(body, workload_id=WorkloadId("w1"), stack_id=StackId("s1"), stack_slug="fun", cities=CITIES)


def wrong(body: Any) -> dict[str, str]:
    with pytest.raises(Invalid) as caught:
        read(body)
    return {p.path: p.message for p in caught.value.problems}


def put(body: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """`body` with `value` at a dotted path; DELETE takes the field away."""
    changed = copy.deepcopy(body)
    *way, last = path.split(".")
    at = changed
    for step in way:
        at = at[int(step)] if isinstance(at, list) else at.setdefault(step, {})
    if value is DELETE:
        del at[last]
    else:
        at[last] = value
    return changed


DELETE = object()
LOCAL_ONLY = "anypop/local-only"
APP = "spec.containers.app"
WHERE = "targets.global.spec.deployments"


def test_a_terraform_body_becomes_a_workload() -> None:
    """Names, replicas per city, ports, sizes, secrets, anycast."""
    found = read(terraform()).workload
    assert (found.id, found.slug, found.name, found.stack_slug) == (
        "w1",
        "my-anycast-workload",
        "My anycast workload",
        "fun",
    )
    assert [(t.name, t.cities, t.replicas) for t in found.targets] == [("global", ("JFK", "LHR"), 3)]
    (app,) = found.containers
    assert (app.image, app.env, app.secrets) == (
        "example/pythonweb:latest",
        (("PYTHONUNBUFFERED", "1"),),
        (("TOKEN", "hush"),),
    )
    assert (app.cpu_millis, app.memory_bytes) == (1000, 2 << 30)
    assert [(p.name, p.port, p.protocol, p.open_to_all) for p in app.ports] == [("web", 8000, Protocol.TCP, True)]
    assert (found.anycast, found.dual_stack) == (True, False)


def test_the_answer_is_what_was_sent_less_secrets_and_empty_parts() -> None:
    """Nothing is filled in but ipFamilies; an averageUtilization sent as text comes back as the number it is."""
    expected = terraform()
    app = expected["spec"]["containers"]["app"]
    for empty in ("args", "command", "volumeMounts"):
        del app[empty]
    app["env"]["TOKEN"] = {}
    expected["spec"]["networkInterfaces"] = [{"enableOneToOneNat": True, "ipFamilies": ["IPv4"], "network": "default"}]
    del expected["spec"]["runtime"], expected["spec"]["volumeClaimTemplates"]
    expected["targets"]["global"]["spec"]["deployments"]["scaleSettings"]["metrics"][0]["averageUtilization"] = 50
    assert read(terraform()).document == {"stackId": "s1", "id": "w1"} | expected


def test_an_answer_sent_back_gives_the_same_answer() -> None:
    """Clients read, change and send back: the server's own fields are accepted, and nothing drifts."""
    first = read(terraform())
    told = document_with_anycast(
        first.document, plan(World(network=network(), workloads=(first.workload,))).anycast[0], dual_stack=False
    )
    sent_back = {
        **told,
        "status": "ACTIVE",
        "metadata": {**told["metadata"], "version": "1", "createdAt": "2019-02-01T00:00:00Z"},
    }
    assert read(sent_back).document == first.document
    assert read(sent_back).workload.annotations == first.workload.annotations


def test_secrets_are_nowhere_in_the_document() -> None:
    """Neither secret variables nor registry passwords; both are handed over apart, with their paths."""
    body = put(terraform(), "spec.imagePullCredentials", [{"dockerRegistry": {"username": "me", "password": "sesame"}}])
    found = read(body)
    assert "hush" not in str(found.document)
    assert "sesame" not in str(found.document)
    assert found.document["spec"]["imagePullCredentials"] == [{"dockerRegistry": {"username": "me"}}]
    assert {(s.path, s.value) for s in found.secrets} == {
        ("spec.containers.app.env.TOKEN.secretValue", "hush"),
        ("spec.imagePullCredentials[0].dockerRegistry.password", "sesame"),
    }


def test_all_problems_are_told_at_once_by_their_own_paths() -> None:
    """One answer names every mistake, also where a mistake in one field hides the meaning of another."""
    body = terraform()
    body["slug"] = "Not_A_Slug"
    body["speck"] = 1
    body["spec"]["virtualMachines"] = {"vm": {"image": "x"}}
    app = body["spec"]["containers"]["app"]
    del app["image"]
    app["ports"] = {"web": {"port": 70000}, "one": {"port": 80}, "two": {"port": "80"}}
    app["env"]["BOTH"] = {"value": "x", "secretValue": "y"}
    app["readinessProbe"] = {"httpGet": {"port": 80}, "tcpSocket": {"port": 80}}
    app["resources"]["requests"]["memory"] = "two gigs"
    app["enviroment"] = {}
    where = body["targets"]["global"]["spec"]["deployments"]
    where["minReplicas"] = -1
    where["selectors"][0]["values"] = ["JFK", "XXX"]
    found = wrong(body)
    assert set(found) == {
        "slug",
        "speck",
        "spec.virtualMachines",
        "spec.virtualMachines.vm.image",
        f"{APP}.image",
        f"{APP}.ports.web.port",
        f"{APP}.ports.two.port",
        f"{APP}.env.BOTH",
        f"{APP}.readinessProbe",
        f"{APP}.resources.requests.memory",
        f"{APP}.enviroment",
        f"{WHERE}.minReplicas",
        f"{WHERE}.selectors[0].values[1]",
    }
    assert found[f"{WHERE}.selectors[0].values[1]"] == "there is no PoP in 'XXX'; there are AMS, JFK, LAX, LHR"
    assert found[f"{APP}.ports.web.port"] == "is 70000; a port must be 1 to 65535"
    assert found["speck"] == "there is no such field; is spec meant?"
    assert found[f"{APP}.ports.two.port"].startswith("80/TCP is also spec.containers.app.ports.one.port")


@pytest.mark.parametrize(
    ("path", "value", "where", "says"),
    [
        (f"{APP}.image", "", f"{APP}.image", "is required"),
        (f"{APP}.image", "two words", f"{APP}.image", "no image reference"),
        ("spec.initContainers", {"app": {"image": "x"}}, "spec.initContainers.app", "has that name too"),
        ("spec.initContainers", {"i": {"image": ""}}, "spec.initContainers.i.image", "is required"),
        ("spec.initContainers", {"i": {"image": "x", "ports": {"a": {"port": 1}}}}, "spec.initContainers.i.ports",
         "ends before"),
        ("spec.initContainers", {"i": {"image": "x", "securityContext": {"capabilities": {"add": ["NET_ADMIN"]}}}},
         "spec.initContainers.i.securityContext.capabilities.add[0]", "NET_ADMIN is not given"),
        ("spec.initContainers", {"i": {"image": "x", "env": {"A": {"valueFrom": {"instanceFieldRef":
         {"fieldPath": ".nme"}}}}}}, "spec.initContainers.i.env.A.valueFrom.instanceFieldRef.fieldPath",
         "an instance has nothing at .nme"),
        (f"{APP}.lifecycle", {"preStop": {}}, f"{APP}.lifecycle.preStop", "exactly one of exec, httpGet and tcpSocket"),
        (f"{APP}.lifecycle", {"postStart": {"exec": {"command": []}}}, f"{APP}.lifecycle.postStart.exec.command",
         "must not be empty"),
        (f"{APP}.startupProbe", {"tcpSocket": {"port": 80}, "successThreshold": 2},
         f"{APP}.startupProbe.successThreshold", "must be 1"),
        (f"{APP}.terminationMessagePath", "why", f"{APP}.terminationMessagePath", "the whole path of a file"),
        (f"{APP}.terminationMessagePath", "/a/../b", f"{APP}.terminationMessagePath", "the whole path of a file"),
        (f"{APP}.volumeMounts", [{"slug": "v", "mountPath": "/v"}], f"{APP}.volumeMounts[0].slug", "no volume claim v"),
        ("spec.volumeClaimTemplates", [{"slug": "v"}], f"{CLAIM}.spec.resources.requests.storage", "is required"),
        ("spec.volumeClaimTemplates", [claim("1Mi")], f"{CLAIM}.spec.resources.requests.storage", "must be 32Mi"),
        ("spec.volumeClaimTemplates", [claim(), claim()], "spec.volumeClaimTemplates[1].slug", "there already"),
        ("spec.volumeClaimTemplates", [claim(kind="gold")], f"{CLAIM}.spec.storageClass", "there are standard"),
        ("targets", {}, "targets", "must not be empty"),
        ("spec.containers", {}, "spec.containers", "at least one container"),
        ("spec.containers", DELETE, "spec.containers", "at least one container"),
        ("targets.global.spec.deploymentScope", "country", "targets.global.spec.deploymentScope", "it may be cityCode"),
        (f"{WHERE}.selectors.0.operator", "Like", f"{WHERE}.selectors[0].operator", "it may be in or notin or exists"),
        (f"{WHERE}.selectors.0.operator", "Exists", f"{WHERE}.selectors[0]", "Exists has none"),
        (f"{WHERE}.selectors.0.operator", "doesNotExist", f"{WHERE}.selectors[0]", "doesNotExist has none"),
        (f"{WHERE}.selectors.0.values", [], f"{WHERE}.selectors[0]", "is required, at least one city"),
        (f"{WHERE}.minReplicas", "three", f"{WHERE}.minReplicas", "whole number"),
        (f"{WHERE}.minReplicas", True, f"{WHERE}.minReplicas", "whole number"),
        (f"{WHERE}.minReplicas", 5, WHERE, "maxReplicas is 4, less than minReplicas 5"),
        (f"{WHERE}.minReplicas", 10**9, f"{WHERE}.minReplicas", "0 to 1000"),
        ("spec.networkInterfaces.0.ipFamilies", ["IPv6"], "spec.networkInterfaces[0].ipFamilies",
         "an anycast address has IPv4 too"),
        ("spec.networkInterfaces.0.network", "My Net", "spec.networkInterfaces[0].network", "is no DNS label"),
        (f"{APP}.env.A", {"valueFrom": {"instanceFieldRef": {"fieldPath": "name"}}},
        f"{APP}.env.A.valueFrom.instanceFieldRef.fieldPath",
         "paths look like"),
        (f"{APP}.env.A", {"valueFrom": {"instanceFieldRef": {"fieldPath": ".nme"}}},
        f"{APP}.env.A.valueFrom.instanceFieldRef.fieldPath",
         "an instance has nothing at .nme"),
        (f"{APP}.livenessProbe", {}, f"{APP}.livenessProbe", "exactly one"),
        ("name", 7, "name", "must be text"),
        ("slug", "-a", "slug", "no DNS label"),
        ("spec.runtime.containers", {"terminationGracePeriodSeconds": "301"},
        "spec.runtime.containers.terminationGracePeriodSeconds",
         "0 to 300"),
    ],
)  # fmt: skip
def test_a_wrong_field_is_told_where_it_is_and_what_would_do(path: str, value: Any, where: str, says: str) -> None:
    """One change to a right body, one problem."""
    found = wrong(put(terraform(), path, value))
    assert set(found) == {where}
    assert says in found[where]


@pytest.mark.parametrize(
    "body", [{}, [], None, 3, "text", {"spec": 3}, {"spec": {"containers": []}, "targets": [1]}, {"name": []}]
)
def test_nonsense_is_answered_and_never_crashes(body: Any) -> None:
    """Whatever JSON may hold."""
    assert wrong(body)


def test_hostile_values_are_answered() -> None:
    """Endless nesting, endless numbers, digits of other scripts, halves of characters and NUL."""
    deep: dict[str, Any] = {}
    for _ in range(900):
        deep = {"spec": deep}
    assert "nested" in wrong(deep)[""]
    for port in ("9" * 5000, "²", "٨٠", 1e400, 80.5):
        assert set(wrong(put(terraform(), f"{APP}.ports.odd", {"port": port}))) == {f"{APP}.ports.odd.port"}
    assert set(wrong(put(terraform(), f"{APP}.env.N", {"value": "a\0b"}))) == {f"{APP}.env.N.value"}
    assert set(wrong(put(terraform(), "name", "\ud800"))) == {"name"}
    assert set(wrong(put(terraform(), f"{APP}.env.\ud800", {}))) == {f"{APP}.env.\\ud800"}


KEYS = [
    "spec",
    "targets",
    "containers",
    "app",
    "ports",
    "env",
    "port",
    "image",
    "metadata",
    "labels",
    "name",
    "selectors",
]
some_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None)
@given(some_json)
def test_any_json_is_either_a_workload_or_invalid(body: Any) -> None:
    """No shape of data makes the parser fail in another way."""
    try:
        read(body)
    except Invalid as invalid:
        assert invalid.problems


def test_a_name_makes_a_slug_and_a_slug_makes_a_name() -> None:
    """Either is enough; neither is not; a name without a single letter is not."""
    assert read(put(terraform(), "slug", DELETE)).workload.slug == "my-anycast-workload"
    assert read(put(terraform(), "name", DELETE)).document["name"] == "my-anycast-workload"
    assert set(wrong(put(put(terraform(), "slug", DELETE), "name", DELETE))) == {"name"}
    assert set(wrong(put(put(terraform(), "slug", DELETE), "name", "!!!"))) == {"name"}


def test_numbers_may_be_text_and_text_may_be_numbers() -> None:
    """As protobuf's JSON has it: 64-bit numbers come back as text, others as numbers."""
    body = put(terraform(), f"{WHERE}.minReplicas", "2")
    body = put(body, f"{APP}.resources.requests.cpu", 2)
    body = put(body, f"{APP}.env.N", {"value": 5})
    body = put(body, "spec.runtime.containers", {"terminationGracePeriodSeconds": 30})
    body = put(body, f"{APP}.securityContext", {"runAsUser": 1000, "capabilities": {"add": ["SYS_CHROOT"]}})
    found = read(body)
    assert found.workload.targets[0].replicas == 2
    assert found.workload.containers[0].cpu_millis == 2000
    document = found.document
    assert document["spec"]["containers"]["app"]["env"]["N"] == {"value": "5"}
    assert document["spec"]["runtime"]["containers"]["terminationGracePeriodSeconds"] == "30"
    assert document["spec"]["containers"]["app"]["securityContext"] == {
        "runAsUser": "1000",
        "capabilities": {"add": ["SYS_CHROOT"], "drop": []},
    }
    assert document["targets"]["global"]["spec"]["deployments"]["minReplicas"] == 2


def test_what_has_no_effect_yet_is_said() -> None:
    """Accepted, shown again, and named."""
    body = put(terraform(), f"{APP}.ports.odd", {"port": 9, "protocol": "SCTP"})
    found = read(body)
    assert {p.path for p in found.unacted} == {
        f"{APP}.ports.odd.protocol",
    }
    assert found.document["spec"]["containers"]["app"]["ports"]["odd"] == {"port": 9, "protocol": "SCTP"}


def test_probes_are_read_with_their_defaults() -> None:
    """Zero means absent; HTTP paths begin with a slash."""
    body = put(
        terraform(),
        f"{APP}.readinessProbe",
        {"httpGet": {"port": "8000", "path": "health", "httpHeaders": {"A": ""}}, "periodSeconds": 0},
    )
    body = put(body, f"{APP}.livenessProbe", {"exec": {"command": ["true"]}, "failureThreshold": 5})
    app = read(body).workload.containers[0]
    assert app.readiness is not None
    assert app.liveness is not None
    assert (app.readiness.kind, app.readiness.port, app.readiness.path, app.readiness.headers) == (
        ProbeKind.HTTP,
        8000,
        "/health",
        (("A", ""),),
    )
    assert (app.readiness.period_s, app.readiness.timeout_s) == (10, 1)
    assert (app.liveness.kind, app.liveness.command, app.liveness.failure_threshold) == (ProbeKind.EXEC, ("true",), 5)


@pytest.mark.parametrize("kind", ["readinessProbe", "livenessProbe", "startupProbe"])
@pytest.mark.parametrize(
    "empty",
    [
        {},
        dict.fromkeys(
            ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"), 0
        ),
    ],
    ids=["absent", "zero"],
)
def test_each_probe_has_the_defaults_of_the_interface(kind: str, empty: dict[str, int]) -> None:
    """Delay 0 s, timeout 1 s, period 10 s, one success, three failures; none of them is put into the document."""
    asked = {"tcpSocket": {"port": 80}} | empty
    made = read(put(terraform(), f"{APP}.{kind}", asked))
    app = made.workload.containers[0]
    probe = {"readinessProbe": app.readiness, "livenessProbe": app.liveness, "startupProbe": app.startup}[kind]
    assert probe is not None
    times = (probe.initial_delay_s, probe.timeout_s, probe.period_s, probe.success_threshold, probe.failure_threshold)
    assert times == (0, 1, 10, 1, 3)
    shown = made.document["spec"]["containers"]["app"][kind]
    assert {key: value for key, value in shown.items() if value} == {"tcpSocket": {"port": 80}}


def test_probes_by_udp_and_dns_are_read_and_shown_again() -> None:
    """What is sent is text or hex digits; DNS has port 53 and type A where nothing else is said."""
    body = put(terraform(), f"{APP}.readinessProbe", {"dns": {"name": "www.example"}, "timeoutSeconds": 2})
    body = put(body, f"{APP}.livenessProbe", {"udp": {"port": 27015, "requestHex": "FFff54", "expect": "I"}})
    found = read(body)
    app = found.workload.containers[0]
    assert app.readiness is not None
    assert app.liveness is not None
    asked = app.readiness
    assert (asked.kind, asked.port, asked.request, asked.record) == (ProbeKind.DNS, 53, "www.example", "A")
    assert asked.timeout_s == 2
    sent = app.liveness
    assert (sent.kind, sent.port, sent.request, sent.expect) == (ProbeKind.UDP, 27015, "ffff54", "I")
    shown = found.document["spec"]["containers"]["app"]
    assert shown["readinessProbe"] == {"dns": {"name": "www.example"}, "timeoutSeconds": 2}
    assert shown["livenessProbe"] == {"udp": {"port": 27015, "requestHex": "FFff54", "expect": "I"}}
    text = read(put(terraform(), f"{APP}.readinessProbe", {"udp": {"port": 7, "request": "hi"}}))
    assert text.workload.containers[0].readiness is not None
    assert text.workload.containers[0].readiness.request == b"hi".hex()


@pytest.mark.parametrize(
    ("probe", "path"),
    [
        ({"udp": {"request": "hi"}}, "udp.port"),
        ({"udp": {"port": 7, "requestHex": "abc"}}, "udp.requestHex"),
        ({"udp": {"port": 7, "request": "a", "requestHex": "61"}}, "udp"),
        ({"dns": {"name": "a..b"}}, "dns.name"),
        ({"dns": {"name": "example", "type": "ANY"}}, "dns.type"),
        ({"dns": {"name": "example"}, "tcpSocket": {"port": 53}}, ""),
    ],
)
def test_a_wrong_probe_by_udp_or_dns_is_told_by_its_path(probe: dict[str, Any], path: str) -> None:
    """Each as the client wrote it."""
    with pytest.raises(Invalid) as told:
        read(put(terraform(), f"{APP}.readinessProbe", probe))
    assert [p.path for p in told.value.problems] == [f"{APP}.readinessProbe" + (f".{path}" if path else "")]


def test_both_families_are_asked_for_by_name() -> None:
    """IPv6 only where it is named; the annotation lists IPv4 first."""
    found = read(put(terraform(), "spec.networkInterfaces.0.ipFamilies", ["IPv4", "IPv6"]))
    assert found.workload.dual_stack
    addresses = plan(World(network=network(), workloads=(found.workload,))).anycast[0]
    told = document_with_anycast(found.document, addresses, dual_stack=True)
    key = "anycast.platform.stackpath.net/subnets"
    assert told["metadata"]["annotations"][key] == f"203.0.113.1/32,{addresses.address6}/128"
    assert key not in found.document["metadata"]["annotations"]
    assert (
        document_with_anycast(found.document, addresses, dual_stack=False)["metadata"]["annotations"][key]
        == "203.0.113.1/32"
    )


def test_an_optional_field_that_is_not_there_is_left_out() -> None:
    """Where a required one is a problem."""
    ref = {"fieldPath": ".metadata.labels['none']", "optional": True}
    found = read(put(terraform(), f"{APP}.env.A", {"valueFrom": {"instanceFieldRef": ref}}))
    assert found.workload.containers[0].env_from_instance == ()
    assert found.document["spec"]["containers"]["app"]["env"]["A"]["valueFrom"]["instanceFieldRef"] == ref


def test_a_container_without_resources_still_shows_them() -> None:
    """Clients look into `resources` without asking whether it is there."""
    found = read(put(terraform(), f"{APP}.resources", DELETE))
    assert found.document["spec"]["containers"]["app"]["resources"] == {}


def test_several_selectors_must_all_fit() -> None:
    """As label selectors do; when no city is left, that is said."""
    one, two = ({"key": "cityCode", "operator": "In", "values": v} for v in (["JFK", "LHR", "JFK"], ["LHR", "AMS"]))
    assert read(put(terraform(), f"{WHERE}.selectors", [one, two])).workload.targets[0].cities == ("LHR",)
    other = {"key": "cityCode", "operator": "in", "values": ["AMS"]}
    assert wrong(put(terraform(), f"{WHERE}.selectors", [one, other])) == {
        f"{WHERE}.selectors": "no city fits all of them"
    }


def test_a_workload_has_at_most_ten_thousand_instances() -> None:
    """However many targets they are asked for by."""
    body = terraform()
    deployments = body["targets"]["global"]["spec"]["deployments"]
    deployments |= {"minReplicas": 1000, "maxReplicas": 1000}
    body["targets"] = {f"t{n}": body["targets"]["global"] for n in range(5)}
    read(body)
    body["targets"]["t5"] = body["targets"]["t0"]
    assert list(wrong(body)) == ["targets"]


def test_a_workload_may_want_to_be_served_locally_alone() -> None:
    """Shown again as it was sent; only of an anycast address, and only with the one value there is."""
    body = terraform()
    body["metadata"]["annotations"][LOCAL_ONLY] = "true"
    found = read(body)
    assert found.workload.local_only
    assert found.document["metadata"]["annotations"][LOCAL_ONLY] == "true"
    assert not read(terraform()).workload.local_only
    body["metadata"]["annotations"] = {LOCAL_ONLY: "yes"}
    with pytest.raises(Invalid) as refused:
        read(body)
    assert [(p.path, p.message.partition(" ")[0]) for p in refused.value.problems] == [
        (f"metadata.annotations.{LOCAL_ONLY}", "must"),
        (f"metadata.annotations.{LOCAL_ONLY}", "is"),
    ]


@pytest.mark.parametrize(
    ("selectors", "cities"),
    [
        ([("in", ["LHR", "AMS", "LHR"])], ["LHR", "AMS"]),
        ([("In", ["LAX"])], ["LAX"]),
        ([("NotIn", ["LAX"])], ["AMS", "JFK", "LHR"]),
        ([("exists", None)], ["AMS", "JFK", "LAX", "LHR"]),
        ([("Exists", None), ("notin", ["AMS", "JFK"])], ["LAX", "LHR"]),
        ([("notIn", ["AMS"]), ("in", ["LAX", "AMS"])], ["LAX"]),
    ],
)
def test_selectors_choose_among_the_cities_that_have_a_pop(
    selectors: list[tuple[str, list[str] | None]], cities: list[str]
) -> None:
    """Each city once, all selectors at the same time, operators in any case; what was sent is what is shown."""
    sent = [
        {"key": "cityCode", "operator": word} | ({"values": values} if values is not None else {})
        for word, values in selectors
    ]
    body = put(terraform(), f"{WHERE}.selectors", sent)
    made = read(body)
    assert [str(c) for c in made.workload.targets[0].cities] == cities
    assert made.document["targets"]["global"]["spec"]["deployments"]["selectors"] == sent


def test_selectors_that_fit_no_city_are_told() -> None:
    none = [{"key": "cityCode", "operator": "DoesNotExist"}]
    assert wrong(put(terraform(), f"{WHERE}.selectors", none)) == {f"{WHERE}.selectors": "no city fits all of them"}


def test_replicas_that_are_left_out_are_none() -> None:
    """Protobuf's JSON leaves out a zero; nothing is added to what was sent."""
    fixed = put(terraform(), f"{WHERE}.scaleSettings", DELETE)  # where nothing runs no load is measured
    made = read(put(fixed, f"{WHERE}.minReplicas", DELETE))
    assert made.workload.targets[0].replicas == 0
    assert "minReplicas" not in made.document["targets"]["global"]["spec"]["deployments"]


@pytest.mark.parametrize("image", ["cafe", "0123456789ab", f"sha256:{'a' * 64}"])
def test_what_could_be_the_id_of_an_image_is_refused(image: str) -> None:
    """A host would look among the images that others have pulled; with a registry or a tag it is a name."""
    assert "could be the id of an image" in wrong(put(terraform(), f"{APP}.image", image))[f"{APP}.image"]
    assert read(put(terraform(), f"{APP}.image", f"docker.io/library/{image.partition(':')[0]}:1"))
